"""What notebook 08 says: whether the study's tests and intervals keep what they promise."""

from __future__ import annotations

import pandas as pd

from embedllm.conclusions._words import bullets
from embedllm.experiments.method_checks import LEAST_COVERED, LEVEL, MOST_FALSE
from embedllm.presentation import counted, listed


def passed(rows: pd.DataFrame) -> str:
    """How many checks pass, and which do not, from `method_checks.judged`."""
    number, failed = int(rows["repetitions"].min()), rows[~rows["passes"]]
    told = listed(f"{row.check} {row.rate:.3f} (bound {row.bound:.3f})" for row in failed.itertuples())
    return (f"With {number:,} repetitions {int(rows['passes'].sum())} of {counted(len(rows), 'check')} pass"
            + (f"; not: {told}." if len(failed) else "."))


def conclusion(rows: pd.DataFrame) -> str:
    """What the checks show; `rows` from `method_checks.judged`."""
    tests = rows[rows["power"].notna()]
    covered = rows[rows["power"].isna()]
    return "## What the checks show\n\n" + bullets([
        f"**Pass or fail.** {passed(rows)} A check passes where the one-sided 95 % limit of its false alarms at "
        f"{LEVEL:g} is at most {MOST_FALSE:g}, or that of its coverage at least {LEAST_COVERED:g}; with few "
        "repetitions even a right test does not.",
        f"**False alarms.** {tests['rate'].min():.3f} to {tests['rate'].max():.3f}, where {LEVEL:g} is promised.",
        f"**Coverage.** {covered['rate'].min():.3f} to {covered['rate'].max():.3f}, where {1 - LEVEL:g} is promised.",
        f"**Power.** {tests['power'].min():.2f} ({tests.loc[tests['power'].idxmin(), 'check']}) to "
        f"{tests['power'].max():.2f} at the effects that were planted: a test that finds nothing keeps its level too.",
    ])
