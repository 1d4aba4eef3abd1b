"""Claims about methods: what varies is the questions and the fits, not the questions alone.

Values of a method are (n_fits, n_questions): a row is one partition of the questions and one seed, the same for all
methods. Of a single fit nothing can be said beyond that fit: tests and intervals are then over questions alone
(`inference`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

from embedllm.evaluation import inference
from embedllm.evaluation.inference import POWER, holm, paired, standard_error
from embedllm.evaluation.intervals import ALPHA
from embedllm.splits import Design

Values = Mapping[str, np.ndarray]  # method to (n_fits, n_questions)

LEAST = 1e-15  # tail below which p is told as 0
LEARNED = 0.75  # share of the questions that a fit learns from, about: 2/3 to 4/5 in three to five folds


def over_fits(a: np.ndarray, b: np.ndarray, design: Design, level: float = ALPHA) -> dict[str, float]:
    """Is the mean of ``a - b`` zero, over questions *and* fits? For claims about methods, not about two trainings.

    Questions and fits are crossed random effects: the variance of the mean is that of the questions' means plus that
    of the fits' means, less the interaction that both hold (Searle, Casella and McCulloch 1992, Variance Components,
    section 4.7, with groups of questions for questions). The two parts have many and few degrees of freedom; quantiles
    are those of both t laws, weighted by the parts (Cochran 1964, Biometrics 20), which where both are all there is
    found at most 5.1 % of nothing at 5 % with five fits, 1.3 % at 1.25 % and 0.25 % at 0.21 %.

    A third part is there because the judged questions are also those that fits learn from. Let d(q) be a(q) plus the
    mean over the training questions r of b(q, r), which is zero on average over either. Where b is as large one way
    round as the other, b(q, r) and b(r, q) rise together: the part of the mean's variance that b makes counts twice,
    once in the spread of the questions and once between them (cross-validation understates its error: Bates, Hastie
    and Tibshirani 2024, Journal of the American Statistical Association 119; where that hardly matters: Bayle et al.
    2020, NeurIPS). Its size follows from the interaction, since partitions differ in what they learn from, and such a
    b makes at most the spread of the questions. Questions taken as independent find pure noise in a tenth to a sixth
    of cases at 5 % (tests/evaluation/test_fits.py). Noise of a training's seed is in the interaction as well, so that
    for methods with a seed the test is conservative. What all questions gain or lose by the same training questions is
    not in it: the mean is that of fits to these questions.

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
    found = _law(a, b, design)
    low, high = found.interval(level)
    return {"difference": found.mean, "low": low, "high": high, "se": found.se, "p": found.p,
            "mde": found.detectable(level), "se_questions": found.se_questions, "sd_fits": found.sd_fits}


@dataclass(frozen=True)
class _Law:
    """The mean of a difference and how it varies; with one fit over questions alone, and normal."""

    mean: float
    se: float
    share: float  # of the variance of the mean that lies between fits
    many: float  # degrees of freedom of the questions, of the fits
    few: float
    se_questions: float
    sd_fits: float

    def quantile(self, tail: float) -> float:
        return -float((1 - self.share) * stdtrit(self.many, tail) + self.share * stdtrit(self.few, tail))

    def beyond(self, distance: float) -> float:
        """Chance of an error of the mean above a distance, in standard errors."""
        if distance < 0:
            return 1 - self.beyond(-distance)
        if not self.share:
            return float(stdtr(self.many, -distance))
        return 0.0 if distance > self.quantile(LEAST) else float(np.exp(
            brentq(lambda log: self.quantile(np.exp(log)) - distance, np.log(LEAST), np.log(0.5))))

    @property
    def p(self) -> float:
        return 2 * self.beyond(abs(self.mean) / self.se) if self.se else 1.0

    def p_worse(self, margin: float) -> float:
        """One-sided, of the null that the mean is at least a margin."""
        return self.beyond((margin - self.mean) / self.se) if self.se else float(self.mean >= margin)

    def interval(self, level: float) -> tuple[float, float]:
        reach = self.quantile(level / 2) * self.se
        return self.mean - reach, self.mean + reach

    def detectable(self, level: float) -> float:
        return (self.quantile(level / 2) + self.quantile(1 - POWER)) * self.se


def _law(a: np.ndarray, b: np.ndarray, design: Design) -> _Law:
    difference = np.subtract(a, b, dtype=np.float64)
    n_fits = len(difference)
    if difference.ndim != 2 or n_fits < 2:
        raise ValueError(f"a and b must have shape (n_fits, n_questions) with at least two fits, found {np.shape(a)}")
    by_question, kept = paired(difference.mean(axis=0), np.zeros(difference.shape[1]), design)
    difference = difference[:, ~np.isnan(difference).any(axis=0)]
    by_fit, of_questions = difference.mean(axis=1), standard_error(by_question, kept)
    both = sum(standard_error(one - by_question, kept) ** 2 for one in difference) / (n_fits * (n_fits - 1))
    between = max(0.0, by_fit.var(ddof=1) / n_fits - both)
    # Of the subset means that make `both`, a share of 1 - LEARNED is what partitions change.
    learned = min(of_questions**2, both * (1 + n_fits * LEARNED / (1 - LEARNED)))
    variance = of_questions**2 + learned + between
    if not variance > 0:
        raise ValueError("the differences do not vary, so there is nothing to test")
    _, stratum = kept.units()
    return _Law(float(by_question.mean()), float(np.sqrt(variance)), between / variance,
                len(stratum) - len(np.unique(stratum)), n_fits - 1, of_questions, float(np.sqrt(n_fits * between)))


def _law_of_any(a: np.ndarray, b: np.ndarray, design: Design) -> _Law:
    """The same also for one fit, and for methods that forecast the same, which differ by zero for certain."""
    if np.array_equal(a, b, equal_nan=True):
        return _Law(0.0, 0.0, 0.0, np.inf, np.inf, 0.0, 0.0)
    if len(a) > 1:
        return _law(a, b, design)
    difference, kept = paired(a[0], b[0], design)
    se = standard_error(difference, kept)
    return _Law(float(difference.mean()), se, 0.0, np.inf, np.inf, se, np.nan)


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
    rows = []
    for name, reference in pairs:
        law = _law_of_any(values[name], values[reference], design)
        rows.append((name, reference, law.mean, *law.interval(level), law.se, law.p, law.detectable(ALPHA / n_tests)))
    table = pd.DataFrame(rows, columns=["method", "reference", "difference", "low", "high", "se", "p", "mde"])
    table.insert(7, "p_holm", holm(table["p"]))
    return table


def intervals(
    values: Values, pairs: Sequence[tuple[str, str]], design: Design, level: float
) -> tuple[list[float], list[float]]:
    """Ends of the intervals (1 - level) of each pair's difference, over questions and fits; of one fit, normal ones."""
    laws = [_law_of_any(values[name], values[reference], design) for name, reference in pairs]
    low, high = zip(*(law.interval(level) for law in laws), strict=True)
    return list(low), list(high)


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
        law = _law_of_any(own, np.zeros_like(own), design)
        rows.append((name, law.mean, *law.interval(level), law.sd_fits))
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
    law = _law_of_any(a, b, design)
    low, high = law.interval(2 * level)
    return {"difference": law.mean, "low": low, "high": high, "se": law.se, "p_worse": law.p_worse(margin)}


def _fits_of(values: Values) -> int:
    return len(next(iter(values.values())))
