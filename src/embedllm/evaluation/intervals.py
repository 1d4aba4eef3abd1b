"""How sure a value is: the bootstrap over questions, in which benchmarks are strata; of few units the jackknife."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import kurtosis
from scipy.stats import t as student

from embedllm.evaluation.metrics import auc, per_question, targets
from embedllm.outcomes import OutcomeMatrix
from embedllm.splits import Design

ALPHA = 0.05
N_RESAMPLES = 1000


def bootstrap_weights(design: Design, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each question occurs in each bootstrap resample.

    Within each stratum as many groups are drawn, with replacement, as it holds. A group is drawn as one, in
    the stratum of its first question. Strata of a single group are drawn together as one stratum, since a
    single group alone would show no variation.

    Parameters
    ----------
    design : Design
    n_resamples : int
    rng : Generator

    Returns
    -------
    ndarray, shape (n_resamples, n_questions), int32
    """
    unit, stratum = design.units()
    counts = np.empty((n_resamples, len(stratum)), dtype=np.int32)
    for label in np.unique(stratum):
        members = np.flatnonzero(stratum == label)
        share = np.full(len(members), 1 / len(members))
        counts[:, members] = rng.multinomial(len(members), share, size=n_resamples)
    return counts[:, unit]


def interval(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of per-question values.

    Parameters
    ----------
    values : ndarray, shape (n_questions,)
        NaN questions are left out of sums and counts.
    weights : ndarray, shape (n_resamples, n_questions)
        From `bootstrap_weights`.

    Returns
    -------
    low, high : float
        NaN if no question has a value.
    """
    known = ~np.isnan(values)[:, None]
    _, (low,), (high,) = ratios(np.nan_to_num(values)[:, None], known, weights)
    return float(low), float(high)


def ratios(
    numerators: np.ndarray, denominators: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratios of sums over questions with their 95 % percentile bootstrap intervals.

    Parameters
    ----------
    numerators, denominators : ndarray, shape (n_questions, k)
    weights : ndarray, shape (n_resamples, n_questions)
        From `bootstrap_weights`.

    Returns
    -------
    value, low, high : ndarray, shape (k,), float64
        NaN where the denominators sum to zero or less; resamples in which they do are left out.
    """
    weights = weights.astype(np.float64, copy=False)  # a product of floats is one call of BLAS, of integers a loop
    low, high = _percentiles(_ratio(weights @ numerators, weights @ denominators))
    return _ratio(numerators.sum(axis=0), denominators.sum(axis=0)), low, high


def jackknife(left_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far statistics of a few independent units may lie from what they estimate, by leaving out one at a time.

    Statistics that cannot be negative, as a variance or a ratio of errors, come as logarithms, and shares as logits:
    with some twenty units a bootstrap's percentiles hold the truth too rarely, and so does this on the plain scale
    (notebook 08; Efron and Stein 1981, Annals of Statistics 9, for the standard error). Where few units make most of
    it, the standard error itself is known badly, which the degrees of freedom take in (`satterthwaite`).

    Parameters
    ----------
    left_out : ndarray, shape (n_units, k)
        Each statistic without one unit, or without one group of units of about equal size; four units and more.

    Returns
    -------
    se, reach : ndarray, shape (k,), float64
        Standard error, and what an interval of 95 % reaches to either side (Student's t).
    """
    se = np.sqrt((len(left_out) - 1) * left_out.var(axis=0))
    return se, student.isf(ALPHA / 2, satterthwaite(left_out)) * se


def satterthwaite(values: np.ndarray) -> np.ndarray:
    """Degrees of freedom of the variance of values with their kurtosis, from 1 to n - 1: that of normal ones.

    After Satterthwaite (1946, Biometrics Bulletin 2); where few of them make most of the variance it is known badly.

    Parameters
    ----------
    values : ndarray, shape (n, ...)

    Returns
    -------
    ndarray, shape (...), float64
        n - 1 for fewer than four values, and for values that do not vary.
    """
    n = len(values)
    if n < 4:
        return np.full(values.shape[1:], n - 1.0)
    columns = values.reshape(n, -1)
    spread = columns.std(axis=0)
    varies = spread > 1e-9 * np.abs(columns).max(axis=0)
    scaled = np.where(varies, (columns - columns.mean(axis=0)) / np.where(varies, spread, 1), np.arange(n)[:, None])
    freedom = np.clip(2 * (n - 1) / np.maximum(kurtosis(scaled, bias=False) + 2, 1e-9), 1, n - 1)
    return freedom.reshape(values.shape[1:])


def ratio_of_means(numerators: np.ndarray, denominators: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratios of means over a few independent units, with intervals of 95 % by the `jackknife` of their logarithms.

    Parameters
    ----------
    numerators, denominators : ndarray, shape (n_units, k), > 0 on average

    Returns
    -------
    value, low, high : ndarray, shape (k,), float64
        NaN where a mean, also without one of the units, is not positive.
    """
    def logs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.log(np.divide(a, b, out=np.full(np.shape(a), np.nan), where=(a > 0) & (b > 0)))

    over, under = numerators.sum(axis=0), denominators.sum(axis=0)
    value, (_, reach) = logs(over, under), jackknife(logs(over - numerators, under - denominators))
    return np.exp(value), np.exp(value - reach), np.exp(value + reach)


def summarize(
    forecasts: Mapping[str, np.ndarray],
    table: OutcomeMatrix,
    metrics: Sequence[str],
    design: Design,
    n_resamples: int,
) -> pd.DataFrame:
    """Every metric of every forecaster with a 95 % interval over questions.

    Parameters
    ----------
    forecasts : mapping of forecaster name to ndarray, shape (n_models, n_questions), in [0, 1]
    table : OutcomeMatrix
        The questions that were forecast; `metrics.targets` says what each metric compares with.
    metrics : sequence of {"accuracy", "log_loss", "brier", "auc"}
    design : Design
    n_resamples : int
        All forecasters and metrics see the same resamples.

    Returns
    -------
    DataFrame
        Columns ``forecaster``, ``metric``, ``value``, ``low``, ``high``; metric by metric.
    """
    weights = bootstrap_weights(design, n_resamples, np.random.default_rng(0))
    rows = []
    for metric in metrics:
        for name, probabilities in forecasts.items():
            if metric == "auc":
                scores = targets(table, metric)
                value = auc(probabilities, scores)
                (low,), (high,) = _percentiles(auc(probabilities, scores, weights))
            else:
                values = per_question(table, probabilities, metric)
                value, (low, high) = np.nanmean(values), interval(values, weights)
            rows.append((name, metric, value, low, high))
    return pd.DataFrame(rows, columns=["forecaster", "metric", "value", "low", "high"])


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, NaN where the denominator is not positive."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def _percentiles(resampled: np.ndarray) -> np.ndarray:
    """The ends of the middle 95 % of each column of resamples, (2, k); resamples without a value are left out."""
    return pd.DataFrame(resampled).quantile([ALPHA / 2, 1 - ALPHA / 2]).to_numpy()
