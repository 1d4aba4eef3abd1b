"""Reliability, breakdowns and excess loss, drawn: figures say what their tables hold, and everything can be read."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import resamples, world
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from scipy.special import expit, logit

from embedllm.evaluation.calibration import excess_loss, reliability, scaled, temperature
from embedllm.evaluation.metrics import expected_calibration_error
from embedllm.figures.calibration import plot_breakdown, plot_excess, plot_reliability
from embedllm.figures.style import BLUE, color_of, use_style


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


def test_bars_of_excess_loss_are_the_estimation_and_ordered_by_it(pool_with_ceilings):
    table, forecasts, _ = pool_with_ceilings
    known = forecasts | {"true probability": table.references["true probability"]}
    found = excess_loss([known], known, table)
    found.loc[(found["forecaster"] == "far") & (found["quantity"] == "estimation"), ["value", "low", "high"]] /= 50
    figure = plot_excess(found)
    assert_legible(figure)
    axes, value = figure.axes[0], found[found["quantity"] == "estimation"].set_index("forecaster")["value"]
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
