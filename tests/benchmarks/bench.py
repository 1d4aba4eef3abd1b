"""`make bench`: what the study's speed claims rest on, measured on this machine in some twenty minutes.

Every measurement runs in its own process, so that none sees the memory or the threads of another. Tables and figures
go to ``figures/bench/``, which notebook 02 and the README read. Prompt vectors come from the cache or are encoded.
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
from multiprocessing import get_context
from pathlib import Path

import cost
import numpy as np
import pandas as pd
import psutil
import statsmodels.api as sm
import torch
from draw import plot_growth, plot_roofline, plot_solvers
from sklearn.neighbors import KNeighborsClassifier
from solvers import ALTERNATING, WHOLE, by_cells, by_full_batches, by_gradient_steps

from embedllm import encoders, figures, ladder, routing
from embedllm.baselines import KNearestNeighbours
from embedllm.execute import write_gallery
from embedllm.factorization import Factorization
from embedllm.outcomes import PARTS, OutcomeMatrix, split
from embedllm.sources.simulated import simulate
from embedllm.study import ARTIFACTS, FIGURES

SETTINGS = asdict(Factorization())
DIM, D_PROMPT, PUBLISHED = SETTINGS["dim"], encoders.ENCODERS["minilm"].dim, ladder.PUBLISHED
N_MODELS, N_QUESTIONS, D_PAPER = 112, 36_000, 768
N_TRAIN = 0.8 * N_QUESTIONS
LARGE, LARGE_BATCH = (5_000, 50_000), 640_000  # models, questions: as an open leaderboard; cells an update
CLOSE = 0.001  # log-loss above the optimum that counts as trained
PLAIN, PLAIN_SECONDS, SOLVER_SECONDS = "cell by cell, published settings", 30, 25
SECONDS, N_ENCODED = 2.0, 2_048  # of repeating what is quick; prompts
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


def paper_parts(d_prompt: int | None = None) -> ladder.Parts:
    """The simulated pool at the paper's size with MiniLM vectors, turned into more numbers where asked.

    Turned by a matrix with orthonormal columns: the same problem at the cost of longer vectors.
    """
    table = simulate(n_models=N_MODELS, n_questions=N_QUESTIONS)
    vectors = encoders.encode("minilm", table.questions["prompt"], ARTIFACTS / "vectors")
    if d_prompt:
        turned = np.linalg.qr(np.random.default_rng(0).standard_normal((d_prompt, vectors.shape[1])))[0]
        vectors = vectors @ turned.T.astype(np.float32)
    part = split(table, seed=0).to_numpy()
    return {name: (table.at(np.flatnonzero(part == name)), vectors[part == name]) for name in PARTS}


def random_parts(n_models: int, n_questions: int, d_prompt: int, observed: float = 1.0) -> ladder.Parts:
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


def ceiling() -> dict:
    """Median and best GFLOP/s of a matrix product, GB/s of a copy, and torch's threads."""
    a, b, big = torch.randn(2048, 2048), torch.randn(2048, 2048), torch.randn(32_000_000)
    products, copies, out, copied = [], [], torch.empty(2048, 2048), torch.empty_like(big)
    for kept, function in ((products, lambda: torch.mm(a, b, out=out)), (copies, lambda: copied.copy_(big))):
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            kept.append(timed(function)[0])
    return {"gflops": 2 * 2048**3 / np.median(products) / 1e9, "best_gflops": 2 * 2048**3 / min(products) / 1e9,
            "bandwidth": 2 * big.nbytes / np.median(copies) / 1e9, "threads": torch.get_num_threads()}


def solvers() -> pd.DataFrame:
    """Validation log-loss against seconds of full-batch solvers: columns ``solver``, ``seconds``, ``val``."""
    parts, like = paper_parts(), Factorization(**SETTINGS)
    return pd.concat([
        by_full_batches(parts, like, WHOLE, SOLVER_SECONDS).assign(solver="L-BFGS, all questions"),
        by_full_batches(parts, like, ALTERNATING, SOLVER_SECONDS).assign(solver="alternating convex solves"),
    ], ignore_index=True)


def watched(run: Callable[[ladder.Parts], pd.DataFrame], parts: ladder.Parts) -> dict:
    """Path, seconds and peak memory, beyond vectors and scores, of a training.

    A tiny one goes before: what libraries set up at their first call is not the training's.
    """
    run(random_parts(8, 320, parts["train"][1].shape[1]))
    with PeakMemory() as memory:
        path = run(parts)
    return {"path": path, "seconds": path["seconds"].max(), "megabytes": memory.megabytes}


def cells(d_prompt: int | None) -> dict:
    """The first seconds of the per-cell trainer, see `watched`."""
    like = Factorization(**SETTINGS | PUBLISHED)
    return watched(lambda parts: by_cells(parts, like, PLAIN_SECONDS), paper_parts(d_prompt))


def training(d_prompt: int | None, published: bool) -> dict:
    """A training of the factorisation, see `watched`."""
    forecaster = Factorization(**SETTINGS | (PUBLISHED if published else {}))
    return watched(lambda parts: by_gradient_steps(parts, forecaster), paper_parts(d_prompt))


def neighbours() -> dict:
    """Seconds of kNN for all models on the test questions, and of scikit-learn for one model."""
    parts = paper_parts()
    fit, knn = timed(KNearestNeighbours().fit, *parts["train"], *parts["val"])
    seconds, _ = timed(knn.predict_proba, parts["test"][1])
    (train, vectors), k = parts["train"], knn.chosen[1]
    one = KNeighborsClassifier(k, algorithm="brute", metric="cosine").fit(vectors, train.scores[0] > 0.5)
    single, _ = timed(one.predict_proba, parts["test"][1])
    return {"fit": fit, "seconds": seconds, "scikit_learn": single * N_MODELS}


def rungs() -> float:
    """Seconds of all rungs of notebook 03 together, one split and seed; a pool shares the fits of its members."""
    parts = paper_parts()
    names = [name for name in ladder.forecasters(SETTINGS) if name not in ladder.STEPS_ONLY]
    return timed(ladder.forecast, parts, names, **SETTINGS)[0]


def selections() -> dict:
    """Routing decisions a second, vectors given."""
    parts = paper_parts()
    fitted = Factorization(**SETTINGS | {"epochs": 2}).fit(*parts["train"], *parts["val"])
    return routing.selections_per_second(lambda e: fitted.predict_proba(e).argmax(axis=0), parts["test"][1], SECONDS)


def encoding() -> pd.DataFrame:
    """Each way to encode some prompts: prompts and GFLOP a second, drift from float32; then all of them again."""
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    prompts = list(dict.fromkeys(simulate(n_models=16, n_questions=3_000).questions["prompt"]))[:N_ENCODED]
    load, results = encoders._load, []

    def int8(name: str):
        with warnings.catch_warnings(action="ignore"):  # deprecated for torchao
            return quantize_dynamic(load(name), {torch.nn.Linear: per_channel_dynamic_qconfig}, dtype=torch.qint8)

    loaders = {"float32": load, "bfloat16": lambda name: load(name).bfloat16(), "int8 weights, by channel": int8}
    model = load("minilm")
    tokens = model.tokenizer(prompts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    n, shape = np.array(list(map(len, tokens)), dtype=float), model[0].auto_model.config
    flop = shape.num_hidden_layers * (
        n * 2 * (4 * shape.hidden_size**2 + 2 * shape.hidden_size * shape.intermediate_size)
        + 4 * n**2 * shape.hidden_size
    ).sum()
    widths = 8 * shape.hidden_size + 2 * (shape.hidden_size + shape.intermediate_size)  # in and out of six products
    layer = 4 * shape.hidden_size**2 + 2 * shape.hidden_size * shape.intermediate_size
    moved = 4 * shape.num_hidden_layers * (layer / encoders.TOKENS + widths) * n.sum()
    exact = None
    for name, loader in loaders.items():
        ready = loader("minilm")  # loading is no encoding
        encoders._load = lambda name, ready=ready: ready
        encoders.encode("minilm", prompts[:64], None)
        with tempfile.TemporaryDirectory() as folder:
            seconds, vectors = timed(encoders.encode, "minilm", prompts, Path(folder))
            again, _ = timed(encoders.encode, "minilm", prompts, Path(folder))
        exact = vectors if exact is None else exact
        cosine = (vectors * exact).sum(axis=1) / np.linalg.norm(vectors, axis=1)
        speed = len(prompts) / seconds, flop / seconds / 1e9
        results.append((name, *speed, cosine.min(), cosine.mean(), again, flop / moved))
    return pd.DataFrame(results, columns=["way", "prompts_per_second", "gflops", "lowest_cosine", "mean_cosine",
                                          "seconds_again", "intensity"])


def leaderboard() -> dict:
    """Seconds of training at the size of an open leaderboard, and peak memory of the process, table included."""
    began = psutil.Process().memory_info().rss / 1e6
    with PeakMemory() as memory:
        parts = random_parts(*LARGE, D_PROMPT)
        path = by_gradient_steps(parts, forecaster := Factorization(**SETTINGS | {"batch_cells": LARGE_BATCH}))
    return {"seconds": path["seconds"].max(), "epochs": len(path), "megabytes": memory.megabytes + began,
            "batch": forecaster.batch(*parts["train"][0].shape)}


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

    def _initialise(self, n_models, d_prompt, generator, device):
        weights = super()._initialise(n_models, d_prompt, generator, device)
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
    """Power of each size in time and memory by least squares on logarithms, with the 95 % interval of that fit.

    A size counts once, with the geometric mean of its measurements: what the points of one size share, curvature above
    all, is no independent error. Columns ``axis``, ``measure``, ``exponent``, ``low``, ``high``, ``factor`` (at size 1)
    and ``again`` (typical ratio of two measurements of one size).
    """
    rows, measures = [], ["seconds", "megabytes"]
    logs = table.assign(**{name: np.log(table[name]) for name in measures}).groupby(["axis", "size"], sort=False)
    again = np.exp(np.sqrt(2 * logs[measures].var().groupby("axis").mean()))
    means = np.exp(logs[measures].mean()).reset_index()
    for axis, part in means.groupby("axis", sort=False):
        for measure in measures:
            design = sm.add_constant(np.log(part["size"].to_numpy(float)))
            fit = sm.OLS(np.log(part[measure].to_numpy()), design).fit()
            low, high = fit.conf_int()[1]
            rows.append((axis, measure, fit.params[1], low, high, np.exp(fit.params[0]), again.loc[axis, measure]))
    return pd.DataFrame(rows, columns=["axis", "measure", "exponent", "low", "high", "factor", "again"])


def plain_updates(n_questions: float) -> float:
    """Updates of the per-cell trainer in all published epochs."""
    return n_questions * N_MODELS / PUBLISHED["batch_cells"] * PUBLISHED["epochs"]


def measure() -> dict:
    """Every measurement, one after the other."""
    first = alone(ceiling)
    there = [(axis, size) for axis, sizes in SIZES.items() for size in sizes]
    grown = [alone(growth, *at) for at in there + there[::-1]]  # a machine that slows down cancels out
    return {
        "default": alone(training, None, False), "wide": alone(training, D_PAPER, False),
        "published": alone(training, None, True), "wide published": alone(training, D_PAPER, True),
        "neighbours": alone(neighbours), "rungs": alone(rungs), "selections": alone(selections),
        "encoding": alone(encoding), "leaderboard": alone(leaderboard),
        "solvers": alone(solvers), "cells": alone(cells, None), "wide cells": alone(cells, D_PAPER),
        "warm starts": alone(warm_starts),
        "growth": pd.DataFrame(grown, columns=["axis", "size", "seconds", "megabytes"]),
        "ceiling": (first, alone(ceiling)),  # other users of the machine show as a difference
    }


def report(measured: dict, folder: Path) -> None:
    """Write the tables and figures of what `measure` found."""
    folder.mkdir(parents=True, exist_ok=True)
    figures.use_style()

    def table(name: str, content: pd.DataFrame) -> None:
        content.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")

    default, wide, knn, route = (measured[name] for name in ("default", "wide", "neighbours", "selections"))
    published, wide_published = measured["published"], measured["wide published"]
    encoded, large, paths, grown = (measured[name] for name in ("encoding", "leaderboard", "solvers", "growth"))
    top, ends = measured["ceiling"]
    exact, plain = encoded.iloc[0], measured["cells"]["path"].iloc[-1]
    plain_update = plain["seconds"] / plain["updates"]
    plain_minutes = plain_update * plain_updates(N_TRAIN) / 60
    ways = {"by question, Adam": default["path"], "by question, published settings": published["path"]}
    ways |= dict(list(paths.groupby("solver", sort=False))) | {PLAIN: measured["cells"]["path"]}
    paths = pd.concat([path.assign(solver=name) for name, path in ways.items()], ignore_index=True)
    lowest = paths["val"].min()  # of all solvers, not of the one that is timed

    def reached(path: pd.DataFrame) -> float:
        return path["seconds"][path["val"] <= lowest + CLOSE].min()

    arrived = pd.Series({name: reached(path) for name, path in ways.items()}, name="seconds")
    table("timing_reached", arrived.rename_axis("solver").reset_index().assign(margin=CLOSE))
    flops = np.mean([top["gflops"], ends["gflops"]])
    rows = [
        (f"factorisation, dim {DIM}, within {CLOSE} of the lowest validation log-loss", reached(default["path"]), "s",
         "under 10", f"lowest of five solvers: {lowest:.4f}"),
        ("the same with vectors of 768 numbers", reached(wide["path"]), "s", "under 10", ""),
        ("factorisation, until validation stops gaining", default["seconds"], "s", "", ""),
        (f"factorisation, published settings, {PUBLISHED['epochs']} epochs", published["seconds"], "s", "under 40",
         f"cell by cell: {plain_minutes:.0f} min, {60 * plain_minutes / published['seconds']:.0f} times as long, "
         "extrapolated"),
        ("published settings with vectors of 768 numbers", wide_published["seconds"], "s", "under 40", ""),
        (f"kNN forecast of all models, {N_QUESTIONS // 10:,} questions", knn["seconds"], "s", "under 3",
         f"scikit-learn, model after model: {knn['scikit_learn']:.0f} s, extrapolated from one"),
        ("kNN tuned and fitted", knn["fit"], "s", "", ""),
        ("all rungs of notebook 03, one split and seed", measured["rungs"], "s", "under 180", ""),
        ("routing decisions, a batch", route["batch_per_second"], "a second", "over 200,000", "750 in the literature"),
        ("routing decision, a single question, median", route["single_median_us"], "microseconds", "under 100", ""),
        ("prompts encoded (MiniLM)", exact["prompts_per_second"], "a second", "", ""),
        ("matrix-product ceiling over encoding", flops / exact["gflops"], "times", "under 1.5",
         f"{exact['gflops']:.0f} of {flops:.0f} GFLOP/s"),
        (f"{N_ENCODED:,} prompts that were encoded before", exact["seconds_again"], "s", "", "no work repeated"),
        ("peak memory of training beyond vectors and scores", default["megabytes"], "MB", "under 1,000",
         f"cell by cell: {measured['cells']['megabytes']:.0f} MB; the paper: under 1 GB"),
        ("the same memory with vectors of 768 numbers", wide["megabytes"], "MB", "under 1,000", ""),
        (f"{LARGE[0]:,} models x {LARGE[1]:,} questions, trained", large["seconds"], "s", "under 600",
         f"{large['epochs']} epochs, {large['batch']} questions an update, random vectors"),
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
        "CUDA": torch.cuda.is_available(), "matrix product, GFLOP/s, before": round(top["gflops"]),
        "and after all measurements": round(ends["gflops"]), "fastest single product": round(top["best_gflops"]),
        "copy, GB/s": round(top["bandwidth"], 1),
    }
    table("timing_machine", pd.DataFrame(machine.items(), columns=["what", "value"]))
    table("timing_encoders", encoded)
    table("timing_warm_starts", measured["warm starts"])
    ours, theirs = measured["wide published"], measured["wide cells"]
    theirs_update = theirs["path"]["seconds"].iloc[-1] / theirs["path"]["updates"].iloc[-1]
    table("timing_cost", cost.cost_table({
        cost.BY_QUESTION: (ours["seconds"] * cost.N_QUESTIONS / N_TRAIN, ours["megabytes"]),
        cost.BY_CELLS: (theirs_update * plain_updates(cost.N_QUESTIONS), theirs["megabytes"]),
    }))

    powers = exponents(grown)
    table("timing_exponents", powers)
    figures.save_figure(plot_growth(grown, powers), folder / "timing_growth", grown,
                        "Training time and memory against each size, the others as in the paper (112 models, 28,800 "
                        "training questions, dim 232, all cells observed; 384 numbers a prompt), each measured "
                        "twice; lines: fitted powers, in brackets the 95 % interval of the fit. More models, fewer "
                        "questions an update.")
    figures.save_figure(plot_solvers(paths, CLOSE), folder / "timing_solvers", paths,
                        f"Lowest validation log-loss so far against seconds, {N_MODELS} x {N_QUESTIONS:,}; cell by "
                        f"cell was stopped after {PLAIN_SECONDS} seconds.")

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
          for name, settings, run in (("published", few, published), ("default", many, default))),
        by_question("5,000 models", large["batch"], LARGE[0], large["seconds"] / large["epochs"], 0.8 * LARGE[1]),
        (f"encoding: {encoders.TOKENS:,} tokens", exact["intensity"], exact["gflops"]),
    ], columns=["what", "intensity", "gflops"])
    figures.save_figure(plot_roofline(points, flops, top["bandwidth"]), folder / "timing_roofline", points,
                        "Operations a second of training and encoding against operations for each byte that must move; "
                        "line: what this machine's matrix product and main memory allow (weights may stay in cache).")
    write_gallery(folder)


if __name__ == "__main__":
    report(measure(), FIGURES / "bench")
