"""Figures of notebook 05: what stands where."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from embedllm.figures import probing, style


@pytest.fixture(autouse=True)
def _style():
    style.use_style()
    yield
    plt.close("all")


def test_communities_stand_in_order_of_size():
    table = pd.DataFrame({"distance": "raw", "community": ["70B", "7B", "13B"], "intra": [1.0, 2.0, 3.0],
                          "inter": [1.5, 2.5, 3.5]})
    [axes] = probing.plot_communities(table).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["7B", "13B", "70B"]


def test_errors_leave_out_what_they_are_compared_with():
    table = pd.DataFrame({"method": ["mean elsewhere", "model vectors"], "difference": [np.nan, -0.1],
                          "low": [np.nan, -0.2], "high": [np.nan, 0.0]})
    axes = probing.plot_errors({"a new model": table}).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["model vectors"]


def test_bands_have_a_panel_for_each_measure():
    columns = [f"{name}{end}" for name in probing.SPREAD for end in ("", "_low", "_high")]
    table = pd.DataFrame([[0.5] * len(columns)] * 2, columns=columns).assign(size=["5 to 10B", "from 50B"])
    figure = probing.plot_by_size(table)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(probing.SPREAD.values())


def test_changes_stand_where_they_belong():
    table = pd.DataFrame([(a, b, 0.1 * (a == b)) for a in "xyz" for b in "xyz"],
                         columns=["dropped", "benchmark", "excess"])
    shown = probing.plot_changes(table).axes[0].collections[0].get_array().reshape(3, 3)
    np.testing.assert_allclose(shown, 0.1 * np.eye(3))
    domain = pd.DataFrame({"part": ["between benchmarks"], "share": [0.5], "low": [0.4], "high": [0.6]})
    assert probing.plot_domain(domain).axes[0].texts[0].get_text() == "0.500"
