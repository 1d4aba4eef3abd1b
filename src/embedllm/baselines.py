"""The forecaster contract, and every forecaster that is not the factorisation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Protocol, Self

import numpy as np

from embedllm.metrics import question_scores
from embedllm.outcomes import OutcomeMatrix

CLOSEST = 0.01  # cosine distance below which neighbours weigh alike: a repeated prompt must not decide alone


class Forecaster(Protocol):
    """Predicts which model answers which question correctly.

    ``fit`` sees training data and may tune itself on validation data; ``predict_proba`` sees prompt
    vectors only. No forecaster touches text or network.
    """

    def fit(
        self, train: OutcomeMatrix, train_vectors: np.ndarray, val: OutcomeMatrix, val_vectors: np.ndarray
    ) -> Self:
        """Learn from `train`; vectors are float32, shape (n_questions, d_prompt)."""
        ...

    def predict_proba(self, prompt_vectors: np.ndarray) -> np.ndarray:
        """P(correct): float32 in (0, 1), shape (n_models, n_questions)."""
        ...


def smoothed_means(train: OutcomeMatrix) -> np.ndarray:
    """Each model's mean training score with one pseudo-answer at the pool's mean, never 0 or 1.

    Returns
    -------
    ndarray, shape (n_models,), float64, in (0, 1)
        A model without any training answer gets the pool's mean.
    """
    pool = np.nanmean(train.scores, dtype=np.float64)
    return (np.nansum(train.scores, axis=1, dtype=np.float64) + pool) / (train.observed.sum(axis=1) + 1)


class ModelMean:
    """Every question alike: a model's mean score on the training questions."""

    def fit(self, train, train_vectors, val, val_vectors) -> Self:
        self.means = smoothed_means(train)
        return self

    def predict_proba(self, prompt_vectors: np.ndarray) -> np.ndarray:
        return np.repeat(self.means.astype(np.float32)[:, None], len(prompt_vectors), axis=1)


@dataclass
class KNearestNeighbours:
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

    def fit(self, train, train_vectors, val, val_vectors) -> Self:
        self.train_vectors, self.means = train_vectors, smoothed_means(train).astype(np.float32)
        self.scores = np.nan_to_num(train.scores).T.copy()  # (n_train, n_models)
        self.observed = train.observed.T.astype(np.float32)
        grid = sorted({min(k, len(train_vectors)) for k in self.grid})
        best = np.inf
        for centred, weights in product(self.centred, self.weights):
            for k, (right, asked) in zip(grid, self._sums(val_vectors, centred, grid, weights), strict=True):
                for pseudo in self.pseudo:
                    forecast = self._shrunk(right, asked, pseudo)
                    loss = np.nanmean(question_scores(forecast, val.scores, "log_loss"))
                    if loss < best:
                        best, self.chosen = loss, (centred, k, weights, pseudo)
        return self

    def predict_proba(self, prompt_vectors: np.ndarray) -> np.ndarray:
        centred, k, weights, pseudo = self.chosen
        [(right, asked)] = self._sums(prompt_vectors, centred, [k], weights)
        return self._shrunk(right, asked, pseudo)

    def _shrunk(self, right: np.ndarray, asked: np.ndarray, pseudo: float) -> np.ndarray:
        return (right + pseudo * self.means[:, None]) / (asked + pseudo)

    def _sums(self, prompt_vectors: np.ndarray, centred: bool, grid: list[int], weights: str) -> list[tuple]:
        """Weighted scores and answers of the neighbours for every k of the (ascending) grid: (n_models, n_questions).

        Weights are scaled to a mean of one over the neighbours of a question, so that pseudo-answers weigh alike.
        """
        level = self.train_vectors.mean(axis=0) if centred else 0
        neighbours = _unit(self.train_vectors - level)
        shape = (len(self.means), len(prompt_vectors))
        result = [(np.empty(shape, np.float32), np.empty(shape, np.float32)) for _ in grid]
        for start in range(0, len(prompt_vectors), self.block):
            similarity = _unit(prompt_vectors[start : start + self.block] - level) @ neighbours.T
            positions = [similarity.shape[1] - k for k in grid]
            thresholds = np.partition(similarity, positions, axis=1)[:, positions]
            for (right, asked), threshold in zip(result, thresholds.T, strict=True):
                near = (similarity >= threshold[:, None]).astype(np.float32)  # (block, n_train)
                if weights == "distance":
                    count = near.sum(axis=1, keepdims=True)
                    near /= np.maximum(1 - similarity, CLOSEST)
                    near *= count / near.sum(axis=1, keepdims=True)
                at = slice(start, start + len(near))
                right[:, at], asked[:, at] = (near @ self.scores).T, (near @ self.observed).T
        return result


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length one; a zero row stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
