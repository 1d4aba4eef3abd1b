"""One style, one palette, one way to save a figure with its table."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import product
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from embedllm import catalog
from embedllm.files import write

WIDTH = 7.0  # inches: a printed page's text width
DPI = 150
COLORS = 128  # of a PNG: half as many as it could have make files a tenth smaller
HEAVY = 25_000  # bytes of an SVG, beyond which the PNG has to do: its marks are many
DIGITS = 6  # significant ones, in tables and in what is drawn from them

# Okabe and Ito's color-blind safe set, for what is no method of the catalog.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, GRAY, BLACK = "#56B4E9", "#CC79A7", "#8A8A8A", "#222222"
KINDS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)  # those that can be told apart; further kinds are gray
LABELS = {
    "observed": BLACK, "drawn without specialization": GRAY, "2PL": GRAY, "Rasch": SKY, "3PL": PURPLE,
    "train": SKY, "validation": BLUE,
    "model vectors": BLUE, "mean elsewhere": ORANGE, "reliability": BLACK, "vectors of the factorization": SKY,
    "ridge on accuracies elsewhere": VERMILION, "ridge on whole model vectors": GREEN,
    "no predictor": GRAY, "forecasts from the text": BLUE, "forecasts of the factorization": SKY,
    "best per benchmark, in hindsight": BLACK, "guarded": GREEN, "unguarded": VERMILION,
    "convex embedding, components": VERMILION, catalog.RELATIVE_NOISE.name: SKY, catalog.PUBLISHED_NOISE.name: BLUE,
    "within the size": BLUE, "to the other classes": ORANGE,
}


def color_of(name: str, default: str = BLACK) -> str:
    """One color to a method in every figure, from the catalog."""
    return catalog.colors().get(name) or LABELS.get(name, default)


def use_style() -> None:
    """Set the style of every figure; `runs.start` calls it."""
    sns.set_theme(style="ticks", context="paper", font_scale=1.0)
    mpl.rcParams.update({
        "figure.dpi": 110, "savefig.dpi": DPI, "figure.constrained_layout.use": True,
        "axes.spines.top": False, "axes.spines.right": False,
        "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "legend.frameon": False, "font.family": "DejaVu Sans",
        "svg.hashsalt": "embedllm", "svg.fonttype": "none",
        "text.parse_math": False,  # a name with dollar signs is no formula
    })


def save_figure(
    path: Path, table: pd.DataFrame, caption: str, draw: Callable[[pd.DataFrame], Figure], vector: bool = True
) -> Figure:
    """Write a table as ``path``.csv and what `draw` makes of the written table as .png and, if it is light, .svg.

    The same table gives the same bytes: no dates, a fixed SVG salt, a PNG with a palette. The PNG
    carries the caption, from which the gallery is made.

    Parameters
    ----------
    path : Path
        Without suffix; its folder is made.
    table : DataFrame
        All that the figure shows.
    draw : callable
        Is handed the table as `as_written` has it.
    vector : bool
        Write the SVG; one of more than `HEAVY` bytes is left out.
    """
    table = as_written(table)
    figure = draw(table)
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png")
    info = PngInfo()
    info.add_itxt("Description", caption)
    image = io.BytesIO()
    colors = Image.open(png).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    colors.save(image, format="png", optimize=True, pnginfo=info)
    contents = {".png": image.getvalue(), ".csv": to_csv(table).encode()}
    if vector and len(svg.getvalue()) <= HEAVY:
        contents[".svg"] = svg.getvalue()
    else:
        path.with_name(f"{path.name}.svg").unlink(missing_ok=True)
    for suffix, content in contents.items():
        write(path.with_name(path.name + suffix), content)
    return figure


def as_written(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers rounded to `DIGITS` significant digits, as every CSV holds them.

    Sums of floats differ in their last digits from machine to machine; what is drawn and committed must not.
    """
    table = table.copy()
    for name in table.select_dtypes("floating"):
        table[name] = [float(f"{value:.{DIGITS}g}") for value in table[name]]
    return table


def to_csv(table: pd.DataFrame) -> str:
    """The text of the CSV that holds a table."""
    return as_written(table).to_csv(index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")


def name_points(axes, x, y, names) -> None:
    """Write a name beside each point, on the first side where it covers no other name or point, if it can inside.

    Names take no part in the layout: it would move points under names that were placed.
    """
    sides = [(4, 3, "left"), (4, -7, "left"), (-4, 3, "right"), (-4, -7, "right"), (0, 8, "center"), (0, -12, "center")]
    axes.figure.canvas.draw()
    renderer = axes.figure.canvas.get_renderer()
    marks = axes.transData.transform(np.column_stack([x, y]))  # pixels
    taken = [Bbox.from_bounds(left - 3, bottom - 3, 6, 6) for left, bottom in marks]
    left_end, _, right_end, _ = axes.get_window_extent(renderer).extents
    width = axes.figure.bbox.width
    for at_x, at_y, name in zip(x, y, names, strict=True):
        for inside, (right, up, side) in product((True, False), sides):
            label = axes.annotate(name, (at_x, at_y), (right, up), textcoords="offset points", ha=side, fontsize=6.5)
            label.set_in_layout(False)
            box = label.get_window_extent(renderer)
            beyond = box.x0 < left_end or box.x1 > right_end
            free = box.x0 >= 0 and box.x1 <= width and not any(box.overlaps(other) for other in taken)
            if free and not (inside and beyond):
                break
            label.remove()
        else:  # crowded on every side: better unnamed than unreadable
            continue
        taken.append(box)
