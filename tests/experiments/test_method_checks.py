"""The checks of the checks: rates by hand, a broken test is caught, repetitions are the same however divided."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from embedllm.conclusions import method_checks as said
from embedllm.experiments import generated_checks as generated
from embedllm.experiments import method_checks as checks
from embedllm.experiments import null_data, vector_checks


def rated(found: dict) -> pd.DataFrame:
    return checks.rated(found, generated.CHECKS, generated.BOUNDS)


def found(value: float, covered: float = 0.95, n: int = 2000) -> dict:
    """Every check with the same share of p-values at .01, of covered intervals."""
    def share(hits, one, other):
        return np.where(np.arange(n) < round(hits * n), one, other)

    return {(one.name, planted): share(covered, 1.0, 0.0) if one.covers else share(0.9 if planted else value, 0.01, 0.8)
            for one in generated.CHECKS for planted in (False, True)}


@pytest.mark.parametrize(("rate", "covered", "expected"), [(0.05, 0.95, True), (0.06, 0.92, False), (0.08, 0.5, False)])
def test_a_rate_passes_by_its_limit(rate, covered, expected):
    rows = rated(found(rate, covered))
    assert rows["passes"].all() == expected
    tests = rows[rows["power"].notna()]
    assert np.allclose(tests["rate"], rate) and (tests["bound"] > rate).all() and np.allclose(tests["power"], 0.9)
    assert np.allclose(rows[rows["power"].isna()]["rate"], covered)
    assert f"{int(rows['passes'].sum())} of {len(rows)} checks pass" in said.conclusion(rows)


def test_few_repetitions_settle_nothing():
    assert not rated(found(0.05, n=100))["passes"].any()


def test_repetitions_are_the_same_however_they_are_divided(monkeypatch):
    chosen = ("mean over lineages", "its interval, over lineages")
    few = {one: draw for one, draw in generated.CHECKS.items() if one.name in chosen}
    monkeypatch.setattr(generated, "CHECKS", few)
    whole = generated.run(20, 0)
    monkeypatch.setattr(generated, "CHUNK", 7)
    for key, values in generated.run(20, 0).items():
        np.testing.assert_array_equal(values, whole[key])
    assert not np.array_equal(generated.run(20, 1)["mean over lineages", False], whole["mean over lineages", False])


def test_a_test_that_ignores_families_is_caught(monkeypatch):
    """Free permutation of sizes among models: what the study replaced."""
    def lenient(rng, planted):
        distances, size, *_ = null_data.sized(rng, planted)
        return vector_checks.pooled_test(distances, size, np.zeros(len(size)), None, 99)["p_closer"]

    [own] = (draw for one, draw in generated.CHECKS.items() if one.name == "sizes over all classes")
    assert (generated.repeated(lenient, False, list(range(150))) <= 0.05).mean() > 0.1
    assert (generated.repeated(own, False, list(range(150))) <= 0.05).mean() < 0.1


def test_a_miss_is_repeated_once_with_fresh_seeds_and_twice_as_often(monkeypatch):
    names = ("mean over lineages", "what is left out")
    few = {one: draw for one, draw in generated.CHECKS.items() if one.name in names}
    monkeypatch.setattr(generated, "CHECKS", few)
    asked = []
    whole = generated.run

    def run(number, seed, compute, names=()):
        asked.append((number, seed, tuple(names)))
        return whole(number, seed, lambda calls: [call() for call in calls], names)

    rates = checks.settled(20, 0, run, generated.CHECKS, replace(generated.BOUNDS, enough=20))["rates"]
    assert asked == [(20, 0, ()), (40, 1, names)], "20 settle nothing"
    assert rates["tries"].tolist() == [2, 2] and rates["repetitions"].tolist() == [40, 40]
    assert generated.kept(20, 0)["rates"]["tries"].tolist() == [1, 1], "too few to settle anything"


def test_a_repetition_without_a_result_is_told():
    broken = found(0.05)
    broken["clusters", False][3] = np.nan
    with pytest.raises(ValueError, match="clusters: 1 of 2000 repetitions have no result"):
        rated(broken)


def test_curves_rise_to_one():
    rows = checks.curves(found(0.05), generated.CHECKS)
    last = rows[rows["p"] == 1]
    assert (last["share"] == 1).all() and set(rows["drawn"]) == {"null", "planted"}
    assert rows["check"].nunique() == sum(not one.covers for one in generated.CHECKS)
    level = rows[(rows["drawn"] == "null") & np.isclose(rows["p"], 0.06)]
    assert len(level) == rows["check"].nunique() and np.allclose(level["share"], 0.05)
