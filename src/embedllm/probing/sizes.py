"""Models by size: classes and bands, and whether large models differ less from each other (Q1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import logit
from scipy.stats import t as student

from embedllm.evaluation.intervals import jackknife
from embedllm.lineages import disagreements, likeness
from embedllm.outcomes import OutcomeMatrix
from embedllm.probing import arrangements
from embedllm.probing.communities import merged

SIZE_CLASSES = {"7B": (6, 9), "13B": (13, 14), "70B": (65, 72)}  # whole billions, both ends included
FEWEST = 6  # lineages in a band
FEWEST_OF_FAMILY = 5  # in a size class of a family, where families are compared


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
        questions' difficulties imply (`lineages.likeness`), which compares them as if they were equally good, less
        its mean over all pairs of different lineages, which chance puts below zero (Christensen, Makransky and Horton
        2017, Applied Psychological Measurement 41). Each with ``_se`` and, at 95 %, ``_low`` and ``_high``: `jackknife`
        of lineages, for the spread of its logarithm.
    """
    bands, rows = size_bands(parameters_b), []
    ability = logit(np.clip(table.model_means, 1e-3, 1 - 1e-3))
    like, others = likeness(table), lineages.to_numpy()[:, None] != lineages.to_numpy()
    pairs = {"disagreement": disagreements(table), "alike": like - like[others].mean() if others.any() else like}
    for band in bands.cat.categories:
        members = np.flatnonzero((bands == band).to_numpy())
        code, names = pd.factorize(lineages.to_numpy()[members])
        if len(names) < FEWEST:
            continue
        onehot = np.eye(len(names))[code] / np.bincount(code)[code][:, None]
        own = onehot.T @ ability[members]
        between = [onehot.T @ matrix[np.ix_(members, members)] @ onehot for matrix in pairs.values()]
        row = {"size": band, "n_models": len(members), "n_lineages": len(names)}
        for name, told in zip(("spread", *pairs), _jackknifed(own, between), strict=True):
            row |= dict(zip((name, f"{name}_se", f"{name}_low", f"{name}_high"), told, strict=True))
        rows.append(row)
    columns = ["size", "n_models", "n_lineages", *(f"{name}{end}" for name in ("spread", *pairs)
                                                   for end in ("", "_se", "_low", "_high"))]
    return pd.DataFrame(rows, columns=columns)


def trends(bands: pd.DataFrame) -> pd.DataFrame:
    """By how much each measure of `alike_by_size` changes from one band to the next: a weighted straight line.

    Returns
    -------
    DataFrame
        ``measure``, ``change`` with ``low`` and ``high`` (95 %; Student's t with the lineages of the smallest band,
        less one), of bands weighted by their standard errors; empty for fewer than two bands.
    """
    rows, at = [], np.arange(len(bands))
    for name in ("spread", "disagreement", "alike") if len(bands) > 1 else ():
        weights = 1 / bands[f"{name}_se"].to_numpy() ** 2
        apart = at - np.average(at, weights=weights)
        square = (weights * apart**2).sum()
        change = float((weights * apart * bands[name]).sum() / square)
        reach = float(student.isf(0.025, bands["n_lineages"].min() - 1) / np.sqrt(square))
        rows.append((name, change, change - reach, change + reach))
    return pd.DataFrame(rows, columns=["measure", "change", "low", "high"])


def across_families(
    distances: np.ndarray, sizes, families, units=None, n_permutations: int = 4999
) -> dict[str, float | int | str]:
    """Are models of one size closer to those of other families of that size than to those of another size?

    Only pairs of different families count, of size classes with five units in a family. Sizes move among the units of
    each family, as in `communities.pooled_test`.

    Parameters
    ----------
    distances : ndarray, shape (n_models, n_models)
    sizes, families, units : array-like of str, shape (n_models,)
        As ``labels``, ``families`` and ``base_models`` there.

    Returns
    -------
    dict
        ``gap`` (mean distance of pairs of one size minus that of others), ``p_closer`` (one-sided), ``n_units``,
        ``n_families``; ``note``: why there is no p, else blank.
    """
    found, between = merged(distances, sizes, units, families)
    enough = (found.groupby(["family", "label"])["label"].transform("size") >= FEWEST_OF_FAMILY).to_numpy()
    found, between = found[enough], between[np.ix_(enough, enough)]
    family, label = found["family"].to_numpy(), pd.factorize(found["label"])[0]
    result = {"gap": np.nan, "p_closer": np.nan, "n_units": len(found), "n_families": len(set(family))}
    drawn = arrangements.within(label, family, n_permutations, np.random.default_rng(0))
    apart = (family[:, None] != family).astype(float)
    same, pairs = np.zeros(len(drawn)), np.zeros(len(drawn))
    for one in np.unique(label):
        member = (drawn == one).astype(float)
        same += ((member @ (between * apart)) * member).sum(axis=1)
        pairs += ((member @ apart) * member).sum(axis=1)
    if (drawn == label).all() or not 0 < pairs[0] < apart.sum():
        return result | {"note": f"not testable: {FEWEST_OF_FAMILY} lineages of one size class in two families, and of "
                                 "two classes in one of these, are needed"}
    gaps = same / pairs - ((between * apart).sum() - same) / (apart.sum() - pairs)
    return result | {"gap": float(gaps[0]), "p_closer": float((gaps <= gaps[0] + 1e-9 * between.max()).mean()),
                     "note": ""}


def _jackknifed(values: np.ndarray, pairs: Sequence[np.ndarray]) -> list[tuple[float, float, float, float]]:
    """SD of values and means of pairs, each with standard error and interval, by leaving out one unit at a time.

    Parameters
    ----------
    values : ndarray, shape (n_units,)
    pairs : sequence of ndarray, shape (n_units, n_units)
        The diagonal does not count.
    """
    def measured(kept: np.ndarray) -> list[float]:
        upper = np.triu_indices(len(kept), 1)
        return [np.log(values[kept].std(ddof=1)), *(one[np.ix_(kept, kept)][upper].mean() for one in pairs)]

    units = np.arange(len(values))
    spread, *means = measured(units)
    errors, reach = jackknife(np.array([measured(np.delete(units, at)) for at in units]))
    sd = np.exp(spread)
    return [(sd, sd * errors[0], *np.exp([spread - reach[0], spread + reach[0]])),
            *((mean, se, mean - far, mean + far) for mean, se, far in zip(means, errors[1:], reach[1:], strict=True))]
