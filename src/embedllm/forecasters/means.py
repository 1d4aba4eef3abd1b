"""Forecasters that read no text: means of models, means by benchmark, boosted trees over benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from embedllm.evaluation.metrics import CLIP, question_scores
from embedllm.forecasters.contract import Forecaster, ForecasterError
from embedllm.outcomes import OutcomeMatrix, model_facts


class OnBenchmarks(Forecaster):
    """One forecast for each (model, benchmark) pair, the last column for benchmarks that were not trained on.

    Attributes (after ``fit``)
    --------------------------
    benchmarks : list of str
        Those of the training questions, sorted.
    means : ndarray, shape (n_models, n_benchmarks + 1), float64, in (0, 1)
    """

    LEARNED: ClassVar = ("benchmarks", "means")

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        if benchmarks is None or len(benchmarks) != len(prompt_vectors):
            raise ForecasterError(f"{type(self).__name__} forecasts from benchmarks: pass that of each of the "
                                  f"{len(prompt_vectors)} questions")
        return self.means[:, self._column(benchmarks)].astype(np.float32)

    def _column(self, benchmarks) -> np.ndarray:
        """The column of each question: int, (n_questions,); -1, the last one, where it was not trained on."""
        return pd.Index(self.benchmarks).get_indexer(np.asarray(benchmarks))

    def _counts(self, table) -> tuple[np.ndarray, np.ndarray]:
        """Sum of scores and number of answers in each (model, benchmark) pair: (n_models, n_benchmarks + 1)."""
        member = np.eye(len(self.benchmarks) + 1)[self._column(table.questions["benchmark"])]
        return np.nan_to_num(table.scores) @ member, table.observed @ member


@dataclass
class BenchmarkMean(OnBenchmarks):
    """A model's mean score on the questions of a benchmark, shrunk towards its mean on all questions.

    Parameters
    ----------
    grid : tuple of float
        Pseudo-answers at the model's own mean to try; the number with the lowest validation log-loss is in
        ``pseudo`` after ``fit``.
    """

    grid: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

    LEARNED: ClassVar = (*OnBenchmarks.LEARNED, "pseudo")

    @property
    def n_candidates(self) -> int:
        return len(self.grid)

    @property
    def choice(self) -> dict:
        return {"pseudo-answers": self.pseudo}

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        self.benchmarks = sorted(train.questions["benchmark"].unique())
        right, asked = self._counts(train)
        means, of_val = smoothed_means(train)[:, None], val.questions["benchmark"]
        losses = {}
        for pseudo in self.grid:
            self.means = (right + pseudo * means) / (asked + pseudo)
            losses[pseudo] = np.nanmean(question_scores(self._predict(val_vectors, of_val), val.scores, "log_loss"))
        self.pseudo = min(losses, key=losses.get)
        self.means = (right + self.pseudo * means) / (asked + self.pseudo)


@dataclass
class BoostedTrees(OnBenchmarks):
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

    LEARNED: ClassVar = (*OnBenchmarks.LEARNED, "chosen")

    @property
    def n_candidates(self) -> int:
        return len(self.rates) * len(self.leaves) * len(self.smallest)

    @property
    def choice(self) -> dict:
        return dict(zip(("rate", "leaves", "smallest leaf", "trees"), self.chosen, strict=True))

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        self.benchmarks = sorted(train.questions["benchmark"].unique())
        right, asked = self._counts(train)
        features = _features(train, right, asked)
        known = (asked > 0).ravel()  # (model, benchmark) pairs with answers
        features[:, np.isnan(features[known]).all(axis=0)] = 0  # the booster refuses a fact that is never known
        rows = np.concatenate([features[known]] * 2)
        label = np.repeat([1, 0], known.sum())
        weight = np.concatenate([right.ravel()[known], (asked - right).ravel()[known]])
        best, of_val = np.inf, self._counts(val)
        for rate, leaves, smallest in product(self.rates, self.leaves, self.smallest):
            with threadpool_limits(1):  # a few hundred rows: more threads only wait for each other
                booster = HistGradientBoostingClassifier(
                    learning_rate=rate, max_leaf_nodes=leaves, min_samples_leaf=smallest, max_iter=self.trees,
                    early_stopping=False, categorical_features=[0, 1, 2], random_state=0,
                ).fit(rows, label, sample_weight=weight)
                stages = list(booster.staged_predict_proba(features))
            for number, staged in enumerate(stages, start=1):
                forecast = staged[:, 1].reshape(right.shape)
                loss = _loss(forecast, *of_val)
                if loss < best:
                    best, self.means, self.chosen = loss, forecast, (rate, leaves, smallest, number)
        self.means = np.clip(self.means, CLIP, 1 - CLIP)


def _loss(forecast: np.ndarray, right: np.ndarray, asked: np.ndarray) -> float:
    """Mean log-loss over cells of forecasts for (model, benchmark) pairs."""
    p = np.clip(forecast, CLIP, 1 - CLIP)
    return float(-(right * np.log(p) + (asked - right) * np.log1p(-p)).sum() / asked.sum())


def _features(train, right: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """One row a (model, benchmark) pair; the first three columns are names: benchmark, family, kind."""
    n_benchmarks = right.shape[1]
    facts = model_facts(train)
    # HistGradientBoosting takes at most 255 categories; later families and benchmarks share the last one.
    codes = [np.minimum(pd.factorize(facts[name])[0], 254).astype(float) for name in ("family", "kind")]
    models = [*(np.where(code < 0, np.nan, code) for code in codes), smoothed_means(train),
              np.log(facts["parameters_b"].to_numpy())]
    of_benchmark = np.divide(right.sum(axis=0), asked.sum(axis=0), out=np.full(n_benchmarks, np.nan),
                             where=asked.sum(axis=0) > 0)
    benchmarks = [of_benchmark, asked.max(axis=0)]
    family, kind, *numbers = (np.repeat(column, n_benchmarks) for column in models)
    name = np.append(np.minimum(np.arange(n_benchmarks - 1.0), 254), np.nan)  # the last is unknown
    return np.column_stack([
        np.tile(name, len(right)), family, kind, *numbers,
        *(np.tile(column, len(right)) for column in benchmarks),
    ])


def smoothed_means(train: OutcomeMatrix) -> np.ndarray:
    """Each model's mean training score with one pseudo-answer at the pool's mean, never 0 or 1.

    Returns
    -------
    ndarray, shape (n_models,), float64, in (0, 1)
        A model without any training answer gets the pool's mean.
    """
    pool = np.nanmean(train.scores, dtype=np.float64)
    return (np.nansum(train.scores, axis=1, dtype=np.float64) + pool) / (train.observed.sum(axis=1) + 1)


@dataclass
class ModelMean(Forecaster):
    """Every question alike: a model's mean score on the training questions."""

    LEARNED: ClassVar = ("means",)

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        self.means = smoothed_means(train)

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        return np.repeat(self.means.astype(np.float32)[:, None], len(prompt_vectors), axis=1)
