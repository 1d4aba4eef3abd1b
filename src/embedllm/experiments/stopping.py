"""Ask until the mean score is known well enough: what that takes, and whether intervals still hold then (Q9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from embedllm.evaluation.intervals import ALPHA
from embedllm.experiments.newcomers import ask, complete, left_out, ordered, over_folds, over_lineages, told_of
from embedllm.machine import side_by_side
from embedllm.new_models.onboarding import Shared, onboard
from embedllm.new_models.stopping import BATCH, Estimates, always, interviewed
from embedllm.outcomes import OutcomeMatrix

FIRST, MOST = 2 * BATCH, 1024  # answers before the first look, and at most
TEXTBOOK, ANY_TIME = "random, textbook", "random, any time"
FORECASTS, WEIGHTED = "random, any time, forecasts", "weighted, any time, forecasts"
RANDOM, MIXED, TELLING = "random, posterior", "mixed, posterior", "most telling, posterior"
RULES = (TEXTBOOK, ANY_TIME, FORECASTS, WEIGHTED, RANDOM, MIXED, TELLING)
MEASURES = {"answers": "answers", "reached": "covered", "rmse": "rmse", "covered": "covered", "always": "covered"}


class Looks(NamedTuple):
    """What somebody sees who looks after every batch: of one model, (n_looks,) each."""

    n: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def stopped(
    table: OutcomeMatrix, vectors: np.ndarray, aim: float, seed: int, compute: Callable = side_by_side
) -> pd.DataFrame:
    """New models that are asked until the interval of their mean score is narrow enough, by each rule.

    A fifth of the lineages is left out at a time; all questions may be asked, at most `MOST` of a model and half of
    them. *Textbook*: mean and standard error. *Any time*: `stopping.always`, from answers alone, with forecasts, and
    with more questions drawn where these are unsure. *Posterior*: `Posterior.accuracies`, also by `choice.mixed` and
    by `choice.most_telling`. Each model has one random order, which the rules called so share.

    Parameters
    ----------
    aim : float, in (0, 1)
        Half the width of an interval of 95 % at which to stop.

    Returns
    -------
    DataFrame
        A row for each model and rule: ``model``, ``lineage``, ``rule``, ``answers`` when stopped, ``reached`` (whether
        for being narrow enough), ``error`` of the mean score, ``covered``: whether the interval holds it then, and
        ``always``: at every look until then. Without rows where half of the questions are fewer than the first look
        takes.
    """
    table, vectors = complete(table, vectors)
    return over_folds(of_fold, table, vectors, aim, RULES, seed=seed, compute=compute)


def of_fold(
    table: OutcomeMatrix, vectors: np.ndarray, new: np.ndarray, aim: float, rules: Sequence[str], seed: int
) -> pd.DataFrame:
    """`stopped` for the new models of one fold, bool, (n_models,), by some of the rules."""
    shared, answers = left_out(table, vectors, new, seed)
    most, rows = min(MOST, table.shape[1] // 2) // BATCH * BATCH, []
    models, lineages = table.models.index[new], table.models["lineage"].to_numpy(str)[new]
    spread = ordered(table, lineages, np.full(table.shape[1], True), seed, 0)
    for rule in rules if most >= FIRST else ():
        found = _looks(rule, shared, answers, np.flatnonzero(new), spread, most, aim, seed)
        rows += [(model, lineage, rule, *stop(own, true, aim)) for model, lineage, own, true
                 in zip(models, lineages, found, answers.mean(axis=1), strict=True)]
    return pd.DataFrame(rows, columns=["model", "lineage", "rule", "answers", "reached", "error", "covered", "always"])


def stop(looks: Looks, truth: float, aim: float) -> tuple[int, bool, float, bool, bool]:
    """The first look whose interval is narrow enough, or the last: the columns of `stopped` from ``answers`` on."""
    narrow = looks.high - looks.low <= 2 * aim + 1e-12
    at = int(narrow.argmax()) if narrow.any() else len(narrow) - 1
    inside = (looks.low <= truth) & (truth <= looks.high)
    return int(looks.n[at]), bool(narrow.any()), looks.value[at] - truth, bool(inside[at]), bool(inside[: at + 1].all())


def _looks(
    rule: str, shared: Shared, answers: np.ndarray, places: np.ndarray, spread: list[np.ndarray], most: int, aim: float,
    seed: int,
) -> list[Looks]:
    """Of each model, by a rule; models have generators of their own, by their places in the table.

    What is mixed with the most telling questions is in the orders ``spread`` over benchmarks.
    """
    def asked(forecast: Callable, weighted: bool = False) -> list[tuple[np.ndarray, Estimates]]:
        return [interviewed(own, forecast, most, np.random.default_rng((seed, at)), weighted)
                for own, at in zip(answers, places, strict=True)]

    if rule in (FORECASTS, WEIGHTED):
        told = asked(lambda seen: onboard(shared, seen[None]).forecast()[0], rule == WEIGHTED)
        return [_any_time(found, aim) for _, found in told]
    if rule in (MIXED, TELLING):
        orders = spread if rule == MIXED else None
        return _posteriors(shared, answers, most, partial(ask, shared, orders=orders), aim, seed)
    told = asked(_mean_so_far)
    if rule == ANY_TIME:
        return [_any_time(found, aim) for _, found in told]
    orders = [order for order, _ in told]
    if rule == RANDOM:
        return _posteriors(shared, answers, most, lambda seen, own, n: np.copyto(seen, told_of(own, orders, n)), aim,
                           seed)
    return [_by_the_textbook(own[order], len(own)) for own, order in zip(answers, orders, strict=True)]


def _mean_so_far(seen: np.ndarray) -> np.ndarray:
    """One answer at one half ahead."""
    return np.full(len(seen), (np.nansum(seen) + 0.5) / ((~np.isnan(seen)).sum() + 1))


def _by_the_textbook(values: np.ndarray, n_questions: int) -> Looks:
    """Mean and standard error of a sample without replacement (Cochran 1977, Sampling Techniques, chapter 2)."""
    n = np.arange(FIRST, len(values) + 1, BATCH)
    means = np.cumsum(values)[n - 1] / n
    variances = (np.cumsum(values**2)[n - 1] / n - means**2) / (n - 1) * (1 - n / n_questions)
    reach = norm.ppf(1 - ALPHA / 2) * np.sqrt(variances.clip(0))
    return Looks(n, means, means - reach, means + reach)


def _any_time(found: Estimates, aim: float) -> Looks:
    low, high = always(found, aim)
    n = np.arange(FIRST, len(low) + 1, BATCH)
    low, high, value = (each[n - 1] for each in (low, high, np.cumsum(found.value) / np.arange(1, len(low) + 1)))
    return Looks(n, np.clip(value, low, high), low, high)


def _posteriors(
    shared: Shared, answers: np.ndarray, most: int, fill: Callable, aim: float, seed: int
) -> list[Looks]:
    """Posterior intervals until all are narrow; ``fill`` has an array hold n of the answers of each model."""
    seen, everything, found = np.full(answers.shape, np.nan), np.full((1, answers.shape[1]), True), []
    for n in range(FIRST, most + 1, BATCH):
        fill(seen, answers, n)
        value, low, high = (each[:, 0] for each in onboard(shared, seen).accuracies(seen, everything, seed))
        found.append((np.full(len(value), n), value, low, high))
        if (np.array([each[3] - each[2] for each in found]).min(axis=0) <= 2 * aim).all():
            break
    return [Looks(*own) for own in np.array(found).transpose(2, 1, 0)]


def summary(rows: pd.DataFrame, aim: float) -> pd.DataFrame:
    """Each rule over lineages.

    Parameters
    ----------
    rows : DataFrame
        From `stopped`, with this aim.

    Returns
    -------
    DataFrame
        ``aim``, ``rule``, ``measure``, ``value`` with ``low`` and ``high`` (95 %, as in `new_models.summary`):
        *answers*, *rmse* of the mean score when stopped, and the shares *reached*, *covered* and *always*.
    """
    rows, found = rows.assign(rmse=rows["error"] ** 2), []
    for rule, own in rows.groupby("rule", sort=False):
        by_lineage = own.groupby("lineage")[list(MEASURES)].mean()
        found += [(rule, name, *over_lineages(by_lineage[name].to_numpy(float), way)) for name, way in MEASURES.items()]
    table = pd.DataFrame(found, columns=["rule", "measure", "value", "low", "high"])
    return table.assign(aim=aim)[["aim", *table]]


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """`summary` with a row a rule: ``aim``, ``rule``, ``answers`` with ``low`` and ``high``, and the other measures."""
    answers = table[table["measure"] == "answers"].drop(columns="measure").rename(columns={"value": "answers"})
    rest = table[table["measure"] != "answers"].pivot_table("value", "rule", "measure", sort=False)
    return answers.merge(rest[[name for name in MEASURES if name in rest]], left_on="rule", right_index=True)
