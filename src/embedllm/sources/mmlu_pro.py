"""MMLU-Pro: 29 LLMs on 12,032 questions of 14 subjects, and what is publicly known about these LLMs.

The outcomes come from the files ``eval_results/model_outputs_<model>_5shots.zip`` of
github.com/TIGER-AI-Lab/MMLU-Pro, prepared as two tables (see `directory.load` for their form).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from embedllm.outcomes import OutcomeMatrix
from embedllm.sources import directory

# A model trained further from another carries that one's name as its base_model, also where that one is
# not among the 29; a model without a published base is its own. Billions of parameters: all, and those
# active for a token, which differ for mixtures of experts; None where the maker publishes no number.
FACTS = (
    # model, family, base_model, kind, parameters_b, active_parameters_b
    # Model card deepseek-ai/DeepSeek-Coder-V2-Base: 236B, 21B active, trained on from DeepSeek-V2.
    ("DeepSeek-Coder-V2", "deepseek", "DeepSeek-V2", "code", 236, 21),
    # Model cards meta-llama/Llama-2-*-hf.
    ("Llama-2-13b-hf", "llama-2", "Llama-2-13b-hf", "base", 13, 13),
    ("Llama-2-70b-hf", "llama-2", "Llama-2-70b-hf", "base", 70, 70),
    ("Llama-2-7b-hf", "llama-2", "Llama-2-7b-hf", "base", 7, 7),
    # Model cards meta-llama/Meta-Llama-3-* and meta-llama/Llama-3.1-* (pre-trained anew).
    ("Meta-Llama-3-70B", "llama-3", "Meta-Llama-3-70B", "base", 70, 70),
    ("Meta-Llama-3-8B", "llama-3", "Meta-Llama-3-8B", "base", 8, 8),
    ("Meta-Llama-3_1-70B", "llama-3", "Meta-Llama-3_1-70B", "base", 70, 70),
    ("Meta-Llama-3_1-70B-Instruct", "llama-3", "Meta-Llama-3_1-70B", "chat", 70, 70),
    ("Meta-Llama-3_1-8B", "llama-3", "Meta-Llama-3_1-8B", "base", 8, 8),
    ("Meta-Llama-3_1-8B-Instruct", "llama-3", "Meta-Llama-3_1-8B", "chat", 8, 8),
    # Model cards mistralai/Mistral-7B-* and mistralai/Mathstral-7B-v0.1 ("based on Mistral 7B").
    ("Mistral-7B-Instruct-v0.1", "mistral", "Mistral-7B-v0.1", "chat", 7, 7),
    ("Mistral-7B-Instruct-v0.2", "mistral", "Mistral-7B-v0.2-hf", "chat", 7, 7),
    ("Mistral-7B-v0.1", "mistral", "Mistral-7B-v0.1", "base", 7, 7),
    ("Mistral-7B-v0.2-hf", "mistral", "Mistral-7B-v0.2-hf", "base", 7, 7),
    ("mathstral-7B", "mistral", "Mistral-7B-v0.1", "math", 7, 7),
    # Jiang et al. 2024, Mixtral of Experts, arXiv 2401.04088: 47B, 13B active.
    ("Mixtral-8x7B-Instruct-v0.1", "mixtral", "Mixtral-8x7B-v0.1", "chat", 47, 13),
    ("Mixtral-8x7B-v0.1", "mixtral", "Mixtral-8x7B-v0.1", "base", 47, 13),
    # Model card microsoft/Phi-3-mini-4k-instruct; its base was not published.
    ("Phi-3-mini-4k-instruct", "phi-3", "Phi-3-mini-4k-instruct", "chat", 3.8, 3.8),
    # Model cards Qwen/Qwen1.5-*.
    ("Qwen1.5-110B", "qwen-1.5", "Qwen1.5-110B", "base", 110, 110),
    ("Qwen1.5-72B-Chat", "qwen-1.5", "Qwen1.5-72B", "chat", 72, 72),
    ("Qwen1.5-7B-Chat", "qwen-1.5", "Qwen1.5-7B", "chat", 7, 7),
    # Model cards 01-ai/Yi-*.
    ("Yi-34B", "yi", "Yi-34B", "base", 34, 34),
    ("Yi-6B", "yi", "Yi-6B", "base", 6, 6),
    ("Yi-6b-Chat", "yi", "Yi-6B", "chat", 6, 6),
    # Model card CohereForAI/c4ai-command-r-v01; its base was not published.
    ("c4ai-command-r-v01", "command-r", "c4ai-command-r-v01", "chat", 35, 35),
    # Gemini Team 2024, arXiv 2403.05530: sizes not published.
    ("gemini-1.5-flash-002", "gemini-1.5", "gemini-1.5-flash-002", "chat", None, None),
    ("gemini-1.5-pro-002", "gemini-1.5", "gemini-1.5-pro-002", "chat", None, None),
    # Model card google/gemma-7b.
    ("gemma-7b", "gemma", "gemma-7b", "base", 7, 7),
    # Model card ai21labs/AI21-Jamba-1.5-Large: 398B, 94B active; its base was not published.
    ("jamba-1.5-large", "jamba-1.5", "jamba-1.5-large", "chat", 398, 94),
)


def facts() -> pd.DataFrame:
    """What is publicly known about the models.

    Returns
    -------
    DataFrame, one row a model
        Columns ``model``, ``family``, ``base_model``, ``kind`` (base, chat, code or math),
        ``parameters_b`` and ``active_parameters_b`` (float64, billions, NaN where unpublished).
    """
    columns = ["model", "family", "base_model", "kind", "parameters_b", "active_parameters_b"]
    return pd.DataFrame(list(FACTS), columns=columns)


def load(path: Path) -> OutcomeMatrix:
    """Read the prepared tables from a folder.

    Parameters
    ----------
    path : Path
        Folder with ``outcomes.parquet`` (``model``, ``question_id``, ``label``) and
        ``questions.parquet`` (``question_id``, ``prompt``, ``category``, ``src``).

    Returns
    -------
    OutcomeMatrix
        The benchmark of a question is its subject; the finer origin stays as the column ``src``. The
        facts about models are those of `facts`, whatever models file lies in the folder.

    Raises
    ------
    OutcomeError
        As `directory.load`.
    """
    return directory.load(path, models=facts())
