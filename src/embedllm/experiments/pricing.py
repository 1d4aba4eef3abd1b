"""What routing reaches at a price: forecasts weighed against prices, beside a fixed mix of models at the same price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm.evaluation.intervals import ALPHA
from embedllm.evaluation.metrics import targets
from embedllm.experiments.routing import CrossFitted, gains
from embedllm.routing import price
from embedllm.routing.policies import gained
from embedllm.splits import Design

MIX = "fixed mix of models"
COLUMNS = {  # of `Priced`, those that are shown
    "curve": ["policy", "price", "score"], "area": ["method", "score", "difference", "low", "high", "p_holm"],
    "models": ["model", "price", "score"], "reach": ["policy", "price", "share"],
}


class Priced(NamedTuple):
    """Scores at equal prices.

    Attributes
    ----------
    curve : DataFrame
        ``policy``, ``price``, ``score`` along the hull of each policy, means over fits and questions.
    area : DataFrame
        As from `fits.compare` against the fixed mix of models, with ``score``: the mean score over all prices between
        the cheapest and the dearest model (AIQ of RouterBench).
    models : DataFrame
        ``model``, ``price``, ``score``.
    reach : DataFrame
        ``policy`` and the lowest ``price`` at which it reaches the score of the best priced model, NaN if at none, with
        its ``share`` of that model's price.
    """

    curve: pd.DataFrame
    area: pd.DataFrame
    models: pd.DataFrame
    reach: pd.DataFrame


def priced(pool: CrossFitted, prices: np.ndarray, names: Sequence[str], level: float = ALPHA) -> Priced:
    """What forecasters reach when their forecasts are weighed against prices, beside a fixed mix of models.

    The control, the best fixed mix of models at the same price, is drawn along the hull of the models themselves.
    Corners of all hulls are seen on the judged questions: of many models that helps the control more than a policy.

    Parameters
    ----------
    prices : ndarray, shape (n_models,)
        NaN where unknown: such a model is left out here.

    Returns
    -------
    Priced
        Without rows where fewer than two models have a price and answered all questions.
    """
    table, values = pool.table, targets(pool.table, "score").astype(np.float64)
    own = np.flatnonzero(~np.isnan(prices) & table.observed.all(axis=1))
    if len(own) < 2:
        return Priced(**{name: pd.DataFrame(columns=columns) for name, columns in COLUMNS.items()})
    even = np.linspace(prices[own].min(), prices[own].max(), price.GRID)
    grid = np.union1d(even, prices[own])  # a mix reaches what a model reaches at that model's price, not just above
    mix = price.at_prices(values[own], prices[own], grid)
    levels = {MIX: [mix] * len(pool.forecasts)}
    for name in names:
        levels[name] = []
        for forecasts in pool.forecasts:
            choices = price.weighed(forecasts[name][own], table.observed[own], prices[own])
            scores = np.stack([gained(choice, values[own]) for choice in choices])
            levels[name].append(price.at_prices(scores, prices[own][choices].mean(axis=1), grid))
    means = {name: np.mean([one.mean(axis=1) for one in found], axis=0) for name, found in levels.items()}
    spaced = np.isin(grid, even)
    area = gains({name: np.stack([one[spaced].mean(axis=0) for one in found]) for name, found in levels.items()},
                 Design.of(table), level, MIX)
    single = values[own].mean(axis=1)
    best = int(single.argmax())
    paid = prices[own][best] or np.nan  # no share of nothing
    reach = []
    for name, curve in means.items():
        at = grid[curve >= single[best] - 1e-12]
        reach.append((name, at[0] if len(at) else np.nan, at[0] / paid if len(at) else np.nan))
    return Priced(
        pd.concat([pd.DataFrame({"policy": name, "price": grid, "score": curve}) for name, curve in means.items()],
                  ignore_index=True),
        area, pd.DataFrame({"model": table.models.index[own], "price": prices[own], "score": single}),
        pd.DataFrame(reach, columns=COLUMNS["reach"]))


def by_parameters(pool: CrossFitted, names: Sequence[str]) -> pd.DataFrame:
    """`priced`, where a model's size stands for its price: prices move, sizes do not.

    Returns
    -------
    DataFrame
        ``Priced.area`` with ``parameters``: "all", and "active" for a token where that is another number; empty where
        fewer than two sizes are known.
    """
    columns = {"all": "parameters_b", "active": "active_parameters_b"}
    sizes = pool.table.models.reindex(columns=list(columns.values())).astype(float)
    known = {name: sizes[column].to_numpy() for name, column in columns.items() if sizes[column].notna().sum() > 1}
    if len(known) == 2 and np.array_equal(known["all"], known["active"], equal_nan=True):
        del known["active"]
    tables = [priced(pool, size, names).area.assign(parameters=name) for name, size in known.items()]
    tables = [table for table in tables if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["parameters", *COLUMNS["area"]])
