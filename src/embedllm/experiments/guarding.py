"""The guard on real pools: what a guarded router gains, and where its guarantee does not reach.

One router is fitted once; questions that neither its fit nor any tuning used calibrate the guard. The parts change
places so that every question is routed once (`guarded`): an estimate of what such a router gains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation.metrics import targets
from embedllm.forecasters.registry import Round, build, fitted_forecasts
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, grouped, replace_unchecked
from embedllm.progress import Counted
from embedllm.routing import guard
from embedllm.routing.policies import best_per_benchmark, best_single, choose, gained
from embedllm.routing.router import Router, divided
from embedllm.splits import cut, folds, prompt_groups

FEWEST = 50  # questions of a benchmark that is left out
SIXTHS = 6  # of the questions: one is routed, two calibrate, half of the next validates, the rest is learned from
GUARDED, UNGUARDED, PER_BENCHMARK = "guarded", "unguarded", "best per benchmark"


def guarded(
    table: OutcomeMatrix, vectors: np.ndarray, entry: catalog.Forecaster, rounds: Sequence[Round],
    epsilon: float = guard.EPSILON, compute: Callable = side_by_side,
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """What a guarded router reaches on questions that neither its fit nor its guard saw.

    Parameters
    ----------
    entry : catalog.Forecaster
        Whose forecasts are followed.
    rounds : sequence of Round
        Of each the partition and the settings are taken.

    Returns
    -------
    reached : dict
        "guarded", "unguarded", "best single model", "best per benchmark": score, (n_fits, n_questions). The default
        model and each benchmark's best are those of the questions that are learned from.
    calibrations : DataFrame
        As from `guard.fit_guard`, one after the other, with ``fit`` and ``part``.
    """
    plans = [(fit, part, one, _parts(table, one, part)) for fit, one in enumerate(rounds) for part in range(SIXTHS)]
    bare = replace_unchecked(table, references={})
    calls = (_fit(bare, vectors, parts, entry, one) for _, _, one, parts in plans)
    values, tables = targets(table, "score"), []
    reached = {name: np.empty((len(rounds), table.shape[1]))
               for name in (GUARDED, UNGUARDED, catalog.BEST_SINGLE, PER_BENCHMARK)}
    for (fit, part, one, parts), told in zip(plans, compute(Counted(calls, len(plans))), strict=True):
        learned, rows, forecast, held, calibration = _calibrated(table, parts, told, epsilon, one.fold_seed)
        tables.append(calibration.assign(fit=fit, part=part))
        test = table.at(rows)
        choices = {
            GUARDED: held.choose(np.where(test.observed, forecast, -inf)), UNGUARDED: choose(forecast, test.observed),
            catalog.BEST_SINGLE: choose(best_single(learned, test.questions), test.observed),
            PER_BENCHMARK: choose(best_per_benchmark(learned, test.questions), test.observed),
        }
        for name, choice in choices.items():
            reached[name][fit, rows] = gained(choice, values[:, rows])
    return reached, pd.concat(tables, ignore_index=True)


def _fit(bare: OutcomeMatrix, vectors: np.ndarray, parts: np.ndarray, entry: catalog.Forecaster, one: Round) -> partial:
    """The call that fits a forecaster and forecasts all that calibrates or is routed."""
    parts = np.where(np.isin(parts, ["calibrate", "route"]), "test", parts)
    return partial(fitted_forecasts, cut(bare, vectors, parts), build(entry, one.settings))


def _calibrated(table: OutcomeMatrix, parts: np.ndarray, told: dict, epsilon: float, seed: int) -> tuple:
    """What was learned from, the rows to route and their forecasts, the guard and the table that calibrated it."""
    asked = np.flatnonzero(np.isin(parts, ["calibrate", "route"]))
    here = parts[asked] == "calibrate"
    learned, groups = table.at(np.isin(parts, ["train", "val"])), prompt_groups(table).to_numpy()
    held, calibration = guard.fit_guard(
        int(best_single(learned, learned.questions).argmax()), told["val"], told["test"][:, here],
        table.scores[:, asked[here]], groups[asked[here]], epsilon, seed=seed)
    return learned, asked[~here], told["test"][:, ~here], held, calibration


def _parts(table: OutcomeMatrix, one: Round, part: int) -> np.ndarray:
    """The part of each question when a sixth is routed: "train", "val", "calibrate" or "route"."""
    half = folds(table, 2 * SIXTHS, one.fold_seed).to_numpy()
    since = (half - 2 * part) % (2 * SIXTHS)
    return np.select([since < 2, since < 6, since < 7], ["route", "calibrate", "val"], "train")


def beyond(
    table: OutcomeMatrix, vectors: np.ndarray, entry: catalog.Forecaster, one: Round, epsilon: float = guard.EPSILON,
    compute: Callable = side_by_side,
) -> pd.DataFrame:
    """Where the guard must break: routers fitted and calibrated without a benchmark, on that benchmark.

    Returns
    -------
    DataFrame
        A row for each benchmark of 50 questions and more: ``benchmark``, ``questions``, ``left`` (share on which the
        guard leaves the default model), and per question the ``guarded`` and ``unguarded`` gain over the default model
        with the standard error of each (``guarded_se``, ``unguarded_se``).
    """
    benchmarks, values = grouped(table).questions["benchmark"].to_numpy(), targets(table, "score").astype(np.float64)
    names, counts = np.unique(benchmarks, return_counts=True)
    names, part = names[counts >= FEWEST], divided(table, one.fold_seed)
    bare = replace_unchecked(table, references={})
    plans = [np.where(benchmarks == name, "route", np.where(part == "test", "calibrate", part)) for name in names]
    calls = (_fit(bare, vectors, parts, entry, one) for parts in plans)
    rows = []
    for name, parts, told in zip(names, plans, compute(Counted(calls, len(plans))), strict=True):
        _, routed, forecast, held, _ = _calibrated(table, parts, told, epsilon, one.fold_seed)
        asked = table.observed[held.default, routed]
        routed, forecast = routed[asked], forecast[:, asked]
        observed, row = table.observed[:, routed], {"benchmark": name, "questions": len(routed)}
        choices = {GUARDED: held.choose(np.where(observed, forecast, -inf)), UNGUARDED: choose(forecast, observed)}
        row["left"] = (choices[GUARDED] != held.default).mean()
        for policy, choice in choices.items():
            gain = gained(choice, values[:, routed]) - values[held.default, routed]
            row |= {policy: gain.mean(), f"{policy}_se": gain.std(ddof=1) / np.sqrt(len(gain))}
        rows.append(row)
    return pd.DataFrame(rows)


def left(calibrations: pd.DataFrame) -> float:
    """Share of the questions on which guarded routers leave the default model, from `guarded`."""
    return float(calibrations["left"].where(calibrations["chosen"], 0).groupby([calibrations["fit"],
                                                                                calibrations["part"]]).sum().mean())


def fitted_router(
    table: OutcomeMatrix, vectors: np.ndarray, entry: catalog.Forecaster, epsilon: float, **settings
) -> Router:
    """`Router.fit` as a function, whose result can be remembered."""
    return Router.fit(table, entry=entry, vectors=vectors, epsilon=epsilon, **settings)
