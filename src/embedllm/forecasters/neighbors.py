"""The two simplest forecasters: a model's mean, and its mean over the nearest questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_array

from embedllm.encoders.encoding import unit
from embedllm.evaluation.metrics import CLIP, question_scores, right_or_wrong
from embedllm.forecasters.contract import Forecaster
from embedllm.forecasters.means import smoothed_means

SIGN = {"log_loss": 1, "accuracy": -1}  # what is to become small
CLOSEST = 0.01  # cosine distance below which neighbors weigh alike: a repeated prompt must not decide alone


@dataclass
class KNearestNeighbors(Forecaster):
    """A model's mean score on the k training questions most similar to the new one, shrunk towards its mean.

    Neighbors tied with the k-th all count, so that repeated prompts cannot make the result depend on their order. On
    vectors of norm one, Euclidean distance gives the same neighbors as cosine similarity; centering the vectors first
    does not.

    Parameters
    ----------
    grid : tuple of int
        Numbers of neighbors to try; the paper tuned k to 131.
    weights : tuple of {"even", "distance"}
        How neighbors count to try: alike, or as the inverse of their cosine distance.
    centered : tuple of bool
        Whether to take the mean training vector off before the similarity, to try.
    pseudo : tuple of float
        Pseudo-answers at the model's own mean to try; they keep the probability off 0 and 1.
    block : int
        Questions predicted at a time; bounds memory at block x n_train floats.

    Attributes (after ``fit``)
    --------------------------
    chosen : tuple
        (centered, k, weights, pseudo) that is best on validation.
    """

    grid: tuple[int, ...] = (11, 31, 61, 131, 261, 521)
    weights: tuple[str, ...] = ("even", "distance")
    centered: tuple[bool, ...] = (False, True)
    pseudo: tuple[float, ...] = (1, 4, 16)
    block: int = 1024

    LEARNED: ClassVar = ("means", "scores", "observed", "chosen", "level", "neighbors")
    CRITERION: ClassVar = "log_loss"  # lowest on validation

    @property
    def n_candidates(self) -> int:
        return len(self.grid) * len(self.weights) * len(self.centered) * len(self.pseudo)

    @property
    def choice(self) -> dict:
        return dict(zip(("centered", "k", "weights", "pseudo-answers"), self.chosen, strict=True))

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        self.means = smoothed_means(train).astype(np.float32)
        self.scores = np.nan_to_num(train.scores).T.copy()  # (n_train, n_models)
        self.observed = train.observed.T.astype(np.float32)
        grid = sorted({min(k, len(train_vectors)) for k in self.grid})
        best, judged = np.inf, right_or_wrong(val) if self.CRITERION == "accuracy" else val.scores
        for centered in self.centered:
            level = train_vectors.mean(axis=0) if centered else np.zeros_like(train_vectors[0])
            space = level, unit(train_vectors - level)
            sums = self._sums(val_vectors, space, grid, self.weights)
            for (weights, k), pseudo in product(sums, self.pseudo):
                forecast = self._shrunk(*sums[weights, k], pseudo)
                loss = SIGN[self.CRITERION] * np.nanmean(question_scores(forecast, judged, self.CRITERION))
                if loss < best:
                    best, self.chosen, (self.level, self.neighbors) = loss, (centered, k, weights, pseudo), space

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        _, k, weights, pseudo = self.chosen
        [sums] = self._sums(prompt_vectors, (self.level, self.neighbors), [k], [weights]).values()
        return self._shrunk(*sums, pseudo)

    def _shrunk(self, right: np.ndarray, asked: np.ndarray, pseudo: float) -> np.ndarray:
        return (right + pseudo * self.means[:, None]) / (asked + pseudo)

    def _sums(self, prompt_vectors: np.ndarray, space: tuple, grid: Sequence[int], weights: Sequence[str]) -> dict:
        """Weighted scores and answers of the neighbors, each (n_models, n_questions), by (weights, k).

        One product of all questions with all training questions serves every model, k (ascending) and kind of
        weights: the neighbors of the largest k are split into those of the smallest, those that the next one adds,
        and so on, and sums over these are cumulated. Weights are scaled to a mean of one over the neighbors of a
        question, so that pseudo-answers weigh alike.
        """
        level, neighbors = space[0], torch.as_tensor(space[1])
        whole = (len(self.means), len(prompt_vectors))
        result = {key: (np.empty(whole, np.float32), np.empty(whole, np.float32)) for key in product(weights, grid)}
        for start in range(0, len(prompt_vectors), self.block):
            questions = torch.as_tensor(unit(prompt_vectors[start : start + self.block] - level))
            similarity = (questions @ neighbors.T).numpy()  # (block, n_train)
            nearest = np.sort(np.partition(similarity, -grid[-1], axis=1)[:, -grid[-1] :], axis=1)
            thresholds = nearest[:, [-k for k in grid]]
            question, neighbor = np.nonzero(similarity >= thresholds[:, -1:])
            close = similarity[question, neighbor]
            ring = (close[:, None] < thresholds[question]).sum(axis=1)  # 0: among the smallest k
            rows = question * len(grid) + ring
            shape = (len(similarity) * len(grid), len(neighbors))

            count = _cumulated(np.bincount(rows, minlength=shape[0]), len(grid))
            for kind in weights:
                weight = 1 / np.maximum(1 - close, CLOSEST) if kind == "distance" else np.ones_like(close)
                near = csr_array((weight, (rows, neighbor)), shape=shape)
                scale = count / _cumulated(near.sum(axis=1), len(grid))  # (block, n_k, 1)
                for place, answers in enumerate((self.scores, self.observed)):
                    sums = scale * _cumulated(near @ answers, len(grid))  # (block, n_k, n_models)
                    for k, one in zip(grid, np.moveaxis(sums, 1, 0), strict=True):
                        result[kind, k][place][:, start : start + self.block] = one.T
        return result


@dataclass
class MajorityVote(KNearestNeighbors):
    """The paper's kNN: the share of the k most similar training questions that a model answered correctly.

    Every neighbor counts alike and nothing is shrunk; from a share of one half on the forecast is "correct" (of graded
    scores the mean stands for the share). The k with the highest validation accuracy is taken, the smallest of equals.
    A model that none of the neighbors was put to is forecast by its mean; shares of 0 and 1 are moved off by `CLIP`,
    which log-loss asks for and a vote does not feel.

    Parameters
    ----------
    grid : tuple of int
        Odd, so that binary votes are not tied.
    """

    grid: tuple[int, ...] = (1, 3, 7, 15, 31, 61, 91, 131, 191, 261, 381, 521)
    weights: tuple[str, ...] = ("even",)
    centered: tuple[bool, ...] = (False,)
    pseudo: tuple[float, ...] = (0,)

    CRITERION: ClassVar = "accuracy"

    @property
    def choice(self) -> dict:
        return {"k": self.chosen[1]}

    def _shrunk(self, right: np.ndarray, asked: np.ndarray, pseudo: float) -> np.ndarray:
        share = np.where(asked > 0, right / np.maximum(asked, 1), self.means[:, None])
        return np.clip(share, np.float32(CLIP), np.float32(1 - CLIP))


def _cumulated(sums: np.ndarray, n_rings: int) -> np.ndarray:
    """Sums over the rings of each question, (n_questions * n_rings, ...), up to each: (n_questions, n_rings, ...)."""
    return np.cumsum(sums.reshape(-1, n_rings, sums[0].size), axis=1)
