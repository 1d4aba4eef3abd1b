"""Figures of notebook 09: what answers of a new model are worth, which to ask for, and whether intervals hold."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from embedllm import catalog
from embedllm.figures.plots import log_ticks
from embedllm.figures.style import BLACK, BLUE, GRAY, GREEN, ORANGE, VERMILION, WIDTH, color_of

PANELS = {"log_loss": "log-loss (nats)", "over_raw": "squared error of mean score,\nover that of raw mean",
          "benchmarks_over_raw": "error of benchmarks' means,\nover that of raw mean"}
DIFFERENCES = (  # in thousandths
    ("over_level", catalog.ONBOARDING.name, "benchmarks' error (‰),\nvector minus level"),
    ("over_anew", catalog.FROM_TEXT.name, "log-loss (‰ of a nat),\ntext minus training"))
BANDED = [one.name for one in (catalog.ONBOARDING, catalog.FROM_TEXT, catalog.RIVALS[0])]
WAYS = {"stratified, raw mean": (ORANGE, "o"), "adaptive, raw mean": (ORANGE, "s"),
        "stratified, onboarding": (BLUE, "o"), "mixed, onboarding": (BLUE, "^"), "adaptive, onboarding": (BLUE, "s")}


def plot_answers(table: pd.DataFrame, unit: str, unread: Sequence[str]) -> Figure:
    """Each method against the number of answers: a row for each measure, then two differences; intervals of a few.

    Parameters
    ----------
    table : DataFrame
        From `experiments.new_models.summary`.
    unit : str
        The method that others are judged beside, in both columns.
    unread : sequence of str
        Methods that know no answers of the pool to the judged questions: the right column.
    """
    figure, grid = plt.subplots(len(PANELS) + 1, 2, figsize=(WIDTH, 2.3 * (len(PANELS) + 1)), sharex=True)
    for row, (measure, title) in zip(grid, PANELS.items(), strict=False):
        for axes, right in zip(row, (False, True), strict=True):
            own = table[(table["measure"] == measure) & (table["method"].isin(unread) == right)]
            if measure == "log_loss":  # of other models than the others: the last row compares it on these
                own = own[own["method"] != catalog.ANEW.name]
            if not right:
                own = pd.concat([own, table[(table["measure"] == measure) & (table["method"] == unit)]])
            for name, line in own.groupby("method", sort=False):
                _draw_line(axes, line, name, name in BANDED)
            axes.grid(axis="y", lw=0.3, color=GRAY, alpha=0.5)
            if measure == "log_loss":  # a mean of few answers is far from all the others
                second = np.unique(table["n"])[:2].max()
                axes.set_ylim(top=own.loc[own["n"] >= second, "value"].max())
        if measure != "log_loss":
            _log_height(row[0])
            row[1].sharey(row[0])
            for axes in row:
                axes.axhline(1, color=color_of(unit), lw=1.4)
        row[0].set_ylabel(title)
    for axes, (measure, method, label) in zip(grid[-1], DIFFERENCES, strict=True):
        gap = table[(table["measure"] == measure) & (table["method"] == method)]
        gap = gap.assign(**{end: 1000 * gap[end] for end in ("value", "low", "high")})
        _draw_line(axes, gap, method, True)
        axes.axhline(0, color=BLACK, lw=0.8)
        axes.set_ylabel(label)
    grid[0, 0].set_title("questions that the pool has answered", fontsize=9)
    grid[0, 1].set_title("questions that nobody has answered", fontsize=9)
    log_ticks(grid[0, 0], table["n"])
    for axes in grid.flat:
        axes.tick_params(labelbottom=True)
    for axes in grid[-1]:
        axes.set_xlabel("answers of the new model")
    entries = {name: line for axes in grid[:-1].flat
               for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4, fontsize=7,
                  columnspacing=1.2)
    return figure


def _draw_line(axes, line: pd.DataFrame, name: str, banded: bool) -> None:
    """A method's values, with their intervals if so told."""
    single = len(line) == 1  # a mark large enough that a PNG's palette keeps its color
    axes.plot(line["n"], line["value"], marker="D" if single else "o", ms=8 if single else 3, lw=1.4,
              ls="--" if name == catalog.ANEW.name else "-", color=color_of(name), label=name)
    if banded and single:
        axes.vlines(line["n"], line["low"], line["high"], lw=1.4, color=color_of(name))
    elif banded:
        axes.fill_between(line["n"].astype(float), line["low"], line["high"], alpha=0.15, lw=0, color=color_of(name))


def plot_choices(table: pd.DataFrame) -> Figure:
    """RMSE of the mean score for choices of questions and estimators (`WAYS`); from `question_choice.errors`."""
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    for number, (way, (color, mark)) in enumerate(WAYS.items()):
        line = table[table["way"] == way]
        reach = [line["rmse"] - line["low"], line["high"] - line["rmse"]]
        axes.errorbar(line["n"] * 1.03**number, line["rmse"], yerr=reach, color=color, marker=mark, ms=4, lw=1.3,
                      capsize=2, ls={"o": "-", "^": "-.", "s": "--"}[mark], label=way)
    _log_height(axes)
    log_ticks(axes, table["n"])
    axes.set(xlabel="answers of the new model", ylabel="RMSE of the mean score")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_stopping(table: pd.DataFrame, promised: float) -> Figure:
    """Answers until an interval is narrow, and whether it holds then and held before; from `stopping.summary`."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.9), sharey=True, width_ratios=(3, 2))
    rules = list(table["rule"].unique())[::-1]
    drawn = (("answers", left, BLUE, "o", 0, None), ("covered", right, GREEN, "o", 0.12, "then"),
             ("always", right, VERMILION, "s", -0.12, "at every look"))
    for measure, axes, color, mark, above, label in drawn:
        own = table[table["measure"] == measure].set_index("rule").loc[rules]
        reach = [own["value"] - own["low"], own["high"] - own["value"]]
        axes.errorbar(own["value"], [at + above for at in range(len(rules))], xerr=reach, color=color, marker=mark,
                      ms=4, lw=0, elinewidth=1.1, capsize=2, label=label)
    left.set_yticks(range(len(rules)), rules)
    left.set(xlabel="answers when stopped", xlim=(0, None))
    right.axvline(promised, ls="--", lw=0.8, color=BLACK)
    right.set(xlabel="share of intervals that hold", xlim=(None, 1.01))
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=7.5)
    return figure


def plot_portfolios(table: pd.DataFrame) -> Figure:
    """Score of a router over few models against their number, intervals of the difference to all; from `portfolios`."""
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    few = table[table["size"].notna()]
    for (way, line), color in zip(few.groupby("way", sort=False), (BLUE, ORANGE, GREEN, GRAY), strict=True):
        axes.errorbar(line["size"], line["score"], yerr=[line["difference"] - line["low"],
                      line["high"] - line["difference"]], marker="o", ms=4, lw=1.4, capsize=2, color=color, label=way)
        axes.plot(line["size"], line["withdrawn"], marker="x", ms=4, lw=0.8, ls=":", color=color)
    axes.axhline(table[table["size"].isna()]["score"].iloc[0], ls="--", lw=0.8, color=BLACK, label="all models")
    axes.plot([], [], marker="x", ms=4, lw=0.8, ls=":", color=BLACK, label="one withdrawn, mean")
    log_ticks(axes, few["size"])
    axes.set(xlabel="models", ylabel="score of the router")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _log_height(axes) -> None:
    """A logarithmic axis of height, marked in plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
