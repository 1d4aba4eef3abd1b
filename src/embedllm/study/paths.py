"""Where a run reads and writes: folders of a run and its figures, the data directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatch
from itertools import chain, islice
from pathlib import Path

from embedllm.catalog import SOURCES
from embedllm.files import ROOT
from embedllm.study.parameters import ParameterError, Parameters
from embedllm.study.shelf import DEEP

# Relative ones start at the repository root; links stay, since make names the same folders.
ARTIFACTS = Path(os.path.normpath(ROOT / (os.environ.get("EMBEDLLM_ARTIFACTS") or "artifacts")))
FIGURES = Path(os.path.normpath(ROOT / (os.environ.get("EMBEDLLM_FIGURES") or "figures")))
MANY = 100_000  # files, which take a second to list


def base_folder(p: Parameters) -> Path:
    """The folder of a run that overrides nothing; the Makefile names it the same way."""
    return ARTIFACTS / p.label / f"{p.PRESET}-{p.ENCODER}-s{p.SEED}"


def figure_folder(p: Parameters) -> Path:
    """Only the default run of a dataset, and `make deep`, write figures that are kept."""
    unusual = p.overrides.keys() & {"ENCODER", "SEED"} or p.PRESET not in ("default", DEEP)
    return base_folder(p) / "figures" if unusual else FIGURES / p.label


def check_data_dir(p: Parameters) -> None:
    """Refuse a directory that the dataset cannot be read from, as far as the names of its files tell.

    Raises
    ------
    ParameterError
        If there is no such directory, or it holds no file of the dataset.
    """
    source = SOURCES[p.DATASET]
    if source.origin == "made":
        if p.DATA_DIR:
            raise ParameterError(f"DATASET {p.DATASET} reads no data: leave DATA_DIR blank, or name what lies there")
        return
    if not p.DATA_DIR:
        if source.origin == "folder":
            raise ParameterError(f"DATASET {p.DATASET} is read from a directory: say which with DATA_DIR=...")
        return
    folder, told = data_dir(p), f"DATA_DIR = {p.DATA_DIR[:200]!r}"
    if os.path.isfile(folder):
        raise ParameterError(f"{told} is a file: name the directory that it lies in")
    if not os.path.isdir(folder):
        raise ParameterError(f"{told}: no such directory (relative paths start at the repository root)")
    for patterns in source.files:
        if not holds(folder, patterns):
            fitting = [f"; DATASET={name} can be" for name, other in SOURCES.items()
                       if other.own and name != p.DATASET and holds(folder, other.files[0])]
            raise ParameterError(f"{told} holds no {in_words(patterns)}, which DATASET={p.DATASET} is read from"
                                 f"{''.join(fitting)}")


def in_words(patterns: Sequence[str]) -> str:
    """Patterns of `entries.Source.files` as names of files."""
    named = [pattern.removeprefix("**/") for pattern in patterns if not pattern.endswith(".*")]
    return " or ".join(named)


def holds(folder: Path, patterns: Sequence[str]) -> bool:
    """Whether a folder holds a file of some patterns; what may lie at any depth is sought among its first files."""
    below = tuple(pattern.removeprefix("**/") for pattern in patterns if pattern.startswith("**/"))
    at_top = (pattern for pattern in patterns if not pattern.startswith("**/"))
    names = chain.from_iterable(files for _, _, files in os.walk(folder)) if below else ()
    return any(True for pattern in at_top for _ in folder.glob(pattern)) or any(
        fnmatch(name, pattern) for name in islice(names, MANY) for pattern in below)


def data_dir(p: Parameters) -> Path:
    """DATA_DIR as a path (relative ones start at the repository root), or where downloads of the dataset go."""
    return Path(os.path.realpath(ROOT / os.path.expanduser(p.DATA_DIR or f"data/{p.DATASET}")))
