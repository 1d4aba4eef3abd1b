"""What notebook 06 says: how much the prompt encoder matters."""

from __future__ import annotations

import pandas as pd

from embedllm.conclusions._words import LEVEL, sorted_by_test
from embedllm.presentation import listed, unsigned


def best(scores: pd.DataFrame, metric: str = "accuracy") -> str:
    """The encoder and forecaster with the highest score, from `comparisons.averaged`."""
    row = scores.loc[scores[scores["metric"] == metric]["value"].idxmax()]
    blind = scores[(scores["encoder"] == "no encoder") & (scores["metric"] == metric)]["value"].iloc[0]
    return (f"The {row['forecaster']} with {row['encoder']} has the highest {metric}, {row['value']:.3f}; without any "
            f"encoder it is {blind:.3f}.")


def differences(tests: pd.DataFrame) -> str:
    """Which encoders differ from the reference, from `inference.compare`."""
    return sorted_by_test(tests, "accuracy", article="")


def conclusion(tests: pd.DataFrame, reference: str, margin: float) -> str:
    """What the ablation shows.

    Parameters
    ----------
    tests : DataFrame
        From `inference.compare`, with ``equivalent``.
    reference : str
        The encoder that others are compared with.
    margin : float
        Of equivalence, in accuracy.
    """
    control = tests.set_index("method").reindex(["random"]).iloc[0]
    alike = listed(tests["method"][tests["equivalent"] & (tests["method"] != "random")])
    if control["equivalent"] == 1:  # not so where there is no control
        alike = "no verdict, since random vectors pass the same test"
    earns, meaning = f"That reading the prompt with {reference} earns anything is not shown here.", ""
    if control["p_holm"] < LEVEL and control["difference"] < 0:
        earned = -control["difference"]
        earns = (f"Compared with random vectors, reading the prompt with {reference} earns "
                 f"{unsigned(earned)} thousandths of accuracy.")
        meaning = f", {margin / earned:.0%} of what reading the prompt earns"
    return f"""
## What the ablation shows

{differences(tests)}

Shown to be within {unsigned(margin)} thousandths of {reference} (the margin{meaning}): {alike}.
{earns}
Equivalence says that two encoders are alike, not that nothing better exists.
"""
