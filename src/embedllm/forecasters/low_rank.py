"""The low-rank logistic as one convex problem, solved to the last digits that matter.

For model m and prompt vector x, ``logit P(correct) = b_m + (w + v_m) . x`` with deviations V that sum to zero over
models, which makes the split into w and V unique. Minimized is the mean log-loss of the observed cells plus

``ANCHOR / 2 |b - b0|^2  +  shared / 2 |w|^2  +  own sum_i sqrt(s_i^2 + SMOOTHING^2)``,

s_i the singular values of ``V / sqrt(n_models)``: the root mean square coefficient of the models along a direction.
Their sum is the trace norm, which prefers few directions (Argyriou, Evgeniou and Pontil 2008, Machine Learning 73).
All of it is smooth and strictly convex: there is one solution, whatever the start, and no seed. Penalties are on the
coefficients of prompt vectors, so that directions in which prompts vary little are shrunk more; shrinking all alike, by
the differences of logits that they make, forecasts worse.

Newton's method with conjugate gradients finds the solution. Sums over cells are taken block by block of questions, each
block on one thread, in a fixed order: the number of threads changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from math import ceil, inf

import numpy as np
import torch
from scipy.special import logit

from embedllm.forecasters.means import smoothed_means
from embedllm.forecasters.trace_norm import Penalty
from embedllm.machine import device
from embedllm.outcomes import OutcomeMatrix

ANCHOR = 1e-6  # ridge that keeps the level of a model with all answers right, or none, finite
NULL = 1e-9  # variance of prompts, 1 in all, below which a principal axis is rounding
BLOCK = 512  # questions that are computed at a time
# Distance to the solution at which a solve ends, in some half logits; share of it that a step may leave; precision.
COARSE, EXACT = (2e-3, 0.1, torch.float32), (3e-8, 0.01, torch.float64)
ENOUGH, LEAST = 8, 0.25  # questions per axis, share of the questions, that tell the curvature on the way
STEPS, PRODUCTS = 100, 100  # of Newton's method, of conjugate gradients in each, at most


class Solver:
    """Solutions for any penalties on one training table, as flat arrays: see `unpack`.

    Attributes
    ----------
    spread : ndarray, shape (n_axes,), float64
        Variance of the prompt vectors along their principal axes.
    axes : ndarray, shape (d_prompt, n_axes), float64
    """

    def __init__(self, train: OutcomeMatrix, x: np.ndarray, pool: Executor):
        """Take the scores and the centered prompt vectors of the training questions: (n_questions, d_prompt), float64.

        Each thread of the pool must compute with one thread of PyTorch's.
        """
        blocks = torch.as_tensor(x, device=device()).split(BLOCK if device().type == "cpu" else len(x))
        gram = sum(pool.map(lambda block: block.T @ block, blocks)).cpu().numpy() / len(x)
        spread, axes = np.linalg.eigh(gram)
        kept = (spread > NULL) | (spread == spread[-1])  # one at least
        self.spread, self.axes = np.maximum(spread[kept], NULL), axes[:, kept]
        rotation = torch.as_tensor(self.axes, device=device())
        self.cells = _Cells(train, list(pool.map(lambda block: block @ rotation, blocks)), pool)
        self.level = logit(np.clip(smoothed_means(train), 1e-4, 1 - 1e-4))

    def unpack(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Levels b, (n_models,), and slopes w + v_m on the principal axes, (n_models, n_axes); one row where V = 0."""
        level, slopes = np.split(point, [len(self.level)])
        return level, slopes.reshape(-1, len(self.spread))

    def solve(self, shared: float, own: float, start: np.ndarray | None = None, exact: bool = False) -> np.ndarray:
        """The solution for two penalties; an infinite `own` leaves V out, and has its own start.

        Coarse solutions are computed in float32; exact ones have float64 gradients.
        """
        point = np.concatenate([self.level, np.zeros(len(self.spread))]) if start is None else start
        level, slopes = self.unpack(point)
        if own < inf and len(slopes) < len(level):
            point = np.concatenate([level, np.repeat(slopes, len(level), axis=0).ravel()])
        tolerance, share, dtype = EXACT if exact else COARSE
        here = Expansion(self, point, shared, own, dtype)
        for _ in range(STEPS):
            step, distance = _conjugate_gradients(here, share, tolerance / 2)
            slope = here.gradient @ step
            if distance < tolerance or slope >= 0:  # there, or as near as rounding lets it come
                break
            here = Expansion(self, point + step, shared, own, dtype)
            while (ahead := here.gradient @ step) > -slope / 2:  # far beyond the lowest point of this line
                step, slope = step * slope / (slope - ahead), slope * slope / (slope - ahead)
                here = Expansion(self, point + step, shared, own, dtype)
            point = point + step
        return point


class Expansion:
    """The objective around a point: its gradient, its curvature along a step, and a rough inverse of the curvature."""

    def __init__(self, solver: Solver, point: np.ndarray, shared: float, own: float, dtype: torch.dtype):
        self.solver = solver
        level, slopes = solver.unpack(point)
        by_level, by_slope, self.weight = solver.cells.gradient(level, slopes, dtype)
        self.penalty = Penalty(slopes, shared, own, self.weight + ANCHOR, solver.spread)
        by_level += ANCHOR * (level - solver.level)
        self.gradient = np.concatenate([by_level, (by_slope + self.penalty.gradient).ravel()])

    def curvature(self, step: np.ndarray) -> np.ndarray:
        level, slopes = self.solver.unpack(step)
        by_level, by_slope = self.solver.cells.curvature(level, slopes)
        by_level, by_slope = by_level + ANCHOR * level, by_slope + self.penalty.curvature(slopes)
        return np.concatenate([by_level, by_slope.ravel()], dtype=np.float32)

    def precondition(self, gradient: np.ndarray) -> np.ndarray:
        level, slopes = self.solver.unpack(gradient)
        parts = [level / (self.weight + ANCHOR), self.penalty.precondition(slopes).ravel()]
        return np.concatenate(parts, dtype=np.float32)


def _conjugate_gradients(here: Expansion, share: float, tolerance: float) -> tuple[np.ndarray, float]:
    """Newton's step, in float32 but for its unit, and the distance to the solution as the curvature measures it.

    The distance is the square root of mean p (1 - p) (error of the logit)^2 over the cells, roughly.
    """
    unit = np.abs(here.gradient).max() or 1.0  # no float32 vanishes
    rest = (-here.gradient / unit).astype(np.float32)
    along = toward = here.precondition(rest)
    left = first = _dot(rest, toward)
    step = np.zeros_like(rest)
    for _ in range(PRODUCTS):
        if unit * np.sqrt(left) <= max(share * unit * np.sqrt(first), tolerance):
            break
        bent = here.curvature(along)
        length = np.float32(left / _dot(along, bent))
        step += length * along
        rest -= length * bent
        toward = here.precondition(rest)
        before, left = left, _dot(rest, toward)
        along = toward + np.float32(left / before) * along
    return step * unit, unit * np.sqrt(first)


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.astype(np.float64) @ b)


class _Cells:
    """Log-loss of the training cells, divided by their number: first and second derivatives."""

    def __init__(self, train: OutcomeMatrix, x: list[torch.Tensor], pool: Executor):
        self.pool, self.device, size = pool, x[0].device, len(x[0])
        self.x = {torch.float64: x, torch.float32: [block.float() for block in x]}
        self.y = self._blocks(np.nan_to_num(train.scores), size)
        self.mask = None if train.observed.all() else self._blocks(train.observed, size)
        self.weights = [torch.empty_like(block) for block in self.y]  # p (1 - p), of the last gradient
        self.n = max(train.observed.sum(), 1)
        self.part = min(max(ENOUGH * x[0].shape[1] / train.shape[1], LEAST), 1.0)

    def gradient(self, level: np.ndarray, slopes: np.ndarray, dtype: torch.dtype) -> list[np.ndarray]:
        """By level (n_models,), by slope (as `slopes`), and the curvature by level (n_models,): float64."""
        self.share = self.part if dtype == torch.float32 and len(slopes) > 1 else 1.0
        level, slopes = self._tensor(level, dtype), self._tensor(slopes, dtype)

        def block(at: int) -> tuple[torch.Tensor, ...]:
            p, weights = _logits(level, slopes, self.x[dtype][at]).sigmoid_(), self.weights[at]
            weights.copy_(p).sub_(p * p)
            p -= self.y[at]
            if self.mask:
                weights *= self.mask[at]
                p *= self.mask[at]
            return p.sum(dim=0), _back(p, slopes, self.x[dtype][at]), weights.sum(dim=0)

        return self._sum(block)

    def curvature(self, level: np.ndarray, slopes: np.ndarray) -> list[np.ndarray]:
        """The change of the gradient along a step from where it was last taken, from float32 products.

        After a float32 gradient it is estimated from the first questions of each block.
        """
        level, slopes = self._tensor(level, torch.float32), self._tensor(slopes, torch.float32)
        rows = [ceil(self.share * len(block)) for block in self.y]
        scale = sum(map(len, self.y)) / sum(rows)

        def block(at: int) -> tuple[torch.Tensor, ...]:
            x = self.x[torch.float32][at][: rows[at]]
            change = _logits(level, slopes, x).mul_(self.weights[at][: rows[at]])
            return change.sum(dim=0), _back(change, slopes, x)

        return [scale * total for total in self._sum(block)]

    def _sum(self, block: Callable[[int], tuple[torch.Tensor, ...]]) -> list[np.ndarray]:
        totals = [sum(part.cpu().numpy().astype(np.float64) for part in parts)
                  for parts in zip(*self.pool.map(block, range(len(self.y))), strict=True)]
        return [total / self.n for total in totals]

    def _blocks(self, array: np.ndarray, size: int) -> tuple[torch.Tensor, ...]:
        return self._tensor(np.ascontiguousarray(array.T), torch.float32).split(size)

    def _tensor(self, array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        return torch.as_tensor(array, dtype=dtype, device=self.device)


def _logits(level: torch.Tensor, slopes: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Logits of a block: (n_questions, n_models)."""
    return torch.addmm(level, x, slopes.T) if len(slopes) > 1 else level + x @ slopes.T


def _back(residual: torch.Tensor, slopes: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Derivative by the slopes of what has these derivatives by the logits."""
    return (residual if len(slopes) > 1 else residual.sum(dim=1, keepdim=True)).T @ x
