"""The one data structure of the study: which model scored what on which question.

Model first, question second, everywhere. A cell that was never observed is NaN and stays NaN.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.files import write

REPEATS = ("model", "question_id", "score")  # columns of a row of outcomes
MANY = 20  # benchmarks, more than a reader can tell apart in a figure
DROPPED = "questions dropped, answered only by models left out"
DUPLICATES = ("first", "mean", "max", "majority")  # rules for several scores of one (model, question) pair


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
        Optional columns: ``family``, ``base_model``, ``lineage`` (see `lineages.lineages`), ``parameters_b``
        (billions), ``kind``, ``cost`` with ``cost_unit``.
    questions : DataFrame, indexed by question id
        Columns ``prompt`` (text) and ``benchmark`` (the group a question belongs to); optional: ``suite`` (the group
        of benchmarks), ``part``.
    references : mapping of str to ndarray, shape (n_models, n_questions), float32
        Known probabilities to compare with (the ceilings of simulated data); empty for real data.
    repeats : DataFrame
        Columns ``model``, ``question_id``, ``score``: every row of a pair that occurred more than once,
        in the order of the file; ``scores`` holds what they were resolved to.
    provenance : mapping of str to str
        Where the table comes from: source, checksums of files, rules applied.
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
    repeats: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=REPEATS))
    provenance: Mapping[str, str] = field(default_factory=dict)
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
                raise OutcomeError(f"{name} name(s) that occur twice: {abbreviate(index[index.duplicated()])}")
        outside = (self.scores < 0) | (self.scores > 1)  # NaN compares false
        if outside.any():
            rows = [f"({self.models.index[m]}, {self.questions.index[q]}, {self.scores[m, q]:g})"
                    for m, q in np.argwhere(outside)[:5]]
            raise OutcomeError(f"{outside.sum()} score(s) outside [0, 1]: {abbreviate(rows)}")
        for name, axis, index in (("model", 1, self.models.index), ("question", 0, self.questions.index)):
            empty = ~self.observed.any(axis=axis)
            if empty.any():
                raise OutcomeError(f"{name}(s) without any score: {abbreviate(index[empty])}")

    @cached_property
    def observed(self) -> np.ndarray:
        """Which cells hold a score: bool, shape (n_models, n_questions)."""
        return ~np.isnan(self.scores)

    @cached_property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return bool(((self.scores == 0) | (self.scores == 1) | ~self.observed).all())

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
        """A hash of the table, wherever it comes from: equal content, equal fingerprint, whatever the provenance."""
        digest = hashlib.sha256(self.scores.tobytes())
        for frame in (self.models, self.questions, self.repeats):
            digest.update(frame.reset_index().to_csv(index=False).encode())
        for name, values in sorted(self.references.items()):
            digest.update(name.encode() + values.tobytes())
        return digest.hexdigest()

    def at(self, questions) -> OutcomeMatrix:
        """The table at some questions only (positions or a boolean mask).

        Models that have no score at those questions stay, so that the model axis never changes.
        """
        return _unchecked(
            scores=np.ascontiguousarray(self.scores[:, questions]),
            models=self.models,
            questions=self.questions.iloc[questions],
            references={name: values[:, questions] for name, values in self.references.items()},
            repeats=self.repeats,
            provenance=self.provenance,
            repairs=self.repairs,
        )

    def save(self, path: Path) -> None:
        """Write everything to one file, a zip of parquet tables, matrices and ``manifest.json``.

        Equal tables give equal bytes. No score is rounded: binary ones take two bits per cell (observed,
        right), others the narrowest float that holds them all exactly.
        """
        manifest = {
            "models": self.shape[0], "questions": self.shape[1], "observed cells": int(self.observed.sum()),
            "provenance": dict(self.provenance), "repairs": dict(self.repairs), "references": list(self.references),
        }
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w") as archive:
            archive.writestr(zipfile.ZipInfo("manifest.json"), json.dumps(manifest, indent=1))
            for name in ("models", "questions", "repeats"):
                stream = io.BytesIO()
                getattr(self, name).to_parquet(stream, compression="zstd")
                archive.writestr(zipfile.ZipInfo(f"{name}.parquet"), stream.getvalue())
            for name, values in {"scores": _packed(self.scores), **self.references}.items():
                stream = io.BytesIO()
                np.save(stream, values, allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), stream.getvalue())
        write(path, whole.getvalue())

    @classmethod
    def load(cls, path: Path) -> OutcomeMatrix:
        """Read what `save` wrote."""
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            frames = {name: pd.read_parquet(io.BytesIO(archive.read(f"{name}.parquet")))
                      for name in ("models", "questions", "repeats")}
            matrices = {name: np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
                        for name in ("scores", *manifest["references"])}
        scores = _unpacked(matrices.pop("scores"), len(frames["questions"]))
        return cls(scores=scores, references=matrices, provenance=manifest["provenance"],
                   repairs=manifest["repairs"], **frames)


def _packed(scores: np.ndarray) -> np.ndarray:
    """The smallest array that holds the scores exactly; bits have a leading axis (observed, right)."""
    observed = ~np.isnan(scores)
    if np.isin(scores[observed], (0, 1)).all():
        return np.packbits(np.stack([observed, scores == 1]), axis=-1)
    half = scores.astype(np.float16)
    return half if np.array_equal(half, scores, equal_nan=True) else scores


def _unpacked(packed: np.ndarray, n_questions: int) -> np.ndarray:
    """The scores as float32, (n_models, n_questions)."""
    if packed.dtype != np.uint8:
        return packed.astype(np.float32)
    observed, right = np.unpackbits(packed, axis=-1, count=n_questions)
    return np.where(observed, right.astype(np.float32), np.float32(np.nan))


def _unchecked(**values) -> OutcomeMatrix:
    """An OutcomeMatrix cut from a valid one: a model may have no score in the part."""
    table = object.__new__(OutcomeMatrix)
    for name, value in values.items():
        object.__setattr__(table, name, value)
    return table


def replace_unchecked(table: OutcomeMatrix, **changes) -> OutcomeMatrix:
    """The table with some fields replaced; like a part of a table it may lack scores or repeat a question."""
    return _unchecked(**{one.name: getattr(table, one.name) for one in fields(table)} | changes)


def resolved(cells, scores, rule: str) -> pd.Series:
    """One score for each cell that has several.

    Parameters
    ----------
    cells, scores : array-like, shape (n_rows,)
        What a row belongs to (sortable), and its score in [0, 1]; in the order of the file.
    rule : {"first", "mean", "max", "majority"}
        "majority": the most frequent score; of equally frequent ones the first.

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
    rows = pd.DataFrame({"cell": np.asarray(cells), "score": np.asarray(scores, dtype=np.float64)})
    if rule == "majority":
        rows["count"] = rows.groupby(["cell", "score"])["score"].transform("size")
        rows, rule = rows.sort_values("count", ascending=False, kind="stable"), "first"
    return rows.groupby("cell")["score"].agg(rule).astype(np.float32)


def without(table: OutcomeMatrix, models: Sequence[str]) -> OutcomeMatrix:
    """The table without some models, and without questions that nobody else answered.

    Raises
    ------
    OutcomeError
        If the table holds no model of such a name.
    """
    unknown = [name for name in models if name not in table.models.index]
    if unknown:
        close = difflib.get_close_matches(unknown[0], table.models.index, n=3)
        raise OutcomeError(
            f"no model is called {', '.join(unknown)}" + (f"; did you mean {', '.join(close)}?" if close else "")
        )
    if not len(models):
        return table
    kept, before = ~table.models.index.isin(models), table.provenance.get("models left out")
    answered = table.observed[kept].any(axis=0)
    return replace(
        table, scores=table.scores[kept][:, answered], models=table.models[kept], questions=table.questions[answered],
        references={name: values[kept][:, answered] for name, values in table.references.items()},
        repeats=table.repeats[~table.repeats["model"].isin(models)],
        provenance={**table.provenance, "models left out": ", ".join(filter(None, [before, *models]))},
        repairs={**table.repairs, DROPPED: table.repairs.get(DROPPED, 0) + int((~answered).sum())},
    )


def parted(table: OutcomeMatrix, new: np.ndarray) -> tuple[OutcomeMatrix, np.ndarray]:
    """The table without some models, bool, (n_models,), and what these answered: (n_new, n_questions), float64."""
    rest = replace_unchecked(table, scores=table.scores[~new], models=table.models[~new], references={},
                             repeats=table.repeats.iloc[:0])
    return rest, table.scores[new].astype(np.float64)


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


def suites(table: OutcomeMatrix) -> pd.Series:
    """The group of benchmarks that each question belongs to: its column ``suite``, or its benchmark where none is."""
    return by_suite(table.questions)["benchmark"]


def by_suite(questions: pd.DataFrame) -> pd.DataFrame:
    """Questions whose benchmark gives way to its suite, where one is named."""
    benchmark = questions["benchmark"]
    suite = questions.get("suite", benchmark)
    return questions.assign(benchmark=suite.where(suite.notna() & (suite != ""), benchmark))


def grouped(table: OutcomeMatrix) -> OutcomeMatrix:
    """The table for breakdowns and leave-one-out: of more than `MANY` benchmarks each gives way to its suite."""
    if table.questions["benchmark"].nunique() <= MANY:
        return table
    return replace_unchecked(table, questions=by_suite(table.questions))


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


def abbreviate(values, limit: int = 5) -> str:
    values = [str(value) for value in values]
    return ", ".join(values[:limit]) + (f" and {len(values) - limit} more" if len(values) > limit else "")
