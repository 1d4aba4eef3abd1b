"""Figures of `make bench`."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from embedllm.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, WIDTH, name_points

PALETTE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE)


def plot_roofline(points: pd.DataFrame, flops: float, bandwidth: float) -> Figure:
    """Achieved operations a second against operations a byte, under the two limits of the machine.

    Parameters
    ----------
    points : DataFrame
        Columns ``what``, ``intensity`` (FLOP a byte), ``gflops`` (FLOP/s in billions).
    flops, bandwidth : float
        Measured ceilings: GFLOP/s of matrix products, GB/s of copying.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    x = np.geomspace(points["intensity"].min() / 3, points["intensity"].max() * 12, 100)
    axes.plot(x, np.minimum(flops, bandwidth * x), color=BLACK, lw=1.5)
    axes.annotate("ceiling of this machine", (x[-1], flops), (0, 4), textcoords="offset points", ha="right", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte moved at least", ylabel="GFLOP/s")
    axes.set_ylim(points["gflops"].min() / 1.6, 1.6 * flops)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    for color, point in zip(PALETTE, points.itertuples(), strict=False):
        axes.plot(point.intensity, point.gflops, "o", ms=7, color=color)
    shares = points["gflops"] / np.minimum(flops, bandwidth * points["intensity"])
    names = [f"{what} ({share:.0%} of the ceiling)" for what, share in zip(points["what"], shares, strict=True)]
    name_points(axes, points["intensity"], points["gflops"], names)
    return figure


def plot_growth(table: pd.DataFrame, exponents: pd.DataFrame) -> Figure:
    """Time and memory against each size, one column a size, with the fitted powers.

    Parameters
    ----------
    table : DataFrame
        Columns ``axis``, ``size``, ``seconds`` (an epoch), ``megabytes`` (peak, beyond vectors and scores).
    exponents : DataFrame
        Columns ``axis``, ``measure``, ``exponent``, ``last``, ``factor``.
    """
    axes_names = list(table["axis"].unique())
    measures = {"seconds": "seconds per epoch", "megabytes": "peak memory, MB"}
    figure, grid = plt.subplots(2, len(axes_names), figsize=(1.5 * WIDTH, 4.6), sharey="row", squeeze=False)
    for column, name in enumerate(axes_names):
        part = table[table["axis"] == name]
        for row, (measure, label) in enumerate(measures.items()):
            axes = grid[row, column]
            sizes = np.unique(part["size"])
            axes.plot(part["size"], part[measure], "o", color=PALETTE[row])
            fit = exponents[(exponents["axis"] == name) & (exponents["measure"] == measure)].iloc[0]
            axes.plot(sizes, fit["factor"] * sizes ** fit["exponent"], color=BLACK, lw=1)
            axes.set(xscale="log", yscale="log")
            axes.set_title(f"grows as size^{fit['last']:z.1f} at the large end", fontsize=8)
            ticks = sizes[[0, len(sizes) // 2, -1]]
            axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
            if column == 0:
                axes.set_ylabel(label)
            if row == 1:
                axes.set_xlabel(name)
    return figure


def plot_solvers(table: pd.DataFrame, margin: float) -> Figure:
    """Lowest validation log-loss so far against seconds: columns ``solver``, ``seconds``, ``val``.

    A line lies ``margin`` above the lowest.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    for color, (name, line) in zip(PALETTE, table.groupby("solver", sort=False), strict=False):
        axes.plot(line["seconds"], line["val"].cummin(), color=color, lw=1.5, label=name)
    low = table["val"].min()
    axes.set(xscale="log", ylim=(low - 0.003, low + 0.05), xlabel="seconds",
             ylabel="validation log-loss, nats per cell")
    axes.axhline(low + margin, ls="--", lw=1, color=BLACK, label=f"lowest + {margin}")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
