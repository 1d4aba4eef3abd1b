"""What vectors know follows what they were trained on (C11): benchmarks left out, beside as many random questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations
from math import factorial

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.experiments.comparisons import fitted
from embedllm.lineages import near_copies
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, by_benchmark
from embedllm.probing.folds import lineage_folds
from embedllm.probing.geometry import identified_coordinates
from embedllm.probing.mantel import mantel
from embedllm.probing.scores import crossed, weighted
from embedllm.progress import Counted
from embedllm.splits import Parts, cut, split

MOST = 9999  # random arrangements of the drops, where not all are taken
FEWEST_RELATED = 7  # benchmarks, for Mantel's test


def changes(
    table: OutcomeMatrix, vectors: np.ndarray, n_components: int, n_draws: int, seed: int,
    compute: Callable = side_by_side,
) -> pd.DataFrame:
    """What leaving each benchmark out of the training does to the linear probe of the accuracy on every benchmark.

    The probe is that of C7: a linear regression on the level and leading coordinates of convex vectors, forecasts for
    lineages that it did not see, of the accuracy on a benchmark's test questions. Its squared error is in units of
    the variance of that accuracy over lineages.

    Parameters
    ----------
    table : OutcomeMatrix
        Its models have ``lineage``. It is cut anew by `seed`.
    n_draws : int
        Random sets of as many training and validation questions, left out instead.

    Returns
    -------
    DataFrame
        ``dropped``, ``benchmark``; ``error`` without what was dropped, ``random``: the mean without as many random
        questions; ``excess``, their difference; ``questions``: how many were dropped.
    """
    part, benchmarks = split(table, seed), table.questions["benchmark"].astype(str)
    names = sorted(benchmarks.unique())
    plans = list(_plans(part, benchmarks, names, n_draws, seed))
    prompts = vectors[(part == "train").to_numpy()]
    calls = (partial(_coordinates, cut(table, vectors, kept), prompts, n_components) for _, kept in plans)
    found = compute(Counted(calls, len(plans)))
    test = table.at((part == "test").to_numpy())
    target, copies = by_benchmark(test)[names], near_copies(table)
    weights, lineage = 1 / copies.map(copies.value_counts()).to_numpy(), table.models["lineage"]
    scale = weighted(target, lineage, weights).var(ddof=0)
    scale = scale.where(scale > 0)
    errors = pd.DataFrame([_errors(one, target, lineage, weights) / scale for one in found],
                          index=[name for name, _ in plans])
    rows = []
    for name in names:
        own, random = errors.loc[[name]].iloc[0], errors.loc[[name]].iloc[1:].mean()
        dropped = int(((benchmarks == name) & (part != "test")).sum())
        rows.append(pd.DataFrame({"dropped": name, "benchmark": names, "error": own.to_numpy(),
                                  "random": random.to_numpy(), "questions": dropped}))
    found = pd.concat(rows, ignore_index=True)
    return found.assign(excess=found["error"] - found["random"])


def own_against_others(changed: pd.DataFrame, most: int = MOST) -> dict[str, float]:
    """Is more lost on the benchmark that was left out than on the others? A permutation test of the drops.

    Parameters
    ----------
    changed : DataFrame
        From `changes`.
    most : int
        Random arrangements, where there are not fewer in all.

    Returns
    -------
    dict
        ``difference``: mean excess on the benchmark left out minus that on the others; ``p_more`` and ``p_less``
        (one-sided), ``p_attainable``, ``n_drops``; ``own``, ``others``: the two means; ``n_more``: drops after which
        more is lost on the benchmark left out than on the others.
    """
    excess = changed.pivot_table(index="dropped", columns="benchmark", values="excess").to_numpy()
    n = len(excess)
    if factorial(n) <= most + 1:
        orders = np.array(list(permutations(range(n))))
    else:
        rng = np.random.default_rng(0)
        orders = np.stack([np.arange(n), *(rng.permutation(n) for _ in range(most))])
    own = excess[np.arange(n), orders].mean(axis=1)
    values = own - (excess.sum() - n * own) / (n * n - n)
    return {"difference": float(values[0]), "p_more": float((values >= values[0] - 1e-12).mean()),
            "p_less": float((values <= values[0] + 1e-12).mean()), "p_attainable": 1 / len(values), "n_drops": n,
            "own": float(own[0]), "others": float((excess.sum() - n * own[0]) / (n * n - n)),
            "n_more": int((np.diag(excess) > (excess.sum(axis=1) - np.diag(excess)) / (n - 1)).sum())}


def related(changed: pd.DataFrame, table: OutcomeMatrix, vectors: np.ndarray, n_permutations: int) -> dict[str, float]:
    """Does leaving a benchmark out hurt those more whose prompts are like its own? Mantel's test; NaN for few.

    Likeness of two benchmarks is the cosine of their mean prompt vectors, the mean over benchmarks removed. Returns
    ``related`` (Spearman's correlation) and ``related_p`` (one-sided).
    """
    excess = changed.pivot_table(index="dropped", columns="benchmark", values="excess")
    if len(excess) < FEWEST_RELATED:
        return {"related": np.nan, "related_p": np.nan}
    benchmarks = table.questions["benchmark"].astype(str).to_numpy()
    means = np.stack([vectors[benchmarks == name].mean(axis=0, dtype=np.float64) for name in excess.index])
    means -= means.mean(axis=0)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    found = mantel(means @ means.T, ((excess + excess.T) / 2).to_numpy(), n_permutations)
    return {"related": found["correlation"], "related_p": found["p"]}


def _plans(
    part: pd.Series, benchmarks: pd.Series, names: list[str], n_draws: int, seed: int
) -> Iterator[tuple[str, pd.Series]]:
    """For each benchmark the cut without it, and those without as many random questions of each part."""
    rng = np.random.default_rng(seed)
    for name in names:
        yield name, part.where((part == "test") | (benchmarks != name), "left out")
        for _ in range(n_draws):
            kept = part.copy()
            for own in ("train", "val"):
                number = int(((part == own) & (benchmarks == name)).sum())
                kept.iloc[rng.choice(np.flatnonzero(part == own), number, replace=False)] = "left out"
            yield name, kept


def _coordinates(parts: Parts, prompts: np.ndarray, n_components: int) -> np.ndarray:
    """Level and leading coordinates of convex vectors, (n_models, 1 + n_components).

    Over the same prompts whatever was left out: components chosen without a benchmark's prompts would tell less of it
    though nothing was trained anew.
    """
    one = fitted(parts, catalog.CONVEX)
    n = min(n_components, len(one.models) - 1)
    return identified_coordinates(one.betas, one.intercepts, prompts, n)[0]


def _errors(coordinates: np.ndarray, target: pd.DataFrame, lineage: pd.Series, weights: np.ndarray) -> pd.Series:
    """Mean squared error of the probe over lineages, by benchmark."""
    fold = lineage_folds(lineage)
    forecast = target.apply(lambda own: crossed(own.to_numpy(np.float64), coordinates, fold))
    return weighted((forecast - target) ** 2, lineage, weights).mean()
