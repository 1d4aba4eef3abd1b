"""When has a new model answered enough? Intervals of its mean score that hold whenever one looks.

The textbook's interval of a mean holds as often as it promises at any one number of answers, at all looks together far
less often. Here questions are drawn at random with probabilities that are written down, so that each answer gives an
estimate of the mean score that is right on average, whatever the forecasts are worth, and a betting confidence sequence
of these holds at every number of answers at once (Waudby-Smith and Ramdas 2024, Journal of the Royal Statistical
Society B 86; for weighted sampling without replacement Shekhar et al. 2023, Conference on Uncertainty in Artificial
Intelligence).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from embedllm.evaluation.intervals import ALPHA

FLOOR = 0.5  # share of the probability to be drawn that all open questions have alike: an answer counts at most double
BATCH = 16  # questions between two forecasts
CAUTION = 0.75  # share of the largest bet that could lose everything
GRID = 1001  # means that an interval tells apart


class Drawn(NamedTuple):
    """Questions that are drawn one after the other, without replacement.

    Attributes
    ----------
    questions : ndarray of int, shape (number,)
    weights, largest : ndarray, shape (number,), float64
        One over the probability that each had of being the next, and the most that this could have been.
    """

    questions: np.ndarray
    weights: np.ndarray
    largest: np.ndarray


class Estimates(NamedTuple):
    """What each answer tells of a mean score.

    Attributes
    ----------
    value, least, most : ndarray, shape (n_answers,), float64
        The estimate, right on average given all answers before, and between what it had to lie.
    """

    value: np.ndarray
    least: np.ndarray
    most: np.ndarray


def draw(urgency: np.ndarray, open_: np.ndarray, number: int, rng: np.random.Generator) -> Drawn:
    """Draw questions at random, more often where more is to be learned.

    Parameters
    ----------
    urgency : ndarray, shape (n_questions,), above 0
        Half of the probability goes by it, half is the same for all open questions (`FLOOR`). Estimates vary least
        where it is the standard deviation of an answer around its forecast (Neyman 1934, Journal of the Royal
        Statistical Society 97).
    open_ : ndarray of bool, shape (n_questions,)
        Which can still be asked.
    number : int
    """
    rows = np.flatnonzero(open_)
    share = FLOOR / len(rows) + (1 - FLOOR) * urgency[rows] / urgency[rows].sum()
    # Highest sums of log-share and Gumbel noise are draws one after the other (Yellott 1977).
    order = np.argsort(-(np.log(share) + rng.gumbel(size=len(rows))), kind="stable")[:number]
    left = 1 - np.concatenate([[0.0], np.cumsum(share[order])[:-1]])
    return Drawn(rows[order], left / share[order], left / share.min())


def estimates(drawn: Drawn, answers: np.ndarray, forecasts: np.ndarray, seen: np.ndarray) -> Estimates:
    """The mean score on all questions by each answer of a batch: scores that came, forecasts of the rest, put right.

    A forecast is put right by the answer minus its own, times its weight (the difference estimator; Cassel, Särndal and
    Wretman 1976, Biometrika 63).

    Parameters
    ----------
    drawn : Drawn
        The batch.
    answers : ndarray, shape (number,), in [0, 1]
        To its questions.
    forecasts : ndarray, shape (n_questions,), in [0, 1]
        Made before the batch.
    seen : ndarray, shape (n_questions,), in [0, 1]
        Answers before the batch, NaN where there is none.
    """
    gap, n = answers - forecasts[drawn.questions], len(seen)
    known = np.where(np.isnan(seen), forecasts, seen).sum() + np.concatenate([[0.0], np.cumsum(gap)[:-1]])
    return Estimates(*((known + more) / n for more in (drawn.weights * gap, -drawn.largest, drawn.largest)))


def interviewed(
    answers: np.ndarray, forecast: Callable[[np.ndarray], np.ndarray], most: int, rng: np.random.Generator,
    weighted: bool = True,
) -> tuple[np.ndarray, Estimates]:
    """The questions that a model is asked batch after batch, so many or up to a batch more, and what each answer tells.

    Parameters
    ----------
    answers : ndarray, shape (n_questions,), in [0, 1]
    forecast : callable
        Answers so far, (n_questions,), NaN where there is none, to forecasts of all, in (0, 1).
    weighted : bool
        Where forecasts are unsure more is asked; else all open questions are as likely.
    """
    seen, order, parts = np.full(len(answers), np.nan), [], []
    for _ in range(0, min(most, len(answers)), BATCH):
        p = forecast(seen)
        drawn = draw(np.sqrt(p * (1 - p)) if weighted else np.ones(len(p)), np.isnan(seen), BATCH, rng)
        parts.append(estimates(drawn, answers[drawn.questions], p, seen))
        seen[drawn.questions] = answers[drawn.questions]
        order.append(drawn.questions)
    return np.concatenate(order), Estimates(*map(np.concatenate, zip(*parts, strict=True)))


def always(found: Estimates, aim: float, level: float = ALPHA) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of a mean that hold at every number of answers at once, with probability 1 - level.

    Parameters
    ----------
    found : Estimates
        All so far, in their order.
    aim : float, in (0, 1)
        The half width to which bets are tuned; intervals hold at any.
    level : float

    Returns
    -------
    low, high : ndarray, shape (n_answers,), float64
        Within [0, 1]; each within the one before.
    """
    means = np.linspace(0, 1, GRID)
    gap = found.value[:, None] - means
    counted = np.arange(1, len(found.value) + 1)
    around = np.concatenate([[0.5], np.cumsum(found.value)[:-1] / counted[:-1]])
    spread = (0.25 + np.concatenate([[0.0], np.cumsum((found.value - around) ** 2)[:-1]])) / counted
    bet = (aim / (spread + aim**2))[:, None]  # of the highest growth for a mean that is off by the aim
    up = np.minimum(bet, CAUTION / np.maximum(means - found.least[:, None], 1e-12))
    down = np.minimum(bet, CAUTION / np.maximum(found.most[:, None] - means, 1e-12))
    border = np.log(2 / level)
    above, below = (np.maximum.accumulate(np.log1p(each).cumsum(axis=0), axis=0) >= border
                    for each in (up * gap, -down * gap))
    low = np.where(above.any(axis=1), means[GRID - 1 - above[:, ::-1].argmax(axis=1)], 0.0)
    high = np.where(below.any(axis=1), means[below.argmax(axis=1)], 1.0)
    return low, high
