"""What `embedllm.evaluation.calibration` finds, drawn: reliability, differences by benchmark or model, excess loss."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from embedllm.catalog import ADDITIVE, TEXT, TRUTH
from embedllm.figures.plots import RASTERIZE_ABOVE
from embedllm.figures.style import BLACK, BLUE, GRAY, WIDTH, color_of

NAMED = 40  # benchmarks or models, at most, that are named
PALE = "#D4D4D4"


def plot_reliability(table: pd.DataFrame) -> Figure:
    """Observed against forecast, one panel a forecaster: before temperature scaling hollow, after it filled.

    Scaling moves points sideways only, since it keeps the cells of each bin together.

    Parameters
    ----------
    table : DataFrame
        Rows of `calibration.reliability` with the columns ``forecaster`` and ``scaling`` ("before", "after"). The
        area of a point is its bin's share of the cells, the line through it the interval of the mean score.
    """
    names = table["forecaster"].unique()
    figure, grid = _panels(len(names), 4, 1.5, sharey=True)
    seen = table[["forecast", "low", "high"]]
    limits = max(seen.min(axis=None) - 0.04, -0.02), min(seen.max(axis=None) + 0.04, 1.02)
    for axes, name in zip(grid, names, strict=True):
        color, errors = color_of(name, BLUE), []
        axes.axline((0, 0), slope=1, color=GRAY, lw=0.7, zorder=1)
        for scaling, fill in (("before", "white"), ("after", color)):
            bins = table[(table["forecaster"] == name) & (table["scaling"] == scaling)]
            share = bins["cells"] / bins["cells"].sum()
            errors.append((share * (bins["forecast"] - bins["score"]).abs()).sum())
            # Rasterized, since each area is a path of its own in an SVG, which makes it heavy.
            axes.vlines(bins["forecast"], bins["low"], bins["high"], color=color, lw=0.8, rasterized=True)
            axes.scatter(bins["forecast"], bins["score"], s=180 * share, fc=fill, ec=color, lw=0.6, zorder=3,
                         rasterized=True)
        _title(axes, name, "ECE {:.3f} \N{RIGHTWARDS ARROW} {:.3f}".format(*errors))
        axes.set(xlim=limits, ylim=limits, box_aspect=1)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5]))
    marks = [plt.Line2D([], [], ls="", marker="o", ms=4, mec=BLACK, mfc=fill, label=f"{scaling} temperature scaling")
             for scaling, fill in (("before", "white"), ("after", BLACK))]
    figure.legend(handles=marks, loc="outside upper center", ncols=2, fontsize=8)
    figure.supxlabel("mean forecast in a bin", fontsize=8)
    figure.supylabel("mean score in the bin", fontsize=8)
    return figure


def plot_breakdown(table: pd.DataFrame, by: str, label: str) -> Figure:
    """Differences to a reference with intervals, one panel a forecaster, one row a benchmark or model.

    The dashed line is the mean over rows, weighted by questions; the counts above a panel say how many
    intervals lie wholly on either side of zero. A few far values must not flatten all others: what lies beyond
    the scale is a triangle at its edge. Rows keep the order of the table and are named up to 40.

    Parameters
    ----------
    table : DataFrame
        From `calibration.breakdown` with a reference. A few forecasters at a time are easiest to read.
    by : {"benchmark", "model"}
    label : str
        Of the horizontal axis, with its unit.
    """
    names, rows = table["forecaster"].unique(), table[by].unique()
    named, heavy = len(rows) <= NAMED, len(table) > RASTERIZE_ABOVE
    figure, grid = _panels(len(names), 5, max(0.11 * len(rows), 0.6) if named else 2.4, sharey=True)
    left, right = _reach(table)
    for axes, name in zip(grid, names, strict=True):
        part = table[(table["forecaster"] == name) & table["value"].notna()]
        color, place = color_of(name, BLUE), pd.Index(rows).get_indexer(part[by])
        axes.axvline(0, color=BLACK, lw=0.7)
        axes.axvline(np.average(part["value"], weights=part["n_questions"]), color=color, lw=0.8, ls="--")
        axes.hlines(place, part["low"], part["high"], color=color, lw=1 if named else 0.5, alpha=0.6, rasterized=heavy)
        for marker, seen in (("o", part["value"].between(left, right)), ("<", part["value"] < left),
                             (">", part["value"] > right)):
            axes.scatter(part["value"][seen].clip(left, right), place[seen], s=9 if named else 4, color=color, lw=0,
                         marker=marker, clip_on=False, rasterized=heavy)
        _title(axes, name, f"below zero: {(part['high'] < 0).sum()}, above: {(part['low'] > 0).sum()}")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.set(xlim=(left, right), ylim=(len(rows) - 0.4, -0.6))
        axes.set_yticks(range(len(rows)) if named else [], rows if named else [])
        axes.tick_params(axis="y", length=0)
    figure.supxlabel(label, fontsize=8)
    if not named:
        figure.supylabel(f"{len(rows)} {by}s, the highest mean score on top", fontsize=8)
    return figure


def plot_excess(table: pd.DataFrame) -> Figure:
    """Loss beyond that of the truth as bars of two parts, unread text and estimation; the best forecaster on top.

    Parameters
    ----------
    table : DataFrame
        From `calibration.excess_loss`. The interval is that of the estimation, the number behind a bar the
        share recovered of what lies between the two text ceilings.
    """
    wide = table.pivot_table(index="forecaster", columns="quantity", values=["value", "low", "high"], sort=False,
                             dropna=False)
    bars = wide.drop(index=[TEXT, ADDITIVE, TRUTH], errors="ignore").sort_values(("value", "log-loss"))
    place, unread = np.arange(len(bars)), bars["value", "unread text"]
    colors = [color_of(name, BLUE) for name in bars.index]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.24 * len(bars) + 1.3))
    axes.barh(place, unread, color=PALE, height=0.7)
    axes.barh(place, bars["value", "estimation"], left=unread, color=colors, height=0.7)
    low, high = unread + bars["low", "estimation"], unread + bars["high", "estimation"]
    axes.hlines(place, low, high, color=BLACK, lw=1)
    recovered = bars.xs("recovered", axis=1, level=1)[["value", "low", "high"]].to_numpy()
    for y, x, share in zip(place, high, recovered, strict=True):
        if not np.isnan(share[0]):
            axes.annotate("{:.0%} ({:.0%} to {:.0%})".format(*share), (x, y), (4, 0), textcoords="offset points",
                          va="center", fontsize=7)
    line = axes.axvline(wide.loc[ADDITIVE, "value"][["unread text", "estimation"]].sum(), color=color_of(ADDITIVE),
                        ls="--", lw=1.2, label=ADDITIVE)
    axes.set_yticks(place, bars.index)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("log-loss beyond that of the true probability, nats per cell; behind the bars the share recovered",
                    fontsize=8)
    figure.legend(handles=[Patch(fc=PALE, label="unread text"), Patch(fc=BLACK, label="estimation (colored)"), line],
                  loc="outside upper center", ncols=3, fontsize=8)
    return figure


def _reach(table: pd.DataFrame) -> tuple[float, float]:
    """Limits that show zero and the middle nine tenths of the values with room around them."""
    low, high = table["value"].quantile([0.05, 0.95])
    room = max(0.5 * (high - low), 1e-4)
    return min(max(low - room, table["low"].min()), -room / 5), max(min(high + room, table["high"].max()), room / 5)


def _panels(n: int, columns: int, height: float, **shared) -> tuple[Figure, list]:
    """A figure of n panels, each `height` inches high, and their axes; only the outer ones keep their ticks' labels."""
    lines = -(-n // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(WIDTH, lines * (height + 0.45) + 0.6), squeeze=False,
                                sharex=True, **shared)
    panels, spare = grid.flat[:n], grid.flat[n:]
    for axes in spare:
        axes.remove()
    for axes in panels:
        axes.tick_params(labelsize=6.5)
    for axes in panels[-columns:]:
        axes.tick_params(labelbottom=True)
    return figure, list(panels)


def _title(axes, name: str, told: str) -> None:
    """Two lines above a panel: who, and what the panel comes down to."""
    axes.set_title(name, fontsize=7.5, pad=11)
    axes.annotate(told, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=6.5)
