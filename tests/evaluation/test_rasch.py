"""The null of no specialization: planted abilities are recovered, and the oracle of one-dimensional pools."""


import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import SHARED
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from embedllm.evaluation.rasch import OneDimensional, additive_version, fit_one_dimensional
from embedllm.routing.oracle import oracle_without_specialization
from embedllm.routing.policies import oracle

NAN = np.nan


@pytest.fixture(scope="module")
def planted():
    """A one-dimensional pool of 30 models and 3,000 questions, a fifth of its cells missing."""
    rng = np.random.default_rng(11)
    pool = OneDimensional(abilities=np.linspace(-1.5, 1.5, 30), difficulty_sd=1.8)
    return pool, pool.draw(rng.random((30, 3000)) < 0.8, rng)


def test_draws_fill_the_observed_cells_only(planted):
    pool, scores = planted
    observed = ~np.isnan(scores)
    again = pool.draw(observed, np.random.default_rng(0))
    np.testing.assert_array_equal(np.isnan(again), ~observed)
    assert set(np.unique(again[observed])) == {0, 1}


def test_planted_abilities_are_recovered(planted):
    pool, scores = planted
    fit = fit_one_dimensional(scores)
    # An ability is known to about 0.055 and abilities spread by 0.89: the correlation is near 0.998.
    assert np.corrcoef(fit.abilities, pool.abilities)[0, 1] > 0.996
    # The error all models share is that of the mean difficulty, about 1.8 / sqrt(3000) = 0.033; that of
    # the scale (slope and sd) is 0.02.
    assert np.polyfit(pool.abilities, fit.abilities, 1)[0] == pytest.approx(1, abs=0.06)
    assert fit.difficulty_sd == pytest.approx(1.8, abs=0.1)
    assert np.abs((fit.abilities - pool.abilities).mean()) < 0.12


def test_the_fit_maximises_the_marginal_likelihood():
    """Against a general optimizer with Gauss-Hermite quadrature, on a pool small enough for it."""
    rng = np.random.default_rng(5)
    scores = OneDimensional(np.array([-0.5, 0.3, 1.0, 0.0]), 1.2).draw(rng.random((4, 400)) < 0.9, rng)
    scores = scores[:, ~np.isnan(scores).all(axis=0)]
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    observed, right = ~np.isnan(scores), np.nan_to_num(scores)

    def loss(parameters):
        logit = parameters[:4, None] - parameters[4] * z
        cells = right.T @ logit - observed.T @ np.logaddexp(0, logit)
        return -logsumexp(cells, axis=1, b=weight).sum() + 0.005 * (parameters[:4] ** 2).sum()

    best = minimize(loss, np.append(np.zeros(4), 1.0), method="BFGS").x
    fit = fit_one_dimensional(scores)
    np.testing.assert_allclose(np.append(fit.abilities, fit.difficulty_sd), best, atol=2e-3)


def test_soft_scores_count_as_parts_of_an_answer(planted):
    _, scores = planted
    doubled = np.repeat(scores[:, :800], 2, axis=1)
    np.testing.assert_allclose(
        fit_one_dimensional(doubled).abilities, fit_one_dimensional(scores[:, :800]).abilities, atol=2e-3
    )
    soft = fit_one_dimensional(np.where(np.isnan(scores), NAN, 0.2 + 0.6 * scores))
    assert np.isfinite(soft.abilities).all()
    assert np.corrcoef(soft.abilities, fit_one_dimensional(scores).abilities)[0, 1] > 0.99


def test_models_without_an_error_or_a_right_answer_stay_finite(planted):
    _, scores = planted
    scores = scores.copy()
    scores[0], scores[1] = np.where(np.isnan(scores[0]), NAN, 1), np.where(np.isnan(scores[1]), NAN, 0)
    fit = fit_one_dimensional(scores)
    assert np.isfinite(fit.abilities).all()
    assert fit.abilities[0] == fit.abilities.max() > 4
    assert fit.abilities[1] == fit.abilities.min() < -4


def test_the_null_reproduces_the_oracle_of_one_dimensional_pools():
    """Over 25 pools the observed oracle scatters around the null's mean with the null's spread."""
    rng = np.random.default_rng(3)
    deviations = []
    for r in range(25):
        pool = OneDimensional(rng.normal(-0.8, 0.7, 10), 1.7)
        scores = pool.draw(rng.random((10, 700)) < 0.9, rng)
        scores = scores[:, ~np.isnan(scores).all(axis=0)]
        null = oracle_without_specialization(scores, n_draws=60, seed=r)
        deviations.append((oracle(scores).mean() - null.mean()) / null.std())
    # The abilities are fitted to the same scores, so deviations vary less than a standard normal.
    assert abs(np.mean(deviations)) < 3 / np.sqrt(25)
    assert np.max(np.abs(deviations)) < 3


def test_complements_beat_the_null_and_copies_fall_short_of_it():
    """Dependence between models moves the oracle off the null, in either direction."""
    rng = np.random.default_rng(4)
    complements = np.eye(10, dtype=np.float32)[:, rng.integers(0, 10, 1500)]  # exactly one is right
    assert oracle(complements).mean() > oracle_without_specialization(complements, n_draws=60).max()
    distinct = (rng.random((4, 1500)) < 0.3).astype(np.float32)
    copies = np.repeat(distinct, 3, axis=0)  # four camps of three models that agree on everything
    assert oracle(copies).mean() < oracle_without_specialization(copies, n_draws=60).min()


def test_graded_scores_have_no_such_null():
    with pytest.raises(ValueError, match="binarize"):
        oracle_without_specialization(np.array([[0.5, 1.0], [1.0, 0.0]]))


def test_mmlu_pro_oracle_is_what_one_dimension_gives():
    """The study's headline on real data: 0.947 observed, 0.945-0.949 without any specialization."""
    folder = SHARED / "mmlu-pro"
    if not (folder / "outcomes.parquet").exists():
        pytest.skip("shared/data/mmlu-pro does not lie beside the repository")
    outcomes = pd.read_parquet(folder / "outcomes.parquet")
    scores = outcomes.pivot_table("label", "model", "question_id").to_numpy(np.float32)
    null = oracle_without_specialization(scores, n_draws=50)
    assert oracle(scores).mean() == pytest.approx(0.947, abs=5e-4)
    assert 0.945 <= null.mean() <= 0.949


def test_the_additive_version_is_a_logistic_regression_on_names(rng):
    """Of the forecasts, by statsmodels: one level a model, one a question."""
    forecast = expit(rng.standard_normal((5, 1)) + rng.standard_normal(30) + 0.7 * rng.standard_normal((5, 30)))
    model, question = np.indices(forecast.shape)
    names = np.column_stack([np.eye(5)[model.ravel()], np.eye(30)[question.ravel()][:, 1:]])
    oracle = sm.GLM(forecast.ravel(), names, family=sm.families.Binomial()).fit()
    found = additive_version(forecast.astype(np.float32))
    np.testing.assert_allclose(found.ravel(), oracle.fittedvalues, atol=1e-5)
    np.testing.assert_allclose(found.mean(axis=0), forecast.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(additive_version(found), found, atol=1e-6)
