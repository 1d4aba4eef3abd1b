"""Models that answer alike: entries that are one model, or hardly changed from another."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from embedllm.outcomes import OutcomeMatrix

ALIKE = 0.95  # share of common questions answered alike from which two models are near-copies
FEWEST = 100  # common questions below which nobody can tell


def near_copies(table: OutcomeMatrix) -> pd.Series:
    """A number for each group of near-copies, linked one to the next; a model without one is a group of its own.

    Two models answer a question alike where both are right or both wrong; a graded score is right from 0.5 on.

    Returns
    -------
    Series of int, indexed like ``table.models``
    """
    right = np.where(table.observed, table.scores >= 0.5, False).astype(np.float32)
    wrong = table.observed.astype(np.float32) - right
    asked = table.observed.astype(np.float32)
    common = asked @ asked.T
    alike = (right @ right.T + wrong @ wrong.T) >= ALIKE * common
    _, group = connected_components(csr_matrix(alike & (common >= FEWEST)), directed=False)
    return pd.Series(group, table.models.index, name="near_copies")


def representatives(table: OutcomeMatrix) -> np.ndarray:
    """One model of each group of near-copies, the one with most answers, of equals the first by name.

    Returns
    -------
    ndarray of bool, shape (n_models,)
    """
    by = pd.DataFrame({"group": near_copies(table), "answers": -table.observed.sum(axis=1), "name": table.models.index})
    first = by.sort_values(["answers", "name"]).drop_duplicates("group").index
    return table.models.index.isin(first)
