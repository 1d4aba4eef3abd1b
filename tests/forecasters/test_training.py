"""Gradients written out are those of differentiation; training a piece at a time is training."""

import numpy as np
import pytest
import torch
from conftest import make_table

from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.networks import ItemResponse, TwoLayer
from embedllm.forecasters.training import Answers, _adam, flattened
from embedllm.forecasters.tuning import LONGEST_TRIAL, Tuned


@pytest.mark.parametrize("kind", [Factorization, TwoLayer, ItemResponse])
def test_the_gradients_of_a_batch_are_those_of_its_log_loss(kind):
    forecaster, generator = kind(dim=7), torch.Generator().manual_seed(0)
    flat, weights, gradients = flattened(forecaster._initialize(5, 11, generator))
    flat.add_(0.3 * torch.randn(flat.shape, generator=generator))  # nothing may stay at zero
    e, scores, drawn = (torch.rand(shape, generator=generator) for shape in ((13, 11), (13, 5), (13, 5)))
    mask = (drawn < 0.8).float()
    logits = forecaster.descent(weights, gradients, e, scores, mask / mask.sum())
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        forecaster._logits(weights, e), scores, mask, reduction="sum"
    ) / mask.sum()
    for name, expected in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
        torch.testing.assert_close(gradients[name], expected, msg=name)
    torch.testing.assert_close(flat.grad, torch.cat([gradients[name].ravel() for name in weights]))
    torch.testing.assert_close(logits, forecaster._logits(weights, e).detach())


def test_steps_are_those_of_torchs_optimizer(rng):
    flat = torch.as_tensor(rng.standard_normal(50), dtype=torch.float32)
    flat.grad = torch.zeros_like(flat)
    plain = torch.nn.Parameter(flat.clone())
    step, optimizer = _adam(flat, 0.01, 0.1), torch.optim.Adam([plain], lr=0.01, weight_decay=0.1, fused=True)
    for _ in range(20):
        flat.grad.copy_(torch.as_tensor(rng.standard_normal(50)))
        plain.grad = flat.grad.clone()
        step()
        optimizer.step()
        assert torch.equal(flat, plain.detach())


def test_a_weight_that_decay_has_closed_is_zero_and_never_denormal():
    """With no gradient but its decay a weight falls below 1e-38 within 1500 steps of plain Adam, and stays there."""
    flat = torch.full((3,), 0.5)
    flat.grad = torch.zeros(3)
    step, smallest = _adam(flat, learning_rate=0.01, weight_decay=0.1), []
    for _ in range(1500):
        step()
        smallest.append(float(flat.abs().min()))
    assert min(value for value in smallest if value) > torch.finfo(torch.float32).tiny
    assert smallest[-1] == 0


def test_a_race_of_one_is_a_training_and_losers_stop_early(planted):
    """Training in pieces, as a race does, ends at the bits of one that was never paused."""
    parts = planted[0]
    settings = {"dim": 4, "batch_cells": 1024, "learning_rate": 0.01, "epochs": 40}
    hopeless = [Factorization(**settings | {"learning_rate": rate}) for rate in (1e-7, 1e-6)]
    race = Tuned([*hopeless, Factorization(**settings)]).fit(*parts["train"], *parts["val"])
    alone = Factorization(**settings).fit(*parts["train"], *parts["val"])
    np.testing.assert_array_equal(race.predict_proba(parts["test"][1]), alone.predict_proba(parts["test"][1]))
    assert [len(one.history) for one in hopeless] == [LONGEST_TRIAL] * 2
    assert race.best.history.equals(alone.history)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", [Factorization, TwoLayer, ItemResponse])
def test_a_gpu_trains_to_the_forecasts_of_the_processor(kind, planted, monkeypatch):
    """Start and order are the same; without noise only rounding differs."""
    parts, forecasts = planted[0], []
    for device in ("cuda", "cpu"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda device=device: device == "cuda")
        forecaster = kind(dim=4, noise=0, batch_cells=1024, epochs=10, patience=0)
        forecasts.append(forecaster.fit(*parts["train"], *parts["val"]).predict_proba(parts["test"][1]))
    np.testing.assert_allclose(*forecasts, atol=1e-3)


@pytest.mark.parametrize("graded", [False, True])
def test_answers_kept_as_bytes_or_floats_are_the_scores(rng, graded):
    scores = rng.random((4, 700)).astype(np.float32)
    scores = scores if graded else scores.round()
    scores[1:][rng.random((3, 700)) < 0.3] = np.nan
    answers = Answers(make_table(scores), "cpu")
    rows = torch.as_tensor(rng.permutation(700)[:50])
    values, mask = answers(rows)
    np.testing.assert_array_equal(values.numpy(), np.nan_to_num(scores).T[rows])
    np.testing.assert_array_equal(mask.numpy(), ~np.isnan(scores).T[rows])
    assert answers.cells.element_size() == (4 if graded else 1)
