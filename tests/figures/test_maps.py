"""Maps, heatmaps and the drawing of the architecture show what their inputs hold, and nothing overlaps."""

from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from embedllm.figures.diagram import plot_architecture
from embedllm.figures.maps import plot_models, plot_points, plot_specialties
from embedllm.figures.style import BLUE, GRAY, ORANGE, save_figure, use_style


@pytest.fixture(autouse=True)
def _styled():
    with mpl.rc_context():
        use_style()
        yield
    plt.close("all")


def cells(figure) -> np.ndarray:
    """The values that a heatmap shows, NaN where it shows none, in the shape of its rows and columns."""
    return np.ma.filled(figure.axes[0].collections[0].get_array().astype(float), np.nan)


def rows(figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def named(figure) -> set[str]:
    return {note.get_text() for note in figure.axes[0].findobj(Annotation)} - {""}


def legend(axes) -> dict[str, str]:
    """Color of each entry; hollow entries are 'none'."""
    handles, labels = axes.get_legend_handles_labels()
    colors = [handle.get_facecolor() for handle in handles]
    return {label: mpl.colors.to_hex(color[0]).upper() if len(color) else "none"
            for label, color in zip(labels, colors, strict=True)}


# ---------------------------------------------------------------- heatmaps

def additive(n_models=6, n_benchmarks=4):
    scores = np.linspace(0.8, 0.3, n_models)[:, None] + np.linspace(-0.2, 0.1, n_benchmarks)
    return pd.DataFrame(scores, [f"m{n}" for n in range(n_models)], [f"b{n}" for n in range(n_benchmarks)])


def test_an_additive_table_has_no_specialties():
    accuracy = additive()
    figure = plot_specialties(accuracy)
    assert (cells(figure) == 0).all()
    assert rows(figure) == [f"{name}  {mean:.2f}" for name, mean in accuracy.mean(axis=1).items()]


def test_one_planted_specialist_is_the_cell_with_the_deepest_color():
    accuracy = additive(20, 10)
    accuracy.iloc[7, 3] += 0.2
    figure = plot_specialties(accuracy)
    shown, share = cells(figure), np.outer(np.eye(20)[7] - 1 / 20, np.eye(10)[3] - 1 / 10)
    np.testing.assert_allclose(shown, 0.2 * share, atol=1e-4)
    assert np.unravel_index(np.abs(shown).argmax(), shown.shape) == (7, 3)
    assert np.sort(np.abs(shown), axis=None)[-2] < shown[7, 3] / 8
    low, high = figure.axes[0].collections[0].get_clim()
    assert -low == high == shown[7, 3]


def test_unknown_cells_stay_blank_and_out_of_the_means():
    accuracy = additive()
    accuracy.iloc[2, 1] = np.nan
    shown = cells(plot_specialties(accuracy))
    known = accuracy.to_numpy()
    expected = known - np.nanmean(known, axis=1, keepdims=True) - np.nanmean(known, axis=0) + np.nanmean(known)
    np.testing.assert_allclose(shown, expected, atol=1e-4)
    assert np.isnan(shown).sum() == 1


@pytest.mark.parametrize(("n_models", "step", "with_means"), [(3, 1, True), (58, 1, True), (112, 2, False)])
def test_rows_are_labeled_as_far_as_they_are_readable(n_models, step, with_means):
    accuracy = additive(n_models)
    figure = plot_specialties(accuracy)
    assert [label.split("  ")[0] for label in rows(figure)] == list(accuracy.index[::step])
    assert all(("  " in label) == with_means for label in rows(figure))
    assert min(label.get_size() for label in figure.axes[0].get_yticklabels()) >= 6.5
    assert no_overlap(figure, figure.axes[0].get_yticklabels())


# ---------------------------------------------------------------- points

def points(n, seed=0, **columns):
    places = np.random.default_rng(seed).normal(size=(n, 2))
    return pd.DataFrame(places, columns=["x", "y"]).assign(model=[f"p{i}" for i in range(n)], **columns)


@pytest.mark.parametrize("n_kinds", [6, 7, 20])
def test_of_many_kinds_the_six_most_frequent_are_shown(n_kinds):
    kinds = np.repeat([f"k{kind:02d}" for kind in range(n_kinds)], np.arange(n_kinds, 0, -1))
    axes = plot_points(points(len(kinds), kind=kinds), "x", "y", {"kind": "kind"}, ("a", "b")).axes[0]
    shown = legend(axes)
    assert list(shown) == [f"k{kind:02d}" for kind in range(6)] + ["other"] * (n_kinds > 6)
    assert len(set(shown.values())) == len(shown)
    assert sum(len(marks.get_offsets()) for marks in axes.collections) == len(kinds)
    if n_kinds > 6:
        assert shown["other"] == GRAY.upper()
        assert len(axes.collections[-1].get_offsets()) == sum(range(n_kinds - 5))


def test_ordered_kinds_keep_their_order_and_blanks_are_hollow():
    kinds = pd.Categorical(["big", "small", None, "small"], ["small", "middling", "big"], ordered=True)
    axes = plot_points(points(4, size=kinds), "x", "y", {"size": "size"}, ("a", "b")).axes[0]
    assert list(legend(axes)) == ["small", "big", "not known"]
    assert legend(axes)["not known"] == "none"


def test_numbers_get_a_scale_and_blanks_are_hollow():
    figure = plot_points(points(3, level=[0.5, np.nan, 2]), "x", "y", {"level": "logit"}, ("a", "b"))
    assert figure.axes[1].get_xlabel() == "logit"
    assert figure.axes[0].collections[0].get_clim() == (0.5, 2)
    assert [len(marks.get_facecolor()) for marks in figure.axes[0].collections[1:]] == [0]


def test_few_points_are_all_named_of_many_the_extremes():
    few = points(12, level=range(12))
    assert named(plot_points(few, "x", "y", {"level": "l"}, ("a", "b"), names="model")) == set(few["model"])
    many = points(100, level=range(100))
    extreme = many.index[::11]
    angles = np.linspace(0, 2 * np.pi, len(extreme), endpoint=False)
    many.loc[extreme, ["x", "y"]] = 9 * np.column_stack([np.cos(angles), np.sin(angles)])
    many["x"] *= 1000  # the axes' units do not matter
    figure = plot_points(many, "x", "y", {"level": "l"}, ("a", "b"), names="model")
    assert named(figure) == set(many.loc[extreme, "model"])
    assert not named(plot_points(many, "x", "y", {"level": "l"}, ("a", "b")))


@pytest.mark.parametrize(("n_panels", "wide"), [(1, [0]), (2, [0, 1]), (3, [0]), (4, [0, 3])])
def test_panels_are_large_and_light(tmp_path, n_panels, wide):
    columns = {f"c{n}": [f"kind {i % 9}" for i in range(150)] for n in range(n_panels)}
    table = points(150, **columns)
    figure = save_figure(tmp_path / "points", table, "c", lambda written: plot_points(
        written, "x", "y", {name: name for name in columns}, ("a", "b"), names="model"))
    inches = [axes.get_window_extent().width / figure.dpi for axes in figure.axes]
    assert [panel for panel, width in enumerate(inches) if width > 6] == wide
    assert min(inches) > 3
    assert max(path.stat().st_size for path in tmp_path.glob("points.[sp]*g")) < 200_000
    assert no_overlap(figure, [axes.get_legend() for axes in figure.axes] + [axes.xaxis.label for axes in figure.axes])


# ---------------------------------------------------------------- the architecture

def no_overlap(figure, artists) -> bool:
    """Whether artists lie within the figure, none on another."""
    figure.canvas.draw()
    boxes = [artist.get_window_extent() for artist in artists]
    width, height = figure.canvas.get_width_height()
    inside = all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)
    return inside and not any(a.overlaps(b) for a, b in combinations(boxes, 2))


@pytest.mark.parametrize("sizes", [(3, 16, 2), (112, 384, 232), (1112, 4096, 1024)])
def test_the_architecture_is_drawn_with_its_shapes(sizes):
    figure = plot_architecture(*sizes)
    (axes,) = figure.axes
    assert figure.get_size_inches()[0] == 7 and figure.get_size_inches()[1] <= 3.8
    texts = [text for text in axes.texts if text.get_text()]
    said = " ".join(text.get_text() for text in texts)
    n_models, d_prompt, dim = sizes
    for words in (f"{n_models} models x questions", f"{n_models} x {dim}, the embedding", f"{d_prompt} numbers",
                  "sigmoid(w . (p_m * (A e + b)) + c)", "A classifier of (model, question) pairs", "forecast", "route",
                  "probe"):
        assert words in said
    assert min(text.get_size() for text in texts) >= 8.5 and max(text.get_size() for text in texts) <= 9.5
    assert no_overlap(figure, texts)


def test_arrows_meet_boxes_and_text_stays_inside_them():
    figure = plot_architecture(1112, 4096, 1024)
    (axes,) = figure.axes
    figure.canvas.draw()
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_width() > 0.5]
    assert {mpl.colors.to_hex(box.get_facecolor()).upper() for box in boxes} == {GRAY.upper(), BLUE, ORANGE}
    arrows = [note for note in axes.texts if isinstance(note, Annotation)]
    assert len(arrows) == len(boxes) - 1 == 9  # a tree of arrows from what is given to what is made of it
    for x, y in [end for arrow in arrows for end in (arrow.xy, arrow.xyann)]:
        assert sum(on_edge(box, x, y) for box in boxes) == 1, (x, y)
    for text in set(axes.texts) - set(arrows):
        extent = text.get_window_extent()
        touched = [box for box in boxes if box.get_window_extent().overlaps(extent)]
        assert all(box.get_window_extent().containsx(x) and box.get_window_extent().containsy(y)
                   for box in touched for x, y in (extent.min, extent.max)), text.get_text()


def on_edge(box, x, y) -> bool:
    left, bottom, right, top = box.get_bbox().extents
    across = left <= x <= right and np.isclose([bottom, top], y).any()
    return across or (bottom <= y <= top and np.isclose([left, right], x).any())


def test_components_are_drawn_in_a_panel_of_their_own():
    table = points(4, size=list("sssl"), size_again=list("sssl"), family=list("abab"))
    table["component 1"], table["component 2"] = [5.0, 6, 7, 8], [0.0, 1, 0, 1]
    first, again, family = plot_models(table).axes
    assert again.collections[0].get_offsets()[:, 0].tolist() == [5, 6, 7] and again.get_xlabel() == "component 1"
    for axes in (first, family):
        assert axes.get_xlabel() == "t-SNE 1" and np.isin(axes.collections[0].get_offsets()[:, 0], table["x"]).all()
