"""Texts to vectors: the encoders themselves, without the cache."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from embedllm.catalog import ENCODERS, Encoder
from embedllm.encoders import static, weights
from embedllm.progress import progress

SHARD = 2048  # prompts a shard, up to a batch more: what an interrupted run can lose
TOKENS = {"cpu": 2048, "cuda": 32_768}  # a forward pass, padding included: what was fastest on two cores and on an H100


def hashed_words(texts: list[str]) -> np.ndarray:
    """Signed counts of hashed words and word pairs, norm 1 (0 for a text without a word)."""
    from sklearn.feature_extraction.text import HashingVectorizer

    dim = ENCODERS["hashing"].dim
    return HashingVectorizer(n_features=dim, ngram_range=(1, 2), dtype=np.float32).transform(texts).toarray()


def noise(texts: list[str]) -> np.ndarray:
    """A Gaussian direction for each text, seeded by the hash of the text."""
    seeds = (int.from_bytes(key(text), "little") for text in texts)
    drawn = np.stack([np.random.default_rng(s).standard_normal(ENCODERS["random"].dim) for s in seeds])
    return unit(drawn).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to norm 1, of the dtype given; a row of zeros stays."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def key(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def at_once(name: str) -> list[str]:
    """Encoders whose vectors come out of one pass through the same network: they differ in pooling alone."""
    entry = ENCODERS[name]
    alike = [other.name for other in ENCODERS.values() if entry.pooling and other.pooling and (
        other.files, other.max_tokens, other.instruction) == (entry.files, entry.max_tokens, entry.instruction)]
    return alike or [name]


def encoded(name: str, texts: list[str], model=None) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
    """Encode texts, and yield them a shard at a time, with the vectors of each encoder of `at_once`, of norm 1.

    `model` is what `load` gave, if it is there.

    Sorted by tokens, so that hardly anything of a batch is padding (by letters it is an eighth). Padding moves the
    last digits of a vector: an order that depends on the texts alone, and shards of whole batches, give a resumed run
    the same batches.
    """
    import torch

    model, entry = model or load(name), ENCODERS[name]
    if entry.teacher:
        for start in range(0, len(texts), SHARD):
            shard = texts[start : start + SHARD]
            with torch.inference_mode():  # not model.encode, of which a tenth of a millisecond is felt here
                given = {key: value.to(model.device) for key, value in model.preprocess(shard).items()}
                found = model.forward(given)["sentence_embedding"].float().cpu().numpy()
            yield shard, {name: unit(found)}
        return
    told = [entry.instruction + text for text in texts]
    tokens = model.tokenizer(told, truncation=True, max_length=model.max_seq_length)["input_ids"]
    most = TOKENS[model.device.type]
    waiting = deque(sorted(range(len(texts)), key=lambda i: (-len(tokens[i]), texts[i])))
    with progress(len(texts), f"prompts encoded with {name}") as step:
        while waiting:
            shard, blocks = [], []
            while waiting and len(shard) < SHARD:
                width = len(tokens[waiting[0]])
                batch = [waiting.popleft() for _ in range(min(len(waiting), max(1, most // width)))]
                padded = model.tokenizer.pad({"input_ids": [tokens[i] for i in batch]}, return_tensors="pt")
                with torch.inference_mode():  # not model.encode: it would turn every text into tokens once more
                    found = model.forward({key: value.to(model.device) for key, value in padded.items()})
                blocks.append(found["sentence_embedding"].float().cpu().numpy())
                shard += [texts[i] for i in batch]
                step(len(batch))
            names = at_once(name)
            each = np.split(np.concatenate(blocks), len(names), axis=1)
            yield shard, dict(zip(names, map(_normed, each), strict=True))


def _normed(vectors: np.ndarray) -> np.ndarray:
    """Rows of norm 1; where the network sees to that, its digits stay."""
    return vectors if np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3) else unit(vectors)


def load(name: str):
    """The SentenceTransformer of an encoder, from a local folder of files that are as they should be, without network.

    Raises
    ------
    EncoderError
        If files are missing, not the right ones, or refused.
    """
    entry = ENCODERS[name]
    if entry.refused or not (entry.weights or entry.teacher):
        why = entry.refused or "its entry has no weights"
        raise weights.EncoderError(f"encoder {name}: {why}, so that it is not loaded here; put its vectors beside your "
                                   f"data, vectors/{name}.npz")
    folder, files = (static.find(name), static.files(name)) if entry.teacher else (
        weights.find(name), weights.hashes(name))

    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    from embedllm.machine import device

    options = {"local_files_only": True, "model_kwargs": {"use_safetensors": True}}
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a bar for a load of a tenth of a second ends up in notebooks
    try:
        with weights.alone(folder, files) as place:
            modules = _pooled(place / entry.weights.file, entry) if entry.pooling else None
            model = SentenceTransformer(None if modules else str(place), modules=modules, device=str(device()),
                                        **options)
    finally:
        if bars:
            logging.enable_progress_bar()
    if entry.files:  # else it is what its files say
        model.max_seq_length = entry.max_tokens
    return model


def need(name: str) -> None:
    """Nothing, if the packages that an encoder's files are read with are installed.

    Raises
    ------
    EncoderError
        With those that are not.
    """
    wanted = ("gguf", "accelerate") if ENCODERS[name].pooling else ()
    if missing := [package for package in wanted if not importlib.util.find_spec(package)]:
        raise weights.EncoderError(f"encoder {name}: reading its file needs {', '.join(missing)}; run "
                                   "`make setup EXTRAS=encoders`")


def _pooled(path: Path, entry: Encoder) -> list:
    """The modules of a language model in a GGUF file, its tokens' vectors pooled in each way of `at_once`."""
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    need(entry.name)
    file = {"gguf_file": path.name}
    network = Transformer(str(path.parent), model_kwargs=file, config_kwargs=file, processor_kwargs=file)
    ways = tuple(ENCODERS[name].pooling for name in at_once(entry.name))
    return [network, Pooling(network.get_embedding_dimension(), pooling_mode=ways)]
