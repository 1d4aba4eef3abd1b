"""Tables and vectors of a given size to measure on, and how time and memory are taken."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import psutil
import torch

from embedllm.bench import scale
from embedllm.encoders import cache
from embedllm.outcomes import OutcomeMatrix
from embedllm.sources.simulated import simulate
from embedllm.splits import PARTS, Parts, split
from embedllm.study.paths import ARTIFACTS


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


def durations(function: Callable, inputs: Sequence, seconds: float, once: bool = False) -> np.ndarray:
    """Seconds of each call, going round the inputs until the time is up; at least three, after one that warms up.

    Or `once`, for what takes long and needs no warming up.
    """
    if once:
        return np.array([timed(function, inputs[0])[0]])
    function(inputs[0])
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        taken.append(timed(function, inputs[len(taken) % len(inputs)])[0])
    return np.array(taken)


def rates(function: Callable[[], object], amount: float) -> np.ndarray:
    """Amount a second of a call, repeated for some `SECONDS`."""
    spent, end = [], time.perf_counter() + scale.SECONDS
    while time.perf_counter() < end:
        spent.append(timed(function)[0])
    return amount / np.array(spent)


def product_rates() -> np.ndarray:
    """GFLOP/s of matrix products with 2,048 rows and columns."""
    a, b = torch.randn(2, 2048, 2048)
    return rates(partial(torch.mm, a, b, out=torch.empty(2048, 2048)), 2 * 2048**3 / 1e9)


def encoder_flop(model, tokens: np.ndarray) -> np.ndarray:
    """Operations to encode prompts of so many tokens each: two per weight and token, and attention."""
    shape = model[0].auto_model.config
    layer = 4 * shape.hidden_size**2 + 2 * shape.hidden_size * shape.intermediate_size
    return shape.num_hidden_layers * (tokens * 2 * layer + 4 * tokens**2 * shape.hidden_size)


def paper_parts(d_prompt: int | None = None, n_train: int | None = None, encoder: str = "minilm") -> Parts:
    """The simulated pool at the paper's size with an encoder's vectors, turned into more numbers where asked.

    Turned by a matrix with orthonormal columns: the same problem at the cost of longer vectors. Of the training
    questions, the first `n_train`.
    """
    table = simulate(n_models=scale.N_MODELS, n_questions=scale.N_QUESTIONS)
    vectors = cache.encode(encoder, table.questions["prompt"], ARTIFACTS / "vectors")
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
