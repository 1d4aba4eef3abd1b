"""Differences over questions and fits: variance components by statsmodels, false alarms, hopeless input."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from embedllm.evaluation.fits import over_fits
from embedllm.splits import Design


def crossed(rng, n_fits, n_questions, sd_fits, sd_both, mean=0.0):
    """Differences with a part for each question, one for each fit, and one for each pair of them."""
    return (mean + 0.3 * rng.standard_normal(n_questions) + sd_fits * rng.standard_normal((n_fits, 1))
            + sd_both * rng.standard_normal((n_fits, n_questions)))


@pytest.mark.parametrize("sd_fits", [0.5, 0.0])
def test_variance_over_fits_is_that_of_two_way_anova(rng, sd_fits):
    """Mean squares by statsmodels, one question a unit, one stratum."""
    difference = crossed(rng, 4, 30, sd_fits, 0.4, mean=0.2)
    found = over_fits(difference, np.zeros_like(difference), Design(np.zeros(30)))
    f, q = np.indices(difference.shape)
    rows = pd.DataFrame({"d": difference.ravel(), "f": f.ravel(), "q": q.ravel()})
    table = anova_lm(ols("d ~ C(q) + C(f)", rows).fit())
    questions, fits, both = (table["sum_sq"] / table["df"]).loc[["C(q)", "C(f)", "Residual"]] / difference.size
    between = max(0, fits - both)
    np.testing.assert_allclose(found["se"] ** 2, questions + between)
    share, tail = between / (questions + between), found["p"] / 2
    np.testing.assert_allclose((1 - share) * stats.t.isf(tail, 29) + share * stats.t.isf(tail, 3),
                               abs(found["difference"]) / found["se"])
    low, high = (1 - share) * np.array(stats.t.interval(0.95, 29)) + share * np.array(stats.t.interval(0.95, 3))
    np.testing.assert_allclose([found["low"], found["high"]], found["difference"] + found["se"] * np.array([low, high]))


@pytest.mark.parametrize(("sd_fits", "sd_both"), [(0.0, 0.5), (0.02, 0.5), (0.1, 0.2)])
def test_false_alarms_over_fits_stay_at_their_level(sd_fits, sd_both):
    """2,000 pools of 100 prompts in four strata, each asked twice, five fits; bound .065 at .05."""
    rng = np.random.default_rng(13)
    group = np.arange(200) // 2
    design, alarms, repetitions = Design(group % 4, group), 0, 2_000
    for _ in range(repetitions):
        difference = crossed(rng, 5, 100, sd_fits, sd_both)[:, group]
        alarms += over_fits(difference, np.zeros_like(difference), design)["p"] < 0.05
    assert stats.beta.ppf(0.95, alarms + 1, repetitions - alarms) <= 0.065


def test_fits_count_where_they_differ(rng):
    """Without them the same differences would be found significant."""
    difference = crossed(rng, 5, 2_000, 0.1, 0.2, mean=0.05)
    found = over_fits(difference, np.zeros_like(difference), Design(np.zeros(2_000)), level=0.025)
    assert found["se_questions"] < 0.01 < 0.03 < found["se"]
    np.testing.assert_allclose(found["sd_fits"], difference.mean(axis=1).std(ddof=1), rtol=0.05)
    gaps = difference.copy()
    gaps[2, 7] = np.nan
    without = np.delete(difference, 7, axis=1)
    again = over_fits(gaps, np.zeros_like(gaps), Design(np.zeros(2_000)), level=0.025)
    assert again == over_fits(without, np.zeros_like(without), Design(np.zeros(1_999)), level=0.025)


def test_over_fits_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"at least two fits, found \(1, 9\)"):
        over_fits(np.zeros((1, 9)), np.zeros((1, 9)), Design(np.zeros(9)))
    with pytest.raises(ValueError, match="do not vary"):
        over_fits(np.ones((3, 9)), np.ones((3, 9)), Design(np.zeros(9)))


def test_the_smallest_p_over_fits_is_told_as_zero(rng):
    difference = 1e3 + rng.standard_normal((5, 9_000))
    assert over_fits(difference, np.zeros_like(difference), Design(np.zeros(9_000)))["p"] == 0
