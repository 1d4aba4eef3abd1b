"""Figures of notebook 06: what encoders carry and cost, beside what is gained with them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from embedllm.figures.plots import log_ticks
from embedllm.figures.style import BLACK, WIDTH, color_of

LABELS = {"benchmark": "benchmark found, share of the questions", "difficulty": "R2 of difficulty within benchmarks"}


def plot_carried(table: pd.DataFrame) -> Figure:
    """Gain in forecasting against what a linear reader finds in the vectors: benchmark, and difficulty within it.

    Parameters
    ----------
    table : DataFrame
        From `encoder_ablation.carried`, with ``gain`` (nats).
    """
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    for axes, (name, label) in zip(panels, LABELS.items(), strict=True):
        for row in table.itertuples():
            axes.plot(getattr(row, name), 1000 * row.gain, "o", ms=6, color=color_of(row.encoder), label=row.encoder)
        axes.axhline(0, lw=0.8, color=BLACK, zorder=0)
        axes.set(xlabel=label)
    panels[0].axvline(table["largest"].iloc[0], ls="--", lw=0.8, color=BLACK, zorder=0)
    panels[0].set(ylabel="log-loss below that of\nthe label, thousandths")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7.5)
    return figure


def plot_cost(table: pd.DataFrame) -> Figure:
    """Gain against prompts a second; what no other encoder beats in both is joined by a line (Pareto front).

    Parameters
    ----------
    table : DataFrame
        ``encoder``, ``prompts_per_second``, ``gain`` (nats).
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.0))
    rows = table.sort_values("prompts_per_second", ascending=False)
    front = rows[rows["gain"] > rows["gain"].shift().cummax().fillna(-1)]
    axes.plot(front["prompts_per_second"], 1000 * front["gain"], lw=1, color=BLACK, zorder=0)
    for row in rows.itertuples():
        axes.plot(row.prompts_per_second, 1000 * row.gain, "o", ms=7, color=color_of(row.encoder), label=row.encoder)
    log_ticks(axes, rows["prompts_per_second"].round(-1), 7)
    axes.axhline(0, lw=0.8, color=BLACK, zorder=0)
    axes.set(xlabel="prompts encoded a second", ylabel="log-loss below that of\nthe label, thousandths")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
