"""In which order the rows of tables of the lm-evaluation-harness are, told from the rows.

Process r of k answers questions r, r + k, r + 2k, ... of a task, and the harness gathers process after process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

PROCESSES, HEADER = (1, 2, 4, 8), 2  # on which a model can have run; whose order the headers are in
CERTAIN = 4.0  # standard errors of a difference between two orders
ROUNDS = 20  # at most; four are usual


def dealt(n: int, processes: int) -> np.ndarray:
    """The questions 0 to n - 1 in the order in which a run on some processes writes them: int, shape (n,)."""
    return np.concatenate([np.arange(first, n, processes) for first in range(processes)])


class Task(NamedTuple):
    """One published table."""

    part: str  # "core" or "mmlu_pro": what was run together
    scores: pd.DataFrame  # a row a model, values in the order of the file; NaN where not asked
    questions: pd.DataFrame  # question_id, prompt, benchmark, suite, in the order of their numbers
    known: np.ndarray | None  # how easy other models find each of them, of mean 0


def row_order(tasks: Sequence[Task]) -> pd.DataFrame:
    """How many processes each model ran on, told from its rows.

    A row in its own order follows the difficulty of the questions, in another it does not. Correlations are taken
    within tasks, since differences between tasks show in any order. The difficulty of MMLU-Pro is what the models of
    `mmlu_pro` find there; that of the other suites is what the other models find in the orders they are taken to have
    so far, again and again until none changes; which begins with the header's order, and goes astray where far more
    models ran on one other number of processes than on the header's.

    Returns
    -------
    DataFrame
        A row for each model and part ("core" or "mmlu_pro", which were run apart): ``model``, ``part``, ``processes``
        (1, 2, 4 or 8), ``published`` and ``repaired`` (correlation within tasks as published and in that order),
        ``certain`` (that is `CERTAIN` standard errors above the next best) and ``whole`` (no answer of the part lacks).
    """
    parts = dict.fromkeys(task.part for task in tasks)
    return pd.concat([_order_of(part, [task for task in tasks if task.part == part]) for part in parts],
                     ignore_index=True)


def _order_of(part: str, tasks: Sequence[Task]) -> pd.DataFrame:
    """`row_order` of one part."""
    models = pd.Index(sorted(set().union(*(task.scores.index for task in tasks))))
    at, everyone = np.full(len(models), PROCESSES.index(HEADER)), np.arange(len(models))
    tried, cells, whole = [], np.zeros(len(models)), np.full(len(models), True)
    for task in tasks:
        scores = task.scores.reindex(models).to_numpy(np.float64)
        asked = ~np.isnan(scores)
        mean = np.divide(np.nansum(scores, axis=1), asked.sum(axis=1), out=np.zeros(len(models)),
                         where=asked.any(axis=1))
        centered = np.where(asked, scores - mean[:, None], 0)
        tried.append(np.stack([in_order(centered, number) for number in PROCESSES]))  # (n_orders, n_models, n)
        cells += asked.sum(axis=1)
        whole &= asked.all(axis=1)
    spread = sum((orders[0] ** 2).sum(axis=1) for orders in tried)
    for _ in range(ROUNDS):
        product, difficulty = np.zeros((len(models), len(PROCESSES))), 0.0
        for task, orders in zip(tasks, tried, strict=True):
            now = orders[at, everyone]
            easy = now.sum(axis=0) - now if task.known is None else task.known[None]
            product += (orders * easy).sum(axis=2).T
            difficulty = difficulty + (easy**2).sum(axis=1)
        correlation = product / np.sqrt(np.maximum(spread * difficulty, 1e-12))[:, None]
        before, at = at, correlation.argmax(axis=1)
        if (at == before).all():
            break
    *_, second, first = np.sort(correlation, axis=1).T
    return pd.DataFrame({
        "model": models, "part": part, "processes": np.array(PROCESSES)[at],
        "published": correlation[:, PROCESSES.index(HEADER)], "repaired": first,
        "certain": (first - second) * np.sqrt(cells / 2) > CERTAIN, "whole": whole,
    })


def in_order(rows: np.ndarray, processes: int) -> np.ndarray:
    """Rows of a run on some processes, (n_models, n_questions), as answers to questions 0, 1, 2, ..."""
    found = np.empty_like(rows)
    found[:, dealt(rows.shape[1], processes)] = rows
    return found
