"""Every notebook, found by a glob, runs at smoke size through papermill, in order, in a folder of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from embedllm.files import ROOT
from embedllm.outcomes import OutcomeMatrix
from embedllm.sources import paper_files
from embedllm.study.execute import clean
from embedllm.study.parameters import NOTEBOOKS, Parameters
from embedllm.study.presets import PRESETS, read_preset
from embedllm.study.publish import cell

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMOKE = {"PRESET": "smoke", "ENCODER": "hashing", "DATASET": "simulated"}


def execute(folder: Path, *arguments: str, **values: str) -> subprocess.CompletedProcess:
    """`python -m embedllm.study.execute` told some parameters, with artifacts and figures in a folder of the test's."""
    untold = {name: value for name, value in os.environ.items() if name not in Parameters.model_fields}
    return subprocess.run(
        [sys.executable, "-m", "embedllm.study.execute", *arguments], capture_output=True, text=True,
        env=untold | values
        | {"EMBEDLLM_ARTIFACTS": str(folder / "artifacts"), "EMBEDLLM_FIGURES": str(folder / "figures")},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.mark.parametrize("name", [path.stem for path in PATHS])
def test_notebook_runs_and_leaves_what_it_says(name, folder):
    done = execute(folder, "run", name, **SMOKE)
    assert done.returncode == 0, done.stderr
    run = folder / "artifacts" / "simulated" / "smoke-hashing-s0"
    assert json.loads((run / f"{name}.products").read_text())["parameters"]["PRESET"] == "smoke"
    executed = json.loads((run / f"{name}.ipynb").read_text())
    outputs = [out for cell in executed["cells"] for out in cell.get("outputs", [])]
    words = "".join("".join(out.get("data", {}).get("text/markdown", "")) for out in outputs)
    assert "## What" in words, "the last section says what was found"
    assert "nan" not in words.replace("-", " ").split()
    figures = list((run / "figures").glob(f"{name[:2]}_*.png"))
    drawn = ["".join(out["data"]["text/plain"]) for out in outputs if "image/png" in out.get("data", {})]
    assert drawn and "<Figure" not in "".join(drawn), "every figure is shown with its caption"
    captions = [Image.open(path).info["Description"] for path in figures]
    assert sorted(caption for caption in drawn if caption in captions) == sorted(captions)
    assert all(f"**{path.stem}.**" in words for path in figures), "the caption stands under the figure as well"
    tables = ["".join(out["data"]["text/html"]) for out in outputs if "text/html" in out.get("data", {})]
    assert all(table.count("<th") <= 8 for table in tables)
    assert not re.search(r"\bNaN\b|\bnan\b|\d[eE]-\d", "".join(tables)), "digits that mean something"
    assert not any(out.get("name") == "stderr" for out in outputs), "progress is nothing to keep"
    assert all(path.with_suffix(".png").stat().st_size < 200_000 for path in figures)
    assert all(path.with_suffix(".csv").stat().st_size > 0 for path in figures)
    assert str(folder) not in json.dumps(executed), "no path of this machine in a notebook"


CHANGED = {"01_data_preparation": ("KAPPA", "0"), "02_training": ("DIM", "4"),
           "03_correctness_forecasting": ("N_FOLDS", "4"), "04_model_routing": ("N_DRAWS", "30"),
           "05_probing": ("N_COMPONENTS", "1"), "06_embedder_ablation": ("COMMON_DIM", "8"),
           "07_sensitivity": ("POOL_SIZES", "[4]"), "08_method_checks": ("N_REPEATS", "3"),
           "09_new_models": ("ASKED", "[16]")}


LONG = ("03_correctness_forecasting", "05_probing", "06_embedder_ablation")  # a second run of these is a slow test


@pytest.mark.parametrize("path", [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in PATHS],
                         ids=lambda path: path.stem)
def test_one_changed_parameter_through_papermill(path, folder, tmp_path):
    """Beside the run it deviates from, which is left as it is."""
    run = folder / "artifacts" / "simulated" / "smoke-hashing-s0"
    before = (run / f"{path.stem}.products").read_bytes()
    name, value = CHANGED[path.stem]
    done = subprocess.run(
        [sys.executable, "-m", "papermill", path, tmp_path / "out.ipynb", "--no-progress-bar",
         "-f", PRESETS / "smoke.yaml", "-p", "DATASET", "simulated", "-p", "ENCODER", "hashing", "-p", name, value],
        capture_output=True, text=True,
        env=os.environ
        | {"EMBEDLLM_ARTIFACTS": str(folder / "artifacts"), "EMBEDLLM_FIGURES": str(folder / "figures")})
    assert done.returncode == 0, done.stderr
    [other] = run.parent.glob(f"smoke-hashing-s0-*/{path.stem}.products")
    assert json.loads(other.read_text())["parameters"][name] == json.loads(value)
    assert (run / f"{path.stem}.products").read_bytes() == before


def test_the_embedded_table_runs_at_400_questions(folder):
    """The default dataset, of which a preset for all can draw a part."""
    for name in ("01_data_preparation", "02_training"):
        done = execute(folder, "run", name, PRESET="smoke", ENCODER="hashing")
        assert done.returncode == 0, done.stderr
    run = folder / "artifacts" / "mmlu-pro" / "smoke-hashing-s0"
    table = OutcomeMatrix.load(run / "01_data_preparation" / "table.zip")
    assert table.shape[0] == 29 and 390 <= table.shape[1] <= 410


@pytest.mark.slow
def test_every_notebook_runs_on_the_papers_files(tmp_path):
    """112 planted models in the paper's layout, which says nothing about models and carries a split and repeats."""
    paper_files.main([str(tmp_path / "files"), "--questions", "3000"])
    told = SMOKE | {"DATASET": "embedllm", "DATA_DIR": str(tmp_path / "files"), "NAME": "planted-files"}
    for path in PATHS:
        done = execute(tmp_path, "run", path.stem, **told)
        assert done.returncode == 0, done.stderr
    run = tmp_path / "artifacts" / "planted-files" / "smoke-hashing-s0"
    table = OutcomeMatrix.load(run / "01_data_preparation" / "table.zip")
    assert table.shape[0] == 112 and 390 <= table.shape[1] <= 410
    assert table.provenance["split"] == "published" and len(table.repeats) > 0
    found = [pd.read_csv(file, keep_default_na=False)["verdict"] for file in run.glob("figures/*_verdicts.csv")]
    assert set(pd.concat(found)) == {"method check"}


def test_every_notebook_is_known_to_the_study():
    assert [path.stem for path in PATHS] == list(NOTEBOOKS)
    listed = re.search(r"^NOTEBOOKS := (.*?[^\\])$", (ROOT / "Makefile").read_text(), re.M | re.S)[1]
    assert listed.replace("\\", "").split() == list(NOTEBOOKS), "the Makefile's NOTEBOOKS"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_tagged_cell_repeats_the_defaults(path):
    cells = json.loads(path.read_text())["cells"]
    [tagged] = [one for one in cells if one["metadata"].get("tags") == ["parameters"]]
    source = "".join(tagged["source"])
    assert source == cell(path.stem), "make cells"
    values: dict = {}
    exec(source, {}, values)
    assert values == NOTEBOOKS[path.stem]().model_dump()


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_cells_are_short_and_hold_no_logic(path):
    cells = json.loads(path.read_text())["cells"]
    code = ["".join(cell["source"]).splitlines() for cell in cells
            if cell["cell_type"] == "code" and cell["metadata"].get("tags") != ["parameters"]]
    assert not any(line.startswith(("def ", "class ")) for lines in code for line in lines)
    assert max(map(len, code)) < 15
    assert sum(map(len, code)) <= 185
    assert cells[0]["cell_type"] == "markdown"
    assert "?**" in "".join(cells[0]["source"]), "the first paragraph asks a question"


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_name_themselves_and_nothing_shared(path):
    preset = read_preset(path.stem, yaml.safe_load(path.read_text()).get("DATASET", "mmlu-pro"))
    assert preset["PRESET"] == path.stem
    assert set(preset) & set(Parameters.model_fields) <= {"PRESET", "DATASET"}
    known = {name for parameters in NOTEBOOKS.values() for name in parameters.model_fields}
    assert set(preset) <= known


def test_cleaning_twice_changes_nothing_more():
    notebook = json.loads(PATHS[0].read_text())
    once = json.dumps(clean(notebook))
    assert json.dumps(clean(json.loads(once))) == once


@pytest.mark.parametrize(("values", "message"), [
    ({"DATASET": "mmlu"}, "DATASET = 'mmlu' (source of outcomes): must be one of"),
    ({"ENCODER": "bert"}, "ENCODER = 'bert' (what turns prompts into vectors): must be one of minilm"),
    ({"PRESET": "fast"}, "PRESET = 'fast': no such file in notebooks/presets; known: default"),
    ({"SEED": "one"}, "SEED = 'one'"),
    ({"DATASET": "directory"}, "DATASET directory needs a NAME"),
    ({"DATASET": "directory", "NAME": "own", "DATA_DIR": "nowhere"}, "DATA_DIR = 'nowhere': no such directory"),
    ({"DATASET": "directory", "NAME": "own", "DATA_DIR": "tests"}, "DATA_DIR = 'tests' holds no outcomes.csv"),
    ({"DATASET": "directory", "NAME": "own", "DATA_DIR": "README.md"}, "DATA_DIR = 'README.md' is a file"),
    ({"DATASET": "directory", "NAME": "own", "DATA_DIR": "~nobody-of-this-name/x"}, "DATA_DIR = '~nobody"),
    ({"DATASET": "directory", "NAME": "own", "DATA_DIR": "x" * 5000}, "DATA_DIR = 'xxx"),
    ({"DATASET": "directory", "NAME": "own", "DATA_DIR": "\udcff"}, "DATA_DIR = '\\udcff' is not UTF-8 text"),
    ({"DATASET": "lm-eval", "NAME": "own"}, "read from a directory: say which with DATA_DIR=..."),
    ({"DATASET": "lm-eval", "NAME": "own", "DATA_DIR": "tests"}, "DATA_DIR = 'tests' holds no samples_*.json"),
    ({"DATA_DIR": "tests"}, "DATA_DIR = 'tests' holds no"),
    ({"DATASET": "directory", "NAME": "x" * 101}, "NAME = 'xxx"),
])
def test_wrong_parameters_end_in_one_sentence(values, message, folder):
    done = execute(folder, "inputs", **values)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_failing_notebook_leaves_nothing_that_is_trusted(folder, tmp_path):
    """An unusable table stops notebook 01; notebook 02 then refuses to start, in one sentence."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "outcomes.csv").write_text("model,question_id,score\na,1,1\na,2,7\n")
    (data / "questions.csv").write_text("question_id,prompt,benchmark\n1,one?,x\n2,two?,x\n")
    own = SMOKE | {"DATASET": "directory", "DATA_DIR": str(data), "NAME": "broken"}
    first = execute(folder, "run", "01_data_preparation", **own)
    assert first.returncode == 1
    assert "outcomes.csv: score that is no number in [0, 1]: row 3 (model 'a', question_id '2'" in first.stderr
    run = folder / "artifacts" / "broken" / "smoke-hashing-s0"
    assert (run / "01_data_preparation.failed.ipynb").exists()
    assert not list(run.glob("*.products")) + list(run.glob("*.done"))
    second = execute(folder, "run", "02_training", **own)
    assert second.returncode == 1
    assert "notebook 01_data_preparation has not finished for this run yet: make reproduce" in second.stderr
