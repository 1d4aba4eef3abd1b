"""Are the tests right? Each on generated vectors, where nothing is to be found, and where something is (notebook 08).

A check draws one data set and returns what the procedure under test says: a p-value under its null, whether an interval
covers the truth, a p-value where an effect is planted. Families and lineages are kept: they are what makes naive tests
fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform
from scipy.stats import beta

from embedllm.evaluation import fits, inference
from embedllm.experiments import null_data
from embedllm.experiments.training_ablation import own_against_others
from embedllm.machine import side_by_side
from embedllm.probing import clusters, geometry, linear_probes
from embedllm.probing.communities import community_test, pooled_test
from embedllm.probing.mantel import mantel
from embedllm.probing.prediction import predict_benchmark
from embedllm.progress import Counted

LEVEL, ENOUGH = 0.05, 2000  # of a test; repetitions that can settle a check
MOST_FALSE, LEAST_COVERED = 0.065, 0.93  # bounds of `verdict` on generated vectors
N_PERMUTATIONS = 199  # of a permutation test in a check
CHUNK, SEEDS = 50, 1_000_000  # repetitions that are kept as one; that a seed of the run has to itself
POINTS = 51  # of a curve
Draw = Callable[[np.random.Generator, bool], float]  # whether an effect is planted -> p, or 1.0 for a covered interval
Found = Mapping[tuple[str, bool], np.ndarray]  # name of a check and whether planted, to what repetitions said


@dataclass(frozen=True)
class Check:
    """A procedure under test.

    Attributes
    ----------
    name, of : str
        What is tested, and which notebooks rest on it.
    null : str
        What is drawn where nothing is to be found.
    covers : bool
        What is drawn is whether an interval covers, not a p-value.
    """

    name: str
    of: str
    null: str
    covers: bool = False


def _paired(rng: np.random.Generator, planted: bool) -> float:
    drawn = null_data.questions(rng, planted)
    return inference.paired_test(*drawn, seed=int(rng.integers(2**31)), n_permutations=499)["p"]


def _covered(rng: np.random.Generator, planted: bool) -> float:
    found = inference.paired_test(*null_data.questions(rng, planted), seed=int(rng.integers(2**31)), n_permutations=1)
    return float(found["low"] <= (null_data.SHIFT if planted else 0) <= found["high"])


def _over_fits(rng: np.random.Generator, planted: bool) -> float:
    return fits.over_fits(*null_data.fits(rng, planted))["p"]


def _fits_covered(rng: np.random.Generator, planted: bool) -> float:
    found = fits.over_fits(*null_data.fits(rng, planted))
    return float(found["low"] <= (null_data.SHIFT if planted else 0) <= found["high"])


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
    found = inference.of_independent(rng.exponential(size=22) - 1 + 0.9 * planted, LEVEL)
    return float(found["low"] <= 0.9 * planted <= found["high"])


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
}


def run(
    number: int, seed: int, compute: Callable = side_by_side, names: Sequence[str] = (),
) -> dict[tuple[str, bool], np.ndarray]:
    """So many repetitions of every check under its null and with an effect planted, or of some under their nulls.

    Returns (name of a check, planted) to what its repetitions said.
    """
    first = seed * SEEDS
    chunks = [range(start, min(start + CHUNK, first + number)) for start in range(first, first + number, CHUNK)]
    asked = [(check, planted) for check in CHECKS if check.name in names or not names
             for planted in ((False,) if names else (False, True))]
    calls = (partial(repeated, CHECKS[check], planted, list(seeds)) for check, planted in asked for seeds in chunks)
    found = iter(compute(Counted(calls, len(asked) * len(chunks))))
    return {(check.name, planted): np.concatenate([next(found) for _ in chunks]) for check, planted in asked}


def repeated(draw: Draw, planted: bool, seeds: list[int]) -> np.ndarray:
    """What a check says with each of these seeds: float, (n,)."""
    return np.array([draw(np.random.default_rng((seed, planted)), planted) for seed in seeds])


def judged(
    found: Found, checks: Iterable[Check] = (), most_false: float = MOST_FALSE, least_covered: float = LEAST_COVERED,
) -> pd.DataFrame:
    """Each check with its rate, the bound of it and whether it passes.

    Parameters
    ----------
    found : mapping of (name of a check, planted) to array of what its repetitions said
    checks : iterable of Check
        Default `CHECKS`.
    most_false, least_covered : float
        The bounds.

    Returns
    -------
    DataFrame
        A row for each check that was repeated: ``check``, ``notebooks``, ``null``; ``repetitions``; ``rate``: of p up
        to .05, or of intervals that cover; ``bound``: one-sided 95 % limit of the rate (Clopper and Pearson 1934,
        Biometrika 26), upper of false alarms, lower of coverage; ``passes``: whether that is within the bounds;
        ``power``: the rate where an effect is planted, NaN of intervals.
    """
    rows = []
    for check in _asked(found, checks or CHECKS):
        own, n = found[check.name, False], len(found[check.name, False])
        if np.isnan(own).any():
            raise ValueError(f"{check.name}: {np.isnan(own).sum()} of {n} repetitions have no result")
        hits = int(own.sum() if check.covers else (own <= LEVEL).sum())
        bound = beta.ppf(0.05, hits, n - hits + 1) if check.covers else (
            beta.ppf(0.95, hits + 1, n - hits) if hits < n else 1.0)
        rows.append((check.name, check.of, check.null, n, hits / n, bound,
                     bool(bound >= least_covered if check.covers else bound <= most_false),
                     np.nan if check.covers else float((found[check.name, True] <= LEVEL).mean())))
    return pd.DataFrame(rows, columns=["check", "notebooks", "null", "repetitions", "rate", "bound", "passes", "power"])


def settled(
    number: int, seed: int, compute: Callable = side_by_side, run: Callable = run, judge: Callable = judged,
    checks: Iterable[Check] = (), enough: int = ENOUGH,
) -> dict[str, pd.DataFrame]:
    """All checks, and those that miss once more: with fresh seeds, twice the repetitions and the same bounds.

    Fewer than `enough` settle nothing: none is repeated. `run` and `judge` are as the functions of this module.

    Returns *rates*, from `judged`, of a check that missed its second try, with ``tries``; *curves*, of the first.
    """
    found = run(number, seed, compute)
    rates = judge(found).assign(tries=1)
    if number >= enough and (missed := list(rates["check"][~rates["passes"]])):
        planted = {(name, True): found[name, True] for name in missed}  # power is not in doubt
        again = judge(run(2 * number, seed + 1, compute, missed) | planted).assign(tries=2).set_index("check")
        rates = rates.set_index("check")
        rates.loc[missed] = again.loc[missed]
        rates = rates.reset_index()
    return {"rates": rates, "curves": curves(found, checks)}


def curves(found: Found, checks: Iterable[Check] = ()) -> pd.DataFrame:
    """Share of the repetitions whose p is at most so large, under the null and where an effect is planted.

    Returns a table: ``check``, ``drawn`` ("null" or "planted"), ``p``, ``share``; checks of intervals are left out.
    """
    at = np.linspace(0, 1, POINTS)
    asked = [(check.name, planted) for check in _asked(found, checks or CHECKS) if not check.covers
             for planted in (False, True)]
    return pd.concat([
        pd.DataFrame({"check": key[0], "drawn": "planted" if key[1] else "null", "p": at,
                      "share": np.searchsorted(np.sort(found[key]), at + 1e-12) / len(found[key])}) for key in asked
    ], ignore_index=True)


def _asked(found: Found, checks: Iterable[Check]) -> list[Check]:
    """Those that were repeated; of pools too small to ask there is nothing."""
    return [one for one in checks if (one.name, False) in found and (one.covers or (one.name, True) in found)]
