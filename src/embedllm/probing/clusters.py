"""Do models fall into clusters? A test against one normal distribution, and who a model's neighbors are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

N_STARTS, STEPS = 8, 20  # of two means
FEWEST = 20  # models
NEIGHBORS = 5
CHUNK = 100  # samples that are divided at a time


def cluster_index(samples: np.ndarray, smallest: float, seed: int = 0) -> np.ndarray:
    """Sum of squares within two groups over that in all, at the best division that was found, of each sample.

    Two means from several starts: halves along the first axis, and random pairs of points. A division counts whose
    smaller group holds at least a share `smallest` of the points; 1 where none does.

    Parameters
    ----------
    samples : ndarray, shape (n_samples, n_points, n_components)

    Returns
    -------
    ndarray, shape (n_samples,), in [0, 1]
    """
    rng = np.random.default_rng(seed)
    return np.concatenate([_index(samples[start : start + CHUNK], smallest, rng)
                           for start in range(0, len(samples), CHUNK)])


def _index(samples: np.ndarray, smallest: float, rng: np.random.Generator) -> np.ndarray:
    x = samples - samples.mean(axis=1, keepdims=True)
    n_samples, n, _ = x.shape
    total, best = (x**2).sum(axis=(1, 2)), np.ones(n_samples)
    for start in range(N_STARTS):
        if start:
            pair = np.stack([rng.choice(n, 2, replace=False) for _ in range(n_samples)])
            one, other = (x[np.arange(n_samples), pair[:, side]][:, None] for side in (0, 1))
            first = ((x - one) ** 2).sum(axis=2) < ((x - other) ** 2).sum(axis=2)
        else:
            first = x[:, :, 0] > np.median(x[:, :, 0], axis=1, keepdims=True)
        for _ in range(STEPS):
            size = first.sum(axis=1)
            sums = np.einsum("sn,snd->sd", first, x)
            # The centers are sums / size and -sums / (n - size), since all points sum to zero.
            one, other = sums / np.maximum(size, 1)[:, None], -sums / np.maximum(n - size, 1)[:, None]
            along, middle = one - other, (one + other) / 2
            first = np.einsum("snd,sd->sn", x, along) > (along * middle).sum(axis=1)[:, None]
        size = first.sum(axis=1)
        sums = np.einsum("sn,snd->sd", first, x)
        between = (sums**2).sum(axis=1) * n / np.maximum(size * (n - size), 1)
        enough = np.minimum(size, n - size) >= smallest * n
        best = np.where(enough, np.minimum(best, 1 - between / np.maximum(total, 1e-300)), best)
    return best


def clustering_test(
    points: np.ndarray, apart: float, smallest: float, level: float, n_draws: int = 999, n_planted: int = 200
) -> dict[str, float | str]:
    """Are points more clustered than a sample of one normal distribution with their covariance?

    The cluster index of two means (Liu, Hayes, Nobel and Marron 2008, Journal of the American Statistical Association
    103) against normal samples. Its power is that at *clear clusters*: two groups of equal size whose centers lie
    `apart` standard deviations of a group from each other along the first component, with the same covariance in all.
    A second null has that covariance and a first component that is spread evenly: where ability alone is not normal,
    two means divide it better than a normal sample though there is no gap.

    Parameters
    ----------
    points : ndarray, shape (n_models, n_components)
        Principal components: uncorrelated, the first with the largest variance.
    smallest : float
        Share of the points that a group has to hold.
    level : float
        Of the test whose power is estimated.

    Returns
    -------
    dict
        ``n_models``, ``index``, ``null`` (mean of the normal samples) with ``low`` and ``high`` (their middle 95 %),
        ``p`` (one-sided), ``p_even`` (the same against the second null), ``planted`` (mean at clear clusters),
        ``power`` (of both tests together); of the best two groups ``smaller``, the share of the points in the smaller
        one, and ``along_first``, the share of the squared distance of their centers that lies along the first
        component; ``note``: why p is NaN, else blank.
    """
    n = len(points)
    if n < FEWEST:
        return {"n_models": n, "p": np.nan, "p_even": np.nan, "power": np.nan,
                "note": f"not testable: fewer than {FEWEST} models"}
    rng, spread = np.random.default_rng(0), points.std(axis=0)
    null = cluster_index(rng.standard_normal((n_draws, n, len(spread))) * spread, smallest)
    even = rng.standard_normal((n_draws, n, len(spread))) * spread
    even[:, :, 0] = rng.uniform(-1, 1, (n_draws, n)) * np.sqrt(3) * spread[0]
    even = cluster_index(even, smallest)
    planted = rng.standard_normal((n_planted, n, len(spread))) * spread
    side = rng.permuted(np.tile(np.resize([-1.0, 1.0], n), (n_planted, 1)), axis=1)
    planted[:, :, 0] = (planted[:, :, 0] + side * spread[0] * apart / 2) / np.sqrt(1 + apart**2 / 4)
    found = cluster_index(planted, smallest)
    [own] = cluster_index(points[None], smallest)
    first = KMeans(2, n_init=N_STARTS, random_state=0).fit_predict(points) == 0
    between = (points[first].mean(axis=0) - points[~first].mean(axis=0)) ** 2
    least = min(np.quantile(null, level), np.quantile(even, level))
    return {"n_models": n, "index": own, "null": null.mean(), "low": np.quantile(null, 0.025),
            "high": np.quantile(null, 0.975), "p": (1 + (null <= own).sum()) / (1 + n_draws),
            "p_even": (1 + (even <= own).sum()) / (1 + n_draws),
            "planted": found.mean(), "power": (found <= least).mean(), "smaller": min(first.mean(), 1 - first.mean()),
            "along_first": between[0] / between.sum(), "note": ""}


def purity(
    distances: np.ndarray, labels: dict[str, Sequence], lineages: Sequence[str], n_permutations: int
) -> pd.DataFrame:
    """How many of a model's nearest neighbors of other lineages share its label, beside labels that are permuted.

    Labels move among lineages that hold as many models, whole: a lineage's models keep each other's.

    Parameters
    ----------
    distances : ndarray, shape (n_models, n_models)
    labels : mapping of name to array-like, shape (n_models,)
        None or NaN where a model has none: it is left out.
    lineages : array-like of str, shape (n_models,)

    Returns
    -------
    DataFrame
        ``label``, ``n_models``, ``n_labels``, ``share``, ``expected`` (mean of permutations), ``p`` (one-sided),
        ``note``.
    """
    rows, rng = [], np.random.default_rng(0)
    for name, values in labels.items():
        values = pd.Series(list(values), dtype=object)
        kept = np.flatnonzero(values.notna())
        codes, names = pd.factorize(values.iloc[kept])
        lineage = pd.factorize(np.asarray(lineages, dtype=object)[kept])[0]
        row = {"label": name, "n_models": len(kept), "n_labels": len(names)}
        foreign = np.where(lineage[:, None] == lineage, np.inf, distances[np.ix_(kept, kept)])
        if len(names) < 2 or np.isfinite(foreign).sum(axis=1).min() < NEIGHBORS:
            rows.append(row | {"note": "not testable: fewer than two labels, or too few models of other lineages"})
            continue
        near = np.argsort(foreign, axis=1, kind="stable")[:, :NEIGHBORS]
        drawn = np.stack([codes, *(_permuted(codes, lineage, rng) for _ in range(n_permutations))])
        shares = (drawn[:, near] == drawn[:, :, None]).mean(axis=(1, 2))
        rows.append(row | {"share": shares[0], "expected": shares[1:].mean(), "p": (shares >= shares[0] - 1e-12).mean(),
                           "note": ""})
    return pd.DataFrame(rows, columns=["label", "n_models", "n_labels", "share", "expected", "p", "note"])


def _permuted(codes: np.ndarray, lineage: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels that moved among lineages of one size, whole."""
    found, members = codes.copy(), [np.flatnonzero(lineage == one) for one in range(lineage.max() + 1)]
    for size in {len(one) for one in members}:
        alike = [one for one in members if len(one) == size]
        for place, other in zip(alike, rng.permutation(len(alike)), strict=True):
            found[place] = codes[alike[other]]
    return found
