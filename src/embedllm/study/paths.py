"""Where a run reads and writes: folders of a run and its figures, the data directory."""

from __future__ import annotations

import os
from pathlib import Path

from embedllm.catalog import SOURCES
from embedllm.files import ROOT
from embedllm.study.parameters import ParameterError, Parameters
from embedllm.study.shelf import DEEP

ARTIFACTS = Path(os.environ.get("EMBEDLLM_ARTIFACTS", ROOT / "artifacts")).resolve()
FIGURES = Path(os.environ.get("EMBEDLLM_FIGURES", ROOT / "figures")).resolve()


def base_folder(p: Parameters) -> Path:
    """The folder of a run that overrides nothing; the Makefile names it the same way."""
    return ARTIFACTS / p.label / f"{p.PRESET}-{p.ENCODER}-s{p.SEED}"


def figure_folder(p: Parameters) -> Path:
    """Only the default run of a dataset, and `make deep`, write figures that are kept."""
    unusual = p.overrides.keys() & {"ENCODER", "SEED"} or p.PRESET not in ("default", DEEP)
    return base_folder(p) / "figures" if unusual else FIGURES / p.label


def check_data_dir(p: Parameters) -> None:
    """Raise ParameterError if the dataset is read from a directory and that is not there."""
    source = SOURCES[p.DATASET]
    if source.origin == "made" or data_dir(p).is_dir():
        return
    if p.DATA_DIR:
        raise ParameterError(
            f"DATA_DIR = {p.DATA_DIR!r}: no such directory (relative paths start at the repository root)"
        )
    if source.origin == "folder":
        raise ParameterError(f"DATASET {p.DATASET} is read from a directory: say which with DATA_DIR=...")


def data_dir(p: Parameters) -> Path:
    """DATA_DIR as a path (relative ones start at the repository root), or where downloads of the dataset go."""
    return (ROOT / (Path(p.DATA_DIR).expanduser() if p.DATA_DIR else Path("data") / p.DATASET)).resolve()
