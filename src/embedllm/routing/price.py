"""What models cost, and the score that a policy reaches at a price.

A policy that weighs its forecasts against prices, and a fixed mix of models drawn at random, both give scores at any
price between the cheapest and the dearest: two policies asked in turns reach all scores between them. They are compared
at equal prices (RouterBench, Hu et al. 2024, arXiv 2403.12031).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.presentation import OneSentenceError
from embedllm.routing.policies import choose

UNIT = "million tokens in dollars"  # of listed prices
WEIGHTS = (0.0, *np.geomspace(1e-3, 1e3, 49))  # of a price against a forecast, in shares of the dearest model's price
GRID = 201  # prices at which policies are compared


class PriceError(OneSentenceError, ValueError):
    """A price that no model can have."""


@cache
def price_list() -> dict:
    """The content of ``prices.toml``."""
    return tomllib.loads(Path(__file__).with_name("prices.toml").read_text())


def of_models(models: pd.DataFrame) -> pd.DataFrame:
    """What each model costs per million tokens, in US dollars, and how that is known.

    Parameters
    ----------
    models : DataFrame, indexed by model name
        With ``cost`` where the data has prices of its own; else ``parameters_b`` and ``active_parameters_b``
        (billions), where known.

    Returns
    -------
    DataFrame, indexed like `models`
        ``price`` (NaN where nothing is known), ``basis`` ("given", "listed", "size class", "") and ``source``.

    Raises
    ------
    PriceError
        If a price that the data has is negative or infinite.
    """
    if "cost" in models:
        cost = models["cost"].astype(float)
        for name, found in cost[(cost < 0) | np.isinf(cost)].head(1).items():
            raise PriceError(f"the cost of model {name} must be a number from 0 on, or missing where it is unknown; "
                             f"found {found:g}")
        return pd.DataFrame({"price": cost, "basis": np.where(cost.notna(), "given", ""), "source": ""})
    listed, rows = price_list(), []
    facts = models.reindex(columns=["parameters_b", "active_parameters_b"]).astype(float)
    for name, size, active in facts.itertuples():
        for suffix in listed["suffixes"]:
            name = name.removesuffix(suffix)
        if own := listed["models"].get(name):
            price = (listed["blend"] * own["read"] + own["write"]) / (listed["blend"] + 1)
            rows.append((price, "listed", listed["sources"][own["source"]]["text"]))
            continue
        kind = "mixture" if active < size else "dense"
        price = next((price for most, price in listed["classes"][kind] if size <= most), np.nan)
        known = not np.isnan(price)
        source = listed["sources"]["mixtures" if kind == "mixture" else "together"]
        rows.append((price, "size class" if known else "", source["text"] if known else ""))
    return pd.DataFrame(rows, models.index, ["price", "basis", "source"])


def years(sources: Iterable[str]) -> list[int]:
    """The years that listed prices are of, in order, for ``source`` of `of_models`."""
    told = {one["text"]: one["year"] for one in price_list()["sources"].values()}
    return sorted({told[source] for source in sources if source in told})


def unit(models: pd.DataFrame) -> str:
    """What the prices of `of_models` are for."""
    return str(models["cost_unit"].iloc[0]) if "cost_unit" in models else UNIT


def undominated(prices: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which models no other one beats (the Pareto set): none scores as much for less, or more for no more.

    Parameters
    ----------
    prices, scores : ndarray, shape (n_models,)
        NaN prices are beaten by all.

    Returns
    -------
    ndarray of bool, shape (n_models,)
    """
    as_cheap, as_good = prices[:, None] <= prices, scores[:, None] >= scores
    better = (prices[:, None] < prices) | (scores[:, None] > scores)
    return ~(as_cheap & as_good & better).any(axis=0) & ~np.isnan(prices)


def beside_scores(prices: pd.DataFrame, scores: np.ndarray) -> pd.DataFrame:
    """Prices as from `of_models` with ``score`` and ``undominated``: see there."""
    return prices.assign(score=scores, undominated=undominated(prices["price"].to_numpy(), scores))


def weigh(utilities: np.ndarray, prices: np.ndarray, weight: float) -> np.ndarray:
    """Utilities minus weighted prices, in shares of the dearest model's; minus infinity where a price is unknown.

    Parameters
    ----------
    utilities : ndarray, shape (n_models, n_questions)
    prices : ndarray, shape (n_models,)
    """
    shares = prices / (np.nanmax(prices) or 1)  # where all are free
    return np.where(np.isnan(prices)[:, None], -np.inf, utilities - weight * np.nan_to_num(shares)[:, None])


def weighed(
    utilities: np.ndarray, observed: np.ndarray, prices: np.ndarray, weights: Sequence[float] = WEIGHTS
) -> np.ndarray:
    """Choices at several weights of the price, and last the best of the cheapest models, however little cheaper.

    Parameters
    ----------
    utilities : ndarray, shape (n_models, n_questions)
    observed : ndarray of bool, of that shape
    prices : ndarray, shape (n_models,)
        A model without one (NaN) is never chosen.

    Returns
    -------
    ndarray of int, shape (n_weights + 1, n_questions)
    """
    priced = observed & ~np.isnan(prices)[:, None]
    found = [choose(weigh(utilities, prices, weight), priced) for weight in weights]
    asked = np.where(priced, prices[:, None], np.inf)
    return np.stack([*found, choose(utilities, asked == asked.min(axis=0))])


def at_prices(scores: np.ndarray, prices: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Score on each question at given prices, of the best mix of two options that costs no more on average.

    The mean over questions is the non-decreasing upper hull of the options' (price, mean score), level beyond the
    dearest; which options are mixed is seen from all questions together.

    Parameters
    ----------
    scores : ndarray, shape (n_options, n_questions)
    prices : ndarray, shape (n_options,)
        The mean price of each option.
    grid : ndarray, shape (n_prices,)
        None below the cheapest option.

    Returns
    -------
    ndarray, shape (n_prices, n_questions), float64
    """
    means, corners = scores.mean(axis=1), []
    for option in np.lexsort((-means, prices)):
        if corners and means[option] <= means[corners[-1]]:
            continue  # dearer and no better
        while len(corners) > 1 and _slope(corners[-2], option, prices, means) >= _slope(
                corners[-2], corners[-1], prices, means):
            corners.pop()
        if corners and prices[option] == prices[corners[-1]]:
            corners.pop()
        corners.append(int(option))
    own = prices[corners]
    if grid.min() < own[0] * (1 - 1e-12) - 1e-12:
        raise ValueError(f"nothing costs as little as {grid.min():g}; the cheapest option costs {own[0]:g}")
    right = np.clip(np.searchsorted(own, grid, side="right"), 1, max(len(own) - 1, 1))
    left = right - 1
    if len(own) == 1:
        return np.repeat(scores[corners].astype(np.float64), len(grid), axis=0)
    share = np.clip((grid - own[left]) / (own[right] - own[left]), 0, 1)[:, None]
    options = scores[corners].astype(np.float64)
    return (1 - share) * options[left] + share * options[right]


def _slope(one: int, other: int, prices: np.ndarray, means: np.ndarray) -> float:
    run = prices[other] - prices[one]
    return (means[other] - means[one]) / run if run > 0 else np.inf
