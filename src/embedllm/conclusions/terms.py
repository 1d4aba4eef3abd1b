"""On what terms notebook 04 says that a router may be taken: what a guard certifies, and what is reached at a price."""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm.conclusions._words import LEVEL, interval
from embedllm.experiments.pricing import Priced
from embedllm.presentation import counted, listed, literal, thousandths, unsigned
from embedllm.routing.router import Router

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
    return (f"{begin} The guard leaves the default model on {left:.0%} of the questions on average"
            f"{', where others score the same' if same else ''}.")


def broken(rows: pd.DataFrame, epsilon: float) -> str:
    """Where the guard's promise does not hold: benchmarks it never saw, from `guarding.beyond`."""
    says = "On benchmarks that neither the router nor its guard had seen the guarantee does not apply."
    own, free = (rows[rows["method"] == name] for name in ("guarded", "unguarded"))
    if own.empty:
        return f"{says} No benchmark could be left out here."
    names = [literal(name) for name in own["benchmark"][own["p_holm"] < LEVEL]]
    total = counted(len(own), "benchmark")
    where = f"{listed(names)}, after Holm, {len(names)} of {total}" if names else f"none of {total}, after Holm"
    return (f"{says} That the guarded router loses more than the {unsigned(epsilon)} thousandths that it allows is "
            f"shown on {where}. Its mean gain over benchmarks is {thousandths(own['difference'].mean())} thousandths, "
            f"unguarded {thousandths(free['difference'].mean())}.")


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
    without = f" {counts['']} models have none and are left out here." if "" in counts else ""
    sources = [f"- {source}" for source in dict.fromkeys(prices["source"]) if source]
    return f"Prices: {listed(known)}.{without}\n\n" + "\n".join(sources)


def price(found: Priced) -> str:
    """What is reached at equal prices."""
    best, reach = found.models.loc[found.models["score"].idxmax()], found.reach.set_index("policy")
    most = found.area.iloc[0]
    cost = reach["share"].get(most["method"], np.nan)
    says = f"reaches its score at {cost:.0%} of its price" if cost < 1 else "does not reach its score for less"
    shown = "" if most["p_holm"] < LEVEL else ", a difference that is not shown"
    return (f"The best priced model is {best['model']} at {best['price']:.3g}; {most['method']} {says}. Its score "
            f"minus that of the best fixed mix of models at the same price, over all prices, is "
            f"{thousandths(most['difference'])} thousandths{shown}.")


def saving(path: pd.DataFrame) -> str:
    """How little a router may cost, from `experiments.pricing.certified_saving`."""
    chosen, default = path[path["chosen"]], path.attrs["default"]
    if chosen.empty:
        return f"No saving is certified: nothing cheaper is shown to lose next to nothing against {default}."
    row = chosen.iloc[0]
    return (f"Certified: asked at {row['price']:.3g} on average, {row['saved']:.0%} less than {default} costs, the "
            f"router loses next to nothing against it; on the questions that certify it gained "
            f"{thousandths(row['gain'])} thousandths.")
