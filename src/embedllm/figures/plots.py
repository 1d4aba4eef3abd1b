"""Figures that several notebooks draw: tables in, figures out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from textwrap import fill

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from embedllm.figures.style import BLACK, BLUE, GRAY, KINDS, SKY, WIDTH, color_of
from embedllm.presentation import thousandths

LEAST = 0.005  # share of the questions from which a model is worth a color
LETTER = 0.65  # width of a letter, in sizes of the type
TITLE, LEGEND = 72, 100  # letters of titles, of the names in a legend, that a line holds
MANY_PANELS = 4  # beside each other: titles of more are written smaller


def plot_distributions(table: pd.DataFrame, group: str, label: str) -> Figure:
    """Boxes of a positive value by group on a logarithmic axis, whiskers from the 1st to the 99th percentile.

    Parameters
    ----------
    table : DataFrame
        Columns `group`, ``1%``, ``25%``, ``50%``, ``75%``, ``99%``: the quantiles of each group, a row each.
    """
    table = table.sort_values("50%", ascending=False, kind="stable")
    names = {"whislo": "1%", "q1": "25%", "med": "50%", "q3": "75%", "whishi": "99%"}
    boxes = [{place: row[name] for place, name in names.items()} for _, row in table.iterrows()]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.24 * len(table) + 0.9))
    axes.bxp(boxes, orientation="horizontal", widths=0.65, showfliers=False, patch_artist=True,
             boxprops={"fc": SKY, "lw": 0.8}, medianprops={"color": BLACK, "lw": 0.8}, whiskerprops={"lw": 0.8},
             capprops={"lw": 0.8})
    axes.set_yticks(range(1, len(table) + 1), table[group])
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.set(xlabel=label, ylabel="")
    return figure


def plot_curves(
    table: pd.DataFrame, x: str, y: str, *, hue: str, labels: tuple[str, str], log: bool = False,
    minimum: str = "", margin: float = 0.0, zero: bool = False, low: str = "low", high: str = "high",
) -> Figure:
    """Lines with bands, one for each method, and horizontal levels to compare with.

    Parameters
    ----------
    table : DataFrame
        Columns `x`, `y`, `hue` and, where there is a band, `low` and `high`. A row without `x` is a
        dashed horizontal line at its `y`.
    labels : (str, str)
        Of the axes, with units.
    minimum : str
        The line whose lowest point is marked.
    margin : float
        Half the width of a gray band around zero.
    zero : bool
        Draw a line at zero: the values are differences.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4))
    level = table[x].isna()
    for name, line in table[~level].groupby(hue, sort=False):
        axes.plot(line[x], line[y], marker="o", ms=3.5, lw=1.5, label=name, color=color_of(name))
        if low in line and len(line) == 1:  # a band without width would not be seen
            axes.vlines(line[x], line[low], line[high], lw=1.5, alpha=0.6, color=color_of(name))
        elif low in line:
            axes.fill_between(line[x].astype(float), line[low], line[high], alpha=0.18, lw=0, color=color_of(name))
        if name == minimum:
            lowest = line.loc[line[y].idxmin()]
            axes.plot(lowest[x], lowest[y], marker="o", ms=9, mfc="none", color=color_of(name))
    for name, height in table.loc[level, [hue, y]].itertuples(index=False):
        axes.axhline(height, ls="--", lw=1, color=color_of(name), label=name)
    if margin:
        axes.axhspan(-margin, margin, color=GRAY, alpha=0.18, lw=0, zorder=0, label="margin")
    if margin or zero:
        axes.axhline(0, lw=0.8, color=BLACK)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    if log:
        log_ticks(axes, table.loc[~level, x])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def log_ticks(
    axes, values: Iterable[float], size: float | None = None, name: Callable[[float], str] = "{:,g}".format
) -> None:
    """A logarithmic axis that is marked at the values; where names would touch, the first and the last are written."""
    axes.set_xscale("log")
    axes.figure.draw_without_rendering()  # what stands beside the axes leaves them less room
    ticks = sorted(set(values))
    names, size = list(map(name, ticks)), size or FontProperties(size=plt.rcParams["xtick.labelsize"]).get_size()
    inches = axes.get_window_extent().width / axes.figure.dpi / max(np.log(ticks[-1] / ticks[0]), 1e-9)
    at, wide = inches * np.log(np.array(ticks) / ticks[0]), LETTER * size / 72 * (1 + np.array(list(map(len, names))))
    written = 0
    for number in range(1, len(ticks)):
        before = [written] if number == len(ticks) - 1 else [written, len(ticks) - 1]
        touching = [other for other in before if abs(at[number] - at[other]) < (wide[number] + wide[other]) / 2]
        if touching and number < len(ticks) - 1:
            names[number] = ""
        else:
            written = number
    axes.set_xticks(ticks, names, fontsize=size)
    if len(ticks) == 1:
        axes.set_xlim(ticks[0] / 1.5, ticks[0] * 1.5)
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())


def plot_intervals(
    panels: dict[str, pd.DataFrame], name: str, value: str, label: str | dict[str, str], *,
    hue: str | None = None, levels: Mapping[str, Mapping[str, float]] | None = None, zero: bool = False,
    margin: float = 0.0, valued: bool = False, small: bool = False, low: str = "low", high: str = "high",
) -> Figure:
    """Points with intervals, one row per name, one panel a table, rows shared by the panels.

    Parameters
    ----------
    panels : mapping of str to DataFrame
        Panel title to table with columns `name`, `value` and, where there is an interval, `low` and
        `high`.
    label : str or mapping of str to str
        Of the horizontal axis, with its unit: one for all panels or one for each title.
    hue : str, optional
        Column that colors and offsets the points within a row; the row's own name otherwise.
    levels : mapping of str to mapping, optional
        Panel title to named vertical lines, explained in a legend.
    zero : bool
        Draw a line at zero: the values are differences. One that is zero without an interval is called the same.
    margin : float
        Half the width of a gray band around zero.
    valued : bool
        Write each value behind its interval, a difference in thousandths.
    small : bool
        Mark the axis in thousandths.
    """
    unit = 1000 if small else 1
    rows = list(dict.fromkeys(row for table in panels.values() for row in table[name]))
    groups = list(dict.fromkeys(g for table in panels.values() for g in table[hue])) if hue else [None]
    height = max(0.27, 0.13 * len(groups)) * len(rows) + 1.1
    figure, grid = plt.subplots(1, len(panels), figsize=(WIDTH, height), sharey=True, squeeze=False)
    for axes, (title, table) in zip(grid[0], panels.items(), strict=True):
        for position, group in enumerate(groups):
            part = table if group is None else table[table[hue] == group]
            offset = 0 if group is None else 0.5 * (position / max(len(groups) - 1, 1) - 0.5)
            for _, row in part.iterrows():
                color, height_at = color_of(row[name] if group is None else group, BLUE), rows.index(row[name]) + offset
                ends = unit * np.array((row[low], row[high]) if low in table else (row[value],) * 2)
                axes.plot(ends, [height_at] * 2, color=color, lw=1.8, alpha=0.6)
                axes.plot(unit * row[value], height_at, "o", ms=4.5, color=color)
                same = zero and low in table and not any((row[value], *ends))
                if valued or same:
                    axes.annotate("the same" if same else thousandths(row[value]) if zero else f"{row[value]:.3f}",
                                  (np.nanmax((unit * row[value], *ends)), height_at), (5, 0),
                                  textcoords="offset points", va="center", fontsize=6.5, color=color if same else BLACK,
                                  bbox={"fc": "white", "ec": "none", "pad": 0.5})
        for level_name, level in (levels or {}).get(title, {}).items():
            axes.axvline(level, ls="--", lw=1, color=color_of(level_name), zorder=0)
        if zero:
            axes.axvline(0, lw=0.8, color=BLACK)
        if margin:
            axes.axvspan(-unit * margin, unit * margin, color=GRAY, alpha=0.18, lw=0, zorder=0)
        _arrange(axes, rows, len(panels), bool(zero))
        axes.set(xlabel=label if isinstance(label, str) else label[title])
        axes.set_title(title, size=8 if len(panels) > MANY_PANELS else plt.rcParams["axes.titlesize"])
    marks = [plt.Line2D([], [], marker="o", lw=1.8, color=color_of(g, BLUE), label=g) for g in groups if hue]
    named = dict.fromkeys(line for lines in (levels or {}).values() for line in lines)
    marks += [plt.Line2D([], [], ls="--", lw=1, color=color_of(line), label=line) for line in named]
    marks += [Patch(color=GRAY, alpha=0.18, lw=0, label="margin")] if margin else []
    if marks:
        columns = max(1, min(4, len(marks), LEGEND // max(len(str(mark.get_label())) for mark in marks)))
        figure.legend(handles=marks, loc="outside lower center", ncols=columns)
    return figure


def _arrange(axes, rows: list[str], n_panels: int, differences: bool) -> None:
    """Rows from top to bottom, few ticks, and no magnified axis where all values are all but equal."""
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.xaxis.set_major_locator(MaxNLocator(8 // n_panels + 2, steps=[1, 2, 2.5, 5, 10]))
    axes.ticklabel_format(axis="x", useOffset=False)
    if not differences and np.ptp(axes.get_xlim()) < 1e-3:
        axes.set_xlim(np.mean(axes.get_xlim()) + np.array([-0.01, 0.01]))
    axes.grid(axis="x", lw=0.3)
    axes.tick_params(axis="y", length=0)


def plot_shares(table: pd.DataFrame) -> Figure:
    """Which models each router asks, by benchmark: stacked bars, a panel per router; those asked most have a color.

    Parameters
    ----------
    table : DataFrame
        Columns ``policy``, ``benchmark``, ``model``, ``share`` (of the benchmark's questions); models that are never
        asked may be left out.
    """
    policies, benchmarks = table["policy"].unique(), table["benchmark"].unique()
    asked = table.groupby("model", sort=False)["share"].sum() / (len(policies) * len(benchmarks))
    top = asked[asked >= LEAST].nlargest(len(KINDS)).index
    palette = dict(zip(top, KINDS, strict=False)) | {"other models": GRAY}
    table = table.assign(model=table["model"].where(table["model"].isin(top), "other models"))
    figure, grid = plt.subplots(1, len(policies), figsize=(WIDTH, 0.24 * len(benchmarks) + 1.6), sharey=True,
                                squeeze=False)
    for axes, policy in zip(grid[0], policies, strict=True):
        shares = table[table["policy"] == policy].pivot_table(
            index="benchmark", columns="model", values="share", aggfunc="sum", fill_value=0, sort=False)
        left = np.zeros(len(benchmarks))
        for model, color in palette.items():
            width = 100 * shares[model].reindex(benchmarks).to_numpy() if model in shares else np.zeros(len(benchmarks))
            axes.barh(benchmarks, width, left=left, color=color, height=0.75, label=model)
            left += width
        axes.set(title=fill(policy, TITLE // len(policies)), xlabel="questions routed, %", xlim=(0, 100))
        axes.tick_params(axis="y", length=0)
    grid[0, 0].invert_yaxis()
    handles, names = grid[0, 0].get_legend_handles_labels()
    columns = max(1, min(3, LEGEND // max(map(len, names))))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=7)
    return figure
