"""What a notebook leaves for later ones: one process writes it, a manifest declares it whole, readers check it.

In the folder of a run: ``<notebook>/`` holds the products, ``<notebook>.products`` is the manifest with a digest of
each and of itself, ``<notebook>.former`` the manifest of the run before, ``<notebook>.lock`` whose turn it is, and
``<notebook>.done`` make's stamp.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TextIO

from embedllm.files import ROOT, digest, shown, sync, write
from embedllm.presentation import OneSentenceError

PATIENCE = 5.0  # seconds: a kernel whose make was killed needs about one to notice and to end itself
_held: dict[Path, TextIO] = {}


class StudyError(OneSentenceError, RuntimeError):
    """What an earlier notebook should have left is missing or damaged, or another process is at work on it."""


def hold(folder: Path, notebook: str, patience: float | None = None) -> None:
    """Take a notebook of a run for this process, until `release` or its end; taking it twice is once.

    Raises
    ------
    StudyError
        If another process has it and keeps it for `patience` seconds, default `PATIENCE`.
    """
    path = folder / f"{notebook}.lock"
    if path in _held:
        return
    folder.mkdir(parents=True, exist_ok=True)
    file, deadline = path.open("a+"), time.monotonic() + (PATIENCE if patience is None else patience)
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                file.seek(0)
                with file:
                    raise StudyError(f"another run, pid {file.read().strip()}, is working here ({shown(folder)}): "
                                     "wait for it or end it") from None
            time.sleep(0.1)
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    _held[path] = file


def release(folder: Path, notebook: str) -> None:
    """Let other processes take the notebook."""
    if file := _held.pop(folder / f"{notebook}.lock", None):
        file.close()


def withdraw(folder: Path, notebook: str) -> None:
    """Distrust what an earlier run left: make has to run the notebook until it declares its products again."""
    manifest = folder / f"{notebook}.products"
    if manifest.exists():
        os.replace(manifest, manifest.with_suffix(".former"))
    (folder / f"{notebook}.done").unlink(missing_ok=True)
    shutil.rmtree(folder / notebook, ignore_errors=True)


def declare(folder: Path, notebook: str, parameters: dict, inputs: dict[str, str]) -> None:
    """Write the manifest; one that says what the former said keeps its time, so that nothing downstream reruns."""
    paths = sorted((folder / notebook).glob("*"))
    for path in paths:
        sync(path)
    text = _rendered({"parameters": parameters, "inputs": inputs,
                      "products": {path.name: digest(path.read_bytes()) for path in paths}})
    manifest = folder / f"{notebook}.products"
    former = manifest.with_suffix(".former")
    if former.exists() and former.read_bytes() == text:
        os.replace(former, manifest)
    else:
        write(manifest, text)
        former.unlink(missing_ok=True)


def note_use(folder: Path, notebook: str, **facts) -> None:
    """Write ``<notebook>.used`` for make: the source files of this package that the process has imported, and facts."""
    modules = [str(Path(module.__file__).relative_to(ROOT)) for name, module in sys.modules.copy().items()
               if name.split(".")[0] == "embedllm"]
    write(folder / f"{notebook}.used", json.dumps({"modules": sorted(modules), **facts}))


def damaged(folder: Path, notebook: str) -> Path | None:
    """The first file, manifest or product, that is not as it was declared; None if all are."""
    manifest = folder / f"{notebook}.products"
    try:
        text = manifest.read_bytes()
        content = json.loads(text)
        if _rendered({name: value for name, value in content.items() if name != "digest"}) != text:
            return manifest
    except (OSError, ValueError, AttributeError):  # gone, no JSON, or no object
        return manifest
    for name, expected in content["products"].items():
        path = folder / notebook / name
        if not path.is_file() or digest(path.read_bytes()) != expected:
            return path
    return None


def discard(folder: Path, notebook: str) -> None:
    """Delete damaged products with all that vouches for them.

    Raises
    ------
    StudyError
        If another process is writing them anew.
    """
    hold(folder, notebook, patience=0)
    (folder / f"{notebook}.done").unlink(missing_ok=True)
    (folder / f"{notebook}.products").unlink(missing_ok=True)
    shutil.rmtree(folder / notebook, ignore_errors=True)
    release(folder, notebook)


def _rendered(content: dict) -> bytes:
    """The bytes of a manifest, which begin with a digest of the rest."""
    return json.dumps({"digest": digest(json.dumps(content)), **content}, indent=1).encode()
