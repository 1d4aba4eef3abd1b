"""Figures of notebook 07: small pools, networks against their cost, hidden cells; points of one place side by side."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from embedllm.catalog import FACTORIZATION, TWO_LAYER, VOTE
from embedllm.figures.plots import log_ticks
from embedllm.figures.style import BLACK, GRAY, KINDS, WIDTH, color_of

TITLES = {"accuracy": "accuracy, above zero is better", "log_loss": "log-loss in nats, below zero is better"}
BARS = {"ms": 4, "lw": 1.4, "elinewidth": 1.2, "capsize": 2}
MARKS = "osD^v"


def plot_pools(table: pd.DataFrame) -> Figure:
    """One forecaster minus others that learned from the same models, against their number, a panel for each metric.

    Log-loss without the vote, which is no probability and would stretch the axis.

    Parameters
    ----------
    table : DataFrame
        From `sensitivity.compared`, of one method.
    """
    figure, panels = _panels(table)
    for metric, axes in panels.items():
        part = table[(table["metric"] == metric) & ((metric == "accuracy") | (table["reference"] != VOTE.name))]
        for number, (name, line) in enumerate(part.groupby("reference", sort=False)):
            _draw(axes, line, line["n_models"] * (1 + 0.03 * number), color_of(name), f"minus {name}", MARKS[number])
        log_ticks(axes, part["n_models"], 7)
        axes.set(xlabel="models trained on")
    panels["accuracy"].set_ylabel(f"difference of the {table['method'].iloc[0]}", fontsize=8)
    return _with_legend(figure, panels)


def plot_sizes(table: pd.DataFrame) -> Figure:
    """Networks minus the bilinear form against multiply-adds per question, a line for each length of a model vector.

    Parameters
    ----------
    table : DataFrame
        From `network_size.differences`; comparisons among networks are left out.
    """
    figure, panels = _panels(table)
    for metric, axes in panels.items():
        own = table[table["metric"] == metric]
        fixed = own[own["reference"] == FACTORIZATION.name]
        for number, (length, line) in enumerate(fixed.groupby("dim")):
            label = f"vectors of {length:.0f} numbers, minus {FACTORIZATION.name}"
            _draw(axes, line, line["per_question"] * (1 + 0.03 * number), KINDS[(4 + number) % len(KINDS)], label,
                  MARKS[number % len(MARKS)])
        for row in own[own["method"] == TWO_LAYER.name].itertuples():
            _draw(axes, pd.DataFrame([row]), [row.per_question], TWO_LAYER.color,
                  f"tuned, minus {row.reference}", "*")
        axes.axvline(fixed["reference_per_question"].iloc[0], ls="--", lw=1, color=FACTORIZATION.color,
                     label=f"cost of the {FACTORIZATION.name}")
        log_ticks(axes, fixed["per_question"], 7)
        axes.set(xlabel="multiply-adds per question")
    panels["accuracy"].set_ylabel("difference of the two-layer network", fontsize=8)
    return _with_legend(figure, panels)


def plot_cells(table: pd.DataFrame, label: str) -> Figure:
    """Log-loss against the share of the cells that is kept, a line for each forecaster.

    Parameters
    ----------
    table : DataFrame
        From `comparisons.averaged`, by ``share``.
    label : str
        What is forecast.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    rows = table[table["metric"] == "log_loss"]
    for number, (name, line) in enumerate(rows.groupby("forecaster", sort=False)):
        line = line.rename(columns={"value": "difference"})
        _draw(axes, line, line["share"] * (1 + 0.03 * number), color_of(name), name, MARKS[number])
    log_ticks(axes, rows["share"], 7, "{:.0%}".format)
    axes.set(xlabel="training cells kept", ylabel=f"log-loss, {label}")
    axes.yaxis.label.set_size(8.5)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _panels(table: pd.DataFrame) -> tuple[Figure, dict]:
    metrics = [metric for metric in TITLES if metric in set(table["metric"])]
    figure, grid = plt.subplots(1, len(metrics), figsize=(WIDTH, 3.1), squeeze=False)
    for metric, axes in zip(metrics, grid[0], strict=True):
        axes.axhline(0, lw=0.8, color=BLACK, zorder=0)
        axes.set_title(TITLES[metric], size=8.5)
        axes.grid(axis="y", lw=0.3, color=GRAY, alpha=0.5)
    return figure, dict(zip(metrics, grid[0], strict=True))


def _draw(axes, line: pd.DataFrame, x, color: str, label: str, mark: str) -> None:
    value = line["difference"]
    reach = [value - line["low"], line["high"] - value]
    axes.errorbar(x, value, yerr=reach, color=color, label=label, marker=mark, **BARS)


def _with_legend(figure: Figure, panels: dict) -> Figure:
    handles, names = next(iter(panels.values())).get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=7.5)
    return figure
