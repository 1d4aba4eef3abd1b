"""Lineages that are left out of a pool and play new models: what all that is asked of them shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import beta

from embedllm import catalog
from embedllm.evaluation.inference import of_independent
from embedllm.evaluation.intervals import ALPHA, bootstrap_weights, interval, ratio_of_means
from embedllm.experiments.comparisons import fitted
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.new_models.choice import mixed, most_telling, stratified
from embedllm.new_models.onboarding import Shared, onboard
from embedllm.new_models.sharing import shared_parts
from embedllm.new_models.stopping import BATCH
from embedllm.outcomes import OutcomeMatrix, parted, without
from embedllm.probing.folds import lineage_folds
from embedllm.progress import Counted
from embedllm.routing.policies import candidates
from embedllm.splits import Design, cut, folds

N_FOLDS, N_RESAMPLES, FEWEST = 5, 2000, 8  # of lineages


def testable(table: OutcomeMatrix) -> bool:
    """Whether there are lineages enough to leave some out."""
    return table.models["lineage"].nunique() >= FEWEST


def complete(table: OutcomeMatrix, vectors: np.ndarray) -> tuple[OutcomeMatrix, np.ndarray]:
    """Without models that lack answers, and questions that one of the others lacks; see `policies.candidates`."""
    kept, judged = candidates(table)
    return without(table, list(table.models.index[~kept])).at(judged), vectors[judged]


def embedded(pool: OutcomeMatrix, vectors: np.ndarray, seed: int) -> ConvexEmbedding:
    """The convex embedding of a pool, fitted to seven eighths of the questions and tuned on the others."""
    held_out = folds(pool, 8, seed).to_numpy() == 0
    return fitted(cut(pool, vectors, np.where(held_out, "val", "train")), catalog.CONVEX)


def over_folds(
    of_fold: Callable, table: OutcomeMatrix, vectors: np.ndarray, *rest, seed: int, compute: Callable
) -> pd.DataFrame:
    """What a function says of the new models of each fold, a fifth of the lineages each.

    It takes table and vectors (both `complete`), which models are new, bool, (n_models,), ``rest`` and the seed.
    """
    fold = lineage_folds(table.models["lineage"], N_FOLDS, seed)
    calls = [partial(of_fold, table, vectors, fold == number, *rest, seed) for number in range(N_FOLDS)]
    return pd.concat(compute(Counted(calls, N_FOLDS)), ignore_index=True)


def left_out(table: OutcomeMatrix, vectors: np.ndarray, new: np.ndarray, seed: int) -> tuple[Shared, np.ndarray]:
    """What a pool shares without its new models, bool, (n_models,), and what these answered."""
    pool, answers = parted(table, new)
    lineages = table.models["lineage"].to_numpy(str)[~new]
    return shared_parts(embedded(pool, vectors, seed + 1), pool, vectors, lineages), answers


def ordered(table: OutcomeMatrix, lineages: np.ndarray, askable: np.ndarray, seed: int, draw: int) -> list[np.ndarray]:
    """The order in which each model is asked: one for each lineage."""
    names = np.unique(table.models["lineage"].to_numpy(str))
    labels = table.questions["benchmark"].to_numpy(str)
    own = {name: stratified(labels, askable, (seed, draw, int(np.searchsorted(names, name))))
           for name in np.unique(lineages)}
    return [own[name] for name in lineages]


def told_of(answers: np.ndarray, orders: Sequence[np.ndarray], n: int) -> np.ndarray:
    """The first n answers of each model, NaN elsewhere."""
    seen = np.full(answers.shape, np.nan)
    for row, own, order in zip(seen, answers, orders, strict=True):
        row[order[:n]] = own[order[:n]]
    return seen


def ask(
    shared: Shared, seen: np.ndarray, answers: np.ndarray, n: int, batch: int = BATCH,
    labels: np.ndarray | None = None, orders: Sequence[np.ndarray] | None = None, wanted: np.ndarray | None = None,
) -> None:
    """Have each model answer, in ``seen``, what tells most of its mean score, batch after batch, up to n questions.

    With ``labels`` of the questions as many of a label as it has a share of all; with ``orders`` as `choice.mixed`. The
    mean is that over the questions ``wanted`` of each model, bool, (n_models, n_questions); default: over all.
    """
    wanted = np.full(answers.shape, True) if wanted is None else wanted
    asked = int((~np.isnan(seen[0])).sum())
    for start in range(asked, n, batch):
        posterior = onboard(shared, seen)
        for at, row in enumerate(seen):
            how = (posterior, at, wanted[at], np.isnan(row), min(batch, n - start))
            chosen = most_telling(*how, labels) if orders is None else mixed(*how, orders[at])
            row[chosen] = answers[at, chosen]


def over_lineages(values: np.ndarray, measure: str) -> np.ndarray:
    """Mean over lineages and its interval of 95 %; of "rmse" the root of both."""
    if measure == "covered":
        n, hits = len(values), values.sum()
        low, high = beta.ppf(ALPHA / 2, hits, n - hits + 1), beta.ppf(1 - ALPHA / 2, hits + 1, n - hits)
        return np.array([values.mean(), low if hits else 0.0, high if hits < n else 1.0])
    if measure in ("routed", "regret", "benchmarks_covered", "answers"):  # too often all the same to be studentized
        weights = bootstrap_weights(Design(np.zeros(len(values))), N_RESAMPLES, np.random.default_rng(0))
        return np.array([values.mean(), *interval(values, weights)])
    if measure == "rmse":  # a mean of squares, which an interval on the plain scale would let fall below zero
        return np.sqrt(np.concatenate(ratio_of_means(values[:, None], np.ones((len(values), 1)))))
    told = of_independent(values)
    return np.array([told["difference"], told["low"], told["high"]])
