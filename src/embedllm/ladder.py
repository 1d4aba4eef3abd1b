"""The ladder: every forecaster that is compared, from the model mean to the kernel factorisation, and two controls.

``parts`` is always {"train" | "val" | "test": (OutcomeMatrix, prompt vectors)}; ``settings`` are those of the
factorisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import inf

import numpy as np
import pandas as pd

from embedllm.baselines import Forecaster, KNearestNeighbours, ModelMean
from embedllm.benchmark_only import BenchmarkMean, BoostedTrees, one_hot
from embedllm.calibration import scaled, temperature
from embedllm.factorization import Factorization
from embedllm.linear import TextLogistic
from embedllm.metrics import question_scores
from embedllm.networks import ItemResponse, TwoLayer
from embedllm.outcomes import OutcomeMatrix, folds
from embedllm.training import Tuned

Parts = dict[str, tuple[OutcomeMatrix, np.ndarray]]
PAPER = ("model mean", "kNN", "factorisation")  # what the paper compares, trained many times for its curves
OURS = "kernel factorisation"
PUBLISHED = {  # Zhuang et al., ICLR 2025, arXiv 2410.02223
    "dim": 232, "noise": 0.05, "learning_rate": 1e-4, "weight_decay": 1e-5, "epochs": 50, "batch_cells": 2048,
    "patience": 0,
}
ON_BENCHMARKS = ("benchmark mean", "boosted trees")
SHUFFLED, RANDOM = "control: shuffled labels", "control: random vectors"
CONTROLS = (SHUFFLED, RANDOM)
ABLATION = {  # the kernel factorisation with one of its parts taken out
    "without difficulty": {"shared": (inf,)},
    "without deviations": {"own": (inf,)},
    "without shaping": {"shapings": 0},
    "without similarity": {"widths": (inf,)},
}


def forecasters(settings: dict) -> dict[str, Forecaster]:
    """The rungs, untrained, by the name every figure uses. Tuned networks have twelve candidates each."""
    plain = Factorization(**settings)
    same = {"seed": plain.seed, "noise": plain.noise}
    return {
        "model mean": ModelMean(),
        "benchmark mean": BenchmarkMean(),
        "boosted trees": BoostedTrees(),
        "kNN": KNearestNeighbours(),
        "1PL with text": TextLogistic(own=(inf,), widths=(inf,)),
        "2PL with text": Tuned([
            ItemResponse(dim=1, weight_decay=decay, learning_rate=rate, **same)
            for decay, rate in product((1e-6, 1e-5, 1e-4, 1e-3), (1e-3, 3e-3, 1e-2))
        ]),
        "MIRT with text": Tuned([
            ItemResponse(dim=dim, weight_decay=decay, learning_rate=rate, **same)
            for dim, decay, rate in product((2, 4, 8), (1e-5, 1e-4), (3e-3, 1e-2))
        ]),
        "logistic per model": TextLogistic(shared=(inf,), shapings=0, widths=(inf,)),
        "shaped logistic": TextLogistic(widths=(inf,)),
        "two-layer network": Tuned([
            TwoLayer(dim=dim, hidden=hidden, weight_decay=decay, **same)
            for dim, hidden, decay in product((8, 32), (32, 64), (1e-5, 1e-4, 3e-4))
        ]),
        "factorisation, published": replace(plain, **PUBLISHED),
        "factorisation": plain,
        "factorisation, tuned": Tuned([
            Factorization(dim=dim, weight_decay=decay, learning_rate=rate, **same)
            for dim, decay, rate in product((8, 32, 232), (1e-5, 1e-4), (1e-3, 3e-3))
        ]),
        OURS: TextLogistic(),
        SHUFFLED: plain,
        RANDOM: plain,
    } | {name: TextLogistic(**without) for name, without in ABLATION.items()}


def forecast(parts: Parts, names: Sequence[str], **settings) -> dict[str, np.ndarray]:
    """Test probabilities of the named forecasters: name to float32, shape (n_models, n_test)."""
    known, result = forecasters(settings), {}
    for name in names:
        train, val, test = (vectors for _, vectors in parts.values())
        if name in (*ON_BENCHMARKS, *CONTROLS):
            benchmarks = pd.concat([table.questions["benchmark"] for table, _ in parts.values()])
            seen = _handed(name, benchmarks, np.concatenate([train, val, test]), settings["seed"])
            train, val, test = np.split(seen, np.cumsum([len(train), len(val)]))
        result[name] = known[name].fit(parts["train"][0], train, parts["val"][0], val).predict_proba(test)
    return result


def cross_fit(table: OutcomeMatrix, vectors: np.ndarray, names: Sequence[str], n_folds: int, **settings) -> dict:
    """Every question forecast once, by a fit that never saw it; all tuning is inside each fold.

    A fold is the test part in its turn, half of the next one the validation part, the rest is trained on.

    Returns
    -------
    dict
        ``raw`` and ``scaled``: name to probabilities, float32, (n_models, n_questions), as forecast and after
        temperature scaling on each fold's validation part. ``folds``: DataFrame with ``name``, ``fold``, ``val``
        (validation log-loss) and ``temperature``.
    """
    half = folds(table, 2 * n_folds, settings["seed"]).to_numpy()
    raw, calibrated = ({name: np.empty(table.shape, np.float32) for name in names} for _ in range(2))
    rows = []
    for name, fold in product(names, range(n_folds)):
        seen = _handed(name, table.questions["benchmark"], vectors, settings["seed"])
        test, val = half // 2 == fold, half == 2 * ((fold + 1) % n_folds)
        train, held_out = table.at(~test & ~val), table.at(val)
        fitted = forecasters(settings)[name].fit(train, seen[~test & ~val], held_out, seen[val])
        told, at_val = fitted.predict_proba(seen[test]), fitted.predict_proba(seen[val])
        heat = temperature(at_val, held_out.scores)
        raw[name][:, test], calibrated[name][:, test] = told, scaled(told, heat)
        rows.append((name, fold, float(np.nanmean(question_scores(at_val, held_out.scores, "log_loss"))), heat))
    tuning = pd.DataFrame(rows, columns=["name", "fold", "val", "temperature"])
    return {"raw": raw, "scaled": calibrated, "folds": tuning}


def _handed(name: str, benchmarks: pd.Series, vectors: np.ndarray, seed: int) -> np.ndarray:
    """What a rung is given as prompt vectors: its benchmarks, a control's noise, or the vectors themselves."""
    rng = np.random.default_rng(seed)
    if name in ON_BENCHMARKS:
        return one_hot(benchmarks)
    if name == SHUFFLED:
        return rng.permutation(vectors)  # the same as shuffling the labels of all models together
    if name == RANDOM:
        return (rng.standard_normal(vectors.shape) * vectors.std()).astype(np.float32)
    return vectors
