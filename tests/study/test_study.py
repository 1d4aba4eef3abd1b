"""Parameters, runs, remembered results, saved figures."""

import inspect
import json
import logging
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from PIL import Image

from embedllm.catalog import SOURCES
from embedllm.claims import of_notebook
from embedllm.figures import plots, style
from embedllm.files import ROOT
from embedllm.forecasters.factorization import Factorization
from embedllm.outcomes import OutcomeError, replace_unchecked
from embedllm.study import claims_page, data, execute, paths, presets, runs
from embedllm.study.memo import Memory
from embedllm.study.parameters import NOTEBOOKS, ParameterError, read


@pytest.mark.parametrize(("values", "message"), [
    ({"N_FOLD": 3}, "unknown parameter N_FOLD; did you mean N_FOLDS?"),
    ({"SEED": -1}, "SEED = -1 .*greater than or equal to 0"),
    ({"SEED": 2**31}, "SEED = .*less than 2147483648"),
    ({"FOLD_SEED": 2**32}, "FOLD_SEED = .*less than 2147483648"),
    ({"dim": 8}, "unknown parameter dim; did you mean DIM?"),
    ({"kappa": 0}, "unknown parameter kappa; did you mean KAPPA?"),
    ({"PRESET": "../smoke"}, "PRESET = '../smoke'"),
    ({"N_FITS": 2.5}, "N_FITS = 2.5"),
    ({"SIZES": [0.5, 1.5]}, "SIZES = .*less than or equal to 1"),
    ({"SIZES": [0.0]}, "SIZES = .*greater than 0"),
    ({"SIZES": []}, "SIZES = .*at least 1 item"),
    ({"NOISE": float("inf")}, "NOISE = inf .*finite"),
    ({"ENCODER": "bert"}, "ENCODER = 'bert' .*must be one of minilm, mpnet, hashing, random"),
    ({"DATASET": "mmlu"}, "DATASET = 'mmlu' .*one of mmlu-pro, .*alpaca-eval, .*embedllm, directory, lm-eval"),
])
def test_a_wrong_parameter_is_named_with_what_it_could_be(values, message):
    with pytest.raises(ParameterError, match=message):
        read("03_correctness_forecasting", values)


def test_papermill_passes_lists_as_text():
    assert read("03_correctness_forecasting", {"SIZES": "[0.5, 1.0]", "SEED": "3"}).SIZES == [0.5, 1.0]


def test_a_parameter_of_another_notebook_is_refused_unless_the_preset_says_the_same():
    with pytest.raises(ParameterError, match="N_MODELS is a parameter of 01_data_preparation, not of 04_model_routing"):
        read("04_model_routing", {"N_MODELS": 20})
    with pytest.raises(ParameterError, match="N_MODELS is a parameter of"):
        read("04_model_routing", {"N_MODELS": 20}, {"N_MODELS": 30})
    assert not hasattr(read("04_model_routing", {"N_MODELS": 20}, {"N_MODELS": 20}), "N_MODELS")


def test_a_source_gets_the_options_it_names_and_downloads_only_without_a_folder(tmp_path, monkeypatch):
    calls = []

    def load(path, *, duplicates="first", metric=""):
        calls.append(("load", path, duplicates, metric))
        return make_table(np.ones((2, 3)))

    def download(folder, *, revision="main"):
        calls.append(("download", folder, revision))

    source = ModuleType("source")
    source.load, source.download, source.EMBEDDED = load, download, tmp_path / "embedded"
    for name in ("mmlu_pro", "embedllm"):
        monkeypatch.setitem(sys.modules, f"embedllm.sources.{name}", source)
    values = {"DUPLICATES": "mean", "METRIC": "acc", "REVISION": "abc"}
    home = ROOT / "data" / "embedllm"
    for dataset, folder, expected in (
        ("embedllm", "", [("download", home, "abc"), ("load", home, "mean", "acc")]),
        ("embedllm", str(tmp_path), [("load", tmp_path, "mean", "acc")]),
        ("mmlu-pro", "", [("load", source.EMBEDDED, "mean", "acc")]),
        ("mmlu-pro", str(tmp_path), [("load", tmp_path, "mean", "acc")]),
    ):
        calls.clear()
        data.load_outcomes(read(runs.TABLE, values | {"DATASET": dataset, "DATA_DIR": folder}))
        assert calls == expected


@pytest.mark.parametrize("dataset", ["mmlu-pro", "simulated", "embedllm"])
def test_a_pool_of_a_source_with_one_table_is_refused_before_anything_is_fetched(dataset, monkeypatch):
    monkeypatch.setattr("embedllm.sources.embedllm.download", lambda folder, *, revision: pytest.fail("fetched"))
    with pytest.raises(ParameterError) as caught:
        data.load_outcomes(read(runs.TABLE, {"DATASET": dataset, "POOL": "core"}))
    assert str(caught.value) == f"POOL = 'core': {dataset} has one table only"


@pytest.mark.parametrize(("values", "pool"), [
    ({}, "some"), ({"PRESET": "full"}, "some"), ({"POOL": "third"}, "third"),
    ({"PRESET": "full", "POOL": "third"}, "third")])
def test_the_pool_is_the_one_asked_for_else_that_of_the_source(tmp_path, monkeypatch, values, pool):
    asked = []
    source = ModuleType("source")
    source.load = lambda path, *, pool: asked.append(pool) or make_table(np.ones((2, 3)))
    monkeypatch.setitem(sys.modules, "embedllm.sources.open_llm_leaderboard", source)
    name = "open-llm-leaderboard"
    monkeypatch.setitem(data.SOURCES, name, replace(SOURCES[name], pool="some"))
    p = read(runs.TABLE, {"DATASET": name, "DATA_DIR": str(tmp_path)} | values)
    data.load_outcomes(p)
    assert asked == [pool]
    assert list(data.further_tables(p)) == asked[1:] == ["all-suites", "union"]


def test_default_pools_are_pools_of_their_source():
    for entry in SOURCES.values():
        source = entry.code()
        assert ("pool" in inspect.signature(source.load).parameters) == bool(entry.pool)
        assert entry.pool in getattr(source, "POOLS", ("",))


@pytest.mark.parametrize(("files", "dataset", "message"), [
    ([], "directory", "holds no outcomes.csv or outcomes.parquet, which DATASET=directory is read from"),
    (["outcomes.csv"], "directory",
     "holds no questions.csv or questions.parquet, which DATASET=directory"),
    (["deep/outcomes.csv", "questions.csv"], "directory", "holds no outcomes.csv"),
    (["outcomes.csv", "questions.parquet"], "directory", ""),
    (["outcomes.csv"], "mmlu-pro", ""),
    (["a/b/samples_x_2024.jsonl"], "lm-eval", ""),
    (["a/b/results_x.json"], "lm-eval", "holds no samples_*.json* or results.json*, which DATASET=lm-eval"),
    (["a/samples_x.jsonl"], "mmlu-pro", "which DATASET=mmlu-pro is read from; DATASET=lm-eval can be"),
    (["raw/data.rds"], "metabench", ""), (["train.csv"], "embedllm", ""),
    (["raw/llm_data/x"], "open-llm-leaderboard", ""),
    (["results/x/y/annotations.json"], "alpaca-eval", ""),
])
def test_a_folder_is_refused_by_the_names_of_its_files(tmp_path, files, dataset, message):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    p = read(runs.TABLE, {"DATASET": dataset, "DATA_DIR": str(tmp_path), "NAME": "own"})
    if message:
        with pytest.raises(ParameterError) as caught:
            paths.check_data_dir(p)
        assert message in str(caught.value)
    else:
        paths.check_data_dir(p)


def test_every_source_that_is_read_from_a_folder_says_what_it_holds():
    assert {name for name, entry in SOURCES.items() if not entry.files} == {"simulated"}


@pytest.mark.parametrize("value", ["a b", "$(touch X)", "it's", "`x`", "plain/path"])
def test_a_command_that_a_message_shows_can_be_typed(value):
    told = data.as_options({"DATA_DIR": value, "SEED": 1, "NAME": None})
    assert shlex.split(told) == [f"DATA_DIR={value}", "SEED=1"]


@pytest.mark.parametrize(("exclude", "expected"), [
    (None, ["a", "b"]), ("null", ["a", "b"]), ([], ["NullModel", "a", "b"]), (["a"], ["NullModel", "b"])])
def test_what_is_no_model_is_left_out_unless_a_reader_says_otherwise(tmp_path, monkeypatch, exclude, expected):
    """AlpacaEval's default names three entries; that a folder lacks one is no error."""
    table = make_table(np.array([[1, 1, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1]]))
    table = replace_unchecked(table, models=table.models.set_axis(["NullModel", "a", "b"]).rename_axis("model"))
    source = ModuleType("source")
    source.load = lambda path, *, duplicates: table
    monkeypatch.setitem(sys.modules, "embedllm.sources.alpaca_eval", source)
    values = {"DATASET": "alpaca-eval", "DATA_DIR": str(tmp_path), "EXCLUDE": exclude}
    found = data.load_outcomes(read(runs.TABLE, values))
    assert list(found.models.index) == expected


def test_a_sample_keeps_every_benchmark():
    whole = data.load_outcomes(read(runs.TABLE, {"DATASET": "simulated", "N_MODELS": 16, "N_QUESTIONS": 600}))
    values = {"DATASET": "simulated", "N_MODELS": 16, "N_QUESTIONS": 600, "SAMPLE": 100}
    some = data.load_outcomes(read(runs.TABLE, values))
    assert 90 <= some.shape[1] <= 110
    assert set(some.questions["benchmark"]) == set(whole.questions["benchmark"])
    drawn = whole.questions.index.isin(some.questions.index)
    np.testing.assert_array_equal(some.scores, whole.at(drawn).scores)


def test_simulated_flaws_are_parameters():
    values = {"DATASET": "simulated", "N_MODELS": 16, "N_QUESTIONS": 200, "GRADED": "true", "MISSING": 0.2}
    values |= {"REPEATED": 0.1, "DUPLICATES": "max"}
    table = data.load_outcomes(read(runs.TABLE, values))
    assert not table.binary and not table.observed.all() and len(table.repeats)
    assert table.provenance["rule for repeated rows"] == "max"


@pytest.mark.parametrize(("text", "message"), [
    ("PRESET: mine\nENCODER: hashing\n", "ENCODER cannot stand in a preset"),
    ("N_MODELS: 30\n", "with PRESET: mine"),
    ("- a\n- b\n", "with PRESET: mine"),
    ("", "with PRESET: mine"),
])
def test_a_broken_preset_is_told(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ParameterError, match=message):
        presets.read_preset("mine", "simulated")


@pytest.mark.parametrize("text", [
    "007", "+1", "-1", " 1", "1 ", "1_000", "0x10", "1:30", "1e3", "", "one", "\u0661", "1\n"])
@pytest.mark.parametrize("name", ["SEED", "DATA_SEED", "SPLIT_SEED", "N_MODELS"])
def test_a_whole_number_told_as_text_is_plain_digits(name, text):
    with pytest.raises(ParameterError, match=f"{name} = .*must be plain digits"):
        read("01_data_preparation", {name: text})


def test_every_seed_has_the_same_bound():
    seeds = [(notebook, name) for notebook, known in NOTEBOOKS.items() for name in known.model_fields
             if name.endswith("SEED")]
    assert {name for _, name in seeds} == {"SEED", "DATA_SEED", "SPLIT_SEED", "FOLD_SEED"}
    for notebook, name in seeds:
        assert getattr(read(notebook, {name: 2**31 - 1}), name) == 2**31 - 1
        for value in (-1, 2**31):
            with pytest.raises(ParameterError, match=f"{name} = "):
                read(notebook, {name: value})


@pytest.mark.parametrize("name", ["", "simulated", "memo", "..", ".hidden", "a b", "Simulated", "bench", "Bench",
                                  "VECTORS", "inputs", "CLAIMS.md", "-x", "a/b", "a%b", "a$b", "\u00e9", "a\n"])
def test_own_data_needs_a_name_of_its_own(name):
    with pytest.raises(ParameterError, match="NAME"):
        read("01_data_preparation", {"DATASET": "directory", "NAME": name})


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`runs.start` for a notebook with its defaults and some changes, in a folder of the test's."""
    monkeypatch.setattr(paths, "ARTIFACTS", tmp_path / "artifacts")
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")

    def start(notebook="02_training", **changes):
        return runs.start(notebook, NOTEBOOKS[notebook]().model_dump() | changes | {"other": 1, "In": []})

    return start


def test_opening_a_notebook_makes_make_run_it_again(run):
    first = run()
    first.path("result.txt").write_text("1")
    first.finish()
    stamp = first.folder / "02_training.done"
    stamp.touch()
    run()  # a reader runs the first cell in JupyterLab and leaves
    assert not stamp.exists()


def test_figures_that_are_no_longer_drawn_go(run):
    import matplotlib.pyplot as plt

    table = pd.DataFrame({"x": [1]})
    first = run()
    for name in ("old", "kept"):
        first.save_figure(name, table, "A caption.", lambda _: plt.figure())
    first.finish()
    (first.figures / "03_other.png").touch()
    second = run()
    second.save_figure("kept", table, "A caption.", lambda _: plt.figure())
    second.finish()
    assert sorted(path.stem for path in first.figures.glob("*.png")) == ["02_kept", "03_other"]


def test_figures_that_are_committed_have_no_svg(run):
    import matplotlib.pyplot as plt

    committed, own = run(), run(DIM=8)
    for one in (committed, own):
        one.save_figure("one", pd.DataFrame({"x": [1]}), "A caption.", lambda _: plt.figure())
        one.finish()
    assert not list(committed.figures.glob("*.svg")) and [path.stem for path in own.figures.glob("*.svg")] == ["02_one"]


def test_runs_do_not_overwrite_each_other(run):
    folders = [run().folder, run(SEED=1).folder, run(ENCODER="hashing").folder, run(DIM=8).folder, run(DIM=9).folder]
    assert len(set(folders)) == len(folders)
    assert run().folder.name == "default-minilm-s0"
    assert run(DIM=8).base == run().folder


def test_only_the_default_run_writes_the_kept_figures(run, tmp_path):
    assert run().figures == tmp_path / "figures" / "mmlu-pro"
    assert run(SEED=1).figures == run(SEED=1).folder / "figures"
    assert run(DIM=8).figures == run(DIM=8).folder / "figures"


def test_a_preset_typed_into_a_notebook_takes_effect(run):
    """Its values come along, unless some of them stand in the cell already: then the cell is followed."""
    typed = run(PRESET="smoke", DATASET="simulated")
    assert typed.parameters.DIM == 16 and typed.folder.name == "smoke-minilm-s0"
    followed = run(**presets.read_preset("smoke", "simulated") | {"DIM": 232, "DATASET": "simulated"})
    assert followed.parameters.DIM == 232 and followed.folder.name.startswith("smoke-minilm-s0-")


def test_a_preset_of_another_dataset_is_refused(run):
    with pytest.raises(ParameterError, match="is for DATASET simulated, not mmlu-pro: make reproduce PRESET"):
        run("01_data_preparation", PRESET="paper-size", DATASET="mmlu-pro")
    assert run("01_data_preparation", PRESET="paper-size", DATASET="simulated").parameters.N_QUESTIONS == 36_000


def test_a_preset_is_no_override(run):
    preset = presets.read_preset("smoke", "mmlu-pro")  # values for all notebooks, as papermill -f injects them
    assert run(**preset).folder.name == "smoke-minilm-s0"
    assert run(**preset | {"DIM": 9}).base.name == "smoke-minilm-s0"


def test_an_earlier_notebook_must_have_finished(run):
    with pytest.raises(runs.StudyError, match=r"01_data_preparation has not finished.*make reproduce SEED=4"):
        run(SEED=4).table()
    first = run("01_data_preparation", SEED=4)
    table = make_table(np.ones((2, 3)))
    table.save(first.path("table.zip"))
    with pytest.raises(runs.StudyError):  # written, but not declared whole
        run(SEED=4).table()
    first.finish()
    assert run(SEED=4).table().fingerprint == table.fingerprint


@pytest.mark.parametrize(("source", "verdict"), [("embedllm", "reproduced"), ("simulated, as files", "method check")])
def test_planted_outcomes_in_the_papers_files_are_not_judged_as_the_papers(run, source, verdict):
    first = run("01_data_preparation", DATASET="embedllm")
    replace(make_table(np.ones((2, 3))), provenance={"source": source}).save(first.path("table.zip"))
    first.finish()
    found = {name: {"verdict": "reproduced", "reason": "a test"}
             for name, claim in of_notebook("02_training").items() if claim.is_judged_on("embedllm")}
    assert set(run(DATASET="embedllm").verdicts(found)["verdict"].dropna()) == {verdict}


def test_starting_again_withdraws_trust_and_equal_products_keep_their_time(run):
    first = run("01_data_preparation")
    make_table(np.ones((2, 3))).save(first.path("table.zip"))
    first.finish()
    manifest = first.folder / "01_data_preparation.products"
    before = manifest.stat().st_mtime_ns
    again = run("01_data_preparation")
    assert not manifest.exists()
    make_table(np.ones((2, 3))).save(again.path("table.zip"))
    again.finish()
    assert manifest.stat().st_mtime_ns == before
    changed = run("01_data_preparation")
    make_table(np.zeros((2, 3))).save(changed.path("table.zip"))
    changed.finish()
    assert manifest.stat().st_mtime_ns != before


def test_a_wrong_parameter_is_told_within_a_second_and_without_torch():
    code = """
import sys, time
began = time.perf_counter()
from embedllm.study import parameters, runs
try:
    runs.start("02_training", {"DIM": 0})
except parameters.ParameterError as error:
    print(time.perf_counter() - began, "torch" in sys.modules, error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, torch, *message = out.split()
    assert float(seconds) < 3  # under 1 s when nothing else runs
    assert torch == "False"
    assert " ".join(message).startswith("DIM = 0 (length of a model vector)")


CALLS = []


def counted(table, scale, settings=None):
    CALLS.append(scale)
    return {"b": pd.DataFrame({"x": [1.0 * scale]}), "a": table.scores * scale}


def test_a_result_is_computed_once_and_again_if_anything_changed(tmp_path):
    CALLS.clear()
    table = make_table(np.ones((2, 3)))
    first = Memory(tmp_path).remember(counted, table, 2, settings={"k": [1]})
    second = Memory(tmp_path).remember(counted, table, 2, settings={"k": [1]})
    assert CALLS == [2]
    assert list(second) == ["b", "a"]
    pd.testing.assert_frame_equal(first["b"], second["b"])
    np.testing.assert_array_equal(first["a"], second["a"])
    Memory(tmp_path).remember(counted, make_table(np.zeros((2, 3))), 2, settings={"k": [1]})
    Memory(tmp_path).remember(counted, table, 2, settings={"k": [2]})
    Memory(tmp_path).remember(counted, table, 3, settings={"k": [1]})
    assert CALLS == [2, 2, 2, 3]
    memory = Memory(tmp_path)
    memory.remember(counted, table, 2, settings={"k": [1]})
    oldest = min(path.stat().st_mtime for path in tmp_path.iterdir())
    assert (memory.read_back, memory.oldest) == (1, oldest)
    for _ in range(2):
        memory.remember(counted, table, 4, settings={"k": [1]})
    assert (CALLS[-1], memory.read_back) == (4, 1), "what it computed itself is not read back"


def test_a_trained_factorization_is_remembered(tmp_path, planted):
    from embedllm.experiments import comparisons

    settings = {"dim": 4, "epochs": 2, "seed": 0}
    first = Memory(tmp_path).remember(comparisons.train, planted[0], **settings)
    second = Memory(tmp_path).remember(comparisons.train, planted[0], **settings)
    assert isinstance(second, Factorization)
    np.testing.assert_array_equal(first.model_vectors, second.model_vectors)


def test_an_interrupted_computation_leaves_nothing(tmp_path):
    def fails():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Memory(tmp_path).remember(fails)
    assert not list(tmp_path.iterdir())


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    style.use_style()
    table = pd.DataFrame({"name": ["kNN", "factorization"], "value": [0.1, 0.2], "low": [0.0, 0.1], "high": [0.2, 0.3]})
    for copy in ("one", "two"):
        style.save_figure(
            tmp_path / copy, table, "A caption, with umlauts: äöü.", lambda written: plots.plot_intervals(
                {"": written}, "name", "value", "a label", levels={"": {"a level": 0.1}}, zero=True))
    for kind in ("png", "svg", "csv"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert Image.open(tmp_path / "one.png").info["Description"] == "A caption, with umlauts: äöü."
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "one.csv"), table)


def test_a_figure_is_drawn_from_what_is_written(tmp_path):
    """The seventh digit, which differs between machines, reaches neither the table nor the drawing."""
    for copy, seventh in (("one", 1.1234561), ("two", 1.1234564)):
        table = pd.DataFrame({"name": ["kNN", "other"], "value": np.float64([seventh, 1e-9])})
        style.save_figure(tmp_path / copy, table, "A caption.", lambda written: plots.plot_intervals(
            {"": written}, "name", "value", "a label"))
    for kind in ("png", "svg", "csv"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert (tmp_path / "one.csv").read_text() == "name,value\nkNN,1.12346\nother,1e-09\n"
    assert table["value"][0] == 1.1234564, "the caller's table stays as it is"


def test_provenance_names_parameters_inputs_and_products(run):
    first = run("01_data_preparation")
    make_table(np.ones((2, 3))).save(first.path("table.zip"))
    first.finish()
    second = run()
    second.table()
    np.save(second.path("result.npy"), np.ones(2))
    second.finish()
    manifest = json.loads((second.folder / "02_training.products").read_text())
    assert manifest["parameters"]["DIM"] == 232
    assert set(manifest["inputs"]) == {"01_data_preparation"}
    assert set(manifest["products"]) == {"result.npy"}


def test_a_measurement_that_is_not_there_names_the_command():
    with pytest.raises(runs.StudyError, match=r"figures/bench/nothing\.csv is not there: make bench"):
        data.benchmark("nothing")


def test_make_passes_on_progress_and_nothing_else(capsys, monkeypatch):
    """Not on a terminal: one line a minute; a renewed line on one. Never what else a cell writes."""
    handler, log = execute._ProgressShown("03"), logging.Logger("test", logging.INFO)
    log.addHandler(handler)
    for said in ("\rfits: 1/9", "a result\n", "\rfits: 2/9", "\r         \r"):
        log.info(said)
    assert capsys.readouterr().err == "03  fits: 1/9\n"
    monkeypatch.setattr(execute, "EVERY", -1)
    log.info("\rfits: 3/9")
    assert capsys.readouterr().err == "03  fits: 3/9\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    log.info("\rfits: 4/9")
    log.info("\r         \r")
    assert capsys.readouterr().err == "\r\033[K03  fits: 4/9\r\033[K"


def test_what_showed_progress_is_not_kept():
    outputs = [{"name": "stdout", "text": ["\r", "fits: 1/9"]}, {"name": "stdout", "text": "a result\n"},
               {"name": "stdout", "text": "before\n\rfits: 1/9\r         \rafter\n\rfits: 2/9"},
               {"name": "stderr", "text": "a warning"}]
    notebook = {"metadata": {"kernelspec": {}}, "cells": [{"cell_type": "code", "metadata": {}, "outputs": outputs}]}
    assert execute.clean(notebook)["cells"][0]["outputs"] == [
        {"name": "stdout", "text": "a result\n"}, {"name": "stdout", "text": ["before\n", "after\n"]}]


def test_own_data_is_read_before_a_kernel_starts_and_once(tmp_path):
    """What is wrong in a cell is told by make itself; of data that notebook 01 has read nothing is read again."""
    (tmp_path / "outcomes.csv").write_text("model,question_id,score\na,1,7\n")
    (tmp_path / "questions.csv").write_text("question_id,prompt,benchmark\n1,What is this?,one\n")
    p = read(runs.TABLE, {"DATASET": "directory", "DATA_DIR": str(tmp_path), "NAME": "own"})
    run = tmp_path / "run"
    execute.write_inputs(p, run)
    with pytest.raises(OutcomeError, match="no number in"):
        data.read_own_data(p, run)
    (run / f"{runs.TABLE}.done").touch()
    data.read_own_data(p, run)
    os.utime(run / "inputs" / "parameters.sha", (2**31, 2**31))  # changed since
    with pytest.raises(OutcomeError, match="no number in"):
        data.read_own_data(p, run)


def test_the_readmes_claims_are_a_row_each_with_their_data_sets():
    rows = pd.DataFrame({"id": ["C5", "C5", "S1", "S1", "Q12", "C1"], "folder": ["a", "b", "a", "b", "a", "a"],
                         "verdict": ["holds here", "holds here", "inconclusive", "holds here", "answered", ""]})
    said = claims_page.settled_claims(rows)
    assert "| 107.71 TFLOP, peak memory under 1 GB | counted operations and peak memory" in said
    assert "| holds here (a and b) |" in said and "| inconclusive (a); holds here (b) |" in said
    assert "Answered in words: Q12." in said and "1 of 4 claims and questions have no verdict" in said


def test_the_page_of_claims_shows_rules_and_all_pools(tmp_path):
    row = {"id": "C12", "folder": "a", "verdict": "inconclusive", "reason": "why", "ours": "0.00059", "low": "0.0001",
           "high": "0.001", "p": "0.3", "figure": ""}
    said = claims_page.claims_page(pd.DataFrame([row]))
    assert "Intervals: 97.5 %." in said, "of a one-sided test at 1.25 %"
    assert "**inconclusive**, 0.00059 (0.0001 to 0.001), p = .300: why." in said
    assert "<i>Rule.</i> Compact means at most a quarter" in said
    rows = pd.DataFrame({"method": ["kNN", "model mean", "gone"], "difference": 0.001, "low": 0.0, "high": 0.002})
    rows.to_csv(tmp_path / "03_deep_paired_differences.csv", index=False)
    names = ["model mean", "x", "kNN"]
    table = claims_page.on_all_pools([tmp_path, tmp_path / "none"], "03", "paired_differences", names)
    assert table["method"].tolist() == ["model mean", "kNN"] and list(table) == ["method", tmp_path.name]
    assert table[tmp_path.name].tolist() == ["+1.0 (0.0 to +2.0)"] * 2
