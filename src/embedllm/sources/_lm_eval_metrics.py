"""Which metric of each task of the lm-evaluation-harness is the score: correctness, a number in [0, 1]."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from embedllm.outcomes import OutcomeError, abbreviate
from embedllm.sources._lm_eval_runs import Log
from embedllm.sources._lm_eval_samples import Samples, values_of
from embedllm.sources._lm_eval_settings import values_at

METRICS = ("acc", "exact_match")  # where none is named, the first of them that a task logs
LOWER = re.compile(  # metrics for which lower is better, where no results file says so
    r"(?:.*_)?(?:perplexity|ppl|bits_per_(?:byte|char)|brier(?:_score)?|wer|cer|ter|r?mse|mae|nll|ece|loss|error(?:_rate)?"
    r"|edit_distance|hallucination(?:_rate)?|attack_success_rate|toxicity(?:_score)?)"
    r"|likelihood_diff|pct_stereotype|pct_(?:fe)?male_preferred|pct_invalid|difference_male_female"
    r"|(?:.*_)?bias(?:_score.*)?"
)


class Wanted(NamedTuple):
    """What METRIC names: a metric for a task and "" or a filter; for all others, the one of the task ""."""

    text: str
    of_task: dict[str, tuple[str, str]]


def parse_metric(text: str, tasks: Iterable[str]) -> Wanted:
    """Read METRIC: parts ``<metric>`` or ``<metric>,<filter>`` separated by ``;``, each perhaps after ``<task>=``.

    Raises
    ------
    OutcomeError
        If a part is for no task that there is, or two are for the same.
    """
    tasks, of_task = sorted(tasks), {}
    for part in filter(str.strip, text.split(";")):
        task, _, named = (piece.strip() for piece in part.rpartition("="))
        metric, _, kept = (piece.strip() for piece in named.partition(","))
        if "=" in part and task not in tasks:
            raise OutcomeError(f"METRIC names the task {task!r}, which no log is of; there are {abbreviate(tasks, 12)}")
        if not metric or task in of_task:
            what = f"{'two metrics' if metric else 'no metric'} for {task or 'all other tasks'}"
            raise OutcomeError(f"METRIC names {what} in {text!r}; write it as gsm8k=exact_match,strict-match; acc_norm")
        of_task[task] = metric, kept
    return Wanted(text.strip(), of_task)


def choose_metrics(logs: list[Log], samples: list[Samples], results: list[dict], wanted: Wanted) -> list[tuple]:
    """The metric of each log and the place of its filter.

    Parameters
    ----------
    logs, samples : lists of equal length
    results : list of dict
        All results files, which say for which metrics lower is better and in which order filters are applied.

    Returns
    -------
    list of (str, int)
        Of each log; all of a task have the same.

    Raises
    ------
    OutcomeError
        If a task has no metric to choose, or its logs hold different ones.
    """
    of_task = defaultdict(list)
    for place, log in enumerate(logs):
        of_task[log.task].append(place)
    chosen, metrics, undecided, faults = {}, {}, {}, []
    for task, places in sorted(of_task.items()):
        try:
            metric = _metric(task, [samples[place] for place in places], _lower(task, results), wanted)
        except OutcomeError as error:
            faults.append(str(error))
            continue
        (undecided if isinstance(metric, list) else metrics)[task] = metric
    if undecided:
        faults.append(_advice(undecided, wanted))
    if faults:
        raise OutcomeError("; ".join(faults))
    for task, places in of_task.items():
        listed = [said.get("name") for config in values_at(results, "configs", task)
                  for said in values_of(config.get("filter_list")) if isinstance(said, dict)]
        for place in places:
            chosen[place] = metrics[task], _filter(logs[place], samples[place], metrics[task], listed, wanted)
        _agreed(logs, samples, places, chosen)
    default = wanted.of_task.get("")
    taken = {(metric, samples[place].filters[kept]) for place, (metric, kept) in chosen.items()
             if logs[place].task not in wanted.of_task}
    if default and taken and not any(metric == default[0] and default[1] in ("", kept) for metric, kept in taken):
        held = sorted({named(metric, found.filters[kept]) for found in samples for metric, kept in found.logged
                       if (metric, kept) not in found.faults})
        asked = named(*default)
        raise OutcomeError(f"no log holds the metric {asked}; they hold {abbreviate(held, 12)}")
    return [chosen[place] for place in range(len(logs))]


def named(metric: str, kept: str | None) -> str:
    """Metric and filter as the harness writes them in its results."""
    return f"{metric},{kept}" if kept else metric


def _lower(task: str, results: list[dict]) -> Mapping[str, bool]:
    """The metrics of a task that results files say something about: whether lower is better."""
    said = {}
    for held in values_at(results, "higher_is_better", task):
        for metric, higher in held.items():
            if isinstance(higher, bool):
                said[metric] = said.get(metric, False) or not higher
    return said


def _metric(task: str, samples: list[Samples], lower: Mapping[str, bool], wanted: Wanted) -> str | list[str]:
    """The metric of a task: the one named, a usual one, or the only one there is; else those that could be named."""
    held = dict.fromkeys(name for found in samples for name in found.scores)
    worse = [name for name in held if lower.get(name, bool(LOWER.fullmatch(name)))]
    numbers = {name for found in samples for name, _ in found.logged}
    numbers -= {name for found in samples for name, _ in found.faults}
    usable = [name for name in held if name in numbers and name not in worse]
    own, _ = wanted.of_task.get(task, ("", ""))
    if own and own not in held:
        raise OutcomeError(f"{task} does not log {own}, named in METRIC; it logs {abbreviate(held, 12)}")
    asked = own or wanted.of_task.get("", ("", ""))[0]
    if asked in worse:
        raise OutcomeError(
            f"for {asked} of {task} lower is better, so it is no correctness; "
            + (f"name another in METRIC: {abbreviate(usable)}" if usable else "leave the task out")
        )
    for name in (asked, *METRICS, *(usable if len(usable) == 1 else ())):
        if name in held and name not in worse:
            return name
    if not usable and worse:
        raise OutcomeError(
            f"{task} logs only metrics for which lower is better ({abbreviate(worse)}) or that are no number in "
            "[0, 1], so none is correctness; leave the task out"
        )
    if not usable:
        raise OutcomeError(
            f"none of the metrics of {task} ({abbreviate(held) or 'it has none'}) is a number in [0, 1]; leave the "
            "task out"
        )
    return usable


def _filter(log: Log, found: Samples, metric: str, listed: list[object], wanted: Wanted) -> int:
    """The place of the filter of a log: the one named, the first that the results list, or the first of the file."""
    held = [place for place in range(len(found.filters)) if (metric, place) in found.logged | found.faults.keys()]
    own = log.task in wanted.of_task
    asked, kept = wanted.of_task.get(log.task, wanted.of_task.get("", ("", "")))
    if kept and asked == metric and held:
        if kept in found.filters:
            return found.filters.index(kept)
        if found.filters == [None]:
            raise OutcomeError(
                f"{log.file} names no filter, so {asked},{kept} cannot be told apart; name the metric alone"
            )
        if own:
            several = abbreviate(named(metric, found.filters[place]) for place in held)
            raise OutcomeError(f"{log.task} does not log {asked},{kept}, named in METRIC; it logs {several}")
    return min(held, default=0, key=lambda place: (
        listed.index(found.filters[place]) if found.filters[place] in listed else len(listed), place
    ))


def _agreed(logs: list[Log], samples: list[Samples], places: list[int], chosen: Mapping[int, tuple]) -> None:
    """Raise OutcomeError unless the logs of a task hold one metric by one filter (a log may name none)."""
    first = None
    for place in places:
        metric, kept = chosen[place]
        kept = samples[place].filters[kept]
        if metric not in samples[place].scores:
            other = next(place for place in places if metric in samples[place].scores)
            raise OutcomeError(
                f"the scores of {logs[place].task} would be {metric}, as in {logs[other].file}, but "
                f"{logs[place].file} logs {abbreviate(samples[place].scores) or 'no metric'}; name in METRIC one that "
                "both log, or leave one of the two out"
            )
        if kept and first and kept != first[0]:
            raise OutcomeError(
                f"the scores of {logs[place].task} would be {metric},{first[0]} in {first[1]} but {metric},{kept} in "
                f"{logs[place].file}; name in METRIC one that both log, or leave one of the two out"
            )
        first = first or (kept and (kept, logs[place].file))


def _advice(undecided: Mapping[str, list[str]], wanted: Wanted) -> str:
    """What to write as METRIC."""
    common = [name for name in next(iter(undecided.values())) if all(name in usable for usable in undecided.values())]
    parts = [common[0]] if common and "" not in wanted.of_task else [f"{task}={usable[0]}"
                                                                     for task, usable in undecided.items()]
    text = "; ".join([*filter(None, [wanted.text.rstrip("; ")]), *parts])
    logged = abbreviate(f"{task} ({', '.join(usable)})" for task, usable in undecided.items())
    return f"several metrics could be the score of {logged}; name one, such as METRIC = \"{text}\""


def scores_of(log: Log, found: Samples, metric: str, kept: int) -> np.ndarray:
    """The scores of the samples by a filter; NaN where the metric is missing.

    Raises
    ------
    OutcomeError
        If one is no number in [0, 1], or there is none at all.
    """
    if fault := found.faults.get((metric, kept)):
        others = abbreviate(name for name, place in found.logged
                            if place == kept and (name, place) not in found.faults and not LOWER.fullmatch(name))
        raise OutcomeError(f"{fault}; " + (f"other metrics could be named in METRIC: {others}" if others else
                                           "none of its metrics is one; leave the file out"))
    if (metric, kept) not in found.logged:
        raise OutcomeError(f"{log.file} holds no {named(metric, found.filters[kept])}, every value is missing or NaN; "
                           "run the task again or leave the file out")
    return found.scores[metric][found.rows["filter"].to_numpy() == kept]
