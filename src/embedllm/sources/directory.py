"""The reader's own evaluation results: a folder with a table of outcomes and a table of questions."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix, abbreviate
from embedllm.sources._files import checksum, coerce_numbers, first_line, read_table, require_columns, text
from embedllm.sources._rows import from_rows, known_models

SCORE = ("score", "label")  # accepted names of a column, the first one found is taken
BENCHMARK = ("benchmark", "category", "task")
FACTS = ("parameters_b", "active_parameters_b", "cost")  # what is known about models in numbers
TABLES = ("outcomes", "questions", "models")


def load(path: Path, facts: pd.DataFrame | None = None, *, duplicates: str = "first") -> OutcomeMatrix:
    """Read a folder of outcomes.

    Parameters
    ----------
    path : Path
        Folder with ``questions.csv`` or ``questions.parquet`` (columns ``question_id``, ``prompt``, and
        ``benchmark``, ``category`` or ``task``; further columns are kept, ``part`` is a published split)
        and ``outcomes.csv`` or ``outcomes.parquet`` in one of two forms: long (columns ``model``,
        ``question_id``, and ``score`` or ``label``) or wide (``question_id`` and one column for each
        model). A score is a number in [0, 1], true or false; blank = not asked. A file ``models.csv`` or
        ``models.parquet`` (column ``model`` and facts) is optional. CSV files are UTF-8.
    facts : DataFrame, optional
        Column ``model`` and facts, taken in place of the models file.
    duplicates : str
        Rule for repeated (model, question) rows, see `from_rows`.

    Returns
    -------
    OutcomeMatrix
        Question ids are text, so that 1 in one file is "1" in the other. A model that the models table
        does not know is added without facts, and named in ``repairs``.

    Raises
    ------
    OutcomeError
        If the folder or a file is missing or cannot be read, or if `from_rows` rejects the content.
    """
    path = Path(path)
    if not path.is_dir():
        raise OutcomeError(
            f"{path} is no directory; expected a folder with outcomes.csv or outcomes.parquet and "
            "questions.csv or questions.parquet"
        )
    files = {stem: file for stem in TABLES if (file := _file(path, stem))}
    if facts is not None:
        files.pop("models", None)
    outcomes = _named(_read(path, files, "outcomes"), "score", SCORE)
    provenance = {"source": "directory", **{file.name: f"sha256 {checksum(file)}" for file in files.values()}}
    if "question_id" in outcomes and not {"model", "score"} & set(outcomes.columns):
        outcomes = _long(outcomes, files["outcomes"])
        names = outcomes["model"].unique()
        provenance["columns taken as models"] = f"{len(names)}: {abbreviate(names)}"
    questions = _named(_read(path, files, "questions"), "benchmark", BENCHMARK)
    if "score" in outcomes:
        outcomes["score"] = coerce_numbers(outcomes["score"])
    models, repairs = None, {}
    if "models" in files:
        facts = _read(path, files, "models")
        require_columns(facts, files["models"], ["model"])
        facts = facts.assign(**{fact: _facts(files["models"], facts, fact) for fact in FACTS if fact in facts})
    if facts is not None and "model" in outcomes:
        models, repairs["models without a row of facts"] = known_models(outcomes["model"], facts)
    if "models" in files and models is not None:
        repairs["models with facts and no outcomes, left out"] = sorted(set(facts["model"]) - set(models["model"]))
    try:
        return from_rows(
            outcomes, questions, models, duplicates=duplicates, provenance=provenance, repairs=repairs,
            files={stem: str(file) for stem, file in files.items()},
        )
    except OutcomeError as error:
        raise OutcomeError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def holds_outcomes(path: Path) -> bool:
    """Whether a folder holds a table of outcomes for `load`."""
    return any((path / f"outcomes.{suffix}").exists() for suffix in ("csv", "parquet"))


def vectors_of(path: Path, encoder: str, table: OutcomeMatrix) -> np.ndarray | None:
    """Ready-made prompt vectors that lie beside a table of outcomes.

    Parameters
    ----------
    path : Path
        The folder; vectors are sought in ``vectors/<encoder>.npz``, arrays ``question_id`` (n,) and
        ``vectors`` (n, d), of any real dtype, or in pieces of it, ``vectors/<encoder>.<digit>.npz``.
    encoder : str
        Name of the encoder.
    table : OutcomeMatrix
        Whose questions are wanted; ids are compared as text.

    Returns
    -------
    ndarray, shape (n_questions, d), float32, or None
        In the order of the table; None if there is no such file or it lacks any of the questions.

    Raises
    ------
    OutcomeError
        If the file cannot be read or does not hold these arrays.
    """
    folder = Path(path) / "vectors"
    pieces = [_vectors(file) for file in (*folder.glob(f"{encoder}.npz"), *sorted(folder.glob(f"{encoder}.[0-9].npz")))]
    if not pieces:
        return None
    if len(sizes := {vectors.shape[1] for _, vectors in pieces}) > 1:
        raise OutcomeError(f"{folder / encoder}: pieces with vectors of different lengths, {sorted(sizes)}")
    ids = pd.concat([ids for ids, _ in pieces])
    if ids.duplicated().any():
        raise OutcomeError(f"{folder / encoder}: question id(s) that occur twice: {list(ids[ids.duplicated()])[:5]}")
    rows = pd.Index(ids).get_indexer(text(table.questions.index.to_series()))
    return None if (rows < 0).any() else np.concatenate([vectors for _, vectors in pieces])[rows].astype(np.float32)


def _vectors(file: Path) -> tuple[pd.Series, np.ndarray]:
    """Question ids as text, and their vectors, from one file."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            ids, vectors = arrays["question_id"], arrays["vectors"]
    except (ValueError, OSError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise OutcomeError(
            f"{file} cannot be read ({first_line(error)}); expected arrays question_id and vectors"
        ) from None
    if ids.ndim != 1 or vectors.ndim != 2 or len(ids) != len(vectors):
        raise OutcomeError(
            f"{file}: expected question_id (n,) and vectors (n, d), found {ids.shape} and {vectors.shape}"
        )
    return text(pd.Series(ids)), vectors


def _file(path: Path, stem: str) -> Path | None:
    """The file that holds a table, if there is one."""
    files = [file for suffix in ("csv", "parquet") if (file := path / f"{stem}.{suffix}").exists()]
    if len(files) > 1:
        raise OutcomeError(f"{path} holds {stem}.csv and {stem}.parquet; keep the one that is meant")
    return files[0] if files else None


def _read(path: Path, files: dict[str, Path], stem: str) -> pd.DataFrame:
    """A table of the folder, names of models and questions as text, other columns as they are."""
    if stem not in files:
        raise OutcomeError(f"{path} lacks {stem}.csv or {stem}.parquet")
    frame = read_table(files[stem])
    for column in {"model", "question_id"} & set(frame.columns):
        frame[column] = text(frame[column])
        blank = np.flatnonzero(frame[column].isna() | (frame[column] == ""))
        if len(blank):
            raise OutcomeError(f"{files[stem]}, row {frame.index[blank[0]]}: no {column} ({len(blank)} such row(s))")
    return frame


def _long(wide: pd.DataFrame, file: Path) -> pd.DataFrame:
    """One row per answer, from one row per question, where every column but the question id is a model."""
    columns = wide.columns.drop("question_id")
    questions = [name for name in ("prompt", *BENCHMARK, "part") if name in columns]
    if questions:
        raise OutcomeError(
            f"{file} has neither a column model nor model, question by question: {abbreviate(questions)} belongs in "
            "the questions table, since in the wide form every column beside question_id is a model"
        )
    if not all(str(name).strip() for name in columns):
        raise OutcomeError(f"{file} has a column without a name; name it after a model or remove it")
    return wide.melt("question_id", var_name="model", value_name="score", ignore_index=False)


def _named(frame: pd.DataFrame, name: str, accepted: tuple[str, ...]) -> pd.DataFrame:
    """The table with the first accepted column under the one name."""
    found = [column for column in accepted if column in frame.columns]
    return frame.rename(columns={found[0]: name}) if found else frame


def _facts(file: Path, models: pd.DataFrame, fact: str) -> pd.Series:
    """A column of numbers about models, float64, above 0 and finite, NaN where blank."""
    words = coerce_numbers(models[fact])
    found = pd.to_numeric(words, errors="coerce").astype("float64")
    wrong = (found.isna() & words.notna()) | (found <= 0) | np.isinf(found)
    for number, row in models[wrong].head(1).iterrows():
        raise OutcomeError(f"{file}, row {number}: {fact} of model {row['model']} must be a number above 0, found "
                           f"{str(row[fact])[:60]!r}")
    return found
