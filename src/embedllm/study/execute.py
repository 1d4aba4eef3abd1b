"""Running notebooks for make: what they depend on, execution, the gallery, publication.

``python -m embedllm.study.execute inputs|run|gallery|summary|publish|cells``; the parameters that name a run come from
environment variables of their names.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from itertools import chain
from pathlib import Path

import pandas as pd

from embedllm.files import ROOT, digest, shown, write
from embedllm.outcomes import OutcomeError
from embedllm.study import products
from embedllm.study.data import minutes, read_own_data
from embedllm.study.given import from_environment, read_all
from embedllm.study.parameters import NOTEBOOKS, TABLE, ParameterError, Parameters
from embedllm.study.paths import ARTIFACTS, base_folder, data_dir, figure_folder
from embedllm.study.presets import PRESETS, read_preset
from embedllm.study.products import StudyError
from embedllm.study.publish import publish, write_cells, write_gallery
from embedllm.study.shelf import DEEP, MARK

SOURCE = ROOT / "src" / "embedllm"
EVERY = 60.0  # seconds between two lines of progress where they do not replace each other
PNG_END = b"IEND\xaeB`\x82"


def write_inputs(p: Parameters, run: Path) -> None:
    """Write one hash for each thing a notebook can depend on, leaving unchanged ones untouched.

    Times of files lie (a checkout renews them all), so make compares the times of these instead. A
    notebook's text counts as well as its code: what `publish` commits is the executed copy.
    """
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        code = "\n".join("".join(one["source"]) for one in cells)
        _write_if_changed(run / "inputs" / f"{path.stem}.sha", code)
    data = [path for path in SOURCE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        named = [file.read_bytes() for file in sorted(data) if file.name in text]
        _write_if_changed(ARTIFACTS / "inputs" / f"{path.relative_to(ROOT)}.sha", digest(text, *named))
    measured = sorted((ROOT / "figures" / "bench").glob("*.csv"))
    _write_if_changed(ARTIFACTS / "inputs" / "bench.sha", "".join(path.read_text() for path in measured))
    kept = sorted(figure_folder(p).glob(f"*_{MARK}*")) if p.PRESET == "default" else []  # default notebooks show them
    _write_if_changed(run / "inputs" / "deep.sha", digest("", *(path.read_bytes() for path in kept)))
    preset = PRESETS / f"{p.PRESET}.yaml"
    folder = data_dir(p)
    files = [f"{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}"
             for path in sorted(folder.rglob("*")) if path.is_file() and p.DATA_DIR]  # downloads are pinned
    text = preset.read_text() if preset.exists() else ""
    told = [text, str(folder), *filter(None, [p.METRIC]), *files]
    _write_if_changed(run / "inputs" / "parameters.sha", "\n".join(told))


def distrust_damaged(run: Path, figures: Path) -> None:
    """Delete what was cut short or changed in a run with the stamp of its notebook, so that make runs that again.

    Looks at products and their manifests, stamps, figures, and the dependency files, of which make could not read a
    damaged one.
    """
    for path in run.glob("*.d"):
        first, _, rest = path.read_bytes().partition(b"\n")
        if first != f"# {digest(rest)}".encode():
            path.unlink()
    for name in NOTEBOOKS:
        stamp, manifest, reason = run / f"{name}.done", run / f"{name}.products", None
        if manifest.exists() and (bad := products.damaged(run, name)):
            products.discard(run, name)
            reason = bad
        elif stamp.exists():
            cut = [path for path in figures.glob(f"{name[:2]}_*.png") if not path.read_bytes().endswith(PNG_END)]
            missing = [path for path in (manifest, run / f"{name}.d") if not path.exists()]
            reason = next(iter([*cut, *missing]), None if _timing(stamp) else stamp)
        if reason:
            stamp.unlink(missing_ok=True)
            print(f"{shown(reason)} was damaged or deleted: notebook {name} runs again")


def run_notebook(name: str, p: Parameters, run: Path) -> None:
    """Execute one notebook through papermill, keep the cleaned result, then write its stamp.

    Raises
    ------
    SystemExit
        If a cell fails; the failed notebook stays beside as ``<name>.failed.ipynb``.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # jsonschema builds its grammar in a second, and nobody needs it
    import papermill

    handler, log = _ProgressShown(name), papermill.log.logger
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    path = ROOT / "notebooks" / f"{name}.ipynb"
    told = read_preset(p.PRESET, p.DATASET) | p.overrides
    values = {n: v for n, v in told.items() if n in NOTEBOOKS[name].model_fields}
    run.mkdir(parents=True, exist_ok=True)
    partial, failed = run / f"{name}.{os.getpid()}.partial.ipynb", run / f"{name}.failed.ipynb"
    began = time.time()
    try:
        papermill.execute_notebook(path, partial, values, cwd=path.parent, progress_bar=False,
                                   log_output=True, kernel_name="python3",
                                   extra_arguments=["--log-level=50"])  # no notes on how kernels talk and stop
        seconds = time.time() - began
        notebook = clean(json.loads(partial.read_text()))
    except papermill.PapermillExecutionError as error:
        os.replace(partial, failed)
        sys.exit(f"{name} failed: {error.ename}: {error.evalue}\n"
                 f"(the notebook as far as it came: {shown(failed)})")
    finally:
        partial.unlink(missing_ok=True)
        log.removeHandler(handler)
        handler.close()
    write(run / f"{name}.ipynb", json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    failed.unlink(missing_ok=True)
    used, stamp = json.loads((run / f"{name}.used").read_text()), run / f"{name}.done"
    depends = [shown(ARTIFACTS / "inputs" / f"{module}.sha") for module in used["modules"]]
    rules = f"{shown(stamp)}: {' '.join(depends)}\n" + "".join(f"{path}:\n" for path in depends)
    write(run / f"{name}.d", f"# {digest(rules)}\n{rules}")
    write(stamp, json.dumps({"seconds": round(seconds, 1), "began": began, "oldest": min(began, used["oldest"])}))
    print(f"{name}  {seconds:.0f} s", flush=True)


class _ProgressShown(logging.Handler):
    """Passes on how far a notebook's long cells are: a line that renews itself on a terminal, else one a minute."""

    def __init__(self, notebook: str):
        super().__init__(logging.INFO)  # papermill's level for what a cell writes
        self.notebook, self.last = notebook, time.monotonic() - EVERY

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage().rpartition("\r")[2].strip()  # of `progress.progress`: each begins with a return
        if sys.stderr.isatty():
            print(f"\r\033[K{self.notebook}  {line}" if line else "\r\033[K", end="", file=sys.stderr, flush=True)
        elif line and time.monotonic() - self.last > EVERY:
            self.last = time.monotonic()
            print(f"{self.notebook}  {line}", file=sys.stderr, flush=True)

    def filter(self, record: logging.LogRecord) -> bool:
        return "\r" in record.getMessage()


def clean(notebook: dict) -> dict:
    """Drop what differs between two equal runs: times, papermill's notes, progress bars, random ids."""
    kernel = notebook["metadata"]["kernelspec"]
    notebook["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for position, one in enumerate(notebook["cells"]):
        tags = one["metadata"].get("tags", [])
        one["metadata"] = {"tags": tags} if tags else {}
        one["id"] = f"cell-{position:02}"
        if one["cell_type"] == "code":
            kept = [_without_progress(out) for out in one["outputs"] if out.get("name") != "stderr"]
            one["outputs"] = [out for out in kept if out.get("text", True)]
    return notebook


def _without_progress(output: dict) -> dict:
    """An output without what a carriage return took back, or would have."""
    text = "".join(output.get("text", ""))
    if "\r" not in text:
        return output
    *lines, rest = text.split("\n")
    kept = [line.rpartition("\r")[2] + "\n" for line in lines] + [rest] * ("\r" not in rest)
    return output | {"text": [line for line in kept if line.strip()]}


def show(run: Path, figures: Path) -> None:
    """Write the gallery, in the order of what has run; deep figures follow the default ones."""
    default = run.with_name(run.name.replace(f"{DEEP}-", "default-", 1))
    used = [path for name in NOTEBOOKS if (path := default / f"{name}.used").exists()]
    write_gallery(figures, list(chain(*(json.loads(path.read_text())["drawn"] for path in used))))


def summarize(run: Path, figures: Path) -> None:
    """Write the gallery of a finished run and print what each notebook took.

    The times are kept only if all that was read back had been computed by this run, since what lay there before took no
    time, and if none are there: they differ each time, and a clone should stay as it was. A deep run reads what the
    default one left.
    """
    show(run, figures)
    timing = pd.DataFrame({name: _timing(run / f"{name}.done") for name in NOTEBOOKS}).T
    deep = run.name.startswith(f"{DEEP}-")
    if deep or timing["oldest"].min() >= timing["began"].min():
        times = timing["seconds"].rename_axis("notebook").reset_index()
        kept = figures / f"timing_{MARK if deep else ''}notebooks.csv"
        write(run / "figures" / kept.name if kept.exists() else kept, times.to_csv(index=False))
    seconds = timing["seconds"]
    for name, value in seconds.items():
        print(f"  {name:<28}{value:6.0f} s")
    print(f"  {'all notebooks':<28}{seconds.sum():6.0f} s\nfigures: {shown(figures)}/README.md   "
          f"executed notebooks: {shown(run)}/")


def _timing(stamp: Path) -> dict[str, float]:
    """Seconds that a notebook took, when it began, when the oldest it read was written; empty if not whole."""
    try:
        timing = json.loads(stamp.read_bytes())
        return {name: float(timing[name]) for name in ("seconds", "began", "oldest")}
    except (ValueError, TypeError, KeyError):
        return {}


def _write_if_changed(path: Path, text: str) -> None:
    content = digest(text).encode()
    if not path.exists() or path.read_bytes() != content:
        write(path, content)


def main(arguments: list[str] | None = None) -> None:
    """Command line; the environment holds every parameter that names a run, so that no shell reads its value."""
    parser = argparse.ArgumentParser(prog="python -m embedllm.study.execute", description=__doc__)
    parser.add_argument("action", choices=["inputs", "run", "gallery", "summary", "publish", "cells"])
    parser.add_argument("notebook", nargs="?", choices=list(NOTEBOOKS))
    asked = parser.parse_args(arguments)
    action, notebook = asked.action, asked.notebook
    try:
        p = read_all(from_environment())[TABLE]
        run = base_folder(p)
        if action == "inputs":
            write_inputs(p, run)
            read_own_data(p, run)
    except (ParameterError, OutcomeError) as error:
        sys.exit(f"error: {error}")
    if action == "inputs":
        if p.PRESET == DEEP:
            print(f"make deep runs all that is too heavy for make reproduce{minutes(p.label, deep=True)}; interrupted, "
                  "it goes on where it was", flush=True)
        try:
            distrust_damaged(run, figure_folder(p))
        except StudyError as error:
            sys.exit(f"error: {error}")
    elif action == "run":
        run_notebook(notebook, p, run)
    elif action == "gallery":
        show(run, figure_folder(p))
    elif action == "summary":
        summarize(run, figure_folder(p))
    elif action == "cells":
        write_cells()
    else:
        publish(run)


if __name__ == "__main__":
    main()
