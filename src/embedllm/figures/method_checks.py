"""The figure of notebook 08: how p-values are distributed where nothing is to be found, and where something is."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from embedllm.figures.style import BLACK, BLUE, ORANGE, WIDTH

COLUMNS = 3


def plot_p(table: pd.DataFrame, level: float) -> Figure:
    """Share of p-values up to each value, a panel for each check; on the diagonal a test keeps every level exactly.

    Parameters
    ----------
    table : DataFrame
        From `method_checks.curves`.
    """
    names = list(table["check"].unique())
    n_rows = int(np.ceil(len(names) / COLUMNS))
    figure, grid = plt.subplots(n_rows, COLUMNS, figsize=(WIDTH, 1.9 * n_rows), sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        for drawn, color in (("null", BLUE), ("planted", ORANGE)):
            own = table[(table["check"] == name) & (table["drawn"] == drawn)]
            axes.plot(own["p"], own["share"], color=color, lw=1.4, label=drawn)
        axes.plot([0, 1], [0, 1], ls="--", lw=0.8, color=BLACK)
        axes.axvline(level, lw=0.6, color=BLACK)
        axes.set_title(textwrap.fill(name, 28), size=7.5)
        axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    for axes in list(grid.flat)[len(names):]:
        axes.set_axis_off()
    for axes in grid[-1]:
        axes.set(xlabel="p")
    figure.supylabel("share of repetitions", fontsize=9)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
