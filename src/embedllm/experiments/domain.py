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
BETWEEN_SUITES = "between suites"


def shares(embedding: Forecaster, table: OutcomeMatrix, vectors: np.ndarray) -> pd.DataFrame:
    """The variance of the learned logits, means of models and of questions removed, and what it goes with.

    Two ways to take it apart. *By domain*: between suites (where there are several), between benchmarks within them,
    within benchmarks. *By difficulty*: what a slope for each model on the mean logit of the question explains; and the
    same within benchmarks, where domain explains nothing.

    Parameters
    ----------
    table : OutcomeMatrix
        Questions that the forecaster was not trained on.
    vectors : ndarray, shape (n_questions, d_prompt)

    Returns
    -------
    DataFrame
        ``part``, ``share`` of the variance with ``low`` and ``high``: 95 %, `jackknife` of a hundred groups of
        questions, each with its part of every benchmark, on the logit scale.
    """
    logits = logits_of(embedding, vectors)
    benchmarks = table.questions["benchmark"].astype(str).to_numpy()
    suites = by_suite(table.questions)["benchmark"].astype(str).to_numpy()
    nested = (suites != benchmarks).any()
    if not nested:
        suites = np.full_like(benchmarks, "")
    found, group = pd.Series(taken_apart(logits, benchmarks, suites)), _groups(benchmarks)
    left_out = pd.DataFrame([taken_apart(logits[:, group != one], benchmarks[group != one], suites[group != one])
                             for one in np.unique(group)])
    center, left_out = (logit(np.clip(values, LEAST, 1 - LEAST)) for values in (found, left_out))
    _, reach = jackknife(left_out.to_numpy())
    low, high = np.minimum(expit(center - reach), found), np.maximum(expit(center + reach), found)
    table = pd.DataFrame({"share": found, "low": low, "high": high}).rename_axis("part").reset_index()
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


def taken_apart(logits: np.ndarray, benchmarks: np.ndarray, suites: np.ndarray) -> dict[str, float]:
    """Shares of the variance of logits (n_models, n_questions), by the names that `shares` gives them.

    Means over few questions differ by chance, which is taken off the parts between and given back to that within
    (method of moments; Searle, Casella and McCulloch 1992, Variance Components, chapter 2).
    """
    ease = logits.mean(axis=0)
    apart = logits - logits.mean(axis=1, keepdims=True) - ease + logits.mean()
    total = (apart**2).sum() or 1.0
    of_suite, of_benchmark = _means(apart, suites), _means(apart, benchmarks)
    inside, level = apart - of_benchmark, ease - _means(ease[None], benchmarks)[0]
    parts = np.array([(of_suite**2).sum(), ((of_benchmark - of_suite) ** 2).sum(), (inside**2).sum()])
    parts = np.maximum(parts + _chance(inside, benchmarks, suites), 0)
    return dict(zip((BETWEEN_SUITES, "between benchmarks", "within benchmarks"), parts / (parts.sum() or 1.0),
                    strict=True)) | {
        "along difficulty": _along(apart, ease - ease.mean()) / total,
        "along difficulty, within benchmarks": _along(inside, level) / total}


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
