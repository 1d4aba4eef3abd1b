"""What notebook 09 says: which answers to ask for, when to stop, of whom they say little, and what comes of it all."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from embedllm.claims import ANSWERED
from embedllm.conclusions._words import bullets
from embedllm.conclusions.onboarding import (
    accuracies,
    avoided,
    close_enough,
    coordinates,
    cost,
    covered,
    differences,
    forecasts,
    over_ridge,
    routed,
    similar,
    sized,
    some,
    thousandths_of,
)
from embedllm.conclusions.verdicts import UNTESTED
from embedllm.experiments.newcomers import FEWEST
from embedllm.experiments.portfolio import ENOUGH, GREEDY, WHOLE
from embedllm.experiments.relatives import ANY, RELATED
from embedllm.experiments.stopping import MOST
from embedllm.presentation import listed, p_is

NOT_YET = "`make deep` computes it."
SELECTED = {"metabench": "Its questions were chosen on the answers of these very models: how few are enough, and what "
                         "a choice of questions brings, does not carry over."}
TOO_FEW = f"Fewer than {FEWEST} lineages: none can be left out."


def chosen(ratios: pd.DataFrame, source: str) -> str:
    """What choosing questions and what the model saves, from `question_choice.ratios`; ``source`` of the outcomes."""
    said = []
    for due, own in ratios[ratios["n"].isin(some(ratios["n"]))].groupby("due_to", sort=False):
        told = listed(f"{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f}; {row.n:,})" for row in own.itertuples())
        said.append(f"{due} {told}")
    return ("Mean squared error over that of the other way, by number of answers: due to "
            f"{'; due to '.join(said)}.{_caveat(source)}")


def _caveat(source: str) -> str:
    return f" {SELECTED[source]}" if source in SELECTED else ""


def after_choice(rows: pd.DataFrame) -> str:
    """What intervals and mean scores are worth after a choice of questions, from `question_choice.validity`."""
    most = rows.loc[rows.groupby("choice", sort=False)["n"].idxmax()]
    told = "; ".join(f"“{row['choice']}” {row['covered']:.0%} ({row['low']:.0%} to {row['high']:.0%}), "
                     f"{row['benchmarks_covered']:.0%} and {row['benchmark_error']:.3f} ({row['n']:,})"
                     for row in most.to_dict("records"))
    return ("Share of intervals that hold the mean score and that of a benchmark, and error of the latter, by choice "
            f"of questions, with the most answers tried: {told}.")


def both_unseen(rows: pd.DataFrame) -> str:
    """Lineage and benchmark unseen, from `joint.against`."""
    told = "; ".join(f"{row['reference']} {1000 * row['difference']:+.1f} ({1000 * row['low']:+.1f} to "
                     f"{1000 * row['high']:+.1f}, {p_is(row['p'])}; less on {row['n_better']} of "
                     f"{row['n_benchmarks']} benchmarks, {1000 * row['least']:+.0f} to {1000 * row['most']:+.0f})"
                     for row in rows.to_dict("records"))
    return (f"Log-loss {rows['loss'].iloc[0]:.3f}; minus that of other forecasts, in thousandths, over "
            f"{rows['n_lineages'].iloc[0]} lineages, for these benchmarks: {told}.")


def stopped(rows: pd.DataFrame) -> str:
    """When new models are asked no more, from `stopping.wide`."""
    told = "; ".join(f"“{row['rule']}” {row['answers']:.0f} ({row['low']:.0f} to {row['high']:.0f}), "
                     f"{row['always']:.0%}" for _, row in rows.iterrows())
    return (f"Answers when half the interval of 95 % is at most {rows['aim'].iloc[0]:g}, or half of the questions or "
            f"{MOST:,} are asked, and share of models whose intervals hold at every look until then: {told}.")


def odd(rows: pd.DataFrame) -> str:
    """Whether models unlike the pool are noticed, from `odd_models.summary`."""
    told = "; ".join(f"{kind} {' / '.join(f'{share:.0%}' for share in own['flagged'])} "
                     f"({' / '.join(f'{share:.0%}' for share in own['unnoticed'])})"
                     for kind, own in rows.groupby("kind", sort=False))
    return (f"Share of models that are flagged as unlike the pool after {' / '.join(map(str, rows['n'].unique()))} "
            f"answers, and of those that are not although the interval misses their mean score: {told}.")


def related(rows: pd.DataFrame) -> str:
    """What relatives in the pool are worth, from `relatives.summary`."""
    own, other = (rows[rows["prior"] == prior].set_index("n") for prior in (RELATED, ANY))
    told = listed(thousandths_of(own.loc[n].rename({"difference": "value"}), n) for n in some(own.index))
    errors = listed(f"{own.loc[n, 'rmse']:.3f} against {other.loc[n, 'rmse']:.3f} ({n:,})" for n in some(own.index))
    return ("Log-loss of a new model that is expected around its relatives minus that of one expected around the whole "
            f"pool, in thousandths, over {own['n_lineages'].iloc[0]} lineages, by number of answers: {told}. RMSE of "
            f"its mean score: {errors}.")


def portfolio(rows: pd.DataFrame) -> str:
    """How few models are enough for a router, from `portfolio.portfolios`."""
    whole = rows[rows["way"] == WHOLE]["score"].iloc[0]
    said = []
    for way, own in rows[rows["way"] != WHOLE].groupby("way", sort=False):
        enough = own[own["low"] > -ENOUGH]
        row = (enough if len(enough) else own.tail(1)).iloc[0]
        told = f"{row['size']:.0f}" if len(enough) else f"none of up to {own['size'].max():.0f}"
        gap = (f"{1000 * row['difference']:+.1f} thousandths, {1000 * row['low']:+.1f} to {1000 * row['high']:+.1f}"
               if row[["difference", "low", "high"]].any() else "every question scored as by all")
        said.append(f"{way} {told} ({gap})")
    return (f"Fewest models of which a router loses at most {1000 * ENOUGH:g} thousandths of what one over all models "
            f"scores, by the interval of 95 %: {'; '.join(said)}. All models score {whole:.3f}.")


def withdrawn(rows: pd.DataFrame) -> str:
    """What a withdrawn model costs a portfolio, from `portfolio.portfolios`."""
    own = rows[(rows["way"] == GREEDY) & rows["withdrawn"].notna()]
    if own.empty:
        return "No portfolio of two models."
    own = own[own["size"].isin(some(own["size"]))]
    told = listed(f"{1000 * (row.withdrawn - row.score):+.1f} and {1000 * (row.worst - row.score):+.1f} "
                  f"({row.size_:.0f})" for row in own.rename(columns={"size": "size_"}).itertuples())
    return ("Where one model of a greedy portfolio is withdrawn and the next highest forecast takes its questions, the "
            f"score changes, in thousandths, on average and at worst, by {told}.")


def conclusion(
    answers: pd.DataFrame | None, ratios: pd.DataFrame | None, costs: pd.DataFrame | None,
    chosen_so: pd.DataFrame | None, few: pd.DataFrame, deep: Mapping[str, pd.DataFrame | None], source: str,
) -> str:
    """The findings; without tables that there are none. Tables of `make deep` come by name, None where not made."""
    if answers is None:
        return "## What a few answers tell\n\n" + bullets([TOO_FEW, f"**How many models?** {portfolio(few)}"])
    unseen, until, unlike, near = (NOT_YET if deep[name] is None else said(deep[name]) for name, said in (
        ("unseen", both_unseen), ("stopping", stopped), ("odd", odd), ("relatives", related)))
    return "## What a few answers tell\n\n" + bullets([
        f"**A new training?** {avoided(answers)} {differences(answers)}", f"**Cost.** {cost(costs, answers)}",
        f"**Forecasts.** {forecasts(answers)}", f"**A new benchmark as well?** {unseen}",
        f"**Relatives in the pool?** {near}",
        f"**Accuracies.** {accuracies(answers)}", f"**A known size?** {sized(answers)}",
        f"**A vector, or a level?** {coordinates(answers)} {similar(answers)}",
        f"**Routing.** {routed(answers)}", f"**Which question next?** {chosen(ratios, source)}",
        f"**When to stop?** {until}", f"**Intervals.** {covered(answers, source)} {after_choice(chosen_so)}",
        f"**Models unlike the others?** {unlike}",
        f"**How many models?** {portfolio(few)} {withdrawn(few)}"])


def verdict(
    answers: pd.DataFrame | None, few: pd.DataFrame, unseen: pd.DataFrame | None, source: str,
) -> dict:
    """Q9; the table of what is unseen, from `joint.against`, None where it was not made."""
    if answers is None:
        return {"verdict": UNTESTED, "reason": TOO_FEW}
    benchmark = "" if unseen is None else f" On a benchmark that nobody was asked: {both_unseen(unseen)}"
    return {"verdict": ANSWERED, "reason": f"{avoided(answers)} {close_enough(answers)} {portfolio(few)} In numbers: "
            f"{differences(answers)} {over_ridge(answers)} {accuracies(answers)} {coordinates(answers)} "
            f"{routed(answers)}{benchmark}{_caveat(source)} See notebook 09", "figure": "09_answers"}
