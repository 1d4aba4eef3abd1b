"""A guard: leave the default model only where calibration shows that this loses next to nothing.

A router that follows noise loses to the best single model. The guard holds it back: it leaves the default model only
where the forecast of another is better by a threshold that questions which nothing else used have certified ("Learn
then Test", Angelopoulos et al. 2025, Annals of Applied Statistics 19, arXiv 2110.01052). Thresholds are tested one
after the other from "hardly ever leave" on, each at the full level, up to the first that fails (fixed sequence
testing), so that with probability 1 - delta no certified one loses more than epsilon; of these the one with the highest
gain is taken.

That is about the expected score on new questions of the same kind, against the default model named in training, for
the one router that was calibrated. It says nothing of other kinds of questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, log

import numpy as np
import pandas as pd

EPSILON, DELTA = 0.005, 0.05  # half a point of the score; chance that the guarantee fails
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the questions where the router disagrees
CAUTION = 0.75  # share of the largest bet that could lose everything


@dataclass(frozen=True)
class Guard:
    """A calibrated guard.

    Attributes
    ----------
    default : int
        Position of the model that is asked unless another leads.
    threshold : float
        The lead from which on another model is asked; infinity: the default model always.
    epsilon, delta : float
        With probability 1 - delta the expected score is at most epsilon below the default model's.
    """

    default: int
    threshold: float
    epsilon: float = EPSILON
    delta: float = DELTA

    def choose(self, utilities: np.ndarray) -> np.ndarray:
        """Position of the model to ask on each question, given utilities (n_models, n_questions): (n_questions,)."""
        best, lead = leader(utilities, self.default)
        return np.where(lead >= self.threshold, best, self.default)


def fit_guard(
    default: int, before: np.ndarray, utilities: np.ndarray, scores: np.ndarray, groups: np.ndarray | None = None,
    epsilon: float = EPSILON, delta: float = DELTA, seed: int = 0,
) -> tuple[Guard, pd.DataFrame]:
    """A guard for one router, and what calibrated it.

    Parameters
    ----------
    default : int
        Position of the model named in training.
    before : ndarray, shape (n_models, n_before)
        Utilities on questions that do not calibrate: thresholds to try are quantiles of their leads.
    utilities : ndarray, shape (n_models, n_questions)
        Of the questions that calibrate, which neither the router's fit nor any tuning saw.
    scores : ndarray, shape (n_models, n_questions), in [0, 1]
        NaN = not observed: such a model cannot be asked, and a question without the default model calibrates nothing.

    Returns
    -------
    Guard, DataFrame
        The table is that of `calibrate`, with ``chosen`` (whether it is the guard's threshold).
    """
    known = ~np.isnan(scores[default])
    usable = np.where(np.isnan(scores), -inf, utilities)[:, known]
    best, lead = leader(usable, default)
    gain = scores[:, known][best, np.arange(len(best))] - scores[default, known]
    found = calibrate(lead, gain, thresholds(leader(before, default)[1]), None if groups is None else groups[known],
                      epsilon, delta, seed)
    held = Guard(default, best_certified(found), epsilon, delta)
    return held, found.assign(chosen=found["threshold"] == held.threshold)


def leader(utilities: np.ndarray, default: int) -> tuple[np.ndarray, np.ndarray]:
    """The model of highest utility on each question, and by how much it leads the default model; 0 where it is that.

    Parameters
    ----------
    utilities : ndarray, shape (n_models, n_questions)
        Without NaN.
    """
    best = utilities.argmax(axis=0)
    return best, utilities.max(axis=0) - utilities[default]


def thresholds(lead: np.ndarray, shares: Sequence[float] = SHARES) -> np.ndarray:
    """Thresholds by which the default model is left on so many of the questions where another leads, fewest first.

    Parameters
    ----------
    lead : ndarray, shape (n_questions,)
        From `leader`, of questions that do not calibrate.

    Returns
    -------
    ndarray, shape (n_thresholds,), falling
        Without repeats; empty where no other model ever leads.
    """
    leads = np.sort(lead[lead > 0])[::-1]
    return np.unique(leads[[ceil(share * len(leads)) - 1 for share in shares if len(leads)]])[::-1]


def calibrate(
    lead: np.ndarray, gain: np.ndarray, thresholds: np.ndarray, groups: np.ndarray | None = None,
    epsilon: float = EPSILON, delta: float = DELTA, seed: int = 0,
) -> pd.DataFrame:
    """Which thresholds are certified.

    Parameters
    ----------
    lead : ndarray, shape (n_questions,)
        Of the questions that calibrate, from `leader`.
    gain : ndarray, shape (n_questions,), in [-1, 1]
        Score of the leading model minus that of the default model there.
    thresholds : ndarray, shape (n_thresholds,)
        Falling, fixed without these questions.
    groups : ndarray, shape (n_questions,), optional
        Questions with one label count as one draw, by their mean.
    seed : int
        Of the order in which questions are taken, which must not depend on their outcomes.

    Returns
    -------
    DataFrame
        A row a threshold: ``threshold``, ``left`` (share of the questions), ``gain`` (mean over the questions), ``p``
        (of the null that the expected gain is at most -epsilon) and ``certified``.
    """
    left = lead[:, None] >= np.asarray(thresholds)
    values = np.where(left, gain[:, None], 0.0)  # (n_questions, n_thresholds)
    found = in_sequence(values, groups, epsilon, delta, seed)
    return pd.DataFrame({"threshold": thresholds, "left": left.mean(axis=0)}).join(found)


def in_sequence(
    gains: np.ndarray, groups: np.ndarray | None = None, epsilon: float = EPSILON, delta: float = DELTA, seed: int = 0
) -> pd.DataFrame:
    """Test rules one after the other, each at the full level, up to the first that fails.

    Parameters
    ----------
    gains : ndarray, shape (n_questions, n_rules), in [-1, 1]
        Over the default model; the order of the rules is fixed without these questions.

    Returns
    -------
    DataFrame
        A row a rule: ``gain`` (mean over the questions), ``p`` and ``certified``.
    """
    units = gains if groups is None else pd.DataFrame(gains).groupby(np.asarray(groups)).mean().to_numpy()
    p = betting_p(np.random.default_rng(seed).permutation(units), epsilon, delta)
    return pd.DataFrame({"gain": gains.mean(axis=0), "p": p, "certified": certified_of(p, delta)})


def certified_of(p: np.ndarray, delta: float = DELTA) -> np.ndarray:
    """Which rules are certified, in their order up to the first that fails: bool, the shape of p, (..., n_rules)."""
    return np.logical_and.accumulate(np.asarray(p) <= delta, axis=-1)


def best_of(certified: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """The certified rule of highest mean gain, the first of equal ones; -1 where none gains: int, shape (...).

    Parameters
    ----------
    certified, gains : ndarray, shape (..., n_rules)
    """
    held = np.where(certified, gains, 0.0)
    return np.concatenate([np.zeros_like(held, shape=(*held.shape[:-1], 1)), held], axis=-1).argmax(axis=-1) - 1


def best_certified(calibration: pd.DataFrame) -> float:
    """The certified threshold of highest mean gain on the calibration questions, infinity if none gains.

    All certified ones hold together, so that any of them may be chosen by looking.
    """
    best = best_of(calibration["certified"].to_numpy(bool), calibration["gain"].to_numpy())
    return inf if best < 0 else float(calibration["threshold"].iloc[best])


def betting_p(values: np.ndarray, epsilon: float, delta: float = DELTA) -> np.ndarray:
    """p-values of the nulls that means are at most -epsilon, by betting against them.

    Capital ``prod_t (1 + bet_t (value_t + epsilon))`` grows if the mean is above -epsilon and is a supermartingale if
    not, whatever the distribution, so that 1 / (capital at the end) is a p-value (Markov's inequality). The highest
    capital on the way would serve as well (Ville's), and would at times certify by a lucky beginning what all values
    together speak against. Bets look at the values before only and adapt to their variance: the predictable plug-in of
    Waudby-Smith and Ramdas (2024, Journal of the Royal Statistical Society B 86), for a number of values that is known.

    Parameters
    ----------
    values : ndarray, shape (n, n_nulls), in [-1, 1]
        Independent rows of one distribution, in an order that does not depend on them.
    epsilon : float, in [0, 1)
    delta : float
        The level to which bets are tuned; p-values hold at any.

    Returns
    -------
    ndarray, shape (n_nulls,), in (0, 1]

    Raises
    ------
    ValueError
        If a value is NaN or outside [-1, 1].
    """
    values = np.asarray(values, dtype=np.float64)
    if not (np.abs(values) <= 1).all():
        raise ValueError("gains must lie in [-1, 1] and be known; a question whose model was not observed cannot "
                         "calibrate")
    n = len(values)
    count = np.arange(1, n + 1)[:, None]
    means = (values.cumsum(axis=0)) / (count + 1)  # one pseudo-value at zero
    variances = (1 + ((values - means) ** 2).cumsum(axis=0)) / (count + 1)  # one at the largest there is
    before = np.vstack([np.ones((1, values.shape[1])), variances[:-1]])
    bets = np.minimum(np.sqrt(2 * log(1 / delta) / (n * before)), CAUTION / (1 - epsilon))
    return np.exp(-np.maximum(np.log1p(bets * (values + epsilon)).sum(axis=0), 0))
