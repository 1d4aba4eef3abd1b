"""Who is chosen, and what a choice tells of its question: against scipy and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from scipy import stats
from sklearn.metrics import mutual_info_score

from embedllm.outcomes import OutcomeMatrix
from embedllm.routing.diversity import entropy, halves, pointwise_information, shares, told_by_choice


def test_shares_count_every_model_over_all_fits():
    choices = np.array([[2, 2, 0, 2], [2, 2, 2, 2]])
    found = shares(choices, pd.Index(["a", "b", "c"]), np.array(["law", "law", "law", "art"]))
    by_benchmark = {name: rows.set_index("model")["share"].to_dict() for name, rows in found.groupby("benchmark")}
    assert list(found["benchmark"].unique()) == ["all", "art", "law"]
    assert list(by_benchmark["all"].items()) == [("c", 0.875), ("a", 0.125), ("b", 0.0)], "most often chosen first"
    assert by_benchmark["art"] == {"c": 1, "a": 0, "b": 0}
    assert by_benchmark["law"] == {"c": pytest.approx(5 / 6), "a": pytest.approx(1 / 6), "b": 0}


def test_entropy_is_scipys():
    choices = np.random.default_rng(0).integers(5, size=(3, 400))
    assert entropy(choices) == pytest.approx(stats.entropy(np.bincount(choices.ravel()), base=2))
    assert entropy(np.zeros((1, 9))) == 0


def test_information_is_scikit_learns_less_its_bias():
    rng = np.random.default_rng(1)
    choice = rng.integers(4, size=3000)
    label = np.where(rng.random(3000) < 0.5, choice, rng.integers(6, size=3000))
    bias = (4 * 6 - 4 - 6 + 1) / (2 * 3000)
    found = pointwise_information(choice, label)
    assert found.mean() * np.log(2) == pytest.approx(mutual_info_score(choice, label) - bias)


def test_information_about_nothing_is_zero_on_average():
    rng = np.random.default_rng(2)
    found = [pointwise_information(*rng.integers(8, size=(2, 600))).mean() for _ in range(200)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 200**0.5 + 0.002
    assert np.mean(found) < 0.01


def test_its_spread_is_that_of_the_estimate():
    rng, found, told = np.random.default_rng(3), [], []
    for _ in range(400):
        label = rng.integers(5, size=800)
        choice = np.where(rng.random(800) < 0.6, label, rng.integers(5, size=800))
        values = pointwise_information(choice, label)
        found.append(values.mean())
        told.append(values.std() / 800**0.5)
    assert np.mean(told) == pytest.approx(np.std(found), rel=0.12)


def test_lineages_are_whole_in_each_half():
    lineage = np.array([f"l{number // 2}" for number in range(8)])
    seen = {tuple(halves(lineage, np.random.default_rng(seed))) for seed in range(20)}
    assert len(seen) > 3
    for half in map(np.array, seen):
        assert half.sum() == 4 and set(lineage[half]).isdisjoint(lineage[~half])


def special(strength, rng):
    """Eight models of as many lineages, two benchmarks that favor one half each, and forecasts that know it."""
    kinds = np.repeat(["a", "b"], 300)
    lead = np.where(np.arange(8)[:, None] % 2 == (kinds == "a"), strength, 0.0) + 0.01 * np.arange(8)[:, None]
    table = make_table(rng.random((8, 600)) < 0.4 + lead / 2, kinds)
    return OutcomeMatrix(table.scores, table.models.assign(lineage=list("abcdefgh")), table.questions), lead


def test_a_choice_tells_the_benchmark_where_models_are_special_by_benchmark(rng):
    table, forecast = special(0.5, rng)
    of_benchmark, of_difficulty = told_by_choice(forecast, table, seed=0)
    assert of_benchmark.mean() > 0.8 > 0.1 > of_difficulty.mean()  # at most one bit; a half may hold one kind only
    assert of_benchmark.shape == (600,)
    table, forecast = special(0.0, rng)
    assert np.abs(told_by_choice(forecast, table, seed=0).mean(axis=1)).max() < 1e-12, "one model is chosen always"


def test_the_mean_of_many_halvings_moves_less_than_one(rng):
    table, forecast = special(0.5, rng)
    one, many = (np.std([told_by_choice(forecast, table, seed, n)[0].mean() for seed in range(12)]) for n in (1, 20))
    assert many < one / 2
