"""A new model whose relatives are in the pool, as a fine-tune of a known one: what is that worth in answers (Q9)?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from embedllm.evaluation.inference import of_independent
from embedllm.evaluation.metrics import cell_scores
from embedllm.experiments.newcomers import N_FOLDS, complete, embedded, over_lineages, told_of
from embedllm.lineages import representatives
from embedllm.machine import side_by_side
from embedllm.new_models.choice import halves, stratified
from embedllm.new_models.onboarding import onboard
from embedllm.new_models.sharing import shared_parts
from embedllm.outcomes import OutcomeMatrix, parted, without
from embedllm.progress import Counted

SIZES = (0, 4, 16, 64, 256)  # answers
ANY, RELATED = "expected around the pool", "expected around its relatives"


def with_relatives(
    table: OutcomeMatrix, vectors: np.ndarray, sizes: Sequence[int], seed: int, compute: Callable = side_by_side
) -> pd.DataFrame | None:
    """A model of each lineage that has several, left out of the pool and asked n questions, by two priors.

    Of near-copies there is one.

    Half of the questions may be asked, in a stratified random order; log-loss is judged on the others.

    Returns
    -------
    DataFrame or None
        ``model``, ``lineage``, ``n``, ``prior`` (`ANY` or `RELATED`), ``log_loss``, ``error`` of the mean score and
        ``covered``, whether the interval holds it. None for fewer than two such lineages.
    """
    table, vectors = complete(without(table, list(table.models.index[~representatives(table)])), vectors)
    rng, lineages = np.random.default_rng(seed), table.models["lineage"].to_numpy(str)
    names, many = np.unique(lineages, return_counts=True)
    chosen = np.array([rng.choice(np.flatnonzero(lineages == name)) for name in rng.permutation(names[many > 1])], int)
    if len(chosen) < 2:
        return None
    calls = [partial(of_models, table, vectors, np.isin(np.arange(len(lineages)), some), list(sizes), seed)
             for some in np.array_split(chosen, min(N_FOLDS, len(chosen)))]
    return pd.concat(compute(Counted(calls, len(calls))), ignore_index=True)


def of_models(
    table: OutcomeMatrix, vectors: np.ndarray, new: np.ndarray, sizes: Sequence[int], seed: int
) -> pd.DataFrame:
    """`with_relatives` for some new models, bool, (n_models,)."""
    pool, answers = parted(table, new)
    lineages, asked, rows = table.models["lineage"].to_numpy(str), halves(table, seed), []
    embedding = embedded(pool, vectors, seed + 1)
    shared = shared_parts(embedding, pool, vectors, lineages[~new])
    everything, labels = np.full((1, table.shape[1]), True), table.questions["benchmark"].to_numpy(str)
    for at, own in zip(np.flatnonzero(new), answers[:, None], strict=True):
        lineage, order = lineages[at], [stratified(labels, asked, (seed, at))]
        related = shared.of_relatives(embedding.model_vectors[lineages[~new] == lineage])
        for n in (size for size in sizes if size <= asked.sum()):
            seen = told_of(own, order, n)
            for prior, one in ((ANY, shared), (RELATED, related)):
                found = onboard(one, seen)
                value, low, high = (each.item() for each in found.accuracies(seen, everything, seed))
                loss = np.nanmean(cell_scores(found.forecast()[:, ~asked], own[:, ~asked], "log_loss"))
                truth = own.mean()
                rows.append((table.models.index[at], lineage, n, prior, loss, value - truth, low <= truth <= high))
    return pd.DataFrame(rows, columns=["model", "lineage", "n", "prior", "log_loss", "error", "covered"])


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Both priors at each number of answers, over lineages.

    Parameters
    ----------
    rows : DataFrame
        From `with_relatives`.

    Returns
    -------
    DataFrame
        ``n``, ``prior``, ``log_loss``, ``rmse`` of the mean score, ``covered``; of `RELATED` ``difference`` of its
        log-loss minus that of `ANY`, with ``low`` and ``high`` (95 %, over ``n_lineages``).
    """
    found = []
    for n, own in rows.groupby("n"):
        losses = own.pivot_table(index="lineage", columns="prior", values="log_loss")
        told = of_independent((losses[RELATED] - losses[ANY]).to_numpy())
        for prior, one in own.groupby("prior"):
            gap = [told[name] for name in ("difference", "low", "high")] if prior == RELATED else [np.nan] * 3
            rmse = over_lineages(one["error"].to_numpy() ** 2, "rmse")[0]
            found.append((n, prior, one["log_loss"].mean(), rmse, one["covered"].mean(), *gap, len(losses)))
    return pd.DataFrame(found, columns=["n", "prior", "log_loss", "rmse", "covered", "difference", "low", "high",
                                        "n_lineages"])
