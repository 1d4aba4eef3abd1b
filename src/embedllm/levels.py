"""How good models are where they were asked different questions: means that add up over benchmarks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeMatrix


def additive_means(table: OutcomeMatrix) -> pd.DataFrame:
    """Mean score of each model on each benchmark as if models differed by the same on all of them.

    Levels of models and of benchmarks that add up, by least squares over the observed cells: what can be said of a
    benchmark that a model was not asked. Where groups of models share no benchmark (`groups_apart`) nothing tells how
    their levels differ, and the solution of least norm is taken.

    Returns
    -------
    DataFrame, models x benchmarks
        In the scale of the scores, though values may lie a little beyond its ends; NaN for a model without any answer.
    """
    counts, totals = _by_benchmark_sums(table)
    names, n, total = totals.columns, counts.to_numpy(np.float64), totals.to_numpy()
    if n.shape[0] < n.shape[1]:  # the larger side is eliminated
        benchmark, model = _additive_levels(n.T, total.T)
    else:
        model, benchmark = _additive_levels(n, total)
    model = np.where(n.sum(axis=1) > 0, model, np.nan)
    return pd.DataFrame(model[:, None] + benchmark, table.models.index, names)


def _additive_levels(n: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels of rows and of columns from counts and totals of cells: normal equations, the rows eliminated."""
    asked = np.maximum(n.sum(axis=1), 1)
    share, mean = n / asked[:, None], total.sum(axis=1) / asked
    left = np.diag(n.sum(axis=0)) - n.T @ share
    columns = np.linalg.pinv(left, hermitian=True) @ (total.sum(axis=0) - mean @ n)
    return mean - share @ columns, columns


def _by_benchmark_sums(table: OutcomeMatrix) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Number of observed cells and their sum, models x benchmarks."""
    benchmark = table.questions["benchmark"].to_numpy()
    cells = pd.DataFrame(table.scores.T.astype(np.float64), columns=table.models.index).groupby(
        benchmark, sort=False, observed=True)
    return cells.count().T, cells.sum().T


def groups_apart(table: OutcomeMatrix) -> int:
    """Number of groups of models that share no benchmark, directly or by others: means tell nothing across them."""
    from scipy.sparse import csr_matrix  # late: most processes that read this module ask for means alone
    from scipy.sparse.csgraph import connected_components

    asked = (_by_benchmark_sums(table)[0].to_numpy() > 0).astype(float)
    return connected_components(csr_matrix(asked @ asked.T), directed=False)[0]


def adjusted_means(table: OutcomeMatrix) -> np.ndarray:
    """Mean score that each model would have on all questions: what ranks models that were asked different ones.

    A raw mean ranks a model first that was asked an easy benchmark only. Where all models were asked the same share of
    each benchmark this is the raw mean; elsewhere the mean of `additive_means`, benchmarks weighed by their questions
    (Searle, Speed and Milliken 1980, The American Statistician 34).

    Returns
    -------
    ndarray, shape (n_models,), float64
        In the scale of the scores, though a model may come to lie a little beyond its ends; NaN without any answer.
    """
    counts = _by_benchmark_sums(table)[0]
    sizes = table.questions["benchmark"].value_counts()[counts.columns].to_numpy()
    if np.array_equal(counts * sizes.sum(), counts.sum(axis=1).to_numpy()[:, None] * sizes):
        return table.model_means
    return additive_means(table).to_numpy() @ (sizes / sizes.sum())
