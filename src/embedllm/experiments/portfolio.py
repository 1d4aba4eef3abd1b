"""Which few models are worth keeping? Small portfolios for a router, chosen on some questions, judged on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation.inference import paired_tests
from embedllm.experiments.comparisons import fitted
from embedllm.experiments.newcomers import N_FOLDS, complete
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix
from embedllm.progress import Counted
from embedllm.routing.policies import choose, gained
from embedllm.splits import Design, cut, folds

GREEDY, CENTERS, TOP, RANDOM = "greedy", "k-center", "best single models", "random"
WHOLE = "all models"
ENOUGH = 0.005  # score below that of all models at which a portfolio is called enough
Order = Callable[[np.ndarray, np.ndarray, ConvexEmbedding, int], list[int]]


def greedy(told: np.ndarray, scores: np.ndarray, embedding: ConvexEmbedding, number: int) -> list[int]:
    """One model after the other, each the one with which routing by the forecasts scores highest.

    Parameters
    ----------
    told, scores : ndarray, shape (n_models, n_questions)
        Forecasts and answers of the questions that choose.
    """
    chosen: list[int] = []
    best, reached = np.full(told.shape[1], -np.inf), np.zeros(told.shape[1])
    for _ in range(number):
        values = np.where(told > best, scores, reached).mean(axis=1)
        values[chosen] = -np.inf
        one = int(values.argmax())
        best, reached = np.maximum(best, told[one]), np.where(told[one] > best, scores[one], reached)
        chosen.append(one)
    return chosen


def centers(told: np.ndarray, scores: np.ndarray, embedding: ConvexEmbedding, number: int) -> list[int]:
    """The best single model, then always the one that lies farthest from those chosen (k-center)."""
    chosen = [int(scores.mean(axis=1).argmax())]
    apart = np.full(len(told), np.inf)
    while len(chosen) < number:
        apart = np.minimum(apart, np.linalg.norm(embedding.model_vectors - embedding.model_vectors[chosen[-1]], axis=1))
        chosen.append(int(apart.argmax()))
    return chosen


def top(told: np.ndarray, scores: np.ndarray, embedding: ConvexEmbedding, number: int) -> list[int]:
    """The best single models."""
    return list(np.argsort(-scores.mean(axis=1), kind="stable")[:number])


WAYS: dict[str, Order] = {GREEDY: greedy, CENTERS: centers, TOP: top}


def portfolios(
    table: OutcomeMatrix, vectors: np.ndarray, sizes: Sequence[int], n_random: int, seed: int,
    compute: Callable = side_by_side,
) -> pd.DataFrame:
    """The score of a router by the convex embedding over a few models, on questions that chose neither.

    A fifth of the questions is left out at a time; the others fit the embedding and choose the models. What lacks
    answers is left out, see `newcomers.complete`.

    Parameters
    ----------
    table : OutcomeMatrix
    sizes : sequence of int
        Numbers of models; those above all are left out.
    n_random : int
        Random portfolios of each fold, of which the mean counts.

    Returns
    -------
    DataFrame
        ``way``, ``size`` (NaN of all models), ``score``; ``difference`` to all models with ``low`` and ``high`` (95 %,
        over questions); ``withdrawn``, mean score where one of the models is withdrawn and its questions go to the
        next highest forecast, and ``worst``, where the one is that of a fold's which costs it most.
    """
    table, vectors = complete(table, vectors)
    fold, sizes = folds(table, N_FOLDS, seed).to_numpy(), [one for one in sizes if one < table.shape[0]]
    calls = [partial(of_fold, table, vectors, fold == number, sizes, n_random, (seed, number))
             for number in range(N_FOLDS)]
    found = pd.concat(compute(Counted(calls, N_FOLDS)), ignore_index=True).groupby(["way", "size"], sort=False)
    scores = {key: own.sort_values("question", ignore_index=True) for key, own in found}
    everything, rows = scores.pop((WHOLE, table.shape[0])), []
    tests = paired_tests([(own["score"].to_numpy(), everything["score"].to_numpy()) for own in scores.values()],
                         Design.of(table), n_permutations=1)
    for ((way, size), own), test in zip(scores.items(), tests, strict=True):
        against = {name: test[name] for name in ("difference", "low", "high")}
        rows.append({"way": way, "size": size, **against, **own[["score", "withdrawn", "worst"]].mean()})
    rows.append({"way": WHOLE, "size": np.nan, "score": everything["score"].mean()})
    return pd.DataFrame(rows, columns=["way", "size", "score", "difference", "low", "high", "withdrawn", "worst"])


def of_fold(
    table: OutcomeMatrix, vectors: np.ndarray, test: np.ndarray, sizes: Sequence[int], n_random: int,
    seed: tuple[int, int],
) -> pd.DataFrame:
    """`portfolios` of a fold, questions of which are ``test``, bool, (n_questions,).

    Returns
    -------
    DataFrame
        ``way``, ``size``, ``question`` (its position), ``score``, ``withdrawn`` and ``worst``.
    """
    parts = cut(table, vectors, np.where(test, "test", np.where(folds(table, 8, seed[0] + 1) == 0, "val", "train")))
    embedding, (judged, own) = fitted(parts, catalog.CONVEX), parts["test"]
    learned, told = embedding.predict_proba(vectors[~test]), embedding.predict_proba(own)
    answers, rng, found = table.scores[:, ~test], np.random.default_rng(seed), []

    def reached(members: Sequence[int]) -> np.ndarray:
        return gained(choose(told[members], judged.observed[members]), judged.scores[members])

    def record(way: str, several: Sequence[Sequence[int]]) -> None:
        left = [[reached([one for one in members if one != gone]) for gone in members]
                for members in several if len(members) > 1]
        found.append(pd.DataFrame({
            "way": way, "size": len(several[0]), "question": np.flatnonzero(test),
            "score": np.mean([reached(members) for members in several], axis=0),
            "withdrawn": np.mean(left, axis=(0, 1)) if left else np.nan,
            "worst": np.mean([min(own, key=np.mean) for own in left], axis=0) if left else np.nan}))

    for size in sizes:
        for way, order in WAYS.items():
            record(way, [order(learned, answers, embedding, size)])
        record(RANDOM, [list(rng.choice(len(told), size, replace=False)) for _ in range(n_random)])
    found.append(pd.DataFrame({"way": WHOLE, "size": len(told), "question": np.flatnonzero(test),
                               "score": reached(range(len(told)))}))
    return pd.concat(found, ignore_index=True)
