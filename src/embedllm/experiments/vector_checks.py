"""Tests and intervals of what vectors know of models (notebook 05), each on generated vectors; see `generated_checks`.

Families and lineages are kept: they are what makes naive tests fail.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform
from scipy.special import expit

from embedllm.experiments import null_data
from embedllm.experiments.method_checks import LEVEL, N_PERMUTATIONS, Check, Draw, holds
from embedllm.experiments.training_ablation import own_against_others
from embedllm.probing import clusters, geometry, linear_probes, scores, sizes
from embedllm.probing.communities import community_test, pooled_test
from embedllm.probing.mantel import mantel
from embedllm.probing.prediction import predict_benchmark


def _regression(rng: np.random.Generator, planted: bool) -> float:
    family, lineage = null_data.lineages(rng)
    x, y = null_data.alike(rng, family, lineage, 4), null_data.alike(rng, family, lineage, 1)[:, 0]
    y = 0.5 + 0.1 * (y + 1.2 * planted * x[:, 0])
    return predict_benchmark(x, y, family, family, "", N_PERMUTATIONS)["p_family"]


def _testable(ask: Callable[..., float], rng: np.random.Generator, planted: bool, n_families: int = 14) -> float:
    """The p of the first pool drawn in which sizes can be told apart at all."""
    while np.isnan(p := ask(*null_data.sized(rng, planted, n_families), N_PERMUTATIONS)):
        pass
    return p


def _sizes(rng: np.random.Generator, planted: bool) -> float:
    return _testable(lambda *drawn: pooled_test(*drawn)["p_closer"], rng, planted)


def _one_size(rng: np.random.Generator, planted: bool) -> float:
    return _testable(lambda *drawn: community_test(*drawn)["p_family"].iloc[0], rng, planted)


def _between_families(rng: np.random.Generator, planted: bool) -> float:
    def ask(distances, size, family, lineage, n_permutations):
        return sizes.across_families(distances, size, family, lineage, n_permutations)["p_closer"]

    return _testable(ask, rng, planted, n_families=5)


def _of_families(rng: np.random.Generator, planted: bool) -> float:
    """The least p after Holm, over families; labels move among lineages."""
    family, lineage = null_data.lineages(rng)
    places = null_data.alike(rng, np.zeros_like(family), lineage, 4) + 2 * planted * rng.normal(size=(10, 4))[family]
    names, everything = family.astype(str), np.zeros_like(family)
    found = community_test(squareform(pdist(places)), names, everything, lineage.astype(str), N_PERMUTATIONS)
    return float(found["p_holm"].fillna(1).min())


def _of_kinds(rng: np.random.Generator, planted: bool) -> float:
    """The least p after Holm, over kinds; labels move among the models of a lineage."""
    _, lineage = null_data.lineages(rng, 20)
    kind = rng.integers(3, size=len(lineage))
    places = null_data.alike(rng, np.zeros_like(lineage), lineage, 4) + 2 * planted * np.eye(3, 4)[kind]
    found = community_test(squareform(pdist(places)), kind.astype(str), lineage, None, N_PERMUTATIONS)
    return float(found["p_holm"].fillna(1).min())


def _classes_read_off(rng: np.random.Generator, planted: bool) -> float:
    lineage = np.repeat(np.arange(36), rng.integers(1, 3, 36))
    label = rng.permutation(np.repeat([0, 1, 1], 12))[lineage]
    places = null_data.alike(rng, np.zeros_like(lineage), lineage, 4) + planted * label[:, None]
    found = linear_probes.probe(places, {"": label.astype(str)}, lineage, N_PERMUTATIONS)
    return found["p"].iloc[0]


def _read_off(rng: np.random.Generator, planted: bool) -> float:
    family, lineage = null_data.lineages(rng)
    x, y = (null_data.alike(rng, np.zeros_like(family), lineage, width) for width in (4, 1))
    y = y[:, 0]
    return linear_probes.probe(x, {"y": y + 1.5 * planted * x[:, 0]}, lineage, N_PERMUTATIONS)["p"].iloc[0]


def _neighbors(rng: np.random.Generator, planted: bool) -> float:
    family, lineage = null_data.lineages(rng)
    label = (rng.random(lineage.max() + 1) < 0.5)[lineage]
    places = null_data.alike(rng, np.zeros_like(family), lineage, 3) + 2 * planted * label[:, None]
    return clusters.purity(squareform(pdist(places)), {"label": label}, lineage, N_PERMUTATIONS)["p"].iloc[0]


def _together(rng: np.random.Generator, planted: bool) -> float:
    family, lineage = null_data.lineages(rng)
    one, other = (null_data.alike(rng, np.zeros_like(family), lineage, 3) for _ in range(2))
    return mantel(squareform(pdist(one)), squareform(pdist(other + planted * one)), N_PERMUTATIONS, lineage)["p"]


def _clustered(rng: np.random.Generator, planted: bool) -> float:
    points = rng.normal(size=(40, 5)) * [3, 2, 1, 1, 1]
    points[:, 0] += 12 * planted * (np.arange(40) % 2)
    found = clusters.clustering_test(geometry.principal(points, 5), 4, 0.1, LEVEL, N_PERMUTATIONS, 1)
    return max(found["p"], found["p_even"])


def _drops(rng: np.random.Generator, planted: bool) -> float:
    rows, columns = rng.normal(size=8), rng.normal(size=8)
    excess = rows[:, None] + columns + rng.normal(size=(8, 8)) + 1.5 * planted * np.eye(8)
    long = pd.DataFrame([(a, b, excess[a, b]) for a in range(8) for b in range(8)],
                        columns=["dropped", "benchmark", "excess"])
    return own_against_others(long, 499)["p_more"]


def _explained(rng: np.random.Generator, planted: bool) -> float:
    _, lineage = null_data.lineages(rng)
    value, error = (rng.normal(size=lineage.max() + 1)[lineage] for _ in range(2))
    target, facts = pd.DataFrame({"benchmark": value}), pd.DataFrame({"lineage": lineage})
    forecasts = {"": target.add(0.5 * error, axis=0)}
    return holds(scores.shares(forecasts, target, facts, np.ones(len(facts))).iloc[0], 1 - 0.5**2)


def _of_a_size(rng: np.random.Generator, measure: str, logits: np.ndarray, spread: float, truth: float) -> float:
    """Twelve lineages of a size, of one or two models, among others; logits, difficulties normal."""
    n = len(logits)
    lineage = np.repeat(np.arange(n), rng.integers(1, 3, n))
    p = expit(logits[lineage, None] + spread * rng.normal(size=1000))
    table = null_data.table_of(rng.random(p.shape) < p)
    facts = pd.DataFrame({"size": np.where(lineage < 12, 7.0, 70.0), "lineage": lineage}, table.models.index)
    row = sizes.alike_by_size(table, facts["size"], facts["lineage"]).iloc[0]
    return float(row[f"{measure}_low"] <= truth <= row[f"{measure}_high"])


def _spread_covered(rng: np.random.Generator, planted: bool) -> float:
    return _of_a_size(rng, "spread", rng.normal(size=12), 0, 1)


def _disagreement_covered(rng: np.random.Generator, planted: bool) -> float:
    return _of_a_size(rng, "disagreement", rng.normal(size=12), 1.5, null_data.true_disagreement(1.5))


def _likeness_covered(rng: np.random.Generator, planted: bool) -> float:
    return _of_a_size(rng, "alike", rng.normal(size=30), 1, 0)


def _trend_covered(rng: np.random.Generator, planted: bool) -> float:
    """Three bands of ten lineages, abilities of one law in all: the spread does not change from band to band."""
    logits = rng.normal(size=(30, 1)) + rng.normal(size=500)
    table = null_data.table_of(rng.random(logits.shape) < expit(logits))
    facts = pd.DataFrame({"size": np.repeat([3.0, 7, 15], 10), "lineage": np.arange(30)}, table.models.index)
    return holds(sizes.trends(sizes.alike_by_size(table, facts["size"], facts["lineage"])).iloc[0], 0)


CHECKS: dict[Check, Draw] = {
    Check("regression on vectors, families", "05", "accuracy without relation, families alike"): _regression,
    Check("sizes over all classes", "05", "sizes that families differ in, distances of families"): _sizes,
    Check("one size class", "05", "the same"): _one_size,
    Check("sizes between families", "05", "the same, families of more lineages"): _between_families,
    Check("families, Holm", "05", "distances of lineages without families"): _of_families,
    Check("kinds, Holm", "05", "distances of lineages without kinds"): _of_kinds,
    Check("linear probe of classes", "05", "classes of lineages, one twice as large"): _classes_read_off,
    Check("linear probe", "05", "a target without relation, lineages alike"): _read_off,
    Check("neighbors' labels", "05", "labels of lineages without relation"): _neighbors,
    Check("two tables of distances", "05", "distances without relation"): _together,
    Check("clusters", "05", "one normal distribution, both nulls"): _clustered,
    Check("what is left out", "05", "drops and benchmarks differ, not in what belongs together"): _drops,
    Check("interval of R2", "05", "errors half of what lineages differ by", covers=True): _explained,
    Check("interval of a size's spread", "05", "twelve lineages, normal", covers=True): _spread_covered,
    Check("interval of a size's disagreement", "05", "the same", covers=True): _disagreement_covered,
    Check("interval of a size's likeness", "05", "thirty, alike in ability alone", covers=True): _likeness_covered,
    Check("interval of a trend over sizes", "05", "ten lineages a size, alike", covers=True): _trend_covered,
}
