"""Figures of notebook 06: what encoders carry and cost, beside what is gained with them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from embedllm.figures.plots import log_ticks
from embedllm.figures.style import BLACK, WIDTH, color_of
from embedllm.presentation import about

LABELS = {"benchmark": "benchmark found, share of the questions", "difficulty": "R2 of difficulty within benchmarks"}

COSTS = (("milliseconds", "front_one", "milliseconds for one prompt"),
         ("prompts_per_second", "front_many", "prompts a second, at once"),
         ("flop", "front_flop", "operations a prompt, networks"))


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
    """Gain in forecasting against the time of one prompt, prompts a second and operations, with what no other beats.

    Parameters
    ----------
    table : DataFrame
        From `encoder_variants.costs`.
    """
    figure, panels = plt.subplots(1, len(COSTS), figsize=(WIDTH, 3.2), sharey=True)
    for axes, (name, front, label) in zip(panels, COSTS, strict=True):
        for row in table.itertuples():
            at = getattr(row, name)
            axes.plot([at, at], [1000 * row.low, 1000 * row.high], lw=1.8, alpha=0.6, color=color_of(row.encoder))
            axes.plot(at, 1000 * row.gain, "o", ms=6, color=color_of(row.encoder), label=row.encoder)
        best = table[table[front]].sort_values("gain")
        axes.plot(best[name], 1000 * best["gain"], lw=0.8, color=BLACK, zorder=0)
        axes.axhline(0, ls="--", lw=0.8, color=BLACK, zorder=0)
        axes.set_xlabel(label, fontsize=7.5)
    panels[0].set(ylabel="log-loss below that of\nthe label, thousandths")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=7.5)
    for axes, (name, _, _) in zip(panels, COSTS, strict=True):
        if table[name].notna().any():
            log_ticks(axes, table[name].dropna(), 6.5, name=about)
    return figure
