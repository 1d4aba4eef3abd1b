"""Which question next? Two ways to choose questions for a new model, each with two estimates of its mean score (Q9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from embedllm.evaluation.intervals import ratio_of_means
from embedllm.experiments.new_models import OURS, RAW
from embedllm.experiments.newcomers import ask, left_out, ordered, over_folds, over_lineages, told_of
from embedllm.machine import side_by_side
from embedllm.new_models.onboarding import onboard
from embedllm.outcomes import OutcomeMatrix

STRATIFIED, ADAPTIVE = "stratified", "adaptive"
CHOICE, MODEL = "choice (adaptive over stratified, onboarding)", "model (onboarding over raw mean, stratified)"


def choices(
    table: OutcomeMatrix, vectors: np.ndarray, sizes: Sequence[int], n_draws: int, seed: int,
    compute: Callable = side_by_side,
) -> pd.DataFrame:
    """Two ways to choose questions, each with two estimates of the mean score on all questions.

    All questions may be asked. *Stratified*: at random, evenly over benchmarks; *adaptive*: those that tell most
    (`choice.most_telling`), in batches of sixteen.

    Returns
    -------
    DataFrame
        ``model``, ``lineage``, ``n``, ``draw``, ``choice``, ``estimator`` ("raw mean" or "onboarding"), ``error``.
    """
    return over_folds(choices_of_fold, table, vectors, list(sizes), n_draws, seed=seed, compute=compute)


def choices_of_fold(
    table: OutcomeMatrix, vectors: np.ndarray, new: np.ndarray, sizes: Sequence[int], n_draws: int, seed: int
) -> pd.DataFrame:
    """`choices` for the new models of one fold, bool, (n_models,)."""
    shared, answers = left_out(table, vectors, new, seed)
    lineages, truth, tables = table.models["lineage"].to_numpy(str)[new], answers.mean(axis=1), []

    def estimated(seen: np.ndarray, n: int, draw: int, choice: str) -> None:
        told = np.where(np.isnan(seen), onboard(shared, seen).forecast(), seen).mean(axis=1)
        tables.extend(pd.DataFrame({
            "model": table.models.index[new], "lineage": lineages, "n": n, "draw": draw, "choice": choice,
            "estimator": estimator, "error": values - truth,
        }) for estimator, values in ((RAW, np.nanmean(seen, axis=1)), (OURS, told)))

    for draw in range(n_draws):
        orders = ordered(table, lineages, np.full(table.shape[1], True), seed, draw)
        for n in sizes:
            estimated(told_of(answers, orders, n), n, draw, STRATIFIED)
    seen = np.full(answers.shape, np.nan)
    for n in sorted(sizes):
        ask(shared, seen, answers, n)
        estimated(seen, n, 0, ADAPTIVE)
    return pd.concat(tables, ignore_index=True)


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
    ways = ((CHOICE, (ADAPTIVE, OURS), (STRATIFIED, OURS)), (MODEL, (STRATIFIED, OURS), (STRATIFIED, RAW)))
    for due, one, other in ways:
        a, b = (squares[[(*way, n) for n in sizes]].to_numpy() for way in (one, other))
        ratio, low, high = ratio_of_means(a, b)
        tables.append(pd.DataFrame({"due_to": due, "n": sizes, "ratio": ratio, "low": low, "high": high}))
    return pd.concat(tables, ignore_index=True)


def _squares(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean squared error of each lineage: a column for each choice, estimator and number of answers."""
    rows = rows.assign(square=rows["error"] ** 2)
    return rows.pivot_table(index="lineage", columns=["choice", "estimator", "n"], values="square", sort=False)
