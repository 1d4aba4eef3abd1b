"""The yardstick: the factorization trained one (model, question) cell at a time, as the paper describes it.

Plain on purpose: a module, a DataLoader over rows (model, question, label), Adam. Each cell projects its question anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.training import Trained
from embedllm.splits import Parts


class PerCell(nn.Module):
    """``w . (p_m * (A e + b)) + c`` for pairs of a model and a question, started where `Factorization` starts."""

    def __init__(self, like: Trained, n_models: int, d_prompt: int):
        super().__init__()
        generator = torch.Generator().manual_seed(like.seed)
        start = like._initialize(n_models, d_prompt, generator)
        self.weights = nn.ParameterDict(start)

    def forward(self, model: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        """Logits of pairs: (batch,), (batch, d_prompt) -> (batch,)."""
        w = self.weights
        latent = torch.addmm(w["offset"], e, w["projection"])
        return (w["model_vectors"][model] * latent) @ w["output"] + w["constant"]


def updates(parts: Parts, like: Factorization, epochs: int) -> Iterator[tuple[PerCell, float]]:
    """Train on the observed cells of the training part; yields the network and the seconds spent after each update.

    Cells come in a new order in each epoch, unless ``like.shuffle`` is off: then question by question, as
    `Factorization` takes them.
    """
    (table, vectors), generator = parts["train"], torch.Generator().manual_seed(like.seed)
    question, model = np.nonzero(table.observed.T)
    rows = TensorDataset(*map(torch.as_tensor, (model, question, table.scores[model, question])))
    vectors = torch.as_tensor(vectors)
    network = PerCell(like, len(table.models), vectors.shape[1])
    adam = torch.optim.Adam(network.parameters(), lr=like.learning_rate, weight_decay=like.weight_decay)
    loader = DataLoader(rows, batch_size=like.batch_cells, shuffle=like.shuffle, generator=generator)
    began = time.perf_counter()
    for _ in range(epochs):
        for m, q, label in loader:
            e = vectors[q]
            e = e + like.noise * torch.randn(e.shape, generator=generator)
            loss = nn.functional.binary_cross_entropy_with_logits(network(m, e), label)
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield network, time.perf_counter() - began
