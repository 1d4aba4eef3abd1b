"""Ridge regression with an intercept, as weights: what each known value counts in a forecast, for many penalties."""

from __future__ import annotations

import numpy as np


def ridge_weights(x: np.ndarray, new: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """What turns the values of known rows into forecasts for new ones.

    Parameters
    ----------
    x : ndarray, shape (n_known, n_predictors)
    new : ndarray, shape (n_new, n_predictors)
    penalties : ndarray, shape (n_penalties,)
        In units of the predictors' sum of squares around their means.

    Returns
    -------
    ndarray, shape (n_penalties, n_new, n_known), float64
        Each row sums to 1: the intercept is not shrunk.
    """
    center = x.mean(axis=0)
    left, size, right = np.linalg.svd(x - center, full_matrices=False)
    shrunk = size / (size**2 + np.asarray(penalties)[:, None] * ((size**2).sum() or 1.0))
    slopes = ((new - center) @ right.T * shrunk[:, None]) @ left.T  # left is centered, so that values need not be
    return slopes + 1 / len(x)
