"""Forecasters that know which benchmark a question belongs to and nothing else of it.

Their prompt vectors are one-hot benchmarks, so that the contract stays one; a benchmark without training
questions is forecast from the model alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from embedllm.baselines import smoothed_means
from embedllm.metrics import question_scores
from embedllm.outcomes import model_facts


def one_hot(benchmarks: pd.Series) -> np.ndarray:
    """Benchmarks as prompt vectors: float32, (n_questions, n_benchmarks), columns in sorted order."""
    codes, names = pd.factorize(benchmarks.to_numpy(), sort=True)
    return np.eye(len(names), dtype=np.float32)[codes]


@dataclass
class BenchmarkMean:
    """A model's mean score on the questions of a benchmark, shrunk towards its mean on all questions.

    Parameters
    ----------
    grid : tuple of float
        Pseudo-answers at the model's own mean to try; the number with the lowest validation log-loss is in
        ``pseudo`` after ``fit``.
    """

    grid: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

    def fit(self, train, train_vectors, val, val_vectors) -> Self:
        right, asked = _counts(train, train_vectors)
        means = smoothed_means(train)[:, None]
        losses = {}
        for pseudo in self.grid:
            self.means = (right + pseudo * means) / (asked + pseudo)  # (n_models, n_benchmarks)
            losses[pseudo] = np.nanmean(question_scores(self.predict_proba(val_vectors), val.scores, "log_loss"))
        self.pseudo = min(losses, key=losses.get)
        self.means = (right + self.pseudo * means) / (asked + self.pseudo)
        return self

    def predict_proba(self, prompt_vectors: np.ndarray) -> np.ndarray:
        return (self.means @ prompt_vectors.T).astype(np.float32)


@dataclass
class BoostedTrees:
    """Gradient-boosted trees on features of model and benchmark.

    In the manner of Xia et al. (2020, ACL, "Predicting Performance for Natural Language Processing Tasks"): what is
    known of the model (its mean score, size, family, kind) and of the benchmark (its name, mean score, size).
    A forecast is the same for all questions of a benchmark, so the cells of a (model, benchmark) pair are trained as
    two weighted rows, right and wrong: the same log-loss as cell by cell.

    Parameters
    ----------
    rates, leaves, smallest : tuple
        Learning rates, leaves of a tree and rows in a leaf to try; the triple with the lowest validation log-loss, at
        its best number of trees, is in ``chosen`` after ``fit``.
    trees : int
        At most.
    """

    rates: tuple[float, ...] = (0.1, 0.3)
    leaves: tuple[int, ...] = (3, 6, 12)
    smallest: tuple[int, ...] = (5, 20)
    trees: int = 200

    def fit(self, train, train_vectors, val, val_vectors) -> Self:
        right, asked = _counts(train, train_vectors)
        features = _features(train, right, asked)
        known = (asked > 0).ravel()  # (model, benchmark) pairs with answers
        features[:, np.isnan(features[known]).all(axis=0)] = 0  # the booster refuses a fact that is never known
        rows = np.concatenate([features[known]] * 2)
        label = np.repeat([1, 0], known.sum())
        weight = np.concatenate([right.ravel()[known], (asked - right).ravel()[known]])
        best = np.inf
        for rate, leaves, smallest in product(self.rates, self.leaves, self.smallest):
            with threadpool_limits(1):  # a few hundred rows: more threads only wait for each other
                booster = HistGradientBoostingClassifier(
                    learning_rate=rate, max_leaf_nodes=leaves, min_samples_leaf=smallest, max_iter=self.trees,
                    early_stopping=False, categorical_features=[0, 1, 2], random_state=0,
                ).fit(rows, label, sample_weight=weight)
                stages = list(booster.staged_predict_proba(features))
            for number, staged in enumerate(stages, start=1):
                forecast = staged[:, 1].reshape(right.shape)
                loss = _loss(forecast, *_counts(val, val_vectors))
                if loss < best:
                    best, self.means, self.chosen = loss, forecast, (rate, leaves, smallest, number)
        return self

    def predict_proba(self, prompt_vectors: np.ndarray) -> np.ndarray:
        return np.clip(self.means @ prompt_vectors.T, 1e-6, 1 - 1e-6).astype(np.float32)


def _counts(table, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of scores and number of answers in each (model, benchmark) pair: (n_models, n_benchmarks)."""
    vectors = vectors.astype(np.float64)
    return np.nan_to_num(table.scores) @ vectors, table.observed @ vectors


def _loss(forecast: np.ndarray, right: np.ndarray, asked: np.ndarray) -> float:
    """Mean log-loss over cells of forecasts for (model, benchmark) pairs."""
    p = np.clip(forecast, 1e-6, 1 - 1e-6)
    return float(-(right * np.log(p) + (asked - right) * np.log1p(-p)).sum() / asked.sum())


def _features(train, right: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """One row a (model, benchmark) pair; the first three columns are names: benchmark, family, kind."""
    n_models, n_benchmarks = right.shape
    facts = model_facts(train)
    # HistGradientBoosting takes at most 255 categories; later families and benchmarks share the last one.
    codes = [np.minimum(pd.factorize(facts[name])[0], 254).astype(float) for name in ("family", "kind")]
    models = [*(np.where(code < 0, np.nan, code) for code in codes), smoothed_means(train),
              np.log(facts["parameters_b"].to_numpy())]
    of_benchmark = np.divide(right.sum(axis=0), asked.sum(axis=0), out=np.full(n_benchmarks, np.nan),
                             where=asked.sum(axis=0) > 0)
    benchmarks = [of_benchmark, asked.max(axis=0)]
    family, kind, *numbers = (np.repeat(column, n_benchmarks) for column in models)
    return np.column_stack([
        np.tile(np.minimum(np.arange(n_benchmarks), 254), n_models), family, kind, *numbers,
        *(np.tile(column, n_models) for column in benchmarks),
    ])
