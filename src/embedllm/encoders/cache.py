"""Prompt text to vectors, and a cache so that no text is encoded twice.

The cache is a folder an encoder, ``<cache>/<name>-<first 12 of the fingerprint of its files>/``, to which shards are
only ever added. A shard is named after the hash of its bytes: processes that write at the same time cannot clash, and
a damaged shard is known by its name, deleted and encoded again. The cache holds what was encoded here and nothing
else; vectors that somebody else computed stay with the table they came with (`Vectors`), so that results of one data
set do not depend on which others were read before.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from math import ceil, sqrt
from pathlib import Path
from types import MappingProxyType

import numpy as np

from embedllm.catalog import ENCODERS, Encoder
from embedllm.encoders import static
from embedllm.encoders.encoding import encoded, key, unit
from embedllm.encoders.weights import EncoderError, fingerprint, loadable
from embedllm.files import digest, write

SAME = 0.999  # cosine above which two vectors are taken to come from one encoder
FEWEST = 32  # vectors to compare, of those that somebody else computed
Vectors = Mapping[bytes, np.ndarray]  # `encoding.key` of a text to its vector


def encode(
    name: str, prompts: Iterable[str], cache: Path | None, model=None, known: Vectors = MappingProxyType({})
) -> np.ndarray:
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
    known : Vectors, optional
        What is taken for these texts, whatever the cache holds.

    Returns
    -------
    ndarray, shape (n_prompts, dim), float32
        One row per prompt, of norm 1 (encoder hashing: 0 for a text without a word).

    Raises
    ------
    EncoderError
        If the encoder is unknown or refused, a prompt is no text, weights are missing or not the published ones, or
        vectors are not finite or of another shape than its entry says.
    """
    encoder = _known(name)
    texts = _texts(prompts)
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return np.empty((0, encoder.dim), dtype=np.float32)
    vectors = encoder.code()(distinct) if encoder.path else _cached(name, distinct, cache, model, known)
    _usable(encoder, distinct, vectors)
    row = {text: position for position, text in enumerate(distinct)}
    return vectors[[row[text] for text in texts]]


def checked(name: str, prompts: Iterable[str], vectors: np.ndarray, cache: Path) -> np.ndarray:
    """Vectors that somebody else computed, scaled to norm 1, if they are this encoder's.

    A sample that nobody can foresee is encoded here, n of them: the square root of their number, and at least 32.
    Where a share of 3 / n is wrong, 330 of 12,032, that is found in 95 % of tries; a few wrong rows are not. Whatever
    the cache holds is compared as well.

    Parameters
    ----------
    name : str
        A network. Where it cannot be loaded here (`weights.loadable`) nothing is encoded to compare with: shapes and
        numbers alone are looked at.
    prompts : iterable of str, length n_prompts
    vectors : ndarray, shape (n_prompts, dim), any real dtype
        Of any scale, as whole numbers too.
    cache : Path

    Returns
    -------
    ndarray, shape (n_prompts, dim), float32

    Raises
    ------
    EncoderError
        If shapes disagree, a vector is zero or not finite, or its cosine with this encoder's is 0.999 or less.
    """
    encoder = _known(name)
    if encoder.path:
        raise EncoderError(f"encoder {name}: its vectors are made anew in no time, so none can be taken in")
    texts = _texts(prompts)
    if (kind := np.asarray(vectors).dtype).kind not in "fiu":
        raise EncoderError(f"encoder {name}: the ready-made vectors are no real numbers but {kind}")
    offered = np.asarray(vectors, dtype=np.float32)
    if offered.shape != (len(texts), encoder.dim):
        raise EncoderError(
            f"encoder {name}: {len(texts)} prompts need vectors of shape ({len(texts)}, {encoder.dim}), "
            f"found {offered.shape}"
        )
    norms = np.linalg.norm(offered, axis=1)
    if (unusable := ~(np.isfinite(norms) & (norms > 0))).any():
        raise EncoderError(f"encoder {name}: {unusable.sum()} of the ready-made vectors are zero or not finite, "
                           f"the first in row {unusable.argmax()}")
    offered, keys = unit(offered), [key(text) for text in texts]
    if not loadable(name):
        return offered
    own = _read(_folder(name, cache))
    drawn = np.random.default_rng().permutation(len(texts))[: max(FEWEST, ceil(sqrt(len(texts))))]
    unseen = [row for row in drawn if keys[row] not in own]
    if unseen:  # not into the cache: a vector's last digits depend on the batch, and this one is drawn
        own.update(zip((keys[row] for row in unseen), encode(name, [texts[row] for row in unseen], None), strict=True))

    rows = [row for row, one in enumerate(keys) if one in own]
    cosines = np.array([offered[row] @ own[keys[row]] for row in rows])
    if len(rows) and not cosines.min() > SAME:
        lowest = rows[int(cosines.argmin())]
        raise EncoderError(
            f"encoder {name}: the ready-made vectors are not its own: in row {lowest} ({texts[lowest][:40]!r}) the "
            f"cosine is {cosines.min():.4f}, needed above {SAME}; delete or recompute them"
        )
    return offered


def by_text(prompts: Iterable[str], vectors: np.ndarray) -> Vectors:
    """Vectors, one a prompt, as `encode` takes what is known; of a text that occurs more than once the first."""
    found: dict[bytes, np.ndarray] = {}
    for text, vector in zip(_texts(prompts), vectors, strict=True):
        found.setdefault(key(text), vector)
    return found


def keep(path: Path, vectors: Vectors) -> None:
    """Write them to one file, for `kept`."""
    try:
        write(path, _packed(list(vectors), np.stack(list(vectors.values()))))
    except OSError as error:
        raise EncoderError(f"vectors cannot be kept in {path} ({error.strerror or error})") from None


def kept(path: Path) -> Vectors:
    """What `keep` wrote."""
    return _unpacked(path.read_bytes())


def _known(name: str) -> Encoder:
    """The record of an encoder."""
    if name not in ENCODERS:
        raise EncoderError(f"unknown encoder {name!r}; known: {', '.join(ENCODERS)}")
    return ENCODERS[name]


def _usable(encoder: Encoder, texts: list[str], vectors: np.ndarray) -> None:
    """Nothing, if an encoder gave finite vectors of the right shape, a network none of zeros."""
    shape = len(texts), encoder.dim
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise EncoderError(f"encoder {encoder.name}: it must give float32 {shape}, found {vectors.dtype} "
                           f"{vectors.shape}")
    no_words = bool(encoder.path or encoder.teacher)  # a text may have none of those that these know
    wrong = ~(np.isfinite(vectors).all(axis=1) & (vectors.any(axis=1) | no_words))
    if wrong.any():
        raise EncoderError(f"encoder {encoder.name}: {wrong.sum()} of {len(texts)} vectors are not finite, or zero, "
                           f"the first that of {texts[wrong.argmax()][:40]!r}")


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


def _cached(name: str, texts: list[str], cache: Path | None, model, known: Vectors) -> np.ndarray:
    """Vectors of distinct texts, float32 (n_texts, dim), known ones first, then those of the cache."""
    folder = None if cache is None else _folder(name, cache)
    keys = {text: key(text) for text in texts}
    found = {one: known[one] for one in keys.values() if one in known}
    if folder is not None and len(found) < len(texts):
        found = _read(folder) | found
    missing = [text for text in texts if keys[text] not in found]
    if missing:
        for shard, made in encoded(name, missing, model):
            shard_keys = [keys[text] for text in shard]
            for one, vectors in made.items():
                _usable(ENCODERS[one], shard, vectors)  # before they are kept
                if cache is not None:
                    _write(_folder(one, cache), shard_keys, vectors)
            found.update(zip(shard_keys, made[name], strict=True))
    return np.stack([found[keys[text]] for text in texts])


def _folder(name: str, cache: Path) -> Path:
    """Where an encoder's shards lie."""
    own = fingerprint(name)
    if ENCODERS[name].teacher:
        own = digest(own, static.content(name))
    return Path(cache) / f"{name}-{own[:12]}"


def _read(folder: Path) -> dict[bytes, np.ndarray]:
    """All vectors in a folder of shards, by key; a shard whose bytes do not match its name is deleted."""
    found: dict[bytes, np.ndarray] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # damaged, and another process was quicker to delete it
            continue
        if _key_of_bytes(content) != path.stem:
            path.unlink(missing_ok=True)
            continue
        found.update(_unpacked(content))
    return found


def _write(folder: Path, keys: list[bytes], vectors: np.ndarray) -> None:
    """Add a shard: complete under its name, or not there."""
    content = _packed(keys, vectors)
    try:
        write(folder / f"{_key_of_bytes(content)}.npz", content)
    except OSError as error:
        raise EncoderError(f"vectors cannot be kept in {folder} ({error.strerror or error}): what was encoded before "
                           "is there, and the next run goes on from it") from None


def _packed(keys: list[bytes], vectors: np.ndarray) -> bytes:
    """Keys and vectors as the bytes of one file."""
    buffer = io.BytesIO()
    np.savez(buffer, keys=np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1), vectors=vectors)
    return buffer.getvalue()


def _unpacked(content: bytes) -> dict[bytes, np.ndarray]:
    """What `_packed` packed, by key."""
    with np.load(io.BytesIO(content)) as shard:
        return dict(zip(map(bytes, shard["keys"]), shard["vectors"], strict=True))


def _key_of_bytes(content: bytes) -> str:
    """The name of a shard with this content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
