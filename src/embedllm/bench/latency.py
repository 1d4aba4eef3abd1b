"""How long a router takes, from the text of a question to the name of a model, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.bench import scale
from embedllm.bench.workloads import encoder_flop, paper_parts, product_rates, timed
from embedllm.encoders import encoding
from embedllm.encoders.cache import encode
from embedllm.forecasters import registry
from embedllm.routing.guard import Guard
from embedllm.routing.router import Router

ENCODER = "minilm"
FOLLOWED = (catalog.CONVEX, catalog.FACTORIZATION, catalog.CLUSTERS, catalog.KNN, catalog.TEXT_ONLY)
LENGTHS, BATCHES = (32, 64, 128, 256), (1, 32, 3_000)
ENCODED_AT_ONCE = 32  # where the lengths of prompts are compared with the ceiling
OWN, N_OWN = "of the data set", 200  # prompts
WORD = "word"  # one token of every encoder here


def durations(function: Callable, inputs: Sequence, seconds: float) -> np.ndarray:
    """Seconds of each call, going round the inputs until the time is up; at least three, after one that warms up."""
    function(inputs[0])
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        taken.append(timed(function, inputs[len(taken) % len(inputs)])[0])
    return np.array(taken)


def latency() -> pd.DataFrame:
    """Milliseconds of each stage.

    Returns
    -------
    DataFrame
        ``stage``: "load" (a fresh process reads the encoder and encodes its first prompt), "encode", "choose" (scores
        of all models and the choice, vectors given) and "together" (`Router.route`, text to model); ``router``;
        ``prompts``: "32 tokens" or "of the data set"; ``batch``; ``median`` and ``p99`` of a call, in
        milliseconds; ``ratio``: seconds to encode over those that the matrix products alone would take at the rate of
        products measured just before and after.
    """
    rows, parts, held = [], paper_parts(), Guard(0, 0.01)
    seconds, model = timed(_loaded)
    rows.append(("load", "", "", 1, 1e3 * seconds, np.nan, np.nan))
    own = list(parts["test"][0].questions["prompt"])
    for length in LENGTHS:
        for batch in (1, ENCODED_AT_ONCE):
            prompts = _of_length(model, length, batch)
            rows.append(_encoded(model, [prompts], f"{length} tokens"))
    rows.append(_encoded(model, [[prompt] for prompt in own[:N_OWN]], OWN))
    for entry in FOLLOWED:
        fitted = registry.build(entry, scale.SETTINGS | {"epochs": 2}).fit(*parts["train"], *parts["val"])
        for batch in (min(batch, len(own)) for batch in BATCHES):
            vectors = [parts["test"][1][at : at + batch] for at in range(0, len(own) - batch + 1, batch)]
            taken = durations(lambda e, fitted=fitted: held.choose(fitted.predict_proba(e)), vectors, scale.SECONDS)
            rows.append(("choose", entry.name, "", batch, *_summary(taken), np.nan))
        table = parts["train"][0]
        models = pd.DataFrame({"price": np.nan, "mean": table.model_means}, index=table.models.index)
        router = Router(fitted, held, models, "", ENCODER, pd.DataFrame())
        taken = durations(router.route, [[prompt] for prompt in own], scale.SECONDS)
        rows.append(("together", entry.name, OWN, 1, *_summary(taken), np.nan))
    return pd.DataFrame(rows, columns=["stage", "router", "prompts", "batch", "median", "p99", "ratio"])


def _loaded():
    """The encoder, after its first prompt."""
    model = encoding.load(ENCODER)
    encode(ENCODER, [WORD], None, model)
    return model


def _of_length(model, tokens: int, batch: int) -> list[str]:
    """Distinct prompts of so many tokens, those that mark begin and end included."""
    prompts = [" ".join([WORD] * (tokens - 3) + [letter]) for letter in "abcdefghijklmnopqrstuvwxyz0123456789"[:batch]]
    assert {len(ids) for ids in model.tokenizer(prompts)["input_ids"]} == {tokens}
    return prompts


def _encoded(model, batches: list[list[str]], name: str) -> tuple:
    """A row: how long such prompts take, beside their matrix products at the rate measured around them."""
    before = np.median(product_rates())
    taken = durations(partial(encode, ENCODER, cache=None, model=model), batches, scale.SECONDS)
    rate = 1e9 * (before + np.median(product_rates())) / 2
    tokens = model.tokenizer([prompt for batch in batches for prompt in batch], truncation=True)["input_ids"]
    least = encoder_flop(model, np.array(list(map(len, tokens)), dtype=float)).sum() / len(batches) / rate
    return "encode", "", name, len(batches[0]), *_summary(taken), np.median(taken) / least


def _summary(taken: np.ndarray) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds."""
    return 1e3 * float(np.median(taken)), 1e3 * float(np.quantile(taken, 0.99))
