"""The linear forecasters: equal to scikit-learn's, to planted abilities, and to their limits."""

from math import inf

import numpy as np
import pytest
from conftest import make_parts
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from embedllm.evaluation.metrics import question_scores
from embedllm.forecasters.linear import TextLogistic
from embedllm.forecasters.means import ModelMean


def log_loss(forecaster, parts, part="test"):
    table, vectors = parts[part]
    return np.nanmean(question_scores(forecaster.predict_proba(vectors), table.scores, "log_loss"))


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_each_model_alone_equals_scikit_learn(rng, missing):
    vectors = rng.standard_normal((600, 6)) + 1
    logits = rng.standard_normal((4, 6)) @ vectors.T + rng.standard_normal((4, 1))
    parts = make_parts(logits, vectors, missing=missing)
    train, e = parts["train"]
    penalty = 1e-3
    fitted = TextLogistic(shared=(inf,), own=(penalty,), shapings=0).fit(*parts["train"], *parts["val"])
    e = (e - e.mean(axis=0)) / fitted.features.scale
    cells = train.observed.sum()
    for m in range(4):
        asked = train.observed[m]
        oracle = LogisticRegression(C=1 / (penalty * cells), tol=1e-8, max_iter=1000)
        oracle.fit(e[asked], train.scores[m, asked])
        np.testing.assert_allclose(fitted.betas[m], oracle.coef_[0], atol=0.01)
        np.testing.assert_allclose(fitted.intercepts[m], oracle.intercept_[0], atol=0.01)


def test_abilities_and_difficulty_of_a_one_dimensional_pool_are_recovered(rng):
    ability, direction = np.linspace(-1.5, 1.5, 10), rng.standard_normal(5)
    vectors = rng.standard_normal((12_000, 5))
    parts = make_parts(ability[:, None] - vectors @ direction, vectors)
    fitted = TextLogistic(shared=(1e-6,), own=(inf,)).fit(*parts["train"], *parts["val"])
    level = fitted.intercepts - fitted.betas @ fitted.features.center / fitted.features.scale
    np.testing.assert_allclose(level, ability, atol=0.12)
    np.testing.assert_allclose(fitted.betas / fitted.features.scale, np.tile(-direction, (10, 1)), atol=0.06)


def test_strong_penalties_leave_the_model_mean(planted):
    parts = planted[0]
    fitted = TextLogistic(shared=(1e6,), own=(1e6,), shapings=0).fit(*parts["train"], *parts["val"])
    mean = ModelMean().fit(*parts["train"], *parts["val"])
    np.testing.assert_allclose(fitted.predict_proba(parts["test"][1]), mean.predict_proba(parts["test"][1]), atol=0.005)


@pytest.mark.parametrize("seed", range(3))
def test_shaping_finds_the_few_directions_in_which_models_differ(seed):
    """40 models that differ along one direction: what they share is learned from all of them."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((500, 30)) / 30**0.5
    logits = 4 * np.outer(rng.standard_normal(40), rng.standard_normal(30)) @ vectors.T
    parts = make_parts(logits, vectors, seed=seed)
    plain, shaped = (TextLogistic(shapings=n).fit(*parts["train"], *parts["val"]) for n in (0, 3))
    truth = expit(logits[:, -len(parts["test"][1]):])
    error = [np.mean((fitted.predict_proba(parts["test"][1]) - truth) ** 2) for fitted in (plain, shaped)]
    assert error[1] < 0.6 * error[0]
    spread = np.linalg.svd(shaped.betas - shaped.betas.mean(axis=0), compute_uv=False)
    assert spread[0] ** 2 > 0.8 * (spread**2).sum()


def test_one_dimension_is_not_mistaken_for_specialization(rng):
    """Where models differ in ability alone, own deviations must not cost more than a hair."""
    vectors = rng.standard_normal((1500, 20)) / 20**0.5
    logits = rng.standard_normal((15, 1)) + 3 * rng.standard_normal(20) @ vectors.T
    parts = make_parts(logits, vectors)
    one, all_of_it = (TextLogistic(**settings).fit(*parts["train"], *parts["val"])
                      for settings in ({"own": (inf,), "shapings": 0}, {}))
    assert log_loss(all_of_it, parts) < log_loss(one, parts) + 0.003
