"""What notebook 05 says: what the model vectors know about the models."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from embedllm.conclusions._words import LEVEL, bullets
from embedllm.experiments import stability
from embedllm.experiments.benchmark_prediction import CONVEX, VECTORS
from embedllm.experiments.domain import ALONG, DIFFERENCE, DIFFICULTY
from embedllm.experiments.probes import RAW, WITH, WITHOUT
from embedllm.presentation import counted, listed, literal, p_is, thousandths
from embedllm.probing import scores, sizes

OWN = VECTORS[CONVEX]
TOO_FEW = "Fewer than two benchmarks can be left out: nothing to predict."


def _span(row: Mapping) -> str:
    """A difference in squared error with its interval."""
    return f"{row['difference']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f}, {p_is(row['p'])})"


def predicted(rows: pd.DataFrame, own: str) -> str:
    """How well one method predicts what was not measured, beside the others: from `benchmark_prediction.pooled`."""
    errors = rows.set_index("method")
    others = listed(f"{name} {errors.loc[name, 'error']:.2f}" for name in errors.index if name != own)
    return (f"Squared error in units of the variance over {errors['n_lineages'].iloc[0]} lineages: {own} "
            f"{errors.loc[own, 'error']:.2f}; {others}. Minus the {scores.MEAN}, {own}: {_span(errors.loc[own])}.")


def on_new_benchmarks(tables: Mapping[str, pd.DataFrame]) -> str:
    """How well a benchmark is predicted that nobody was asked, from `benchmark_prediction.pooled` by way of counting.

    Without p: all lineages share what a method gets wrong of a benchmark as a whole, and benchmarks are few.
    """
    said = []
    for way, rows in tables.items():
        errors = rows.set_index("method")["error"].sort_values()
        said.append(f"{way}: {listed(f'{name} {error:.2f}' for name, error in errors.items())}")
    return f"Squared error in units of the variance over lineages; {'; '.join(said)}."


def rivals(rows: pd.DataFrame) -> str:
    """What other methods err more or less than the model vectors, from `benchmark_prediction.pooled` against these."""
    told = "; ".join(f"{row['method']} {_span(row)}" for row in rows.to_dict("records")
                     if row["method"] not in (OWN, scores.NOTHING, scores.MEAN))
    return f"Minus the {OWN}, over the same lineages: {told}."


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


def of_classes(near: pd.DataFrame) -> str:
    """Each size class on its own, with level, from `probes.communities`."""
    own = near[(near["by"] == "size class") & (near["distance"] == WITH) & near["difference"].notna()]
    tested = ("not testable" if pd.isna(p) else p_is(p) for p in own["p_holm"])
    rows = zip(own["community"], own["difference"], tested, strict=True)
    return listed(f"{name} {difference:+.2g} ({told})" for name, difference, told in rows)


def of_families(row: Mapping) -> str:
    """Pairs of different families alone, from a row of `probes.by_size`."""
    return row["between_note"] or f"{row['between_gap']:+.2g} ({p_is(row['between_p'])})"


def between(pooled: pd.DataFrame, everyone: pd.DataFrame) -> str:
    """Pairs of different families alone, and what changes where near-copies count; from `probes.by_size`, twice."""
    row, whole = (one.set_index("distance").loc[WITH] for one in (pooled, everyone))
    return (f"Mean distance ({WITH}) of one size class minus that of two, between families alone: {of_families(row)}. "
            f"With every near-copy, over the classes within families: {whole['gap']:+.2g} ({p_is(whole['p_closer'])}).")


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


def alike(bands: pd.DataFrame) -> str:
    """How much models of a size differ from each other (Q1), from `sizes.alike_by_size`."""
    changes = sizes.trends(bands).set_index("measure")
    if changes.empty:
        return "Fewer than two size bands of six lineages: nothing to compare."

    def told(name: str) -> str:
        values, row = ", ".join(f"{value:.2f}" for value in bands[name]), changes.loc[name]
        return f"{values} (a band further {row['change']:+.3f}, {row['low']:+.3f} to {row['high']:+.3f})"

    return (f"From models {bands['size'].iloc[0]} to {bands['size'].iloc[-1]}: SD of the logit of accuracy "
            f"{told('spread')}; share of questions on which two disagree {told('disagreement')}; likeness of answers "
            f"beyond ability and difficulty, less that of any two models {told('alike')}.")


def read_off(rows: pd.DataFrame) -> str:
    """What a linear map reads off the vectors, from `linear_probes.probe`."""
    tested, untested = rows[rows["note"] == ""], rows["target"][rows["note"] != ""]
    told = "; ".join(f"{row.target} {row.score:.2f} (random labels {row.random:.2f}, {p_is(row.p)})"
                     for row in tested.itertuples())
    return (f"Cross-validated over lineages, R2 or the mean share of each class that is told: {told}."
            + f" Not testable: {listed(untested)}." * bool(len(untested)))


def clustered(found: Mapping, beyond: Mapping, apart: float) -> str:
    """What the clustering test says, from `clusters.clustering_test`, and of the components beyond the first."""
    if found["note"]:
        return f"Clusters are {found['note']}."
    rest = beyond["note"] or f"index {beyond['index']:.3f}, of normal samples {beyond['null']:.3f}, {p_is(beyond['p'])}"
    return (f"Cluster index {found['index']:.3f}; samples of one normal distribution have {found['null']:.3f} "
            f"({found['low']:.3f} to {found['high']:.3f}), {p_is(found['p'])}; against samples whose first component, "
            f"which is mostly ability, is spread evenly {p_is(found['p_even'])}. Two clusters {apart:g} SD apart would "
            f"be told from both in {found['power']:.0%} of samples. Of the squared distance between the best two "
            f"groups {found['along_first']:.0%} lies along the first component; without that component: {rest}.")


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
    return (f"Rank correlation with disagreement on held-out questions, over pairs of lineages: {told}. The vectors' "
            f"distance minus the difference in accuracy: {level - beside:+.2f}, a point estimate.")


def agreed(rows: pd.DataFrame) -> str:
    """How far fits agree, from `stability.variants`."""
    told = "; ".join(f"{row.compared} {row.distances:.2f} and {row.cka:.2f} ({row.cka_chance:.2f} by chance)"
                     for row in rows.itertuples())
    return f"Rank correlation of distances, and CKA of points: {told}."


def domain(rows: pd.DataFrame) -> str:
    """What the deviations of models go with (Q8), from `domain.shares`."""
    known = rows.set_index("part")
    share, gap = known["share"], known.loc[DIFFERENCE]
    of_domain = share[DIFFERENCE] + share[DIFFICULTY]
    order = ("more with domain" if gap["low"] > 0 else "more with difficulty" if gap["high"] < 0 else
             "with neither more than with the other")
    return (f"Of what tells models apart in the learned logits {of_domain:.0%} lies between benchmarks, and "
            f"{share[DIFFICULTY]:.0%} between as many classes of difficulty; difference {gap['share']:+.2f} "
            f"({gap['low']:+.2f} to {gap['high']:+.2f}). Within benchmarks {share[ALONG]:.0%} goes with how easy a "
            f"question looks to the text. It goes {order}.")


def carried(rows: pd.DataFrame) -> str:
    """What the prompt vectors carry of the two (Q8), from `encoder_ablation.carried`."""
    row = rows.iloc[0]
    return (f"From the prompt vectors a linear reader tells the benchmark of {row['benchmark']:.0%} of the questions "
            f"(the largest has {row['largest']:.0%}), and {max(row['difficulty'], 0):.0%} of the variance of "
            "difficulty within benchmarks.")


def ablated(test: Mapping) -> str:
    """What leaving benchmarks out changes (C11), from `training_ablation.own_against_others` and `.related`."""
    told = "" if pd.isna(test["related"]) else (
        f" That more is lost where prompts are alike: rank correlation {test['related']:+.2f}, "
        f"{p_is(test['related_p'])}.")
    own, others, difference = (thousandths(test[name]) for name in ("own", "others", "difference"))
    return (f"In thousandths of the variance over lineages, the squared error of the probe changes by {own} on the "
            f"benchmark left out and by {others} on the others, beyond what as many random questions change; "
            f"difference {difference}, {p_is(test['p_more'])} (at least {test['p_attainable']:.2g}); more is lost on "
            f"it after {test['n_more']:.0f} of {test['n_drops']:.0f} drops.{told}")


def conclusion(said: Mapping[str, str]) -> str:
    """The findings: what is asked, as in "C7, a new model", to a sentence; a blank one is left out."""
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
