"""Prompt text to vectors, and a cache so that no text is encoded twice.

The cache is a folder an encoder, ``<cache>/<name>-<first 12 of the weights' sha256>/``, to which shards
are only ever added. A shard is named after the hash of its bytes: processes that write at the same time
cannot clash, and a damaged shard is known by its name, deleted and encoded again. Vectors that were taken in
(shards named ``ready-``) come before those encoded here, so that results do not depend on which came first.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from embedllm.catalog import ENCODERS, Encoder
from embedllm.encoders.encoding import SHARD, encoded, key, unit
from embedllm.encoders.weights import EncoderError
from embedllm.files import write

SAME = 0.999  # cosine above which two vectors are taken to come from one encoder
READY = "ready-"  # begins the name of a shard that was taken in


def encode(name: str, prompts: Iterable[str], cache: Path | None, model=None) -> np.ndarray:
    """Turn prompts into vectors.

    Parameters
    ----------
    name : str
        One of `catalog.ENCODERS`.
    prompts : iterable of str, length n_prompts
        A text that occurs more than once is encoded once.
    cache : Path or None
        Folder of the cache; None encodes everything afresh. An interrupted call keeps the shards that it
        has finished, and the next call ends with the same vectors as a call that was never interrupted.
    model : SentenceTransformer, optional
        The encoder as `encoding.load` gives it, for callers that keep it; default loaded when it is needed.

    Returns
    -------
    ndarray, shape (n_prompts, dim), float32
        One row per prompt, of norm 1 (encoder hashing: 0 for a text without a word).

    Raises
    ------
    EncoderError
        If the encoder is unknown, a prompt is no text, weights are missing or not the published ones, or a function
        returns something else than its entry says.
    """
    encoder = _known(name)
    texts = _texts(prompts)
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return np.empty((0, encoder.dim), dtype=np.float32)
    vectors = _cached(name, distinct, cache, model) if encoder.weights else encoder.code()(distinct)
    if vectors.shape != (len(distinct), encoder.dim) or vectors.dtype != np.float32:
        raise EncoderError(f"encoder {name}: {encoder.path} must give float32 ({len(distinct)}, {encoder.dim}), found "
                           f"{vectors.dtype} {vectors.shape}")
    row = {text: position for position, text in enumerate(distinct)}
    return vectors[[row[text] for text in texts]]


def adopt(name: str, prompts: Iterable[str], vectors: np.ndarray, cache: Path, sample: int = 32) -> float:
    """Take vectors that somebody else computed into the cache, if they are this encoder's.

    A sample of the prompts that the cache lacks, which nobody can foresee, is encoded here; these and all cached
    prompts are compared with the vectors offered. All that were not taken in before are then added, scaled to norm 1,
    and stand before what was encoded here.

    Parameters
    ----------
    name : str
        An encoder with weights.
    prompts : iterable of str, length n_prompts
    vectors : ndarray, shape (n_prompts, dim), any real dtype
        Of any scale, as whole numbers too.
    cache : Path
    sample : int
        How many prompts to encode for the comparison.

    Returns
    -------
    float
        The lowest cosine found, above 0.999; NaN where nothing could be compared (no prompt at all).

    Raises
    ------
    EncoderError
        If shapes disagree, a vector is zero or not finite, or a cosine is 0.999 or less; nothing that
        was offered is taken then.
    """
    encoder = _known(name)
    if not encoder.weights:
        raise EncoderError(f"encoder {name}: its vectors are never cached, so none can be taken in")
    texts = _texts(prompts)
    offered = np.asarray(vectors, dtype=np.float32)
    if offered.shape != (len(texts), encoder.dim):
        raise EncoderError(
            f"encoder {name}: {len(texts)} prompts need vectors of shape ({len(texts)}, {encoder.dim}), "
            f"found {offered.shape}"
        )
    norms = np.linalg.norm(offered, axis=1)
    unusable = ~(np.isfinite(norms) & (norms > 0))
    if unusable.any():
        raise EncoderError(
            f"encoder {name}: {unusable.sum()} of the ready-made vectors are zero or not finite, "
            f"the first in row {unusable.argmax()}"
        )
    offered = unit(offered)

    folder = _folder(name, cache)
    taken, stored = _read(folder, READY), _read(folder)
    keys = [key(text) for text in texts]
    rows = list({key: row for row, key in enumerate(keys) if key not in taken}.values())  # one row per text
    unseen = [row for row in rows if keys[row] not in stored]
    drawn = [unseen[i] for i in np.random.default_rng().permutation(len(unseen))[:sample]]
    own = encode(name, [texts[row] for row in drawn], cache)
    stored.update(zip((keys[row] for row in drawn), own, strict=True))

    known = [row for row, key in enumerate(keys) if key in stored]
    if not known:
        return float("nan")
    cosines = (offered[known] * unit(np.stack([stored[keys[row]] for row in known]))).sum(axis=1)
    lowest = int(cosines.argmin())
    if not cosines[lowest] > SAME:
        raise EncoderError(
            f"encoder {name}: the ready-made vectors are not its own: in row {known[lowest]} "
            f"({texts[known[lowest]][:40]!r}) the cosine is {cosines[lowest]:.4f}, needed above {SAME}; "
            f"delete or recompute them"
        )
    for start in range(0, len(rows), SHARD):
        part = rows[start : start + SHARD]
        _write(folder, [keys[row] for row in part], offered[part], READY)
    return float(cosines[lowest])


def _known(name: str) -> Encoder:
    """The record of an encoder."""
    if name not in ENCODERS:
        raise EncoderError(f"unknown encoder {name!r}; known: {', '.join(ENCODERS)}")
    return ENCODERS[name]


def _texts(prompts: Iterable[str]) -> list[str]:
    """The prompts as a list of valid Unicode (lone surrogates, legal in JSON, become question marks)."""
    if isinstance(prompts, str):
        raise EncoderError("prompts must be a sequence of texts, found one text")
    texts = list(prompts)
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise EncoderError(f"prompt {position} is no text but {text!r}; fill or drop it")
    return [text.encode("utf-8", "replace").decode() for text in texts]


# The cache


def _cached(name: str, texts: list[str], cache: Path | None, model) -> np.ndarray:
    """Vectors of distinct texts, float32 (n_texts, dim), from the cache where it has them."""
    folder = None if cache is None else _folder(name, cache)
    found = {} if folder is None else _read(folder)
    keys = {text: key(text) for text in texts}
    missing = [text for text in texts if keys[text] not in found]
    if missing:
        for shard, vectors in encoded(name, missing, model):
            shard_keys = [keys[text] for text in shard]
            if folder is not None:
                _write(folder, shard_keys, vectors)
            found.update(zip(shard_keys, vectors, strict=True))
    return np.stack([found[keys[text]] for text in texts])


def _folder(name: str, cache: Path) -> Path:
    """Where an encoder's shards lie."""
    return Path(cache) / f"{name}-{ENCODERS[name].weights.sha256[:12]}"


def _read(folder: Path, prefix: str = "") -> dict[bytes, np.ndarray]:
    """All vectors in a folder of shards, by key, what was taken in before what was encoded here.

    A shard whose bytes do not match its name is deleted.
    """
    found: dict[bytes, np.ndarray] = {}
    for path in sorted(folder.glob(f"{prefix}*.npz"), key=lambda path: (path.name.startswith(READY), path.name)):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # damaged, and another process was quicker to delete it
            continue
        if _key_of_bytes(content) != path.stem.removeprefix(READY):
            path.unlink(missing_ok=True)
            continue
        with np.load(io.BytesIO(content)) as shard:
            found.update(zip(map(bytes, shard["keys"]), shard["vectors"], strict=True))
    return found


def _write(folder: Path, keys: list[bytes], vectors: np.ndarray, prefix: str = "") -> None:
    """Add a shard: complete under its name, or not there."""
    buffer = io.BytesIO()
    key_bytes = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1)
    np.savez(buffer, keys=key_bytes, vectors=vectors)
    content = buffer.getvalue()
    write(folder / f"{prefix}{_key_of_bytes(content)}.npz", content)


def _key_of_bytes(content: bytes) -> str:
    """The name of a shard with this content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
