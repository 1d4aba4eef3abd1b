"""What notebook 06 says: which prompt encoder earns how much beyond the benchmark's label, and what vectors carry."""

from __future__ import annotations

import pandas as pd

from embedllm import catalog
from embedllm.claims import Claim
from embedllm.conclusions._words import LEVEL, bullets, interval, sorted_by_test
from embedllm.conclusions.verdicts import FAILS, HOLDS, OPEN, UNTESTED
from embedllm.presentation import listed, unsigned

CONTROLS = (catalog.LABEL.name, catalog.RANDOM_VECTORS.name, catalog.SHUFFLED_PROMPTS.name)


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
    """Which of the two that vectors carry goes with forecasting, from `encoder_ablation.carried` with ``gain``."""
    ranks = rows[["gain", "benchmark", "difficulty"]].rank().corr()["gain"]
    best = {name: rows.loc[rows[name].idxmax()] for name in ("benchmark", "difficulty")}
    return (f"Over {len(rows)} encoders and controls, what is gained in forecasting has a rank correlation of "
            f"{ranks['difficulty']:+.2f} with the difficulty that a linear reader finds within benchmarks and of "
            f"{ranks['benchmark']:+.2f} with the benchmark that it finds. Most difficulty: "
            f"{best['difficulty']['encoder']} (R2 {best['difficulty']['difficulty']:.2f}); most of the benchmark: "
            f"{best['benchmark']['encoder']} ({best['benchmark']['benchmark']:.0%} of the questions).")


def conclusion(
    over_label: pd.DataFrame, over_reference: pd.DataFrame, equivalent: pd.DataFrame, inside: pd.DataFrame,
    carried: pd.DataFrame, reference: str, forecaster: str,
) -> str:
    """What the ablation shows; differences in thousandths."""
    routing = over_label[(over_label["forecaster"] == forecaster) & (over_label["measure"] == "score")
                         & ~over_label["method"].isin(CONTROLS)]
    best = routing.loc[routing["difference"].idxmax()]
    return "## What the ablation shows\n\n" + bullets([
        f"**Beyond the label.** {beyond_label(over_label, forecaster)}",
        f"**Routing.** Of what reads the text {best['method']} gives the highest score; minus that with the label: "
        f"{interval(best)} thousandths.",
        f"**Does it matter?** {against(over_reference)} {alike(equivalent, reference)}",
        f"**Where.** {where(inside)}",
        f"**What vectors carry (Q8).** {carry(carried)}",
    ])


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
        return numbers | {"verdict": FAILS, "reason": f"{told}; shown to lie beyond it: {listed(beyond.index)}"}
    if (own["p_equivalent"] < claim.level).all():
        return numbers | {"verdict": HOLDS, "reason": told}
    if (margin < 2.5 * own["se"]).any():
        return numbers | {"verdict": UNTESTED, "reason": f"{told}, which is below 2.5 standard errors"}
    return numbers | {"verdict": OPEN, "reason": told}
