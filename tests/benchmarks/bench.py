"""`make bench`: what the study's speed claims rest on, measured on this machine in some twenty minutes.

Every measurement runs in its own process, so that none sees the memory or the threads of another. Tables and figures
go to ``figures/bench/``, which notebook 02 and the README read. Prompt vectors come from the cache or are encoded. A
GPU is not used: yardsticks and ceilings are those of the processor.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import cost
import numpy as np
import pandas as pd
import psutil
import torch
from draw import plot_growth, plot_roofline, plot_solvers
from sklearn.neighbors import KNeighborsClassifier
from solvers import ALTERNATING, WHOLE, by_cells, by_full_batches, by_gradient_steps

from embedllm import catalog, encoders, figures, ladder, routing
from embedllm.baselines import KNearestNeighbours
from embedllm.execute import write_gallery
from embedllm.factorization import Factorization
from embedllm.files import write
from embedllm.outcomes import PARTS, OutcomeMatrix, Parts, split
from embedllm.sources.simulated import simulate
from embedllm.study import ARTIFACTS, FIGURES

SETTINGS = asdict(Factorization())
DIM, D_PROMPT, PUBLISHED = SETTINGS["dim"], catalog.ENCODERS["minilm"].dim, catalog.PUBLISHED
N_MODELS, N_QUESTIONS, D_PAPER = 112, 36_000, 768
N_TRAIN = 0.8 * N_QUESTIONS
LARGE, LARGE_BATCH = (5_000, 50_000), 640_000  # models, questions: as an open leaderboard; cells an update
CLOSE = 0.001  # log-loss above the optimum that counts as trained
UNSTOPPED = {"patience": 0}  # where the question is when a loss is reached, and not when training ends
PLAIN, PLAIN_SECONDS, SOLVER_SECONDS = "cell by cell, published settings", 30, 25
SECONDS, N_ENCODED, N_SEEDS = 2.0, 2_048, 3  # of repeating what is quick; prompts; trainings
SIZES = {  # each varied with the others at their base, the paper's
    "models": [14, 28, 56, 112, 224, 448], "training questions": [1_800, 3_600, 7_200, 14_400, 28_800, 57_600],
    "length of a model vector": [8, 16, 32, 64, 128, 232, 464], "share of cells observed": [0.05, 0.1, 0.2, 0.5, 1.0],
}
CURVES = {"length of a model vector": (1, 2, 4, 8, 16, 32, 64, 128, 232),
          "training questions": (1_800, 3_600, 7_200, 14_400, 28_800)}
STARTS = ("anew", "from the point before")
BASE = {"models": 112, "training questions": 28_800, "length of a model vector": 232, "share of cells observed": 1.0}


class PeakMemory:
    """Highest resident memory while the block runs, beyond that at its start: ``megabytes`` afterwards, 1 at least."""

    def __enter__(self):
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free must not hide what the block takes
        self.process, self.done = psutil.Process(), threading.Event()
        self.start = self.peak = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self):
        while not self.done.wait(0.01):
            self.peak = max(self.peak, self.process.memory_info().rss)

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.megabytes = max(1.0, (max(self.peak, self.process.memory_info().rss) - self.start) / 1e6)


def timed(function, *args, **settings) -> tuple[float, object]:
    """Seconds of one call, and what it returned."""
    began = time.perf_counter()
    result = function(*args, **settings)
    return time.perf_counter() - began, result


def paper_parts(d_prompt: int | None = None, n_train: int | None = None) -> Parts:
    """The simulated pool at the paper's size with MiniLM vectors, turned into more numbers where asked.

    Turned by a matrix with orthonormal columns: the same problem at the cost of longer vectors. Of the training
    questions, the first `n_train`.
    """
    table = simulate(n_models=N_MODELS, n_questions=N_QUESTIONS)
    vectors = encoders.encode("minilm", table.questions["prompt"], ARTIFACTS / "vectors")
    if d_prompt:
        turned = np.linalg.qr(np.random.default_rng(0).standard_normal((d_prompt, vectors.shape[1])))[0]
        vectors = vectors @ turned.T.astype(np.float32)
    part = split(table, seed=0).to_numpy()
    at = {name: np.flatnonzero(part == name) for name in PARTS}
    at["train"] = at["train"][:n_train]
    return {name: (table.at(rows), vectors[rows]) for name, rows in at.items()}


def random_parts(n_models: int, n_questions: int, d_prompt: int, observed: float = 1.0) -> Parts:
    """Outcomes of a planted model of rank 8 on random unit vectors; four fifths train, a tenth each the others."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n_questions, d_prompt), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    abilities, own = rng.standard_normal(n_models), rng.standard_normal((n_models, 8)) * 0.7
    shared, directions = 6 * rng.standard_normal(d_prompt), 2.5 * rng.standard_normal((8, d_prompt))
    betas = (shared + own @ directions).astype(np.float32)
    scores, asked = np.empty((n_models, n_questions), np.float32), rng.integers(n_models, size=n_questions)
    for m in range(0, n_models, 250):  # no second array of this size
        logits = betas[m : m + 250] @ vectors.T + abilities[m : m + 250, None].astype(np.float32)
        scores[m : m + 250] = rng.random(logits.shape, dtype=np.float32) < 1 / (1 + np.exp(-logits))
        if observed < 1:
            here = np.arange(m, m + len(logits))[:, None] != asked  # one answer a question stays
            scores[m : m + 250][here & (rng.random(logits.shape, dtype=np.float32) > observed)] = np.nan
    names = np.arange(n_questions).astype(str)
    questions = pd.DataFrame({"prompt": names, "benchmark": "one"}, index=pd.Index(names, name="question_id"))
    models = pd.DataFrame(index=pd.Index(np.arange(n_models).astype(str), name="model"))
    table = OutcomeMatrix(scores=scores, models=models, questions=questions)
    cuts = np.split(np.arange(n_questions), [int(0.8 * n_questions), int(0.9 * n_questions)])
    return {name: (table.at(at), vectors[at]) for name, at in zip(PARTS, cuts, strict=True)}


# The measurements: each a function of plain arguments, run in its own process


def rates(function: Callable[[], object], amount: float) -> np.ndarray:
    """Amount a second of a call, repeated for some `SECONDS`."""
    spent, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        spent.append(timed(function)[0])
    return amount / np.array(spent)


def product_rates() -> np.ndarray:
    """GFLOP/s of matrix products with 2,048 rows and columns."""
    a, b = torch.randn(2, 2048, 2048)
    return rates(partial(torch.mm, a, b, out=torch.empty(2048, 2048)), 2 * 2048**3 / 1e9)


def ceiling() -> dict:
    """Median and best GFLOP/s of a matrix product, GB/s of a copy, and torch's threads."""
    products, big = product_rates(), torch.randn(32_000_000)
    copies = rates(partial(torch.empty_like(big).copy_, big), 2 * big.nbytes / 1e9)
    return {"gflops": np.median(products), "best_gflops": products.max(), "bandwidth": np.median(copies),
            "threads": torch.get_num_threads()}


def solvers() -> pd.DataFrame:
    """Validation log-loss against seconds of full-batch solvers: columns ``solver``, ``seconds``, ``val``."""
    parts, like = paper_parts(), Factorization(**SETTINGS)
    return pd.concat([
        by_full_batches(parts, like, WHOLE, SOLVER_SECONDS).assign(solver="L-BFGS, all questions"),
        by_full_batches(parts, like, ALTERNATING, SOLVER_SECONDS).assign(solver="alternating convex solves"),
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
    like = Factorization(**SETTINGS | PUBLISHED)
    return watched(lambda parts: by_cells(parts, like, PLAIN_SECONDS), paper_parts(d_prompt, n_train))


def training(changes: dict, d_prompt: int | None = None, n_train: int | None = None) -> dict:
    """A training of the factorisation, see `watched`."""
    forecaster = Factorization(**SETTINGS | changes)
    return watched(lambda parts: by_gradient_steps(parts, forecaster), paper_parts(d_prompt, n_train))


def neighbours(d_prompt: int | None = None) -> dict:
    """Seconds of kNN for all models on the test questions, and of scikit-learn for one model."""
    parts = paper_parts(d_prompt)
    fit, knn = timed(KNearestNeighbours().fit, *parts["train"], *parts["val"])
    seconds, _ = timed(knn.predict_proba, parts["test"][1])
    (train, vectors), k = parts["train"], knn.chosen[1]
    one = KNeighborsClassifier(k, algorithm="brute", metric="cosine").fit(vectors, train.scores[0] > 0.5)
    single, _ = timed(one.predict_proba, parts["test"][1])
    return {"fit": fit, "seconds": seconds, "scikit_learn": single * N_MODELS}


def rungs() -> float:
    """Seconds of all rungs of notebook 03 together, one split and seed; a pool shares the fits of its members."""
    parts = paper_parts()
    return timed(ladder.forecast, parts, catalog.rungs(), **SETTINGS)[0]


def selections() -> dict:
    """Routing decisions a second, vectors given."""
    parts = paper_parts()
    fitted = Factorization(**SETTINGS | {"epochs": 2}).fit(*parts["train"], *parts["val"])
    return routing.selections_per_second(lambda e: fitted.predict_proba(e).argmax(axis=0), parts["test"][1], SECONDS)


def encoding() -> tuple[pd.DataFrame, float]:
    """Each way to encode some prompts, and operations a byte of float32.

    Medians of four rounds, every other one in reverse. Columns ``way``, ``prompts_per_second``, ``gflops``,
    ``ceiling`` (GFLOP/s of a matrix product, mean of just before and just after), ``ratio`` (of the two, by round),
    ``lowest_cosine`` and ``mean_cosine`` with float32, and ``seconds_again`` (all prompts from the cache).
    """
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    prompts = list(dict.fromkeys(simulate(n_models=16, n_questions=3_000).questions["prompt"]))[:N_ENCODED]
    model = encoders._load("minilm")
    tokens = model.tokenizer(prompts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    n, shape = np.array(list(map(len, tokens)), dtype=float), model[0].auto_model.config
    layer = 4 * shape.hidden_size**2 + 2 * shape.hidden_size * shape.intermediate_size
    flop = shape.num_hidden_layers * (n * 2 * layer + 4 * n**2 * shape.hidden_size).sum()
    widths = 8 * shape.hidden_size + 2 * (shape.hidden_size + shape.intermediate_size)  # in and out of six products
    moved = 4 * shape.num_hidden_layers * (layer / encoders.TOKENS["cpu"] + widths) * n.sum()
    with warnings.catch_warnings(action="ignore"):  # deprecated for torchao
        int8 = quantize_dynamic(model, {torch.nn.Linear: per_channel_dynamic_qconfig}, dtype=torch.qint8)
    ways = {"float32": model, "bfloat16": encoders._load("minilm").bfloat16(), "int8 weights, by channel": int8}
    vectors, rows = {}, []
    for name in 2 * [*ways, *list(ways)[::-1]]:
        with patch.object(encoders, "_load", lambda _, name=name: ways[name]):  # loading is no encoding
            encoders.encode("minilm", prompts[:64], None)
            before = np.median(product_rates())
            with tempfile.TemporaryDirectory() as folder:
                seconds, vectors[name] = timed(encoders.encode, "minilm", prompts, Path(folder))
                top = (before + np.median(product_rates())) / 2
                again, _ = timed(encoders.encode, "minilm", prompts, Path(folder))
        cosine = (vectors[name] * vectors["float32"]).sum(axis=1) / np.linalg.norm(vectors[name], axis=1)
        rate = flop / seconds / 1e9
        rows.append((name, len(prompts) / seconds, rate, top, top / rate, cosine.min(), cosine.mean(), again))
    table = pd.DataFrame(rows, columns=["way", "prompts_per_second", "gflops", "ceiling", "ratio",
                                        "lowest_cosine", "mean_cosine", "seconds_again"])
    return table.groupby("way", sort=False).median().reset_index(), flop / moved


def leaderboard() -> dict:
    """Training at the size of an open leaderboard: seconds, peak memory of the process with its table, and losses."""
    began = psutil.Process().memory_info().rss / 1e6
    with PeakMemory() as memory:
        parts = random_parts(*LARGE, D_PROMPT)
        path = by_gradient_steps(parts, forecaster := Factorization(**SETTINGS | {"batch_cells": LARGE_BATCH}))
    told, found = (parts[part][0].model_means for part in ("train", "val"))
    return {"seconds": path["seconds"].max(), "epochs": len(path), "megabytes": memory.megabytes + began,
            "batch": forecaster.batch(*parts["train"][0].shape), "val": path["val"].min(),
            "mean": -(found * np.log(told) + (1 - found) * np.log(1 - told)).mean()}


def growth(axis: str, size: float) -> tuple:
    """Seconds an epoch (median of four) and peak memory of training with one size changed."""
    at = BASE | {axis: size}
    parts = random_parts(at["models"], round(at["training questions"] / 0.8), D_PROMPT, at["share of cells observed"])
    forecaster = Factorization(**SETTINGS | {"dim": at["length of a model vector"], "epochs": 4})
    found = watched(lambda some: by_gradient_steps(some, forecaster), parts)
    return axis, size, float(np.median(np.diff(found["path"]["seconds"], prepend=0))), found["megabytes"]


class Warm(Factorization):
    """A factorisation that starts from another's weights where there are any, perhaps shorter ones."""

    former: dict | None = None

    def _initialise(self, n_models, d_prompt, generator):
        weights = super()._initialise(n_models, d_prompt, generator)
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
    for curve, sizes in CURVES.items():
        for start in STARTS:
            former = None
            for size in sizes:
                questions, dim = (shuffled, size) if curve == "length of a model vector" else (shuffled[:size], DIM)
                forecaster = Warm(**SETTINGS | {"dim": dim})
                forecaster.former = former if start != STARTS[0] else None
                some = parts | {"train": (table.at(questions), vectors[questions])}
                path = by_gradient_steps(some, forecaster)
                former = {name: getattr(forecaster, name) for name in Factorization.WEIGHTS}
                rows.append((curve, start, size, path["seconds"].max(), path["val"].min()))
    return pd.DataFrame(rows, columns=["curve", "start", "size", "seconds", "val"])


# From measurements to tables


def alone(function, *args):
    """The result of a call in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result = pool.submit(function, *args).result()
    print(f"{function.__name__}{args or ''} done", flush=True)
    return result


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Power of each size in time and memory: least squares on logarithms, a size counting once, and at the far end.

    Where a fixed cost comes first, no single power fits: ``last``, between the two largest sizes, is then the higher
    one. Columns ``axis``, ``measure``, ``exponent``, ``factor`` (at size 1), ``last`` and ``again`` (typical ratio of
    two measurements of one size).
    """
    rows, measures = [], ["seconds", "megabytes"]
    logs = table.assign(**{name: np.log(table[name]) for name in measures}).groupby(["axis", "size"], sort=False)
    again = np.exp(np.sqrt(2 * logs[measures].var().groupby("axis").mean()))
    for axis, part in logs[measures].mean().groupby("axis", sort=False):
        part = part.sort_index()
        sizes = np.log(part.index.get_level_values("size").to_numpy(float))
        for measure in measures:
            slope, level = np.polyfit(sizes, part[measure], 1)
            last = np.diff(part[measure])[-1] / np.diff(sizes)[-1]
            rows.append((axis, measure, slope, np.exp(level), last, again.loc[axis, measure]))
    return pd.DataFrame(rows, columns=["axis", "measure", "exponent", "factor", "last", "again"])


def plain_updates(n_questions: float) -> float:
    """Updates of the per-cell trainer in all published epochs."""
    return n_questions * N_MODELS / PUBLISHED["batch_cells"] * PUBLISHED["epochs"]


def measure() -> dict:
    """Every measurement, one after the other."""
    first = alone(ceiling)
    there = [(axis, size) for axis, sizes in SIZES.items() for size in sizes]
    grown = [alone(growth, *at) for at in there + there[::-1]]  # a steady drift of the machine cancels out
    return {
        "stopped": alone(training, {}), "wide stopped": alone(training, {}, D_PAPER),
        "default": [alone(training, {"seed": seed, **UNSTOPPED}) for seed in range(N_SEEDS)],
        "wide": [alone(training, {"seed": seed, **UNSTOPPED}, D_PAPER) for seed in range(N_SEEDS)],
        "published": alone(training, PUBLISHED), "wide published": alone(training, PUBLISHED, D_PAPER),
        "cost": alone(training, PUBLISHED, D_PAPER, cost.N_QUESTIONS),
        "cells": alone(cells), "cost by cells": alone(cells, D_PAPER, cost.N_QUESTIONS),
        "neighbours": alone(neighbours), "wide neighbours": alone(neighbours, D_PAPER), "rungs": alone(rungs),
        "selections": alone(selections), "encoding": alone(encoding), "leaderboard": alone(leaderboard),
        "solvers": alone(solvers), "warm starts": alone(warm_starts),
        "growth": pd.DataFrame(grown, columns=["axis", "size", "seconds", "megabytes"]),
        "ceiling": (first, alone(ceiling)),  # other users of the machine show as a difference
    }


def report(measured: dict, folder: Path) -> None:
    """Write the tables and figures of what `measure` found."""
    figures.use_style()

    def table(name: str, content: pd.DataFrame) -> None:
        write(folder / f"{name}.csv", figures.to_csv(content))

    default, wide, knn, route = (measured[name] for name in ("default", "wide", "neighbours", "selections"))
    published, wide_published = measured["published"], measured["wide published"]
    stopped, wide_stopped = measured["stopped"], measured["wide stopped"]
    large, paths, grown, warm = (measured[name] for name in ("leaderboard", "solvers", "growth", "warm starts"))
    (encoded, intensity), (top, ends) = measured["encoding"], measured["ceiling"]
    exact, plain = encoded.iloc[0], measured["cells"]["path"].iloc[-1]
    plain_update = plain["seconds"] / plain["updates"]
    plain_minutes = plain_update * plain_updates(N_TRAIN) / 60
    ways = {"by question, Adam": default[0]["path"], "by question, published settings": published["path"]}
    ways |= dict(list(paths.groupby("solver", sort=False))) | {PLAIN: measured["cells"]["path"]}
    paths = pd.concat([path.assign(solver=name) for name, path in ways.items()], ignore_index=True)
    whole = warm[(warm["curve"] == "training questions") & (warm["size"] == max(CURVES["training questions"]))]
    lowest = min(paths["val"].min(), whole["val"].min(), *(run["path"]["val"].min() for run in [*default, stopped]))
    # Noise of one size in twice as many directions is another optimum.
    wide_lowest = min(run["path"]["val"].min() for run in [*wide, wide_stopped, wide_published])

    def reached(path: pd.DataFrame, best: float) -> float:
        return path["seconds"][path["val"] <= best + CLOSE].min()

    def typical(trainings: list[dict], best: float) -> tuple[float, str]:
        """Median of the seeds to come close to the best loss (inf: never) and the range."""
        seconds = np.sort(np.nan_to_num([reached(run["path"], best) for run in trainings], nan=np.inf))
        return seconds[len(seconds) // 2], (f"median of {len(seconds)} seeds, {seconds[0]:.1f} to {seconds[-1]:.1f} s; "
                                            f"lowest of all ways: {best:.4f}")

    def ending(run: dict) -> str:
        return f"{len(run['path'])} epochs, lowest loss {run['path']['val'].min():.4f}"

    arrived = pd.Series({name: reached(path, lowest) for name, path in ways.items()}, name="seconds")
    table("timing_reached", arrived.rename_axis("solver").reset_index().assign(margin=CLOSE))
    (near, near_range), (wide_near, wide_range) = typical(default, lowest), typical(wide, wide_lowest)
    flops = np.mean([top["gflops"], ends["gflops"]])
    rows = [
        (f"factorisation, dim {DIM}, within {CLOSE} of the lowest validation log-loss", near, "s", "under 10",
         near_range),
        (f"the same with vectors of {D_PAPER} numbers", wide_near, "s", "under 10", wide_range),
        ("factorisation, until validation stops gaining", stopped["seconds"], "s", "", ending(stopped)),
        (f"the same end with vectors of {D_PAPER} numbers", wide_stopped["seconds"], "s", "", ending(wide_stopped)),
        (f"factorisation, published settings, {PUBLISHED['epochs']} epochs", published["seconds"], "s", "under 40",
         f"cell by cell: {plain_minutes:.0f} min, {60 * plain_minutes / published['seconds']:.0f} times as long, "
         "extrapolated, its loading of rows included"),
        (f"published settings with vectors of {D_PAPER} numbers", wide_published["seconds"], "s", "under 40",
         f"lowest loss {wide_published['path']['val'].min():.4f}"),
        (f"kNN forecast of all models, {N_QUESTIONS // 10:,} questions", knn["seconds"], "s", "under 3",
         f"scikit-learn, model after model: {knn['scikit_learn']:.0f} s, extrapolated from one"),
        (f"the same with vectors of {D_PAPER} numbers", measured["wide neighbours"]["seconds"], "s", "under 3", ""),
        ("kNN tuned and fitted", knn["fit"], "s", "", ""),
        ("all rungs of notebook 03, one split and seed", measured["rungs"], "s", "under 180", ""),
        ("routing decisions, a batch", route["batch_per_second"], "a second", "over 200,000", "750 in the literature"),
        ("routing decision, a single question, median", route["single_median_us"], "microseconds", "under 100", ""),
        ("prompts encoded (MiniLM)", exact["prompts_per_second"], "a second", "", ""),
        ("matrix-product ceiling over encoding", exact["ratio"], "times", "under 1.5",
         f"{exact['gflops']:.0f} of {exact['ceiling']:.0f} GFLOP/s of products just before and after"),
        (f"{N_ENCODED:,} prompts that were encoded before", exact["seconds_again"], "s", "", "no work repeated"),
        ("peak memory of training beyond vectors and scores", default[0]["megabytes"], "MB", "under 1,000",
         f"cell by cell: {measured['cells']['megabytes']:.0f} MB; the paper: under 1 GB"),
        (f"the same memory with vectors of {D_PAPER} numbers", wide[0]["megabytes"], "MB", "under 1,000", ""),
        (f"{LARGE[0]:,} models x {LARGE[1]:,} questions, trained", large["seconds"], "s", "under 600",
         f"{large['epochs']} epochs, {large['batch']} questions an update; validation log-loss "
         f"{large['val']:.3f}, of the means of models {large['mean']:.3f}; random vectors"),
        ("peak memory of that process, table included", large["megabytes"] / 1000, "GB", "under 8", ""),
    ]
    table("timing_speed", pd.DataFrame(rows, columns=["what", "value", "unit", "target", "beside"]))
    processor = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    machine = {
        "processor": processor, "cores": cores, "threads of torch": top["threads"],
        "memory, GB": round(psutil.virtual_memory().total / 1e9), "torch": torch.__version__,
        "matrix product, GFLOP/s, before": round(top["gflops"]),
        "and after all measurements": round(ends["gflops"]), "fastest single product before": round(top["best_gflops"]),
        "copy, GB/s": round(top["bandwidth"], 1),
    }
    table("timing_machine", pd.DataFrame(machine.items(), columns=["what", "value"]))
    table("timing_encoders", encoded)
    table("timing_warm_starts", measured["warm starts"])
    ours, theirs = measured["cost"], measured["cost by cells"]
    theirs_update = theirs["path"]["seconds"].iloc[-1] / theirs["path"]["updates"].iloc[-1]
    table("timing_cost", cost.cost_table({
        cost.BY_QUESTION: (ours["seconds"], ours["megabytes"]),
        cost.BY_CELLS: (theirs_update * plain_updates(cost.N_QUESTIONS), theirs["megabytes"]),
    }))

    powers = exponents(grown)
    table("timing_exponents", powers)
    figures.save_figure(folder / "timing_growth", grown,
                        "Training time and memory beyond vectors and scores against each size, the others as in the "
                        f"paper ({N_MODELS} models, {BASE['training questions']:,} training questions, dim {DIM}, all "
                        f"cells observed; {D_PROMPT} numbers a prompt), each measured twice; lines: fitted powers, in "
                        "brackets the power between the two largest sizes. More models or very few questions: fewer "
                        "questions an update.", lambda written: plot_growth(written, powers))
    figures.save_figure(folder / "timing_solvers", paths,
                        f"Lowest validation log-loss so far against seconds, {N_MODELS} x {N_QUESTIONS:,}. Full "
                        f"batches see one draw of the noise. Cell by cell was stopped after {PLAIN_SECONDS} seconds, "
                        f"full batches after {SOLVER_SECONDS}.", lambda written: plot_solvers(written, CLOSE))

    def by_question(what: str, batch: int, n_models: int, epoch: float, n_questions: float) -> tuple:
        """An update moves weights, gradients and Adam's moments (read and written), vectors, and a byte a cell."""
        flop = batch * cost.per_question(D_PROMPT, DIM, n_models)
        moved = 4 * 8 * DIM * (D_PROMPT + n_models + 2) + batch * (4 * D_PROMPT + n_models)
        return f"{what}: {batch} questions", flop / moved, flop / (epoch / n_questions * batch) / 1e9

    cells = PUBLISHED["batch_cells"]
    flop = cells * cost.counted("cell by cell", D_PROMPT)
    moved = 4 * (8 * DIM * (D_PROMPT + N_MODELS + 2) + cells * (D_PROMPT + DIM))
    few, many = (SETTINGS | changes for changes in (PUBLISHED, {}))
    points = pd.DataFrame([
        (f"cell by cell: {cells:,} cells", flop / moved, flop / plain_update / 1e9),
        *(by_question(name, settings["batch_cells"] // N_MODELS, N_MODELS, run["seconds"] / len(run["path"]), N_TRAIN)
          for name, settings, run in (("published", few, published), ("default", many, default[0]))),
        by_question(f"{LARGE[0]:,} models", large["batch"], LARGE[0], large["seconds"] / large["epochs"],
                    0.8 * LARGE[1]),
        (f"encoding: {encoders.TOKENS['cpu']:,} tokens", intensity, exact["gflops"]),
    ], columns=["what", "intensity", "gflops"])
    figures.save_figure(folder / "timing_roofline", points,
                        "Operations a second of training and encoding against operations for each byte that must move; "
                        "line: what this machine's matrix product and main memory allow (weights may stay in cache).",
                        lambda written: plot_roofline(written, flops, top["bandwidth"]))
    write_gallery(folder)


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    report(measure(), FIGURES / "bench")
