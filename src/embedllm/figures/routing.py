"""Figures of notebook 04: score against price, and what the guard certifies."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from embedllm.catalog import RANDOM_MODEL
from embedllm.figures.plots import plot_intervals
from embedllm.figures.style import BLACK, BLUE, GRAY, WIDTH, color_of, name_points

NAMED = 3  # models, those that no cheaper one reaches first


def plot_gains(table: pd.DataFrame, label: str) -> Figure:
    """Gain of each policy over the best single model; the random choice, far to the left, is left out.

    Parameters
    ----------
    table : DataFrame
        From `experiments.routing.gains`.
    """
    shown = table[table["method"] != RANDOM_MODEL]
    return plot_intervals({"": shown}, "method", "difference", label, zero=True, valued=True, small=True)


def plot_within(table: pd.DataFrame, label: str) -> Figure:
    """The same by benchmark, for several routers; from `experiments.routing.gains_within`."""
    return plot_intervals({"": table}, "benchmark", "difference", label, hue="method", zero=True, small=True)


def beside_models(curve: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """One table of what `plot_price` shows: models first, then a row for each price with a column for each policy.

    Parameters
    ----------
    curve, models : DataFrame
        Of `experiments.pricing.Priced`.
    """
    wide = curve.pivot_table("score", "price", "policy", sort=False)
    return pd.concat([models, wide.reset_index()], ignore_index=True)


def plot_price(table: pd.DataFrame, unit: str, mix: str) -> Figure:
    """Score against price, and the same minus a fixed mix of models: points are models, lines what policies reach.

    The best model, which is what a router's price is compared with, is ringed and named in the title.

    Parameters
    ----------
    table : DataFrame
        From `beside_models`: ``model`` (blank where the row is of policies), ``price``, ``score``, each policy.
    unit : str
        Of the price, for the axis.
    mix : str
        The policy that mixes models.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    single = table["model"].notna()
    models = table[single].sort_values(["price", "score"], ascending=[True, False])
    left.plot(models["price"], models["score"], "o", ms=3.5, color=GRAY, alpha=0.7, zorder=1)
    first, short = models.sort_index()["score"].idxmax(), models["model"].str.split("/").str[-1]  # without who made it
    left.plot(models.loc[[first], "price"], models.loc[[first], "score"], "o", ms=9, mfc="none", mec=BLACK, zorder=3)
    left.set_title(f"best priced model: {short[first]}", fontsize=8, fontweight="normal")
    curves = table[~single].set_index("price").drop(columns=["model", "score"])
    for name in curves:
        style = {"color": BLACK, "ls": "--"} if name == mix else {"color": color_of(name), "ls": "-"}
        left.plot(curves.index, curves[name], lw=1.3, label=name, **style)
        right.plot(curves.index, 1000 * (curves[name] - curves[mix]), lw=1.3, **style)
    left.set(ylabel="mean score", ylim=(models["score"].median(), None))
    right.set(ylabel="thousandths above the mix")
    for axes in (left, right):
        axes.set(xscale="log", xlabel=f"mean price {unit}")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    best = models[(models["score"] >= models["score"].cummax()) & (models["score"] >= models["score"].median())]
    named = best.tail(NAMED).drop(first, errors="ignore")  # which the title names
    name_points(left, named["price"], named["score"], short[named.index])
    for name in left.texts:
        name.set_bbox({"fc": "white", "ec": "none", "pad": 0.3, "alpha": 0.8})  # lines end before it
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def plot_guard(table: pd.DataFrame, epsilon: float) -> Figure:
    """Gain on the calibration questions against how often the guard leaves the default model.

    Parameters
    ----------
    table : DataFrame
        From `guard.fit_guard`.
    epsilon : float
        What the guard may lose: a dashed line.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    shares = 100 * table["left"]
    axes.axhline(0, lw=0.8, color=BLACK)
    axes.plot(shares, 1000 * table["gain"], color=GRAY, lw=1, zorder=1)
    for certified, color, label in ((True, BLUE, "certified"), (False, "white", "not certified")):
        rows = table["certified"] == certified
        if rows.any():
            axes.plot(shares[rows], 1000 * table["gain"][rows], "o", ms=5, mfc=color, mec=BLUE, label=label)
    if table["certified"].any():
        axes.axvspan(0, shares[table["certified"]].max(), color=BLUE, alpha=0.08, lw=0)
    chosen = table[table["chosen"]]
    if len(chosen):
        axes.plot(100 * chosen["left"], 1000 * chosen["gain"], "o", ms=11, mfc="none", mec=BLACK, label="chosen")
    axes.axhline(-1000 * epsilon, lw=0.8, ls="--", color=BLACK, label="allowed loss")
    axes.set(xlabel="questions on which the default model is left, %", ylabel="gain, thousandths",
             xlim=(0, np.nanmax([1, *1.05 * shares])))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_worlds(table: pd.DataFrame) -> Figure:
    """Gain and diversity of routing as observed and in worlds without specialization, a panel each.

    Parameters
    ----------
    table : DataFrame
        From `experiments.routing.beyond_worlds`.
    """
    here = table[["forecaster", "quantity"]].assign(pool="observed", value=table["observed"], low=np.nan, high=np.nan)
    both = pd.concat([here, table[["forecaster", "quantity", "value", "low", "high"]].assign(pool="2PL")])
    labels = {"gain": "gain over the best model", "diversity": "entropy of choices, bits",
              "domain": "told of the benchmark, bits"}
    panels = {title: both[both["quantity"] == quantity]
              for title, quantity in zip(labels, ("gain", "entropy", "told_benchmark"), strict=True)}
    return plot_intervals(panels, "forecaster", "value", labels, hue="pool")


def plot_unseen(table: pd.DataFrame) -> Figure:
    """Differences by benchmark, left out of the training, seen in part, and between the two: a panel each, one scale.

    Parameters
    ----------
    table : DataFrame
        From `experiments.unseen.losses` or ``gains``.
    """
    panels = dict(iter(table.groupby("kind", sort=False)))
    label = f"minus the {table['reference'].iloc[0]}, thousandths"
    labels = {kind: "difference of the two" if "minus" in kind else label for kind in panels}
    figure = plot_intervals(panels, "benchmark", "difference", labels, hue="method", zero=True, small=True)
    ends = np.array([axes.get_xlim() for axes in figure.axes])
    for axes in figure.axes:
        axes.set_xlim(ends[:, 0].min(), ends[:, 1].max())
        axes.set_title(axes.get_title(loc="left"), size=8)  # names of tasks leave panels little room
        axes.xaxis.label.set_size(7)
    return figure
