"""The tests and intervals of the study, each on generated data (notebook 08; see `method_checks`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import norm

from embedllm.evaluation import fits, inference, intervals
from embedllm.experiments import null_data, vector_checks
from embedllm.experiments.method_checks import LEVEL, Bounds, Check, Draw, holds, settled
from embedllm.machine import side_by_side
from embedllm.new_models.onboarding import onboard, person_fit
from embedllm.new_models.stopping import always, interviewed
from embedllm.progress import Counted
from embedllm.splits import Design

BOUNDS = Bounds(most_false=0.065, least_covered=0.93, enough=2000)
CHUNK, SEEDS = 50, 1_000_000  # repetitions that are kept as one; that a seed of the run has to itself


def _paired(rng: np.random.Generator, planted: bool) -> float:
    drawn = null_data.questions(rng, planted)
    return inference.paired_test(*drawn, seed=int(rng.integers(2**31)), n_permutations=499)["p"]


def _covered(rng: np.random.Generator, planted: bool) -> float:
    found = inference.paired_test(*null_data.questions(rng, planted), seed=int(rng.integers(2**31)), n_permutations=1)
    return holds(found, 0)


def _over_fits(rng: np.random.Generator, planted: bool) -> float:
    return fits.over_fits(*null_data.fits(rng, planted))["p"]


def _fits_covered(rng: np.random.Generator, planted: bool) -> float:
    return holds(fits.over_fits(*null_data.fits(rng, planted)), 0)


def _no_worse(rng: np.random.Generator, planted: bool, margin: float = null_data.SHIFT) -> float:
    """At the border: worse by the margin; planted: not worse at all."""
    one, other, design = null_data.fits(rng, not planted)
    return fits.non_inferiority(one, other, design, margin, LEVEL)["p_worse"]


def _independent(rng: np.random.Generator, planted: bool) -> float:
    return inference.of_independent(rng.exponential(size=22) - 1 + 0.9 * planted, LEVEL)["p"]


def _at_one_percent(rng: np.random.Generator, planted: bool) -> float:
    return min(1.0, 5 * _independent(rng, planted))


def _heavy_tailed(rng: np.random.Generator, planted: bool) -> float:
    return inference.of_independent(rng.standard_t(3, size=22) + 0.9 * planted, LEVEL)["p"]


def _independent_covered(rng: np.random.Generator, planted: bool) -> float:
    return holds(inference.of_independent(rng.exponential(size=22) - 1, LEVEL), 0)


def _auc_covered(rng: np.random.Generator, planted: bool) -> float:
    found = intervals.summarize(*null_data.forecast(rng, 300), ["auc"], Design(np.zeros(300)), intervals.N_RESAMPLES)
    return holds(found.iloc[0], null_data.true_auc())


def _bin_covered(rng: np.random.Generator, planted: bool) -> float:
    """The mean score of a bin that holds some cells of each question; those of a question are right together."""
    cells = rng.poisson(2, size=(300, 1))
    right = rng.binomial(cells, rng.beta(2, 1, size=(300, 1)))
    weights = intervals.bootstrap_weights(Design(np.zeros(300)), intervals.N_RESAMPLES, rng)
    _, (low,), (high,) = intervals.ratios(right, cells, weights)
    return float(low <= 2 / 3 <= high)


def _ratio_covered(rng: np.random.Generator, planted: bool) -> float:
    one, other = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 22).T[:, :, None] ** 2
    _, (low,), (high,) = intervals.ratio_of_means(one, other)
    return float(low <= 1 <= high)


def _mean_score_covered(rng: np.random.Generator, planted: bool) -> float:
    shared, answers = null_data.newcomer(rng, False)
    seen = np.where(np.arange(len(answers)) < 32, answers, np.nan)[None]
    _, [[low]], [[high]] = onboard(shared, seen).accuracies(seen, np.full(seen.shape, True), int(rng.integers(2**31)))
    return float(low <= answers.mean() <= high)


def _covered_at_every_look(rng: np.random.Generator, planted: bool) -> float:
    """Intervals lie within each other: what the last one holds all held."""
    p = rng.beta(0.5, 0.5, 400)
    answers, told = (rng.random(400) < p).astype(float), np.clip(p + rng.normal(0, 0.3, 400), 0.02, 0.98)
    low, high = always(interviewed(answers, lambda seen: told, 128, rng)[1], 0.05)
    return float(low[-1] <= answers.mean() <= high[-1])


def _unlike(rng: np.random.Generator, planted: bool) -> float:
    shared, answers = null_data.newcomer(rng, planted)
    seen = np.where(np.arange(len(answers)) < 64, answers, np.nan)[None]
    return float(min(1.0, 3 * norm.cdf(person_fit(shared, seen)[0])))  # the lowest of three


CHECKS: dict[Check, Draw] = {
    Check("paired test of questions", "03, 04, 06, 07", "two methods alike on average, skewed, in groups"): _paired,
    Check("its interval", "03, 04, 06, 07", "the same", covers=True): _covered,
    Check("test over questions and fits", "02, 03, 04, 06, 07", "the same, fits with errors of their own"): _over_fits,
    Check("its interval, over fits", "02, 03, 04, 06, 07", "the same", covers=True): _fits_covered,
    Check("no worse than a margin", "02, 06", "worse by just the margin"): _no_worse,
    Check("mean over lineages", "05, 09", "22 differences of mean zero and skewness two"): _independent,
    Check("the same at 1 % (p five times)", "05", "the same"): _at_one_percent,
    Check("the same, heavy tails", "05, 09", "22 differences, Student's t of three degrees of freedom"): _heavy_tailed,
    Check("its interval, over lineages", "05", "22 differences of skewness two", covers=True): _independent_covered,
    Check("interval of an AUC", "03", "twenty models, questions half known", covers=True): _auc_covered,
    Check("interval of a bin's mean score", "03", "cells of a question alike", covers=True): _bin_covered,
    Check("ratio of two squared errors", "09", "22 lineages, errors correlated", covers=True): _ratio_covered,
    Check("interval of a new model's mean score", "09", "32 answers of a model like the pool",
          covers=True): _mean_score_covered,
    Check("interval of a mean score, at every look", "09", "128 of 400 answers, drawn by forecasts that err",
          covers=True): _covered_at_every_look,
    Check("a new model unlike the pool", "09", "64 answers of a model like the pool"): _unlike,
} | vector_checks.CHECKS


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
