"""Are the tests right from end to end? Small planted pools go through the study's own steps (notebook 08).

`generated_checks` draws what a test is given. Here tests get what forecasters and vectors make of 40 models and 800
questions. In each mode a pool lacks one thing, and the tests that look for it are asked whether they see it all the
same; where the pool has it they show their power.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from embedllm.experiments import pool_checks
from embedllm.experiments.method_checks import Bounds, Check, settled
from embedllm.experiments.small_pools import Pool, pool
from embedllm.machine import side_by_side

BOUNDS = Bounds(most_false=0.09, least_covered=0.90, enough=200)  # pools of a mode
N_MODELS = 40
FEWER = 4  # so many times fewer repetitions where what is looked for is there
CHUNK, SEEDS = 5, 1_000_000
Ask = Callable[[Pool, int, bool], dict[str, float]]


@dataclass(frozen=True)
class Mode:
    """What a pool lacks, and who is asked whether they see it all the same.

    Attributes
    ----------
    lacks : str
    settings : dict
        Of a pool that lacks it; one that has it is as the study plants it.
    n_models : int
        More where 40 are too few for any test of sizes within families.
    ask : callable
        Pool, seed and whether it is there, to {name of a check: its p, or 1.0 where its interval covers}; NaN where a
        pool is too small to ask.
    checks : tuple of Check
    """

    lacks: str
    settings: dict
    ask: Ask
    checks: tuple[Check, ...]
    n_models: int = N_MODELS


PLAIN = {"kappa": 0, "alpha_mean": 0, "alpha_spread": 0, "guessing": False, "format_failures": False}
SPECIAL, READ, SIZED = "no specialization", "the text tells nothing", "size and kind tell nothing, families are alike"
DRAWN_ANEW, COPIES = "models drawn anew on a benchmark, families alike", "two noisy copies of the vectors"
MODES = (
    Mode("specialization", PLAIN, pool_checks.nobody_is_special, (
        Check("router against the best model", "04", SPECIAL),
        Check("interval of the router's gain", "04", SPECIAL, covers=True),
        Check("interval of the gain at all prices", "04", SPECIAL, covers=True),
        Check("deviations against one ability", "03, 07", SPECIAL),
        Check("worlds without specialization", "03, 04", SPECIAL),
        Check("the oracle against one ability", "04", SPECIAL),
        Check("promise of the guard", "04", SPECIAL, covers=True),
        Check("promise of a saving", "04", SPECIAL, covers=True))),
    Mode("text", {"rho_d": 0, "rho_z": 0, "benchmark_in_text": False}, pool_checks.text_tells_nothing, (
        Check("text against model means", "02, 03, 07", READ),
        Check("interval of text minus model means", "02, 03, 07", READ, covers=True),
        Check("text against model means, one fit", "03, 07", READ),
        Check("what is left out, end to end", "05", READ))),
    Mode("size and kind", {"beta": 0, "specialty": 0}, pool_checks.size_and_kind_tell_nothing, (
        Check("sizes over all classes, end to end", "05", SIZED),
        Check("size from vectors", "05", SIZED),
        Check("neighbors of one kind", "05", SIZED),
        Check("neighbors of one size", "05", SIZED),
        Check("clusters, end to end", "05", SIZED, plants=False)), n_models=112),
    Mode("a common ability", {"redrawn_benchmark": pool_checks.ALONE, "format_failures": False},
         pool_checks.a_benchmark_stands_alone, (
        Check("regression, families", "05", DRAWN_ANEW),
        Check("regression, lineages", "05", DRAWN_ANEW),
        Check("vectors against the mean elsewhere", "05", DRAWN_ANEW))),
    Mode("a better encoder", {}, pool_checks.encoders_are_equal, (
        Check("two encoders", "06", COPIES),
        Check("no worse, margin zero", "06", COPIES),
        Check("interval of two encoders' difference", "06", COPIES, covers=True))),
    Mode("nothing", {}, pool_checks.everything_is_there, tuple(
        Check(name, "05", "the study's own pool", covers=True) for name in pool_checks.SHARES)),
    Mode("nothing, for a new model", {}, pool_checks.a_newcomer_is_asked, (
        Check(pool_checks.NEWCOMER, "09", "the study's own pool, 32 answers, a lineage of its own", covers=True),
        Check(pool_checks.STOPPED, "09", "the same pool, asked until half its width is .08", covers=True),
        Check(pool_checks.LOOKED_AT, "09", "the same, questions drawn", covers=True))),
)
CHECKS = tuple(check for mode in MODES for check in mode.checks)


def run(
    number: int, seed: int, compute: Callable = side_by_side, names: Sequence[str] = (),
) -> dict[tuple[str, bool], np.ndarray]:
    """So many pools of every mode and, for tests, a quarter as many that lack nothing; or those that some checks need.

    Returns (name of a check, planted) to what its pools said, without the pools that were too small to ask.
    """
    modes = [mode for mode in MODES if not names or {check.name for check in mode.checks} & set(names)]
    first, plan = seed * SEEDS, []
    for mode in modes:
        shows = not names and not all(check.covers for check in mode.checks)
        for planted, many in ((False, number), (True, shows * -(-number // FEWER))):
            plan += [(mode, planted, list(range(start, min(start + CHUNK, first + many))))
                     for start in range(first, first + many, CHUNK)]
    found: dict[tuple[str, bool], list] = {}
    calls = [partial(repeated, mode.ask, mode.n_models, {} if planted else mode.settings, planted, seeds)
             for mode, planted, seeds in plan]
    for (_, planted, _), rows in zip(plan, compute(calls), strict=True):
        for name in rows:
            found.setdefault((name, planted), []).append(rows[name].dropna().to_numpy())
    return {key: np.concatenate(values) for key, values in found.items()
            if (key[0] in names or not names) and sum(map(len, values))}


def repeated(ask: Ask, n_models: int, settings: dict, planted: bool, seeds: list[int]) -> pd.DataFrame:
    """What the checks of a mode say of these pools: a row each, a column a check."""
    return pd.DataFrame([ask(pool(seed, n_models, settings), seed, planted) for seed in seeds], dtype=float)


def kept(number: int, seed: int, compute: Callable = side_by_side) -> dict[str, pd.DataFrame]:
    """`method_checks.settled` of these checks."""
    return settled(number, seed, run, CHECKS, BOUNDS, compute)
