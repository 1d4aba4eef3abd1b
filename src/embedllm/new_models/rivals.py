"""Other ways to forecast a new model's answers from a few of them.

Each takes what a pool's models answered to all questions and what new models answered to some, and gives P(right) of
the new models on all questions, float64, (n_new, n_questions).
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from embedllm.forecasters.completion import question_effects
from embedllm.outcomes import OutcomeMatrix, by_benchmark
from embedllm.probing.ridge import ridge_weights

NEAREST = 5  # models
CLUSTERS, PSEUDO = 20, 4  # of prompt vectors; answers that a mean is shrunk by
PENALTY = 0.1  # of the ridge regression, in units of the predictors' sum of squares
ITEM = np.array([0.1, 1.0])  # prior precisions of an item's difficulty and of its discrimination around the mean


def raw_mean(pool: OutcomeMatrix, vectors: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The mean of the answers, for every question; at most one answer away from certainty."""
    asked = (~np.isnan(scores)).sum(axis=1)
    least = 1 / (asked + 2)
    means = np.clip(np.nansum(scores, axis=1) / np.maximum(asked, 1), least, 1 - least)
    return np.repeat(means[:, None], scores.shape[1], axis=1)


def benchmark_levels(pool: OutcomeMatrix, vectors: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The pool's mean on each benchmark, shifted in the logit until the answers are met."""
    means = by_benchmark(pool).mean()
    level = logit(np.clip(means.reindex(pool.questions["benchmark"]).to_numpy(float), 0.01, 0.99))
    shift = question_effects(scores.T, np.repeat(level[:, None], len(scores), axis=1), np.ones((scores.shape[1], 1)),
                             np.array([1.0]))
    return expit(level + shift)


def ridge_of_accuracies(pool: OutcomeMatrix, vectors: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Accuracies by benchmark, by a ridge regression on the means of the answers; fitted on the pool's models.

    These are taken at the same questions; new models that were asked others have a regression each.
    """
    target, found = by_benchmark(pool), np.empty(scores.shape)
    labels = pool.questions["benchmark"].to_numpy()
    place = target.columns.get_indexer(labels)
    for row, own in zip(found, scores, strict=True):
        asked = np.flatnonzero(~np.isnan(own))
        everyone = np.vstack([pool.scores[:, asked], own[asked]])
        groups = np.eye(target.shape[1])[place[asked]]
        groups = np.column_stack([groups[:, groups.any(axis=0)], np.ones(len(asked))])
        known = ~np.isnan(everyone)
        number = known @ groups
        means = np.nan_to_num(everyone) @ groups / np.maximum(number, 1)
        means = np.where(number > 0, means, means[:, -1:])  # of a benchmark without answers the overall mean
        weights = ridge_weights(means[:-1], means[-1:], np.array([PENALTY]))[0]
        row[:] = np.clip(weights @ target.fillna(target.mean()).to_numpy(), 0.01, 0.99)[0][place]
    return found


def nearest_models(pool: OutcomeMatrix, vectors: np.ndarray, scores: np.ndarray, k: int = NEAREST) -> np.ndarray:
    """The mean answer of the k models that agree most, as sure as they agree."""
    found = np.empty(scores.shape)
    answers = pool.scores.astype(np.float64)
    means = np.nanmean(answers, axis=1)
    for row, own in zip(found, scores, strict=True):
        asked = ~np.isnan(own)
        apart = np.nan_to_num(np.abs(answers[:, asked] - own[asked]), nan=0.5)
        agree = (1 - apart).sum(axis=1) + 1
        near = np.argsort(-agree, kind="stable")[:k]
        trust = np.clip((2 * agree[near].mean() / (asked.sum() + 2) - 1), 0.02, 0.98)
        told = np.where(np.isnan(answers[near]), means[near, None], answers[near]).mean(axis=0)
        row[:] = trust * told + (1 - trust) * means[near].mean()
    return np.clip(found, 0.01, 0.99)


def nearest_model(pool: OutcomeMatrix, vectors: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The answers of the one model that agrees most."""
    return nearest_models(pool, vectors, scores, 1)


def shrunken_clusters(pool: OutcomeMatrix, vectors: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Means over the answers in each cluster of prompts (k-means), shrunk towards the model's mean."""
    from sklearn.cluster import KMeans

    of = KMeans(min(CLUSTERS, len(vectors)), n_init=1, random_state=0).fit_predict(vectors)
    onehot = np.eye(of.max() + 1)[of]
    asked = ~np.isnan(scores)
    mean = raw_mean(pool, vectors, scores)[:, :1]
    return ((np.nan_to_num(scores) @ onehot + PSEUDO * mean) / (asked @ onehot + PSEUDO))[:, of]


def item_response(pool: OutcomeMatrix, vectors: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """2PL with items as the pool's models have them: one ability for a new model, and nothing read from the text."""
    share = np.clip(np.nanmean(pool.scores, axis=1, dtype=np.float64), 0.01, 0.99)
    ability = logit(share)
    ability = (ability - ability.mean()) / (ability.std() or 1.0)
    start = np.tile(ability[:, None], (1, pool.shape[1]))  # a discrimination of one, from which items deviate
    design = np.column_stack([np.ones(len(ability)), ability])
    difficulty, sharper = question_effects(pool.scores, start, design, ITEM).T
    slopes = 1 + sharper
    found = np.empty(scores.shape)
    for row, own in zip(found, scores, strict=True):
        asked = ~np.isnan(own)
        theta = question_effects(own[asked, None], difficulty[asked, None], slopes[asked, None], np.ones(1))[0, 0]
        row[:] = expit(difficulty + slopes * theta)
    return np.clip(found, 0.01, 0.99)
