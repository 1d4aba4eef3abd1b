"""Figures and tables that are kept: each has one writer, the default run or `make deep`.

The default run writes ``NN_<name>``. A run of the preset `full` writes ``NN_deep_<name>`` where it finds something
else, and ``NN_deep_provenance.json``; the default run shows them and says whether they belong to today's code and
table.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from embedllm import presentation
from embedllm.files import shown, write
from embedllm.study import closure
from embedllm.study.products import StudyError

DEEP = "full"  # the preset of `make deep`
MARK = "deep_"
JUDGING = ("embedllm.experiments", "embedllm.evaluation", "embedllm.forecasters")  # rooms whose code makes tables


@dataclass
class Shelf:
    """Where one notebook's figures and tables go.

    Attributes
    ----------
    folder : Path
        Of the figures.
    number : str
        Of the notebook, as it begins their names: "03_".
    spare : Path
        Where to put what is not kept here: times that are here already, and what a deep run finds as the default did.
    is_deep : bool
        Whether this is a run of `make deep`.
    drawn : list of str
        What this run has put here, without suffix.
    """

    folder: Path
    number: str
    spare: Path
    is_deep: bool = False
    drawn: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)  # the files of `drawn`

    def best_of(self, here: Mapping[str, pd.DataFrame], table: str) -> dict[str, pd.DataFrame]:
        """Tables of this run by name, or what `make deep` made of them with today's code and table."""
        deep = self.deep_tables(here, table)
        return {name: one if deep.get(name) is None else deep[name] for name, one in here.items()}

    def place(self, name: str, content: str, kinds: Iterable[str] = (".csv",)) -> Path:
        """Where to write a figure or table, without suffix, given the text of its CSV and the kinds of its files."""
        timing = name.startswith("timing_")
        default = self.folder / (name if timing else self.number + name)
        table = default.with_suffix(".csv")
        known = table.exists() if timing else self.is_deep and _holds(table, content)
        if known or (timing and self.is_deep):
            return self.spare / default.name
        if not self.is_deep:
            return self._keep(default.name, kinds)
        return self._keep(self.number + MARK + name, kinds)

    def _keep(self, stem: str, kinds: Iterable[str]) -> Path:
        self.drawn.append(stem)
        self.kept |= {stem + kind for kind in kinds}
        return self.folder / stem

    def show_record(self, name: str) -> pd.DataFrame:
        """Show a figure of a first run that stands, whatever later code finds; returns its table.

        Raises
        ------
        StudyError
            If it is gone.
        """
        table = self.folder / f"{self.number}{name}.csv"
        if not table.exists():
            raise StudyError(f"{shown(table)} is the record of a first run, which is not made again: git restores it")
        self.kept |= {path.name for path in self.folder.glob(f"{table.stem}.*")}
        self.drawn.append(table.stem)
        presentation.show_figure(table.with_suffix(".png"))
        return pd.read_csv(table)

    def deep_tables(self, names: Iterable[str], table: str) -> dict[str, pd.DataFrame | None]:
        """Tables that `make deep` made with today's code and table, see `reasons`; None each where there is none."""
        kept, paths = self.deep("provenance.json"), {name: self.deep(name).with_suffix(".csv") for name in names}
        stale = self.is_deep or not kept.exists() or reasons(kept, table)
        return {name: None if stale or not path.exists() else pd.read_csv(path) for name, path in paths.items()}

    def deep(self, name: str) -> Path:
        """Where a figure of `make deep` is, if there is one, without suffix."""
        return self.folder / f"{self.number}{MARK}{name}"

    def deep_figures(self, beginning: str) -> list[str]:
        """Names of the figures of `make deep` that begin so."""
        start = self.number + MARK
        return [path.stem.removeprefix(start) for path in sorted(self.folder.glob(f"{start}{beginning}*.png"))]

    def tidy(self) -> None:
        """Remove what an earlier run of the same kind put here and this one did not."""
        for path in self.folder.glob(f"{self.number}*"):
            if path.stem.startswith(self.number + MARK) == self.is_deep and path.name not in self.kept:
                path.unlink()


def _holds(file: Path, content: str) -> bool:
    """Whether a file is there and holds just this text."""
    return file.exists() and file.read_text() == content


def judging(notebook: Path) -> set[tuple[frozenset, str]]:
    """What a notebook calls itself to test and to summarize, each with the digest of all code that it uses.

    What is remembered brings its own; this is the rest between fits and the tables that verdicts are read from.
    """
    cells = json.loads(notebook.read_text())["cells"]
    tree = ast.parse("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    names = {alias.asname or alias.name: (node.module, alias.name) for node in ast.walk(tree)
             if isinstance(node, ast.ImportFrom) and str(node.module).startswith(JUDGING) for alias in node.names}
    modules = {name: ".".join(one) for name, one in names.items() if one[0] in JUDGING}
    called = {one for name, one in names.items() if name not in modules}
    called |= {(modules[node.value.id], node.attr) for node in ast.walk(tree)
               if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules}
    return {(frozenset({one}), closure.code([one]).digest) for one in called}


def record(file: Path, parameters: dict, table: str, used: Iterable[tuple[frozenset, str]]) -> None:
    """Write the provenance of a notebook's deep results.

    Parameters
    ----------
    file : Path
    parameters : dict
        Of the notebook.
    table : str
        Fingerprint of the table of outcomes.
    used : iterable of (frozenset of (str, str), str)
        Definitions that results were computed with, and the digest of all code that they use; see `Memory.used`.
    """
    code = sorted([sorted(map(list, roots)), digest] for roots, digest in used)
    write(file, json.dumps({"parameters": parameters, "table": table, "code": code}, indent=1) + "\n")


def state(file: Path, table: str) -> str:
    """A sentence for the reader: whether deep results belong to today's table and code.

    Parameters
    ----------
    file : Path
        As `record` wrote it.
    table : str
        Fingerprint of today's table.
    """
    if other := reasons(file, table):
        return f"Computed by `make deep` with {' and '.join(other)} than today's: run it again before you quote this."
    return "Computed by `make deep` with today's code on today's table."


def reasons(file: Path, table: str) -> list[str]:
    """Why deep results do not belong to today; arguments as for `state`."""
    kept = json.loads(file.read_text())
    changed = sorted({roots[0][1] for roots, digest in kept["code"] if _today(roots) != digest})
    return [*(["another table"] if kept["table"] != table else []),
            *([f"other code ({', '.join(changed)})"] if changed else [])]


def _today(roots: list[list[str]]) -> str:
    """The digest of the code that some definitions use now; blank if one of them is gone."""
    try:
        return closure.code([tuple(root) for root in roots]).digest
    except closure.CodeError:
        return ""
