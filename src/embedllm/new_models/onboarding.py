"""A vector for a new model from a few answers, without training: everything that the pool's models share stays.

``logit P(right) = offset_q + design_q . z``: numbers z of the new model, standard normal before it has answered. They
are its level and coordinates in a fitted convex embedding, in units of how the pool's models spread, and its deviations
along ease, on all questions, on each suite and on each benchmark. The offset is the pool's mean model: how easy a
question is, from its text and from what the pool answered. Answers then give the most likely z and, by the curvature
there, how sure it is (Laplace's approximation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from embedllm.evaluation.intervals import ALPHA

EVERYTHING = "all"  # questions, as a group of them is called
STEPS, FLAT = 60, 1e-6  # of Newton's method, at most; largest slope at which it ends
N_DRAWS = 200  # of a posterior
STEEPEST = 20.0  # weight of an answer in `person_fit`, at most
AT_ONCE = 2**23  # numbers that a batch of models holds


def averaged(logits: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """P(right) where logits are normal, given their mean and variance.

    The mean of the sigmoid is about the sigmoid of the mean over sqrt(1 + pi variance / 8) (MacKay 1992, Neural
    Computation 4).
    """
    return expit(logits / np.sqrt(1 + np.pi * variance / 8))


@dataclass(frozen=True, eq=False)
class Shared:
    """What the models of a pool share on some questions.

    Attributes
    ----------
    design : ndarray, shape (n_questions, k), float64
        The n coordinates; then, where models deviate by more than these, along ease and on groups of questions.
    offset : ndarray, shape (n_questions,), float64
    doubt : ndarray, shape (n_questions,), float64
        Variance of the offset: how easy a question is, is known from few answers.
    mean, root : ndarray, shapes (n,) and (n, n), float64
        ``mean + root @ z[:n]`` are the coordinates `used` of the embedding's vector, the others zero.
    used : ndarray of bool, shape (dim,)
        Which n of the embedding's numbers a new model has, the level, 0, among them.
    within : ndarray, shape (n, n), float64
        Covariance of these coordinates among models of one lineage, a part of ``root @ root.T``; NaN where no lineage
        has two models.
    by_size : ndarray, shape (2, n), float64
        How far from ``mean`` models lie, on average and for each unit of the logarithm of their size over its mean.
    sizes : ndarray, shape (n_lineages,), float64
        Log (billions of parameters) of lineages of known size; none where size tells nothing.
    given_size : ndarray, shape (n, n), float64
        Covariance of the coordinates among models of one size, if what is usual at that size were known.
    """

    design: np.ndarray
    offset: np.ndarray
    doubt: np.ndarray
    mean: np.ndarray
    root: np.ndarray
    used: np.ndarray
    within: np.ndarray
    by_size: np.ndarray
    sizes: np.ndarray
    given_size: np.ndarray

    def of_size(self, billions: float) -> Shared:
        """What is shared with a new model of a size: before any answer it is expected where models of that size lie.

        As wide as a prediction by linear regression is at that size (Draper and Smith 1998, Applied Regression
        Analysis, chapter 1). A size beyond the pool's counts as the nearest of these; where it is NaN, or size tells
        nothing of the pool's models, nothing changes.
        """
        if np.isnan(billions) or not len(self.sizes):
            return self
        sizes, middle = self.sizes, self.sizes.mean()
        apart = np.clip(np.log(billions), sizes.min(), sizes.max()) - middle
        wider = 1 + 1 / len(sizes) + apart**2 / ((sizes - middle) ** 2).sum()
        return self._around(np.array([1, apart]) @ self.by_size, wider * self.given_size)

    def of_relatives(self, vectors: np.ndarray) -> Shared:
        """What is shared with a new model of a lineage: before any answer it is expected around its relatives.

        The center of a lineage is normal around the pool's mean, as lineages spread, its models around that, as models
        of one lineage do.

        Parameters
        ----------
        vectors : ndarray, shape (n_relatives, dim)
            Of the embedding's models of that lineage, taken as they were fitted. Without any, or where no lineage tells
            how alike they are, nothing changes.
        """
        if not len(vectors) or np.isnan(self.within).any():
            return self
        between = self.root @ self.root.T - self.within
        gain = np.linalg.solve(between + self.within / len(vectors), between).T
        step = gain @ (vectors[:, self.used].mean(axis=0) - self.mean)
        return self._around(step, between - gain @ between + self.within)

    def _around(self, step: np.ndarray, covariance: np.ndarray) -> Shared:
        """The same with other coordinates in the middle, and as far from them as this covariance says."""
        n, root = len(self.mean), np.linalg.cholesky(covariance)
        x = np.linalg.solve(self.root.T, self.design[:, :n].T).T
        return replace(self, design=np.hstack([x @ root, self.design[:, n:]]), offset=self.offset + x @ step,
                       mean=self.mean + step, root=root)

    @property
    def width(self) -> np.ndarray:
        """How much a logit counts for, its offset being in doubt, see `averaged`: (n_questions,), in (0, 1]."""
        return 1 / np.sqrt(1 + np.pi * self.doubt / 8)


@dataclass(frozen=True, eq=False)
class Posterior:
    """What the answers of some new models say of them.

    Attributes
    ----------
    z : ndarray, shape (n_models, k)
        The most likely values.
    covariance : ndarray, shape (n_models, k, k)
    shared : Shared
    """

    z: np.ndarray
    covariance: np.ndarray
    shared: Shared

    @property
    def vectors(self) -> np.ndarray:
        """Level and coordinates as in `ConvexEmbedding.model_vectors`: (n_models, dim), float64, in logits."""
        found, at = np.zeros((len(self.z), len(self.shared.used))), self.shared
        found[:, at.used] = at.mean + self.z[:, : len(at.mean)] @ at.root.T
        return found

    def forecast(self) -> np.ndarray:
        """P(right), what is not known of the models averaged over: (n_models, n_questions), float64, in (0, 1)."""
        at = self.shared
        variance = at.doubt + np.stack([((at.design @ own) * at.design).sum(axis=1) for own in self.covariance])
        return averaged(at.offset + self.z @ at.design.T, variance)

    def accuracies(
        self, scores: np.ndarray, groups: np.ndarray, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean score of each model over groups of the questions: asked ones as they came, the others as forecast.

        Parameters
        ----------
        scores : ndarray, shape (n_models, n_questions), in [0, 1]
            What was asked; NaN where it was not.
        groups : ndarray of bool, shape (n_groups, n_questions)
            Which questions are in a group.

        Returns
        -------
        value, low, high : ndarray, shape (n_models, n_groups), float64
            Interval of 95 %: normal, by the spread of draws from the posterior and the chance in answers to come.
        """
        rng, at, n, found = np.random.default_rng(seed), self.shared, groups.sum(axis=1), []
        offset, design = at.offset * at.width, (at.design * at.width[:, None]).T
        p = np.empty((N_DRAWS, len(offset)))  # filled in place: to make it anew takes longer
        for own, covariance, asked in zip(self.z, self.covariance, scores, strict=True):
            drawn = own + rng.standard_normal((N_DRAWS, len(own))) @ np.linalg.cholesky(covariance).T
            expit(np.add(np.matmul(drawn, design, out=p), offset, out=p), out=p)
            left = (groups & np.isnan(asked)).T
            means = (p @ left + np.nan_to_num(asked) @ groups.T) / n
            chance = (p.mean(axis=0) - np.einsum("dq,dq->q", p, p) / N_DRAWS) @ left
            found.append((means.mean(axis=0), means.var(axis=0, ddof=1) + chance / n**2))
        value, variance = np.moveaxis(np.array(found), 1, 0)
        reach = norm.ppf(1 - ALPHA / 2) * np.sqrt(variance)
        return value, np.clip(value - reach, 0, 1), np.clip(value + reach, 0, 1)


def groups_of(labels: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Groups of questions whose mean scores are told: `EVERYTHING`, and those of each label.

    Returns their names, and which questions are in each: bool, (n_groups, n_questions).
    """
    names = np.unique(labels)
    return [EVERYTHING, *names], np.vstack([np.full(len(labels), True), labels == names[:, None]])


def person_fit(shared: Shared, scores: np.ndarray) -> np.ndarray:
    """How unlike the pool new models answer: the lowest of three standardized statistics, (n_models,), float64.

    Each is about standard normal for a model drawn as the pool's are, the lowest a little below zero; far below where
    right and wrong answers are in the wrong places. Answers are judged by the vector that they made, without the
    deviation along ease, which would take up what is looked for; as far as it varies over the pool's models it is
    counted as spread. The first is the log-likelihood of the answers (l_z; Drasgow, Levine and Williams 1985, British
    Journal of Mathematical and Statistical Psychology 38), low for who guesses; the others are derivatives of it, for a
    share of answers that are wrong, as when they are not read, and for a share that are right, as when they were known
    before (score tests; Rao 1948, Mathematical Proceedings of the Cambridge Philosophical Society 44). None sees one
    that fails a whole benchmark, whose deviation there takes it up. NaN without answers.

    Parameters
    ----------
    shared : Shared
        With deviations.
    scores : ndarray, shape (n_models, n_questions), in [0, 1]
        NaN where a model was not asked.
    """
    ease = shared.design[:, len(shared.mean)] * shared.width
    without = replace(shared, design=np.delete(shared.design, len(shared.mean), axis=1))
    posterior, x = onboard(without, scores), without.design * shared.width[:, None]
    p, asked = posterior.forecast(), ~np.isnan(scores)
    chance = np.where(asked, p * (1 - p), 0)
    left = ease - np.stack([x @ (own @ ((weight * ease) @ x)) for own, weight in
                            zip(posterior.covariance, chance, strict=True)])  # of what the other numbers do not take up
    y, odds = np.nan_to_num(scores), np.log(p / (1 - p))
    found = []
    for weight in (odds, np.minimum(1 / (1 - p), STEEPEST), -np.minimum(1 / p, STEEPEST)):
        gap = np.where(asked, (y - p) * weight, 0).sum(axis=1)
        spread = np.sqrt((chance * weight**2).sum(axis=1) + (chance * weight * left).sum(axis=1) ** 2)
        found.append(np.divide(gap, spread, out=np.full(len(gap), np.nan), where=spread > 0))
    return np.min(found, axis=0)


def onboard(shared: Shared, scores: np.ndarray) -> Posterior:
    """The most likely numbers of new models, and how sure they are.

    Newton's method for many models at once, with steps shortened as in `completion.question_effects`.

    Parameters
    ----------
    shared : Shared
    scores : ndarray, shape (n_models, n_questions), in [0, 1]
        NaN where a model was not asked; a model without answers keeps the prior.
    """
    most = max(1, int((~np.isnan(scores)).sum(axis=1).max(initial=0)))
    batch = max(1, AT_ONCE // (most * shared.design.shape[1]))
    found = [_solved(shared, scores[start : start + batch], most) for start in range(0, len(scores), batch)]
    return Posterior(*(np.concatenate(parts) for parts in zip(*found, strict=True)), shared)


def _solved(shared: Shared, scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """z and covariance of some models, each from its own questions: rows of weight zero fill up."""
    n_models, k = len(scores), shared.design.shape[1]
    order = np.argsort(np.isnan(scores), axis=1, kind="stable")[:, :most]  # asked questions first
    answers = np.take_along_axis(scores, order, axis=1)
    asked, answers = ~np.isnan(answers), np.nan_to_num(answers).astype(np.float64)
    width = shared.width[order]
    design, offset = shared.design[order] * width[..., None], shared.offset[order] * width
    z, curvature = np.zeros((n_models, k)), np.tile(np.eye(k), (n_models, 1, 1))
    for _ in range(STEPS):
        p = expit(offset + (design @ z[..., None])[..., 0])
        slope = (np.where(asked, p - answers, 0)[:, None] @ design)[:, 0] + z
        curvature = design.transpose(0, 2, 1) @ (design * np.where(asked, p * (1 - p), 0)[..., None]) + np.eye(k)
        if np.abs(slope).max(initial=0) < FLAT:
            break
        step = np.linalg.solve(curvature, slope[..., None])
        reach = np.abs(design @ step)[..., 0].max(axis=1) + np.finfo(float).tiny
        z -= step[..., 0] * (np.log1p(reach) / reach)[:, None]
    return z, np.linalg.inv(curvature)
