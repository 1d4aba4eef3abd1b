"""A world without specialization: what would be seen if models differed in general ability alone?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, softmax

from embedllm.evaluation.metrics import CLIP

REACH = 5.0  # quadrature covers difficulties up to so many standard deviations
N_NODES = 81  # between them
STEPS = 30  # of Newton, model levels and question levels in turn; forecasts are never certain, so that few are needed
RIDGE = 0.01  # prior precision of an ability: one with every answer right stays finite


@dataclass(frozen=True, eq=False)
class OneDimensional:
    """A pool without specialization: logit P(correct) = ability[model] - difficulty[question].

    Attributes
    ----------
    abilities : ndarray, shape (n_models,), float64
        In logits, on a scale where the mean difficulty is zero.
    difficulty_sd : float
        Difficulties are normal with mean zero and this standard deviation, in logits.
    """

    abilities: np.ndarray
    difficulty_sd: float

    def draw(self, observed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Answers of the same models to new questions of the same population.

        Parameters
        ----------
        observed : ndarray of bool, shape (n_models, n_questions)
            Cells to fill.
        rng : Generator

        Returns
        -------
        ndarray, shape (n_models, n_questions), float32
            0 or 1; NaN where not observed.
        """
        return self._answers(self.difficulty_sd * rng.standard_normal(observed.shape[1]), observed, rng)

    def _answers(self, difficulty: np.ndarray, observed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        probability = expit((self.abilities[:, None] - difficulty).astype(np.float32))
        correct = rng.random(observed.shape, dtype=np.float32) < probability
        return np.where(observed, correct, np.float32(np.nan))


def fit_one_dimensional(scores: np.ndarray) -> OneDimensional:
    """Fit one ability per model and a normal population of difficulties, by marginal maximum likelihood.

    The random-effects Rasch model (Bock and Aitkin, Psychometrika 1981), with the difficulty integrated
    out over evenly spaced nodes: Gauss-Hermite nodes lie too far apart for the narrow posterior that
    many models give. EM with parameter expansion (Liu, Rubin and Wu, Biometrika 1998): the population
    is free in each step and then standardized again, which takes a handful of steps where plain EM
    takes dozens. Abilities have a normal prior of SD 10 logits, which matters only without an error.

    Parameters
    ----------
    scores : ndarray, shape (n_models, n_questions), in [0, 1]
        NaN = not observed, left out. A score between 0 and 1 counts as that part of a right answer.

    Returns
    -------
    OneDimensional
    """
    observed = ~np.isnan(scores)
    asked, right = observed.astype(np.float64), np.where(observed, scores, 0.0).astype(np.float64)
    z = np.linspace(-REACH, REACH, N_NODES)
    mean = (right.sum(axis=1) + 0.5) / (asked.sum(axis=1) + 1)
    ability, sd = np.log(mean / (1 - mean)), 1.0
    for _ in range(500):
        before = np.append(ability, sd)
        logit = ability[:, None] - sd * z  # (n_models, n_nodes)
        posterior = _posterior(right, asked, logit, z)
        # One Newton step on abilities and sd with the expected answers at each node.
        probability, answers = expit(logit), asked @ posterior
        residual = right @ posterior - answers * probability
        information = answers * probability * (1 - probability)
        slope, curvature = residual.sum(axis=1) - RIDGE * ability, information.sum(axis=1) + RIDGE
        cross = -information @ z
        d_sd = (-residual @ z - cross * slope / curvature).sum()
        d_sd /= (information @ z**2 - cross**2 / curvature).sum()
        d_sd = np.clip(d_sd, -0.5, 0.5)  # far from the solution a full step overshoots
        ability = ability + np.clip((slope - cross * d_sd) / curvature, -1, 1)
        sd = max(sd + d_sd, 1e-3)
        # Standardize the population that the posteriors imply.
        population = posterior.mean(axis=0)
        center = population @ z
        ability, sd = ability - sd * center, sd * np.sqrt(population @ z**2 - center**2)
        if np.abs(np.append(ability, sd) - before).max() < 1e-4:
            break
    return OneDimensional(abilities=ability, difficulty_sd=float(sd))


def _posterior(right: np.ndarray, asked: np.ndarray, logit: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Chance of each node for each question, given its answers: (n_questions, n_nodes).

    `right` and `asked` are (n_models, n_questions), `logit` (n_models, n_nodes).
    """
    evidence = right.T @ logit - asked.T @ np.logaddexp(0, logit)
    return softmax(evidence - z**2 / 2, axis=1)


def additive_version(forecast: np.ndarray) -> np.ndarray:
    """What a forecast says of models and of questions alone: ``sigmoid(level[model] + level[question])``.

    The levels that come nearest in log-loss, so that each model and each question keeps its mean forecast. What tells
    one model from another beyond its level, knowledge and noise alike, is gone.

    Parameters
    ----------
    forecast : ndarray, shape (n_models, n_questions), in (0, 1)

    Returns
    -------
    ndarray, shape (n_models, n_questions), float64
    """
    p = np.clip(forecast.astype(np.float64), CLIP, 1 - CLIP)
    logits = logit(p)
    model, question = logits.mean(axis=1) - logits.mean() / 2, logits.mean(axis=0) - logits.mean() / 2
    for step in range(STEPS):
        own = expit(model[:, None] + question)
        curvature, residual, axis = own * (1 - own), p - own, step % 2
        change = np.clip(residual.sum(axis=axis) / np.maximum(curvature.sum(axis=axis), CLIP), -2, 2)  # no overshooting
        if axis:
            model = model + change
        else:
            question = question + change
        if np.abs(change).max() < 1e-6 and step:
            break
    return expit(model[:, None] + question)
