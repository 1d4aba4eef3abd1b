"""Do other fits, lengths, encoders and data find the same models close, and do close models answer alike?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr
from statsmodels.stats.dist_dependence_measures import distance_correlation

from embedllm import catalog
from embedllm.experiments.comparisons import fitted
from embedllm.forecasters.contract import Forecaster
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.lineages import disagreements
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix
from embedllm.probing.geometry import principal
from embedllm.probing.mantel import mantel
from embedllm.splits import Parts

LENGTHS = (4, 16)  # numbers per model
N_SIMILAR, N_MIXED = 5, 20  # neighbors; random orders of the models
BASELINE = "difference in accuracy"


def variants(
    parts: Parts, others: Mapping[str, Parts], compute: Callable = side_by_side, **settings
) -> pd.DataFrame:
    """How far vectors of other fits agree: with another seed, another length, another encoder, or half of the data.

    Parameters
    ----------
    parts : Parts
    others : mapping of name to Parts
        The same cut with the prompt vectors of another encoder.
    **settings
        Of the factorization; ``seed`` also divides the training questions, the next one initializes its second fit.

    Returns
    -------
    DataFrame
        ``compared``, ``distances`` (Spearman's rank correlation over pairs of models), ``correlation`` (distance
        correlation; Szekely, Rizzo and Bakirov 2007, Annals of Statistics 35), ``cka`` (linear centered kernel
        alignment; Kornblith et al. 2019, ICML) and ``procrustes`` (share of the variance that a rotation, a shift and
        a scale bring to overlap); the last three also with the models of one fit in random order, ``_chance``, since
        few models in many dimensions are alike by chance.
    """
    half = np.random.default_rng(settings["seed"]).permutation(parts["train"][0].shape[1]) % 2
    halves = [parts | {"train": (parts["train"][0].at(half == one), parts["train"][1][half == one])} for one in (0, 1)]
    again = settings | {"seed": settings["seed"] + 1}
    convex = partial(fitted, entry=catalog.CONVEX)
    calls = {"all": partial(convex, parts), "first": partial(convex, halves[0]), "second": partial(convex, halves[1]),
             "one": partial(fitted, parts, catalog.FACTORIZATION, **settings),
             "other": partial(fitted, parts, catalog.FACTORIZATION, **again)}
    calls |= {f"{dim} numbers": partial(fitted, parts, replace(catalog.CONVEX, settings={"dim": dim}))
              for dim in LENGTHS if dim < parts["train"][0].shape[0]}
    calls |= {name: partial(convex, own) for name, own in others.items()}
    found = dict(zip(calls, compute(calls.values()), strict=True))
    places = {name: placed(one, (others.get(name) or parts)["train"][1]) for name, one in found.items()}
    rows = [("factorization, raw vectors: two seeds", found["one"].model_vectors, found["other"].model_vectors),
            ("factorization, its logits: two seeds", places["one"], places["other"]),
            ("convex and factorization", places["all"], places["one"]),
            ("convex: two halves of the training questions", places["first"], places["second"])]
    rows += [(f"convex: {name} and all", places[name], places["all"]) for name in calls if name.endswith(" numbers")]
    rows += [(f"convex: encoder {name}", places[name], places["all"]) for name in others]
    rng, table = np.random.default_rng(0), []
    for name, one, other in rows:
        chance = np.mean([alike(one, rng.permutation(other))[1:] for _ in range(N_MIXED)], axis=0)
        table.append((name, *alike(one, other), *chance))
    return pd.DataFrame(table, columns=["compared", "distances", "correlation", "cka", "procrustes",
                                        "correlation_chance", "cka_chance", "procrustes_chance"])


def placed(forecaster: Forecaster, vectors: np.ndarray) -> np.ndarray:
    """Models as points whose distances are those of their logits over these prompts: (n_models, at most n_models)."""
    logits = forecaster.intercepts[:, None] + forecaster.betas @ vectors.T.astype(np.float64)
    return principal(logits / np.sqrt(len(vectors)), len(logits))


def alike(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float, float]:
    """Rank correlation of distances, distance correlation, linear CKA, Procrustes of two sets of points, a row each."""
    a, b = (points - points.mean(axis=0) for points in (one, other))
    width = max(a.shape[1], b.shape[1])
    wide = [np.pad(points, ((0, 0), (0, width - points.shape[1]))) for points in (a, b)]
    cka = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    return (float(spearmanr(pdist(a), pdist(b)).statistic), float(distance_correlation(a, b)), float(cka),
            float(1 - procrustes(*wide)[2]))


def disagreement(
    distances: Mapping[str, np.ndarray], train: OutcomeMatrix, test: OutcomeMatrix, lineages: pd.Series,
    n_permutations: int,
) -> pd.DataFrame:
    """Do models that lie close answer alike on questions that were held out? Mantel's test, over lineages.

    Beside the distances a baseline that knows accuracy alone: the difference of the training means.

    Returns
    -------
    DataFrame
        ``distance``, and the columns of `mantel.mantel`.
    """
    apart = disagreements(test)
    means = train.model_means
    found = {**distances, BASELINE: np.abs(means[:, None] - means)}
    return pd.DataFrame([{"distance": name, **mantel(values, apart, n_permutations, lineages.to_numpy(str))}
                         for name, values in found.items()])


def most_similar(embedding: ConvexEmbedding, number: int = N_SIMILAR) -> pd.DataFrame:
    """The models that lie closest to each model, over the prompts that the embedding was trained on.

    Returns
    -------
    DataFrame
        ``model``, ``rank`` (1 is the closest), ``similar``, ``distance``: root mean square difference of the logits.
    """
    apart = squareform(pdist(embedding.model_vectors))
    np.fill_diagonal(apart, np.inf)
    near = np.argsort(apart, axis=1, kind="stable")[:, : min(number, len(apart) - 1)]
    names, n = np.array(embedding.models, dtype=object), near.shape[1]
    return pd.DataFrame({"model": np.repeat(names, n), "rank": np.tile(np.arange(1, n + 1), len(names)),
                         "similar": names[near].ravel(), "distance": np.take_along_axis(apart, near, axis=1).ravel()})
