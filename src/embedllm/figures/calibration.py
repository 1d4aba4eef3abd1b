"""What `embedllm.evaluation.calibration` finds, drawn: reliability, differences by benchmark or model, excess loss."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from scipy.special import logit

from embedllm.catalog import ADDITIVE, TEXT, TRUTH
from embedllm.figures.maps import RASTERIZE_ABOVE
from embedllm.figures.style import BLACK, BLUE, GRAY, WIDTH, color_of
from embedllm.presentation import unsigned

NAMED = 40  # benchmarks or models, at most, that get a row each
FAR = 2.5  # an estimation loss above this many medians is cut off at the edge
SHARES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.997, 0.999]  # ticks of a logit scale
GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 spread evenly, neighbors far apart


def plot_reliability(table: pd.DataFrame) -> Figure:
    """Mean score minus mean forecast against the mean forecast, one panel per forecaster.

    Before temperature scaling in gray and hollow, after it in the forecaster's color and with intervals. The scale
    shows the bulk of the points; what lies beyond it is a triangle at the edge. Forecasts stand on a logit scale,
    since they crowd near zero where most models fail.

    Parameters
    ----------
    table : DataFrame
        Rows of `calibration.reliability`, a point each, with the columns ``forecaster`` and ``scaling`` ("before",
        "after"). Intervals are those of the mean score, less the forecast.
    """
    gaps = table.assign(**{name: table[column] - table["forecast"]
                           for name, column in (("value", "score"), ("low", "low"), ("high", "high"))})
    limits, names = _reach(gaps, room=0.5), table["forecaster"].unique()
    gaps["forecast"] = gaps["forecast"].clip(SHARES[0], SHARES[-1])  # a logit scale has no 0 and no 1
    ticks = SHARES if np.ptp(logit(gaps["forecast"])) < 7 else SHARES[::2]  # fewer where they would collide
    figure, grid = _panels(len(names), 3, 1.25, sharey=True)
    for axes, name in zip(grid, names, strict=True):
        color, errors = color_of(name, BLUE), []
        axes.axhline(0, color=BLACK, lw=0.7, zorder=1)
        for scaling, edge, fill in (("before", GRAY, "white"), ("after", color, color)):
            bins = gaps[(gaps["forecaster"] == name) & (gaps["scaling"] == scaling)]
            errors.append(np.average(bins["value"].abs(), weights=bins["cells"]))
            _points(axes, bins["forecast"], bins["value"], limits, "y", s=13, fc=fill, ec=edge, lw=0.7)
        axes.vlines(bins["forecast"], bins["low"], bins["high"], color=color, lw=0.8, alpha=0.7)  # those after scaling
        _title(axes, name, "ECE {:.3f} \N{RIGHTWARDS ARROW} {:.3f}".format(*errors))
        axes.set(xscale="logit", ylim=limits)
        axes.xaxis.set(major_locator=FixedLocator(ticks), minor_locator=NullLocator(), major_formatter="{x:g}")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    marks = [plt.Line2D([], [], ls="", marker="o", ms=4, mec=edge, mfc=fill, label=label)
             for edge, fill, label in ((GRAY, "white", "before temperature scaling"),
                                      (BLACK, BLACK, "after it (colored, with intervals)"))]
    figure.legend(handles=marks, loc="outside upper center", ncols=2, fontsize=8)
    figure.supxlabel("mean forecast in a bin", fontsize=8)
    figure.supylabel("mean score minus mean forecast", fontsize=8)
    return figure


def plot_breakdown(table: pd.DataFrame, by: str, label: str) -> Figure:
    """Differences to a reference by benchmark or model: with intervals up to 40 of them, beyond that as strips.

    Up to 40, there is one panel per forecaster and one row per benchmark or model, in the order of the table. The
    dashed line is the mean over rows, weighted by questions; the counts above a panel say how many intervals lie
    wholly on either side of zero. What lies far beyond the others is a triangle at the edge.

    Parameters
    ----------
    table : DataFrame
        From `calibration.breakdown` with a reference. A few forecasters at a time are easiest to read.
    by : {"benchmark", "model"}
    label : str
        Of the horizontal axis, with its unit.
    """
    names, rows = table["forecaster"].unique(), table[by].unique()
    if len(rows) > NAMED:
        return plot_strips(table, by, label)
    figure, grid = _panels(len(names), 4, max(0.13 * len(rows), 0.6), sharey=True)
    limits, heavy = _reach(table, room=2), len(table) > RASTERIZE_ABOVE
    for axes, name in zip(grid, names, strict=True):
        part = table[(table["forecaster"] == name) & table["value"].notna()]
        color, place = color_of(name, BLUE), pd.Index(rows).get_indexer(part[by])
        axes.axvline(0, color=BLACK, lw=0.7)
        axes.axvline(np.average(part["value"], weights=part["n_questions"]), color=color, lw=0.8, ls="--")
        axes.hlines(place, part["low"], part["high"], color=color, lw=1, alpha=0.6, rasterized=heavy)
        _points(axes, part["value"], place, limits, "x", s=10, color=color, lw=0, rasterized=heavy)
        _title(axes, name, _counts(part))
        axes.set(xlim=limits, xticks=_three_ticks(*limits), ylim=(len(rows) - 0.4, -0.6))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(axis="y", length=0)
    figure.supxlabel(label, fontsize=8)
    return figure


def plot_strips(table: pd.DataFrame, by: str, label: str) -> Figure:
    """Differences to a reference, one row per forecaster and one dot per benchmark or model.

    The height of a dot within its row follows from its rank and only keeps dots apart. The lowest and the highest
    of each row are named, the lowest above the row and the highest below it; the black mark is the mean weighted by
    questions; the counts say how many intervals lie wholly on either side of zero. What lies far beyond the others
    is a triangle at the edge.

    Parameters
    ----------
    table, by, label
        As in `plot_breakdown`.
    """
    limits = _reach(table.assign(low=table["value"], high=table["value"]), room=2)
    names, thirds = table["forecaster"].unique(), np.linspace(*limits, 4)[1:3]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.8 * len(names) + 0.9))
    axes.axvline(0, color=BLACK, lw=0.7, zorder=0)
    for row, name in enumerate(names):
        part = table[(table["forecaster"] == name) & table["value"].notna()].sort_values("value")
        place = row + 0.5 * (np.arange(len(part)) * GOLDEN % 1 - 0.5)
        place[[0, -1]] = row - 0.25, row + 0.25  # next to their names
        _points(axes, part["value"], place, limits, "x", s=14, color=color_of(name, BLUE), alpha=0.5, lw=0,
                rasterized=len(table) > RASTERIZE_ABOVE)
        axes.vlines(np.average(part["value"], weights=part["n_questions"]), row - 0.25, row + 0.25, color=BLACK, lw=2,
                    zorder=4)
        for end, up, vertical in ((0, 4, "bottom"), (-1, -4, "top")):
            x = np.clip(part["value"].iloc[end], *limits)
            side = ("left", "center", "right")[np.digitize(x, thirds)]
            axes.annotate(part[by].iloc[end], (x, place[end]), (0, up), textcoords="offset points", ha=side,
                          va=vertical, fontsize=6.5, zorder=1, bbox={"fc": "white", "ec": "none", "pad": 0.5})
        axes.annotate(_counts(part), (1, row), (8, 0), xycoords=axes.get_yaxis_transform(),
                      textcoords="offset points", va="center", fontsize=7)
    axes.set(xlim=limits, ylim=(len(names) - 0.45, -0.55))
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label, fontsize=8)
    marks = [plt.Line2D([], [], ls="", marker=marker, color=color, ms=size, mew=width, label=label)
             for marker, color, size, width, label in (("o", GRAY, 4, 0, f"one of {table[by].nunique()} {by}s"),
                                                      ("|", BLACK, 9, 2, "mean"))]
    figure.legend(handles=marks, loc="outside upper center", ncols=2, fontsize=8)
    return figure


def plot_excess(table: pd.DataFrame) -> Figure:
    """Loss above that of a perfect reader of the text, the text ceiling, as bars; the best forecaster on top.

    Bars more than `FAR` times as long as the median are cut off at the edge with an arrowhead. The number at the
    end of a bar is its value in thousandths, also where it is cut off.

    Parameters
    ----------
    table : DataFrame
        From `calibration.excess_loss`, of which the quantity "estimation" is drawn.
    """
    estimation = table[table["quantity"] == "estimation"].set_index("forecaster")
    ceiling = estimation.loc[ADDITIVE, "value"]
    bars = estimation.drop(index=[TEXT, ADDITIVE, TRUTH], errors="ignore").sort_values("value")
    place, median = np.arange(len(bars)), bars["value"].median()
    far = (bars["value"] > FAR * median) & (median > 0)
    edge = 1.1 * max(bars.loc[~far, "high"].max(), ceiling, median) if far.any() else np.inf
    figure, axes = plt.subplots(figsize=(WIDTH, 0.24 * len(bars) + 1.0))
    axes.barh(place, bars["value"].clip(upper=edge), color=[color_of(name, BLUE) for name in bars.index], height=0.7)
    axes.hlines(place[~far], bars.loc[~far, "low"], bars.loc[~far, "high"], color=BLACK, lw=1)
    axes.scatter(bars.loc[far, "value"].clip(upper=edge), place[far], marker=">", s=40, color=BLACK, lw=0,
                 clip_on=False, zorder=3)
    for y, value, high in zip(place, bars["value"], bars["high"].clip(upper=edge), strict=True):
        axes.annotate(unsigned(value), (high, y), (6, 0), textcoords="offset points", va="center", fontsize=7)
    axes.axvline(ceiling, color=color_of(ADDITIVE), ls="--", lw=1.2)
    axes.annotate(f"{ADDITIVE}, {unsigned(ceiling)}", (ceiling, 1), (0, 3), xycoords=axes.get_xaxis_transform(),
                  textcoords="offset points", ha="center", fontsize=7.5)
    if far.any():
        axes.set_xlim(right=edge)
    axes.set_yticks(place, bars.index)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("log-loss above the text ceiling, nats per cell; labels in thousandths", fontsize=8)
    return figure


def _counts(part: pd.DataFrame) -> str:
    """How many intervals lie wholly on either side of zero."""
    return f"below zero: {(part['high'] < 0).sum()}, above: {(part['low'] > 0).sum()}"


def _reach(table: pd.DataFrame, room: float) -> tuple[float, float]:
    """Limits that show zero and all else within `room` times the span of the middle nine tenths of the values."""
    low, high = table["value"].quantile([0.05, 0.95])
    room = max(room * (high - low), 1e-4)
    left, right = max(low - room, table["low"].min()), min(high + room, table["high"].max())
    left, right = min(left, -room / 5), max(right, room / 5)
    return left - 0.03 * (right - left), right + 0.03 * (right - left)


def _three_ticks(left: float, right: float) -> list[float]:
    """Zero and a round number on either side, unless its label would touch that of zero."""

    def rounded(length: float) -> float:
        """The largest of 1, 2 and 5 times a power of ten within a length."""
        power = 10.0 ** np.floor(np.log10(length))
        return power * max(lead for lead in (1, 2, 5) if lead * power <= length)

    sides = -rounded(-0.9 * left), rounded(0.9 * right)
    return [0, *(tick for tick in sides if abs(tick) > 0.2 * (right - left))]


def _points(axes: Axes, x, y, limits: tuple[float, float], along: str, **style) -> None:
    """Points; those beyond the limits along x or y are triangles at the edge."""
    value, shapes = (x, "<>") if along == "x" else (y, "v^")
    low, high = limits
    for marker, seen in (("o", value.between(low, high)), (shapes[0], value < low), (shapes[1], value > high)):
        shown = value[seen].clip(low, high)
        axes.scatter(*((shown, y[seen]) if along == "x" else (x[seen], shown)), marker=marker, clip_on=False, zorder=3,
                     **(style if marker == "o" else style | {"s": 2 * style["s"]}))


def _panels(n: int, columns: int, height: float, **shared) -> tuple[Figure, list[Axes]]:
    """A figure of n panels, each `height` inches high, in no more columns than are needed for the number of lines.

    Returns their axes as well; only the outer ones keep their ticks' labels.
    """
    lines = -(-n // columns)
    columns = -(-n // lines)
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


def _title(axes: Axes, name: str, label: str) -> None:
    """Two lines above a panel: who, and what the panel comes down to."""
    axes.set_title(name, fontsize=7.5, pad=11)
    axes.annotate(label, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=6.5)
