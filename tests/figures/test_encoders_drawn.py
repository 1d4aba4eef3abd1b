"""Figures of notebook 06."""

import pandas as pd

from embedllm.figures import encoders


def test_costs_are_marked_with_what_they_are():
    table = pd.DataFrame({"encoder": ["mpnet", "minilm"], "gain": [0.02, 0.01], "low": [0.01, 0.005],
                          "high": [0.03, 0.015], "milliseconds": [200.0, 36.0], "prompts_per_second": [9.0, 4100.0],
                          "flop": [3.1e10, 3.5e9], "front_one": True, "front_many": True, "front_flop": True})
    figure = encoders.plot_cost(table)
    figure.draw_without_rendering()
    told = [[label.get_text() for label in axes.get_xticklabels()] for axes in figure.axes]
    assert told == [["36", "200"], ["9.0", "4,100"], ["3.5 billion", "31 billion"]]
    joined = figure.axes[2].lines[-2]
    assert list(joined.get_xdata()) == [3.5e9, 3.1e10], "each earns more than all cheaper ones"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mpnet", "minilm"]
