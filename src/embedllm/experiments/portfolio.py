"""Which few models are worth keeping? Small portfolios for a router, chosen on training questions, judged on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation.inference import paired_test
from embedllm.experiments.comparisons import fitted
from embedllm.experiments.newcomers import complete
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.outcomes import OutcomeMatrix
from embedllm.routing.policies import choose, gained
from embedllm.splits import Design, cut

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
    """The best single model, then always the one that lies farthest from those chosen."""
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
    table: OutcomeMatrix, vectors: np.ndarray, sizes: Sequence[int], n_random: int, seed: int
) -> pd.DataFrame:
    """The score of a router by the convex embedding over a few models, on test questions.

    What lacks answers is left out, see `newcomers.complete`.

    Parameters
    ----------
    table : OutcomeMatrix
        Its questions have a column ``part``; training and validation choose.
    sizes : sequence of int
        Numbers of models; those above all are left out.
    n_random : int
        Random portfolios, of which the mean counts.

    Returns
    -------
    DataFrame
        ``way``, ``size`` (NaN of all models), ``score``; ``difference`` to all models with ``low`` and ``high`` (95 %,
        over questions); ``withdrawn``, mean score where one of the models is withdrawn and its questions go to the
        next highest forecast, and ``worst`` of these (of random ones means over draws).
    """
    parts = cut(*complete(table, vectors))
    embedding = fitted(parts, catalog.CONVEX)
    learned = np.concatenate([embedding.predict_proba(parts[one][1]) for one in ("train", "val")], axis=1)
    answers = np.concatenate([parts[one][0].scores for one in ("train", "val")], axis=1)
    told, test = embedding.predict_proba(parts["test"][1]), parts["test"][0]
    design, rng, rows = Design.of(test), np.random.default_rng(seed), []

    def reached(members: Sequence[int]) -> np.ndarray:
        return gained(choose(told[members], test.observed[members]), test.scores[members])

    everything = reached(range(len(told)))
    for size in (one for one in sizes if one < len(told)):
        chosen = {way: [order(learned, answers, embedding, size)] for way, order in WAYS.items()}
        chosen[RANDOM] = [list(rng.choice(len(told), size, replace=False)) for _ in range(n_random)]
        for way, several in chosen.items():
            own = np.mean([reached(members) for members in several], axis=0)
            row = {"way": way, "size": size, "score": own.mean(), **_against(own, everything, design)}
            if size > 1:
                left = [[reached([one for one in members if one != gone]).mean() for gone in members]
                        for members in several]
                row |= {"withdrawn": np.mean(left), "worst": np.min(left, axis=1).mean()}
            rows.append(row)
    rows.append({"way": WHOLE, "size": np.nan, "score": everything.mean()})
    return pd.DataFrame(rows, columns=["way", "size", "score", "difference", "low", "high", "withdrawn", "worst"])


def _against(own: np.ndarray, everything: np.ndarray, design: Design) -> dict[str, float]:
    if np.array_equal(own, everything):
        return {"difference": 0.0, "low": 0.0, "high": 0.0}
    found = paired_test(own, everything, design, n_permutations=1)
    return {name: found[name] for name in ("difference", "low", "high")}
