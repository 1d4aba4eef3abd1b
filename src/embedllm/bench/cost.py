"""What training, benchmarking and collecting labels cost: operations, and time and memory where they are measured.

Convention: a multiply-add is two operations; what `torch.utils.flop_counter` counts, which is matrix products. Dollars
are operations at one assumed price, whatever ran them: measured seconds stand beside, without one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from embedllm import catalog
from embedllm.bench.per_cell import PerCell
from embedllm.claims import all_claims
from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.training import Trained, flattened

# The setting of claims C5 and C6.
N_MODELS, N_QUESTIONS, D_PROMPT, DIM, EPOCHS = 112, 18_000, 768, 232, 50
MMLU = 14_000  # questions
TOKENS = 128  # of an answer, as the paper assumes; that the model reads the prompt too is left out, as there
PAPER_SIZE = 7.0  # billions of parameters of every model, as the paper assumes
# A GPU of the H100's speed with dense bfloat16. Training on large batches comes near such a use; whoever generates one
# answer at a time uses far less of it and pays more. Another price changes all rows alike and no ratio.
ASSUMED = {"dollars an hour": 2.0, "TFLOP a second": 989.0, "use": 0.4, "since": "November 2026"}
PRICE = ASSUMED["dollars an hour"] / 3600 / (ASSUMED["use"] * 1e12 * ASSUMED["TFLOP a second"])  # dollars an operation
BY_CONVENTION = "training, 6 operations per weight of the projection and cell"
BY_CELLS, BY_QUESTION = "training cell by cell, counted", "training by question, counted"
LABELS, WITH_LABELS = "collecting the labels of the training questions", "labels and training by question"


def generation(billions: float) -> float:
    """Operations to generate an answer: 2 for each parameter and token."""
    return 2e9 * billions * TOKENS


def per_question(d_prompt: int, dim: int, n_models: int) -> int:
    """Operations to train on one question with all its cells, by formula; prompt vectors need no gradient."""
    return 2 * dim * (2 * d_prompt + 3 * n_models)


def counted(way: str, d_prompt: int = D_PROMPT, dim: int = DIM, n_models: int = N_MODELS, batch: int = 18) -> float:
    """Operations for one (model, question) cell, counted over forward and backward pass of one batch.

    Parameters
    ----------
    way : {"cell by cell", "by question"}
    batch : int
        Questions; with all their cells.
    """
    like, generator = Factorization(dim=dim), torch.Generator().manual_seed(0)
    question, model = np.divmod(np.arange(batch * n_models), n_models)
    e, labels = torch.randn(batch, d_prompt), torch.ones(batch, n_models)
    with FlopCounterMode(display=False) as counter:
        if way == "cell by cell":
            network = PerCell(like, n_models, d_prompt)
            network(torch.as_tensor(model), e[question]).sum().backward()
        else:
            _, weights, gradients = flattened(like._initialize(n_models, d_prompt, generator))
            Trained.descent(like, weights, gradients, e, labels, labels)
    return counter.get_total_flops() / (batch * n_models)


def training(n_models: int = N_MODELS) -> dict[str, float]:
    """Operations of one training in the paper's setting, with so many models, by three ways to count."""
    cells = n_models * N_QUESTIONS * EPOCHS
    return {BY_CONVENTION: 6.0 * D_PROMPT * DIM * cells,
            BY_CELLS: counted("cell by cell", n_models=n_models, batch=2) * cells,
            BY_QUESTION: counted("by question", n_models=n_models, batch=2) * cells}


def cost_table(measured: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """What each thing costs in the paper's setting, a row per thing.

    Parameters
    ----------
    measured : dict
        Seconds and peak megabytes of ``BY_CELLS`` and ``BY_QUESTION`` on two cores, for all epochs.

    Returns
    -------
    DataFrame
        Columns ``what``, ``flop``, ``generations`` (of `TOKENS` tokens by 7 billion parameters), ``seconds``,
        ``megabytes`` (NaN where nothing ran here), ``dollars`` (of the operations, see `ASSUMED`), ``paper``.
    """
    published, benchmarking = (all_claims()[name].values for name in ("C5", "C6"))
    mmlu = f"benchmarking {N_MODELS} models on MMLU"
    asking = generation(PAPER_SIZE) * N_MODELS
    table = pd.DataFrame({
        "flop": training() | {mmlu: asking * MMLU, LABELS: asking * N_QUESTIONS},
        "seconds": {what: seconds for what, (seconds, _) in measured.items()},
        "megabytes": {what: megabytes for what, (_, megabytes) in measured.items()},
        "paper": {
            BY_CONVENTION: f"{published['flop'] / 1e12:.2f} TFLOP, some {benchmarking['generations']} generations",
            mmlu: f"{benchmarking['ratio']:,} times its training or more",
        },
    }).loc[[BY_CONVENTION, BY_CELLS, BY_QUESTION, mmlu, LABELS]]
    table.loc[WITH_LABELS, "flop"] = table.loc[[LABELS, BY_QUESTION], "flop"].sum()
    table["generations"], table["dollars"] = table["flop"] / generation(PAPER_SIZE), table["flop"] * PRICE
    columns = ["flop", "generations", "seconds", "megabytes", "dollars", "paper"]
    return table.fillna({"paper": ""})[columns].rename_axis("what").reset_index()


def of_a_new_model(errors: pd.DataFrame, shape: tuple[int, int], d_prompt: int) -> pd.DataFrame:
    """What it takes to know a new model, its answers included, beside what claim C6 leaves out: the pool's labels.

    Parameters
    ----------
    errors : DataFrame
        ``method``, ``n`` and ``value``: root mean squared error of the mean score from n answers.
    shape : (int, int)
        Models and questions of the pool.
    d_prompt : int

    Returns
    -------
    DataFrame
        ``way``; ``answers``; ``asking_pflop`` and ``training_pflop``, 10^15 operations of each (`generation` of 7
        billion parameters for an answer; a training as claim C5 counts it, of the factorization, with these numbers,
        whatever is trained anew here); ``rmse``, NaN where everything is known.
    """
    n_models, n_questions = shape
    once = 6.0 * d_prompt * DIM * EPOCHS * n_questions / 1e15
    rows = [("pool: every question to every model, one training", n_models * n_questions, n_models * once, np.nan),
            ("new model: every question", n_questions, 0.0, np.nan)]
    rows += [(f"new model: {row.method}", row.n, (n_models + 1) * once if row.method == catalog.ANEW.name else 0.0,
              row.value) for row in errors.itertuples()]
    table = pd.DataFrame(rows, columns=["way", "answers", "training_pflop", "rmse"])
    return table.assign(asking_pflop=table["answers"] * generation(PAPER_SIZE) / 1e15)[
        ["way", "answers", "asking_pflop", "training_pflop", "rmse"]]


def of_the_claim(table: pd.DataFrame) -> dict[str, float]:
    """What C5 is about, from `cost_table`: the paper's way to train, cell by cell, in its setting.

    Returns
    -------
    dict
        ``flop`` (counted), ``by_convention`` (operations as the paper counts) and ``gigabytes`` (peak memory with what
        it trains on, vectors and scores as float32: ``held``).
    """
    rows, held = table.set_index("what"), 4 * N_QUESTIONS * (D_PROMPT + N_MODELS) / 1e9
    return {"flop": rows["flop"][BY_CELLS], "by_convention": rows["flop"][BY_CONVENTION],
            "gigabytes": rows["megabytes"][BY_CELLS] / 1e3 + held, "held": held}
