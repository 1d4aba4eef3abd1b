"""Who gets chosen: shares of the models, the entropy of choices, and what a choice tells of the question."""

from __future__ import annotations

from math import log

import numpy as np
import pandas as pd
from scipy import stats


def shares(choices: np.ndarray, models: pd.Index, benchmarks: np.ndarray) -> pd.DataFrame:
    """How often each model is chosen, of all questions and of those of each benchmark.

    Parameters
    ----------
    choices : ndarray of int, shape (n_fits, n_questions)
    models : Index, length n_models
    benchmarks : ndarray of str, shape (n_questions,)

    Returns
    -------
    DataFrame
        Columns ``benchmark`` ("all" first), ``model``, ``share`` (of questions and fits, sums to 1 in each benchmark);
        the model chosen most often first, unused ones included.
    """
    counts = np.bincount(choices.ravel(), minlength=len(models))
    order = np.argsort(-counts, kind="stable")
    groups = {"all": np.full(len(benchmarks), True)} | {name: benchmarks == name for name in sorted(set(benchmarks))}
    return pd.concat(pd.DataFrame({
        "benchmark": name, "model": models[order],
        "share": np.bincount(choices[:, rows].ravel(), minlength=len(models))[order] / (len(choices) * rows.sum()),
    }) for name, rows in groups.items())


def entropy(choices: np.ndarray) -> float:
    """Entropy of choices in bits: 0 where one model is asked always, k where 2^k models are asked equally often."""
    return float(stats.entropy(np.unique(choices, return_counts=True)[1], base=2))


def pointwise_information(choices: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What the choice on each question tells of its label, in bits; the mean is their mutual information.

    ``log2 p(c, l) / (p(c) p(l))`` of the observed shares, less the bias of the mean in small samples (Miller 1955,
    "Note on the bias of information estimates": cells that occur - choices - labels + 1, over 2 n ln 2). To the first
    order the mean varies as a mean of these values does, so that tests of means apply where it is above zero.

    Parameters
    ----------
    choices, labels : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n,), float64
    """
    pair, choice, label = (pd.factorize(one)[0] for one in (pd.MultiIndex.from_arrays([choices, labels]), choices,
                                                            labels))
    n = len(pair)
    share = [np.bincount(one)[one] / n for one in (pair, choice, label)]
    seen = [one.max() + 1 for one in (pair, choice, label)]
    bias = (seen[0] - seen[1] - seen[2] + 1) / (2 * n * log(2))
    return np.log2(share[0] / (share[1] * share[2])) - bias
