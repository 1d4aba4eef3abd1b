"""What notebook 05 says: what the model vectors know about the models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import t

from embedllm.conclusions._words import LEVEL, bullets
from embedllm.experiments import stability
from embedllm.experiments.benchmark_prediction import CONVEX, TEXT, VECTORS
from embedllm.experiments.probes import RAW, WITH, WITHOUT
from embedllm.presentation import counted, listed, literal, p_is, thousandths
from embedllm.probing import scores

OWN, FORECASTS = VECTORS[CONVEX], TEXT[CONVEX]
TOO_FEW = "Fewer than two benchmarks can be left out: nothing to predict."


def _span(row: Mapping, name: str = "difference") -> str:
    """A difference in squared error with its interval."""
    return f"{row[name]:+.2f} ({row['low']:+.2f} to {row['high']:+.2f}, {p_is(row['p'])})"


def predicted(rows: pd.DataFrame, own: str) -> str:
    """How well one method predicts what was not measured, beside the others: from `benchmark_prediction.pooled`."""
    errors = rows.set_index("method")
    others = listed(f"{name} {errors.loc[name, 'error']:.2f}" for name in errors.index if name != own)
    return (f"Squared error in units of the variance over {errors['n_lineages'].iloc[0]} lineages: {own} "
            f"{errors.loc[own, 'error']:.2f}; {others}. Minus the {scores.MEAN}, {own}: {_span(errors.loc[own])}.")


def by_unit(rows: pd.DataFrame) -> str:
    """What other units than lineages change, from `benchmark_prediction.by_unit`."""
    told = "; ".join(f"{row['units']} ({row['n_lineages']}) {_span(row)}" for row in rows.iloc[1:].to_dict("records"))
    return f"The same difference over other units: {told}."


def best(rows: pd.DataFrame) -> str:
    """Which methods err less than the mean elsewhere, which more; from `benchmark_prediction.pooled`."""
    own = rows[rows["method"] != scores.MEAN]
    less, more = (own["method"][(own["p"] < LEVEL) & (sign * own["difference"] > 0)] for sign in (-1, 1))
    return (f"Compared with the {scores.MEAN}, each tested at 5 % without correction: a lower error with "
            f"{listed(less)}; a higher one with {listed(more)}. The lowest is that of "
            f"{rows.loc[rows['error'].idxmin(), 'method']}.")


def significant(rows: pd.DataFrame) -> str:
    """What the paper's regressions say, from `benchmark_prediction.regressions`."""
    own = rows[(rows["predictors"] == OWN) & rows["p"].notna()]
    if own.empty:
        return f"Regressions are not testable on this table ({literal(rows['note'].iloc[0])})."
    counts = {words: int((own[name] < LEVEL).sum()) for words, name in (
        ("the classical F test", "p_holm"), ("the test by lineages", "p_lineage_holm"),
        ("the test by families", "p_family_holm"))}
    told = listed(f"{number} by {words}" for words, number in counts.items())
    floors = own[["p_lineage_attainable", "p_family_attainable"]].max()
    return (f"A regression of the accuracy on {OWN} is significant, after Holm, on {told}, of "
            f"{counted(len(own), 'benchmark')} (the smallest p that these can reach: {floors.iloc[0]:.2g} and "
            f"{floors.iloc[1]:.2g}).")


def closer(pooled: pd.DataFrame) -> str:
    """Whether lineages of one size lie closer together, by distance; from `probes.by_size`."""
    said = []
    for row in pooled.to_dict("records"):
        if row["note"]:
            said.append(f"{row['distance']}: {row['note']}")
            continue
        said.append(f"{row['distance']} {row['gap']:+.2g} ({p_is(row['p_closer'])}; at least "
                    f"{row['p_attainable']:.2g}; sizes moved across families: {p_is(row['p_across'])})")
    return f"Mean distance within a size class minus that to the others, over the classes: {'; '.join(said)}."


def between(pooled: pd.DataFrame, everyone: pd.DataFrame) -> str:
    """Pairs of different families alone, and what changes where near-copies count; from `probes.by_size`, twice."""
    row, whole = (one.set_index("distance").loc[WITH] for one in (pooled, everyone))
    told = row["between_note"] or (f"mean distance ({WITH}) of one size class minus that of two "
                                   f"{row['between_gap']:+.2g}, {p_is(row['between_p'])}")
    return (f"Between families alone: {told}. With every near-copy, the sum over classes: {whole['gap']:+.2g}, "
            f"{p_is(whole['p_closer'])}.")


def groups(rows: pd.DataFrame) -> str:
    """Which communities are shown to lie closer, from `probes.communities`."""
    said = []
    for by, own in rows.groupby("by", sort=False):
        parts = []
        for distance, some in own.groupby("distance", sort=False):
            tested = some["p_family"].notna() & (some["p_attainable"] * some["p_family"].notna().sum() < LEVEL)
            shown = some["community"][(some["difference"] < 0) & (some["p_holm"] < LEVEL)]
            parts.append(f"{len(shown)} of {tested.sum()} ({distance})" if tested.any() else
                         f"not testable ({distance})")
        said.append(f"by {by} {listed(parts)}")
    return ("Communities shown to lie closer together than to the others, after Holm, of those that a test could show: "
            f"{'; '.join(said)}.")


def alike(rows: pd.DataFrame) -> str:
    """How much models of a size differ from each other (Q1), from `sizes.alike_by_size`."""
    if len(rows) < 2:
        return "Fewer than two size bands of six lineages: nothing to compare."
    small, large = rows.iloc[0], rows.iloc[-1]

    def both(name: str) -> str:
        gap = large[name] - small[name]
        reach = t.isf(LEVEL / 2, rows["n_lineages"].min() - 1) * np.hypot(small[f"{name}_se"], large[f"{name}_se"])
        return (f"{small[name]:.2f} and {large[name]:.2f} (difference {gap:+.2f}, {gap - reach:+.2f} to "
                f"{gap + reach:+.2f})")

    return (f"Models {small['size']} and {large['size']}, with 95 % intervals by the jackknife: SD of the logit of "
            f"accuracy {both('spread')}; share of questions on which two disagree {both('disagreement')}; likeness of "
            f"answers beyond ability and difficulty {both('alike')}.")


def read_off(rows: pd.DataFrame) -> str:
    """What a linear map reads off the vectors, from `linear_probes.probe`."""
    tested, untested = rows[rows["note"] == ""], rows["target"][rows["note"] != ""]
    told = listed(f"{row.target} {row.score:.2f} (random labels {row.random:.2f}, {p_is(row.p)})"
                  for row in tested.itertuples())
    return (f"Cross-validated over lineages, R2 or the mean share of each class that is told: {told}."
            + f" Not testable: {listed(untested)}." * bool(len(untested)))


def clustered(found: Mapping, apart: float) -> str:
    """What the clustering test says, from `clusters.clustering_test`."""
    if found["note"]:
        return f"Clusters are {found['note']}."
    return (f"Cluster index {found['index']:.3f}; samples of one normal distribution have {found['null']:.3f} "
            f"({found['low']:.3f} to {found['high']:.3f}), {p_is(found['p'])}; against samples whose first component, "
            f"which is mostly ability, is spread evenly {p_is(found['p_even'])}. Two clusters {apart:g} SD apart would "
            f"be told from both in {found['power']:.0%} of samples. Of the squared distance between the best two "
            f"groups {found['along_first']:.0%} lies along the first component; the smaller holds "
            f"{found['smaller']:.0%} of the models.")


def trusted(trust: pd.DataFrame) -> str:
    """How far maps can be believed, from `geometry.maps`."""
    rows = trust[trust["map"] != "PCA"]
    spans = listed(f"{name} {rows[name].min():.2f} to {rows[name].max():.2f}"
                   for name in ("trustworthiness", "continuity", "overlap"))
    flat = trust[trust["map"] == "PCA"].iloc[0]
    return (f"Of {counted(len(rows), 't-SNE map')} {spans}; PCA {flat['trustworthiness']:.2f}, "
            f"{flat['continuity']:.2f}, {flat['overlap']:.2f}.")


def specialized(rows: pd.DataFrame, trust: pd.DataFrame) -> str:
    """What the vectors of specialized models alone show, from `clusters.purity` and `geometry.maps`."""
    row, flat = rows.iloc[0], trust.iloc[1]
    told = row["note"] or (f"of the five nearest neighbors of other lineages {row['share']:.0%} are of the same field, "
                           f"{row['expected']:.0%} by chance, {p_is(row['p'])}")
    return (f"{row['n_models']} specialized models of {row['n_labels']} fields, trained on alone: {told}; the map "
            f"keeps {flat['overlap']:.0%} of the neighbors.")


def near(rows: pd.DataFrame) -> str:
    """Whether neighbors share what is known of models, from `probes.neighbors`."""
    own = rows[(rows["distance"] == WITH) & (rows["note"] == "")]
    told = listed(f"{row.label} {row.share:.0%} ({row.expected:.0%} by chance, {p_is(row.p)})"
                  for row in own.itertuples())
    if own.empty:
        return "Too little is known of the models to look at their neighbors."
    return f"Share of a model's five nearest neighbors of other lineages that are of its own: {told}."


def answers(rows: pd.DataFrame) -> str:
    """Whether close models answer alike, from `stability.disagreement`."""
    known = rows.set_index("distance")
    told = listed(f"{name} {known.loc[name, 'correlation']:.2f} ({p_is(known.loc[name, 'p'])})" for name in known.index
                  if pd.notna(known.loc[name, "correlation"]))
    level, beside = known["correlation"][WITH], known["correlation"][stability.BASELINE]
    more = "no more than" if not level > beside else "more than"
    return (f"Rank correlation with disagreement on held-out questions, over pairs of lineages: {told}. So the "
            f"vectors' distance tells {more} the difference in accuracy does, in this point estimate.")


def agreed(rows: pd.DataFrame) -> str:
    """How far fits agree, from `stability.variants`."""
    return "Rank correlation of distances: " + listed(f"{row.distances:.2f} ({row.compared})"
                                                      for row in rows.itertuples()) + "."


def domain(rows: pd.DataFrame) -> str:
    """What the deviations of models go with (Q8), from `domain.shares`."""
    share = rows.set_index("part")["share"]
    domain, difficulty = share[share.index.str.startswith("between")].sum(), share["along difficulty"]
    order = "more with domain" if domain > difficulty else "more with difficulty"
    return (f"Of what tells models apart in the learned logits {domain:.0%} lies between benchmarks and "
            f"{share['within benchmarks']:.0%} within them; taken apart another way, {difficulty:.0%} goes with "
            f"difficulty, and within benchmarks {share['along difficulty, within benchmarks']:.0%} of all does. It "
            f"goes {order}.")


def carried(rows: pd.DataFrame) -> str:
    """What the prompt vectors carry of the two (Q8), from `encoder_ablation.carried`."""
    row = rows.iloc[0]
    return (f"From the prompt vectors a linear reader tells the benchmark of {row['benchmark']:.0%} of the questions "
            f"(the largest has {row['largest']:.0%}), and {max(row['difficulty'], 0):.0%} of the variance of "
            "difficulty within benchmarks.")


def ablated(test: Mapping, related: Mapping) -> str:
    """What leaving benchmarks out changes (C11), from `training_ablation`."""
    told = "" if pd.isna(related["correlation"]) else (
        f" That more is lost where prompts are alike: rank correlation {related['correlation']:+.2f}, "
        f"{p_is(related['p'])}.")
    own, others, difference = (thousandths(test[name]) for name in ("own", "others", "difference"))
    return (f"In thousandths of the variance over lineages, the squared error of the probe changes by {own} on the "
            f"benchmark left out and by {others} on the others, beyond what as many random questions change; "
            f"difference {difference}, {p_is(test['p_more'])} (at least {test['p_attainable']:.2g}).{told}")


def conclusion(said: Mapping[str, str]) -> str:
    """The findings, each beside what it answers.

    Parameters
    ----------
    said : mapping
        What is asked, as in "C7, a new model", to a sentence; a blank one is left out.
    """
    return "## What the probes show\n\n" + bullets(f"**{asked}.** {answer}" for asked, answer in said.items() if answer)


def shown_distances() -> str:
    """Which distances are compared, in words."""
    return bullets([
        f"**{WITH}**: root mean square difference of two models' logits over the training prompts, by the convex "
        "embedding: what the paper measures, in coordinates that no seed decides.",
        f"**{WITHOUT}**: the same with each model's overall level, its ability, removed.",
        f"**{RAW}**: Euclidean distance of the factorization's vectors (notebook 02), which the initialization "
        "decides in part.",
    ])
