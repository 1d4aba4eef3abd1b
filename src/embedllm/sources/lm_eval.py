"""The per-sample logs of the lm-evaluation-harness: ``lm_eval --log_samples --output_path <folder>``.

A run leaves ``<model>/results_<time>.json`` and, for each task, ``<model>/samples_<task>_<time>.jsonl``, one JSON
object a line: a document, the requests it became, the metrics by one filter. Early versions write ``.json`` or one
JSON list; 0.4.0 to 0.4.2 ``results.json`` and ``<arguments of the model>_<task>.jsonl``. Each may be gzipped.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix, abbreviate
from embedllm.sources._files import checksum
from embedllm.sources._lm_eval_metrics import choose_metrics, named, parse_metric, scores_of
from embedllm.sources._lm_eval_prompts import BEGINNING, CUT, WHOLE, shots_of, spoken, without_examples
from embedllm.sources._lm_eval_runs import Log, find_logs
from embedllm.sources._lm_eval_samples import Samples, is_text, prompts_at, read_samples, texts_at, values_of
from embedllm.sources._rows import from_rows

COLLECTIONS = ("leaderboard", "openllm", "pythia", "tinyBenchmarks")  # groups of the harness without a common subject
WITNESSES = 50  # further prompts of a log, read to see what all begin with
MANY = 20  # files: more of them get one checksum together
TOLD = 5  # damaged files that one error names
OPTION = re.compile(r"\s*\(?(?:[A-Za-z]|\d\d?)[).:]\s+")  # the letter or number of an option, at the start of a line


def load(path: Path, *, duplicates: str = "first", metric: str = "") -> OutcomeMatrix:
    """Read the logs of any number of models.

    Parameters
    ----------
    path : Path
        Folder that holds the files of samples, at any depth. A model is what the results file beside them says; only
        where there is none, the folder names it, ``__`` read as ``/``.
    duplicates : {"first", "mean", "max", "majority"}
        The score of a document that occurs more than once in a file, see `from_rows`. Early versions repeat
        a document for each filter without naming it: "first" is then the first filter.
    metric : str
        What to take as score: a metric, as ``acc_norm``, or one by a filter, as ``exact_match,strict-match``; or
        several separated by ``;``, each for a task, as ``gsm8k=exact_match,strict-match; acc_norm``, the one
        without a task for all others. Tasks that do not log the latter, and all where it is "", take ``acc``, else
        ``exact_match``, else their only metric that is a number in [0, 1] and for which lower is not better. Where
        no filter is named, the first of the task.

    Returns
    -------
    OutcomeMatrix
        A question is a document of a task, told by its hash, ``<task>/<doc_id>``; a different document under the same
        number is a question of its own, unless its text differs only in the order of its lines. The prompt is the
        text sent to most models (the first by name if as many), without the worked examples before the question
        where these can be told from it (`without_examples`). ``sub_benchmark`` is the task; ``benchmark`` is the
        topmost group that holds it in any results file (`COLLECTIONS` aside; groups with a score of their own go
        first) or, in no group, the task.

        A model run with other arguments, or asked a task in several ways, is several models, each named by what
        tells it apart, as ``org/model (revision=step1000)``. Of several runs of a task in which all that makes the
        answers is equal, seeds aside, the one with most documents counts, and of these the newest.

    Raises
    ------
    OutcomeError
        If there are no samples, a line is no sample, a score is no number in [0, 1], no metric can be chosen, or
        the logs of one task hold different metrics or filters.
    """
    path = Path(path)
    logs, results, variants, faults = find_logs(path)
    logs, samples, dropped = _counted(logs, faults)
    _refuse(faults)
    contents = [content for _, content in results]
    chosen = choose_metrics(logs, samples, contents, parse_metric(metric, {log.task for log in logs}))
    parts, missing, several, scored = [], 0, 0, defaultdict(set)
    for number, (log, found, (name, kept)) in enumerate(zip(logs, samples, chosen, strict=True)):
        try:
            scores = scores_of(log, found, name, kept)
        except OutcomeError as error:
            faults.append(error)
            continue
        parts.append(found.rows[found.rows["filter"] == kept].assign(score=scores, log=number))
        missing += int(np.isnan(scores).sum())
        several += len(found.filters) > 1 and f",{found.filters[kept]}" not in metric.replace(" ", "")
        scored[named(name, found.filters[kept])].add(log.task)
    _refuse(faults)
    names = sorted({log.model for log in logs})
    rows = pd.concat(parts, ignore_index=True)
    rows["model"] = np.array([names.index(log.model) for log in logs])[rows["log"]]
    rows["task"] = np.array([log.task for log in logs], dtype=object)[rows["log"]]
    rows["question"] = _by_document(rows)
    numbers = rows[["question", "doc_id"]].drop_duplicates()["question"].duplicated().sum()
    rows["question"], documents = pd.factorize(_by_text(logs, rows))[0], rows["question"].nunique()
    questions, repairs = _questions(logs, rows)
    group = _groups({log.task for log in logs}, contents)
    return from_rows(
        pd.DataFrame({
            "model": np.array(names, dtype=object)[rows["model"]],
            "question_id": questions["question_id"].to_numpy(object)[rows["question"]],
            "score": rows["score"],
        }),
        questions.assign(benchmark=questions["sub_benchmark"].map(group)).sort_values("rank").drop(columns="rank"),
        pd.DataFrame({"model": names}),
        duplicates=duplicates,
        provenance={
            "source": "lm-eval",
            **{f"tasks scored by {name}": abbreviate(sorted(tasks)) for name, tasks in sorted(scored.items())},
            **_checksums(path, [*(log.file for log in logs), *(file for file, _ in results)]),
        },
        repairs={
            "variants of a model, told apart by name": variants,
            **{kind: [str(file.relative_to(path)) for file in files] for kind, files in dropped.items()},
            "files with several filters, the first taken": several,
            "samples without the metric, taken as never asked": missing,
            "questions under several document numbers, matched by their document": int(numbers),
            "documents with the lines of another, in any order, taken as one question": documents - len(questions),
            **repairs,
        },
    )


def _counted(logs: list[Log], faults: list[OutcomeError]) -> tuple[list[Log], list[Samples], dict[str, list[Path]]]:
    """The log that counts of each model's task, what it holds, and the others; faults gains what cannot be read."""
    runs, kept, samples = defaultdict(list), [], []
    dropped = {"older runs of a task, not counted": [], "newer runs of a task with fewer documents, not counted": [],
               "older runs of a task, damaged": []}
    older, fewer, damaged = dropped.values()
    for log in logs:
        runs[log.model, log.task].append(log)
    for several in runs.values():
        read = []
        for log in sorted(several, key=lambda log: log.time):
            try:
                read.append((log, read_samples(log.file)))
            except OutcomeError as error:
                read.append((log, error))
        if isinstance(read[-1][1], OutcomeError):
            faults.append(read[-1][1])
            continue
        damaged += [log.file for log, found in read if isinstance(found, OutcomeError)]
        read = [(log, found) for log, found in read if isinstance(found, Samples)]
        best, found = read[0] if len(read) == 1 else max(
            read, key=lambda run: (run[1].rows["doc_id"].nunique(), run[0].time, checksum(run[0].file))
        )
        older += [log.file for log, _ in read if log is not best and log.time <= best.time]
        fewer += [log.file for log, _ in read if log.time > best.time]
        kept.append(best)
        samples.append(found)
    return kept, samples, dropped


def _refuse(faults: list[OutcomeError]) -> None:
    """Raise OutcomeError if there are faults, telling of several at once."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        more = f"; and {len(faults) - TOLD} more" if len(faults) > TOLD else ""
        raise OutcomeError(f"{len(faults)} files cannot be used: " + "; ".join(map(str, faults[:TOLD])) + more)


def _by_document(rows: pd.DataFrame) -> np.ndarray:
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


def _by_text(logs: list[Log], rows: pd.DataFrame) -> np.ndarray:
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


def _questions(logs: list[Log], rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
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


def _groups(tasks: Iterable[str], results: list[dict]) -> dict[str, str]:
    """The benchmark of each task: the topmost of its groups in any results file."""
    parents, scored = defaultdict(set), set()
    for content in results:
        scored |= set(content["groups"]) if isinstance(content.get("groups"), dict) else set()
        members = content.get("group_subtasks")
        for group, children in members.items() if isinstance(members, dict) else ():
            for child in values_of(children):
                if isinstance(child, str) and group not in COLLECTIONS and is_text(group):
                    parents[child].add(group)
    benchmark = {}
    for task in tasks:
        above, reach = set(), {task}
        while reach:  # each group once, so that a circle of groups ends
            reach = {group for name in reach for group in parents[name]} - above - {task}
            above |= reach
        eligible = above & scored or above
        top = [group for group in eligible if not parents[group] & eligible] or eligible
        benchmark[task] = min(top, default=task)
    return benchmark


def _checksums(path: Path, files: list[Path]) -> dict[str, str]:
    """The SHA-256 of each file read, or of the list of them."""
    sums = {str(file.relative_to(path)): f"sha256 {checksum(file)}" for file in sorted(files)}
    if len(sums) <= MANY:
        return sums
    together = hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in sums.items()).encode()).hexdigest()
    return {"files": f"sha256 {together} of the names and checksums of {len(sums)} files"}
