"""Figures of notebook 03: forecasters side by side, against the labels they learn from, and the confirmation."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from embedllm.catalog import ADDITIVE, TEXT, TRUTH, VOTE
from embedllm.figures.plots import log_ticks, plot_intervals
from embedllm.figures.style import BLACK, GRAY, WIDTH, color_of


def plot_scores(table: pd.DataFrame, measures: Sequence[str]) -> Figure:
    """Measures of forecasters side by side; what the best readers of the text reach is a line.

    Parameters
    ----------
    table : DataFrame
        From `intervals.summarize`.
    measures : sequence of str
        Of ``metric``, a panel each.
    """
    titles = {name: {"accuracy": "accuracy", "log_loss": "log-loss", "auc": "AUC"}[name] for name in measures}
    panels = {title: table[table["metric"] == metric] for metric, title in titles.items()}
    lines = {title: rows[rows["forecaster"].isin([TEXT, ADDITIVE])].set_index("forecaster")["value"].to_dict()
             for title, rows in panels.items()}
    own = {title: rows[~rows["forecaster"].isin([TEXT, ADDITIVE, TRUTH])] for title, rows in panels.items()}
    label = {"accuracy": "share of cells, more is better", "log-loss": "nats per cell, less is better",
             "AUC": "more is better"}
    return plot_intervals(own, "forecaster", "value", label, levels=lines)


def plot_learning(table: pd.DataFrame, own: str) -> Figure:
    """Differences of forecasters to one, against the answers they learn from, a panel for each metric.

    Parameters
    ----------
    table : DataFrame
        From `learning.against`.
    own : str
        The forecaster that is judged. Gray: a difference of it too small to be found in 80 % of tries.
    """
    titles = {"accuracy": "accuracy, more is better", "log_loss": "log-loss in nats, less is better"}
    figure, grid = plt.subplots(1, table["metric"].nunique(), figsize=(WIDTH, 3.2), squeeze=False)
    for axes, (metric, part) in zip(grid[0], table.groupby("metric", sort=False), strict=True):
        blind = part[part["method"] == own].set_index("labels")["mde"]
        axes.fill_between(blind.index.astype(float), -blind, blind, color=GRAY, alpha=0.18, lw=0, label="undetectable")
        axes.axhline(0, lw=0.8, color=BLACK)
        if metric == "log_loss":  # a vote is no probability, and would stretch the axis
            part = part[part["method"] != VOTE.name]
        for name, line in part.groupby("method", sort=False):
            axes.plot(line["labels"], line["difference"], marker="o", ms=3.5, lw=1.5, label=name, color=color_of(name))
            axes.fill_between(line["labels"].astype(float), line["low"], line["high"], alpha=0.2, lw=0,
                              color=color_of(name))
        log_ticks(axes, part["labels"], 7, _short)
        axes.set(xlabel="labels in training and validation", ylabel=f"minus that of {part['reference'].iloc[0]}")
        axes.set_title(titles[metric], size=8.5)
    marks = {name: mark for axes in grid[0] for mark, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(marks.values(), marks, loc="outside lower center", ncols=3, fontsize=7.5)
    return figure


def plot_lengths(table: pd.DataFrame, margin: float) -> Figure:
    """What vectors of each length lose against the best one of the same forecaster, a panel each.

    Parameters
    ----------
    table : DataFrame
        From `learning.shorter`; benchmark means are left out.
    margin : float
        Of non-inferiority, gray; none where it is 0.
    """
    panels = list(table[table["dim"] > 0].groupby("forecaster", sort=False))
    figure, grid = plt.subplots(1, len(panels), figsize=(WIDTH, 2.9), sharey=True, squeeze=False)
    for axes, (name, line) in zip(grid[0], panels, strict=True):
        line, color = line.sort_values("dim"), color_of(name)
        if margin:
            axes.axhspan(-margin, margin, color=GRAY, alpha=0.25, lw=0, zorder=0)
        axes.axhline(0, lw=0.8, color=BLACK)
        axes.fill_between(line["dim"].astype(float), line["low"], line["high"], color=color, alpha=0.2, lw=0)
        axes.plot(line["dim"], line["difference"], marker="o", ms=3.5, lw=1.5, color=color)
        axes.set(xlabel="numbers per model")
        axes.set_title(name.replace(", ", ",\n") + f"\nbest: {line['best'].iloc[0]}", size=8)
    grid[0, 0].set_ylabel("log-loss minus that of the\nbest length, nats per cell")
    for axes in grid[0]:
        log_ticks(axes, table.loc[table["dim"] > 0, "dim"], 6.5)
    return figure


def _short(number: float) -> str:
    """A count of labels in two or three digits: 950, 14k, 1.2M."""
    power = int(np.log10(max(number, 1)) // 3)
    return f"{number / 1000**power:.{0 if number / 1000**power >= 10 or not power else 1}f}{['', 'k', 'M', 'G'][power]}"


def plot_confirmation(rows: pd.DataFrame) -> Figure:
    """Differences of a frozen forecaster to its comparators, a panel a suite, in thousandths.

    Parameters
    ----------
    rows : DataFrame
        From `confirmation.confirm`.
    """
    shown = rows.assign(**{name: 1000 * rows[name] for name in ("difference", "low", "high")})
    panels = dict(iter(shown.groupby("suite", sort=False)))
    return plot_intervals(panels, "reference", "difference", "nats / 1,000", zero=True)
