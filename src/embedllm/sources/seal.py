"""The sealed part of a pool: questions and models that no notebook gets, for one later look.

``sealed.csv`` names them, drawn once before any forecaster met the pool: 20 % of the prompts of each suite, and all
models of 20 % of the lineages (``python -m embedllm.sources.seal open-llm-leaderboard <folder> union`` and
``... metabench <folder> complete``). Only `experiments.open_seal` reads them, once and on record.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.files import write
from embedllm.lineages import lineages
from embedllm.outcomes import OutcomeMatrix, prompt_groups, suites, without

SHARE = 0.2  # of a suite's prompts, and of the lineages
SEED = 16
OPEN = "mmlu_pro"  # a suite whose questions were seen long before
FILE = Path(__file__).with_name("sealed.csv")


def sealed(source: str) -> pd.DataFrame:
    """What is sealed of a source: columns ``kind`` ("question" or "model") and ``name``."""
    known = _listed()
    return known.loc[known["source"] == source, ["kind", "name"]].reset_index(drop=True)


def closed(table: OutcomeMatrix, source: str) -> OutcomeMatrix:
    """The table without sealed questions and models; ``repairs`` counts them."""
    names = sealed(source).groupby("kind")["name"].apply(set)
    models = [name for name in table.models.index if name in names.get("model", ())]
    questions = table.questions.index.astype(str).isin(names.get("question", ()))
    kept = without(table.at(~questions), models)
    return replace(
        kept, repeats=kept.repeats[~kept.repeats["question_id"].isin(table.questions.index[questions])],
        repairs={**kept.repairs, "questions sealed": int(questions.sum()), "models sealed": models})


def draw(table: OutcomeMatrix) -> pd.DataFrame:
    """Draw what is to be sealed of a table: columns ``kind`` and ``name``.

    Questions with one prompt go together: in the draw of the first of their suites, or in none where `OPEN` is among
    them. The draw does not depend on the order of the table.
    """
    rng = np.random.default_rng(SEED)
    suite = suites(table)
    first = table.questions.index.to_series().groupby(prompt_groups(table)).transform("min")
    closable = first[~first.isin(first[suite == OPEN])]
    rows = []
    for _, own in closable.groupby(suite.groupby(first).transform("min"), sort=True):
        prompts = np.sort(own.unique())
        chosen = rng.choice(prompts, round(SHARE * len(prompts)), replace=False)
        rows += [("question", name) for name in own.index[own.isin(chosen)]]
    lineage = lineages(table)
    names = np.sort(lineage.unique())
    chosen = rng.choice(names, round(SHARE * len(names)), replace=False)
    rows += [("model", name) for name in lineage.index[lineage.isin(chosen)]]
    return pd.DataFrame(rows, columns=["kind", "name"]).sort_values(["kind", "name"], ignore_index=True)


def main(source: str, folder: str, pool: str) -> None:
    """Draw the seal of a source and add it to `FILE`; refused where it is sealed already."""
    known = _listed() if FILE.exists() else pd.DataFrame(columns=["source", "kind", "name"])
    if (known["source"] == source).any():
        raise SystemExit(f"{source} is sealed already")
    module = importlib.import_module(f"embedllm.sources.{source.replace('-', '_')}")
    drawn = draw(module.read(Path(folder), pool))
    write(FILE, pd.concat([known, drawn.assign(source=source)]).to_csv(index=False))


def _listed() -> pd.DataFrame:
    """What is sealed of all sources, cells as they stand."""
    return pd.read_csv(FILE, dtype=str, keep_default_na=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
