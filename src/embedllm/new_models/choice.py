"""Which questions to ask a new model next: the most telling of the accuracy that is wanted, and others at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit

from embedllm.new_models.onboarding import Posterior
from embedllm.outcomes import OutcomeMatrix
from embedllm.splits import folds

ONE_IN = 4  # questions is the most telling one: where all are, intervals may hold less often (notebook 09)


def mixed(
    posterior: Posterior, model: int, wanted: np.ndarray, open_: np.ndarray, number: int, order: np.ndarray
) -> np.ndarray:
    """Questions to ask next: one in `ONE_IN` wanted ones that are asked by what it tells, the others in a random order.

    Parameters
    ----------
    posterior, model, wanted, open_, number
        As `most_telling` takes them.
    order : ndarray of int, shape (n_random,)
        The wanted ones in a random order, as from `stratified`.

    Returns
    -------
    ndarray of int, shape (at most number,)
    """
    asked = int((wanted & ~open_).sum())
    due = (asked + number) // ONE_IN - asked // ONE_IN
    telling = most_telling(posterior, model, wanted, open_ & wanted, due)
    rest = order[open_[order] & ~np.isin(order, telling)]
    return np.concatenate([telling, rest[: number - len(telling)]])


def most_telling(
    posterior: Posterior, model: int, wanted: np.ndarray, open_: np.ndarray, number: int,
    labels: np.ndarray | None = None,
) -> np.ndarray:
    """Questions to ask next, one after the other, before any of them is answered.

    Greedy: each lowers the expected variance of the mean score over the wanted questions the most, through what it
    tells of the model and by not being left to chance (a linear approximation around the most likely numbers; Bayesian
    optimal design, Chaloner and Verdinelli 1995, Statistical Science 10).

    Parameters
    ----------
    posterior : Posterior
    model : int
        Its position there.
    wanted : ndarray of bool, shape (n_questions,)
        Whose mean score is to be known.
    open_ : ndarray of bool, shape (n_questions,)
        Which can still be asked; those of `wanted` that are not are taken as answered.
    number : int
    labels : ndarray, shape (n_questions,), optional
        Each question is of the label that is farthest behind its share of the wanted ones.

    Returns
    -------
    ndarray of int, shape (at most number,)
    """
    at, left, covariance = posterior.shared, open_.copy(), posterior.covariance[model].copy()
    p = expit((at.offset + at.design @ posterior.z[model]) * at.width)
    design, chance = at.design * at.width[:, None], p * (1 - p)
    slope = (chance * (wanted & open_)) @ design
    spread, along = ((design @ covariance) * design).sum(axis=1), design @ (covariance @ slope)
    due, chosen = None if labels is None else _balanced(labels, wanted), []
    for _ in range(min(number, int(left.sum()))):
        gone = np.where(wanted, 2 * chance * along - chance**2 * spread, 0)  # what is answered leaves the slope
        told = (along**2 * chance + gone) / (1 + chance * spread) + np.where(wanted, chance, 0)
        may = left if due is None else due(left)
        best = int(np.where(may, told, -np.inf).argmax())
        chosen.append(best)
        left[best] = False
        reached = covariance @ design[best]
        beside = design @ reached  # covariance of each logit with this one
        if wanted[best]:
            slope = slope - chance[best] * design[best]
            along -= chance[best] * beside
        factor = chance[best] / (1 + chance[best] * spread[best])
        along -= factor * (reached @ slope) * beside
        spread -= factor * beside**2
        covariance -= factor * np.outer(reached, reached)
    return np.array(chosen, dtype=int)


def _balanced(labels: np.ndarray, wanted: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Says which of the questions that are left have the label that is farthest behind its share of the wanted ones."""
    names, of = np.unique(labels, return_inverse=True)
    whole = np.bincount(of[wanted], minlength=len(names))

    def due(left: np.ndarray) -> np.ndarray:
        asked, open_ = (np.bincount(of[some], minlength=len(names)) for some in (wanted & ~left, left))
        behind = (asked.sum() + 1) * whole / whole.sum() - asked
        return left & (of == np.where(open_ > 0, behind, -np.inf).argmax())

    return due


def stratified(labels: np.ndarray, askable: np.ndarray, seed: int | Sequence[int]) -> np.ndarray:
    """Askable questions in a random order of which every beginning is spread evenly over the benchmarks.

    Parameters
    ----------
    labels : ndarray of str, shape (n_questions,)
        The benchmark of each.
    askable : ndarray of bool, shape (n_questions,)

    Returns
    -------
    ndarray of int, shape (n_askable,)
    """
    rng, rows = np.random.default_rng(seed), np.flatnonzero(askable)
    order = rng.permutation(rows)
    names, of, many = np.unique(labels[order], return_inverse=True, return_counts=True)
    rank = np.empty(len(order), int)  # among those of its benchmark
    rank[np.argsort(of, kind="stable")] = np.arange(len(order)) - np.repeat(np.cumsum(many) - many, many)
    return order[np.argsort((rank + rng.random(len(names))[of]) / many[of], kind="stable")]


def halves(table: OutcomeMatrix, seed: int) -> np.ndarray:
    """Which half of the questions may be asked; the others judge. Bool, (n_questions,)."""
    return folds(table, 2, seed).to_numpy() == 0
