"""Small planted pools on which the study's own steps are tried: what it sees, and what is true (see `end_to_end`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.encoders import fitted
from embedllm.encoders.cache import encode
from embedllm.forecasters.registry import Round, cross_fit, fitted_forecasts
from embedllm.outcomes import OutcomeMatrix, replace_unchecked
from embedllm.routing.policies import best_single, choose
from embedllm.sources.simulated import simulate
from embedllm.splits import Parts, cut, folds

N_QUESTIONS, N_FRESH = 800, 6400  # fresh questions tell what a fit truly reaches
WIDTH = 32  # principal components of the hashed words
N_FOLDS = 4


class Pool(NamedTuple):
    """A planted pool: what the study sees of it, and questions on which it is judged by true probabilities."""

    table: OutcomeMatrix
    vectors: np.ndarray  # (n_questions, d_prompt)
    truth: np.ndarray  # (n_models, n_fresh), float64
    fresh: np.ndarray  # vectors of the fresh questions, (n_fresh, d_prompt)
    benchmarks: np.ndarray  # of the fresh questions
    weights: np.ndarray  # of the fresh questions: benchmarks count as they do in the table

    def true_mean(self, values: np.ndarray) -> float:
        """Of values of the fresh questions."""
        return float(values @ self.weights)

    def reached(self, forecast: np.ndarray) -> np.ndarray:
        """Chance of the model with the highest forecast on each fresh question, (n_fresh,)."""
        return self.truth[choose(forecast, np.isfinite(forecast)), np.arange(len(self.fresh))]


def pool(seed: int, n_models: int, settings: dict) -> Pool:
    """Draw a pool with these settings of `sources.simulated.simulate`; a lineage is a base model."""
    whole = simulate(n_models=n_models, n_questions=N_QUESTIONS + N_FRESH, data_seed=seed, **settings)
    seen = np.arange(whole.shape[1]) < N_QUESTIONS
    vectors = fitted.reduced(encode("hashing", whole.questions["prompt"], None), ~seen, WIDTH)
    benchmarks = whole.questions["benchmark"]
    shares = benchmarks[seen].value_counts() / benchmarks[~seen].value_counts()
    weights = benchmarks[~seen].map(shares).fillna(0).to_numpy(float)
    models = whole.models.assign(lineage=whole.models["base_model"])
    return Pool(replace(whole.at(seen), references={}, models=models), vectors[seen],
                whole.references[catalog.TRUTH][:, ~seen].astype(np.float64), vectors[~seen],
                benchmarks[~seen].to_numpy(), weights / weights.sum())


def cross_fit_with_fresh(
    one: Pool, entries: Sequence[catalog.Forecaster], plan: Sequence[Round]
) -> tuple[list[dict], list[list[dict[str, np.ndarray]]]]:
    """`registry.cross_fit`, and what each of its fits forecasts of the fresh questions.

    Returns
    -------
    list of dict, list of lists of dict
        As from `cross_fit`; round by round and fold by fold, name to forecasts (n_models, n_fresh).
    """
    fresh = pd.DataFrame({"prompt": "", "benchmark": one.benchmarks}).rename(index=str)
    blank, told = np.full((len(one.truth), len(fresh)), np.nan, np.float32), []

    def compute(calls: Iterable[partial]) -> list[dict]:
        found = []
        for call in calls:
            parts, forecaster = call.args
            test, vectors = parts["test"]
            more = replace_unchecked(test, scores=np.hstack([test.scores, blank]),
                                     questions=pd.concat([test.questions, fresh]))
            judged = fitted_forecasts(parts | {"test": (more, np.concatenate([vectors, one.fresh]))}, forecaster)
            told.append(judged["test"][:, len(vectors):])
            found.append(judged | {"test": judged["test"][:, : len(vectors)]})
        return found

    rounds_of = cross_fit(one.table, one.vectors, entries, N_FOLDS, plan, compute)
    forecasts = iter(told)
    return rounds_of, [[{entry.name: next(forecasts) for entry in entries} for _ in range(N_FOLDS)] for _ in plan]


def eighths(one: Pool, seed: int, train: int) -> Parts:
    """So many eighths of the questions train, one validates, the others test."""
    return cut(one.table, one.vectors, names_of(one.table, seed, train))


def names_of(table: OutcomeMatrix, seed: int, train: int) -> np.ndarray:
    """The part of each question in that cut."""
    eighth = folds(table, 8, seed).to_numpy()
    return np.select([eighth < train, eighth == train], ["train", "val"], "test")


def best_of(train: OutcomeMatrix) -> int:
    """Position of the model that did best in training."""
    return int(best_single(train, train.questions).argmax())
