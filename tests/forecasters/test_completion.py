"""Completing a table: equal to a general optimizer, to planted effects, and to its limits."""

import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import expit

from embedllm.forecasters.completion import choose, complete, loadings, question_effects


def answers(logits, rng, kept=1.0):
    """Right or wrong after the logits; NaN where hidden."""
    scores = (rng.random(logits.shape) < expit(logits)).astype(np.float32)
    return np.where(rng.random(logits.shape) < kept, scores, np.float32(np.nan))


def log_loss(probabilities, truth):
    """Expected over true probabilities, nats per cell."""
    return -np.mean(truth * np.log(probabilities) + (1 - truth) * np.log1p(-probabilities))


def completed(scores, text, rng):
    return complete(scores, text, rng.random(scores.shape) < 0.1, text)


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_effects_equal_those_of_a_general_optimizer(rng, scale):
    """Graded answers, missing cells, and offsets that contradict the answers by far."""
    offset, design, ridge = scale * rng.standard_normal((7, 5)), rng.standard_normal((7, 3)), np.array([0.1, 1, 5])
    scores = np.where(rng.random((7, 5)) < 0.8, rng.integers(0, 5, (7, 5)) / 4, np.nan)
    found = question_effects(scores, offset, design, ridge)
    for q in range(5):
        asked = ~np.isnan(scores[:, q])

        def objective(effects, q=q, asked=asked):
            logits = offset[asked, q] + design[asked] @ effects
            return np.sum(np.logaddexp(0, logits) - scores[asked, q] * logits) + ridge @ effects**2 / 2

        np.testing.assert_allclose(found[q], minimize(objective, np.zeros(3), tol=1e-10).x, atol=1e-5)


def test_one_answer_moves_a_question_by_little():
    """From even odds one right answer takes c to where ridge * c = 1 - P(c)."""
    for ridge in (0.3, 1.0, 10.0):
        shift = question_effects(np.ones((1, 1)), np.zeros((1, 1)), np.ones((1, 1)), np.array([ridge]))[0, 0]
        np.testing.assert_allclose(shift, brentq(lambda c, ridge=ridge: ridge * c - expit(-c), 0, 9), atol=1e-6)
        assert shift < 1 / ridge


def test_answers_far_from_what_the_text_says_are_reached():
    """From logit -8 thirty right answers make undamped Newton steps jump to and fro for ever."""
    offset, ridge = np.full((30, 1), -8.0), 0.1
    shift = question_effects(np.ones((30, 1)), offset, np.ones((30, 1)), np.array([ridge]))[0, 0]
    np.testing.assert_allclose(shift, brentq(lambda c: ridge * c - 30 * expit(8 - c), 0, 99), atol=1e-5)


def test_without_answers_or_with_a_huge_ridge_the_text_remains(rng):
    logits = rng.standard_normal((30, 400)) * 2
    scores = answers(logits + 2 * rng.standard_normal(400), rng, 0.5)
    scores[:, :50] = np.nan
    text = expit(logits).astype(np.float32)
    probabilities = completed(scores, text, rng)
    np.testing.assert_allclose(probabilities[:, :50], text[:, :50], atol=1e-6)
    assert np.abs(probabilities - text)[:, 50:].mean() > 0.1
    assert np.abs(question_effects(scores, logits, np.ones((30, 1)), np.array([1e9]))).max() < 1e-7


@pytest.mark.parametrize("sd", [0.3, 1.0, 1.8])
def test_planted_shifts_come_back_and_their_spread_is_the_ridge_that_is_chosen(rng, sd):
    """The best ridge is the precision 1 / sd^2 of the shifts; the grid steps by a factor of three."""
    ability, shift = rng.standard_normal((60, 1)), sd * rng.standard_normal(2000)
    text, truth = np.tile(expit(ability), (1, 2000)), expit(ability + shift)
    scores = answers(ability + shift, rng, 0.5)
    _, ridge, _ = choose(scores, text, rng.random(scores.shape) < 0.1)
    assert 1 / 3 < ridge * sd**2 < 3
    found = question_effects(scores, np.tile(ability, (1, 2000)), np.ones((60, 1)), np.array([ridge]))[:, 0]
    shown = 1 / (1 + 1 / (sd**2 * 30 * np.mean(truth * (1 - truth))))  # of the shifts' variance, by thirty answers
    assert np.corrcoef(found, shift)[0, 1] ** 2 > 0.9 * shown
    np.testing.assert_allclose(np.polyfit(found, shift, 1), [1, 0], atol=0.13)
    hidden = np.isnan(scores)
    ours, texts, least = (log_loss(p[hidden], truth[hidden]) for p in (completed(scores, text, rng), text, truth))
    assert ours - least < 1.35 * (1 - shown) * (texts - least)


def test_directions_that_models_share_are_found_and_used(rng):
    """Two planted directions: found up to a rotation; a vector a question beats the shift alone."""
    directions = rng.standard_normal((40, 2))
    directions -= directions.mean(axis=0)
    base, own = rng.standard_normal((40, 1)), directions @ rng.standard_normal((2, 3000))
    text, truth, scores = np.tile(expit(base), (1, 3000)), expit(base + own), answers(base + own, rng, 0.7)
    found = np.linalg.qr(loadings(scores, np.tile(base, (1, 3000)), 2))[0]
    np.testing.assert_allclose(np.linalg.svd(found.T @ np.linalg.qr(directions)[0])[1], 1, atol=0.06)
    held_out = rng.random(scores.shape) < 0.1
    rank, _, ridge = choose(scores, text, held_out)
    assert rank > 0 and ridge < 10
    hidden = np.isnan(scores)
    losses = [log_loss(p[hidden], truth[hidden]) for p in (complete(scores, text, held_out, text), text, truth)]
    assert losses[0] - losses[2] < 0.4 * (losses[1] - losses[2])


def test_a_models_own_noise_is_no_direction():
    """With abilities far apart variances differ most by noise: were they left in, the mean here would be 0.79."""
    cosines = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        directions = 0.6 * rng.standard_normal((40, 2))
        directions -= directions.mean(axis=0)
        base = np.tile(3 * rng.standard_normal((40, 1)), (1, 3000))
        scores = answers(base + directions @ rng.standard_normal((2, 3000)), rng, 0.7)
        found = np.linalg.qr(loadings(scores, base, 2))[0]
        cosines.append(np.linalg.svd(found.T @ np.linalg.qr(directions)[0])[1].min())
    assert np.mean(cosines) > 0.84


def test_nothing_to_correct_costs_next_to_nothing(rng):
    logits = rng.standard_normal((40, 1)) + rng.standard_normal(2000)
    text, scores = expit(logits), answers(logits, rng, 0.3)
    assert log_loss(completed(scores, text, rng), text) < log_loss(text, text) + 0.002


@pytest.mark.parametrize("n_models", [1, 2, 3])
def test_tiny_tables_without_held_out_cells_are_shrunk_most(n_models):
    scores, text = np.ones((n_models, 4), np.float32), np.full((n_models, 4), 0.5, np.float32)
    assert choose(scores, text, np.zeros(scores.shape, bool)) == (0, 100.0, 100.0)
    np.testing.assert_allclose(complete(scores, text, np.zeros(scores.shape, bool), text), 0.5, atol=0.01)
    assert np.isfinite(complete(scores, text, scores > 0, text)).all()
