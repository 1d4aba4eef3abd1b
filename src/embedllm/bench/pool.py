"""What benchmarking a pool of models costs at their real sizes, beside the paper's 7 billion parameters for each."""

from __future__ import annotations

import pandas as pd

from embedllm.bench import cost

AS_MMLU = "benchmarking on as many questions as MMLU has"
OWN = "benchmarking on the questions of this table"


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


def of_the_claim(table: pd.DataFrame, billions: pd.Series) -> dict[str, float]:
    """What C6 is about: a benchmark over one training as the paper counts it, at the real sizes of this pool.

    Parameters
    ----------
    table : DataFrame
        From `costs`.
    billions : Series
        From `sizes`.

    Returns
    -------
    dict
        ``models``, ``known`` (how many are of known size), ``billions`` (their mean); where any is known also
        ``ratio``, ``ratio_7b`` and ``with_labels`` (the ratio with what the training labels cost).
    """
    found = {"models": len(billions), "known": int(billions.notna().sum()), "billions": billions.mean()}
    if not len(table):
        return found
    rows = table.set_index("what")
    ratio, ratio_7b = rows.loc[cost.BY_CONVENTION, ["times_real", "times_7b"]]
    return found | {"ratio": ratio, "ratio_7b": ratio_7b, "with_labels": rows.loc[cost.WITH_LABELS, "times_real"]}
