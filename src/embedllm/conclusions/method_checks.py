"""What notebook 08 says: whether the study's tests and intervals keep what they promise."""

from __future__ import annotations

import pandas as pd

from embedllm.conclusions._words import bullets
from embedllm.experiments import end_to_end
from embedllm.experiments.method_checks import ENOUGH, LEAST_COVERED, LEVEL, MOST_FALSE
from embedllm.presentation import counted, listed


def passed(rows: pd.DataFrame, enough: int = ENOUGH) -> str:
    """How many checks pass, and which do not, from `method_checks.judged`; where too few to settle any, their rates."""
    number, failed = int(rows["repetitions"].max()), rows[~rows["passes"]]
    if number < enough:
        return f"With {number:,} of the {enough:,} repetitions that settle a check: {_rates(rows)}."
    told = listed(f"{row.check} {row.rate:.3f} (bound {row.bound:.3f})" for row in failed.itertuples())
    return (f"With up to {number:,} repetitions {int(rows['passes'].sum())} of {counted(len(rows), 'check')} pass"
            + (f"; not: {told}." if len(failed) else "."))


def _rates(rows: pd.DataFrame) -> str:
    tests, covered = rows[rows["power"].notna()], rows["rate"][rows["power"].isna()]
    return (f"false alarms {tests['rate'].min():.3f} to {tests['rate'].max():.3f}, where {LEVEL:g} is promised; "
            f"coverage {covered.min():.3f} to {covered.max():.3f}, where {1 - LEVEL:g} is; power "
            f"{tests['power'].min():.2f} ({tests.loc[tests['power'].idxmin(), 'check']}) to "
            f"{tests['power'].max():.2f} at planted effects: a test that finds nothing keeps its level too")


def conclusion(rows: pd.DataFrame, whole: pd.DataFrame | None = None) -> str:
    """What the checks show; `rows` from `method_checks.judged`, `whole` from `end_to_end.kept`."""
    said = [
        f"**Generated data.** {passed(rows)} A check passes where the one-sided 95 % limit of its false alarms at "
        f"{LEVEL:g} is at most {MOST_FALSE:g}, or that of its coverage at least {LEAST_COVERED:g}.",
        f"**Rates.** On generated data: {_rates(rows)}.",
    ]
    if whole is not None:
        said.append(f"**End to end.** {passed(whole, end_to_end.ENOUGH)} The limits here: {end_to_end.MOST_FALSE:g} "
                    f"and {end_to_end.LEAST_COVERED:g}.")
    return "## What the checks show\n\n" + bullets(said)
