"""What make reruns and what it leaves alone, on a copy of the repository at smoke size."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import flipped, same, write_directory

from embedllm.files import ROOT, digest
from embedllm.outcomes import OutcomeMatrix
from embedllm.study import products
from embedllm.study.memo import Memory
from embedllm.study.parameters import NOTEBOOKS, Parameters

SMOKE = ["PRESET=smoke", "ENCODER=hashing", "DATASET=simulated"]
TARGET = ["reproduce", *SMOKE]
TWO = ["02_training", *SMOKE, "SEED=7"]  # and 01, which it reads


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The tree without runs; its own package comes first on the path, the environment is shared."""
    folder = tmp_path_factory.mktemp("copy") / "study"
    left_out = {".git", ".venv", "artifacts", "data", "figures"}  # at the top: the package has rooms of such names
    shutil.copytree(ROOT, folder, ignore=lambda path, names: left_out & {*names} if path == str(ROOT) else ())
    shutil.copytree(ROOT / "figures" / "bench", folder / "figures" / "bench")
    return folder


def command(copy: Path, *arguments: str) -> dict:
    environment = os.environ | {"PYTHONPATH": str(copy / "src")}
    for name in ("EMBEDLLM_ARTIFACTS", "EMBEDLLM_FIGURES", "MAKEFLAGS", "MAKELEVEL", *Parameters.model_fields):
        environment.pop(name, None)
    # The stamp of set-up is the environment that runs this test.
    bin_folder = Path(sys.executable).parent
    stamp = next(bin_folder.parent.glob(".embedllm-*"), None)
    if stamp is None:
        pytest.skip("the environment was not made by `make setup`")
    stamp.touch()
    return {"args": ["make", *arguments, f"VENV={bin_folder.parent}"], "cwd": copy, "env": environment,
            "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}


def ran(copy: Path, *arguments: str) -> list[str]:
    """The notebooks that make executed."""
    done = subprocess.run(**command(copy, *arguments))
    assert done.returncode == 0, done.stdout
    return sorted(re.findall(r"^(\w+)  \d+ s$", done.stdout, re.M))


def remembered(copy: Path) -> set[str]:
    return {path.name for path in (copy / "artifacts" / "memo").iterdir()}


def interrupted(copy: Path, arguments: list[str], run: Path) -> None:
    """Kill make and all it started a moment after notebook 01 has finished."""
    process = subprocess.Popen(**command(copy, *arguments), start_new_session=True)
    deadline = time.monotonic() + 300
    while not (run / "01_data_preparation.done").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
        time.sleep(0.1)
    time.sleep(2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "02_training.done").exists()


@pytest.mark.make
def test_two_notebooks_survive_a_kill_and_damage(copy):
    run, both = copy / "artifacts" / "simulated" / "smoke-hashing-s7", ["01_data_preparation", "02_training"]
    interrupted(copy, TWO, run)
    assert ran(copy, *TWO) == ["02_training"], "what had finished is not run again"
    assert ran(copy, *TWO) == []
    (copy / "src/embedllm/forecasters/training.py").touch()  # a new time, the same content
    assert ran(copy, *TWO) == []

    table = run / "01_data_preparation" / "table.zip"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    (run / "02_training.d").write_bytes(b"\xff a line that make cannot read\n")
    (run / "inputs" / "02_training.sha").write_bytes(b"")
    (run / "02_training.products").write_bytes((run / "02_training.products").read_bytes()[:40])
    (run / "01_data_preparation.used").write_bytes(b"")
    assert ran(copy, *TWO) == both
    assert ran(copy, *TWO) == []


@pytest.mark.slow
def test_only_what_changed_runs_again(copy):
    assert ran(copy, "-j2", *TARGET) == list(NOTEBOOKS)
    began = time.perf_counter()
    assert ran(copy, *TARGET) == []
    assert time.perf_counter() - began < 10

    notebook = copy / "notebooks" / "04_model_routing.ipynb"
    notebook.write_text(notebook.read_text().replace("import numpy as np", "import numpy  as np"))
    assert ran(copy, *TARGET) == ["04_model_routing"]

    module, run = copy / "src/embedllm/probing/communities.py", copy / "artifacts" / "simulated" / "smoke-hashing-s0"
    module.touch()  # a new time, the same content
    assert ran(copy, *TARGET) == []
    loading = [name for name in NOTEBOOKS if "/communities.py.sha" in (run / f"{name}.d").read_text()]
    assert 0 < len(loading) < len(NOTEBOOKS)
    before = remembered(copy)
    module.write_text(module.read_text() + "\n# a comment\n")
    assert ran(copy, *TARGET) == loading

    figures = copy / "src/embedllm/figures/style.py"
    figures.write_text(figures.read_text().replace("#0072B2", "#0072B3"))
    assert ran(copy, "-j2", *TARGET) == list(NOTEBOOKS)
    assert remembered(copy) == before, "neither a comment nor another palette trains anything anew"

    assert ran(copy, "-j2", *TARGET, "SEED=1") == list(NOTEBOOKS)
    assert ran(copy, *TARGET) == [], "runs do not overwrite each other"


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(copy):
    arguments = [*TARGET, "SEED=2"]
    interrupted(copy, arguments, copy / "artifacts" / "simulated" / "smoke-hashing-s2")
    assert ran(copy, "-j2", *arguments) == [name for name in NOTEBOOKS if name != "01_data_preparation"]


@pytest.mark.slow
def test_no_flipped_bit_of_a_finished_run_is_trusted(copy):
    """129 flips all over the remembered results, products and manifests of a run at smoke size."""
    ran(copy, "-j2", *TARGET)
    memory, run = Memory(copy / "artifacts" / "memo"), copy / "artifacts" / "simulated" / "smoke-hashing-s0"
    remembered = [path for path in memory.folder.rglob("*") if path.is_file()]
    left = [path for name in NOTEBOOKS for path in [run / f"{name}.products", *(run / name).glob("*")]]
    names = sorted(str(path.relative_to(copy)) for path in remembered + left)
    assert len(names) > 30
    trusted = 0
    for path, content in flipped(remembered + left, 129, seed=int(digest(*names)[:8], 16)):
        original = path.read_bytes()
        if path in left:
            path.write_bytes(content)
            name = path.stem if path.suffix == ".products" else path.parent.name
            trusted += products.damaged(run, name) is None
            path.write_bytes(original)
            continue
        folder = memory.folder / path.relative_to(memory.folder).parts[0]
        stem, kept = folder.name.rpartition("-")[0], copy / "kept"
        shutil.copytree(folder, kept)
        expected = memory.recall(stem)
        path.write_bytes(content)
        found = memory.recall(stem)
        trusted += found is not None and not same(found, expected)
        shutil.rmtree(folder, ignore_errors=True)
        kept.rename(folder)
    print(f"{trusted} of 129 flips in {len(names)} files trusted")
    assert trusted == 0


@pytest.mark.slow
@pytest.mark.parametrize(("n_models", "n_benchmarks"), [(9, 3), (4, 1)])
def test_all_notebooks_run_on_graded_scores_of_unknown_models(copy, tmp_path, n_models, n_benchmarks):
    write_directory(tmp_path, n_models, n_questions=240, graded=True, missing=0.1, n_benchmarks=n_benchmarks)
    own = ["DATASET=directory", f"DATA_DIR={tmp_path}", f"NAME=own-{n_models}"]
    assert ran(copy, "-j2", *TARGET, *own) == list(NOTEBOOKS)


@pytest.mark.slow
def test_all_notebooks_run_on_a_pool_with_every_flaw(copy):
    smoke = (copy / "notebooks" / "presets" / "smoke.yaml").read_text()
    flawed = smoke.replace("PRESET: smoke", "PRESET: flawed") + "GRADED: true\nMISSING: 0.4\nREPEATED: 0.2\n"
    (copy / "notebooks" / "presets" / "flawed.yaml").write_text(flawed)
    assert ran(copy, "-j2", "reproduce", "PRESET=flawed", "ENCODER=hashing", "DATASET=simulated") == list(NOTEBOOKS)
    table = OutcomeMatrix.load(
        copy / "artifacts" / "simulated" / "flawed-hashing-s0" / "01_data_preparation" / "table.zip"
    )
    assert not table.binary and len(table.repeats) and table.observed.mean() < 0.7
