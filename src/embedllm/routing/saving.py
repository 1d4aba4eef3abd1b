"""A saving: how little a router may cost and still, with confidence, lose next to nothing against one model.

Guard and price make one path: rules "ask another model where its forecast, less a weighted price, leads by a
threshold", for many weights and thresholds. Which of them are worth trying, and in which order, validation says: those
that no other one beats in both score and price, the safest first (Pareto testing, Laufer-Goldshtein et al. 2023, ICLR).
They are tested in that order on the questions that calibrate the guard, up to the first that fails, and of the
certified ones the cheapest is chosen.

Certified is the loss alone. Prices, and what is saved, are means over the questions that certify.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm.routing import guard, price
from embedllm.routing.policies import gained

COLUMNS = ("weight", "threshold", "price", "saved", "gain", "p", "certified", "chosen")  # of a path


class Answered(NamedTuple):
    """Questions of one part: forecasts and scores, (n_models, n_questions), scores in [0, 1] or NaN."""

    forecasts: np.ndarray
    scores: np.ndarray


def best_priced(means: np.ndarray, prices: np.ndarray) -> int | None:
    """Position of the model of highest mean among those that have a price (not NaN), None where none has."""
    priced = ~np.isnan(prices)
    return int(np.where(priced, means, -np.inf).argmax()) if priced.any() else None


def nothing_tried() -> pd.DataFrame:
    """The path of a pool without two prices."""
    return pd.DataFrame({name: np.zeros(0, bool if name in ("certified", "chosen") else float) for name in COLUMNS})


def certified_savings(
    default: int | None, prices: np.ndarray, validation: Answered, calibration: Answered, groups: np.ndarray,
    epsilon: float = guard.EPSILON, seed: int = 0,
) -> pd.DataFrame:
    """The path of rules, and which of them are certified to lose at most epsilon against a model.

    Parameters
    ----------
    default : int or None
        Position of the model to compare with, the best priced one on other questions than those of `calibration`. It
        has a price; None where no model has.
    prices : ndarray, shape (n_models,)
        NaN where unknown: such a model is not asked.
    validation : Answered
        Makes the path: its thresholds, what is tried, and the order.
    calibration : Answered
        Certifies. A question without an answer of the default model counts in neither.
    groups : ndarray, shape (n_questions,)
        Of `calibration`; questions with one label count as one draw, by their mean.
    epsilon : float
        With 95 % confidence no certified rule loses more in expected score.
    seed : int
        Of the order in which questions are taken.

    Returns
    -------
    DataFrame
        A row for each rule that is tried, in order: ``weight``, ``threshold``, ``price`` (mean over the calibration
        questions), ``saved`` (share of the default model's price), ``gain`` over that model, ``p``, ``certified``,
        ``chosen``. Empty where fewer than two models have a price or nothing costs less than the default model.
    """
    if default is None or (~np.isnan(prices)).sum() < 2:
        return nothing_tried()
    known = [~np.isnan(part.scores[default]) for part in (validation, calibration)]
    if not all(one.any() for one in known):
        return nothing_tried()
    own, other = (Answered(*(values[:, at].astype(np.float64) for values in part))
                  for part, at in zip((validation, calibration), known, strict=True))
    rules = _rules(default, prices, own)
    gain, cost = _reached(rules, default, prices, own)
    order, mean = np.argsort(guard.betting_p(gain, epsilon), kind="stable"), gain.mean(axis=0)  # the safest first
    first = np.unique(np.column_stack([mean, cost]), axis=0, return_index=True)[1]  # of rules that choose alike
    order = [at for at in order if at in first and cost[at] < prices[default]
             and not ((mean > mean[at]) & (cost <= cost[at])).any()]
    if not order:
        return nothing_tried()
    gain, cost = _reached(rules[order], default, prices, other)
    found = guard.in_sequence(gain, groups[known[1]], epsilon, seed=seed)
    weight, threshold = rules[order].T
    found = found.assign(weight=weight, threshold=threshold, price=cost, saved=1 - cost / prices[default])
    cheapest = found["price"].where(found["certified"]).idxmin() if found["certified"].any() else -1
    return found.assign(chosen=found.index == cheapest)[list(COLUMNS)]


def _rules(default: int, prices: np.ndarray, part: Answered) -> np.ndarray:
    """Weights and thresholds to try, (n_rules, 2); threshold 0, which is none, first."""
    rules = []
    for weight in price.WEIGHTS:
        lead = guard.leader(_weighed(part, prices, weight), default)[1]
        rules += [(weight, threshold) for threshold in (0.0, *guard.thresholds(lead, guard.SHARES[:-1]))]
    return np.array(rules)


def _reached(rules: np.ndarray, default: int, prices: np.ndarray, part: Answered) -> tuple[np.ndarray, np.ndarray]:
    """What each rule gains over the default model, (n_questions, n_rules), and its mean price."""
    gain, cost = np.empty((part.scores.shape[1], len(rules))), np.empty(len(rules))
    for weight in np.unique(rules[:, 0]):
        utilities = _weighed(part, prices, weight)
        for at in np.flatnonzero(rules[:, 0] == weight):
            choice = guard.Guard(default, rules[at, 1]).choose(utilities)
            gain[:, at] = gained(choice, part.scores) - part.scores[default]
            cost[at] = prices[choice].mean()
    return gain, cost


def _weighed(part: Answered, prices: np.ndarray, weight: float) -> np.ndarray:
    """Utilities of the models that have a price and an answer, minus infinity elsewhere."""
    return price.weigh(np.where(np.isnan(part.scores), -np.inf, part.forecasts), prices, weight)
