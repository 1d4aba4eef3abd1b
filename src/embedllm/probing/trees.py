"""Boosted trees on features of model and benchmark, in the manner of Xia et al. 2020: see `scores`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from embedllm.machine import side_by_side
from embedllm.probing.folds import N_INNER, lineage_folds, without

LEAVES, N_TREES, RATE = (3, 6), 100, 0.1


def _of_models(facts: pd.DataFrame) -> np.ndarray:
    """Family and kind as codes, log of the size: (n_models, 3)."""
    codes = [np.minimum(pd.factorize(facts[name])[0], 254).astype(float) for name in ("family", "kind")]
    return np.column_stack([*(np.where(code < 0, np.nan, code) for code in codes),
                            np.log(facts["parameters_b"].to_numpy(float))])


def _pairs(known: pd.DataFrame, models: np.ndarray, benchmarks: np.ndarray, hidden: Sequence[str] = ()) -> np.ndarray:
    """Features of all (benchmark, model) pairs: (n_benchmarks, n_models, n_features).

    The model's mean accuracy on benchmarks other than that of the pair and those named, what is known of the model,
    what is known of the benchmark.
    """
    blocks = [np.column_stack([without(known, *{name, *hidden}), models, np.tile(row, (len(known), 1))])
              for name, row in zip(known, benchmarks, strict=True)]
    return np.stack(blocks)


def on_new_models(
    known: pd.DataFrame, target: pd.DataFrame, facts: pd.DataFrame, fold: np.ndarray
) -> pd.DataFrame:
    """Trees that learn from all pairs but those of the fold's models and the benchmark."""
    calls = [partial(_of_fold, known, target, facts, fold == number) for number in np.unique(fold)]
    return pd.concat(side_by_side(calls)).reindex(target.index)


def _of_fold(known: pd.DataFrame, target: pd.DataFrame, facts: pd.DataFrame, out: np.ndarray) -> pd.DataFrame:
    """Forecasts for the models that are left out; leaves and number of trees are chosen once, on the other models."""
    models, y = _of_models(facts), target.to_numpy(float).T
    of_benchmark = np.column_stack([np.minimum(np.arange(len(y)), 254.0), known[~out].mean()])
    x, learn = _pairs(known, models, of_benchmark), ~np.isnan(y)
    groups = np.tile(np.where(out, -1, lineage_folds(facts["lineage"], N_INNER)), (len(y), 1))
    settings = _chosen(x, y, learn & ~out, groups, [1, 2, 4])
    forecast = np.empty((out.sum(), len(y)))
    for at, name in enumerate(target):
        x[:, out] = _pairs(known[out], models[out], of_benchmark, [name])
        rest = learn.copy()
        rest[at, out] = False
        forecast[:, at] = _grown(x[rest], y[rest], [1, 2, 4], *settings).predict(x[at, out])
    return pd.DataFrame(forecast, target.index[out], target.columns)


def on_new_benchmarks(
    known: pd.DataFrame, features: pd.DataFrame, target: pd.DataFrame, facts: pd.DataFrame
) -> pd.DataFrame:
    """Trees that learn from all pairs of the other benchmarks."""
    models, y = _of_models(facts), target.to_numpy(float).T
    forecast = np.full(y.shape, np.nan)
    for at, name in enumerate(target):
        x = _pairs(known, models, features.loc[list(known)].to_numpy(float), [name])
        learn = ~np.isnan(y)
        learn[at] = False
        groups = np.repeat(np.arange(len(y))[:, None] % N_INNER, len(known), axis=1)
        settings = _chosen(x, y, learn, groups, [1, 2])
        forecast[at] = _grown(x[learn], y[learn], [1, 2], *settings).predict(x[at])
    return pd.DataFrame(forecast.T, target.index, target.columns)


def _chosen(x: np.ndarray, y: np.ndarray, learn: np.ndarray, groups: np.ndarray, categorical: list[int]) -> tuple:
    """Leaves and number of trees of the lowest squared error on groups left out."""
    losses = np.zeros((len(LEAVES), N_TREES))
    for row, leaves in zip(losses, LEAVES, strict=True):
        for number in range(N_INNER):
            out, rest = learn & (groups == number), learn & (groups != number)
            if out.any() and rest.any():
                grown = _grown(x[rest], y[rest], categorical, leaves, N_TREES)
                row += [((stage - y[out]) ** 2).sum() for stage in grown.staged_predict(x[out])]
    at, trees = np.unravel_index(losses.argmin(), losses.shape)
    return LEAVES[at], int(trees) + 1


def _grown(x: np.ndarray, y: np.ndarray, categorical: list[int], leaves: int, trees: int):
    x = np.where(np.isnan(x).all(axis=0), 0, x)  # the booster refuses a fact that is never known
    with threadpool_limits(1):  # a few hundred rows: more threads only wait for each other
        return HistGradientBoostingRegressor(
            learning_rate=RATE, max_leaf_nodes=leaves, min_samples_leaf=5, max_iter=trees, early_stopping=False,
            categorical_features=categorical, random_state=0).fit(x, y)
