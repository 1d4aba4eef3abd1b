"""What make makes of the variables it is given: values reach Python as they were typed, odd names are refused."""

import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from embedllm.files import ROOT
from embedllm.study.given import from_environment
from embedllm.study.parameters import Parameters

SHARED = list(Parameters.model_fields)
ODD = ["$(touch X)", "`touch X`", "$(shell touch X)", "${HOME}", "$HOME", "$$", "a b", "it's", '"; touch X; "', "a#b",
       "a\\", "\\n", "%", "*", "a\nb", "~", "-n", "a:b", "a=b", "é", "{x}", "trailing "]


def make(*arguments, **environment) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items()
                 if name not in (*SHARED, "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "EMBEDLLM_ARTIFACTS")}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=inherited | environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def reached(tmp_path_factory):
    """What Python finds in its environment after `make cells` with some variables; the set-up is a mere stand-in."""
    folder = tmp_path_factory.mktemp("venv")
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.write_text(f"#!{sys.executable} -S\nimport json, os\nfile = open({str(folder / 'told')!r}, 'w')\n"
                      f"json.dump({{name: os.environ[name] for name in {SHARED}}}, file)\n")
    python.chmod(0o755)
    (folder / ".embedllm-cpu").touch()

    def told(*arguments, **environment) -> dict:
        done = make("cells", f"VENV={folder}", *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "told").read_text())

    return told


def survives(reached, value: str) -> None:
    assert reached(f"DATA_DIR={value}")["DATA_DIR"] == value.lstrip(" \t\n\v\f\r"), "make drops blanks in front"
    assert reached(DATA_DIR=value)["DATA_DIR"] == value
    assert eval(PythonTranslator.translate(value)) == value, "and into a notebook"


@pytest.mark.parametrize("value", ODD)
def test_a_value_reaches_python_as_it_was_typed(reached, value):
    survives(reached, value)
    assert not (ROOT / "X").exists()


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12))
def test_any_value_reaches_python_as_it_was_typed(reached, value):
    survives(reached, value)


def test_what_is_not_told_has_the_default_of_the_parameters(reached, monkeypatch):
    defaults = {name: str(info.default) for name, info in Parameters.model_fields.items()}
    assert reached() == defaults
    assert reached(NAME="THE-MACHINE") == defaults, "WSL's NAME is no label"
    for name in SHARED:
        monkeypatch.delenv(name, raising=False)
    assert from_environment() == defaults
    monkeypatch.setenv("SEED", "5")
    assert from_environment()["SEED"] == "5"


@pytest.mark.parametrize(("arguments", "message"), [
    *(([f"{name}={value}"], f"{name} = \"{value.strip()}") for name in ("NAME", "PRESET", "ENCODER", "DATASET")
      for value in ("a b", "a/b", "$(shell touch X)", "`touch X`", "a%b", "a#b", "a:b", "..", "-x", "a;b", "é", "a\\")),
    *(([f"SEED={value}"], f"SEED = \"{value}\"") for value in ("007", "00", "+1", "-1", "1.0", "1e3", "one", "1 2")),
    (["DATSET=simulated"], "DATSET is no variable of this Makefile; did you mean DATASET?"),
    (["dataset=simulated"], "dataset is no variable of this Makefile; did you mean DATASET?"),
    (["DATADIR=x"], "DATADIR is no variable of this Makefile; did you mean DATA_DIR?"),
    (["DIM=8"], "DIM is no variable of this Makefile; make help lists them"),
    (["it's=8"], "it's is no variable of this Makefile"),
    (["TORCH=gpu"], "TORCH = \"gpu\" must be cpu or cuda"),
    *(([f"{name}=/some/{mark}where"], f"{name} = \"/some/{mark}where\" has in it what make cannot use: ")
      for name in ("VENV", "EMBEDLLM_ARTIFACTS") for mark in " `'\";&|<>(){}[]*?!~=^%:\\#$"),
    (["VENV=/some/where "], "has in it what make cannot use: a blank"),
])
def test_what_make_cannot_use_is_refused_before_anything_runs(arguments, message):
    began = time.perf_counter()
    done = make("reproduce", *arguments)
    assert time.perf_counter() - began < 2
    assert done.returncode == 2 and message in done.stderr and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert not (ROOT / "X").exists()


@pytest.mark.parametrize("argument", [
    "PYTHON=python3", "VENV=.other", "VENV=/jos\u00e9/.venv", "TORCH=cuda", "EXTRAS=data", "NAME=my-data.2", "SEED=0",
    "EMBEDLLM_FIGURES=x", "EMBEDLLM_ARTIFACTS=../a+b@c,d", "LOKY_MAX_CPU_COUNT=1"])
def test_what_make_takes_stays_allowed(argument):
    assert make("help", argument).returncode == 0


@pytest.mark.parametrize(("artifacts", "values"), [
    ("", {}), ("out", {"SEED": "3", "NAME": "Mine.2"}), ("./out/", {}), ("a/../é", {"PRESET": "quick"}),
    (str(ROOT / "out"), {"ENCODER": "hashing"}), ("/somewhere/else", {})])
def test_make_and_python_name_the_same_folder(artifacts, values):
    """The text of a dependency file has to be make's name of its target."""
    named = make("--no-print-directory", "--eval", "shown: ; @echo $(RUN)", "shown",
                 *(f"{name}={value}" for name, value in values.items()), EMBEDLLM_ARTIFACTS=artifacts)
    code = ("import sys, json; from embedllm.files import shown; from embedllm.study import parameters, paths; "
            "print(shown(paths.base_folder(parameters.read('02_training', json.loads(sys.argv[1])))))")
    done = subprocess.run([sys.executable, "-c", code, json.dumps(values)], capture_output=True, text=True,
                          env=os.environ | {"EMBEDLLM_ARTIFACTS": artifacts})
    assert named.stdout == done.stdout != ""


def test_the_default_run_is_published_whatever_make_was_told():
    recipe = (ROOT / "Makefile").read_text().partition("\npublish:")[2].splitlines()
    assert recipe[2] == "\t@unset $(PARAMETERS); $(EXECUTE) publish"
