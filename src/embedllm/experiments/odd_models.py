"""New models that are unlike a pool's: are they noticed, and what are forecasts of them worth (Q9)?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from embedllm.experiments.newcomers import complete, left_out, ordered, over_folds, over_lineages, told_of
from embedllm.machine import side_by_side
from embedllm.new_models.onboarding import onboard, person_fit
from embedllm.new_models.pool import ODD
from embedllm.outcomes import OutcomeMatrix

REAL = "as it is"
# Of the questions: whose answers are not read; whose answers were known before; where an attack on the judge succeeds.
SHARE_FAILED, SHARE_LEAKED, SHARE_WON = 0.3, 0.5, 0.8


def _guesses(rng: np.random.Generator, own: np.ndarray, benchmarks: np.ndarray) -> np.ndarray:
    return (rng.random(len(own)) < own.mean()).astype(float)


def _attacks_the_judge(rng: np.random.Generator, own: np.ndarray, benchmarks: np.ndarray) -> np.ndarray:
    return (rng.random(len(own)) < SHARE_WON).astype(float)


def _fails_the_format(rng: np.random.Generator, own: np.ndarray, benchmarks: np.ndarray) -> np.ndarray:
    return np.where(rng.random(len(own)) < SHARE_FAILED, 0.0, own)


def _has_seen_the_answers(rng: np.random.Generator, own: np.ndarray, benchmarks: np.ndarray) -> np.ndarray:
    return np.where(rng.random(len(own)) < SHARE_LEAKED, 1.0, own)


def _answers_the_contrary(rng: np.random.Generator, own: np.ndarray, benchmarks: np.ndarray) -> np.ndarray:
    return 1 - own


def _fails_a_benchmark(rng: np.random.Generator, own: np.ndarray, benchmarks: np.ndarray) -> np.ndarray:
    return np.where(benchmarks == rng.choice(np.unique(benchmarks)), 0.0, own)


KINDS: dict[str, Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]] = {
    REAL: lambda rng, own, benchmarks: own,
    "guesses, as often right": _guesses,
    f"attack that wins {SHARE_WON:.0%}, whatever is asked": _attacks_the_judge,
    f"{SHARE_FAILED:.0%} of answers not read": _fails_the_format,
    f"{SHARE_LEAKED:.0%} of answers known before": _has_seen_the_answers,
    "the contrary of its answers": _answers_the_contrary,
    "fails one benchmark": _fails_a_benchmark,
}


def odd_models(
    table: OutcomeMatrix, vectors: np.ndarray, sizes: Sequence[int], seed: int, compute: Callable = side_by_side
) -> pd.DataFrame:
    """New models as they are, and with answers that were tampered with, from n answers in a stratified random order.

    A fifth of the lineages is left out at a time.

    Returns
    -------
    DataFrame
        ``model``, ``lineage``, ``kind`` (of `KINDS`), ``n``; ``flagged``: whether `person_fit` is below `ODD`;
        ``covered``: whether the interval of the mean score holds it; ``error`` of the mean score.
    """
    table, vectors = complete(table, vectors)
    return over_folds(of_fold, table, vectors, list(sizes), seed=seed, compute=compute)


def of_fold(
    table: OutcomeMatrix, vectors: np.ndarray, new: np.ndarray, sizes: Sequence[int], seed: int
) -> pd.DataFrame:
    """`odd_models` for the new models of one fold, bool, (n_models,)."""
    shared, answers = left_out(table, vectors, new, seed)
    lineages, tables = table.models["lineage"].to_numpy(str), []
    orders = ordered(table, lineages[new], np.full(table.shape[1], True), seed, 0)
    benchmarks, everything = table.questions["benchmark"].to_numpy(str), np.full((1, table.shape[1]), True)
    for number, (kind, tampered) in enumerate(KINDS.items()):
        given = np.stack([tampered(np.random.default_rng((seed, number, at)), own, benchmarks)
                          for at, own in zip(np.flatnonzero(new), answers, strict=True)])
        for n in (size for size in sizes if size <= table.shape[1]):
            seen, truth = told_of(given, orders, n), given.mean(axis=1)
            posterior = onboard(shared, seen)
            value, low, high = (each[:, 0] for each in posterior.accuracies(seen, everything, seed))
            tables.append(pd.DataFrame({
                "model": table.models.index[new], "lineage": lineages[new], "kind": kind, "n": n,
                "flagged": person_fit(shared, seen) < ODD, "covered": (low <= truth) & (truth <= high),
                "error": value - truth}))
    return pd.concat(tables, ignore_index=True)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Each kind at each number of answers, over lineages.

    Parameters
    ----------
    rows : DataFrame
        From `odd_models`.

    Returns
    -------
    DataFrame
        ``kind``, ``n``, ``flagged`` with ``low`` and ``high`` (95 %, as in `new_models.summary`), ``unnoticed``
        (neither flagged nor covered) and ``rmse`` of the mean score.
    """
    rows, found = rows.assign(square=rows["error"] ** 2, unnoticed=~rows["flagged"] & ~rows["covered"]), []
    for (kind, n), own in rows.groupby(["kind", "n"], sort=False):
        means = own.groupby("lineage")[["flagged", "unnoticed", "square"]].mean()
        found.append((kind, n, *over_lineages(means["flagged"].to_numpy(float), "covered"), means["unnoticed"].mean(),
                      np.sqrt(means["square"].mean())))
    return pd.DataFrame(found, columns=["kind", "n", "flagged", "low", "high", "unnoticed", "rmse"])
