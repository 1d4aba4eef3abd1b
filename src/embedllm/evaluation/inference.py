"""Which differences are real: paired tests, equivalence, corrections.

The unit of inference is the question: all cells of one question share its difficulty, so resampling,
permutation and standard errors act on per-question values, never on cells. What they say holds for
these models, these benchmarks and these fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from embedllm.evaluation.intervals import ALPHA, N_RESAMPLES, bootstrap_weights, interval, satterthwaite
from embedllm.evaluation.permutation import sign_flip_p
from embedllm.splits import Design

POWER = 0.8
N_STUDENTIZED = 9999  # resamples of a studentized mean


def paired_test(
    a: np.ndarray, b: np.ndarray, design: Design, seed: int = 0, n_permutations: int = 10_000
) -> dict[str, float]:
    """Is the mean of ``a - b`` over questions zero? Two-sided sign-flip permutation test.

    The null distribution flips the sign of each question's (or group's) difference at random, with
    p = (1 + #{as extreme}) / (1 + B). Exact if differences are symmetric around zero; for a large
    number of questions right for any distribution of mean zero, because the statistic is studentized
    (Romano, Annals of Statistics 1990). If benchmarks differ in opposite directions the test is
    conservative, since flips do not use the strata; interval and standard error do.

    Parameters
    ----------
    a, b : ndarray, shape (n_questions,)
        Per-question values of two methods; a question where either is NaN is left out.
    design : Design
        A group flips as one.
    seed, n_permutations : int

    Returns
    -------
    dict
        ``difference`` (mean of a - b), ``low``, ``high`` (95 %, stratified percentile bootstrap), ``se``
        (stratified, clustered by group), ``p``, ``mde`` (smallest true difference that a two-sided test
        at 5 % finds with power 0.8: (z_0.975 + z_0.8) se) and ``n_questions``.

    Raises
    ------
    ValueError
        If shapes differ or no question has both values.
    """
    [found] = paired_tests([(a, b)], design, seed, n_permutations)
    return found


def paired_tests(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], design: Design, seed: int = 0, n_permutations: int = 10_000
) -> list[dict[str, float]]:
    """`paired_test` of many pairs: the same numbers, sooner, since pairs of the same questions share their draws."""
    found: list[dict] = [{} for _ in pairs]
    together: dict[bytes, list[int]] = {}
    differences, designs = zip(*(paired(a, b, design) for a, b in pairs), strict=True)
    for at, (a, b) in enumerate(pairs):
        together.setdefault(np.isnan(np.subtract(a, b, dtype=np.float64)).tobytes(), []).append(at)
    for members in together.values():
        own, values = designs[members[0]], np.column_stack([differences[at] for at in members])
        rng = np.random.default_rng(seed)
        weights = bootstrap_weights(own, N_RESAMPLES, rng).astype(np.float64)
        ps = sign_flip_p(values, own.groups, n_permutations, rng)
        for at, p in zip(members, ps, strict=True):
            (low, high), se = interval(differences[at], weights), standard_error(differences[at], own)
            found[at] = {"difference": float(differences[at].mean()), "low": low, "high": high, "se": se, "p": p,
                         "mde": _detectable(se), "n_questions": len(values)}
    return found


def compare(values: Mapping[str, np.ndarray], reference: str, design: Design) -> pd.DataFrame:
    """Test every method against one reference: a family of paired tests, corrected after Holm.

    Parameters
    ----------
    values : mapping of method name to ndarray, shape (n_questions,)
        Per-question values, NaN where a question is left out.
    reference : str
        The method the others are compared with.
    design : Design

    Returns
    -------
    DataFrame
        Columns ``method``, ``reference``, ``difference`` (method minus reference), ``low``, ``high``
        (95 %, not widened for the family), ``se``, ``p``, ``p_holm``, ``mde`` (at 5 % divided by the
        number of comparisons, Holm's most demanding step).

    Raises
    ------
    ValueError
        If the reference is not among the methods, or nothing is left to compare it with.
    """
    others = [name for name in values if name != reference]
    if reference not in values or not others:
        raise ValueError(f"reference {reference!r} and at least one other are needed; found {list(values)}")
    return compare_pairs(values, [(name, reference) for name in others], design)


def compare_pairs(
    values: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]], design: Design, n_tests: int = 0
) -> pd.DataFrame:
    """Test methods each against a reference of its own, as one family: see `compare`.

    Parameters
    ----------
    pairs : sequence of (str, str)
        Method and reference.
    n_tests : int
        Of the family that these pairs are part of, for ``mde``; 0: they are the family.
    """
    tests = paired_tests([(values[name], values[reference]) for name, reference in pairs], design)
    table = pd.concat([pd.DataFrame(pairs, columns=["method", "reference"]), pd.DataFrame(tests)], axis=1)
    table["p_holm"] = holm(table["p"])
    table["mde"] = _detectable(table["se"], n_tests or len(pairs))
    return table[["method", "reference", "difference", "low", "high", "se", "p", "p_holm", "mde"]]


def of_independent(values: np.ndarray, level: float = ALPHA) -> dict[str, float]:
    """The mean of values that count as independent draws, one for each lineage, say: few, and skewed.

    The more careful of two. With some twenty skewed values Student's t and sign flips call too often, and the bootstrap
    of the studentized mean, both tails apart, does not (Hall 1988, Annals of Statistics 16); where tails are heavy it
    is the other way round, and t is taken with the degrees of freedom of values with this kurtosis (see
    `intervals.jackknife`). Values as skewed as the log-normal still pass for different in 7 % at 5 %.

    Returns
    -------
    dict
        ``difference``, ``low``, ``high``, ``p`` (two-sided, of a mean of zero) and ``mde``: the smallest true value
        that a two-sided t test at this level finds with power 0.8. NaN but for the first with fewer than two values.
    """
    values, n = np.asarray(values, np.float64), len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return {"difference": mean} | dict.fromkeys(("low", "high", "p", "mde"), float("nan"))
    se = float(values.std(ddof=1) / np.sqrt(n))
    if se <= 1e-12 * abs(mean) or se == 0:
        return {"difference": mean, "low": mean, "high": mean, "p": float(mean == 0), "mde": 0.0}
    freedom = satterthwaite(values)
    reach = float(student.isf(level / 2, freedom)) * se
    drawn = (values - mean)[np.random.default_rng(0).integers(n, size=(N_STUDENTIZED, n))]
    spread = drawn.std(axis=1, ddof=1)
    t = drawn.mean(axis=1) / np.maximum(spread, 1e-12 * se) * np.sqrt(n)
    lower, upper = np.quantile(t, (level / 2, 1 - level / 2))
    below, above = ((1 + side.sum()) / (1 + N_STUDENTIZED) for side in (t <= mean / se, t >= mean / se))
    detected = float(student.isf(level / 2, n - 1) + student.ppf(POWER, n - 1)) * se
    p = max(2 * min(below, above), 2 * student.sf(abs(mean) / se, freedom))
    return {"difference": mean, "low": mean - max(float(upper) * se, reach),
            "high": mean - min(float(lower) * se, -reach), "p": float(min(1.0, p)), "mde": detected}


def holm(p: pd.Series) -> np.ndarray:
    """p-values adjusted over their family after Holm; NaN (not tested) stays NaN and does not count.

    Own lines, since statsmodels' `multipletests` collects garbage at every call (0.06 s and more).
    """
    ordered = pd.Series(p.to_numpy(float)).dropna().sort_values()
    return (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1).reindex(range(len(p))).to_numpy()


def paired(a: np.ndarray, b: np.ndarray, design: Design) -> tuple[np.ndarray, Design]:
    """Differences and design of the questions where both methods have a value."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not a.shape == b.shape == design.strata.shape:
        raise ValueError(
            "a, b and the design must all have shape (n_questions,), "
            f"found {a.shape}, {b.shape}, {design.strata.shape}"
        )
    known = ~np.isnan(a - b)
    if not known.any():
        raise ValueError("no question has a value of both methods, so there is nothing to compare")
    return (a - b)[known], design.at(known)


def standard_error(values: np.ndarray, design: Design) -> float:
    """SE of the mean under stratified sampling of units, linearized where units differ in size.

    Cochran, Sampling Techniques, section 6.10 (combined ratio estimate). NaN if no stratum has two units.
    """
    unit, stratum = design.units()
    residual = np.bincount(unit, weights=values - values.mean())  # summed over each unit's questions
    _, stratum, size = np.unique(stratum, return_inverse=True, return_counts=True)
    center = np.bincount(stratum, weights=residual) / size
    squares = np.bincount(stratum, weights=(residual - center[stratum]) ** 2)
    if (size == 1).all():
        return float("nan")
    return float(np.sqrt((squares * size / np.maximum(size - 1, 1)).sum()) / len(values))


def _detectable(se, n_tests: int = 1):
    """Smallest true difference that a two-sided z test at `ALPHA` over the number of tests finds with power 0.8."""
    return float(norm.ppf(1 - ALPHA / n_tests / 2) + norm.ppf(POWER)) * se
