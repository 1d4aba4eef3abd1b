"""What notebook 01 says: how far the table of outcomes can be trusted, and what there is to forecast."""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm.audit.report import HEAD
from embedllm.levels import adjusted_means
from embedllm.outcomes import OutcomeMatrix
from embedllm.presentation import listed, literal, p_is, thousandths


def variance(panels: pd.DataFrame) -> str:
    """Where the variance of a score lies, from `report.audit_panels`."""
    shares = panels[panels["panel"] == "variance"].set_index("name")["y"]
    return (f"{shares['rest']:.0%} of the variance of a score lies in the single answer, {shares['model']:.0%} between "
            "models.")


def doubts(fit: pd.DataFrame, among: int = 3) -> str:
    """A warning if the audit flags any of the models with the highest means, from `anomalies.model_fit`; else blank."""
    top = fit.sort_values("mean", ascending=False).head(among)
    top = top[~top["finding"].isin(["", "middling"])]
    if not len(top):
        return ""
    one_score, sentences = top["finding"] == "constant", []
    if one_score.any():
        sentences.append(f"{listed(map(literal, top.index[one_score]))} scored the same on every question.")
    if not one_score.all():
        named = [f"{literal(name)} (mean {row['mean']:.2f}, correlation {row['correlation']:.2f})"
                 for name, row in top[~one_score].iterrows()]
        sentences.append(
            f"{listed(named)} {'follows' if len(named) == 1 else 'follow'} the difficulty that the other models find "
            f"much less than is usual here (median correlation {fit['correlation'].median():.2f}).")
    return (f"**Before you read on:** of the {among} highest means of this table, {' '.join(sentences)} An attack on "
            "the scoring looks like that, and so does a judge who is won by style. A ranking, a best single model or a "
            "router that goes there says little; `EXCLUDE` leaves models out.")


def specialist(accuracy: pd.DataFrame) -> str:
    """The cell farthest from what the means of its model and its benchmark say.

    Parameters
    ----------
    accuracy : DataFrame
        Mean scores, models x benchmarks.
    """
    rest = accuracy.sub(accuracy.mean(axis=1), axis=0).sub(accuracy.mean() - np.nanmean(accuracy)).to_numpy()
    model, benchmark = np.unravel_index(np.nanargmax(np.abs(rest)), rest.shape)
    return (f"Farthest from what model and benchmark predict is {accuracy.index[model]} on "
            f"{accuracy.columns[benchmark]}, {rest[model, benchmark]:+.2f}; half of the cells lie within "
            f"{np.nanmedian(np.abs(rest)):.3f}.")


def lengths(words: pd.Series, limit: int = HEAD) -> str:
    """How long prompts are, in words, and how many an encoder cannot read to the end."""
    long = (words > limit).mean()
    return f"Half of the prompts have at least {words.median():.0f} words, {long:.1%} have more than {limit}."


def conclusion(
    table: OutcomeMatrix, findings: pd.DataFrame, panels: pd.DataFrame, effect: pd.DataFrame, encoder: str, dim: int
) -> str:
    """What the table holds, and what to keep in mind.

    Parameters
    ----------
    findings, panels : DataFrame
        From `report.audit` and `report.audit_panels`.
    effect : DataFrame
        From `leakage.effect_of_leakage`.
    encoder : str
    dim : int
        Length of its vectors.
    """
    drawn = {name: rows.set_index("name") for name, rows in panels.groupby("panel")}
    shares, bits = drawn["variance"]["y"], drawn["entropy"]["y"]
    named = listed(literal(f"{name} ({row.group})") for name, row in drawn["models"].query("group != ''").iterrows())
    repeated = findings.set_index("check")["value"]["test questions with a near-duplicate in training or validation"]
    on_all = effect[(effect["test_questions"] == "all") & (effect["metric"] == "log_loss")]
    changed = ""
    if on_all["difference"].notna().any():
        row = on_all.iloc[0]
        changed = (f" Without the near-duplicates in training, kNN's log-loss on all test questions changes by "
                   f"{thousandths(-row['difference'])} thousandths of a nat per cell ({p_is(row['p'])}).")
    means, n_test = adjusted_means(table), (table.questions["part"] == "test").sum()
    n_benchmarks = table.questions["benchmark"].nunique()
    return f"""
## What the table holds, and what to keep in mind

{table.shape[0]} models were scored on {table.shape[1]:,} questions of {n_benchmarks} benchmarks;
{table.observed.mean():.2%} of the cells are observed. The best model scores {means.max():.3f}, the weakest
{means.min():.3f}. {n_test:,} questions are set aside for the test.

- Of the variance of a score, {shares["model"]:.0%} lies between models, {shares["question within benchmark"]:.0%}
  between questions of a benchmark, and {shares["rest"]:.0%} in the single answer. A score holds
  {bits["the overall mean"]:.3f} bits for a reader who knows the overall mean and {bits["the model"]:.3f} for one who
  knows the model. A forecaster that reads the prompt can earn only a part of these bits: what the prompt does not tell,
  and luck, remain.
- Models to look at before believing a ranking: {named}. `EXCLUDE` leaves out what is not a model, for the whole study
  if it stands in a preset.
- Test questions with a near-duplicate in training or validation: {repeated} of {n_test:,}.{changed}

{lengths(table.questions["prompt"].str.split().str.len())} They are now vectors of {dim} numbers from the encoder
{literal(encoder)}.
"""
