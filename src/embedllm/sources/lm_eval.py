"""The per-sample logs of the lm-evaluation-harness: ``lm_eval --log_samples --output_path <folder>``.

A run leaves ``<model>/results_<time>.json`` and, for each task, ``<model>/samples_<task>_<time>.jsonl`` (early
versions: ``.json``), one JSON object a line: a document, the requests it became, the metrics by one filter.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError, OutcomeMatrix, abbreviate
from embedllm.sources._files import checksum
from embedllm.sources._lm_eval_prompts import BEGINNING, CUT, WHOLE, shots_of, without_examples
from embedllm.sources._lm_eval_samples import Samples, is_text, prompts_at, read_object, read_samples, values_of
from embedllm.sources._rows import from_rows

COLLECTIONS = ("leaderboard", "openllm", "pythia", "tinyBenchmarks")  # groups of the harness without a common subject
WITNESSES = 50  # further prompts of a log, read to see what all begin with
MANY = 20  # files: more of them get one checksum together
TIME = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?"
SAMPLES = re.compile(rf"samples_(?P<task>.+?)(?:_(?P<time>{TIME}))?\.jsonl?")
RESULTS = re.compile(rf"(?!samples_)(?:results|.+_(?P<time>{TIME}))\.json")
FORBIDDEN = re.compile(r"[\"<>:/|\\?*\[\]]+")  # the harness writes __ for these in the name of a folder


class _Log(NamedTuple):
    """A file of samples, whose it is and the results of its run ({} for none); ``time`` is "" where none is told."""

    model: str
    task: str
    time: str
    file: Path
    results: dict


def load(path: Path, *, duplicates: str = "first", metric: str = "") -> OutcomeMatrix:
    """Read the logs of any number of models.

    Parameters
    ----------
    path : Path
        Folder that holds the files of samples, at any depth. A model bears the name in the results file beside
        them where the folder is called after it, and otherwise that of the folder, ``__`` read as ``/``.
    duplicates : {"first", "mean", "max", "majority"}
        The score of a document that occurs more than once in a file, see `from_rows`. Early versions repeat
        a document for each filter without naming it: "first" is then the first filter.
    metric : str
        What to take as score: a metric, as ``acc_norm``, or one by a filter, as ``exact_match,strict-match``.
        Tasks that do not log it, and all where it is "", take ``acc``, else ``exact_match``, else their only
        metric that is a number in [0, 1]. Where no filter is named, the first of the file.

    Returns
    -------
    OutcomeMatrix
        A question is a document of a task, ``<task>/<doc_id>``; a different document under the same number is
        a question of its own. The prompt is the text sent to most models (the first by name if as many), without
        the worked examples before the question where these can be told from it (`without_examples`).
        ``sub_benchmark`` is the task; ``benchmark`` is the topmost group that holds it in any results file
        (`COLLECTIONS` aside; groups with a score of their own go first) or, in no group, the task. Of several
        runs of a task by one model the newest counts.

    Raises
    ------
    OutcomeError
        If there are no samples, a line is no sample, a score is no number in [0, 1], no metric can be chosen, or
        the logs of one task hold different metrics or filters.
    """
    path = Path(path)
    logs, results, older = _find(path)
    samples = [read_samples(log.file, metric) for log in logs]
    scored = _agreed(logs, samples, metric)
    names = sorted({log.model for log in logs})
    rows = pd.concat([found.rows.assign(log=number) for number, found in enumerate(samples)], ignore_index=True)
    rows["model"] = np.array([names.index(log.model) for log in logs])[rows["log"]]
    rows["task"] = np.array([log.task for log in logs], dtype=object)[rows["log"]]
    rows["place"] = rows.groupby(["task", "doc_id"], sort=False).ngroup()
    rows["question"] = rows.groupby(["place", "document"], sort=False).ngroup()
    questions, repairs = _questions(logs, rows)
    group = _groups({log.task for log in logs}, [content for _, content in results])
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
            **{f"tasks scored by {name}": abbreviate(tasks) for name, tasks in scored.items()},
            **_checksums(path, {log.file: found.sha256 for log, found in zip(logs, samples, strict=True)}, results),
        },
        repairs={
            "older runs of a task, not read": [str(file.relative_to(path)) for file in older],
            "files with several filters, the first taken": sum(found.first_of_several for found in samples),
            "samples without the metric, taken as never asked": int(rows["score"].isna().sum()),
            **repairs,
        },
    )


def _find(path: Path) -> tuple[list[_Log], list[tuple[Path, dict]], list[Path]]:
    """The newest log of each model's task, by model; the results files beside the logs; the older logs."""
    if not path.is_dir():
        raise OutcomeError(f"{path} is no directory; expected a folder that lm_eval --log_samples has written to")
    found = [(file, match) for file in sorted(path.rglob("samples_*"))
             if (match := SAMPLES.fullmatch(file.name)) and file.is_file()]
    if not found:
        raise OutcomeError(
            f"{path} holds no file samples_<task>_<time>.jsonl; run lm_eval with --log_samples and --output_path, and "
            "give the folder named there"
        )
    odd = [ascii(str(file)) for file, _ in found if not is_text(str(file))]
    if odd:
        raise OutcomeError(f"file name(s) that are not UTF-8 text, rename them: {abbreviate(odd)}")
    results, named, of_run = [], defaultdict(dict), {}
    for folder in sorted({file.parent for file, _ in found}):
        for file in sorted(folder.glob("*.json")):
            if (match := RESULTS.fullmatch(file.name)) and file.is_file():
                content = read_object(file)
                results.append((file, content))
                of_run[folder, match["time"]] = content
                if is_text(name := content.get("model_name")):
                    named[folder][match["time"]] = name
    runs = defaultdict(list)
    for file, match in found:
        model = _model(path, file.parent, named[file.parent], match["time"])
        runs[model, match["task"]].append(
            _Log(model, match["task"], match["time"] or "", file, of_run.get((file.parent, match["time"]), {}))
        )
    ranked = [sorted(runs[key], key=lambda log: (log.time, log.file)) for key in sorted(runs)]
    return [run[-1] for run in ranked], results, [log.file for run in ranked for log in run[:-1]]


def _model(path: Path, folder: Path, named: Mapping[str | None, str], time: str | None) -> str:
    """The name in the results file if the folder is called after it or cannot stand for a model, else the folder's."""
    parts = folder.relative_to(path).parts
    distinct = set(named.values())
    name = named.get(time) or (distinct.pop() if len(distinct) == 1 else None)
    endings = {"__".join(parts[start:]) for start in range(len(parts))}
    if name and (not parts or len(set(named.values())) > 1 or FORBIDDEN.sub("__", name) in endings):
        return name
    parts = parts or (path.resolve().name,)
    return (parts[-1] if "__" in parts[-1] else "/".join(parts)).replace("__", "/")


def _agreed(logs: list[_Log], samples: list[Samples], wanted: str) -> dict[str, list[str]]:
    """The tasks scored by each metric and filter; all logs of a task must have the same ones."""
    wanted_metric, _, wanted_filter = (part.strip() for part in wanted.partition(","))
    of_task: dict[str, tuple[_Log, Samples]] = {}
    for log, found in zip(logs, samples, strict=True):
        first, other = of_task.setdefault(log.task, (log, found))
        if found.metric != other.metric or len({found.filter, other.filter} - {None}) > 1:
            raise OutcomeError(
                f"the scores of {log.task} would be {other.name} in {first.file} but {found.name} in {log.file}; name "
                "a metric that both log, or leave one of the two out"
            )
        if found.filter and not other.filter:
            of_task[log.task] = log, found
    scored = defaultdict(list)
    for task, (_, found) in sorted(of_task.items()):
        scored[found.name].append(task)
    taken = {(found.metric, found.filter if wanted_filter else "") for found in samples}
    if wanted and (wanted_metric, wanted_filter) not in taken:
        held = sorted({name for found in samples for name in found.held})
        raise OutcomeError(f"no log holds the metric {wanted}; they hold {abbreviate(held, 12)}")
    return scored


def _commonest(rows: pd.DataFrame, key: str, value: str) -> pd.DataFrame:
    """A row for each value at each key, those of most models first (as many: of the first model)."""
    of_models = rows.drop_duplicates(["model", key, value])
    models = of_models.groupby([key, value], sort=False).size().to_numpy()
    return of_models.drop_duplicates([key, value]).assign(models=models).sort_values(
        "models", ascending=False, kind="stable"
    )


def _questions(logs: list[_Log], rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Id, prompt, task and rank of each question, in the order of their numbers in rows; and the repairs."""
    documents = _commonest(rows, "place", "document")
    documents["other"] = documents.duplicated("place")
    sent = _commonest(rows, "question", "prompt")
    repairs = {
        "document numbers with different documents, taken as different questions":
            int(documents.loc[documents["other"], "place"].nunique()),
        "questions with different prompts, the commonest kept":
            int(sent.loc[sent.duplicated("question"), "question"].nunique()),
    }
    sent = sent.drop_duplicates("question").set_index("question").sort_index()
    sent["other"] = documents.set_index("question")["other"]
    texts, cut = {}, Counter()
    for number, group in sent.groupby("log"):
        found = prompts_at(logs[number].file, group["offset"])
        others = rows["offset"][rows["log"] == number].head(WITNESSES)
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
        "prompt": [texts[question] for question in sent.index],
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


def _checksums(path: Path, files: Mapping[Path, str], results: list[tuple[Path, dict]]) -> dict[str, str]:
    """The SHA-256 of each file read, or of the list of them."""
    sums = {str(file.relative_to(path)): f"sha256 {digest}"
            for file, digest in sorted((files | {file: checksum(file) for file, _ in results}).items())}
    if len(sums) <= MANY:
        return sums
    together = hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in sums.items()).encode()).hexdigest()
    return {"files": f"sha256 {together} of the names and checksums of {len(sums)} files"}
