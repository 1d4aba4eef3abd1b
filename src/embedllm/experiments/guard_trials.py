"""Does the guard keep its promise? Planted pools, whose truth is known, calibrated again and again.

One router is fitted once on each pool; each trial draws the questions that calibrate, and their answers, anew, and is
judged by the true probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from embedllm import catalog
from embedllm.encoders.cache import encode
from embedllm.forecasters.registry import build, fitted_forecasts
from embedllm.machine import side_by_side
from embedllm.outcomes import replace_unchecked
from embedllm.routing import guard
from embedllm.routing.policies import best_single
from embedllm.sources.simulated import simulate
from embedllm.splits import cut

POOLS = 10  # of each strength of specialization
KAPPAS = (0.0, 0.5, 1.0, 1.5)
SIZES = (300, 1200, 5000)  # questions that calibrate in one trial
N_MODELS, N_LEARNED, N_DRAWN_FROM = 112, 3000, 9000  # of a pool
AT_ONCE = 2**22  # values that a batch of trials holds
ROUNDING = 1e-12
BOUNDARY = "boundary"  # a pool in which leaving the default model loses exactly epsilon


class Planted(NamedTuple):
    """A router on a planted pool whose true probabilities are known: all that calibration and truth depend on.

    Attributes
    ----------
    lead : ndarray, shape (n_questions,)
        Of the model with the highest forecast over the default model.
    best, default : ndarray, shape (n_questions,), in [0, 1]
        True probability that the one and the other are right.
    thresholds : ndarray, falling
    regret : float
        By how much the default model is truly below the best model.
    """

    lead: np.ndarray
    best: np.ndarray
    default: np.ndarray
    thresholds: np.ndarray
    regret: float = np.nan

    def true_gains(self) -> np.ndarray:
        """Expected gain of each threshold: (n_thresholds,)."""
        return ((self.best - self.default)[:, None] * (self.lead[:, None] >= self.thresholds)).mean(axis=0)


def planted(kappa: float, seed: int, entry: catalog.Forecaster = catalog.KNN) -> Planted:
    """A router fitted once on a planted pool, and the questions that calibrations are drawn from.

    By default one that follows kNN, which disagrees with the default model even where nothing can be gained.

    Parameters
    ----------
    kappa : float
        Strength of specialization; at 0, where discriminations and formats are equal too, nothing can be gained.
    """
    plain = {} if kappa else {"alpha_mean": 0, "alpha_spread": 0, "format_failures": False}
    table = simulate(n_models=N_MODELS, n_questions=N_LEARNED + N_DRAWN_FROM, data_seed=seed, kappa=kappa, **plain)
    vectors = encode("hashing", table.questions["prompt"], None)
    number = np.arange(table.shape[1])
    names = np.select([number < 0.9 * N_LEARNED, number < N_LEARNED], ["train", "val"], "test")
    parts = cut(replace_unchecked(table, references={}), vectors, names)
    told = fitted_forecasts(parts, build(entry, {}))
    default = int(best_single(parts["train"][0], parts["train"][0].questions).argmax())
    best, lead = guard.leader(told["test"], default)
    truth = table.references[catalog.TRUTH][:, names == "test"].astype(np.float64)
    levels = truth.mean(axis=1)
    return Planted(lead, truth[best, np.arange(len(best))], truth[default],
                   guard.thresholds(guard.leader(told["val"], default)[1]),
                   float(levels.max() - levels[default]))


def at_the_boundary(pool: Planted, epsilon: float = guard.EPSILON) -> Planted:
    """The pool with one threshold, the lowest, and answers such that leaving there loses exactly epsilon.

    The leading models' chances, or their chances to fail, are all made smaller by one share, question by question, so
    that no model is the truly best one any more.
    """
    threshold = pool.thresholds[-1:]
    left = pool.lead >= threshold
    surplus = ((pool.best - pool.default) * left).mean() + epsilon
    if surplus >= 0:
        best = pool.best * (1 - surplus / (pool.best * left).mean())
    else:
        best = 1 - (1 - pool.best) * (1 + surplus / ((1 - pool.best) * left).mean())
    return pool._replace(best=best, thresholds=threshold, regret=np.nan)


def trials(pool: Planted, size: int, n_trials: int, seed: int) -> pd.DataFrame:
    """Calibrate the guard of one router on so many questions, again and again, and judge it by the truth.

    Returns
    -------
    DataFrame
        A row a trial: ``certified`` (whether any threshold was), ``violated`` (whether one that loses more than
        epsilon was), ``leaves`` (whether the guard's choice leaves the default model on at least one question),
        ``left`` (on which share of the questions), ``gain`` (its true expected gain).
    """
    rng, truth = np.random.default_rng([seed, size]), pool.true_gains()
    n_rules, left = len(truth), np.append((pool.lead[:, None] >= pool.thresholds).mean(axis=0), 0)
    if not n_rules:
        return pd.DataFrame({"certified": False, "violated": False, "leaves": False, "left": 0.0, "gain": 0.0},
                            range(n_trials))
    batch, rows = max(1, AT_ONCE // (size * n_rules)), []
    for start in range(0, n_trials, batch):
        n = min(batch, n_trials - start)
        drawn = rng.integers(len(pool.lead), size=(size, n))
        gain = (rng.random((size, n)) < pool.best[drawn]) * 1.0 - (rng.random((size, n)) < pool.default[drawn])
        values = gain[..., None] * (pool.lead[drawn][..., None] >= pool.thresholds)
        p = guard.betting_p(values.reshape(size, -1), guard.EPSILON).reshape(n, n_rules)
        certified = guard.certified_of(p)
        chosen = guard.best_of(certified, values.mean(axis=0))  # -1, the last: never leave
        broken = certified & (truth < -guard.EPSILON - ROUNDING)
        rows.append(pd.DataFrame({"certified": certified.any(axis=1), "violated": broken.any(axis=1),
                                  "leaves": left[chosen] > 0, "left": left[chosen],
                                  "gain": np.append(truth, 0)[chosen]}))
    return pd.concat(rows, ignore_index=True)


def tried(kappa: float, seed: int, sizes: Sequence[int], n_trials: int) -> pd.DataFrame:
    """`trials` of one planted pool at each size, and at its boundary: means over the trials, a row each."""
    pool, rows = planted(kappa, seed), []
    most = max(0.0, pool.true_gains().max())
    for size in sizes:
        for name, one in ((f"{kappa:g}", pool), (BOUNDARY, at_the_boundary(pool))):
            found = trials(one, size, n_trials, seed)
            violated = found["certified"] if name == BOUNDARY else found["violated"]
            rows.append({"pool": name, "questions": size, "seed": seed, "trials": n_trials, "violated": violated.mean(),
                         "certified": found["certified"].mean(), "leaves": found["leaves"].mean(),
                         "left": found["left"].mean(), "gain": found["gain"].mean(), "most": most,
                         "regret": one.regret})
    return pd.DataFrame(rows)


def promise(n_pools: int, n_trials: int, compute: Callable = side_by_side) -> pd.DataFrame:
    """Does the guard keep its promise? Planted pools of each strength of specialization, and boundaries.

    Returns
    -------
    DataFrame
        A row for each strength ("boundary": loses exactly epsilon) and number of questions: ``violated`` (share of
        trials in which a threshold was certified that loses more than epsilon), ``violated_high`` (one-sided 95 %
        bound, the trials taken as independent), ``worst_pool`` (the largest share in one pool), ``certified`` (share
        in which any threshold was certified, whether it gains or not), ``leaves`` (share in which the guard leaves the
        default model on at least one question), ``left`` (share of questions), ``gain`` (true, mean), ``most`` (what
        the best threshold would gain), ``kept`` (their ratio) and ``regret`` (by how much the default model, which the
        promise is against, is truly below the best model, mean over pools; NaN at the boundary, whose answers are made
        question by question).
    """
    calls = [partial(tried, kappa, seed, SIZES, n_trials) for kappa in KAPPAS for seed in range(n_pools)]
    found, rows = pd.concat(compute(calls), ignore_index=True), []
    for (name, size), pools in found.groupby(["pool", "questions"], sort=False):
        total, means = int(pools["trials"].sum()), pools.mean(numeric_only=True)
        bound = binomtest(round(means["violated"] * total), total).proportion_ci(0.9, "exact").high
        kept = means["gain"] / means["most"] if name != BOUNDARY and means["most"] > 0 else np.nan
        rows.append({"pool": name, "questions": size, "pools": len(pools), "trials": total,
                     "violated": means["violated"], "violated_high": bound, "worst_pool": pools["violated"].max(),
                     "certified": means["certified"], "leaves": means["leaves"], "left": means["left"],
                     "gain": means["gain"], "most": means["most"], "kept": kept, "regret": means["regret"]})
    return pd.DataFrame(rows).sort_values(["pool", "questions"], ignore_index=True)
