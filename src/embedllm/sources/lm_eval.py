"""The per-sample logs of the lm-evaluation-harness: ``lm_eval --log_samples --output_path <folder>``.

A run leaves ``<model>/results_<time>.json`` and, for each task, ``<model>/samples_<task>_<time>.jsonl``, one JSON
object a line: a document, the requests it became, the metrics by one filter. Early versions write ``.json`` or one
JSON list; 0.4.0 to 0.4.2 ``results.json`` and ``<arguments of the model>_<task>.jsonl``. Each may be gzipped.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix, abbreviate
from embedllm.sources._files import checksum
from embedllm.sources._lm_eval_metrics import choose_metrics, named, parse_metric, scores_of
from embedllm.sources._lm_eval_questions import by_document, by_text, read_questions
from embedllm.sources._lm_eval_runs import Log, find_logs
from embedllm.sources._lm_eval_samples import Samples, is_text, read_samples, values_of
from embedllm.sources._rows import from_rows

COLLECTIONS = ("leaderboard", "openllm", "pythia", "tinyBenchmarks")  # groups of the harness without a common subject
MANY = 20  # files: more of them get one checksum together
TOLD = 5  # damaged files that one error names


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
        rows = found.rows if len(found.filters) == 1 else found.rows[found.rows["filter"] == kept]
        parts.append(rows.assign(score=scores, log=number))
        missing += int(np.isnan(scores).sum())
        several += len(found.filters) > 1 and f",{found.filters[kept]}" not in metric.replace(" ", "")
        scored[named(name, found.filters[kept])].add(log.task)
    _refuse(faults)
    names = sorted({log.model for log in logs})
    rows = pd.concat(parts, ignore_index=True)
    rows["model"] = np.array([names.index(log.model) for log in logs])[rows["log"]]
    rows["task"] = np.array([log.task for log in logs], dtype=object)[rows["log"]]
    rows["question"] = by_document(rows)
    numbers = rows[["question", "doc_id"]].drop_duplicates()["question"].duplicated().sum()
    rows["question"], documents = pd.factorize(by_text(logs, rows))[0], rows["question"].nunique()
    questions, repairs = read_questions(logs, rows)
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
