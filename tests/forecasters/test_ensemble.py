"""Pools: equal to scikit-learn's logistic regression, to their members, and calibrated."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from embedllm.evaluation.calibration import temperature
from embedllm.evaluation.metrics import question_scores
from embedllm.forecasters import ensemble
from embedllm.forecasters.ensemble import LogOpinionPool, log_opinion_pool, weigh
from embedllm.forecasters.linear import TextLogistic
from embedllm.forecasters.means import ModelMean
from embedllm.forecasters.neighbors import KNearestNeighbors


@pytest.fixture
def told(rng):
    """Scores of known logits, and two forecasts that each know half of them: (scores, forecasts)."""
    halves = rng.standard_normal((2, 6, 4000))
    scores = (rng.random((6, 4000)) < expit(halves.sum(axis=0))).astype(float)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    return scores, list(expit(halves))


def test_weights_are_those_of_a_logistic_regression_on_logits(told, monkeypatch):
    scores, forecasts = told
    monkeypatch.setattr(ensemble, "EVENNESS", 0)
    seen = ~np.isnan(scores)
    oracle = LogisticRegression(C=np.inf, fit_intercept=False)
    oracle.fit(logit(np.stack([p[seen] for p in forecasts], axis=1)), scores[seen])
    np.testing.assert_allclose(weigh(forecasts, scores), oracle.coef_[0], atol=1e-3)
    np.testing.assert_allclose(oracle.coef_[0], 1, atol=0.06)  # what each half is worth


def test_one_member_is_scaled_by_its_temperature(told, monkeypatch):
    scores, forecasts = told
    monkeypatch.setattr(ensemble, "EVENNESS", 0)
    [weight] = weigh(forecasts[:1], scores)
    assert 1 / weight == pytest.approx(temperature(forecasts[0], scores), rel=1e-3)


def test_a_member_that_misleads_gets_no_weight(told, rng):
    scores, forecasts = told
    good, bad = weigh([forecasts[0], 1 - forecasts[1]], scores)
    assert bad == 0
    assert good > 0.5


def test_without_answers_weights_stay_even(told):
    _, forecasts = told
    np.testing.assert_allclose(weigh(forecasts, np.full((6, 4000), np.nan)), [0.5, 0.5])


def test_a_pool_of_copies_is_the_copy(told):
    _, forecasts = told
    np.testing.assert_allclose(log_opinion_pool([forecasts[0]] * 3, np.full(3, 1 / 3)), forecasts[0], rtol=1e-5)


def test_a_pool_is_no_worse_than_its_best_member_where_one_is_useless(planted):
    parts, _ = planted
    members = {"linear": TextLogistic(), "kNN": KNearestNeighbors(grid=(21,)), "mean": ModelMean()}
    fitted = LogOpinionPool(members).fit(*parts["train"], *parts["val"])
    test, vectors = parts["test"]
    losses = [np.nanmean(question_scores(one.predict_proba(vectors), test.scores, "log_loss"))
              for one in (fitted, *fitted.fitted)]
    assert losses[0] < min(losses[1:]) + 0.003
    assert max(losses[1:]) > min(losses[1:]) + 0.05
