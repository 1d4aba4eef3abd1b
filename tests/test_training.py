"""Gradients written out are those of differentiation; training a piece at a time is training."""

import pytest
import torch

from embedllm.factorization import Factorization
from embedllm.networks import ItemResponse, TwoLayer
from embedllm.training import _flattened


@pytest.mark.parametrize("kind", [Factorization, TwoLayer, ItemResponse])
def test_the_gradients_of_a_batch_are_those_of_its_log_loss(kind):
    forecaster, generator = kind(dim=7), torch.Generator().manual_seed(0)
    flat, weights, gradients = _flattened(forecaster._initialise(5, 11, generator, "cpu"))
    e, scores = torch.randn(13, 11), torch.rand(13, 5)
    mask = (torch.rand(13, 5) < 0.8).float()
    logits = forecaster._descent(weights, gradients, e, scores, mask / mask.sum())
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        forecaster._logits(weights, e), scores, mask, reduction="sum"
    ) / mask.sum()
    for name, expected in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
        torch.testing.assert_close(gradients[name], expected, msg=name)
    torch.testing.assert_close(flat.grad, torch.cat([gradients[name].ravel() for name in weights]))
    torch.testing.assert_close(logits, forecaster._logits(weights, e).detach())
