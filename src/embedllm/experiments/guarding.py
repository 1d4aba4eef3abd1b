"""The guard on real pools: what a guarded router gains, and where its guarantee does not reach.

One router is fitted once; questions that neither its fit nor any tuning used calibrate the guard. The parts change
places so that every question is routed once (`guarded`): an estimate of what such a router gains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf

import numpy as np
import pandas as pd
from scipy.stats import norm

from embedllm import catalog
from embedllm.evaluation import fits
from embedllm.evaluation.inference import holm
from embedllm.evaluation.metrics import targets
from embedllm.forecasters.registry import Round, build, fitted_forecasts
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, grouped, replace_unchecked
from embedllm.progress import Counted
from embedllm.routing import guard
from embedllm.routing.policies import best_per_benchmark, best_single, choose, gained
from embedllm.routing.router import Router, divided
from embedllm.splits import Design, cut, folds, prompt_groups

FEWEST = 50  # questions of a benchmark that is left out
SIXTHS = 6  # of the questions: one is routed, two calibrate, half of the next validates, the rest is learned from
GUARDED, UNGUARDED, PER_BENCHMARK = "guarded", "unguarded", "best per benchmark"
DEFAULT = "default model"


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
        As from `losses`, a row for each policy, "guarded" and "unguarded", and benchmark of 50 questions and more, with
        ``questions`` and ``left`` (share on which the policy leaves the default model); empty where there is no other
        benchmark to learn from.
    """
    benchmarks, values = grouped(table).questions["benchmark"].to_numpy(), targets(table, "score").astype(np.float64)
    names, counts = np.unique(benchmarks, return_counts=True)
    names, part = names[(counts >= FEWEST) & (len(names) > 1)], divided(table, one.fold_seed)
    bare, design = replace_unchecked(table, references={}), Design.of(table)
    plans = [np.where(benchmarks == name, "route", np.where(part == "test", "calibrate", part)) for name in names]
    calls = (_fit(bare, vectors, parts, entry, one) for parts in plans)
    reached, rows = {}, []
    for name, parts, told in zip(names, plans, compute(Counted(calls, len(plans))), strict=True):
        _, routed, forecast, held, _ = _calibrated(table, parts, told, epsilon, one.fold_seed)
        asked = table.observed[held.default, routed]
        routed, forecast = routed[asked], forecast[:, asked]
        observed = table.observed[:, routed]
        choices = {GUARDED: held.choose(np.where(observed, forecast, -inf)), UNGUARDED: choose(forecast, observed)}
        scores = {policy: gained(choice, values[:, routed]) for policy, choice in choices.items()}
        reached[name] = scores | {DEFAULT: values[held.default, routed]}, design.at(routed)
        rows += [(name, len(routed), policy, (choice != held.default).mean()) for policy, choice in choices.items()]
    shares = pd.DataFrame(rows, columns=["benchmark", "questions", "method", "left"])
    both = shares.merge(losses(reached, epsilon), on=["benchmark", "method"])
    return both.sort_values("method", kind="stable", ignore_index=True)


def losses(reached: Mapping[str, tuple[Mapping[str, np.ndarray], Design]], epsilon: float) -> pd.DataFrame:
    """Is more lost against the default model than epsilon? By benchmark, corrected over benchmarks (Holm).

    Parameters
    ----------
    reached : mapping of benchmark to (mapping of policy to ndarray, shape (n_questions,), Design)
        Score on each question by "guarded", "unguarded" and the "default model".

    Returns
    -------
    DataFrame
        A row for each benchmark and policy: ``benchmark``, ``method``, ``difference`` (mean gain over the default
        model), ``low``, ``high``, ``se``, ``p_loses`` (one-sided, normal, of the null that it loses at most epsilon)
        and ``p_holm`` (the same, corrected over the benchmarks of one policy).
    """
    columns = ["benchmark", "method", "difference", "low", "high", "se"]
    found = [pd.DataFrame(columns=columns)]
    for benchmark, (scores, design) in reached.items():
        one_fit = {policy: own[None] for policy, own in scores.items()}
        tests = fits.compare(one_fit, [(GUARDED, DEFAULT), (UNGUARDED, DEFAULT)], design)
        found.append(tests.assign(benchmark=benchmark)[columns])
    found = pd.concat(found[1:] or found, ignore_index=True)
    loss, se = (-epsilon - found["difference"]).astype(float), found["se"].astype(float)
    found["p_loses"] = np.where(se == 0, loss <= 0, norm.sf(loss / se.where(se != 0)))  # without spread it is certain
    return found.assign(p_holm=found.groupby("method")["p_loses"].transform(holm))


def left(calibrations: pd.DataFrame) -> float:
    """Share of the questions on which guarded routers leave the default model, from `guarded`."""
    return float(calibrations["left"].where(calibrations["chosen"], 0).groupby([calibrations["fit"],
                                                                                calibrations["part"]]).sum().mean())


def fitted_router(
    table: OutcomeMatrix, vectors: np.ndarray, entry: catalog.Forecaster, epsilon: float, **settings
) -> Router:
    """`Router.fit` as a function, whose result can be remembered."""
    return Router.fit(table, entry=entry, vectors=vectors, epsilon=epsilon, **settings)
