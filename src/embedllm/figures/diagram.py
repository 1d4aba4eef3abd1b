"""The architecture as a drawing: what goes into a forecast, and of which shape."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from embedllm.figures.style import BLACK, BLUE, GRAY, ORANGE, WIDTH


def plot_architecture(n_models: int, d_prompt: int, dim: int) -> Figure:
    """The forecaster as a drawing: inputs, what is trained, output, with shapes."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.9))
    axes.set(xlim=(0, 100), ylim=(0, 42))
    axes.axis("off")

    def box(x, y, width, text, color):
        axes.add_patch(FancyBboxPatch(
            (x, y), width, 9, boxstyle="round,pad=0.4", fc=color, ec="none", alpha=0.22
        ))
        axes.text(x + width / 2, y + 4.5, text, ha="center", va="center", fontsize=7.5)

    def arrow(start, end):
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, lw=1, color=BLACK))

    box(1, 26, 15, "question\n(prompt text)", GRAY)
    box(22, 26, 17, "encoder, frozen\n(not trained)", GRAY)
    box(45, 26, 18, f"e, {d_prompt} numbers\n(+ noise in training)", GRAY)
    box(69, 26, 29, f"projection  A e + b\n{d_prompt} to {dim}, trained", BLUE)
    box(1, 6, 15, f"model m\n(one of {n_models})", GRAY)
    box(22, 6, 41, f"model vector  p_m,  {dim} numbers, trained\n(the embedding the study is about)", BLUE)
    box(69, 6, 29, "P(correct) = sigmoid(\nw . (p_m * (A e + b)) + c )", ORANGE)
    for start, end in (
        ((16.8, 30.5), (21.2, 30.5)), ((39.8, 30.5), (44.2, 30.5)), ((63.8, 30.5), (68.2, 30.5)),
        ((16.8, 10.5), (21.2, 10.5)), ((63.8, 10.5), (68.2, 10.5)), ((83.5, 25.2), (83.5, 16)),
    ):
        arrow(start, end)
    axes.text(1, 40, "blue: trained on who answered which question correctly;  * is elementwise;  "
              "w and c are trained too", fontsize=7.5, color=BLACK)
    axes.text(1, 0.5, "The output is a probability of being correct, not an answer: a classifier over "
              "(model, question) pairs.", fontsize=7.5, color=BLACK)
    return figure
