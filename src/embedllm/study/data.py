"""The table that a run is about, the vectors of its prompts, and what `make bench` measured."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.catalog import ENCODERS, SOURCES
from embedllm.encoders import cache
from embedllm.files import ROOT, shown
from embedllm.lineages import lineages
from embedllm.outcomes import OutcomeMatrix, without
from embedllm.sources import directory
from embedllm.sources.embedllm import SIMULATED
from embedllm.splits import divide, sample
from embedllm.study import paths
from embedllm.study.parameters import TABLE, DataPreparation, ParameterError, Parameters, read
from embedllm.study.paths import FIGURES, data_dir
from embedllm.study.products import StudyError
from embedllm.study.shelf import MARK


def benchmark(name: str) -> pd.DataFrame:
    """A table that `make bench` wrote.

    Raises
    ------
    StudyError
        If it is not there.
    """
    path = ROOT / "figures" / "bench" / f"{name}.csv"
    if not path.exists():
        raise StudyError(f"{shown(path)} is not there: make bench")
    return pd.read_csv(path)


def as_options(values: Mapping) -> str:
    """Parameters as make takes them, quoted for a shell."""
    return "".join(f" {name}={shlex.quote(str(value))}" for name, value in values.items() if value is not None)


def minutes(label: str, deep: bool = False) -> str:
    """How long all notebooks took when a dataset's figures were made, in brackets; blank where that is not known."""
    path = FIGURES / label / f"timing_{MARK if deep else ''}notebooks.csv"
    return f" (about {pd.read_csv(path)['seconds'].sum() / 60:.0f} minutes)" if path.exists() else ""


def load_outcomes(p) -> OutcomeMatrix:
    """Read the table that DATASET names: from DATA_DIR or, where that is blank, embedded or downloaded.

    Without what is no model, or what EXCLUDE says; with SAMPLE, a part of the questions.

    Raises
    ------
    OutcomeError
        If the table cannot be used, with the rows, or if it cannot be downloaded.
    ParameterError
        If POOL is given for a source that has one table.
    """
    entry, source = SOURCES[p.DATASET], SOURCES[p.DATASET].code()
    options = _options(source.load, p)
    if "pool" in options:
        options["pool"] = p.POOL or entry.pool
    elif p.POOL:
        raise ParameterError(f"POOL = {p.POOL!r}: {p.DATASET} has one table only")
    if entry.origin == "public" and not p.DATA_DIR:
        source.download(data_dir(p), **_options(source.download, p))
    table = source.load(source_folder(p), **options)
    left_out = [name for name in entry.left_out if name in table.models.index] if p.EXCLUDE is None else p.EXCLUDE
    kept = sample(without(table, left_out), p.SAMPLE, p.SPLIT_SEED)
    return replace(kept, models=kept.models.assign(lineage=lineages(kept)))


def further_tables(p: Parameters) -> dict[str, OutcomeMatrix]:
    """Other tables of the same source, by pool, as notebook 01 would prepare them; see `entries.Source.further`."""
    told = p.model_dump(include=set(Parameters.model_fields), exclude={"PRESET"})
    return {pool: load_outcomes(read(TABLE, told | {"POOL": pool})) for pool in SOURCES[p.DATASET].further}


def prompt_vectors(p: Parameters, table: OutcomeMatrix, encoder: str = "") -> np.ndarray:
    """Vectors of the table's prompts, (n_questions, d_prompt) float32: those that lie beside the data, else encoded.

    By the run's encoder, where none is named.

    Raises
    ------
    EncoderError
        If a sample of those beside the data, encoded here, comes out differently.
    """
    name, prompts, folder = encoder or p.ENCODER, table.questions["prompt"], paths.ARTIFACTS / "vectors"
    ready = ready_made(p, table, name)
    taken = ready is not None and not ENCODERS[name].path
    known = cache.by_text(prompts, cache.checked(name, prompts, ready, folder)) if taken else {}
    return cache.encode(name, prompts, folder, known=known)


def ready_made(p: Parameters, table: OutcomeMatrix, encoder: str) -> np.ndarray | None:
    """Vectors of the table's prompts that lie beside the data, whoever made them; None where there are none."""
    return directory.vectors_of(source_folder(p), encoder, table)


def judged_as(p: Parameters, table: OutcomeMatrix) -> str:
    """The source that outcomes are judged as: DATASET, but for the planted pool written as the paper's files."""
    return SIMULATED if table.provenance.get("source", "").startswith(SIMULATED) else p.DATASET


def read_own_data(p: DataPreparation, run: Path) -> None:
    """Read a reader's own data once before a kernel starts, so that what is wrong with it is told at once.

    Parameters
    ----------
    run : Path
        The folder of a run: of data that its first notebook has read since they changed nothing is looked at.

    Raises
    ------
    OutcomeError, ParameterError
        If the data cannot be read or divided.
    """
    stamp, told = run / f"{TABLE}.done", run / "inputs" / "parameters.sha"
    if SOURCES[p.DATASET].own and not (stamp.exists() and stamp.stat().st_mtime >= told.stat().st_mtime):
        divide(load_outcomes(p), p.SPLIT, p.SPLIT_SEED)


def source_folder(p: Parameters) -> Path:
    """The folder that the dataset is read from: the package's own where it carries the data and DATA_DIR is blank."""
    entry = SOURCES[p.DATASET]
    return entry.code().EMBEDDED if entry.origin == "embedded" and not p.DATA_DIR else data_dir(p)


def _options(function, p: Parameters) -> dict:
    """The parameters that a source's function asks for: its keyword-only arguments, in capitals."""
    names = inspect.getfullargspec(function).kwonlyargs
    if unknown := [name for name in names if name.upper() not in type(p).model_fields]:
        raise TypeError(f"{function.__module__}.{function.__name__} asks for {', '.join(unknown)}: no parameter of "
                        f"{type(p).__name__} in study/parameters.py")
    return {name: getattr(p, name.upper()) for name in names}
