"""How much of the oracle is luck: what it would reach if models differed in ability alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm.evaluation.rasch import fit_one_dimensional
from embedllm.routing.policies import oracle


def oracle_without_specialization(scores: np.ndarray, n_draws: int = 200, seed: int = 0) -> np.ndarray:
    """What the oracle would score if models differed in one dimension only: parametric bootstrap.

    Fits `fit_one_dimensional`, draws new pools from it with the same observed cells, and takes the mean
    oracle score of each.

    Parameters
    ----------
    scores : ndarray, shape (n_models, n_questions), in {0, 1}
        NaN = not observed.
    n_draws, seed : int

    Returns
    -------
    ndarray, shape (n_draws,), float64
        Compare with ``oracle(scores).mean()``. The spread is that of new questions, with the fitted
        abilities taken as known. An oracle within it needs no specialization to be explained, which is
        not to say that there is none: camps of like models pull the oracle below the null, models that
        complement each other push it above.

    Raises
    ------
    ValueError
        If scores are graded: drawn answers are all or nothing, and their best is no fair comparison.
    """
    observed = ~np.isnan(scores)
    if not np.isin(scores[observed], (0, 1)).all():
        raise ValueError(
            "the null of the oracle needs scores 0 or 1, these are graded; binarize scores and the oracle "
            "alike first, e.g. np.where(np.isnan(scores), np.nan, scores >= 0.5)"
        )
    pool, rng = fit_one_dimensional(scores), np.random.default_rng(seed)
    return np.array([oracle(pool.draw(observed, rng)).mean() for _ in range(n_draws)])


def oracle_beside_luck(scores: np.ndarray, n_draws: int) -> pd.DataFrame:
    """The oracle's score, and what it would be if models differed in ability alone.

    Parameters
    ----------
    scores : ndarray, shape (n_models, n_questions), in {0, 1}
        NaN = not observed.
    n_draws : int

    Returns
    -------
    DataFrame
        Two rows, ``pool`` "observed" and "drawn without specialization": ``value`` (of the draws the mean), ``low``,
        ``high`` (95 % of the draws), ``p`` (two-sided, of the observed one among the draws).
    """
    observed, null = oracle(scores).mean(), oracle_without_specialization(scores, n_draws)
    p = (1 + (np.abs(null - null.mean()) >= abs(observed - null.mean())).sum()) / (1 + len(null))
    low, high = np.quantile(null, [0.025, 0.975])
    rows = [("observed", observed, observed, observed, p),
            ("drawn without specialization", null.mean(), low, high, np.nan)]
    return pd.DataFrame(rows, columns=["pool", "value", "low", "high", "p"])
