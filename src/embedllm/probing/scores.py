"""Accuracies that nobody measured: of a new model on a known benchmark, and of all models on a new benchmark.

Two questions that are easily mixed. For a *new model* the benchmark is known from others, and a regression on them can
use it (C7). On a *new benchmark* no model has been asked, so that nothing can be fitted to it. Rivals of the model
vectors stand beside them on the same folds: the mean accuracy elsewhere, a ridge regression on all accuracies
elsewhere, and boosted trees on features of model and benchmark in the manner of Xia et al. (2020, ACL, "Predicting
Performance for Natural Language Processing Tasks"). The lineage is the unit: its models resemble each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from embedllm.evaluation.inference import of_independent
from embedllm.evaluation.intervals import jackknife
from embedllm.probing import trees
from embedllm.probing.folds import N_INNER, lineage_folds, without
from embedllm.probing.ridge import ridge_weights

MEAN, RIDGE, TREES, NOTHING = "mean elsewhere", "ridge on accuracies elsewhere", "boosted trees", "no predictor"
PENALTIES = np.logspace(-5, 1, 13)  # of a ridge regression, in units of the predictors' sum of squares
Predictors = Mapping[str, np.ndarray]  # of models by benchmark: shape (n_models, n_numbers)


def of_new_models(
    known: pd.DataFrame, coordinates: Mapping[str, Predictors], whole: Mapping[str, Predictors], target: pd.DataFrame,
    facts: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Accuracies of models on a benchmark, from regressions that saw models of other lineages there.

    Parameters
    ----------
    known : DataFrame, models x benchmarks
        Accuracy on the training questions, complete.
    coordinates, whole : mapping of name to `Predictors`
        What was learned without the benchmark: few numbers for ordinary least squares, and many for ridge.
    target : DataFrame, models x benchmarks
        The accuracies to forecast; NaN where a model was not asked.
    facts : DataFrame, indexed by model
        ``lineage``, ``family``, ``kind``, ``parameters_b``.

    Returns
    -------
    dict
        Method to DataFrame like `target`.
    """
    found = by_regression(known, coordinates, whole, target, facts)
    return found | {TREES: trees.on_new_models(known, target, facts, lineage_folds(facts["lineage"]))}


def by_regression(
    known: pd.DataFrame, coordinates: Mapping[str, Predictors], whole: Mapping[str, Predictors], target: pd.DataFrame,
    facts: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """The same without boosted trees."""
    fold, lineage = lineage_folds(facts["lineage"]), pd.factorize(facts["lineage"])[0]
    means = {name: without(known, name) for name in target}
    linear = {NOTHING: {name: np.zeros((len(known), 0)) for name in target},
              MEAN: {name: means[name][:, None] for name in target}, **coordinates}
    ridged = {RIDGE: {name: known.drop(columns=name).to_numpy() for name in target}, **whole}
    found = {method: {} for method in (*linear, *ridged)}
    for name in target:
        y = target[name].to_numpy(float)
        for method, x in linear.items():
            found[method][name] = crossed(y, x[name], fold)
        for method, x in ridged.items():
            found[method][name] = crossed(y, x[name], fold, ridge, groups=lineage)
    return {method: pd.DataFrame(columns, index=target.index) for method, columns in found.items()}


def of_new_benchmarks(
    known: pd.DataFrame, forecasts: Mapping[str, pd.DataFrame], features: pd.DataFrame, target: pd.DataFrame,
    facts: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Accuracies on a benchmark that no model was asked: what is known elsewhere, and what its prompts tell.

    Parameters
    ----------
    known, target, facts
        As for `of_new_models`.
    forecasts : mapping of name to DataFrame like `target`
        Of forecasters that learned without the benchmark, averaged over its prompts.
    features : DataFrame, indexed by benchmark
        What can be said of a benchmark without any answer: numbers.

    Returns
    -------
    dict
        Method to DataFrame like `target`.
    """
    means = pd.DataFrame({name: without(known, name) for name in target}, index=target.index)
    return {MEAN: means, **forecasts, TREES: trees.on_new_benchmarks(known, features, target, facts)}


def squared_errors(
    forecasts: Mapping[str, pd.DataFrame], target: pd.DataFrame, facts: pd.DataFrame, weights: np.ndarray,
    *, centered: bool = False,
) -> pd.DataFrame:
    """Squared errors in units of the variance of accuracy over lineages, by method and lineage.

    Parameters
    ----------
    weights : ndarray, shape (n_models,)
        Of a model within its lineage: near-copies share one.
    centered : bool
        Without each benchmark's mean error: whether models are told apart, wherever the benchmark lies.

    Returns
    -------
    DataFrame, lineages x methods
        The mean over benchmarks, and over models of the lineage; 1 is what the mean over all lineages would reach, of
        lineages whose models are alike.
    """
    lineage = facts["lineage"]
    by_lineage = weighted(target, lineage, weights)
    scale = by_lineage.var(ddof=0)
    used = scale.index[scale > 0]
    found = {}
    for method, forecast in forecasts.items():
        error = forecast[used] - target[used]
        if centered:
            error = error - weighted(error, lineage, weights).mean()
        found[method] = (weighted(error**2, lineage, weights) / scale[used]).mean(axis=1)
    return pd.DataFrame(found)


def weighted(values: pd.DataFrame, lineage: pd.Series, weights: np.ndarray) -> pd.DataFrame:
    """Mean of each lineage's models, lineages x columns; NaN counts as not asked."""
    totals = values.mul(weights, axis=0).groupby(lineage.to_numpy()).sum(min_count=1)
    asked = values.notna().mul(weights, axis=0).groupby(lineage.to_numpy()).sum()
    return totals / asked.where(asked > 0)


def shares(
    forecasts: Mapping[str, pd.DataFrame], target: pd.DataFrame, facts: pd.DataFrame, weights: np.ndarray
) -> pd.DataFrame:
    """R2 of each method in each benchmark, lineages counting alike: one minus its error over the variance of lineages.

    Returns
    -------
    DataFrame
        ``method``, ``benchmark``, ``r2`` with ``low`` and ``high`` (95 %, `jackknife` of lineages, by the logarithm of
        what is left to explain).
    """
    lineage, rows = facts["lineage"], []
    by_lineage = weighted(target, lineage, weights)
    for method, forecast in forecasts.items():
        errors = weighted((forecast - target) ** 2, lineage, weights)
        for name in target:
            known = (errors[name].notna() & by_lineage[name].notna()).to_numpy()
            error, value = errors[name].to_numpy()[known], by_lineage[name].to_numpy()[known]
            if len(value) >= 4 and np.ptp(value) > 0:
                rows.append((method, name, *_share(error, value)))
    return pd.DataFrame(rows, columns=["method", "benchmark", "r2", "low", "high"])


def _share(error: np.ndarray, value: np.ndarray) -> tuple[float, float, float]:
    """One minus the mean of squared errors over the variance of values, with its interval; units are independent."""
    def unexplained(kept: np.ndarray) -> float:
        spread = value[kept].var()
        return float(np.log(error[kept].mean() / spread)) if spread > 0 and error[kept].any() else np.nan

    units = np.arange(len(value))
    own, (_, [reach]) = unexplained(units), jackknife(np.array([[unexplained(np.delete(units, at))] for at in units]))
    return 1 - error.mean() / value.var(), 1 - np.exp(own + reach), 1 - np.exp(own - reach)


def compared(errors: pd.DataFrame, reference: str, level: float) -> pd.DataFrame:
    """Each method's mean squared error over lineages, and its difference to one of them.

    Parameters
    ----------
    errors : DataFrame, lineages x methods
        From `squared_errors`.
    level : float
        Of the intervals, which are `of_independent`'s, over lineages.

    Returns
    -------
    DataFrame
        ``method``, ``reference``, ``error``, ``difference`` with ``low`` and ``high``, ``p``, ``mde`` (what a test at
        the level finds with power .8), ``n_lineages``.
    """
    errors = errors.dropna()
    rows = []
    for method in errors:
        row = {"method": method, "reference": reference, "error": errors[method].mean(), "n_lineages": len(errors)}
        if method != reference:
            row |= of_independent(errors[method] - errors[reference], level)
        rows.append(row)
    return pd.DataFrame(rows, columns=["method", "reference", "error", "difference", "low", "high", "p", "mde",
                                       "n_lineages"])


def least_squares(y: np.ndarray, x: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Forecasts for new rows; fewer predictors than rows are needed, else NaN."""
    if len(y) <= x.shape[1] + 1:
        return np.full(len(new), np.nan)
    design = np.column_stack([np.ones(len(y)), x])
    return np.column_stack([np.ones(len(new)), new]) @ np.linalg.lstsq(design, y)[0]


def ridge(y: np.ndarray, x: np.ndarray, new: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Ridge regression on predictors of one unit; the penalty by cross-validation over groups, within these rows."""
    fold, losses = lineage_folds(groups, N_INNER), np.zeros(len(PENALTIES))
    for out in (fold == number for number in range(N_INNER)):
        if out.any() and not out.all():
            losses += ((ridge_weights(x[~out], x[out], PENALTIES) @ y[~out] - y[out]) ** 2).sum(axis=1)
    return ridge_weights(x, new, PENALTIES[[losses.argmin()]])[0] @ y


def crossed(
    y: np.ndarray, x: np.ndarray, fold: np.ndarray, fit: Callable = least_squares, **of_rows: np.ndarray
) -> np.ndarray:
    """Forecasts of each fold by a fit on the others; models without a score neither fit nor are forecast.

    Parameters
    ----------
    y : ndarray, shape (n_models,)
    x : ndarray, shape (n_models, n_predictors)
    fold : ndarray of int, shape (n_models,)
    fit : callable
        `least_squares` or `ridge`.
    **of_rows : ndarray, shape (n_models,)
        What else the fit takes, of the rows that it learns from.
    """
    forecast, asked = np.full(len(y), np.nan), ~np.isnan(y)
    for number in np.unique(fold):
        new, rows = asked & (fold == number), asked & (fold != number)
        if new.any() and rows.any():
            forecast[new] = fit(y[rows], x[rows], x[new], **{name: own[rows] for name, own in of_rows.items()})
    return forecast
