"""Figures of notebook 05: errors of predictions, distances by size, shares of variance, what leaving out changes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from embedllm.figures.plots import plot_intervals
from embedllm.figures.style import WIDTH

SPREAD = {"spread": "SD of accuracy, logit", "disagreement": "disagreement", "alike": "likeness of answers"}


def plot_errors(tables: dict[str, pd.DataFrame]) -> Figure:
    """Squared error of each method minus that of the mean elsewhere, a panel for each way to count.

    Parameters
    ----------
    tables : mapping of title to DataFrame
        From `benchmark_prediction.pooled`.
    """
    shown = {title: table[table["difference"].notna()] for title, table in tables.items()}
    return plot_intervals(shown, "method", "difference", "squared error minus that of the mean elsewhere", zero=True)


def plot_within(table: pd.DataFrame) -> Figure:
    """R2 of each method in each benchmark, and the reliability that bounds it; from `benchmark_prediction.within`."""
    return plot_intervals({"": table}, "benchmark", "r2", "R2 over lineages, or reliability", hue="method")


def plot_communities(table: pd.DataFrame) -> Figure:
    """Mean distances within size classes and to the others, a panel for each distance.

    Parameters
    ----------
    table : DataFrame
        Rows of one ``by`` from `probes.communities`.
    """
    long = table.dropna(subset="intra").melt(["distance", "community"], ["intra", "inter"], "pairs", "mean distance")
    long["pairs"] = long["pairs"].replace({"intra": "within the size", "inter": "to the other classes"})
    long = long.sort_values("community", key=lambda sizes: sizes.str.rstrip("B").astype(int), kind="stable")
    panels = dict(list(long.groupby("distance", sort=False)))
    figure = plot_intervals(panels, "community", "mean distance", "mean distance", hue="pairs")
    for axes, rows in zip(figure.axes, panels.values(), strict=True):
        axes.set_xlim(0, 1.08 * rows["mean distance"].max())  # a difference beside what differs
    return figure


def plot_by_size(table: pd.DataFrame) -> Figure:
    """How much models of each size band differ, a panel for each measure; from `sizes.alike_by_size`."""
    panels = {title: table.rename(columns={name: "value", f"{name}_low": "low", f"{name}_high": "high"})
              for name, title in SPREAD.items()}
    panels = {title: rows[["size", "value", "low", "high"]] for title, rows in panels.items()}
    return plot_intervals(panels, "size", "value", "value, 95 % interval")


def plot_domain(table: pd.DataFrame) -> Figure:
    """Shares of the variance of the learned logits; from `domain.shares`."""
    return plot_intervals({"": table}, "part", "share", "share of what tells models apart", valued=True)


def plot_changes(table: pd.DataFrame) -> Figure:
    """Excess error on each benchmark for each that was left out, as colors; from `training_ablation.changes`."""
    wide = table.pivot_table(index="dropped", columns="benchmark", values="excess", sort=False)
    limit = wide.abs().max(axis=None) or 1.0
    figure, axes = plt.subplots(figsize=(WIDTH, 0.3 * len(wide) + 1.8))
    sns.heatmap(wide, ax=axes, cmap="vlag", vmin=-limit, vmax=limit, linewidths=0.5,
                cbar_kws={"label": "squared error beyond random drops"})
    axes.tick_params(length=0, labelsize=7.5)
    plt.setp(axes.get_yticklabels(), rotation=0)
    plt.setp(axes.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    axes.set(xlabel="predicted", ylabel="left out of the training")
    return figure
