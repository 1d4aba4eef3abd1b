"""What notebook 03 found: results to small tables, and tables to words that hold for the data at hand."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.audit.variance import variance_components
from embedllm.evaluation.inference import compare, pooled
from embedllm.evaluation.metrics import auc, expected_calibration_error
from embedllm.outcomes import OutcomeMatrix
from embedllm.splits import Design

AIM = 0.5  # of what specialization is worth to a reader of the text, on simulated data


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


def stepwise(values: Mapping[str, np.ndarray], design: Design) -> pd.DataFrame:
    """Compare each method with the one before it: a family of paired tests, corrected after Holm.

    Parameters
    ----------
    values : mapping of method name to ndarray, shape (n_questions,), in order
    design : Design

    Returns
    -------
    DataFrame
        As from `inference.compare`, a row for each method but the first.
    """
    steps = {name: compare({name: values[name], before: values[before]}, before, design)
             for before, name in pairwise(values)}
    return pooled(steps, "step").drop(columns="step")


def beyond_worlds(worlds: pd.DataFrame) -> pd.DataFrame:
    """What is seen beside what worlds without specialization show.

    Parameters
    ----------
    worlds : DataFrame
        From `experiments.without_specialization`.

    Returns
    -------
    DataFrame
        Two rows a forecaster, ``pool`` "observed" and "drawn without specialization": ``forecaster``, ``value`` (the
        difference; of the worlds the mean), ``low``, ``high`` (least and greatest of the worlds), ``p`` (one-sided,
        of the observed one: (1 + worlds that gain as much) / (1 + worlds)).
    """
    here = worlds[worlds["world"] == 0].set_index("forecaster")["difference"]
    others = worlds[worlds["world"] > 0]
    drawn = others.pivot_table(index="world", columns="forecaster", values="difference")[here.index]
    p = (1 + (drawn <= here).sum()) / (1 + len(drawn))
    observed = here.rename("value").reset_index().assign(pool="observed", p=p.to_numpy())
    null = drawn.agg(["mean", "min", "max"]).T.set_axis(["value", "low", "high"], axis=1).reset_index()
    return pd.concat([observed, null.assign(pool="drawn without specialization")], ignore_index=True)


def forecasting(
    table: OutcomeMatrix, cross_fitted: pd.DataFrame, curve: pd.DataFrame, by_size: pd.DataFrame,
    differences: pd.DataFrame, against: pd.DataFrame, worlds: pd.DataFrame, excess: pd.DataFrame, margin: float,
) -> str:
    """Answers to the questions of notebook 03.

    Parameters
    ----------
    table : OutcomeMatrix
        All questions.
    cross_fitted : DataFrame
        From `inference.summarize`.
    curve : DataFrame
        From `experiments.averaged`, a row a forecaster and size, sizes ascending.
    by_size : DataFrame
        kNN against the factorization at each size, from `inference.pooled`; more is better.
    differences : DataFrame
        From `inference.compare`, log-loss, reference the factorization.
    against : DataFrame
        Ours against each other forecaster: ``forecaster``, ``difference``, ``low90``, ``high90``, ``p_worse``.
    worlds : DataFrame
        From `beyond_worlds`.
    excess : DataFrame
        From `calibration.excess_loss`; empty where the truth is not known.
    margin : float
        Of non-inferiority, nats per cell.
    """
    accuracy = cross_fitted[cross_fitted["metric"] == "accuracy"].set_index("forecaster")
    one = {row.Index: f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})" for row in accuracy.itertuples()}
    full = curve[(curve["forecaster"] == "factorization") & (curve["metric"] == "accuracy")].iloc[-1]
    share = variance_components(table).set_index("component")["share"]
    observed = worlds[worlds["pool"] == "observed"].itertuples()
    gains = ", ".join(f"{row.forecaster} {row.value:+.4f} (p = {row.p:.2g})" for row in observed)
    sentences = "\n".join("- " + in_words(differences, name, "log-loss") for name in differences["method"])
    return f"""
## What the comparison shows

**C1, accuracy on unseen questions.** Cross-fitted, with 95 % intervals: factorization {one["factorization"]}, kNN
{one["kNN"]}, model mean {one["model mean"]}, stacked ensemble {one[catalog.OURS.name]}. The paper's accuracy
belongs to its own table; accuracies on different tables do not compare. Another initialization moves the
factorization's test accuracy by {full["seed_sd"]:.4f} (SD).

**C2, better than kNN at every size of the training set** (test accuracy, corrected for the number of sizes):
{_against_neighbors(by_size)}. The same question in log-loss, over all questions, cross-fitted, for every forecaster:

{sentences}

**Where the signal is.** Of the variance of a score {share["model"]:.0%} lies between models,
{share["question within benchmark"] + share.get("benchmark", 0):.0%} between questions,
{share.get("model x benchmark", 0):.0%} in models being better on some benchmarks than on others, and
{share["rest"]:.0%} in what is left: the single answer's luck, and models being better at some questions within a
benchmark. Log-loss on the test questions minus that of one ability per model and a difficulty read from the text (below
zero: something is gained by knowing more of the models), with p from worlds that hold nothing more: {gains}.

**The best forecaster.** {_best(against, margin)} {_recovered(excess)}

**C12, how compact**, is answered by the curve over the length of a vector in notebook 02; **Q11, fewer models or
cells**, and what each defect of the official code changes, in notebook 07. **Q2, Q10** (what exactly is computed) and
**C13, Q4** (labels need not be binary) are answered above the first table.
"""


def _against_neighbors(by_size: pd.DataFrame) -> str:
    """The verdict on C2; no difference shown is none for or against it."""
    real = by_size["p_holm"] < 0.05
    ahead, behind = (real & (by_size["difference"] < 0)).sum(), (real & (by_size["difference"] > 0)).sum()
    sizes = f"of {len(by_size)} sizes the factorization is ahead of kNN at {ahead} and kNN ahead at {behind}"
    if ahead == len(by_size):
        return "reproduced, the factorization is ahead of kNN at every size"
    if behind:
        return f"not reproduced, {sizes}"
    if ahead:
        return f"reproduced in part, {sizes}; at the others no difference is shown"
    return f"no difference is shown at any size (the tests find differences from {by_size['mde'].min():.3f} on)"


def _best(against: pd.DataFrame, margin: float) -> str:
    open_cases, hardest = against[against["p_worse"] >= 0.05], against.loc[against["p_worse"].idxmax()]
    verdict = (f"is not shown to be within the margin of {', '.join(open_cases['forecaster'])}" if len(open_cases)
               else "is no worse than any other forecaster by the margin")
    return (f"The stacked ensemble {verdict} (margin {margin}; the hardest case is {hardest['forecaster']}: "
            f"{hardest['difference']:+.4f}, 90 % interval {hardest['low90']:+.4f} to {hardest['high90']:+.4f}).")


def _recovered(excess: pd.DataFrame) -> str:
    if excess.empty:
        return ""
    ours = excess[excess["forecaster"] == catalog.OURS.name].set_index("quantity")
    got = ours.loc["recovered"]
    return (f"Of what specialization is worth to a reader of the text it recovers {got['value']:.0%} "
            f"({got['low']:.0%} to {got['high']:.0%}; below zero: less than difficulty alone could tell). "
            f"{AIM:.0%} was aimed at: {'met' if got['value'] >= AIM else 'not met'}. "
            f"{ours['value']['estimation']:.4f} nats per cell are lost to estimation and to what the encoder does not "
            f"pass on, {ours['value']['unread text']:.4f} no reader could tell.")


def in_words(comparisons: pd.DataFrame, method: str, measure: str) -> str:
    """One row of `compare` as a sentence that says no more than the test does."""
    row = comparisons.set_index("method").loc[method]
    if row["difference"] == 0 and row["se"] == 0:
        return f"{method} and {row['reference']} have the same {measure}: their difference is zero, without spread."
    numbers = f"{row['difference']:+.4f} (95 % interval {row['low']:+.4f} to {row['high']:+.4f}"
    numbers += f", p = {row['p_holm']:.2g} after Holm)"
    if row["p_holm"] < 0.05:
        order = "higher" if row["difference"] > 0 else "lower"
        return f"{method} has a {order} {measure} than {row['reference']}: {numbers}."
    return (f"No difference in {measure} is shown between {method} and {row['reference']}: {numbers}; "
            f"this test finds differences from {row['mde']:.4f} on.")
