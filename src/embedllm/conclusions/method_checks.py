"""What notebook 08 says: whether the study's tests and intervals keep what they promise."""

from __future__ import annotations

import pandas as pd

from embedllm.conclusions._words import bullets
from embedllm.experiments import end_to_end
from embedllm.experiments.method_checks import LEAST_COVERED, LEVEL, MOST_FALSE
from embedllm.presentation import counted, listed


def passed(rows: pd.DataFrame) -> str:
    """How many checks pass, and which do not, from `method_checks.judged`."""
    number, failed = int(rows["repetitions"].max()), rows[~rows["passes"]]
    told = listed(f"{row.check} {row.rate:.3f} (bound {row.bound:.3f})" for row in failed.itertuples())
    return (f"With up to {number:,} repetitions {int(rows['passes'].sum())} of {counted(len(rows), 'check')} pass"
            + (f"; not: {told}." if len(failed) else "."))


def conclusion(rows: pd.DataFrame, whole: pd.DataFrame | None = None) -> str:
    """What the checks show; `rows` from `method_checks.judged`, `whole` from `end_to_end.kept`."""
    tests = rows[rows["power"].notna()]
    covered = rows[rows["power"].isna()]
    said = [
        f"**Pass or fail.** {passed(rows)} A check passes where the one-sided 95 % limit of its false alarms at "
        f"{LEVEL:g} is at most {MOST_FALSE:g}, or that of its coverage at least {LEAST_COVERED:g}; with few "
        "repetitions even a right test does not.",
        f"**False alarms.** {tests['rate'].min():.3f} to {tests['rate'].max():.3f}, where {LEVEL:g} is promised.",
        f"**Coverage.** {covered['rate'].min():.3f} to {covered['rate'].max():.3f}, where {1 - LEVEL:g} is promised.",
        f"**Power.** {tests['power'].min():.2f} ({tests.loc[tests['power'].idxmin(), 'check']}) to "
        f"{tests['power'].max():.2f} at the effects that were planted: a test that finds nothing keeps its level too.",
    ]
    if whole is not None:
        asked, held = whole[whole["power"].notna()], whole[whole["power"].isna()]
        said.append(
            f"**End to end.** {passed(whole)} Bounds: {end_to_end.MOST_FALSE:g} and {end_to_end.LEAST_COVERED:g}. "
            f"False alarms {asked['rate'].min():.3f} to {asked['rate'].max():.3f}, coverage {held['rate'].min():.3f} "
            f"to {held['rate'].max():.3f}; power {asked['power'].min():.2f} "
            f"({asked.loc[asked['power'].idxmin(), 'check']}) to {asked['power'].max():.2f}.")
    return "## What the checks show\n\n" + bullets(said)
