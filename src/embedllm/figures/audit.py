"""The audit as one picture: what to know about a table of outcomes at a glance."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from embedllm.figures.maps import RASTERIZE_ABOVE
from embedllm.figures.style import BLACK, BLUE, GRAY, ORANGE, SKY, VERMILION, WIDTH, name_points

NAMED = 8  # models named in the scatter plot, the oddest first
GAP = 0.95  # a model asked a smaller share of a benchmark's questions has a gap there
LISTED = 12  # gaps that are listed; more make a heatmap. Below the 20 benchmarks of `audit_panels`, so none is left out


def plot_audit(panels: pd.DataFrame, threshold: float) -> Figure:
    """Six panels: coverage, variance components, label entropy, questions, models, similarity of prompts.

    Parameters
    ----------
    panels : DataFrame
        From `report.audit_panels`.
    threshold : float
        Similarity from which two prompts count as near-duplicates.
    """
    of = dict(list(panels.groupby("panel", sort=False)))
    sentences = _coverage_in_words(of["coverage"])
    n_shown = of["coverage"]["group"].nunique()
    heights = [0.21 + 0.14 * len(sentences) if sentences else 1.2 + 0.13 * n_shown, 1.9, 3.8]
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights)
    if sentences:
        top.text(0.01, 1 - 0.1 / heights[0], "Coverage", va="top", fontsize=10, weight="bold")
        top.text(0.13, 1 - 0.12 / heights[0], "\n".join(sentences), va="top", fontsize=8)
    else:
        _coverage(top, of["coverage"], int(of["size"]["y"].iloc[0]))
    left, right = middle.subplots(1, 2)
    _variance(left, of["variance"])
    _entropy(right, of["entropy"])
    second = "similarity" if "similarity" in of else "questions"
    grid = bottom.subplot_mosaic([["questions", "models"], [second, "models"]], width_ratios=[1, 1.25])
    _questions(grid["questions"], of["questions"])
    _models(grid["models"], of["models"])
    if "similarity" in of:
        _similarity(grid["similarity"], of["similarity"], threshold)
    for part in figure.subfigs:
        for axes in part.axes:
            axes.xaxis.label.set_size(8)
            axes.yaxis.label.set_size(8)
    return figure


def _coverage_in_words(rows) -> list[str]:
    """Lines of text where coverage is complete but for a few gaps; none where there is more to see."""
    if (rows["group"] == "").all():
        lowest, cells = rows[["x", "y"]].iloc[0]
        return ["every model was asked every question." if lowest == 1 else
                f"{cells:.2%} of all cells, and at least {_at_least(lowest)} of every benchmark for every model."]
    gaps = rows[rows["y"] < GAP].sort_values("y", kind="stable")
    if len(gaps) > min(LISTED, len(rows) / 2):
        return []
    others = rows["y"].drop(gaps.index).min()
    lines = ["every model was asked every question, except (share asked):" if others == 1 else
             f"at least {_at_least(others)} of every benchmark for every model, except (share asked):"]
    for model, part in gaps.groupby("name", sort=False):
        listed = ", ".join(f"{row.group} {row.y:.0%}" for row in part.itertuples())
        lines += textwrap.wrap(f"{model}: {listed}", 95, subsequent_indent="    ")
    return lines


def _at_least(share: float) -> str:
    """A share rounded down to a tenth of a percent."""
    return f"{np.floor(1000 * share) / 10:.1f}%"


def _coverage(figure, rows, n_benchmarks: int) -> None:
    """Benchmarks against models as a heatmap."""
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
    """Shares of the variance of one cell; what is estimated below zero is drawn as zero and footnoted."""
    texts = ["not estimable" if np.isnan(share) else "0% *" if share < 0 else f"{share:.0%}" for share in rows["y"]]
    _bars(axes, rows["name"], rows["y"].clip(lower=0), texts)
    note = "\n* estimated below zero, taken as none" if (rows["y"] < 0).any() else ""
    axes.set(title="What scores vary with", xlabel=f"share of the variance of a score{note}")


def _entropy(axes, rows) -> None:
    """Entropies of the labels, knowing more and more."""
    _bars(axes, rows["name"], rows["y"], [f"{bits:.2f}" for bits in rows["y"]])
    axes.set(title="What is left to forecast", xlabel="bits per score, knowing ...")


def _bars(axes, names, values, texts) -> None:
    """Horizontal bars from the top down with their values written behind them, so that they need no scale."""
    place = np.arange(len(names))
    axes.barh(place, values, color=BLUE, height=0.65)
    for y, value, text in zip(place, values.fillna(0), texts, strict=True):
        axes.annotate(text, (value, y), (3, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(place, names, fontsize=7)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.3 * values.max() if values.max() > 0 else 1)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _questions(axes, rows) -> None:
    """Histogram of mean scores by question, constant questions on top in another color."""
    below, total = 0, {}
    for group, color in (("varies", SKY), ("constant", VERMILION)):
        part = rows[rows["group"] == group]
        axes.bar(part["x"], part["y"], width=1 / len(part), align="edge", bottom=below, color=color, lw=0.3,
                 ec="white")
        below, total[group] = below + part["y"].to_numpy(), int(part["y"].sum())
    _scale(axes, "mean score of the models on a question", "questions")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    _title(axes, "How hard the questions are",
           f"{total['constant']:,} of {sum(total.values()):,} have one score for all models")


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
    axes.set(xlabel="correlation with the mean of the other models", ylabel="mean score")
    _title(axes, "Models", "")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.tick_params(labelsize=7)
    if len(named):
        points = pd.concat([named, known.drop(named.index, errors="ignore").assign(name="")])  # no name may cover them
        name_points(axes, points["x"], points["y"], points["name"])


def _similarity(axes, rows, threshold: float) -> None:
    """Histogram of the similarity of test prompts to the nearest prompt of training or validation."""
    near = rows["x"] >= threshold - 1e-9
    colors = np.where(near, VERMILION, SKY)
    axes.bar(rows["x"], rows["y"], width=1 / len(rows), align="edge", color=colors, lw=0.3, ec="white")
    axes.axvline(threshold, color=BLACK, lw=0.8, ls="--")
    axes.set_yscale("symlog", linthresh=1)
    top = 10 ** np.ceil(np.log10(max(rows["y"].max(), 1)))
    ticks = [0, *(10**k for k in range(int(np.log10(top)) + 1))]
    axes.set_ylim(0, top)
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.yaxis.set_minor_locator(plt.NullLocator())
    _scale(axes, "similarity to the nearest prompt\nof training or validation", "test questions")
    _title(axes, "Leakage of prompts", f"{int(rows.loc[near, 'y'].sum()):,} of {int(rows['y'].sum()):,} are "
                                       f"near-duplicates ({threshold:g} or above)")


def _title(axes, title: str, note: str) -> None:
    """A title, and under it a note on what is vermilion."""
    axes.set_title(title, pad=16)
    axes.annotate(note, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", fontsize=7,
                  color=VERMILION)


def _scale(axes, x: str, y: str) -> None:
    """Axes of a histogram over [0, 1]."""
    axes.set(xlim=(0, 1), xlabel=x, ylabel=y)
    axes.tick_params(labelsize=7)
