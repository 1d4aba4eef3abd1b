"""Other ways to fit the same factorization, for `make bench` to compare by the time they take to a validation loss."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize

from embedllm.bench.per_cell import updates
from embedllm.forecasters.batches import Answers, Questions
from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.training import flattened, log_loss
from embedllm.splits import Parts

WHOLE = (("model_vectors", "output", "constant", "projection", "offset"),)
ALTERNATING = (("model_vectors", "constant"), ("projection", "offset", "constant"))  # convex, each by itself
SWEEP = 10  # iterations on one group of weights before the next has its turn


def by_gradient_steps(parts: Parts, like: Factorization) -> pd.DataFrame:
    """Validation log-loss of `Factorization` after each epoch: columns ``seconds``, ``val``."""
    rows, began = [], time.perf_counter()
    for val in like.epochs_of(Questions(*parts["train"], *parts["val"])):
        rows.append((time.perf_counter() - began, val))
    return pd.DataFrame(rows, columns=["seconds", "val"])


def by_cells(parts: Parts, like: Factorization, seconds: float, every: int = 100) -> pd.DataFrame:
    """Validation log-loss of the per-cell trainer: columns ``seconds`` (of training alone), ``val``, ``updates``."""
    val, e = torch.as_tensor(parts["val"][0].scores), torch.as_tensor(parts["val"][1])
    rows, looking = [], 0.0
    for number, (network, spent) in enumerate(updates(parts, like, like.epochs), 1):
        if number % every == 0:
            began = time.perf_counter()
            with torch.inference_mode():
                loss = log_loss(like._logits(network.weights, e).T, val.nan_to_num(), (~val.isnan()).float())
            rows.append((spent - looking, float(loss / (~val.isnan()).sum()), number))
            looking += time.perf_counter() - began
            if rows[-1][0] > seconds:
                break
    return pd.DataFrame(rows, columns=["seconds", "val", "updates"])


def by_full_batches(parts: Parts, like: Factorization, groups: tuple, seconds: float) -> pd.DataFrame:
    """Validation log-loss on the way of L-BFGS over all questions, a group of weights at a time.

    The objective is the mean log-loss plus half the weight decay times the square of the weights.

    Returns
    -------
    DataFrame
        Columns ``seconds``, ``val``; ends when the time is up or nothing moves any more.
    """
    (train, vectors), generator = parts["train"], torch.Generator().manual_seed(like.seed)
    e, val_e = torch.as_tensor(vectors), torch.as_tensor(parts["val"][1])
    scores, mask = Answers(train, "cpu")(torch.arange(len(e)))
    share, val_answers = mask / mask.sum(), Answers(parts["val"][0], "cpu")
    flat, weights, gradients = flattened(like._initialize(len(train.models), e.shape[1], generator))
    e = e + like.noise * torch.randn(e.shape, generator=generator)  # one draw: what stochastic steps see on average
    places = dict(zip(weights, torch.arange(len(flat)).split([w.numel() for w in weights.values()]), strict=True))
    rows, began = [], time.perf_counter()

    def objective(x: np.ndarray, at: torch.Tensor) -> tuple[float, np.ndarray]:
        flat[at] = torch.as_tensor(x, dtype=torch.float32)
        logits = like.descent(weights, gradients, e, scores, share)
        value = float(log_loss(logits, scores, share)) + like.weight_decay / 2 * float(flat[at] @ flat[at])
        return value, (flat.grad[at] + like.weight_decay * flat[at]).double().numpy()

    def watch(_) -> None:
        rows.append((time.perf_counter() - began, like._validate(weights, val_e, val_answers)))
        if rows[-1][0] > seconds:
            raise StopIteration  # ends this call of minimize

    options = {"maxiter": SWEEP if len(groups) > 1 else 10_000, "maxfun": 100_000, "ftol": 0, "gtol": 0}
    known = -1
    while time.perf_counter() - began <= seconds and len(rows) > known:
        known = len(rows)
        for names in groups:
            at = torch.cat([places[name] for name in names])
            start = flat[at].double().numpy()
            found = minimize(objective, start, (at,), "L-BFGS-B", True, options=options, callback=watch)
            flat[at] = torch.as_tensor(found.x, dtype=torch.float32)  # not the last trial of its line search
    return pd.DataFrame(rows, columns=["seconds", "val"])
