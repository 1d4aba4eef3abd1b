"""What routing reaches: scores, gains, shares of the models, decisions a second, and the oracle's null."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from embedllm.evaluation.intervals import N_RESAMPLES, bootstrap_weights, interval
from embedllm.evaluation.rasch import fit_one_dimensional
from embedllm.routing.policies import oracle
from embedllm.splits import Design


def routing_table(policies: Mapping[str, np.ndarray], reference: str, design: Design) -> pd.DataFrame:
    """Accuracy of every policy, overall and on each benchmark, and its gain over the reference.

    Parameters
    ----------
    policies : mapping of policy name to ndarray, shape (n_questions,), in [0, 1]
        Score reached on each question, from `gained`, `random_routing` or `oracle`.
    reference : str
        The policy that gains are measured against.
    design : Design
        Its strata are the benchmarks. All policies see the same resamples.

    Returns
    -------
    DataFrame
        Columns ``policy``, ``benchmark`` ("all", then each by name), ``accuracy``, ``low``, ``high``,
        ``gain`` (accuracy minus the reference's), ``gain_low``, ``gain_high``: 95 % bootstrap over
        questions, the gain's paired. For tests use `inference.compare`.

    Raises
    ------
    ValueError
        If the reference is not among the policies.
    """
    if reference not in policies:
        raise ValueError(f"reference policy {reference!r} is not among {list(policies)}")
    weights = bootstrap_weights(design, N_RESAMPLES, np.random.default_rng(0))
    rows = []
    for part in ["all", *np.unique(design.strata)]:
        inside = np.full(len(design.strata), True) if part == "all" else design.strata == part
        drawn, base = weights[:, inside], policies[reference][inside]
        for policy, values in policies.items():
            score, gain = values[inside], values[inside] - base
            measured = (score.mean(), *interval(score, drawn), gain.mean(), *interval(gain, drawn))
            rows.append((policy, part, *measured))
    columns = ["policy", "benchmark", "accuracy", "low", "high", "gain", "gain_low", "gain_high"]
    return pd.DataFrame(rows, columns=columns)


def shares(choices: np.ndarray, models: pd.Index, benchmarks: np.ndarray) -> pd.DataFrame:
    """How often each model is chosen, of all questions and of those of each benchmark.

    Parameters
    ----------
    choices : ndarray of int, shape (n_questions,)
    models : Index, length n_models
    benchmarks : ndarray of str, shape (n_questions,)

    Returns
    -------
    DataFrame
        Columns ``benchmark`` ("all" first), ``model``, ``share`` (of the questions, sums to 1 in each benchmark); the
        model chosen most often first, unused ones included.
    """
    counts = np.bincount(choices, minlength=len(models))
    order = np.argsort(-counts, kind="stable")
    groups = {"all": np.full(len(choices), True)} | {name: benchmarks == name for name in sorted(set(benchmarks))}
    return pd.concat(pd.DataFrame({
        "benchmark": name, "model": models[order],
        "share": np.bincount(choices[rows], minlength=len(models))[order] / rows.sum(),
    }) for name, rows in groups.items())


def prices(choices: Mapping[str, np.ndarray], reached: Mapping[str, np.ndarray], models: pd.DataFrame) -> pd.DataFrame:
    """What each policy reaches, and the price of the models it asks.

    Parameters
    ----------
    choices : mapping of policy name to ndarray of int, shape (n_questions,)
        From `policies.route`.
    reached : mapping of policy name to ndarray, shape (n_questions,), in [0, 1]
    models : DataFrame
        Columns ``cost`` (at least 0, NaN where unknown) and ``cost_unit``, the same for all.

    Returns
    -------
    DataFrame
        A row a policy: ``policy``, ``score`` (mean), ``price`` (mean over the questions whose model has one, NaN if
        none has), ``unit`` and ``unpriced`` (share of the questions that went to a model without a price).
    """
    cost = models["cost"].to_numpy(np.float64)
    rows = [(name, reached[name].mean(), pd.Series(cost[chosen]).mean(), models["cost_unit"].iloc[0],
             np.isnan(cost[chosen]).mean()) for name, chosen in choices.items()]
    return pd.DataFrame(rows, columns=["policy", "score", "price", "unit", "unpriced"])


MEASURES = {  # of `selections_per_second`, in words
    "batch_size": "questions at once", "batch_per_second": "selections per second, all at once",
    "single_per_second": "selections per second, one by one", "single_median_us": "microseconds for one, median",
    "single_p95_us": "microseconds for one, 95th percentile",
}


def selections_per_second(
    decide: Callable[[np.ndarray], np.ndarray], prompt_vectors: np.ndarray, seconds: float = 1.0
) -> dict[str, float]:
    """How fast a router decides, given prompt vectors: all questions at once, and one by one.

    Parameters
    ----------
    decide : callable
        Takes prompt vectors (n, d_prompt) and returns choices (n,).
    prompt_vectors : ndarray, shape (n_questions, d_prompt)
    seconds : float
        Time given to each of the two measurements, after a warm-up call; at least three calls are made.

    Returns
    -------
    dict
        ``batch_size``; ``batch_per_second`` (selections, from the median call); ``single_per_second``;
        ``single_median_us``, ``single_p95_us`` (microseconds a question).
    """
    singles = [prompt_vectors[q : q + 1] for q in range(len(prompt_vectors))]
    batch, single = _durations(decide, [prompt_vectors], seconds), _durations(decide, singles, seconds)
    return {
        "batch_size": len(prompt_vectors),
        "batch_per_second": len(prompt_vectors) / float(np.median(batch)),
        "single_per_second": 1 / float(np.median(single)),
        "single_median_us": 1e6 * float(np.median(single)),
        "single_p95_us": 1e6 * float(np.quantile(single, 0.95)),
    }


def oracle_without_specialization(scores: np.ndarray, n_draws: int = 200, seed: int = 0) -> np.ndarray:
    """What the oracle would score if models differed in one dimension only: parametric bootstrap.

    Fits `fit_one_dimensional`, draws new pools from it with the same observed cells, and takes the mean
    oracle score of each.

    Parameters
    ----------
    scores : ndarray, shape (n_models, n_questions), in {0, 1}
        NaN = not observed.
    n_draws, seed : int

    Returns
    -------
    ndarray, shape (n_draws,), float64
        Compare with ``oracle(scores).mean()``. The spread is that of new questions, with the fitted
        abilities taken as known. An oracle within it needs no specialization to be explained, which is
        not to say that there is none: camps of like models pull the oracle below the null, models that
        complement each other push it above.

    Raises
    ------
    ValueError
        If scores are graded: drawn answers are all or nothing, and their best is no fair comparison.
    """
    observed = ~np.isnan(scores)
    if not np.isin(scores[observed], (0, 1)).all():
        raise ValueError(
            "the null of the oracle needs scores 0 or 1, these are graded; binarize scores and the oracle "
            "alike first, e.g. np.where(np.isnan(scores), np.nan, scores >= 0.5)"
        )
    pool, rng = fit_one_dimensional(scores), np.random.default_rng(seed)
    return np.array([oracle(pool.draw(observed, rng)).mean() for _ in range(n_draws)])


def oracle_beside_luck(scores: np.ndarray, n_draws: int) -> pd.DataFrame:
    """The oracle's score, and what it would be if models differed in ability alone.

    Parameters
    ----------
    scores : ndarray, shape (n_models, n_questions), in {0, 1}
        NaN = not observed.
    n_draws : int

    Returns
    -------
    DataFrame
        Two rows, ``pool`` "observed" and "drawn without specialization": ``value`` (of the draws the mean), ``low``,
        ``high`` (95 % of the draws), ``p`` (two-sided, of the observed one among the draws).
    """
    observed, null = oracle(scores).mean(), oracle_without_specialization(scores, n_draws)
    p = (1 + (np.abs(null - null.mean()) >= abs(observed - null.mean())).sum()) / (1 + len(null))
    low, high = np.quantile(null, [0.025, 0.975])
    rows = [("observed", observed, observed, observed, p),
            ("drawn without specialization", null.mean(), low, high, np.nan)]
    return pd.DataFrame(rows, columns=["pool", "value", "low", "high", "p"])


def _durations(decide: Callable, inputs: list[np.ndarray], seconds: float) -> np.ndarray:
    """Seconds of each call, going round the inputs until the time is up."""
    decide(inputs[0])
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        decide(inputs[len(taken) % len(inputs)])
        taken.append(time.perf_counter() - start)
    return np.array(taken)
