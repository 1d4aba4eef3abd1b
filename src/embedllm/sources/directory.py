"""The reader's own evaluation results: a folder with a table of outcomes and a table of questions."""

from __future__ import annotations

import dataclasses
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow.lib import ArrowException

from embedllm.outcomes import OutcomeError, OutcomeMatrix, from_rows

SCORE = ("score", "label")  # accepted names of a column, the first one found is taken
BENCHMARK = ("benchmark", "category", "task")
FACTS = ("parameters_b", "active_parameters_b", "cost")  # what is known about models in numbers
BLANK = ("", "na", "n/a", "nan", "null", "none")  # a number that is not there, in any case


def load(path: Path, models: pd.DataFrame | None = None) -> OutcomeMatrix:
    """Read a folder of outcomes in long form.

    Parameters
    ----------
    path : Path
        Folder with ``outcomes.csv`` or ``outcomes.parquet`` (columns ``model``, ``question_id``, and
        ``score`` or ``label``: a number in [0, 1], true or false; blank = not asked) and
        ``questions.csv`` or ``questions.parquet`` (columns ``question_id``, ``prompt``, and
        ``benchmark``, ``category`` or ``task``; further columns are kept). A file ``models.csv`` or
        ``models.parquet`` (column ``model`` and facts) is optional. CSV files are UTF-8.
    models : DataFrame, optional
        Taken in place of the models file.

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
    outcomes = _named(_read(path, "outcomes"), "score", SCORE)
    questions = _named(_read(path, "questions"), "benchmark", BENCHMARK)
    if models is None and _files(path, "models"):
        models = _read(path, "models")
    if "score" in outcomes:
        outcomes["score"] = _numbers(outcomes["score"])
    unknown: list[str] = []
    if models is not None and "model" in models and "model" in outcomes:
        models = models.assign(**{fact: _facts(path, models, fact) for fact in FACTS if fact in models})
        unknown = sorted(set(outcomes["model"]) - set(models["model"]))
        if unknown:
            models = pd.concat([models, pd.DataFrame({"model": unknown})], ignore_index=True)
    try:
        table = from_rows(outcomes, questions, models)
    except OutcomeError as error:
        raise OutcomeError(f"{path}: {error}") from None
    return dataclasses.replace(table, repairs={**table.repairs, "models without a row of facts": unknown})


def vectors_of(path: Path, encoder: str, table: OutcomeMatrix) -> np.ndarray | None:
    """Ready-made prompt vectors that lie beside a table of outcomes.

    Parameters
    ----------
    path : Path
        The folder; vectors are sought in ``vectors/<encoder>.npz``, arrays ``question_id`` (n,) and
        ``vectors`` (n, d), of any float dtype.
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
    file = Path(path) / "vectors" / f"{encoder}.npz"
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            ids, vectors = arrays["question_id"], arrays["vectors"]
    except (ValueError, OSError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise OutcomeError(
            f"{file} cannot be read ({_sentence(error)}); expected arrays question_id and vectors"
        ) from None
    if ids.ndim != 1 or vectors.ndim != 2 or len(ids) != len(vectors):
        raise OutcomeError(
            f"{file}: expected question_id (n,) and vectors (n, d), found {ids.shape} and {vectors.shape}"
        )
    held = pd.Index(_text(pd.Series(ids)))
    if held.has_duplicates:
        raise OutcomeError(f"{file}: question id(s) that occur twice: {list(held[held.duplicated()])[:5]}")
    rows = held.get_indexer(_text(table.questions.index.to_series()))
    return None if (rows < 0).any() else vectors[rows].astype(np.float32)


def _files(path: Path, stem: str) -> list[Path]:
    """The files that hold a table."""
    return [file for suffix in ("csv", "parquet") if (file := path / f"{stem}.{suffix}").exists()]


def _read(path: Path, stem: str) -> pd.DataFrame:
    """A table of the folder, names of models and questions as text, other columns as they are."""
    files = _files(path, stem)
    if not files:
        raise OutcomeError(f"{path} lacks {stem}.csv or {stem}.parquet")
    if len(files) > 1:
        raise OutcomeError(f"{path} holds {stem}.csv and {stem}.parquet; keep the one that is meant")
    try:
        frame = _read_csv(files[0]) if files[0].suffix == ".csv" else pd.read_parquet(files[0])
    except UnicodeDecodeError:
        raise OutcomeError(f"{files[0]} is not UTF-8 text; save it as UTF-8") from None
    except (ValueError, OSError, ArrowException, pd.errors.ParserWarning) as error:
        raise OutcomeError(f"{files[0]} cannot be read: {_sentence(error)}") from None
    for column in {"model", "question_id"} & set(frame.columns):
        frame[column] = _text(frame[column])
        blank = np.flatnonzero(frame[column].isna() | (frame[column] == ""))
        if len(blank):
            raise OutcomeError(f"{files[0]}: {len(blank)} row(s) without a {column}, first row {blank[0]}")
    return frame


def _read_csv(file: Path) -> pd.DataFrame:
    """All cells as text, so that an id 007 and a prompt "None" survive; an empty cell is missing."""
    with warnings.catch_warnings():
        # Rows longer than the header (an unquoted comma in a prompt) would be cut, or shift the columns.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            file, dtype=str, keep_default_na=False, na_values=[""], index_col=False, encoding="utf-8-sig"
        )


def _named(frame: pd.DataFrame, name: str, accepted: tuple[str, ...]) -> pd.DataFrame:
    """The table with the first accepted column under the one name."""
    found = [column for column in accepted if column in frame.columns]
    return frame.rename(columns={found[0]: name}) if found else frame


def _text(values: pd.Series) -> pd.Series:
    """Ids as text: 1, 1.0 (an integer column with gaps) and "1" are the same."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return values.astype("string").astype(object)


def _numbers(values: pd.Series) -> pd.Series:
    """Scores as `from_rows` takes them: true and false are 1 and 0, words for "nothing" are missing."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values
    words = values.astype("string").str.strip().str.lower()
    words = words.replace({"true": "1", "false": "0"}).mask(words.isin(BLANK))
    return words.astype(object)


def _facts(path: Path, models: pd.DataFrame, fact: str) -> pd.Series:
    """A column of numbers about models, float64, NaN where blank."""
    words = _numbers(models[fact])
    numbers = pd.to_numeric(words, errors="coerce")
    wrong = numbers.isna() & words.notna()
    if wrong.any():
        model, value = models.loc[wrong, ["model", fact]].iloc[0]
        raise OutcomeError(f"{path}: {fact} of model {model} is no number but {value!r}")
    return numbers.astype("float64")


def _sentence(error: Exception) -> str:
    """The first line of an error, for one sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
