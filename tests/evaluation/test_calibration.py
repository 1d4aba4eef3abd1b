"""Calibration and breakdowns against brute force, closed forms and planted truth; figures say what tables hold."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from embedllm.evaluation.calibration import breakdown, excess_loss, reliability, scaled, temperature
from embedllm.evaluation.intervals import bootstrap_weights, interval
from embedllm.evaluation.metrics import cell_scores, expected_calibration_error, per_question, question_scores
from embedllm.figures.calibration import plot_breakdown, plot_excess, plot_reliability
from embedllm.figures.style import BLUE, color_of, use_style
from embedllm.sources.simulated import simulate
from embedllm.splits import Design

CEILINGS = ["text ceiling", "additive text ceiling"]


def resamples(n_questions, n=300, seed=0, strata=None):
    design = Design(np.zeros(n_questions) if strata is None else strata)
    return bootstrap_weights(design, n, np.random.default_rng(seed))


def world(n_models=12, n_questions=400, seed=0):
    """True probabilities in which a question's cells share its difficulty, and one draw of binary scores."""
    rng = np.random.default_rng(seed)
    difficulty, own = rng.standard_normal(n_questions), rng.standard_normal((n_models, n_questions))
    truth = expit(rng.standard_normal((n_models, 1)) + 1.5 * difficulty + 0.5 * own)
    return truth, (rng.random(truth.shape) < truth).astype(float)


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
    """A graded table of three benchmarks with gaps, two forecasters, and weights."""
    truth, _ = world(8, 120)
    scores = truth.round(1).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = np.nan
    scores[0] = truth[0]  # no question without any cell
    table = make_table(scores, benchmarks=np.repeat(["hard", "easy", "odd"], [70, 30, 20]))
    forecasts = {"good": truth.astype(np.float32), "bad": scaled(truth, 5.0)}
    return table, forecasts, resamples(120, 200, strata=table.questions["benchmark"])


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "brier"])
def test_benchmarks_average_back_to_the_whole(graded, metric):
    table, forecasts, weights = graded
    found = breakdown(forecasts, table, metric, "benchmark", weights)
    for name, part in found.groupby("forecaster"):
        values = per_question(table, forecasts[name], metric)
        assert np.average(part["value"], weights=part["n_questions"]) == pytest.approx(values.mean())
        for row in part.itertuples():
            here = (table.questions["benchmark"] == row.benchmark).to_numpy()
            assert row.n_questions == here.sum()
            assert (row.low, row.high) == pytest.approx(interval(values[here], weights[:, here]))


def test_models_average_the_questions_they_were_asked(graded):
    table, forecasts, weights = graded
    found = breakdown(forecasts, table, "log_loss", "model", weights).set_index(["forecaster", "model"])
    for m, model in enumerate(table.models.index):
        asked = table.observed[m]
        row = found.loc["bad", model]
        assert row["n_questions"] == asked.sum()
        s, p = table.scores[m, asked], forecasts["bad"][m, asked]
        both = np.concatenate([np.ones_like(s), np.zeros_like(s)]), np.tile(p, 2), np.concatenate([s, 1 - s])
        assert row["value"] == pytest.approx(log_loss(both[0], both[1], sample_weight=both[2]), rel=1e-6)
        losses = cell_scores(forecasts["bad"], table.scores, "log_loss")[m]
        assert (row["low"], row["high"]) == pytest.approx(interval(losses, weights))


@pytest.mark.parametrize("by", ["benchmark", "model"])
def test_differences_are_paired_by_question(graded, by):
    table, forecasts, weights = graded
    alone = breakdown(forecasts, table, "log_loss", by, weights).set_index(["forecaster", by])["value"]
    found = breakdown(forecasts, table, "log_loss", by, weights, reference="good").set_index(by)
    assert set(found["forecaster"]) == {"bad"}
    np.testing.assert_allclose(found["value"], (alone["bad"] - alone["good"])[found.index], rtol=1e-9)
    label = found.index[0]
    bad, good = (cell_scores(forecasts[name], table.scores, "log_loss") for name in ("bad", "good"))
    here = (table.questions["benchmark"] == label).to_numpy() if by == "benchmark" else np.ones(120, bool)
    gap = np.nanmean(bad - good, axis=0) if by == "benchmark" else (bad - good)[table.models.index.get_loc(label)]
    assert tuple(found[["low", "high"]].iloc[0]) == pytest.approx(interval(gap[here], weights[:, here]))


def test_rows_go_from_the_highest_mean_score_down_and_an_unasked_model_has_no_value(graded):
    table, forecasts, weights = graded
    scores = table.scores.copy()
    scores[3, :20] = np.nan
    part = replace(table, scores=scores).at(np.arange(20))  # where model m3 was asked nothing
    means = np.nanmean(table.scores, axis=0)
    by_mean = pd.Series(means).groupby(table.questions["benchmark"].to_numpy()).mean().sort_values(ascending=False)
    assert breakdown(forecasts, table, "brier", "benchmark", weights)["benchmark"].tolist() == 2 * list(by_mean.index)
    some = {"good": forecasts["good"][:, :20]}
    found = breakdown(some, part, "brier", "model", weights[:, :20])
    assert found["model"].iloc[-1] == "m3" and found["n_questions"].iloc[-1] == 0
    assert found[["value", "low", "high"]].iloc[-1].isna().all() and found["value"].iloc[:-1].notna().all()
    assert found["model"].tolist()[:-1] == list(pd.Series(part.model_means, part.models.index).nlargest(7).index)


def test_where_the_truth_is_known_it_is_what_forecasts_are_compared_with():
    table = simulate(n_models=8, n_questions=60)
    truth = table.references["true probability"]
    found = breakdown({"truth": truth}, table, "accuracy", "model", resamples(60)).set_index("model")["value"]
    np.testing.assert_allclose(found[table.models.index], np.maximum(truth, 1 - truth).mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize(("change", "message"), [
    ({"by": "family"}, "family"), ({"reference": "best"}, "best"), ({"metric": "auc"}, "auc"),
])
def test_an_unknown_breakdown_is_named(graded, change, message):
    table, forecasts, weights = graded
    with pytest.raises(ValueError, match=message):
        breakdown(forecasts, table, weights=weights, **{"metric": "brier", "by": "model"} | change)


# --- excess loss ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool():
    """A simulated table with gaps, forecasters between its ceilings and beyond, and weights."""
    table = simulate(n_models=20, n_questions=500, kappa=1.5, missing=0.1)
    text, additive = (table.references[name] for name in CEILINGS)
    forecasts = {"far": scaled(additive, 0.5), "between": (text + additive) / 2}
    return table, forecasts, resamples(500, strata=table.questions["benchmark"])


def wide(found):
    return found.pivot_table(index="forecaster", columns="quantity", values="value", sort=False, dropna=False)


def test_the_ceilings_have_known_places(pool):
    table, forecasts, weights = pool
    found = excess_loss(forecasts, table, weights).set_index(["quantity", "forecaster"])
    numbers = ["value", "low", "high"]
    np.testing.assert_allclose(found.loc[("estimation", "text ceiling"), numbers].astype(float), 0, atol=1e-15)
    np.testing.assert_allclose(found.loc[("recovered", "text ceiling"), numbers].astype(float), 1)
    np.testing.assert_allclose(found.loc[("recovered", "additive text ceiling"), numbers].astype(float), 0, atol=1e-12)
    between = found.loc[("recovered", "between")]
    assert 0.5 < between["low"] < between["value"] < between["high"] < 1  # log-loss is convex: more than half
    assert found.loc[("recovered", "far"), "high"] < 0
    assert (found.loc["estimation", "value"].sort_values().index[:3] == ["text ceiling", "between", CEILINGS[1]]).all()


def test_the_parts_add_up_to_the_loss_above_entropy(pool):
    table, forecasts, weights = pool
    found = wide(excess_loss(forecasts, table, weights))
    truth = np.where(table.observed, table.references["true probability"], np.nan).astype(float)
    entropy = np.nanmean(-(truth * np.log(truth) + (1 - truth) * np.log(1 - truth)), axis=0).mean()
    np.testing.assert_allclose(found["log-loss"], entropy + found["unread text"] + found["estimation"], rtol=1e-9)
    loss = per_question(table, forecasts["far"], "log_loss").mean()
    assert found.loc["far", "log-loss"] == pytest.approx(loss)


def test_a_share_is_bootstrapped_as_a_ratio_of_means(pool):
    table, forecasts, weights = pool
    truth = np.where(table.observed, table.references["true probability"], np.nan)
    compared = forecasts["far"], *(table.references[name] for name in CEILINGS)
    loss, text, additive = (question_scores(p, truth, "log_loss") for p in compared)
    ratios = [(w @ (additive - loss)) / (w @ (additive - text)) for w in weights]
    row = excess_loss(forecasts, table, weights).set_index(["forecaster", "quantity"]).loc[("far", "recovered")]
    assert row["value"] == pytest.approx((additive - loss).mean() / (additive - text).mean())
    assert (row["low"], row["high"]) == pytest.approx(np.quantile(ratios, [0.025, 0.975]))


def test_nothing_is_recovered_where_specialization_is_worth_nothing():
    table = simulate(n_models=8, n_questions=60, kappa=0)
    found = excess_loss({"truth": table.references["true probability"]}, table, resamples(60))
    assert wide(found)["recovered"].isna().all()
    assert wide(found).drop(columns="recovered").notna().all(axis=None)
    plt.close(plot_excess(found))


def test_real_data_has_no_excess_loss(graded):
    table, forecasts, weights = graded
    with pytest.raises(ValueError, match="true probability"):
        excess_loss(forecasts, table, weights)


# --- figures --------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        use_style()
        yield


def texts(axes):
    return [axes.get_title(loc="left") or axes.get_title(), *(text.get_text() for text in axes.texts)]


def offsets(axes, shapes=("round", "triangle")):
    """Places of all points of these shapes, from left to right."""
    marks = [marks for marks in axes.collections if isinstance(marks, PathCollection)
             and ("triangle" if len(marks.get_paths()[0].vertices) < 6 else "round") in shapes]
    places = np.concatenate([np.empty((0, 2)), *(marks.get_offsets() for marks in marks)])
    return places[np.lexsort(places.T[::-1])]


def undrawn(axes):
    """Labels of the ticks outside the limits, which exist and are not drawn."""
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        for tick in axis.get_major_ticks():
            if not min(limits) <= tick.get_loc() <= max(limits):
                yield tick.label1


def assert_legible(figure):
    """Nothing written reaches beyond the figure, and no two texts cover each other."""
    figure.canvas.draw()
    without = {label for axes in figure.axes for label in undrawn(axes)}
    seen = [text for text in figure.findobj(plt.Text)
            if text.get_visible() and text.get_text() and text not in without]
    boxes = [text.get_window_extent() for text in seen]
    width, height = figure.canvas.get_width_height()
    for text, box in zip(seen, boxes, strict=True):
        assert box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1, text.get_text()
    for n, box in enumerate(boxes):
        over = [seen[k].get_text() for k in range(n) if box.overlaps(boxes[k])]
        assert not over, (seen[n].get_text(), over)


def test_reliability_is_drawn_from_its_table_alone(tmp_path):
    truth, scores = world()
    weights = resamples(400)
    factors = {"kNN": 2.0, "factorization": 1.0, "bold": 3.0, "timid": 0.5, "plain": 1.2}
    forecasts = {name: expit(factor * logit(truth)) for name, factor in factors.items()}
    table = pd.concat(
        reliability(values, scores, weights).assign(forecaster=name, scaling=scaling)
        for name, p in forecasts.items()
        for scaling, values in (("before", p), ("after", scaled(p, temperature(p, scores))))
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    figure = plot_reliability(pd.read_csv(tmp_path / "table.csv"))
    assert_legible(figure)
    assert len(figure.axes) == len(forecasts)
    for axes, (name, p) in zip(figure.axes, forecasts.items(), strict=True):
        error = [expected_calibration_error(x, scores) for x in (p, scaled(p, temperature(p, scores)))]
        assert texts(axes) == [name, "ECE {:.3f} → {:.3f}".format(*error)]
        rows = table[table["forecaster"] == name].sort_values("forecast")
        gap = rows["score"] - rows["forecast"]
        expected = np.column_stack([rows["forecast"].clip(0.001, 0.999), gap.clip(*axes.get_ylim())])
        np.testing.assert_allclose(offsets(axes), expected)
        fills = [to_hex(marks.get_facecolor()) for marks in axes.collections
                 if isinstance(marks, PathCollection) and len(marks.get_paths()[0].vertices) > 6]
        assert fills == ["#ffffff", color_of(name, BLUE).lower()]
        after = rows[rows["scaling"] == "after"]
        (lines,) = (lines for lines in axes.collections if isinstance(lines, LineCollection))
        ends = after[["low", "high"]].sub(after["forecast"], axis=0)
        np.testing.assert_allclose([line[:, 1] for line in lines.get_segments()], ends)
    plt.close(figure)


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (3, 3), (4, 2), (6, 3)])
def test_panels_fill_the_width_and_share_a_scale_that_far_points_do_not_stretch(rng, n, columns):
    names = [f"method {i}" for i in range(n)]
    bins = np.linspace(0.05, 0.9, 15)
    table = pd.DataFrame([(name, scaling, p, p + gap, 100)
                          for name in names for scaling in ("before", "after")
                          for p, gap in zip(bins, 0.01 * rng.uniform(-1, 1, 15), strict=True)],
                         columns=["forecaster", "scaling", "forecast", "score", "cells"])
    table.loc[[0, 29], "score"] = table.loc[[0, 29], "forecast"] + [0.4, -0.4]  # below scaling's first, last bin
    table["low"], table["high"] = table["score"] - 0.002, table["score"] + 0.002
    figure = plot_reliability(table)
    assert_legible(figure)
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (n // columns, columns)
    assert max(axes.get_position().x1 for axes in figure.axes) > 0.95
    low, high = figure.axes[0].get_ylim()
    assert -0.05 < low < -0.01 and 0.01 < high < 0.05
    assert {axes.get_ylim() for axes in figure.axes} == {(low, high)}
    np.testing.assert_allclose(offsets(figure.axes[0], "triangle"), [(bins[0], high), (bins[-1], low)])
    assert all(len(offsets(axes, "triangle")) == 0 for axes in figure.axes[1:])
    plt.close(figure)


def test_forecasts_of_zero_and_one_are_drawn_too():
    table = pd.DataFrame({"forecaster": "kNN", "scaling": ["before", "before", "after", "after"], "cells": 10,
                          "forecast": [0.0, 1.0, 0.2, 0.8], "score": [0.1, 0.9, 0.1, 0.9]})
    figure = plot_reliability(table.assign(low=table["score"] - 0.01, high=table["score"] + 0.01))
    assert_legible(figure)
    assert texts(figure.axes[0])[1] == "ECE 0.100 → 0.100"
    np.testing.assert_allclose(offsets(figure.axes[0])[:, 0], [0.001, 0.2, 0.8, 0.999])
    plt.close(figure)


def differences(rng, n_rows, names=("kNN", "factorization")):
    """A table of `breakdown`; row 3 of the second forecaster is far beyond all others, row 5 of the first a bit."""
    rows = [f"row {n}" for n in range(n_rows)]
    value = 0.01 * rng.standard_normal((len(names), n_rows))
    value[1, 3], value[0, 5] = 5.0, 0.05
    return value, pd.DataFrame({"forecaster": np.repeat(names, n_rows), "model": rows * len(names),
                                "value": value.ravel(), "low": value.ravel() - 0.005, "high": value.ravel() + 0.005,
                                "n_questions": np.tile(np.arange(1, n_rows + 1), len(names))})


@pytest.mark.parametrize("names", [("kNN", "factorization"), ("kNN", "factorization", "model mean", "1PL with text")])
def test_differences_are_drawn_in_the_order_of_the_table_and_far_ones_at_the_edge(rng, names):
    value, table = differences(rng, 14, names)
    figure = plot_breakdown(table, "model", "nats")
    assert_legible(figure)
    assert len(figure.axes) == len(names) and figure.axes[-1].get_position().x1 > 0.95
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [f"row {n}" for n in range(14)]
    for n, (axes, part) in enumerate(zip(figure.axes, value, strict=True)):
        left, right = axes.get_xlim()
        assert left < 0 < right < 0.2
        x, y = offsets(axes).T
        np.testing.assert_allclose(x[np.argsort(y)], np.clip(part, left, right), atol=1e-12)
        np.testing.assert_allclose(offsets(axes, "triangle"), [(right, 3)] if n == 1 else np.empty((0, 2)))
        assert texts(axes)[1] == f"below zero: {(part < -0.005).sum()}, above: {(part > 0.005).sum()}"
    plt.close(figure)


@pytest.mark.parametrize("ends", [(-0.03, 0.02), (-0.016, 0.032), (-0.0004, 0.0001), (-0.0013, 0.011), (-0.2, 0)])
def test_an_axis_of_differences_has_zero_and_at_most_a_tick_on_either_side(ends):
    table = pd.DataFrame({"forecaster": np.repeat(["kNN", "1PL with text", "two-layer network", "boosted trees"], 2),
                          "benchmark": ["sums", "logic"] * 4, "value": ends * 4, "low": ends * 4, "high": ends * 4,
                          "n_questions": 5})
    figure = plot_breakdown(table, "benchmark", "nats")
    assert_legible(figure)
    left, right = figure.axes[0].get_xlim()
    assert left <= min(ends) and right >= max(ends)  # nothing far: all is shown
    ticks = figure.axes[0].get_xticks()
    assert 0 in ticks and 2 <= len(ticks) <= 3 and left < ticks.min() and ticks.max() < right
    plt.close(figure)


def test_a_tick_too_close_to_zero_is_left_out():
    value = np.tile(np.linspace(0, 0.01, 14), 4)
    value[13] = 0.5
    table = pd.DataFrame({"forecaster": np.repeat(["kNN", "1PL with text", "two-layer network", "boosted trees"], 14),
                          "benchmark": [f"row {n}" for n in range(14)] * 4, "value": value, "low": value,
                          "high": value, "n_questions": 5})
    figure = plot_breakdown(table, "benchmark", "nats")
    assert_legible(figure)
    np.testing.assert_allclose(figure.axes[0].get_xticks(), [0, 0.02])
    plt.close(figure)


def test_many_rows_become_strips_that_name_the_extremes(rng):
    value, table = differences(rng, 112)
    figure, again = plot_breakdown(table, "model", "nats"), plot_breakdown(table, "model", "nats")
    assert_legible(figure)
    (axes,) = figure.axes
    left, right = axes.get_xlim()
    assert left < 0 < right < 0.2
    assert [t.get_text() for t in axes.get_yticklabels()] == ["kNN", "factorization"]
    points = offsets(axes)
    np.testing.assert_array_equal(points, offsets(again.axes[0]))  # jitter without chance
    told = {text.get_text() for text in axes.texts}
    for row, part in enumerate(value):
        np.testing.assert_allclose(points[np.abs(points[:, 1] - row) < 0.3, 0], np.sort(np.clip(part, left, right)))
        assert {f"row {part.argmin()}", f"row {part.argmax()}"} < told
        assert f"below zero: {(part < -0.005).sum()}, above: {(part > 0.005).sum()}" in told
    assert len(told) == 6
    np.testing.assert_allclose(offsets(axes, "triangle"), [(right, 1.25)])
    means = [line.get_segments()[0][0, 0] for line in axes.collections if isinstance(line, LineCollection)]
    np.testing.assert_allclose(means, np.average(value, axis=1, weights=np.arange(1, 113)))
    plt.close(figure)
    plt.close(again)


def test_bars_of_excess_loss_are_the_estimation_and_ordered_by_it(pool):
    table, forecasts, weights = pool
    found = excess_loss(forecasts | {"true probability": table.references["true probability"]}, table, weights)
    found.loc[(found["forecaster"] == "far") & (found["quantity"] == "estimation"), ["value", "low", "high"]] /= 50
    figure = plot_excess(found)
    assert_legible(figure)
    axes, value = figure.axes[0], wide(found)["estimation"]
    shown = value[["between", "far"]].sort_values()
    assert shown.max() < 2.5 * shown.median()  # nothing is cut off
    assert [t.get_text() for t in axes.get_yticklabels()] == list(shown.index)
    assert {bar.get_x() for bar in axes.containers[0]} == {0}
    np.testing.assert_allclose([bar.get_width() for bar in axes.containers[0]], shown)
    assert axes.get_xlim()[1] > shown.max() and len(offsets(axes)) == 0
    ceiling = value["additive text ceiling"]
    assert axes.lines[0].get_xdata()[0] == pytest.approx(ceiling)
    told = [text.get_text() for text in axes.texts]
    assert told == [f"{1000 * x:.1f}" for x in shown] + [f"additive text ceiling, {1000 * ceiling:.1f}"]
    plt.close(figure)


def test_far_bars_of_excess_loss_are_cut_off_and_tell_their_value():
    value = pd.Series({"kNN": -0.00001, "1PL with text": 0.03, "boosted trees": 0.02, "control: shuffled labels": 0.4,
                       "text ceiling": 0.0, "additive text ceiling": 0.015})
    table = pd.DataFrame({"forecaster": value.index, "quantity": "estimation", "value": value.to_numpy(),
                          "low": value.to_numpy() - 0.001, "high": value.to_numpy() + 0.001})
    figure = plot_excess(table)
    assert_legible(figure)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts[:4]] == ["0.0", "20.0", "30.0", "400.0"]
    edge = axes.get_xlim()[1]
    assert 0.031 < edge < 0.05
    np.testing.assert_allclose([bar.get_width() for bar in axes.containers[0]], [-0.00001, 0.02, 0.03, edge])
    np.testing.assert_allclose(offsets(axes, "triangle"), [(edge, 3)])
    plt.close(figure)
