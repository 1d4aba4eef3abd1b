"""MMLU-Pro: 29 LLMs on 12,032 questions of 14 subjects, and what is publicly known about these LLMs.

The package carries the table and its MiniLM vectors (``mmlu_pro_data/``, see README.md there). It came from the files
``eval_results/model_outputs_<model>_5shots.zip`` of github.com/TIGER-AI-Lab/MMLU-Pro (repository Apache-2.0, data set
MIT), each one JSON list of records, which are read as well, as are two tables prepared from them (`directory.load`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix
from embedllm.sources import directory
from embedllm.sources._files import checksum, text
from embedllm.sources._records import field, json_type, read_zipped_list, require_text
from embedllm.sources._rows import from_rows, known_models, read_facts

PREFIX, SUFFIX = "model_outputs_", "_5shots.zip"
EMBEDDED = Path(__file__).with_name("mmlu_pro_data")
SHA256 = {  # of what the package carries
    "outcomes.parquet": "5a23644d4835eec9e3a479036f9e338cddf95e0a393062934e3f14f955b1bffa",
    "questions.parquet": "4b566ea9e87b571eeab1f3e5bdec9bf7fff7912df504e6d888adf42f50cdadd6",
    "vectors/minilm.1.npz": "918ee2672b92a99890c5c6658df31eedc6558f3632ee3ba892735b8db5c6cd8b",
    "vectors/minilm.2.npz": "69ad0a85f6bd3742174965d6f325d70e8e2ace4305a4c546cf4c4893e5d4716c",
}
FACTS = EMBEDDED / "models.csv"
ENCODER, STEPS, PIECES = "minilm", 460, 2  # of the vectors: parts of 1 that they are rounded to, files


def facts() -> pd.DataFrame:
    """What is publicly known about the models, see `_rows.read_facts`.

    Returns
    -------
    DataFrame, one row per model
        Columns ``model``, ``family``, ``base_model``, ``kind`` (base, chat, code or math),
        ``parameters_b`` and ``active_parameters_b`` (float64, billions, NaN where unpublished).
    """
    return read_facts(FACTS)


def load(path: Path | None = None, *, duplicates: str = "first") -> OutcomeMatrix:
    """Read the outcomes that the package carries, or those of a folder, prepared or as published.

    Parameters
    ----------
    path : Path, optional
        Folder with ``outcomes.parquet`` (``model``, ``question_id``, ``label``) and ``questions.parquet``
        (``question_id``, ``prompt``, ``category``, ``src``), or else with files
        ``model_outputs_<model>_5shots.zip``, which may also lie in its sub-folder ``raw``.
    duplicates : str
        Rule for repeated (model, question) rows, see `from_rows`.

    Returns
    -------
    OutcomeMatrix
        Score 1 where the extracted answer letter equals the key in the model's own file, 0 where it does
        not or none was extracted; what was extracted is compared as it stands, so "b" and "(B)" are not "B",
        and ``repairs`` counts such records. The prompt is the question and, a line each, its lettered
        options; the benchmark is its subject; the finer origin stays as the column ``src``. Where files
        differ in a question's text, subject or origin, the first file by name is followed. The facts about
        models are those of `facts`, whatever models file lies in the folder.

    Raises
    ------
    OutcomeError
        If what the package carries is missing or was changed. As `directory.load` for prepared tables. For zip
        files: if one cannot be read, is encrypted, holds no or several JSON files, one with an unsafe name or one
        above 256 MiB unpacked, or if a record lacks a field, has one of the wrong type or a key that is no letter of
        its options; the message names the file and the entry, counted from 1.
    """
    path = Path(path or EMBEDDED)
    if path == EMBEDDED:
        _check_embedded()
    if directory.holds_outcomes(path):
        table = directory.load(path, facts(), duplicates=duplicates)
        return replace(table, provenance={**table.provenance, "source": "mmlu-pro"})
    files = _zips(path)
    if not files:
        raise OutcomeError(
            f"{path} holds neither outcomes.parquet and questions.parquet nor files {PREFIX}<model>{SUFFIX} "
            "(sought here and in raw); fetch them, or set DATA_DIR to a folder that holds either"
        )
    outcomes, questions, repairs = _from_records(files)
    models, unknown = known_models(files, facts())
    others = sorted(file.name for folder in (path, path / "raw") for file in folder.glob("*.zip")
                    if file not in files.values())
    try:
        return from_rows(
            outcomes, questions, models, duplicates=duplicates,
            provenance={"source": "mmlu-pro",
                        **{file.relative_to(path).as_posix(): f"sha256 {checksum(file)}" for file in files.values()}},
            repairs={**repairs, "zip files left out, not named as the published ones": others,
                     "models without a row of facts": unknown},
        )
    except OutcomeError as error:
        raise OutcomeError(f"{path}: {error}") from None


def embed(source: Path, folder: Path) -> None:
    """Write what the package carries: wide outcomes, the prompts and, where the source has them, vectors.

    Parameters
    ----------
    source : Path
        A folder that `load` reads; its vectors as `directory.vectors_of` reads them. Scaled to norm 1 their largest
        entry must stay below 127 / `STEPS`, so that they fit a byte.
    folder : Path
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = load(source)
    number = table.questions.index.astype(int)
    outcomes = pd.DataFrame(table.scores.T, columns=list(table.models.index)).astype("Int8")
    outcomes.insert(0, "question_id", number)
    questions = table.questions.rename(columns={"benchmark": "category"})[["prompt", "category", "src"]]
    questions.insert(0, "question_id", number)
    for name, content in (("outcomes", outcomes), ("questions", questions)):
        parquet.write_table(
            pa.Table.from_pandas(content, preserve_index=False), folder / f"{name}.parquet", compression="zstd",
            compression_level=19, use_dictionary=["category", "src"], row_group_size=len(content))
    vectors = directory.vectors_of(source, ENCODER, table)
    if vectors is None:
        return
    (folder / "vectors").mkdir(exist_ok=True)
    rounded = np.rint(STEPS * vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    if np.abs(rounded).max() > 127:
        raise OutcomeError(f"{source}: an entry of a vector is {np.abs(rounded).max() / STEPS:.2f}, too large for a "
                           f"byte in steps of 1/{STEPS}")
    for piece, rows in enumerate(np.array_split(np.arange(len(number)), PIECES), start=1):
        np.savez_compressed(folder / "vectors" / f"{ENCODER}.{piece}.npz", question_id=number.to_numpy()[rows],
                            vectors=rounded[rows].astype(np.int8))


def _check_embedded() -> None:
    """Raise OutcomeError if what the package carries is not there as it was shipped."""
    for name, expected in SHA256.items():
        file = EMBEDDED / name
        if not file.is_file() or checksum(file) != expected:
            state = "was changed" if file.is_file() else "is missing"
            raise OutcomeError(f"{name} of MMLU-Pro, which the package carries, {state} ({file.parent}): restore it "
                               "from the repository or install the package again")


def _zips(path: Path) -> dict[str, Path]:
    """The published files in a folder or its sub-folder raw, by model, in the order of their names."""
    files: dict[str, Path] = {}
    found = [file for folder in (path, path / "raw") for file in folder.glob(f"{PREFIX}?*{SUFFIX}")]
    for file in sorted(found, key=lambda file: (file.name, file)):
        model = file.name.removeprefix(PREFIX).removesuffix(SUFFIX)
        if model in files:
            raise OutcomeError(f"{path} holds {file.name} twice, also in raw; keep the one that is meant")
        files[model] = file
    return files


def _from_records(files: Mapping[str, Path]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int | list[str]]]:
    """Outcomes, questions (in the order of their numbers) and what was mended."""
    rows: list[tuple[str, int, int]] = []
    wording: dict[int, tuple[str, str, str]] = {}  # question: prompt, subject, origin
    keys: dict[int, tuple[list[str], str]] = {}  # question: options, answer
    other_text, other_key, held = set(), set(), {}
    broken = repeated = silent = odd = misplaced = 0
    for model, file in files.items():
        asked: set[int] = set()
        for number, record in enumerate(read_zipped_list(file), start=1):
            if not isinstance(record, dict):
                broken += 1
                continue
            question, told, key, letter = _record(record, f"{file}, entry {number}")
            if wording.setdefault(question, told) != told:
                other_text.add(question)
            if keys.setdefault(question, key) != key:
                other_key.add(question)
            repeated += question in asked
            letters = ascii_uppercase[:len(key[0])]
            silent += letter is None
            odd += letter is not None and letter not in list(letters)
            misplaced += record.get("answer_index") not in (None, letters.index(key[1]))
            asked.add(question)
            rows.append((model, question, int(letter == key[1])))
        held[model] = len(asked)
    order = sorted(wording)
    outcomes = pd.DataFrame(rows, columns=["model", "question_id", "score"])
    questions = pd.DataFrame([wording[question] for question in order], columns=["prompt", "benchmark", "src"])
    questions.insert(0, "question_id", text(pd.Series(order)))
    outcomes["question_id"] = text(outcomes["question_id"])
    return outcomes, questions, {
        "entries that are no records, left out": broken,
        "records repeated in a file": repeated,
        "records without an extracted answer, scored 0": silent,
        "records whose extracted answer is no letter of their options, scored 0": odd,
        "records whose answer_index is not that of their key, the key followed": misplaced,
        "questions that a model lacks": [f"{model} ({len(order) - count:,})" for model, count in held.items()
                                         if count < len(order)],
        "questions whose text differs between files, the first file followed": len(other_text),
        "questions whose options or key differ between files, each model judged by its own": len(other_key),
    }


def _record(record: Mapping, where: str) -> tuple[int, tuple[str, str, str], tuple[list[str], str], str | None]:
    """Question number; prompt, subject and origin; options and answer; the letter that was extracted, if any."""
    question, options, letter = (field(record, name, where) for name in ("question_id", "options", "pred"))
    if type(question) is not int or not 0 <= question < 2**63:
        raise OutcomeError(f"{where}: the field question_id must be a whole number from 0, found {json_type(question)}")
    if not isinstance(options, list) or not 0 < len(options) <= len(ascii_uppercase):
        raise OutcomeError(f"{where}: the field options must be a list of 1 to {len(ascii_uppercase)} texts")
    if letter is not None and not isinstance(letter, str):
        raise OutcomeError(f"{where}: the field pred must be a letter or null, found {json_type(letter)}")
    lines = [f"{name}. {require_text({'options': option}, 'options', where)}"
             for name, option in zip(ascii_uppercase, options, strict=False)]
    answer = require_text(record, "answer", where)
    if answer not in list(ascii_uppercase[:len(options)]):
        raise OutcomeError(f"{where}: the field answer must be the letter of an option, A to "
                           f"{ascii_uppercase[len(options) - 1]}, found {answer!r:.30}")
    prompt = "\n".join([require_text(record, "question", where), *lines])
    told = (prompt, require_text(record, "category", where), require_text(record, "src", where))
    return question, told, (options, answer), letter


if __name__ == "__main__":
    embed(Path(sys.argv[1]), EMBEDDED)
