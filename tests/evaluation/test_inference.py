"""Intervals against brute force, tests against enumeration and their promised error rates."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from scipy import stats
from scipy.special import expit
from statsmodels.stats.multitest import multipletests

from embedllm.conclusions import _words
from embedllm.evaluation.inference import (
    compare,
    holm,
    paired_test,
    paired_tests,
)
from embedllm.evaluation.intervals import bootstrap_weights, interval, jackknife, ratio_of_means, summarize
from embedllm.evaluation.metrics import auc, question_scores
from embedllm.splits import Design

# --- bootstrap ------------------------------------------------------------------------------------


def test_weights_keep_strata_sizes_and_groups(rng):
    strata = np.array(list("aaaaabbbb"))
    weights = bootstrap_weights(Design(strata), 200, rng)
    assert weights.shape == (200, 9)
    assert (weights[:, :5].sum(axis=1) == 5).all()
    assert (weights[:, 5:].sum(axis=1) == 4).all()
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 6, 6])
    grouped = bootstrap_weights(Design(strata, groups), 200, rng)
    assert (grouped[:, 0] == grouped[:, 1]).all()
    assert (grouped[:, 7] == grouped[:, 8]).all()
    assert (grouped[:, [0, 2, 3, 4]].sum(axis=1) == 4).all()


def test_single_question_strata_are_drawn_together(rng):
    weights = bootstrap_weights(Design(np.array(list("aaabcd"))), 300, rng)
    assert (weights[:, 3:].sum(axis=1) == 3).all()
    assert weights[:, 3].std() > 0


def test_bootstrap_has_the_distribution_of_exhaustive_resampling(rng):
    values, strata = np.array([0.0, 1, 5, 2, 10]), np.array(list("aaabb"))
    exhaustive = [
        np.mean(values[[*first, *second]])
        for first in product(range(3), repeat=3)
        for second in product(range(3, 5), repeat=2)
    ]
    weights = bootstrap_weights(Design(strata), 20_000, rng)
    means = weights @ values / 5
    for point in np.unique(np.round(exhaustive, 9)):
        share = np.mean(np.isclose(exhaustive, point))
        assert abs(np.isclose(means, point).mean() - share) < 4.5 * np.sqrt(share * (1 - share) / 20_000)


def test_interval_equals_brute_force_resampling(rng):
    values = rng.random(12)
    values[3] = np.nan
    weights = bootstrap_weights(Design(np.repeat([0, 1], 6)), 300, rng)
    means = [np.nanmean(np.repeat(values, row)) for row in weights]
    np.testing.assert_allclose(interval(values, weights), np.quantile(means, [0.025, 0.975]), rtol=1e-12)
    assert np.isnan(interval(np.full(12, np.nan), weights)).all()


def test_interval_covers_the_truth(rng):
    strata, centers, size, repeats = np.repeat([0, 1, 2], 25), np.array([-1.0, 0, 3]), 25, 500
    covered = 0
    for _ in range(repeats):
        values = centers[strata] + rng.exponential(1, len(strata)) - 1
        low, high = interval(values, bootstrap_weights(Design(strata), 400, rng))
        covered += low <= centers.mean() <= high
    # Resampling n of n shrinks the spread by sqrt((n - 1) / n): nominal coverage is a little less.
    nominal = 2 * stats.norm.cdf(1.96 * np.sqrt((size - 1) / size)) - 1
    assert abs(covered / repeats - nominal) < 3.5 * np.sqrt(0.05 * 0.95 / repeats)


def test_the_jackknife_of_a_mean_is_students_t(rng):
    values = np.linspace(-1, 1, 12)
    [se], [reach] = jackknife(((values.sum() - values) / 11)[:, None])
    known = stats.ttest_1samp(values, 0).confidence_interval()
    assert se == pytest.approx(stats.sem(values)) and 2 * reach == pytest.approx(known.high - known.low)
    heavy = np.append(values, 20.0)
    [se], [reach] = jackknife(((heavy.sum() - heavy) / 12)[:, None])
    assert reach == pytest.approx(stats.t.isf(0.025, 24 / (stats.kurtosis(heavy, bias=False) + 2)) * se)


def test_a_ratio_of_means_is_compared_on_the_scale_of_its_logarithm(rng):
    values = rng.exponential(size=(12, 1))
    for ends in zip(*ratio_of_means(np.hstack([values, 0 * values]), np.hstack([2 * values, values])), strict=True):
        assert np.allclose(ends, 0.5) or np.isnan(ends).all()
    (value,), (low,), (high,) = ratio_of_means(values, np.ones((12, 1)))
    assert value == pytest.approx(values.mean()) and high / value == pytest.approx(value / low)
    by_hand = [np.log(np.delete(values, at).mean()) for at in range(12)]
    assert np.log(high / value) == pytest.approx(jackknife(np.array(by_hand)[:, None])[1][0])


def test_summary_holds_each_metric_with_shared_resamples(cells):
    probabilities, scores = cells
    table = make_table(scores)
    design = Design(np.repeat(["x", "y"], 20))
    compared = {"a": probabilities, "same": probabilities.copy()}
    found = summarize(compared, table, ("accuracy", "log_loss", "brier", "auc"), design, 200)
    assert list(found.columns) == ["forecaster", "metric", "value", "low", "high"]
    first, second = (found[found["forecaster"] == name].set_index("metric") for name in ("a", "same"))
    numbers = ["value", "low", "high"]
    pd.testing.assert_frame_equal(first[numbers], second[numbers])
    assert list(first.index) == ["accuracy", "log_loss", "brier", "auc"]
    assert first.loc["auc", "value"] == auc(probabilities, scores)
    assert first.loc["brier", "value"] == pytest.approx(question_scores(probabilities, scores, "brier").mean())
    assert ((first["low"] < first["value"]) & (first["value"] < first["high"])).all()


# --- paired tests ---------------------------------------------------------------------------------


def test_p_value_equals_enumeration_of_all_flips(rng):
    difference = rng.normal(0.5, 1, 9)
    signs = np.array(list(product([-1, 1], repeat=9)))
    flipped = signs * difference
    studentized = np.abs(flipped.mean(axis=1)) / flipped.std(axis=1, ddof=1)
    observed = abs(difference.mean()) / difference.std(ddof=1)
    exact = (studentized >= observed - 1e-12).mean()
    p = paired_test(difference, np.zeros(9), Design(np.zeros(9)), n_permutations=20_000)["p"]
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 20_000)


def test_on_single_decisions_the_test_is_the_exact_one_of_mcnemar():
    """Differences of one size tie all the time, and 0.3 - 0.2 is not quite 0.1."""
    a = np.array([0.3] * 14 + [0.2] * 5 + [0.2] * 11)
    b = np.array([0.2] * 14 + [0.3] * 5 + [0.2] * 11)
    exact = stats.binomtest(5, 19).pvalue
    p = paired_test(a, b, Design(np.zeros(30)), n_permutations=20_000)["p"]
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 20_000)


def test_level_holds_where_cells_of_one_question_are_correlated():
    """Twenty models share each question's difference: a test on cells sees twenty times the data."""
    rng, repeats = np.random.default_rng(7), 400
    p, p_cells = np.empty(repeats), np.empty(repeats)
    for r in range(repeats):
        cells = rng.normal(0, 1, (1, 40)) + rng.normal(0, 0.5, (20, 40))
        p[r] = paired_test(cells.mean(axis=0), np.zeros(40), Design(np.zeros(40)), seed=r, n_permutations=399)["p"]
        p_cells[r] = stats.ttest_1samp(cells.ravel(), 0).pvalue
    assert stats.kstest(p, "uniform").pvalue > 0.01
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)
    assert (p <= 0.05).mean() < limit
    assert (p_cells <= 0.05).mean() > 0.5


def test_level_holds_on_exchangeable_copies():
    """Two forecasters that are equally noisy copies of the truth: neither is better, and p is uniform."""
    rng, repeats = np.random.default_rng(8), 400
    p = np.empty(repeats)
    for r in range(repeats):
        truth = rng.standard_normal(60) + rng.standard_normal((8, 1))  # (n_models, n_questions), in logits
        scores = (rng.random(truth.shape) < expit(truth)).astype(float)
        copies = expit(truth + rng.standard_normal((2, *truth.shape)))
        losses = [question_scores(copy, scores, "log_loss") for copy in copies]
        p[r] = paired_test(*losses, Design(np.zeros(60)), seed=r, n_permutations=399)["p"]
    assert (p <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_smallest_detectable_difference_is_found_four_times_in_five():
    rng, repeats = np.random.default_rng(8), 200
    effect = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / np.sqrt(200)
    found, detectable = 0, []
    for r in range(repeats):
        result = paired_test(rng.normal(effect, 1, 200), np.zeros(200), Design(np.arange(200) % 3), r, 399)
        found += result["p"] <= 0.05
        detectable.append(result["mde"])
    assert abs(found / repeats - 0.8) < 3.5 * np.sqrt(0.8 * 0.2 / repeats)
    assert np.mean(detectable) == pytest.approx(effect, rel=0.02)


def test_standard_error_is_the_stratified_one_and_agrees_with_the_interval(rng):
    strata = np.repeat([0, 1], [30, 70])
    values = 4.0 * strata + rng.normal(0, 1 + strata)
    result = paired_test(values, np.zeros(100), Design(strata))
    parts = [values[strata == s] for s in (0, 1)]
    expected = np.sqrt(sum(len(v) * v.var(ddof=1) for v in parts)) / 100
    assert result["se"] == pytest.approx(expected, rel=1e-12)
    # The interval comes from 1,000 resamples: an end is off by about 7 % of the standard error.
    assert result["high"] - result["low"] == pytest.approx(2 * 1.96 * expected, rel=0.12)


def test_copies_of_a_question_add_no_evidence(rng):
    values, strata = rng.normal(0.2, 1, 50), np.arange(50) % 2
    once = paired_test(values, np.zeros(50), Design(strata))
    groups = np.repeat(np.arange(50), 3)
    copied = paired_test(np.repeat(values, 3), np.zeros(150), Design(np.repeat(strata, 3), groups))
    naive = paired_test(np.repeat(values, 3), np.zeros(150), Design(np.repeat(strata, 3)))
    for key in ("difference", "se", "p", "low", "high"):
        assert copied[key] == pytest.approx(once[key], rel=1e-9)
    assert naive["se"] < 0.65 * once["se"]
    assert naive["p"] < once["p"]


def test_standard_error_of_groups_of_unequal_size_is_that_of_the_bootstrap(rng):
    groups = np.repeat(np.arange(300), rng.integers(1, 6, 300))
    values = 5 + rng.normal(0, 1, 300)[groups] + rng.normal(0, 0.3, len(groups))
    design = Design(groups % 2, groups)
    weights = bootstrap_weights(design, 2000, rng)
    spread = (weights @ values / weights.sum(axis=1)).std()
    se = paired_test(values, np.zeros(len(values)), design, n_permutations=99)["se"]
    assert se == pytest.approx(spread, rel=0.06)  # 2,000 resamples know a spread to 1.6 %


def test_missing_questions_leave_the_pair_and_ties_are_no_evidence(rng):
    a, b = rng.random(30), rng.random(30)
    holed = a.copy()
    holed[:10] = np.nan
    design = Design(np.zeros(30))
    assert paired_test(holed, b, design) == paired_test(a[10:], b[10:], design.at(slice(10, None)))
    assert paired_test(a, a, design)["p"] == 1.0
    with pytest.raises(ValueError, match="no question"):
        paired_test(np.full(3, np.nan), np.zeros(3), Design(np.zeros(3)))
    with pytest.raises(ValueError, match="shape"):
        paired_test(np.zeros(3), np.zeros(4), Design(np.zeros(3)))


def test_compare_corrects_the_family(rng):
    design = Design(np.arange(120) % 4)
    base = rng.normal(0, 1, 120)
    gains = {"none": 0.0, "some": 0.3, "much": 0.8}
    values = {"base": base} | {name: base + rng.normal(gain, 1, 120) for name, gain in gains.items()}
    table = compare(values, "base", design)
    assert list(table.columns) == [
        "method", "reference", "difference", "low", "high", "se", "p", "p_holm", "mde",
    ]
    assert list(table["method"]) == list(gains)
    assert set(table["reference"]) == {"base"}
    single = paired_test(values["some"], base, design)
    row = table.set_index("method").loc["some"]
    for key in ("difference", "low", "high", "se", "p"):
        assert row[key] == single[key]
    np.testing.assert_allclose(table["p_holm"], multipletests(table["p"], method="holm")[1])
    assert table["p_holm"].iloc[2] == pytest.approx(3 * table["p"].iloc[2])
    np.testing.assert_allclose(
        table["mde"], (stats.norm.ppf(1 - 0.05 / 6) + stats.norm.ppf(0.8)) * table["se"], rtol=1e-12
    )
    with pytest.raises(ValueError, match="'best'"):
        compare(values, "best", design)
    with pytest.raises(ValueError, match="at least one other"):
        compare({"base": base}, "base", design)


def test_holm_adjusts_what_was_tested(rng):
    p = pd.Series(np.round(rng.random(12) ** 3, 2), index=[0] * 12)  # ties, and an index that repeats itself
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    holed = p.mask(np.arange(12) % 3 == 0)
    tested = holed.notna().to_numpy()
    np.testing.assert_allclose(holm(holed)[tested], multipletests(holed[tested], method="holm")[1])
    assert np.isnan(holm(holed)[~tested]).all()
    assert holm(pd.Series([], dtype=object)).shape == (0,)


@pytest.mark.parametrize(("shift", "expected"), [
    (0.3, "b has a higher score than a: +300.0"),
    (-0.3, "b has a lower score than a: -300.0"),
    (None, "No difference in score is shown between b and a"),
    (0.0, "b and a have the same score"),
])
def test_sentences_say_what_the_test_says(rng, shift, expected):
    first = rng.random(400)
    noise = rng.standard_normal(400)
    noise = (noise - noise.mean()) / 10
    second = first + (noise if shift is None else shift + noise * (shift != 0))
    table = compare({"a": first, "b": second}, "a", Design(np.zeros(400)))
    assert _words.compared(table, "b", "score", article="").startswith(expected)


def test_many_pairs_at_once_are_tested_as_each_alone(rng):
    """Shared resamples and signs change nothing, whatever is missing or equal."""
    design = Design(rng.choice(list("abc"), 400), rng.integers(0, 380, 400))
    values = {f"m{n}": rng.normal(0.05 * n, 1, 400) for n in range(4)}
    values |= {"gap": np.where(np.arange(400) < 9, np.nan, values["m1"]), "equal": values["m0"],
               "half": np.where(np.arange(400) < 200, values["m0"], values["m2"])}
    pairs = [(values[name], values["m0"]) for name in values if name != "m0"]
    for together, (a, b) in zip(paired_tests(pairs, design), pairs, strict=True):
        alone = paired_test(a, b, design)
        assert together["p"] == alone["p"]
        assert together == pytest.approx(alone, abs=1e-12)
