"""What is committed of a run: notebooks, the gallery of figures, the README's tables, parameter cells."""

from __future__ import annotations

import json
import re
import sys
from html import escape
from pathlib import Path

import pandas as pd
from PIL import Image

from embedllm.catalog import SOURCES
from embedllm.claims import as_read
from embedllm.files import ROOT, write
from embedllm.presentation import SHARPNESS, in_markdown, literal
from embedllm.study.parameters import NOTEBOOKS, cell
from embedllm.study.paths import FIGURES


def write_gallery(figures: Path) -> None:
    """Write README.md of a folder of figures: verdicts, contents, figures with their captions, tables without a figure.

    Captions are read from the PNG files, which carry them.
    """
    command = "make bench" if figures.name == "bench" else "make reproduce"
    lines = [f"# Figures: {literal(figures.name)}", "",
             f"Made by `{command}`; each with its SVG and the table behind it. Not edited by hand.", ""]
    if judged := sorted(figures.glob("*_verdicts.csv")):
        verdicts = pd.concat(pd.read_csv(path, dtype=str, keep_default_na=False) for path in judged)
        lines += ["## Verdicts", "", in_markdown(as_read(verdicts.sort_values("id", key=_by_number))), ""]
    paths = sorted(figures.glob("*.png"))
    titles = {path: path.stem.split("_", 1)[1].replace("_", " ").capitalize() for path in paths}
    lines += ["## Contents", "", *(f"- [{path.stem}](#{titles[path].lower().replace(' ', '-')})" for path in paths), ""]
    for path, title in titles.items():
        image = Image.open(path)
        caption, number = image.info["Description"], path.stem.split("_", 1)[0]
        source = f"Notebook {number}; " if number.isdigit() else ""
        shown = f'<img src="{path.name}" alt="{escape(caption)}" width="{round(image.width / SHARPNESS)}">'
        files = f"[SVG]({path.stem}.svg), [table]({path.stem}.csv)"
        lines += [f"## {title}", "", shown, "", f"{literal(caption)} {source}{files}.", ""]
    alone = [path for path in sorted(figures.glob("*.csv")) if not path.with_suffix(".png").exists()]
    lines += ["## Tables without a figure", "", *(f"- [{path.stem}]({path.name})" for path in alone), ""]
    write(figures / "README.md", "\n".join(lines))


def _by_number(ids: pd.Series) -> pd.Series:
    """C2 before C12, claims before questions."""
    return ids.str[0] + ids.str[1:].str.zfill(3)


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


def readme_tables() -> dict[str, str]:
    """The README's tables in Markdown, from the committed CSV files alone."""
    results, times = [], []
    for folder in (FIGURES / entry.name for entry in SOURCES.values() if entry.published):
        forecasts = pd.read_csv(folder / "03_cross_fitted.csv").rename(columns={"forecaster": "method"})
        names = {"accuracy": "forecast accuracy", "log_loss": "forecast log-loss"}
        forecasts = forecasts[forecasts["metric"].isin(names)].assign(measure=forecasts["metric"].map(names))
        routing = pd.read_csv(folder / "04_routing.csv").rename(columns={"policy": "method"})
        routing = routing[routing["benchmark"] == "all"].assign(measure="routing score")
        both = pd.concat([forecasts, routing])
        cells = both.apply(lambda row: f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})", axis=1)
        results.append(cells.set_axis(pd.MultiIndex.from_frame(both[["measure", "method"]])).rename(folder.name))
        seconds = pd.read_csv(folder / "timing_notebooks.csv", index_col="notebook")["seconds"]
        times.append(seconds.round().astype(int).rename(f"{folder.name}, s"))
    rows = dict.fromkeys(key for column in results for key in column.index)  # in order of first mention
    measures = list(dict.fromkeys(measure for measure, _ in rows))
    rows = sorted(rows, key=lambda key: measures.index(key[0]))
    table = pd.concat([column.reindex(rows) for column in results], axis=1).fillna("")
    times = pd.concat(times, axis=1)
    times.loc["all notebooks"] = times.sum()
    speed = pd.read_csv(FIGURES / "bench" / "timing_speed.csv", keep_default_na=False)
    machine = pd.read_csv(FIGURES / "bench" / "timing_machine.csv")
    tables = {"results": table.reset_index(), "times": times.reset_index(), "speed": speed}
    texts = {mark: in_markdown(content) for mark, content in tables.items()}
    facts = "; ".join(f"{what}: {value}" for what, value in machine.itertuples(index=False))
    texts["speed"] += f"\n\nThe machine: {facts}."
    return texts
