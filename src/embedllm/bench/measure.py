"""The measurements of `make bench`.

Every measurement runs in its own process, so that none sees the memory or the threads of another. Tables and figures
go to ``figures/bench/``, which notebook 02 and the README read. Prompt vectors come from the cache or are encoded. A
GPU is not used: yardsticks and ceilings are those of the processor.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pandas as pd
import psutil
import torch
from sklearn.neighbors import KNeighborsClassifier

from embedllm import catalog
from embedllm.bench import cost, scale
from embedllm.bench.latency import latency
from embedllm.bench.prompts import encoders, ways
from embedllm.bench.solvers import ALTERNATING, WHOLE, by_cells, by_full_batches, by_gradient_steps
from embedllm.bench.workloads import (
    PeakMemory,
    durations,
    paper_parts,
    product_rates,
    random_parts,
    rates,
    timed,
)
from embedllm.forecasters import registry
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.neighbors import KNearestNeighbors
from embedllm.new_models.onboarding import Shared, onboard
from embedllm.new_models.pool import Pool
from embedllm.splits import Parts

# The measurements: each a function of plain arguments, run in its own process


def ceiling() -> dict:
    """Median and best GFLOP/s of a matrix product, GB/s of a copy, and torch's threads."""
    products, big = product_rates(), torch.randn(32_000_000)
    copies = rates(partial(torch.empty_like(big).copy_, big), 2 * big.nbytes / 1e9)
    return {"gflops": np.median(products), "best_gflops": products.max(), "bandwidth": np.median(copies),
            "threads": torch.get_num_threads()}


def solvers() -> pd.DataFrame:
    """Validation log-loss against seconds of full-batch solvers: columns ``solver``, ``seconds``, ``val``."""
    parts, like = paper_parts(), Factorization(**scale.SETTINGS)
    return pd.concat([
        by_full_batches(parts, like, WHOLE, scale.SOLVER_SECONDS).assign(solver="L-BFGS, all questions"),
        by_full_batches(parts, like, ALTERNATING, scale.SOLVER_SECONDS).assign(solver="alternating convex solves"),
    ], ignore_index=True)


def watched(run: Callable[[Parts], pd.DataFrame], parts: Parts) -> dict:
    """Path, seconds and peak memory, beyond vectors and scores, of a training.

    A tiny one goes before: what libraries set up at their first call is not the training's.
    """
    run(random_parts(8, 320, parts["train"][1].shape[1]))
    with PeakMemory() as memory:
        path = run(parts)
    return {"path": path, "seconds": path["seconds"].max(), "megabytes": memory.megabytes}


def cells(d_prompt: int | None = None, n_train: int | None = None) -> dict:
    """The first seconds of the per-cell trainer, see `watched`."""
    like = Factorization(**scale.SETTINGS | scale.PUBLISHED)
    return watched(lambda parts: by_cells(parts, like, scale.PLAIN_SECONDS), paper_parts(d_prompt, n_train))


def training(changes: dict, d_prompt: int | None = None, n_train: int | None = None) -> dict:
    """A training of the factorization, see `watched`."""
    forecaster = Factorization(**scale.SETTINGS | changes)
    return watched(lambda parts: by_gradient_steps(parts, forecaster), paper_parts(d_prompt, n_train))


def neighbors(d_prompt: int | None = None) -> dict:
    """Seconds of kNN for all models on the test questions, and of scikit-learn for one model."""
    parts = paper_parts(d_prompt)
    fit, knn = timed(KNearestNeighbors().fit, *parts["train"], *parts["val"])
    seconds, _ = timed(knn.predict_proba, parts["test"][1])
    (train, vectors), k = parts["train"], knn.chosen[1]
    one = KNeighborsClassifier(k, algorithm="brute", metric="cosine").fit(vectors, train.scores[0] > 0.5)
    single, _ = timed(one.predict_proba, parts["test"][1])
    return {"fit": fit, "seconds": seconds, "scikit_learn": single * scale.N_MODELS}


def embedding() -> float:
    """Seconds of the convex embedding, all its candidates tried."""
    parts = paper_parts()
    return timed(ConvexEmbedding().fit, *parts["train"], *parts["val"])[0]


def forecasters() -> float:
    """Seconds of all forecasters of notebook 03 together, one split and seed; ensembles share their members' fits."""
    parts = paper_parts()
    return timed(registry.forecast, parts, catalog.to_compare(), **scale.SETTINGS)[0]


def selections() -> dict:
    """Routing decisions a second in a batch, and microseconds of a single one; vectors given."""
    parts = paper_parts()
    fitted = Factorization(**scale.SETTINGS | {"epochs": 2}).fit(*parts["train"], *parts["val"])
    vectors = parts["test"][1]
    batch, single = (np.median(durations(lambda e: fitted.predict_proba(e).argmax(axis=0), inputs, scale.SECONDS))
                     for inputs in ([vectors], [vectors[at : at + 1] for at in range(len(vectors))]))
    return {"batch_per_second": len(vectors) / batch, "single_median_us": 1e6 * single}


def newcomers() -> dict:
    """Seconds for many new models at once, for the next question of one, and for a pool at the paper's size.

    ``onboarded``, ``next``, ``fitted`` (several embeddings, see `sharing.out_of_sample`) and ``added``.
    """
    (n_models, n_answers, n_questions), rng = scale.NEWCOMERS, np.random.default_rng(0)
    design = rng.normal(0, 0.3, (n_questions, scale.N_SHARED))
    shared = Shared(design, rng.normal(size=n_questions), rng.random(n_questions) / 2, np.zeros(1), np.eye(1),
                    np.full(1, True), np.eye(1), np.zeros((2, 1)), np.zeros(0), np.eye(1))
    scores = np.full((n_models, n_questions), np.nan)
    for row in scores:
        row[rng.choice(n_questions, n_answers, replace=False)] = rng.integers(0, 2, n_answers)
    onboarded, _ = timed(onboard, shared, scores)
    large = Pool()  # as one that was fitted to so many questions
    large.known, large.question_ids = vars(shared), [str(number) for number in range(n_questions)]
    large.benchmarks, large.prompts = [str(number % 60) for number in range(n_questions)], large.question_ids
    large.spreads = np.zeros((0, 1, 1))
    answers = [{str(at): own[at] for at in np.flatnonzero(~np.isnan(own))} for own in scores[:100]]
    following = np.median(durations(lambda own: large.ask(1, answers=own), answers, scale.SECONDS))
    parts = paper_parts()
    fitted, pool = timed(Pool().fit, *parts["train"], *parts["val"])
    answers = dict(zip(pool.question_ids[:n_answers], rng.integers(0, 2, n_answers).astype(float), strict=False))
    return {"onboarded": onboarded, "next": following, "fitted": fitted, "added": timed(pool.add, "new", answers)[0]}


def leaderboard() -> dict:
    """Training at the size of an open leaderboard: seconds, peak memory of the process with its table, and losses."""
    began = psutil.Process().memory_info().rss / 1e6
    with PeakMemory() as memory:
        parts = random_parts(*scale.LARGE, scale.D_PROMPT)
        forecaster = Factorization(**scale.SETTINGS | {"batch_cells": scale.LARGE_BATCH})
        path = by_gradient_steps(parts, forecaster)
    told, found = (parts[part][0].model_means for part in ("train", "val"))
    return {"seconds": path["seconds"].max(), "epochs": len(path), "megabytes": memory.megabytes + began,
            "batch": forecaster.batch(*parts["train"][0].shape), "val": path["val"].min(),
            "mean": -(found * np.log(told) + (1 - found) * np.log(1 - told)).mean()}


def growth(axis: str, size: float) -> tuple:
    """Seconds an epoch (median of four) and peak memory of training with one size changed."""
    at = scale.BASE | {axis: size}
    n_questions = round(at["training questions"] / 0.8)
    parts = random_parts(at["models"], n_questions, scale.D_PROMPT, at["share of cells observed"])
    forecaster = Factorization(**scale.SETTINGS | {"dim": at["length of a model vector"], "epochs": 4})
    found = watched(lambda some: by_gradient_steps(some, forecaster), parts)
    return axis, size, float(np.median(np.diff(found["path"]["seconds"], prepend=0))), found["megabytes"]


class Warm(Factorization):
    """A factorization that starts from another's weights where there are any, perhaps shorter ones."""

    former: dict | None = None

    def _initialize(self, n_models, d_prompt, generator):
        weights = super()._initialize(n_models, d_prompt, generator)
        for name, value in (self.former or {}).items():
            weights[name][tuple(map(slice, value.shape))] = torch.as_tensor(value)
        if self.former:
            weights["output"][len(self.former["output"]) :] = 0  # at first exactly the shorter one
        return weights


def warm_starts() -> pd.DataFrame:
    """Curves over the length of a model vector and over training questions, each point anew or from the one before.

    Columns ``curve``, ``start``, ``size``, ``seconds``, ``val``.
    """
    parts, rows = paper_parts(), []
    table, vectors = parts["train"]
    shuffled = np.random.default_rng(0).permutation(len(vectors))
    for curve, sizes in scale.CURVES.items():
        for start in scale.STARTS:
            former = None
            for size in sizes:
                longer = curve == "length of a model vector"
                questions, dim = (shuffled, size) if longer else (shuffled[:size], scale.DIM)
                forecaster = Warm(**scale.SETTINGS | {"dim": dim})
                forecaster.former = former if start != scale.STARTS[0] else None
                some = parts | {"train": (table.at(questions), vectors[questions])}
                path = by_gradient_steps(some, forecaster)
                former = {name: getattr(forecaster, name) for name in Factorization.WEIGHTS}
                rows.append((curve, start, size, path["seconds"].max(), path["val"].min()))
    return pd.DataFrame(rows, columns=["curve", "start", "size", "seconds", "val"])


def alone(function, *args):
    """The result of a call in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result = pool.submit(function, *args).result()
    print(f"{function.__name__}{args or ''} done", flush=True)
    return result


def measure() -> dict:
    """Every measurement, one after the other."""
    first = alone(ceiling)
    there = [(axis, size) for axis, sizes in scale.SIZES.items() for size in sizes]
    grown = [alone(growth, *at) for at in there + there[::-1]]  # a steady drift of the machine cancels out
    return {
        "stopped": alone(training, {}), "wide stopped": alone(training, {}, scale.D_PAPER),
        "default": [alone(training, {"seed": seed, **scale.UNSTOPPED}) for seed in range(scale.N_SEEDS)],
        "wide": [alone(training, {"seed": seed, **scale.UNSTOPPED}, scale.D_PAPER) for seed in range(scale.N_SEEDS)],
        "published": alone(training, scale.PUBLISHED),
        "wide published": alone(training, scale.PUBLISHED, scale.D_PAPER),
        "cost": alone(training, scale.PUBLISHED, scale.D_PAPER, cost.N_QUESTIONS),
        "cells": alone(cells), "cost by cells": alone(cells, scale.D_PAPER, cost.N_QUESTIONS),
        "neighbors": alone(neighbors), "wide neighbors": alone(neighbors, scale.D_PAPER),
        "embedding": alone(embedding), "forecasters": alone(forecasters),
        "selections": alone(selections), "latency": alone(latency),
        "encoding": alone(ways), "encoders": alone(encoders), "leaderboard": alone(leaderboard),
        "newcomers": alone(newcomers), "solvers": alone(solvers), "warm starts": alone(warm_starts),
        "growth": pd.DataFrame(grown, columns=["axis", "size", "seconds", "megabytes"]),
        "ceiling": (first, alone(ceiling)),  # other users of the machine show as a difference
    }
