"""Do two tables of distances go together? Mantel's test (1967, Cancer Research 27)."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def mantel(
    one: np.ndarray, other: np.ndarray, n_permutations: int, units: np.ndarray | None = None
) -> dict[str, float]:
    """Rank correlation of two symmetric tables over pairs, with a permutation test.

    Parameters
    ----------
    one, other : ndarray, shape (n, n)
        Distances or likenesses; the diagonal does not count.
    units : ndarray, shape (n,), optional
        What moves as one, the lineage of a model, say: pairs within a unit do not count, and a pair of units has the
        mean over its pairs. Default: each row alone.

    Returns
    -------
    dict
        ``correlation`` (Spearman), ``p`` (one-sided, that they go together), ``p_attainable``, ``n_units``.
    """
    if units is not None:
        _, code = np.unique(units, return_inverse=True)
        onehot = np.eye(code.max() + 1)[code] / np.bincount(code)[code][:, None]
        one, other = (onehot.T @ values @ onehot for values in (one, other))
    n = len(one)
    upper = np.triu_indices(n, 1)
    if n < 4 or np.ptp(one[upper]) == 0 or np.ptp(other[upper]) == 0:
        return {"correlation": np.nan, "p": np.nan, "p_attainable": np.nan, "n_units": n}
    ranked = np.zeros((n, n))
    ranked[upper] = rankdata(one[upper])
    ranked += ranked.T
    fixed = rankdata(other[upper])
    fixed = (fixed - fixed.mean()) / fixed.std()
    rng, scale = np.random.default_rng(0), ranked[upper].std()
    values = np.empty(1 + n_permutations)
    for at in range(1 + n_permutations):
        order = rng.permutation(n) if at else np.arange(n)
        values[at] = ranked[order[upper[0]], order[upper[1]]] @ fixed / len(fixed) / scale
    return {"correlation": float(values[0]), "p": float((values >= values[0] - 1e-12).mean()),
            "p_attainable": 1 / len(values), "n_units": n}
