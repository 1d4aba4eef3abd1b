"""Which model each log of the lm-evaluation-harness belongs to: what the results files say, not where they lie."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import NamedTuple

from embedllm.outcomes import OutcomeError, abbreviate
from embedllm.sources._lm_eval_prompts import object_of
from embedllm.sources._lm_eval_samples import is_text, read_object
from embedllm.sources._lm_eval_settings import name_of, settings_of, task_settings_of

TIME = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?"
SAMPLES = re.compile(rf"samples_(?P<task>.+?)(?:_(?P<time>{TIME}))?\.jsonl?(?:\.gz)?")
RESULTS = re.compile(rf"(?!samples_)(?:results|.+_(?P<time>{TIME}))\.json(?:\.gz)?")
OLD = re.compile(r"(?!samples_)(?P<rest>.+)\.jsonl(?:\.gz)?")  # harness 0.4.0 to 0.4.2: <model_args>_<task>.jsonl
FORBIDDEN = re.compile(r"[\"<>:/|\\?*\[\]]+")  # the harness writes __ for these in the name of a folder
FIRST = ("revision", "peft", "dtype", "num_fewshot", "gen_kwargs")  # what tells variants apart in the clearest way
UNKNOWN = {"settings": "unknown"}


class Log(NamedTuple):
    """A file of samples, whose it is and the results of its run ({} for none); ``time`` is "" where none is told."""

    model: str
    task: str
    time: str
    file: Path
    results: dict


class _Found(NamedTuple):
    """A file of samples and the results file that tells its model; ``own`` if that one is of the same run."""

    file: Path
    task: str
    time: str
    results: dict
    own: bool
    run: Hashable


def find_logs(path: Path) -> tuple[list[Log], list[tuple[Path, dict]], list[str], list[OutcomeError]]:
    """The logs below a folder, each with its model; the results files beside them; variants; what cannot be read.

    A model is what its results file says: ``model_name`` (in early versions, the argument that names it). Where that
    ran with several other arguments of the model (`settings_of`), or a task with several settings
    (`task_settings_of`), it is several models, named by what tells them apart.
    """
    files, results, faults = _files(path)
    found = [log for file, task, time in files if (log := _with_results(file, task, time, results)) is not None]
    if not found and not faults:
        raise OutcomeError(
            f"{path} holds no file samples_<task>_<time>.jsonl; run lm_eval with --log_samples and --output_path, and "
            "give the folder named there (logs of lm_eval 0.4.0 to 0.4.2 need their results.json beside them)"
        )
    told = {FORBIDDEN.sub("__", name): name for log in found if (name := name_of(log.results))}
    models = defaultdict(list)
    for log in found:
        folder = _name_of_folder(path, log)
        models[name_of(log.results) or told.get(FORBIDDEN.sub("__", folder), folder)].append(log)
    logs, split = [], []
    for name, runs in models.items():
        variants = _variants(runs)
        for named, (_, members) in zip(_names(name, [said for said, _ in variants]), variants, strict=True):
            logs += [Log(named, log.task, log.time, log.file, log.results if log.own else {}) for log in members]
            split += [named] * (len(variants) > 1)
    return (sorted(logs, key=lambda log: (log.model, log.task, log.time, log.file)),
            [(file, content) for several in results.values() for file, _, content in several], sorted(split), faults)


def _files(path: Path) -> tuple[list[tuple[Path, str | None, str]], dict, list[OutcomeError]]:
    """The files of samples with task (None if its results must tell) and time; the results files of each folder."""
    if not path.is_dir():
        raise OutcomeError(f"{path} is no directory; expected a folder that lm_eval --log_samples has written to")
    samples, folders = [], set()
    for file in sorted(path.rglob("*.json*")):
        if file.is_dir():
            continue
        if match := SAMPLES.fullmatch(file.name):
            samples.append((file, match["task"], match["time"] or ""))
        elif OLD.fullmatch(file.name):
            samples.append((file, None, ""))
        else:
            continue
        folders.add(file.parent)
    copies = [file.name for file, task, _ in samples if task and re.search(TIME, task)]
    if copies:
        raise OutcomeError(f"file name(s) with something after the time, as a copy has: {abbreviate(copies)}; delete "
                           "them, or give them the names that lm_eval wrote")
    odd = [ascii(str(file)) for file, *_ in samples if not is_text(str(file))]
    if odd:
        raise OutcomeError(f"file name(s) that are not UTF-8 text, rename them: {abbreviate(odd)}")
    results, faults = defaultdict(list), []
    for folder in sorted(folders):
        for file in sorted(folder.glob("*.json*")):
            if (match := RESULTS.fullmatch(file.name)) and not file.is_dir():
                try:
                    results[folder].append((file, match["time"] or "", read_object(file)))
                except OutcomeError as error:
                    faults.append(error)
    return samples, results, faults


def _with_results(file: Path, task: str | None, time: str, results: Mapping[Path, list]) -> _Found | None:
    """A file of samples with the results of its run, or of its folder where all of that are of one model."""
    beside = results.get(file.parent, [])
    of_run = [(place, content) for place, when, content in beside if when == time]
    if task is None:
        return _early(file, of_run)
    if of_run:
        return _Found(file, task, time, of_run[0][1], True, of_run[0][0])
    alike = {(name_of(content), _key(settings_of(content))) for _, _, content in beside}
    if len(alike) == 1:
        return _Found(file, task, time, beside[-1][2], False, (file.parent, time))
    names = {name for name, _ in alike}
    return _Found(file, task, time, {"model_name": names.pop()} if len(names) == 1 else {}, False, (file.parent, time))


def _early(file: Path, beside: list[tuple[Path, dict]]) -> _Found | None:
    """A file of samples by an early version, whose name tells the arguments of the model and ends with the task.

    The results beside it are of the last run that wrote to the folder, so perhaps of another model.
    """
    rest = OLD.fullmatch(file.name)["rest"]
    tasks = [(name, place, content) for place, content in beside for name in object_of(content.get("configs"))
             if rest.endswith(f"_{name}")]
    if not tasks:
        return None
    task, place, content = max(tasks, key=lambda of: len(of[0]))
    told = rest.removesuffix(f"_{task}")
    args = object_of(content.get("config")).get("model_args")
    if isinstance(args, str) and _letters(args) == _letters(told):
        return _Found(file, task, "", content, True, place)
    parts = [re.split("=|__", part, maxsplit=1) for part in told.split(",")]
    args = {part[0]: part[1].replace("__", "/") for part in parts if len(part) == 2}
    return _Found(file, task, "", {"config": {"model_args": args}}, False, (file.parent, told))


def _name_of_folder(path: Path, log: _Found) -> str:
    """The folder called after a model, ``__`` read as ``/``; the folders below `path` where none is."""
    parts = log.file.parent.relative_to(path).parts
    if parts and parts[-1] == log.task:
        parts = parts[:-1]
    parts = parts or (path.resolve().name,)
    named = [part for part in parts if "__" in part]
    return (named[-1] if named else "/".join(parts)).replace("__", "/") or str(path.resolve())


def _variants(runs: list[_Found]) -> list[tuple[dict[str, str], list[_Found]]]:
    """The logs of each variant of a model, and what it ran with."""
    by_settings = defaultdict(list)
    for log in runs:
        known = log.results.keys() - {"model_name"}
        by_settings[_key(settings_of(log.results)) if known else None].append(log)
    unknown = by_settings.pop(None, [])
    variants = []
    for settings, group in by_settings.items():
        told = _by_task([log for log in group if log.own])
        for said, logs in _with_unknown(told, [log for log in group if not log.own]):
            variants.append((dict(settings) | said, logs))
    return _with_unknown(variants, unknown)


def _with_unknown(variants: list[tuple[dict[str, str], list]], unknown: list[_Found]) -> list[tuple[dict, list]]:
    """Logs without a results file of their run belong to the only variant or, where there are several, to another."""
    if len(variants) == 1:
        return [(variants[0][0], variants[0][1] + unknown)]
    return variants + ([(UNKNOWN if variants else {}, unknown)] if unknown else [])


def _by_task(logs: list[_Found]) -> list[tuple[dict[str, str], list[_Found]]]:
    """Logs with the same arguments of the model, divided so that no task has two settings.

    Runs stay together, and are put together unless they asked a task in two ways, those with more settings in common
    first; what differs only between tasks divides nothing.
    """
    said = {log.file: task_settings_of(log.results, log.task) for log in logs}
    ways, runs = defaultdict(set), defaultdict(list)
    for log in logs:
        ways[log.task].add(_key(said[log.file]))
        runs[log.run].append(log)
    torn = {task for task, several in ways.items() if len(several) > 1}
    asked = [({log.task: _key(said[log.file]) for log in run if log.task in torn}, run) for run in runs.values()]
    variants = []
    for profile, run in sorted(asked, key=lambda of: (-len(of[0]), sorted(of[0].items()))):
        settings = {_key(said[log.file]) for log in run}
        fits = [(len(settings & {_key(said[log.file]) for log in members}), -place)
                for place, (known, members) in enumerate(variants)
                if all(known.get(task, key) == key for task, key in profile.items())]
        if fits:
            known, members = variants[-max(fits)[1]]
            known.update(profile)
            members.extend(run)
        else:
            variants.append((profile, list(run)))
    return [(_label(profile), members) for profile, members in variants]


def _label(profile: Mapping[str, tuple]) -> dict[str, str]:
    """The settings of the tasks that were asked in several ways: their values together, then those of each task."""
    together, apart = defaultdict(set), {}
    for task, settings in profile.items():
        for key, value in settings:
            together[key].add(value)
            apart[f"{key} of {task}"] = value
    return {key: "/".join(sorted(values)) for key, values in together.items()} | apart


def _names(name: str, variants: list[dict[str, str]]) -> list[str]:
    """A name for each variant: the model's with the fewest settings that tell all apart."""
    keys = {key for said in variants for key in said if len({other.get(key) for other in variants}) > 1}
    kept = sorted(keys, key=lambda key: (" of " in key, FIRST.index(key) if key in FIRST else len(FIRST), key))
    for key in reversed([key for key in kept if key not in UNKNOWN]):
        rest = [other for other in kept if other != key]
        if len({tuple(said.get(other) for other in rest) for said in variants}) == len(variants):
            kept = rest
    told = [", ".join(f"{key}={said[key]}" for key in kept if key in said) for said in variants]
    return [f"{name} ({text})" if text else name for text in told]


def _key(settings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(settings.items()))


def _letters(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text)
