"""Gradients written out are those of differentiation; training a piece at a time is training."""

import numpy as np
import pytest
import torch
from conftest import make_parts, make_table

from embedllm.forecasters.batches import POOL, Answers, Questions
from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.networks import ItemResponse, TwoLayer
from embedllm.forecasters.training import LOOKED_AT, _adam, flattened
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
    torch.testing.assert_close(flat.grad, torch.cat([gradients[name].mT.ravel() if gradients[name].ndim == 2
                                                     else gradients[name].ravel() for name in weights]))
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
    assert answers.complete is False
    assert Answers(make_table(scores[:1]), "cpu").complete


def batches(parts, noise=0.0, seed=0, batch=100, order=None):
    """One epoch as arrays: prompt vectors, scores, shares of each batch."""
    questions = Questions(*parts["train"], *parts["val"])
    generator = torch.Generator().manual_seed(seed)
    order = torch.arange(questions.shape[1]) if order is None else order
    return [(e.numpy().copy(), scores.numpy(), share) for e, scores, share in
            questions.epoch(order, batch, noise, generator)]


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_an_epoch_is_every_question_once_and_shares_sum_to_one(rng, missing):
    parts = make_parts(rng.standard_normal((5, 1500)), rng.standard_normal((1500, 8)), missing=missing)
    (table, vectors), order = parts["train"], torch.as_tensor(rng.permutation(1200))
    e, scores, shares = zip(*batches(parts, batch=70, order=order), strict=True)
    np.testing.assert_array_equal(np.concatenate(e), vectors[order])
    np.testing.assert_array_equal(np.concatenate(scores), np.nan_to_num(table.scores).T[order])
    observed = table.observed.T[order]
    for number, share in enumerate(shares):
        here = observed[70 * number : 70 * number + 70]
        np.testing.assert_allclose(np.broadcast_to(share, here.shape), here / here.sum(), rtol=1e-6)


def test_noise_is_gaussian_white_and_new_in_each_epoch(rng):
    """Its spread, tails and covariance are those of independent numbers, within and between epochs."""
    n, d = 20_000, 150  # more numbers than the pool holds
    parts = make_parts(np.zeros((1, n)), np.zeros((n, d)), shares=(0.8, 0.1))
    questions, generator = Questions(*parts["train"], *parts["val"]), torch.Generator().manual_seed(3)
    first, second = (np.concatenate([e.numpy().copy() for e, _, _ in
                                     questions.epoch(torch.arange(n * 4 // 5), 100, 0.2, generator)]) for _ in range(2))
    assert first.size > POOL
    for noise in (first, second):
        assert noise.mean() == pytest.approx(0, abs=0.2 * 5 / np.sqrt(POOL))
        assert noise.std() == pytest.approx(0.2, rel=0.005)
        assert (np.abs(noise) > 0.4).mean() == pytest.approx(0.0455, rel=0.02)  # beyond two SDs
        spread = np.linalg.eigvalsh(np.cov(noise.T)) / 0.04
        assert spread.min() > (1 - np.sqrt(d / len(noise))) ** 2 - 0.1
        assert spread.max() < (1 + np.sqrt(d / len(noise))) ** 2 + 0.1
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(POOL)
    again = batches(parts, 0.2, 3)
    np.testing.assert_array_equal(np.concatenate([e for e, _, _ in again]), first)
    assert not np.array_equal(batches(parts, 0.2, 4)[0][0], again[0][0])


def test_the_history_tells_the_loss_of_every_fourth_batch(planted):
    parts = planted[0]
    one = Factorization(dim=3, noise=0, learning_rate=0, epochs=1, batch_cells=1200, shuffle=False)
    one.fit(*parts["train"], *parts["val"])
    table, vectors = parts["train"]
    looked_at = (np.arange(table.shape[1]) // 100) % LOOKED_AT == 0
    p = one.predict_proba(vectors)[:, looked_at]
    expected = -np.log(np.where(table.scores[:, looked_at] == 1, p, 1 - p)).mean()
    assert one.history["train"].iloc[0] == pytest.approx(expected, rel=1e-5)
