"""What notebook 09 says: what a few answers tell of a new model, and which to ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from embedllm.claims import ANSWERED, all_claims
from embedllm.conclusions._words import bullets
from embedllm.conclusions.verdicts import UNTESTED
from embedllm.experiments.new_models import OURS, RAW, SIZED, TEXT, UNREAD
from embedllm.experiments.newcomers import FEWEST
from embedllm.experiments.portfolio import ENOUGH, GREEDY, WHOLE
from embedllm.experiments.relatives import ANY, RELATED
from embedllm.experiments.stopping import MOST
from embedllm.presentation import listed, p_is

NOT_YET = "`make deep` computes it."
TOO_FEW = f"Fewer than {FEWEST} lineages: none can be left out."


def _at(rows: pd.DataFrame, method: str, measure: str) -> pd.DataFrame:
    return rows[(rows["method"] == method) & (rows["measure"] == measure)].set_index("n")


def _some(numbers: Iterable[int]) -> list[int]:
    """The fewest, a middle one and the most answers."""
    own = sorted(set(numbers))
    return sorted({own[0], own[len(own) // 2], own[-1]})


def _thousandths(row: pd.Series, n: int) -> str:
    """A difference with its interval, and the number of answers that it is of."""
    value, low, high = 1000 * row[["value", "low", "high"]]
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f}; {n:,})"


def _best(rows: pd.DataFrame, measure: str, methods: Iterable[str]) -> str:
    """Who errs least with few, some and many answers."""
    own = rows[(rows["measure"] == measure) & rows["method"].isin(methods)]
    least = own.loc[own.groupby("n")["value"].idxmin()].set_index("n").loc[_some(own["n"])]
    return listed(f"{name} ({'; '.join(f'{n:,}: {value:.3f}' for n, value in one['value'].items())})"
                  for name, one in least.groupby("method", sort=False))


def base(rows: pd.DataFrame) -> str:
    """What is rested on, from `new_models.curves`."""
    return (f"{rows['model'].nunique()} models of {rows['lineage'].nunique()} lineages have answered everything and "
            "play the new models. Intervals of 95 % over lineages hold each for itself, not for all together.")


def forecasts(rows: pd.DataFrame) -> str:
    """Log-loss on other questions, from `new_models.summary`."""
    names = set(rows["method"])
    return ("Lowest log-loss on questions that the new model was not asked, by number of answers: of methods that know "
            f"what the pool answered to these, {_best(rows, 'log_loss', names - set(UNREAD))}; of those that do not, "
            f"{_best(rows, 'log_loss', UNREAD)}.")


def accuracies(rows: pd.DataFrame) -> str:
    """Errors of the mean score, from `new_models.summary`."""
    own, raw = (_at(rows, method, "rmse")["value"] for method in (OURS, RAW))
    worth = 1 / _at(rows, OURS, "over_raw")[["value", "high", "low"]]  # so many times the answers
    told = listed(f"{n:,} answers {own[n]:.3f} against {raw[n]:.3f}, what the mean of {n * worth['value'][n]:,.0f} "
                  f"({n * worth['high'][n]:,.0f} to {n * worth['low'][n]:,.0f}) would reach" for n in _some(own.index))
    ranks = listed(f"{ours:.2f} against {other:.2f} ({n:,})" for n, ours, other in (
        (n, *(_at(rows, name, "rank").loc[n, "value"] for name in (OURS, RAW))) for n in _some(own.index)))
    return (f"RMSE of the mean score over all questions, onboarding against the raw mean of the answers: {told}. "
            f"Lowest: {_best(rows, 'rmse', set(rows['method']))}. Rank correlation among new models: {ranks}.")


def sized(rows: pd.DataFrame) -> str:
    """What a model's size tells, from `new_models.summary`."""
    own, without, ratio = (_at(rows, *of) for of in ((SIZED, "rmse"), (OURS, "rmse"), (SIZED, "over_untold")))
    if (ratio["value"] == 1).all():
        return "Sizes are not known, or tell nothing."
    own, without = own["value"], without["value"]
    told = listed(f"{own[n]:.3f} against {without[n]:.3f} ({n:,})" for n in _some(own.index))
    few = ratio.iloc[0]
    return (f"RMSE of the mean score where its size is told, against onboarding without: {told}; squares over each "
            f"other {few['value']:.2f} ({few['low']:.2f} to {few['high']:.2f}) with {ratio.index[0]} answers.")


def coordinates(rows: pd.DataFrame) -> str:
    """What a vector adds to a level, from `new_models.summary`."""
    gap = _at(rows, OURS, "over_level")
    told = listed(_thousandths(gap.loc[n], n) for n in _some(gap.index))
    return ("Error of the benchmarks' mean scores with a vector minus that with its level alone, in thousandths, by "
            f"number of answers: {told}.")


def trained_anew(rows: pd.DataFrame) -> str:
    """Onboarding beside training everything anew, from `new_models.summary`."""
    over, changed = _at(rows, TEXT, "over_anew"), _at(rows, TEXT, "changed")["value"]
    if over.empty:
        return "Nothing was trained anew here."
    said = ("less than" if (over["high"] < 0).all() else "more than" if (over["low"] > 0).all() else
            "as much, as far as can be told, as")
    told = listed(f"{_thousandths(row, n)}, {changed[n]:.0%} of the forecasts on the other side of one half"
                  for n, row in over.iterrows())
    return (f"Onboarding from the text loses {said} a training anew on questions that were not asked (in thousandths "
            f"of a nat, by number of answers: {told}).")


def routed(rows: pd.DataFrame) -> str:
    """What a new model brings to a router, from `new_models.summary`."""
    own, regret = (_at(rows, TEXT, name) for name in ("routed", "regret"))
    told = listed(_thousandths(own.loc[n], n) for n in _some(own.index))
    left = listed(f"{1000 * regret.loc[n, 'value']:.0f} ({n:,})" for n in _some(own.index))
    return ("Score that a router over the pool gains, or loses, by asking the new model where its forecast is highest, "
            f"in thousandths, by number of answers: {told}. Who knew all answers would gain so much more: {left}.")


def chosen(ratios: pd.DataFrame) -> str:
    """What choosing questions and what the model saves, from `question_choice.ratios`."""
    said = []
    for due, own in ratios[ratios["n"].isin(_some(ratios["n"]))].groupby("due_to", sort=False):
        told = listed(f"{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f}; {row.n:,})" for row in own.itertuples())
        said.append(f"{due} {told}")
    return f"Mean squared error over that of the other way, by number of answers: due to {'; due to '.join(said)}."


def covered(rows: pd.DataFrame) -> str:
    """Whether intervals hold what they promise, from `new_models.summary`."""
    whole, parts = (_at(rows, OURS, name) for name in ("covered", "benchmarks_covered"))
    told = listed(f"{whole.loc[n, 'value']:.0%} ({whole.loc[n, 'low']:.0%} to {whole.loc[n, 'high']:.0%}) and "
                  f"{parts.loc[n, 'value']:.0%} ({n:,})" for n in _some(whole.index))
    return (f"Share of intervals of 95 % that hold the truth, of a mean score and of one on a benchmark, over "
            f"{whole['n_lineages'].iloc[0]} lineages, by number of answers: {told}.")


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
        return (f"{rule}: {row['value']:.0f} ({row['low']:.0f} to {row['high']:.0f}){full}, {share['rmse']:.3f}, "
                f"{share['covered']:.0%} and {share['always']:.0%}")

    return (f"Answers when half the interval of 95 % is at most {rows['aim'].iloc[0]:g}, or half of the questions or "
            f"{MOST:,} are asked; RMSE of the mean score; share of intervals that hold it then, and at every look "
            f"until then: {'; '.join(map(told, rows['rule'].unique()))}.")


def odd(rows: pd.DataFrame) -> str:
    """Whether models unlike the pool are noticed, from `odd_models.summary`."""
    at = rows["n"].unique()[len(rows["n"].unique()) // 2]
    own = rows[rows["n"] == at].set_index("kind")
    told = listed(f"{kind} {row['flagged']:.0%} ({row['unnoticed']:.0%})" for kind, row in own.iterrows())
    return (f"Share of models that are flagged as unlike the pool after {at} answers, and of those that are not "
            f"although the interval misses their mean score: {told}.")


def related(rows: pd.DataFrame) -> str:
    """What relatives in the pool are worth, from `relatives.summary`."""
    own, other = (rows[rows["prior"] == prior].set_index("n") for prior in (RELATED, ANY))
    some = _some(own.index)
    told = listed(_thousandths(own.loc[n].rename({"difference": "value"}), n) for n in some)
    errors = listed(f"{own.loc[n, 'rmse']:.3f} against {other.loc[n, 'rmse']:.3f} ({n:,})" for n in some)
    return ("Log-loss of a new model that is expected around its relatives minus that of one expected around the whole "
            f"pool, in thousandths, over {own['n_lineages'].iloc[0]} lineages, by number of answers: {told}. RMSE of "
            f"its mean score: {errors}.")


def cost(table: pd.DataFrame, rows: pd.DataFrame) -> str:
    """What a new model costs, its answers included, from `bench.cost.of_a_new_model` and `new_models.summary`."""
    pool, whole = (table.iloc[at] for at in (0, 1))
    anew = table[table["training_pflop"] > 0].iloc[1:]
    said = (f"To ask a new model everything takes {whole['asking_pflop']:,.1f} PFLOP (7 billion parameters, 128 "
            f"tokens an answer, as in C6); the labels of the whole pool {pool['asking_pflop']:,.0f}, one training "
            f"{pool['training_pflop']:.2g} (as C5 counts it).")
    if len(anew):
        row = anew.iloc[0]
        share = row["training_pflop"] / (row["training_pflop"] + row["asking_pflop"])
        said += f" Beside {row['answers']:,} answers of a new model such a training is {share:.0%} of the whole."
    return f"{said} {close_enough(rows)}"


def close_enough(rows: pd.DataFrame) -> str:
    """How many answers a mean score takes, from `new_models.summary`; to what tinyBenchmarks reach on average."""
    error, said = all_claims()["Q9"].values["error"], []
    for method in (OURS, RAW):
        own = _at(rows, method, "rmse")["value"].sort_index()
        there = (own <= error).to_numpy()
        if not there.any():
            said.append(f"more than {own.index[-1]:,} by {method}")
        elif there[0]:
            said.append(f"{own.index[0]:,} at most by {method}")
        else:
            ends = own.iloc[there.argmax() - 1 : there.argmax() + 1]
            number = np.exp(np.interp(-np.log(error), -np.log(ends), np.log(ends.index.to_numpy(float))))
            said.append(f"{number:,.0f} by {method}")
    return (f"Answers for a mean score to {100 * error:g} points (RMSE, between the numbers tried): "
            f"{' and '.join(said)}.")


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
    own = own[own["size"].isin(_some(own["size"]))]
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
        f"**Accuracies.** {accuracies(rows)}", f"**A known size?** {sized(rows)}",
        f"**A vector, or a level?** {coordinates(rows)}",
        f"**Routing.** {routed(rows)}", f"**Which question next?** {chosen(ratios)}",
        f"**When to stop?** {until}", f"**Intervals.** {covered(rows)}", f"**Models unlike the others?** {unlike}",
        f"**How many models?** {portfolio(few)} {withdrawn(few)}"])


def verdict(rows: pd.DataFrame | None) -> dict:
    """Q9."""
    if rows is None:
        return {"verdict": UNTESTED, "reason": TOO_FEW}
    return {"verdict": ANSWERED, "reason": f"{trained_anew(rows)} {close_enough(rows)} {accuracies(rows)} See notebook "
            "09", "figure": "09_answers"}
