"""The EmbedLLM forecaster: one vector per LLM, learned by factorising the outcome matrix.

For model m and prompt vector e, ``logit P(correct) = w . (p_m * (A e + b)) + c`` with p_m the model
vector and ``*`` elementwise (Zhuang et al., ICLR 2025, arXiv 2410.02223). The published code has two
output logits; softmax sees their difference only, so one output is the same model.

A training batch is a set of *questions* and scores all models at once, ``P diag(w) (A E' + b)``: one
matrix product. Drawing (model, question) cells one by one projects each question once per model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from scipy.special import expit

from embedllm.outcomes import OutcomeMatrix

WEIGHTS = ("model_vectors", "projection", "offset", "output", "constant")
HISTORY = ["epoch", "train", "val"]
UPDATES = 16  # in an epoch, at least: on a small table whole batches would leave it untrained


@dataclass
class Factorization:
    """EmbedLLM by question-batched training, stopped where validation log-loss is lowest.

    Parameters
    ----------
    dim : int
        Length of a model vector. From n_models upward the rank is not constrained at all.
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

    Attributes (after ``fit``)
    --------------------------
    model_vectors : ndarray, shape (n_models, dim), float32
        The p_m.
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
            for rows in torch.randperm(len(vectors), generator=generator, device=device).split(batch):
                e = vectors[rows]  # (batch, d_prompt)
                e = e + self.noise * torch.randn(e.shape, generator=generator, device=device)
                loss = _log_loss(_logits(weights, e), scores[rows], mask[rows])
                adam.zero_grad()
                loss.backward()
                adam.step()
                losses.append(loss.detach())
                sizes.append(len(rows))
            with torch.inference_mode():
                val_loss = float(_log_loss(_logits(weights, held_out[0]), *held_out[1:]))
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
        latent = prompt_vectors @ self.projection.T + self.offset  # (n_questions, dim)
        logits = (self.model_vectors * self.output) @ latent.T + self.constant  # (n_models, n_questions)
        return expit(np.clip(logits, -15, 15))  # beyond, float32 would round to certainty

    @property
    def betas(self) -> np.ndarray:
        """What is identified: logit = intercepts + betas @ e; shape (n_models, d_prompt), float32."""
        return (self.model_vectors * self.output) @ self.projection

    @property
    def intercepts(self) -> np.ndarray:
        """Logit of each model at the zero prompt vector; shape (n_models,), float32."""
        return (self.model_vectors * self.output) @ self.offset + self.constant

    def save(self, path: Path) -> None:
        """Write settings and trained arrays to one npz file."""
        settings = {f"setting_{name}": value for name, value in asdict(self).items()}
        arrays = {name: getattr(self, name) for name in WEIGHTS}
        np.savez(path, **settings, **arrays, history=self.history.to_numpy())

    @classmethod
    def load(cls, path: Path) -> Factorization:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            values = dict(arrays)
        named = [name for name in values if name.startswith("setting_")]
        forecaster = cls(**{name.removeprefix("setting_"): values.pop(name).item() for name in named})
        forecaster.history = pd.DataFrame(values.pop("history"), columns=HISTORY).astype({"epoch": int})
        for name, value in values.items():
            setattr(forecaster, name, value)
        return forecaster

    def _initialise(self, n_models, d_prompt, generator, device) -> dict[str, torch.Tensor]:
        """Starting values: unit-scale model vectors, the rest as torch's linear layers start."""

        def uniform(bound: float, *shape: int) -> torch.Tensor:
            values = torch.rand(shape, generator=generator, device=device)
            return ((2 * values - 1) * bound).requires_grad_()

        normal = torch.randn((n_models, self.dim), generator=generator, device=device).requires_grad_()
        bound = d_prompt**-0.5
        return {
            "model_vectors": normal,
            "projection": uniform(bound, self.dim, d_prompt),
            "offset": uniform(bound, self.dim),
            "output": uniform(self.dim**-0.5, self.dim),
            "constant": uniform(self.dim**-0.5),
        }

    def _keep(self, weights: dict[str, torch.Tensor]) -> None:
        for name, value in weights.items():
            setattr(self, name, value.detach().cpu().numpy().copy())


def _tensors(table: OutcomeMatrix, vectors: np.ndarray, device) -> tuple[torch.Tensor, ...]:
    """Prompt vectors, scores (0 where not observed) and mask, question first."""
    scores = torch.as_tensor(np.nan_to_num(table.scores).T.copy(), device=device)
    mask = torch.as_tensor(table.observed.T.astype(np.float32), device=device)
    return torch.as_tensor(vectors, dtype=torch.float32, device=device), scores, mask


def _logits(weights: dict[str, torch.Tensor], e: torch.Tensor) -> torch.Tensor:
    """Logits of all models on a batch: (batch, d_prompt) -> (batch, n_models)."""
    latent = torch.addmm(weights["offset"], e, weights["projection"].T)  # (batch, dim)
    return latent @ (weights["model_vectors"] * weights["output"]).T + weights["constant"]


def _log_loss(logits: torch.Tensor, scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with soft targets, mean over observed cells."""
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, scores, mask, reduction="sum")
    return loss / mask.sum().clamp(min=1)
