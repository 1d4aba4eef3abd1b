"""How names, numbers and tables look: as they are, with the digits that mean something."""

import subprocess
import sys
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedllm import presentation

HOSTILE = ["<script>alert(1)</script>", "$x$ and $y$", "a|b", "__init__", "*bold* `code`", "[link](http://x)", "a_b",
           "two\nlines", "<!-- comment -->", "&amp;", "\\(x\\)"]


class Read(HTMLParser):
    """The texts of an HTML fragment, a list for each cell, and the elements it has."""

    def __init__(self, html: str):
        super().__init__()
        self.cells, self.elements, self.inside = [], set(), False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside &= tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


def markdown(text: str) -> str:
    from markdown_it import MarkdownIt

    return MarkdownIt("gfm-like", {"linkify": False}).render(text)


@given(st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)))
def test_a_name_is_shown_as_it_is(name):
    """In a paragraph of Markdown, with CommonMark's own parser, and in HTML."""
    name = " ".join(name.split())
    found = Read(f"<td>{markdown(f'The model {presentation.literal(name)}, of course.')}</td>")
    assert found.cells[0].strip() == f"The model {name}, of course."
    assert found.elements <= {"td", "p", "span"}
    assert Read(f"<td>{presentation.literal(name)}</td>").cells == [name]


def test_dollar_signs_lie_in_elements_of_their_own():
    """MathJax looks for formulas within the text of one element."""
    assert "$" not in presentation.literal("$x$")
    assert presentation.literal("$x$").count("<span>") == 2


@pytest.mark.parametrize("form", [presentation.in_html, lambda table: markdown(presentation.in_markdown(table))])
def test_a_hostile_name_is_text_in_tables(form):
    found = Read(form(pd.DataFrame({"model": HOSTILE, "p": 0.5})))
    assert "script" not in found.elements
    assert [text for text in found.cells if text not in ("model", "p", ".500")] == [
        " ".join(name.split("\n")) for name in HOSTILE]


@pytest.mark.parametrize(("p", "expected"), [
    (5.5e-292, "< .001"), (0.00099, "< .001"), (0.001, ".001"), (0.0423, ".042"), (0.5, ".500"), (1, "1.000"),
    (np.nan, "")])
def test_p_values_have_three_decimals(p, expected):
    assert presentation.p_value(p) == expected


def test_p_values_within_a_sentence():
    assert [presentation.p_is(p) for p in (1e-9, 0.042)] == ["p < .001", "p = .042"]


@pytest.mark.parametrize(("value", "expected"), [
    (0.00351, "+3.5"), (-0.0001, "-0.1"), (-0.00001, "0.0"), (0.0, "0.0"), (1.5, "+1,500.0")])
def test_differences_are_in_thousandths_with_their_sign(value, expected):
    assert presentation.thousandths(value) == expected
    assert presentation.unsigned(value) == expected.removeprefix("+")


def test_a_table_of_tests_as_a_reader_sees_it():
    table = pd.DataFrame({
        "method": ["kNN", "random"], "difference": [0.0004, -0.035], "low": [-0.0005, -0.04], "high": [0.0013, -0.03],
        "se": [0.0005, 0.002], "p": [0.4, 1e-9], "p_holm": [0.4, 0.002], "mde": [0.0018, 0.004]})
    shown = presentation.as_shown(table)
    assert list(shown) == ["method", "difference", "95 % interval (uncorrected)", "SE", "p", "p (Holm)",
                           "smallest detectable"]
    assert shown.iloc[1].tolist() == ["random", "-35.0", "-40.0 to -30.0", "2.0", "< .001", ".002", "4.0"]
    assert presentation.units(table) == "In thousandths: difference with its interval, SE, smallest detectable."
    assert "In thousandths: difference" in presentation.in_html(table)


def test_values_keep_their_scale_and_missing_ones_are_blank():
    table = pd.DataFrame({
        "name": ["a", "b", None], "value": [0.61234, 0.7, np.nan], "low": [0.6, 0.69, np.nan],
        "high": [0.62, 0.71, np.nan], "n_models": [3.0, 112, np.nan], "f": [84.4841, 203.2, np.nan],
        "seconds": [0.0000123, 5000.4, np.nan], "equivalent": [True, False, None]})
    shown = presentation.as_shown(table)
    assert shown.iloc[0].tolist() == ["a", "0.612", "0.600 to 0.620", "3", "84.5", "1.23e-05", "yes"]
    assert shown.iloc[1].tolist() == ["b", "0.700", "0.690 to 0.710", "112", "203.2", "5,000", "no"]
    assert set(shown.iloc[2]) == {""}
    assert presentation.units(table) == ""


def test_an_index_is_shown_only_if_it_says_something():
    table = pd.DataFrame({"x": [1, 2]})
    assert list(presentation.as_shown(table)) == ["x"]
    assert list(presentation.as_shown(pd.concat([table, table]))) == ["x"], "row numbers say nothing"
    named = table.set_index(pd.Index(["b", "c"], name="benchmark"))
    assert presentation.as_shown(named).to_numpy().tolist() == [["b", "1"], ["c", "2"]]
    wide = pd.DataFrame({("value", "kNN"): [0.5], ("seed_sd", "kNN"): [0.1]}, index=pd.Index([10], name="n_train"))
    assert list(presentation.as_shown(wide)) == ["training questions", "value kNN", "seed sd kNN"]


def test_long_tables_are_cut_in_notebooks_and_say_so():
    table = pd.DataFrame({"x": range(100)})
    html = presentation.in_html(table)
    assert html.count("<tr>") == 1 + presentation.MOST_ROWS
    assert f"and {100 - presentation.MOST_ROWS} more rows" in html


@pytest.mark.parametrize(("names", "expected"), [
    ([], "none"), (["a"], "a"), (["a", "b", "c"], "a, b and c"), (["a, text only", "b", "c"], "a, text only; b and c")])
def test_names_are_listed_so_that_they_can_be_told_apart(names, expected):
    assert presentation.listed(names) == expected


def test_one_benchmark_is_no_benchmarks():
    assert [presentation.counted(number, "benchmark") for number in (0, 1, 1200)] == [
        "0 benchmarks", "1 benchmark", "1,200 benchmarks"]


def test_a_notebook_shows_an_error_of_the_study_as_one_sentence():
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
result = shell.run_cell("from embedllm.study.products import StudyError\\nraise StudyError('notebook 01 first: make')")
print("failed:", not result.success)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["StudyError: notebook 01 first: make", "failed: True"], done.stderr


def test_a_notebook_shows_tables_and_figures_this_way(tmp_path):
    """In a shell as notebooks have it: the figure with its caption as alternative text and beneath it."""
    code = f"""
import pandas as pd
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import pyplot as plt
shell = InteractiveShell.instance()
from embedllm import presentation
from embedllm.figures import style
from pathlib import Path
presentation.use_tables()
data, _ = shell.display_formatter.format(pd.DataFrame({{"p": [1e-9, None]}}))
print(data["text/html"], data["text/plain"])
style.use_style()
path = Path({str(tmp_path / '02_one')!r})
style.save_figure(path, pd.DataFrame({{"x": [1]}}), "First $a$. <b>More</b>.", lambda _: plt.figure(figsize=(6, 3)))
from IPython.utils.capture import capture_output
with capture_output() as got:
    presentation.show_figure(path.with_suffix(".png"))
image, caption = got.outputs
print(image.metadata["image/png"]["alt"], image.metadata["image/png"]["width"], image.data["text/plain"])
print(caption.data["text/markdown"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "&lt; .001" in done.stdout and "NaN" not in done.stdout and "None" not in done.stdout
    assert "First $a$. <b>More</b>. 600 First $a$. <b>More</b>." in done.stdout
    assert unescape(done.stdout.splitlines()[-1]) == "**02_one.** First <span>$</span>a<span>$</span>. <b>More</b>."


@pytest.mark.parametrize(("value", "expected"), [
    (0, "0"), (np.nan, ""), (0.000151332, "0.00015"), (1.1e-6, "0.0000011"), (0.436, "0.44"), (2.016, "2.0"),
    (9.96, "10"), (143.4, "140"), (-26_075, "-26,000"), (999_999, "1.0 million"), (1_568_000, "1.6 million"),
    (3.6127e18, "3,600,000 trillion"),
])
def test_a_quantity_has_the_digits_it_is_worth(value, expected):
    assert presentation.about(value) == expected
    assert presentation.about(107.761, 3) == "108"
