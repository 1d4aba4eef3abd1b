"""Who gets chosen: shares of the models, the entropy of choices, and what a choice tells of the question."""

from __future__ import annotations

from math import log

import numpy as np
import pandas as pd
from scipy import stats

from embedllm.outcomes import OutcomeMatrix
from embedllm.routing.policies import choose

HALVINGS = 20  # of the models, in each fit


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
    choice, label = (np.unique(one, return_inverse=True)[1] for one in (choices, labels))
    pair = np.unique(choice * (label.max() + 1) + label, return_inverse=True)[1]
    n = len(pair)
    share = [np.bincount(one)[one] / n for one in (pair, choice, label)]
    seen = [one.max() + 1 for one in (pair, choice, label)]
    bias = (seen[0] - seen[1] - seen[2] + 1) / (2 * n * log(2))
    return np.log2(share[0] / (share[1] * share[2])) - bias


def told_by_choice(forecast: np.ndarray, table: OutcomeMatrix, seed: int, n_halvings: int = HALVINGS) -> np.ndarray:
    """What choosing among half of the models tells of a question's benchmark and of its difficulty, in bits.

    Difficulty is the mean score of the other half's models on the question, so that the answers which make it are not
    those of the models that are chosen, in as many classes of equal size as there are benchmarks. Which models are in
    which half moves the result more than all questions do: it is the mean of several halvings.

    Parameters
    ----------
    forecast : ndarray, shape (n_models, n_questions)
    table : OutcomeMatrix
        Of these questions; models without a ``lineage`` count as one each.

    Returns
    -------
    ndarray, shape (2, n_questions), float64
        Pointwise information about the benchmark, about the difficulty.
    """
    benchmarks, found = np.unique(table.questions["benchmark"], return_inverse=True)[1], []
    lineage = np.asarray(table.models.get("lineage", table.models.index))
    for halving in range(n_halvings):
        rng = np.random.default_rng([seed, halving])
        asked = halves(lineage, rng)
        can = table.observed[asked].any(axis=0)  # questions that nobody in the half was asked tell nothing
        choice = choose(forecast[np.ix_(asked, can)], table.observed[np.ix_(asked, can)])
        ease = np.nan_to_num(np.nanmean(table.scores[~asked], axis=0))[can]
        rank = np.argsort(np.lexsort((rng.permutation(len(ease)), ease)))  # of equal ones none before the other
        classes = rank * (benchmarks.max() + 1) // len(rank)
        bits = np.zeros((2, table.shape[1]))
        bits[:, can] = [pointwise_information(choice, label) for label in (benchmarks[can], classes)]
        found.append(bits)
    return np.mean(found, axis=0)


def halves(lineage: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random half of the models, lineages whole: bool, (n_models,)."""
    names, sizes = np.unique(lineage, return_counts=True)
    first, n = set(), 0
    for at in rng.permutation(len(names)):
        if 2 * n + sizes[at] <= len(lineage) or not n:
            first.add(names[at])
            n += sizes[at]
    return np.isin(lineage, list(first))
