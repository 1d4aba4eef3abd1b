"""Each figure has one writer, and deep results say whether they belong to today's code and table."""

import json

import pytest

from embedllm.study import shelf


@pytest.fixture
def folder(tmp_path):
    """Figures that a default and a deep run of notebook 03 left, and some of another notebook."""
    for name in ("03_kept", "03_old", "03_deep_kept", "03_deep_old", "04_other", "04_deep_other"):
        (tmp_path / f"{name}.csv").write_text("x\n1\n")
    return tmp_path


def left(folder) -> set[str]:
    return {path.stem for path in folder.glob("*.csv")}


def test_the_default_run_touches_nothing_deep(folder):
    kept = shelf.Shelf(folder, "03_", folder / "run")
    assert kept.place("kept", "x\n1\n") == folder / "03_kept"
    kept.tidy()
    assert left(folder) == {"03_kept", "03_deep_kept", "03_deep_old", "04_other", "04_deep_other"}


def test_times_that_are_there_stay(folder):
    """They differ each time, and a clone should stay as it was."""
    kept = shelf.Shelf(folder, "03_", folder / "run")
    assert kept.place("timing_all", "x\n1\n") == folder / "timing_all"
    (folder / "timing_all.csv").write_text("x\n1\n")
    assert kept.place("timing_all", "x\n2\n") == folder / "run" / "timing_all"


def test_a_table_that_was_a_figure_leaves_no_picture(folder):
    (folder / "03_kept.png").write_bytes(b"")
    kept = shelf.Shelf(folder, "03_", folder / "run")
    kept.place("kept", "x\n1\n")
    kept.place("old", "x\n1\n", (".csv", ".png"))
    kept.tidy()
    assert {path.name for path in folder.glob("03_*")} == {"03_kept.csv", "03_old.csv", "03_deep_kept.csv",
                                                          "03_deep_old.csv"}


def test_a_deep_run_writes_only_what_differs_and_touches_nothing_else(folder):
    deep = shelf.Shelf(folder, "03_", folder / "run", is_deep=True)
    assert deep.place("kept", "x\n2\n") == folder / "03_deep_kept"
    assert deep.place("old", "x\n1\n") == folder / "run" / "03_old", "the default run shows the same"
    assert deep.place("timing_all", "") == folder / "run" / "timing_all", "times are the default run's"
    deep.tidy()
    assert left(folder) == {"03_kept", "03_old", "03_deep_kept", "04_other", "04_deep_other"}


def test_deep_results_say_whether_they_are_todays(tmp_path):
    file, roots = tmp_path / "03_deep_provenance.json", frozenset({("embedllm.splits", "cut")})
    today = shelf._today([list(root) for root in roots])
    shelf.record(file, {"N_WORLDS": 19}, "table", [(roots, today)])
    assert shelf.state(file, "table") == "Computed by `make deep` with today's code on today's table."
    assert "with another table than today's" in shelf.state(file, "other")
    shelf.record(file, {"N_WORLDS": 19}, "table", [(roots, "another digest")])
    assert "with other code (cut) than today's: run it again" in shelf.state(file, "table")
    gone = frozenset({("embedllm.no_such_module", "cut")})
    shelf.record(file, {"N_WORLDS": 19}, "table", [(gone, today)])
    assert "with other code (cut)" in shelf.state(file, "table")
    assert json.loads(file.read_text())["parameters"] == {"N_WORLDS": 19}


def test_a_record_of_a_first_run_stays_and_is_shown(folder, monkeypatch):
    """Nothing is written; what belongs to it is kept when the rest is tidied away."""
    drawn = []
    monkeypatch.setattr(shelf.presentation, "show_figure", drawn.append)
    (folder / "03_kept.png").write_bytes(b"picture")
    kept = shelf.Shelf(folder, "03_", folder / "run")
    assert kept.show_record("kept")["x"].tolist() == [1] and drawn == [folder / "03_kept.png"]
    with pytest.raises(shelf.StudyError, match=r"03_new\.csv is the record of a first run"):
        kept.show_record("new")
    kept.tidy()
    assert left(folder) == {"03_kept", "03_deep_kept", "03_deep_old", "04_other", "04_deep_other"}
    assert (folder / "03_kept.png").read_bytes() == b"picture"


def test_tables_of_deep_runs_are_read_where_they_are_of_today(folder):
    kept, names = shelf.Shelf(folder, "03_", folder / "run"), ("kept", "no such")
    assert kept.deep_tables(names, "table") == {"kept": None, "no such": None}, "nobody knows where it is from"
    shelf.record(folder / "03_deep_provenance.json", {}, "table", [])
    found = kept.deep_tables(names, "table")
    assert found["kept"]["x"].tolist() == [1] and found["no such"] is None
    assert kept.deep_tables(names, "another table")["kept"] is None
    assert shelf.Shelf(folder, "03_", folder / "run", is_deep=True).deep_tables(names, "table")["kept"] is None


def test_a_conclusion_rests_on_deep_tables_of_the_same_table(folder):
    shelf.record(folder / "03_deep_provenance.json", {}, "table", [])
    here, kept = {name: shelf.pd.DataFrame({"x": [2]}) for name in ("kept", "new")}, shelf.Shelf(folder, "03_", folder)
    assert {name: one["x"][0] for name, one in kept.best_of(here, "table").items()} == {"kept": 1, "new": 2}
    assert kept.best_of(here, "another table")["kept"]["x"][0] == 2


def test_deep_results_rest_on_the_code_that_tests_them_too(tmp_path):
    """What judges counts with all it uses, called by its module or by its name; a figure does not."""
    sources = ["from embedllm.evaluation import fits\nfrom embedllm.figures import plots\n",
               "from embedllm.evaluation.metrics import question_scores\n", "fits.compare(1)\nplots.plot_curves(2)\n"]
    cells = [{"cell_type": "code", "source": [source]} for source in sources]
    notebook = tmp_path / "one.ipynb"
    notebook.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": ["no code ("]}, *cells]}))
    found = dict(shelf.judging(notebook))
    assert set(found) == {frozenset({("embedllm.evaluation.fits", "compare")}),
                          frozenset({("embedllm.evaluation.metrics", "question_scores")})}
    roots = [["embedllm.evaluation.fits", "compare"]]
    assert found[frozenset({("embedllm.evaluation.fits", "compare")})] == shelf._today(roots)
