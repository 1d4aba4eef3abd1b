"""One file of samples of the lm-evaluation-harness: which metric is the score, and what each line says."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError, abbreviate
from embedllm.sources._files import first_line

METRICS = ("acc", "exact_match")  # where none is named, the first of them that a file logs
NO_METRIC = frozenset((  # the other keys of a sample, where it does not list its metrics
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash",
    "target_hash",
))


class Samples(NamedTuple):
    """The samples of a file that count: those of one metric by one filter.

    Attributes
    ----------
    rows : DataFrame
        ``doc_id`` (text), ``document`` and ``prompt`` (uint64, of their hashes), ``score`` (float64 in [0, 1]; NaN
        where the harness left the metric out), ``offset`` (int64, bytes before the line).
    metric, filter : str
        The filter is None where the file names none (early versions).
    held : list of str
        Every metric that is a number in [0, 1], by every filter of the file.
    first_of_several : bool
        Whether there are other filters and none was asked for.
    sha256 : str
        Of the file.
    """

    rows: pd.DataFrame
    metric: str
    filter: str | None
    held: list[str]
    first_of_several: bool
    sha256: str

    @property
    def name(self) -> str:
        """Metric and filter as the harness writes them in its results."""
        return _named(self.metric, self.filter)


def _named(metric: str, kept: str | None) -> str:
    return f"{metric},{kept}" if kept else metric


def read_samples(file: Path, wanted: str) -> Samples:
    """Read a file of samples line by line, keeping neither documents nor prompts.

    Parameters
    ----------
    wanted : str
        "<metric>" or "<metric>,<filter>", taken where the file logs it; "" for none.

    Raises
    ------
    OutcomeError
        Naming file and line, if one is no sample, or its score no number in [0, 1].
    """
    wanted_metric, _, wanted_filter = (part.strip() for part in wanted.partition(","))
    digest, offset, metric, chosen, filters = hashlib.sha256(), 0, None, None, {}
    ids, documents, prompts, scores, offsets = [], array("Q"), array("Q"), array("d"), array("q")
    for number, line in enumerate(_lines(file), start=1):
        where, start, offset = f"{file}, line {number}", offset, offset + len(line)
        digest.update(line)
        if not line.strip():
            continue
        sample = _object(line, where)
        of_line = sample.get("filter") if is_text(sample.get("filter")) else None
        if metric is None:  # the first sample decides for the file
            metric = _metric(sample, wanted_metric, where)
            chosen = wanted_filter if wanted_filter and metric == wanted_metric else of_line
            if chosen and not of_line:
                raise OutcomeError(f"{where} names no filter, so {wanted} cannot be told apart; name the metric alone")
        if of_line not in filters:
            filters[of_line] = [_named(name, of_line) for name, is_score in _candidates(sample).items() if is_score]
        if of_line == chosen:
            ids.append(_number(sample, where))
            documents.append(_document(sample, where))
            prompts.append(_hash(_prompt(sample, where)[0]))
            scores.append(_score(sample, metric, where))
            offsets.append(start)
    if metric is None:
        raise OutcomeError(f"{file} holds no sample; delete it or run the task again")
    if not ids:
        return read_samples(file, wanted_metric)  # without the wanted filter
    columns = {"document": documents, "prompt": prompts, "score": scores, "offset": offsets}
    return Samples(
        pd.DataFrame({"doc_id": ids, **{name: np.array(values) for name, values in columns.items()}}),
        metric, chosen, [name for names in filters.values() for name in names],
        len(filters) > 1 and chosen != wanted_filter, digest.hexdigest(),
    )


def prompts_at(file: Path, offsets: Iterable[int]) -> list[tuple[str, bool]]:
    """The prompts of the lines that begin there, and whether each is made of options, for want of a context."""
    prompts = []
    with file.open("rb") as stream:
        for offset in offsets:
            stream.seek(offset)
            prompts.append(_prompt(_object(stream.readline(), str(file)), str(file)))
    return prompts


def read_object(file: Path) -> dict:
    """A JSON file that holds an object, such as the results of a run."""
    return _object(b"".join(_lines(file)), str(file))


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            yield from stream
    except OSError as error:
        raise OutcomeError(f"{file} cannot be read: {first_line(error)}") from None


def _object(text: bytes, where: str) -> dict:
    try:
        value = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise OutcomeError(f"{where} is not UTF-8 text; save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise OutcomeError(f"{where} is cut short or no JSON ({first_line(error)}); delete it or run again") from None
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


def _candidates(sample: dict) -> dict[str, bool]:
    """The metrics of a sample, and whether each is a number in [0, 1]."""
    listed = sample.get("metrics")
    names = listed if isinstance(listed, list) else [key for key in sample if key not in NO_METRIC]
    names = [name for name in names if isinstance(name, str) and name in sample]
    return {name: isinstance(sample[name], int | float) and 0 <= sample[name] <= 1 for name in names}


def _metric(sample: dict, wanted: str, where: str) -> str:
    """The metric to score by: the one that is wanted, a usual one, or the only one there is."""
    candidates = _candidates(sample)
    usable = [name for name, is_score in candidates.items() if is_score]
    for name in (wanted, *METRICS, *(usable if len(usable) == 1 else ())):
        if name in candidates:
            return name
    raise OutcomeError(f"{where} logs none of {', '.join(METRICS)}; {_advice(sample)}")


def _advice(sample: dict) -> str:
    candidates = _candidates(sample)
    usable = abbreviate(name for name, is_score in candidates.items() if is_score)
    if usable:
        return f"metrics that could be used, name one: {usable}"
    return f"none of its metrics ({abbreviate(candidates) or 'it has none'}) is a number in [0, 1]; leave the file out"


def _number(sample: dict, where: str) -> str:
    doc_id = sample.get("doc_id")
    if (isinstance(doc_id, int) and not isinstance(doc_id, bool)) or is_text(doc_id):
        return str(doc_id)
    raise OutcomeError(f"{where} has no doc_id, or one that is no whole number or text")


def _score(sample: dict, metric: str, where: str) -> float:
    """The value in [0, 1]; NaN where the harness left the metric out for this document."""
    if metric not in sample:
        return np.nan
    value = sample[metric]
    if isinstance(value, int | float) and 0 <= value <= 1:
        return float(value)
    raise OutcomeError(f"{where}: {metric} is {_dumped(value, where)[:60]}, no number in [0, 1]; {_advice(sample)}")


def _document(sample: dict, where: str) -> int:
    """Which document it is: by the harness's hash of it, taken here where an early version wrote none."""
    if is_text(told := sample.get("doc_hash")):
        return _hash(told)
    if sample.get("doc") is None:
        raise OutcomeError(f"{where} has neither doc_hash nor doc, so its document cannot be told from others")
    text = _dumped(sample["doc"], where, indent=2)
    return _hash(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


def _prompt(sample: dict, where: str) -> tuple[str, bool]:
    """The first argument of the first request; where it is blank, all texts of all requests, and True."""
    requests = [values_of(request) for request in values_of(sample.get("arguments"))]
    first = requests[0][0] if requests and requests[0] else ""
    if isinstance(first, list) and len(first) == 1:  # a chat, written as one JSON text
        first = first[0]
    if isinstance(first, list | dict):
        first = _dumped(first, where)
    if is_text(first):
        return first, False
    texts = dict.fromkeys(text for request in requests for text in request if is_text(text))
    if not isinstance(first, str) or first.strip() or not texts:
        raise OutcomeError(f"{where} has no arguments that begin with the text sent to the model")
    return "\n".join(texts), True


def values_of(several: object) -> list:
    """The requests, or the arguments of one: a list, or a dict of them in later versions."""
    several = list(several.values()) if isinstance(several, dict) else several
    return several if isinstance(several, list) else []


def _dumped(value: object, where: str, indent: int | None = None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent)
    except RecursionError:
        raise OutcomeError(f"{where} is nested too deeply") from None
