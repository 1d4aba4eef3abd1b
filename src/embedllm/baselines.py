"""The forecaster contract, and every forecaster that is not the factorisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from embedllm.metrics import question_scores
from embedllm.outcomes import OutcomeMatrix


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
    """A model's mean score on the k training questions most similar to the new one (cosine).

    At a threshold of 0.5 this is the paper's majority vote. One pseudo-answer at the model's own mean
    keeps the probability off 0 and 1. Neighbours tied with the k-th all count, so that repeated
    prompts cannot make the result depend on their order.

    Parameters
    ----------
    grid : tuple of int
        Candidates for k; the one with the lowest validation log-loss is kept in ``k`` after ``fit``.
        The paper tuned k to 131.
    block : int
        Questions predicted at a time; bounds memory at block x n_train floats.
    """

    grid: tuple[int, ...] = (11, 31, 61, 131, 261, 521)
    block: int = 1024

    def fit(self, train, train_vectors, val, val_vectors) -> Self:
        self.neighbours = _unit(train_vectors)
        self.means = smoothed_means(train).astype(np.float32)
        self.scores = np.nan_to_num(train.scores).T.copy()  # (n_train, n_models)
        self.observed = train.observed.T.astype(np.float32)
        grid = sorted({min(k, len(train_vectors)) for k in self.grid})
        losses = {
            k: np.nanmean(question_scores(p, val.scores, "log_loss"))
            for k, p in zip(grid, self._predict(val_vectors, grid), strict=True)
        }
        self.k = min(losses, key=losses.get)
        return self

    def predict_proba(self, prompt_vectors: np.ndarray) -> np.ndarray:
        return self._predict(prompt_vectors, [self.k])[0]

    def _predict(self, prompt_vectors: np.ndarray, grid: list[int]) -> list[np.ndarray]:
        """Probabilities for every k of the (ascending) grid, sharing one similarity product."""
        result = [np.empty((len(self.means), len(prompt_vectors)), np.float32) for _ in grid]
        for start in range(0, len(prompt_vectors), self.block):
            similarity = _unit(prompt_vectors[start : start + self.block]) @ self.neighbours.T
            positions = [similarity.shape[1] - k for k in grid]
            thresholds = np.partition(similarity, positions, axis=1)[:, positions]
            for probabilities, threshold in zip(result, thresholds.T, strict=True):
                near = (similarity >= threshold[:, None]).astype(np.float32)  # (block, n_train)
                right, asked = near @ self.scores, near @ self.observed  # (block, n_models)
                probabilities[:, start : start + len(near)] = ((right + self.means) / (asked + 1)).T
        return result


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length one; a zero row stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
