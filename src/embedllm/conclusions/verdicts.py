"""Verdicts: from tables of tests to rows of the table of claims, each by the rule that stands in `claims.toml`.

Every function takes the claim and the tables that the rule names, and returns the columns of a row from ``ours`` on.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan

import pandas as pd

from embedllm.catalog import AS_PUBLISHED, BENCHMARK_MEAN, FACTORIZATION, MODEL_MEAN, TUNED, VOTE
from embedllm.claims import ANSWERED, ELSEWHERE, NO_VERDICT, ON_THE_PAPERS_DATA, Claim
from embedllm.presentation import about, listed, thousandths, unsigned

HOLDS, FAILS, OPPOSITE, OPEN, UNTESTED = ELSEWHERE
REPRODUCED, MISSED, *_ = ON_THE_PAPERS_DATA
REPLICATED = {HOLDS: REPRODUCED, FAILS: MISSED, OPPOSITE: MISSED}  # on the paper's own data; the others stay


def answered(place: str, figure: str = "") -> dict:
    """A question without a test: where the answer stands."""
    return {"verdict": ANSWERED, "reason": place, "figure": figure}


def waits() -> dict:
    """A claim about a method on a table of which there is one fit only, or several with code of another day."""
    return {"verdict": NO_VERDICT, "reason": "needs several fits, which `make deep` makes, of today's code and table"}


def of_forecasting(
    deep: Mapping[str, pd.DataFrame | None], known: Mapping[str, Claim], on_the_papers_data: bool
) -> dict[str, dict]:
    """Rows of notebook 03, from tables of several fits; a claim without its table waits.

    Parameters
    ----------
    deep : mapping
        "over_base", "cross_fitted", "learning_curve" and "graded_labels": tables of `make deep`, or None.
    """
    base, scores, curve, graded = (deep[name] for name in ("over_base", "cross_fitted", "learning_curve",
                                                           "graded_labels"))
    rows = {name: waits() for name in ("C1", "C2", "C13")}
    if base is not None:
        rows["C1"] = accuracy(base.iloc[0], known["C1"], on_the_papers_data)
        if scores is not None:
            found = scores[(scores["metric"] == "accuracy") & (scores["forecaster"] == AS_PUBLISHED.name)]["value"]
            rows["C1"]["reason"] += "".join(f"; with the published settings {one:.3f}" for one in found)
    if curve is not None:
        rows["C2"] = every_size(curve, known["C2"], on_the_papers_data)
    if graded is not None:
        row = graded.set_index("method").loc[TUNED.name]
        rows["C13"] = superior({"method": TUNED.name, **row}, "03_deep_graded_labels")
        means = graded.set_index("method")["difference"].get(MODEL_MEAN.name)
        if means is not None:
            rows["C13"]["reason"] += f"; that of the model means, which read nothing, {thousandths(means)} thousandths"
    return rows | {
        "Q2": answered("notebook 03, below the table of forecasters; random routing: notebook 04"),
        "Q4": answered(f"notebook 03, Graded labels: scores between 0 and 1 are taken as they are; tested on "
                       f"{listed(known['C13'].datasets)} (C13)"),
        "Q10": answered("notebook 03, below the table of forecasters: it is a classifier"),
    }


def accuracy(difference: Mapping, claim: Claim, on_the_papers_data: bool) -> dict:
    """C1.

    Parameters
    ----------
    difference : mapping
        From `comparisons.over_base` at the claim's level, of the tuned factorization.
    """
    row = {name: difference[f"accuracy_{name}"] for name in ("value", "low", "high")}
    published, within = claim.values["accuracy"], claim.values["within"]
    base = f"{row['value'] - difference['difference']:.3f} by the benchmark means, which know the benchmark alone"
    if on_the_papers_data:
        inside = published - within <= row["low"] and row["high"] <= published + within
        apart = row["high"] < published - within or row["low"] > published + within
        verdict = REPRODUCED if inside else MISSED if apart else OPEN
        return {"ours": row["value"], "low": row["low"], "high": row["high"], "verdict": verdict,
                "reason": f"accuracy of the {TUNED.name} on vectors of MiniLM, the paper's of mpnet; {base}",
                "figure": "03_deep_cross_fitted"}
    verdict = (HOLDS if difference["low"] > 0 else OPPOSITE if difference["high"] < 0
               else FAILS if difference["high"] < claim.values["margin"] else OPEN)
    return {"ours": difference["difference"], "low": difference["low"], "high": difference["high"],
            "p": difference["p"], "verdict": verdict,
            "reason": f"accuracy {row['value']:.3f} on vectors of MiniLM, {base}; the difference is what is judged",
            "figure": "03_deep_cross_fitted"}


def every_size(differences: pd.DataFrame, claim: Claim, on_the_papers_data: bool) -> dict:
    """C2.

    Parameters
    ----------
    differences : DataFrame
        From `learning.against` the majority vote, at the claim's level.
    """
    rows = differences[(differences["metric"] == "accuracy") & (differences["method"] == TUNED.name)]
    rows = rows.sort_values("labels").reset_index(drop=True)
    n, ahead, against = len(rows), int((rows["low"] > 0).sum()), rows["high_all"] < 0
    if against.any():
        verdict = OPPOSITE
    elif ahead == n:
        verdict = HOLDS
    else:
        verdict = FAILS if (rows["high_all"] < claim.values["margin"]).any() else OPEN
    if verdict in (HOLDS, OPEN):
        row, where = rows.loc[rows["low"].idxmin()], "where the evidence for the claim is weakest"
    else:  # at one size at least: the level is divided by their number
        row = rows.loc[rows["high_all"].idxmin()]
        row = row.drop(["low", "high"]).rename({"low_all": "low", "high_all": "high"})
        row["p"] = min(1.0, n * row["p"]) if verdict == OPPOSITE else nan  # it is that of a difference of zero
        where = ("where the evidence against the claim is strongest (bounds of "
                 f"{1 - claim.level / n:.2%}, for all sizes together)")
    return {"ours": row["difference"], "low": row["low"], "high": row["high"], "p": row["p"],
            "verdict": REPLICATED.get(verdict, verdict) if on_the_papers_data else verdict,
            "reason": f"at {row['labels']:,} labels, {where}; the {TUNED.name} is shown ahead of the {VOTE.name} at "
                      f"{ahead} of {n} sizes, behind at {against.sum()}{_as_published(differences)}",
            "figure": "03_deep_learning_curve"}


def compact(shorter: pd.DataFrame, n_models: int, margin: float) -> dict:
    """C12.

    Parameters
    ----------
    shorter : DataFrame
        From `learning.shorter` at the claim's level.
    margin : float
        Nats per cell; 0 where the factorization earns nothing.
    """
    rows = shorter[shorter["forecaster"] == FACTORIZATION.name].set_index("dim")
    best, limit = int(rows["best"].iloc[0]), n_models // 4
    tried, longest = [dim for dim in rows.index if dim <= limit], max(rows.index)
    if not tried or longest <= limit:
        return {"verdict": UNTESTED, "reason": f"not both sides of {limit}, a quarter of the models, were tried"}
    if not margin:
        return {"verdict": UNTESTED, "reason": "the factorization earns nothing over the benchmark means that a margin "
                                               "could be a share of"}
    if shorter.set_index("forecaster")["as_good"].get(BENCHMARK_MEAN.name, False):
        return {"verdict": UNTESTED, "reason": "the margin takes the benchmark means for as good as the factorization"}
    at = max(tried)
    row, figure = rows.loc[at], "02_deep_length"
    numbers = {"ours": row["difference"], "low": row["low"], "high": row["high"], "p": row["p_worse"]}
    if best <= limit:
        most = rows.loc[longest]
        return {"ours": most["difference"], "low": most["low"], "high": most["high"], "figure": figure,
                "verdict": HOLDS if most["low"] > -margin else OPEN,
                "reason": f"{best} numbers are best on validation, with {n_models} models; the difference is that of "
                          f"{longest} numbers, which must not be better by {unsigned(margin)} thousandths"}
    told = f"{at} numbers against {best}, the best length, with {n_models} models"
    if row["as_good"]:
        return numbers | {"verdict": HOLDS, "reason": f"{told}: as good up to {unsigned(margin)} thousandths",
                          "figure": figure}
    if margin < 2.5 * row["se"]:
        return numbers | {"verdict": UNTESTED, "figure": figure, "reason":
                          f"{told}: the margin of {unsigned(margin)} thousandths is below 2.5 standard errors"}
    return numbers | {"verdict": FAILS if row["low"] > margin else OPEN, "reason": told, "figure": figure}


def _as_published(differences: pd.DataFrame) -> str:
    """The same with the paper's settings, where they learned from every size too."""
    rows = differences[(differences["metric"] == "accuracy") & (differences["method"] == AS_PUBLISHED.name)]
    return "" if rows.empty else (f"; with the published settings ahead at {(rows['low'] > 0).sum()}, behind at "
                                  f"{(rows['high_all'] < 0).sum()}")


def training_cost(found: Mapping, claim: Claim, on_the_papers_data: bool) -> dict:
    """C5, from `cost.of_the_claim`."""
    holds = found["flop"] <= claim.values["flop"] and found["gigabytes"] < claim.values["gigabytes"]
    names = (REPRODUCED, MISSED) if on_the_papers_data else (HOLDS, FAILS)
    return {"ours": float(f"{found['flop'] / 1e12:.3g}"), "verdict": names[not holds], "figure": "",
            "reason": "TFLOP, cell by cell, counted by operation (figures/bench); by the paper's convention "
                      f"{found['by_convention'] / 1e12:.0f}; peak memory {found['gigabytes']:.2f} GB, "
                      f"{found['held']:.2f} of them the vectors and scores that it trains on"}


def benchmark_cost(found: Mapping, claim: Claim, on_the_papers_data: bool) -> dict:
    """C6, from `pool.of_the_claim`."""
    if found["known"] < found["models"] / 2:
        return {"verdict": UNTESTED, "reason": f"{found['known']} of {found['models']} models are of known size"}
    holds = found["ratio"] >= claim.values["ratio"]
    names = (REPRODUCED, MISSED) if on_the_papers_data else (HOLDS, OPPOSITE if found["ratio"] < 1 else FAILS)
    return {"ours": float(f"{found['ratio']:.3g}"), "verdict": names[not holds], "figure": "02_costs",
            "reason": f"at the sizes of {found['known']} of {found['models']} models, {about(found['billions'])}B on "
                      f"average; at 7B each {about(found['ratio_7b'])} times; with the labels that training needs "
                      f"{about(found['with_labels'])} times"}


def superior(difference: Mapping, figure: str) -> dict:
    """C13: a row of `fits.compare` in log-loss, at the claim's level; below zero speaks for the claim."""
    verdict = HOLDS if difference["high"] < 0 else OPPOSITE if difference["low"] > 0 else OPEN
    return {**{name: difference[old] for name, old in (("ours", "difference"), ("low", "low"), ("high", "high"),
                                                       ("p", "p"))},
            "verdict": verdict, "figure": figure,
            "reason": f"log-loss on graded scores, {difference['method']} minus {difference['reference']}"}


def confirmed(found: Mapping[str, Mapping], claim: Claim, rows: pd.DataFrame | None = None) -> str:
    """The verdict on the frozen ensemble, or where it is given; `rows` are those of its record."""
    if claim.id not in found:
        return f"*The frozen ensemble is judged by the default runs on {listed(claim.datasets)}, not by this run.*"
    row = found[claim.id]
    return (f"**Verdict: {row['verdict']}.** {row['reason'][0].upper()}{row['reason'][1:]}: {thousandths(row['ours'])} "
            f"({claim.confidence} interval {thousandths(row['low'])} to {thousandths(row['high'])}) thousandths of "
            f"a nat. Definition of the frozen ensemble: `{claim.values['definition'][:12]}`.{_in_suites(rows)}")


def _in_suites(rows: pd.DataFrame | None) -> str:
    """Where, within a suite, the frozen ensemble is not ahead of the comparator that comes nearest."""
    if rows is None or rows["suite"].nunique() < 3:  # "all" and one
        return ""
    nearest = rows.loc[rows.groupby("suite", sort=False)["difference"].idxmax()]
    nearest = nearest[nearest["suite"] != "all"]
    behind, level = nearest[nearest["low"] > 0], nearest[(nearest["low"] <= 0) & (nearest["high"] >= 0)]
    told = [f"behind {row.reference} in {row.suite} by {unsigned(row.difference)} thousandths" for row in
            behind.itertuples()] + [f"not shown to differ from {row.reference} in {row.suite}" for row in
                                    level.itertuples()]
    return f" Within suites, which is exploratory, the ensemble is {listed(told)}." if told else ""
