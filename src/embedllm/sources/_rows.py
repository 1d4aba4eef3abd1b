"""From one row a (model, question) pair to the table: what a row may hold, and what becomes of repeated ones."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix, resolved
from embedllm.sources._files import require_cells, require_columns
from embedllm.splits import PARTS


def from_rows(
    outcomes: pd.DataFrame,
    questions: pd.DataFrame,
    models: pd.DataFrame | None = None,
    *,
    duplicates: str = "first",
    provenance: Mapping[str, str] | None = None,
    repairs: Mapping[str, int | list[str]] | None = None,
    files: Mapping[str, str] | None = None,
) -> OutcomeMatrix:
    """Build the table from one row a (model, question) pair.

    Parameters
    ----------
    outcomes : DataFrame
        Columns ``model``, ``question_id`` and ``score`` (in [0, 1]; NaN = not asked). The index of each table
        is the number of a row in its file; errors name it.
    questions : DataFrame
        Columns ``question_id``, ``prompt``, ``benchmark``; the order of its rows is kept. A column
        ``part`` (train, val or test) is a published split.
    models : DataFrame, optional
        Column ``model`` and what is known about each; default the models that have outcomes, by name.
    duplicates : {"first", "mean", "max", "majority"}
        The score of a pair with several rows, see `resolved`.
    provenance, repairs : mapping, optional
        Of the table, from its reader.
    files : mapping of str to str, optional
        What errors call the tables ``outcomes``, ``questions`` and ``models``.

    Returns
    -------
    OutcomeMatrix
        Model names and question ids are stripped and put into one Unicode form (NFC), which ``repairs``
        counts, as it does models and questions without any score, which are dropped. All rows of pairs that
        occur more than once are kept in ``repeats``.

    Raises
    ------
    OutcomeError
        If a column is missing, a score is no number in [0, 1], an outcome names an unknown question or
        model, a name occurs twice, a prompt or benchmark is blank or no text, or nothing is left.
    """
    names = {stem: (files or {}).get(stem, f"the {stem} table") for stem in ("outcomes", "questions", "models")}
    require_columns(outcomes, names["outcomes"], ["model", "question_id", "score"])
    require_columns(questions, names["questions"], ["question_id", "prompt", "benchmark"])
    if models is None:
        models = pd.DataFrame({"model": sorted({written(name) for name in outcomes["model"].unique()})})
    require_columns(models, names["models"], ["model"])
    mended = {name for frame in (outcomes, models) for name in frame["model"].unique() if name != written(name)}
    mended |= {name for frame in (outcomes, questions) for name in frame["question_id"].unique()
               if isinstance(name, str) and name != written(name)}
    models = models.assign(model=models["model"].map(written))
    questions = questions.assign(question_id=questions["question_id"].map(_id))
    for stem, frame, key in (("models", models, "model"), ("questions", questions, "question_id")):
        _reject(names[stem], frame[frame[key].duplicated()], [key], f"{key} that stands in an earlier row as well")
    questions = questions.assign(benchmark=questions["benchmark"].map(_text))
    for column in ("prompt", "benchmark"):
        told = questions[column].map(lambda cell: isinstance(cell, str) and bool(cell.strip())).astype(bool)
        _reject(names["questions"], questions[~told], ["question_id"], f"{column} that is blank or no text")
    if "part" in questions:
        _reject(names["questions"], questions[~questions["part"].isin(PARTS)], ["question_id", "part"],
                f"part that is none of {', '.join(PARTS)}")
    questions, models = questions.set_index("question_id"), models.set_index("model")
    require_cells(f"{names['outcomes']}, models x questions", len(models), len(questions))

    scores = pd.to_numeric(outcomes["score"], errors="coerce").astype(np.float64)
    wrong = scores.isna() & outcomes["score"].notna() | (scores < 0) | (scores > 1)
    cell = ["model", "question_id", "score"]
    _reject(names["outcomes"], outcomes[wrong], cell, "score that is no number in [0, 1]")
    row = _positions(outcomes["model"], models.index, written)
    column = _positions(outcomes["question_id"], questions.index, _id)
    for stem, position in {"model": row, "question": column}.items():
        _reject(names["outcomes"], outcomes[position < 0], cell, f"{stem} that {names[stem + 's']} does not hold")

    asked = scores.notna().to_numpy()
    rows = pd.DataFrame({
        "cell": row[asked].astype(np.int64) * len(questions) + column[asked],
        "score": scores.to_numpy(np.float32)[asked],
    })
    repeated = rows.duplicated("cell", keep=False).to_numpy()
    repeats = rows[repeated]
    matrix = np.full(len(models) * len(questions), np.nan, dtype=np.float32)
    matrix[rows["cell"].to_numpy()[~repeated]] = rows["score"].to_numpy()[~repeated]
    settled = resolved(repeats["cell"], repeats["score"], duplicates)
    matrix[settled.index] = settled.to_numpy()
    matrix = matrix.reshape(len(models), len(questions))

    asked_models, asked_questions = ~np.isnan(matrix).all(axis=1), ~np.isnan(matrix).all(axis=0)
    if not asked_models.any():
        raise OutcomeError(f"{names['outcomes']} holds no score at all")
    return OutcomeMatrix(
        scores=matrix[asked_models][:, asked_questions],
        models=models[asked_models],
        questions=questions[asked_questions],
        repeats=pd.DataFrame({
            "model": models.index[repeats["cell"] // len(questions)].to_numpy(object),
            "question_id": questions.index[repeats["cell"] % len(questions)].to_numpy(object),
            "score": repeats["score"].to_numpy(),
        }),
        provenance={**(provenance or {}), "rule for repeated rows": duplicates},
        repairs={
            **(repairs or {}),
            "names mended, blanks at the ends or another Unicode form": sorted(map(str, mended)),
            "models dropped, never asked": [str(m) for m in models.index[~asked_models]],
            "questions dropped, never answered": int((~asked_questions).sum()),
        },
    )


def read_facts(file: Path) -> pd.DataFrame:
    """What is publicly known about models, from a CSV of this package in which each row names its source.

    A model trained further from another carries that one's name as its ``base_model``, also where that one is not in
    the pool; a model without a published base is its own. Billions of parameters: all, and those active for a token,
    which differ for mixtures of experts; blank where the maker publishes no number.

    Returns
    -------
    DataFrame, one row per model
        ``model``, ``family``, ``base_model``, ``kind``, ``parameters_b``, ``active_parameters_b``; NaN where blank.
    """
    return pd.read_csv(file, keep_default_na=False, na_values=[""]).drop(columns="source")


def known_models(names: Iterable[str], facts: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Facts about the models that a table holds, and the names of those that nothing is known about.

    Parameters
    ----------
    names : iterable of str
        Models with outcomes.
    facts : DataFrame
        Column ``model`` and facts.

    Returns
    -------
    models : DataFrame
        As `from_rows` takes it: the known ones in the order of `facts` with its index, then the others by name.
    unknown : list of str
        Names as `from_rows` writes them.
    """
    names, known = {written(name) for name in names}, facts["model"].map(written)
    unknown = sorted(names - set(known))
    return pd.concat([facts[known.isin(names)], pd.DataFrame({"model": unknown})]), unknown


def written(name: object) -> str:
    """A name as it is kept: without blanks at its ends, in one of the Unicode forms of the same letters."""
    return unicodedata.normalize("NFC", str(name).strip())


def _id(name: object) -> object:
    """A question id as it is kept; numbers stay numbers."""
    return written(name) if isinstance(name, str) else name


def _text(cell: object) -> object:
    """The name of a benchmark, which may be a number."""
    return str(cell) if isinstance(cell, int | float | np.number) and cell == cell else cell


def _positions(names: pd.Series, index: pd.Index, kept: Callable[[object], object]) -> np.ndarray:
    """Where each name stands in an index, -1 where it does not; each distinct name is sought once."""
    codes, distinct = pd.factorize(names)
    return np.append(index.get_indexer(pd.Index([kept(name) for name in distinct], dtype=object)), -1)[codes]


def _reject(name: str, wrong: pd.DataFrame, columns: list[str], what: str) -> None:
    """Raise OutcomeError if there are wrong rows, quoting the first few as a reader can find them."""
    if len(wrong):
        head = wrong.head(5)[columns]
        rows = []
        for number, *cells in head.itertuples():
            told = (f"{key} {str(cell)[:60]!r}" for key, cell in zip(columns, cells, strict=True))
            rows.append(f"row {number} ({', '.join(told)})")
        more = f" and {len(wrong) - len(rows)} more" if len(wrong) > len(rows) else ""
        raise OutcomeError(f"{name}: {what}: {'; '.join(rows)}{more}")
