"""Other forecasters with one vector per LLM: item-response models and a shared two-layer network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from embedllm.forecasters.training import Trained, Weights, normal, uniform


@dataclass
class ItemResponse(Trained):
    """Item-response model whose items are read from the text: ``logit = p_m . a(e) - d(e)``.

    A question has a difficulty d(e) and a discrimination a(e), both linear in its prompt vector; a model has an
    ability p_m. With ``dim`` 1 it is the two-parameter logistic model (2PL), with more the multidimensional one
    (Reckase 2009, Multidimensional Item Response Theory, chapter 4).
    """

    WEIGHTS: ClassVar = ("model_vectors", "discrimination", "level", "difficulty", "constant")

    def _initialize(self, n_models, d_prompt, generator) -> Weights:
        """Abilities spread as in a pool of LLMs, every question alike."""
        level = torch.zeros(self.dim)
        level[0] = 1  # the first ability is the general one, until training says otherwise
        return {
            "model_vectors": normal(0.5, (n_models, self.dim), generator),
            "discrimination": uniform(d_prompt**-0.5, (d_prompt, self.dim), generator),
            "level": level,
            "difficulty": torch.zeros(d_prompt),
            "constant": torch.zeros(()),
        }

    @staticmethod
    def _logits(weights: Weights, e: torch.Tensor) -> torch.Tensor:
        discrimination = torch.addmm(weights["level"], e, weights["discrimination"])  # (batch, dim)
        difficulty = e @ weights["difficulty"] + weights["constant"]  # (batch,)
        return torch.addmm(-difficulty[:, None], discrimination, weights["model_vectors"].T)

    def descent(self, weights, gradients, e, scores, share) -> torch.Tensor:
        """What `Trained.descent` finds by differentiation, written out."""
        with torch.inference_mode():
            discrimination = torch.addmm(weights["level"], e, weights["discrimination"])  # (batch, dim)
            difficulty = torch.mv(e, weights["difficulty"]).add_(weights["constant"])  # (batch,)
            logits = (discrimination @ weights["model_vectors"].T).sub_(difficulty[:, None])
            residual = torch.sigmoid(logits).sub_(scores).mul_(share)  # (batch, n_models)
            back, by_question = residual @ weights["model_vectors"], residual.sum(1)
            torch.mm(residual.T, discrimination, out=gradients["model_vectors"])
            torch.mm(e.T, back, out=gradients["discrimination"])
            torch.sum(back, 0, out=gradients["level"])
            torch.mv(e.T, by_question.neg_(), out=gradients["difficulty"])
            gradients["constant"].copy_(by_question.sum())
        return logits


@dataclass
class TwoLayer(Trained):
    """A network over model vector and prompt vector: ``logit = v . relu(U p_m + W e + b) + c``.

    Unlike the factorization it is not linear in the prompt vector. ``hidden`` is the length of b.
    """

    hidden: int = 64

    WEIGHTS: ClassVar = ("model_vectors", "model_layer", "prompt_layer", "offset", "output", "constant")

    def _initialize(self, n_models, d_prompt, generator) -> Weights:
        """Unit-scale model vectors, the rest as torch's linear layers start."""
        bound = (self.dim + d_prompt) ** -0.5
        return {
            "model_vectors": normal(1, (n_models, self.dim), generator),
            "model_layer": uniform(bound, (self.hidden, self.dim), generator),
            "prompt_layer": uniform(bound, (d_prompt, self.hidden), generator),
            "offset": uniform(bound, (self.hidden,), generator),
            "output": uniform(self.hidden**-0.5, (self.hidden,), generator),
            "constant": uniform(self.hidden**-0.5, (), generator),
        }

    @staticmethod
    def _logits(weights: Weights, e: torch.Tensor) -> torch.Tensor:
        question = torch.addmm(weights["offset"], e, weights["prompt_layer"])  # (batch, hidden)
        model = weights["model_vectors"] @ weights["model_layer"].T  # (n_models, hidden)
        return torch.relu(question[:, None] + model) @ weights["output"] + weights["constant"]

    def descent(self, weights, gradients, e, scores, share) -> torch.Tensor:
        """What `Trained.descent` finds by differentiation, with one (batch, n_models, hidden) array, not four."""
        with torch.inference_mode():
            question = torch.addmm(weights["offset"], e, weights["prompt_layer"])  # (batch, hidden)
            model = weights["model_vectors"] @ weights["model_layer"].T  # (n_models, hidden)
            active = (question[:, None] + model).relu_()
            logits = active @ weights["output"] + weights["constant"]
            residual = torch.sigmoid(logits).sub_(scores).mul_(share)  # (batch, n_models)
            torch.mv(active.flatten(0, 1).T, residual.ravel(), out=gradients["output"])
            gradients["constant"].copy_(residual.sum())
            active.sign_().mul_(residual[:, :, None])
            by_question, by_model = active.sum(1).mul_(weights["output"]), active.sum(0).mul_(weights["output"])
            torch.mm(e.T, by_question, out=gradients["prompt_layer"])
            torch.sum(by_question, 0, out=gradients["offset"])
            torch.mm(by_model, weights["model_layer"], out=gradients["model_vectors"])
            torch.mm(by_model.T, weights["model_vectors"], out=gradients["model_layer"])
        return logits
