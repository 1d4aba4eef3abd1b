"""What `make check` says: the audit of a table, line by line, and what each notebook can say of it."""

from __future__ import annotations

import html
import textwrap

import pandas as pd

from embedllm.audit.anomalies import model_fit
from embedllm.audit.report import audit
from embedllm.conclusions._words import LEVEL
from embedllm.conclusions.data_preparation import doubts
from embedllm.levels import groups_apart
from embedllm.outcomes import OutcomeMatrix, grouped, model_facts
from embedllm.presentation import counted
from embedllm.probing.geometry import FEWEST_TO_PLOT
from embedllm.probing.sizes import family_of_size
from embedllm.splits import PARTS
from embedllm.study.parameters import NOTEBOOKS, Parameters

WIDTH = 110  # letters in a line
FEW_MODELS, FEW_QUESTIONS = 10, 1000  # from which intervals mean something
UNMENDED = "nothing to mend"  # a check of `report.audit`
NOTHING = ("0", "0.0%", "0%")  # found
HEADINGS = {
    "What is there": ("size", "missing cells", "repeated rows"),
    "What was mended, and where it comes from": ("origin",),
    "What to look at before believing a result": ("questions", "models", "leakage"),
    "How much there is to forecast": ("what can be forecast",),
}


def findings_in_words(findings: pd.DataFrame) -> list[str]:
    """The rows of `report.audit` under headings; of what to look at only what was found.

    Returns
    -------
    list of str
        Headings and lines of `WIDTH` letters at most.
    """
    lines = []
    for heading, topics in HEADINGS.items():
        rows = findings[findings["topic"].isin(topics)]
        if "questions" in topics:
            rows = rows[~rows["value"].isin(NOTHING)]
        rows = rows[rows["value"] != "sha256"]
        lines += ["", heading]
        rows = rows.assign(detail=rows["detail"].mask(rows["check"] == UNMENDED, ""))  # a long list
        for row in rows.itertuples():
            lines += _wrapped(f"{row.check}: {row.value}" + (f" ({row.detail})" if row.detail else ""))
    return lines


def outlook(table: OutcomeMatrix, parameters: dict[str, Parameters]) -> dict[str, list[str]]:
    """What each notebook cannot say about a table, and why.

    Parameters
    ----------
    table : OutcomeMatrix
    parameters : dict
        Of each notebook, by its name.

    Returns
    -------
    dict
        Notebook to sentences without a full stop; none where it has all it needs.
    """
    n_models, n_benchmarks = table.shape[0], grouped(table).questions["benchmark"].nunique()
    facts, lacks = model_facts(table), {name: [] for name in NOTEBOOKS}
    if n_benchmarks == 1:
        lacks["03_correctness_forecasting"].append("what knowing the benchmark adds: there is a single one")
        lacks["04_model_routing"].append("the best model per benchmark, and gains by benchmark: there is a single one")
        lacks["05_probing"].append("accuracy on a benchmark that was left out: there is a single one")
    if (apart := groups_apart(table)) > 1:
        lacks["04_model_routing"].append(f"a best single model: {apart} groups of models share no benchmark, so that "
                                         "nothing tells which is better")
    if "cost" not in table.models:
        lacks["04_model_routing"].append("what routing costs: no price is known (cost in models.csv or outcomes)")
    n_predictors = 1 + min(parameters["05_probing"].N_COMPONENTS, n_models - 1)
    if n_benchmarks > 1 and n_models < n_predictors + 2:
        lacks["05_probing"].append(f"accuracy on a benchmark that was left out: {n_models} models cannot carry "
                                   f"{n_predictors} predictors")
    if n_benchmarks > 1 and 0.5 ** ((n_families := facts["family"].nunique()) - 1) >= LEVEL:
        lacks["05_probing"].append(f"a test of that which respects families: no p-value of {n_families} families falls "
                                   f"below {LEVEL}")
    classes = family_of_size(facts["parameters_b"]).dropna()
    if facts["parameters_b"].isna().all():
        lacks["05_probing"].append("models of one size: no size is known (parameters_b in models.csv)")
    elif classes.nunique() < 2:
        lacks["05_probing"].append("models of one size: the sizes known fall into "
                                   f"{counted(classes.nunique(), 'class', 'classes')}, and two are compared")
    elif table.models.get("family", pd.Series(dtype=object)).isna().all():
        lacks["05_probing"].append("size apart from family: no family is known (family in models.csv)")
    if n_models < FEWEST_TO_PLOT:
        lacks["05_probing"].append(f"a map of the models: {FEWEST_TO_PLOT} are needed")
    if n_models <= (smallest := min(parameters["07_sensitivity"].POOL_SIZES)):
        lacks["07_sensitivity"].append(f"what other models' answers add: the pool has no more than {smallest} models")
    if not len(table.repeats) and "true probability" not in table.references:
        lacks["07_sensitivity"].append("what repeated rows change: there are none")
    return lacks


def report(table: OutcomeMatrix, parameters: dict[str, Parameters], refused: str = "") -> str:
    """All that can be said of a table without encoding a prompt or training anything.

    Parameters
    ----------
    table : OutcomeMatrix
        Divided into parts, or as it was read where it cannot be.
    parameters : dict
        Of each notebook, by its name.
    refused : str
        Why it cannot be divided.
    """
    lines = findings_in_words(audit(table))
    if warning := doubts(model_fit(table)):
        lines += ["", *_wrapped(html.unescape(warning).replace("**", ""), "")]
    lines += ["", "What the notebooks can say"]
    lines += ["  nothing, see the error"] if refused else _said(table, parameters)
    return "\n".join([*lines, "", *_wrapped("Not looked at here, since they take prompt vectors: prompts alike in "
                                            "meaning, and what near-duplicates change in a forecast.", "")])


def _said(table: OutcomeMatrix, parameters: dict[str, Parameters]) -> list[str]:
    """Lines on what each notebook can say of a divided table."""
    parts = table.questions["part"].value_counts()
    lines = _wrapped(", ".join(f"{parts[part]:,} questions {what}" for part, what in zip(
        PARTS, ("train", "validate", "test"), strict=True)))
    if table.shape[0] < FEW_MODELS or table.shape[1] < FEW_QUESTIONS:
        lines += _wrapped(f"expect wide intervals: they mean something from {FEW_MODELS} models and {FEW_QUESTIONS:,} "
                          "questions on")
    for name, lacks in outlook(table, parameters).items():
        lines += _wrapped(f"{name.replace('_', ' ')}: " + (f"not {'; not '.join(lacks)}" if lacks else "all of it"))
    return lines


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    """A text as lines, the first as far in as `indent`, the others further."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=2 * indent, break_on_hyphens=False)
