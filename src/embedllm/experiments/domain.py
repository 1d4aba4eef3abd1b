"""Domain or difficulty (Q8): which part of what tells models apart goes with which of the two."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import logit

from embedllm.forecasters.contract import Forecaster
from embedllm.outcomes import OutcomeMatrix, by_suite

N_RESAMPLES = 500


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
        ``part``, ``share`` of the variance with ``low`` and ``high``: 95 %, bootstrap of questions within benchmarks.
    """
    logits = logit(np.clip(embedding.predict_proba(vectors).astype(np.float64), 1e-6, 1 - 1e-6))
    benchmarks = table.questions["benchmark"].astype(str).to_numpy()
    suites = by_suite(table.questions)["benchmark"].astype(str).to_numpy()
    rng = np.random.default_rng(0)
    rows_of = [np.flatnonzero(benchmarks == name) for name in np.unique(benchmarks)]
    draws = [np.arange(len(benchmarks))]
    draws += [np.concatenate([rng.choice(rows, len(rows)) for rows in rows_of]) for _ in range(N_RESAMPLES)]
    found = pd.DataFrame([_parts(logits[:, rows], benchmarks[rows], suites[rows]) for rows in draws])
    if (suites == benchmarks).all():
        found = found.drop(columns="between suites")
    low, high = np.quantile(found.iloc[1:], (0.025, 0.975), axis=0)
    return pd.DataFrame({"part": found.columns, "share": found.iloc[0].to_numpy(), "low": low, "high": high})


def _parts(logits: np.ndarray, benchmarks: np.ndarray, suites: np.ndarray) -> dict[str, float]:
    ease = logits.mean(axis=0)
    apart = logits - logits.mean(axis=1, keepdims=True) - ease + logits.mean()
    total = (apart**2).sum() or 1.0
    of_suite, of_benchmark = _means(apart, suites), _means(apart, benchmarks)
    inside, level = apart - of_benchmark, ease - _means(ease[None], benchmarks)[0]
    return {"between suites": (of_suite**2).sum() / total,
            "between benchmarks": ((of_benchmark - of_suite) ** 2).sum() / total if (suites != benchmarks).any() else (
                of_benchmark**2).sum() / total,
            "within benchmarks": (inside**2).sum() / total,
            "along difficulty": _along(apart, ease - ease.mean()) / total,
            "along difficulty, within benchmarks": _along(inside, level) / total}


def _means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each column replaced by the mean over its group."""
    code = np.unique(groups, return_inverse=True)[1]
    onehot = np.eye(code.max() + 1, dtype=np.float64)[code]
    return (values @ onehot / onehot.sum(axis=0))[:, code]


def _along(values: np.ndarray, direction: np.ndarray) -> float:
    """Sum of squares that a slope for each row on this direction explains."""
    return float(((values @ direction) ** 2).sum() / max((direction**2).sum(), 1e-300))
