"""How long a router takes, from the text of a question to the name of a model, stage by stage and together."""

from __future__ import annotations

from functools import partial
from itertools import islice, product
from math import nan
from string import ascii_lowercase, digits

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.bench import scale
from embedllm.bench.workloads import durations, encoder_flop, paper_parts, product_rates, timed
from embedllm.encoders import encoding
from embedllm.encoders.cache import encode
from embedllm.encoders.weights import EncoderError
from embedllm.forecasters import registry
from embedllm.routing.guard import Guard
from embedllm.routing.router import Router
from embedllm.sources import mmlu_pro
from embedllm.splits import Parts

ENCODER, STATIC = "minilm", "static-mpnet"
LENGTHS, BATCHES = (32, 64, 128, 256), (1, 32, 3_000)
REAL, N_REAL = "of mmlu-pro", 200  # prompts
WORD = "word"  # one token of every encoder here, as is a letter or a digit
FEWEST, LONGER = 100, 3  # calls, for a 99th percentile; times as long is measured where a single prompt is encoded
QUICK, SLOW = 0.1, 3.0  # targets in milliseconds; slow where a prompt is compared with all training questions
AT_ONCE = 1.0  # target in milliseconds from text to answer where the encoder is static
TIMES = 2.0  # target: what encoding may take, in times of its matrix products
FOLLOWED = ((catalog.CONVEX, QUICK), (catalog.FACTORIZATION, QUICK), (catalog.CLUSTERS, QUICK), (catalog.KNN, SLOW),
            (catalog.TEXT_ONLY, SLOW))


def latency() -> pd.DataFrame:
    """Milliseconds of each stage.

    Returns
    -------
    DataFrame
        ``encoder``; ``stage``: "load" (a fresh process reads the encoder and encodes its first prompt), "encode" (text
        to vector), "score" (`Forecaster.predict_proba`), "choose" (`Guard.choose`, scores given), "after encoding"
        (`Router.route_vectors`: both, and all else that `Router.route` does with a vector) and "together"
        (`Router.route`: text to answer); ``router``; ``prompts``: "32 tokens" or "of mmlu-pro", blank where vectors of
        the simulated pool's test questions are given; ``batch``, at most all of these; ``calls`` that were timed;
        ``median`` and ``p99`` of a call, in milliseconds, ``p99`` missing where there were fewer than 100; ``ratio``:
        seconds to encode over those that the matrix products alone would take at the rate of products measured just
        before and after; ``target``, missing where there is none: the highest ``ratio`` for "encode", the highest
        ``median`` else.

    The largest batch is encoded once at each length: that takes up to two minutes. The static encoder comes with the
    first router alone, and only where it is there or can be made.
    """
    seconds, model = timed(_loaded)  # first: nothing else has loaded the encoder
    real, parts = _real(), paper_parts()
    rows = [_row("load", np.array([seconds])), *_encoding(model, real)]
    for entry, target in FOLLOWED:
        rows += _routing(entry, target, parts, real)
    try:
        model = encoding.load(STATIC)
    except EncoderError:
        return pd.DataFrame(rows)
    encode_one = partial(encode, STATIC, cache=None, model=model)
    taken = durations(encode_one, [[prompt] for prompt in real], scale.SECONDS)
    rows.append(_row("encode", taken, prompts=REAL, encoder=STATIC))
    entry, target = FOLLOWED[0]
    return pd.DataFrame(rows + _routing(entry, target, paper_parts(encoder=STATIC), real, STATIC))


def _loaded():
    """The encoder, after its first prompt."""
    model = encoding.load(ENCODER)
    encode(ENCODER, [WORD], None, model)
    return model


def _real() -> list[str]:
    """Prompts of a benchmark, drawn evenly: longer ones than the simulated pool has, and of unequal length."""
    prompts = mmlu_pro.load().questions["prompt"]
    return prompts.sample(N_REAL, random_state=np.random.default_rng(0)).tolist()


def _encoding(model, real: list[str]) -> list[dict]:
    """Rows of the stage "encode"."""
    rows = []
    for length in LENGTHS:
        for batch in BATCHES:
            prompts = _of_length(model, length, batch)
            rows.append(_encoded(model, [prompts], f"{length} tokens", once=batch == BATCHES[-1]))
    return [*rows, _encoded(model, [[prompt] for prompt in real], REAL)]


def _of_length(model, tokens: int, batch: int) -> list[str]:
    """Distinct prompts of so many tokens, those that mark begin and end included."""
    endings = islice(product(ascii_lowercase + digits, repeat=3), batch)
    prompts = [" ".join([WORD] * (tokens - 5) + list(ending)) for ending in endings]
    assert {len(ids) for ids in model.tokenizer(prompts)["input_ids"]} == {tokens}
    return prompts


def _encoded(model, batches: list[list[str]], name: str, once: bool = False) -> dict:
    """A row: how long such prompts take, beside their matrix products at the rate measured around them."""
    before = np.median(product_rates())
    spent = LONGER * scale.SECONDS if len(batches[0]) == 1 else scale.SECONDS
    taken = durations(partial(encode, ENCODER, cache=None, model=model), batches, spent, once)
    rate = 1e9 * (before + np.median(product_rates())) / 2
    least = np.array([_flop(model, batch) for batch in batches]) / rate
    ratio = np.median(taken / np.resize(least, len(taken)))  # call by call: prompts differ in length
    return _row("encode", taken, len(batches[0]), prompts=name, ratio=ratio, target=TIMES)


def _flop(model, prompts: list[str]) -> float:
    """Operations to encode prompts, without padding."""
    tokens = model.tokenizer(prompts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    return encoder_flop(model, np.array(list(map(len, tokens)), dtype=float)).sum()


def _routing(
    entry: catalog.Forecaster, target: float, parts: Parts, real: list[str], encoder: str = ENCODER
) -> list[dict]:
    """Rows of a router: after encoding, in its two steps and as users call it, and from text to answer."""
    fitted = registry.build(entry, scale.SETTINGS | {"epochs": 2}).fit(*parts["train"], *parts["val"])
    held, table, vectors = Guard(0, 0.01), parts["train"][0], parts["test"][1]
    models = pd.DataFrame({"price": nan, "mean": table.model_means}, index=table.models.index)
    router = Router(fitted, held, models, "", encoder, pd.DataFrame())
    scores, rows = fitted.predict_proba(vectors), []
    for batch in (min(batch, len(vectors)) for batch in BATCHES):
        starts = range(0, len(vectors) - batch + 1, batch)
        given = [vectors[at : at + batch] for at in starts]
        scored = [np.ascontiguousarray(scores[:, at : at + batch]) for at in starts]
        steps = {"score": (fitted.predict_proba, given), "choose": (held.choose, scored),
                 "after encoding": (router.route_vectors, given)}
        for stage, (function, inputs) in steps.items():
            wanted = target if (stage, batch) == ("after encoding", 1) else nan
            rows.append(_row(stage, durations(function, inputs, scale.SECONDS), batch, entry.name, target=wanted,
                             encoder=encoder))
    taken = durations(router.route, [[prompt] for prompt in real], LONGER * scale.SECONDS)
    whole = AT_ONCE if encoder == STATIC else nan
    return [*rows, _row("together", taken, 1, entry.name, REAL, target=whole, encoder=encoder)]


def _row(
    stage: str, taken: np.ndarray, batch: int = 1, router: str = "", prompts: str = "", ratio: float = nan,
    target: float = nan, encoder: str = ENCODER,
) -> dict:
    """A row of the table, from the seconds of each call."""
    p99 = np.quantile(taken, 0.99) if len(taken) >= FEWEST else nan
    return {"encoder": encoder, "stage": stage, "router": router, "prompts": prompts, "batch": batch,
            "calls": len(taken), "median": 1e3 * np.median(taken), "p99": 1e3 * p99, "ratio": ratio, "target": target}
