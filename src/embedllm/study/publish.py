"""What is committed of a run: notebooks, the gallery of figures, the README's tables, parameter cells."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from textwrap import wrap

import pandas as pd
from PIL import Image

from embedllm.catalog import SOURCES
from embedllm.claims import as_read
from embedllm.files import ROOT, write
from embedllm.presentation import SHARPNESS, in_markdown, literal, thousandths
from embedllm.study.claims_page import claims_page, real_data, settled_claims, verdicts_of
from embedllm.study.parameters import NOTEBOOKS, OneOf
from embedllm.study.paths import FIGURES
from embedllm.study.shelf import MARK

HERO = f"04_{MARK}routing.png"  # of the default dataset, on the README's first screen
WIDEST = 120  # letters in a line of a cell
HEADLINES = ("^factorization, dim", "^factorization, published", "^kNN forecast", "^routing decision, ")


def write_gallery(figures: Path, order: Sequence[str] = ()) -> None:
    """Write README.md of a folder of figures: contents with findings, results, verdicts, figures, tables without one.

    Captions are read from the PNG files, which carry them.

    Parameters
    ----------
    order : sequence of str
        Names of figures, without suffix, in the order to show them in; others as they were shown before, or by name.
        Those of a notebook stay together, deep ones behind the default one of their name.
    """
    command = "make bench" if figures.name == "bench" else "make reproduce"
    deep = " Those with `deep` in their names are made by `make deep`, over several fits." * (figures.name != "bench")
    lines = [f"# Figures: {literal(figures.name)}", "",
             f"Made by `{command}`; each with the table behind it.{deep} Not edited by hand.", ""]
    if (source := SOURCES.get(figures.name)) and source.credit:
        lines += [f"Data: {source.credit}", ""]
    page = figures / "README.md"
    before = re.findall(r"^- \[(\w+)\]\(#", page.read_text(), re.M) if page.exists() else []
    names = dict.fromkeys(name.replace(MARK, "", 1) for name in [*order, *before])
    known = {name: place for place, name in enumerate(names)}
    paths = sorted(figures.glob("*.png"), key=lambda path: (
        path.stem[:2], known.get(name := path.stem.replace(MARK, "", 1), len(known)), name, path.stem))
    images = {path: Image.open(path) for path in paths}
    captions = {path: image.info["Description"] for path, image in images.items()}
    lines += ["## Contents", "", *(f"- [{path.stem}](#{path.stem}): {literal(first_sentence(caption))}"
                                   for path, caption in captions.items()), ""]
    if (figures / "timing_speed.csv").exists():
        speed, machine = (pd.read_csv(figures / f"timing_{name}.csv", keep_default_na=False)
                          for name in ("speed", "machine"))
        facts = "; ".join(f"{what}: {value}" for what, value in machine.itertuples(index=False))
        lines += ["## Speed", "", in_markdown(speed), "", f"The machine: {literal(facts)}.", ""]
    if (figures / "03_cross_fitted.csv").exists():
        lines += ["## Results", "", "Cross-fitted, with 95 % intervals over questions and fits where `make deep` has "
                  "run, else over questions.", "",
                  in_markdown(results_table(figures)), ""]
    if len(verdicts := verdicts_of([figures])):
        lines += ["## Verdicts", "", in_markdown(as_read(verdicts.drop(columns="folder"))), ""]
    for path, image in images.items():
        brief = escape(first_sentence(captions[path]))
        shown = f'<img src="{path.name}" alt="{brief}" width="{round(image.width / SHARPNESS)}">'
        kinds = [kind for kind in ("svg", "csv") if path.with_suffix(f".{kind}").exists()]
        files = ", ".join(f"[{kind}]({path.stem}.{kind})" for kind in kinds)
        lines += [f"## {path.stem}", "", shown, "", f"{literal(captions[path])} {files}", ""]
    alone = [path for path in sorted(figures.glob("*.csv")) if not path.with_suffix(".png").exists()]
    lines += ["## Tables without a figure", "", *(f"- [{path.stem}]({path.name})" for path in alone), ""]
    write(page, "\n".join(lines))


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence."""
    return re.match(r".*?[.?](?=\s+[A-Z\d*(]|$)|.+", text, re.S)[0]


def cell(notebook: str) -> str:
    """The source of a notebook's tagged cell: its parameters as literals, with meanings and choices."""
    lines = []
    for name, info in NOTEBOOKS[notebook].model_fields.items():
        literal = json.dumps(info.default) if isinstance(info.default, str | list) else repr(info.default)
        choices = [names for check in info.metadata if isinstance(getattr(check, "func", None), OneOf)
                   for names in [list(check.func.known())]]
        listed = "".join(f": {', '.join(names[:-1])} or {names[-1]}" for names in choices)
        line = f"{name} = {literal}  # {info.description}"
        above = wrap(f"{name}{listed}", WIDEST, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        lines += [line + listed] if len(line + listed) <= WIDEST else [*above, line]
    return "\n".join(lines)


def write_cells() -> None:
    """Write the tagged cell of every notebook anew, from its parameters and the catalog."""
    for name in NOTEBOOKS:
        path = ROOT / "notebooks" / f"{name}.ipynb"
        notebook = json.loads(path.read_text())
        [tagged] = [one for one in notebook["cells"] if "parameters" in one["metadata"].get("tags", [])]
        tagged["source"] = cell(name).splitlines(keepends=True)
        write(path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def publish(run: Path) -> None:
    """Make the default run's notebooks the committed ones, and write the README's tables.

    Parameters
    ----------
    run : Path
        The finished default run.
    """
    for name in NOTEBOOKS:
        write(ROOT / "notebooks" / f"{name}.ipynb", (run / f"{name}.ipynb").read_bytes())
    readme = ROOT / "README.md"
    text = readme.read_text()
    for mark, table in readme_tables().items():
        pattern = re.compile(rf"(<!-- {mark}:begin -->\n).*?(<!-- {mark}:end -->)", re.S)
        if not pattern.search(text):
            sys.exit(f"publish: README.md has no place for the table {mark}")
        text = pattern.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)
    write(readme, text)
    write(FIGURES / "CLAIMS.md", claims_page(verdicts_of(real_data())))


def results_table(folder: Path) -> pd.DataFrame:
    """What was found on a dataset, a row per method: forecasts of all questions, and routing.

    Parameters
    ----------
    folder : Path
        Of its figures.
    """
    measures = {"accuracy": "forecast accuracy", "log_loss": "forecast log-loss"}
    forecasts = pd.read_csv(_deepest(folder, "03", "cross_fitted")).rename(columns={"forecaster": "method"})
    forecasts = forecasts[forecasts["metric"].isin(measures)].assign(measure=forecasts["metric"].map(measures))
    gains = pd.read_csv(_deepest(folder, "04", "routing")).assign(measure="routing gain, thousandths")
    both = pd.concat([forecasts, gains], ignore_index=True)
    cells = both.apply(_with_interval, axis=1)
    return both.assign(cell=cells).pivot_table(
        index="method", columns="measure", values="cell", aggfunc="first", sort=False).reset_index().fillna("")


def _deepest(folder: Path, number: str, name: str) -> Path:
    """The table of `make deep` where there is one, else that of the default run."""
    deep = folder / f"{number}_{MARK}{name}.csv"
    return deep if deep.exists() else folder / f"{number}_{name}.csv"


def _with_interval(row: pd.Series) -> str:
    """A level, or a difference in thousandths, with its interval."""
    if pd.isna(row["difference"]):
        return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
    return f"{thousandths(row['difference'])} ({thousandths(row['low'])} to {thousandths(row['high'])})"


def readme_tables() -> dict[str, str]:
    """The README's figure and tables in Markdown, from what is committed in figures/ alone."""
    folders = [FIGURES / entry.name for entry in SOURCES.values() if entry.published]
    seconds = {f"{folder.name}, s": pd.read_csv(folder / "timing_notebooks.csv", index_col="notebook")["seconds"]
               for folder in folders}
    times = pd.DataFrame(seconds).round().astype("Int64")
    times.loc["all notebooks"] = times.sum()
    times = times.astype(object).where(times.notna(), "-")  # not timed on that pool
    speed = pd.read_csv(FIGURES / "bench" / "timing_speed.csv", keep_default_na=False)
    image = folders[0] / HERO
    caption = Image.open(image).info["Description"]
    hero = f'<img src="figures/{folders[0].name}/{HERO}" alt="{escape(caption)}" width="700">\n\n*{literal(caption)}*'
    speed = speed[speed["what"].str.contains("|".join(HEADLINES))][["what", "value", "unit", "beside"]]
    return {"hero": hero, "claims": settled_claims(verdicts_of(real_data())), "times": in_markdown(times.reset_index()),
            "speed": in_markdown(speed)}
