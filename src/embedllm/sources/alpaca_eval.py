"""AlpacaEval 2: LLMs on 805 instructions of five sets, judged against a reference, and facts about 58 of these LLMs.

The judgements come from the files ``results/<model>/weighted_alpaca_eval_gpt4_turbo/annotations.json`` of
github.com/tatsu-lab/alpaca_eval, or from two tables prepared from them. The data are licensed CC BY-NC 4.0:
measure with them, do not sell or redistribute them with this project.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix
from embedllm.sources import directory
from embedllm.sources._records import field, json_type, read_list, require_text
from embedllm.sources._rows import from_rows, known_models

JUDGE = "weighted_alpaca_eval_gpt4_turbo"
REFERENCE = "gpt4_1106_preview"  # what every model is judged against
LICENSE = "CC BY-NC 4.0, github.com/tatsu-lab/alpaca_eval"

# A model trained further from another carries that one's name as its base_model, also where that one is
# not in the pool; a model without a published base is its own. Billions of parameters: all, and those
# active for a token; None where the maker publishes no number. Families follow the pre-trained base.
FACTS = (
    # model, family, base_model, kind, parameters_b, active_parameters_b
    # Not language models in the usual sense: a constant answer that attacks the judge, and a prompt made to
    # game it. Nothing is said about them, so that no probe of family or size counts them.
    ("NullModel", None, None, None, None, None),
    ("gpt4_gamed", None, None, None, None, None),
    # Model cards FuseAI/FuseChat-*: trained on from the instruction-tuned target models.
    ("FuseChat-Gemma-2-9B-Instruct", "gemma-2", "gemma-2-9b-it", "chat", 9, 9),
    ("FuseChat-Llama-3.1-8B-Instruct", "llama-3", "Llama-3.1-8B-Instruct", "chat", 8, 8),
    ("FuseChat-Llama-3.2-1B-Instruct", "llama-3", "Llama-3.2-1B-Instruct", "chat", 1, 1),
    ("FuseChat-Llama-3.2-3B-Instruct", "llama-3", "Llama-3.2-3B-Instruct", "chat", 3, 3),
    ("FuseChat-Qwen-2.5-7B-Instruct", "qwen-2.5", "Qwen2.5-7B-Instruct", "chat", 7, 7),
    # Jiang et al. 2024, Mixtral of Experts, arXiv 2401.04088: 47B, 13B active.
    ("Mixtral-8x7B-Instruct-v0.1_concise", "mixtral", "Mixtral-8x7B-Instruct-v0.1", "chat", 47, 13),
    # Model card teknium/OpenHermes-2.5-Mistral-7B.
    ("OpenHermes-2.5-Mistral-7B", "mistral", "Mistral-7B-v0.1", "chat", 7, 7),
    # Model cards Qwen/Qwen-14B-Chat and THUDM/chatglm2-6b (whose base was not published).
    ("Qwen-14B-Chat", "qwen", "Qwen-14B", "chat", 14, 14),
    ("chatglm2-6b", "chatglm2", "chatglm2-6b", "chat", 6, 6),
    # Taori et al. 2023, Stanford Alpaca; Dubois et al. 2023, AlpacaFarm, arXiv 2305.14387: both from LLaMA 7B.
    ("alpaca-7b", "llama", "llama-7b", "chat", 7, 7),
    ("alpaca-7b_concise", "llama", "alpaca-7b", "chat", 7, 7),
    ("alpaca-7b_verbose", "llama", "alpaca-7b", "chat", 7, 7),
    ("alpaca-farm-ppo-human", "llama", "llama-7b", "chat", 7, 7),
    ("alpaca-farm-ppo-sim-gpt4-20k", "llama", "llama-7b", "chat", 7, 7),
    # Further trained from LLaMA: Xu et al. 2023, Baize, arXiv 2304.01196; model cards lmsys/vicuna-*,
    # openaccess-ai-collective/minotaur-13b, NousResearch/Nous-Hermes-13b, openbmb/UltraLM-13b,
    # WizardLM/WizardLM-13B-V1.0, OpenAssistant/oasst-*-llama-30b-*, OpenBuddy/openbuddy-llama-30b-v7.1-bf16.
    # The size that was released as 30B is 33B in Touvron et al. 2023, arXiv 2302.13971.
    ("baize-v2-13b", "llama", "llama-13b", "chat", 13, 13),
    ("minotaur-13b", "llama", "llama-13b", "chat", 13, 13),
    ("nous-hermes-13b", "llama", "llama-13b", "chat", 13, 13),
    ("oasst-rlhf-llama-33b", "llama", "llama-33b", "chat", 33, 33),
    ("oasst-sft-llama-33b", "llama", "llama-33b", "chat", 33, 33),
    ("openbuddy-llama-30b-v7.1", "llama", "llama-33b", "chat", 33, 33),
    ("ultralm-13b", "llama", "llama-13b", "chat", 13, 13),
    ("vicuna-13b", "llama", "llama-13b", "chat", 13, 13),
    ("vicuna-7b", "llama", "llama-7b", "chat", 7, 7),
    ("vicuna-7b-v1.3", "llama", "llama-7b", "chat", 7, 7),
    ("wizardlm-13b", "llama", "llama-13b", "chat", 13, 13),
    # From Llama 2: model cards lmsys/vicuna-*-v1.5 (one of them served twice), OpenBuddy/openbuddy-llama2-*;
    # Li et al. 2023, Humpback, arXiv 2308.06259.
    ("humpback-llama2-70b", "llama-2", "Llama-2-70b", "chat", 70, 70),
    ("openbuddy-llama2-13b-v11.1", "llama-2", "Llama-2-13b", "chat", 13, 13),
    ("openbuddy-llama2-70b-v10.1", "llama-2", "Llama-2-70b", "chat", 70, 70),
    ("vicuna-13b-v1.5", "llama-2", "Llama-2-13b", "chat", 13, 13),
    ("vicuna-13b-v1.5-togetherai", "llama-2", "Llama-2-13b", "chat", 13, 13),
    ("vicuna-7b-v1.5", "llama-2", "Llama-2-7b", "chat", 7, 7),
    # Zhang et al. 2023, arXiv 2311.07052: MiniChat from MiniMA, which was distilled from Llama 2.
    ("minichat-3b", "minima", "MiniMA-3B", "chat", 3, 3),
    # Model cards tiiuae/falcon-*-instruct and OpenBuddy/openbuddy-falcon-40b-v9-bf16.
    ("falcon-40b-instruct", "falcon", "falcon-40b", "chat", 40, 40),
    ("falcon-7b-instruct", "falcon", "falcon-7b", "chat", 7, 7),
    ("openbuddy-falcon-40b-v9", "falcon", "falcon-40b", "chat", 40, 40),
    # Model cards google/gemma-*-it.
    ("gemma-2b-it", "gemma", "gemma-2b", "chat", 2, 2),
    ("gemma-7b-it", "gemma", "gemma-7b", "chat", 7, 7),
    # Model cards OpenAssistant/*pythia-12b*.
    ("oasst-sft-pythia-12b", "pythia", "pythia-12b", "chat", 12, 12),
    ("pythia-12b-mix-sft", "pythia", "pythia-12b", "chat", 12, 12),
    # Model cards microsoft/phi-2 and lxuechen/phi-2-sft.
    ("phi-2", "phi-2", "phi-2", "base", 2.7, 2.7),
    ("phi-2-sft", "phi-2", "phi-2", "chat", 2.7, 2.7),
    # Sizes and bases not published; the family is the maker's line of models (OpenAI's Model index for
    # researchers counts text-davinci-003 to GPT-3.5 and text-davinci-001 to InstructGPT before it).
    ("claude", "claude", "claude", "chat", None, None),
    ("claude-2", "claude", "claude-2", "chat", None, None),
    ("claude-2.1", "claude", "claude-2.1", "chat", None, None),
    ("claude-2.1_concise", "claude", "claude-2.1", "chat", None, None),
    ("claude-instant-1.2", "claude", "claude-instant-1.2", "chat", None, None),
    ("gpt-3.5-turbo-0301", "gpt-3.5", "gpt-3.5-turbo-0301", "chat", None, None),
    ("gpt-3.5-turbo-1106", "gpt-3.5", "gpt-3.5-turbo-1106", "chat", None, None),
    ("gpt-3.5-turbo-1106_concise", "gpt-3.5", "gpt-3.5-turbo-1106", "chat", None, None),
    ("gpt-3.5-turbo-1106_verbose", "gpt-3.5", "gpt-3.5-turbo-1106", "chat", None, None),
    ("gpt35_turbo_instruct", "gpt-3.5", "gpt35_turbo_instruct", "chat", None, None),
    ("gpt4_0613_concise", "gpt-4", "gpt4_0613", "chat", None, None),
    ("gpt4_1106_preview", "gpt-4", "gpt4_1106_preview", "chat", None, None),
    ("jina-chat", "jina-chat", "jina-chat", "chat", None, None),
    ("text_davinci_001", "gpt-3", "text_davinci_001", "chat", None, None),
    ("text_davinci_003", "gpt-3.5", "text_davinci_003", "chat", None, None),
)


def facts() -> pd.DataFrame:
    """What is publicly known about the models.

    Returns
    -------
    DataFrame, one row a model, by name
        Columns ``model``, ``family``, ``base_model``, ``kind`` (base or chat), ``parameters_b`` and
        ``active_parameters_b`` (float64, billions, NaN where unpublished). Two entries that are no language
        models, `NullModel` and `gpt4_gamed`, have a name only.
    """
    columns = ["model", "family", "base_model", "kind", "parameters_b", "active_parameters_b"]
    return pd.DataFrame(sorted(FACTS, key=lambda row: row[0]), columns=columns)


def load(path: Path, *, duplicates: str = "first") -> OutcomeMatrix:
    """Read the judgements from a folder, prepared or as published.

    Parameters
    ----------
    path : Path
        Folder with ``outcomes.parquet`` (``model``, ``question_id``, ``score``) and ``questions.parquet``
        (``question_id``, ``prompt``, ``category``); or a clone of the public repository, or its folder
        ``results``.
    duplicates : str
        Rule for repeated (model, question) rows, see `from_rows`.

    Returns
    -------
    OutcomeMatrix
        The score is ``preference - 1``, in [0, 1]: the judged probability that the model's answer beats the
        reference's. Of published files: a model is named as its folder; an instruction is recognized by its
        text and set (``dataset``, the benchmark), whatever blanks surround it, however Unicode composes it
        and whatever the case of the set's name, and numbered from 0 in the order of the longest file, whose
        spelling is kept.
        Scores carry the ten decimals of the files, those of the prepared table four.

    Raises
    ------
    OutcomeError
        As `directory.load` for prepared tables. Otherwise if a file cannot be read, is above 256 MiB, is no
        JSON list in UTF-8, or if a record lacks a field, has one of the wrong type or a preference outside
        [1, 2]; the message names the file and the entry, counted from 1.

    Notes
    -----
    Not asked, and counted in ``repairs``: a preference of null, NaN or -1 (the judge failed), and a record
    judged against another reference than `REFERENCE`.
    """
    path = Path(path)
    if directory.holds_outcomes(path):
        table = directory.load(path, facts(), duplicates=duplicates)
        return replace(table, provenance={**table.provenance, "source": "alpaca-eval", "license": LICENSE})
    results = path / "results" if (path / "results").is_dir() else path
    files = {file.parts[-3]: file for file in sorted(results.glob(f"*/{JUDGE}/annotations.json"))}
    if not files:
        raise OutcomeError(
            f"{path} holds neither outcomes.parquet and questions.parquet nor files results/<model>/{JUDGE}/"
            "annotations.json; set DATA_DIR to a folder that does, such as a clone of github.com/tatsu-lab/alpaca_eval"
        )
    outcomes, questions, repairs, seen = _from_records(files)
    models, unknown = known_models(files, facts())
    unjudged = sorted(folder.name for folder in results.iterdir() if folder.is_dir() and folder.name not in files)
    try:
        return from_rows(
            outcomes, questions, models, duplicates=duplicates,
            provenance={"source": "alpaca-eval", "license": LICENSE, "files": f"{len(files)} files, sha256 {seen}"},
            repairs={**repairs, f"folders without a judgement by {JUDGE}": unjudged,
                     "models without a row of facts": unknown},
        )
    except OutcomeError as error:
        raise OutcomeError(f"{path}: {error}") from None


def _from_records(files: Mapping[str, Path]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int | list[str]], str]:
    """Outcomes, questions, what was mended, and one checksum of all files with the names of their models."""
    asked: dict[str, list[tuple[str, str]]] = {}  # model: set and instruction of each record, as written
    scores: list[float | None] = []
    broken = foreign = failed = 0
    seen = hashlib.sha256()
    for model, file in files.items():
        entries, data = read_list(file)
        seen.update(f"{hashlib.sha256(data).hexdigest()}  {model}\n".encode(errors="surrogateescape"))
        asked[model] = []
        for number, record in enumerate(entries, start=1):
            if not isinstance(record, dict):
                broken += 1
                continue
            where = f"{file}, entry {number}"
            asked[model].append((require_text(record, "dataset", where), require_text(record, "instruction", where)))
            # Some versions of the public code write "generator".
            first = "generator" if "generator" in record and "generator_1" not in record else "generator_1"
            other = require_text(record, first, where) != REFERENCE
            score = _score(record, where)
            foreign += other
            failed += score is None
            scores.append(None if other else score)
    longest_first = sorted(asked.values(), key=len, reverse=True)  # a file may lack instructions
    written = dict.fromkeys(pair for pairs in longest_first for pair in pairs)  # each pair once, in order
    keys = {pair: _key(*pair) for pair in written}
    sets: dict[str, str] = {}  # each under its first spelling
    spelt: dict[tuple[str, str], tuple[str, str]] = {}
    for (origin, instruction), key in keys.items():
        spelt.setdefault(key, (sets.setdefault(key[0], origin), instruction))
    position = {key: number for number, key in enumerate(spelt)}
    places = {model: [position[keys[pair]] for pair in pairs] for model, pairs in asked.items()}
    outcomes = pd.DataFrame({
        "model": [model for model, numbers in places.items() for _ in numbers],
        "question_id": [str(number) for numbers in places.values() for number in numbers],
        "score": pd.Series(scores, dtype="float64"),
    })
    questions = pd.DataFrame(
        [(str(position[key]), instruction, origin) for key, (origin, instruction) in spelt.items()],
        columns=["question_id", "prompt", "benchmark"], dtype=object,
    )
    return outcomes, questions, {
        "entries that are no records, left out": broken,
        "records repeated in a file": sum(len(numbers) - len(set(numbers)) for numbers in places.values()),
        "records that the judge failed at, taken as not asked": failed,
        "records judged against another reference, taken as not asked": foreign,
        "records that write a question or its set in another way, matched all the same":
            sum(spelt[keys[pair]] != pair for pairs in asked.values() for pair in pairs),
        "questions that a model lacks": [f"{model} ({len(position) - len(set(numbers)):,})"
                                         for model, numbers in places.items() if len(set(numbers)) < len(position)],
        "files in another order, matched by text": [m for m, numbers in places.items() if numbers != sorted(numbers)],
    }, seen.hexdigest()


def _key(origin: str, instruction: str) -> tuple[str, str]:
    """What two files must share in a set and an instruction for these to be the same question."""
    return (unicodedata.normalize("NFC", origin.strip()).casefold(), unicodedata.normalize("NFC", instruction.strip()))


def _score(record: Mapping, where: str) -> float | None:
    """The judged probability of beating the reference; None where the judge failed."""
    value = field(record, "preference", where)
    if value is None or (type(value) in (int, float) and (value == -1 or value != value)):
        return None
    if type(value) not in (int, float) or not 1 <= value <= 2:
        raise OutcomeError(
            f"{where}: the field preference must be a number in [1, 2] or null, found {json_type(value)}")
    return value - 1.0
