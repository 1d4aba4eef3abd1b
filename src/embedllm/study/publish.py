"""What is committed of a run: notebooks, the gallery of figures, the README's tables, parameter cells."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd
from PIL import Image

from embedllm.catalog import SOURCES, to_compare
from embedllm.claims import ANSWERED, all_claims, as_read
from embedllm.files import ROOT, write
from embedllm.presentation import SHARPNESS, in_markdown, listed, literal, p_is, thousandths
from embedllm.study.parameters import NOTEBOOKS, OneOf
from embedllm.study.paths import FIGURES
from embedllm.study.shelf import MARK

RULES = ("Estimand", "Null", "Margin", "Test", "Unit", "Family", "Rule")  # of a claim, as a reader sees them
HERO = "04_routing.png"  # of the default dataset, on the README's first screen
WIDEST = 120  # letters in a line of a cell
HEADLINES = ("^factorization, dim", "^factorization, published", "^kNN forecast", "^routing decision, a single")


def write_gallery(figures: Path, order: Sequence[str] = ()) -> None:
    """Write README.md of a folder of figures: contents with findings, results, verdicts, figures, tables without one.

    Captions are read from the PNG files, which carry them.

    Parameters
    ----------
    order : sequence of str
        Names of figures, without suffix, in the order to show them in; others follow by name, deep ones behind the
        default one of their name.
    """
    command = "make bench" if figures.name == "bench" else "make reproduce"
    deep = " Those with `deep` in their names are made by `make deep`, over several fits." * (figures.name != "bench")
    lines = [f"# Figures: {literal(figures.name)}", "",
             f"Made by `{command}`; each with the table behind it.{deep} Not edited by hand.", ""]
    if (source := SOURCES.get(figures.name)) and source.credit:
        lines += [f"Data: {source.credit}", ""]
    known = {name: place for place, name in enumerate(order)}
    paths = sorted(figures.glob("*.png"), key=lambda path: (known.get(path.stem.replace(MARK, "", 1), len(known)),
                                                           path.stem.replace(MARK, "", 1), path.stem))
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
        shown = f'<img src="{path.name}" alt="{escape(captions[path])}" width="{round(image.width / SHARPNESS)}">'
        kinds = [kind for kind in ("svg", "csv") if path.with_suffix(f".{kind}").exists()]
        files = ", ".join(f"[{kind}]({path.stem}.{kind})" for kind in kinds)
        lines += [f"## {path.stem}", "", shown, "", f"{literal(captions[path])} {files}", ""]
    alone = [path for path in sorted(figures.glob("*.csv")) if not path.with_suffix(".png").exists()]
    lines += ["## Tables without a figure", "", *(f"- [{path.stem}]({path.name})" for path in alone), ""]
    write(figures / "README.md", "\n".join(lines))


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence."""
    return re.match(r".*?[.?](?=\s+[A-Z\d*(]|$)|.+", text, re.S)[0]


def _by_number(ids: pd.Series) -> pd.Series:
    """C2 before C12, claims before questions."""
    return ids.str[0] + ids.str[1:].str.zfill(3)


def cell(notebook: str) -> str:
    """The source of a notebook's tagged cell: its parameters as literals, with meanings and choices."""
    lines = []
    for name, info in NOTEBOOKS[notebook].model_fields.items():
        literal = json.dumps(info.default) if isinstance(info.default, str | list) else repr(info.default)
        choices = [names for check in info.metadata if isinstance(getattr(check, "func", None), OneOf)
                   for names in [list(check.func.known())]]
        listed = "".join(f": {', '.join(names[:-1])} or {names[-1]}" for names in choices)
        line = f"{name} = {literal}  # {info.description}"
        lines += [line + listed] if len(line + listed) <= WIDEST else [f"# {name}{listed}", line]
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
    write(FIGURES / "CLAIMS.md", claims_page(verdicts_of(_real())))


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


def _real() -> list[Path]:
    """The folders of figures of published data that are not made here: those that claims are judged on."""
    return [FIGURES / entry.name for entry in SOURCES.values() if entry.published and entry.origin != "made"]


def verdicts_of(folders: Sequence[Path]) -> pd.DataFrame:
    """All rows of ``NN_verdicts.csv`` in folders of figures, as text, by claim; ``folder`` says where from."""
    rows = [pd.read_csv(path, dtype=str, keep_default_na=False).assign(folder=folder.name)
            for folder in folders for path in sorted(folder.glob("[0-9][0-9]_verdicts.csv"))]
    return pd.concat(rows or [pd.DataFrame(columns=["id"])]).sort_values(
        "id", key=_by_number, kind="stable", ignore_index=True)


def settled_claims(rows: pd.DataFrame) -> str:
    """Markdown: the claims that have a verdict on some data set, a row each, and how many have none yet."""
    known, settled = all_claims(), rows[rows["verdict"] != ""]
    answered = settled[settled["verdict"] == ANSWERED]["id"].unique()
    rest = rows["id"].nunique() - settled["id"].nunique()
    lines = []
    for name, own in settled[settled["verdict"] != ANSWERED].groupby("id", sort=False):
        datasets = own.groupby("verdict", sort=False)["folder"].agg(listed)
        told = "; ".join(f"{verdict} ({where})" for verdict, where in datasets.items())
        lines.append((name, known[name].says, known[name].published, known[name].values.get("judged", ""), told))
    table = pd.DataFrame(lines, columns=["id", "claim", "published", "judged here", "verdict (on)"])
    said = [*([in_markdown(table)] if lines else []),
            *([f"Answered in words: {listed(answered)}."] if len(answered) else []),
            f"{rest} of {rows['id'].nunique()} claims and questions have no verdict on any data set yet. Why, and the "
            "figures: [all of them](figures/CLAIMS.md)."]
    return "\n\n".join(said)


def claims_page(rows: pd.DataFrame) -> str:
    """Markdown: every claim and question with its verdict on each data set and the figure that shows it."""
    lines = ["# Claims and verdicts", "", "Written by `make publish` from the tables of verdicts. A row is under "
             "review until the rule of its verdict has been committed before the run that judges it. Where a rule was "
             "changed after a look at the data it judges, it says so. On data that is not the paper's a claim *holds "
             "here*, *does not hold here* (shown to be less than what matters), is *opposite here*, *inconclusive* or "
             "*not testable here*.", ""]
    for name, own in rows.groupby("id", sort=False):
        claim = all_claims()[name]
        published = f" Published: {literal(claim.published)} ({literal(claim.source)})." if claim.published else ""
        one_sided = claim.test.startswith("One-sided")  # both ends of its interval are at the level of the test
        level = f" Intervals: {100 * (1 - (1 + one_sided) * claim.level):g} %." if (own["low"] != "").any() else ""
        lines += [f"## {name}", "", f"{literal(claim.says)}{published} Measured: {literal(claim.measure)}.{level}", ""]
        for row in own.itertuples():
            between = f" ({float(row.low):.3g} to {float(row.high):.3g})" if row.low else ""
            p = f", {p_is(float(row.p))}" if row.p else ""
            ours = f" {float(row.ours):.3g}{between}{p}." if row.ours else ""
            drawn = (FIGURES / row.folder / f"{row.figure}.png").exists()
            shown = f" [Figure]({row.folder}/{row.figure}.png)." if row.figure and drawn else ""
            verdict = f"**{row.verdict or 'no verdict'}**, {literal(row.reason)}"
            lines.append(f"- {literal(row.folder)}: {verdict}.{ours}{shown}")
        parts = {part: literal(getattr(claim, part.lower())) for part in RULES if getattr(claim, part.lower())}
        if claim.rule and claim.estimand:
            told = "<br>".join(f"<i>{part}.</i> {text}" for part, text in parts.items())
            lines += ["", f"<details><summary>How it is judged</summary>{told}</details>"]
        lines.append("")
    lines += ["## The forecasters on every pool", "",
              "Log-loss of each minus that of the tuned factorization, in thousandths of a nat, with 95 % intervals "
              "over questions and fits, uncorrected; below zero is better.", "",
              in_markdown(on_all_pools([FIGURES / entry.name for entry in SOURCES.values() if entry.published])), ""]
    return "\n".join(lines)


def on_all_pools(folders: Sequence[Path]) -> pd.DataFrame:
    """Log-loss of each forecaster minus that of the tuned factorization on every pool, in thousandths, over five fits.

    A row a forecaster, a column a pool: difference with its 95 % interval; blank where `make deep` made no table.
    """
    columns = {}
    for folder in folders:
        path = folder / f"03_{MARK}paired_differences.csv"
        if path.exists():
            rows = pd.read_csv(path).set_index("method")
            columns[folder.name] = rows.apply(
                lambda row: f"{thousandths(row['difference'])} ({thousandths(row['low'])} to "
                            f"{thousandths(row['high'])})", axis=1)
    table = pd.DataFrame(columns)
    known = [entry.name for entry in to_compare() if entry.name in table.index]
    return table.reindex(known).fillna("").rename_axis("forecaster").reset_index()


def readme_tables() -> dict[str, str]:
    """The README's figure and tables in Markdown, from what is committed in figures/ alone."""
    folders = [FIGURES / entry.name for entry in SOURCES.values() if entry.published]
    seconds = {f"{folder.name}, s": pd.read_csv(folder / "timing_notebooks.csv", index_col="notebook")["seconds"]
               for folder in folders}
    times = pd.DataFrame(seconds).round().astype(int)
    times.loc["all notebooks"] = times.sum()
    speed = pd.read_csv(FIGURES / "bench" / "timing_speed.csv", keep_default_na=False)
    image = folders[0] / HERO
    caption = Image.open(image).info["Description"]
    hero = f'<img src="figures/{folders[0].name}/{HERO}" alt="{escape(caption)}" width="700">\n\n*{literal(caption)}*'
    speed = speed[speed["what"].str.contains("|".join(HEADLINES))][["what", "value", "unit", "beside"]]
    return {"hero": hero, "claims": settled_claims(verdicts_of(_real())), "times": in_markdown(times.reset_index()),
            "speed": in_markdown(speed)}
