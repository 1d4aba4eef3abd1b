"""What the model vectors know of a benchmark that they were learned without: regressions that respect lineages.

Models of one lineage resemble each other in vectors and in accuracy alike, so that free permutations
and classical tests find relations where there are none. The lineage is the unit here, the family beside it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.linalg import orth

from embedllm.evaluation.inference import holm

INTRACLASS = np.linspace(0, 0.95, 20)  # correlations within a group among which REML chooses
N_SPLITS = 50  # of the questions of a benchmark into halves


def predict_benchmark(
    coordinates: np.ndarray,
    accuracy: np.ndarray,
    lineages,
    families,
    benchmark: str,
    n_permutations: int = 2000,
) -> dict[str, str | int | float]:
    """Regress the accuracy on one benchmark on coordinates learned without it.

    Ordinary least squares of the accuracy itself, as in the paper. Any predictors serve: the model's
    vectors, or, as a baseline, its accuracy on the other benchmarks. Predictors that others determine do not count.

    ``p`` is the classical F test: it takes models for independent and is too small where lineages
    differ. ``p_lineage`` asks the same of whole lineages, ``p_family`` of whole families. Accuracy and
    coordinates are whitened for a random intercept of the group (its variance fitted by REML without the
    coordinates), which gives the statistic its power; then the null residuals change sign by whole groups
    and are recentered, and F is compared with its values under all flips, or under `n_permutations` random
    ones. It assumes groups to be independent and symmetric, and nothing within a group: the random
    intercept may be wrong. (Cluster sign flips: Cameron, Gelbach & Miller 2008, doi:10.1162/rest.90.3.414.)

    Parameters
    ----------
    coordinates : ndarray, shape (n_models, n_predictors), float
    accuracy : ndarray, shape (n_models,), float in [0, 1]
        NaN where a model was not asked; that model is left out.
    lineages, families : array-like of str, shape (n_models,)
    benchmark : str
        Name of the held-out benchmark.
    n_permutations : int
        All 2^(n_groups - 1) distinct flips are enumerated if there are at most this many.

    Returns
    -------
    dict
        ``benchmark``, ``n_models``, ``n_lineages``; ``r2``, ``r2_adjusted``, ``rmse`` in sample; ``f``,
        ``df_model``, ``df_resid``, ``p``; ``p_lineage`` and ``p_family`` with ``p_lineage_attainable`` and
        ``p_family_attainable`` (the smallest values they can take: 6 groups are needed to get below 0.05).

    Raises
    ------
    ValueError
        If shapes disagree, a coordinate or family is missing, the accuracy is constant, or there are
        too few models for the number of predictors.
    """
    from statsmodels.regression.linear_model import OLS

    coordinates, accuracy = np.asarray(coordinates, float), np.asarray(accuracy, float)
    if coordinates.ndim != 2 or not len(coordinates) == len(accuracy) == len(lineages) == len(families):
        raise ValueError(
            f"{benchmark}: coordinates {coordinates.shape}, accuracy {accuracy.shape} and "
            f"{len(lineages)} lineages must share their first axis, one row per model"
        )
    if not np.isfinite(coordinates).all():
        raise ValueError(f"{benchmark}: coordinates hold values that are not finite")
    asked = ~np.isnan(accuracy)
    x, y = coordinates[asked], accuracy[asked]
    if len(y) < x.shape[1] + 2:
        raise ValueError(
            f"{benchmark}: {len(y)} models cannot carry {x.shape[1]} predictors; use fewer components"
        )
    if np.ptp(y) == 0:
        raise ValueError(f"{benchmark}: every model has one accuracy, {y[0]:g}: there is nothing to explain")
    if not np.ptp(x, axis=0).any():
        raise ValueError(f"{benchmark}: every model has the same coordinates: there is nothing to explain it with")

    independent = orth(x - x.mean(axis=0))  # vectors that learned no deviations leave some coordinates blank
    if independent.shape[1] < x.shape[1]:
        x = independent
    fit = OLS(y, np.column_stack([np.ones(len(y)), x])).fit()
    p_lineage, lineage_attainable = _group_sign_flip(x, y, family_codes(lineages)[asked], n_permutations)
    p_family, family_attainable = _group_sign_flip(x, y, family_codes(families)[asked], n_permutations)
    return {
        "benchmark": benchmark,
        "n_models": len(y),
        "n_lineages": len(np.unique(family_codes(lineages)[asked])),
        "r2": float(fit.rsquared),
        "r2_adjusted": float(fit.rsquared_adj),
        "rmse": float(np.sqrt(np.mean(fit.resid**2))),
        "f": float(fit.fvalue),
        "df_model": int(fit.df_model),
        "df_resid": int(fit.df_resid),
        "p": float(fit.f_pvalue),
        "p_lineage": p_lineage,
        "p_lineage_attainable": lineage_attainable,
        "p_family": p_family,
        "p_family_attainable": family_attainable,
    }


def regressions_table(rows: list[dict]) -> pd.DataFrame:
    """One row per held-out benchmark, with p-values adjusted by Holm over the benchmarks.

    Takes the results of `predict_benchmark`; adds ``p_holm``, ``p_lineage_holm`` and ``p_family_holm``.
    """
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]), p_lineage_holm=holm(table["p_lineage"]),
                        p_family_holm=holm(table["p_family"]))


def reliability(scores: np.ndarray) -> float:
    """How well a benchmark's accuracy would repeat itself on as many other questions of its kind.

    Random halves of the questions, Pearson correlation over models of the two accuracies, averaged
    over 50 splits, then stepped up to full length by Spearman-Brown, ``2 r / (1 + r)``. No predictor
    that has not seen these answers can expect a higher R2 out of sample.

    Parameters
    ----------
    scores : ndarray, shape (n_models, n_questions), float in [0, 1]
        One benchmark's scores; NaN = not asked. In a split, models without an answer in either half
        are left out.

    Returns
    -------
    float
        At most 1; near 0 or below where models do not differ reliably.

    Raises
    ------
    ValueError
        If fewer than three models or two questions are given, or in some split fewer than three
        models can be compared or do not differ.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 2 or scores.shape[0] < 3 or scores.shape[1] < 2:
        raise ValueError(f"reliability needs 3 models and 2 questions, found scores of shape {scores.shape}")
    rng = np.random.default_rng(0)
    observed, filled = ~np.isnan(scores), np.nan_to_num(scores)
    correlations = np.empty(N_SPLITS)
    for split in range(N_SPLITS):
        first, second = np.array_split(rng.permutation(scores.shape[1]), 2)
        counts = np.array([observed[:, half].sum(axis=1) for half in (first, second)])
        sums = np.array([filled[:, half].sum(axis=1) for half in (first, second)])
        both = (counts > 0).all(axis=0)
        accuracy = sums[:, both] / counts[:, both]
        if both.sum() < 3 or (np.ptp(accuracy, axis=1) == 0).any():
            raise ValueError(
                f"only {both.sum()} models can be compared on both halves of the {scores.shape[1]} "
                "questions, or all have one accuracy: leave this benchmark out"
            )
        correlations[split] = np.corrcoef(accuracy)[0, 1]
    mean = correlations.mean()
    return float(2 * mean / (1 + mean))


def family_codes(families) -> np.ndarray:
    """Families as integer codes, shape (n_models,); a ValueError names the models without one."""
    families = pd.Series(families, dtype=object)
    if families.isna().any():
        raise ValueError(
            f"model(s) {families.index[families.isna()].tolist()[:5]} have no family; "
            "name one (a model without kin is a family of its own)"
        )
    return pd.factorize(families)[0]


def _group_sign_flip(
    x: np.ndarray, y: np.ndarray, group: np.ndarray, n_permutations: int
) -> tuple[float, float]:
    """The p of `predict_benchmark`'s test by groups and the smallest attainable one."""
    onehot = group[:, None] == np.unique(group)
    n_groups = onehot.shape[1]
    whitener, ones = _whitener(y, onehot)
    ones /= np.linalg.norm(ones)  # the whitened intercept

    def without_intercept(columns):
        return columns - np.outer(ones, ones @ columns)

    basis = orth(without_intercept(whitener @ (x - x.mean(axis=0))))
    residuals = without_intercept((whitener @ y)[:, None])

    signs = _signs(n_groups, n_permutations, np.random.default_rng(0))
    flipped = without_intercept(residuals * (onehot @ signs.T))  # (n_models, 1 + n_flips)
    # The share explained grows with F, and orders the flips as F does.
    explained = ((basis.T @ flipped) ** 2).sum(axis=0) / (flipped**2).sum(axis=0)
    return float(np.mean(explained >= explained[0] * (1 - 1e-9))), 1 / len(signs)


def _signs(n_groups: int, n_permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Signs of groups, one row per flip, the identity first; one group stays, F ignores a global sign."""
    if n_groups - 1 < 31 and 2 ** (n_groups - 1) <= n_permutations + 1:
        flips = np.arange(2 ** (n_groups - 1))[:, None] >> np.arange(n_groups) & 1
    else:
        flips = rng.integers(2, size=(1 + n_permutations, n_groups))
        flips[0] = 0
    return 1 - 2 * flips


def _whitener(y: np.ndarray, onehot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V^(-1/2) for V = I + ratio * same group, ratio by REML from y alone; and its row sums."""
    n_models, sizes = len(y), onehot.sum(axis=0)
    best = (-np.inf, None, None)
    for ratio in INTRACLASS / (1 - INTRACLASS):
        shrink = (1 - 1 / np.sqrt(1 + ratio * sizes)) / sizes
        whitener = np.eye(n_models) - (onehot * shrink) @ onehot.T
        ones, white = whitener.sum(axis=1), whitener @ y
        precision = ones @ ones
        rest = white - ones * (ones @ white) / precision
        likelihood = -0.5 * (
            np.log1p(ratio * sizes).sum() + np.log(precision) + (n_models - 1) * np.log(rest @ rest)
        )
        if likelihood > best[0]:
            best = (likelihood, whitener, ones)
    return best[1:]
