"""Are the tests right? What a check is, when it passes, and what is repeated (notebook 08).

A check draws one data set and returns what the procedure under test says: a p-value under its null, whether an interval
covers the truth, a p-value where an effect is planted. `generated_checks` draws what a procedure is given,
`end_to_end` whole pools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import beta

from embedllm.machine import side_by_side

LEVEL = 0.05  # of a test
N_PERMUTATIONS = 199  # of a permutation test in a check
POINTS = 51  # of a curve
Draw = Callable[[np.random.Generator, bool], float]  # whether an effect is planted -> p, or 1.0 for a covered interval
Found = Mapping[tuple[str, bool], np.ndarray]  # name of a check and whether planted, to what repetitions said


@dataclass(frozen=True)
class Check:
    """A procedure under test.

    Attributes
    ----------
    name, of : str
        What is tested, and which notebooks rest on it.
    null : str
        What is drawn where nothing is to be found.
    covers : bool
        What is drawn is whether an interval covers, not a p-value.
    plants : bool
        What is planted is what the test looks for, so that it shows power.
    """

    name: str
    of: str
    null: str
    covers: bool = False
    plants: bool = True


@dataclass(frozen=True)
class Bounds:
    """When a check passes: with at most so many false alarms, at least so much coverage, of so many repetitions."""

    most_false: float
    least_covered: float
    enough: int


def rated(found: Found, checks: Iterable[Check], bounds: Bounds) -> pd.DataFrame:
    """Each check with its rate, the bound of it and whether it passes.

    Parameters
    ----------
    found : mapping of (name of a check, planted) to array of what its repetitions said
    checks : iterable of Check
    bounds : Bounds

    Returns
    -------
    DataFrame
        A row for each check that was repeated: ``check``, ``notebooks``, ``null``; ``repetitions``; ``rate``: of p up
        to .05, or of intervals that cover; ``bound``: one-sided 95 % limit of the rate (Clopper and Pearson 1934,
        Biometrika 26), upper of false alarms, lower of coverage; ``passes``: whether that is within the bounds;
        ``power``: the rate where an effect is planted, NaN of intervals and where what is planted is something else;
        ``covers``, as in `Check`.
    """
    rows = []
    for check in _asked(found, checks):
        own, n = found[check.name, False], len(found[check.name, False])
        if np.isnan(own).any():
            raise ValueError(f"{check.name}: {np.isnan(own).sum()} of {n} repetitions have no result")
        hits = int(own.sum() if check.covers else (own <= LEVEL).sum())
        bound = beta.ppf(0.05, hits, n - hits + 1) if check.covers else (
            beta.ppf(0.95, hits + 1, n - hits) if hits < n else 1.0)
        passes = bound >= bounds.least_covered if check.covers else bound <= bounds.most_false
        rows.append((check.name, check.of, check.null, n, hits / n, bound, bool(passes),
                     float((found[check.name, True] <= LEVEL).mean()) if check.plants and not check.covers else np.nan,
                     check.covers))
    return pd.DataFrame(rows, columns=["check", "notebooks", "null", "repetitions", "rate", "bound", "passes", "power",
                                       "covers"])


def settled(
    number: int, seed: int, run: Callable, checks: Iterable[Check], bounds: Bounds, compute: Callable = side_by_side,
) -> dict[str, pd.DataFrame]:
    """All checks, and those that miss once more: with fresh seeds, twice the repetitions and the same bounds.

    Fewer repetitions than enough settle nothing: none is repeated.

    Parameters
    ----------
    number, seed : int
        Of repetitions; of the first.
    run : callable
        (number, seed, compute, names) to `Found`; of the checks of these names, of all where there is none.

    Returns
    -------
    dict
        *rates*, from `rated`, of a check that missed its second try, with ``tries``; *curves*, of the first.
    """
    found = run(number, seed, compute, ())
    rates = rated(found, checks, bounds).assign(tries=1)
    if number >= bounds.enough and (missed := list(rates["check"][~rates["passes"]])):
        planted = {(name, True): found[name, True] for name in missed if (name, True) in found}  # power is in no doubt
        again = rated(run(2 * number, seed + 1, compute, missed) | planted, checks, bounds)
        again, rates = again.assign(tries=2).set_index("check"), rates.set_index("check")
        rates.loc[missed] = again.loc[missed]
        rates = rates.reset_index()
    return {"rates": rates, "curves": curves(found, checks)}


def curves(found: Found, checks: Iterable[Check]) -> pd.DataFrame:
    """Share of the repetitions whose p is at most so large, under the null and where an effect is planted.

    Returns a table: ``check``, ``drawn`` ("null" or "planted"), ``p``, ``share``; checks of intervals are left out.
    """
    at = np.linspace(0, 1, POINTS)
    asked = [(check.name, planted) for check in _asked(found, checks) if not check.covers for planted in (False, True)]
    return pd.concat([
        pd.DataFrame({"check": key[0], "drawn": "planted" if key[1] else "null", "p": at,
                      "share": np.searchsorted(np.sort(found[key]), at + 1e-12) / len(found[key])}) for key in asked
    ], ignore_index=True)


def _asked(found: Found, checks: Iterable[Check]) -> list[Check]:
    """Those that were repeated; of pools too small to ask there is nothing."""
    return [one for one in checks if (one.name, False) in found and (one.covers or (one.name, True) in found)]


def holds(found: Mapping[str, float], truth: float) -> float:
    """1.0 where an interval, ``low`` to ``high``, holds the truth."""
    return float(found["low"] <= truth <= found["high"])
