"""Differences over questions and fits: variance components by statsmodels, false alarms, hopeless input."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.weightstats import ttost_paired

from embedllm.evaluation.fits import averages, compare, intervals, no_worse, non_inferiority, over_fits
from embedllm.evaluation.inference import compare_pairs, holm
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
    between, learned = max(0, fits - both), min(questions, both * (1 + 4 * 0.75 / 0.25))
    np.testing.assert_allclose(found["se"] ** 2, questions + learned + between)
    share, tail = between / (questions + learned + between), found["p"] / 2
    np.testing.assert_allclose((1 - share) * stats.t.isf(tail, 29) + share * stats.t.isf(tail, 3),
                               abs(found["difference"]) / found["se"])
    low, high = (1 - share) * np.array(stats.t.interval(0.95, 29)) + share * np.array(stats.t.interval(0.95, 3))
    np.testing.assert_allclose([found["low"], found["high"]], found["difference"] + found["se"] * np.array([low, high]))


@pytest.mark.parametrize(("sd_fits", "sd_both"), [(0.0, 0.5), (0.02, 0.5), (0.1, 0.2)])
def test_false_alarms_over_fits_stay_at_their_level(sd_fits, sd_both):
    """2,000 pools of 100 prompts in four strata, each asked twice, five fits; bound .065 at .05.

    The interval is that of the same test around another mean, so that it covers at .935 and more.
    """
    rng = np.random.default_rng(13)
    group = np.arange(200) // 2
    design, alarms, covered, repetitions = Design(group % 4, group), 0, 0, 2_000
    for _ in range(repetitions):
        difference = crossed(rng, 5, 100, sd_fits, sd_both)[:, group]
        alarms += over_fits(difference, np.zeros_like(difference), design)["p"] < 0.05
        shifted = over_fits(difference + 0.3, np.zeros_like(difference), design)
        covered += shifted["low"] < 0.3 < shifted["high"]
    assert stats.beta.ppf(0.95, alarms + 1, repetitions - alarms) <= 0.065
    assert stats.beta.ppf(0.05, covered, repetitions - covered + 1) >= 0.93


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0])
def test_what_fits_learn_from_the_judged_questions_is_counted(spread):
    """A method that learns noise against one that learns nothing: a question's difference is its noise times the mean
    noise of the training questions, in 60 directions, zero on average. Taken as independent, questions find it in a
    tenth to a sixth of such pools."""
    rng, alarms, naive, repetitions = np.random.default_rng(3), 0, 0, 1_000
    for _ in range(repetitions):
        x = rng.standard_normal((160, 60))
        difference = np.empty((5, 160))
        for row in difference:
            fold = rng.permutation(160) % 4
            row[:] = -(x * np.stack([x[fold != number].mean(axis=0) for number in range(4)])[fold]).sum(axis=1)
        difference += spread * 0.7 * rng.standard_normal(160)
        found = over_fits(difference, np.zeros_like(difference), Design(np.zeros(160)))
        alarms += found["p"] < 0.05
        naive += abs(found["difference"]) > 1.96 * found["se_questions"]
    assert stats.beta.ppf(0.95, alarms + 1, repetitions - alarms) <= 0.065
    assert naive / repetitions > 0.09


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


@pytest.fixture
def values(rng):
    """Three methods over five fits: b is better than a by .1, c is b."""
    base, own = rng.standard_normal(400), 0.2 * rng.standard_normal((2, 5, 400))
    return {"a": base + own[0], "b": base - 0.1 + own[1], "c": base - 0.1 + own[1]}


def test_a_family_over_fits_is_its_tests_corrected_together(values):
    design = Design(np.arange(400) % 3)
    table = compare(values, [("b", "a"), ("c", "b"), ("c", "a")], design, level=0.01)
    one = over_fits(values["b"], values["a"], design, 0.01)
    assert table.loc[0, ["difference", "low", "high", "p"]].to_list() == [
        one[name] for name in ("difference", "low", "high", "p")]
    assert table.loc[1, ["difference", "low", "high", "se", "p"]].to_list() == [0, 0, 0, 0, 1]
    np.testing.assert_array_equal(table["p_holm"], holm(table["p"]))
    assert table["mde"][0] == over_fits(values["b"], values["a"], design, 0.05 / 3)["mde"]
    low, high = intervals(values, [("b", "a")], design, 0.01)
    assert (low, high) == ([one["low"]], [one["high"]])


def test_of_one_fit_tests_are_over_questions_alone(values):
    design = Design(np.arange(400) % 3)
    alone = {name: own[:1] for name, own in values.items()}
    expected = compare_pairs({name: own[0] for name, own in values.items()}, [("b", "a")], design)
    pd.testing.assert_frame_equal(compare(alone, [("b", "a")], design), expected)
    tested = non_inferiority(alone["b"], alone["a"], design, 0.2)
    found = no_worse(alone, "b", design, 0.2).set_index("forecaster").loc["a"]
    assert found[["difference", "low90", "high90", "se", "p_worse"]].tolist() == list(tested.values())


def test_non_inferiority_of_one_fit_agrees_with_statsmodels_on_a_large_sample(rng):
    a, b = rng.normal(0.02, 1, 3000), rng.normal(0, 1, 3000)
    _, (_, lower, _), (_, upper, _) = ttost_paired(a, b, -0.04, 0.04)
    one, other = (non_inferiority(*pair, Design(np.zeros(3000)), 0.04)
                  for pair in ((a[None], b[None]), (b[None], a[None])))
    # Normal in place of Student's t with 2,999 degrees of freedom: less than 1e-4 apart everywhere.
    assert [one["p_worse"], other["p_worse"]] == pytest.approx([upper, lower], abs=1e-4)
    assert (one["high"] < 0.04) == (one["p_worse"] < 0.05)
    with pytest.raises(ValueError, match="margin"):
        non_inferiority(a[None], b[None], Design(np.zeros(3000)), -1)


def test_averages_have_the_spread_between_fits(rng):
    values = {"moving": rng.standard_normal(5_000) * 0.1 + 0.3 * rng.standard_normal((5, 1)), "still": np.ones((5, 9))}
    row = averages({"moving": values["moving"]}, Design(np.zeros(5_000))).iloc[0]
    by_fit = values["moving"].mean(axis=1)
    assert row["value"] == pytest.approx(by_fit.mean())
    assert row["sd_fits"] == pytest.approx(by_fit.std(ddof=1), rel=0.01)
    assert row["low"] < by_fit.mean() - 1.5 * by_fit.std(ddof=1) / 5**0.5
    alone = averages({"moving": values["moving"][:1]}, Design(np.zeros(5_000))).iloc[0]
    assert np.isnan(alone["sd_fits"]) and alone["high"] - alone["low"] < 0.01


def test_non_inferiority_over_fits_is_the_one_sided_test_of_the_margin(values):
    design = Design(np.zeros(400))
    found = non_inferiority(values["a"], values["b"], design, 0.15, level=0.025)
    shifted = over_fits(values["a"], values["b"] + 0.15, design)
    assert found["p_worse"] == pytest.approx(shifted["p"] / 2) and shifted["difference"] < 0
    assert (found["high"] < 0.15) == (found["p_worse"] < 0.025)
    assert non_inferiority(values["a"], values["b"], design, 0.0)["p_worse"] > 0.99
    assert non_inferiority(values["b"], values["c"], design, 0.01)["p_worse"] == 0, "the same forecasts"
    with pytest.raises(ValueError, match="zero or more"):
        non_inferiority(values["a"], values["b"], design, -0.1)
