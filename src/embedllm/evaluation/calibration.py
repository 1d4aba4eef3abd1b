"""Where forecasts are right and where they are off: calibration, benchmarks, models, and what a loss is made of.

Intervals of `reliability` are 95 % percentile bootstraps over questions; the resamples come in as ``weights``, from
`intervals.bootstrap_weights`, so that all tables of a comparison rest on the same ones. All others are over questions
and fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit

from embedllm.catalog import ADDITIVE, MODEL_MEAN, TEXT, TRUTH
from embedllm.evaluation import fits
from embedllm.evaluation.intervals import ratios
from embedllm.evaluation.metrics import (
    CLIP,
    THRESHOLD,
    auc,
    cell_scores,
    checked,
    equal_mass_bins,
    expected_calibration_error,
    question_scores,
    sigmoid,
    targets,
)
from embedllm.evaluation.rasch import additive_version
from embedllm.outcomes import OutcomeMatrix
from embedllm.splits import Design

T_MIN, T_MAX = 0.05, 20.0  # temperatures that are tried: logits twenty times as far from 0, or as near
BELOW = np.nextafter(np.float32(THRESHOLD), np.float32(0))


def temperature(probabilities: np.ndarray, scores: np.ndarray) -> float:
    """The T that minimizes the log-loss of ``sigmoid(logit(p) / T)`` over the observed cells.

    One number for all models and questions (Guo et al., ICML 2017): above 1 the forecasts were too sure of
    themselves, below 1 too timid. The loss is convex in 1 / T, so that the root of its slope is the minimum.

    Parameters
    ----------
    probabilities, scores : ndarray, shape (n_models, n_questions), in [0, 1]
        As in `metrics.cell_scores`; forecasts are clipped as in the log-loss. Not the questions that the
        scaled forecasts are judged on.

    Returns
    -------
    float
        In [0.05, 20]; a bound where the minimum lies beyond it (20 if the forecasts are no better than 0.5
        everywhere). 1 where T changes nothing, since every forecast is 0.5.
    """
    p, s, observed = checked(probabilities, scores)
    logits, s = logit(np.clip(p[observed], CLIP, 1 - CLIP)), s[observed]
    if not logits.any():
        return 1.0

    def slope(inverse: float) -> float:
        return logits @ (expit(inverse * logits) - s)

    if slope(1 / T_MAX) >= 0:
        return T_MAX
    if slope(1 / T_MIN) <= 0:
        return T_MIN
    return 1 / brentq(slope, 1 / T_MAX, 1 / T_MIN)


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """``sigmoid(logit(p) / temperature)``: float32 in (0, 1), NaN where the forecast is.

    Never reverses an order and never carries a forecast over 0.5, not even by rounding.
    """
    logits = logit(np.clip(np.asarray(probabilities, np.float64), CLIP, 1 - CLIP)) / temperature
    values = sigmoid(logits).astype(np.float32)
    return np.where(probabilities < THRESHOLD, np.minimum(values, BELOW), values)


def reliability(
    probabilities: np.ndarray, scores: np.ndarray, weights: np.ndarray, n_bins: int = 15
) -> pd.DataFrame:
    """Mean forecast and mean score in the bins of `metrics.expected_calibration_error`.

    That error is the mean of ``|forecast - score|`` over the rows, weighted by ``cells``.

    Parameters
    ----------
    probabilities, scores : ndarray, shape (n_models, n_questions), in [0, 1]
        As in `metrics.cell_scores`.
    weights : ndarray of int, shape (n_resamples, n_questions)
        From `intervals.bootstrap_weights`. Resamples keep the edges of the bins.
    n_bins : int

    Returns
    -------
    DataFrame
        A row for each bin that holds a cell: ``bin`` (from 1), ``forecast``, ``score``, ``low``, ``high`` (of the
        mean score), ``cells``.
    """
    p, s, observed = checked(probabilities, scores)
    question = np.nonzero(observed)[1]
    p, s = p[observed], s[observed]
    bins = equal_mass_bins(p, n_bins)
    cells, forecasts, totals = (
        np.bincount(question * n_bins + bins, values, observed.shape[1] * n_bins).reshape(-1, n_bins)
        for values in (None, p, s)  # sums in each question and bin: (n_questions, n_bins)
    )
    forecast, *_ = ratios(forecasts, cells, weights)
    score, low, high = ratios(totals, cells, weights)
    table = pd.DataFrame({"bin": np.arange(1, n_bins + 1), "forecast": forecast, "score": score, "low": low,
                          "high": high, "cells": cells.sum(axis=0)})
    return table[table["cells"] > 0].reset_index(drop=True)


def breakdown(
    rounds: Sequence[Mapping[str, np.ndarray]], names: Iterable[str], reference: str, table: OutcomeMatrix, by: str
) -> pd.DataFrame:
    """Log-loss of some forecasters minus that of a reference, paired by question, in each benchmark or for each model.

    Parameters
    ----------
    rounds : sequence of mapping of forecaster name to ndarray, shape (n_models, n_questions), in [0, 1]
        Of each fit.
    names : iterable of str
        Forecasters; the reference itself and the model means, which lie far off, are left out.
    reference : str
    table : OutcomeMatrix
        The questions that were forecast; `metrics.targets` says what they are compared with.
    by : {"benchmark", "model"}
        In a benchmark, the mean over its questions of the mean over models, so that benchmarks weighted by
        their questions give the overall value; for a model, the mean over the questions it was asked.

    Returns
    -------
    DataFrame
        Columns ``forecaster``, `by`, ``value``, ``low``, ``high`` (95 %, over questions and fits; NaN where a row has
        too little to tell), ``n_questions``; benchmarks or models from the highest mean score to the lowest.

    Raises
    ------
    ValueError
        If `by` is unknown, or forecasts do not fit the table.
    """
    if by not in ("benchmark", "model"):
        raise ValueError(f"by = {by!r} must be benchmark or model")
    design, scores, benchmark = Design.of(table), targets(table, "log_loss"), table.questions["benchmark"].to_numpy()
    means = pd.Series(table.model_means, table.models.index)
    if by == "benchmark":
        means = pd.Series(np.nanmean(table.scores, axis=0, dtype=np.float64)).groupby(benchmark).mean()
    order = np.argsort(-means.to_numpy(), kind="stable")

    def losses(name: str) -> np.ndarray:
        return np.stack([cell_scores(one[name], scores, "log_loss") for one in rounds])

    base, rows = losses(reference), []
    for name in (name for name in names if name not in (reference, MODEL_MEAN.name)):
        gap = losses(name) - base  # (n_fits, n_models, n_questions)
        if by == "benchmark":
            gap = np.where(benchmark == means.index.to_numpy()[:, None], np.nanmean(gap, axis=1)[:, None], np.nan)
        rows += [(name, means.index[at], *_mean(gap[:, at], design)) for at in order]
    return pd.DataFrame(rows, columns=["forecaster", by, "value", "low", "high", "n_questions"])


def _mean(values: np.ndarray, design: Design) -> tuple[float, float, float, int]:
    """Mean of the questions that have a value, with its interval over questions and fits, and how many they are."""
    known = ~np.isnan(values).any(axis=0)
    if not known.any():
        return np.nan, np.nan, np.nan, 0
    try:
        own = fits.averages({"": values[:, known]}, design.at(known)).iloc[0]
    except ValueError:  # nothing varies, as in a single question
        return float(values[:, known].mean()), np.nan, np.nan, int(known.sum())
    return own["value"], own["low"], own["high"], int(known.sum())


def excess_loss(rounds: Sequence[Mapping[str, np.ndarray]], names: Iterable[str], table: OutcomeMatrix) -> pd.DataFrame:
    """What a forecaster loses against the truth, where that is known: text nobody could read, and estimation.

    Parameters
    ----------
    rounds : sequence of mapping
        Of each cross-fitting: forecaster to probabilities, (n_models, n_questions).
    names : iterable of str
        Forecasters. The two text ceilings are added; the additive one is what the other says without specialization,
        and nothing else of itself.
    table : OutcomeMatrix
        With the ``references`` of simulated data.

    Returns
    -------
    DataFrame
        Columns ``forecaster``, ``quantity``, ``value``, ``low``, ``high``, over questions and fits. Quantities:
        "log-loss" (against the true probability, nats per cell) is that of the truth itself plus "unread text" (text
        ceiling minus truth) plus "estimation" (forecaster minus text ceiling); "recovered" is what the forecaster
        gains by telling models apart beyond their level, as a share of what that is worth to the best reader of the
        text: (its own additive version - forecaster) / (additive ceiling - text ceiling), a ratio of means whose
        interval is linearized (delta method), NaN where it is worth nothing. The same for the additive ceiling would
        not be quite zero, since guessing is not additive in logits.

    Raises
    ------
    ValueError
        If the table knows no true probability and text ceilings.
    """
    if missing := {TRUTH, TEXT, ADDITIVE} - table.references.keys():
        raise ValueError(f"only a table with known probabilities has an excess loss; this one lacks {sorted(missing)}")
    truth, design = np.where(table.observed, table.references[TRUTH], np.nan), Design.of(table)

    def loss(probabilities: np.ndarray) -> np.ndarray:
        return question_scores(probabilities.astype(np.float32), truth, "log_loss")

    text, ceiling = (np.tile(loss(table.references[name]), (len(rounds), 1)) for name in (TEXT, ADDITIVE))
    floor = question_scores(truth, truth, "log_loss")
    losses = {name: np.stack([loss(one[name]) for one in rounds]) for name in names}
    additive = {name: np.stack([loss(additive_version(one[name])) for one in rounds]) for name in losses}
    worth, rows = (ceiling - text).mean(where=~np.isnan(text)), []
    for name, own in (losses | {TEXT: text, ADDITIVE: ceiling}).items():
        gained = additive.get(name, ceiling) - own
        share = np.nanmean(gained) / worth if worth > 0 else np.nan
        parts = {"log-loss": own, "unread text": text - floor, "estimation": own - text,
                 "recovered": share + (gained - share * (ceiling - text)) / worth}
        rows += [(name, quantity, *_spread(values, design)) for quantity, values in parts.items()]
    return pd.DataFrame(rows, columns=["forecaster", "quantity", "value", "low", "high"])


def _spread(values: np.ndarray, design: Design) -> tuple[float, float, float]:
    """Mean and interval over questions and fits; of what does not vary the value itself."""
    known = values[:, ~np.isnan(values).any(axis=0)]
    same = known.size and np.ptp(known) < 1e-12
    return (float(known[0, 0]),) * 3 if same else _mean(values, design)[:3]


def over_cells(
    forecasts: Mapping[str, np.ndarray], calibrated: Mapping[str, np.ndarray], scores: np.ndarray
) -> pd.DataFrame:
    """AUC and expected calibration error before ("ece") and after ("ece_scaled") scaling, over all cells.

    Parameters
    ----------
    forecasts, calibrated : mapping of forecaster name to ndarray, shape (n_models, n_questions), in [0, 1]
        As forecast and after `calibration.scaled`; what has no scaled form is taken as it is.
    scores : ndarray, shape (n_models, n_questions), in [0, 1]

    Returns
    -------
    DataFrame
        Columns ``forecaster``, ``metric``, ``value``.
    """
    rows = []
    for name, p in forecasts.items():
        rows.append((name, "auc", auc(p, scores)))
        rows.append((name, "ece", expected_calibration_error(p, scores)))
        rows.append((name, "ece_scaled", expected_calibration_error(calibrated.get(name, p), scores)))
    return pd.DataFrame(rows, columns=["forecaster", "metric", "value"])
