"""Calibration and breakdowns against brute force, closed forms and planted truth."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import CEILINGS, make_table, resamples, world
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from embedllm.evaluation import fits
from embedllm.evaluation.calibration import breakdown, excess_loss, reliability, scaled, temperature
from embedllm.evaluation.metrics import cell_scores, expected_calibration_error, per_question, question_scores
from embedllm.evaluation.rasch import additive_version
from embedllm.figures.calibration import plot_excess
from embedllm.outcomes import replace_unchecked
from embedllm.sources.simulated import simulate
from embedllm.splits import Design

# --- temperature ----------------------------------------------------------------------------------


@pytest.mark.parametrize("graded", [False, True])
def test_temperature_equals_a_search_for_the_lowest_loss(rng, graded):
    truth, scores = world()
    scores = truth.round(1) if graded else scores
    scores[rng.random(scores.shape) < 0.3] = np.nan
    forecasts = np.where(np.isnan(scores), np.nan, expit(0.6 * logit(truth) + rng.standard_normal(truth.shape)))

    def loss(log_t):
        return np.nanmean(cell_scores(expit(logit(forecasts) / np.exp(log_t)), scores, "log_loss"))

    expected = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-7}).x)
    assert abs(expected - 1) > 0.1
    assert temperature(forecasts, scores) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_recovered(rng, factor):
    truth = np.clip(world(n_questions=4000)[0], 0.01, 0.99)  # so that no forecast reaches the clip of the log-loss
    scores = (rng.random(truth.shape) < truth).astype(float)
    forecasts = expit(factor * logit(truth))
    assert temperature(forecasts, truth) == pytest.approx(factor, rel=1e-6)
    assert temperature(forecasts, scores) == pytest.approx(factor, rel=0.03)  # labels: one SE is about 0.01
    np.testing.assert_allclose(scaled(forecasts, factor), truth, atol=1e-6)


def test_temperature_of_forecasts_that_have_none():
    scores = np.array([[1, 1, 1, 0, np.nan], [1, 1, 0, 1, 1]])
    assert temperature(np.full((2, 5), 0.5), scores) == 1.0
    assert temperature(np.full((2, 5), 0.9), scores) == pytest.approx(logit(0.9) / logit(7 / 9))
    assert temperature(np.full((2, 5), 0.3), scores) == 20.0  # on the wrong side of 0.5: the nearer to it the better
    always_right = np.where(scores == 1, 0.6, 0.4)
    assert temperature(always_right, scores) == 0.05  # the surer the better
    assert temperature(always_right, 1 - scores) == 20.0
    assert temperature(np.where(scores == 1, 1.0, 0.0), 1 - scores) == 20.0


@pytest.mark.parametrize("t", [0.05, 0.7, 1.0, 3.0, 20.0])
def test_scaling_changes_neither_order_nor_decisions(rng, t):
    half = np.float32(0.5)
    near = [np.nextafter(half, np.float32(0)), half, np.nextafter(half, np.float32(1))]
    p = np.sort(np.concatenate([near, [0, 1e-9, 1 - 1e-7, 1], rng.random(2000)]).astype(np.float32))[None]
    values = scaled(p, t)
    assert values.dtype == np.float32 and values.shape == p.shape
    assert ((values > 0) & (values < 1)).all()
    assert (np.diff(values) >= 0).all()
    np.testing.assert_array_equal(values >= 0.5, p >= 0.5)
    if t == 1:
        np.testing.assert_allclose(values, p, atol=1.1e-6)
    assert np.isnan(scaled(np.array([[np.nan, 0.3]]), t)).tolist() == [[True, False]]


# --- reliability ----------------------------------------------------------------------------------


def test_reliability_equals_brute_force_over_resampled_questions(cells):
    probabilities, scores = cells  # with ties and missing cells
    weights = resamples(40, 50)
    table = reliability(probabilities, scores, weights, n_bins=6)
    observed = ~np.isnan(scores)
    edges = np.quantile(probabilities[observed], np.arange(1, 6) / 6)
    of = np.where(observed, (probabilities[..., None] >= edges).sum(axis=-1), -1)
    assert table["bin"].tolist() == [b + 1 for b in range(6) if (of == b).any()]
    for row in table.itertuples():
        inside = of == row.bin - 1
        means = [np.repeat(np.where(inside, scores, np.nan), w, axis=1) for w in weights]
        assert row.cells == inside.sum()
        assert (row.forecast, row.score) == pytest.approx((probabilities[inside].mean(), scores[inside].mean()))
        assert (row.low, row.high) == pytest.approx(np.quantile([np.nanmean(m) for m in means], [0.025, 0.975]))


def test_calibration_error_is_that_of_the_reliability_table(cells):
    for (p, s), n_bins in ((cells, 15), (cells, 4), (world(), 15)):
        table = reliability(p, s, resamples(p.shape[1], 2), n_bins)
        error = np.average((table["forecast"] - table["score"]).abs(), weights=table["cells"])
        assert error == pytest.approx(expected_calibration_error(p, s, n_bins), abs=1e-12)


def test_equal_forecasts_share_one_bin():
    table = reliability(np.full((2, 30), 0.7), world(2, 30)[1], resamples(30))
    assert table["cells"].tolist() == [60]


def test_intervals_hold_the_diagonal_for_true_probabilities_and_not_for_bold_ones():
    held, bold = [], []
    for seed in range(60):
        truth, scores = world(seed=seed)
        for kept, forecasts in ((held, truth), (bold, expit(2 * logit(truth)))):
            table = reliability(forecasts, scores, resamples(400, 300, seed), n_bins=10)
            kept.append(table["forecast"].between(table["low"], table["high"]).mean())
    assert 0.92 < np.mean(held) < 0.97  # 600 intervals of 95 %: one SE is 0.01
    assert np.mean(bold) < 0.3


# --- breakdown ------------------------------------------------------------------------------------


@pytest.fixture
def graded(rng):
    """A graded table of three benchmarks with gaps, and two forecasters in three fits."""
    truth, _ = world(8, 120)
    scores = truth.round(1).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = np.nan
    scores[0] = truth[0]  # no question without any cell
    table = make_table(scores, benchmarks=np.repeat(["hard", "easy", "odd"], [70, 30, 20]))
    moved = [expit(logit(truth) + 0.3 * rng.standard_normal(truth.shape)) for _ in range(3)]
    return table, [{"good": truth.astype(np.float32), "bad": scaled(one, 5.0)} for one in moved]


def first(rounds, n_questions):
    return [{name: one[:, :n_questions] for name, one in some.items()} for some in rounds]


def gaps(table, rounds):
    """Log-loss of bad minus that of good, (n_fits, n_models, n_questions)."""
    return np.stack([np.subtract(*(cell_scores(one[name], table.scores, "log_loss") for name in ("bad", "good")))
                     for one in rounds])


@pytest.mark.parametrize("n_fits", [1, 3])
def test_benchmarks_average_back_to_the_whole(graded, n_fits):
    table, rounds = graded
    found = breakdown(rounds[:n_fits], rounds[0], "good", table, "benchmark")
    values = np.nanmean(gaps(table, rounds[:n_fits]), axis=1)
    assert set(found["forecaster"]) == {"bad"}
    assert np.average(found["value"], weights=found["n_questions"]) == pytest.approx(values.mean())
    for row in found.itertuples():
        here = (table.questions["benchmark"] == row.benchmark).to_numpy()
        assert row.n_questions == here.sum()
        own = fits.averages({"": values[:, here]}, Design.of(table.at(here))).iloc[0]
        assert (row.value, row.low, row.high) == pytest.approx((own["value"], own["low"], own["high"]))


@pytest.mark.parametrize("n_fits", [1, 3])
def test_models_average_the_questions_they_were_asked(graded, n_fits):
    table, rounds = graded
    found = breakdown(rounds[:n_fits], rounds[0], "good", table, "model").set_index("model")
    for m, model in enumerate(table.models.index):
        asked, row = table.observed[m], found.loc[model]
        assert row["n_questions"] == asked.sum()
        losses = []
        for name in ("bad", "good"):
            s, p = table.scores[m, asked], np.mean([one[name][m, asked] for one in rounds[:1]], axis=0)
            both = np.concatenate([np.ones_like(s), np.zeros_like(s)]), np.tile(p, 2), np.concatenate([s, 1 - s])
            losses.append(log_loss(both[0], both[1], sample_weight=both[2]))
        if n_fits == 1:
            assert row["value"] == pytest.approx(losses[0] - losses[1], rel=1e-5)
        values = gaps(table, rounds[:n_fits])[:, m, asked]
        own = fits.averages({"": values}, Design.of(table.at(asked))).iloc[0]
        assert (row["value"], row["low"], row["high"]) == pytest.approx((own["value"], own["low"], own["high"]))


def test_rows_go_from_the_highest_mean_score_down_and_an_unasked_model_has_no_value(graded):
    table, rounds = graded
    scores = table.scores.copy()
    scores[3, :20] = np.nan
    part = replace(table, scores=scores).at(np.arange(20))  # where model m3 was asked nothing
    means = np.nanmean(table.scores, axis=0)
    by_mean = pd.Series(means).groupby(table.questions["benchmark"].to_numpy()).mean().sort_values(ascending=False)
    assert breakdown(rounds, ["bad"], "good", table, "benchmark")["benchmark"].tolist() == list(by_mean.index)
    found = breakdown(first(rounds, 20), ["bad"], "good", part, "model")
    assert found["model"].iloc[-1] == "m3" and found["n_questions"].iloc[-1] == 0
    assert found[["value", "low", "high"]].iloc[-1].isna().all() and found["value"].iloc[:-1].notna().all()
    assert found["model"].tolist()[:-1] == list(pd.Series(part.model_means, part.models.index).nlargest(7).index)
    found = breakdown(first(rounds, 71), ["bad"], "good", table.at(np.arange(71)), "benchmark")
    lonely = found.set_index("benchmark").loc["easy"]
    assert lonely["n_questions"] == 1 and np.isnan(lonely["low"]) and np.isfinite(lonely["value"])


def test_where_the_truth_is_known_it_is_what_forecasts_are_compared_with():
    table = simulate(n_models=8, n_questions=60)
    truth = table.references["true probability"]
    even = np.full_like(truth, 0.5)
    found = breakdown([{"even": even, "truth": truth}], ["truth"], "even", table, "model").set_index("model")["value"]
    p = truth.astype(float)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean(axis=1)
    np.testing.assert_allclose(found[table.models.index], entropy - np.log(2), rtol=1e-5)


def test_an_unknown_breakdown_is_named(graded):
    table, rounds = graded
    with pytest.raises(ValueError, match="family"):
        breakdown(rounds, ["bad"], "good", table, "family")


# --- excess loss ----------------------------------------------------------------------------------


def wide(found):
    return found.pivot_table(index="forecaster", columns="quantity", values="value", sort=False, dropna=False)


def test_the_ceilings_have_known_places(pool_with_ceilings):
    table, forecasts, _ = pool_with_ceilings
    found = excess_loss([forecasts], forecasts, table).set_index(["quantity", "forecaster"])
    numbers = ["value", "low", "high"]
    np.testing.assert_allclose(found.loc[("estimation", "text ceiling"), numbers].astype(float), 0, atol=1e-15)
    np.testing.assert_allclose(found.loc[("recovered", "text ceiling"), numbers].astype(float), 1)
    np.testing.assert_allclose(found.loc[("recovered", "additive text ceiling"), numbers].astype(float), 0, atol=1e-12)
    between = found.loc[("recovered", "between")]
    assert 0.5 < between["low"] < between["value"] < between["high"] < 1  # log-loss is convex: more than half
    assert (found.loc["estimation", "value"].sort_values().index[:3] == ["text ceiling", "between", CEILINGS[1]]).all()


def test_the_parts_add_up_to_the_loss_above_entropy(pool_with_ceilings):
    table, forecasts, _ = pool_with_ceilings
    found = wide(excess_loss([forecasts], forecasts, table))
    truth = np.where(table.observed, table.references["true probability"], np.nan).astype(float)
    entropy = np.nanmean(-(truth * np.log(truth) + (1 - truth) * np.log(1 - truth)), axis=0).mean()
    np.testing.assert_allclose(found["log-loss"], entropy + found["unread text"] + found["estimation"], rtol=1e-9)
    loss = per_question(table, forecasts["far"], "log_loss").mean()
    assert found.loc["far", "log-loss"] == pytest.approx(loss)


def test_a_share_is_a_ratio_of_means_with_the_interval_of_a_bootstrap(pool_with_ceilings):
    """Linearized; of two fits that differ the interval is wider than of one."""
    table, forecasts, weights = pool_with_ceilings
    truth = np.where(table.observed, table.references["true probability"], np.nan)
    own = additive_version(forecasts["far"]).astype(np.float32)
    compared = own, forecasts["far"], *(table.references[name] for name in CEILINGS)
    additive, loss, text, ceiling = (question_scores(p, truth, "log_loss") for p in compared)
    ratios = [(w @ (additive - loss)) / (w @ (ceiling - text)) for w in weights]
    row = excess_loss([forecasts], forecasts, table).set_index(["forecaster", "quantity"]).loc[("far", "recovered")]
    assert row["value"] == pytest.approx((additive - loss).mean() / (ceiling - text).mean())
    ends = np.quantile(ratios, [0.025, 0.975])
    assert (row["low"], row["high"]) == pytest.approx(tuple(ends), abs=0.15 * np.ptp(ends))
    other = {"far": forecasts["between"]}
    both = excess_loss([{"far": forecasts["far"]}, other], ["far"], table).set_index(["forecaster", "quantity"])
    assert np.ptp(both.loc[("far", "recovered"), ["low", "high"]].astype(float)) > 2 * np.ptp(ends)


@pytest.fixture
def planted_shares(rng):
    """Forecasts that know a share of what tells models apart beyond their level, and one that takes noise for it."""
    level, shift, own = rng.standard_normal((12, 1)), rng.standard_normal(500), rng.standard_normal((12, 500))
    truth = expit(level + shift + own).astype(np.float32)
    additive = additive_version(truth).astype(np.float32)
    table = replace_unchecked(make_table(np.ones((12, 500))), references={
        "true probability": truth, "text ceiling": truth, "additive text ceiling": additive})
    forecasts = {share: expit(logit(additive) + share * (logit(truth) - logit(additive))) for share in (0.0, 0.3, 1.0)}
    forecasts["noise"] = expit(logit(additive) + 0.5 * rng.standard_normal((12, 500)))
    return table, {str(name): p.astype(np.float32) for name, p in forecasts.items()}


def test_recovered_specialization_is_what_was_planted(planted_shares):
    """All, nothing, and of a share s of the logits what the losses give: 1 - (1 - s)^2 to second order."""
    table, forecasts = planted_shares
    found = wide(excess_loss([forecasts], forecasts, table))["recovered"]
    assert found["1.0"] == pytest.approx(1, abs=1e-4) and found["0.0"] == pytest.approx(0, abs=1e-4)
    assert found["0.3"] == pytest.approx(1 - 0.7**2, abs=0.08)
    assert found["noise"] < -0.1, "what is taken for knowledge of models and is none costs"


def test_recovered_does_not_ask_how_well_questions_are_known(planted_shares):
    """A forecaster that knows half of each difficulty and all of the rest is no less specialized."""
    table, forecasts = planted_shares
    blurred = logit(forecasts["1.0"]) - 0.5 * logit(forecasts["0.0"]).mean(axis=0)
    found = wide(excess_loss([{"blurred": expit(blurred).astype(np.float32)}], ["blurred"], table))
    assert found.loc["blurred", "estimation"] > 0.01 and found.loc["blurred", "recovered"] > 0.9


def test_nothing_is_recovered_where_specialization_is_worth_nothing():
    table = simulate(n_models=8, n_questions=60, kappa=0)
    found = excess_loss([{"truth": table.references["true probability"]}], ["truth"], table)
    assert wide(found)["recovered"].isna().all()
    assert wide(found).drop(columns="recovered").notna().all(axis=None)
    plt.close(plot_excess(found))


def test_real_data_has_no_excess_loss(graded):
    table, rounds = graded
    with pytest.raises(ValueError, match="true probability"):
        excess_loss(rounds, ["bad"], table)
