"""The one data structure of the study: which model scored what on which question.

Model first, question second, everywhere. A cell that was never observed is NaN and stays NaN.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

PARTS = ("train", "val", "test")
SHARES = (0.8, 0.1, 0.1)  # the paper's split
FEWEST_MODELS, FEWEST_QUESTIONS = 3, 10  # in the table, in each part of it: below, nothing can be estimated


class OutcomeError(ValueError):
    """A table of outcomes that cannot be used; the message names the offending rows."""


@dataclass(frozen=True, eq=False)
class OutcomeMatrix:
    """Scores of models on questions, with what is known about both.

    Attributes
    ----------
    scores : ndarray, shape (n_models, n_questions), float32
        Values in [0, 1]; NaN where the model was never asked. Binary correctness is {0, 1}.
    models : DataFrame, indexed by model name
        Optional columns: ``family``, ``base_model``, ``parameters_b`` (billions), ``kind``, ``cost``.
    questions : DataFrame, indexed by question id
        Columns ``prompt`` (text) and ``benchmark`` (the group a question belongs to).
    references : mapping of str to ndarray, shape (n_models, n_questions), float32
        Known probabilities to compare with (the ceilings of simulated data); empty for real data.
    repairs : mapping of str to int or list
        What had to be mended while the table was read; the audit reports it.

    Raises
    ------
    OutcomeError
        If shapes disagree, a column is missing, a name occurs twice, a score lies outside [0, 1],
        or a model or question has no score at all.
    """

    scores: np.ndarray
    models: pd.DataFrame
    questions: pd.DataFrame
    references: Mapping[str, np.ndarray] = field(default_factory=dict)
    repairs: Mapping[str, int | list[str]] = field(default_factory=dict)

    def __post_init__(self):
        shape = (len(self.models), len(self.questions))
        for name, values in {"scores": self.scores, **self.references}.items():
            if values.shape != shape or values.dtype != np.float32:
                raise OutcomeError(
                    f"{name} must be float32 of shape (n_models, n_questions) = {shape}, "
                    f"found {values.dtype} of shape {values.shape}"
                )
        missing = {"prompt", "benchmark"} - set(self.questions.columns)
        if missing:
            raise OutcomeError(f"the questions table lacks the column(s) {sorted(missing)}")
        for name, index in {"model": self.models.index, "question": self.questions.index}.items():
            if index.has_duplicates:
                raise OutcomeError(f"{name} name(s) that occur twice: {_some(index[index.duplicated()])}")
        outside = (self.scores < 0) | (self.scores > 1)  # NaN compares false
        if outside.any():
            rows = [f"({self.models.index[m]}, {self.questions.index[q]}, {self.scores[m, q]:g})"
                    for m, q in np.argwhere(outside)[:5]]
            raise OutcomeError(f"{outside.sum()} score(s) outside [0, 1]: {_some(rows)}")
        for name, axis, index in (("model", 1, self.models.index), ("question", 0, self.questions.index)):
            empty = ~self.observed.any(axis=axis)
            if empty.any():
                raise OutcomeError(f"{name}(s) without any score: {_some(index[empty])}")

    @cached_property
    def observed(self) -> np.ndarray:
        """Which cells hold a score: bool, shape (n_models, n_questions)."""
        return ~np.isnan(self.scores)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_models, n_questions)."""
        return self.scores.shape

    @cached_property
    def model_means(self) -> np.ndarray:
        """Mean observed score of each model: float64, shape (n_models,), in [0, 1]; NaN without any."""
        asked = self.observed.sum(axis=1)
        total = np.nansum(self.scores, axis=1, dtype=np.float64)
        return np.divide(total, asked, out=np.full(len(asked), np.nan), where=asked > 0)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything in the table: equal content, equal fingerprint."""
        digest = hashlib.sha256(self.scores.tobytes())
        for frame in (self.models, self.questions):
            digest.update(frame.reset_index().to_csv(index=False).encode())
        for name, values in sorted(self.references.items()):
            digest.update(name.encode() + values.tobytes())
        return digest.hexdigest()

    def at(self, questions) -> OutcomeMatrix:
        """The table at some questions only (positions or a boolean mask).

        Models that have no score at those questions stay, so that the model axis never changes.
        """
        return _trusted(
            scores=np.ascontiguousarray(self.scores[:, questions]),
            models=self.models,
            questions=self.questions.iloc[questions],
            references={name: values[:, questions] for name, values in self.references.items()},
            repairs=self.repairs,
        )

    def save(self, path: Path) -> None:
        """Write the table to the folder `path` (scores.npz, models.parquet, questions.parquet)."""
        path.mkdir(parents=True, exist_ok=True)
        self.models.to_parquet(path / "models.parquet")
        self.questions.to_parquet(path / "questions.parquet")
        (path / "repairs.json").write_text(json.dumps(dict(self.repairs), indent=1))
        np.savez_compressed(path / "scores.npz", scores=self.scores, **self.references)

    @classmethod
    def load(cls, path: Path) -> OutcomeMatrix:
        """Read what `save` wrote."""
        with np.load(path / "scores.npz") as arrays:
            values = dict(arrays)
        return cls(
            scores=values.pop("scores"),
            models=pd.read_parquet(path / "models.parquet"),
            questions=pd.read_parquet(path / "questions.parquet"),
            references=values,
            repairs=json.loads((path / "repairs.json").read_text()),
        )


def _trusted(**fields) -> OutcomeMatrix:
    """An OutcomeMatrix cut from a valid one: a model may have no score in the part."""
    table = object.__new__(OutcomeMatrix)
    for name, value in fields.items():
        object.__setattr__(table, name, value)
    return table


def from_rows(
    outcomes: pd.DataFrame, questions: pd.DataFrame, models: pd.DataFrame | None = None
) -> OutcomeMatrix:
    """Build the table from one row a (model, question) pair.

    Parameters
    ----------
    outcomes : DataFrame
        Columns ``model``, ``question_id`` and ``score`` (in [0, 1]; NaN = not asked).
    questions : DataFrame
        Columns ``question_id``, ``prompt``, ``benchmark``; the order of its rows is kept.
    models : DataFrame, optional
        Column ``model`` and what is known about each.

    Returns
    -------
    OutcomeMatrix
        Repairs made and counted in ``repairs``: of rows that repeat a (model, question) pair the
        first is kept; models and questions without any score are dropped.

    Raises
    ------
    OutcomeError
        If a column is missing, a score is no number in [0, 1], an outcome names an unknown
        question, or nothing is left.
    """
    _need(outcomes, "outcomes", ["model", "question_id", "score"])
    _need(questions, "questions", ["question_id", "prompt", "benchmark"])
    if models is None:
        models = pd.DataFrame({"model": sorted(outcomes["model"].astype(str).unique())})
    _need(models, "models", ["model"])
    # Names may be numbers in a file; here they are names.
    outcomes, models = (frame.assign(model=frame["model"].astype(str)) for frame in (outcomes, models))
    questions, models = questions.set_index("question_id"), models.set_index("model")
    for name, index in {"models": models.index, "questions": questions.index}.items():
        if index.has_duplicates:
            raise OutcomeError(f"the {name} table names twice: {_some(index[index.duplicated()])}")
    blank = questions["prompt"].isna() | questions["benchmark"].isna()
    if blank.any():
        raise OutcomeError(f"question(s) without a prompt or benchmark: {_some(questions.index[blank])}")

    scores = pd.to_numeric(outcomes["score"], errors="coerce")
    unread = scores.isna() & outcomes["score"].notna() | (scores < 0) | (scores > 1)
    if unread.any():
        raise OutcomeError(
            f"{unread.sum()} score(s) that are no number in [0, 1]; rows {_some(_rows(outcomes[unread]))}"
        )
    outcomes = outcomes.assign(score=scores)[scores.notna()]
    repeated = outcomes.duplicated(["model", "question_id"], keep=False)
    disagreeing = outcomes[repeated].groupby(["model", "question_id"])["score"].nunique().gt(1)
    questions = questions.assign(benchmark=questions["benchmark"].astype(str))
    kept = outcomes.drop_duplicates(["model", "question_id"])

    row = models.index.get_indexer(kept["model"])
    column = questions.index.get_indexer(kept["question_id"])
    for name, position in {"model": row, "question": column}.items():
        if (position < 0).any():
            raise OutcomeError(
                f"{(position < 0).sum()} outcome(s) of a {name} that the {name}s table does not hold; "
                f"rows {_some(_rows(kept[position < 0]))}"
            )
    matrix = np.full((len(models), len(questions)), np.nan, dtype=np.float32)
    matrix[row, column] = kept["score"].to_numpy(np.float32)

    asked_models, asked_questions = ~np.isnan(matrix).all(axis=1), ~np.isnan(matrix).all(axis=0)
    if not asked_models.any():
        raise OutcomeError("the outcomes table holds no score at all")
    return OutcomeMatrix(
        scores=matrix[asked_models][:, asked_questions],
        models=models[asked_models],
        questions=questions[asked_questions],
        repairs={
            "rows that repeat a (model, question) pair": int(len(outcomes) - len(kept)),
            "repeated pairs whose scores disagree": int(disagreeing.sum()),
            "models dropped, never asked": [str(m) for m in models.index[~asked_models]],
            "questions dropped, never answered": int((~asked_questions).sum()),
        },
    )


def split(table: OutcomeMatrix, seed: int = 0, shares: tuple[float, ...] = SHARES) -> pd.Series:
    """Assign every question to train, val or test.

    Stratified by benchmark; questions with the same prompt (case and white space aside) stay
    together, so that no test question was seen in training. A benchmark with fewer distinct prompts
    than parts goes to train as a whole.

    Returns
    -------
    Series of str, indexed like ``table.questions``
        One of "train", "val", "test".
    """
    rng = np.random.default_rng(seed)
    group = prompt_groups(table)
    part_of_group: dict[int, str] = {}
    for _, members in group.groupby(table.questions["benchmark"], sort=True, observed=True):
        groups = np.array([g for g in members.unique() if g not in part_of_group])
        rng.shuffle(groups)
        if len(groups) < len(shares):
            part_of_group.update(dict.fromkeys(groups.tolist(), PARTS[0]))
            continue
        # Every part gets at least one group; rounding favours none of them over many benchmarks.
        edges = np.cumsum(shares)[:-1] * len(groups) + rng.uniform(-0.5, 0.5)
        first = int(np.clip(np.round(edges[0]), 1, len(groups) - 2))
        second = int(np.clip(np.round(edges[1]), first + 1, len(groups) - 1))
        for part, chunk in zip(PARTS, np.split(groups, [first, second]), strict=True):
            part_of_group.update(dict.fromkeys(chunk.tolist(), part))
    return group.map(part_of_group).rename("part")


def check_size(table: OutcomeMatrix) -> None:
    """Raise OutcomeError if a split table (column ``part``) is too small for anything to be estimated."""
    counts = table.questions["part"].value_counts().reindex(PARTS, fill_value=0)
    if table.shape[0] < FEWEST_MODELS or counts.min() < FEWEST_QUESTIONS:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise OutcomeError(
            f"the table is too small: {table.shape[0]} models and {found} questions; {FEWEST_MODELS} models and "
            f"{FEWEST_QUESTIONS} questions in each part are needed (about {10 * FEWEST_QUESTIONS} questions, in "
            "benchmarks of ten and more)"
        )


def by_benchmark(table: OutcomeMatrix, values: np.ndarray | None = None) -> pd.DataFrame:
    """Mean of cells over the questions of each benchmark; empty cells are left out.

    Parameters
    ----------
    values : ndarray, shape (n_models, n_questions), optional
        Default the scores.

    Returns
    -------
    DataFrame, models x benchmarks
        NaN where a model was asked nothing.
    """
    values = table.scores if values is None else values
    frame = pd.DataFrame(values.T, index=table.questions["benchmark"].to_numpy(), columns=table.models.index)
    return frame.groupby(level=0, observed=True).mean().T.rename_axis(columns="benchmark")


def model_facts(table: OutcomeMatrix) -> pd.DataFrame:
    """What is known about each model, with the columns every probe needs.

    Returns
    -------
    DataFrame, indexed by model name
        ``family`` and ``base_model`` (the model itself where unknown), ``parameters_b`` (billions, NaN
        where unknown), ``kind`` (None where unknown).
    """
    own = pd.Series(table.models.index, index=table.models.index, dtype=object)
    facts = table.models.reindex(columns=["family", "base_model", "parameters_b", "kind"]).astype(object)
    base = facts["base_model"].fillna(own)
    return facts.assign(
        base_model=base, family=facts["family"].fillna(base), parameters_b=facts["parameters_b"].astype(float)
    )


def prompt_groups(table: OutcomeMatrix) -> pd.Series:
    """A number for each distinct prompt, case and white space aside; indexed like ``table.questions``."""
    text = table.questions["prompt"].str.lower().str.split().str.join(" ")
    return pd.Series(pd.factorize(text)[0], index=table.questions.index)


def audit(table: OutcomeMatrix) -> pd.DataFrame:
    """What a reader should know about the table before believing a result.

    Returns
    -------
    DataFrame
        Columns ``check``, ``value`` (str), ``detail`` (str).
    """
    prompts = table.questions["prompt"]
    answered = table.observed.sum(axis=0)
    lowest, highest = np.nanmin(table.scores, axis=0), np.nanmax(table.scores, axis=0)
    sizes = table.questions["benchmark"].value_counts()
    alone = list(sizes.index[sizes < len(SHARES)])
    graded = np.isin(table.scores[table.observed], (0, 1)).mean()
    constant = np.nanstd(table.scores, axis=1) == 0
    rows = [
        ("models", table.shape[0], ""),
        ("questions", table.shape[1], f"{len(sizes)} benchmarks"),
        ("observed cells", int(table.observed.sum()), f"{table.observed.mean():.2%} of the table"),
        ("fewest questions asked of a model", int(table.observed.sum(axis=1).min()),
         str(table.models.index[table.observed.sum(axis=1).argmin()])),
        ("fewest models asked a question", int(answered.min()), ""),
        ("mean score", f"{np.nanmean(table.scores):.3f}",
         f"models from {table.model_means.min():.3f} to {table.model_means.max():.3f}"),
        ("binary cells", f"{graded:.1%}", "the rest are graded" if graded < 1 else ""),
        ("prompts that repeat another", int(prompts.duplicated().sum()), "kept on one side of the split"),
        ("questions every model gets right", int((lowest == 1).sum()), ""),
        ("questions no model gets right", int((highest == 0).sum()), ""),
        ("models with one and the same score everywhere", int(constant.sum()),
         _some(table.models.index[constant]) if constant.any() else ""),
        ("benchmarks too small to split", len(alone), _some(alone) if alone else ""),
    ]
    for name, value in table.repairs.items():
        count = value if isinstance(value, int) else len(value)
        rows.append((name, count, "" if isinstance(value, int) or not value else _some(value)))
    return pd.DataFrame(rows, columns=["check", "value", "detail"]).astype({"value": str})


def _need(frame: pd.DataFrame, name: str, columns: list[str]) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise OutcomeError(
            f"the {name} table lacks the column(s) {missing}; it has {[str(c) for c in frame.columns][:12]}"
        )


def _rows(frame: pd.DataFrame) -> list[str]:
    """Rows of a table as a reader can find them: position in the file and content."""
    head = frame.head(5)[["model", "question_id", "score"]]
    return [f"{position}: {tuple(values)}" for position, *values in head.itertuples()]


def _some(values, limit: int = 5) -> str:
    values = [str(value) for value in values]
    return ", ".join(values[:limit]) + (f" and {len(values) - limit} more" if len(values) > limit else "")
