"""Which models a router may choose, and what it answers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from math import inf
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm.routing.stored import RouterError


class Routes(NamedTuple):
    """What a router chooses for each prompt: arrays of shape (n_prompts,).

    Attributes
    ----------
    model : ndarray of object
        Name.
    probability : ndarray, in [0, 1]
        That it answers correctly.
    runner_up : ndarray of object
        Of the others the one with the highest probability, None if there is no other.
    price : ndarray
        NaN where unknown.
    fell_back : ndarray of bool
        The default model, since no other leads it by enough, or no saving is certified.
    certified : ndarray of bool
        Whether the guarantee, the guard's or the saving's, holds for the models that could be chosen.
    """

    model: np.ndarray
    probability: np.ndarray
    runner_up: np.ndarray
    price: np.ndarray
    fell_back: np.ndarray
    certified: np.ndarray


def allowed_models(
    models: pd.DataFrame, unit: str, max_price: float = inf, among: Iterable[str] | None = None, priced: bool = False
) -> np.ndarray:
    """Positions of the models that may be chosen.

    Parameters
    ----------
    models : DataFrame, indexed by model name
        With ``price``, NaN where unknown.
    unit : str
        What a price is for.
    max_price : float
        Models that cost more, or whose price is unknown, are left out.
    among : iterable of str, optional
        Names; default all.
    priced : bool
        Only those that have a price.

    Raises
    ------
    RouterError
        If a name is unknown or no model is left.
    """
    allowed = np.full(len(models), True)
    if among is not None:
        names = [among] if isinstance(among, str) else list(among)
        for name in names:
            if name not in models.index:
                close = difflib.get_close_matches(name, models.index, 1)
                raise RouterError(f"among names {name!r}, which this router does not know"
                                  + (f"; did you mean {close[0]}?" if close else ""))
        allowed = models.index.isin(names)
    if max_price != inf:
        price = models["price"]
        if not price[allowed].notna().any():
            raise RouterError("max_price needs prices, and none of these models has one: give the table's models a "
                              "column cost and fit the router again")
        affordable = allowed & (price <= max_price).to_numpy()
        if not affordable.any():
            cheapest = price[allowed].idxmin()
            raise RouterError(f"no model costs {max_price:g} or less; the cheapest is {cheapest} at "
                              f"{price[cheapest]:g} a {unit}")
        allowed = affordable
    if not allowed.any():
        raise RouterError("among names no model")
    if priced:
        allowed = allowed & models["price"].notna().to_numpy()
        if not allowed.any():
            raise RouterError("a thrifty choice needs prices, and none of these models has one: give the table's "
                              "models a column cost and fit the router again")
    return np.flatnonzero(allowed)
