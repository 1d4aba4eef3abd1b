"""What notebook 07 says: what the comparison rests on."""

from __future__ import annotations

import pandas as pd

from embedllm import catalog
from embedllm.conclusions._words import LEVEL, interval
from embedllm.presentation import counted, listed, p_is, thousandths, unsigned


def added(gains: pd.DataFrame) -> str:
    """What other models' answers add in the smallest pools, from `sensitivity.gains`."""
    small = gains[gains["n_models"] == gains["n_models"].min()]
    shown = small[(small["p_holm"] < LEVEL) & (small["difference"] > 0)]
    gained = listed(f"{row.forecaster} by {unsigned(row.difference)}" for row in shown.itertuples())
    where = f"For pools of {small['n_models'].iloc[0]} models the answers of the others"
    if shown.empty:
        return f"{where} are not shown to lower the log-loss of any forecaster."
    return f"{where} lower the log-loss of {gained} thousandths of a nat{_rest(len(small) - len(shown))}."


def _rest(number: int) -> str:
    return f"; for {counted(number, 'other')} no gain is shown" if number else ""


def kept(cells: pd.DataFrame) -> str:
    """The lowest log-loss with the most cells, from `comparisons.averaged`."""
    rows = cells[(cells["metric"] == "log_loss") & (cells["share"] == cells["share"].max())]
    low = rows.loc[rows["value"].idxmin()]
    return f"With {low['share']:.0%} of the cells {low['forecaster']} has the lowest log-loss, {low['value']:.3f}."


def conclusion(gains: pd.DataFrame, completed: pd.DataFrame, flaws: pd.DataFrame, n_seeds: int) -> str:
    """What the comparison rests on.

    Parameters
    ----------
    gains : DataFrame
        From `sensitivity.gains`; empty where the pool is too small to draw from.
    completed : DataFrame
        Completing seen questions, from `comparisons.averaged`; empty where nothing was hidden.
    flaws : DataFrame
        From `official_defects.defects`.
    n_seeds : int
        Trainings of each defect.
    """
    small = gains[gains["n_models"] == gains["n_models"].min()] if len(gains) else gains
    more = "; ".join(f"{row['forecaster']} {interval(row)}, {p_is(row['p_holm'])} after Holm"
                     for _, row in small.iterrows())
    cells = "nothing was hidden, so that there was nothing to complete."
    if len(completed):
        most = completed["share"].max()
        seen = completed[(completed["metric"] == "log_loss") & (completed["share"] == most)]
        seen = seen.set_index("forecaster")["value"]
        cells = (f"with {most:.0%} of them, completing seen questions has a log-loss of "
                 f"{seen[catalog.COMPLETION]:.3f} where the text alone gives {seen[catalog.ONE_ABILITY.name]:.3f}. "
                 "These are two tasks: a good completion says nothing about new questions.")
    beyond_seeds = flaws["difference"].abs() > 3 * flaws["seed_sd"] / n_seeds**0.5
    tested = flaws[(flaws["p_holm"] < LEVEL) & beyond_seeds]
    changed: dict[str, list[str]] = {}
    for row in tested.itertuples():
        changed.setdefault(row.defect, []).append(f"{row.measure} {thousandths(row.difference)}")
    shown = "; ".join(f"{defect} ({', '.join(measures)})" for defect, measures in changed.items())
    return f"""
## What the comparison rests on

All differences in thousandths, intervals uncorrected.

- Fewer models, log-loss alone minus with all models' answers, smallest pools{_size(small)}:
  {more or "the pool is too small to draw from"}.
- Fewer cells: {cells}
- Defects of the official code whose effect is shown at 5 % after Holm and is beyond what trainings differ by:
  {shown or "none"}.
"""


def _size(small: pd.DataFrame) -> str:
    return f" ({counted(int(small['n_models'].iloc[0]), 'model')})" if len(small) else ""
