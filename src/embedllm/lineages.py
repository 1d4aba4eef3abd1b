"""Which models are one model, or come from one: near-copies, and lineages where the facts name no base model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeMatrix

COPY = 0.95  # share of common questions answered alike from which two models are near-copies
BEYOND = 0.7  # the same beyond chance: near-copies of two pools have .78 and more, weak models of alpaca-eval less
FEWEST = 100  # common questions below which nobody can tell
RELATED = 0.25  # likeness from which models are one lineage: where groups came nearest to the 24 known base models of
# 71 models of open-llm-leaderboard (adjusted Rand index .75; .69 at .2, .55 at .3)
STEPS = 15  # of Newton's method
RIDGE_MODEL, RIDGE_QUESTION = 0.1, 0.5  # prior precisions of abilities and difficulties


def near_copies(table: OutcomeMatrix) -> pd.Series:
    """A number for each group of near-copies, linked one to the next; a model without one is a group of its own.

    Two models answer a question alike where both are right or both wrong; a graded score is right from 0.5 on. Models
    that are right nearly always, or nearly never, are alike by chance: of what chance leaves apart near-copies answer
    `BEYOND` alike as well (kappa; Cohen 1960, Educational and Psychological Measurement 20).

    Returns
    -------
    Series of int, indexed like ``table.models``
    """
    from scipy.sparse import csr_matrix  # here and below: most processes read this module and group nothing
    from scipy.sparse.csgraph import connected_components

    asked = table.observed.astype(np.float32)
    right = np.where(table.observed, table.scores >= 0.5, 0).astype(np.float32)
    wrong, common = asked - right, asked @ asked.T
    alike, n = right @ right.T + wrong @ wrong.T, np.maximum(common, 1)
    often = right @ asked.T / n  # how often one is right on the questions that both answered
    chance = n * (often * often.T + (1 - often) * (1 - often.T))
    copies = (alike >= COPY * common) & (alike - chance > BEYOND * (n - chance)) & (common >= FEWEST)
    _, group = connected_components(csr_matrix(copies), directed=False)
    return pd.Series(group, table.models.index, name="near_copies")


def representatives(table: OutcomeMatrix) -> np.ndarray:
    """One model of each group of near-copies: that with most answers, of equals the first by name.

    Returns
    -------
    ndarray of bool, shape (n_models,)
    """
    by = pd.DataFrame({"group": near_copies(table), "answers": -table.observed.sum(axis=1), "name": table.models.index})
    first = by.sort_values(["answers", "name"]).drop_duplicates("group").index
    return table.models.index.isin(first)


def disagreements(table: OutcomeMatrix) -> np.ndarray:
    """Share of common questions that one of two models answers rightly and the other does not.

    A graded score is right from 0.5 on.

    Returns
    -------
    ndarray, shape (n_models, n_models), float64
        0 where two models share no question.
    """
    asked = table.observed.astype(np.float64)
    right = np.where(table.observed, table.scores >= 0.5, 0).astype(np.float64)
    wrong = asked - right
    return (right @ wrong.T + wrong @ right.T) / np.maximum(asked @ asked.T, 1)


def likeness(table: OutcomeMatrix) -> np.ndarray:
    """How much more models answer alike than their abilities and the difficulty of the questions imply.

    Yen's Q3 (1984, Applied Psychological Measurement 8) of models in place of items: the correlation of residuals from
    the Rasch model, standardized, over the questions that both answered.

    Returns
    -------
    ndarray, shape (n_models, n_models), float64
        1 on the diagonal; 0 where two models share fewer than `FEWEST` questions.
    """
    from scipy.special import expit

    observed = table.observed
    scores = np.where(observed, table.scores, 0)
    ability, difficulty = np.zeros((table.shape[0], 1), np.float32), np.zeros((1, table.shape[1]), np.float32)
    for _ in range(STEPS):  # penalized likelihood, models and questions in turn
        for axis, ridge in ((1, RIDGE_MODEL), (0, RIDGE_QUESTION)):
            p = expit(ability - difficulty)
            slope = np.where(observed, scores - p, 0).sum(axis=axis, keepdims=True)
            curve = np.where(observed, p * (1 - p), 0).sum(axis=axis, keepdims=True) + ridge
            if axis:
                ability = ability + (slope - ridge * ability) / curve
            else:
                difficulty = difficulty - (slope + ridge * difficulty) / curve
    p = expit(ability - difficulty)
    residual = np.where(observed, (scores - p) / np.sqrt(p * (1 - p)), 0).astype(np.float64)
    asked = observed.astype(np.float64)
    square = residual**2 @ asked.T
    enough = asked @ asked.T >= FEWEST
    found = np.divide(residual @ residual.T, np.sqrt(square * square.T), out=np.zeros_like(square), where=enough)
    np.fill_diagonal(found, 1)
    return found


def lineages(table: OutcomeMatrix) -> pd.Series:
    """The pretrained checkpoint that each model derives from, or what stands for it.

    The facts' ``base_model`` where they name one. The others are grouped by `likeness` (average linkage, cut at
    `RELATED`); a group takes the name of the known lineage that it is most like, if by as much on average, else "like"
    and its first model.

    Returns
    -------
    Series of str, indexed like ``table.models``
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    base = table.models["base_model"] if "base_model" in table.models else pd.Series("", table.models.index)
    base = base.astype(object).where(base.notna() & (base != ""), "").astype(str)
    unknown = np.flatnonzero(base == "")
    if not len(unknown):
        return base.rename("lineage")
    alike = likeness(table)
    group = np.ones(1, int)
    if len(unknown) > 1:
        apart = np.maximum(1 - alike[np.ix_(unknown, unknown)], 0)  # rounding: a copy may be more than alike
        group = fcluster(linkage(squareform(apart, checks=False), "average"), 1 - RELATED, "distance")
    known = base[base != ""].unique()
    member = np.stack([base == name for name in known]).astype(float) if len(known) else np.zeros((0, len(base)))
    for number in np.unique(group):
        own = unknown[group == number]
        near = alike[own].mean(axis=0) @ member.T / np.maximum(member.sum(axis=1), 1)
        named = len(near) and near.max() >= RELATED
        base.iloc[own] = known[near.argmax()] if named else f"like {base.index[own].min()}"
    return base.rename("lineage")
