"""The reader's own evaluation results: a folder with a table of outcomes and a table of questions."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix, abbreviate
from embedllm.sources._columns import BENCHMARK, is_wide, long_form, require_alike, with_score
from embedllm.sources._facts import UNITS, numbers, read_models, with_costs
from embedllm.sources._files import checksum, first_line, opened, require_columns, text, text_categories
from embedllm.sources._rows import from_rows, known_models
from embedllm.sources._tables import SUFFIXES, read_table

TABLES = ("outcomes", "questions", "models")
NAMES = ("model", "question_id")


def load(path: Path, facts: pd.DataFrame | None = None, *, duplicates: str = "first") -> OutcomeMatrix:
    """Read a folder of outcomes.

    Parameters
    ----------
    path : Path
        Folder with three tables, each a file of one of the `SUFFIXES` as `read_table` reads it:

        ``questions``: columns ``question_id``, ``prompt``, and ``benchmark``, ``category`` or ``task``; further
        columns are kept, ``part`` is a published split.
        ``outcomes`` in one of two forms: long (columns ``model``, ``question_id``, and ``score``, ``correct`` or
        ``label``) or wide (``question_id`` and one column for each model). A score is a number in [0, 1], true or
        false; blank = not asked. The long form may have a column ``cost``, a number from 0 on for each answer.
        ``models``, optional: column ``model`` and facts. ``cost`` is that of a query, or of what the column
        ``cost_unit`` says, one of `UNITS`.
    facts : DataFrame, optional
        Column ``model`` and facts, taken in place of the models file.
    duplicates : str
        Rule for repeated (model, question) rows, see `from_rows`.

    Returns
    -------
    OutcomeMatrix
        Question ids are text, so that 1 in one file is "1" in the other. A model that the models table
        does not know is added without facts, and named in ``repairs``. A model without a ``cost`` has the mean
        ``cost`` of its answers, if these have any; ``cost_unit`` stands beside ``cost``.

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
    elif "models" not in files and any(file.suffix not in (".md", ".txt") for file in path.glob("models.*")):
        raise _absent(path, "models")
    outcomes, told = _outcomes(path, files)
    questions = _read(path, files, "questions")
    if found := [name for name in BENCHMARK if name in questions]:
        questions = questions.rename(columns={found[0]: "benchmark"})
    provenance = {
        "source": "directory", **{file.name: f"sha256 {checksum(file)}" for file in files.values()}, **told}
    if "models" in files:
        facts = read_models(_read(path, files, "models"), files["models"])
    models, repairs = None, {}
    if facts is not None:
        models, unknown = known_models(outcomes["model"].unique(), facts)
        repairs["models without a row of facts"] = unknown
        if "models" not in files and len(unknown) == len(models):
            raise OutcomeError(f"{path} holds no model of the data set that it is read as; results of your own are "
                               "read by DATASET=directory")
        if "cost_unit" in models:
            models = models.assign(cost_unit=facts["cost_unit"].iloc[0] if len(facts) else UNITS[0])
    if "models" in files:
        repairs["models with facts and no outcomes, left out"] = sorted(set(facts["model"]) - set(models["model"]))
    if "cost" in outcomes:
        models, differing = with_costs(outcomes, models, path)
        repairs |= differing
    try:
        return from_rows(
            outcomes, questions, models, duplicates=duplicates, provenance=provenance, repairs=repairs,
            files={stem: str(file) for stem, file in files.items()},
        )
    except OutcomeError as error:
        raise OutcomeError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def holds_outcomes(path: Path) -> bool:
    """Whether a folder holds a table of outcomes for `load`."""
    return any((path / f"outcomes.{suffix}").exists() for suffix in SUFFIXES)


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
        with opened(file) as stream, np.load(stream, allow_pickle=False) as arrays:
            ids, vectors = arrays["question_id"], arrays["vectors"]
    except OutcomeError:
        raise
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
    files = [file for suffix in SUFFIXES if (file := path / f"{stem}.{suffix}").exists()]
    if len(files) > 1:
        raise OutcomeError(f"{path} holds {' and '.join(file.name for file in files)}; keep the one that is meant")
    return files[0] if files else None


def _absent(path: Path, stem: str) -> OutcomeError:
    """The error for a table that is not there, or not in a form that is read."""
    others = sorted(file.name for file in path.glob(f"{stem}.*"))
    pickles = [name for name in others if name.endswith((".pkl", ".pickle"))]
    if pickles:
        return OutcomeError(
            f"{path / pickles[0]} is a pickle, which may run any program when it is read; if you trust it, turn it "
            f"into parquet: import pandas; table = pandas.read_pickle('{pickles[0]}'); "
            f"table.to_parquet('{stem}.parquet')"
        )
    return OutcomeError(f"{path} lacks {stem}.csv or {stem}.parquet (also read: {', '.join(SUFFIXES)})"
                        + (f"; it holds {abbreviate(others)}" if others else ""))


def _read(path: Path, files: dict[str, Path], stem: str) -> pd.DataFrame:
    """A table of the folder, names of models and questions as text, other columns as they are."""
    if stem not in files:
        raise _absent(path, stem)
    as_text = text_categories if stem == "outcomes" else text
    frame = read_table(files[stem], words=NAMES if stem == "outcomes" else ())
    for column in {*NAMES} & set(frame.columns):
        try:
            frame[column] = as_text(frame[column])
        except (TypeError, UnicodeDecodeError):
            raise OutcomeError(
                f"{files[stem]}: {column} holds lists, records or bytes where names are expected") from None
        blank = np.flatnonzero(frame[column].isna() | (frame[column] == ""))
        if len(blank):
            raise OutcomeError(f"{files[stem]}, row {frame.index[blank[0]]}: no {column} ({len(blank)} such row(s))")
    return frame


def _outcomes(path: Path, files: dict[str, Path]) -> tuple[pd.DataFrame, dict[str, str]]:
    """One row per answer with its ``score`` and, if known, ``cost``; and what was taken for models, in words."""
    outcomes = _read(path, files, "outcomes")
    file = files["outcomes"]
    if is_wide(outcomes):
        outcomes = long_form(outcomes, file)
        names = outcomes["model"].cat.categories
        return outcomes, {"columns taken as models": f"{len(names)}: {abbreviate(names)}"}
    require_columns(outcomes, file, NAMES)
    outcomes = with_score(outcomes, file)
    require_alike(outcomes, file)
    if "cost" in outcomes:
        outcomes["cost"] = numbers(file, outcomes, "cost", zero=True)
    return outcomes[[*NAMES, "score", *({"cost"} & set(outcomes.columns))]], {}
