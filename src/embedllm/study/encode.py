"""The encoders that notebook 06 compares: those that this machine has, and what it lacks for the others.

`make encode-deep` encodes ahead what `make deep` compares; interrupted, it goes on where it was.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np

from embedllm.catalog import ENCODERS
from embedllm.encoders import encoding, static, weights
from embedllm.encoders.fitted import without_options
from embedllm.encoders.weights import EncoderError
from embedllm.outcomes import OutcomeError, OutcomeMatrix
from embedllm.splits import sample
from embedllm.study import data
from embedllm.study.given import from_environment, read_all
from embedllm.study.parameters import ParameterError
from embedllm.study.paths import base_folder, figure_folder
from embedllm.study.products import StudyError
from embedllm.study.runs import Run

NOTEBOOK = "06_embedder_ablation"


def lacking(names: Iterable[str]) -> list[str]:
    """What is missing to encode with each of these, a sentence each; a static encoder is made here if it can be."""
    found = []
    for name in names:
        entry = ENCODERS[name]
        try:
            if entry.teacher:
                static.find(name)
            elif entry.weights:
                weights.find(name)
                encoding.need(name)
            elif not entry.path:
                encoding.load(name)  # says why it cannot be
        except EncoderError as error:
            found.append(str(error))
    return found


def vectors_of_each(run: Run, table: OutcomeMatrix, names: Iterable[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Vectors of the table's prompts by each encoder that this machine has, and what the others lack, a sentence each.

    Raises
    ------
    EncoderError
        If it has none of them.
    """
    found, missing = {}, []
    for name in names:
        if (sentences := lacking([name])) and not _brought(run, table, name):
            missing += sentences
        else:
            found[name] = run.vectors_of(table, name)
    if missing and not found:
        raise EncoderError("\n".join(missing))
    return found, missing


def _brought(run: Run, table: OutcomeMatrix, name: str) -> bool:
    """Whether vectors that cannot be compared with any made here lie beside the data."""
    return not weights.loadable(name) and data.ready_made(run.parameters, table, name) is not None


def encode(run: Run) -> None:
    """Fill the cache with the vectors that the notebook reads.

    Raises
    ------
    EncoderError
        With all that is missing, before anything is encoded.
    """
    p = run.parameters
    table = run.table()
    names = dict.fromkeys([*p.ENCODERS, *p.EXPLORED])
    if missing := lacking(name for name in names if not _brought(run, table, name)):
        raise EncoderError("\n".join(missing))
    some = sample(table, p.N_EXPLORED, p.FOLD_SEED)
    for name, wanted in (*((name, table) for name in p.ENCODERS), *((name, some) for name in p.EXPLORED)):
        run.vectors_of(wanted, name)
    if p.EXPLORED:
        run.vectors(without_options(some.questions["prompt"]))


def main() -> None:
    """Command line; the environment holds every parameter that names a run."""
    try:
        p = read_all(from_environment())[NOTEBOOK]
        encode(Run(NOTEBOOK, p, base_folder(p), base_folder(p), figure_folder(p)))
    except (ParameterError, OutcomeError, StudyError, EncoderError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
