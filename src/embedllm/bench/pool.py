"""What benchmarking a pool of models costs at their real sizes, beside the paper's 7 billion parameters for each."""

from __future__ import annotations

import pandas as pd

from embedllm.bench import cost
from embedllm.claims import ELSEWHERE, ON_THE_PAPERS_DATA, all_claims
from embedllm.presentation import about

AS_MMLU = "benchmarking on as many questions as MMLU has"
OWN = "benchmarking on the questions of this table"
NOT_TESTABLE = ELSEWHERE[-1]


def sizes(models: pd.DataFrame) -> pd.Series:
    """Billions of parameters that answer, by model: those active for a token where declared, else all; NaN: unknown.

    Parameters
    ----------
    models : DataFrame
        Of a table of outcomes; ``parameters_b`` and ``active_parameters_b`` may be missing.
    """
    known = models.reindex(columns=["active_parameters_b", "parameters_b"]).astype(float)
    return known["active_parameters_b"].fillna(known["parameters_b"]).rename("billions")


def costs(billions: pd.Series, n_questions: int) -> pd.DataFrame:
    """What asking and training cost for the models of known size, a row per thing; no row where no size is known.

    Every answer has `cost.TOKENS` tokens. Training is that of the paper, `cost.training`, for these models.

    Parameters
    ----------
    billions : Series
        From `sizes`; models of unknown size are left out, of the paper's convention as well.
    n_questions : int
        Of the pool's own table.

    Returns
    -------
    DataFrame
        Columns ``what``, ``models``, ``questions``, ``tokens`` (of an answer; NaN where none is asked for), and for
        7 billion parameters each (``_7b``) and for real sizes (``_real``): ``flop``, ``generations`` (as many answers
        of a model of 7 billion), ``dollars`` and ``times`` (`AS_MMLU` over this row).
    """
    known = billions.dropna()
    asked = {AS_MMLU: cost.MMLU, OWN: n_questions, cost.LABELS: cost.N_QUESTIONS}
    trained = cost.training(len(known)) if len(known) else {}
    rows = {}
    for way, size in (("7b", len(known) * cost.PAPER_SIZE), ("real", known.sum())):
        flop = {what: cost.generation(size) * number for what, number in asked.items()} | trained
        flop |= {cost.WITH_LABELS: flop[cost.LABELS] + trained.get(cost.BY_QUESTION, 0)}
        rows[f"flop_{way}"] = flop
    table = pd.DataFrame(rows).rename_axis("what").reset_index()
    table.insert(1, "models", len(known))
    table.insert(2, "questions", table["what"].map(asked).fillna(cost.N_QUESTIONS).astype(int))
    table.insert(3, "tokens", table["what"].map(dict.fromkeys([*asked, cost.WITH_LABELS], cost.TOKENS)))
    for measure, unit in (("generations", cost.generation(cost.PAPER_SIZE)), ("dollars", 1 / cost.PRICE)):
        for way in ("7b", "real"):
            table[f"{measure}_{way}"] = table[f"flop_{way}"] / unit
    for way in ("7b", "real"):
        table[f"times_{way}"] = table[f"flop_{way}"][0] / table[f"flop_{way}"]
    return table if len(known) else table[:0]


def verdict(table: pd.DataFrame, billions: pd.Series, dataset: str) -> dict:
    """What the rule of row C6 gives: the claim at the real sizes of this pool, all else as in the paper.

    Parameters
    ----------
    table : DataFrame
        From `costs`.
    billions : Series
        From `sizes`.
    """
    published, known = all_claims()["C6"].values, billions.notna()
    if known.mean() < 0.5:
        return {"verdict": NOT_TESTABLE, "reason": f"{known.sum()} of {len(known)} models are of known size"}
    rows = table.set_index("what")
    ratio, ratio_7b = rows.loc[cost.BY_CONVENTION, ["times_real", "times_7b"]]
    on_the_papers = dataset == "embedllm"
    holds, fails, *_ = ON_THE_PAPERS_DATA if on_the_papers else ELSEWHERE
    outcome = holds if ratio >= published["ratio"] else fails
    if ratio < 1 and not on_the_papers:
        outcome = "opposite here"
    return {
        "ours": float(f"{ratio:.3g}"), "verdict": outcome,
        "reason": f"at the sizes of {known.sum()} of {len(known)} models, {about(billions.mean())}B on average; at 7B "
                  f"each {about(ratio_7b)}; with the labels that training needs "
                  f"{about(rows.loc[cost.WITH_LABELS, 'times_real'])}",
        "figure": "02_costs",
    }
