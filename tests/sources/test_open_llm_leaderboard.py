"""The Open LLM Leaderboard v2: rows put into the order of their own processes, what is left out, what is refused."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import planted_leaderboard as planted
import pytest
from conftest import damaged, read_or_refuse, sentence
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted_leaderboard import CORE, RAN, change, equal, prompts, results

from embedllm.outcomes import OutcomeError
from embedllm.sources import mmlu_pro, process_order, seal
from embedllm.sources import open_llm_leaderboard as source

FUZZ = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROWS = "rows put into another order than their header, of all that were published"
DIFFER = "models whose evaluations differ, the fullest followed"
CHANCE, LACK = "rows whose order cannot be told, left out", "rows that lack tasks of their part, left out"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with everything, what was planted there, and what stands for MMLU-Pro."""
    folder, known = tmp_path_factory.mktemp("planted"), planted.subjects()
    return folder, planted.plant(folder, known), known


@pytest.fixture
def root(tmp_path, whole, monkeypatch):
    """The same folder, to be changed."""
    monkeypatch.setattr(mmlu_pro, "load", lambda: whole[2])
    return shutil.copytree(whole[0], tmp_path / "raw")


@pytest.fixture
def truth(whole):
    return whole[1]


@pytest.mark.parametrize(("processes", "row"), [
    (1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), (2, [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]), (4, [0, 4, 8, 1, 5, 9, 2, 6, 3, 7]),
    (8, [0, 8, 1, 9, 2, 3, 4, 5, 6, 7])])
def test_rows_of_known_order(processes, row):
    """A row in which everyone answered each question by its number."""
    np.testing.assert_array_equal(process_order.in_order(np.float32([row, row]), processes), [np.arange(10)] * 2)
    few = process_order.in_order(np.float32([[0, 1, 2]]), 8)
    np.testing.assert_array_equal(few, [[0, 1, 2]], "fewer questions than processes")


@pytest.mark.parametrize("ran", [(2, 8), (2, 4, 8, 1), (2, 2, 1)])
def test_order_is_told_where_most_or_as_many_as_elsewhere_ran_as_the_header_says(rng, ran):
    models = dict(zip("abcdefghijkl", ran * 6, strict=False))
    tasks = []
    for n in (150, 201, 302):
        table = planted.published(planted.drawn(rng, 1.5 * rng.standard_normal(n), models), models)
        tasks.append(process_order.Task("core", table.set_index("model").drop(columns="timestamp"), None, None))
    found = process_order.row_order(tasks).set_index("model")
    assert found["certain"].all() and found["whole"].all() and found["processes"].to_dict() == models
    own = found["processes"] == 2
    assert found["published"][~own].abs().max() < 0.15 < 0.4 < found["repaired"].min()
    np.testing.assert_array_equal(found["published"][own], found["repaired"][own])


def test_of_chance_nobody_can_tell(rng):
    easy = rng.standard_normal(800)
    rows = pd.DataFrame(rng.integers(0, 2, (500, 800)), index=[f"m{number}" for number in range(500)])
    rows.iloc[0] = (easy[planted.answered(800, 8)] > 0).astype(int)
    rows.iloc[1] = 1
    found = process_order.row_order([process_order.Task("mmlu_pro", rows, None, easy)]).set_index("model")
    assert found.index[found["certain"]].tolist() == ["m0"] and found.loc["m0", "processes"] == 8


def test_every_row_is_put_into_its_own_order(root, truth, whole):
    known, other = whole[2], [name for name in RAN if RAN[name] != 2]
    table = source.read(root.parent, "union")
    assert table.shape == (12, 1026 + 399) and table.binary and table.observed.all() and equal(table, truth)
    assert list(table.questions.index) == list(truth.columns)
    assert table.questions["suite"].value_counts(sort=False).to_dict() == planted.SUITES | {"mmlu_pro": 399}
    tasks = table.questions.index.str.split("/").str[0]
    core = table.questions["suite"] != "mmlu_pro"
    assert (table.questions["benchmark"] == tasks)[core].all()
    assert (table.questions["prompt"] == [f"{name.replace('/', ', ')}?" for name in table.questions.index])[core].all()
    numbers = known.questions.index.astype(int).argsort()
    assert list(table.questions["prompt"][~core]) == list(known.questions["prompt"].iloc[numbers])
    assert list(table.questions["benchmark"][~core]) == [f"mmlu_pro/{subject}" for subject in
                                                         known.questions["benchmark"].iloc[numbers]]
    expected = {f"{name} ({part}, {RAN[name]} processes)" for name in other for part in ("core", "mmlu_pro")}
    assert set(table.repairs[ROWS]) == expected and len(table.repairs[ROWS]) == len(expected)
    assert table.repairs[CHANCE] == table.repairs[LACK] == table.repairs[DIFFER] == []
    assert table.repairs["models without a row of facts"] == sorted(RAN)
    again = source.read(root, "union")
    assert (again.fingerprint, again.provenance) == (table.fingerprint, table.provenance)
    change(results(root, "IFEVAL"), lambda rows: rows[::-1])
    assert source.read(root, "union").provenance != table.provenance


def test_mmlu_pro_as_the_package_carries_it(tmp_path):
    truth = planted.plant(tmp_path, mmlu_pro.load())
    table = source.read(tmp_path, "all-suites")
    assert table.shape == (12, 1026 + 12_032) and table.observed.all() and equal(table, truth)


def test_pools(root, truth):
    """m0 lacks a task, m1 MMLU-Pro, m3 everything but MMLU-Pro; at m8 and m11 nobody can tell."""
    rng = np.random.default_rng(5)
    change(results(root, "MuSR__three"), planted.without_rows("m0"))
    change(results(root, "MMLU-Pro"), planted.without_rows("m1"))
    for stem in CORE:
        change(results(root, stem), planted.without_rows("m3"))
        change(results(root, stem), planted.by_chance(rng, "m8"))
    change(results(root, "MMLU-Pro"), planted.by_chance(rng, "m11"))
    union = source.read(root, "union")
    assert union.repairs[LACK] == ["org/m0 (core)"]
    assert union.repairs[CHANCE] == ["org/m8 (core)", "org/m11 (mmlu_pro)"]
    core = union.questions["suite"] != "mmlu_pro"
    parts = pd.DataFrame({"core": core, "mmlu_pro": ~core}).T.to_numpy()
    asked = np.stack([union.observed[:, part].mean(axis=1) for part in parts])
    assert set(asked.ravel()) == {0, 1}
    held = [set(union.models.index[row == 1].str.removeprefix("org/")) for row in asked]
    everyone = {f"m{number}" for number in range(12)}
    assert held == [everyone - {"m0", "m3", "m8"}, everyone - {"m1", "m11"}]
    assert equal(union, truth)
    assert source.read(root).fingerprint == source.read(root, "core").fingerprint
    for pool, shape, lacking in (("core", (9, 1026), {"m0", "m3", "m8"}),
                                 ("all-suites", (7, 1425), {"m0", "m1", "m3", "m8", "m11"})):
        table = source.read(root, pool)
        assert table.shape == shape and table.observed.all() and equal(table, truth)
        assert set(table.models.index) == {f"org/{name}" for name in everyone - lacking}


def test_half_a_task_is_no_task(root, truth):
    change(results(root, "IFEVAL"), lambda rows: rows.assign(**{"7": rows["7"].where(rows["model"] != "org__m5", "")}))
    table = source.read(root)
    assert table.repairs[LACK] == ["org/m5 (core)"] and table.shape == (11, 1026) and table.observed.all()


def test_evaluations_of_one_model_are_one(root, truth):
    """m2 twice the same; m4 also with half of the answers, all of them wrong; m6 also in part, but as it is."""
    def more(rows):
        of = rows.set_index("model").drop(columns="timestamp")
        wrong = (1 - of.loc[["org__m4"]].astype(int)).astype(str)
        wrong.iloc[:, :100] = ""
        part = of.loc[["org__m6"]].copy()
        part.iloc[:, 50:] = "NaN"
        others = pd.concat([wrong, of.loc[["org__m2"]], part]).reset_index()
        others.insert(1, "timestamp", "2023-01-01")
        return pd.concat([others, rows, others]).sample(frac=1, random_state=0)

    change(two(root), more)
    table = source.read(root)
    assert table.shape == (12, 1026) and equal(table, truth)
    assert table.repairs[DIFFER] == ["org/m4"] and len(table.repeats) == 0


def test_names_are_one_however_they_are_written(root, truth):
    for stem in CORE:
        change(results(root, stem), of("model", lambda names: names.str.replace("org__m7", "org__m__7")))
    change(ifeval(root), of("model", lambda names: names + " "))
    table = source.read(root)
    assert table.shape == (12, 1026) and equal(table, truth.rename({"org/m7": "org/m__7"}))


def test_what_is_sealed_is_not_loaded(root, truth, monkeypatch):
    names = pd.DataFrame({"kind": ["model", "question", "question"], "name": ["org/m9", "ifeval/3", "bbh_one/5"]})
    names.assign(source="open-llm-leaderboard").to_csv(root / "sealed.csv", index=False)
    monkeypatch.setattr(seal, "FILE", root / "sealed.csv")
    table = source.load(root, pool="core")
    assert table.shape == (11, 1024) and equal(table, truth)
    assert not {"ifeval/3", "bbh_one/5"} & set(table.questions.index) and "org/m9" not in table.models.index


def test_an_unknown_pool():
    with pytest.raises(OutcomeError, match="no pool 'all'; there are core, all-suites, union"):
        source.read(Path("nowhere"), "all")


def edited(file, act):
    """A change of the rows of a table."""
    return lambda root: change(file(root), act)


def of(column, act):
    return lambda rows: rows.assign(**{column: act(rows[column])})


def fourth(cell):
    """A column whose fourth cell is another."""
    return lambda column: column.where(column.index != 3, cell)


ifeval, musr, two = (partial(results, stem=stem) for stem in ("IFEVAL", "MuSR__three", "Big-Bench-Hard__two"))
of_musr, of_two = (partial(prompts, stem=stem) for stem in ("MuSR__three", "Big-Bench-Hard__two"))
WRONG = "IFEVAL_results.csv, row 5: a score that is no number in [0, 1]"
NAMELESS = "IFEVAL_results.csv, row 5: a model without a name"
IDS = "bbh_two_prompts.csv: the column id must number its prompts from 0 on, each once"


def emptied(*stems):
    return lambda root: [change(results(root, stem), lambda rows: rows[:0]) for stem in stems]


@pytest.mark.parametrize(("act", "message"), [
    (lambda root: shutil.rmtree(root / "llm_data"), "holds no folder llm_data/llm_performance_data"),
    (lambda root: ifeval(root).unlink(), "holds no table IFEVAL*_results.csv of the suite ifeval"),
    (lambda root: results(root, "MMLU-Pro").unlink(), "holds no table MMLU-Pro*_results.csv of the suite mmlu_pro"),
    (lambda root: of_musr(root).unlink(), "musr_three_prompts.csv is missing: the prompts of musr_three"),
    (lambda root: ifeval(root).write_bytes(b""), "IFEVAL_results.csv is empty"),
    (edited(ifeval, lambda rows: rows[["model", "timestamp", *map(str, range(301))]]),
     "IFEVAL_results.csv: its header is not 0, 2, 4, ..., 1, 3, 5"),
    (edited(ifeval, lambda rows: rows.drop(columns="0")), "header is not 0, 2, 4"),
    (edited(ifeval, lambda rows: rows.drop(columns="timestamp")), "IFEVAL_results.csv lacks the column(s) timestamp"),
    *((edited(ifeval, of("5", fourth(cell))), WRONG) for cell in ("1.5", "-1", "yes", "1e999")),
    *((edited(ifeval, of("model", fourth(cell))), NAMELESS) for cell in ("", "  ")),
    *((edited(of_two, of("id", fourth(cell))), IDS) for cell in ("4", "253", "-1", "", "six", "6.5")),
    (edited(of_two, of("prompt", fourth(" "))), "row 5 (question_id 'bbh_two/6')"),
    (edited(of_two, lambda rows: rows.drop(columns="prompt")), "bbh_two_prompts.csv lacks the column(s) prompt"),
    (edited(of_two, lambda rows: rows[rows["id"] != "252"]),
     "Big-Bench-Hard__two_results.csv: 253 questions, but 252 prompts of bbh_two"),
    (emptied(*CORE), "no model has every task of the pool core in an order that can be told"),
    (emptied(*CORE, "MMLU-Pro"), "no score at all"),
])
def test_bad_input_is_refused_in_one_sentence(root, act, message):
    act(root)
    assert message in sentence(source.read, root)


def test_without_mmlu_pro_there_is_a_core(root, truth):
    emptied("MMLU-Pro")(root)
    assert "of the pool all-suites" in sentence(partial(source.read, pool="all-suites"), root)
    assert equal(source.read(root, "union"), truth) and source.read(root).shape == (12, 1026)


def test_numbers_of_prompts_may_be_written_with_a_point(root):
    edited(of_two, of("id", lambda column: column + ".0"))(root)
    assert "bbh_two/252" in source.read(root).questions.index


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize("file", [musr, of_musr])
def test_cuts_and_flips(root, whole, file, data):
    file(root).write_bytes(data.draw(damaged(file(whole[0]).read_bytes())))
    table = read_or_refuse(source.read, root)
    assert table is None or table.observed.all()


def test_facts_and_registry_fit():
    assert source.facts()["model"].is_unique
    files = [line.split() for line in source.REGISTRY.read_text().splitlines()]
    assert len(files) == 36 + 35 and all(len(digest) == 64 for _, digest in files)
    assert {Path(name).parent.as_posix() for name, _ in files} == {source.RESULTS, source.PROMPTS}
