"""What the paper and its review claim and ask, as data, and the verdicts that the notebooks give.

`claims.toml` holds the published values with their sources and, committed before the run that judges it, the rule of
each verdict. A row without a rule is under review: nobody has judged it by a rule that stood before the run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.presentation import listed, literal

COLUMNS = ("id", "dataset", "measure", "published", "ours", "low", "high", "p", "verdict", "reason", "figure")
UNDER_REVIEW = "under review"
EXPLORATORY = "exploratory: verdicts are those of the default run"
LEVEL = 0.05  # of a claim, over all data sets it is judged on
METHOD_CHECK = "method check"  # the planted pool judges procedures, not claims
ON_THE_PAPERS_DATA = ("reproduced", "not reproduced", "inconclusive", "not testable here")
ELSEWHERE = ("holds here", "does not hold here", "opposite here", "inconclusive", "not testable here")
ANSWERED = "answered"  # a question without a test
SEE = "see notebook "  # reason of a row that another notebook owns
NO_VERDICT = ""  # of a claim that this run cannot judge; the reason says why


@dataclass(frozen=True)
class Claim:
    """A claim of the paper (id C...), a question of its reviewers (Q...) or a claim of this study's own (S...).

    Attributes (see the head of `claims.toml`)
    ----------
    datasets : list of str
        The sources that it is judged on, blank for all.
    elsewhere : list of str
        Notebooks that tell something of it and leave the verdict to its own.
    rule : str
        Which outcome gives which verdict; blank while the row is under review.
    """

    id: str
    notebook: str
    says: str
    measure: str
    published: str
    source: str
    values: Mapping = field(default_factory=dict)
    datasets: list[str] = field(default_factory=list)
    estimand: str = ""
    null: str = ""
    margin: str = ""
    test: str = ""
    unit: str = ""
    family: str = ""
    rule: str = ""
    elsewhere: list[str] = field(default_factory=list)

    def is_judged_on(self, dataset: str) -> bool:
        """Whether a run on this source of outcomes gives a verdict."""
        return bool(self.rule) and dataset in (self.datasets or [dataset])

    @property
    def level(self) -> float:
        """Of the one test on each data set that the rules name, so that each run gives its verdict alone."""
        return LEVEL / max(1, len(self.datasets))

    @property
    def confidence(self) -> str:
        """Of intervals at that level, as "97.5 %"."""
        return f"{100 * (1 - self.level):g} %"


def all_claims() -> dict[str, Claim]:
    """Every claim and question by its id; `source` is spelled out."""
    content = tomllib.loads(Path(__file__).with_name("claims.toml").read_text())
    found = [Claim(**one | {"source": content["sources"][one["source"]]}) for one in content["claims"]]
    return {one.id: one for one in found}


def of_notebook(notebook: str) -> dict[str, Claim]:
    """The claims and questions that a notebook owns."""
    return {name: one for name, one in all_claims().items() if one.notebook == notebook}


def in_words(notebook: str) -> str:
    """Markdown for the beginning of a notebook: what the paper claims and was asked there, with published values."""
    lines = []
    for one in of_notebook(notebook).values():
        published = f" Published: {literal(one.published)} ({literal(one.source)})." if one.published else ""
        lines.append(f"- **{one.id}** {literal(one.says)}{published}")
    own = any(name.startswith("S") for name in of_notebook(notebook))
    heading = f"What the paper claims (C) and what its reviewers asked (Q){', and what this study claims (S)' * own}:\n"
    return "\n".join([heading, *lines])


def verdicts(
    notebook: str, dataset: str, label: str, found: Mapping[str, Mapping], judges: bool = True
) -> pd.DataFrame:
    """One row for each claim or question that a notebook owns, and for those that it tells something of.

    Parameters
    ----------
    dataset : str
        A source of outcomes: absolute values can be reproduced on the paper's own data only, and the planted pool
        gives no verdict.
    label : str
        What the data is called.
    found : mapping of str to mapping
        Id to the columns from ``ours`` on; each row that is judged by this run, others are left aside. One that cannot
        be judged yet has no verdict but a reason.
    judges : bool
        Whether the run is the one that the rules are about, the default one; any other is exploratory.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`.

    Raises
    ------
    ValueError
        For a verdict without a rule that stood before, a row that is missing or belongs to another notebook, or a
        verdict that this data cannot give.
    """
    owned = of_notebook(notebook)
    settled = {name for name, one in owned.items() if judges and one.is_judged_on(dataset)}
    if unruled := found.keys() - {name for name, one in owned.items() if one.rule}:
        raise ValueError(f"{', '.join(sorted(unruled))}: claims.toml has no rule for it that notebook {notebook} could "
                         "judge by; write and commit the rule before the run")
    if missing := settled - found.keys():
        raise ValueError(f"{', '.join(sorted(missing))}: has a rule in claims.toml, but notebook {notebook} gives no "
                         "verdict")
    rows = []
    for name, one in owned.items():
        reason, own = UNDER_REVIEW, dict(found.get(name, {})) if name in settled else {}
        if one.rule and name not in settled:
            reason = EXPLORATORY if one.is_judged_on(dataset) else f"judged on {listed(one.datasets)}"
        row = dict.fromkeys(COLUMNS[4:]) | {"verdict": "", "reason": reason} | own
        if dataset == "simulated":
            row["verdict"] = METHOD_CHECK
        elif own:
            allowed = (*(ON_THE_PAPERS_DATA if dataset == "embedllm" else ELSEWHERE),
                       *((ANSWERED,) if name.startswith("Q") else ()))
            if row["verdict"] not in (*allowed, NO_VERDICT) or not row["reason"]:
                raise ValueError(f"{name}: {row['verdict']!r} is no verdict on {dataset}; possible: "
                                 f"{', '.join(allowed)}")
        rows.append({"id": name, "dataset": label, "measure": one.measure, "published": one.published} | row)
    rows += [dict.fromkeys(COLUMNS[4:]) | {
        "id": name, "dataset": label, "measure": one.measure, "published": one.published, "verdict": NO_VERDICT,
        "reason": f"{SEE}{one.notebook[:2]}"} for name, one in all_claims().items() if notebook in one.elsewhere]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def measured(value: float | str) -> str:
    """A value of a verdict, to three digits that mean something."""
    number = float(f"{float(value):.3g}")
    return f"{number:,.0f}" if abs(number) >= 100 else np.format_float_positional(number, trim="-")


def as_read(table: pd.DataFrame) -> pd.DataFrame:
    """Verdicts as a reader wants them: the claim in words beside its id, without columns that are blank."""
    known = all_claims()
    table = table.assign(measure=[known[name].says for name in table["id"]])
    table["ours"] = [value if pd.isna(value) or value == "" else measured(value) for value in table["ours"]]
    table = table.rename(columns={"measure": "claim", "low": "claim_low", "high": "claim_high"})
    return table.drop(columns=["dataset", "figure"]).replace("", None).dropna(axis=1, how="all")
