"""What notebook 09 says: what a few answers tell of a new model, and which to ask for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from embedllm.claims import ANSWERED, all_claims
from embedllm.conclusions._words import bullets
from embedllm.conclusions.verdicts import UNTESTED
from embedllm.experiments.new_models import LEVEL_ONLY, OURS, RAW, TEXT, UNREAD
from embedllm.experiments.newcomers import FEWEST
from embedllm.experiments.portfolio import ENOUGH, GREEDY, WHOLE
from embedllm.experiments.relatives import ANY, RELATED
from embedllm.experiments.stopping import MOST
from embedllm.presentation import listed, p_is

NOT_YET = "`make deep` computes it."
TOO_FEW = f"Fewer than {FEWEST} lineages: none can be left out."


def _at(rows: pd.DataFrame, method: str, measure: str) -> pd.DataFrame:
    return rows[(rows["method"] == method) & (rows["measure"] == measure)].set_index("n")


def forecasts(rows: pd.DataFrame) -> str:
    """Log-loss on other questions, from `new_models.summary`."""
    own, text = _at(rows, OURS, "log_loss")["value"], _at(rows, TEXT, "log_loss")["value"]
    few, many = own.index.min(), own.index.max()
    losses = rows[rows["measure"] == "log_loss"]
    unread = losses[losses["method"].isin(UNREAD) & (losses["n"] == many)].set_index("method")["value"]
    read = losses[~losses["method"].isin(UNREAD) & (losses["n"] == many)].set_index("method")["value"]
    return (f"From {few} to {many:,} answers log-loss on questions that the new model was not asked falls from "
            f"{own[few]:.3f} to {own[many]:.3f} with what the pool answered to these, from {text[few]:.3f} to "
            f"{text[many]:.3f} from the text alone. Lowest at {many:,} answers: {read.idxmin()} ({read.min():.3f}) of "
            f"those that read the pool's answers, {unread.idxmin()} ({unread.min():.3f}) of the others.")


def accuracies(rows: pd.DataFrame) -> str:
    """Errors of the mean score, from `new_models.summary`."""
    own, raw = _at(rows, OURS, "rmse"), _at(rows, RAW, "rmse")
    told = listed(f"{own.loc[n, 'value']:.3f} against {raw.loc[n, 'value']:.3f} ({n:,})" for n in own.index)
    ranks = listed(f"{value:.2f} ({n:,})" for n, value in _at(rows, OURS, "rank")["value"].items())
    return (f"RMSE of the mean score over all questions, onboarding against the raw mean of the answers: {told}. Rank "
            f"correlation of estimate and truth among new models: {ranks}.")


def coordinates(rows: pd.DataFrame) -> str:
    """What a vector adds to a level, from `new_models.summary`."""
    own, level = (_at(rows, name, "benchmark_error")["value"] for name in (OURS, LEVEL_ONLY))
    told = listed(f"{own[n]:.3f} against {level[n]:.3f} ({n:,})" for n in own.index)
    return f"Mean error of the benchmarks' mean scores with a vector, and with its level alone: {told}."


def trained_anew(rows: pd.DataFrame) -> str:
    """Onboarding beside training everything anew, from `new_models.summary`."""
    over, changed = _at(rows, TEXT, "over_anew"), _at(rows, TEXT, "changed")["value"]
    if over.empty:
        return "Nothing was trained anew here."
    told = listed(f"{1000 * row.value:+.1f} ({1000 * row.low:+.1f} to {1000 * row.high:+.1f}) with {n:,} answers, "
                  f"{changed[n]:.0%} of the forecasts on the other side of one half" for n, row in over.iterrows())
    return f"Log-loss of onboarding from the text minus that of training anew, in thousandths of a nat: {told}."


def routed(rows: pd.DataFrame) -> str:
    """What a new model brings to a router, from `new_models.summary`."""
    own = _at(rows, TEXT, "routed")
    told = listed(f"{1000 * row.value:+.1f} ({n:,})" for n, row in own.iterrows())
    last = own.iloc[-1]
    return (f"Score that a router over the pool gains by asking the new model where its forecast is highest, in "
            f"thousandths: {told}; at most answers {1000 * last['low']:+.1f} to {1000 * last['high']:+.1f}.")


def chosen(ratios: pd.DataFrame) -> str:
    """What choosing questions and what the model saves, from `question_choice.ratios`."""
    said = []
    for due, own in ratios.groupby("due_to", sort=False):
        told = listed(f"{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f}; {row.n:,})" for row in own.itertuples())
        said.append(f"{due} {told}")
    return f"Mean squared error over that of the other way, by number of answers: due to {'; due to '.join(said)}."


def covered(rows: pd.DataFrame) -> str:
    """Whether intervals hold what they promise, from `new_models.summary`."""
    whole, parts = (_at(rows, OURS, name)["value"] for name in ("covered", "benchmarks_covered"))
    told = listed(f"{whole[n]:.0%} and {parts[n]:.0%} ({n:,})" for n in whole.index)
    return (f"Share of intervals of 95 % that hold the truth, of a lineage's mean score and of its mean score on a "
            f"benchmark, by number of answers: {told}.")


def both_unseen(rows: pd.DataFrame) -> str:
    """Lineage and benchmark unseen, from `joint.against`."""
    told = "; ".join(f"{row['reference']} {1000 * row['difference']:+.1f} ({1000 * row['low']:+.1f} to "
                     f"{1000 * row['high']:+.1f}, {p_is(row['p'])}; less on {row['n_better']} of "
                     f"{row['n_benchmarks']} benchmarks)" for row in rows.to_dict("records"))
    return (f"Log-loss {rows['loss'].iloc[0]:.3f}; minus that of other forecasts, in thousandths, over "
            f"{rows['n_lineages'].iloc[0]} lineages: {told}.")


def stopped(rows: pd.DataFrame) -> str:
    """When new models are asked no more, from `stopping.summary`."""
    def told(rule: str) -> str:
        own = rows[rows["rule"] == rule].set_index("measure")
        row, share = own.loc["answers"], own["value"]
        full = "" if share["reached"] == 1 else f" ({np.floor(100 * share['reached']):.0f}% got there)"
        return (f"{rule}: {row['value']:.0f} ({row['low']:.0f} to {row['high']:.0f}){full}, {share['covered']:.0%} "
                f"and {share['always']:.0%}")

    return (f"Answers when half the interval of 95 % is at most {rows['aim'].iloc[0]:g}, or half of the questions or "
            f"{MOST:,} are asked, and share of intervals that hold the mean score then, and at every look until then: "
            f"{'; '.join(map(told, rows['rule'].unique()))}.")


def odd(rows: pd.DataFrame) -> str:
    """Whether models unlike the pool are noticed, from `odd_models.summary`."""
    at = rows["n"].unique()[len(rows["n"].unique()) // 2]
    own = rows[rows["n"] == at].set_index("kind")
    told = listed(f"{kind} {row['flagged']:.0%} ({row['covered']:.0%})" for kind, row in own.iterrows())
    return (f"Share of models that are flagged as unlike the pool after {at} answers, and of intervals that hold their "
            f"mean score, if nobody looked at the flag: {told}.")


def related(rows: pd.DataFrame) -> str:
    """What relatives in the pool are worth, from `relatives.summary`."""
    own, other = (rows[rows["prior"] == prior].set_index("n") for prior in (RELATED, ANY))
    told = listed(f"{1000 * row.difference:+.1f} ({1000 * row.low:+.1f} to {1000 * row.high:+.1f}) with {n:,}"
                  for n, row in own.iterrows())
    errors = listed(f"{own.loc[n, 'rmse']:.3f} against {other.loc[n, 'rmse']:.3f} ({n:,})" for n in own.index)
    return ("Log-loss of a new model that is expected around its relatives minus that of one expected around the whole "
            f"pool, in thousandths, by number of answers: {told}. RMSE of its mean score: {errors}.")


def cost(table: pd.DataFrame, rows: pd.DataFrame) -> str:
    """What a new model costs, its answers included, from `bench.cost.of_a_new_model` and `new_models.summary`."""
    pool, whole = (table.iloc[at] for at in (0, 1))
    anew = table[table["training"] > 0].iloc[1:]
    said = (f"To ask a new model everything takes {whole['asking'] / 1e15:,.1f} PFLOP (7 billion parameters, 128 "
            f"tokens an answer, as in C6); the labels of the whole pool {pool['asking'] / 1e15:,.0f}, one training "
            f"{pool['training'] / 1e15:.2g}.")
    if len(anew):
        row = anew.iloc[0]
        share = row["training"] / (row["training"] + row["asking"])
        said += f" Of {row['answers']:,} answers and a training anew the latter is {share:.0%}, which onboarding saves."
    return f"{said} {close_enough(rows)}"


def close_enough(rows: pd.DataFrame) -> str:
    """How many answers a mean score takes, from `new_models.summary`; to what tinyBenchmarks reach on average."""
    error, said = all_claims()["Q9"].values["error"], []
    for method in (OURS, RAW):
        close = _at(rows, method, "rmse")["value"]
        close = close[close <= error]
        least = f"{close.index[0]:,} answers ({close.iloc[0]:.3f})" if len(close) else "not reached"
        said.append(f"{least} by {method}")
    return f"A mean score to {100 * error:g} points (RMSE), of the numbers of answers tried: {'; '.join(said)}."


def portfolio(rows: pd.DataFrame) -> str:
    """How few models are enough for a router, from `portfolio.portfolios`."""
    whole = rows[rows["way"] == WHOLE]["score"].iloc[0]
    said = []
    for way, own in rows[rows["way"] != WHOLE].groupby("way", sort=False):
        enough = own[own["difference"] > -ENOUGH]
        row = (enough if len(enough) else own.tail(1)).iloc[0]
        told = f"{row['size']:.0f}" if len(enough) else f"none of up to {own['size'].max():.0f}"
        said.append(f"{way} {told} ({1000 * row['difference']:+.1f} thousandths, {1000 * row['low']:+.1f} to "
                    f"{1000 * row['high']:+.1f})")
    return (f"A router over all models scores {whole:.3f} on test questions. Fewest models that come within "
            f"{1000 * ENOUGH:g} thousandths of it, in this point estimate: {'; '.join(said)}.")


def withdrawn(rows: pd.DataFrame) -> str:
    """What a withdrawn model costs a portfolio, from `portfolio.portfolios`."""
    own = rows[(rows["way"] == GREEDY) & rows["withdrawn"].notna()]
    if own.empty:
        return "No portfolio of two models."
    told = listed(f"{1000 * (row.withdrawn - row.score):+.1f} and {1000 * (row.worst - row.score):+.1f} "
                  f"({row.size_:.0f})" for row in own.rename(columns={"size": "size_"}).itertuples())
    return ("Where one model of a greedy portfolio is withdrawn and the next highest forecast takes its questions, the "
            f"score changes, in thousandths, on average and at worst, by {told}.")


def conclusion(
    rows: pd.DataFrame | None, ratios: pd.DataFrame | None, costs: pd.DataFrame | None, few: pd.DataFrame,
    deep: Mapping[str, pd.DataFrame | None],
) -> str:
    """The findings; without tables that there are none. Tables of `make deep` come by name, None where not made."""
    if rows is None:
        return "## What a few answers tell\n\n" + bullets([TOO_FEW, f"**How many models?** {portfolio(few)}"])
    unseen, until, unlike, near = (NOT_YET if deep[name] is None else said(deep[name]) for name, said in (
        ("unseen", both_unseen), ("stopping", stopped), ("odd", odd), ("relatives", related)))
    return "## What a few answers tell\n\n" + bullets([
        f"**A new training?** {trained_anew(rows)}", f"**Cost.** {cost(costs, rows)}",
        f"**Forecasts.** {forecasts(rows)}", f"**A new benchmark as well?** {unseen}",
        f"**Relatives in the pool?** {near}",
        f"**Accuracies.** {accuracies(rows)}", f"**A vector, or a level?** {coordinates(rows)}",
        f"**Routing.** {routed(rows)}", f"**Which question next?** {chosen(ratios)}",
        f"**When to stop?** {until}", f"**Intervals.** {covered(rows)}", f"**Models unlike the others?** {unlike}",
        f"**How many models?** {portfolio(few)} {withdrawn(few)}"])


def verdict(rows: pd.DataFrame | None) -> dict:
    """Q9."""
    if rows is None:
        return {"verdict": UNTESTED, "reason": TOO_FEW}
    return {"verdict": ANSWERED, "reason": f"{trained_anew(rows)} {accuracies(rows)} {close_enough(rows)} See notebook "
            "09", "figure": "09_answers"}
