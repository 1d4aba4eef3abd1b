"""What notebook 06 says: which prompt encoder earns how much beyond the benchmark's label, and what vectors carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from embedllm import catalog
from embedllm.claims import Claim
from embedllm.conclusions._words import LEVEL, bullets, interval, sorted_by_test
from embedllm.conclusions.verdicts import FAILS, HOLDS, OPEN, UNTESTED, answered, waits
from embedllm.presentation import about, counted, listed, literal, p_is, thousandths, unsigned

KEPT_AT_ONCE, KEPT_SINGLE = 0.8, 0.5  # of what the best encoder earns, at least, where another is recommended
PAIRED = ["measure", "difference", "low", "high", "p_holm", "mde"]  # of `encoder_ablation.differences`
CONTROLS = (catalog.LABEL.name, catalog.RANDOM_VECTORS.name, catalog.SHUFFLED_PROMPTS.name)


def left_out(missing: Sequence[str]) -> str:
    """What this machine lacks for encoders that were asked for."""
    return f"*Left out: {'; '.join(map(literal, missing))}.*" if missing else ""


def beyond_label(rows: pd.DataFrame, forecaster: str) -> str:
    """Which encoders forecast better than the benchmark's label alone, from `encoder_ablation.differences`."""
    own = rows[(rows["forecaster"] == forecaster) & (rows["measure"] == "log_loss")]
    return sorted_by_test(own, f"log-loss of the {forecaster}")


def against(rows: pd.DataFrame) -> str:
    """Which encoders differ from the reference in log-loss, from `encoder_ablation.differences`."""
    return sorted_by_test(rows[rows["measure"] == "log_loss"], "log-loss", article="")


def alike(rows: pd.DataFrame, reference: str) -> str:
    """Which encoders are as good as the reference up to a margin, from `encoder_ablation.equivalence`."""
    margin, level = rows[["margin", "level"]].iloc[0]
    if not margin:
        return f"With {reference} nothing is earned over the benchmark means that a margin could be a share of."
    passed = rows["p_equivalent"] < level
    void = [name for name in rows["method"][passed] if name in CONTROLS]
    if void:
        return f"No encoder can be called equivalent to {reference}: {listed(void)} would be as well."
    beyond = rows["method"][rows["p_beyond_holm"] < level]
    return (f"Shown to lie within {unsigned(margin)} thousandths of {reference}: {listed(rows['method'][passed])}; "
            f"shown to lie beyond: {listed(beyond)}.")


def where(rows: pd.DataFrame) -> str:
    """On how many benchmarks each encoder is shown to help beyond the label, from `encoder_ablation.within`."""
    total, said = rows["benchmark"].nunique(), []
    for name, own in rows.groupby("method", sort=False):
        shown = own["p_holm"] < LEVEL
        better, worse = (int((shown & (sign * own["difference"] < 0)).sum()) for sign in (1, -1))
        said.append(f"{name} {better} better" + f", {worse} worse" * (worse > 0))
    return f"Of {total} benchmarks, after Holm: {'; '.join(said)}."


def carry(rows: pd.DataFrame) -> str:
    """Which of the two that vectors carry goes with forecasting, from `encoder_ablation.carried` with ``gain``.

    Of what reads the text: the label knows its benchmark and controls know nothing, by construction.
    """
    rows = rows[~rows["encoder"].isin(CONTROLS)]
    ranks = rows[["gain", "benchmark", "difficulty"]].rank().corr()["gain"]
    best = {name: rows.loc[rows[name].idxmax()] for name in ("benchmark", "difficulty")}
    return (f"Over the {len(rows)} encoders that read the text, too few to tell the two apart, what is gained in "
            f"forecasting has a rank correlation of {ranks['difficulty']:+.2f} with the difficulty that a linear "
            f"reader finds within benchmarks and of {ranks['benchmark']:+.2f} with the benchmark that it finds. Most "
            f"difficulty: {best['difficulty']['encoder']} (R2 {best['difficulty']['difficulty']:.2f}); most of the "
            f"benchmark: {best['benchmark']['encoder']} ({best['benchmark']['benchmark']:.0%} of the questions).")


def explored(rows: pd.DataFrame) -> str:
    """What differs on the sample from what it is a variant of, from `fits.compare`; no verdicts."""
    said = []
    for order, sign in (("lower", -1), ("higher", 1)):
        shown = rows[(rows["p_holm"] < LEVEL) & (sign * rows["difference"] > 0)]
        pairs = listed(f"{row.method} than with {row.reference} ({thousandths(row.difference)})"
                       for row in shown.itertuples())
        said += [f"{order} with {pairs}"] if len(shown) else []
    rest = rows[rows["p_holm"] >= LEVEL]
    if len(rest):
        low, high = unsigned(rest["mde"].min()), unsigned(rest["mde"].max())
        pairs = listed(f"{row.method} and {row.reference}" for row in rest.itertuples())
        said.append(f"no difference shown between {pairs} (one of {low if low == high else f'{low} to {high}'} "
                    "thousandths would be found in 80 % of tries)")
    return f"Log-loss, in thousandths of a nat, after Holm: {'; '.join(said)}."


def decoder(rows: pd.DataFrame) -> str:
    """How the pooled vectors of a decoder do against those of the reference (Q6), from rows as for `explored`."""
    own = rows[rows["method"].map(_is_decoder)]
    if own.empty:
        return "No encoder built on a decoder was tried."
    best = own.loc[own["difference"].idxmin()]
    return (f"Gemma 3 270M, in four bits and reading as many tokens as MiniLM, minus {best['reference']}: the best of "
            f"{counted(len(own), 'way')} to pool it, {best['method']}, {interval(best)} thousandths, "
            f"{p_is(best['p_holm'])} after Holm; {int(((own['p_holm'] < LEVEL) & (own['difference'] > 0)).sum())} of "
            "them shown to be worse. Pooled as they come, without the training that LLM2Vec or GritLM give a decoder, "
            "they answer the question in part only.")


def _is_decoder(name: str) -> bool:
    return name in catalog.ENCODERS and bool(catalog.ENCODERS[name].pooling)


def cost(table: pd.DataFrame) -> str:
    """Which encoders no other beats in both gain and cost of a prompt, from `encoder_variants.costs`."""
    fronts = []
    for front, order, tell in (
            ("front_one", "milliseconds", lambda row: f"{about(row.milliseconds)} ms"),
            ("front_many", "prompts_per_second", lambda row: f"{about(row.prompts_per_second)} a second")):
        rows = table[table[front]].sort_values(order, ascending=order == "milliseconds")
        fronts.append(listed(f"{row.encoder} ({tell(row)}, {thousandths(row.gain)})" for row in rows.itertuples()))
    return (f"Of those compared on all questions, none earns as much beyond the label, here in thousandths, in less "
            f"time: for a single prompt {fronts[0]}; "
            f"for many at once {fronts[1]}. Point estimates; times of prompts of MMLU-Pro, by make bench.")


def forms(measured: pd.DataFrame) -> str:
    """What other forms of one network save, and how far their vectors drift: ``timing_encoders`` of `make bench`."""
    plain = measured.iloc[0]
    told = listed(f"{row.way} {row.prompts_per_second / plain['prompts_per_second']:.1f} times as fast, lowest cosine "
                  f"{row.lowest_cosine:.3f}" for row in measured.iloc[1:].itertuples())
    return (f"MiniLM as it is, in {plain['way']}, takes {plain['ratio']:.2f} times what its matrix products alone "
            f"would (measured beside it). In other forms, compared with those vectors: {told}.")


def routed(rows: pd.DataFrame, forecaster: str) -> str:
    """How routing by each encoder compares with knowing the label, from `encoder_ablation.differences`."""
    own = rows[(rows["forecaster"] == forecaster) & (rows["measure"] == "score")]
    return sorted_by_test(own, f"score of routing by the {forecaster}")


def recommended(table: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Which encoder to take, by point estimates.

    Parameters
    ----------
    table : DataFrame
        From `encoder_variants.costs`.
    scores : DataFrame
        Score of routing minus the label's, from `encoder_ablation.differences`, of the same forecaster.
    """
    shown = table[(table["p_holm"] < LEVEL) & (table["gain"] > 0)]
    if shown.empty:
        return ("None of the encoders that were timed is shown to earn anything beyond the benchmark's label here: "
                "where that is known, take none.")
    best = shown.loc[shown["gain"].idxmax()]
    many = shown[shown["gain"] >= KEPT_AT_ONCE * best["gain"]].nlargest(1, "prompts_per_second").iloc[0]
    one = shown[shown["gain"] >= KEPT_SINGLE * best["gain"]].nsmallest(1, "milliseconds").iloc[0]
    scores = scores[~scores["method"].isin(CONTROLS)].set_index("method")
    above = scores.index[(scores["difference"] > 0) & (scores["p_holm"] < LEVEL)]

    def kept(row: pd.Series, share: float) -> str:
        if row["encoder"] == best["encoder"]:
            return f"no cheaper one keeps {share:.0%} of that"
        return (f"the cheapest of those that keep {share:.0%} of that ({row['gain'] / best['gain']:.0%}; its own gain "
                f"{interval(row.rename({'gain': 'difference'}))})")

    return bullets([
        f"**For the best forecasts:** of those compared on all questions {best['encoder']}, "
        f"{thousandths(best['gain'])} thousandths beyond the label, at {about(best['prompts_per_second'])} prompts a "
        "second.",
        f"**On a laptop:** {many['encoder']}, {about(many['prompts_per_second'])} prompts a second: "
        f"{kept(many, KEPT_AT_ONCE)}.",
        f"**In the path of a request:** {one['encoder']}, {about(one['milliseconds'])} ms for one prompt (99 of 100 "
        f"within {about(one['p99'])}): {kept(one, KEPT_SINGLE)}. Its router's score minus that of one which is told "
        f"the benchmark: {interval(scores.loc[one['encoder']])} thousandths"
        + ("" if one["encoder"] == best["encoder"] else
           f"; with {best['encoder']}: {interval(scores.loc[best['encoder']])}") + ".",
        f"**Where a router is told the benchmark:** {listed(above, 'none')} "
        f"{'is' if len(above) < 2 else 'are'} shown to score more than the label alone.",
    ])


def conclusion(
    over_label: pd.DataFrame, over_reference: pd.DataFrame, equivalent: pd.DataFrame, inside: pd.DataFrame,
    carried: pd.DataFrame, costs: pd.DataFrame, tried: pd.DataFrame | None, reference: str, forecaster: str,
) -> str:
    """What the ablation shows; differences in thousandths. `tried`: rows for `explored`, if there are any."""
    scores = over_label[(over_label["forecaster"] == forecaster) & (over_label["measure"] == "score")]
    earned = over_label[(over_label["forecaster"] == forecaster) & (over_label["measure"] == "log_loss")]
    numbers = listed(f"{row.method} {thousandths(row.difference)}" for row in earned.itertuples())
    return "## What the ablation shows\n\n" + bullets([
        f"**Beyond the label.** {beyond_label(over_label, forecaster)} In thousandths of a nat: {numbers}.",
        f"**Routing.** {routed(over_label, forecaster)}",
        f"**Does it matter?** {against(over_reference)} {alike(equivalent, reference)}",
        f"**Where.** {where(inside)}",
        f"**What vectors carry (Q8).** {carry(carried)}",
        *([] if tried is None else [f"**On a sample.** {explored(tried)}", f"**A decoder (Q6).** {decoder(tried)}"]),
        f"**Cost.** {cost(costs)}",
    ]) + "\n\n### Which one to take\n\n" + recommended(costs, scores)


def rows(deep: Mapping[str, pd.DataFrame | None], claim: Claim) -> dict[str, dict]:
    """Rows of notebook 06, from the tables "equivalence", "levels" and "explored" of `make deep`, or None; claim C3."""
    tried, equivalent = deep["explored"], deep["equivalence"]
    told = tried is not None and tried["method"].map(_is_decoder).any()
    c3 = waits() if equivalent is None else verdict(equivalent, claim)
    if equivalent is not None and deep["levels"] is not None:
        c3["reason"] += f"; {_accuracies(deep['levels'], [claim.values['reference'], *claim.values['compared']])}"
    return {"C3": c3,
            "Q6": answered("notebook 06, What the ablation shows", "06_deep_explored") if told else waits()}


def _accuracies(levels: pd.DataFrame, names: Sequence[str]) -> str:
    """What encoders reach in the measure of the paper, in a clause, from `encoder_ablation.levels`."""
    own = levels[(levels["forecaster"] == catalog.CONVEX.name) & (levels["measure"] == "accuracy")]
    values = own[own["encoder"].isin(names)]["value"]
    return f"in accuracy, the paper's measure, they reach {values.min():.1%} to {values.max():.1%}"


def verdict(equivalent: pd.DataFrame, claim: Claim) -> dict:
    """C3, by the rule in `claims.toml`; `equivalent` from `encoder_ablation.equivalence` at the claim's level."""
    rows, margin = equivalent.set_index("method"), equivalent["margin"].iloc[0]
    reference, compared = claim.values["reference"], list(claim.values["compared"])
    if missing := [name for name in compared if name not in rows.index]:
        return {"verdict": UNTESTED, "reason": f"not compared: {listed(missing)}"}
    if not margin:
        return {"verdict": UNTESTED, "reason": f"with {reference} nothing is earned over the benchmark means that a "
                                               "margin could be a share of"}
    if void := [name for name in CONTROLS if rows["p_equivalent"].get(name, 1.0) < claim.level]:
        return {"verdict": UNTESTED, "reason": f"{listed(void)} would be called equivalent as well"}
    own = rows.loc[compared]
    beyond = own[own["p_beyond_holm"] < claim.level]
    worst = own.loc[own["difference"].abs().idxmax()]
    numbers = {"ours": worst["difference"], "low": worst["low"], "high": worst["high"], "p": worst["p_equivalent"],
               "figure": "06_deep_equivalence"}
    told = f"{worst.name} minus {reference}, the largest difference; margin {unsigned(margin)} thousandths"
    if len(beyond):
        return numbers | {"verdict": FAILS, "p": worst["p_beyond_holm"],
                          "reason": f"{told}; p is of lying beyond it, which is shown of {listed(beyond.index)}"}
    if (own["p_equivalent"] < claim.level).all():
        return numbers | {"verdict": HOLDS, "reason": told}
    if (margin < 2.5 * own["se"]).any():
        return numbers | {"verdict": UNTESTED, "reason": f"{told}, which is below 2.5 standard errors"}
    return numbers | {"verdict": OPEN, "reason": told}
