"""From one row a (model, question) pair to the table: what a row may hold, and what happens to repeated ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from embedllm.outcomes import PARTS, OutcomeError, OutcomeMatrix, some
from embedllm.sources._files import need

# What becomes of several scores for one (model, question) pair.
DUPLICATES = ("first", "mean", "max", "majority")


def from_rows(
    outcomes: pd.DataFrame,
    questions: pd.DataFrame,
    models: pd.DataFrame | None = None,
    *,
    duplicates: str = "first",
    provenance: Mapping[str, str] | None = None,
    repairs: Mapping[str, int | list[str]] | None = None,
) -> OutcomeMatrix:
    """Build the table from one row a (model, question) pair.

    Parameters
    ----------
    outcomes : DataFrame
        Columns ``model``, ``question_id`` and ``score`` (in [0, 1]; NaN = not asked). The index is the
        position of a row in its file, from 0; errors name it.
    questions : DataFrame
        Columns ``question_id``, ``prompt``, ``benchmark``; the order of its rows is kept. A column
        ``part`` (train, val or test) is a published split.
    models : DataFrame, optional
        Column ``model`` and what is known about each; default the models that have outcomes, by name.
    duplicates : {"first", "mean", "max", "majority"}
        The score of a pair with several rows, see `resolved`.
    provenance, repairs : mapping, optional
        Of the table, from its reader.

    Returns
    -------
    OutcomeMatrix
        All rows of pairs that occur more than once are kept in ``repeats``. Models and questions without
        any score are dropped and counted in ``repairs``.

    Raises
    ------
    OutcomeError
        If a column is missing, a score is no number in [0, 1], an outcome names an unknown question or
        model, a name occurs twice, or nothing is left.
    """
    if duplicates not in DUPLICATES:
        raise ValueError(f"no rule {duplicates!r} for repeated rows; choose {', '.join(DUPLICATES)}")
    need(outcomes, "the outcomes table", ["model", "question_id", "score"])
    need(questions, "the questions table", ["question_id", "prompt", "benchmark"])
    if models is None:
        models = pd.DataFrame({"model": sorted(map(str, outcomes["model"].unique()))})
    need(models, "the models table", ["model"])
    # Names may be numbers in a file; here they are names.
    questions = questions.assign(benchmark=questions["benchmark"].astype("string").astype(object))
    models = models.assign(model=models["model"].astype(str)).set_index("model")
    questions = questions.set_index("question_id")
    for name, index in {"models": models.index, "questions": questions.index}.items():
        if index.has_duplicates:
            raise OutcomeError(f"the {name} table names twice: {some(index[index.duplicated()])}")
    blank = questions["prompt"].isna() | questions["benchmark"].isna()
    if blank.any():
        raise OutcomeError(f"question(s) without a prompt or benchmark: {some(questions.index[blank])}")
    if "part" in questions and not questions["part"].isin(PARTS).all():
        odd = questions.loc[~questions["part"].isin(PARTS), "part"]
        raise OutcomeError(
            f"the column part of the questions table must say {', '.join(PARTS)} for every question; found "
            f"{some(f'{value} (question {name})' for name, value in odd.items())}"
        )

    scores = pd.to_numeric(outcomes["score"], errors="coerce").astype(np.float64)
    _reject(outcomes, scores.isna() & outcomes["score"].notna() | (scores < 0) | (scores > 1),
            "score(s) that are no number in [0, 1]")
    row = _positions(outcomes["model"], models.index, str)
    column = _positions(outcomes["question_id"], questions.index)
    for name, position in {"model": row, "question": column}.items():
        _reject(outcomes, position < 0, f"outcome(s) of a {name} that the {name}s table does not hold")

    asked = scores.notna().to_numpy()
    rows = pd.DataFrame({
        "cell": row[asked].astype(np.int64) * len(questions) + column[asked],
        "score": scores.to_numpy(np.float32)[asked],
    })
    repeated = rows.duplicated("cell", keep=False).to_numpy()
    repeats = rows[repeated]
    matrix = np.full(len(models) * len(questions), np.nan, dtype=np.float32)
    matrix[rows["cell"].to_numpy()[~repeated]] = rows["score"].to_numpy()[~repeated]
    if len(repeats):
        settled = resolved(repeats["cell"], repeats["score"], duplicates)
        matrix[settled.index] = settled.to_numpy()
    matrix = matrix.reshape(len(models), len(questions))

    asked_models, asked_questions = ~np.isnan(matrix).all(axis=1), ~np.isnan(matrix).all(axis=0)
    if not asked_models.any():
        raise OutcomeError("the outcomes table holds no score at all")
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
            "models dropped, never asked": [str(m) for m in models.index[~asked_models]],
            "questions dropped, never answered": int((~asked_questions).sum()),
        },
    )


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
        As `from_rows` takes it: the known ones in the order of `facts`, then the others by name.
    unknown : list of str
    """
    names = set(names)
    unknown = sorted(names - set(facts["model"]))
    return pd.concat([facts[facts["model"].isin(names)], pd.DataFrame({"model": unknown})], ignore_index=True), unknown


def resolved(cells, scores, rule: str) -> pd.Series:
    """One score for each cell that has several.

    Parameters
    ----------
    cells, scores : array-like, shape (n_rows,)
        What a row belongs to (sortable), and its score in [0, 1]; in the order of the file.
    rule : {"first", "mean", "max", "majority"}
        "majority": 1 where more than half of the scores are at least 0.5, 0 where fewer, and the first
        of them where exactly half are; thus binary.

    Returns
    -------
    Series of float32, indexed by cell

    Raises
    ------
    ValueError
        If the rule is unknown.
    """
    if rule not in DUPLICATES:
        raise ValueError(f"no rule {rule!r} for repeated rows; choose {', '.join(DUPLICATES)}")
    scores, cells = pd.Series(np.asarray(scores, dtype=np.float64)), np.asarray(cells)
    if rule == "majority":
        right = (scores >= 0.5).groupby(cells).agg(["mean", "first"])
        return right["first"].where(right["mean"] == 0.5, right["mean"] > 0.5).astype(np.float32)
    return scores.groupby(cells).agg(rule).astype(np.float32)


def _positions(names: pd.Series, index: pd.Index, as_type: type = object) -> np.ndarray:
    """Where each name stands in an index, -1 where it does not; each distinct name is sought once."""
    codes, distinct = pd.factorize(names)
    return np.append(index.get_indexer(pd.Index(distinct).astype(as_type)), -1)[codes]


def _reject(outcomes: pd.DataFrame, wrong: np.ndarray | pd.Series, what: str) -> None:
    """Raise OutcomeError if any row is wrong, quoting the first few as a reader can find them."""
    wrong = np.asarray(wrong)
    if wrong.any():
        head = outcomes[wrong].head(5)[["model", "question_id", "score"]]
        rows = [f"data row {position + 1} (model {model}, question {question}, score {score})"
                for position, model, question, score in head.itertuples()]
        raise OutcomeError(f"{wrong.sum()} {what}, in outcomes: {some(rows)}")
