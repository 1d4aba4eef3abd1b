"""One file of samples of the lm-evaluation-harness: which document each line is, what was sent, each metric's value."""

from __future__ import annotations

import codecs
import hashlib
import json
import zlib
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError
from embedllm.sources._files import first_line, opened
from embedllm.sources._lm_eval_prompts import decoded, shared_beginning

NO_METRIC = frozenset((  # the other keys of a sample, where it does not list its metrics
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash",
    "target_hash",
))


class Samples(NamedTuple):
    """The samples of a file.

    Attributes
    ----------
    rows : DataFrame
        A row for each line that holds a sample: ``doc_id`` (text), ``document`` and ``prompt`` (uint64, of their
        hashes), ``filter`` (int64, its place in `filters`), ``offset`` (int64, where the sample begins: bytes before
        its line or, in a file that is one JSON list, samples before it).
    filters : list of str or None
        In the order of the file; None where a line names none (early versions).
    scores : dict of str to array, shape (rows,)
        Each metric: float64 in [0, 1]; NaN where it is missing, null or NaN.
    logged : set of (str, int)
        Each metric and filter that at least one number in [0, 1] was logged for.
    faults : dict of (str, int) to str
        The first value of a metric by a filter that is no number in [0, 1].
    """

    rows: pd.DataFrame
    filters: list[str | None]
    scores: dict[str, np.ndarray]
    logged: set[tuple[str, int]]
    faults: dict[tuple[str, int], str]


def read_samples(file: Path) -> Samples:
    """Read a file of samples one by one, keeping neither documents nor prompts.

    Raises
    ------
    OutcomeError
        Naming file and line, if one is no sample.
    """
    ids, columns = [], {"document": array("Q"), "prompt": array("Q"), "filter": array("q"), "offset": array("q")}
    filters, faults, values = {}, {}, defaultdict(lambda: (array("q"), array("d")))
    for where, offset, sample in _samples(file):
        doc_id = _number(sample, where)
        kept = sample.get("filter")
        place = filters.setdefault(kept if is_text(kept) else None, len(filters))
        for name in _metrics(sample):
            value = sample[name]
            if value is None or value != value:
                value = np.nan
            elif not isinstance(value, int | float) or not 0 <= value <= 1:
                if (name, place) not in faults:
                    faults[name, place] = f"{where}: {name} is {_dumped(value, where)[:60]}, no number in [0, 1]"
                value = np.nan
            numbers, scores = values[name]
            numbers.append(len(ids))
            scores.append(value)
        columns["document"].append(_document(sample, where))
        columns["prompt"].append(_hash(_prompt(sample, where)[0]))
        columns["filter"].append(place)
        columns["offset"].append(offset)
        ids.append(doc_id)
    if not ids:
        raise OutcomeError(f"{file} holds no sample; delete it or run the task again")
    columns = {name: np.array(column, dtype=np.uint64 if column.typecode == "Q" else np.int64)
               for name, column in columns.items()}
    scores, logged = {}, set()
    for name, (numbers, column) in values.items():
        scores[name] = np.full(len(ids), np.nan)
        scores[name][np.array(numbers)] = np.array(column)
        logged |= {(name, int(place)) for place in np.unique(columns["filter"][~np.isnan(scores[name])])}
    rows = pd.DataFrame({"doc_id": np.array(ids, dtype=object), **columns})
    return Samples(rows, list(filters), scores, logged, faults)


def prompts_at(file: Path, offsets: Iterable[int]) -> list[tuple[str, bool]]:
    """The prompts of the samples that begin there, and whether each is made of options, for want of a context."""
    return [_prompt(sample, str(file)) for sample in _at(file, offsets)]


def texts_at(file: Path, offsets: Iterable[int]) -> list[tuple[str, str]]:
    """The prompts of the samples that begin there, and their right answers."""
    return [(_prompt(sample, str(file))[0], _dumped(sample.get("target"), str(file))) for sample in _at(file, offsets)]


def _at(file: Path, offsets: Iterable[int]) -> list[dict]:
    offsets, found = list(offsets), {}
    with opened(file) as stream:
        whole = _parsed(stream.read(), str(file)) if _is_list(stream) else None
        for offset in sorted(set(offsets)):  # a gzip file is read from its beginning to go back
            if whole is None:
                stream.seek(offset)
            found[offset] = _object(stream.readline(), str(file)) if whole is None else whole[offset]
    return [found[offset] for offset in offsets]


def read_object(file: Path) -> dict:
    """A JSON file that holds an object, such as the results of a run."""
    return _object(b"".join(_lines(file)), str(file))


def _samples(file: Path) -> Iterator[tuple[str, int, dict]]:
    """Where each sample stands, in words and as offset, and what it says; the file holds lines or one list of them."""
    lines, offset = _lines(file), 0
    for number, line in enumerate(lines, start=1):
        if not offset and _begins_list(line):
            for place, sample in enumerate(_parsed(line + b"".join(lines), str(file))):
                where = f"{file}, sample {place + 1} of its list"
                yield where, place, _checked(sample, where)
            return
        if line.strip():
            where = f"{file}, line {number}"
            yield where, offset, _object(line, where)
        offset += len(line)


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with opened(file) as stream:
            yield from stream
    except (OSError, EOFError, zlib.error) as error:
        raise OutcomeError(f"{file} cannot be read: {first_line(error)}") from None


def _is_list(stream: BinaryIO) -> bool:
    beginning = stream.read(8)
    stream.seek(0)
    return _begins_list(beginning)


def _begins_list(line: bytes) -> bool:
    return line.removeprefix(codecs.BOM_UTF8).startswith(b"[")


def _object(text: bytes, where: str) -> dict:
    return _checked(_parsed(text, where), where)


def _parsed(text: bytes, where: str) -> object:
    try:
        return json.loads(text.removeprefix(codecs.BOM_UTF8).decode())
    except UnicodeDecodeError:
        coding = "UTF-16" if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "another encoding"
        raise OutcomeError(f"{where} is not UTF-8 text but {coding}; save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        if b"\0" in text:
            raise OutcomeError(f"{where} holds zero bytes, as UTF-16 text does; save it as UTF-8") from None
        raise OutcomeError(f"{where} is cut short or no JSON ({first_line(error)}); delete it or run again") from None


def _checked(value: object, where: str) -> dict:
    if not isinstance(value, dict):
        raise OutcomeError(f"{where} must hold a JSON object, found {type(value).__name__}")
    return value


def is_text(value: object) -> bool:
    """Whether a value is a text that is not blank and can be written as UTF-8."""
    try:
        return isinstance(value, str) and bool(value.strip()) and bool(value.encode())
    except UnicodeEncodeError:
        return False


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _metrics(sample: dict) -> list[str]:
    listed = sample.get("metrics")
    names = listed if isinstance(listed, list) else [key for key in sample if key not in NO_METRIC]
    return [name for name in names if isinstance(name, str) and name in sample]


def _number(sample: dict, where: str) -> str:
    doc_id = sample.get("doc_id")
    if (isinstance(doc_id, int) and not isinstance(doc_id, bool)) or is_text(doc_id):
        return str(doc_id)
    raise OutcomeError(f"{where} has no doc_id, or one that is no whole number or text")


def _document(sample: dict, where: str) -> int:
    """Which document it is: by the harness's hash of it, taken here where an early version wrote none."""
    if is_text(told := sample.get("doc_hash")):
        return _hash(told)
    if sample.get("doc") is None:
        raise OutcomeError(f"{where} has neither doc_hash nor doc, so its document cannot be told from others")
    text = _dumped(sample["doc"], where, indent=2)
    return _hash(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


def _prompt(sample: dict, where: str) -> tuple[str, bool]:
    """The context of the requests; where it is blank in all, their options, and True.

    Where each option has a context of its own (a blank filled in, as in Winogrande), every request's context and
    ending, one a line, after the lines that all contexts begin with.
    """
    requests = [request for values in values_of(sample.get("arguments")) if (request := values_of(values))]
    first = requests[0][0] if requests else None
    if isinstance(first, list) and len(first) == 1:  # a chat, written as one JSON text
        first = first[0]
    if isinstance(first, list | dict):
        first = _dumped(first, where)
    if not isinstance(first, str):
        raise OutcomeError(f"{where} has no arguments that begin with the text sent to the model")
    asked = [request for request in requests if request[0] != requests[0][0] and is_text(request[0])]
    if asked and first.strip():
        contexts = [first, *(request[0] for request in asked)]
        shared = shared_beginning(contexts)
        shared = shared[: shared.rfind("\n") + 1]
        ends = dict.fromkeys("".join(text for text in request[:2] if isinstance(text, str))[len(shared) :]
                             for request in requests if request[0] in contexts)
        text, bare = shared + "\n".join(ends), False
    elif asked or first.strip():
        text, bare = decoded(first if first.strip() else asked[0][0]), False
    else:
        options = dict.fromkeys(text for request in requests for text in request if is_text(text))
        text, bare = "\n".join(options), True
    if not is_text(text):
        raise OutcomeError(f"{where} has no arguments that begin with the text sent to the model")
    return text, bare


def values_of(several: object) -> list:
    """The requests, or the arguments of one: a list, or a dict of them in later versions."""
    several = list(several.values()) if isinstance(several, dict) else several
    return several if isinstance(several, list) else []


def _dumped(value: object, where: str, indent: int | None = None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent)
    except RecursionError:
        raise OutcomeError(f"{where} is nested too deeply") from None
