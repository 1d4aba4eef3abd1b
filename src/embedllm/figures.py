"""Every figure of the study: one style, one palette, one way to save. Tables in, figures out."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.transforms import Bbox
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from embedllm import catalog
from embedllm.files import write

WIDTH = 7.0  # inches: a printed page's text width
DPI = 150
DIGITS = 6  # significant ones, in tables and in what is drawn from them
RASTERISE_ABOVE = 500  # cells of a heatmap; more would make a heavy SVG

# Okabe and Ito's colour-blind safe set, for what is no method of the catalog.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, GREY, BLACK = "#56B4E9", "#CC79A7", "#8A8A8A", "#222222"
LABELS = {
    "observed": BLACK, "drawn without specialisation": GREY,
    "train": SKY, "validation": BLUE,
    "model vectors": BLUE, "accuracy elsewhere": ORANGE, "reliability": GREEN,
    "within the size": BLUE, "to the other classes": ORANGE,
}


def color(name: str, default: str = BLACK) -> str:
    """One color to a method in every figure, from the catalog."""
    return catalog.colors().get(name) or LABELS.get(name, default)


def use_style() -> None:
    """Set the style of every figure; `study.start` calls it."""
    sns.set_theme(style="ticks", context="paper", font_scale=1.0)
    mpl.rcParams.update({
        "figure.dpi": 110, "savefig.dpi": DPI, "figure.constrained_layout.use": True,
        "axes.spines.top": False, "axes.spines.right": False,
        "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "legend.frameon": False, "font.family": "DejaVu Sans",
        "svg.hashsalt": "embedllm", "svg.fonttype": "none",
    })


def save_figure(path: Path, table: pd.DataFrame, caption: str, draw: Callable[[pd.DataFrame], Figure]) -> Figure:
    """Write a table as ``path``.csv and what `draw` makes of the written table as .png and .svg.

    The same table gives the same bytes: no dates, a fixed SVG salt, a PNG with a palette. The PNG
    carries the caption, from which the gallery is made.

    Parameters
    ----------
    path : Path
        Without suffix; its folder is made.
    table : DataFrame
        All that the figure shows.
    draw : callable
        Is handed the table as `as_written` has it.
    """
    table = as_written(table)
    figure = draw(table)
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png")
    info = PngInfo()
    info.add_itxt("Description", caption)
    image = io.BytesIO()
    colours = Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colours.save(image, format="png", optimize=True, pnginfo=info)
    contents = {".svg": svg.getvalue(), ".png": image.getvalue(), ".csv": to_csv(table).encode()}
    for suffix, content in contents.items():
        write(path.with_name(path.name + suffix), content)
    return figure


def as_written(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers rounded to `DIGITS` significant digits, as every CSV holds them.

    Sums of floats differ in their last digits from machine to machine; what is drawn and committed must not.
    """
    table = table.copy()
    for name in table.select_dtypes("floating"):
        table[name] = [float(f"{value:.{DIGITS}g}") for value in table[name]]
    return table


def to_csv(table: pd.DataFrame) -> str:
    """The text of the CSV that holds a table."""
    return as_written(table).to_csv(index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")


def plot_heatmap(table: pd.DataFrame, label: str) -> Figure:
    """Rows against columns as colour; more than 45 rows are labelled sparsely.

    Parameters
    ----------
    table : DataFrame
        Row names in the index, column names in the columns, values in the cells.
    label : str
        What the colour means, with its unit.
    """
    height = np.clip(0.16 * len(table) + 1.6, 3.0, 8.5)
    figure, axes = plt.subplots(figsize=(WIDTH, height))
    step = 1 if len(table) <= 45 else int(np.ceil(len(table) / 40))
    sns.heatmap(
        table, ax=axes, cmap="cividis", cbar_kws={"label": label}, yticklabels=step, xticklabels=True,
        rasterized=table.size > RASTERISE_ABOVE,
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
        axes.plot(line[x], line[y], marker="o", ms=3.5, lw=1.5, label=name, color=color(name))
        if "low" in line:
            axes.fill_between(line[x].astype(float), line["low"], line["high"], alpha=0.18, lw=0,
                              color=color(name))
        if minimum:
            low = line.loc[line[y].idxmin()]
            axes.plot(low[x], low[y], marker="o", ms=9, mfc="none", color=color(name))
    for name, height in table.loc[level, [hue, y]].itertuples(index=False):
        axes.axhline(height, ls="--", lw=1, color=color(name), label=name)
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
        Column that colours and offsets the points within a row; the row's own name otherwise.
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
                colour = color(row[name] if group is None else group, BLUE)
                height_at = rows.index(row[name]) + offset
                if low in table:
                    axes.plot([row[low], row[high]], [height_at] * 2, color=colour, lw=1.8, alpha=0.6)
                axes.plot(row[value], height_at, "o", ms=4.5, color=colour)
        for level_name, level in levels:
            axes.axvline(level, ls="--", lw=1, color=color(level_name))
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
            plt.Line2D([], [], marker="o", lw=1.8, color=color(g, BLUE), label=g) for g in groups
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
                palette={method: color(method) for method in table[hue].unique()})
    axes.set(xlabel=label, ylabel="")
    axes.legend(loc="lower right", title=None)
    return figure


def plot_points(
    table: pd.DataFrame, x: str, y: str, colours: dict[str, str], labels: tuple[str, str],
    *, ticks: bool = False, names: str | None = None,
) -> Figure:
    """The same points once for each colouring; numbers get a scale, names and ordered classes a legend.

    Parameters
    ----------
    colours : mapping of str to str
        Column to panel title. Rows where the column is blank are drawn hollow.
    ticks : bool
        The axes have a unit worth reading.
    names : str, optional
        Column that names the points, written beside them where there are at most 40.
    """
    wide = len(colours) > 1
    figure, grid = plt.subplots(1, len(colours), figsize=(WIDTH, 3.8 if wide else 4.8), squeeze=False,
                                sharex=True, sharey=True)
    for axes, (column, title) in zip(grid[0], colours.items(), strict=True):
        blank = table[column].isna()
        axes.scatter(table.loc[blank, x], table.loc[blank, y], s=22, fc="none", ec=GREY, lw=0.8)
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


def name_points(axes, x, y, names) -> None:
    """Write a name beside each point, on the first side where it covers no other name or point."""
    sides = [(4, 3, "left"), (4, -7, "left"), (-4, 3, "right"), (-4, -7, "right"), (0, 8, "center"), (0, -12, "center")]
    axes.figure.canvas.draw()
    renderer = axes.figure.canvas.get_renderer()
    marks = axes.transData.transform(np.column_stack([x, y]))  # pixels
    taken = [Bbox.from_bounds(left - 3, bottom - 3, 6, 6) for left, bottom in marks]
    for at_x, at_y, name in zip(x, y, names, strict=True):
        for right, up, side in sides:
            label = axes.annotate(name, (at_x, at_y), (right, up), textcoords="offset points", ha=side, fontsize=5.5)
            box = label.get_window_extent(renderer)
            if not any(box.overlaps(other) for other in taken):
                break
            label.remove()
        else:  # crowded on every side: better unnamed than unreadable
            continue
        taken.append(box)


def plot_architecture(n_models: int, d_prompt: int, dim: int) -> Figure:
    """The forecaster as a drawing: inputs, what is trained, output, with shapes."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.9))
    axes.set(xlim=(0, 100), ylim=(0, 42))
    axes.axis("off")

    def box(x, y, width, text, colour):
        axes.add_patch(FancyBboxPatch(
            (x, y), width, 9, boxstyle="round,pad=0.4", fc=colour, ec="none", alpha=0.22
        ))
        axes.text(x + width / 2, y + 4.5, text, ha="center", va="center", fontsize=7.5)

    def arrow(start, end):
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, lw=1, color=BLACK))

    box(1, 26, 15, "question\n(prompt text)", GREY)
    box(22, 26, 17, "encoder, frozen\n(not trained)", GREY)
    box(45, 26, 18, f"e, {d_prompt} numbers\n(+ noise in training)", GREY)
    box(69, 26, 29, f"projection  A e + b\n{d_prompt} to {dim}, trained", BLUE)
    box(1, 6, 15, f"model m\n(one of {n_models})", GREY)
    box(22, 6, 41, f"model vector  p_m,  {dim} numbers, trained\n(the embedding the study is about)", BLUE)
    box(69, 6, 29, "P(correct) = sigmoid(\nw . (p_m * (A e + b)) + c )", ORANGE)
    for start, end in (
        ((16.8, 30.5), (21.2, 30.5)), ((39.8, 30.5), (44.2, 30.5)), ((63.8, 30.5), (68.2, 30.5)),
        ((16.8, 10.5), (21.2, 10.5)), ((63.8, 10.5), (68.2, 10.5)), ((83.5, 25.2), (83.5, 16)),
    ):
        arrow(start, end)
    axes.text(1, 40, "blue: trained on who answered which question correctly;  * is elementwise;  "
              "w and c are trained too", fontsize=7.5, color=BLACK)
    axes.text(1, 0.5, "The output is a probability of being correct, not an answer: a classifier over "
              "(model, question) pairs.", fontsize=7.5, color=BLACK)
    return figure
