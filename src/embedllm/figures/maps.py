"""Tables as color and models as points."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from embedllm.figures.style import GRAY, KINDS, WIDTH, name_points

RASTERIZE_ABOVE = 500  # cells of a heatmap; more would make a heavy SVG
LABELED = 60  # rows of a heatmap that can be labeled; of more every second, third, ...
NAME_ALL, EXTREMES = 40, 10  # points that can all be named; of more, how many are


def plot_specialties(accuracy: pd.DataFrame) -> Figure:
    """What a model scores on a benchmark beyond what its own mean and the benchmark's mean say: its specialties.

    Drawn is cell - row mean - column mean + grand mean, each mean over the cells that are known: zero is white, red is
    above, blue below, and what is unknown is hatched. More than 60 rows are labeled sparsely.

    Parameters
    ----------
    accuracy : DataFrame, shape (n_models, n_benchmarks)
        Mean scores in [0, 1], NaN where unknown; models in the index, best first, and benchmarks in the columns.
    """
    by_model = accuracy.mean(axis=1)
    beyond = (accuracy.sub(by_model, axis=0).sub(accuracy.mean(), axis=1) + np.nanmean(accuracy)).round(4)
    if len(accuracy) <= LABELED:
        beyond.index = [f"{name}  {mean:.2f}" for name, mean in by_model.items()]
    height = np.clip(0.16 * len(beyond) + 1.6, 3.0, 8.5)
    figure, axes = plt.subplots(figsize=(WIDTH, height))
    step = int(np.ceil(len(beyond) / LABELED))
    limit = np.abs(np.nan_to_num(beyond.to_numpy(float))).max() or 1.0
    label = textwrap.fill("mean score minus what model and benchmark mean predict", int(11 * (height - 1.2)))
    sns.heatmap(beyond, ax=axes, cmap="vlag", vmin=-limit, vmax=limit, cbar_kws={"label": label}, yticklabels=step,
                xticklabels=True, rasterized=beyond.size > RASTERIZE_ABOVE)
    axes.patch.set(fc="white", ec=GRAY, hatch="////", lw=0)
    axes.tick_params(axis="y", labelsize=min(7.5, 380 * step / len(beyond)), length=0)
    axes.tick_params(axis="x", labelsize=8.5, length=0)
    plt.setp(axes.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    axes.set(xlabel="", ylabel="")
    return figure


def plot_points(
    table: pd.DataFrame, x: str, y: str, colors: dict[str, str], labels: tuple[str, str],
    *, ticks: bool = False, names: str | None = None, elsewhere: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> Figure:
    """The same points once for each coloring; numbers get a scale, names and ordered classes a legend.

    The first panel is as wide as the page, the others come in pairs below it.

    Parameters
    ----------
    table : DataFrame
        Columns `x`, `y`, `names` and those of `colors`, one row per point.
    colors : mapping of str to str
        Column to panel title. Rows where the column is blank are drawn hollow. A text column shows its six most
        frequent values, the others as "other"; a categorical one all its categories, in their order.
    labels : (str, str)
        Of the axes.
    ticks : bool
        The axes have a unit worth reading.
    names : str, optional
        Column that names the points in the first panel: all of at most 40; of more, the ten farthest from the center
        (the medians), in standard deviations of each axis.
    elsewhere : mapping of str to (str, str), optional
        Of a panel with other coordinates than the first: their columns, which also label its axes.
    """
    first, *others = colors
    rows = [[first, first]] + [[others[at], others[min(at + 1, len(others) - 1)]] for at in range(0, len(others), 2)]
    heights = [4.6] + [3.6] * (len(rows) - 1)
    figure, grid = plt.subplot_mosaic(rows, figsize=(WIDTH, sum(heights)), height_ratios=heights)
    for column, title in colors.items():
        axes, (left, up) = grid[column], elsewhere.get(column, (x, y))
        own_labels = elsewhere.get(column, labels)
        axes.set(title=title if len(colors) > 1 else "", xlabel=own_labels[0], ylabel=own_labels[1])
        if ticks:
            axes.set_aspect("equal", adjustable="datalim")  # distances are read off
        else:
            axes.set(xticks=[], yticks=[])
        numeric, blank = pd.api.types.is_numeric_dtype(table[column]), table[table[column].isna()]
        if numeric:
            marks = axes.scatter(table[left], table[up], c=table[column], s=24, cmap="viridis", lw=0)
            figure.colorbar(marks, ax=axes, location="bottom", label=title, shrink=0.9, aspect=40)
        else:
            _by_kind(axes, table[left], table[up], table[column])
        if len(blank):
            axes.scatter(blank[left], blank[up], s=22, fc="none", ec=GRAY, lw=0.8, label="not known")
        if not numeric:
            below = ScaledTranslation(0, -0.5 if ticks else -0.25, figure.dpi_scale_trans)  # the axis' label
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=axes.transAxes + below, fontsize=7,
                        ncols=8 if column == first else 2, handletextpad=0.1, columnspacing=0.8)
    if names:
        _name(grid[first], table[x], table[y], table[names])
    return figure


def plot_models(table: pd.DataFrame) -> Figure:
    """A t-SNE map by size and by family, and the principal components by size.

    Parameters
    ----------
    table : DataFrame
        A row a model: ``model``; ``x``, ``y`` on the map; ``component 1``, ``component 2``; ``size``, ``size_again``
        (the same) and ``family``.
    """
    colors = {"size": "t-SNE, size (parameters)", "size_again": "principal components, size", "family": "t-SNE, family"}
    table = table.assign(model=table["model"].str.split("/").str[-1])  # who published a model is known from the table
    return plot_points(table, "x", "y", colors, ("t-SNE 1", "t-SNE 2"), names="model",
                       elsewhere={"size_again": ("component 1", "component 2")})


def _by_kind(axes, x, y, kinds) -> None:
    """Points in one color for each kind, the most frequent or the lowest first."""
    if isinstance(kinds.dtype, pd.CategoricalDtype):
        shown = kinds.cat.categories
        palette = dict(zip(shown, sns.color_palette("viridis", len(shown)), strict=True))
    else:
        shown = [kind for kind, _ in Counter(kinds.dropna()).most_common() if kind != "other"][:len(KINDS)]
        palette = dict(zip(shown, KINDS, strict=False)) | {"other": GRAY}
        kinds = kinds.where(kinds.isin(shown) | kinds.isna(), "other")
    for kind, color in palette.items():
        if (kinds == kind).any():
            label = textwrap.shorten(str(kind).split("/")[-1], 20, placeholder="...")
            axes.scatter(x[kinds == kind], y[kinds == kind], color=color, s=24, lw=0, label=label)


def _name(axes, x, y, names) -> None:
    """Names beside the points, or beside the extremes where there are many."""
    low, span = x.min(), np.ptp(x)
    axes.set_xlim(low - 0.35 * span, low + 1.35 * span)  # room for names
    places = np.column_stack([x, y])
    distance = np.linalg.norm((places - np.median(places, axis=0)) / places.std(axis=0), axis=1)
    order = np.argsort(-distance, kind="stable")
    written = names.iloc[order].to_numpy(object, copy=True)
    if len(names) > NAME_ALL:
        written[EXTREMES:] = ""  # points that no name may cover
    name_points(axes, *places[order].T, written)
