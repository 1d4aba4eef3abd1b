"""Figures that several notebooks draw: tables in, figures out."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from embedllm.figures.style import BLACK, BLUE, GRAY, SKY, WIDTH, color_of, name_points

RASTERIZE_ABOVE = 500  # cells of a heatmap; more would make a heavy SVG


def plot_heatmap(table: pd.DataFrame, label: str) -> Figure:
    """Rows against columns as color; more than 45 rows are labeled sparsely.

    Parameters
    ----------
    table : DataFrame
        Row names in the index, column names in the columns, values in the cells.
    label : str
        What the color means, with its unit.
    """
    height = np.clip(0.16 * len(table) + 1.6, 3.0, 8.5)
    figure, axes = plt.subplots(figsize=(WIDTH, height))
    step = 1 if len(table) <= 45 else int(np.ceil(len(table) / 40))
    sns.heatmap(
        table, ax=axes, cmap="cividis", cbar_kws={"label": label}, yticklabels=step, xticklabels=True,
        rasterized=table.size > RASTERIZE_ABOVE,
    )
    axes.tick_params(axis="y", labelsize=6.5, length=0)
    axes.tick_params(axis="x", length=0)
    plt.setp(axes.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    axes.set(xlabel="", ylabel="")
    return figure


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
    minimum: bool = False,
) -> Figure:
    """Lines with bands, one for each method, and horizontal levels to compare with.

    Parameters
    ----------
    table : DataFrame
        Columns `x`, `y`, `hue` and, where there is a band, ``low`` and ``high``. A row without `x` is a
        dashed horizontal line at its `y`.
    labels : (str, str)
        Of the axes, with units.
    minimum : bool
        Mark the lowest point of each line.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4))
    level = table[x].isna()
    for name, line in table[~level].groupby(hue, sort=False):
        axes.plot(line[x], line[y], marker="o", ms=3.5, lw=1.5, label=name, color=color_of(name))
        if "low" in line:
            axes.fill_between(line[x].astype(float), line["low"], line["high"], alpha=0.18, lw=0,
                              color=color_of(name))
        if minimum:
            low = line.loc[line[y].idxmin()]
            axes.plot(low[x], low[y], marker="o", ms=9, mfc="none", color=color_of(name))
    for name, height in table.loc[level, [hue, y]].itertuples(index=False):
        axes.axhline(height, ls="--", lw=1, color=color_of(name), label=name)
    if log:
        axes.set_xscale("log")
        ticks = sorted(table.loc[~level, x].unique())
        axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    else:
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_intervals(
    panels: dict[str, pd.DataFrame], name: str, value: str, label: str | dict[str, str], *,
    hue: str | None = None, levels: Sequence[tuple[str, float]] = (), zero: bool = False,
    low: str = "low", high: str = "high",
) -> Figure:
    """Points with intervals, one row a name, one panel a table, rows shared by the panels.

    Parameters
    ----------
    panels : mapping of str to DataFrame
        Panel title to table with columns `name`, `value` and, where there is an interval, `low` and
        `high`.
    label : str or mapping of str to str
        Of the horizontal axis, with its unit: one for all panels or one for each title.
    hue : str, optional
        Column that colors and offsets the points within a row; the row's own name otherwise.
    levels : sequence of (str, float)
        Named vertical lines in every panel.
    zero : bool
        Draw a line at zero: the values are differences.
    """
    rows = list(dict.fromkeys(row for table in panels.values() for row in table[name]))
    groups = list(dict.fromkeys(g for table in panels.values() for g in table[hue])) if hue else [None]
    height = max(0.27, 0.13 * len(groups)) * len(rows) + 1.1
    figure, grid = plt.subplots(1, len(panels), figsize=(WIDTH, height), sharey=True, squeeze=False)
    for axes, (title, table) in zip(grid[0], panels.items(), strict=True):
        for position, group in enumerate(groups):
            part = table if group is None else table[table[hue] == group]
            offset = 0 if group is None else 0.5 * (position / max(len(groups) - 1, 1) - 0.5)
            for _, row in part.iterrows():
                color = color_of(row[name] if group is None else group, BLUE)
                height_at = rows.index(row[name]) + offset
                if low in table:
                    axes.plot([row[low], row[high]], [height_at] * 2, color=color, lw=1.8, alpha=0.6)
                axes.plot(row[value], height_at, "o", ms=4.5, color=color)
        for level_name, level in levels:
            axes.axvline(level, ls="--", lw=1, color=color_of(level_name))
            axes.text(level, -1.0, f"{level_name} ", ha="right", va="center", fontsize=7)
        if zero:
            axes.axvline(0, lw=0.8, color=BLACK)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.4, -1.5 if levels else -0.7)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(8 // len(panels) + 2, steps=[1, 2, 2.5, 5, 10]))
        axes.ticklabel_format(axis="x", useOffset=False)
        if np.ptp(axes.get_xlim()) < 1e-3:  # all but equal: do not magnify
            axes.set_xlim(np.mean(axes.get_xlim()) + np.array([-0.01, 0.01]))
        axes.grid(axis="x", lw=0.3)
        axes.tick_params(axis="y", length=0)
        axes.set(title=title, xlabel=label if isinstance(label, str) else label[title])
    if hue:
        handles = [
            plt.Line2D([], [], marker="o", lw=1.8, color=color_of(g, BLUE), label=g) for g in groups
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(groups))
    return figure


def plot_communities(table: pd.DataFrame) -> Figure:
    """Mean distances within size classes and to the others, a panel for each distance.

    Parameters
    ----------
    table : DataFrame
        From `probes.size_communities`.
    """
    long = table.melt(["distance", "community"], ["intra", "inter"], "pairs", "mean distance")
    long["pairs"] = long["pairs"].replace({"intra": "within the size", "inter": "to the other classes"})
    long = long.sort_values("community", key=lambda sizes: sizes.str.rstrip("B").astype(int), kind="stable")
    panels = dict(list(long.groupby("distance")))
    return plot_intervals(panels, "community", "mean distance", "mean distance", hue="pairs")


def plot_bars(table: pd.DataFrame, name: str, value: str, label: str, *, hue: str) -> Figure:
    """Horizontal bars of several methods side by side."""
    figure, axes = plt.subplots(figsize=(WIDTH, 0.28 * table[name].nunique() + 1.1))
    sns.barplot(table, x=value, y=name, hue=hue, ax=axes,
                palette={method: color_of(method) for method in table[hue].unique()})
    axes.set(xlabel=label, ylabel="")
    axes.legend(loc="lower right", title=None)
    return figure


def plot_points(
    table: pd.DataFrame, x: str, y: str, colors: dict[str, str], labels: tuple[str, str],
    *, ticks: bool = False, names: str | None = None,
) -> Figure:
    """The same points once for each coloring; numbers get a scale, names and ordered classes a legend.

    Parameters
    ----------
    colors : mapping of str to str
        Column to panel title. Rows where the column is blank are drawn hollow.
    ticks : bool
        The axes have a unit worth reading.
    names : str, optional
        Column that names the points, written beside them where there are at most 40.
    """
    wide = len(colors) > 1
    figure, grid = plt.subplots(1, len(colors), figsize=(WIDTH, 3.8 if wide else 4.8), squeeze=False,
                                sharex=True, sharey=True)
    for axes, (column, title) in zip(grid[0], colors.items(), strict=True):
        blank = table[column].isna()
        axes.scatter(table.loc[blank, x], table.loc[blank, y], s=22, fc="none", ec=GRAY, lw=0.8)
        known = table[~blank]
        if pd.api.types.is_numeric_dtype(known[column]):
            marks = axes.scatter(known[x], known[y], c=known[column], s=24, cmap="viridis", lw=0)
            figure.colorbar(marks, ax=axes, location="bottom", label=title, shrink=0.9, aspect=25)
        else:
            ordered = isinstance(known[column].dtype, pd.CategoricalDtype)
            kinds = known[column].cat.categories if ordered else known[column].value_counts().index
            scheme = "viridis" if ordered else "colorblind" if len(kinds) <= 8 else "husl"
            palette = dict(zip(kinds, sns.color_palette(scheme, len(kinds)), strict=True))
            for kind in kinds:
                part = known[known[column] == kind]
                axes.scatter(part[x], part[y], color=palette[kind], s=24, lw=0, label=kind)
            if len(kinds) <= 30:
                axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=6,
                            ncols=3 if len(kinds) > 9 else 2, handletextpad=0.1, columnspacing=0.6)
        if names and len(table) <= 40:
            name_points(axes, table[x], table[y], table[names])
        axes.set(title=title if wide else "", xlabel=labels[0])
        if not ticks:
            axes.set(xticks=[], yticks=[])
    grid[0][0].set_ylabel(labels[1])
    return figure
