"""Removal of what the study made and nothing else, known by its form; with Python's own modules, set up or not.

``python src/embedllm/study/clean.py runs|all FOLDER`` where FOLDER is that of the artifacts: it may hold other files
as well, as may ``data``. Links are left, and what lies behind them.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RESULT = re.compile(r"\.partial-.+|.+-[0-9a-f]{16}-[0-9a-f]{16}")  # of memo/, see `memo.Memory`
RUN = re.compile(r".+-s[0-9]+(-[0-9a-f]{8})?")  # see `runs.Run`
LEFT = re.compile(r"[0-9]{2}_[a-z_]+(\.(d|done|former|lock|products|used|ipynb|failed\.ipynb|.+\.partial.*))?"
                  r"|summary\.done|inputs|figures")  # in a run's folder, see `products` and `execute`
DIGEST = re.compile(rb"[0-9a-f]{64}")
SHARD = re.compile(r"(ready-)?[0-9a-f]{32}\.npz")  # of vectors/, see `cache`


def runs(artifacts: Path) -> Iterator[Path]:
    """Runs, remembered results and the hashes that make compares, file by file where others may lie among them."""
    for run in _folders(artifacts, "*/*"):
        marks = [*run.glob("inputs/parameters.sha"), *run.glob("[0-9]*_*.lock")]
        if marks and RUN.fullmatch(run.name):
            left = [path for path in run.iterdir() if LEFT.fullmatch(path.name)]
            yield from sorted(left, key=lambda path: path.suffix == ".lock" or path.name == "inputs")  # the marks last
    yield from (path for path in _folders(artifacts, "memo/*") if RESULT.fullmatch(path.name))
    for path in [*artifacts.glob("inputs/bench.sha"), *artifacts.glob("inputs/src/embedllm/**/*.sha")]:
        if path.is_file() and DIGEST.fullmatch(path.read_bytes()):
            yield path


def vectors(artifacts: Path) -> Iterator[Path]:
    """Prompt vectors."""
    for folder in _folders(artifacts, "vectors/*"):
        yield from (path for path in folder.iterdir() if SHARD.fullmatch(path.name))


def downloads(data: Path) -> Iterator[Path]:
    """What was downloaded: weights, and the datasets whose files bear a trace of it."""
    yield from (path for path in _folders(data, "weights/*")
                if path.name.startswith(".fetching-") or (path / "model.safetensors").is_file())
    hub = data / "embedllm" / ".cache" / "huggingface"
    yield from (data / "embedllm" / trace.stem for trace in hub.glob("download/*.metadata"))
    yield from (path for path in [hub] if path.is_dir())
    board, registry = data / "open-llm-leaderboard", ROOT / "src/embedllm/sources/open_llm_leaderboard.sha256"
    if not (board / ".git").exists():  # a clone of the reader's
        yield from (board / line.split()[0] for line in registry.read_text().splitlines() if line.strip())


def environment(root: Path) -> Iterator[Path]:
    """The virtual environment."""
    yield from (path for path in _folders(root, ".venv") if (path / "pyvenv.cfg").is_file())


def remove(paths: Iterator[Path], top: Path) -> None:
    """Delete files and folders below a folder, and folders that this empties; links stay, and what they lead to."""
    for path in list(paths):
        inside = path.relative_to(top).parents
        if path.is_symlink() or any((top / parent).is_symlink() for parent in inside if parent != Path()):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        for parent in inside:
            if (top / parent).is_dir() and not (top / parent).is_symlink() and not any((top / parent).iterdir()):
                (top / parent).rmdir()


def _folders(top: Path, pattern: str) -> Iterator[Path]:
    return (path for path in sorted(top.glob(pattern)) if path.is_dir() and not path.is_symlink())


def main(what: str, folder: str) -> None:
    """Remove runs, or all, and say what is left in the folder of the artifacts."""
    artifacts = ROOT / folder
    remove(runs(artifacts), artifacts)
    if what == "all":
        remove(vectors(artifacts), artifacts)
        remove(downloads(ROOT / "data"), ROOT / "data")
        remove(environment(ROOT), ROOT)
    places = [artifacts] if what == "runs" else [artifacts, ROOT / "data", ROOT / ".venv"]
    for place in places:
        rest = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
        if rest := [name for name in rest if (what, name) != ("runs", "vectors")]:
            more = f" and {len(rest) - 5} more" if len(rest) > 5 else ""
            print(f"kept in {place}, since the study did not make it: {', '.join(rest[:5])}{more}")


if __name__ == "__main__":
    main(*sys.argv[1:])
