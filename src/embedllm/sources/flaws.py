"""What is wrong with real tables, planted with known answers: blocks never run, cells run twice."""

from __future__ import annotations

import numpy as np

FEWEST = 2  # benchmarks left to a model, models left to a benchmark


def blocks_never_run(
    truth: np.ndarray, benchmark: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Choose whole (model, benchmark) blocks that were never run, mostly where the model does badly.

    Blocks go in the order of the model's mean true probability there plus noise (SD 0.1), so that what is
    missing is not missing at random: the mean of what is left flatters the models that lack most.

    Parameters
    ----------
    truth : ndarray, shape (n_models, n_questions), in [0, 1]
    benchmark : ndarray of int, shape (n_questions,)
    share : float
        Of the blocks, in [0, 1); fewer go where a model would keep less than two benchmarks or a
        benchmark less than two models.

    Returns
    -------
    ndarray of bool, shape (n_models, n_questions)
        True where the cell is missing.
    """
    present, where = np.unique(benchmark, return_inverse=True)
    means = np.stack([truth[:, where == b].mean(axis=1) for b in range(len(present))], axis=1)
    order = np.argsort(means + 0.1 * rng.standard_normal(means.shape), axis=None)
    gone = np.zeros(means.shape, dtype=bool)
    for model, b in zip(*np.unravel_index(order, means.shape), strict=True):
        if gone.sum() >= np.floor(share * gone.size):
            break
        gone[model, b] = (~gone[model]).sum() > FEWEST and (~gone[:, b]).sum() > FEWEST
    return gone[:, where]


def cells_run_twice(observed: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose observed cells at random: sorted flat positions, (n_cells,)."""
    cells = np.flatnonzero(observed)
    return np.sort(rng.choice(cells, size=round(share * len(cells)), replace=False))
