"""The cut of a table into parts and folds, and how its questions count as draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix, prompt_groups

PARTS = ("train", "val", "test")
SHARES = (0.8, 0.1, 0.1)  # the paper's split
FEWEST_MODELS, FEWEST_QUESTIONS = 3, 10  # in the table, in each part of it: below, nothing can be estimated


Parts = dict[str, tuple[OutcomeMatrix, np.ndarray]]  # "train", "val", "test" to table and prompt vectors, see `cut`


def split(table: OutcomeMatrix, seed: int = 0) -> pd.Series:
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
        if len(groups) < len(PARTS):
            part_of_group.update(dict.fromkeys(groups.tolist(), PARTS[0]))
            continue
        # Every part gets at least one group; rounding favors none of them over many benchmarks.
        edges = np.cumsum(SHARES)[:-1] * len(groups) + rng.uniform(-0.5, 0.5)
        first = int(np.clip(np.round(edges[0]), 1, len(groups) - 2))
        second = int(np.clip(np.round(edges[1]), first + 1, len(groups) - 1))
        for part, chunk in zip(PARTS, np.split(groups, [first, second]), strict=True):
            part_of_group.update(dict.fromkeys(chunk.tolist(), part))
    return group.map(part_of_group).rename("part")


def stratified_share(benchmarks: pd.Series, share: float, seed: int) -> np.ndarray:
    """Sorted positions of a share of the questions of each benchmark, at least one of each."""
    if share == 1:
        return np.arange(len(benchmarks))
    rng = np.random.default_rng(seed)
    positions = pd.Series(np.arange(len(benchmarks)))
    drawn = [rng.choice(rows, max(1, round(share * len(rows))), replace=False)
             for _, rows in positions.groupby(benchmarks.to_numpy(), observed=True)]
    return np.sort(np.concatenate(drawn))


def sample(table: OutcomeMatrix, n_questions: int, seed: int) -> OutcomeMatrix:
    """About so many of a table's questions, drawn evenly from its benchmarks; 0 for all."""
    share = n_questions / table.shape[1]
    return table if not 0 < share < 1 else table.at(stratified_share(table.questions["benchmark"], share, seed))


def cut(table: OutcomeMatrix, vectors: np.ndarray, part: Sequence[str] | None = None) -> Parts:
    """A table and the vectors of its prompts, cut into the parts of a split.

    Parameters
    ----------
    vectors : ndarray, shape (n_questions, d_prompt)
    part : sequence of str, shape (n_questions,), optional
        "train", "val" or "test", in the order of the questions; default their column ``part``. A question of
        any other part is left out.

    Returns
    -------
    dict
        {"train" | "val" | "test": (table, vectors)}; a part may be empty.
    """
    part = np.asarray(table.questions["part"] if part is None else part)
    at = {name: np.flatnonzero(part == name) for name in PARTS}
    return {name: (table.at(rows), vectors[rows]) for name, rows in at.items()}


@dataclass(frozen=True, eq=False)
class Design:
    """How the questions of a table are sampled; `inference` resamples and tests by it.

    Attributes
    ----------
    strata : ndarray, shape (n_questions,)
        The benchmark of each question.
    groups : ndarray, shape (n_questions,)
        Questions with one label (those with the same prompt) count as one draw; default each question alone.

    Raises
    ------
    ValueError
        If both are given and differ in shape.
    """

    strata: np.ndarray
    groups: np.ndarray | None = None

    def __post_init__(self):
        strata = np.asarray(self.strata)
        groups = np.arange(len(strata)) if self.groups is None else np.asarray(self.groups)
        if strata.ndim != 1 or strata.shape != groups.shape:
            raise ValueError(
                f"strata and groups must both have shape (n_questions,), found {strata.shape} and {groups.shape}"
            )
        object.__setattr__(self, "strata", strata)
        object.__setattr__(self, "groups", groups)

    @classmethod
    def of(cls, table: OutcomeMatrix) -> Design:
        """The design of a table: benchmarks are strata, questions with the same prompt (`prompt_groups`) a group."""
        return cls(table.questions["benchmark"].to_numpy(), prompt_groups(table).to_numpy())

    def at(self, questions) -> Design:
        """The design of some questions only (positions or a boolean mask)."""
        return Design(self.strata[questions], self.groups[questions])

    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """What is resampled: the unit of each question, and the stratum of each unit.

        A unit that is alone in its stratum is resampled with the others of that kind, in stratum -1.
        """
        unit = pd.factorize(self.groups)[0]
        stratum = pd.factorize(self.strata)[0][np.unique(unit, return_index=True)[1]]
        alone = np.bincount(stratum)[stratum] == 1
        return unit, np.where(alone, -1, stratum)


def folds(table: OutcomeMatrix, n_folds: int, seed: int = 0) -> pd.Series:
    """Assign every question to one of several folds, as even within each benchmark as can be.

    Questions with the same prompt (case and white space aside) stay together.

    Returns
    -------
    Series of int, indexed like ``table.questions``
        From 0 to n_folds - 1.
    """
    rng = np.random.default_rng(seed)
    group = prompt_groups(table)
    first = group.drop_duplicates()
    fold_of_group, start = {}, 0
    for _, members in first.groupby(table.questions["benchmark"].loc[first.index], sort=True, observed=True):
        shuffled = rng.permutation(members.to_numpy())
        numbers = np.arange(start, start + len(shuffled)) % n_folds
        fold_of_group |= dict(zip(shuffled.tolist(), numbers.tolist(), strict=True))
        start += len(shuffled)  # goes on where the last benchmark ended, so that no fold gathers the remainders
    return group.map(fold_of_group).rename("fold")


def divide(table: OutcomeMatrix, how: str = "published", seed: int = 0) -> OutcomeMatrix:
    """The table with a column ``part`` (train, val, test) among its questions, as `check_size` wants it.

    Parameters
    ----------
    how : {"published", "drawn"}
        "published" keeps the column that the table has; without one, or with "drawn", `split` draws it.
    seed : int
        Of the draw.

    Raises
    ------
    OutcomeError
        If a part is too small for anything to be estimated.
    """
    published = how == "published" and "part" in table.questions
    part = table.questions["part"] if published else split(table, seed)
    divided = replace(
        table, questions=table.questions.assign(part=part),
        provenance={**table.provenance, "split": "published" if published else f"drawn, seed {seed}"},
    )
    check_size(divided)
    return divided


def check_size(table: OutcomeMatrix) -> None:
    """Raise OutcomeError if a split table (column ``part``) is too small for anything to be estimated."""
    counts = table.questions["part"].value_counts().reindex(PARTS, fill_value=0)
    if table.shape[0] < FEWEST_MODELS or counts.min() < FEWEST_QUESTIONS:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise OutcomeError(
            f"the table is too small: {table.shape[0]} models and {found} questions; {FEWEST_MODELS} models and "
            f"{FEWEST_QUESTIONS} questions in each part are needed (about {20 * FEWEST_QUESTIONS} questions in all, in "
            "benchmarks of twenty and more)"
        )
