"""The audit as one picture: what to know about a table of outcomes at a glance."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from embedllm.figures.plots import RASTERIZE_ABOVE
from embedllm.figures.style import BLACK, BLUE, GRAY, ORANGE, SKY, VERMILION, WIDTH, name_points

NAMED = 8  # models named in the scatter plot, the oddest first


def plot_audit(panels: pd.DataFrame, twin: float) -> Figure:
    """Six panels: coverage, variance components, label entropy, questions, models, similarity of prompts.

    Parameters
    ----------
    panels : DataFrame
        From `report.audit_panels`.
    twin : float
        Similarity from which two prompts count as near-duplicates.
    """
    of = dict(list(panels.groupby("panel", sort=False)))
    told = (of["coverage"]["group"] == "").all()
    heights = [0.35 if told else 1.2 + 0.13 * of["coverage"]["group"].nunique(), 1.9, 3.6]
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights)
    _coverage(top, of["coverage"], told, int(of["size"]["y"].iloc[0]))
    left, right = middle.subplots(1, 2)
    _variance(left, of["variance"])
    _entropy(right, of["entropy"])
    second = "similarity" if "similarity" in of else "questions"
    grid = bottom.subplot_mosaic([["questions", "models"], [second, "models"]], width_ratios=[1, 1.25])
    _questions(grid["questions"], of["questions"])
    _models(grid["models"], of["models"])
    if "similarity" in of:
        _similarity(grid["similarity"], of["similarity"], twin)
    for part in figure.subfigs:
        for axes in part.axes:
            axes.xaxis.label.set_size(8)
            axes.yaxis.label.set_size(8)
    return figure


def _coverage(figure, rows, told: bool, n_benchmarks: int) -> None:
    """Benchmarks against models, or one sentence where there is nothing to see."""
    if told:
        lowest, cells = rows[["x", "y"]].iloc[0]
        figure.text(0.01, 0.5, "Coverage", va="center", fontsize=10, weight="bold")
        figure.text(0.13, 0.5, "every model was asked every question." if cells == 1 else
                    f"{cells:.2%} of all cells, and at least {np.floor(1000 * lowest) / 10:.1f}% of every benchmark "
                    "for every model.", va="center", fontsize=9)
        return
    axes = figure.subplots()
    models, benchmarks = rows["name"].unique(), rows["group"].unique()
    cells = rows["y"].to_numpy().reshape(len(benchmarks), len(models))
    order = np.argsort(cells.mean(axis=0), kind="stable")
    image = axes.pcolormesh(cells[:, order], cmap="cividis", vmin=0, vmax=1, rasterized=cells.size > RASTERIZE_ABOVE)
    bar = figure.colorbar(image, ax=axes, label="share asked", pad=0.01, aspect=12, format=PercentFormatter(1))
    bar.ax.tick_params(labelsize=7)
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(benchmarks)) + 0.5, benchmarks)
    few = len(models) <= 40
    axes.set_xticks(np.arange(len(models)) + 0.5 if few else [], models[order] if few else [], rotation=40, ha="right",
                    rotation_mode="anchor")
    axes.tick_params(length=0, labelsize=6)
    shown = len(benchmarks)
    kind = f"the {shown} of {n_benchmarks} benchmarks with the largest gap" if shown < n_benchmarks else "benchmarks"
    axes.set(title=f"Coverage: {kind} by model",
             xlabel="" if few else f"{len(models)} models, the least asked at the left")


def _variance(axes, rows) -> None:
    """Shares of the variance of one cell."""
    _bars(axes, rows["name"], rows["y"], [f"{round(100 * share) + 0} %" for share in rows["y"].fillna(0)])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set(title="What scores vary with", xlabel="share of the variance of a score")


def _entropy(axes, rows) -> None:
    """Entropies of the labels, knowing more and more."""
    _bars(axes, rows["name"], rows["y"], [f"{bits:.2f}" for bits in rows["y"]])
    axes.set(title="What is left to forecast", xlabel="bits a score, for one who knows ...")


def _bars(axes, names, values, texts) -> None:
    """Horizontal bars from the top down with their values written behind them."""
    place = np.arange(len(names))
    axes.barh(place, values, color=BLUE, height=0.65)
    for y, value, text in zip(place, values.fillna(0), texts, strict=True):
        axes.annotate(text, (max(value, 0), y), (3, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(place, names, fontsize=7)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.22)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)


def _questions(axes, rows) -> None:
    """Histogram of mean scores by question, constant questions on top in another color."""
    below, total = 0, {}
    for group, color in (("varies", SKY), ("constant", VERMILION)):
        part = rows[rows["group"] == group]
        axes.bar(part["x"], part["y"], width=1 / len(part), align="edge", bottom=below, color=color, lw=0.3,
                 ec="white")
        below, total[group] = below + part["y"].to_numpy(), int(part["y"].sum())
    axes.text(0.97, 0.95, f"{total['constant']:,} of {sum(total.values()):,} have\none score for all models",
              transform=axes.transAxes, ha="right", va="top", fontsize=7, color=VERMILION)
    axes.set_ylim(top=1.5 * max(below.max(), 1))
    _scale(axes, "mean score of the models on a question", "questions")
    axes.set(title="How hard the questions are")


def _models(axes, rows) -> None:
    """Mean score against correlation with the rest; odd models named."""
    known = rows.dropna(subset="x")
    flagged = known[~known["group"].isin(["", "constant"])].sort_values("x")
    plain = known.drop(flagged.index)
    axes.scatter(plain["x"], plain["y"], s=12, color=BLUE, lw=0, label="like the rest")
    for group, color, marker in (("weak", GRAY, "v"), ("middling", ORANGE, "s"), ("strong", VERMILION, "^")):
        part = flagged[flagged["group"] == group]
        if len(part):
            axes.scatter(part["x"], part["y"], s=30, color=color, marker=marker, lw=0,
                         label=f"unlike the rest, {group}")
    edge = known["x"].min() if len(known) else 0.0
    constant = rows[rows["group"] == "constant"]
    if len(constant):
        edge -= 0.08 * (np.ptp(known["x"]) if len(known) > 1 else 1) + 0.01
        axes.scatter(np.full(len(constant), edge), constant["y"], s=30, color=BLACK, marker="_",
                     label="one score everywhere: no correlation")
    named = pd.concat([constant.assign(x=edge), flagged]).head(NAMED)
    axes.margins(0.1)
    axes.set_ylim(top=axes.get_ylim()[1] + 0.28 * np.ptp(axes.get_ylim()))  # room for the legend
    axes.legend(loc="upper left", fontsize=6.5, handletextpad=0.2, borderaxespad=0.1)
    axes.set(title="Models", xlabel="correlation with the mean of the other models",
             ylabel="mean score")
    axes.tick_params(labelsize=7)
    if len(named):
        name_points(axes, named["x"], named["y"], named["name"])


def _similarity(axes, rows, twin: float) -> None:
    """Histogram of the similarity of test prompts to the nearest prompt of training or validation."""
    near = rows["x"] >= twin - 1e-9
    colors = np.where(near, VERMILION, SKY)
    axes.bar(rows["x"], rows["y"], width=1 / len(rows), align="edge", color=colors, lw=0.3, ec="white")
    axes.axvline(twin, ymax=0.68, color=BLACK, lw=0.8, ls="--")
    axes.set_yscale("symlog", linthresh=1)
    top = 10 ** np.ceil(np.log10(max(rows["y"].max(), 1)) + 0.6)
    ticks = [0, *(10**k for k in range(int(np.log10(top)) + 1))]
    axes.set_ylim(0, top)
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.yaxis.set_minor_locator(plt.NullLocator())
    axes.text(0.97, 0.95, f"{int(rows.loc[near, 'y'].sum()):,} of {int(rows['y'].sum()):,} at {twin:g} or above:\n"
              "twins of a training or validation prompt", transform=axes.transAxes, ha="right", va="top", fontsize=7,
              color=VERMILION)
    _scale(axes, "similarity to the nearest prompt of training or validation", "test questions")
    axes.set(title="Leakage of prompts")


def _scale(axes, x: str, y: str) -> None:
    """Axes of a histogram over [0, 1]."""
    axes.set(xlim=(0, 1), xlabel=x, ylabel=y)
    axes.tick_params(labelsize=7)
