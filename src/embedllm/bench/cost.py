"""What training, benchmarking and collecting labels cost: operations, and time and memory where they are measured.

Convention: a multiply-add is two operations; what `torch.utils.flop_counter` counts, which is matrix products.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from embedllm.bench.per_cell import PerCell
from embedllm.claims import all_claims
from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.training import Trained, flattened

# The setting of claims C5 and C6.
N_MODELS, N_QUESTIONS, D_PROMPT, DIM, EPOCHS = 112, 18_000, 768, 232, 50
MMLU = 14_000  # questions
GENERATION = 2 * 7e9 * 128  # 128 tokens by a model of 7 billion parameters: 2 x parameters x tokens
# Assumed prices: a GPU of 989 TFLOP/s (dense bfloat16) at 40 % use for 2 dollars an hour, two cores for 10 cents.
GPU, CPU = 2 / 3600 / (0.4 * 989e12), 0.1 / 3600  # dollars an operation, dollars a second
BY_CELLS, BY_QUESTION = "training cell by cell, counted", "training by question, counted"


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


def cost_table(measured: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """What each thing costs, a row per thing.

    Parameters
    ----------
    measured : dict
        Seconds and peak megabytes of ``BY_CELLS`` and ``BY_QUESTION`` on two cores, for all epochs.

    Returns
    -------
    DataFrame
        Columns ``what``, ``flop``, ``generations`` (of 128 tokens by 7 billion parameters), ``seconds``,
        ``megabytes`` (NaN where nothing ran here), ``dollars`` (of the seconds where there are any, else of the
        operations on a GPU), ``paper``.
    """
    cells = N_MODELS * N_QUESTIONS * EPOCHS
    training, benchmarking = (all_claims()[name].values for name in ("C5", "C6"))
    by_convention, mmlu, labels = (
        "training, 6 operations per weight of the projection and cell", "benchmarking 112 models on MMLU",
        "collecting the labels of the training questions",
    )
    table = pd.DataFrame({
        "flop": {
            by_convention: 6.0 * D_PROMPT * DIM * cells, BY_CELLS: counted("cell by cell") * cells,
            BY_QUESTION: counted("by question") * cells, mmlu: GENERATION * N_MODELS * MMLU,
            labels: GENERATION * N_MODELS * N_QUESTIONS,
        },
        "seconds": {what: seconds for what, (seconds, _) in measured.items()},
        "megabytes": {what: megabytes for what, (_, megabytes) in measured.items()},
        "paper": {by_convention: f"{training['flop'] / 1e12:.2f} TFLOP, some {benchmarking['generations']} generations",
                  mmlu: f"{benchmarking['ratio']:,} times its training or more"},
    }).loc[[by_convention, BY_CELLS, BY_QUESTION, mmlu, labels]]
    table["dollars"] = (table["seconds"] * CPU).fillna(table["flop"] * GPU)
    table.loc["labels and training by question"] = table.loc[[labels, BY_QUESTION], ["flop", "dollars"]].sum()
    table["generations"] = table["flop"] / GENERATION
    columns = ["flop", "generations", "seconds", "megabytes", "dollars", "paper"]
    return table.fillna({"paper": ""})[columns].rename_axis("what").reset_index()
