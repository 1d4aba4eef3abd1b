"""AlpacaEval 2: LLMs on 805 instructions of five sets, judged against a reference, and facts about 58 of these LLMs.

The judgements come from the files ``results/<model>/weighted_alpaca_eval_gpt4_turbo/annotations.json`` of
github.com/tatsu-lab/alpaca_eval, or from two tables prepared from them. The data are licensed CC BY-NC 4.0:
measure with them, do not sell or redistribute them with this project.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix
from embedllm.sources import directory
from embedllm.sources._records import field, json_type, read_list, require_text
from embedllm.sources._rows import from_rows, known_models, read_facts

JUDGE = "weighted_alpaca_eval_gpt4_turbo"
REFERENCE = "gpt4_1106_preview"  # what every model is judged against
LICENSE = "CC BY-NC 4.0, github.com/tatsu-lab/alpaca_eval"
FACTS = Path(__file__).with_name("alpaca_eval_models.csv")


def facts() -> pd.DataFrame:
    """What is publicly known about the models, see `_rows.read_facts`.

    Returns
    -------
    DataFrame, one row per model, by name
        Columns ``model``, ``family``, ``base_model``, ``kind`` (base or chat), ``parameters_b`` and
        ``active_parameters_b`` (float64, billions, NaN where unpublished). Two entries that are no language
        models, `NullModel` and `gpt4_gamed`, have a name only.
    """
    return read_facts(FACTS)


def load(path: Path, *, duplicates: str = "first") -> OutcomeMatrix:
    """Read the judgements from a folder, prepared or as published.

    Parameters
    ----------
    path : Path
        Folder with ``outcomes.parquet`` (``model``, ``question_id``, ``score``) and ``questions.parquet``
        (``question_id``, ``prompt``, ``category``); or a clone of the public repository, or its folder
        ``results``.
    duplicates : str
        Rule for repeated (model, question) rows, see `from_rows`.

    Returns
    -------
    OutcomeMatrix
        The score is ``preference - 1``, in [0, 1]: the judged probability that the model's answer beats the
        reference's. Of published files: a model is named as its folder; an instruction is recognized by its
        text and set (``dataset``, the benchmark), whatever blanks surround it, however Unicode composes it
        and whatever the case of the set's name, and numbered from 0 in the order of the longest file, whose
        spelling is kept.
        Scores carry the ten decimals of the files, those of the prepared table four.

    Raises
    ------
    OutcomeError
        As `directory.load` for prepared tables. Otherwise if a file cannot be read, is above 256 MiB, is no
        JSON list in UTF-8, or if a record lacks a field, has one of the wrong type or a preference outside
        [1, 2]; the message names the file and the entry, counted from 1.

    Notes
    -----
    Not asked, and counted in ``repairs``: a preference of null, NaN or -1 (the judge failed), and a record
    judged against another reference than `REFERENCE`.
    """
    path = Path(path)
    if directory.holds_outcomes(path):
        table = directory.load(path, facts(), duplicates=duplicates)
        return replace(table, provenance={**table.provenance, "source": "alpaca-eval", "license": LICENSE})
    results = path / "results" if (path / "results").is_dir() else path
    files = {file.parts[-3]: file for file in sorted(results.glob(f"*/{JUDGE}/annotations.json"))}
    if not files:
        raise OutcomeError(
            f"{path} holds neither outcomes.parquet and questions.parquet nor files results/<model>/{JUDGE}/"
            "annotations.json; set DATA_DIR to a folder that does, such as a clone of github.com/tatsu-lab/alpaca_eval"
        )
    outcomes, questions, repairs, seen = _from_records(files)
    models, unknown = known_models(files, facts())
    unjudged = sorted(folder.name for folder in results.iterdir() if folder.is_dir() and folder.name not in files)
    try:
        return from_rows(
            outcomes, questions, models, duplicates=duplicates,
            provenance={"source": "alpaca-eval", "license": LICENSE, "files": f"{len(files)} files, sha256 {seen}"},
            repairs={**repairs, f"folders without a judgement by {JUDGE}": unjudged,
                     "models without a row of facts": unknown},
        )
    except OutcomeError as error:
        raise OutcomeError(f"{path}: {error}") from None


def _from_records(files: Mapping[str, Path]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int | list[str]], str]:
    """Outcomes, questions, what was mended, and one checksum of all files with the names of their models."""
    asked: dict[str, list[tuple[str, str]]] = {}  # model: set and instruction of each record, as written
    scores: list[float | None] = []
    broken = foreign = failed = 0
    seen = hashlib.sha256()
    for model, file in files.items():
        entries, data = read_list(file)
        seen.update(f"{hashlib.sha256(data).hexdigest()}  {model}\n".encode(errors="surrogateescape"))
        asked[model] = []
        for number, record in enumerate(entries, start=1):
            if not isinstance(record, dict):
                broken += 1
                continue
            where = f"{file}, entry {number}"
            asked[model].append((require_text(record, "dataset", where), require_text(record, "instruction", where)))
            # Some versions of the public code write "generator".
            first = "generator" if "generator" in record and "generator_1" not in record else "generator_1"
            other = require_text(record, first, where) != REFERENCE
            score = _score(record, where)
            foreign += other
            failed += score is None
            scores.append(None if other else score)
    longest_first = sorted(asked.values(), key=len, reverse=True)  # a file may lack instructions
    written = dict.fromkeys(pair for pairs in longest_first for pair in pairs)  # each pair once, in order
    keys = {pair: _key(*pair) for pair in written}
    sets: dict[str, str] = {}  # each under its first spelling
    spelt: dict[tuple[str, str], tuple[str, str]] = {}
    for (origin, instruction), key in keys.items():
        spelt.setdefault(key, (sets.setdefault(key[0], origin), instruction))
    position = {key: number for number, key in enumerate(spelt)}
    places = {model: [position[keys[pair]] for pair in pairs] for model, pairs in asked.items()}
    outcomes = pd.DataFrame({
        "model": [model for model, numbers in places.items() for _ in numbers],
        "question_id": [str(number) for numbers in places.values() for number in numbers],
        "score": pd.Series(scores, dtype="float64"),
    })
    questions = pd.DataFrame(
        [(str(position[key]), instruction, origin) for key, (origin, instruction) in spelt.items()],
        columns=["question_id", "prompt", "benchmark"], dtype=object,
    )
    return outcomes, questions, {
        "entries that are no records, left out": broken,
        "records repeated in a file": sum(len(numbers) - len(set(numbers)) for numbers in places.values()),
        "records that the judge failed at, taken as not asked": failed,
        "records judged against another reference, taken as not asked": foreign,
        "records that write a question or its set in another way, matched all the same":
            sum(spelt[keys[pair]] != pair for pairs in asked.values() for pair in pairs),
        "questions that a model lacks": [f"{model} ({len(position) - len(set(numbers)):,})"
                                         for model, numbers in places.items() if len(set(numbers)) < len(position)],
        "files in another order, matched by text": [m for m, numbers in places.items() if numbers != sorted(numbers)],
    }, seen.hexdigest()


def _key(origin: str, instruction: str) -> tuple[str, str]:
    """What two files must share in a set and an instruction for these to be the same question."""
    return (unicodedata.normalize("NFC", origin.strip()).casefold(), unicodedata.normalize("NFC", instruction.strip()))


def _score(record: Mapping, where: str) -> float | None:
    """The judged probability of beating the reference; None where the judge failed."""
    value = field(record, "preference", where)
    if value is None or (type(value) in (int, float) and (value == -1 or value != value)):
        return None
    if type(value) not in (int, float) or not 1 <= value <= 2:
        raise OutcomeError(
            f"{where}: the field preference must be a number in [1, 2] or null, found {json_type(value)}")
    return value - 1.0
