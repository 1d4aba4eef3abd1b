"""Models by size: classes and bands, and whether large models differ less from each other (Q1)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import logit
from scipy.stats import t

from embedllm.lineages import likeness
from embedllm.outcomes import OutcomeMatrix

SIZE_CLASSES = {"7B": (6, 9), "13B": (13, 14), "70B": (65, 72)}  # whole billions, both ends included


def family_of_size(parameters_b) -> pd.Series:
    """Size communities, the paper's names and our ranges: "7B" (6 to 9), "13B" (13, 14), "70B" (65 to 72).

    `parameters_b` is in billions, one value a model, NaN where unpublished; fractions are dropped, so
    that 9.2 counts as 9 and 72.7 as 72. Returns a Series of str with the index of the input.
    """
    billions = np.floor(pd.Series(parameters_b, dtype=float))
    classes = pd.Series(np.nan, index=billions.index, dtype=object, name="size")
    for name, (least, most) in SIZE_CLASSES.items():
        classes[billions.between(least, most)] = name
    return classes


def size_bands(parameters_b) -> pd.Series:
    """Five bands of size that every model of known size falls into, as an ordered category.

    `parameters_b` is in billions, one value a model, NaN where unpublished.
    """
    edges, names = [0, 5, 10, 20, 50, np.inf], ["under 5B", "5 to 10B", "10 to 20B", "20 to 50B", "from 50B"]
    return pd.cut(pd.Series(parameters_b, dtype=float), edges, right=False, labels=names)


FEWEST = 6  # lineages in a band


def alike_by_size(table: OutcomeMatrix, parameters_b: pd.Series, lineages: pd.Series) -> pd.DataFrame:
    """How much the models of each size band differ in accuracy and in their answers.

    A lineage counts once in a band, by the mean over its models. Pairs within a lineage do not count.

    Parameters
    ----------
    table : OutcomeMatrix
    parameters_b, lineages : Series, indexed by model

    Returns
    -------
    DataFrame
        A row for each band of six lineages and more: ``size``, ``n_models``, ``n_lineages``; ``spread``: SD over
        lineages of the logit of the mean score; ``disagreement``: share of common questions that one of two answers
        rightly and the other does not; ``alike``: how much more two answer alike than their abilities and the
        questions' difficulties imply (`lineages.likeness`), which compares them as if they were equally good. Each
        with ``_low`` and ``_high``: 95 %, bootstrap of lineages.
    """
    bands, rows = size_bands(parameters_b), []
    ability = logit(np.clip(table.model_means, 1e-3, 1 - 1e-3))
    asked = table.observed.astype(np.float32)
    right = np.where(table.observed, table.scores >= 0.5, 0).astype(np.float32)
    wrong = asked - right
    common = np.maximum(asked @ asked.T, 1)
    pairs = {"disagreement": (right @ wrong.T + wrong @ right.T) / common, "alike": likeness(table)}
    for band in bands.cat.categories:
        members = np.flatnonzero((bands == band).to_numpy())
        code, names = pd.factorize(lineages.to_numpy()[members])
        if len(names) < FEWEST:
            continue
        onehot = np.eye(len(names))[code] / np.bincount(code)[code][:, None]
        row = {"size": band, "n_models": len(members), "n_lineages": len(names)}
        n = len(names)
        own, between = onehot.T @ ability[members], {}
        for name, matrix in pairs.items():
            between[name] = onehot.T @ matrix[np.ix_(members, members)] @ onehot
            np.fill_diagonal(between[name], 0)

        def measured(kept: np.ndarray, own=own, between=between) -> list[float]:
            count = kept.sum()
            return [own[kept].std(ddof=1), *(one[np.ix_(kept, kept)].sum() / (count * (count - 1))
                                             for one in between.values())]

        whole = np.array(measured(np.ones(n, bool)))
        without = np.array([measured(np.arange(n) != at) for at in range(n)])
        errors = np.sqrt((n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
        for name, value, se in zip(("spread", *pairs), whole, errors, strict=True):
            reach = float(t.isf(0.025, n - 1)) * se
            row |= {name: value, f"{name}_se": se, f"{name}_low": value - reach, f"{name}_high": value + reach}
        rows.append(row)
    columns = ["size", "n_models", "n_lineages", *(f"{name}{end}" for name in ("spread", *pairs)
                                                   for end in ("", "_se", "_low", "_high"))]
    return pd.DataFrame(rows, columns=columns)
