"""The planted pool written as the paper's own files, to see the study run on them where they are not at hand.

``python -m embedllm.sources.paper_files FOLDER`` writes what `embedllm.load` reads, in the paper's size: outcomes and
prompts are those of `simulated.simulate`, benchmarks have the names of the paper's ten.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeMatrix
from embedllm.sources.embedllm import FILES, SIMULATED
from embedllm.sources.simulated import draw_scores, simulate
from embedllm.splits import PARTS, split

BENCHMARKS = {
    "sums": "asdiv", "story-maths": "gsm8k", "quantities": "mathqa", "logic": "logiqa", "medicine": "medmcqa",
    "graduate-science": "gpqa", "general-knowledge": "mmlu", "physical-sense": "piqa", "social-sense": "social_iqa",
    "misconceptions": "truthfulqa_mc1",
}
SUBJECTS = (  # of MMLU, one for each subtopic
    "world_religions", "jurisprudence", "college_biology", "high_school_macroeconomics", "philosophy",
    "high_school_geography", "college_computer_science", "high_school_psychology",
)
SETS = {"extended": 546, "main": 448, "diamond": 198}  # of GPQA, each a part of the one before, with their sizes
FORMS = ("zeroshot", "n_shot")  # that each set is asked in
COLUMNS = ("prompt_id", "model_id", "category_id", "label", "model_name", "category", "prompt")
NAMES = (*FILES, "question_order.csv", "model_order.csv")


def listings(questions: pd.DataFrame, rng: np.random.Generator) -> list[list[str]]:
    """The categories that each question is listed under.

    Parameters
    ----------
    questions : DataFrame
        Of the planted pool: columns ``benchmark`` and ``subtopic``.
    rng : Generator
        Draws which sets a question of GPQA belongs to.

    Returns
    -------
    list of list of str, one for each question
        One category, for MMLU with the subject; two, four or six of GPQA.
    """
    listed = []
    for benchmark, subtopic, place in zip(
        questions["benchmark"].map(BENCHMARKS), questions["subtopic"], rng.random(len(questions)), strict=True,
    ):
        sets = [name for name, size in SETS.items() if place < size / SETS["extended"]]
        listed.append([f"gpqa_{name}_{form}" for name in sets for form in FORMS] if benchmark == "gpqa" else
                      [f"mmlu_{SUBJECTS[subtopic - 1]}" if benchmark == "mmlu" else benchmark])
    return listed


def write(table: OutcomeMatrix, folder: Path, seed: int) -> None:
    """Write the files of a planted pool, a row at a time.

    Parameters
    ----------
    table : OutcomeMatrix
        Binary, all cells observed, with the reference "true probability", as `simulate` gives it.
    folder : Path
        Is made; ``train.csv``, ``val.csv``, ``test.csv``, ``question_order.csv`` and ``model_order.csv`` go there.
    seed : int
        Draws the split (`split`), and the labels of a question listed again, each from its true probability.

    Raises
    ------
    FileExistsError
        If one of the files is there.
    """
    rng = np.random.default_rng(seed)
    listed = listings(table.questions, rng)
    ids = {category: number for number, category in enumerate(sorted({one for few in listed for one in few}))}
    names = [f"{SIMULATED}__{name}" for name in table.models.index]
    truth = table.references["true probability"]
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        streams = [stack.enter_context((folder / name).open("x", newline="", encoding="utf-8")) for name in NAMES]
        *parts, questions, models = [csv.writer(stream, lineterminator="\n") for stream in streams]
        models.writerows([("model_id", "model_name"), *enumerate(names)])
        questions.writerows([("prompt_id", "prompt"), *enumerate(table.questions["prompt"])])
        part = dict(zip(PARTS, parts, strict=True))
        for rows in parts:
            rows.writerow(COLUMNS)
        for number, (prompt, home, categories) in enumerate(zip(
            table.questions["prompt"], split(table, seed), listed, strict=True,
        )):
            for place, category in enumerate(categories):
                labels = draw_scores(truth[:, number], False, rng) if place else table.scores[:, number]
                part[home].writerows(
                    (number, model, ids[category], label, name, category, prompt)
                    for model, (name, label) in enumerate(zip(names, labels.astype(int).tolist(), strict=True)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m embedllm.sources.paper_files", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--models", type=int, default=112, help="at least 8")
    parser.add_argument("--questions", type=int, default=36_000, help="at least 10")
    parser.add_argument("--seed", type=int, default=0, help="draws the pool, the split and the repeated rows")
    told = parser.parse_args(arguments)
    if there := [name for name in NAMES if (told.folder / name).exists()]:
        raise SystemExit(f"{told.folder} holds {there[0]} already: name another folder")
    write(simulate(n_models=told.models, n_questions=told.questions, data_seed=told.seed), told.folder, told.seed)


if __name__ == "__main__":
    main()
