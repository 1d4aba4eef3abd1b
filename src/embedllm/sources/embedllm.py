"""EmbedLLM, the data of Zhuang et al., ICLR 2025, arXiv 2410.02223: 112 open LLMs on 35,673 questions.

The files are those of the dataset repository RZ412/EmbedLLM on the Hugging Face Hub (Apache-2.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from embedllm import hub
from embedllm.outcomes import OutcomeError, OutcomeMatrix
from embedllm.sources._csv import read_batches
from embedllm.sources._files import checksum, coerce_numbers, first_line
from embedllm.sources._rows import from_rows
from embedllm.splits import PARTS

HUB = "RZ412/EmbedLLM"
REVISION = "266ae3e180ccb533c86afc9cfb2f5db99d171aea"  # commit of the dataset repository
FILES = tuple(f"{part}.csv" for part in PARTS)
FAMILIES = ("mmlu", "gpqa")  # benchmarks whose categories carry a subject or a variant behind the name
SIMULATED = "simulated"  # the maker of every model in files of the planted pool, see `paper_files`

# A prompt stands in the row of every model, 3 GB in all, so it is held once a question (`_with_prompts`).
_WORD = pa.dictionary(pa.int32(), pa.string())
IDS = ("prompt_id", "model_id")
TYPES = {**dict.fromkeys(("prompt_id", "model_id", "label", "model_name", "category"), _WORD), "prompt": pa.string()}


def load(path: Path, *, duplicates: str = "first") -> OutcomeMatrix:
    """Read the published files from a folder.

    Parameters
    ----------
    path : Path
        Folder with ``train.csv``, ``val.csv`` and ``test.csv``, one row a (model, question) pair: columns
        ``prompt_id``, ``model_id``, ``model_name``, ``label`` (0 or 1), ``category`` and ``prompt``.
        ``question_order.csv`` and ``model_order.csv`` repeat what these hold and are not read.
    duplicates : {"first", "mean", "max", "majority"}
        Rule for repeated (model, question) rows, see `from_rows`. A question listed under several variants
        of a task has them for every model; the code of the paper takes the largest label ("max").

    Returns
    -------
    OutcomeMatrix
        Models by name, ``/`` restored from the ``__`` of the files; questions in the order of the files,
        indexed by ``prompt_id`` (text). Column ``part`` is the published split, ``benchmark`` the category
        without the MMLU subject or GPQA variant, ``sub_benchmark`` the category as written; of a question
        with several categories the first, and ``repairs`` counts such questions. ``provenance`` names the
        commit if the hub's client downloaded the files, and those of them that have changed since.

    Raises
    ------
    OutcomeError
        If a file is missing, cannot be read or has no rows; if a cell is blank, a label is not 0 or 1, or a
        ``prompt_id`` or ``model_id`` is no whole number in plain digits (not " 4", "04" or "4.0", which would
        be other ids than "4"); if a question has two prompts, stands in two parts or belongs to two
        benchmarks; or if a model has two names or two ids. The message names file and row, row 1 being the
        names of the columns.
    """
    files = {part: Path(path) / name for part, name in zip(PARTS, FILES, strict=True)}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        raise OutcomeError(f"{path} lacks {', '.join(missing)}; the dataset {HUB} consists of {', '.join(FILES)}")
    rows, prompts = _read(files)

    # From here on what each question and each model is said to be, with the first row that says so.
    models = rows.drop_duplicates(["model_id", "model_name"])
    models = models.assign(model_name=models["model_name"].map(_name))
    _agree(files, models, "model_id", "model_name")
    _agree(files, models, "model_name", "model_id")
    listed = rows.drop_duplicates(["prompt_id", "part", "category"])
    listed = listed.assign(benchmark=listed["category"].map(_benchmark))
    _agree(files, listed, "prompt_id", "part")
    _agree(files, listed, "prompt_id", "benchmark")

    questions = listed.drop_duplicates("prompt_id").astype(object)  # text, as other sources have it
    questions = questions.merge(prompts, on="prompt_id", validate="one_to_one")
    questions = questions.rename(columns={"prompt_id": "question_id", "category": "sub_benchmark"})
    hashes = {file.name: checksum(file) for file in files.values()}
    invented = models["model_name"].str.startswith(f"{SIMULATED}/").all()
    return from_rows(
        pd.DataFrame({
            "model": rows["model_name"].map(_name), "question_id": rows["prompt_id"], "score": rows["label"],
        }),
        questions[["question_id", "prompt", "benchmark", "sub_benchmark", "part"]],
        duplicates=duplicates,
        provenance={
            "source": f"{SIMULATED}, in the layout of embedllm" if invented else "embedllm",
            **_revision(Path(path), hashes),
            **{name: f"sha256 {value}" for name, value in hashes.items()},
        },
        repairs={
            "questions listed in several categories of their benchmark, the first kept":
                int((listed.groupby("prompt_id", observed=True).size() > 1).sum()),
        },
    )


def download(folder: Path, *, revision: str = REVISION) -> Path:
    """Fetch the published files, 3.3 GB, from the Hugging Face Hub; an interrupted download is taken up again.

    Parameters
    ----------
    folder : Path
        Where the files go. Where they already lie there, as the hub's client left them, nothing is fetched;
        with a commit as the revision the hub is not even asked.
    revision : str
        Commit, branch or tag of the dataset repository.

    Returns
    -------
    Path
        The folder, to be handed to `load`.

    Raises
    ------
    OutcomeError
        If the hub cannot be reached or does not give the files.
    """
    if _commit(folder) == revision:
        return folder
    try:
        _, commit = hub.snapshot(HUB, revision, FILES, FILES[0], kind="dataset", folder=folder, held=_commit(folder))
        if _commit(folder) != commit:
            raise FileNotFoundError("the download is not complete")
    except Exception as error:
        raise OutcomeError(
            f"the Hugging Face Hub did not give the dataset {HUB} at revision {revision} ({type(error).__name__}: "
            f"{first_line(error)}); try again with a network, or put {', '.join(FILES)} into a folder and set "
            "DATA_DIR=folder"
        ) from None
    return folder


def _read(files: Mapping[str, Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All rows, with their part and row but without prompts, and the prompt of each prompt_id."""
    prompts = pa.table({name: pa.array([], pa.string()) for name in ("prompt_id", "prompt")})
    parts = {}
    for part, file in files.items():
        batches = []
        for row, batch in _batches(file):
            prompts = _with_prompts(prompts, batch, file, row)
            batches.append(batch.drop_columns("prompt"))
        if not batches:
            raise OutcomeError(f"{file} holds no rows")
        parts[part] = pa.Table.from_batches(batches)
    rows = pa.concat_tables(parts.values()).to_pandas()
    lengths = [len(table) for table in parts.values()]
    rows["part"] = pd.Categorical.from_codes(np.repeat(np.arange(len(parts)), lengths), list(parts))
    rows["row"] = np.concatenate([np.arange(2, length + 2) for length in lengths])
    return rows, prompts.to_pandas()


def _batches(file: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of a file piece by piece, no cell blank and labels float32, each with its first row's number."""
    row = 2
    for batch in read_batches(file, TYPES):
        for name in TYPES:
            blank = pc.fill_null(pc.utf8_is_space(batch[name].cast(pa.string())), True)
            _reject(file, row, blank, batch[name], f"the {name} is blank")
        for name in IDS:
            plain = pc.match_substring_regex(batch[name].dictionary, "^(0|[1-9][0-9]*)$").take(batch[name].indices)
            _reject(file, row, pc.invert(plain), batch[name],
                    f"the {name} must be a whole number in plain digits, found {{}}")
        words = batch["label"].dictionary.to_pandas()
        values = pd.to_numeric(coerce_numbers(words), errors="coerce").astype("float32")
        labels = pa.array(values, from_pandas=False).take(batch["label"].indices)
        wrong = pc.invert(pc.is_in(labels, value_set=pa.array([0, 1], pa.float32())))
        _reject(file, row, wrong, batch["label"], "the label must be 0 or 1, found {}")
        yield row, batch.set_column(batch.schema.get_field_index("label"), "label", labels)
        row += len(batch)


def _with_prompts(known: pa.Table, batch: pa.RecordBatch, file: Path, row: int) -> pa.Table:
    """The prompts known so far and those of a batch; a prompt_id must have the same in all of its rows."""
    ids = batch["prompt_id"].cast(pa.string())
    new = pc.is_null(pc.index_in(ids, value_set=known["prompt_id"]))
    if pc.any(new).as_py():
        found = pa.table({"prompt_id": ids, "prompt": batch["prompt"]}).filter(new)
        first = ~found["prompt_id"].to_pandas().duplicated().to_numpy()
        known = pa.concat_tables([known, found.filter(pa.array(first))]).combine_chunks()
    expected = known["prompt"].take(pc.index_in(ids, value_set=known["prompt_id"])).combine_chunks()
    _reject(file, row, pc.not_equal(batch["prompt"], expected), ids,
            "prompt_id {} has another prompt in an earlier row; correct or remove one of them")
    return known


def _agree(files: Mapping[str, Path], said: pd.DataFrame, key: str, value: str) -> None:
    """Raise OutcomeError if a key has two values."""
    said = said.astype({key: object, value: object})
    first = said.groupby(key, sort=False)[value].transform("first")
    for _, odd in said[said[value] != first].head(1).iterrows():
        raise OutcomeError(
            f"{files[odd['part']]}, row {odd['row']}: {key} {_quoted(odd[key])} has the {value} {_quoted(odd[value])}, "
            f"but {_quoted(first[odd.name])} in an earlier row; correct or remove one of them"
        )


def _reject(file: Path, row: int, wrong: pa.Array, cells: pa.Array, what: str) -> None:
    """Raise OutcomeError at the first wrong cell of a batch that begins at a row of a file."""
    at = pc.index(wrong, True).as_py()
    if at >= 0:
        raise OutcomeError(f"{file}, row {row + at}: {what.format(_quoted(cells[at]))}")


def _quoted(cell: object) -> str:
    """A cell for a message, on one line and not too long."""
    text = str(cell)
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


def _name(written: str) -> str:
    """A model's name on the hub: the first __ stands for the / behind the name of its maker."""
    return written.replace("__", "/", 1)


def _benchmark(category: str) -> str:
    """The benchmark that a category belongs to."""
    return next((family for family in FAMILIES if category.startswith(f"{family}_")), category)


def _records(folder: Path) -> dict[str, list[str]]:
    """What the hub's client noted when it put a file there, by name: commit, hash of the content, time."""
    notes = {name: folder / ".cache" / "huggingface" / "download" / f"{name}.metadata" for name in FILES}
    return {name: note.read_text(encoding="utf-8", errors="replace").split() for name, note in notes.items()
            if note.is_file() and (folder / name).is_file()}


def _commit(folder: Path) -> str | None:
    """The commit that all files of a folder were downloaded at, if there is one."""
    commits = {record[0] for record in _records(folder).values() if record and re.fullmatch(r"[0-9a-f]{40}", record[0])}
    return commits.pop() if len(_records(folder)) == len(FILES) and len(commits) == 1 else None


def _revision(folder: Path, hashes: Mapping[str, str]) -> dict[str, str]:
    """The commit for the provenance, if it is known, and whether the files are still those of it."""
    commit = _commit(folder)
    if commit is None:
        return {}
    changed = [name for name, record in _records(folder).items() if hashes[name] not in record]
    return {"revision": f"{commit}, but changed since: {', '.join(changed)}" if changed else commit}
