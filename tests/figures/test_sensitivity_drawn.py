"""Figures of notebook 07: what stands where, and what is left out."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from embedllm.figures import sensitivity, style


@pytest.fixture(autouse=True)
def styled():
    style.use_style()
    yield
    plt.close("all")


def bars(axes) -> dict[str, np.ndarray]:
    """Label of each line with intervals to its values."""
    return {bar.get_label(): np.asarray(bar.lines[0].get_ydata(), float) for bar in axes.containers}


def rows(*named) -> pd.DataFrame:
    columns = ["metric", "method", "reference", "n_models", "dim", "per_question", "difference"]
    table = pd.DataFrame(named, columns=columns)
    return table.assign(low=table["difference"] - 0.01, high=table["difference"] + 0.02, reference_per_question=900)


def test_pools_have_a_line_for_each_reference_and_a_panel_for_each_metric():
    figure = sensitivity.plot_pools(rows(
        ("accuracy", "own", "majority vote", 5, 0, 0, 0.1), ("accuracy", "own", "kNN", 5, 0, 0, 0.2),
        ("accuracy", "own", "majority vote", 29, 0, 0, 0.3), ("accuracy", "own", "kNN", 29, 0, 0, 0.4),
        ("log_loss", "own", "majority vote", 5, 0, 0, -0.1), ("log_loss", "own", "kNN", 5, 0, 0, -0.2)))
    left, right = figure.axes
    assert {name: values.tolist() for name, values in bars(left).items()} == {
        "minus majority vote": [0.1, 0.3], "minus kNN": [0.2, 0.4]}
    assert {name: values.tolist() for name, values in bars(right).items()} == {"minus kNN": [-0.2]}
    assert [label.get_text() for label in left.get_xticklabels()] == ["5", "29"]
    assert "own" in left.get_ylabel()


@pytest.mark.parametrize("shares", [[0.1], [0.1, 0.5]])
def test_cells_have_an_interval_at_every_share(shares):
    table = pd.DataFrame([(name, share, metric, value + share, value, value + 2)
                          for name, value in (("kNN", 1.0), ("completion", 2.0)) for share in shares
                          for metric in ("log_loss", "accuracy")],
                         columns=["forecaster", "share", "metric", "value", "low", "high"])
    [axes] = sensitivity.plot_cells(table, "unseen questions").axes
    assert {name: values.tolist() for name, values in bars(axes).items()} == {
        name: [value + share for share in shares] for name, value in (("kNN", 1.0), ("completion", 2.0))}
    low, high = axes.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == (1.0, 3.0)
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"{share:.0%}" for share in shares]
    assert "unseen questions" in axes.get_ylabel()


def test_networks_stand_at_their_cost_without_comparisons_among_themselves():
    table = rows(*((metric, *row) for metric in ("accuracy", "log_loss") for row in (
        ("16 units", "default factorization", 0, 8, 100, 0.1), ("64 units", "default factorization", 0, 8, 400, 0.2),
        ("64 units, 32", "default factorization", 0, 32, 400, 0.3), ("64 units", "16 units", 0, 8, 400, 9.0),
        ("two-layer network", "tuned factorization", 0, None, 250, 0.4))))
    for axes in sensitivity.plot_sizes(table).axes:
        assert {name: values.tolist() for name, values in bars(axes).items()} == {
            "vectors of 8 numbers, minus default factorization": [0.1, 0.2],
            "vectors of 32 numbers, minus default factorization": [0.3], "tuned, minus tuned factorization": [0.4]}
        [cost] = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert list(cost.get_xdata()) == [900, 900]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "400"]
