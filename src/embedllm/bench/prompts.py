"""How fast prompts become vectors: by ways to run one encoder, and by encoder."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from math import nan
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

from embedllm import catalog
from embedllm.bench import scale
from embedllm.bench.workloads import encoder_flop, product_rates, timed
from embedllm.encoders import cache, encoding, fitted
from embedllm.encoders.weights import EncoderError
from embedllm.sources import mmlu_pro
from embedllm.sources.simulated import simulate

ONNX = "ONNX Runtime"  # with the extra packages for encoders
N_BATCH, N_LEARNED = 100, 9_600  # prompts that each encoder is given; that words are counted in before
ROUNDS = 50  # at most, until a second is full: what takes milliseconds is timed more than once


def ways() -> tuple[pd.DataFrame, float]:
    """Each way to run MiniLM on some prompts, and operations a byte of float32.

    Medians of four rounds, every other one in reverse. Columns ``way``, ``prompts_per_second``, ``gflops``,
    ``ceiling`` (GFLOP/s of a matrix product, mean of just before and just after), ``ratio`` (of the two, by round),
    ``lowest_cosine`` and ``mean_cosine`` with float32, and ``seconds_again`` (all prompts from the cache).
    """
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    prompts = list(dict.fromkeys(simulate(n_models=16, n_questions=3_000).questions["prompt"]))[:scale.N_ENCODED]
    model = encoding.load("minilm")
    tokens = model.tokenizer(prompts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    n, shape = np.array(list(map(len, tokens)), dtype=float), model[0].auto_model.config
    layer = 4 * shape.hidden_size**2 + 2 * shape.hidden_size * shape.intermediate_size
    flop = encoder_flop(model, n).sum()
    widths = 8 * shape.hidden_size + 2 * (shape.hidden_size + shape.intermediate_size)  # in and out of six products
    moved = 4 * shape.num_hidden_layers * (layer / encoding.TOKENS["cpu"] + widths) * n.sum()
    with warnings.catch_warnings(action="ignore"):  # deprecated for torchao
        int8 = quantize_dynamic(model, {torch.nn.Linear: per_channel_dynamic_qconfig}, dtype=torch.qint8)
    forms = {"float32": model, "bfloat16": encoding.load("minilm").bfloat16(), "int8 weights, by channel": int8}
    if find_spec("onnxruntime") and find_spec("onnx"):
        forms[ONNX] = Exported(model)
    vectors, rows = {}, []
    for name in 2 * [*forms, *list(forms)[::-1]]:
        with patch.object(encoding, "load", lambda _, name=name: forms[name]):  # loading is no encoding
            cache.encode("minilm", prompts[:64], None)
            before = np.median(product_rates())
            with tempfile.TemporaryDirectory() as folder:
                seconds, vectors[name] = timed(cache.encode, "minilm", prompts, Path(folder))
                top = (before + np.median(product_rates())) / 2
                again, _ = timed(cache.encode, "minilm", prompts, Path(folder))
        cosine = (vectors[name] * vectors["float32"]).sum(axis=1) / np.linalg.norm(vectors[name], axis=1)
        rate = flop / seconds / 1e9
        rows.append((name, len(prompts) / seconds, rate, top, top / rate, cosine.min(), cosine.mean(), again))
    table = pd.DataFrame(rows, columns=["way", "prompts_per_second", "gflops", "ceiling", "ratio",
                                        "lowest_cosine", "mean_cosine", "seconds_again"])
    return table.groupby("way", sort=False).median().reset_index(), flop / moved


class Exported:
    """A BERT as a graph for ONNX Runtime, in place of its SentenceTransformer: tokens in, vectors of norm 1 out."""

    def __init__(self, model):
        import onnxruntime

        self.tokenizer, self.max_seq_length, self.device = model.tokenizer, model.max_seq_length, torch.device("cpu")
        example = self.tokenizer(["two words", "one"], return_tensors="pt", padding=True)
        self.names, written = ["input_ids", "attention_mask"], io.BytesIO()
        free = {name: {0: "prompts", 1: "tokens"} for name in self.names} | {"vectors": {0: "prompts"}}
        with warnings.catch_warnings(action="ignore"):  # of the exporter by tracing, which needs no more packages
            torch.onnx.export(
                _Pooled(model[0].auto_model).eval(), tuple(example[name] for name in self.names), written, dynamo=False,
                input_names=self.names, output_names=["vectors"], dynamic_axes=free, opset_version=17)
        threads = onnxruntime.SessionOptions()
        threads.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(written.getvalue(), threads, providers=["CPUExecutionProvider"])

    def forward(self, features: dict) -> dict:
        given = {name: features[name].numpy() for name in self.names}
        return {"sentence_embedding": torch.from_numpy(self.session.run(None, given)[0])}


class _Pooled(torch.nn.Module):
    """MiniLM with its pooling, the mask as a number: what traces a mask as a truth value forgets it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, input_ids, attention_mask):
        mask = attention_mask[:, None, None, :].float().log().clamp(min=-1e9)
        states = self.network.embeddings(input_ids=input_ids)
        for layer in self.network.encoder.layer:
            states = layer(states, mask)
        weights = attention_mask[..., None].float()
        return torch.nn.functional.normalize((states * weights).sum(dim=1) / weights.sum(dim=1), dim=1)


def encoders() -> pd.DataFrame:
    """What each way to represent a prompt costs, on prompts of MMLU-Pro: those that this machine has weights for.

    Returns
    -------
    DataFrame
        ``encoder``; ``prompts_per_second``, all given at once; ``milliseconds`` of each by itself, median, and
        ``p99``; ``flop``: operations a prompt in products with weights (mean; attention aside; missing where
        nothing is multiplied); ``parameters``, missing where there are none.
    """
    prompts = mmlu_pro.load().questions["prompt"].sample(frac=1, random_state=np.random.default_rng(0)).tolist()
    batch, rows = prompts[:N_BATCH], []
    for name, entry in catalog.ENCODERS.items():
        if entry.path or entry.pooling == "lasttoken":  # as fast as the mean
            continue
        try:
            model = encoding.load(name)
        except EncoderError:
            continue
        flop = nan
        if entry.flop:
            read = model.tokenizer([entry.instruction + prompt for prompt in batch], truncation=True,
                                   max_length=model.max_seq_length)["input_ids"]
            flop = entry.flop * np.mean([len(tokens) for tokens in read])
        encode = partial(cache.encode, name, cache=None, model=model)
        rows.append((name, *_speeds(encode, batch), flop, entry.parameters))
    rows += [(catalog.TFIDF.name, *_speeds(fitted.counter(prompts[N_BATCH:][:N_LEARNED]), batch), nan, nan),
             (catalog.FEATURES.name, *_speeds(fitted.measured, batch), nan, nan)]
    return pd.DataFrame(rows, columns=["encoder", "prompts_per_second", "milliseconds", "p99", "flop", "parameters"])


def _speeds(encode: Callable, prompts: list[str]) -> tuple[float, float, float]:
    """Prompts a second at once; milliseconds of one, median and 99th percentile."""
    encode(prompts[:8])  # what is set up at the first call is no part of it
    spent = [timed(encode, prompts)[0]]
    while sum(spent) < 1 and len(spent) < ROUNDS:
        spent.append(timed(encode, prompts)[0])
    at_once = np.median(spent)
    single = [1e3 * timed(encode, [prompt])[0] for prompt in prompts]
    return len(prompts) / at_once, np.median(single), np.quantile(single, 0.99)
