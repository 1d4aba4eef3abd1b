"""The probes of notebook 05: trainings without a benchmark, distances by size, and what they show in words.

The statistics are those of `embedllm.probing.prediction` and `embedllm.probing.communities`; here they meet a table of
outcomes, which can be too small for one of them and large enough for the next.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from embedllm.experiments.comparisons import train
from embedllm.levels import adjusted_means
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, by_benchmark
from embedllm.probing.communities import community_distances, community_test, family_of_size
from embedllm.probing.geometry import identified_coordinates
from embedllm.probing.prediction import leave_one_out_table, predict_benchmark, reliability
from embedllm.splits import cut

# What a probe reports, where it cannot be tested.
UNTESTED = dict.fromkeys(("r2", "f", "df_model", "df_resid", "p", "r2_cv", "p_family"), np.nan)


def leave_one_benchmark_out(
    table: OutcomeMatrix, vectors: np.ndarray, n_components: int, **settings
) -> pd.DataFrame:
    """Model coordinates learned without a benchmark, beside the accuracy on it.

    The benchmark is out of training and of validation, and every fit starts anew.

    Returns
    -------
    DataFrame
        One row a (benchmark, model): ``benchmark``, ``model``, ``accuracy`` (on all its questions),
        ``elsewhere`` (mean training score without it) and the identified coordinates ``c0`` (level)
        to ``c<n_components>``, fewer in a very small pool. Without a row: models that were not asked
        on both sides, and benchmarks without which nothing is left to learn from.
    """
    n_components = min(n_components, table.shape[0] - 1)
    columns = ["benchmark", "model", "accuracy", "elsewhere", *(f"c{n}" for n in range(n_components + 1))]
    found = side_by_side([partial(_left_out, table, vectors, name, n_components, settings)
                          for name in sorted(table.questions["benchmark"].unique())])
    tables = [pd.DataFrame(dict(zip(columns, known, strict=True))) for known in found if known]
    return pd.concat([one for one in tables if len(one)] or [pd.DataFrame(columns=columns)], ignore_index=True)


def benchmark_probes(
    table: OutcomeMatrix, rows: pd.DataFrame, facts: pd.DataFrame, n_permutations: int
) -> pd.DataFrame:
    """Predict each left-out benchmark from the model vectors, and from accuracy elsewhere alone.

    Parameters
    ----------
    table : OutcomeMatrix
    rows : DataFrame
        From `leave_one_benchmark_out`.
    facts : DataFrame
        From `outcomes.model_facts`.

    Returns
    -------
    DataFrame
        As from `prediction.leave_one_out_table`, with the columns ``predictors`` ("model vectors",
        "accuracy elsewhere"), ``reliability`` of the accuracy and ``note``: why a row is not testable.
    """
    coordinates = [column for column in rows if column.startswith("c") and column[1:].isdigit()]
    benchmarks = table.questions["benchmark"]
    reliabilities = {
        name: _tested(reliability, table.scores[:, benchmarks == name])[0] for name in sorted(benchmarks.unique())
    }
    tables = []
    for name, columns in {"model vectors": coordinates, "accuracy elsewhere": ["elsewhere"]}.items():
        probes = []
        for benchmark in reliabilities:
            part = rows[rows["benchmark"] == benchmark]
            values = part[[*columns, "accuracy"]].to_numpy(float)
            probe, note = _tested(predict_benchmark, values[:, :-1], values[:, -1],
                                  facts["family"].reindex(part["model"]), benchmark, n_permutations=n_permutations)
            probes.append((probe or UNTESTED | {"benchmark": benchmark})
                          | {"reliability": reliabilities[benchmark], "note": note})
        found = leave_one_out_table(probes)
        found.insert(0, "predictors", name)
        tables.append(found)
    return pd.concat(tables, ignore_index=True)


def size_communities(
    distances: dict[str, np.ndarray], facts: pd.DataFrame, n_permutations: int
) -> pd.DataFrame:
    """Distances within and between size classes, with their tests, for several distances.

    Returns
    -------
    DataFrame
        As from `communities.community_test` with ``intra`` and ``inter``, the column ``distance`` in front;
        no row where no size is known.
    """
    sizes, tables = family_of_size(facts["parameters_b"]), {}
    # Fine-tunes count with their base where they share its size; a base's family is its fine-tunes' too.
    family = facts["family"].reindex(facts["base_model"]).set_axis(facts.index).fillna(facts["family"])
    base = facts["base_model"] + " " + sizes.fillna("") + " " + family
    for name, values in distances.items():
        tests = community_test(values, sizes, family, base, n_permutations=n_permutations)
        means = community_distances(values, sizes, base)
        tables[name] = means[["community", "intra", "inter"]].merge(tests, on="community")
    return pd.concat(tables, names=["distance"]).reset_index("distance").reset_index(drop=True)


def agreement(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> pd.DataFrame:
    """How far two trainings agree on who is close to whom.

    Parameters
    ----------
    first, second : mapping of name to ndarray, shape (n_models, n_models)
        The same distances after trainings that differ in their seed.

    Returns
    -------
    DataFrame
        Columns ``distance`` and ``rank_correlation`` (Spearman, over pairs of models).
    """
    pairs = np.triu_indices(len(next(iter(first.values()))), k=1)
    rows = [(name, spearmanr(first[name][pairs], second[name][pairs]).statistic) for name in first]
    return pd.DataFrame(rows, columns=["distance", "rank_correlation"])


def _left_out(
    table: OutcomeMatrix, vectors: np.ndarray, name: str, n_components: int, settings: dict
) -> list[np.ndarray] | None:
    """The columns of `leave_one_benchmark_out` for one benchmark; None if nothing is left to learn from."""
    part, benchmark = table.questions["part"], table.questions["benchmark"]
    parts = cut(table, vectors, part.where(benchmark != name, "left out"))
    if not (len(parts["train"][1]) and len(parts["val"][1])):
        return None
    fitted = train(parts, **settings)
    coordinates, _ = identified_coordinates(fitted.betas, fitted.intercepts, parts["train"][1], n_components)
    accuracy = by_benchmark(table)[name].to_numpy()
    asked = parts["train"][0].observed.any(axis=1) & ~np.isnan(accuracy)
    return [np.full(asked.sum(), name), table.models.index[asked], accuracy[asked],
            adjusted_means(parts["train"][0])[asked], *coordinates[asked].T]


def _tested(function, *args, **settings):
    """(result, "") or (None, why it cannot be had): data can be too small for one test and not the next."""
    try:
        return function(*args, **settings), ""
    except ValueError as reason:
        return None, f"not testable: {reason}"
