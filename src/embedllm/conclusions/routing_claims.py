"""Verdicts of notebook 04 (C4, C10, Q5), by the rules in `claims.toml`; see `verdicts`."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from embedllm.catalog import FACTORIZATION
from embedllm.claims import Claim
from embedllm.conclusions._words import interval
from embedllm.conclusions.verdicts import FAILS, HOLDS, OPEN, OPPOSITE, REPLICATED, answered, waits
from embedllm.experiments.specialization import WITHIN
from embedllm.presentation import listed


def rows(
    deep: Mapping[str, pd.DataFrame | None], known: Mapping[str, Claim], on_the_papers_data: bool, latency: str
) -> dict[str, dict]:
    """Rows of notebook 04, from tables of several fits; a claim without its table waits.

    Parameters
    ----------
    deep : mapping
        "against_rivals", "told", "worlds", "specialization" and "unseen_gains_benchmark": tables of `make deep`, or
        None.
    latency : str
        What `make bench` says of C4, which decides nothing.
    """
    rivals, told, worlds, special = (deep[name] for name in ("against_rivals", "told", "worlds", "specialization"))
    found = {name: waits() for name in ("C4", "C10", "Q5")}
    if rivals is not None:
        found["C4"] = beats_all(rivals, known["C4"])
        found["C4"]["reason"] += f"; {latency}"
    if told is not None and worlds is not None:
        found["C10"] = of_the_domain(told.iloc[0], worlds, known["C10"])
        if special is not None:
            found["C10"]["reason"] += f"; {_of_the_text(special)}"
    if on_the_papers_data:
        found = {name: row | {"verdict": REPLICATED.get(row["verdict"], row["verdict"])} for name, row in found.items()}
    if deep["unseen_gains_benchmark"] is not None:
        found["Q5"] = answered("notebook 04, Questions unlike those of training", "04_deep_unseen_gains_benchmark")
    return found


def _of_the_text(special: pd.DataFrame) -> str:
    """What deviations earn within benchmarks, where the text alone can tell models apart, in a clause."""
    row = special.set_index("method").loc[WITHIN]
    return f"log-loss with deviations within benchmarks {interval(row)} thousandths"


def beats_all(tests: pd.DataFrame, claim: Claim) -> dict:
    """C4.

    Parameters
    ----------
    tests : DataFrame
        From `routing.against`: a row for each rival, at the claim's level.
    """
    n = len(tests)
    if (tests["high_all"] < 0).any():
        verdict = OPPOSITE
    elif (tests["low"] > 0).all():
        verdict = HOLDS
    else:
        verdict = FAILS if (tests["high_all"] < claim.values["margin"]).any() else OPEN
    row = tests.loc[tests["low"].idxmin()]
    if verdict in (OPPOSITE, FAILS):  # the level is divided by the number of rivals
        row = tests.loc[tests["high_all"].idxmin()]
        row = row.drop(["low", "high"]).rename({"low_all": "low", "high_all": "high"})
        row["p"] = min(1.0, n * (row["p"] if verdict == OPPOSITE else 2 * row["p_margin"]))
    of_margin = "; p is that of a gain of the margin" if verdict == FAILS else ""
    if verdict in (OPPOSITE, FAILS):
        of_margin += f"; bounds of {1 - claim.level / n:.2%}, for all rivals together"
    return {"ours": row["difference"], "low": row["low"], "high": row["high"], "p": row["p"], "verdict": verdict,
            "reason": f"score of routing by the {row['method']} minus that of the {row['reference']}, the rival that "
                      f"decides; shown ahead of {listed(tests['reference'][tests['low'] > 0])}{of_margin}",
            "figure": "04_deep_routing"}


def of_the_domain(told: Mapping, worlds: pd.DataFrame, claim: Claim) -> dict:
    """C10.

    Parameters
    ----------
    told : mapping
        What the choice tells of the benchmark minus what it tells of the difficulty: from `fits.compare` at the
        claim's level.
    worlds : DataFrame
        From `routing.beyond_worlds`.
    """
    own = worlds[worlds["forecaster"] == FACTORIZATION.name].set_index("quantity")
    diverse = own.loc["entropy"]
    here, there = (own.loc["told_benchmark", name] - own.loc["told_difficulty", name] for name in ("observed", "value"))
    more = told["low"] > 0
    verdict = OPPOSITE if told["high"] < 0 else HOLDS if more and diverse["p"] <= claim.level else OPEN
    return {"ours": told["difference"], "low": told["low"], "high": told["high"], "p": told["p"], "verdict": verdict,
            "reason": f"bits told of the benchmark minus of the difficulty; on the sample of the worlds, where the "
                      f"{FACTORIZATION.name} chooses among all models, choices of {diverse['observed']:.2f} bits, "
                      f"{diverse['value']:.2f} without specialization (p {diverse['p']:.3f}), and {here:+.3f} bits "
                      f"more of the benchmark, {there:+.3f} without specialization: so much comes of ability alone",
            "figure": "04_deep_choices"}
