"""Ask until the mean score is known well enough: what that takes, and whether intervals still hold then (Q9)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from embedllm.evaluation.intervals import ALPHA
from embedllm.experiments.new_models import N_FOLDS, complete, embedded, ordered, over_lineages, told_of
from embedllm.machine import side_by_side
from embedllm.new_models.choice import most_telling
from embedllm.new_models.onboarding import Shared, onboard
from embedllm.new_models.sharing import shared_parts
from embedllm.new_models.stopping import BATCH, Estimates, always, interviewed
from embedllm.outcomes import OutcomeMatrix, parted
from embedllm.probing.folds import lineage_folds
from embedllm.progress import Counted

FIRST, MOST = 2 * BATCH, 1024  # answers before the first look, and at most
TEXTBOOK = "random, textbook"
WEIGHTED = "weighted, any time, forecasts"
DRAWN = {  # whether forecasts are used, and weigh the draw
    "random, any time": (False, False), "random, any time, forecasts": (True, False), WEIGHTED: (True, True),
}
RANDOM, TELLING = "random, posterior", "most telling, posterior"
RULES = (TEXTBOOK, *DRAWN, RANDOM, TELLING)
MEASURES = {"answers": "mean", "reached": "covered", "rmse": "rmse", "covered": "covered", "always": "covered"}


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
    them. *Textbook*: a random order, mean and standard error. *Any time*: `stopping.always`, from a random order alone,
    with forecasts, and drawn by how unsure they are. *Posterior*: `Posterior.accuracies`, in a random order that is
    even over benchmarks, and by `choice.most_telling`.

    Parameters
    ----------
    aim : float, in (0, 1)
        Half the width of an interval of 95 % at which to stop.

    Returns
    -------
    DataFrame
        A row for each model and rule: ``model``, ``lineage``, ``rule``, ``answers`` when stopped, ``reached`` (whether
        for being narrow enough), ``error`` of the mean score, ``covered``: whether the interval holds it then, and
        ``always``: at every look until then.
    """
    table, vectors = complete(table, vectors)
    fold = lineage_folds(table.models["lineage"], N_FOLDS, seed)
    calls = [partial(of_fold, table, vectors, fold == number, aim, seed) for number in range(N_FOLDS)]
    return pd.concat(compute(Counted(calls, N_FOLDS)), ignore_index=True)


def of_fold(table: OutcomeMatrix, vectors: np.ndarray, new: np.ndarray, aim: float, seed: int) -> pd.DataFrame:
    """`stopped` for the new models of one fold, bool, (n_models,)."""
    pool, answers = parted(table, new)
    lineages, most = table.models["lineage"].to_numpy(str), min(MOST, table.shape[1] // 2)
    shared = shared_parts(embedded(pool, vectors, seed + 1), pool, vectors, lineages[~new])
    orders = ordered(table, lineages[new], np.full(table.shape[1], True), seed, 0)
    looks = {TEXTBOOK: [_by_the_textbook(np.random.default_rng((seed, at)).permutation(own)[:most], len(own))
                        for at, own in enumerate(answers)]}
    for rule, (told, weighted) in DRAWN.items():
        forecast = (lambda seen: onboard(shared, seen[None]).forecast()[0]) if told else _mean_so_far
        looks[rule] = [_any_time(interviewed(own, forecast, most, np.random.default_rng((seed, at)), weighted), aim)
                       for at, own in enumerate(answers)]
    for rule in (RANDOM, TELLING):
        looks[rule] = _posteriors(shared, answers, most, orders if rule == RANDOM else None, aim, seed)
    rows = [(model, lineage, rule, *stop(own, true, aim)) for rule, found in looks.items()
            for model, lineage, own, true in zip(table.models.index[new], lineages[new], found, answers.mean(axis=1),
                                                 strict=True)]
    return pd.DataFrame(rows, columns=["model", "lineage", "rule", "answers", "reached", "error", "covered", "always"])


def stop(looks: Looks, truth: float, aim: float) -> tuple[int, bool, float, bool, bool]:
    """The first look whose interval is narrow enough, or the last: the columns of `stopped` from ``answers`` on."""
    narrow = looks.high - looks.low <= 2 * aim + 1e-12
    at = int(narrow.argmax()) if narrow.any() else len(narrow) - 1
    inside = (looks.low <= truth) & (truth <= looks.high)
    return int(looks.n[at]), bool(narrow.any()), looks.value[at] - truth, bool(inside[at]), bool(inside[: at + 1].all())


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
    return Looks(n, np.cumsum(found.value)[n - 1] / n, low[n - 1], high[n - 1])


def _mean_so_far(seen: np.ndarray) -> np.ndarray:
    """One answer at one half ahead."""
    return np.full(len(seen), (np.nansum(seen) + 0.5) / ((~np.isnan(seen)).sum() + 1))


def _posteriors(
    shared: Shared, answers: np.ndarray, most: int, orders: list[np.ndarray] | None, aim: float, seed: int
) -> list[Looks]:
    """Posterior intervals by these orders, or by what tells most where there are none, until all are narrow."""
    seen, everything, found = np.full(answers.shape, np.nan), np.full((1, answers.shape[1]), True), []
    for n in range(FIRST, most + 1, BATCH):
        if orders is None:
            before = onboard(shared, seen)
            for at, row in enumerate(seen):
                asked = most_telling(before, at, everything[0], np.isnan(row), n - int((~np.isnan(row)).sum()))
                row[asked] = answers[at, asked]
        else:
            seen = told_of(answers, orders, n)
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
