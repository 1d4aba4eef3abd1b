"""What notebook 04 says: what choosing a model for each question gains over asking the best one, and at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.conclusions._words import LEVEL, bullets, compared, interval
from embedllm.experiments.pricing import Priced
from embedllm.presentation import about, counted, listed, literal, p_is, thousandths, unsigned
from embedllm.routing.router import Router

SINGLE, KNN, RANDOM = catalog.BEST_SINGLE, catalog.KNN.name, catalog.RANDOM_MODEL
RIVALS = (RANDOM, SINGLE, KNN)
PROMISED = ["violated", "violated_high", "certified", "left", "kept"]  # of `guard_trials.promise`, what is shown
COVERED = ["best", "lost", "not asked", "seeming gain", "true gain"]  # of `coverage.hidden`
CERTAIN = 0.99  # an oracle that luck alone brings so high says nothing


def own(names: Sequence[str]) -> str:
    """The factorization whose router is compared with others: the tuned one, where it is there."""
    return catalog.TUNED.name if catalog.TUNED.name in names else catalog.FACTORIZATION.name


def policies(names: Sequence[str]) -> str:
    """What each policy asks and what it has to know, as a list."""
    lines = []
    for name in names:
        policy = catalog.POLICIES[name]
        if policy.forecaster:
            knows = catalog.FORECASTERS[policy.forecaster].knows
            lines.append(f"- **{name}**: the model with the highest forecast, which knows {knows}.")
    return "\n".join(lines)


def judged(before: tuple[int, int], after: tuple[int, int]) -> str:
    """Which models and questions are judged, of (models, questions)."""
    if before == after:
        return f"All {after[0]} models answered all {after[1]:,} questions; every question is judged."
    return (f"{after[0]} of {before[0]} models are candidates, and {after[1]:,} of {before[1]:,} questions are judged, "
            "those that all of them answered: a single model that others stand in for would be none.")


def gain(gains: pd.DataFrame, routers: Sequence[str]) -> str:
    """The router that gains most over the best single model, from `experiments.routing.gains`."""
    found = gains[gains["method"].isin(routers)]
    most = found.loc[found["difference"].idxmax()]
    if most["difference"] <= 0 or most["p_holm"] >= LEVEL:
        return (f"No router is shown to beat always asking the best single model; the closest, {most['method']}, "
                f"differs by {thousandths(most['difference'])} thousandths, {p_is(most['p_holm'])} after Holm.")
    ahead = ((found["difference"] > 0) & (found["p_holm"] < LEVEL)).sum()
    return (f"{ahead} of {counted(len(found), 'router')} {'is' if ahead == 1 else 'are'} shown to score more than the "
            f"best single model; most is gained by {most['method']}, {thousandths(most['difference'])} thousandths.")


def against_rivals(tests: pd.DataFrame) -> str:
    """The factorization's router against what the paper says it beats, from `fits.compare`."""
    return bullets(compared(tests[tests["reference"] == rival], tests["method"].iloc[0], "score")
                   for rival in tests["reference"])


def within(gains: pd.DataFrame) -> str:
    """Where routers gain and lose, from `experiments.routing.gains_within`."""
    shown = gains["p_holm"] < LEVEL
    above, below = (shown & (gains["difference"] > 0)).sum(), (shown & (gains["difference"] < 0)).sum()
    return (f"After correction for {counted(len(gains), 'comparison')} (Holm) {above} "
            f"{'gain is' if above == 1 else 'gains are'} shown, and {counted(below, 'loss', 'losses')}.")


def spread(shares: pd.DataFrame) -> str:
    """How many models each router asks, from `diversity.shares`, all benchmarks together."""
    said = [f"{policy} asks {(rows['share'] > 0).sum()} of {len(rows)} models, most often "
            f"{rows.loc[rows['share'].idxmax(), 'model']} ({rows['share'].max():.0%})"
            for policy, rows in shares.groupby("policy", sort=False)]
    return "; ".join(said) + "."


def told(test: Mapping, information: Mapping[str, float], entropy: float) -> str:
    """What choices tell of domain and difficulty, from a row of `fits.compare` and the means, in bits."""
    order = "more" if test["difference"] > 0 else "less"
    shown = "" if test["p"] < LEVEL else ", which is not shown to differ from zero"
    return (f"Of the benchmark the choice tells {information['benchmark']:.3f} bits, of the difficulty "
            f"{information['difficulty']:.3f}: {abs(test['difference']):.3f} bits {order} (95 % interval "
            f"{test['low']:+.3f} to {test['high']:+.3f}, {p_is(test['p'])}{shown}). The choices themselves have an "
            f"entropy of {entropy:.2f} bits.")


def special(rows: pd.DataFrame) -> str:
    """What telling models apart is worth, from `specialization.specialization`."""
    said = []
    for row in rows.to_dict("records"):
        shown = "" if row["p_holm"] < LEVEL else f", not shown; one of {unsigned(row['mde'])} would be"
        left = "" if row["cells"] == 1 else f" ({1 - row['cells']:.1%} of the cells)"
        said.append(f"{row['method']}{left} {interval(row)}{shown}")
    return "Log-loss with deviations minus without, in thousandths of a nat: " + "; ".join(said) + "."


def worlds(table: pd.DataFrame) -> str:
    """Gain and diversity beside worlds without specialization, from `experiments.routing.beyond_worlds`."""
    said = []
    for row in table[table["quantity"] == "gain"].itertuples():
        beyond = "more than such worlds explain" if row.p < LEVEL else "no more than such worlds explain"
        said.append(f"{row.forecaster} gains {thousandths(row.observed)} thousandths here and {thousandths(row.value)} "
                    f"in worlds without specialization ({p_is(row.p)}: {beyond})")
    return "; ".join(said) + "."


def luck(oracle: pd.DataFrame) -> str:
    """The oracle beside pools without specialization, from `oracle.oracle_beside_luck`."""
    seen, null = oracle.itertuples()
    verdict = f"{p_is(seen.p)}: luck alone does not explain the oracle"
    if seen.p >= LEVEL:
        verdict = f"{p_is(seen.p)}: luck alone could explain the oracle, which is no sign that anything is left to gain"
    if null.value > CERTAIN:
        verdict = "so high that the comparison says nothing"
    return (f"The oracle reaches {seen.value:.3f}; in a pool without any specialization it would reach "
            f"{null.value:.3f} ({null.low:.3f} to {null.high:.3f} in 95 % of the draws; {verdict}).")


def guard(router: Router) -> str:
    """What the guard of the router to take home certifies."""
    calibration, default = router.calibration, router.models.index[router.guard.default]
    chosen = calibration[calibration["chosen"]]
    if chosen.empty:
        return (f"No gain is certified: the guarded router always asks {default}. With more questions, or a router "
                "that gains more, it would leave.")
    row = chosen.iloc[0]
    return (f"The guard leaves {default} on {row['left']:.0%} of the questions, where another model leads by "
            f"{row['threshold']:.3f} or more. On questions that nothing else used it gained "
            f"{thousandths(row['gain'])} thousandths; certified, with {1 - router.guard.delta:.0%} confidence, is that "
            f"it loses no more than {unsigned(router.guard.epsilon)} thousandths on new questions of this kind.")


def guarded(gains: pd.DataFrame, left: float) -> str:
    """The guarded router beside the unguarded one, from `experiments.routing.gains`."""
    rows = gains.set_index("method")
    said = [f"{name} {interval(rows.loc[name])}" for name in ("guarded", "unguarded", "best per benchmark")]
    return (f"Gain over the best single model, in thousandths: {listed(said)}. The guard leaves the default model on "
            f"{left:.0%} of the questions on average.")


def broken(rows: pd.DataFrame, epsilon: float) -> str:
    """Where the guard's promise does not hold: benchmarks it never saw, from `guarding.beyond`."""
    beyond = rows["guarded"] + 2 * rows["guarded_se"] < -epsilon
    names = listed(rows["benchmark"][beyond])
    lost = f"{names}, by more than the {unsigned(epsilon)} thousandths that it allows" if beyond.any() else "none"
    return (f"On benchmarks that neither the router nor its guard had seen the guarantee does not apply. The guarded "
            f"router is shown to lose on {beyond.sum()} of {len(rows)} ({lost}); its mean gain over benchmarks is "
            f"{thousandths(rows['guarded'].mean())} thousandths, unguarded {thousandths(rows['unguarded'].mean())}.")


def promise(table: pd.DataFrame) -> str:
    """Whether the guard keeps its promise on planted pools, from `guard_trials.promise`."""
    worst = table.loc[table["violated"].idxmax()]
    edge = table[table["pool"] == "boundary"]
    return (f"The promise is broken in at most {worst['violated']:.1%} of the calibrations (pool {worst['pool']}, "
            f"{worst['questions']:,} questions), where 5 % are allowed; at the boundary, where leaving loses exactly "
            f"what is allowed, in {edge['violated'].min():.1%} to {edge['violated'].max():.1%}.")


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


def unseen(rows: pd.DataFrame) -> str:
    """What forecasts and routers earn on benchmarks left out, from `experiments.unseen.losses` or ``gains``."""
    together = rows[rows["benchmark"] == "all"]
    said = []
    for method, own in together.groupby("method", sort=False):
        left_out, seen = (own.set_index("kind").loc[kind] for kind in ("left out", "seen"))
        said.append(f"{method} {interval(left_out)} where a benchmark was left out, {interval(seen)} where it was seen")
    return f"Minus the {rows['reference'].iloc[0]}, in thousandths: " + "; ".join(said) + "."


def coverage(rows: pd.DataFrame) -> str:
    """What hidden blocks do to the choice of a single model, from `experiments.coverage.hidden`."""
    said = []
    for how, own in rows.groupby("hidden", sort=False):
        lost = listed(f"{unsigned(row.lost)} ({row.rule})" for row in own.itertuples())
        said.append(f"Blocks hidden {how}: the model that is chosen falls behind the best one by {lost} thousandths")
    return ". ".join(said) + "."


def speed(measured: pd.DataFrame, published: float) -> str:
    """How fast a router decides, from the table ``timing_speed`` of `make bench`."""
    rows = measured.set_index("what")["value"]
    batch, single, encoded = (rows[name] for name in ("routing decisions, a batch",
                                                      "routing decision, a single question, median",
                                                      "prompts encoded (MiniLM)"))
    return (f"Once its prompt is a vector, the factorization chooses for one question in {about(single)} microseconds, "
            f"and for {about(batch)} questions a second in a batch, where the literature says {about(published)}; that "
            f"is the same stage. Turning prompts into vectors takes {about(1000 / encoded)} milliseconds a prompt of a "
            "batch, which all routers need. The machine and the rest: [figures/bench](../figures/bench/README.md).")


def conclusion(
    tests: pd.DataFrame, gains: pd.DataFrame, routers: Sequence[str], oracle: pd.DataFrame, best_names: Sequence[str],
) -> str:
    """What routing shows.

    Parameters
    ----------
    tests : DataFrame
        The factorization's router against its rivals.
    gains : DataFrame
        From `experiments.routing.gains`.
    best_names : sequence of str
        The models that did best in training, in some fold.
    """
    rows, label = gains.set_index("method"), "best per benchmark"
    text = [name for name in routers if not catalog.POLICIES[name].told and name in rows.index]
    best_text = rows.loc[text, "difference"].idxmax()
    beside = ""
    if label in rows.index:
        by_label, by_text = (thousandths(rows.loc[name, "difference"]) for name in (label, best_text))
        beside = (f" Being told the benchmark and asking the best model there gains {by_label}; the best router that "
                  f"reads the text alone, {best_text}, {by_text}.")
    return f"""
## What routing shows

The best single model in training is {listed(literal(name) for name in best_names)}. {gain(gains, routers)}{beside}

{against_rivals(tests)}

{luck(oracle)}
"""
