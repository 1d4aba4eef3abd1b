"""How names, numbers and tables look to a reader: in notebooks, in galleries and in the README.

A name is shown as it is, whatever stands in it; digits are those that mean something. Files keep full numbers
(`figures.style.to_csv`).
"""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

SHARPNESS = 1.5  # pixels of a saved figure for one on the screen
MOST_ROWS = 60  # of a table in a notebook; its file has all
INTERVALS = {  # bounds that are shown as one column, behind what they belong to
    ("low", "high"): "95 % interval", ("low90", "high90"): "90 % interval",
    ("gain_low", "gain_high"): "95 % interval of the gain",
    ("claim_low", "claim_high"): "interval, at the level of the claim",
}
SCALES = ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"))
SIGNED = {"difference", "gain"}
SMALL = SIGNED | {"se", "mde", "seed_sd", "gain_low", "gain_high", "low90", "high90"}  # shown in thousandths
LABELS = {
    "p_holm": "p (Holm)", "mde": "smallest detectable", "seed_sd": "SD over trainings", "se": "SE",
    "n_models": "models", "n_units": "lineages", "n_train": "training questions", "log_loss": "log-loss",
    "with_them": "with near-duplicates", "without_them": "without",
    "brier": "Brier", "auc": "AUC", "ece": "ECE", "ece_scaled": "ECE, scaled",
    "r2": "R2", "r2_cv": "R2, families not seen", "p_family": "p, families", "p_family_holm": "p, families (Holm)",
    "p_free": "p, free", "p_attainable": "p attainable",
}
_MARKUP = str.maketrans({character: f"&#{ord(character)};" for character in "\\`*{}[]|~"}
                        | {"$": "<span>&#36;</span>", "\n": " "})  # in an element of its own it begins no formula


class OneSentenceError(Exception):
    """An error whose message is all that a reader needs: a notebook shows it without a traceback."""

    def _render_traceback_(self) -> list[str]:  # IPython's own name
        return [f"{type(self).__name__}: {self}"]


def literal(text: object) -> str:
    """A text that Markdown and HTML show as it is: no markup, no element, no formula."""
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", "&#95;", html.escape(str(text)).translate(_MARKUP))


def p_value(p: float) -> str:
    """A p-value in three decimals: "< .001", ".042"."""
    return "" if np.isnan(p) else "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def p_is(p: float) -> str:
    """The same within a sentence: "p < .001", "p = .042"."""
    return f"p {p_value(p)}" if p < 0.001 else f"p = {p_value(p)}"


def thousandths(value: float) -> str:
    """A difference in thousandths, with its sign and one decimal: "+3.5"."""
    rounded = round(1000 * value, 1)
    return f"{rounded:+,.1f}" if rounded else "0.0"


def unsigned(value: float) -> str:
    """The same without a plus."""
    return thousandths(value).removeprefix("+")


def about(value: float, digits: int = 2) -> str:
    """A quantity in two digits, in words from a million on: "26,000", "1.6 million", "0.00015"; blank if missing."""
    if np.isnan(value) or not value:
        return "" if value else "0"
    value = float(f"{value:.{digits - 1}e}")
    scale, word = next((one for one in SCALES if abs(value) >= one[0]), (1, ""))
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value / scale)))))
    return f"{value / scale:,.{decimals}f}{word}"


def over(n_fits: int, confidence: str = "95 %") -> str:
    """What intervals are over, and at which level, if one is told; of one fit that is always 95 %."""
    if not confidence:
        return f"questions and {n_fits} fits" if n_fits > 1 else "questions, given this fit"
    return f"questions and {n_fits} fits ({confidence})" if n_fits > 1 else "questions (95 %, given this fit)"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 benchmark", "3 benchmarks"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names, none: str = "none") -> str:
    """Names in a sentence: "a, b and c"; `literal` where they are not the study's own."""
    *most, last = list(names) or [none]
    comma = "; " if any("," in name for name in most) else ", "
    return f"{comma.join(most)} and {last}" if most else last


def as_shown(table: pd.DataFrame) -> pd.DataFrame:
    """A table of texts, column by column as a reader sees it.

    An index that says something comes first; bounds become one column; differences and what belongs to them are in
    thousandths, p-values in three decimals, whole numbers without decimals, what is missing blank.

    Parameters
    ----------
    table : DataFrame
        Columns are recognized by their names, see `INTERVALS`, `SMALL` and `LABELS`.

    Returns
    -------
    DataFrame of str
    """
    flat = {name: " ".join(map(str, name)).strip() if isinstance(name, tuple) else str(name) for name in table}
    table = table.set_axis(list(flat.values()), axis=1)
    if any(table.index.names) or not pd.api.types.is_integer_dtype(table.index):  # no row numbers
        table = table.rename_axis([name or "" for name in table.index.names]).reset_index()
    small = SMALL | ({"low", "high"} if "difference" in table else set())
    ends = {high: low for low, high in INTERVALS}
    shown = {}
    for name, column in table.items():
        if name in {low for low, high in INTERVALS if high in table}:
            continue
        if name in ends and ends[name] in table:
            both = zip(*(_texts(table[bound], bound in small, sign=True) for bound in (ends[name], name)), strict=True)
            corrected = " (uncorrected)" if "p_holm" in table else ""
            shown[INTERVALS[ends[name], name] + corrected] = [f"{low} to {high}" if low else "" for low, high in both]
        else:
            label = LABELS.get(name, name.replace("_", " "))
            texts = ([p_value(p) for p in column.astype(float)] if name == "p" or name.startswith("p_")
                     else _texts(column, name in small, name in SIGNED))
            shown[label] = texts
    return pd.DataFrame(shown, dtype=object)


def units(table: pd.DataFrame) -> str:
    """What is shown in thousandths, in a sentence; blank if nothing is."""
    small = [name for name in ("difference", "gain", "se", "mde", "seed_sd") if name in table]
    names = [LABELS.get(name, name) + (" with its interval" if name in SIGNED else "") for name in small]
    return f"In thousandths: {', '.join(names)}." if names else ""


def in_html(table: pd.DataFrame) -> str:
    """A table as notebooks show it: `as_shown`, names escaped, texts to the left, numbers to the right."""
    shown = as_shown(table.head(MOST_ROWS))
    numeric = [all(text[:1] in "+-.<0123456789" for text in shown[name]) for name in shown]
    sides = [f' style="text-align: {"right" if number else "left"}"' for number in numeric]
    lines = ["<table>", _row(map(literal, shown), "th", sides)]
    lines += [_row(map(literal, row), "td", sides) for row in shown.itertuples(index=False)]
    more = f"<p>and {len(table) - MOST_ROWS:,} more rows</p>" if len(table) > MOST_ROWS else ""
    return "\n".join([*lines, "</table>", f"<p>{units(table)}</p>" if units(table) else "", more])


def in_markdown(table: pd.DataFrame) -> str:
    """The same in Markdown."""
    shown = as_shown(table)
    rows = [shown.columns, ["---"] * shown.shape[1], *shown.itertuples(index=False)]
    return "\n".join("| " + " | ".join(map(literal, row)) + " |" for row in rows)


def show_text(text: str) -> None:
    """Show Markdown in a notebook; blank, or outside of a notebook, nothing happens."""
    from IPython import get_ipython
    from IPython.display import Markdown, display

    if text and get_ipython():
        display(Markdown(text))


def show_rows(
    table: pd.DataFrame | None, words: Callable[[pd.DataFrame], str] | None = None, columns: Sequence[str] = ()
) -> None:
    """Show a table, or some of its columns, and before it what is said of it; nothing where there is none."""
    from IPython.display import display

    if table is not None:
        show_text(words(table) if words else "")
        display(table[list(columns)] if columns else table)


def show_figure(path: Path) -> None:
    """Show a saved figure in a notebook, at its printed width, with the caption that its PNG carries beneath.

    The caption is also the alternative text. Outside of a notebook nothing happens.
    """
    from IPython import get_ipython
    from IPython.display import display
    from PIL import Image

    if get_ipython():
        image = Image.open(path)
        caption, width = image.info["Description"], round(image.width / SHARPNESS)
        display({"image/png": b64encode(path.read_bytes()).decode(), "text/plain": caption}, raw=True,
                metadata={"image/png": {"alt": caption, "width": width}})
        show_text(f"**{literal(path.stem)}.** {literal(caption)}")


def use_tables() -> None:
    """Have a notebook show every table this way; `runs.start` calls it. Outside of a notebook nothing happens."""
    from IPython import get_ipython

    if shell := get_ipython():
        formats = shell.display_formatter.formatters
        formats["text/html"].for_type(pd.DataFrame, in_html)
        formats["text/plain"].for_type(pd.DataFrame, lambda table, out, _: out.text(
            f"{as_shown(table.head(MOST_ROWS)).to_string(index=False)}\n{units(table)}".rstrip()))


def _row(cells, kind: str, sides: list[str]) -> str:
    return "<tr>" + "".join(f"<{kind}{side}>{cell}</{kind}>" for cell, side in zip(cells, sides, strict=True)) + "</tr>"


def _texts(column: pd.Series, small: bool, sign: bool) -> list[str]:
    """The cells of one column; its numbers have the same number of decimals, unless they differ in size too much."""
    known = column.dropna()
    if len(known) and known.map(lambda value: isinstance(value, bool | np.bool_)).all():
        return ["" if pd.isna(value) else "yes" if value else "no" for value in column]
    if not pd.api.types.is_numeric_dtype(known) or known.empty:
        return ["" if pd.isna(value) else str(value) for value in column]
    if small:
        return ["" if pd.isna(value) else (thousandths if sign else unsigned)(value) for value in column]
    sizes = known.abs()[known != 0].astype(float)
    if (known == known.round()).all():
        form = ",.0f"
    elif sizes.max() > 1e4 * sizes.min():
        return ["" if pd.isna(value) else _significant(value) for value in column]
    else:
        form = f",.{max(0, 3 - max(0, int(np.floor(np.log10(sizes.max())))))}f"
    return ["" if pd.isna(value) else f"{value + 0.0:{form}}" for value in column]


def _significant(value: float) -> str:
    """Three digits, or all before the point."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.3g}"
