"""A vector per model without a seed: the convex embedding.

EmbedLLM's factorization finds other vectors for every seed. The low-rank logistic (`low_rank`) asks for the same,
logits that are a product of few numbers per model and per question, as a convex problem. Its one solution makes model
vectors that depend on the answers and the prompt vectors alone.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import ClassVar

import numpy as np
import torch

from embedllm.evaluation.metrics import question_scores, sigmoid
from embedllm.forecasters.contract import Forecaster
from embedllm.forecasters.low_rank import Solver
from embedllm.machine import threads

# Pools from 29 models x 12,032 questions to 400 x 861 take 0.25 to 4, and 0.04 to 0.09; short vectors take less.
SHARED = (4, 1, 0.25, 0.06)
OWN = (0.4, 0.2, 0.13, 0.09, 0.06, 0.04, 0.027, 0.018)
WORSE = 2  # candidates in a row without gain, after which the weaker ones are not tried
ZERO = 1e-9  # of the largest singular value: below it is rounding, and the direction means nothing
EVEN = 1e-6  # share of the sum of absolute cubes below which a sum of cubes has no sign


@dataclass
class ConvexEmbedding(Forecaster):
    """Model vectors from the convex low-rank logistic, with ``dim`` numbers per model.

    ``logit P(correct) = level_m + ease_q + coordinates_m . coordinates_q``: how good a model is, how easy a question
    is for all, and how the model deviates. The directions of the coordinates are the singular directions of
    ``V Sigma^(1/2)``, V the deviations of `low_rank` and Sigma the covariance of the training prompts: the principal
    components of what remains of the logits once the means of models and questions are removed. A shorter vector keeps
    the leading ones.

    Parameters
    ----------
    dim : int, optional
        Numbers per model, the level among them; default all, ``min(n_models, n_axes + 1)``, which also bounds it. With
        1 there are no deviations: one ability per model and one difficulty read from the text.
    shared, own : tuple of float
        Penalties to try on what models share, and on the trace norm of their deviations, strong to weak, in units of
        1 / n and 1 / sqrt(n) for n answers per model, which is how the noise that they hold down falls. First the
        shared ones without deviations, then, at the best, the own ones. Chosen on validation log-loss, at this `dim`:
        fewer directions need less of a penalty.

    Attributes (after ``fit``)
    --------------------------
    model_vectors : ndarray, shape (n_models, dim), float64
        In logits. Column 0 is the level, the logit at the mean training prompt; the others are coordinates, ordered
        by size, the sum of cubes of each positive. With all directions the Euclidean distance of two models'
        coordinates is the root mean square difference of their logits over the training questions, levels aside.
    penalties : tuple of float
        The chosen pair of `shared` and `own`, in their units; infinity where deviations do not pay.
    """

    dim: int | None = None
    shared: tuple[float, ...] = SHARED
    own: tuple[float, ...] = OWN

    LEARNED: ClassVar = ("center", "mapping", "model_vectors", "penalties")

    @property
    def n_candidates(self) -> int:
        return len(self.shared) + (len(self.own) if self.dim != 1 else 0)

    @property
    def choice(self) -> dict:
        return dict(zip(("shared penalty", "own penalty"), self.penalties, strict=True))

    @property
    def betas(self) -> np.ndarray:
        """What is identified: logit = intercepts + betas @ e; shape (n_models, d_prompt), float64."""
        return self.mapping[:, 0] + self.model_vectors[:, 1:] @ self.mapping[:, 1:].T

    @property
    def intercepts(self) -> np.ndarray:
        """Logit of each model at the zero prompt vector; shape (n_models,), float64."""
        return self.model_vectors[:, 0] - self.betas @ self.center

    def question_vectors(self, prompt_vectors: np.ndarray) -> np.ndarray:
        """What the model vectors are multiplied with: column 0 the ease, the others coordinates of the questions.

        Over the training questions, each has mean 0 and the coordinates variance 1, without correlation.

        Returns
        -------
        ndarray, shape (n_questions, dim), float64
        """
        return (prompt_vectors - self.center) @ self.mapping

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        self.center = train_vectors.mean(axis=0, dtype=np.float64)
        x = train_vectors - self.center
        scale = sqrt((x**2).sum(axis=1).mean()) or 1.0
        workers = torch.get_num_threads()
        with threads(1), ThreadPoolExecutor(workers) as pool:
            solver = Solver(train, x / scale, pool)
            val_x = (val_vectors - self.center) / scale @ solver.axes
            solution = self._tuned(solver, val_x, val.scores)
            levels, common, coordinates, directions = self._parts(solver, solution)
            self.model_vectors = np.column_stack([levels, coordinates])
            self.mapping = solver.axes @ np.column_stack([common, directions]) / scale

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        questions = self.question_vectors(prompt_vectors)
        logits = self.model_vectors[:, :1] + questions[:, 0] + self.model_vectors[:, 1:] @ questions[:, 1:].T
        return sigmoid(logits).astype(np.float32)

    def _tuned(self, solver: Solver, val_x: np.ndarray, val_scores: np.ndarray) -> np.ndarray:
        """The exact solution for the best penalties on validation questions, whose prompts are on the solver's axes."""
        n = solver.cells.n / len(val_scores)

        def loss(point: np.ndarray) -> float:
            levels, slopes = solver.unpack(point)
            if self.dim:
                _, common, coordinates, directions = self._parts(solver, point)
                slopes = common + coordinates @ directions.T
            probabilities = sigmoid(levels[:, None] + slopes @ val_x.T)
            return float(np.nanmean(question_scores(probabilities, val_scores, "log_loss")))

        best, shared, point = _walk(self.shared, lambda one, start: solver.solve(one / n, inf, start), loss, None)
        own = inf
        if self.dim != 1:
            with_own = _walk(self.own, lambda one, start: solver.solve(shared / n, one / sqrt(n), start), loss, point)
            best, own, point = min((best, own, point), with_own, key=lambda found: found[0])
        self.penalties = (shared, own)
        return solver.solve(shared / n, own / sqrt(n), point, exact=True)

    def _parts(self, solver: Solver, point: np.ndarray) -> tuple[np.ndarray, ...]:
        """Levels, common slopes, coordinates and directions of a solution; slopes and directions on principal axes.

        Shapes (n_models,), (n_axes,), (n_models, dim - 1) and (n_axes, dim - 1).
        """
        levels, slopes = solver.unpack(point)
        common = slopes.mean(axis=0)
        kept = min(self.dim or inf, len(levels), len(common) + 1) - 1
        if len(slopes) == 1:
            return levels, common, np.zeros((len(levels), kept)), np.zeros((len(common), kept))
        v = slopes - common
        left, size, _ = np.linalg.svd(v * np.sqrt(solver.spread), full_matrices=False)
        left, size = left[:, :kept], np.where(size > ZERO * size[0], size, 0)[:kept]
        directions = np.divide(v.T @ left, size, out=np.zeros((len(common), kept)), where=size > 0)
        signs = _signs(left, solver.axes @ directions)
        return levels, common, left * size * signs, directions * signs


def _walk(penalties: tuple[float, ...], solve: Callable, loss: Callable, start: np.ndarray | None) -> tuple:
    """The lowest validation loss, its penalty and solution; of equal losses the first.

    Each solution starts where the last two lead to as the logarithm of the penalty falls, which saves steps.
    """
    points, losses = [start], []
    for number, penalty in enumerate(penalties):
        start = points[-1]
        if number > 1:
            before, last = penalties[number - 2 : number]
            start = start + log(penalty / last) / log(last / before) * (start - points[-2])
        points.append(solve(penalty, start))
        losses.append(loss(points[-1]))
        best = int(np.argmin(losses))
        if number - best >= WORSE:
            break
    return losses[best], penalties[best], points[best + 1]


def _signs(coordinates: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """A sign for each direction that makes the sum of cubes positive, of the models' coordinates if it has a sign.

    If not, as with two models, that of the direction's coefficients on prompt vectors. Neither depends on the order of
    models or questions.
    """
    cubes, size = (coordinates**3).sum(axis=0), (np.abs(coordinates) ** 3).sum(axis=0)
    cubes = np.where(np.abs(cubes) > EVEN * size, cubes, (directions**3).sum(axis=0))
    return np.where(cubes < 0, -1.0, 1.0)
