"""Claims about methods: what varies is the questions and the fits, not the questions alone.

Values of a method are (n_fits, n_questions): a row is one partition of the questions and one seed, the same for all
methods. Of a single fit nothing can be said beyond that fit: tests and intervals are then over questions alone
(`inference`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import stdtrit
from scipy.stats import norm

from embedllm.evaluation import inference
from embedllm.evaluation.inference import POWER, holm, paired, standard_error
from embedllm.evaluation.intervals import ALPHA
from embedllm.splits import Design

Values = Mapping[str, np.ndarray]  # method to (n_fits, n_questions)

LEAST = 1e-15  # tail below which p is told as 0


def over_fits(a: np.ndarray, b: np.ndarray, design: Design, level: float = ALPHA) -> dict[str, float]:
    """Is the mean of ``a - b`` zero, over questions *and* fits? For claims about methods, not about two trainings.

    Questions and fits are crossed random effects: the variance of the mean is that of the questions' means plus that
    of the fits' means, less the interaction that both hold (Searle, Casella and McCulloch 1992, Variance Components,
    section 4.7, with groups of questions for questions). The two parts have many and few degrees of freedom; quantiles
    are those of both t laws, weighted by the parts (Cochran 1964, Biometrics 20). Satterthwaite's single t law found
    5.7 % of nothing at 5 % with five fits, this one at most 5.1 %.

    Parameters
    ----------
    a, b : ndarray, shape (n_fits, n_questions)
        Per-question values of two methods; a row is one partition of the questions and one seed for both. At least
        two fits; a question where any value is NaN is left out.
    design : Design
    level : float, in (0, 1)
        Of the test; the interval is one of 1 - level.

    Returns
    -------
    dict
        ``difference`` (mean of a - b), ``low``, ``high``, ``se``, ``p`` (two-sided), ``mde`` (smallest true difference
        found with power 0.8, about), ``se_questions`` (fits taken as given) and ``sd_fits`` (standard deviation
        between fits that questions do not explain).

    Raises
    ------
    ValueError
        If shapes differ, there is one fit only, no question has all values, or the differences do not vary.
    """
    difference = np.subtract(a, b, dtype=np.float64)
    n_fits = len(difference)
    if difference.ndim != 2 or n_fits < 2:
        raise ValueError(f"a and b must have shape (n_fits, n_questions) with at least two fits, found {np.shape(a)}")
    by_question, kept = paired(difference.mean(axis=0), np.zeros(difference.shape[1]), design)
    difference = difference[:, ~np.isnan(difference).any(axis=0)]
    mean, by_fit = float(by_question.mean()), difference.mean(axis=1)
    questions, fits = standard_error(by_question, kept) ** 2, by_fit.var(ddof=1) / n_fits
    both = sum(standard_error(one - by_question, kept) ** 2 for one in difference) / (n_fits * (n_fits - 1))
    between = max(0.0, fits - both)
    variance = questions + between
    if not variance > 0:
        raise ValueError("the differences do not vary, so there is nothing to test")
    se, share = float(np.sqrt(variance)), between / variance
    _, stratum = kept.units()
    many, few = len(stratum) - len(np.unique(stratum)), n_fits - 1  # degrees of freedom

    def quantile(tail: float) -> float:
        return -float((1 - share) * stdtrit(many, tail) + share * stdtrit(few, tail))

    reach, observed = quantile(level / 2) * se, abs(mean) / se
    tail = 0.0 if observed > quantile(LEAST) else float(np.exp(
        brentq(lambda log: quantile(np.exp(log)) - observed, np.log(LEAST), np.log(0.5))))
    return {"difference": mean, "low": mean - reach, "high": mean + reach, "se": se, "p": 2 * tail,
            "mde": reach + quantile(1 - POWER) * se, "se_questions": float(np.sqrt(questions)),
            "sd_fits": float(np.sqrt(n_fits * between))}


def compare(
    values: Values, pairs: Sequence[tuple[str, str]], design: Design, level: float = ALPHA, n_tests: int = 0
) -> pd.DataFrame:
    """Test methods, each against its reference, over questions and fits: one family, corrected after Holm.

    Parameters
    ----------
    values : mapping of method to ndarray, shape (n_fits, n_questions)
    pairs : sequence of (str, str)
        Method and reference.
    design : Design
    level : float
        Of the intervals, 1 - level each; with one fit always 95 %.
    n_tests : int
        Of the family that these pairs are part of; 0: they are the family.

    Returns
    -------
    DataFrame
        As from `inference.compare_pairs`. ``mde`` is at 5 % divided by the number of tests.
    """
    n_tests = n_tests or len(pairs)
    if _fits_of(values) == 1:
        return inference.compare_pairs({name: own[0] for name, own in values.items()}, pairs, design, n_tests)
    tests = [_difference(values[name], values[reference], design, level) for name, reference in pairs]
    strict = [_difference(values[name], values[reference], design, ALPHA / n_tests) for name, reference in pairs]
    table = pd.concat([pd.DataFrame(pairs, columns=["method", "reference"]), pd.DataFrame(tests)], axis=1)
    table = table.assign(p_holm=holm(table["p"]), mde=[one["mde"] for one in strict])
    return table[["method", "reference", "difference", "low", "high", "se", "p", "p_holm", "mde"]]


def intervals(
    values: Values, pairs: Sequence[tuple[str, str]], design: Design, level: float
) -> tuple[list[float], list[float]]:
    """Ends of the intervals (1 - level) of each pair's difference, over questions and fits; of one fit, normal ones."""
    found = [_difference(values[name], values[reference], design, level) for name, reference in pairs]
    return [one["low"] for one in found], [one["high"] for one in found]


def averages(values: Values, design: Design, level: float = ALPHA) -> pd.DataFrame:
    """The mean of each method with an interval of 1 - level over questions and fits.

    Returns
    -------
    DataFrame
        Columns ``forecaster``, ``value``, ``low``, ``high``, ``sd_fits`` (standard deviation between fits that
        questions do not explain; NaN with one fit).
    """
    rows = []
    for name, own in values.items():
        found = _difference(own, np.zeros_like(own), design, level)
        rows.append((name, *(found[one] for one in ("difference", "low", "high", "sd_fits"))))
    return pd.DataFrame(rows, columns=["forecaster", "value", "low", "high", "sd_fits"])


def no_worse(values: Values, name: str, design: Design, margin: float) -> pd.DataFrame:
    """Is one method worse than another by a margin or more? Against every other in turn, see `non_inferiority`.

    All of them have to be shown, so that no correction is needed (intersection-union test, Berger 1982).

    Parameters
    ----------
    values : mapping of method to ndarray, shape (n_fits, n_questions)
        Less is better.
    name : str
        The one method.

    Returns
    -------
    DataFrame
        Columns ``forecaster`` (the other one), ``difference`` (the method minus the other), ``low90``, ``high90``,
        ``se``, ``p_worse``.
    """
    rows = [{"forecaster": other} | non_inferiority(values[name], own, design, margin)
            for other, own in values.items() if other != name]
    return pd.DataFrame(rows).rename(columns={"low": "low90", "high": "high90"})


def non_inferiority(
    a: np.ndarray, b: np.ndarray, design: Design, margin: float, level: float = ALPHA
) -> dict[str, float]:
    """Is ``a - b`` shown to be below a margin declared beforehand? One-sided, over questions and fits.

    Returns
    -------
    dict
        ``difference``, ``low``, ``high`` (ends of the one-sided tests at `level`), ``se``, ``p_worse`` (of the null
        "difference >= margin").

    Raises
    ------
    ValueError
        If the margin is negative, or as `over_fits`.
    """
    if margin < 0:
        raise ValueError(f"a margin is zero or more, found {margin}")
    found = _difference(a, b, design, 2 * level)
    if len(a) == 1:
        p = float(norm.cdf((found["difference"] - margin) / max(found["se"], np.finfo(float).tiny)))
        return {name: found[name] for name in ("difference", "low", "high", "se")} | {"p_worse": p}
    at_margin = over_fits(a, np.add(b, margin), design, 2 * level) if found["se"] else {"p": 0, "difference": -margin}
    half = at_margin["p"] / 2
    return {name: found[name] for name in ("difference", "low", "high", "se")} | {
        "p_worse": half if at_margin["difference"] < 0 else 1 - half}


def _difference(a: np.ndarray, b: np.ndarray, design: Design, level: float) -> dict[str, float]:
    """`over_fits`; of one fit over questions alone; methods that forecast the same differ by zero, for certain."""
    if np.array_equal(a, b, equal_nan=True):
        return dict.fromkeys(("difference", "low", "high", "se", "mde", "se_questions", "sd_fits"), 0.0) | {"p": 1.0}
    if len(a) > 1:
        return over_fits(a, b, design, level)
    difference, kept = paired(a[0], b[0], design)
    mean, se = float(difference.mean()), standard_error(difference, kept)
    reach = float(norm.ppf(1 - level / 2)) * se
    return {"difference": mean, "low": mean - reach, "high": mean + reach, "se": se, "sd_fits": np.nan}


def _fits_of(values: Values) -> int:
    return len(next(iter(values.values())))
