"""MMLU-Pro: 29 LLMs on 12,032 questions of 14 subjects, and what is publicly known about these LLMs.

The outcomes come from the files ``eval_results/model_outputs_<model>_5shots.zip`` of
github.com/TIGER-AI-Lab/MMLU-Pro (repository Apache-2.0, data set MIT), each one JSON list of records, or
from two tables prepared from them (see `directory.load` for their form).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase

import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix
from embedllm.sources import directory
from embedllm.sources._files import checksum, first_line, text
from embedllm.sources._records import field, json_type, read_zipped_list, require_text
from embedllm.sources._rows import from_rows, known_models, read_facts

PREFIX, SUFFIX = "model_outputs_", "_5shots.zip"
ADDRESS = "https://github.com/TIGER-AI-Lab/MMLU-Pro/raw/964a136e98ff17f81b0cd11c15c70784f6ee4378/eval_results"
SHA256 = {  # of the files that were at hand when this was written; the others are recorded as they come
    "DeepSeek-Coder-V2": "7a1cb6f4f2dbb89c98d42c339f1b4008e8c33c5d48370822beef6826016a13d0",
    "Llama-2-7b-hf": "57c47f6e70da9d5edf44a4803f75550c553feaadd94340dd9fef09afdeb82e09",
    "gemini-1.5-flash-002": "fed3caed9a9c1bfc7da74e5116f70ffdb9023794d1677eb2f7d48a2a4adec2e7",
}
FACTS = Path(__file__).with_name("mmlu_pro_models.csv")


def facts() -> pd.DataFrame:
    """What is publicly known about the models, see `_rows.read_facts`.

    Returns
    -------
    DataFrame, one row a model
        Columns ``model``, ``family``, ``base_model``, ``kind`` (base, chat, code or math),
        ``parameters_b`` and ``active_parameters_b`` (float64, billions, NaN where unpublished).
    """
    return read_facts(FACTS)


def load(path: Path, *, duplicates: str = "first") -> OutcomeMatrix:
    """Read the outcomes from a folder, prepared or as published.

    Parameters
    ----------
    path : Path
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
        As `directory.load` for prepared tables. For zip files: if one cannot be read, is encrypted, holds
        no or several JSON files, one with an unsafe name or one above 256 MiB unpacked, or if a record
        lacks a field, has one of the wrong type or a key that is no letter of its options; the message
        names the file and the entry, counted from 1.
    """
    path = Path(path)
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


def download(folder: Path) -> Path:
    """Fetch the published files that a folder lacks, about 110 MB in all.

    Parameters
    ----------
    folder : Path
        Is made if it does not exist. A file that is there is kept as it is; one that arrives is whole, and
        of the known checksum where one is known (`load` records all of them), or not there.

    Returns
    -------
    Path
        The folder, to hand to `load`. Nothing is fetched into one with prepared tables.

    Raises
    ------
    OutcomeError
        If a file cannot be fetched or written; those that had arrived stay.
    """
    import pooch  # here, since only a download needs it
    from requests import RequestException

    folder = Path(folder)
    present = _zips(folder)
    wanted = {f"{PREFIX}{model}{SUFFIX}": SHA256.get(model) for model in facts()["model"] if model not in present}
    if directory.holds_outcomes(folder) or not wanted:
        return folder
    fetcher = pooch.create(path=folder, base_url=f"{ADDRESS}/", registry=wanted)
    for name in wanted:
        try:
            fetcher.fetch(name, downloader=_fetch)
        except (RequestException, ValueError, OSError) as error:
            answer = getattr(error, "response", None)
            reason = f"the server answered {answer.status_code}" if answer is not None else (
                type(error).__name__ if isinstance(error, RequestException) else first_line(error))
            raise OutcomeError(
                f"{ADDRESS}/{name} could not be fetched ({reason}); try again with a network (what has arrived is "
                f"kept), or set DATA_DIR to a folder with outcomes.parquet and questions.parquet or with the "
                f"{len(facts())} files {PREFIX}<model>{SUFFIX}"
            ) from None
    return folder


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


def _fetch(url: str, file: str, _pooch: object) -> None:
    """Download a file; a sign-in page that a network puts in its place is an error."""
    import pooch

    pooch.HTTPDownloader(chunk_size=1 << 16)(url, file, _pooch)
    if not zipfile.is_zipfile(file):
        raise ValueError("what came is no zip file")


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
