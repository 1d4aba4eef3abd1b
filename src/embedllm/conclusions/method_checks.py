"""What notebook 08 says: whether the study's tests and intervals keep what they promise."""

from __future__ import annotations

import pandas as pd

from embedllm.conclusions._words import bullets
from embedllm.experiments import end_to_end, generated_checks
from embedllm.experiments.method_checks import LEVEL
from embedllm.presentation import counted, listed


def passed(rows: pd.DataFrame, enough: int) -> str:
    """How many checks pass, and which do not, from `method_checks.rated`; where too few to settle any, their rates."""
    number, failed = int(rows["repetitions"].max()), rows[~rows["passes"]]
    if number < enough:
        return f"With {number:,} of the {enough:,} repetitions that settle a check: {_rates(rows)}."
    told = listed(f"{row.check} {row.rate:.3f} (bound {row.bound:.3f})" for row in failed.itertuples())
    return (f"With up to {number:,} repetitions {int(rows['passes'].sum())} of {counted(len(rows), 'check')} pass"
            + (f"; not: {told}." if len(failed) else "."))


def _rates(rows: pd.DataFrame) -> str:
    tests, covered = rows[~rows["covers"]], rows["rate"][rows["covers"]]
    return (f"false alarms {tests['rate'].min():.3f} to {tests['rate'].max():.3f}, where {LEVEL:g} is promised; "
            f"coverage {covered.min():.3f} to {covered.max():.3f}, where {1 - LEVEL:g} is; power "
            f"{tests['power'].min():.2f} ({tests.loc[tests['power'].idxmin(), 'check']}) to "
            f"{tests['power'].max():.2f} at planted effects: a test that finds nothing keeps its level too")


def conclusion(rows: pd.DataFrame, whole: pd.DataFrame | None = None) -> str:
    """What the checks show; `rows` from `generated_checks.kept`, `whole` from `end_to_end.kept`."""
    bounds = generated_checks.BOUNDS
    said = [
        f"**Generated data.** {passed(rows, bounds.enough)} A check passes where the one-sided 95 % limit of its false "
        f"alarms at {LEVEL:g} is at most {bounds.most_false:g}, or that of its coverage at least "
        f"{bounds.least_covered:g}.",
        f"**Rates.** On generated data: {_rates(rows)}.",
    ]
    if whole is not None:
        bounds = end_to_end.BOUNDS
        said.append(f"**End to end.** {passed(whole, bounds.enough)} The limits here: {bounds.most_false:g} and "
                    f"{bounds.least_covered:g}.")
    return "## What the checks show\n\n" + bullets(said)
