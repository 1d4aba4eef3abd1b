"""Accuracy on a benchmark from vectors that were learned without it (C7), beside what else predicts it (Q3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.experiments.comparisons import fitted
from embedllm.levels import additive_means
from embedllm.lineages import near_copies
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, by_benchmark, model_facts
from embedllm.probing import scores
from embedllm.probing.folds import without
from embedllm.probing.geometry import identified_coordinates, principal
from embedllm.probing.prediction import predict_benchmark, regressions_table, reliability
from embedllm.progress import Counted
from embedllm.splits import Parts, cut

CONVEX, FACTORIZATION = catalog.CONVEX.name, catalog.FACTORIZATION.name
VECTORS = {CONVEX: "model vectors", FACTORIZATION: "vectors of the factorization"}
TEXT = {CONVEX: "forecasts from the text", FACTORIZATION: "forecasts of the factorization"}
WHOLE = "ridge on whole model vectors"
MOST = 60  # coordinates of a vector, the level aside, that ridge is given
TOLD = 3  # principal components of the benchmarks' mean prompt vectors that trees are told of a new one
UNTESTED = dict.fromkeys(("r2", "f", "df_model", "df_resid", "p", "p_lineage", "p_family"), np.nan)


@dataclass(frozen=True)
class Learned:
    """What is known of all models without a benchmark, for each benchmark, and what is to be predicted.

    Attributes
    ----------
    facts : DataFrame, indexed by model
        From `outcomes.model_facts`, with ``lineage``.
    weights : ndarray, shape (n_models,)
        Of a model in its lineage: near-copies share one.
    known : DataFrame, models x benchmarks
        Accuracy on the training questions; what a model was not asked is what levels add up to (`additive_means`).
    target : DataFrame, models x benchmarks
        Accuracy on all questions; NaN where a model was not asked.
    coordinates : mapping of name to mapping of benchmark to ndarray, shape (n_models, 1 + n)
        Level and leading coordinates, learned without the benchmark.
    forecasts : mapping of name to DataFrame like `target`
        Mean forecast over the benchmark's prompts, learned without it.
    features : DataFrame, indexed by benchmark
        What its prompts tell, without an answer: the leading components of mean prompt vectors, over benchmarks.
    """

    facts: pd.DataFrame
    weights: np.ndarray
    known: pd.DataFrame
    target: pd.DataFrame
    coordinates: Mapping[str, Mapping[str, np.ndarray]]
    forecasts: Mapping[str, pd.DataFrame]
    features: pd.DataFrame


def learn(
    table: OutcomeMatrix, vectors: np.ndarray, entries: Sequence[catalog.Forecaster],
    compute: Callable = side_by_side, **settings,
) -> Learned | None:
    """Fit each forecaster without each benchmark in turn; None for fewer than two benchmarks that can be left out.

    The benchmark is out of training and of validation, and every fit starts anew.

    Parameters
    ----------
    table : OutcomeMatrix
        Its questions have a column ``part``.
    entries : sequence of catalog.Forecaster
        Of `VECTORS`.
    """
    benchmarks = table.questions["benchmark"]
    plans = {name: cut(table, vectors, table.questions["part"].where(benchmarks != name, "left out"))
             for name in sorted(benchmarks.unique())}
    plans = {name: parts for name, parts in plans.items() if len(parts["train"][1]) and len(parts["val"][1])}
    if len(plans) < 2:
        return None
    prompts = {name: vectors[(benchmarks == name).to_numpy()] for name in plans}
    found = dict(zip(plans, compute(Counted((partial(left_out, parts, prompts[name], list(entries), **settings)
                                             for name, parts in plans.items()), len(plans))), strict=True))
    facts = model_facts(table).assign(lineage=table.models["lineage"])
    copies = near_copies(table)
    train = table.at((table.questions["part"] == "train").to_numpy())
    known, levels = by_benchmark(train)[list(plans)], additive_means(train)
    means = np.stack([own.mean(axis=0, dtype=np.float64) for own in prompts.values()])
    return Learned(
        facts, 1 / copies.map(copies.value_counts()).to_numpy(), known.fillna(levels).fillna(levels.mean()),
        by_benchmark(table)[list(plans)],
        {entry.name: {name: one[entry.name]["coordinates"] for name, one in found.items()} for entry in entries},
        {entry.name: pd.DataFrame({name: one[entry.name]["forecast"] for name, one in found.items()},
                                  table.models.index) for entry in entries},
        pd.DataFrame(principal(means, TOLD), list(plans)))


def left_out(
    parts: Parts, prompts: np.ndarray, entries: Sequence[catalog.Forecaster], **settings
) -> dict[str, dict[str, np.ndarray]]:
    """``coordinates``: level and coordinates of the models, (n_models, 1 + n); ``forecast``: mean on other prompts."""
    found = {}
    for entry in entries:
        one = fitted(parts, entry, **settings)
        n = min(MOST, len(one.models) - 1, one.betas.shape[1], len(parts["train"][1]) - 1)
        coordinates, _ = identified_coordinates(one.betas, one.intercepts, parts["train"][1], n)
        found[entry.name] = {"coordinates": coordinates,
                             "forecast": one.predict_proba(prompts).mean(axis=1, dtype=np.float64)}
    return found


def of_new_models(learned: Learned, n_components: int) -> dict[str, pd.DataFrame]:
    """Setting A, `scores.of_new_models`: of models of other lineages the accuracy on the benchmark is known."""
    few = {VECTORS[entry]: {name: one[:, : 1 + n_components] for name, one in found.items()}
           for entry, found in learned.coordinates.items()}
    whole = {WHOLE: learned.coordinates[CONVEX]}
    return scores.of_new_models(learned.known, few, whole, learned.target, learned.facts)


def of_new_benchmarks(learned: Learned) -> dict[str, pd.DataFrame]:
    """Setting B, `scores.of_new_benchmarks`: no model was asked the benchmark."""
    told = {TEXT[entry]: found for entry, found in learned.forecasts.items()}
    return scores.of_new_benchmarks(learned.known, told, learned.features, learned.target, learned.facts)


def pooled(
    forecasts: Mapping[str, pd.DataFrame], learned: Learned, level: float, reference: str = scores.MEAN, *,
    centered: bool = False,
) -> pd.DataFrame:
    """Each method's squared error over lineages against one of them: `scores.compared`."""
    errors = scores.squared_errors(forecasts, learned.target, learned.facts, learned.weights, centered=centered)
    return scores.compared(errors, reference, level)


def by_unit(forecasts: Mapping[str, pd.DataFrame], learned: Learned, level: float) -> pd.DataFrame:
    """The same where whole families count as one, and where near-copies do not share a weight.

    Returns
    -------
    DataFrame
        As from `scores.compared`, of the model vectors alone, with ``units`` in front.
    """
    families = learned.facts.assign(lineage=learned.facts["family"])
    ways = {"lineages": (learned.facts, learned.weights), "families": (families, learned.weights),
            "lineages, each near-copy": (learned.facts, np.ones(len(learned.weights)))}
    rows = []
    for units, (facts, weights) in ways.items():
        errors = scores.squared_errors(forecasts, learned.target, facts, weights)
        found = scores.compared(errors[[scores.MEAN, VECTORS[CONVEX]]], scores.MEAN, level)
        rows.append(found.tail(1).assign(units=units))
    found = pd.concat(rows, ignore_index=True)
    return found[["units", *found.columns.drop("units")]]


def within(forecasts: Mapping[str, pd.DataFrame], learned: Learned, table: OutcomeMatrix) -> pd.DataFrame:
    """R2 of each method in each benchmark, over lineages, beside the reliability of the accuracy.

    Returns
    -------
    DataFrame
        As from `scores.shares`, and rows of ``method`` "reliability" (`prediction.reliability`) without interval.
    """
    found = scores.shares(forecasts, learned.target, learned.facts, learned.weights)
    benchmarks = table.questions["benchmark"]
    bounds = [("reliability", name, _tested(reliability, table.scores[:, (benchmarks == name).to_numpy()])[0])
              for name in learned.target]
    return pd.concat([found, pd.DataFrame(bounds, columns=["method", "benchmark", "r2"])], ignore_index=True)


def regressions(learned: Learned, n_components: int, n_permutations: int) -> pd.DataFrame:
    """The paper's regression for each benchmark: on model vectors, and on the mean accuracy elsewhere.

    Returns
    -------
    DataFrame
        As from `prediction.regressions_table`, with ``predictors`` in front; ``note``: why a row is not testable.
    """
    vectors = {name: one[:, : 1 + n_components] for name, one in learned.coordinates[CONVEX].items()}
    means, tables = {name: without(learned.known, name)[:, None] for name in learned.target}, []
    for predictors, x in ((VECTORS[CONVEX], vectors), (scores.MEAN, means)):
        rows = []
        for name in learned.target:
            row, note = _tested(predict_benchmark, x[name], learned.target[name].to_numpy(), learned.facts["lineage"],
                                learned.facts["family"], name, n_permutations=n_permutations)
            rows.append((row or UNTESTED | {"benchmark": name}) | {"note": note})
        tables.append(regressions_table(rows).assign(predictors=predictors))
    found = pd.concat(tables, ignore_index=True)
    return found[["predictors", *found.columns.drop("predictors")]]


def _tested(function, *args, **settings):
    """(result, "") or (None, why it cannot be had): data can be too small for one test and not the next."""
    try:
        return function(*args, **settings), ""
    except ValueError as reason:
        return None, f"not testable: {reason}"
