"""What the figures of notebook 04 show of the guard: marks only for what is there, and what it may lose."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from embedllm.figures import routing


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize(("certified", "chosen", "expected"), [
    ([True, True], [False, True], ["certified", "chosen", "allowed loss"]),
    ([True, False], [False, False], ["certified", "not certified", "allowed loss"]),
    ([False, False], [False, False], ["not certified", "allowed loss"])])
def test_the_legend_of_the_guard_lists_what_there_is(certified, chosen, expected):
    table = pd.DataFrame({"left": [0.1, 0.3], "gain": [0.01, 0.02], "certified": certified, "chosen": chosen})
    [axes] = routing.plot_guard(table, 0.007).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == expected
    [allowed] = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert set(allowed.get_ydata()) == {-7.0}
    assert bool(axes.patches) == any(certified), "shaded up to the last certified one"
    low, high = axes.get_ylim()
    assert low < -7 and high > 20
