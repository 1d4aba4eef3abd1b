"""The ladder: every forecaster that is compared, from the model mean to the pooled factorisation, and two controls.

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
from embedllm.outcomes import OutcomeMatrix, Parts, cut, folds
from embedllm.pool import Pool, pooled, weigh
from embedllm.training import Tuned

PAPER = ("model mean", "kNN", "factorisation")  # what the paper compares, trained many times for its curves
TEXT_ONLY, OURS = "pooled, text only", "pooled factorisation"
PUBLISHED = {  # Zhuang et al., ICLR 2025, arXiv 2410.02223
    "dim": 232, "noise": 0.05, "learning_rate": 1e-4, "weight_decay": 1e-5, "epochs": 50, "batch_cells": 2048,
    "patience": 0,
}
ON_BENCHMARKS = ("benchmark mean", "boosted trees")
SHUFFLED, RANDOM = "control: shuffled labels", "control: random vectors"
CONTROLS = (SHUFFLED, RANDOM)
UNSHAPED, CALIBRATED, WITHOUT_NEIGHBOURS = "logistic, unshaped", "shaped, calibrated", "pooled, without neighbours"
STEPS = {  # from the simplest rung to the pooled factorisation, one part at a time
    "ability": "model mean",
    "+ difficulty read from the text": "1PL with text",
    "+ own deviations": UNSHAPED,
    "+ directions shared by models": "shaped logistic",
    "+ calibration": CALIBRATED,
    "+ similarity to other prompts": WITHOUT_NEIGHBOURS,
    "+ nearest neighbours": TEXT_ONLY,
    "+ the question's benchmark": OURS,
}
STEPS_ONLY = (UNSHAPED, CALIBRATED, WITHOUT_NEIGHBOURS)  # on the way, but no rungs of the ladder


def forecasters(settings: dict) -> dict[str, Forecaster]:
    """The rungs, untrained, by the name every figure uses. Tuned networks have twelve candidates each.

    Those in `ON_BENCHMARKS` take one-hot benchmarks for prompt vectors, also within a pool: `forecast` and `cross_fit`
    hand every rung and every member its own.
    """
    plain = Factorization(**settings)
    same = {"seed": plain.seed, "noise": plain.noise}
    linear = {
        "shaped logistic": TextLogistic(),
        "wide similarity": TextLogistic(width=1.4),
        "narrow similarity": TextLogistic(width=0.7),
    }
    return {
        "model mean": ModelMean(),
        "benchmark mean": BenchmarkMean(),
        "boosted trees": BoostedTrees(),
        "kNN": KNearestNeighbours(),
        "1PL with text": TextLogistic(own=(inf,)),
        "2PL with text": Tuned([
            ItemResponse(dim=1, weight_decay=decay, learning_rate=rate, **same)
            for decay, rate in product((1e-6, 1e-5, 1e-4, 1e-3), (1e-3, 3e-3, 1e-2))
        ]),
        "MIRT with text": Tuned([
            ItemResponse(dim=dim, weight_decay=decay, learning_rate=rate, **same)
            for dim, decay, rate in product((2, 4, 8), (1e-5, 1e-4), (3e-3, 1e-2))
        ]),
        "logistic per model": TextLogistic(shared=(inf,), shapings=0),
        "shaped logistic": linear["shaped logistic"],
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
        TEXT_ONLY: Pool(linear | {"kNN": KNearestNeighbours()}),
        OURS: Pool(linear | {"kNN": KNearestNeighbours(), "benchmark mean": BenchmarkMean()}),
        SHUFFLED: plain,
        RANDOM: plain,
        UNSHAPED: TextLogistic(shapings=0),
        CALIBRATED: Pool({"shaped logistic": linear["shaped logistic"]}),
        WITHOUT_NEIGHBOURS: Pool(linear),
    }


def forecast(parts: Parts, names: Sequence[str], **settings) -> dict[str, np.ndarray]:
    """Test probabilities of the named forecasters: name to float32, shape (n_models, n_test)."""
    return {name: told for name, (_, told) in _told(parts, names, settings).items()}


def cross_fit(
    table: OutcomeMatrix, vectors: np.ndarray, names: Sequence[str], n_folds: int, fold_seed: int = 0, **settings
) -> dict:
    """Every question forecast once, by a fit that never saw it; all tuning is inside each fold.

    A fold is the test part in its turn, half of the next one the validation part, the rest is trained on. The seed
    of the folds is not that of the trainings, so that another initialisation is compared on the same folds.

    Returns
    -------
    dict
        ``raw`` and ``scaled``: name to probabilities, float32, (n_models, n_questions), as forecast and after
        temperature scaling on each fold's validation part. ``folds``: DataFrame with ``name``, ``fold``, ``val``
        (validation log-loss) and ``temperature``.
    """
    half = folds(table, 2 * n_folds, fold_seed).to_numpy()
    raw, calibrated = ({name: np.empty(table.shape, np.float32) for name in names} for _ in range(2))
    rows = []
    for fold in range(n_folds):
        test, val = half // 2 == fold, half == 2 * ((fold + 1) % n_folds)
        parts = cut(table, vectors, np.select([test, val], ["test", "val"], "train"))
        scores = parts["val"][0].scores
        for name, (at_val, at_test) in _told(parts, names, settings).items():
            heat = temperature(at_val, scores)
            raw[name][:, test], calibrated[name][:, test] = at_test, scaled(at_test, heat)
            rows.append((name, fold, float(np.nanmean(question_scores(at_val, scores, "log_loss"))), heat))
    tuning = pd.DataFrame(rows, columns=["name", "fold", "val", "temperature"])
    return {"raw": raw, "scaled": calibrated, "folds": tuning}


def _told(parts: Parts, names: Sequence[str], settings: dict) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Validation and test probabilities of every named rung; a pool shares the fits of its members with them."""
    done = {}

    def told(name: str, forecaster: Forecaster) -> tuple[np.ndarray, np.ndarray]:
        if name not in done and isinstance(forecaster, Pool):
            members = [told(*member) for member in forecaster.members.items()]
            at_val, at_test = zip(*members, strict=True)
            weights = weigh(at_val, parts["val"][0].scores)
            done[name] = pooled(at_val, weights), pooled(at_test, weights)
        elif name not in done:
            train, val, test = _handed(name, parts, settings)
            forecaster.fit(parts["train"][0], train, parts["val"][0], val)
            done[name] = forecaster.predict_proba(val), forecaster.predict_proba(test)
        return done[name]

    known = forecasters(settings)
    return {name: told(name, known[name]) for name in names}


def _handed(name: str, parts: Parts, settings: dict) -> Sequence[np.ndarray]:
    """What a rung is given as prompt vectors: its benchmarks, a control's noise, or the vectors themselves."""
    own = [parts[part][1] for part in ("train", "val", "test")]
    if name not in (*ON_BENCHMARKS, *CONTROLS):
        return own
    vectors, rng = np.concatenate(own), np.random.default_rng(settings["seed"])
    if name in ON_BENCHMARKS:
        vectors = one_hot(pd.concat([parts[part][0].questions["benchmark"] for part in ("train", "val", "test")]))
    elif name == SHUFFLED:
        vectors = rng.permutation(vectors)  # the same as shuffling the labels of all models together
    else:
        vectors = (rng.standard_normal(vectors.shape) * vectors.std()).astype(np.float32)
    return np.split(vectors, np.cumsum([len(part) for part in own])[:-1])
