"""What `make check` says of a table, and what it refuses, in the words of the audit and in seconds."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import make_table, write_directory

from embedllm import check
from embedllm.audit.report import audit
from embedllm.conclusions.first_look import WIDTH, outlook
from embedllm.files import ROOT
from embedllm.outcomes import OutcomeMatrix
from embedllm.splits import divide
from embedllm.study import data
from embedllm.study.parameters import NOTEBOOKS, ParameterError, Parameters, read

DEFAULTS = {name: known() for name, known in NOTEBOOKS.items()}


def checked(*command: str, **values) -> subprocess.CompletedProcess:
    untold = {name: value for name, value in os.environ.items() if name not in Parameters.model_fields}
    return subprocess.run([sys.executable, *(command or ("-m", "embedllm.check"))], capture_output=True, text=True,
                          env=untold | {name: str(value) for name, value in values.items()})


@pytest.fixture
def own(tmp_path):
    write_directory(tmp_path, n_models=9, n_questions=240, missing=0.1)
    return tmp_path


def test_a_folder_is_told_by_its_files_and_described_in_the_words_of_the_audit(own):
    done = checked(DATA_DIR=own)
    assert done.returncode == 0, done.stderr
    first, *_ = done.stdout.splitlines()
    assert first.startswith(f"DATASET=directory {own}, as its files say it is")
    said = " ".join(done.stdout.split())
    table = divide(data.load_outcomes(read("01_data_preparation", {
        "DATASET": "directory", "DATA_DIR": str(own), "NAME": "own"})))
    rows = audit(table)
    for row in rows[~rows["topic"].isin(["origin", "questions", "models", "leakage"])].itertuples():
        assert " ".join(f"{row.check}: {row.value} {row.detail and f'({row.detail})'}".split()) in said
    assert "expect wide intervals" in said and "05 probing: not " in said and "02 training: all of it" in said
    assert max(map(len, done.stdout.splitlines())) <= max(WIDTH, len(first))


def test_nothing_is_written_and_no_torch_is_loaded(own, tmp_path):
    code = "import sys; from embedllm import check; check.main(); print('torch' in sys.modules)"
    done = checked("-c", code, DATA_DIR=own, EMBEDLLM_ARTIFACTS=tmp_path / "a", EMBEDLLM_FIGURES=tmp_path / "f")
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert not (tmp_path / "a").exists() and not (tmp_path / "f").exists()


@pytest.mark.parametrize(("table", "notebook", "lacks"), [
    (make_table(np.eye(9)), "04_model_routing", ["the best model per benchmark", "there is a single one"]),
    (make_table(np.eye(9)), "05_probing", ["there is a single one", "no size is known (parameters_b in models.csv)"]),
    (make_table(np.eye(4), ["a", "a", "b", "b"]), "05_probing",
     ["4 models cannot carry 4 predictors", "no p-value of 4 families", "a map of the models: 8 are needed"]),
    (make_table(np.eye(5)), "07_sensitivity", ["the pool has no more than 5 models", "repeated rows"]),
    (make_table(np.eye(9), list("abcabcabc")), "04_model_routing", ["no price is known"]),
    (make_table(np.eye(9), list("abcabcabc")), "03_correctness_forecasting", []),
])
def test_what_a_notebook_cannot_say_is_told_with_the_reason(table, notebook, lacks):
    found = "; ".join(outlook(table, DEFAULTS)[notebook])
    assert all(part in found for part in lacks) and bool(found) == bool(lacks)


def test_sizes_and_families_that_are_known_are_not_missed():
    table = make_table(np.eye(9), list("abcabcabc"))
    sized = table.models.assign(parameters_b=[7.0, 13.0, 70.0] * 3)
    for facts, lack in ((sized, "no family is known"), (sized.assign(family=list("uvwxyzrst")), ""),
                        (sized.assign(parameters_b=1.0), "fall into 0 classes")):
        found = "; ".join(outlook(OutcomeMatrix(
            scores=table.scores, models=facts, questions=table.questions), DEFAULTS)["05_probing"])
        assert lack in found and bool(found) == bool(lack)


@pytest.mark.parametrize(("values", "message"), [
    ({"DATA_DIR": "nowhere"}, "DATA_DIR = 'nowhere': no such directory"),
    ({"DATA_DIR": "README.md"}, "DATA_DIR = 'README.md' is a file"),
    ({"DATA_DIR": "notebooks"},
     "DATA_DIR = 'notebooks' holds none of outcomes.csv or outcomes.parquet (DATASET=directory)"),
    ({"DATA_DIR": "notebooks", "DATASET": "lm-eval"}, "DATA_DIR = 'notebooks' holds no samples_*.json*"),
    ({"DATASET": "lm-evl"}, "DATASET = 'lm-evl' (source of outcomes): must be one of"),
    ({"DATA_DIR": "notebooks", "NAME": "bench"}, "NAME = 'bench' is taken by the study itself"),
    ({"DATA_DIR": "notebooks", "DATASET": "simulated"}, "DATASET simulated reads no data: leave DATA_DIR blank"),
    ({"PRESET": "nope"}, "PRESET = 'nope': no such file"),
])
def test_refusals_are_one_sentence_and_quick(values, message):
    began = time.perf_counter()
    done = checked(**values)
    assert time.perf_counter() - began < 6  # under 2 s when nothing else runs
    assert done.returncode == 1 and done.stdout == ""
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_folder_of_both_forms_has_to_be_named(own):
    (own / "samples_x.jsonl").touch()
    with pytest.raises(ParameterError, match=r"holds outcomes.csv .* \(DATASET=directory\); samples_.*lm-eval"):
        check.dataset_of({"DATA_DIR": str(own), "NAME": ""})
    (own / "outcomes.csv").unlink()
    assert check.dataset_of({"DATA_DIR": str(own), "NAME": ""}) == "lm-eval"


def test_broken_and_too_small_tables_are_refused(own):
    (own / "outcomes.csv").write_text("model,question_id,score\na,0,7\n")
    assert "score that is no number in [0, 1]: row 2" in checked(DATA_DIR=own).stderr
    (own / "outcomes.csv").write_text("model,question_id,score\na,0,1\n")
    done = checked(DATA_DIR=own)
    assert done.returncode == 1 and "the table is too small: 1 models" in done.stderr
    assert "models: 1" in done.stdout and "nothing, see the error" in done.stdout, "what could be read is described"


def test_names_from_files_do_not_move_the_cursor(own):
    text = (own / "outcomes.csv").read_text()
    (own / "outcomes.csv").write_text(text.replace("llm0,", "\x1b[2Jllm0,"))
    done = checked(DATA_DIR=own)
    assert done.returncode == 0 and "\x1b" not in done.stdout and "\\x1b[2Jllm0" in done.stdout


def test_make_leaves_the_data_set_to_the_files_unless_it_is_told():
    recipe = re.search(r"^check:.*\n\t(.*)", (ROOT / "Makefile").read_text(), re.M)[1]
    assert recipe == "@$(if $(DATASET_TOLD),,unset DATASET; )$(BIN)/python -m embedllm.check"
    for told, expected in (([], "unset DATASET; "), (["DATASET=lm-eval"], "")):
        done = subprocess.run(["make", "-n", "check", *told], cwd=ROOT, capture_output=True, text=True,
                              env={"PATH": os.environ["PATH"]})
        assert done.stdout.splitlines()[-1] == f"{expected}.venv/bin/python -m embedllm.check"
