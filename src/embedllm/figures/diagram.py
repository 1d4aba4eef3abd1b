"""The architecture as a drawing: what is given, what is trained, of which shape, and what the study does with it."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from embedllm.figures.style import BLACK, BLUE, GRAY, ORANGE, WIDTH

HEIGHT = 3.6  # inches, as is every coordinate here
BOX = 0.66  # height of a box
BOTTOM, MIDDLE, TOP = 0.46, 1.44, 2.42  # lower edges of the three rows of boxes
GIVEN, TRAINED, OUTPUT = GRAY, BLUE, ORANGE


def plot_architecture(n_models: int, d_prompt: int, dim: int) -> Figure:
    """From the table of outcomes and a prompt to a probability, and on to forecast, route and probe.

    Parameters
    ----------
    n_models, d_prompt, dim : int
        Number of models, length of a prompt vector, length of a model vector.
    """
    figure = plt.figure(figsize=(WIDTH, HEIGHT), layout="none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.axis("off")
    boxes = {  # left, bottom, width, color, text below the name
        "table of outcomes": (0.06, TOP, 1.62, GIVEN, f"{n_models} models x questions"),
        "model vectors p_m": (2.32, TOP, 2.56, TRAINED, f"{n_models} x {dim}, the embedding"),
        "probe": (5.2, TOP, 1.74, OUTPUT, "what the vectors know"),
        "P(correct) =": (2.16, MIDDLE, 2.72, OUTPUT, "sigmoid(w . (p_m * (A e + b)) + c)"),
        "forecast": (5.2, MIDDLE, 1.74, OUTPUT, "probability per model\non a new question"),
        "prompt": (0.06, BOTTOM, 0.68, GIVEN, "text"),
        "encoder": (1.02, BOTTOM, 0.86, GIVEN, "frozen"),
        "prompt vector e": (2.16, BOTTOM, 1.36, GIVEN, f"{d_prompt} numbers,\nnoise in training"),
        "projection": (3.8, BOTTOM, 1.08, TRAINED, f"A e + b,\n{dim} numbers"),
        "route": (5.2, BOTTOM, 1.74, OUTPUT, "ask the model with\nthe highest forecast"),
    }
    for name, (left, bottom, width, color, text) in boxes.items():
        axes.add_patch(Rectangle((left, bottom), width, BOX, fc=color, ec="none", alpha=0.25))
        center, top = left + width / 2, bottom + BOX / 2 + 0.075 * (2 + text.count("\n"))
        axes.text(center, top, name, ha="center", va="top", fontsize=9, weight="bold")
        axes.text(center, top - 0.165, text, ha="center", va="top", fontsize=8.5, linespacing=1.1)

    arrows = [(3.6, TOP, 3.6, MIDDLE + BOX), (4.34, BOTTOM + BOX, 4.34, MIDDLE), (6.07, MIDDLE, 6.07, BOTTOM + BOX)]
    for name, after in (("table of outcomes", "model vectors p_m"), ("model vectors p_m", "probe"),
                        ("P(correct) =", "forecast"), ("prompt", "encoder"), ("encoder", "prompt vector e"),
                        ("prompt vector e", "projection")):
        left, bottom, width, *_ = boxes[name]
        arrows.append((left + width, bottom + BOX / 2, boxes[after][0], bottom + BOX / 2))
    for *start, x, y in arrows:
        axes.annotate("", (x, y), start, arrowprops={"arrowstyle": "-|>", "color": BLACK, "shrinkA": 0, "shrinkB": 0})
    axes.text(2.0, TOP + 0.38, "training", ha="center", fontsize=8.5)

    axes.text(0.06, 3.36, "A classifier of (model, question) pairs: its output is a probability, not an answer.",
              fontsize=9.5)
    for left, color, meaning in ((0.06, GIVEN, "given"), (0.86, TRAINED, "trained, as are w and c"),
                                 (2.86, OUTPUT, "output")):
        axes.add_patch(Rectangle((left, 0.12), 0.14, 0.14, fc=color, ec="none", alpha=0.5))
        axes.text(left + 0.2, 0.13, meaning, fontsize=8.5)
    axes.text(3.8, 0.13, "* elementwise", fontsize=8.5)
    return figure
