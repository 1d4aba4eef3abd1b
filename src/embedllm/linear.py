"""Forecasters whose logit is linear in the prompt vector, all models solved together.

For model m and prompt vector e (centred, scaled to a root mean square length of one):
``logit P(correct) = b_m + (w + v_m) . e`` with a difficulty w that all models share and an own deviation v_m.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from embedllm.baselines import smoothed_means
from embedllm.metrics import question_scores

STEPS = 200  # of the quasi-Newton solver, at most
ANCHOR = 1e-6  # ridge that keeps the level of a model with all answers right, or none, finite
FLOOR = 0.01  # share of the mean spread that every direction of model space keeps when shaped


@dataclass
class TextLogistic:
    """Logistic regression on prompt vectors, with what the models share and what is their own.

    Without own deviations it is an item-response model of one ability a model (b_m) and a difficulty read
    from the text (1PL with text); without the shared part, one ridge-penalised logistic regression a model;
    with both penalties high, the model mean. Every combination of the penalties is tried, from the strongest
    on, each solve starting where the last one ended.

    `shapings` then lets models that deviate alike share strength: V is penalised by
    ``trace(V' S^-1 V)`` with ``S = (V V')^(1/2)`` of the last solution (n_models x n_models), anew at each
    step, which is iterative reweighting for a penalty on the trace norm of V and so prefers few directions
    (Argyriou, Evgeniou and Pontil 2008, Machine Learning 73).

    Parameters
    ----------
    shared, own : tuple of float
        Candidates for the ridge penalty on w and on each v_m, per observed cell; empty leaves the part out.
        The pair with the lowest validation log-loss is kept in ``penalties`` after ``fit``.
    shapings : int
        Steps of reweighting; each is kept only if validation log-loss falls.
    """

    shared: tuple[float, ...] = (1e-3, 3e-4, 1e-4)
    own: tuple[float, ...] = (1e-3, 3e-4, 1e-4, 3e-5)
    shapings: int = 3

    def fit(self, train, train_vectors, val, val_vectors) -> Self:
        """Solve on `train`, choose penalties on `val`; the contract is `baselines.Forecaster`."""
        self.centre = train_vectors.mean(axis=0, dtype=np.float64)
        self.scale = np.sqrt(((train_vectors - self.centre) ** 2).sum(axis=1).mean()) or 1.0
        solver = _Solver(train, self._standardised(train_vectors), bool(self.shared))
        best, solution = np.inf, None
        for shared in sorted(self.shared, reverse=True) or [0.0]:
            for own in sorted(self.own, reverse=True) or [None]:
                solution = solver.solve(shared, own, None, solution)
                loss = self._loss(solution, val, val_vectors)
                if loss < best:
                    best, kept, self.penalties = loss, solution, (shared, own)
        for _ in range(self.shapings if self.own else 0):
            root, candidates = _shape(kept[2]), []
            for factor in (4.0, 2.0, 1.0, 0.5):
                solution = solver.solve(self.penalties[0], self.penalties[1] * factor, root, kept)
                candidates.append((self._loss(solution, val, val_vectors), factor, solution))
            loss, factor, solution = min(candidates, key=lambda candidate: candidate[0])
            if loss >= best:
                break
            best, kept, self.penalties = loss, solution, (self.penalties[0], self.penalties[1] * factor)
        self.intercepts, self.betas = kept[0], kept[1] + kept[2]
        return self

    def predict_proba(self, prompt_vectors: np.ndarray) -> np.ndarray:
        """P(correct): float32 in (0, 1), shape (n_models, n_questions)."""
        return _probabilities(self.intercepts, self.betas, self._standardised(prompt_vectors))

    def _standardised(self, vectors: np.ndarray) -> np.ndarray:
        return (vectors - self.centre) / self.scale

    def _loss(self, solution: tuple, table, vectors: np.ndarray) -> float:
        """Log-loss of a solution on a table."""
        intercepts, shared, own = solution
        probabilities = _probabilities(intercepts, shared + own, self._standardised(vectors))
        return float(np.nanmean(question_scores(probabilities, table.scores, "log_loss")))


class _Solver:
    """Minimises mean log-loss plus ridge penalties, for any penalties on one training table."""

    def __init__(self, train, e: np.ndarray, with_shared: bool):
        self.e, self.with_shared = e, with_shared
        self.mask = train.observed.astype(np.float64)
        self.y = np.nan_to_num(train.scores).astype(np.float64)
        self.n = max(self.mask.sum(), 1.0)
        self.level = logit(np.clip(smoothed_means(train), 1e-4, 1 - 1e-4))

    def solve(self, shared: float, own: float | None, root: np.ndarray | None, start: tuple | None) -> tuple:
        """Intercepts (n_models,), shared (d,) and own coefficients (n_models, d); root is `_shape`'s, if any."""
        n_models, d = len(self.y), self.e.shape[1]
        own_size = 0 if own is None else n_models * d

        def unpack(x: np.ndarray) -> tuple:
            z = x[n_models + d :].reshape(n_models, d) if own_size else np.zeros((n_models, d))
            return x[:n_models], x[n_models : n_models + d], z

        def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
            b, w, z = unpack(x)
            v = z if root is None else root @ z
            logits = b[:, None] + (v + w) @ self.e.T
            residual = self.mask * (expit(logits) - self.y) / self.n
            loss = (self.mask * (np.logaddexp(0, logits) - self.y * logits)).sum() / self.n
            gap = b - self.level
            loss += (ANCHOR * gap @ gap + shared * w @ w + (own or 0) * (z * z).sum()) / 2
            slope = residual @ self.e  # (n_models, d)
            gradient = [residual.sum(axis=1) + ANCHOR * gap]
            gradient.append(slope.sum(axis=0) + shared * w if self.with_shared else np.zeros(d))
            if own_size:
                gradient.append(((slope if root is None else root.T @ slope) + own * z).ravel())
            return loss, np.concatenate(gradient)

        x = np.zeros(n_models + d + own_size)
        x[:n_models] = self.level
        if start is not None:
            z = start[2] if root is None else np.linalg.solve(root, start[2])
            x = np.concatenate([start[0], start[1], z.ravel()[:own_size]])
        found = minimize(objective, x, jac=True, method="L-BFGS-B", options={"maxiter": STEPS, "ftol": 1e-8})
        b, w, z = unpack(found.x)
        return b, w, z if root is None else root @ z


def _shape(own: np.ndarray) -> np.ndarray:
    """The symmetric square root of S = (V V')^(1/2), scaled to mean eigenvalue one, floored: (n_models, n_models)."""
    directions, spread, _ = np.linalg.svd(own, full_matrices=True)
    spread = np.append(spread, np.zeros(len(own) - len(spread)))
    relative = spread / max(spread.mean(), 1e-12) + FLOOR
    return (directions * np.sqrt(relative)) @ directions.T


def _probabilities(intercepts: np.ndarray, betas: np.ndarray, e: np.ndarray) -> np.ndarray:
    logits = intercepts[:, None] + betas @ e.T
    return expit(np.clip(logits, -15, 15)).astype(np.float32)  # beyond, float32 would round to certainty
