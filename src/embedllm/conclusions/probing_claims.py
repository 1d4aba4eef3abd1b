"""Verdicts of notebook 05 (C7, C8, C9, C11), by the rules in `claims.toml`; see `verdicts`."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from embedllm.claims import NO_VERDICT, Claim
from embedllm.conclusions import probing as said
from embedllm.conclusions.probing import OWN
from embedllm.conclusions.verdicts import FAILS, HOLDS, OPEN, OPPOSITE, REPLICATED, UNTESTED, answered
from embedllm.experiments.probes import WITH
from embedllm.presentation import p_is
from embedllm.probing import scores

FEWEST_BENCHMARKS, FEWEST_LINEAGES = 3, 8


def rows(
    found: Mapping[str, pd.DataFrame | Mapping | None], known: Mapping[str, Claim], on_the_papers_data: bool
) -> dict[str, dict]:
    """Rows of notebook 05.

    Parameters
    ----------
    found : mapping
        "new_models" (`benchmark_prediction.pooled` at the claim's level, or None), "rivals" (the same against the
        vectors), "new_benchmarks" (the same of new benchmarks, by way of counting), "by_benchmark" (`.within`, or
        None), "by_size" (`probes.by_size`), "communities" (`probes.communities`), "bands" (`sizes.alike_by_size`),
        "clusters" and "beyond" (`clusters.clustering_test` of all components and of those beyond the first), "maps"
        (the trust of `geometry.maps`, or None), "domain" (`domain.shares`) and "ablation"
        (`training_ablation.own_against_others` of `make deep`, or None).
    """
    judged = {
        "C7": beyond_the_mean(found["new_models"], found["rivals"], found["by_benchmark"], known["C7"]),
        "C8": by_size(found["by_size"], found["communities"], known["C8"]),
        "C9": no_clusters(found["clusters"], found["beyond"], known["C9"]),
        "C11": follows_training(found["ablation"], known["C11"]),
    }
    if on_the_papers_data:
        judged = {name: row | {"verdict": REPLICATED.get(row["verdict"], row["verdict"])}
                  for name, row in judged.items()}
    return judged | {
        "Q1": answered(said.alike(found["bands"]), "05_alike_by_size") if len(found["bands"]) > 1 else _nothing(
            "fewer than two size bands of six lineages"),
        "Q3": answered(f"A new model: {said.best(found['new_models'])} A new benchmark: "
                       f"{said.on_new_benchmarks(found['new_benchmarks'])}", "05_new_models")
        if found["new_models"] is not None else _nothing("fewer than two benchmarks can be left out"),
        "Q7": answered(said.trusted(found["maps"]), "05_map") if found["maps"] is not None else
        _nothing("too few models for a map"),
        "Q8": answered(said.domain(found["domain"]), "05_domain"),
    }


def _nothing(reason: str) -> dict:
    return {"verdict": NO_VERDICT, "reason": reason}


def beyond_the_mean(
    pooled: pd.DataFrame | None, rivals: pd.DataFrame | None, within: pd.DataFrame | None, claim: Claim
) -> dict:
    """C7."""
    if pooled is None or within["benchmark"].nunique() < FEWEST_BENCHMARKS:
        return {"verdict": UNTESTED, "reason": f"fewer than {FEWEST_BENCHMARKS} benchmarks"}
    errors = pooled.set_index("method")
    row = errors.loc[OWN]
    if row["n_lineages"] < FEWEST_LINEAGES:
        return {"verdict": UNTESTED, "reason": f"{row['n_lineages']} lineages"}
    verdict = (HOLDS if row["high"] < 0 else OPPOSITE if row["low"] > 0 else
               FAILS if row["low"] > -claim.values["margin"] else OPEN)
    r2 = within[within["method"].isin([OWN, scores.MEAN])].groupby("method")["r2"].median()
    return {"ours": row["difference"], "low": row["low"], "high": row["high"], "p": row["p"], "verdict": verdict,
            "reason": f"squared error with {OWN} minus that with the {scores.MEAN}, in units of the variance over "
                      f"{row['n_lineages']} lineages; median R2 {r2[OWN]:.2f} and {r2[scores.MEAN]:.2f}. "
                      f"{said.rivals(rivals)}",
            "figure": "05_new_models"}


def by_size(pooled: pd.DataFrame, communities: pd.DataFrame, claim: Claim) -> dict:
    """C8."""
    row = pooled.set_index("distance").loc[WITH]
    if row["note"] or row["p_attainable"] >= claim.level:
        return {"verdict": UNTESTED, "figure": "05_communities",
                "reason": row["note"].removeprefix("not testable: ") or
                f"no arrangement of sizes within families gives a p below {row['p_attainable']:.3f}, and the level is "
                f"{claim.level:.3g}"}
    own = communities[(communities["by"] == "size class") & (communities["distance"] == WITH)]
    counted = own[own["n_units"] > 1]
    verdict = (HOLDS if row["p_closer"] < claim.level and (counted["difference"] < 0).all() else
               OPPOSITE if row["p_farther"] < claim.level else OPEN)
    others = ", ".join(f"{name} {p_is(p)}" for name, p in pooled.set_index("distance")["p_closer"].items()
                       if name != WITH)
    return {"ours": row["gap"], "p": min(row["p_closer"], row["p_farther"]), "verdict": verdict,
            "reason": f"mean distance in logits, the level included, within {', '.join(counted['community'])} minus to "
                      f"the other classes, {row['n_units']:.0f} lineages, sizes moved within families (p at least "
                      f"{row['p_attainable']:.3g}); each class after Holm {said.of_classes(communities)}; between "
                      f"families alone {said.of_families(row)}; by other distances {others}",
            "figure": "05_communities"}


def no_clusters(found: Mapping, beyond: Mapping, claim: Claim) -> dict:
    """C9."""
    if found["note"]:
        return {"verdict": UNTESTED, "reason": found["note"].removeprefix("not testable: ")}
    against = [found[name] < claim.level for name in ("p", "p_even")]
    verdict = FAILS if all(against) else HOLDS if not any(against) and found["power"] >= claim.values["power"] else OPEN
    return {"ours": found["index"], "p": found["p"], "verdict": verdict,
            "reason": f"{found['n_models']} models on five components: "
                      f"{said.clustered(found, beyond, claim.values['apart'])}", "figure": "05_map"}


def follows_training(test: Mapping | None, claim: Claim) -> dict:
    """C11."""
    if test is None:
        return {"verdict": NO_VERDICT, "reason": "needs trainings without each benchmark and without random questions, "
                                                 "which `make deep` makes, of today's code and table"}
    if test["p_attainable"] >= claim.level:
        return {"verdict": UNTESTED, "reason": f"{test['n_drops']:.0f} benchmarks: no arrangement of the drops could "
                                               f"give a p below {test['p_attainable']:.3f}"}
    verdict = HOLDS if test["p_more"] < claim.level else OPPOSITE if test["p_less"] < claim.level else OPEN
    return {"ours": test["difference"], "p": min(test["p_more"], test["p_less"]), "verdict": verdict,
            "reason": f"excess squared error of the probe on the benchmark left out ({test['own']:+.3f}) minus that on "
                      f"the others ({test['others']:+.3f}); more is lost on it after {test['n_more']:.0f} of "
                      f"{test['n_drops']:.0f} drops", "figure": "05_deep_left_out"}
