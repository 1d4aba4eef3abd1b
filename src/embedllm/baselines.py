"""The two simplest forecasters: a model's mean, and its mean over the nearest questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_array

from embedllm.contract import Forecaster
from embedllm.encoders import unit
from embedllm.metrics import question_scores
from embedllm.outcomes import OutcomeMatrix

CLOSEST = 0.01  # cosine distance below which neighbours weigh alike: a repeated prompt must not decide alone


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


@dataclass
class KNearestNeighbours(Forecaster):
    """A model's mean score on the k training questions most similar to the new one, shrunk towards its mean.

    With even weights, at a threshold of 0.5, this is the paper's majority vote. Neighbours tied with the k-th all
    count, so that repeated prompts cannot make the result depend on their order. On vectors of norm one, Euclidean
    distance gives the same neighbours as cosine similarity; centring the vectors first does not.

    Parameters
    ----------
    grid : tuple of int
        Numbers of neighbours to try; the paper tuned k to 131.
    weights : tuple of {"even", "distance"}
        How neighbours count to try: alike, or as the inverse of their cosine distance.
    centred : tuple of bool
        Whether to take the mean training vector off before the similarity, to try.
    pseudo : tuple of float
        Pseudo-answers at the model's own mean to try; they keep the probability off 0 and 1.
    block : int
        Questions predicted at a time; bounds memory at block x n_train floats.

    Attributes (after ``fit``)
    --------------------------
    chosen : tuple
        (centred, k, weights, pseudo) with the lowest validation log-loss.
    """

    grid: tuple[int, ...] = (11, 31, 61, 131, 261, 521)
    weights: tuple[str, ...] = ("even", "distance")
    centred: tuple[bool, ...] = (False, True)
    pseudo: tuple[float, ...] = (1, 4, 16)
    block: int = 1024

    LEARNED: ClassVar = ("means", "scores", "observed", "chosen", "level", "neighbours")

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        self.means = smoothed_means(train).astype(np.float32)
        self.scores = np.nan_to_num(train.scores).T.copy()  # (n_train, n_models)
        self.observed = train.observed.T.astype(np.float32)
        grid = sorted({min(k, len(train_vectors)) for k in self.grid})
        best = np.inf
        for centred in self.centred:
            level = train_vectors.mean(axis=0) if centred else np.zeros_like(train_vectors[0])
            space = level, unit(train_vectors - level)
            sums = self._sums(val_vectors, space, grid, self.weights)
            for (weights, k), pseudo in product(sums, self.pseudo):
                forecast = self._shrunk(*sums[weights, k], pseudo)
                loss = np.nanmean(question_scores(forecast, val.scores, "log_loss"))
                if loss < best:
                    best, self.chosen, (self.level, self.neighbours) = loss, (centred, k, weights, pseudo), space

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        _, k, weights, pseudo = self.chosen
        [sums] = self._sums(prompt_vectors, (self.level, self.neighbours), [k], [weights]).values()
        return self._shrunk(*sums, pseudo)

    def _shrunk(self, right: np.ndarray, asked: np.ndarray, pseudo: float) -> np.ndarray:
        return (right + pseudo * self.means[:, None]) / (asked + pseudo)

    def _sums(self, prompt_vectors: np.ndarray, space: tuple, grid: Sequence[int], weights: Sequence[str]) -> dict:
        """Weighted scores and answers of the neighbours, each (n_models, n_questions), by (weights, k).

        One product of all questions with all training questions serves every model, k (ascending) and kind of
        weights: the neighbours of the largest k are split into those of the smallest, those that the next one adds,
        and so on, and sums over these are cumulated. Weights are scaled to a mean of one over the neighbours of a
        question, so that pseudo-answers weigh alike.
        """
        level, neighbours = space[0], torch.as_tensor(space[1])
        whole = (len(self.means), len(prompt_vectors))
        result = {key: (np.empty(whole, np.float32), np.empty(whole, np.float32)) for key in product(weights, grid)}
        for start in range(0, len(prompt_vectors), self.block):
            questions = torch.as_tensor(unit(prompt_vectors[start : start + self.block] - level))
            similarity = (questions @ neighbours.T).numpy()  # (block, n_train)
            nearest = np.sort(np.partition(similarity, -grid[-1], axis=1)[:, -grid[-1] :], axis=1)
            thresholds = nearest[:, [-k for k in grid]]
            question, neighbour = np.nonzero(similarity >= thresholds[:, -1:])
            close = similarity[question, neighbour]
            ring = (close[:, None] < thresholds[question]).sum(axis=1)  # 0: among the smallest k
            rows = question * len(grid) + ring
            shape = (len(similarity) * len(grid), len(neighbours))

            count = _cumulated(np.bincount(rows, minlength=shape[0]), len(grid))
            for kind in weights:
                weight = 1 / np.maximum(1 - close, CLOSEST) if kind == "distance" else np.ones_like(close)
                near = csr_array((weight, (rows, neighbour)), shape=shape)
                scale = count / _cumulated(near.sum(axis=1), len(grid))  # (block, n_k, 1)
                for place, answers in enumerate((self.scores, self.observed)):
                    sums = scale * _cumulated(near @ answers, len(grid))  # (block, n_k, n_models)
                    for k, one in zip(grid, np.moveaxis(sums, 1, 0), strict=True):
                        result[kind, k][place][:, start : start + self.block] = one.T
        return result


def _cumulated(sums: np.ndarray, n_rings: int) -> np.ndarray:
    """Sums over the rings of each question, (n_questions * n_rings, ...), up to each: (n_questions, n_rings, ...)."""
    return np.cumsum(sums.reshape(-1, n_rings, sums[0].size), axis=1)
