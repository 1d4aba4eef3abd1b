"""What routing reaches at a price: forecasts weighed against prices, beside a fixed mix of models at the same price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm.evaluation.intervals import ALPHA
from embedllm.evaluation.metrics import targets
from embedllm.experiments.routing import CrossFitted, gains
from embedllm.levels import adjusted_means
from embedllm.outcomes import OutcomeMatrix
from embedllm.routing import guard, price
from embedllm.routing.policies import gained
from embedllm.routing.router import Router, divided
from embedllm.splits import Design, prompt_groups

MIX = "fixed mix of models"


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
    """
    table, values = pool.table, targets(pool.table, "score").astype(np.float64)
    own = np.flatnonzero(~np.isnan(prices) & table.observed.all(axis=1))
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
    reach = []
    for name, curve in means.items():
        at = grid[curve >= single[best] - 1e-12]
        reach.append((name, at[0] if len(at) else np.nan, at[0] / prices[own][best] if len(at) else np.nan))
    return Priced(
        pd.concat([pd.DataFrame({"policy": name, "price": grid, "score": curve}) for name, curve in means.items()],
                  ignore_index=True),
        area, pd.DataFrame({"model": table.models.index[own], "price": prices[own], "score": single}),
        pd.DataFrame(reach, columns=["policy", "price", "share"]))


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
    empty = pd.DataFrame(columns=["parameters", "method", "score", "difference", "low", "high", "p_holm"])
    return pd.concat(tables, ignore_index=True) if tables else empty


def certified_saving(
    router: Router, table: OutcomeMatrix, vectors: np.ndarray, prices: np.ndarray, seed: int,
    epsilon: float = guard.EPSILON,
) -> pd.DataFrame:
    """How little a router can cost and still, with confidence, lose next to nothing against the best priced model.

    Weights of the price make a path from dear to cheap; which of them are worth trying, and in which order, the
    validation questions say: those that no other one beats in both score and price, the safest first (Pareto testing,
    Laufer-Goldshtein et al. 2023, ICLR). Then they are tested in that order on the questions that calibrate the guard,
    up to the first that fails, and of the certified ones the cheapest is chosen.

    Parameters
    ----------
    router : Router
        Fitted on this table with this seed; only its forecaster is used.
    prices : ndarray, shape (n_models,)
        NaN where unknown: such a model is neither asked nor compared with.

    Returns
    -------
    DataFrame
        A row for each weight that is tried, in order: ``weight``, ``price`` (mean, on the questions that calibrate),
        ``saved`` (share of the best priced model's price), ``gain`` over that model, ``p``, ``certified``, ``chosen``.
        The best priced model is in ``attrs["default"]``; it is the one with the best mean on the other questions.
    """
    part = divided(table, seed)
    levels = np.where(np.isnan(prices), -np.inf, np.nan_to_num(adjusted_means(table.at(part != "test")), nan=-np.inf))
    default = int(levels.argmax())
    tried = {}
    for name in ("val", "test"):
        rows = np.flatnonzero((part == name) & table.observed[default])
        scores, forecast = table.scores[:, rows].astype(np.float64), router.forecaster.predict_proba(vectors[rows])
        choices = price.weighed(forecast, ~np.isnan(scores), prices)
        gain = np.stack([gained(choice, scores) for choice in choices]) - scores[default]
        tried[name] = gain.T, prices[choices].mean(axis=1), rows
    gain, cost, _ = tried["val"]
    order = np.argsort(guard.betting_p(gain, epsilon), kind="stable")  # the safest first
    mean = gain.mean(axis=0)
    first = np.unique(np.column_stack([mean, cost]), axis=0, return_index=True)[1]  # of weights that choose alike
    order = [at for at in order if at in first and cost[at] < prices[default]
             and not ((mean > mean[at]) & (cost <= cost[at])).any()]
    gain, cost, rows = tried["test"]
    found = guard.in_sequence(gain[:, order], prompt_groups(table).to_numpy()[rows], epsilon, seed=seed)
    found.insert(0, "weight", np.array(price.WEIGHTS)[order])
    found.insert(1, "price", cost[order])
    found.insert(2, "saved", 1 - cost[order] / prices[default])
    cheapest = found["price"].where(found["certified"]).idxmin() if found["certified"].any() else -1
    found["chosen"] = found.index == cheapest
    found.attrs["default"] = table.models.index[default]
    return found
