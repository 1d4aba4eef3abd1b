"""Send each question to one model: policies, what they gain, how fast they decide.

A policy is a table of utilities; the router takes the best observed one. A cell that was never observed
can neither be chosen nor counted as wrong.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation.metrics import targets
from embedllm.levels import additive_means, adjusted_means
from embedllm.outcomes import OutcomeMatrix, by_suite, replace_unchecked, suites

LACKING = 0.01  # share of the questions from which a model is no candidate


def candidates(table: OutcomeMatrix) -> tuple[np.ndarray, np.ndarray]:
    """Models to choose among, and the questions on which a choice can be judged.

    A model that lacks more than one in a hundred answers is no candidate, and a question that a candidate was not asked
    is not judged: "always ask this model" would else be a policy that falls back on others. Where less than half of
    the models would be left all of them stay, with all questions.

    Returns
    -------
    models : ndarray of bool, shape (n_models,)
    questions : ndarray of bool, shape (n_questions,)
    """
    kept = table.observed.mean(axis=1) >= 1 - LACKING
    if kept.mean() < 0.5:
        return np.full(len(kept), True), table.observed.any(axis=0)
    return kept, table.observed[kept].all(axis=0)


def choose(utilities: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """The observed model of highest utility for each question; of equals the first.

    Parameters
    ----------
    utilities : ndarray, shape (n_models, n_questions) or (n_models,)
        Any finite unit (probability, probability minus price, ...). One-dimensional: the same order of
        preference everywhere, falling back to the next best where the best was not observed.
    observed : ndarray of bool, shape (n_models, n_questions)
        Which models can be chosen; cells outside may hold anything in ``utilities``.

    Returns
    -------
    ndarray, shape (n_questions,), int64
        Position of the chosen model.

    Raises
    ------
    ValueError
        If a question has no observed model, shapes disagree, or an observed utility is not finite.
    """
    _need_observed(observed)
    if utilities.shape not in (observed.shape, observed.shape[:1]):
        raise ValueError(
            f"utilities must have shape {observed.shape} or {observed.shape[:1]}, found {utilities.shape}"
        )
    utilities = np.broadcast_to(utilities if utilities.ndim == 2 else utilities[:, None], observed.shape)
    unusable = observed & ~np.isfinite(utilities)
    if unusable.any():
        m, q = np.argwhere(unusable)[0]
        raise ValueError(
            f"{unusable.sum()} observed cell(s) without a finite utility; "
            f"the first is at (model {m}, question {q})"
        )
    return np.where(observed, utilities, -np.inf).argmax(axis=0)


def route(
    train: OutcomeMatrix, test: OutcomeMatrix, forecasts: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What every policy of the catalog chooses and reaches, the oracle aside; by suite where there are suites.

    Parameters
    ----------
    train : OutcomeMatrix
        What policies learn from.
    test : OutcomeMatrix
        The questions to route. Whoever knows their probabilities or the best that the text tells, on simulated
        data, routes as well.
    forecasts : mapping of forecaster name to ndarray, shape (n_models, n_test), in [0, 1]
        Policies that follow another forecaster are left out.

    Returns
    -------
    choices : dict
        Policy to chosen model, as from `choose`; without the random one, which is an expectation.
    reached : dict
        Policy to the score reached on each question, as from `gained`, against `metrics.targets`.
    """
    values, utilities, reached = targets(test, "score"), {}, {}
    for name, policy in catalog.POLICIES.items():
        if policy.told == "suite" and suites(test).equals(test.questions["benchmark"]):
            continue
        if policy.forecaster in forecasts:
            utilities[name] = forecasts[policy.forecaster]
        elif policy.path and policy.chooses:
            utilities[name] = policy.code()(train, test.questions)
        elif policy.path and name != catalog.ORACLE:
            reached[name] = policy.code()(values)
    utilities |= {name: known for name, known in test.references.items() if name != catalog.ADDITIVE}
    choices = {name: choose(utility, test.observed) for name, utility in utilities.items()}
    return choices, reached | {name: gained(choice, values) for name, choice in choices.items()}


def best_single(train: OutcomeMatrix, questions: pd.DataFrame) -> np.ndarray:
    """Utilities of the policy that always asks the model that did best in training, whatever the questions.

    Returns
    -------
    ndarray, shape (n_models,), float64
        Mean training score, from `levels.adjusted_means`; for a model without a training answer that of the weakest
        less 1, so that it comes last.
    """
    means = adjusted_means(train)
    return np.nan_to_num(means, nan=np.nanmin(means) - 1)


def best_per_benchmark(train: OutcomeMatrix, questions: pd.DataFrame) -> np.ndarray:
    """Utilities of the policy that asks the model that did best in training on the question's benchmark.

    A model's mean on a benchmark counts one pseudo-answer at what `levels.additive_means` says of it there, so few
    answers say little; on a benchmark that training did not hold only `best_single` is left.

    Parameters
    ----------
    questions : DataFrame
        Those to route, with their ``benchmark``.

    Returns
    -------
    ndarray, shape (n_models, n_questions), float64
    """
    overall, prior = best_single(train, questions)[:, None], additive_means(train)
    names = prior.columns
    member = np.eye(len(names))[names.get_indexer(train.questions["benchmark"])]  # (n_train, n_benchmarks)
    prior = np.where(prior.isna(), overall, prior)
    means = (np.nan_to_num(train.scores) @ member + prior) / (train.observed @ member + 1)
    # An unknown benchmark has position -1, which is the column of overall means.
    return np.hstack([means, overall])[:, names.get_indexer(questions["benchmark"])]


def best_per_suite(train: OutcomeMatrix, questions: pd.DataFrame) -> np.ndarray:
    """`best_per_benchmark` for suites of benchmarks."""
    return best_per_benchmark(replace_unchecked(train, questions=by_suite(train.questions)), by_suite(questions))


def gained(choices: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The score reached on each question by the chosen model.

    Parameters
    ----------
    choices : ndarray of int, shape (n_questions,)
    values : ndarray, shape (n_models, n_questions)
        Scores, or known probabilities of a simulation (the same expectation with less noise).

    Returns
    -------
    ndarray, shape (n_questions,), float64

    Raises
    ------
    ValueError
        If a chosen cell was not observed.
    """
    reached = values[choices, np.arange(values.shape[1])].astype(np.float64)
    lost = np.flatnonzero(np.isnan(reached))
    if len(lost):
        raise ValueError(
            f"{len(lost)} question(s) were routed to a model that was not observed there, the first at "
            f"position {lost[0]} (model {choices[lost[0]]}); use choose(..., observed)"
        )
    return reached


def random_routing(values: np.ndarray) -> np.ndarray:
    """Expected score of a uniformly random observed model: (n_questions,), float64."""
    _need_observed(~np.isnan(values))
    return np.nanmean(values, axis=0, dtype=np.float64)


def oracle(values: np.ndarray) -> np.ndarray:
    """Score of the best observed model on each question: (n_questions,), float64.

    Mostly luck, so no ceiling to divide by: see `embedllm.evaluation.rasch`.
    """
    _need_observed(~np.isnan(values))
    return np.nanmax(values, axis=0).astype(np.float64)


def _need_observed(observed: np.ndarray) -> None:
    """Raise if some question has no observed model."""
    empty = np.flatnonzero(~observed.any(axis=0))
    if len(empty):
        raise ValueError(
            f"{len(empty)} question(s) that no model was asked, the first at position {empty[0]}; "
            "leave them out"
        )
