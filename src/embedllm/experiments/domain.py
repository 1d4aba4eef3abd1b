"""Domain or difficulty (Q8): which part of what tells models apart goes with which of the two."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from embedllm.evaluation.intervals import jackknife
from embedllm.forecasters.contract import Forecaster
from embedllm.outcomes import OutcomeMatrix, by_suite

N_GROUPS = 100  # of questions
LEAST = 1e-4  # share that is told apart from none
BENCHMARKS, ALONG = "between benchmarks", "within benchmarks, along learned ease"
DIFFICULTY, DIFFERENCE = "between classes of difficulty", "benchmarks and suites minus difficulty"


def shares(embedding: Forecaster, table: OutcomeMatrix, vectors: np.ndarray) -> pd.DataFrame:
    """The variance of the learned logits, means of models and of questions removed, and what it goes with.

    Taken apart by domain: between suites (where there are several), between benchmarks within them, and within
    benchmarks, there along the ease of a question as it is learned, with a slope for each model, and the rest. Beside
    it by difficulty: between classes of questions of like mean score, of equal size, as many as there are benchmarks.

    Parameters
    ----------
    table : OutcomeMatrix
        Questions that the forecaster was not trained on.
    vectors : ndarray, shape (n_questions, d_prompt)

    Returns
    -------
    DataFrame
        ``part``, ``share`` of the variance with ``low`` and ``high``: 95 %, `jackknife` of a hundred groups of
        questions, each with its part of every benchmark, on the logit scale. The last row is a difference of two
        shares, its interval on the plain scale.
    """
    logits, difficulty = logits_of(embedding, vectors), np.nanmean(table.scores, axis=0, dtype=np.float64)
    benchmarks = table.questions["benchmark"].astype(str).to_numpy()
    suites = by_suite(table.questions)["benchmark"].astype(str).to_numpy()
    nested = (suites != benchmarks).any()
    if not nested:
        suites = np.full_like(benchmarks, "")

    def told(rows: np.ndarray) -> dict[str, float]:
        return taken_apart(logits[:, rows], benchmarks[rows], suites[rows], difficulty[rows])

    group = _groups(benchmarks)
    found, left_out = pd.Series(told(group >= 0)), pd.DataFrame([told(group != one) for one in np.unique(group)])
    gap = found.index == DIFFERENCE
    center, scaled = (np.where(gap, values, logit(np.clip(values, LEAST, 1 - LEAST))) for values in (found, left_out))
    _, reach = jackknife(scaled)
    low, high = (np.where(gap, end, expit(end)) for end in (center - reach, center + reach))
    table = pd.DataFrame({"share": found, "low": np.minimum(low, found), "high": np.maximum(high, found)})
    table = table.rename_axis("part").reset_index()
    return table if nested else table.iloc[1:].reset_index(drop=True)


def _groups(benchmarks: np.ndarray) -> np.ndarray:
    """A group for each question: benchmark by benchmark, dealt out in random order."""
    order = np.random.default_rng(0).permutation(len(benchmarks))
    order = order[np.argsort(benchmarks[order], kind="stable")]
    group = np.empty(len(order), int)
    group[order] = np.arange(len(order)) % N_GROUPS
    return group


def logits_of(embedding: Forecaster, vectors: np.ndarray) -> np.ndarray:
    """Of the forecasts: float64, (n_models, n_questions)."""
    return logit(np.clip(embedding.predict_proba(vectors).astype(np.float64), 1e-6, 1 - 1e-6))


def taken_apart(
    logits: np.ndarray, benchmarks: np.ndarray, suites: np.ndarray, difficulty: np.ndarray
) -> dict[str, float]:
    """Shares of the variance of logits (n_models, n_questions), by the names that `shares` gives them.

    Means over few questions differ by chance, which is taken off the parts between and given back to that within
    (method of moments; Searle, Casella and McCulloch 1992, Variance Components, chapter 2).
    """
    ease = logits.mean(axis=0)
    apart = logits - logits.mean(axis=1, keepdims=True) - ease + logits.mean()
    of_suites, of_benchmarks, within = _parts(apart, benchmarks, suites)
    inside, level = apart - _means(apart, benchmarks), ease - _means(ease[None], benchmarks)[0]
    along = within * _along(inside, level) / max((inside**2).sum(), 1e-300)
    order = np.argsort(difficulty + 1e-9 * np.random.default_rng(0).random(len(difficulty)))  # ties fall at random
    classes = np.empty(len(order), int)
    classes[order] = np.arange(len(order)) * len(np.unique(benchmarks)) // len(order)
    by_difficulty = _parts(apart, classes, np.zeros(len(classes)))[1]
    return {"between suites": of_suites, BENCHMARKS: of_benchmarks, ALONG: along, "within benchmarks, the rest":
            within - along, DIFFICULTY: by_difficulty, DIFFERENCE: of_suites + of_benchmarks - by_difficulty}


def _parts(apart: np.ndarray, benchmarks: np.ndarray, suites: np.ndarray) -> np.ndarray:
    """Shares of the sum of squares between suites, between benchmarks in them and within, chance taken off."""
    of_suite, of_benchmark = _means(apart, suites), _means(apart, benchmarks)
    inside = apart - of_benchmark
    parts = np.array([(of_suite**2).sum(), ((of_benchmark - of_suite) ** 2).sum(), (inside**2).sum()])
    parts = np.maximum(parts + _chance(inside, benchmarks, suites), 0)
    return parts / (parts.sum() or 1.0)


def _chance(inside: np.ndarray, benchmarks: np.ndarray, suites: np.ndarray) -> np.ndarray:
    """What sampled questions are expected to add to sums of squares between suites, between benchmarks and within."""
    of, n = np.unique(benchmarks, return_inverse=True, return_counts=True)[1:]
    squares = np.bincount(of, weights=(inside**2).sum(axis=0))
    mean = squares / np.maximum(n - 1, 1) / n  # variance of a benchmark's mean
    suite = np.unique(suites[np.unique(of, return_index=True)[1]], return_inverse=True)[1]
    many = np.bincount(suite, weights=n)
    of_suite = np.bincount(suite, weights=n**2 * mean) / many**2  # of a suite's mean
    of_all = (many**2 * of_suite).sum() / n.sum() ** 2
    between, low = (many * of_suite).sum(), (n * mean).sum()
    return np.array([n.sum() * of_all - between, between - low, low])


def _means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each column replaced by the mean over its group."""
    code = np.unique(groups, return_inverse=True)[1]
    onehot = np.eye(code.max() + 1, dtype=np.float64)[code]
    return (values @ onehot / onehot.sum(axis=0))[:, code]


def _along(values: np.ndarray, direction: np.ndarray) -> float:
    """Sum of squares that a slope for each row on this direction explains."""
    return float(((values @ direction) ** 2).sum() / max((direction**2).sum(), 1e-300))
