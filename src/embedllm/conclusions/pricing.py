"""What notebook 02 says of costs: how they are counted, and what benchmarking a pool costs at its real sizes."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from embedllm.claims import all_claims
from embedllm.outcomes import abbreviate
from embedllm.presentation import about, counted, literal

NAMED = 10  # models of unknown size, at most
LEAST = 0.001  # dollars that are told apart


def counting(assumed: Mapping, n_questions: int) -> str:
    """How the table of costs is counted and priced.

    Parameters
    ----------
    assumed : mapping
        Keys ``dollars an hour``, ``TFLOP a second``, ``use`` (a share) and ``since``.
    n_questions : int
        Of a training.
    """
    return f"""
The authors answered their reviewers with the operations that training takes (C5) and with how many times more
benchmarking costs (C6), in the last column. That leaves out what the labels of the training questions cost. Operations
are counted by PyTorch, a multiply-add as two. Seconds and peak memory (beyond vectors and scores) were measured on the
machine below, in the paper's setting: {n_questions:,} questions, as its figure implies; cell by cell from its first
seconds, the rest extrapolated. They have no price of their own: all dollars are operations at one assumed price,
that of a GPU of {assumed["TFLOP a second"]:.0f} TFLOP/s (dense bfloat16) for {assumed["dollars an hour"]:g} dollars an
hour, {assumed["use"]:.0%} of it in use (assumed in {assumed["since"]}). Large batches come near that use; one answer
at a time uses less and costs more. Another price changes all rows alike and no ratio.
"""


def as_read(cost: pd.DataFrame) -> pd.DataFrame:
    """The table of costs in the digits it is worth."""
    shown = pd.DataFrame({"what": cost["what"], "TFLOP": (cost["flop"] / 1e12).map(lambda flop: about(flop, 3))})
    shown = shown.assign(**cost[["generations", "seconds", "megabytes"]].map(about))
    return shown.assign(dollars=cost["dollars"].map(_dollars), paper=cost["paper"])


def pool_as_read(costs: pd.DataFrame) -> pd.DataFrame:
    """The costs of a pool the same way, real sizes beside 7 billion parameters each; a benchmark over each row."""
    shown = costs[["what"]].assign(questions=costs["questions"].map("{:,}".format))
    for measure, label, read in (("generations", "generations", about), ("dollars", "dollars", _dollars),
                                 ("times", "first row over it", about)):
        for way, sizes in (("7b", "7B each"), ("real", "real sizes")):
            shown[f"{label}, {sizes}"] = costs[f"{measure}_{way}"].map(read)
    return shown


def _dollars(value: float) -> str:
    return about(value) if value >= LEAST else f"< {LEAST}"


def sizes_known(billions: pd.Series) -> str:
    """Which models costs are counted for; those of unknown size (NaN) are named.

    Parameters
    ----------
    billions : Series
        Parameters by model.
    """
    known, unknown = billions.dropna(), billions.index[billions.isna()]
    if known.empty:
        return "The size of no model is known (`parameters_b` in `models.csv`), so that nothing is said of costs."
    left_out = (f"; left out, of these figures only, as of unknown size: {literal(abbreviate(unknown, NAMED))}"
                if len(unknown) else "")
    return (f"{len(known)} of {counted(len(billions), 'model')} count here: {about(known.min())} to "
            f"{about(known.max())} billion parameters, {about(known.mean())} on average{left_out}.")


def benchmarking(costs: pd.DataFrame, assumed: Mapping) -> str:
    """What the costs of a pool show.

    Parameters
    ----------
    costs : DataFrame
        From `bench.pool.costs`.
    assumed : mapping
        As in `counting`.
    """
    asked, own, labels, by_convention, by_cells, by_question, with_labels = costs.itertuples()
    published = all_claims()["C6"].values["ratio"]
    shortest = asked.tokens * published / by_convention.times_real
    tokens = (f"Answers of fewer than {about(shortest)} tokens would bring it below the published figure"
              if shortest < asked.tokens else
              f"Answers of {about(shortest)} tokens would bring it to the published figure")
    return f"""
- Asking these models {asked.questions:,} questions, {asked.tokens:.0f} tokens an answer, costs as much as
  {about(asked.generations_real)} answers of a model of 7 billion parameters; at 7B each it would be
  {about(asked.generations_7b)}, and the real sizes make it {about(asked.flop_real / asked.flop_7b)} times as much.
  Asking the {own.questions:,} questions of this table costs {about(own.generations_real)}. The reading of prompts is
  left out, as in the paper.
- That benchmark costs {about(by_convention.times_real)} times one training by the paper's convention (at 7B each
  {about(by_convention.times_7b)}; published: at least {published:,}), {about(by_cells.times_real)} times one counted
  cell by cell and {about(by_question.times_real)} times one by question, all in the paper's setting of
  {by_convention.questions:,} training questions. {tokens}.
- The claim leaves out that training needs answers first: {labels.questions:,} of each model, which cost
  {about(labels.flop_real / asked.flop_real)} times as much as the benchmark. The benchmark costs
  {about(with_labels.times_real)} times as much as these labels and a training (at 7B each
  {about(with_labels.times_7b)}).
- At the one assumed price ({assumed["dollars an hour"]:g} dollars an hour of a GPU, {assumed["since"]}) the benchmark
  costs {_dollars(asked.dollars_real)} dollars, the labels {_dollars(labels.dollars_real)}, and a training by the
  paper's convention {_dollars(by_convention.dollars_real)}.
"""
