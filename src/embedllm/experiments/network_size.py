"""Is the network large enough? Two-layer networks of several sizes against the bilinear form, and what each costs.

Multiply-adds are those of matrix products and of weighted sums; what is done to single numbers (relu, sigmoid, Adam's
step) is left out. Prompt vectors need no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation import fits
from embedllm.evaluation.metrics import METRICS
from embedllm.experiments.comparisons import across_fits
from embedllm.forecasters.networks import TwoLayer
from embedllm.forecasters.registry import build
from embedllm.forecasters.training import Trained
from embedllm.outcomes import OutcomeMatrix
from embedllm.splits import Design

BILINEAR = catalog.FACTORIZATION
TUNED = {catalog.TWO_LAYER.name: catalog.TUNED.name}  # with as many candidates each
SIZES = ("dim", "hidden")  # settings that parameters and operations depend on


def network(hidden: int, length: int) -> catalog.Forecaster:
    """A two-layer network of a fixed size, trained with the settings of the default factorization."""
    return replace(catalog.TWO_LAYER, name=f"{hidden} hidden units, vectors of {length}", takes=catalog.TRAINING,
                   grid={}, settings={"hidden": hidden, "dim": length})


def entries(hidden: Sequence[int], lengths: Sequence[int], tuned: bool) -> list[catalog.Forecaster]:
    """The bilinear form, networks of every size, and if asked for both tuned."""
    networks = [network(units, length) for length in sorted(lengths) for units in sorted(hidden)]
    return [BILINEAR, *networks, *((catalog.TWO_LAYER, catalog.TUNED) if tuned else ())]


def pairs(compared: Sequence[catalog.Forecaster]) -> list[tuple[str, str]]:
    """Who is compared with whom: networks with the bilinear form, and of each length the largest with the smallest."""
    fixed = [entry for entry in compared if "hidden" in entry.settings]
    by_length: dict[int, list[str]] = {}
    for entry in fixed:
        by_length.setdefault(entry.settings["dim"], []).append(entry.name)
    names = {entry.name for entry in compared}
    return [*((entry.name, BILINEAR.name) for entry in fixed),
            *((one, other) for one, other in TUNED.items() if {one, other} <= names),
            *((own[-1], own[0]) for own in by_length.values() if len(own) > 1)]


def cost(forecaster: Trained, n_models: int, n_questions: int, d_prompt: int) -> dict[str, int]:
    """What a factorization or a two-layer network costs, by formula.

    Returns
    -------
    dict
        ``parameters``; ``per_question``: multiply-adds to score all models on a question, what belongs to the models
        alone being kept; ``per_epoch``: multiply-adds to train on all questions once, forward and backward.
    """
    dim, updates = forecaster.dim, -(-n_questions // forecaster.batch(n_models, n_questions))
    if isinstance(forecaster, TwoLayer):
        hidden = forecaster.hidden
        return {
            "parameters": (n_models + hidden) * dim + (d_prompt + 2) * hidden + 1,
            "per_question": hidden * (d_prompt + n_models),
            # Backward: the residuals times the hidden units, summed three ways; per update the layer over the models.
            "per_epoch": n_questions * hidden * (2 * d_prompt + 4 * n_models) + updates * 3 * n_models * hidden * dim,
        }
    return {
        "parameters": (n_models + d_prompt + 2) * dim + 1,
        "per_question": dim * (d_prompt + n_models),
        "per_epoch": n_questions * dim * (2 * d_prompt + 3 * n_models),
    }


def costs(
    compared: Sequence[catalog.Forecaster], found: Sequence[dict], shape: tuple[int, int], d_prompt: int,
    settings: Mapping,
) -> pd.DataFrame:
    """What each of the compared costs on a table of this shape; a tuned one: the mean over what its fits chose.

    Parameters
    ----------
    found : sequence of dict
        From `registry.cross_fit`.

    Returns
    -------
    DataFrame
        Columns ``method``, ``hidden``, ``dim`` (NaN where tuned, ``hidden`` also for the bilinear form), and those of
        `cost`.
    """
    folds, rows = pd.concat(one["folds"] for one in found), []
    for entry in compared:
        built, sizes = build(entry, settings), {}
        if isinstance(built, Trained):
            each, sizes = [built], {name: getattr(built, name, np.nan) for name in SIZES}
        else:
            own = folds.loc[folds["name"] == entry.name, "choice"]
            each = [_sized(built.alternatives[0], choice) for choice in own]
        mean = pd.DataFrame([cost(one, *shape, d_prompt) for one in each]).mean()
        rows.append({"method": entry.name} | dict.fromkeys(SIZES, np.nan) | sizes | mean.to_dict())
    return pd.DataFrame(rows)


def _sized(like: Trained, choice: str) -> Trained:
    """A candidate of the size that a choice names, as "dim 8, hidden 32, weight_decay 1e-05"."""
    told = dict(part.rsplit(" ", 1) for part in choice.split(", "))
    return replace(like, **{name: int(told[name]) for name in SIZES if name in told})


def differences(
    table: OutcomeMatrix, found: Sequence[dict], compared: Sequence[catalog.Forecaster], price: pd.DataFrame,
    design: Design,
) -> pd.DataFrame:
    """Networks against the bilinear form, paired, in accuracy and log-loss; of each one family, corrected after Holm.

    Parameters
    ----------
    price : DataFrame
        From `costs`.

    Returns
    -------
    DataFrame
        ``metric``, then as from `fits.compare`, the columns of `costs`, ``reference_per_question`` and ``fits``.
    """
    tables = [fits.compare(across_fits(table, found, metric), pairs(compared), design).assign(metric=metric)
              for metric in METRICS]
    result = pd.concat(tables, ignore_index=True).merge(price, on="method", how="left")
    own = result["reference"].map(price.set_index("method")["per_question"])
    return result[["metric", *result.columns.drop("metric")]].assign(reference_per_question=own, fits=len(found))
