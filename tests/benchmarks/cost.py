"""What training, benchmarking and collecting labels cost, counted in floating-point operations.

Convention: a multiply-add is two operations; what `torch.utils.flop_counter` counts, which is matrix products.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from per_cell import PerCell
from torch.utils.flop_counter import FlopCounterMode

from embedllm.factorization import Factorization
from embedllm.training import Trained, _flattened

# The paper's setting and figures (rebuttal on cost, see the review thread of arXiv 2410.02223).
N_MODELS, N_QUESTIONS, D_PROMPT, DIM, EPOCHS = 112, 18_000, 768, 232, 50
PAPER_TRAINING, PAPER_GENERATIONS, PAPER_RATIO = 107.71e12, 60, 26_000
MMLU = 14_000  # questions
GENERATION = 2 * 7e9 * 128  # 128 tokens by a model of 7 billion parameters: 2 x parameters x tokens
# Assumed price: a GPU of 989 TFLOP/s (dense bfloat16) at 40 % use for 2 dollars an hour.
DOLLARS = 2 / 3600 / (0.4 * 989e12)  # an operation


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
            _, weights, gradients = _flattened(like._initialise(n_models, d_prompt, generator, "cpu"))
            Trained._descent(like, weights, gradients, e, labels, labels)
    return counter.get_total_flops() / (batch * n_models)


def cost_table() -> pd.DataFrame:
    """Columns ``what``, ``flop``, ``generations`` (of 128 tokens by 7 billion parameters), ``dollars``, ``paper``."""
    cells = N_MODELS * N_QUESTIONS * EPOCHS
    flop = {
        "training, 6 operations a weight of the projection, a cell": 6.0 * D_PROMPT * DIM * cells,
        "training cell by cell, counted": counted("cell by cell") * cells,
        "training by question, counted": counted("by question") * cells,
        "benchmarking 112 models on MMLU": GENERATION * N_MODELS * MMLU,
        "collecting the labels of the training questions": GENERATION * N_MODELS * N_QUESTIONS,
    }
    flop["labels and training by question"] = (flop["collecting the labels of the training questions"]
                                               + flop["training by question, counted"])
    paper = {
        "training, 6 operations a weight of the projection, a cell":
            f"{PAPER_TRAINING:.5g} FLOP, some {PAPER_GENERATIONS} generations",
        "benchmarking 112 models on MMLU": f"{PAPER_RATIO:,} times its training or more",
    }
    table = pd.DataFrame({"what": list(flop), "flop": list(flop.values())})
    return table.assign(generations=table["flop"] / GENERATION, dollars=table["flop"] * DOLLARS,
                        paper=table["what"].map(paper).fillna(""))
