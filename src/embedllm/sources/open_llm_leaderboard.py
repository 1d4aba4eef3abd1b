"""Open LLM Leaderboard v2: open LLMs on five suites, each row of the published tables put into its own order.

The tables are those of github.com/Kinds-of-Intelligence-CFI/PredictaBoard (GPL-3.0) at `COMMIT`: a row an evaluation, a
column a question. The header follows a run on two processes (questions 0, 2, 4, ..., then 1, 3, 5, ...); rows of
models that ran on one, four or eight processes follow theirs, and as published belong to other questions. `row_order`
tells from the rows alone how many processes a model ran on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from embedllm import hub
from embedllm.outcomes import OutcomeError, OutcomeMatrix, without
from embedllm.sources import mmlu_pro
from embedllm.sources._files import checksum, coerce_numbers, first_line, require_columns
from embedllm.sources._rows import from_rows, known_models, read_facts
from embedllm.sources._tables import read_table
from embedllm.sources.process_order import HEADER, Task, dealt, in_order, row_order
from embedllm.sources.seal import closed

COMMIT = "e35844641ce7694ce4897c8ae3cef2fe53aeed6c"
RESULTS, PROMPTS = "llm_data/llm_performance_data", "train_and_evaluate_assessors/data/open-llm-leaderboard-v2"
SUITES = {"Big-Bench-Hard": "bbh", "IFEVAL": "ifeval", "MATH-LvL-5": "math", "MuSR": "musr", "MMLU-Pro": "mmlu_pro"}
SPELT = {"math_beginner_algebra_hard": "math_algebra_hard"}  # as the files of prompts call it
MMLU_PRO = "mmlu_pro"
POOLS = ("core", "all-suites", "union")
SUFFIX = "_results.csv"
URL = f"https://github.com/Kinds-of-Intelligence-CFI/PredictaBoard/raw/{COMMIT}/"
REGISTRY = Path(__file__).with_name("open_llm_leaderboard.sha256")
FACTS = Path(__file__).with_name("open_llm_leaderboard_models.csv")


def facts() -> pd.DataFrame:
    """What is publicly known about the models, see `_rows.read_facts`."""
    return read_facts(FACTS)


def download(folder: Path) -> Path:
    """Fetch the published tables and prompts, 12 MB, at their commit; what is there already is kept.

    Raises
    ------
    OutcomeError
        If they cannot be had, or are not those whose hashes the package carries.
    """
    try:
        return hub.fetch(REGISTRY, URL, folder)
    except Exception as error:
        raise OutcomeError(
            f"the tables of open-llm-leaderboard could not be downloaded from {URL} ({type(error).__name__}: "
            f"{first_line(error)}); try again with a network, or set DATA_DIR to a clone of that repository"
        ) from None


def load(path: Path, *, pool: str = "") -> OutcomeMatrix:
    """What `read` reads, without what is sealed (`seal.closed`)."""
    return closed(read(path, pool), "open-llm-leaderboard")


def read(path: Path, pool: str = "") -> OutcomeMatrix:
    """Read the published tables from a folder, or from its sub-folder ``raw``, and put rows into their order.

    Parameters
    ----------
    path : Path
        Folder with the repository's folders `RESULTS` and `PROMPTS`. Prompts of MMLU-Pro are those that this package
        carries.
    pool : {"core", "all-suites", "union"}
        core (default): the models with all tasks of bbh, ifeval, math and musr, complete. all-suites: those of them
        with MMLU-Pro as well, complete. union: both parts of every model, where its order can be told, incomplete.

    Returns
    -------
    OutcomeMatrix
        ``benchmark`` is the task, ``suite`` one of bbh, ifeval, math, musr, mmlu_pro. Evaluations of one model under
        several timestamps are one, that with most answers. ``repairs`` names rows that were put into another order,
        and what was left out: rows whose order cannot be told, parts (all but MMLU-Pro, or MMLU-Pro) that lack a task.

    Raises
    ------
    OutcomeError
        If the pool is unknown, or a table or its prompts are missing or not in the published form.
    """
    pool = pool or POOLS[0]
    if pool not in POOLS:
        raise OutcomeError(f"open-llm-leaderboard has no pool {pool!r}; there are {', '.join(POOLS)}")
    root = next((place for place in (Path(path), Path(path) / "raw") if (place / RESULTS).is_dir()), None)
    if root is None:
        raise OutcomeError(f"{path} holds no folder {RESULTS} (sought here and in raw); set DATA_DIR to a clone of "
                           "github.com/Kinds-of-Intelligence-CFI/PredictaBoard, or leave it blank for a download")
    tasks, seen, differing = _tasks(root)
    order = row_order(tasks)
    usable = order[order["certain"] & order["whole"]].set_index(["part", "model"])["processes"]
    rows, questions = zip(*(_long(task, usable) for task in tasks), strict=True)
    models, unknown = known_models(order["model"].unique(), facts())
    own = [f"{row.model} ({row.part}, {row.processes} processes)" for row in order.itertuples()
           if row.certain and row.whole and row.processes != HEADER]
    try:
        table = from_rows(
            pd.concat(rows), pd.concat(questions), models[models["model"].isin(usable.index.unique("model"))],
            provenance={"source": "open-llm-leaderboard", "commit": COMMIT, "license": "GPL-3.0, of the repository",
                        "files": f"{len(tasks)} tables, sha256 {seen}"},
            repairs={
                "rows put into another order than their header, of all that were published": own,
                "rows whose order cannot be told, left out": _named(order[~order["certain"]]),
                "rows that lack tasks of their part, left out": _named(order[~order["whole"]]),
                "models whose evaluations differ, the fullest followed": differing,
                "models without a row of facts": unknown,
            },
        )
    except OutcomeError as error:
        raise OutcomeError(f"{path}: {error}") from None
    wanted = {"core": ["core"], "all-suites": ["core", MMLU_PRO]}.get(pool, [])
    lacking = [name for name in table.models.index if any((part, name) not in usable.index for part in wanted)]
    if len(lacking) == len(table.models):
        raise OutcomeError(f"{path}: no model has every task of the pool {pool} in an order that can be told")
    if pool == "core":
        table = table.at((table.questions["suite"] != MMLU_PRO).to_numpy())
    return without(table, lacking)


def _tasks(root: Path) -> tuple[list[Task], str, list[str]]:
    """All tables, one checksum of all files, and the models whose evaluations differ."""
    tasks, differing, seen = [], set(), hashlib.sha256()
    for prefix, suite in SUITES.items():
        found = sorted((root / RESULTS).glob(f"{prefix}*{SUFFIX}"))
        if not found:
            raise OutcomeError(f"{root / RESULTS} holds no table {prefix}*{SUFFIX} of the suite {suite}")
        for file in found:
            name = "_".join(dict.fromkeys([suite, *filter(None, [file.name.removesuffix(SUFFIX).removeprefix(prefix)
                                                                 .removeprefix("__")])]))
            name = SPELT.get(name, name)
            scores, differ = _scores(file)
            differing |= differ
            questions, known = _mmlu_pro() if suite == MMLU_PRO else (_prompts(root, name, suite), None)
            if len(questions) != scores.shape[1]:
                raise OutcomeError(f"{file}: {scores.shape[1]} questions, but {len(questions)} prompts of {name}")
            seen.update(f"{checksum(file)}  {name}\n".encode())
            tasks.append(Task("core" if known is None else MMLU_PRO, scores, questions, known))
    return tasks, seen.hexdigest(), sorted(differing)


def _scores(file: Path) -> tuple[pd.DataFrame, set[str]]:
    """A model a row, a position of the file a column; and the models whose evaluations differ."""
    table = read_table(file)
    require_columns(table, file, ["model", "timestamp"])
    values = table.drop(columns=["model", "timestamp"])
    if list(values.columns) != list(map(str, dealt(values.shape[1], HEADER))):
        raise OutcomeError(f"{file}: its header is not 0, 2, 4, ..., 1, 3, 5, ..., the order of {HEADER} processes, so "
                           "that the repair of rows does not know it")
    cells = coerce_numbers(pd.Series(values.to_numpy(object).ravel()))
    scores = pd.to_numeric(cells, errors="coerce").to_numpy(np.float32).reshape(values.shape)
    wrong = (np.isnan(scores) & cells.notna().to_numpy().reshape(scores.shape)) | (scores < 0) | (scores > 1)
    if wrong.any():
        row = values.index[wrong.any(axis=1).argmax()]
        raise OutcomeError(f"{file}, row {row}: a score that is no number in [0, 1]")
    names = table["model"].astype(object).fillna("").str.strip().str.normalize("NFC")
    if (names == "").any():
        raise OutcomeError(f"{file}, row {(names == '').idxmax()}: a model without a name")
    values = pd.DataFrame(scores, names.str.replace("__", "/", n=1))
    values = values.iloc[values.notna().sum(axis=1).argsort(kind="stable")[::-1]]  # the fullest first
    first = values[~values.index.duplicated()]
    other = first.loc[values.index].to_numpy()
    differ = (values.notna().to_numpy() & (values.to_numpy() != other)).any(axis=1)
    return first, set(values.index[differ])


def _prompts(root: Path, name: str, suite: str) -> pd.DataFrame:
    """The questions of a task in the order of their numbers."""
    file = root / PROMPTS / f"{name}_prompts.csv"
    if not file.is_file():
        raise OutcomeError(f"{file} is missing: the prompts of {name}")
    table = read_table(file)
    require_columns(table, file, ["id", "prompt"])
    table = table.assign(id=pd.to_numeric(table["id"], errors="coerce")).sort_values("id")
    if list(table["id"]) != list(range(len(table))):
        raise OutcomeError(f"{file}: the column id must number its prompts from 0 on, each once")
    return pd.DataFrame({"question_id": [f"{name}/{number}" for number in range(len(table))],
                         "prompt": table["prompt"], "benchmark": name, "suite": suite}, table.index)


def _mmlu_pro() -> tuple[pd.DataFrame, np.ndarray]:
    """The questions of MMLU-Pro in the order of their numbers, and how easy the models of `mmlu_pro` find each."""
    table = mmlu_pro.load()
    order = np.argsort(table.questions.index.astype(int))
    questions = table.questions.iloc[order]
    told = pd.DataFrame({
        "question_id": [f"{MMLU_PRO}/{number}" for number in range(len(order))],
        "prompt": questions["prompt"].to_numpy(),
        "benchmark": [f"{MMLU_PRO}/{subject}" for subject in questions["benchmark"]], "suite": MMLU_PRO})
    easy = np.nanmean(table.scores - table.model_means[:, None], axis=0)[order]
    return told, easy - easy.mean()


def _long(task: Task, usable: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row for each (model, question) pair of the models whose order is known, and the questions."""
    processes = usable[usable.index.get_level_values("part") == task.part].droplevel("part")
    models = task.scores.index[task.scores.index.isin(processes.index)]
    scores = np.vstack([np.empty((0, task.scores.shape[1]), np.float32),
                        *(in_order(task.scores.loc[[name]].to_numpy(np.float32), processes[name]) for name in models)])
    return pd.DataFrame({"model": np.repeat(models, scores.shape[1]),
                         "question_id": np.tile(task.questions["question_id"], len(models)),
                         "score": scores.ravel()}), task.questions


def _named(order: pd.DataFrame) -> list[str]:
    return [f"{row.model} ({row.part})" for row in order.itertuples()]
