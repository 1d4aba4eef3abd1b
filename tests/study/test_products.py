"""Files that are whole or not there, products that are checked, one process at a notebook."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import flipped, make_table

from embedllm import files
from embedllm.study import execute, paths, products, runs
from embedllm.study.parameters import NOTEBOOKS

TABLE = runs.TABLE


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`runs.start` for a notebook with its defaults, in a folder of the test's."""
    monkeypatch.setattr(paths, "ARTIFACTS", tmp_path / "artifacts")
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    return lambda notebook="02_training": runs.start(notebook, NOTEBOOKS[notebook]().model_dump())


@pytest.fixture
def finished(run):
    """A finished notebook 01 with a table and an array, stamp included."""
    first = run(TABLE)
    make_table(np.ones((2, 3))).save(first.path("table.zip"))
    np.save(first.path("array.npy"), np.arange(5.0))
    first.finish()
    (first.folder / f"{TABLE}.done").touch()
    return first


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file"
    files.write(path, "ä")
    assert path.read_bytes() == "ä".encode()
    monkeypatch.setattr(os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.write(path, b"other")
    assert path.read_bytes() == "ä".encode()
    assert list(path.parent.iterdir()) == [path]


def test_digests_know_borders():
    assert files.digest("ab", "c") != files.digest("a", "bc")
    assert files.digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_no_flipped_bit_of_products_and_manifest_is_trusted(run, finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "kept")
    paths = [finished.folder / f"{TABLE}.products", *finished.products.iterdir()]
    for path, content in flipped(paths, 40):
        path.write_bytes(content)
        with pytest.raises(runs.StudyError, match=r"was damaged, so all that notebook 01.* deleted: make reproduce$"):
            run().find(TABLE)
        assert not [left for left in paths if left.exists()] and not (finished.folder / f"{TABLE}.done").exists()
        shutil.copytree(tmp_path / "kept", finished.folder, dirs_exist_ok=True)
    assert run().find(TABLE) == finished.products


def test_products_are_hashed_once_a_run_and_again_when_they_are_new(run, finished, monkeypatch):
    second, calls = run(), []
    check = products.damaged
    monkeypatch.setattr(products, "damaged", lambda *place: calls.append(place) or check(*place))
    second.find(TABLE), second.find(TABLE)
    assert len(calls) == 1
    again = run(TABLE)
    make_table(np.zeros((2, 3))).save(again.path("table.zip"))
    again.finish()
    second.find(TABLE)
    assert len(calls) == 2


def test_a_damaged_former_manifest_only_gives_the_new_one_a_new_time(run, finished):
    manifest = finished.folder / f"{TABLE}.products"
    before = manifest.read_bytes()
    again = run(TABLE)
    manifest.with_suffix(".former").write_bytes(b"\xff")
    make_table(np.ones((2, 3))).save(again.path("table.zip"))
    np.save(again.path("array.npy"), np.arange(5.0))
    again.finish()
    assert manifest.read_bytes() == before and not manifest.with_suffix(".former").exists()


@pytest.mark.parametrize("damage", [".d", ".done", ".products", "table.zip", "no manifest", "no rules", "png", None])
def test_what_is_damaged_loses_its_stamp_before_make_looks(finished, capsys, damage):
    run, figures = finished.folder, finished.figures
    rules = "a: b\n"
    files.write(run / f"{TABLE}.d", f"# {files.digest(rules)}\n{rules}")
    files.write(run / f"{TABLE}.done", json.dumps({"seconds": 1.0, "began": 0, "oldest": 0}))
    files.write(figures / "01_audit.png", b"..." + execute.PNG_END)
    if damage in (".d", ".done", ".products"):
        (run / f"{TABLE}{damage}").write_bytes(b"\xff\n\xff")
    elif damage == "table.zip":
        (finished.products / damage).write_bytes(b"")
    elif damage == "png":
        (figures / "01_audit.png").write_bytes(b"...")
    elif damage:
        (run / f"{TABLE}{'.products' if damage == 'no manifest' else '.d'}").unlink()
    execute.distrust_damaged(run, figures)
    assert (run / f"{TABLE}.done").exists() == (damage is None)
    assert not (damage == ".d" and (run / f"{TABLE}.d").exists()), "make would stumble over it"
    assert (f"notebook {TABLE} runs again" in capsys.readouterr().out) == (damage is not None)


def test_an_empty_input_hash_is_written_again(tmp_path):
    path = tmp_path / "one.sha"
    for content in (b"", b"\xff"):
        path.write_bytes(content)
        execute._write_if_changed(path, "text")
        assert path.read_text() == files.digest("text")


HOLDER = """
import sys, time, pathlib
from embedllm.study import products
products.hold(pathlib.Path(sys.argv[1]), sys.argv[2])
print("mine", flush=True)
time.sleep(60)
"""


def test_one_process_works_on_a_notebook_until_it_ends(run, monkeypatch):
    monkeypatch.setattr(products, "PATIENCE", 0.0)
    mine = run()
    assert run() is not mine, "the start cell again, in the same process"
    products.release(mine.folder, mine.notebook)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, mine.folder, mine.notebook], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline()
        with pytest.raises(runs.StudyError, match=rf"^another run, pid {holder.pid}, is working here \(.*-s0\): wait"):
            run()
        assert mine.folder == run("03_correctness_forecasting").folder, "other notebooks may run beside it"
        with pytest.raises(runs.StudyError, match=f"pid {holder.pid}"):
            products.discard(mine.folder, mine.notebook)
    finally:
        holder.kill()
        holder.wait()
    run().finish()
    other = subprocess.Popen([sys.executable, "-c", HOLDER, mine.folder, mine.notebook], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"mine\n", "free after finish"
    finally:
        other.kill()
        other.wait()


def test_a_process_that_is_about_to_end_is_waited_for(run):
    folder = run().folder
    products.release(folder, "02_training")
    code = HOLDER.replace("sleep(60)", "sleep(1)")
    holder = subprocess.Popen([sys.executable, "-c", code, folder, "02_training"], stdout=subprocess.PIPE)
    assert holder.stdout.readline()
    began = time.monotonic()
    run()
    assert time.monotonic() - began < products.PATIENCE
    holder.wait()


@pytest.mark.parametrize(("oldest", "kept"), [(150.0, True), (99.0, False)])
def test_times_are_kept_if_all_that_was_read_had_been_computed_by_this_run(tmp_path, capsys, oldest, kept):
    """What one notebook computed the next may read: a run from scratch does so."""
    run, figures = tmp_path / "default-minilm-s0", tmp_path / "figures"
    for number, name in enumerate(NOTEBOOKS):
        began = 100.0 + 10 * number
        stamp = {"seconds": 9.0, "began": began, "oldest": min(began, oldest)}
        files.write(run / f"{name}.done", json.dumps(stamp))
    execute.summarize(run, figures)
    assert (figures / "timing_notebooks.csv").exists() == kept
    assert "all notebooks" in capsys.readouterr().out
