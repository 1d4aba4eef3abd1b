"""What the figures of several notebooks show: known tables, known marks."""

from html import unescape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from embedllm.catalog import ADDITIVE, TEXT, TRUTH
from embedllm.figures import encoders, forecasts, plots, routing, style


@pytest.fixture(autouse=True)
def styled():
    style.use_style()
    yield
    plt.close("all")


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_intervals_show_values_differences_in_thousandths_and_what_is_the_same():
    table = pd.DataFrame({"name": ["kNN", "factorization", "oracle"], "gain": [0.0123, -0.002, 0.0],
                          "low": [0.01, -0.003, 0.0], "high": [0.02, -0.001, 0.0]})
    [axes] = plots.plot_intervals({"": table}, "name", "gain", "gain", zero=True, valued=True, margin=0.005).axes
    assert texts(axes) == ["+12.3", "-2.0", "the same"]
    assert [label.get_text() for label in axes.get_yticklabels()] == table["name"].tolist()
    [band] = axes.patches
    assert (band.get_x(), band.get_width()) == (-0.005, 0.01)


def test_scores_show_bounds_as_lines_and_leave_the_truth_out():
    rows = [(name, metric, value, value - 0.01, value + 0.01) for name, value in (
        ("kNN", 0.6), (TEXT, 0.7), (ADDITIVE, 0.65), (TRUTH, 0.9)) for metric in ("accuracy", "log_loss", "auc")]
    table = pd.DataFrame(rows, columns=["forecaster", "metric", "value", "low", "high"])
    for measures, titles in {("accuracy", "log_loss"): ["accuracy", "log-loss"],
                             ("log_loss", "auc"): ["log-loss", "AUC"]}.items():
        figure = forecasts.plot_scores(table, measures)
        assert [axes.get_title(loc="left") for axes in figure.axes] == titles
        assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["kNN"]
        for axes in figure.axes:
            dashed = sorted(line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--")
            assert dashed == [0.65, 0.7]


def test_curves_mark_the_lowest_point_of_one_line_and_name_the_ticks_of_the_data():
    table = pd.DataFrame({"epoch": [1, 2, 4] * 2, "loss": [3.0, 1.0, 2.0, 0.5, 0.4, 0.3],
                          "part": ["validation"] * 3 + ["train"] * 3})
    [axes] = plots.plot_curves(table, "epoch", "loss", hue="part", labels=("epoch", "loss"), log=True,
                               minimum="validation").axes
    rings = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert [(float(ring.get_xdata()[0]), float(ring.get_ydata()[0])) for ring in rings] == [(2, 1.0)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4"]


def test_the_interval_of_a_single_point_is_seen():
    table = pd.DataFrame({"size": [5], "gain": [1.2], "low": [0.6], "high": [1.8], "forecaster": ["kNN"]})
    [axes] = plots.plot_curves(table, "size", "gain", hue="forecaster", labels=("size", "gain"), log=True).axes
    [bar] = axes.collections
    np.testing.assert_array_equal(bar.get_segments(), [[[5, 0.6], [5, 1.8]]])


def test_the_best_priced_model_is_ringed_and_named():
    curve = pd.DataFrame({"policy": ["mix", "mix", "kNN", "kNN"], "price": [1.0, 3, 1, 3],
                          "score": [0.4, 0.6, 0.5, 0.7]})
    models = pd.DataFrame({"model": ["maker/a$b", "maker/as good", "c"], "price": [3.0, 2, 1],
                           "score": [0.6, 0.6, 0.4]})
    table = routing.beside_models(curve, models)
    assert len(table) == 3 + 2 and list(table) == ["model", "price", "score", "mix", "kNN"]
    left, right = routing.plot_price(table, "per answer", "mix").axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in left.lines}
    assert drawn["mix"] == [0.4, 0.6] and drawn["kNN"] == [0.5, 0.7]
    assert [list(line.get_ydata()) for line in right.lines] == [[0, 0], pytest.approx([100, 100])]
    assert left.get_title(loc="left") == "best priced model: a$b" and texts(left) == ["as good"]
    [ring] = [line for line in left.lines if line.get_markerfacecolor() == "none"]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (3, 0.6), "of equals the first, as in the words"


def test_shares_fill_each_bar_and_color_the_models_asked_most():
    models = [f"m{n}" for n in range(9)]
    share = np.array([0.3, 0.2, 0.15, 0.12, 0.1, 0.07, 0.05, 0.008, 0.002])
    table = pd.concat(pd.DataFrame({"policy": "kNN", "benchmark": name, "model": models, "share": share})
                      for name in ("law", "art"))
    [axes] = plots.plot_shares(table).axes
    ends = {round(bar.get_y(), 2): bar.get_x() + bar.get_width() for bar in axes.patches}
    assert list(ends.values()) == pytest.approx([100, 100])
    gray = style.GRAY.lower()
    colored = [patch for patch in axes.patches if patch.get_width() and to_hex(patch.get_facecolor()) != gray]
    assert len(colored) == 2 * len(style.KINDS)


@pytest.mark.parametrize("name", ["$x$ and $y$", "a_b^c", "<b>"])
def test_a_name_is_no_formula(name, tmp_path):
    style.use_style()
    table = pd.DataFrame({"name": [name], "value": [0.5]})
    style.save_figure(tmp_path / "one", table, "A caption.", lambda written: plots.plot_intervals(
        {"": written}, "name", "value", "label"))
    assert f">{name}<" in unescape((tmp_path / "one.svg").read_text())


def test_a_heavy_svg_is_left_out(tmp_path, monkeypatch):
    table = pd.DataFrame({"name": ["a"], "value": [0.5]})

    def save():
        style.save_figure(tmp_path / "one", table, "A caption.",
                          lambda written: plots.plot_intervals({"": written}, "name", "value", "label"))
        return sorted(path.suffix for path in tmp_path.iterdir())

    assert save() == [".csv", ".png", ".svg"]
    monkeypatch.setattr(style, "HEAVY", 100)
    assert save() == [".csv", ".png"]


def test_learning_is_drawn_by_metric_against_the_reference_with_what_cannot_be_seen():
    rows = [(metric, labels, name, "majority vote", value, value - 0.01, value + 0.01, 0.005)
            for metric, value in (("accuracy", 0.02), ("log_loss", -0.03)) for labels in (950, 14_200, 1_200_000)
            for name in ("kNN", "tuned factorization")]
    columns = ["metric", "labels", "method", "reference", "difference", "low", "high", "mde"]
    figure = forecasts.plot_learning(pd.DataFrame(rows, columns=columns), "tuned factorization")
    assert [len(axes.collections) for axes in figure.axes] == [3, 3], "a gray band, and one of each method"
    for axes, value in zip(figure.axes, (0.02, -0.03), strict=True):
        lines = {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")}
        assert set(lines) == {"kNN", "tuned factorization"}
        np.testing.assert_array_equal(lines["kNN"], [value] * 3)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["950", "14k", "1.2M"]
    assert {axes.get_ylabel() for axes in figure.axes} == {"minus that of majority vote"}
    plt.close(figure)


def test_lengths_have_a_panel_for_each_forecaster_and_names_that_do_not_meet():
    names = ["default factorization", "convex embedding"]
    rows = [(name, dim, 28, value, value - 0.001, value + 0.001) for name in names
            for dim, value in ((28, 0.0), (29, 0.0), (1, 0.01), (0, 0.02), (232, 0.0))]
    table = pd.DataFrame(rows, columns=["forecaster", "dim", "best", "difference", "low", "high"])
    figure = forecasts.plot_lengths(table, 0.001)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"{name}\nbest: 28" for name in names]
    for axes in figure.axes:
        line = max(axes.lines, key=lambda one: len(one.get_xdata()))
        assert list(line.get_xdata()) == [1, 28, 29, 232], "from short to long, no benchmark means"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "28", "", "232"]
    plt.close(figure)


def test_what_vectors_carry_is_drawn_beside_the_gain():
    table = pd.DataFrame({"encoder": ["minilm", "benchmark label"], "benchmark": [0.6, 1.0], "difficulty": [0.2, 0.0],
                          "gain": [0.01, 0.0], "largest": 0.2})
    figure = encoders.plot_carried(table)
    left, right = figure.axes
    assert [line.get_xdata()[0] for line in left.lines[:2]] == [0.6, 1.0]
    assert [line.get_ydata()[0] for line in right.lines[:2]] == [10.0, 0.0]
    assert left.lines[0].get_color() == style.color_of("minilm")
    plt.close(figure)
