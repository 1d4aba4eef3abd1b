"""A model's mean over a cluster of prompts: what a router does that sorts questions into kinds first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.cluster import KMeans

from embedllm.evaluation.metrics import question_scores
from embedllm.forecasters.contract import Forecaster
from embedllm.forecasters.means import smoothed_means

STEPS = 40  # of k-means, at most


@dataclass
class ClusterMean(Forecaster):
    """A model's mean score on the training questions of a cluster, shrunk towards its mean on all.

    Clusters are those of k-means on the prompt vectors; a new question belongs to the nearest center.

    Parameters
    ----------
    sizes : tuple of int
        Numbers of clusters to try; at most one for each training question.
    pseudo : tuple of float
        Pseudo-answers at the model's own mean to try.
    seed : int
        Of the first centers.

    Attributes (after ``fit``)
    --------------------------
    centers : ndarray, shape (n_clusters, d_prompt), float32
    means : ndarray, shape (n_models, n_clusters), float64, in (0, 1)
    chosen : tuple
        (number of clusters, pseudo-answers) with the lowest validation log-loss.
    """

    sizes: tuple[int, ...] = (4, 8, 16, 32, 64, 128)
    pseudo: tuple[float, ...] = (4, 16)
    seed: int = 0

    LEARNED: ClassVar = ("centers", "means", "chosen")

    @property
    def n_candidates(self) -> int:
        return len(self.sizes) * len(self.pseudo)

    @property
    def choice(self) -> dict:
        return dict(zip(("clusters", "pseudo-answers"), self.chosen, strict=True))

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        mean, best = smoothed_means(train)[:, None], np.inf
        for size in sorted({min(size, len(train_vectors)) for size in self.sizes}):
            fitted = KMeans(size, n_init=1, max_iter=STEPS, random_state=self.seed).fit(train_vectors)
            member, of_val = np.eye(size)[fitted.labels_], _nearest(val_vectors, fitted.cluster_centers_)
            right, asked = np.nan_to_num(train.scores) @ member, train.observed @ member
            for pseudo in self.pseudo:
                means = (right + pseudo * mean) / (asked + pseudo)
                loss = np.nanmean(question_scores(means[:, of_val], val.scores, "log_loss"))
                if loss < best:
                    best, self.centers, self.means = loss, fitted.cluster_centers_, means
                    self.chosen = (size, pseudo)

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        return self.means[:, _nearest(prompt_vectors, self.centers)].astype(np.float32)


def _nearest(vectors: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """The nearest center of each vector: int, (n_vectors,)."""
    return ((centers**2).sum(axis=1) - 2 * vectors @ centers.T).argmin(axis=1)
