"""One training loop for every forecaster that learns by gradient steps, and one way to tune them.

A batch is a set of *questions* and scores all models at once. Drawing (model, question) cells one by one would
project each question once per model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch

from embedllm.outcomes import OutcomeMatrix

HISTORY = ["epoch", "train", "val"]
UPDATES = 16  # in an epoch, at least: on a small table whole batches would leave it untrained
TRIAL, FINALISTS = 12, 3  # epochs that every candidate of Tuned gets, and how many go on to their end
BLOCK = 512  # questions predicted at a time
Weights = dict[str, torch.Tensor]


@dataclass
class Trained:
    """A forecaster trained by Adam on log-loss, stopped where validation log-loss is lowest.

    A subclass says what its weights are (`_initialise`) and how they make logits (`_logits`); after ``fit`` each
    weight is a float32 array under its name in ``WEIGHTS``.

    Parameters
    ----------
    dim : int
        Length of a model vector.
    noise : float
        Standard deviation of the Gaussian noise added to prompt vectors in training only.
    learning_rate, weight_decay : float
        Of Adam.
    epochs : int
        At most so many passes over the training questions.
    batch_cells : int
        (model, question) cells an update, rounded to whole questions: at 112 models 2,048 cells are
        18 questions. Fewer on a small table, so that an epoch has at least 16 updates.
    patience : int
        Stop after so many epochs without a better validation log-loss, and go back to the best.
        0 trains all epochs and keeps the last.
    seed : int
        Of initialisation, order of questions and noise.
    shuffle : bool
        Draw a new order of the questions in each epoch; False takes them as they stand.

    Attributes (after ``fit``)
    --------------------------
    history : DataFrame
        Columns ``epoch``, ``train`` (log-loss with noise, mean over the epoch), ``val``.
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

    WEIGHTS: ClassVar[tuple[str, ...]]

    def fit(
        self, train: OutcomeMatrix, train_vectors: np.ndarray, val: OutcomeMatrix, val_vectors: np.ndarray
    ) -> Self:
        """Train on `train`, stop on `val`; the contract is `baselines.Forecaster`."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        generator = torch.Generator(device).manual_seed(self.seed)
        vectors, scores, mask = _tensors(train, train_vectors, device)
        held_out = _tensors(val, val_vectors, device)
        weights = self._initialise(len(train.models), vectors.shape[1], generator, device)
        adam = torch.optim.Adam(
            weights.values(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )
        batch = max(1, min(self.batch_cells // len(train.models), len(vectors) // UPDATES))
        best, stale, history = np.inf, 0, []
        for epoch in range(1, self.epochs + 1):
            losses, sizes = [], []
            order = (torch.randperm(len(vectors), generator=generator, device=device) if self.shuffle
                     else torch.arange(len(vectors), device=device))
            for rows in order.split(batch):
                e = vectors[rows]  # (batch, d_prompt)
                e = e + self.noise * torch.randn(e.shape, generator=generator, device=device)
                loss = _log_loss(self._logits(weights, e), scores[rows], mask[rows])
                adam.zero_grad()
                loss.backward()
                adam.step()
                losses.append(loss.detach())
                sizes.append(len(rows))
            with torch.inference_mode():
                logits = torch.cat([self._logits(weights, e) for e in held_out[0].split(BLOCK)])
                val_loss = float(_log_loss(logits, *held_out[1:]))
            history.append((epoch, float(np.average(torch.stack(losses).cpu(), weights=sizes)), val_loss))
            if val_loss < best or not self.patience:
                best, stale = val_loss, 0
                self._keep(weights)
            elif (stale := stale + 1) >= self.patience:
                break
        self.history = pd.DataFrame(history, columns=HISTORY)
        return self

    def predict_proba(self, prompt_vectors: np.ndarray) -> np.ndarray:
        """P(correct): float32 in (0, 1), shape (n_models, n_questions)."""
        weights = {name: torch.as_tensor(getattr(self, name)) for name in self.WEIGHTS}
        with torch.inference_mode():
            blocks = torch.as_tensor(prompt_vectors, dtype=torch.float32).split(BLOCK)
            logits = torch.cat([self._logits(weights, e) for e in blocks])
            return torch.sigmoid(logits.clamp(-15, 15)).T.numpy()  # beyond, float32 would round to certainty

    def _initialise(self, n_models: int, d_prompt: int, generator: torch.Generator, device) -> Weights:
        """Starting values, each with ``requires_grad``."""
        raise NotImplementedError

    @staticmethod
    def _logits(weights: Weights, e: torch.Tensor) -> torch.Tensor:
        """Logits of all models on a batch: (batch, d_prompt) -> (batch, n_models)."""
        raise NotImplementedError

    def _keep(self, weights: Weights) -> None:
        for name, value in weights.items():
            setattr(self, name, value.detach().cpu().numpy().copy())


@dataclass
class Tuned:
    """The best of several gradient-trained candidates on validation log-loss.

    All get a short training, the best of these a full one (successive halving with a single cut, Jamieson and
    Talwalkar 2016, AISTATS). The winner is in ``best`` after ``fit``.

    Parameters
    ----------
    candidates : sequence of Trained
    """

    candidates: Sequence[Trained]

    def fit(self, train, train_vectors, val, val_vectors) -> Self:
        """Tune on `val`; the contract is `baselines.Forecaster`."""
        def trained(one: Trained, epochs: int) -> Trained:
            return replace(one, epochs=min(epochs, one.epochs)).fit(train, train_vectors, val, val_vectors)

        def loss(one: Trained) -> float:
            return one.history["val"].min()

        trials = [loss(trained(one, TRIAL)) for one in self.candidates]
        best = np.argsort(trials, kind="stable")[:FINALISTS]
        self.best = min((trained(self.candidates[place], self.candidates[place].epochs) for place in best), key=loss)
        return self

    def predict_proba(self, prompt_vectors: np.ndarray) -> np.ndarray:
        """P(correct): float32 in (0, 1), shape (n_models, n_questions)."""
        return self.best.predict_proba(prompt_vectors)


def uniform(bound: float, shape: tuple[int, ...], generator: torch.Generator, device) -> torch.Tensor:
    """A weight drawn evenly from [-bound, bound], as torch's linear layers start."""
    values = torch.rand(shape, generator=generator, device=device)
    return ((2 * values - 1) * bound).requires_grad_()


def normal(scale: float, shape: tuple[int, ...], generator: torch.Generator, device) -> torch.Tensor:
    """A weight drawn from a normal law of mean zero."""
    return (scale * torch.randn(shape, generator=generator, device=device)).requires_grad_()


def _tensors(table: OutcomeMatrix, vectors: np.ndarray, device) -> tuple[torch.Tensor, ...]:
    """Prompt vectors, scores (0 where not observed) and mask, question first."""
    scores = torch.as_tensor(np.nan_to_num(table.scores).T.copy(), device=device)
    mask = torch.as_tensor(table.observed.T.astype(np.float32), device=device)
    return torch.as_tensor(vectors, dtype=torch.float32, device=device), scores, mask


def _log_loss(logits: torch.Tensor, scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with soft targets, mean over observed cells."""
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, scores, mask, reduction="sum")
    return loss / mask.sum().clamp(min=1)
