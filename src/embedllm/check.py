"""A first look at a table before the notebooks run on it, in the words of their audit; nothing is written.

``python -m embedllm.check``, told its parameters as make tells `study.execute`; without DATASET the files of DATA_DIR
say what they are.
"""

from __future__ import annotations

import html
import os
import sys
import textwrap

import pandas as pd

from embedllm.audit.anomalies import model_fit
from embedllm.audit.report import audit
from embedllm.catalog import SOURCES
from embedllm.conclusions.data_preparation import doubts
from embedllm.files import shown
from embedllm.outcomes import OutcomeError, OutcomeMatrix, grouped, model_facts
from embedllm.presentation import counted
from embedllm.probing.communities import family_of_size
from embedllm.probing.geometry import FEWEST_TO_PLOT
from embedllm.splits import PARTS, divide
from embedllm.study import data
from embedllm.study.given import from_environment
from embedllm.study.parameters import NOTEBOOKS, ParameterError, Parameters, read
from embedllm.study.paths import check_data_dir, data_dir, holds, in_words
from embedllm.study.presets import read_preset

WIDTH = 110  # letters in a line
FEW_MODELS, FEW_QUESTIONS = 10, 1000  # from which intervals mean something
LEVEL = 0.05
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


def report(table: OutcomeMatrix, parameters: dict[str, Parameters]) -> str:
    """All that can be said of a split table without encoding a prompt or training anything."""
    lines = findings_in_words(audit(table))
    if warning := doubts(model_fit(table)):
        lines += ["", *_wrapped(html.unescape(warning).replace("**", ""), "")]
    parts = table.questions["part"].value_counts()
    lines += ["", "What the notebooks can say", *_wrapped(", ".join(
        f"{parts[part]:,} questions {what}" for part, what in zip(PARTS, ("train", "validate", "test"), strict=True)))]
    if table.shape[0] < FEW_MODELS or table.shape[1] < FEW_QUESTIONS:
        lines += _wrapped(f"expect wide intervals: they mean something from {FEW_MODELS} models and {FEW_QUESTIONS:,} "
                          "questions on")
    for name, lacks in outlook(table, parameters).items():
        lines += _wrapped(f"{name.replace('_', ' ')}: " + (f"not {'; not '.join(lacks)}" if lacks else "all of it"))
    lines += ["", *_wrapped("Not looked at here, since they take prompt vectors: prompts alike in meaning, and what "
                            "near-duplicates change in a forecast.", "")]
    return "\n".join(lines)


def dataset_of(values: dict[str, str]) -> str:
    """The source of the reader's own data that a DATA_DIR can be read by, from the names of its files.

    Raises
    ------
    ParameterError
        If there is no such directory, or none or several of these sources fit.
    """
    own = {name: source for name, source in SOURCES.items() if source.own}
    p = Parameters(DATASET=next(iter(own)), DATA_DIR=values["DATA_DIR"], NAME=values["NAME"] or "own")
    fitting = [name for name, source in own.items() if data_dir(p).is_dir() and holds(data_dir(p), source.files[0])]
    if not fitting and not data_dir(p).is_dir():
        check_data_dir(p)
    if len(fitting) != 1:
        found = "; ".join(f"{in_words(own[name].files[0])} (DATASET={name})" for name in fitting or own)
        raise ParameterError(f"DATA_DIR = {p.DATA_DIR!r} holds {'' if fitting else 'none of '}{found}: say what it is "
                             "with DATASET=...")
    return fitting[0]


def main() -> None:
    """Command line; ends with status 1 and one sentence where the table cannot be used."""
    try:
        values, said = from_environment(), ""
        if values["DATA_DIR"] and "DATASET" not in os.environ:
            values["DATASET"] = dataset_of(values)
            said = f", as its files say it is; make reproduce needs DATASET={values['DATASET']}"
        if values["DATASET"] in SOURCES and SOURCES[values["DATASET"]].own:
            values["NAME"] = values["NAME"] or "own"  # names folders, of which a check writes none
        preset = read_preset(values["PRESET"], values["DATASET"])
        parameters = {name: read(name, preset | values, preset) for name in NOTEBOOKS}
        p = parameters["01_data_preparation"]
        check_data_dir(p)
        table = divide(data.load_outcomes(p), p.SPLIT, p.SPLIT_SEED)
    except (ParameterError, OutcomeError) as error:
        sys.exit(f"error: {error}")
    place = f" {shown(data_dir(p))}" if p.DATA_DIR else ""
    print(_printable(f"DATASET={p.DATASET}{place}{said}\n{report(table, parameters)}"))


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    """A text as lines, the first as far in as `indent`, the others further."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=2 * indent, break_on_hyphens=False)


def _printable(text: str) -> str:
    """A text without what would move a terminal's cursor: names come from files."""
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)


if __name__ == "__main__":
    main()
