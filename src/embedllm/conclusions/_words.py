"""Sentences that several notebooks need, about methods of the catalog: their names need no escaping."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from embedllm.presentation import listed, p_is, thousandths, unsigned

LEVEL = 0.05


def interval(row, low: str = "low", high: str = "high") -> str:
    """A difference in thousandths with its interval: "+3.5 (95 % interval +2.5 to +4.4)".

    Where the row has a ``confidence``, the interval is of that.
    """
    share = "90" if low.endswith("90") else f"{100 * row.get('confidence', 1 - LEVEL):g}"
    return (f"{thousandths(row['difference'])} ({share} % interval {thousandths(row[low])} to "
            f"{thousandths(row[high])})")


def compared(tests: pd.DataFrame, method: str, measure: str, article: str = "the ") -> str:
    """One row of `inference.compare` as a sentence that says no more than the test does; differences in thousandths."""
    row = tests.set_index("method").loc[method]
    one, other = f"{article}{method}", f"{article}{row['reference']}"
    begin = one[0].upper() + one[1:] if article else one
    if row["difference"] == 0 and row["se"] == 0:
        return f"{begin} and {other} have the same {measure}: their difference is zero, without spread."
    numbers = f"{interval(row)} thousandths{' of a nat' * ('log-loss' in measure)}, {p_is(row['p_holm'])} after Holm"
    if row["p_holm"] < LEVEL:
        order = "higher" if row["difference"] > 0 else "lower"
        return f"{begin} has a {order} {measure} than {other}: {numbers}."
    return (f"No difference in {measure} is shown between {one} and {other}: {numbers}; one of "
            f"{unsigned(row['mde'])} thousandths would be found in 80 % of tries.")


def sorted_by_test(tests: pd.DataFrame, measure: str, article: str = "the ") -> str:
    """All rows of `inference.compare` in one sentence: lower, higher, and no difference shown, after Holm."""
    shown = tests["p_holm"] < LEVEL
    groups = {"lower": shown & (tests["difference"] < 0), "higher": shown & (tests["difference"] > 0)}
    parts = [f"{order} with {listed(tests['method'][rows])}" for order, rows in groups.items() if rows.any()]
    if (~shown).any():
        open_cases = tests[~shown]
        low, high = (unsigned(end) for end in (open_cases["mde"].min(), open_cases["mde"].max()))
        parts.append(f"no difference shown for {listed(open_cases['method'])} (one of "
                     f"{low if low == high else f'{low} to {high}'} thousandths would be found in 80 % of tries)")
    return f"{measure[0].upper()}{measure[1:]} compared with {article}{tests['reference'].iloc[0]}, after Holm: " + (
        "; ".join(parts) + ".")


def bullets(sentences: Iterable[str]) -> str:
    """A list in Markdown."""
    return "\n".join(f"- {sentence}" for sentence in sentences)
