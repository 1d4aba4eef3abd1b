"""Specialized models alone (Q7): vectors trained on nobody else's answers, and whether fields lie together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.experiments.comparisons import fitted
from embedllm.experiments.stability import placed
from embedllm.outcomes import OutcomeMatrix, without
from embedllm.splits import cut

KINDS = ("math", "code", "medical", "science")  # of the column ``kind``, where a source has it
# By name, checked by hand: a source's own guess takes "llamathon" for mathematics and leaves medicine out.
BY_NAME = {"metabench": {
    "code": ("AIGym/deepseek-coder-6.7b-chat", "ajibawa-2023/Code-290k-13B", "ALBADDAWI/DeepCode-7B-Aurora-v12",
             "bigcode/starcoderbase", "cloudyu/60B_MoE_Coder_v3", "codellama/CodeLlama-34b-hf",
             "codellama/CodeLlama-34b-Python-hf", "codellama/CodeLlama-70b-hf", "FelixChao/Gemma-10.2B-Coder",
             "InnerI/I-Code-NousLlama7B-slerp", "LeroyDyer/Mixtral_AI_CyberTron_Coder", "NovoCode/Novocode7b-v2",
             "rombodawg/Everyone-Coder-33b-Base", "uukuguy/speechless-code-mistral-7b-v1.0",
             "Zangs3011/mistral_7b_HalfEpoch_DolphinCoder"),
    "math": ("abacusai/MetaMath-bagel-34b-v0.2-c1500", "allknowingroger/Mistralmath-15B-pass",
             "bartowski/internlm2-math-20b-llama", "feeltheAGI/Maverick-Math-7B", "FelixChao/MathDolphin-7B",
             "fzzhang/mistralv1_gsm8k_merged", "harshitv804/MetaMath-Mistral-2x7B",
             "lqtrung1998/galactica-6.7b-ReFT-GSM8k", "macadeliccc/polyglot-math-4x7b",
             "nvidia/OpenMath-Mistral-7B-v0.1-hf", "Weyaxi/MetaMath-NeuralHermes-2.5-Mistral-7B-Linear"),
    "medicine": ("Jayant9928/orpo_med_v3", "kimou605/shadow-clown-BioMistral-7B-DARE",
                 "ruslanmv/Medical-Mixtral-7B-v2k", "Sharathhebbar24/Med_GPT2", "vikash06/doctorLLM10k",
                 "vikash06/doctorLLM5k"),
}}


def fields(table: OutcomeMatrix, dataset: str) -> pd.Series:
    """The field of each specialized model, by name where the names were checked, else by ``kind``; the others left out.

    Returns
    -------
    Series of str, indexed by model
    """
    if dataset in BY_NAME:
        found = pd.Series({name: field for field, names in BY_NAME[dataset].items() for name in names})
        return found[found.index.isin(table.models.index)].reindex(
            [name for name in table.models.index if name in found.index])
    kind = table.models.get("kind", pd.Series(None, table.models.index, dtype=object))
    return kind[kind.isin(KINDS)].astype(str)


def trained_alone(table: OutcomeMatrix, vectors: np.ndarray, models: Sequence[str]) -> np.ndarray:
    """Points of some models, from a convex embedding that learned from their answers only: (n_models, n).

    Parameters
    ----------
    table : OutcomeMatrix
        Its questions have a column ``part``.
    vectors : ndarray, shape (n_questions, d_prompt)
    """
    few = without(table, [name for name in table.models.index if name not in set(models)])
    answered = table.questions.index.isin(few.questions.index)
    parts = cut(few, vectors[answered])
    return placed(fitted(parts, catalog.CONVEX), parts["train"][1])
