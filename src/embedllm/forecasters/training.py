"""One training loop for every forecaster that learns by gradient steps, and one way to tune them.

A batch is a set of *questions* and scores all models at once. Drawing (model, question) cells one by one would
project each question once per model. Weights, gradients and Adam's moments lie in one flat array each, so that a step
is one call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch.optim.adam import adam

from embedllm.evaluation.metrics import FARTHEST_LOGIT
from embedllm.forecasters.batches import BLOCK, Answers, Questions
from embedllm.forecasters.contract import Forecaster

HISTORY = ["epoch", "train", "val"]
UPDATES = 16  # in an epoch, at least: on a small table whole batches would leave it untrained
LOOKED_AT = 4  # of so many batches one tells the loss in training: to know it takes up to a fifth of an update
NOISE = 2**62  # the noise of seed 0 has this seed, and so on
TINY, SETTLE = 1e-30, 100  # what is smaller is set to 0, after so many updates, see _adam
Weights = dict[str, torch.Tensor]


@dataclass
class Trained(Forecaster):
    """A forecaster trained by Adam on log-loss, stopped where validation log-loss is lowest.

    A subclass says what its weights are (`_initialize`) and how they make logits (`_logits`); after ``fit`` each
    weight is a float32 array under its name in ``WEIGHTS``.

    Parameters
    ----------
    dim : int
        Length of a model vector.
    noise : float
        Standard deviation of the Gaussian noise added to prompt vectors in training only: new places in a pool of
        some million random numbers for each epoch.
    learning_rate, weight_decay : float
        Of Adam.
    epochs : int
        At most so many passes over the training questions.
    batch_cells : int
        (model, question) cells per update, rounded to whole questions: at 112 models 2,048 cells are
        18 questions. Fewer on a small table, so that an epoch has at least 16 updates; with thousands of
        models take more cells, some hundred questions per update.
    patience : int
        Stop after so many epochs without a better validation log-loss, and go back to the best.
        0 trains all epochs and keeps the last.
    seed : int
        Of initialization and order of questions, the same on every device, and of noise.
    shuffle : bool
        Draw a new order of the questions in each epoch; False takes them as they stand.

    Attributes (after ``fit``)
    --------------------------
    history : DataFrame
        Columns ``epoch``, ``train`` (log-loss with noise, mean over every fourth batch of the epoch), ``val``.
    """

    dim: int = 232
    noise: float = 0.05
    learning_rate: float = 3e-3
    weight_decay: float = 1e-5
    epochs: int = 60
    batch_cells: int = 16_384
    patience: int = 5
    seed: int = 0
    shuffle: bool = True

    WEIGHTS: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        if "LEARNED" not in cls.__dict__:
            cls.LEARNED = (*cls.WEIGHTS, "history")

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        deque(self.epochs_of(Questions(train, train_vectors, val, val_vectors)), maxlen=0)

    def epochs_of(self, questions: Questions) -> Iterator[float]:
        """`fit`, an epoch at a time: yields the validation log-loss; between epochs the forecaster is usable."""
        generator = torch.Generator().manual_seed(self.seed)
        places = torch.Generator().manual_seed(NOISE + self.seed)  # not what the weights start from
        start = self._initialize(questions.shape[0], questions.vectors.shape[1], generator)
        flat, weights, gradients = flattened({name: value.to(questions.device) for name, value in start.items()})
        step = _adam(flat, self.learning_rate, self.weight_decay)
        n_questions, batch = questions.shape[1], self.batch(*questions.shape)
        best, stale, history = np.inf, 0, []
        for epoch in range(1, self.epochs + 1):
            order = torch.randperm(n_questions, generator=generator) if self.shuffle else torch.arange(n_questions)
            losses = []
            for number, (e, scores, share) in enumerate(questions.epoch(order, batch, self.noise, places)):
                logits = self.descent(weights, gradients, e, scores, share)
                step()
                if number % LOOKED_AT == 0:
                    losses.append(log_loss(logits, scores, share))
            val_loss = self._validate(weights, questions.held_out, questions.held_out_answers)
            history.append((epoch, float(torch.stack(losses).mean()), val_loss))
            self.history = pd.DataFrame(history, columns=HISTORY)
            if val_loss < best or not self.patience:
                best, stale = val_loss, 0
                self._keep(weights)
            else:
                stale += 1
            yield val_loss
            if self.patience and stale >= self.patience:
                return

    def batch(self, n_models: int, n_questions: int) -> int:
        """Questions an update, on a training table of this size."""
        return max(1, min(self.batch_cells // n_models, n_questions // UPDATES))

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        weights = {name: torch.as_tensor(getattr(self, name)) for name in self.WEIGHTS}
        with torch.inference_mode():
            blocks = torch.as_tensor(prompt_vectors, dtype=torch.float32).split(BLOCK)
            logits = torch.cat([self._logits(weights, e) for e in blocks])
            return torch.sigmoid(logits.clamp(-FARTHEST_LOGIT, FARTHEST_LOGIT)).T.numpy()

    def _initialize(self, n_models: int, d_prompt: int, generator: torch.Generator) -> Weights:
        """Starting values; what turns prompt vectors is (d_prompt, length).

        The other way round, the product for its gradient and Adam's step would share it out between threads
        differently, which cost up to a sixth of an update.
        """
        raise NotImplementedError

    @staticmethod
    def _logits(weights: Weights, e: torch.Tensor) -> torch.Tensor:
        """Logits of all models on a batch: (batch, d_prompt) -> (batch, n_models)."""
        raise NotImplementedError

    def descent(
        self, weights: Weights, gradients: Weights, e: torch.Tensor, scores: torch.Tensor,
        share: torch.Tensor | float,
    ) -> torch.Tensor:
        """Write the gradients of a batch's log-loss, cells weighing `share`, each its own or all one; returns logits.

        A subclass may write out what differentiation finds here.
        """
        logits = self._logits(weights, e)
        residual = torch.sigmoid(logits.detach()).sub_(scores).mul_(share)
        found = torch.autograd.grad(logits, list(weights.values()), residual)
        for gradient, value in zip(gradients.values(), found, strict=True):
            gradient.copy_(value)
        return logits.detach()

    def _validate(self, weights: Weights, vectors: torch.Tensor, answers: Answers) -> float:
        """Log-loss without noise, mean over observed cells."""
        loss = cells = 0
        with torch.inference_mode():
            for start in range(0, len(vectors), BLOCK):
                rows = slice(start, start + BLOCK)
                scores, mask = answers(rows)
                loss = loss + log_loss(self._logits(weights, vectors[rows]), scores, mask)
                cells = cells + mask.sum()
        return float(loss / cells.clamp(min=1))

    def _keep(self, weights: Weights) -> None:
        for name, value in weights.items():
            setattr(self, name, value.detach().cpu().numpy().copy())


def uniform(bound: float, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """A weight drawn evenly from [-bound, bound], as torch's linear layers start."""
    return (2 * torch.rand(shape, generator=generator) - 1) * bound


def normal(scale: float, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """A weight drawn from a normal law of mean zero."""
    return scale * torch.randn(shape, generator=generator)


def flattened(weights: Weights) -> tuple[torch.Tensor, Weights, Weights]:
    """All weights in one flat array that has a gradient; the weights and their gradients as views of it.

    Matrices lie there column by column: products with row-wise ones of a few columns took ten times as long.
    """
    flat = torch.cat([value.mT.ravel() if value.ndim == 2 else value.ravel() for value in weights.values()])
    flat.grad = torch.zeros_like(flat)
    sizes = [value.numel() for value in weights.values()]

    def views(array: torch.Tensor) -> Weights:
        return {name: part.view(value.shape[::-1]).mT if value.ndim == 2 else part.view(value.shape)
                for (name, value), part in zip(weights.items(), array.split(sizes), strict=True)}

    return flat, {name: view.requires_grad_() for name, view in views(flat).items()}, views(flat.grad)


def _adam(flat: torch.Tensor, learning_rate: float, weight_decay: float) -> Callable[[], None]:
    """A step of `torch.optim.Adam` with its defaults; the object would spend a sixth of an update around it.

    Directions that weight decay has closed shrink for ever, and processors are slow on denormal numbers (late epochs
    took up to twice as long). `torch.set_flush_denormal` reaches the calling thread only, so what is `TINY` becomes 0.
    """
    mean, square, steps = torch.zeros_like(flat), torch.zeros_like(flat), torch.zeros((), device=flat.device)
    update = partial(adam, [flat], [flat.grad], [mean], [square], [], [steps], fused=True, amsgrad=False, beta1=0.9,
                     beta2=0.999, lr=learning_rate, weight_decay=weight_decay, eps=1e-8, maximize=False)
    updates = count(1)

    def step() -> None:
        update()
        if next(updates) % SETTLE == 0:
            for values in (flat, mean, square):
                values.mul_(values.abs() >= TINY)

    return step


def log_loss(logits: torch.Tensor, scores: torch.Tensor, share: torch.Tensor | float) -> torch.Tensor:
    """Cross-entropy with soft targets, sum over cells that weigh `share`."""
    return torch.nn.functional.softplus(logits).addcmul_(logits, scores, value=-1).mul_(share).sum()
