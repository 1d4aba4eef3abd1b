"""Figures of notebook 06: what encoders carry, beside what is gained with them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

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
