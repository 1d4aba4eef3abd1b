"""Which question each sample of the lm-evaluation-harness answers, and what that question's prompt is."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
import pandas as pd

from embedllm.sources._lm_eval_prompts import BEGINNING, CUT, WHOLE, shots_of, spoken, without_examples
from embedllm.sources._lm_eval_runs import Log
from embedllm.sources._lm_eval_samples import prompts_at, texts_at

WITNESSES = 50  # further prompts of a log, read to see what all begin with
OPTION = re.compile(r"\s*\(?(?:[A-Za-z]|\d\d?)[).:]\s+")  # the letter or number of an option, at the start of a line


def by_document(rows: pd.DataFrame) -> np.ndarray:
    """The number of the question of each row, from 0: one for a document of a task, whatever its number.

    A document that a log holds under several numbers is as many questions, in the order of these numbers.
    """
    keys, held = rows[["task", "document"]].assign(nth=0), rows[["log", "document", "doc_id"]]
    ids = held.drop_duplicates()
    if ids.duplicated(["log", "document"]).any():
        ids = ids.assign(length=ids["doc_id"].str.len()).sort_values(["length", "doc_id"])
        ids["nth"] = ids.groupby(["log", "document"]).cumcount()
        keys["nth"] = held.merge(ids, how="left", on=list(held))["nth"].to_numpy()
    return keys.groupby(list(keys), sort=False).ngroup().to_numpy()


def by_text(logs: list[Log], rows: pd.DataFrame) -> np.ndarray:
    """The questions of the rows once more; those under one document number whose prompts hold the same lines are one.

    Not so if one log holds both, or if the prompts are the same and the right answers are not.
    """
    places = _commonest(rows, "question", "doc_id").drop_duplicates("question")
    clash = places[places.duplicated(["task", "doc_id"], keep=False)]
    logs_of = rows[rows["question"].isin(clash["question"])].groupby("question")["log"].agg(set)
    same = defaultdict(list)
    for number, group in clash.groupby("log"):
        for row, (text, target) in zip(group.itertuples(), texts_at(logs[number].file, group["offset"]), strict=True):
            lines = tuple(sorted(OPTION.sub("", line, count=1).strip() for line in spoken(text).splitlines()))
            same[row.task, row.doc_id, lines].append((row.question, text, target))
    joined = np.arange(rows["question"].max() + 1)
    for several in same.values():
        numbers = [number for number, *_ in several]
        alone = sum(map(len, logs_of[numbers])) == len(set.union(*logs_of[numbers]))
        if alone and len({text for _, text, _ in several}) == len({tuple(told) for _, *told in several}):
            joined[numbers] = min(numbers)
    return joined[rows["question"]]


def _commonest(rows: pd.DataFrame, key: str, value: str) -> pd.DataFrame:
    """A row for each value at each key, those of most models first (as many: of the first model)."""
    of_models = rows.drop_duplicates(["model", key, value])
    models = of_models.groupby([key, value], sort=False).size().to_numpy()
    return of_models.drop_duplicates([key, value]).assign(models=models).sort_values(
        "models", ascending=False, kind="stable"
    )


def read_questions(logs: list[Log], rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Id, prompt, task and rank of each question, in the order of their numbers in rows; and the repairs."""
    documents = _commonest(rows, "question", "doc_id").drop_duplicates("question")
    documents = documents.assign(models=rows.groupby("question")["model"].nunique()[documents["question"]].to_numpy())
    documents = documents.sort_values(["models", "log"], ascending=[False, True], kind="stable")
    documents["other"] = documents.duplicated(["task", "doc_id"])
    sent = _commonest(rows, "question", "prompt")
    repairs = {
        "document numbers with different documents, taken as different questions":
            len(documents.loc[documents["other"], ["task", "doc_id"]].drop_duplicates()),
        "questions with different prompts, the commonest kept":
            int(sent.loc[sent.duplicated("question"), "question"].nunique()),
    }
    sent = sent.drop_duplicates("question").set_index("question").sort_index()
    sent[["doc_id", "other"]] = documents.set_index("question")[["doc_id", "other"]]
    texts, cut = {}, Counter()
    for number, group in sent.groupby("log"):
        found = prompts_at(logs[number].file, group["offset"])
        others = rows[rows["log"] == number].sort_values("document")["offset"].head(WITNESSES)
        said = {question: text for question, (text, bare) in zip(group.index, found, strict=True) if not bare}
        short = without_examples(
            list(said.values()), shots_of(logs[number].results, logs[number].task),
            [text for text, bare in prompts_at(logs[number].file, others) if not bare],
        )
        texts.update(zip(group.index, (text for text, _ in found), strict=True))
        texts.update(zip(said, (text for text, _ in short), strict=True))
        cut.update(kind for _, kind in short)
        cut["bare"] += len(found) - len(said)
    repairs |= {kind: cut[kind] for kind in (CUT, BEGINNING, WHOLE)}
    repairs["questions without a context, their options taken as prompt"] = cut["bare"]
    ranks = [(task, not doc_id.isdigit(), len(doc_id) * doc_id.isdigit(), doc_id, other, document)  # 2 before 10
             for task, doc_id, other, document
             in zip(sent["task"], sent["doc_id"], sent["other"], sent["document"], strict=True)]
    questions = pd.DataFrame({
        "question_id": [f"{task}/{doc_id}" + (f" (document {document:016x})" if other else "")
                        for task, _, _, doc_id, other, document in ranks],
        "prompt": [spoken(texts[question]) for question in sent.index],
        "sub_benchmark": sent["task"].to_numpy(object),
        "rank": np.argsort(sorted(range(len(ranks)), key=ranks.__getitem__)),
    })
    return questions, repairs
