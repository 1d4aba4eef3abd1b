"""Other ways to forecast a new model's answers from a few of them.

Each is fitted to what a pool's models answered, with a cluster of each question by its prompt, int, (n_questions, 2),
from `clusters`, and returns a function: of what new models answered, (n_new, n_questions), NaN where they were not
asked, and of settings, to P(right) of theirs on all questions, float64, (n_new, n_questions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from scipy.special import expit, logit

from embedllm.evaluation.metrics import cell_scores
from embedllm.forecasters.completion import question_effects
from embedllm.machine import threads
from embedllm.new_models.choice import stratified
from embedllm.outcomes import OutcomeMatrix, by_benchmark, parted
from embedllm.probing.folds import lineage_folds
from embedllm.probing.ridge import ridge_weights

CLUSTERS = (10, 40)  # of prompt vectors
ITEM = np.array([0.1, 1.0])  # prior precisions of an item's difficulty and of its discrimination around the mean
N_PARTS = 3  # of the pool's lineages, of which one chooses settings
Forecast = Callable[..., np.ndarray]


def clusters(vectors: np.ndarray) -> np.ndarray:
    """The cluster of each prompt, by k-means, for each number of `CLUSTERS`: int, (n_questions, 2)."""
    from sklearn.cluster import MiniBatchKMeans

    with threads(1):  # the same however many cores there are
        return np.column_stack([MiniBatchKMeans(min(number, len(vectors)), n_init=3, random_state=0)
                                .fit_predict(vectors) for number in CLUSTERS])


def raw_mean(pool: OutcomeMatrix, cluster: np.ndarray) -> Forecast:
    """The mean of the answers, for every question; at most one answer away from certainty."""
    return lambda scores: np.repeat(_means(scores)[:, None], scores.shape[1], axis=1)


def benchmark_levels(pool: OutcomeMatrix, cluster: np.ndarray) -> Forecast:
    """The pool's mean on each benchmark, shifted in the logit until the answers are met."""
    means = by_benchmark(pool).mean()
    level = logit(np.clip(means.reindex(pool.questions["benchmark"]).to_numpy(float), 0.01, 0.99))

    def forecast(scores: np.ndarray, penalty: float) -> np.ndarray:
        start = np.repeat(level[:, None], len(scores), axis=1)
        return expit(level + question_effects(scores.T, start, np.ones((scores.shape[1], 1)), np.array([penalty])))

    return forecast


def ridge_of_accuracies(pool: OutcomeMatrix, cluster: np.ndarray) -> Forecast:
    """Accuracies by benchmark, by a ridge regression on the means of the answers; fitted on the pool's models.

    These are taken at the same questions; new models that were asked others have a regression each. The penalty is in
    units of the predictors' sum of squares.
    """
    target = by_benchmark(pool)
    place = target.columns.get_indexer(pool.questions["benchmark"].to_numpy())
    target = target.fillna(target.mean()).to_numpy()

    def forecast(scores: np.ndarray, penalty: float) -> np.ndarray:
        found = np.empty(scores.shape)
        for row, own in zip(found, scores, strict=True):
            asked = np.flatnonzero(~np.isnan(own))
            everyone = np.vstack([pool.scores[:, asked], own[asked]])
            groups = np.eye(target.shape[1])[place[asked]]
            groups = np.column_stack([groups[:, groups.any(axis=0)], np.ones(len(asked))])
            number = ~np.isnan(everyone) @ groups
            means = np.nan_to_num(everyone) @ groups / np.maximum(number, 1)
            means = np.where(number > 0, means, means[:, -1:])  # of a benchmark without answers the overall mean
            weights = ridge_weights(means[:-1], means[-1:], np.array([penalty]))[0]
            row[:] = np.clip(weights @ target, 0.01, 0.99)[0][place]
        return found

    return forecast


def nearest_models(pool: OutcomeMatrix, cluster: np.ndarray) -> Forecast:
    """The mean answer of the k models that agree most, as sure as they agree."""
    answers = pool.scores.astype(np.float64)
    means = np.nanmean(answers, axis=1)
    answered = np.where(np.isnan(answers), means[:, None], answers)

    def forecast(scores: np.ndarray, k: int) -> np.ndarray:
        found = np.empty(scores.shape)
        for row, own in zip(found, scores, strict=True):
            asked = ~np.isnan(own)
            apart = np.nan_to_num(np.abs(answers[:, asked] - own[asked]), nan=0.5)
            agree = (1 - apart).sum(axis=1) + 1
            near = np.argsort(-agree, kind="stable")[:k]
            trust = np.clip((2 * agree[near].mean() / (asked.sum() + 2) - 1), 0.02, 0.98)
            row[:] = trust * answered[near].mean(axis=0) + (1 - trust) * means[near].mean()
        return np.clip(found, 0.01, 0.99)

    return forecast


def nearest_model(pool: OutcomeMatrix, cluster: np.ndarray) -> Forecast:
    """The answers of the one model that agrees most."""
    by_agreement = nearest_models(pool, cluster)
    return lambda scores: by_agreement(scores, k=1)


def shrunken_clusters(pool: OutcomeMatrix, cluster: np.ndarray) -> Forecast:
    """Means over the answers in each cluster of prompts, shrunk towards the model's mean by some pseudo-answers."""

    def forecast(scores: np.ndarray, which: int, pseudo: float) -> np.ndarray:
        of = cluster[:, which]
        onehot = np.eye(of.max() + 1)[of]
        mean = _means(scores)[:, None]
        return ((np.nan_to_num(scores) @ onehot + pseudo * mean) / (~np.isnan(scores) @ onehot + pseudo))[:, of]

    return forecast


def item_response(pool: OutcomeMatrix, cluster: np.ndarray) -> Forecast:
    """2PL with items as the pool's models have them: one ability for a new model, and nothing read from the text.

    A share of the forecast may be the mean of the answers (gp-IRT; Polo et al. 2024, "tinyBenchmarks", ICML).
    """
    ability = logit(np.clip(np.nanmean(pool.scores, axis=1, dtype=np.float64), 0.01, 0.99))
    ability = (ability - ability.mean()) / (ability.std() or 1.0)
    start = np.tile(ability[:, None], (1, pool.shape[1]))  # a discrimination of one, from which items deviate
    design = np.column_stack([np.ones(len(ability)), ability])
    difficulty, sharper = question_effects(pool.scores, start, design, ITEM).T
    slopes = 1 + sharper

    def forecast(scores: np.ndarray, share: float) -> np.ndarray:
        found = np.empty(scores.shape)
        for row, own in zip(found, scores, strict=True):
            asked = ~np.isnan(own)
            theta = question_effects(own[asked, None], difficulty[asked, None], slopes[asked, None], np.ones(1))[0, 0]
            row[:] = expit(difficulty + slopes * theta)
        return np.clip((1 - share) * found + share * _means(scores)[:, None], 0.01, 0.99)

    return forecast


def _means(scores: np.ndarray) -> np.ndarray:
    asked = (~np.isnan(scores)).sum(axis=1)
    least = 1 / (asked + 2)
    return np.clip(np.nansum(scores, axis=1) / np.maximum(asked, 1), least, 1 - least)


GRIDS = {
    benchmark_levels: [{"penalty": penalty} for penalty in (0.25, 1.0, 4.0)],
    ridge_of_accuracies: [{"penalty": penalty} for penalty in (0.01, 0.1, 1.0, 10.0)],
    nearest_models: [{"k": k} for k in (2, 5, 10, 20)],
    shrunken_clusters: [{"which": which, "pseudo": pseudo} for which, pseudo in product((0, 1), (2.0, 8.0, 32.0))],
    item_response: [{"share": share} for share in (0.0, 0.25, 0.5, 0.75, 1.0)],
}


AIMS = (LOG_LOSS, MEAN, BENCHMARKS) = "log_loss", "rmse", "benchmark_error"  # what settings are chosen for


class Tuned:
    """A rival with the settings that do best for the pool's own models, a third of its lineages left out of it.

    Parameters
    ----------
    way : callable
        A function of this module.
    pool : OutcomeMatrix
    cluster : ndarray of int, shape (n_questions, 2)
        From `clusters`.
    lineages : sequence of str
        Of the pool's models.
    askable : ndarray of bool, shape (n_questions,)
        Which can be asked; on these settings are judged.
    seed : int
    """

    def __init__(self, way: Callable, pool: OutcomeMatrix, cluster: np.ndarray, lineages: Sequence[str],
                 askable: np.ndarray, seed: int):
        self._forecast, self._grid, self._chosen = way(pool, cluster), GRIDS.get(way, [{}]), {}
        if len(self._grid) > 1:
            rest, self._answers = parted(pool, lineage_folds(lineages, N_PARTS, seed) == 0)
            labels = pool.questions["benchmark"].astype(str).to_numpy()
            self._tried, self._order = way(rest, cluster), stratified(labels, askable, seed)
            self._groups = [askable & (labels == name) for name in np.unique(labels[askable])]

    def forecast(self, scores: np.ndarray, n: int) -> dict[str, np.ndarray]:
        """P(right) of new models with at most n answers each, for each of `AIMS`, by its settings for so many."""
        chosen = self.settings(n)
        different = {repr(given): given for given in chosen.values()}
        made = {name: self._forecast(scores, **given) for name, given in different.items()}
        return {aim: made[repr(given)] for aim, given in chosen.items()}

    def settings(self, n: int) -> dict[str, dict]:
        """For each of `AIMS` what does best from n answers, or three quarters of those that can be asked.

        Log-loss is judged on the others, mean scores on all that can be asked.
        """
        if len(self._grid) == 1:
            return dict.fromkeys(AIMS, self._grid[0])
        n = min(n, 3 * len(self._order) // 4)
        if n not in self._chosen:
            seen = np.full(self._answers.shape, np.nan)
            seen[:, self._order[:n]] = self._answers[:, self._order[:n]]
            lost = [self._lost(self._tried(seen, **given), seen) for given in self._grid]
            self._chosen[n] = {aim: self._grid[int(np.argmin([one[aim] for one in lost]))] for aim in AIMS}
        return self._chosen[n]

    def _lost(self, p: np.ndarray, seen: np.ndarray) -> dict[str, float]:
        """What forecasts of the pool's own models lose, by each of `AIMS`."""
        rest = np.where(np.isnan(seen), self._answers, np.nan)
        gap = np.where(np.isnan(rest), 0, p - np.nan_to_num(rest))  # nothing where it was asked, or is not known
        known = ~np.isnan(self._answers)
        means = np.stack([gap[:, own].sum(axis=1) / np.maximum(known[:, own].sum(axis=1), 1) for own in self._groups])
        whole = gap[:, self._order].sum(axis=1) / np.maximum(known[:, self._order].sum(axis=1), 1)
        loss = np.nanmean(cell_scores(p, rest, "log_loss")[:, self._order])
        return dict(zip(AIMS, (loss, (whole**2).mean(), np.abs(means).mean()), strict=True))
