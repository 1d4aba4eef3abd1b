"""On what terms notebook 04 says that a router may be taken: what a guard certifies, and what is reached at a price."""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm.conclusions._words import LEVEL, interval
from embedllm.experiments.pricing import Priced
from embedllm.presentation import counted, listed, literal, thousandths, unsigned
from embedllm.routing.price import years
from embedllm.routing.router import Router

NAMED = 10  # models without a price, at most
PROMISED = ["violated", "violated_high", "leaves", "left", "kept"]  # of `guard_trials.promise`, what is shown


def guard(router: Router) -> str:
    """What the guard of the router to take home certifies."""
    calibration, default = router.calibration, router.models.index[router.guard.default]
    chosen = calibration[calibration["chosen"]]
    if chosen.empty:
        if calibration.empty:
            why = "no other model leads on the questions that thresholds come from"
        elif calibration["certified"].any():
            why = "on the questions that calibrate, no certified threshold gained anything"
        else:
            why = (f"already the first threshold, which leaves it on {calibration['left'].iloc[0]:.1%} of the "
                   "questions, is not certified")
        return (f"No gain is certified: the guarded router always asks {default}; {why}. With more questions, or a "
                "router that gains more, it could leave.")
    row = chosen.iloc[0]
    return (f"The guard leaves {default} on {row['left']:.0%} of the questions, where another model leads by "
            f"{row['threshold']:.3f} or more. On the questions that chose this, which nothing else used, it gained "
            f"{thousandths(row['gain'])} thousandths, the most of any certified threshold, so that the figure "
            f"flatters; certified, with {1 - router.guard.delta:.0%} confidence, is that it loses no more than "
            f"{unsigned(router.guard.epsilon)} thousandths on new questions of this kind.")


def guarded(gains: pd.DataFrame, left: float) -> str:
    """The guarded router beside the unguarded one, from `experiments.routing.gains`."""
    rows = gains.set_index("method")
    same = bool((rows.loc["guarded", ["difference", "se"]] == 0).all())
    said = [f"{name} {interval(rows.loc[name])}" for name in ("guarded", "unguarded", "best per benchmark")[same:]]
    begin = f"Gain over the best single model, in thousandths: {listed(said)}."
    if same and not left:
        return f"{begin} Guarded, no gain is certified: the default model is never left."
    free, kept = rows.loc["unguarded"], rows.loc["guarded", "difference"]
    share = f" and keeps {kept / free['difference']:.0%} of what is gained without it" * bool(free["low"] > 0)
    return (f"{begin} The guard leaves the default model on {left:.0%} of the questions on average"
            f"{', where others score the same' if same else ''}{share}.")


def safe(router: Router, held: pd.DataFrame | None, beyond: pd.DataFrame | None, epsilon: float) -> str:
    """What a guard is worth: the saved router's certificate, the estimate over fits, and where it breaks."""
    estimated = "" if held is None else f" Estimated over several fits: {_gains(held)}."
    return guard(router) + estimated + ("" if beyond is None else f" {broken(beyond, epsilon)}")


def _gains(held: pd.DataFrame) -> str:
    rows = held.set_index("method")
    return listed(f"{name} {interval(rows.loc[name])}" for name in ("guarded", "unguarded"))


def broken(rows: pd.DataFrame, epsilon: float) -> str:
    """Where the guard's promise does not hold: benchmarks it never saw, from `guarding.beyond`."""
    says = "On benchmarks that neither the router nor its guard had seen the guarantee does not apply."
    own, free = (rows[rows["method"] == name] for name in ("guarded", "unguarded"))
    if own.empty:
        return f"{says} No benchmark could be left out here."
    names = [literal(name) for name in own["benchmark"][own["p_holm"] < LEVEL]]
    total = counted(len(own), "benchmark")
    stayed = int((own["left"] == 0).sum())
    never = f"{counted(stayed, 'guard')} never left the default model, where nothing can be lost" if stayed else (
        "all guards left the default model")
    where = f"{listed(names)}, after Holm, {len(names)} of {total}" if names else f"none of {total}, after Holm"
    return (f"{says} With one fit, that the guarded router loses more than the {unsigned(epsilon)} thousandths that it "
            f"allows is shown on {where}; {never}. Its mean gain over benchmarks is "
            f"{thousandths(own['difference'].mean())} thousandths, unguarded {thousandths(free['difference'].mean())}.")


def promise(table: pd.DataFrame) -> str:
    """Whether the guard keeps its promise on planted pools, from `guard_trials.promise`."""
    worst = table.loc[table["violated"].idxmax()]
    edge, regret = table[table["pool"] == "boundary"], table["regret"].dropna()
    return (f"The promise is broken in at most {worst['violated']:.1%} of the calibrations (pool {worst['pool']}, "
            f"{worst['questions']:,} questions), where 5 % are allowed; at the boundary, where leaving loses exactly "
            f"what is allowed, in {edge['violated'].min():.1%} to {edge['violated'].max():.1%}. It is against the "
            f"default model, which is itself truly {unsigned(regret.min())} to {unsigned(regret.max())} thousandths "
            "below the best one, on average over pools.")


def basis(prices: pd.DataFrame) -> str:
    """How the prices of a pool are known, from `price.of_models`."""
    counts = prices["basis"].value_counts()
    names = {"given": "given with the data", "listed": "of the model's own provider", "size class": "by size class"}
    known = [f"{counts[one]} {words}" for one, words in names.items() if one in counts]
    if not known:
        return "No model of this table has a price or a known size: a column `cost` of `models.csv` brings it here."
    of = years(prices["source"])
    when = f", of {of[0]}{f' to {of[-1]}' if len(of) > 1 else ''}" if of else ""
    missing = list(prices.index[prices["basis"] == ""])
    few = [literal(name) for name in missing[:NAMED]] + [f"{len(missing) - NAMED} more"] * (len(missing) > NAMED)
    verbs = ("has", "is") if len(missing) == 1 else ("have", "are")
    without = f" {listed(few)} {verbs[0]} no price and {verbs[1]} left out here." if missing else ""
    sources = [f"- {source}" for source in dict.fromkeys(prices["source"]) if source]
    return f"Prices{when}: {listed(known)}.{without}\n\n" + "\n".join(sources)


def price(found: Priced) -> str:
    """What is reached at equal prices; nothing where fewer than two models have one."""
    if found.models.empty:
        return ""
    best, reach = found.models.loc[found.models["score"].idxmax()], found.reach.set_index("policy")
    most = found.area.iloc[0]
    cost = reach["share"].get(most["method"], np.nan)
    says = (f"reaches that score at {cost:.0%} of that price (point estimate, in hindsight)" if cost < 1 else
            "does not reach that score for less")
    shown = "" if most["p_holm"] < LEVEL else ", a difference that is not shown"
    return (f"The best priced model in hindsight, on the judged questions, is {best['model']} at {best['price']:.3g}; "
            f"{most['method']}, the router with the largest area, {says}. The mean score of that router over all "
            f"prices minus that of the best fixed mix of models at the same price is "
            f"{thousandths(most['difference'])} thousandths{shown}.")


def saving(router: Router) -> str:
    """How little a router may cost, from its ``savings``."""
    if router.best_priced is None:
        return "No saving is certified: no model has a price."
    path, default = router.savings, literal(router.best_priced)
    named = f"{default}, the priced model that did best on the other questions"
    chosen = path[path["chosen"]]
    if chosen.empty:
        return f"No saving is certified: nothing cheaper is shown to lose next to nothing against {named}."
    row = chosen.iloc[0]
    return (f"Certified, with {1 - router.guard.delta:.0%} confidence: asked with `thrifty=True`, the router loses no "
            f"more than {unsigned(router.guard.epsilon)} thousandths against {named}. On the questions that certify "
            f"this, means that are not certified themselves: it cost {row['price']:.3g}, {row['saved']:.0%} less than "
            f"{default}, and gained {thousandths(row['gain'])} thousandths.")
