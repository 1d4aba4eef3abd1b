"""What can be read off model vectors by a linear map: ability, size, kind and family, lineages left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from embedllm.probing.folds import lineage_folds
from embedllm.probing.ridge import ridge_weights

PENALTIES = np.logspace(-4, 0, 5)  # of ridge, in units of the coordinates' sum of squares
FEWEST = 10  # lineages of a class, and of all where a number is read


def probe(
    coordinates: np.ndarray, targets: Mapping[str, Sequence], lineages: Sequence[str], n_permutations: int
) -> pd.DataFrame:
    """Ridge regressions on the coordinates, cross-validated over lineages, against targets that were permuted.

    The unit is the lineage, for classes the models of a lineage that share one: its coordinates are their mean, and so
    is a number that is read. Targets move freely among the units. Classes are told by one regression each; that wins
    which is highest above the share of its class, in units of its standard deviation, so that the largest has no
    advantage. The penalty is the best of five for the target, and again for each permutation, so that the choice cannot
    pass for knowledge. *Selectivity* is what is reached beyond such random labels.

    Parameters
    ----------
    coordinates : ndarray, shape (n_models, n_coordinates)
    targets : mapping of name to array-like, shape (n_models,)
        Numbers, or texts for classes; None or NaN where it is not known. Classes of fewer than ten lineages are left
        out.
    lineages : array-like of str, shape (n_models,)

    Returns
    -------
    DataFrame
        ``target``, ``n_models``, ``n_lineages``, ``n_classes`` (0 for a number), ``score``: R2, of classes the mean
        share of each that is told; ``random`` (mean of the permutations), ``selectivity``, ``p`` (one-sided),
        ``note``: why it is not tested.
    """
    rows = []
    for name, values in targets.items():
        values, lineage = pd.Series(list(values), dtype=object), pd.Series(np.asarray(lineages, dtype=object))
        numeric = pd.api.types.is_numeric_dtype(values.infer_objects())
        kept = values.notna()
        if not numeric:
            counts = lineage[kept].groupby(values[kept]).nunique()
            kept &= values.isin(counts.index[counts >= FEWEST])
        classes = 0 if numeric else values[kept].nunique()
        row = {"target": name, "n_models": int(kept.sum()), "n_lineages": lineage[kept].nunique(), "n_classes": classes}
        if row["n_lineages"] < FEWEST or classes == 1 or (not numeric and not classes):
            rows.append(row | {"note": f"not testable: fewer than {FEWEST} lineages, or than two classes of so many"})
            continue
        unit = lineage[kept].astype(str) + ("" if numeric else " " + values[kept].astype(str))
        points = pd.DataFrame(coordinates[kept]).groupby(unit.to_numpy()).mean().to_numpy()
        told = values[kept].astype(float) if numeric else pd.Series(pd.factorize(values[kept])[0])
        own = told.groupby(unit.to_numpy()).mean().to_numpy()
        of_unit = lineage[kept].groupby(unit.to_numpy()).first().to_numpy()
        found = _scores(points, own if numeric else own.astype(int), of_unit, classes, n_permutations)
        rows.append(row | {"score": found[0], "random": found[1:].mean(), "selectivity": found[0] - found[1:].mean(),
                           "p": float((found >= found[0] - 1e-12).mean()), "note": ""})
    return pd.DataFrame(rows, columns=["target", "n_models", "n_lineages", "n_classes", "score", "random",
                                       "selectivity", "p", "note"])


def _scores(x: np.ndarray, y: np.ndarray, lineage: np.ndarray, classes: int, n_permutations: int) -> np.ndarray:
    """The score of the target, first, and of its permutations: (1 + n_permutations,)."""
    rng, fold = np.random.default_rng(0), lineage_folds(lineage)
    orders = np.stack([np.arange(len(y)), *(rng.permutation(len(y)) for _ in range(n_permutations))])
    drawn = y[orders]  # (1 + n_permutations, n_models)
    best = np.full(len(drawn), -np.inf)
    for hat in _hats(x, fold):
        if classes:
            share = np.bincount(y, minlength=classes) / len(y)
            told = np.stack([((drawn == one) @ hat.T - share[one]) / np.sqrt(share[one] * (1 - share[one]))
                             for one in range(classes)])
            right = told.argmax(axis=0) == drawn
            score = np.mean([(right & (drawn == one)).sum(axis=1) / (drawn == one).sum(axis=1)
                             for one in range(classes)], axis=0)
        else:
            error = ((drawn @ hat.T - drawn) ** 2).sum(axis=1)
            score = 1 - error / ((drawn - drawn.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        best = np.maximum(best, score)
    return best


def _hats(x: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """What turns targets into forecasts of each fold from the others, for each of `PENALTIES`: (n_penalties, n, n)."""
    hats = np.zeros((len(PENALTIES), len(x), len(x)))
    for number in np.unique(fold):
        out = fold == number
        hats[np.ix_(range(len(PENALTIES)), out, ~out)] = ridge_weights(x[~out], x[out], PENALTIES)
    return hats
