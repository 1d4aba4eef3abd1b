"""Comparisons that take several trainings: tables and vectors in, one table of per-question scores out (`scored`).

``parts`` is always {"train" | "val" | "test": (OutcomeMatrix, prompt vectors)}; ``settings`` are those
of the factorization. Notebooks call these through ``run.remember``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation.calibration import over_cells
from embedllm.evaluation.fits import averages, compare
from embedllm.evaluation.metrics import METRICS, per_question
from embedllm.forecasters.contract import Forecaster
from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.registry import build
from embedllm.outcomes import OutcomeMatrix
from embedllm.splits import Design, Parts


def train(parts: Parts, **settings) -> Factorization:
    """The factorization fitted on train, stopped on validation."""
    return Factorization(**settings).fit(*parts["train"], *parts["val"])


def fitted(parts: Parts, entry: catalog.Forecaster, **settings) -> Forecaster:
    """A forecaster of the catalog fitted on train, tuned on validation."""
    return build(entry, settings).fit(*parts["train"], *parts["val"])


def scored(table: OutcomeMatrix, forecast: np.ndarray, **method) -> pd.DataFrame:
    """Accuracy and log-loss of a forecast in each question, as all comparisons here keep them.

    Parameters
    ----------
    table : OutcomeMatrix
        The questions that were forecast.
    forecast : ndarray, shape (n_models, n_questions), in [0, 1]
    **method
        What made the forecast, such as ``forecaster="kNN", seed=0``.

    Returns
    -------
    DataFrame
        A row for each metric, a column for each question (its id as text, which is what parquet takes); the
        levels of the index are those of `method` and ``metric``. Tables of one set of questions can be concatenated.
    """
    rows = [per_question(table, forecast, metric) for metric in METRICS]
    index = pd.MultiIndex.from_tuples([(*method.values(), metric) for metric in METRICS], names=[*method, "metric"])
    return pd.DataFrame(np.stack(rows), index, table.questions.index.astype(str))


def across_fits(
    table: OutcomeMatrix, rounds: Sequence[dict], metric: str, names: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """A metric of several cross-fittings in each question, as `fits` takes it.

    Parameters
    ----------
    rounds : sequence of dict
        From `registry.cross_fit`.
    metric : {"accuracy", "log_loss", "brier"}
    names : iterable of str
        Forecasters, default all.

    Returns
    -------
    dict
        Forecaster to ndarray, shape (n_fits, n_questions).
    """
    return {name: np.stack([per_question(table, one["raw"][name], metric) for one in rounds])
            for name in names or rounds[0]["raw"]}


def summary(
    table: OutcomeMatrix, rounds: Sequence[dict], names: Sequence[str], metrics: Sequence[str], design: Design
) -> pd.DataFrame:
    """Forecasters and known bounds over all questions and fits.

    Returns
    -------
    DataFrame
        As from `fits.averages`, with ``metric``; then AUC and calibration errors (`calibration.over_cells`), which
        have no interval, as means over the fits.
    """
    rows = []
    for metric in metrics:
        values = across_fits(table, rounds, metric, names)
        values |= {name: np.stack([per_question(table, bound, metric)] * len(rounds))
                   for name, bound in table.references.items()}
        rows.append(averages(values, design).assign(metric=metric))
    cells = pd.concat(
        over_cells({name: one["raw"][name] for name in names} | dict(table.references), one["scaled"], table.scores)
        for one in rounds)
    return pd.concat([*rows, cells.groupby(["forecaster", "metric"], sort=False, as_index=False)["value"].mean()],
                     ignore_index=True)


def over_base(table: OutcomeMatrix, rounds: Sequence[dict], name: str, design: Design, level: float) -> pd.DataFrame:
    """How often a forecaster is right, and how much more often than the benchmark means: one row.

    Returns
    -------
    DataFrame
        As from `fits.compare`, and ``accuracy_value``, ``accuracy_low``, ``accuracy_high``; intervals of 1 - level.
    """
    values = across_fits(table, rounds, "accuracy", [name, catalog.BENCHMARK_MEAN.name])
    own = averages({name: values[name]}, design, level).iloc[0]
    ends = {f"accuracy_{end}": own[end] for end in ("value", "low", "high")}
    return compare(values, [(name, catalog.BENCHMARK_MEAN.name)], design, level).assign(**ends)


def choices(rounds: Sequence[dict], names: Iterable[str]) -> pd.DataFrame:
    """What forecasters chose on validation, most frequent first: ``forecaster``, ``choice``, ``folds`` (how many)."""
    folds = pd.concat(one["folds"] for one in rounds)
    folds["choice"] = folds["choice"].str.replace(r"\d+(\.\d+)?e-\d+", lambda found: _plain(found[0]), regex=True)
    folds = folds[folds["name"].isin(list(names)) & (folds["choice"] != "")].rename(columns={"name": "forecaster"})
    counts = folds.groupby(["forecaster", "choice"], sort=False).size().rename("folds").reset_index()
    return counts.sort_values(["forecaster", "folds"], ascending=[True, False], kind="stable", ignore_index=True)


def _plain(number: str) -> str:
    """Without an exponent: "2.5e-05" as "0.000025"."""
    return np.format_float_positional(float(number), trim="-")


def averaged(values: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Means over seeds and questions, with intervals over both (`fits.averages`).

    Parameters
    ----------
    values : DataFrame
        As from `scored`; one level of its index is ``seed``, the others name a method. Questions that lack a value
        with any seed are left out.
    design : Design
        Of the questions.

    Returns
    -------
    DataFrame
        Columns: the levels that name a method, ``metric``, ``value``, ``low``, ``high`` (95 %), ``sd_fits`` (of the
        mean over questions, between seeds).
    """
    levels = [name for name in values.index.names if name != "seed"]
    groups = {key: group.to_numpy() for key, group in values.groupby(level=levels, sort=False)}
    names = pd.DataFrame(groups.keys(), columns=levels)
    return names.join(averages(groups, design).drop(columns="forecaster"))
