"""Where a pool's models lie: how far apart in one lineage, along their size, and which are near a new one."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from embedllm.outcomes import OutcomeMatrix

LEAST = 1e-3  # SD over models, in logits, below which a coordinate or a deviation tells nothing
FEW = 4  # relatives beyond the first of a lineage, over all lineages, that tell as much as a guess
SIZED = 8  # lineages of known size from which their sizes tell something
N_SIMILAR = 5  # models that are called the most alike


def nearest(model_vectors: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `N_SIMILAR` models that are closest to each vector, and how far they are.

    Parameters
    ----------
    model_vectors : ndarray, shape (n_models, dim)
    vectors : ndarray, shape (n_vectors, dim)

    Returns
    -------
    models : ndarray of int, shape (n_vectors, n)
    distances : ndarray, shape (n_vectors, n), float64
    """
    apart = cdist(vectors, model_vectors)
    near = np.argsort(apart, axis=1, kind="stable")[:, :N_SIMILAR]
    return near, np.take_along_axis(apart, near, axis=1)


def within_lineages(points: np.ndarray, of: np.ndarray, many: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Covariance among models of one lineage; NaN where no lineage has two models.

    Lineages with two models and more count alike. Where they are few, half of the total is taken to be within them. No
    direction has more within lineages than in total.

    Parameters
    ----------
    points : ndarray, shape (n_models, n)
    of : ndarray of int, shape (n_models,)
        The lineage of each.
    many : ndarray of int, shape (n_lineages,)
        Models of each.
    total : ndarray, shape (n, n)
        Covariance among all models.
    """
    some, n = np.flatnonzero(many > 1), len(total)
    if not len(some):
        return np.full((n, n), np.nan)
    found = np.mean([np.cov(points[of == one].T).reshape(n, n) for one in some], axis=0)
    further = (many[some] - 1).sum()  # beyond the first of each lineage
    found = (further * found + FEW * total / 2) / (further + FEW)
    root = np.linalg.cholesky(total)
    shares, axes = np.linalg.eigh(np.linalg.solve(root, np.linalg.solve(root, found).T))
    return root @ (axes * shares.clip(0, 1)) @ axes.T @ root.T


def along_size(
    residual: np.ndarray, sizes: np.ndarray, of: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How coordinates go along with size, by least squares in which a lineage counts once, and what that leaves open.

    Parameters
    ----------
    residual : ndarray, shape (n_models, n)
        Coordinates around their mean.
    sizes : ndarray, shape (n_models,)
        Logarithms; NaN where not known.
    of : ndarray of int, shape (n_models,)
        The lineage of each.
    total : ndarray, shape (n, n)
        Covariance among all models.

    Returns
    -------
    by_size, sizes, given_size
        See `onboarding.Shared`; sizes are none for fewer than `SIZED` lineages of known size, where all are one, and
        where size leaves levels as open, on average, as they are without it.
    """
    known, nothing = np.isfinite(sizes), (np.zeros((2, len(total))), np.zeros(0), total)
    _, own, many = np.unique(of[known], return_inverse=True, return_counts=True)
    if len(many) < SIZED or not np.ptp(sizes[known]):
        return nothing
    weights, n = 1 / many[own], len(many)
    lineages = np.bincount(own, weights * sizes[known])
    design = np.column_stack([np.ones(len(own)), sizes[known] - lineages.mean()]) * np.sqrt(weights)[:, None]
    by_size, *_ = np.linalg.lstsq(design, residual[known] * np.sqrt(weights)[:, None])
    left = residual[known] * np.sqrt(weights)[:, None] - design @ by_size
    given = left.T @ left / (n - 2) + LEAST**2 * np.eye(len(total))
    return (by_size, lineages, given) if (1 + 2 / n) * given[0, 0] < total[0, 0] else nothing


def log_sizes(table: OutcomeMatrix) -> np.ndarray:
    """Logarithms of billions of parameters, NaN where not known: (n_models,)."""
    found = table.models.get("parameters_b")
    return np.full(len(table.models), np.nan) if found is None else np.log(found.to_numpy(float))
