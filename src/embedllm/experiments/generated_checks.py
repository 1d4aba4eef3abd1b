"""The tests and intervals of the study, each on generated vectors (notebook 08; see `method_checks`).

Families and lineages are kept: they are what makes naive tests fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform
from scipy.special import expit
from scipy.stats import norm

from embedllm.evaluation import fits, inference, intervals
from embedllm.experiments import null_data
from embedllm.experiments.method_checks import LEVEL, N_PERMUTATIONS, Bounds, Check, settled
from embedllm.experiments.training_ablation import own_against_others
from embedllm.machine import side_by_side
from embedllm.new_models.onboarding import onboard, surprise
from embedllm.probing import clusters, geometry, linear_probes, scores, sizes
from embedllm.probing.communities import community_test, pooled_test
from embedllm.probing.mantel import mantel
from embedllm.probing.prediction import predict_benchmark
from embedllm.progress import Counted
from embedllm.splits import Design

BOUNDS = Bounds(most_false=0.065, least_covered=0.93, enough=2000)
CHUNK, SEEDS = 50, 1_000_000  # repetitions that are kept as one; that a seed of the run has to itself
Draw = Callable[[np.random.Generator, bool], float]  # whether an effect is planted -> p, or 1.0 for a covered interval


def _paired(rng: np.random.Generator, planted: bool) -> float:
    drawn = null_data.questions(rng, planted)
    return inference.paired_test(*drawn, seed=int(rng.integers(2**31)), n_permutations=499)["p"]


def _covered(rng: np.random.Generator, planted: bool) -> float:
    found = inference.paired_test(*null_data.questions(rng, planted), seed=int(rng.integers(2**31)), n_permutations=1)
    return _holds(found, 0)


def _over_fits(rng: np.random.Generator, planted: bool) -> float:
    return fits.over_fits(*null_data.fits(rng, planted))["p"]


def _fits_covered(rng: np.random.Generator, planted: bool) -> float:
    return _holds(fits.over_fits(*null_data.fits(rng, planted)), 0)


def _no_worse(rng: np.random.Generator, planted: bool, margin: float = null_data.SHIFT) -> float:
    """At the border: worse by the margin; planted: not worse at all."""
    one, other, design = null_data.fits(rng, not planted)
    return fits.non_inferiority(one, other, design, margin, LEVEL)["p_worse"]


def _regression(rng: np.random.Generator, planted: bool) -> float:
    family, lineage = null_data.lineages(rng)
    x, y = null_data.alike(rng, family, lineage, 4), null_data.alike(rng, family, lineage, 1)[:, 0]
    y = 0.5 + 0.1 * (y + 1.2 * planted * x[:, 0])
    return predict_benchmark(x, y, family, family, "", N_PERMUTATIONS)["p_family"]


def _testable(ask: Callable[..., float], rng: np.random.Generator, planted: bool) -> float:
    """The p of the first pool drawn in which sizes can be told apart at all."""
    while np.isnan(p := ask(*null_data.sized(rng, planted), N_PERMUTATIONS)):
        pass
    return p


def _sizes(rng: np.random.Generator, planted: bool) -> float:
    return _testable(lambda *drawn: pooled_test(*drawn)["p_closer"], rng, planted)


def _one_size(rng: np.random.Generator, planted: bool) -> float:
    return _testable(lambda *drawn: community_test(*drawn)["p_family"].iloc[0], rng, planted)


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
    return clusters.clustering_test(geometry.principal(points, 5), 4, 0.1, LEVEL, N_PERMUTATIONS, 1)["p"]


def _drops(rng: np.random.Generator, planted: bool) -> float:
    rows, columns = rng.normal(size=8), rng.normal(size=8)
    excess = rows[:, None] + columns + rng.normal(size=(8, 8)) + 1.5 * planted * np.eye(8)
    long = pd.DataFrame([(a, b, excess[a, b]) for a in range(8) for b in range(8)],
                        columns=["dropped", "benchmark", "excess"])
    return own_against_others(long, 499)["p_more"]


def _independent(rng: np.random.Generator, planted: bool) -> float:
    return inference.of_independent(rng.exponential(size=22) - 1 + 0.9 * planted, LEVEL)["p"]


def _independent_covered(rng: np.random.Generator, planted: bool) -> float:
    return _holds(inference.of_independent(rng.exponential(size=22) - 1, LEVEL), 0)


def _auc_covered(rng: np.random.Generator, planted: bool) -> float:
    found = intervals.summarize(*null_data.forecast(rng, 300), ["auc"], Design(np.zeros(300)), intervals.N_RESAMPLES)
    return _holds(found.iloc[0], null_data.true_auc())


def _bin_covered(rng: np.random.Generator, planted: bool) -> float:
    """The mean score of a bin that holds some cells of each question; those of a question are right together."""
    cells = rng.poisson(2, size=(300, 1))
    right = rng.binomial(cells, rng.beta(2, 1, size=(300, 1)))
    weights = intervals.bootstrap_weights(Design(np.zeros(300)), intervals.N_RESAMPLES, rng)
    _, (low,), (high,) = intervals.ratios(right, cells, weights)
    return float(low <= 2 / 3 <= high)


def _explained(rng: np.random.Generator, planted: bool) -> float:
    _, lineage = null_data.lineages(rng)
    value, error = (rng.normal(size=lineage.max() + 1)[lineage] for _ in range(2))
    target, facts = pd.DataFrame({"benchmark": value}), pd.DataFrame({"lineage": lineage})
    forecasts = {"": target.add(0.5 * error, axis=0)}
    return _holds(scores.shares(forecasts, target, facts, np.ones(len(facts))).iloc[0], 1 - 0.5**2)


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


def _ratio_covered(rng: np.random.Generator, planted: bool) -> float:
    one, other = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 22).T[:, :, None] ** 2
    _, (low,), (high,) = intervals.ratio_of_means(one, other)
    return float(low <= 1 <= high)


def _mean_score_covered(rng: np.random.Generator, planted: bool) -> float:
    shared, answers = null_data.newcomer(rng, False)
    seen = np.where(np.arange(len(answers)) < 32, answers, np.nan)[None]
    _, [[low]], [[high]] = onboard(shared, seen).accuracies(seen, np.full(seen.shape, True), int(rng.integers(2**31)))
    return float(low <= answers.mean() <= high)


def _unlike(rng: np.random.Generator, planted: bool) -> float:
    shared, answers = null_data.newcomer(rng, planted)
    seen = np.where(np.arange(len(answers)) < 64, answers, np.nan)[None]
    return float(norm.cdf(surprise(onboard(shared, seen), seen)[0]))


def _holds(found: Mapping[str, float], truth: float) -> float:
    return float(found["low"] <= truth <= found["high"])


CHECKS: dict[Check, Draw] = {
    Check("paired test of questions", "03, 04, 06, 07", "two methods alike on average, skewed, in groups"): _paired,
    Check("its interval", "03, 04, 06, 07", "the same", covers=True): _covered,
    Check("test over questions and fits", "02, 03, 04, 06, 07", "the same, fits with errors of their own"): _over_fits,
    Check("its interval, over fits", "02, 03, 04, 06, 07", "the same", covers=True): _fits_covered,
    Check("no worse than a margin", "02, 06", "worse by just the margin"): _no_worse,
    Check("mean over lineages", "05", "22 differences of mean zero and skewness two"): _independent,
    Check("its interval, over lineages", "05", "the same", covers=True): _independent_covered,
    Check("regression on vectors, families", "05", "accuracy without relation, families alike"): _regression,
    Check("sizes over all classes", "05", "sizes that families differ in, distances of families"): _sizes,
    Check("one size class", "05", "the same"): _one_size,
    Check("linear probe", "05", "a target without relation, lineages alike"): _read_off,
    Check("neighbors' labels", "05", "labels of lineages without relation"): _neighbors,
    Check("two tables of distances", "05", "distances without relation"): _together,
    Check("clusters", "05", "one normal distribution"): _clustered,
    Check("what is left out", "05", "drops and benchmarks differ, not in what belongs together"): _drops,
    Check("interval of an AUC", "03", "twenty models, questions half known", covers=True): _auc_covered,
    Check("interval of a bin's mean score", "03", "cells of a question alike", covers=True): _bin_covered,
    Check("interval of R2", "05", "errors half of what lineages differ by", covers=True): _explained,
    Check("interval of a size's spread", "05", "twelve lineages, normal", covers=True): _spread_covered,
    Check("interval of a size's disagreement", "05", "the same", covers=True): _disagreement_covered,
    Check("interval of a size's likeness", "05", "thirty, alike in ability alone", covers=True): _likeness_covered,
    Check("ratio of two squared errors", "09", "22 lineages, errors correlated", covers=True): _ratio_covered,
    Check("interval of a new model's mean score", "09", "32 answers of a model like the pool",
          covers=True): _mean_score_covered,
    Check("a new model unlike the pool", "09", "64 answers of a model like the pool"): _unlike,
}


def run(
    number: int, seed: int, compute: Callable = side_by_side, names: Sequence[str] = (),
) -> dict[tuple[str, bool], np.ndarray]:
    """So many repetitions of every check under its null, of tests with an effect planted too; or of some, under theirs.

    Returns (name of a check, planted) to what its repetitions said.
    """
    first = seed * SEEDS
    chunks = [range(start, min(start + CHUNK, first + number)) for start in range(first, first + number, CHUNK)]
    asked = [(check, planted) for check in CHECKS if check.name in names or not names
             for planted in ((False,) if names or check.covers else (False, True))]
    calls = (partial(repeated, CHECKS[check], planted, list(seeds)) for check, planted in asked for seeds in chunks)
    found = iter(compute(Counted(calls, len(asked) * len(chunks))))
    return {(check.name, planted): np.concatenate([next(found) for _ in chunks]) for check, planted in asked}


def repeated(draw: Draw, planted: bool, seeds: list[int]) -> np.ndarray:
    """What a check says with each of these seeds: float, (n,)."""
    return np.array([draw(np.random.default_rng((seed, planted)), planted) for seed in seeds])


def kept(number: int, seed: int, compute: Callable = side_by_side) -> dict[str, pd.DataFrame]:
    """`method_checks.settled` of these checks."""
    return settled(number, seed, run, CHECKS, BOUNDS, compute)
