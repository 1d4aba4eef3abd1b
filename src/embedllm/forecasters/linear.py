"""Forecasters whose logit is linear in features of the prompt vector, all models solved together.

For model m and features e of a prompt: ``logit P(correct) = b_m + (w + v_m) . e`` with a difficulty w that all models
share and an own deviation v_m. The features are the prompt vector itself (centered, scaled to a root mean square length
of one) or its Gaussian similarities to training prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logit
from threadpoolctl import threadpool_limits

from embedllm.evaluation.metrics import question_scores, sigmoid
from embedllm.forecasters.contract import Forecaster
from embedllm.forecasters.means import smoothed_means
from embedllm.machine import device

# Penalties from "leave this part out" to hardly any, per observed cell; walked until validation stops gaining.
PATH = (inf, 1e-2, 2.5e-3, 6e-4, 1.5e-4, 4e-5, 1e-5, 2.5e-6, 6e-7)
FACTORS = (4.0, 2.0, 1.0, 0.5)  # of the penalty on own deviations, walked anew at each shaping
COARSE, EXACT = 1e-6, 1e-9  # relative fall of the objective at which a solve ends, on the way and at last
SPARED = 1e-3  # share of the features' variance that may be left out with its principal axes
LIMITS = {"maxiter": 200, "gtol": 0}
ANCHOR = 1e-6  # ridge that keeps the level of a model with all answers right, or none, finite
LANDMARKS = 1000  # training prompts that similarities are taken to, at most
BLURRED = 2e-2  # share of the similarities' variance that may be left out: half of their axes
FLOOR = 0.01  # share of the mean spread that every direction of model space keeps when shaped


@dataclass
class TextLogistic(Forecaster):
    """Logistic regression on prompts, with what the models share and what is their own.

    The simpler forecasters are special cases. Without own deviations it is an item-response model of one
    ability a model (b_m) and a difficulty read from the text (1PL with text); without the shared part, one
    ridge-penalized logistic regression a model; without both, the model mean. Penalties are chosen on
    validation from "leave the part out" on, first the shared one, then the own one.

    `shapings` then lets models that deviate alike share strength: V is penalized by
    ``trace(V' S^-1 V)`` with ``S = (V V')^(1/2)`` of the last solution (n_models x n_models), anew at each
    step, which is iterative reweighting for a penalty on the trace norm of V and so prefers few directions,
    a factorization of low rank (Argyriou, Evgeniou and Pontil 2008, Machine Learning 73).

    Parameters
    ----------
    shared, own : tuple of float
        Ridge penalties on w and on each v_m to try, strong to weak, until validation log-loss rises; infinity
        leaves the part out. The best pair is in ``penalties`` after ``fit``.
    shapings : int
        Steps of reweighting; each is kept only if validation log-loss falls.
    width : float
        Standard deviation of the Gaussian similarity, in the unit of standardized prompt vectors, which lie about 1.4
        apart; infinity stands for the prompt vector itself, which very wide similarities amount to.

    Attributes (after ``fit``)
    --------------------------
    intercepts : ndarray, shape (n_models,), float64
    betas : ndarray, shape (n_models, n_features), float64
        The w + v_m; where ``width`` is infinite, for prompt vectors centered and scaled as ``features`` has it.
    """

    shared: tuple[float, ...] = PATH
    own: tuple[float, ...] = PATH
    shapings: int = 3
    width: float = inf

    LEARNED: ClassVar = ("features", "penalties", "intercepts", "betas")

    @property
    def n_candidates(self) -> int:
        shared, own = (len(path) * (path != (inf,)) for path in (self.shared, self.own))
        return shared + own + (own > 0) * self.shapings * len(FACTORS) or 1

    @property
    def choice(self) -> dict:
        return dict(zip(("shared penalty", "own penalty"), self.penalties, strict=True))

    @threadpool_limits.wrap(limits=1, user_api="blas")  # its threads would spin in the way of torch's: tenfold slower
    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        self.features = _Features(self.width)
        solver = _Solver(train, self.features.learn(train_vectors))
        search = _Search(solver, self.features(val_vectors) @ solver.axes, val.scores)
        _, (shared, _), solution = search.walk([(shared, inf) for shared in self.shared], None)
        best, root = search.walk([(shared, own) for own in self.own], solution), None
        for _ in range(self.shapings):
            loss, (shared, own), solution = best
            if not solution[2].any():
                break
            shape = _shape(solution[2])
            shaped = search.walk([(shared, own * factor) for factor in FACTORS], solution, shape)
            if shaped[0] >= loss:
                break
            best, root = shaped, shape
        _, self.penalties, solution = best
        self.intercepts, common, deviations = solver.solve(*self.penalties, root, solution, EXACT)
        self.betas = (common + deviations) @ solver.axes.T

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        return _probabilities(self.intercepts, 0, self.betas, self.features(prompt_vectors))


@dataclass
class _Features:
    """Prompt vectors to what the logit is linear in."""

    width: float

    LEARNED: ClassVar = ("center", "scale", "landmarks", "mapping", "level")

    def learn(self, vectors: np.ndarray) -> np.ndarray:
        """Learn center, scale and landmarks from the training prompts, (n_questions, d_prompt); their features."""
        self.center, self.scale = vectors.mean(axis=0, dtype=np.float64).astype(np.float32), np.float32(1)
        self.scale = np.float32(np.sqrt((self._standardized(vectors) ** 2).sum(axis=1).mean(dtype=np.float64)) or 1)
        if self.width == inf:
            return self._standardized(vectors)
        size = min(LANDMARKS, len(vectors))
        chosen = np.sort(np.random.default_rng(0).choice(len(vectors), size, replace=False))
        self.landmarks = self._standardized(vectors[chosen])
        spread, axes = np.linalg.eigh(self._similarity(self.landmarks).astype(np.float64))
        kept = np.cumsum(spread) > BLURRED * spread.sum()
        # Nystroem: features whose products are the similarities (Williams and Seeger 2001, NIPS 13).
        self.mapping = (axes[:, kept] / np.sqrt(spread[kept])).astype(np.float32)
        self.level = np.float32(0)
        e = self(vectors)
        self.level = e.mean(axis=0, dtype=np.float64).astype(np.float32)
        return e - self.level

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Features of prompts: float32, (n_questions, n_features), centered on the training questions."""
        e = self._standardized(vectors)
        return e if self.width == inf else _product(self._similarity(e), self.mapping) - self.level

    def _standardized(self, vectors: np.ndarray) -> np.ndarray:
        return (vectors - self.center) / self.scale

    def _similarity(self, e: np.ndarray) -> np.ndarray:
        result = _product(e, self.landmarks.T)  # in place from here: there may be many questions
        result *= -2
        result += (e**2).sum(axis=1)[:, None]
        result += (self.landmarks**2).sum(axis=1)
        np.maximum(result, 0, out=result)
        result /= -2 * self.width**2
        return np.exp(result, out=result)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # with PyTorch's threads; BLAS has one while fitting
    return (torch.as_tensor(a) @ torch.as_tensor(b)).numpy()


@dataclass
class _Search:
    """Solutions for one set of features, judged on the validation questions."""

    solver: _Solver
    val_e: np.ndarray  # their features on the solver's axes
    val_scores: np.ndarray

    def walk(self, penalties: list, solution: tuple | None, root: tuple | None = None) -> tuple:
        """The best (loss, penalties, solution) on the way down, up to the first loss that rises."""
        best = (inf, None, solution)
        for pair in penalties:
            solution = self.solver.solve(*pair, root, solution)
            probabilities = _probabilities(*solution, self.val_e)
            loss = float(np.nanmean(question_scores(probabilities, self.val_scores, "log_loss")))
            if loss >= best[0]:
                break
            best = (loss, pair, solution)
        return best


class _Solver:
    """Minimizes mean log-loss plus ridge penalties by L-BFGS, for any penalties on one training table.

    Works on principal axes of the features and divides every coefficient by the square root of its
    expected curvature: nearly round, the objective needs some five steps from a warm start and not fifty.
    """

    def __init__(self, train, e: np.ndarray):
        """Take the scores and the features of the training questions, (n_questions, n_features)."""
        spread, axes = np.linalg.eigh(_product(e.T, e).astype(np.float64) / len(e))
        kept = np.cumsum(spread) > SPARED * spread.sum()
        self.spread, self.axes = spread[kept], axes[:, kept].astype(np.float32)
        self.device = device()
        self.e = self._tensor(_product(e, self.axes))
        self.mask, self.y = self._tensor(train.observed), self._tensor(np.nan_to_num(train.scores))
        asked = train.observed.sum(axis=1)
        self.n = max(asked.sum(), 1)
        means = np.clip(smoothed_means(train), 1e-4, 1 - 1e-4)
        self.level, self.curvature = logit(means), means * (1 - means) * np.maximum(asked, 1) / self.n

    def solve(
        self, shared: float, own: float, root: tuple | None, start: tuple | None, tolerance: float = COARSE
    ) -> tuple:
        """Intercepts (n_models,), shared (d,) and own coefficients (n_models, d) on principal axes.

        `root` is what `_shape` gave: own coefficients are then penalized along its directions of model space.
        """
        n_models, d = len(self.level), len(self.spread)
        stretch, directions = (np.ones(n_models), np.eye(n_models)) if root is None else root
        mixing = directions * stretch  # own coefficients = mixing @ z, and z is penalized evenly
        curvature = self.curvature if root is None else np.full(n_models, self.curvature.mean())
        steps = [np.sqrt(self.curvature + ANCHOR)]
        if shared < inf:
            steps.append(np.sqrt(self.curvature.sum() * self.spread + shared))
        if own < inf:
            steps.append(np.sqrt(np.outer(stretch**2 * curvature, self.spread) + own))
        sizes = np.cumsum([step.size for step in steps])[:-1]

        def unpack(x: np.ndarray) -> tuple:
            parts = iter(part.reshape(step.shape) / step for part, step in zip(np.split(x, sizes), steps, strict=True))
            return (next(parts), next(parts) if shared < inf else np.zeros(d),
                    next(parts) if own < inf else np.zeros((n_models, d)))

        def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
            b, w, z = unpack(x)
            coefficients = w + mixing @ z if own < inf else w[None]
            logits = self._tensor(b)[:, None] + self._tensor(coefficients) @ self.e.T
            loss = ((torch.nn.functional.softplus(logits) - self.y * logits) * self.mask).sum(dtype=torch.float64)
            residual = (torch.sigmoid(logits) - self.y) * self.mask / self.n
            slope = residual @ self.e if own < inf else (residual.sum(dim=0) @ self.e)[None]
            slope = slope.cpu().numpy().astype(np.float64)  # (n_models or 1, d)
            gap = b - self.level
            value = float(loss) / self.n + ANCHOR * gap @ gap / 2
            gradient = [residual.sum(dim=1).cpu().numpy().astype(np.float64) + ANCHOR * gap]
            if shared < inf:
                value += shared * w @ w / 2
                gradient.append(slope.sum(axis=0) + shared * w)
            if own < inf:
                value += own * (z * z).sum() / 2
                gradient.append(mixing.T @ slope + own * z)
            return value, np.concatenate([(g / step).ravel() for g, step in zip(gradient, steps, strict=True)])

        b, w, v = start or (self.level, np.zeros(d), np.zeros((n_models, d)))
        first = [b] + [w] * (shared < inf) + [directions.T @ v / stretch[:, None]] * (own < inf)
        x = np.concatenate([(value * step).ravel() for value, step in zip(first, steps, strict=True)])
        found = minimize(objective, x, jac=True, method="L-BFGS-B", options=LIMITS | {"ftol": tolerance})
        b, w, z = unpack(found.x)
        return b, w, mixing @ z

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)


def _shape(own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Square roots of the eigenvalues of S = (V V')^(1/2), scaled to mean one and floored, and its directions."""
    spread, directions = np.linalg.eigh(own @ own.T)
    spread = np.sqrt(np.maximum(spread, 0))
    return np.sqrt(spread / spread.mean() + FLOOR), directions


def _probabilities(intercepts: np.ndarray, shared, own: np.ndarray, e: np.ndarray) -> np.ndarray:
    logits = _product((shared + own).astype(np.float32), e.T) + intercepts[:, None].astype(np.float32)
    return sigmoid(logits)
