"""The EmbedLLM forecaster: one vector per LLM, learned by factorizing the outcome matrix.

For model m and prompt vector e, ``logit P(correct) = w . (p_m * (A e + b)) + c`` with p_m the model
vector and ``*`` elementwise (Zhuang et al., ICLR 2025, arXiv 2410.02223). The published code has two
output logits; softmax sees their difference only, so one output is the same model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from embedllm.evaluation.metrics import sigmoid
from embedllm.forecasters.training import Trained, Weights, normal, uniform


@dataclass
class Factorization(Trained):
    """EmbedLLM by question-batched training; settings are those of `Trained`.

    From ``dim`` = n_models upward the rank is not constrained at all: one logistic regression per model.

    Attributes (after ``fit``)
    --------------------------
    model_vectors : ndarray, shape (n_models, dim), float32
        The p_m.
    """

    WEIGHTS: ClassVar = ("model_vectors", "projection", "offset", "output", "constant")

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        latent = prompt_vectors @ self.projection + self.offset  # (n_questions, dim)
        logits = (self.model_vectors * self.output) @ latent.T + self.constant  # (n_models, n_questions)
        return sigmoid(logits)

    @property
    def betas(self) -> np.ndarray:
        """What is identified: logit = intercepts + betas @ e; shape (n_models, d_prompt), float32."""
        return (self.model_vectors * self.output) @ self.projection.T

    @property
    def intercepts(self) -> np.ndarray:
        """Logit of each model at the zero prompt vector; shape (n_models,), float32."""
        return (self.model_vectors * self.output) @ self.offset + self.constant

    def _initialize(self, n_models, d_prompt, generator) -> Weights:
        """Starting values: unit-scale model vectors, the rest as torch's linear layers start."""
        bound = d_prompt**-0.5
        return {
            "model_vectors": normal(1, (n_models, self.dim), generator),
            "projection": uniform(bound, (d_prompt, self.dim), generator),
            "offset": uniform(bound, (self.dim,), generator),
            "output": uniform(self.dim**-0.5, (self.dim,), generator),
            "constant": uniform(self.dim**-0.5, (), generator),
        }

    @staticmethod
    def _logits(weights: Weights, e: torch.Tensor) -> torch.Tensor:
        latent = torch.addmm(weights["offset"], e, weights["projection"])  # (batch, dim)
        return latent @ (weights["model_vectors"] * weights["output"]).T + weights["constant"]

    def descent(self, weights, gradients, e, scores, share) -> torch.Tensor:
        """What `Trained.descent` finds by differentiation, written out."""
        with torch.inference_mode():
            latent = torch.addmm(weights["offset"], e, weights["projection"])  # (batch, dim)
            scaled = weights["model_vectors"] * weights["output"]  # (n_models, dim)
            logits = torch.addmm(weights["constant"], latent, scaled.T)
            residual = torch.sigmoid(logits).sub_(scores).mul_(share)  # (batch, n_models)
            back, by_model = residual @ scaled, residual.T @ latent  # (batch, dim), (n_models, dim)
            torch.mm(e.T, back, out=gradients["projection"])
            torch.sum(back, 0, out=gradients["offset"])
            torch.mul(by_model, weights["output"], out=gradients["model_vectors"])
            torch.sum(by_model.mul_(weights["model_vectors"]), 0, out=gradients["output"])
            gradients["constant"].copy_(residual.sum())
        return logits
