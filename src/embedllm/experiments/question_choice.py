"""Which question next? Ways to choose questions for a new model, each with two estimates of its mean score (Q9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from embedllm.evaluation.intervals import ratio_of_means
from embedllm.experiments.new_models import OURS, RAW
from embedllm.experiments.newcomers import ask, complete, left_out, ordered, over_folds, over_lineages, told_of
from embedllm.machine import side_by_side
from embedllm.new_models.choice import stratified
from embedllm.new_models.onboarding import groups_of, onboard, person_fit
from embedllm.new_models.pool import ENOUGH, ODD
from embedllm.outcomes import OutcomeMatrix

STRATIFIED, ADAPTIVE, MIXED = "stratified", "adaptive", "mixed"
ALONE, BALANCED = "adaptive, one at a time", "adaptive, balanced"
TARGETED, BESIDE = "mixed for one benchmark: its mean", "mixed for one benchmark: mean of all"
CHOICE, MODEL = "choice (adaptive over stratified, onboarding)", "model (onboarding over raw mean, stratified)"
MIX = "choice (mixed over stratified, onboarding)"


def choices(
    table: OutcomeMatrix, vectors: np.ndarray, sizes: Sequence[int], n_draws: int, seed: int,
    compute: Callable = side_by_side, further: bool = False,
) -> pd.DataFrame:
    """Ways to choose questions, each with two estimates of the mean score on all questions.

    All questions may be asked. *Stratified*: at random, evenly over benchmarks; *adaptive*: those that tell most
    (`choice.most_telling`), in batches of sixteen; *mixed*: a quarter so, the others at random (`choice.mixed`).

    Parameters
    ----------
    further : bool
        Adaptive also one question at a time, and with as many questions of a benchmark as it has a share of all. Mixed
        also for the mean score on one benchmark, drawn for each model, of which at most half is asked: judged by that
        mean, and by the mean of all questions.

    Returns
    -------
    DataFrame
        ``model``, ``lineage``, ``n``, ``draw``, ``choice``, ``estimator`` ("raw mean" or "onboarding"), ``error``. Of
        onboarding ``covered``, ``benchmarks_covered`` and ``benchmark_error`` as in `new_models.curves`, ``flagged``:
        whether it is called unlike the pool (`pool.Added.odd`).
    """
    table, vectors = complete(table, vectors)
    return over_folds(choices_of_fold, table, vectors, list(sizes), n_draws, further, seed=seed, compute=compute)


def choices_of_fold(
    table: OutcomeMatrix, vectors: np.ndarray, new: np.ndarray, sizes: Sequence[int], n_draws: int, further: bool,
    seed: int,
) -> pd.DataFrame:
    """`choices` for the new models of one fold, bool, (n_models,)."""
    shared, answers = left_out(table, vectors, new, seed)
    lineages, tables = table.models["lineage"].to_numpy(str)[new], []
    labels = table.questions["benchmark"].astype(str).to_numpy()
    _, groups = groups_of(labels)
    whole = answers @ groups.T / groups.sum(axis=1)
    every, everything = np.full(len(answers), True), np.zeros(len(answers), int)

    def estimated(seen: np.ndarray, n: int, draw: int, choice: str, own: np.ndarray, of: np.ndarray) -> None:
        """What is known of the models ``own``, bool, from what they were asked, of a group of questions each."""
        at, seen, truth = (np.arange(own.sum()), of[own]), seen[own], whole[own]
        posterior = onboard(shared, seen)
        told = np.where(np.isnan(seen), posterior.forecast(), seen) @ groups.T / groups.sum(axis=1)
        _, low, high = posterior.accuracies(seen, groups, seed)
        inside = (low <= truth) & (truth <= high)
        rows = pd.DataFrame({"model": table.models.index[new][own], "lineage": lineages[own], "n": n, "draw": draw,
                             "choice": choice})
        tables.append(rows.assign(estimator=RAW, error=np.nanmean(seen, axis=1) - truth[at]))
        tables.append(rows.assign(
            estimator=OURS, error=told[at] - truth[at], covered=inside[at].astype(float),
            benchmarks_covered=inside[:, 1:].mean(axis=1),
            benchmark_error=np.abs(told - truth)[:, 1:].mean(axis=1),
            flagged=((person_fit(shared, seen) < ODD) & (n >= ENOUGH)).astype(float)))

    for draw in range(n_draws):
        orders = ordered(table, lineages, np.full(table.shape[1], True), seed, draw)
        for n in sizes:
            estimated(told_of(answers, orders, n), n, draw, STRATIFIED, every, everything)
    orders = ordered(table, lineages, np.full(table.shape[1], True), seed, 0)
    ways = {ADAPTIVE: {}, MIXED: {"orders": orders}}
    if further:
        ways |= {ALONE: {"batch": 1}, BALANCED: {"labels": labels}}
    for choice, how in ways.items():
        seen = np.full(answers.shape, np.nan)
        for n in sorted(sizes):
            ask(shared, seen, answers, n, **how)
            estimated(seen, n, 0, choice, every, everything)
    large = 1 + np.flatnonzero(groups[1:].sum(axis=1) >= 2 * min(sizes))
    if further and len(large):
        target, seen = np.random.default_rng(seed).choice(large, len(answers)), np.full(answers.shape, np.nan)
        orders = [stratified(labels, groups[one], seed) for one in target]
        for n in sorted(sizes):
            own = groups.sum(axis=1)[target] >= 2 * n
            if own.any():
                asked = seen[own]
                ask(shared, asked, answers[own], n, orders=[orders[at] for at in np.flatnonzero(own)],
                    wanted=groups[target[own]])
                seen[own] = asked
                for choice, of in ((TARGETED, target), (BESIDE, everything)):
                    estimated(seen, n, 0, choice, own, of)
    return pd.concat(tables, ignore_index=True)


def validity(rows: pd.DataFrame) -> pd.DataFrame:
    """Whether onboarding's intervals hold after a choice of questions, and its error on benchmarks, over lineages.

    Parameters
    ----------
    rows : DataFrame
        From `choices`.

    Returns
    -------
    DataFrame
        ``choice``, ``n``, ``benchmark_error``, ``covered`` with ``low`` and ``high`` (95 %, as in
        `new_models.summary`), ``benchmarks_covered``, ``flagged``.
    """
    own, found = rows[rows["estimator"] == OURS], []
    for (choice, n), one in own.groupby(["choice", "n"], sort=False):
        means = one.groupby("lineage")[["benchmark_error", "covered", "benchmarks_covered", "flagged"]].mean()
        _, low, high = over_lineages(means["covered"].to_numpy(), "covered")
        found.append({"choice": choice, "n": n, **means.mean(), "low": low, "high": high})
    return pd.DataFrame(found)[["choice", "n", "benchmark_error", "covered", "low", "high", "benchmarks_covered",
                                "flagged"]]


def errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Root mean squared error of each choice and estimator, over lineages.

    Parameters
    ----------
    rows : DataFrame
        From `choices`.

    Returns
    -------
    DataFrame
        ``way`` (choice and estimator), ``n``, ``rmse`` with ``low`` and ``high`` (95 %, as in `new_models.summary`).
    """
    found = [(f"{choice}, {estimator}", n, *over_lineages(own.to_numpy(), "rmse"))
             for (choice, estimator, n), own in _squares(rows).items()]
    return pd.DataFrame(found, columns=["way", "n", "rmse", "low", "high"])


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean squared errors over each other: choices under one estimator, estimators under one choice.

    Returns
    -------
    DataFrame
        ``due_to``, ``n``, ``ratio`` (below one: less error) with ``low`` and ``high`` (95 %, over lineages).
    """
    squares, tables = _squares(rows), []
    sizes = sorted({key[2] for key in squares})
    ways = ((CHOICE, (ADAPTIVE, OURS), (STRATIFIED, OURS)), (MIX, (MIXED, OURS), (STRATIFIED, OURS)),
            (MODEL, (STRATIFIED, OURS), (STRATIFIED, RAW)))
    for due, one, other in ways:
        a, b = (squares[[(*way, n) for n in sizes]].to_numpy() for way in (one, other))
        ratio, low, high = ratio_of_means(a, b)
        tables.append(pd.DataFrame({"due_to": due, "n": sizes, "ratio": ratio, "low": low, "high": high}))
    return pd.concat(tables, ignore_index=True)


def _squares(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean squared error of each lineage: a column for each choice, estimator and number of answers."""
    rows = rows[~rows["choice"].isin([TARGETED, BESIDE])].assign(square=rows["error"] ** 2)
    return rows.pivot_table(index="lineage", columns=["choice", "estimator", "n"], values="square", sort=False)
