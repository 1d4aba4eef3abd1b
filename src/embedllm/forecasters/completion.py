"""Completing a table: forecasts for questions that other models have answered.

For model m and question q, ``logit P(correct) = t_mq + c_q + u_m . z_q``: what the text says (t), a shift that
the answers to the question show (c, a Rasch difficulty that no text told), and an own vector of the question
(z) that meets known loadings of the models (u). Both are drawn towards zero, so that a question without
answers keeps the forecast from its text, and one with a single answer moves by a little.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from embedllm.evaluation.metrics import sigmoid

RANKS = (0, 2, 4)  # lengths of z that are tried; 0 leaves the shift alone
RIDGES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)  # prior precisions that are tried, strongest first
STEPS = 50  # of Newton's method, at most; from the text's forecast about eight are taken
FLAT = 1e-6  # largest slope at which a question is solved


def complete(
    scores: np.ndarray, text: np.ndarray, held_out: np.ndarray, text_without: np.ndarray
) -> np.ndarray:
    """Forecast every cell from the text of its question and from the answers that the question has.

    Rank and ridges are chosen by the log-loss of held-out cells, then all answers are used.

    Parameters
    ----------
    scores : ndarray, shape (n_models, n_questions), in [0, 1]
        The answers; NaN where hidden or never asked.
    text : ndarray, shape (n_models, n_questions), in (0, 1)
        P(correct) of a forecaster that reads the text alone, fitted to `scores`.
    held_out : ndarray of bool, shape (n_models, n_questions)
        Cells to choose by, a tenth or so; without any the strongest shrinkage is taken.
    text_without : ndarray, shape (n_models, n_questions), in (0, 1)
        As `text`, fitted without the held-out cells: else they would seem to need no correction.

    Returns
    -------
    ndarray, shape (n_models, n_questions), float32, in (0, 1)
    """
    rank, shift, own = choose(scores, text_without, held_out)
    offset = logit(text.astype(np.float64))
    logits = _logits(scores, offset, _design(scores, offset, rank, shift), shift, own)
    return sigmoid(logits).astype(np.float32)


def choose(scores: np.ndarray, text: np.ndarray, held_out: np.ndarray) -> tuple[int, float, float]:
    """Rank, ridge of the shift and ridge of the own vector with the lowest log-loss in held-out cells.

    The ridge of the shift is chosen at rank 0 and then kept. Parameters are those of `complete`, with
    `text` fitted without the held-out cells.
    """
    offset = logit(text.astype(np.float64))
    rest, out = np.where(held_out, np.nan, scores), np.where(held_out, scores, np.nan)

    def loss(design: np.ndarray, shift: float, own: float) -> float:
        logits = _logits(rest, offset, design, shift, own)
        return float(np.nansum(np.logaddexp(0, logits) - out * logits))

    design = _design(rest, offset, 0, RIDGES[0])
    losses = {(0, shift, RIDGES[0]): loss(design, shift, RIDGES[0]) for shift in RIDGES}
    shift = min(losses, key=losses.get)[1]
    for rank in RANKS[1:]:
        design = _design(rest, offset, rank, shift)
        losses |= {(rank, shift, own): loss(design, shift, own) for own in RIDGES}
    return min(losses, key=losses.get)


def question_effects(scores: np.ndarray, offset: np.ndarray, design: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """The most likely effects of each question: logistic regression of its answers with a known offset.

    Newton's method for all questions at once. A step that changes some logit by r is shortened by
    log(1 + r) / r: with a third derivative of at most r times the second, each step then lowers the
    loss, from any start, and the last ones are full (Bach 2010, Electronic Journal of Statistics 4).

    Parameters
    ----------
    scores : ndarray, shape (n_models, n_questions), in [0, 1]
        NaN = no answer.
    offset : ndarray, shape (n_models, n_questions)
        Logits to start from.
    design : ndarray, shape (n_models, k)
        What each effect does to each model's logit.
    ridge : ndarray, shape (k,), > 0
        Prior precision of each effect: ``ridge / 2 * effect^2`` is added to the log-loss of the answers.

    Returns
    -------
    ndarray, shape (n_questions, k), float64
        Zero for a question without answers.
    """
    observed = ~np.isnan(scores)
    answers, k = np.nan_to_num(scores), design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), k * k)
    effects = np.zeros((scores.shape[1], k))
    for _ in range(STEPS):
        p = expit(offset + design @ effects.T)
        slope = np.where(observed, p - answers, 0).T @ design + ridge * effects  # (n_questions, k)
        if np.abs(slope).max(initial=0) < FLAT:
            break
        curvature = (np.where(observed, p * (1 - p), 0).T @ products).reshape(-1, k, k) + np.diag(ridge)
        step = np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
        reach = np.abs(design @ step.T).max(axis=0) + np.finfo(float).tiny
        effects -= step * (np.log1p(reach) / reach)[:, None]
    return effects


def loadings(scores: np.ndarray, logits: np.ndarray, rank: int) -> np.ndarray:
    """Directions in which models are right or wrong together, beyond what their logits say.

    Leading eigenvectors of the models' residual covariances, each over the questions that both answered
    and drawn towards zero where these are few. A model's own variance is mostly the coin-flip of its
    answers and left out; so is what all models share, which is the shift of the question.

    Parameters
    ----------
    scores, logits : ndarray, shape (n_models, n_questions)
    rank : int

    Returns
    -------
    ndarray, shape (n_models, min(rank, n_models)), float64
        Columns by falling strength, zero from where nothing is shared; mean square one over all.
    """
    observed, p = ~np.isnan(scores), expit(logits)
    residual = np.where(observed, np.nan_to_num(scores) - p, 0)
    weight = np.where(observed, p * (1 - p), 0)
    common = weight @ weight.T
    covariance = residual @ residual.T / np.maximum(common + common.mean(), np.finfo(float).tiny)
    np.fill_diagonal(covariance, 0)
    centering = np.eye(len(scores)) - 1 / len(scores)
    strengths, directions = np.linalg.eigh(centering @ covariance @ centering)
    leading = (directions * np.sqrt(np.maximum(strengths, 0)))[:, ::-1][:, :rank]
    return leading / max(np.sqrt((leading**2).mean()), 1e-12) if rank else leading


def _design(scores: np.ndarray, offset: np.ndarray, rank: int, shift: float) -> np.ndarray:
    """A column of ones, and the loadings from what a shift alone leaves unexplained."""
    ones = np.ones((len(scores), 1))
    if not rank:
        return ones
    return np.hstack([ones, loadings(scores, _logits(scores, offset, ones, shift, shift), rank)])


def _logits(scores: np.ndarray, offset: np.ndarray, design: np.ndarray, shift: float, own: float) -> np.ndarray:
    """Offset plus the effects of each question; the first column of the design is the shift's."""
    ridge = np.append(shift, np.full(design.shape[1] - 1, own))
    return offset + design @ question_effects(scores, offset, design, ridge).T
