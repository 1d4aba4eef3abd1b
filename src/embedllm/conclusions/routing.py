"""What notebook 04 says: what choosing a model for each question gains over asking the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from embedllm import catalog
from embedllm.conclusions._words import LEVEL, bullets, compared, interval, sorted_by_test
from embedllm.experiments.routing import LABEL
from embedllm.experiments.specialization import FORMATTED
from embedllm.outcomes import OutcomeMatrix
from embedllm.presentation import counted, listed, literal, p_is, thousandths, unsigned

SINGLE, KNN, RANDOM = catalog.BEST_SINGLE, catalog.KNN.name, catalog.RANDOM_MODEL
OURS, CLUSTERS = catalog.OURS.name, catalog.CLUSTERS.name
RIVALS = (RANDOM, SINGLE, KNN)
COVERED = ["best", "lost", "not asked", "seeming gain", "true gain"]  # of `coverage.hidden`
STOOD = ["model", "asked", "behind", "difference", "low", "high"]  # of `coverage.incomplete`
FEW = 5  # names in a sentence
CERTAIN = 0.99  # an oracle that luck alone brings so high says nothing


def own(names: Sequence[str]) -> str:
    """The factorization whose router is compared with others: the tuned one, where it is there."""
    return catalog.TUNED.name if catalog.TUNED.name in names else catalog.FACTORIZATION.name


def policies(names: Sequence[str]) -> str:
    """Which policies follow a forecaster, as a list; what has not been said in notebook 03 is said."""
    followed = [name for name in names if catalog.POLICIES[name].forecaster]
    lines = [f"- **{', '.join(name for name in followed if name not in (OURS, CLUSTERS))}**: the model that this "
             "forecaster, explained in notebook 03, forecasts highest."]
    lines += [f"- **{OURS}**: likewise; it has to be told the benchmark as well."] * (OURS in followed)
    lines += [f"- **{CLUSTERS}**: likewise, the forecast being a model's mean score on the training questions of the "
              "cluster (k-means on prompt vectors) that the question falls into, shrunk towards its mean on all."
              ] * (CLUSTERS in followed)
    return "\n".join(lines)


def judged(before: OutcomeMatrix, after: OutcomeMatrix) -> str:
    """Which models and questions are judged of a table, and which models are not."""
    left_out, complete = before.models.index.difference(after.models.index), after.observed.all()
    before, after = before.shape, after.shape
    if not complete:
        return (f"Fewer than half of the {before[0]} models answered nearly all questions, so all stay, and each of "
                f"{after[1]:,} questions goes to one of those that answered it. *The best single model* is not one "
                "alone here: on what it was not asked the next best one stands in.")
    if before == after:
        return f"All {after[0]} models answered all {after[1]:,} questions; every question is judged."
    return (f"{after[0]} of {before[0]} models are candidates, and {after[1]:,} of {before[1]:,} questions are judged, "
            "those that all of them answered: a single model that others stand in for would be none."
            + f" Left out for its missing answers: {listed(map(literal, left_out))}." * (0 < len(left_out) <= FEW))


def gain(gains: pd.DataFrame, routers: Sequence[str]) -> str:
    """The text's router that gains most over the best single model, from `experiments.routing.gains`.

    Beside it what is gained where the benchmark is told.
    """
    found = gains[gains["method"].isin([name for name in routers if not catalog.POLICIES[name].told])]
    known = gains.set_index("method")["difference"]
    told = {"the best model of that benchmark": LABEL} | {f"the {name}": name for name in routers
                                                          if catalog.POLICIES[name].told}
    label = "".join(f" Told the benchmark, {words} gains {thousandths(known[name])}."
                    for words, name in told.items() if name in known)
    most = found.loc[found["difference"].idxmax()]
    if most["difference"] <= 0 or most["p_holm"] >= LEVEL:
        return (f"No router that reads the text alone is shown to beat always asking the best single model; the "
                f"closest, {most['method']}, "
                f"differs by {thousandths(most['difference'])} thousandths, {p_is(most['p_holm'])} after Holm.{label}")
    ahead = ((found["difference"] > 0) & (found["p_holm"] < LEVEL)).sum()
    return (f"{ahead} of {counted(len(found), 'router')} that read{'s' * (len(found) == 1)} the text alone "
            f"{'is' if ahead == 1 else 'are'} shown to score more than the best single model; most is gained by "
            f"{most['method']}, {thousandths(most['difference'])} thousandths.{label}")


def chance(gains: pd.DataFrame) -> str:
    """Where the random choice lies, which the figure leaves out; from `experiments.routing.gains`."""
    return f"A random choice lies at {thousandths(gains.set_index('method')['difference'][RANDOM])}."


def against_rivals(tests: pd.DataFrame) -> str:
    """The factorization's router against what the paper says it beats, from `fits.compare`."""
    return bullets(compared(tests[tests["reference"] == rival], tests["method"].iloc[0], "score")
                   for rival in tests["reference"])


def within(gains: pd.DataFrame) -> str:
    """Where routers gain and lose, from `experiments.routing.gains_within`."""
    shown = gains["p_holm"] < LEVEL
    said = []
    for noun, plural, rows in (("gain", "gains", gains[shown & (gains["difference"] > 0)]),
                               ("loss", "losses", gains[shown & (gains["difference"] < 0)])):
        where = sorted(set(rows["benchmark"]))
        said.append(counted(len(rows), noun, plural) + f" ({listed(map(literal, where))})" * (0 < len(where) <= FEW))
    return f"After correction for {counted(len(gains), 'comparison')} (Holm), shown are {' and '.join(said)}."


def spread(shares: pd.DataFrame) -> str:
    """How many models each router asks, from `diversity.shares`, all benchmarks together."""
    said = [f"{policy} asks {(rows['share'] > 0).sum()} of {len(rows)} models, most often "
            f"{rows.loc[rows['share'].idxmax(), 'model']} ({rows['share'].max():.0%})"
            for policy, rows in shares.groupby("policy", sort=False)]
    return "; ".join(said) + "."


def told(row: Mapping) -> str:
    """What choices tell of domain and difficulty, in bits: a row of `fits.compare` with the means and the entropy."""
    order = "more" if row["difference"] > 0 else "less"
    shown = "" if row["p"] < LEVEL else ", which is not shown to differ from zero"
    confidence = f"{100 * row.get('confidence', 1 - LEVEL):g}"
    return (f"Of the benchmark the choice tells {row['benchmark']:.3f} bits, of the difficulty "
            f"{row['difficulty']:.3f}: {abs(row['difference']):.3f} bits {order} ({confidence} % interval "
            f"{row['low']:+.3f} to {row['high']:+.3f}, {p_is(row['p'])}{shown}). The choices themselves have an "
            f"entropy of {row['entropy']:.2f} bits.")


def special(rows: pd.DataFrame) -> str:
    """What telling models apart is worth, from `specialization.specialization`."""
    said = []
    for row in rows.to_dict("records"):
        if row["method"] == FORMATTED and row["cells"] == 1:
            said.append("no model fails a suite by the form of its answers")
            continue
        shown = "not shown to differ from none" if row["p_holm"] >= LEVEL else (
            "better" if row["difference"] < 0 else "worse")
        left = "" if row["cells"] == 1 else f" ({1 - row['cells']:.1%} of the cells)"
        said.append(f"{row['method']}{left} minus {row['reference']}: {interval(row)}, {shown} (one of "
                    f"{unsigned(row['mde'])} would be found)")
    return "Log-loss with deviations, in thousandths of a nat; " + "; ".join(said) + "."


def worlds(table: pd.DataFrame) -> str:
    """Gain and diversity beside worlds without specialization, from `experiments.routing.beyond_worlds`."""
    said = []
    for name, rows in table.groupby("forecaster", sort=False):
        gain, told = (rows.set_index("quantity").loc[one] for one in ("gain", "told_benchmark"))
        beyond = "more than such worlds explain" if gain["p_adjusted"] < LEVEL else "no more than such worlds explain"
        here, there = (thousandths(gain[one]) for one in ("observed", "value"))
        said.append(f"{name} gains {here} thousandths here and {there} in worlds without specialization "
                    f"({p_is(gain['p_adjusted'])}: {beyond}); of the benchmark its choices tell {told['observed']:.2f} "
                    f"bits here and {told['value']:.2f} there")
    return "; ".join(said) + "."


def luck(oracle: pd.DataFrame) -> str:
    """The oracle beside pools without specialization, from `oracle.oracle_beside_luck`."""
    seen, null = oracle.itertuples()
    verdict = f"{p_is(seen.p)}: luck alone does not explain the oracle"
    if seen.p >= LEVEL:
        verdict = f"{p_is(seen.p)}: luck alone could explain the oracle, which is no sign that anything is left to gain"
    elif seen.value < null.value:
        verdict = f"{p_is(seen.p)}: luck alone would bring it higher"
    if null.value > CERTAIN:
        verdict = "so high that the comparison says nothing"
    return (f"The oracle reaches {seen.value:.3f}; in a pool without any specialization it would reach "
            f"{null.value:.3f} ({null.low:.3f} to {null.high:.3f} in 95 % of the draws; {verdict}).")


def unseen(rows: pd.DataFrame) -> str:
    """What forecasts and routers earn on benchmarks left out, from `experiments.unseen.losses` or ``gains``."""
    together = rows[rows["benchmark"] == "all"]
    said = []
    for method, own in together.groupby("method", sort=False):
        left_out, seen, cost = (own.set_index("kind").loc[kind] for kind in ("left out", "seen", "left out minus seen"))
        said.append(f"{method} {thousandths(left_out['difference'])} left out, {thousandths(seen['difference'])} seen, "
                    f"between them {interval(cost)}")
    what = "Score" if rows["reference"].iloc[0] == SINGLE else "Log-loss"
    return f"{what} minus that of the {rows['reference'].iloc[0]}, in thousandths: " + "; ".join(said) + "."


def elsewhere(losses: pd.DataFrame, gains: pd.DataFrame) -> str:
    """What is left of forecasts and routers on benchmarks that they never saw, from ``losses`` and ``gains``."""
    said = []
    for rows, words in ((losses, ("lower log-loss", "higher")), (gains, ("lower score of routing", "higher"))):
        own = rows[(rows["benchmark"] == "all") & (rows["kind"] == "left out")]
        lower, higher = own["method"][own["high"] < 0], own["method"][own["low"] > 0]
        said.append(f"{words[0]} than the {rows['reference'].iloc[0]}: {listed(lower)}; {words[1]}: {listed(higher)}")
    return (f"Shown on benchmarks left out, without correction: {'; '.join(said)}. {unseen(losses)} {unseen(gains)}")


def distance(rows: pd.DataFrame, reference: str) -> str:
    """Whether telling models apart pays less far from training, from `experiments.unseen.by_distance`."""
    said = []
    for row in rows.to_dict("records"):
        order = "not shown to change" if row["low"] <= 0 <= row["high"] else (
            "less is earned far away" if row["difference"] > 0 else "more is earned far away")
        said.append(f"{row['forecaster']} {thousandths(row['nearest'])} in the nearest fifth and "
                    f"{thousandths(row['farthest'])} in the farthest, over the whole range {interval(row)}: {order}")
    return f"Log-loss minus that of the {reference}, in thousandths: " + "; ".join(said) + "."


def coverage(rows: pd.DataFrame) -> str:
    """What hidden blocks do to the choice of a single model, from `experiments.coverage.hidden`."""
    said = []
    for how, own in rows.groupby("hidden", sort=False):
        lost = listed(f"{unsigned(row.lost)} ({row.rule})" for row in own.itertuples())
        said.append(f"Blocks hidden {how}: the model that is chosen falls behind the best one by {lost} thousandths")
    return ". ".join(said) + "."


def incomplete(rows: pd.DataFrame) -> str:
    """What incomplete coverage does to the best single model, from `experiments.coverage.incomplete`."""
    said = []
    for rule, own in rows.groupby("rule", sort=False):
        everywhere, asked = own.iloc[0], own.iloc[1]
        said.append(f"{rule}: {literal(everywhere['model'])}, asked {everywhere['asked']:.0%} of the questions "
                    f"and {unsigned(everywhere['behind'])} thousandths below the best in adjusted mean; over it, with "
                    f"stand-ins, the router seems to gain {interval(everywhere)}, where it was asked {interval(asked)}")
    return "Which model is the best single one? By " + "; by ".join(said) + "."


def conclusion(
    tests: pd.DataFrame, gains: pd.DataFrame, over_label: pd.DataFrame, bits: pd.DataFrame, deviations: pd.DataFrame,
    routers: Sequence[str], oracle: pd.DataFrame, best_names: Sequence[str], terms: Mapping[str, str],
    far: Sequence[pd.DataFrame | None],
) -> str:
    """Answers to the questions of the notebook: does it beat the best model, what does it cost, can it be made safe?

    Parameters
    ----------
    tests, gains, over_label, bits, deviations : DataFrame
        The factorization's router against its rivals; `experiments.routing.gains`; each router minus the best model per
        benchmark, empty where there is none; a row as for `told`; `specialization.specialization`.
    best_names : sequence of str
        The models that did best in training, in some fold.
    terms : mapping
        Sentences on ``cost`` (blank where there is none) and ``safe`` (the guard).
    far : sequence of DataFrame or None
        From `experiments.unseen.losses` and ``gains``, by benchmark.
    """
    beside = ""
    if len(over_label):
        beside = f" {sorted_by_test(over_label, 'score of routing', article='')}"
    return f"""
## What routing shows

**Does it beat asking the best model?** (Over the several fits of `make deep`, where its tables are there.) The best
single model in training is {listed(literal(name) for name in best_names)}. {gain(gains, routers)}{beside}

{against_rivals(tests)}

{luck(oracle)}

**What does it cost?** (One fit.) {terms["cost"] or "No prices and no sizes of these models are known."}

**Can it be made safe?** {terms["safe"]}

**Domain or difficulty?** {told(bits.iloc[0])} {special(deviations)}

**And on questions of another kind?** {"`make deep` computes it." if any(one is None for one in far) else
                                       elsewhere(*far)}
"""
