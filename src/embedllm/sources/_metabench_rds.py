"""One fitted test of metabench as R saved it: who answered what, and the prompts of its questions.

Such a file is a list of ``items`` (a table with ``item`` and ``prompt``), ``model`` (an S4 object of the R package mirt
whose slot ``Data`` holds the answers it was fitted to, without names of models) and ``theta.train`` (one row per model,
named). The rest, which the Python package rdata cannot turn into Python objects, is parsed and left alone.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError
from embedllm.sources._files import first_line, opened

# Of examples with answers and the question, apart by blank lines, the question alone.
FRAME = re.compile(r"\A(?:Question|Q): *|\s*\n(?:Answer|A):\s*\Z")


def read_fit(file: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Answers and prompts of one file.

    Parameters
    ----------
    file : Path
        As ``analysis/reduced/arc-2PL-MAP-0.005-seed=1.rds`` of github.com/adkipnis/metabench.

    Returns
    -------
    scores : DataFrame, models x questions, float64
        1 right, 0 wrong, NaN not answered; names of models and numbers of questions as text, in the order of the file.
    prompts : Series of str, indexed by question as the columns of `scores`
        The question itself, without the examples before it and the words "Question:" and "Answer:".

    Raises
    ------
    OutcomeError
        If rdata is not installed, if the file cannot be read or holds something else, or if an answer is neither 0
        nor 1.
    """
    try:
        from rdata.parser import parse_file  # an extra: most readers need no R
    except ImportError:
        raise OutcomeError(
            f"{file}: reading metabench's .rds files needs the package rdata: make setup EXTRAS=data") from None
    try:
        opened(file).close()  # refuses pipes and pointers of Git LFS
        top = parse_file(file).object
    except OutcomeError:
        raise
    except Exception as error:  # a damaged file fails anywhere in the parser, in any way
        raise OutcomeError(f"{file} cannot be read as R data: {first_line(error)}") from None
    try:
        scores, prompts = _fit(_members(top))
    except (KeyError, AttributeError, TypeError, ValueError, IndexError) as error:
        raise OutcomeError(
            f"{file} is no fitted test of metabench ({first_line(error)}); expected items$item, items$prompt, the "
            "slot Data$data of model, and names of the rows of theta.train") from None
    if not (np.isin(scores, (0, 1)) | np.isnan(scores)).all(axis=None):
        raise OutcomeError(f"{file}: an answer in Data$data is neither 0 nor 1")
    return scores, prompts


def _fit(top: dict) -> tuple[pd.DataFrame, pd.Series]:
    items, answers = _members(top["items"]), _members(_attributes(top["model"])["Data"])["data"]
    names = _texts(_attributes(top["theta.train"])["dimnames"].value[0])
    numbers = _texts(_attributes(answers)["dimnames"].value[1])
    # R stores columns, and masks what is missing among whole numbers.
    values = np.ma.filled(np.ma.asarray(answers.value, dtype=np.float64), np.nan)
    scores = pd.DataFrame(values.reshape(len(numbers), len(names)).T, index=names, columns=numbers)
    prompts = pd.Series(_texts(items["prompt"]), index=_texts(items["item"]), dtype=object)
    for what, index in {"model": scores.index, "question": scores.columns, "item": prompts.index}.items():
        if index.has_duplicates or not all(index):
            raise ValueError(f"a {what} without a name or with that of another")
    return scores, prompts[numbers].map(lambda prompt: FRAME.sub("", prompt.rpartition("\n\n")[2]))


def _members(node) -> dict:
    """What a list, a table's columns among them, holds by name."""
    return dict(zip(_texts(_attributes(node)["names"]), node.value, strict=True))


def _attributes(node) -> dict:
    """Names, dimensions and, of an S4 object, slots: a chain of pairs in the file."""
    found, pair = {}, node.attributes
    while pair is not None and pair.tag is not None:
        symbol = pair.tag.referenced_object or pair.tag  # a name that stood before is a reference
        found[symbol.value.value.decode()] = pair.value[0]
        pair = pair.value[1]
    return found


def _texts(node) -> list[str]:
    """A vector of texts; a missing one is blank."""
    return ["" if text.value is None else text.value.decode() for text in node.value]
