"""What is sealed: drawn by prompt, suite and lineage, once; and what a table is without it."""

from dataclasses import replace
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from conftest import make_table

from embedllm.outcomes import OutcomeMatrix
from embedllm.sources import seal

SUITES = {"bbh": 200, "ifeval": 101, "math": 52, "mmlu_pro": 150}
LINEAGES = np.repeat(np.arange(20), [1, 2, 3, 4] * 5)
PLACES = {suite: set(range(end - SUITES[suite], end))
          for suite, end in zip(SUITES, np.cumsum(list(SUITES.values())), strict=True)}


@pytest.fixture
def table() -> OutcomeMatrix:
    """50 models of 20 lineages on four suites; in bbh questions 0 and 1, 2 and 3, ... to 39 have one prompt."""
    n = sum(SUITES.values())
    prompts = [f"Say {number - number % 2 if number < 40 else number}." for number in range(n)]
    prompts[1], prompts[3] = " say  0.", "SAY 2.\n"
    whole = make_table(np.random.default_rng(0).integers(0, 2, (50, n)), prompts=prompts)
    suites = np.repeat(list(SUITES), list(SUITES.values()))
    models = whole.models.assign(base_model=[f"base {number}" for number in LINEAGES])
    return replace(whole, models=models, questions=whole.questions.assign(suite=suites, benchmark=suites))


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(seal, "FILE", tmp_path / "sealed.csv")
    return seal.FILE


def drawn(table) -> tuple[set, set]:
    """Questions and models, as places."""
    found = seal.draw(table)
    assert list(found.columns) == ["kind", "name"] and not found.duplicated().any()
    kinds = [found.loc[found["kind"] == kind, "name"] for kind in ("question", "model")]
    return tuple({int(name[1:]) for name in names} for names in kinds)


def test_a_fifth_of_the_prompts_of_each_suite_and_none_of_mmlu_pro(table):
    questions, _ = drawn(table)
    shares = {suite: len(questions & places) for suite, places in PLACES.items()}
    twins = {number // 2 for number in questions if number < 40}
    assert {2 * pair for pair in twins} | {2 * pair + 1 for pair in twins} == {n for n in questions if n < 40}
    assert shares["bbh"] - len(twins) == 36 and twins, "a fifth of 180 prompts, of which 20 stand for two questions"
    assert (shares["ifeval"], shares["math"], shares["mmlu_pro"]) == (20, 10, 0)


def test_whole_lineages_are_drawn(table):
    _, models = drawn(table)
    own = set(LINEAGES[sorted(models)])
    assert len(own) == 4 and models == set(np.flatnonzero(np.isin(LINEAGES, list(own))))


def test_the_draw_does_not_depend_on_the_order_of_the_table(table, rng):
    found = seal.draw(table)
    for _ in range(3):
        models, questions = rng.permutation(table.shape[0]), rng.permutation(table.shape[1])
        turned = replace(table, scores=table.scores[models][:, questions], models=table.models.iloc[models],
                         questions=table.questions.iloc[questions])
        pd.testing.assert_frame_equal(seal.draw(turned), found)


def test_the_draw_does_not_look_at_scores_where_lineages_are_known(table):
    pd.testing.assert_frame_equal(seal.draw(replace(table, scores=1 - table.scores)), seal.draw(table))


def test_questions_with_one_prompt_in_two_suites_go_together(table):
    """Those of ifeval are all of bbh too and drawn there; ten of math are of mmlu_pro, which is open: so are they."""
    prompts = table.questions["prompt"].to_numpy(object)
    prompts[200:301] = prompts[40:141]
    prompts[301:311] = prompts[-10:]
    table = replace(table, questions=table.questions.assign(prompt=prompts))
    questions, _ = drawn(table)
    assert {number + 160 for number in questions if 40 <= number < 141} == questions & PLACES["ifeval"] != set()
    assert len({number // 2 if number < 40 else number for number in questions & PLACES["bbh"]}) == 36
    assert not questions & set(range(301, 311)) and len(questions & PLACES["math"]) == 8


def test_without_suites_benchmarks_are_meant(table):
    questions = table.questions.drop(columns="suite")
    assert drawn(replace(table, questions=questions)) == drawn(table)


def seals(file, **names) -> None:
    rows = [("here", kind, name) for kind, held in names.items() for name in held]
    other = [("elsewhere", "question", "q7"), ("elsewhere", "model", "m7")]
    pd.DataFrame(rows + other, columns=["source", "kind", "name"]).to_csv(file, index=False)


def test_what_the_list_names_is_left_out_and_told(table, file):
    seals(file, question=["q3", "q502", "not here"], model=["m1", "m49", "nobody"])
    repeats = pd.DataFrame({"model": ["m0", "m0", "m1"], "question_id": ["q3", "q4", "q4"], "score": [0, 1, 1]})
    table = replace(table, repairs={"mended": 2}, repeats=repeats)
    before = table.fingerprint
    found = seal.closed(table, "here")
    assert found.shape == (48, 501)
    assert not {"q3", "q502"} & set(found.questions.index) and not {"m1", "m49"} & set(found.models.index)
    assert (found.repairs["mended"], found.repairs["questions sealed"]) == (2, 2)
    assert found.repairs["models sealed"] == ["m1", "m49"]
    at = [np.setdiff1d(np.arange(50), [1, 49])[:, None], np.setdiff1d(np.arange(503), [3, 502])]
    np.testing.assert_array_equal(found.scores, table.scores[tuple(at)])
    assert found.repeats.to_numpy().tolist() == [["m0", "q4", 1]], "nor are their repeated rows"
    assert table.fingerprint == before and table.repairs == {"mended": 2} and table.shape == (50, 503)


@pytest.mark.parametrize("names", [{"question": ["q3"]}, {"model": ["m3"]}, {}])
def test_of_one_kind_or_of_nothing(table, file, names):
    seals(file, **names)
    found = seal.closed(table, "here")
    assert found.shape == (50 - ("model" in names), 503 - ("question" in names))
    assert found.repairs["questions sealed"] == ("question" in names)


@pytest.mark.parametrize("ids", [range(3), ["NA", "null", "01"]])
def test_ids_are_compared_as_text(file, ids):
    """A number, and what looks like a missing cell or a number."""
    table = make_table([[1, 0, 1], [0, 1, 1]])
    table = replace(table, questions=table.questions.set_axis(pd.Index(ids, name="question_id")))
    seals(file, question=list(ids)[::2])
    assert list(seal.closed(table, "here").questions.index) == [ids[1]]


def test_sealed_from_a_draw_to_a_table(table, file, monkeypatch, tmp_path):
    read = []
    module = ModuleType("source")
    module.read = lambda path, pool: read.append((path, pool)) or table
    monkeypatch.setattr(seal.importlib, "import_module", {"embedllm.sources.the_source": module}.__getitem__)
    seal.main("the-source", str(tmp_path), "all")
    assert read == [(tmp_path, "all")]
    pd.testing.assert_frame_equal(seal.sealed("the-source"), seal.draw(table), check_dtype=False)
    assert seal.sealed("other").empty
    questions, models = drawn(table)
    found = seal.closed(table, "the-source")
    assert found.shape == (50 - len(models), 503 - len(questions))
    assert (found.questions["suite"] == "mmlu_pro").sum() == 150
    before = file.read_bytes()
    with pytest.raises(SystemExit, match="the-source is sealed already"):
        seal.main("the-source", str(tmp_path), "all")
    assert file.read_bytes() == before and len(read) == 1
    monkeypatch.setattr(seal.importlib, "import_module", {"embedllm.sources.other": module}.__getitem__)
    seal.main("other", str(tmp_path), "")
    assert file.read_bytes().startswith(before), "the first seal stays as it is"
    pd.testing.assert_frame_equal(seal.sealed("other"), seal.sealed("the-source"))
