"""How good forecasts are: accuracy, log-loss, Brier score, AUC, calibration.

A metric is first taken in each question, since the cells of one question share its difficulty and
are not independent; `embedllm.evaluation.inference` says how sure a mean over questions is.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from embedllm.outcomes import OutcomeMatrix

METRICS = ("accuracy", "log_loss")  # what comparisons are made in
THRESHOLD = 0.5  # a forecast from here on says "correct"; a graded score from here on counts as correct
CLIP = 1e-6  # keeps the log-loss of a certain and wrong forecast finite
FARTHEST_LOGIT = 15.0  # beyond, float32 would round a probability to certainty


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, in the dtype and shape given and strictly inside (0, 1)."""
    return expit(np.clip(logits, -FARTHEST_LOGIT, FARTHEST_LOGIT))


def cell_scores(probabilities: np.ndarray, scores: np.ndarray, metric: str) -> np.ndarray:
    """The metric in each (model, question) cell.

    A score s, whether binary, graded or a known true probability, is treated as the chance that the
    answer counts as correct; the metric is then an expectation over that chance:

    - accuracy: s where p >= 0.5, else 1 - s (expected agreement; on binary scores plain accuracy);
    - log_loss: -s log p - (1 - s) log(1 - p) in nats, p clipped to [1e-6, 1 - 1e-6];
    - brier: (p - s)^2. For s strictly between 0 and 1 this leaves out the part s (1 - s) that no
      forecast can avoid, so values on graded or true-probability scores are excess over it.

    Parameters
    ----------
    probabilities : ndarray, shape (n_models, n_questions), in [0, 1]
        Forecasts; may be NaN only where ``scores`` is.
    scores : ndarray, shape (n_models, n_questions), in [0, 1]
        NaN where the model was not asked.
    metric : {"accuracy", "log_loss", "brier"}

    Returns
    -------
    ndarray, shape (n_models, n_questions), float64
        NaN where not asked.

    Raises
    ------
    ValueError
        If the metric is unknown, shapes differ, or an observed cell has no forecast in [0, 1].
    """
    p, s, observed = checked(probabilities, scores)
    if metric == "accuracy":
        cells = np.where(p >= THRESHOLD, s, 1 - s)
    elif metric == "log_loss":
        p = np.clip(p, CLIP, 1 - CLIP)
        cells = -(s * np.log(p) + (1 - s) * np.log1p(-p))
    elif metric == "brier":
        cells = (p - s) ** 2
    else:
        raise ValueError(f"no per-question metric {metric!r}; choose accuracy, log_loss or brier")
    return np.where(observed, cells, np.nan)


def question_scores(probabilities: np.ndarray, scores: np.ndarray, metric: str) -> np.ndarray:
    """The metric in each question: `cell_scores`, whose arguments it takes, averaged over the models asked.

    Returns
    -------
    ndarray, shape (n_questions,), float64
        NaN for a question that no model was asked.
    """
    cells = cell_scores(probabilities, scores, metric)
    asked = (~np.isnan(cells)).sum(axis=0)
    total = np.nansum(cells, axis=0)
    return np.divide(total, asked, out=np.full(len(asked), np.nan), where=asked > 0)


def per_question(table: OutcomeMatrix, forecast: np.ndarray, metric: str) -> np.ndarray:
    """The metric of a forecast in each question of a table, against what it is to be compared with (`targets`).

    Parameters
    ----------
    forecast : ndarray, shape (n_models, n_questions), in [0, 1]
    metric : {"accuracy", "log_loss", "brier"}

    Returns
    -------
    ndarray, shape (n_questions,), float64
        As from `question_scores`.
    """
    return question_scores(forecast, targets(table, metric), metric)


def targets(table: OutcomeMatrix, metric: str) -> np.ndarray:
    """What a metric compares forecasts with: float32, shape (n_models, n_questions), NaN where not asked.

    - accuracy: right (1) or wrong (0); a graded score is right from 0.5 on.
    - auc, brier: the scores.
    - log_loss, score (of a routed choice): the scores.

    Where the true probabilities are known they take the place of binary labels in accuracy and of any
    score in log_loss and score, which takes the coin-flip of the label out of every comparison.

    Parameters
    ----------
    metric : {"accuracy", "log_loss", "brier", "auc", "score"}
    """
    truth = table.references.get("true probability")
    if truth is not None and (metric in ("log_loss", "score") or (metric == "accuracy" and table.binary)):
        return np.where(table.observed, truth, np.nan).astype(np.float32)
    if metric == "accuracy" and not table.binary:
        return right_or_wrong(table)
    return table.scores


def right_or_wrong(table: OutcomeMatrix) -> np.ndarray:
    """Right (1) or wrong (0), float32; a graded score is right from 0.5 on, NaN where not asked."""
    return np.where(table.observed, table.scores >= THRESHOLD, np.nan).astype(np.float32)


def auc(
    probabilities: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Area under the ROC curve, pooled over all observed cells.

    The chance that a positive cell (score >= 0.5) has a higher forecast than a negative one, ties
    counting half (Mann-Whitney U). Forecasts are ranked once; each row of weights then costs one pass.

    Parameters
    ----------
    probabilities, scores : ndarray, shape (n_models, n_questions), in [0, 1]
        As in `cell_scores`.
    weights : ndarray of int, shape (n_questions,) or (n_resamples, n_questions), optional
        How often each question counts; default once.

    Returns
    -------
    float, or float64 ndarray of shape (n_resamples,) for two-dimensional weights
        In [0, 1]; NaN where positives or negatives are absent.

    Raises
    ------
    ValueError
        As in `cell_scores`.
    """
    p, s, observed = checked(probabilities, scores)
    if weights is None:
        weights = np.ones(p.shape[1], dtype=np.int64)
    question = np.broadcast_to(np.arange(p.shape[1]), p.shape)
    value, positive, question = p[observed], s[observed] >= THRESHOLD, question[observed]
    order = np.argsort(value, kind="stable")
    value, positive, question = value[order], positive[order], question[order]
    positives, negatives = question[positive], question[~positive]
    lower = np.searchsorted(value[~positive], value[positive], side="left")  # negatives strictly below
    upper = np.searchsorted(value[~positive], value[positive], side="right")  # ... and those tied

    def area(weight: np.ndarray) -> float:
        """AUC when question q counts weight[q] times."""
        below = np.concatenate([[0], np.cumsum(weight[negatives], dtype=np.int64)])
        counted = weight[positives].astype(np.int64)
        pairs = int(counted.sum()) * int(below[-1])
        return float(counted @ (below[lower] + below[upper])) / (2 * pairs) if pairs else np.nan

    weights = np.asarray(weights)
    return area(weights) if weights.ndim == 1 else np.array([area(row) for row in weights])


def expected_calibration_error(probabilities: np.ndarray, scores: np.ndarray, n_bins: int = 15) -> float:
    """Mean absolute gap between forecast and score over bins of about equally many cells.

    Cells are pooled and cut by `equal_mass_bins` (Naeini et al., AAAI 2015, with equal-mass bins as in
    Nguyen and O'Connor, EMNLP 2015).

    Parameters
    ----------
    probabilities, scores : ndarray, shape (n_models, n_questions), in [0, 1]
        As in `cell_scores`.
    n_bins : int

    Returns
    -------
    float
        In [0, 1]. Noise keeps it above zero even for the truth: compare it between forecasters.
    """
    p, s, observed = checked(probabilities, scores)
    p, s = p[observed], s[observed]
    gaps = np.bincount(equal_mass_bins(p, n_bins), weights=p - s)
    return float(np.abs(gaps).sum() / len(p))


def equal_mass_bins(forecasts: np.ndarray, n_bins: int) -> np.ndarray:
    """The bin of each forecast: int, shape (n,), in 0 to n_bins - 1, about equally many in each.

    Equal forecasts always share a bin, so that some may stay empty.
    """
    edges = np.quantile(forecasts, np.linspace(0, 1, n_bins + 1)[1:-1])
    return np.searchsorted(edges, forecasts, side="right")


def checked(probabilities: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both as float64 and the mask of observed cells; ValueError if they do not belong together."""
    p, s = np.asarray(probabilities, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if p.shape != s.shape or p.ndim != 2:
        raise ValueError(
            "probabilities and scores must both have shape (n_models, n_questions), "
            f"found {p.shape} and {s.shape}"
        )
    observed = ~np.isnan(s)
    for name, values in (("forecast", p), ("score", s)):
        wrong = observed & ~((values >= 0) & (values <= 1))
        if wrong.any():
            m, q = np.argwhere(wrong)[0]
            raise ValueError(
                f"{wrong.sum()} observed cell(s) with a {name} outside [0, 1] or missing; "
                f"the first is {values[m, q]} at (model {m}, question {q})"
            )
    return p, s, observed
