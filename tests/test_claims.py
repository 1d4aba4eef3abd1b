"""The claims as data: all of them, each with one owner, and no verdict without a rule that stood before."""

from dataclasses import replace

import pandas as pd
import pytest

from embedllm import claims, presentation
from embedllm.conclusions import verdicts
from embedllm.study.parameters import NOTEBOOKS

OWNERS = {  # of issue and plan: which notebook answers for which row
    "02": "C5 C6 C12 Q12", "03": "C1 C2 C13 Q2 Q4 Q10 S1", "04": "C4 C10 Q5", "05": "C7 C8 C9 C11 Q1 Q3 Q7 Q8",
    "06": "C3 Q6", "07": "Q11", "09": "Q9",
}


def test_every_claim_and_question_has_one_owner():
    found = claims.all_claims()
    assert set(found) == {f"C{n}" for n in range(1, 14)} | {f"Q{n}" for n in range(1, 13)} | {"S1"}
    for number, ids in OWNERS.items():
        assert {name for name, one in found.items() if one.notebook.startswith(number)} == set(ids.split())
    assert {one.notebook for one in found.values()} <= set(NOTEBOOKS)
    assert all(one.says.endswith((".", "?")) and one.measure and one.source for one in found.values())


def test_numbers_are_those_of_the_published_texts():
    """What code reads and what readers see is typed twice; here they meet."""
    values = {name: one.values for name, one in claims.all_claims().items()}
    published = {name: one.published for name, one in claims.all_claims().items()}
    assert published["C1"] == f"{values['C1']['accuracy']:.0%}".replace("%", " %")
    assert published["C5"] == f"{values['C5']['flop'] / 1e12} TFLOP, peak memory under {values['C5']['gigabytes']} GB"
    assert f"{values['C6']['ratio']:,}" in published["C6"]
    assert f"{values['C4']['selections_per_second']}" in published["C4"]
    assert f"{values['C12']['dim']} numbers" in published["C12"]


def without_rules() -> dict[str, claims.Claim]:
    """The claims, those of notebook 05 without rules."""
    return {name: replace(one, rule="", datasets=[]) if one.notebook == "05_probing" else one
            for name, one in claims.all_claims().items()}


@pytest.fixture
def bare(monkeypatch):
    """No row of notebook 05 has a rule."""
    known = without_rules()
    monkeypatch.setattr(claims, "all_claims", lambda: known)


@pytest.mark.parametrize(("dataset", "verdict"), [("simulated", "method check"), ("mmlu-pro", ""), ("embedllm", "")])
def test_without_a_rule_a_row_is_under_review(bare, dataset, verdict):
    table = claims.verdicts("05_probing", dataset, "own name", {})
    assert list(table) == ["id", "dataset", "measure", "published", "ours", "low", "high", "p", "verdict", "reason",
                           "figure"]
    assert set(table["id"]) == set(OWNERS["05"].split())
    assert set(table["verdict"]) == {verdict} and set(table["reason"]) == {"under review"}
    assert set(table["dataset"]) == {"own name"} and table[["ours", "low", "high", "p"]].isna().all(axis=None)


@pytest.fixture
def ruled(monkeypatch):
    """C7 and Q1 have rules."""
    known = without_rules()
    known |= {name: replace(known[name], rule="gain above zero: holds here") for name in ("C7", "Q1")}
    monkeypatch.setattr(claims, "all_claims", lambda: known)


def found(verdict: str, other: str = "answered") -> dict:
    return {"C7": {"ours": 0.05, "low": 0.04, "high": 0.06, "p": 1e-4, "verdict": verdict, "reason": "gains",
                   "figure": "05_figure"}, "Q1": {"verdict": other, "reason": "see 05_other"}}


@pytest.mark.parametrize(("dataset", "verdict", "expected"), [
    ("mmlu-pro", "holds here", "holds here"), ("embedllm", "reproduced", "reproduced"),
    ("simulated", "holds here", "method check")])
def test_a_verdict_by_a_rule_is_kept_and_the_planted_pool_gives_none(ruled, dataset, verdict, expected):
    table = claims.verdicts("05_probing", dataset, dataset, found(verdict)).set_index("id")
    assert table.loc["C7", ["ours", "verdict", "reason", "figure"]].tolist() == [0.05, expected, "gains", "05_figure"]
    assert table.loc["C8", "reason"] == "under review"


@pytest.mark.parametrize(("dataset", "given", "message"), [
    ("mmlu-pro", found("reproduced"), "C7: 'reproduced' is no verdict on mmlu-pro; possible: holds here"),
    ("embedllm", found("holds here"), "C7: 'holds here' is no verdict on embedllm; possible: reproduced"),
    ("mmlu-pro", found("answered"), "C7: 'answered' is no verdict"),
    ("mmlu-pro", {"C7": found("holds here")["C7"]}, "Q1: has a rule in claims.toml, but notebook 05_probing"),
    ("mmlu-pro", found("holds here") | {"C8": {}}, "C8: claims.toml has no rule for it"),
    ("simulated", found("holds here") | {"C1": {}}, "C1: claims.toml has no rule for it that notebook 05"),
])
def test_a_verdict_needs_a_rule_an_owner_and_data_that_can_give_it(ruled, dataset, given, message):
    with pytest.raises(ValueError, match=message):
        claims.verdicts("05_probing", dataset, dataset, given)


def test_a_row_for_some_data_sets_is_judged_there_only():
    """At a level that its tests share; elsewhere it says where."""
    own = claims.all_claims()["S1"]
    assert own.level == 0.025 and own.is_judged_on("metabench") and not own.is_judged_on("mmlu-pro")
    rows = {"C1": verdicts.waits(), "C2": verdicts.waits(), "C13": verdicts.waits()}
    others = rows | {name: verdicts.answered("there") for name in ("Q2", "Q4", "Q10")}
    elsewhere = claims.verdicts(own.notebook, "mmlu-pro", "mmlu-pro", others).set_index("id").loc["S1"]
    assert (elsewhere["verdict"], elsewhere["reason"]) == ("", "judged on open-llm-leaderboard and metabench")
    with pytest.raises(ValueError, match=r"S1: has a rule in claims\.toml, but"):
        claims.verdicts(own.notebook, "metabench", "metabench", others)
    given = others | {"S1": {"ours": -0.01, "low": -0.02, "high": 0.0, "p": 1e-4, "verdict": "holds here",
                             "reason": "lower"}}
    table = claims.verdicts(own.notebook, "metabench", "metabench", given).set_index("id")
    assert table["verdict"]["S1"] == "holds here" and table["verdict"]["C1"] == ""
    assert table["reason"]["C13"] == "judged on alpaca-eval", "found here, and judged elsewhere"
    exploratory = claims.verdicts(own.notebook, "metabench", "metabench", given, judges=False).set_index("id")
    assert set(exploratory["verdict"]) == {""}
    with pytest.raises(ValueError, match="C1: '' is no verdict"):
        claims.verdicts(own.notebook, "metabench", "metabench", given | {"C1": {"verdict": "", "reason": ""}})


def test_readers_see_claims_in_words(bare):
    said = claims.in_words("06_embedder_ablation")
    assert "**C3** The choice of the prompt encoder hardly matters" in said and "72 to 74 %" in said
    assert "**Q6**" in said and "C4" not in said
    settled = claims.verdicts("05_probing", "mmlu-pro", "mmlu-pro", {}).assign(low=-0.1, high=0.2, ours=0.1)
    assert "interval, at the level of the claim" in presentation.as_shown(claims.as_read(settled)), "not one of 95 %"
    read = claims.as_read(claims.verdicts("05_probing", "mmlu-pro", "mmlu-pro", {}))
    assert list(read) == ["id", "claim", "published", "reason"], "blank columns tell nothing"
    assert isinstance(read, pd.DataFrame)


def test_a_notebook_that_tells_something_of_a_question_says_where_its_verdict_is():
    table = claims.verdicts("06_embedder_ablation", "mmlu-pro", "mmlu-pro", {}, judges=False).set_index("id")
    assert table.loc["Q8", ["verdict", "reason"]].tolist() == ["", "see notebook 05"]
    assert "Q8" in claims.in_words("05_probing") and "Q8" not in claims.in_words("06_embedder_ablation")
