"""What notebook 09 says of n answers: what a vector from them is worth, and what it costs (`new_models.summary`)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from embedllm.claims import all_claims
from embedllm.evaluation.intervals import ALPHA
from embedllm.experiments.new_models import ANEW, LABELED, OURS, RAW, SIZED, TEXT, UNREAD
from embedllm.presentation import listed

NEAR = 0.02  # coverage from what is promised, on a planted pool


def _at(rows: pd.DataFrame, method: str, measure: str) -> pd.DataFrame:
    return rows[(rows["method"] == method) & (rows["measure"] == measure)].set_index("n")


def some(numbers: Iterable[int]) -> list[int]:
    """The fewest, a middle one and the most answers."""
    own = sorted(set(numbers))
    return sorted({own[0], own[len(own) // 2], own[-1]})


def thousandths_of(row: pd.Series, n: int) -> str:
    """A difference with its interval, and the number of answers that it is of."""
    value, low, high = 1000 * row[["value", "low", "high"]]
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f}; {n:,})"


def _best(rows: pd.DataFrame, measure: str, methods: Iterable[str]) -> str:
    """Who errs least with few, some and many answers; not a training anew, which is for some of the models only."""
    own = rows[(rows["measure"] == measure) & rows["method"].isin(set(methods) - {ANEW})]
    least = own.loc[own.groupby("n")["value"].idxmin()].set_index("n").loc[some(own["n"])]
    return listed(f"{name} ({'; '.join(f'{n:,}: {value:.3f}' for n, value in one['value'].items())})"
                  for name, one in least.groupby("method", sort=False))


def base(rows: pd.DataFrame) -> str:
    """What is rested on, from `new_models.curves`."""
    return (f"{rows['model'].nunique()} models of {rows['lineage'].nunique()} lineages have answered everything and "
            f"play the new models, of pools of {rows['n_pool'].min()} to {rows['n_pool'].max()}. "
            "Intervals of 95 % over lineages hold each for itself, not for all together.")


def forecasts(rows: pd.DataFrame) -> str:
    """Log-loss on other questions, from `new_models.summary`."""
    names = set(rows["method"])
    return ("Lowest log-loss on questions that the new model was not asked, by number of answers: of methods that know "
            f"what the pool answered to these, {_best(rows, 'log_loss', names - set(UNREAD))}; of those that do not, "
            f"{_best(rows, 'log_loss', UNREAD)}. {over_ridge(rows)}")


def over_ridge(rows: pd.DataFrame) -> str:
    """Onboarding from the text beside one number for each benchmark, from `new_models.summary`."""
    gaps = {name: _at(rows, name, "over_ridge") for name in (TEXT, LABELED)}
    told = "; ".join(f"{name} {listed(thousandths_of(gap.loc[n], n) for n in some(gap.index))}"
                     for name, gap in gaps.items())
    return ("Log-loss minus that of the ridge on accuracies, one number for each benchmark and no text, in "
            f"thousandths: {told}.")


def accuracies(rows: pd.DataFrame) -> str:
    """Errors of the mean score, from `new_models.summary`."""
    own, raw, worth = (_at(rows, *of) for of in ((OURS, "rmse"), (RAW, "rmse"), (OURS, "worth")))
    told = listed(f"{n:,} answers {own['value'][n]:.3f} against {raw['value'][n]:.3f}, what the mean of "
                  f"{worth['value'][n]:,.0f} ({worth['low'][n]:,.0f} to {worth['high'][n]:,.0f}) would reach"
                  for n in some(own.index))
    ranks = listed(f"{ours:.2f} against {other:.2f} ({n:,})" for n, ours, other in (
        (n, *(_at(rows, name, "rank").loc[n, "value"] for name in (OURS, RAW))) for n in some(own.index)))
    return (f"RMSE of the mean score over all questions, onboarding against the raw mean of the answers: {told}. "
            f"Lowest: {_best(rows, 'rmse', set(rows['method']))}. Rank correlation among new models: {ranks}.")


def sized(rows: pd.DataFrame) -> str:
    """What a model's size tells, from `new_models.summary`."""
    ratio = _at(rows, SIZED, "over_untold")
    if ratio.empty or np.allclose(ratio["value"], 1):
        return "Sizes are not known, or tell nothing."
    told = listed(f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f}; {n:,})"
                  for n, row in ratio.loc[some(ratio.index)].iterrows())
    return (f"Mean squared error of the mean score where its size is told over that where it is not, over "
            f"{ratio['n_lineages'].iloc[0]} lineages of known size, by number of answers: {told}.")


def coordinates(rows: pd.DataFrame) -> str:
    """What a vector adds to a level, from `new_models.summary`."""
    gap = _at(rows, OURS, "over_level")
    told = listed(thousandths_of(gap.loc[n], n) for n in some(gap.index))
    return ("Error of the benchmarks' mean scores with a vector minus that with its level alone, in thousandths, by "
            f"number of answers: {told}.")


def avoided(rows: pd.DataFrame) -> str:
    """Whether a new model can do without a training anew, from `new_models.summary`."""
    over = _at(rows, TEXT, "over_anew")
    if over.empty:
        return "Nothing was trained anew here."
    found = {"lower": over["high"] < 0, "higher": over["low"] > 0,
             "found neither lower nor higher": (over["low"] <= 0) & (over["high"] >= 0)}
    said = listed(f"{what} with {listed(f'{n:,}' for n in over.index[which])} answers" for what, which in found.items()
                  if which.any())
    can = "can be avoided at some loss" if found["higher"].any() else "can be avoided"
    return f"A training anew {can}: log-loss from the text alone is {said}."


def similar(rows: pd.DataFrame) -> str:
    """Whether the models that are called most alike are, from `new_models.summary`."""
    own, chance = (_at(rows, TEXT, name)["value"] for name in ("similar", "similar_by_chance"))
    told = listed(f"{own[n]:.0%} ({n:,})" for n in some(own.index))
    return (f"Share of the five models with the closest vectors that are among the five closest with answers to half "
            f"of the questions, by number of answers: {told}; by chance {chance.iloc[0]:.0%}.")


def differences(rows: pd.DataFrame) -> str:
    """Onboarding beside training everything anew, in numbers, from `new_models.summary`."""
    over, changed = _at(rows, TEXT, "over_anew"), _at(rows, TEXT, "changed")["value"]
    if over.empty:
        return ""
    told = listed(thousandths_of(row, n) for n, row in over.iterrows())
    return (f"Log-loss from the text alone, on questions that were not asked, minus that of a training anew, in "
            f"thousandths of a nat, over {over['n_lineages'].iloc[0]} lineages, by number of answers: {told}; of the "
            f"forecasts {listed(f'{share:.0%}' for share in changed)} lie on other sides of one half.")


def routed(rows: pd.DataFrame) -> str:
    """What a new model brings to a router, from `new_models.summary`."""
    own, regret = (_at(rows, TEXT, name) for name in ("routed", "regret"))
    told, left = (listed(thousandths_of(of.loc[n], n) for n in some(of.index)) for of in (own, regret))
    return ("Score that a router over the pool gains, or loses, by asking the new model where its forecast is highest, "
            f"in thousandths, by number of answers: {told}. Regret, how much more it would be with answers to all that "
            f"may be asked: {left}.")


def covered(rows: pd.DataFrame, source: str) -> str:
    """Whether intervals hold what they promise, from `new_models.summary`; of a planted pool how near."""
    whole, parts = (_at(rows, OURS, name) for name in ("covered", "benchmarks_covered"))
    told = listed(f"{whole.loc[n, 'value']:.0%} ({whole.loc[n, 'low']:.0%} to {whole.loc[n, 'high']:.0%}) and "
                  f"{parts.loc[n, 'value']:.0%} ({n:,})" for n in some(whole.index))
    found = (f"Share of intervals of 95 % that hold the truth, of a mean score and of one on a benchmark, over "
             f"{whole['n_lineages'].iloc[0]} lineages, by number of answers: {told}.")
    if source == "simulated":
        near = [int(((one["value"] - (1 - ALPHA)).abs() <= NEAR).sum()) for one in (whole, parts)]
        found += (f" Models here are drawn as the pool's are: within {100 * NEAR:g} points of what is promised is "
                  f"asked, and kept with {near[0]} and {near[1]} of {len(whole)} numbers of answers.")
    return found


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
        own = _at(rows, method, "rmse").sort_index()
        value, low, high = (_reached(own[name], error) for name in ("value", "low", "high"))
        said.append(f"{value} ({low} to {high}) by {method}")
    return (f"Answers for a mean score to {100 * error:g} points (RMSE, between the numbers tried): "
            f"{' and '.join(said)}.")


def _reached(errors: pd.Series, error: float) -> str:
    """The number of answers at which a curve comes down to an error, on logarithmic scales."""
    there = (errors <= error).to_numpy()
    if not there.any():
        return f"more than {errors.index[-1]:,}"
    if there[0]:
        return f"at most {errors.index[0]:,}"
    ends = errors.iloc[there.argmax() - 1 : there.argmax() + 1]
    return f"{np.exp(np.interp(-np.log(error), -np.log(ends), np.log(ends.index.to_numpy(float)))):,.0f}"
