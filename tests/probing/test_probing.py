"""Probes: invariances, oracles, planted signals, and tests that keep their level where families differ."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import binom
from sklearn.manifold import trustworthiness
from statsmodels.datasets import longley
from statsmodels.formula.api import ols
from statsmodels.stats.multitest import multipletests

from embedllm.probing import geometry, prediction

FAMILIES_16 = np.repeat(np.arange(16), [30, 18, 14, 10, 8, 6, 5, 4, 4, 3, 3, 2, 2, 1, 1, 1]).astype(str)
FAMILIES_9 = np.repeat(np.arange(9), [8, 6, 3, 3, 3, 2, 2, 1, 1]).astype(str)  # like mmlu-pro's 29 models


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def factors(rng):
    """A factorization of 12 models in 5 dimensions over 9-d prompt vectors, and 40 prompts."""
    return {
        "p": rng.normal(size=(12, 5)), "a": rng.normal(size=(5, 9)), "b": rng.normal(size=5),
        "w": rng.normal(size=5), "c": 0.3, "prompts": rng.normal(1, 2, (40, 9)),
    }


def logit_form(p, a, b, w, c, prompts):
    """betas, intercepts and prompts of a factorization."""
    return (p * w) @ a, (p * w) @ b + c, prompts


def remixed(factors, rng):
    """The same forecasts from other model vectors: an invertible map of the latent space."""
    mix = rng.normal(size=(5, 5)) + 3 * np.eye(5)
    w = rng.uniform(0.5, 2, 5)
    inverse = np.linalg.inv(mix)
    return factors | {
        "p": factors["p"] * factors["w"] @ mix / w, "w": w,
        "a": inverse @ factors["a"], "b": inverse @ factors["b"],
    }


# Geometry


def test_identified_geometry_ignores_the_latent_basis_and_raw_distance_does_not(factors, rng):
    other = remixed(factors, rng)
    np.testing.assert_allclose(
        geometry.distances_without_level(*logit_form(**factors)[::2]),
        geometry.distances_without_level(*logit_form(**other)[::2]),
    )
    ours, shares = geometry.identified_coordinates(*logit_form(**factors), n_components=4)
    theirs, _ = geometry.identified_coordinates(*logit_form(**other), n_components=4)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    raw, remixed_raw = (geometry.raw_distances(f["p"]) for f in (factors, other))
    assert np.corrcoef(raw[np.triu_indices(12, 1)], remixed_raw[np.triu_indices(12, 1)])[0, 1] < 0.95
    assert np.all(np.diff(shares) <= 0) and shares.sum() <= 1


def test_identified_geometry_ignores_the_basis_of_the_prompt_space(factors, rng):
    betas, intercepts, prompts = logit_form(**factors)
    mix, shift = rng.normal(size=(9, 9)) + 3 * np.eye(9), rng.normal(size=9)
    betas_moved = betas @ np.linalg.inv(mix).T
    moved = (betas_moved, intercepts - betas_moved @ shift, prompts @ mix + shift)
    logits = betas @ prompts.T + intercepts[:, None]
    np.testing.assert_allclose(moved[0] @ moved[2].T + moved[1][:, None], logits)
    before, _ = geometry.identified_coordinates(betas, intercepts, prompts, n_components=3)
    after, _ = geometry.identified_coordinates(*moved, n_components=3)
    np.testing.assert_allclose(before, after, atol=1e-9)


def test_distances_and_coordinates_against_their_formula(factors):
    betas, intercepts, prompts = logit_form(**factors)
    sigma = np.cov(prompts.T, bias=True)
    vectors = betas @ np.linalg.cholesky(sigma)
    expected = cdist(vectors, vectors)
    np.testing.assert_allclose(geometry.distances_without_level(betas, prompts), expected, atol=1e-9)
    np.testing.assert_allclose(geometry.raw_distances(betas), cdist(betas, betas), atol=1e-9)

    everything, shares = geometry.identified_coordinates(betas, intercepts, prompts, n_components=9)
    np.testing.assert_allclose(everything[:, 0], betas @ prompts.mean(axis=0) + intercepts)
    # All components together hold every distance; each has the variance of its eigenvalue.
    np.testing.assert_allclose(cdist(*[everything[:, 1:]] * 2), expected, atol=1e-9)
    eigenvalues = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
    np.testing.assert_allclose(everything[:, 1:].var(axis=0, ddof=1), eigenvalues, atol=1e-9)
    np.testing.assert_allclose(shares, eigenvalues / eigenvalues.sum(), atol=1e-9)


def test_geometry_says_what_is_wrong(factors):
    betas, intercepts, prompts = logit_form(**factors)
    with pytest.raises(ValueError, match="allows 1 to 9"):
        geometry.identified_coordinates(betas, intercepts, prompts, n_components=10)
    with pytest.raises(ValueError, match="last axis"):
        geometry.distances_without_level(betas, prompts[:, 1:])
    with pytest.raises(ValueError, match=r"expected \(12,\)"):
        geometry.identified_coordinates(betas, intercepts[1:], prompts, n_components=2)
    with pytest.raises(ValueError, match="finite"):
        geometry.distances_without_level(betas * np.nan, prompts)


# Regression on a held-out benchmark


def draw(rng, families, n_predictors, likeness, effect=0.0):
    """Coordinates and accuracies that share families; `effect` of the first coordinate on accuracy."""
    _, family = np.unique(families, return_inverse=True)
    n_families = family.max() + 1

    def vary(*width):
        between, within = rng.normal(size=(n_families, *width)), rng.normal(size=(len(family), *width))
        return np.sqrt(likeness) * between[family] + np.sqrt(1 - likeness) * within

    x = vary(n_predictors)
    return x, 0.5 + 0.1 * (vary() + effect * x[:, 0])


def test_regression_equals_statsmodels_and_leaves_unasked_models_out(rng):
    x, y = draw(rng, FAMILIES_9, 2, 0.5, effect=0.7)
    y[4] = np.nan
    frame = pd.DataFrame({"y": y, "a": x[:, 0], "b": x[:, 1], "family": FAMILIES_9}).dropna()
    fit = ols("y ~ a + b", frame).fit()
    result = prediction.predict_benchmark(x, y, FAMILIES_9, FAMILIES_9, "gpqa")
    assert (result["benchmark"], result["n_models"], result["n_lineages"]) == ("gpqa", 28, 9)
    expected = {
        "r2": fit.rsquared, "r2_adjusted": fit.rsquared_adj, "f": fit.fvalue, "p": fit.f_pvalue,
        "df_model": 2, "df_resid": 25, "rmse": np.sqrt(fit.ssr / 28),
    }
    assert {name: result[name] for name in expected} == pytest.approx(expected)
    assert result["p_lineage"] == result["p_family"]


def test_regression_has_the_certified_values_of_longleys_data():
    """Statistical Reference Datasets, NIST: nearly collinear, and so a test of the arithmetic too."""
    data = longley.load_pandas()
    names = np.array([f"model {at}" for at in range(16)])
    accuracy = (data.endog / 100_000).to_numpy()
    result = prediction.predict_benchmark(data.exog.to_numpy(), accuracy, names, names, "longley", 99)
    assert result["r2"] == pytest.approx(0.995479004577296, rel=1e-9)
    assert result["f"] == pytest.approx(330.285339234588, rel=1e-7)
    assert (result["df_model"], result["df_resid"]) == (6, 9)
    assert result["rmse"] * np.sqrt(16 / 9) == pytest.approx(304.854073561965 / 100_000, rel=1e-7)


@pytest.mark.parametrize("seed", range(6))
def test_family_test_equals_brute_force(seed):
    """All 2^5 flips one by one, each F from a fresh generalized least-squares fit."""
    from itertools import product

    from scipy.linalg import null_space
    from statsmodels.api import OLS

    families = np.repeat(list("abcde"), [4, 3, 3, 2, 2])
    x, y = draw(np.random.default_rng(seed), families, 2, 0.5)
    result = prediction.predict_benchmark(x, y, families, families, "piqa")
    onehot = families[:, None] == np.unique(families)
    contrasts = null_space(np.ones((1, 14)))  # REML is the likelihood of what no constant can shift

    def restricted_likelihood(ratio):
        v = contrasts.T @ (np.eye(14) + ratio * onehot @ onehot.T) @ contrasts
        free = contrasts.T @ y
        return -np.linalg.slogdet(v)[1] - 13 * np.log(free @ np.linalg.solve(v, free))

    ratio = max(prediction.INTRACLASS / (1 - prediction.INTRACLASS), key=restricted_likelihood)
    values, vectors = np.linalg.eigh(np.eye(14) + ratio * onehot @ onehot.T)
    whitener = vectors @ np.diag(values**-0.5) @ vectors.T
    ones, x, y = whitener @ np.ones((14, 1)), whitener @ x, whitener @ y
    residuals, full = OLS(y, ones).fit().resid, np.column_stack([ones, x])

    def f_statistic(y):
        null, fit = OLS(y, ones).fit(), OLS(y, full).fit()
        return (null.ssr - fit.ssr) / fit.ssr

    flips = np.array([f_statistic(residuals * (onehot @ s)) for s in product([1, -1], repeat=5)])
    assert result["p_family"] == pytest.approx(np.mean(flips >= flips[0] - 1e-9))
    assert result["p_family_attainable"] == 1 / 2**4


@pytest.mark.parametrize(("families", "n_predictors"), [(FAMILIES_16, 1), (FAMILIES_9, 4)])
def test_family_test_keeps_its_level_where_the_classical_test_does_not(families, n_predictors, rng):
    """Nothing to find, but families alike on both sides."""
    results = [
        prediction.predict_benchmark(*draw(rng, families, n_predictors, 0.6), families, families, "x", 199)
        for _ in range(150)
    ]
    false_alarms = (pd.DataFrame(results)[["p", "p_family"]] <= 0.05).mean()
    # In 2,000 repetitions the rate is at most 0.065; the margin is the binomial error of 150.
    assert false_alarms["p_family"] <= binom.ppf(0.999, 150, 0.065) / 150
    assert false_alarms["p"] > 0.15


def test_planted_relation_is_found_with_several_predictors(rng):
    for families in (FAMILIES_16, FAMILIES_9):
        result = prediction.predict_benchmark(*draw(rng, families, 4, 0.5, effect=3), families, families, "x")
        assert result["p_lineage"] < 0.01 and result["r2"] > 0.7


def test_table_adjusts_over_benchmarks(rng):
    rows = [prediction.predict_benchmark(*draw(rng, FAMILIES_9, 1, 0.5, effect=e), FAMILIES_9, FAMILIES_9, str(e))
            for e in (3, 1, 0)]
    table = prediction.regressions_table(rows)
    for column, adjusted in (("p", "p_holm"), ("p_lineage", "p_lineage_holm"), ("p_family", "p_family_holm")):
        np.testing.assert_allclose(table[adjusted], multipletests(table[column], method="holm")[1])


def test_regression_says_what_is_wrong(rng):
    x, y = draw(rng, FAMILIES_9, 2, 0.5)
    with pytest.raises(ValueError, match="x: every model has one accuracy"):
        prediction.predict_benchmark(x, np.full(29, 0.5), FAMILIES_9, FAMILIES_9, "x")
    with pytest.raises(ValueError, match="29 models cannot carry 28"):
        prediction.predict_benchmark(rng.normal(size=(29, 28)), y, FAMILIES_9, FAMILIES_9, "x")
    with pytest.raises(ValueError, match="one row per model"):
        prediction.predict_benchmark(x, y[1:], FAMILIES_9, FAMILIES_9, "x")
    with pytest.raises(ValueError, match=r"\[3\] have no family"):
        prediction.predict_benchmark(x, y, [*FAMILIES_9[:3], None, *FAMILIES_9[4:]], FAMILIES_9, "x")
    alone = prediction.predict_benchmark(x, y, FAMILIES_9, ["one"] * 29, "x")
    assert alone["p_family"] == alone["p_family_attainable"] == 1 > alone["p_lineage"]


# Reliability


def test_reliability_of_parallel_questions(rng):
    """Answers = ability + noise: var(ability) / (var(ability) + var(noise) / n_questions)."""
    ability, noise = rng.normal(0, 0.05, (3000, 1)), rng.normal(0, 0.4, (3000, 40))
    scores = 0.5 + ability + noise
    assert prediction.reliability(scores) == pytest.approx(0.05**2 / (0.05**2 + 0.4**2 / 40), abs=0.02)
    half_missing = np.where(rng.random(scores.shape) < 0.5, np.nan, scores)
    assert prediction.reliability(half_missing) == pytest.approx(0.05**2 / (0.05**2 + 0.4**2 / 20), abs=0.03)


def test_reliability_limits(rng):
    identical = np.repeat(rng.random((6, 1)), 10, axis=1)
    assert prediction.reliability(identical) == pytest.approx(1)
    assert abs(prediction.reliability(rng.random((2000, 20)))) < 0.1
    unasked = np.vstack([identical, np.full(10, np.nan)])
    assert prediction.reliability(unasked) == pytest.approx(1)
    with pytest.raises(ValueError, match="one accuracy"):
        prediction.reliability(np.ones((5, 10)))
    with pytest.raises(ValueError, match="3 models and 2 questions"):
        prediction.reliability(np.ones((5, 1)))


# Maps


def test_maps_are_reproducible_and_trusted_where_groups_are_clear(rng):
    points = np.repeat(10 * rng.normal(size=(4, 6)), 10, axis=0) + rng.normal(size=(40, 6))
    places, trust = geometry.maps(points, (5, 10), (0, 1)).values()
    again = geometry.maps(points, (5, 10), (0, 1))["places"]
    pd.testing.assert_frame_equal(places, again)
    assert list(places["map"].unique()) == list(trust["map"]) == [
        "PCA", *(f"t-SNE, perplexity {one}, seed {seed}" for one in (5, 10) for seed in (0, 1))]
    assert (trust[["trustworthiness", "continuity"]] > 0.8).all(axis=None) and trust["overlap"].between(0.2, 1).all()
    assert trust["trustworthiness"].iloc[1] == pytest.approx(trustworthiness(
        points, places[places["map"] == trust["map"].iloc[1]][["x", "y"]].to_numpy(), n_neighbors=5))


def test_maps_of_the_smallest_pool(rng):
    places, trust = geometry.maps(rng.normal(size=(8, 3)), (30,), (0,)).values()
    assert len(places) == 16 and np.isfinite(places[["x", "y"]].to_numpy()).all() and len(trust) == 2
    with pytest.raises(ValueError, match="needs 8 models"):
        geometry.maps(rng.normal(size=(7, 3)), (30,), (0,))


def test_a_distance_with_level_is_the_difference_of_logits(rng):
    betas, intercepts, prompts = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(1, 1, (50, 3))
    logits = intercepts[:, None] + betas @ prompts.T
    expected = np.sqrt(((logits[:, None] - logits) ** 2).mean(axis=2))
    np.testing.assert_allclose(geometry.distances_with_level(betas, intercepts, prompts), expected)


def test_predictors_that_others_determine_do_not_count(rng):
    x, y = draw(rng, FAMILIES_9, 2, 0.5, effect=1)
    plain = prediction.predict_benchmark(x, y, FAMILIES_9, FAMILIES_9, "x", 199)
    more = np.column_stack([x, np.zeros(len(y)), x[:, 0] - x[:, 1]])
    found = prediction.predict_benchmark(more, y, FAMILIES_9, FAMILIES_9, "x", 199)
    assert found["df_model"] == 2
    for name in ("r2", "f", "p", "p_lineage", "p_family"):
        assert found[name] == pytest.approx(plain[name])
    with pytest.raises(ValueError, match="same coordinates"):
        prediction.predict_benchmark(np.ones((len(y), 2)), y, FAMILIES_9, FAMILIES_9, "x")
