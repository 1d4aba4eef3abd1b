"""The frozen ensemble and the rule it is judged by, on tables made so that the answer is known."""

import hashlib
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from conftest import copies_and_others, make_table
from scipy.special import expit

from embedllm import catalog
from embedllm.claims import all_claims
from embedllm.experiments import open_seal
from embedllm.experiments.confirmation import ALL, confirm, judged, verdict
from embedllm.files import ROOT
from embedllm.outcomes import OutcomeError
from embedllm.sources import open_llm_leaderboard, seal

CLAIM = all_claims()["S1"]
SEALED = "0d8248e56dd62fa60cdddd2920f0063b3cee9b031332d3979102a877e3e0f50b"
FROZEN = "7a054cd621143ed574e741258efbf2075b2f0806d82e5bd53f4053ec70bd1d77"


def test_the_ensemble_is_the_frozen_one():
    """To develop it further give the new one a name of its own: this one is what was, or will be, confirmed."""
    assert catalog.FORECASTERS[CLAIM.values["forecaster"]].definition == CLAIM.values["definition"]


@pytest.mark.parametrize("name", CLAIM.datasets)
def test_the_committed_verdict_follows_from_the_committed_tests(name):
    """What came out of the first run stays, and so does the verdict by the rule."""
    folder = ROOT / "figures" / name
    committed = pd.read_csv(folder / "03_verdicts.csv").set_index("id").loc["S1"]
    found = verdict(pd.read_csv(folder / "03_confirmation.csv"), CLAIM)
    assert (committed["verdict"], committed["reason"]) == (found["verdict"], found["reason"])
    numbers = ["ours", "low", "high", "p"]
    np.testing.assert_allclose(committed[numbers].astype(float), [found[number] for number in numbers], rtol=1e-5)


def test_the_rule_is_the_one_that_stood_before_the_run():
    stood = {name: value for name, value in asdict(CLAIM).items() if name != "elsewhere"}  # a field that came later
    assert hashlib.sha256(repr(sorted(stood.items())).encode()).hexdigest() == FROZEN


def test_the_seal_is_the_one_that_was_drawn():
    assert hashlib.sha256(seal.FILE.read_bytes()).hexdigest() == SEALED
    assert set(pd.read_csv(seal.FILE)["source"]) == set(CLAIM.datasets)


def test_the_frozen_comparators_can_be_fitted_still():
    assert set(CLAIM.values["comparators"]) == set(catalog.FROZEN)


@pytest.mark.parametrize("change", [
    {"members": catalog.TEXT_ONLY.members}, {"path": "embedllm.forecasters.linear.TextLogistic"},
    {"members": (replace(catalog.SHAPED, settings={"width": 2.0}), *catalog.OURS.members[1:])},
    {"members": (replace(catalog.SHAPED, grid={"width": (1, 2)}), *catalog.OURS.members[1:])}])
def test_what_changes_forecasts_changes_the_definition(change):
    assert replace(catalog.OURS, **change).definition != catalog.OURS.definition
    shown = replace(catalog.OURS, name="other", color="#000000", knows="else")
    assert shown.definition == catalog.OURS.definition


def test_judged_are_representatives_and_no_question_of_the_development_pool(rng):
    table = make_table(copies_and_others(rng))
    table.questions["suite"] = np.repeat(["bbh", "mmlu_pro"], 200)
    vectors = rng.standard_normal((400, 3))
    kept, own = judged(table, vectors)
    assert kept.shape == (2, 200) and list(kept.models.index) == [table.models.index[0], table.models.index[3]]
    np.testing.assert_array_equal(own, vectors[:200])


@pytest.fixture(scope="module")
def rows():
    """Difficulty that the text tells in one suite, and nothing in the other: the ensemble beats the benchmark mean."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((400, 4)).astype(np.float32)
    logits = rng.standard_normal((8, 1)) + 2 * vectors[:, 0] * (np.arange(400) < 200)
    table = make_table(np.float32(rng.random((8, 400)) < expit(logits)), ["a", "b"] * 200)
    table.questions["suite"] = np.repeat(["told", "untold"], 200)
    values = dict(CLAIM.values) | {"comparators": ["benchmark mean", "1PL with text"], "fits": 2, "folds": 2}
    claim = replace(CLAIM, values=values)
    return confirm(table, vectors, claim, noise=0.0, seed=9), claim


def test_confirmation_finds_what_was_planted(rows):
    found, claim = rows
    assert found["suite"].unique().tolist() == [ALL, "told", "untold"] and len(found) == 6
    tests = found.set_index(["suite", "reference"])
    assert tests.loc[(ALL, "benchmark mean"), "high"] < 0 < tests.loc[("untold", "benchmark mean"), "high"]
    assert tests.loc[("told", "benchmark mean"), "difference"] < tests.loc[(ALL, "benchmark mean"), "difference"]
    by_suite = found.pivot_table(index="reference", columns="suite", values="difference")
    np.testing.assert_allclose(by_suite["told"] + by_suite["untold"], 2 * by_suite[ALL])
    assert verdict(found, claim)["verdict"] == "inconclusive", "1PL is all there is here"
    assert verdict(found, claim)["reason"].startswith("against the 1PL with text, over which an advantage is least ")


@pytest.mark.parametrize(("differences", "p", "expected", "nearest"), [
    ([-0.02, -0.01], [1e-9, 0.02], "holds here", "kNN"),
    ([-0.02, -0.01], [1e-9, 0.03], "inconclusive", "kNN"),
    ([-0.02, 0.01], [1e-9, 0.03], "inconclusive", "kNN"),
    ([-0.02, 0.01], [1e-9, 0.02], "opposite here", "kNN"),
    ([0.02, -0.01], [0.5, 0.9], "inconclusive", "benchmark mean"),
])
def test_the_rule_gives_its_verdicts(differences, p, expected, nearest):
    rows = pd.DataFrame({"suite": ALL, "reference": ["benchmark mean", "kNN"], "difference": differences, "p": p,
                         "low": -1.0, "high": 1.0})
    suite = rows.assign(suite="one", difference=5.0, p=0.0)
    found = verdict(pd.concat([rows, suite]), CLAIM)
    assert found["verdict"] == expected and found["reason"].startswith(f"against the {nearest}, ")


def test_the_seal_opens_once_and_judges_sealed_cells_alone(rng, monkeypatch, tmp_path):
    """Sealed questions and a sealed model; the record says what came out, and closes the way back."""
    table = make_table(np.float32(rng.random((6, 120)) < 0.5), ["a", "b"] * 60)
    names = pd.DataFrame({"kind": "question", "name": table.questions.index[:30]})
    names.loc[len(names)] = ["model", table.models.index[0]]
    judged_cells = []

    def confirmed(table, vectors, claim, cells, **settings):
        judged_cells.append(cells)
        return pd.DataFrame({"suite": [ALL], "reference": ["kNN"], "difference": -1.0, "p": 0.0, "low": -2, "high": 0})

    monkeypatch.setattr(open_seal, "sealed", lambda source: names)
    monkeypatch.setattr(open_seal, "confirm", confirmed)
    monkeypatch.setattr(open_seal, "encode", lambda name, prompts, cache: np.zeros((120, 2), np.float32))
    monkeypatch.setattr(open_llm_leaderboard, "read", lambda folder, pool: table)
    record = tmp_path / "seal_opened.json"
    found = open_seal.open_seal("open-llm-leaderboard", tmp_path, "stacked ensemble", record)
    assert found["verdict"] == "holds here" and found["definition"] == catalog.OURS.definition and record.exists()
    questions, models = judged_cells
    assert questions[1:, :30].all() and not questions[0].any() and not questions[:, 30:].any()
    assert models[0].all() and not models[1:].any()
    with pytest.raises(OutcomeError, match="another look confirms nothing"):
        open_seal.open_seal("open-llm-leaderboard", tmp_path, "stacked ensemble", record)
    for name in ("kNN", "no such"):
        with pytest.raises(OutcomeError, match="no forecaster of the catalog"):
            open_seal.open_seal("open-llm-leaderboard", tmp_path, name, tmp_path / "other.json")
