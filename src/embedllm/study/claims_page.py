"""Claims, forecasters and policies on every data set, from the tables in figures/: for the README and CLAIMS.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from embedllm.catalog import POLICIES, SOURCES, to_compare
from embedllm.claims import ANSWERED, SEE, all_claims, measured
from embedllm.presentation import in_markdown, listed, literal, p_is, thousandths
from embedllm.study.paths import FIGURES
from embedllm.study.shelf import MARK

RULES = ("Estimand", "Null", "Margin", "Test", "Unit", "Family", "Rule")  # of a claim, as a reader sees them


def by_number(ids: pd.Series) -> pd.Series:
    """C2 before C12, claims before questions."""
    return ids.str[0] + ids.str[1:].str.zfill(3)


def real_data() -> list[Path]:
    """The folders of figures of published data that are not made here: those that claims are judged on."""
    return [FIGURES / entry.name for entry in SOURCES.values() if entry.published and entry.origin != "made"]


def verdicts_of(folders: Sequence[Path]) -> pd.DataFrame:
    """The rows of ``NN_verdicts.csv`` in folders of figures that say more than where to look, as text, by claim.

    ``folder`` says where from.
    """
    rows = [pd.read_csv(path, dtype=str, keep_default_na=False).assign(folder=folder.name)
            for folder in folders for path in sorted(folder.glob("[0-9][0-9]_verdicts.csv"))]
    found = pd.concat(rows or [pd.DataFrame(columns=["id", "reason"])])
    return found[~found["reason"].str.startswith(SEE)].sort_values(
        "id", key=by_number, kind="stable", ignore_index=True)


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
            f"{_without_verdict(rest, rows['id'].nunique())}{_without_notebook(rows)} Why, and the figures: "
            "[all of them](figures/CLAIMS.md)."]
    return "\n\n".join(said)


def _without_verdict(rest: int, total: int) -> str:
    if rest:
        return f"{rest} of {total} claims and questions have no verdict on any data set yet."
    return f"Each of these {total} claims and questions has a verdict or an answer on some data set."


def _without_notebook(rows: pd.DataFrame) -> str:
    """Which claims and questions no notebook that ran owns."""
    missing = [name for name in all_claims() if name not in set(rows["id"])]
    return f" No notebook asks {listed(missing)} yet." if missing and len(rows) else ""


def claims_page(rows: pd.DataFrame) -> str:
    """Markdown: every claim and question with its verdict on each data set and the figure that shows it."""
    lines = ["# Claims and verdicts", "", "Written by `make publish` from the tables of verdicts. A row is under "
             "review until the rule of its verdict has been committed before the run that judges it. Where a rule was "
             "changed after a look at the data it judges, it says so. On data that is not the paper's a claim *holds "
             "here*, *does not hold here* (shown to be less than what matters), is *opposite here*, *inconclusive* or "
             "*not testable here*. After the runs all intervals over questions and fits became wider: they now count "
             "that the judged questions are also learned from.", ""]
    for name, own in rows.groupby("id", sort=False):
        claim = all_claims()[name]
        published = f" Published: {literal(claim.published)} ({literal(claim.source)})." if claim.published else ""
        one_sided = claim.test.startswith("One-sided")  # both ends of its interval are at the level of the test
        level = f" Intervals: {100 * (1 - (1 + one_sided) * claim.level):g} %." if (own["low"] != "").any() else ""
        lines += [f"## {name}", "", f"{literal(claim.says)}{published} Measured: {literal(claim.measure)}.{level}", ""]
        for row in own.itertuples():
            between = f" ({measured(row.low)} to {measured(row.high)})" if row.low else ""
            p = f", {p_is(float(row.p))}" if row.p else ""
            ours = f", {measured(row.ours)}{between}{p}: " if row.ours else ", "
            drawn = (FIGURES / row.folder / f"{row.figure}.png").exists()
            shown = f" [Figure]({row.folder}/{row.figure}.png)." if row.figure and drawn else ""
            verdict = f"**{row.verdict or 'no verdict'}**{ours}{literal(row.reason)}"
            lines.append(f"- {literal(row.folder)}: {verdict}.{shown}")
        parts = {part: literal(getattr(claim, part.lower())) for part in RULES if getattr(claim, part.lower())}
        if claim.rule and claim.estimand:
            told = "<br>".join(f"<i>{part}.</i> {text}" for part, text in parts.items())
            lines += ["", f"<details><summary>How it is judged</summary>{told}</details>"]
        lines.append("")
    folders = [FIGURES / entry.name for entry in SOURCES.values() if entry.published]
    compared = [entry.name for entry in to_compare()]
    over = "with 95 % intervals over questions and fits, uncorrected;"
    lines += ["## The forecasters on every pool", "",
              f"Log-loss of each minus that of the tuned factorization, in thousandths of a nat, {over} below zero is "
              "better.", "",
              in_markdown(on_all_pools(folders, "03", "paired_differences", compared)), "",
              "## The policies on every pool", "",
              f"Score of each minus that of always asking the best single model, in thousandths, {over} above zero is "
              "better.", "", in_markdown(on_all_pools(folders, "04", "routing", list(POLICIES))), ""]
    return "\n".join(lines)


def on_all_pools(folders: Sequence[Path], number: str, name: str, order: Sequence[str]) -> pd.DataFrame:
    """Differences of methods to one reference on every pool, in thousandths, over five fits.

    Parameters
    ----------
    number, name : str
        Of the notebook and of its figure, whose table has ``method``, ``difference``, ``low`` and ``high``.
    order : sequence of str
        Methods that are shown, where they occur.

    Returns
    -------
    DataFrame
        A row a method, a column a pool: difference with its 95 % interval; blank where `make deep` made no table.
    """
    columns = {}
    for folder in folders:
        path = folder / f"{number}_{MARK}{name}.csv"
        if path.exists():
            rows = pd.read_csv(path).set_index("method")
            columns[folder.name] = rows.apply(
                lambda row: f"{thousandths(row['difference'])} ({thousandths(row['low'])} to "
                            f"{thousandths(row['high'])})", axis=1)
    table = pd.DataFrame(columns)
    known = [one for one in order if one in table.index]
    return table.reindex(known).fillna("").rename_axis("method").reset_index()
