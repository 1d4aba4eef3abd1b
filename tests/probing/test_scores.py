"""Accuracies nobody measured: nothing of the fold or the benchmark leaks, and what is planted is found."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp
from sklearn.linear_model import LinearRegression

from embedllm.evaluation.inference import of_independent
from embedllm.probing import scores
from embedllm.probing.folds import N_FOLDS, lineage_folds


def planted(seed=0, n_lineages=30, n_models=60, n_benchmarks=6, own=0.5):
    """Accuracies from an ability and one taste: known, target, vectors of both, facts."""
    rng = np.random.default_rng(seed)
    lineage = np.arange(n_models) % n_lineages
    ability, taste = rng.normal(0, 0.1, n_lineages)[lineage], rng.normal(0, 0.1, n_lineages)[lineage]
    loads = np.linspace(-own, own, n_benchmarks)
    accuracy = 0.5 + ability[:, None] + taste[:, None] * loads + rng.normal(0, 0.01, (n_models, n_benchmarks))
    names, index = [f"b{at}" for at in range(n_benchmarks)], [f"m{at}" for at in range(n_models)]
    table = pd.DataFrame(accuracy, index, names)
    facts = pd.DataFrame({"lineage": [f"l{one}" for one in lineage], "family": [f"f{one % 7}" for one in lineage],
                          "kind": None, "parameters_b": np.nan}, index)
    vectors = {"vectors": {name: np.column_stack([ability, taste]) for name in names}}
    return table, vectors, facts


def test_folds_hold_lineages_whole_and_are_even():
    lineage = np.repeat(np.arange(25), 3)
    fold = lineage_folds(lineage)
    assert pd.Series(fold).groupby(lineage).nunique().max() == 1
    assert pd.Series(fold[::3]).value_counts().between(2, 3).all() and set(fold) == set(range(N_FOLDS))


def test_what_vectors_know_beyond_the_mean_is_found():
    table, vectors, facts = planted()
    found = scores.of_new_models(table, vectors, {"whole": vectors["vectors"]}, table, facts)
    errors = scores.squared_errors(found, table, facts, np.ones(len(facts)))
    told = scores.compared(errors, scores.MEAN, 0.05).set_index("method")
    assert errors.shape == (30, 6) and told.loc["vectors", "error"] < 0.1 < told.loc[scores.MEAN, "error"]
    row, gap = told.loc["vectors"], errors["vectors"] - errors[scores.MEAN]
    interval = ttest_1samp(gap, 0).confidence_interval()
    assert row["difference"] == pytest.approx(gap.mean())
    assert (row["low"], row["high"]) == pytest.approx(tuple(interval), abs=gap.std() / 30**0.5)
    assert row["p"] < 0.01 and told["p"].isna().sum() == 1
    assert told.loc[scores.NOTHING, "error"] == pytest.approx(1, abs=0.3)
    within = scores.shares(found, table, facts, np.ones(len(facts))).set_index(["method", "benchmark"])
    assert (within.loc["vectors", "r2"] > 0.9).all() and (within["low"] <= within["r2"]).all()


def test_forecasts_are_those_of_a_fit_on_the_other_folds():
    table, vectors, facts = planted(n_models=40, n_lineages=20)
    found = scores.of_new_models(table, vectors, {}, table, facts)["vectors"]
    fold = lineage_folds(facts["lineage"])
    x, out = vectors["vectors"]["b2"], fold == 3
    expected = LinearRegression().fit(x[~out], table["b2"][~out]).predict(x[out])
    np.testing.assert_allclose(found["b2"][out], expected, atol=1e-10)


def test_a_benchmarks_own_scores_never_reach_the_forecast_of_their_fold():
    table, vectors, facts = planted(n_models=40, n_lineages=20)
    out = lineage_folds(facts["lineage"]) == 0
    changed = table.copy()
    changed.loc[out, "b1"] = 0.0
    first, second = (scores.of_new_models(one, vectors, {"whole": vectors["vectors"]}, one, facts)
                     for one in (table, changed))
    for method in (scores.NOTHING, scores.MEAN, scores.RIDGE, scores.TREES, "vectors", "whole"):
        np.testing.assert_allclose(first[method]["b1"][out], second[method]["b1"][out], err_msg=method)


def test_of_a_new_benchmark_nothing_is_known():
    table, _, facts = planted()
    features = pd.DataFrame(np.random.default_rng(0).normal(size=(6, 2)), table.columns)
    changed = table.assign(b3=0.0)
    first, second = (scores.of_new_benchmarks(one, {"text": one * 0 + 0.5}, features, one, facts) for one in
                     (table, changed))
    for method in (scores.MEAN, scores.TREES):
        np.testing.assert_allclose(first[method]["b3"], second[method]["b3"], err_msg=method)
    centered = scores.squared_errors({"up": table + 0.2}, table, facts, np.ones(len(facts)), centered=True)
    np.testing.assert_allclose(centered, 0, atol=1e-20)


def test_near_copies_share_a_weight_and_unasked_models_stay_out():
    table, vectors, facts = planted(n_models=40, n_lineages=20)
    some = table.copy()
    some.iloc[3, 2] = np.nan
    found = scores.of_new_models(table, vectors, {}, some, facts)
    assert np.isnan(found["vectors"].iloc[3, 2]) and found["vectors"].isna().sum().sum() == 1
    weights = np.ones(40)
    weights[3] = 0
    np.testing.assert_allclose(scores.weighted(some, facts["lineage"], weights),
                               scores.weighted(table, facts["lineage"], weights))


def test_a_mean_of_independent_values():
    """That of Student where values are many and normal; the tail that is longer reaches farther where they are not."""
    values = np.random.default_rng(0).normal(0.1, 1, 400)
    found, known = of_independent(values), ttest_1samp(values, 0)
    assert (found["low"], found["high"]) == pytest.approx(tuple(known.confidence_interval()), abs=0.02)
    assert found["p"] == pytest.approx(known.pvalue, abs=0.02)
    skewed = of_independent(np.random.default_rng(1).exponential(size=22))
    assert skewed["high"] - skewed["difference"] > 1.2 * (skewed["difference"] - skewed["low"])
    assert np.isnan(of_independent(values[:1])["p"])
    assert of_independent(np.zeros(5))["p"] == 1 and of_independent(np.ones(5))["p"] == 0
