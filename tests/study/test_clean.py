"""What `make clean` and `make distclean` delete: what the study made, wherever its folders were put."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import make_table

from embedllm.encoders import cache
from embedllm.files import ROOT, write
from embedllm.study import clean, execute, paths, runs
from embedllm.study.parameters import NOTEBOOKS

FOREIGN = ["letter.txt", "inputs/data.sha", "inputs/src/embedllm/mine.sha", "memo/shopping.md", "memo/list-2024/x",
           "vectors/arrow.npz", "vectors/minilm-0123456789ab/mine.npz", "thesis/draft-s2/01_chapter.tex",
           "thesis/draft-s2/inputs/raw.csv", "projects/app-s1/figures/a.png", "mmlu-pro/notes.md", "CLAIMS.md"]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def plant(folder: Path, names) -> None:
    for name in names:
        write(folder / name, f"mine: {name}")


def counted(table):
    return table.scores


@pytest.fixture
def artifacts(tmp_path, monkeypatch):
    """A folder with runs, remembered results and vectors, made as the study makes them."""
    folder = tmp_path / "home"
    monkeypatch.setattr(paths, "ARTIFACTS", folder)
    monkeypatch.setattr(execute, "ARTIFACTS", folder)
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    table = make_table([[1, 0, 1], [0, 1, 1]])
    for changes in ({}, {"SEED": 1}, {"DATA_SEED": 3}, {"NAME": "mine", "ENCODER": "hashing"}):
        run = runs.start(runs.TABLE, NOTEBOOKS[runs.TABLE]().model_dump() | changes)
        table.save(run.path("table.zip"))
        run.remember(counted, table)
        run.finish()
        execute.write_inputs(run.parameters, run.folder)
        for name in ("01_data_preparation.done", "01_data_preparation.failed.ipynb", "02_training.d", "summary.done",
                     "figures/02_loss.png", "01_data_preparation.77.partial.ipynb"):
            write(run.folder / name, "")
    rng = np.random.default_rng(0)
    monkeypatch.setattr(cache, "encoded", lambda name, texts, _: [
        (texts, {name: rng.random((len(texts), 384), np.float32)})])
    cache.encode("minilm", ["a prompt"], folder / "vectors")
    return folder


def test_clean_leaves_nothing_but_vectors_and_distclean_nothing(artifacts):
    clean.main("runs", str(artifacts))
    assert {path.name for path in artifacts.iterdir()} == {"vectors"}
    clean.remove(clean.vectors(artifacts), artifacts)
    assert not artifacts.exists()


@pytest.mark.parametrize("linked", [False, True])
def test_foreign_files_stay_whatever_the_folder_is(artifacts, tmp_path, linked, capsys):
    plant(artifacts, FOREIGN)
    (artifacts / "memo" / "elsewhere-0123456789abcdef-0123456789abcdef").symlink_to(tmp_path)
    if linked:
        (tmp_path / "artifacts").symlink_to(artifacts)
        artifacts = tmp_path / "artifacts"
    clean.main("runs", str(artifacts))
    clean.remove(clean.vectors(artifacts), artifacts)
    assert files(artifacts) == {*FOREIGN, "memo/elsewhere-0123456789abcdef-0123456789abcdef"}
    assert tmp_path.exists() and artifacts.exists()
    assert "since the study did not make it" in capsys.readouterr().out


def test_a_readers_file_in_a_run_stays(artifacts):
    run = artifacts / "mmlu-pro" / "default-minilm-s0"
    plant(run, ["out.ipynb"])
    clean.main("runs", str(artifacts))
    assert files(artifacts / "mmlu-pro") == {"default-minilm-s0/out.ipynb"}


def test_downloads_go_and_own_data_stays(tmp_path):
    data = tmp_path / "data"
    board = (ROOT / "src/embedllm/sources/open_llm_leaderboard.sha256").read_text().split()[0]
    downloaded = [f"open-llm-leaderboard/{board}", "weights/all-mpnet-base-v2/model.safetensors", "embedllm/train.csv",
                  "embedllm/.cache/huggingface/download/train.csv.metadata"]
    own = ["mine/outcomes.csv", "mine/questions.csv", "embedllm/val.csv", "open-llm-leaderboard/notes.md",
           "outcomes.csv", "weights/readme.txt"]
    plant(data, downloaded + own)
    clean.remove(clean.downloads(data), data)
    assert files(data) == set(own)
    (data / "open-llm-leaderboard" / ".git").mkdir()
    plant(data, downloaded[:1])
    clean.remove(clean.downloads(data), data)
    assert files(data) == {*own, downloaded[0]}, "a clone of the reader's"


def test_a_link_to_an_environment_stays(tmp_path):
    plant(tmp_path, ["other/pyvenv.cfg"])
    (tmp_path / ".venv").symlink_to(tmp_path / "other")
    clean.remove(clean.environment(tmp_path), tmp_path)
    assert (tmp_path / ".venv" / "pyvenv.cfg").exists()
    (tmp_path / ".venv").unlink()
    plant(tmp_path, [".venv/pyvenv.cfg"])
    clean.remove(clean.environment(tmp_path), tmp_path)
    assert files(tmp_path) == {"other/pyvenv.cfg"}


@pytest.mark.parametrize("target", ["clean", "distclean"])
def test_make_hands_over_the_folder_and_needs_no_set_up(artifacts, tmp_path, target):
    plant(artifacts, FOREIGN)
    tree = tmp_path / "tree"
    (tree / "src" / "embedllm" / "study").mkdir(parents=True)
    (tree / "src" / "embedllm" / "sources").mkdir()
    for name in ("Makefile", "pyproject.toml", "src/embedllm/study/clean.py",
                 "src/embedllm/sources/open_llm_leaderboard.sha256"):
        shutil.copy(ROOT / name, tree / name)
    plant(tree, ["data/mine/outcomes.csv", ".venv/pyvenv.cfg"])
    done = subprocess.run(["make", target], cwd=tree, capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], "EMBEDLLM_ARTIFACTS": str(artifacts)})
    assert done.returncode == 0, done.stderr
    assert files(artifacts) >= set(FOREIGN) and not list(artifacts.rglob("*.lock"))
    assert (tree / "data" / "mine" / "outcomes.csv").exists()
    assert (tree / ".venv").exists() == (target == "clean")
    assert (files(artifacts) > set(FOREIGN)) == (target == "clean"), "the vectors"
