"""Results of long computations, kept by what they were computed from.

A notebook reruns when anything it depends on changes, a color included; what took long is then
read back unless its own inputs or the code behind it changed.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from math import inf
from operator import length_hint
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm.files import digest, sync
from embedllm.machine import as_completed
from embedllm.progress import Counted
from embedllm.study import closure
from embedllm.study.fingerprint import fingerprint


class Memory:
    """Results kept in a folder, one folder each, ``<function>-<key>-<digest of the files>``.

    Attributes
    ----------
    folder : Path
    read_back : int
        How many results were found that this memory had not computed itself.
    oldest : float
        When the oldest result that was read was written, in seconds since 1970; infinity if none was.
    used : set of (frozenset of (str, str), str)
        For each result, computed or found, the definitions behind it and the digest of all code that they use.
    """

    def __init__(self, folder: Path):
        self.folder, self.read_back, self.oldest, self._computed = folder, 0, inf, set()
        self.used: set[tuple[frozenset, str]] = set()

    def remember(self, function, *args, **settings):
        """``function(*args, **settings)``, computed once; see `remember_all`."""
        return self.remember_all([partial(function, *args, **settings)])[0]

    def remember_all(self, calls: Iterable[partial]) -> list:
        """What many calls return, each computed once; what is missing is computed side by side, a thread each.

        A result is kept as soon as it is there: an interruption or an error loses what was not finished.

        Parameters
        ----------
        calls : iterable of functools.partial
            Of functions of this package that depend on nothing but their arguments. They return a DataFrame, an
            ndarray, an object with ``save(path)`` and ``load(path)``, or a dict of these. Arguments are arrays,
            DataFrames, objects with a ``fingerprint``, dataclasses, functions, or plain values that JSON can hold.
            They stay as they are until the last call is asked for.
            The code of their classes counts, and code that a text names by its dotted path.

        Raises
        ------
        CodeError
            If the code behind the function cannot be followed.
        TypeError
            For an argument of another kind.
        """
        results, asked = {}, {}

        def missing() -> Iterator[partial]:
            before = {}  # arguments of the last call: the fits of one fold share theirs
            for at, call in enumerate(calls):
                one, before = _Asked.of(call, before)
                self.used.add((frozenset(one.roots), one.code.digest))
                results[at] = self.recall(one.stem)
                self.read_back += results[at] is not None and one.stem not in self._computed
                if results[at] is None:
                    asked[at] = one
                    yield call

        left = Counted(missing(), lambda: length_hint(calls) - len(results) + len(asked))
        for number, result in as_completed(left):
            at, one = list(asked.items())[number]
            results[at] = result
            self._computed.add(one.stem)
            if one.stands():
                self._keep(one.stem, result)
            else:
                print(f"{one.stem.rsplit('-', 1)[0]}: code it uses has changed since this process began, so its "
                      "result is not kept; restart the kernel")
        return [results[at] for at in range(len(results))]

    def recall(self, stem: str):
        """The result of ``<function>-<key>`` as it was written; None if there is none, or none that is whole."""
        found = sorted(self.folder.glob(f"{stem}-*"))
        if len(found) == 1 and found[0].name == f"{stem}-{_digest(found[0])[:16]}":
            try:
                result, written = _read(found[0]), found[0].stat().st_mtime
                self.oldest = min(self.oldest, written)
                return result
            except Exception:  # written by other versions of what reads it
                pass
        for path in found:
            shutil.rmtree(path, ignore_errors=True)
        return None

    def _keep(self, stem: str, result) -> None:
        """Write a result, which gets its name when all of it is on the disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=".partial-"))
        try:
            _write(partial, result)
            for file in _files(partial):
                sync(file)
            with suppress(OSError):  # another process was first
                os.replace(partial, self.folder / f"{stem}-{_digest(partial)[:16]}")
        finally:
            shutil.rmtree(partial, ignore_errors=True)


class _Argument(NamedTuple):
    """An argument of a call, its fingerprint, and the code it brings; held, so that no other gets its identity."""

    value: object
    fingerprint: str
    roots: set[tuple[str, str]]

    @classmethod
    def of(cls, value) -> _Argument:
        roots: set[tuple[str, str]] = set()
        return cls(value, fingerprint(value, roots), roots)


class _Asked(NamedTuple):
    """A call as it was asked for: name and key of its result, and the code behind it."""

    stem: str
    roots: set[tuple[str, str]]
    code: closure.Code

    @classmethod
    def of(cls, call: partial, before: dict[int, _Argument]) -> tuple[_Asked, dict[int, _Argument]]:
        """The call as asked for, and its arguments by identity; `before` are those of the call before it."""
        function, arguments = call.func, {}
        roots, told = {(function.__module__, function.__qualname__)}, []
        for name, value in [*(("", value) for value in call.args), *sorted(call.keywords.items())]:
            one = before.get(id(value)) or _Argument.of(value)
            arguments[id(value)] = one
            roots |= one.roots
            told.append(name + one.fingerprint)
        code = closure.code(roots)
        key = digest(function.__module__, function.__qualname__, code.digest, _libraries(), *told)
        return cls(f"{function.__name__}-{key[:16]}", roots, code), arguments

    def stands(self) -> bool:
        """Whether the code is still what this process has loaded."""
        return not self.code.changed and closure.code(self.roots) == self.code


@cache
def _libraries() -> str:
    """The versions of what computes; that of torch says whether it is built for a CPU."""
    return " ".join(f"{name} {importlib.metadata.version(name)}"
                    for name in ("numpy", "pandas", "scikit-learn", "scipy", "statsmodels", "torch"))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(folder: Path) -> str:
    """Of the names and bytes of all files in a folder; "" if it is going."""
    try:
        return digest("", *(part for path in _files(folder)
                            for part in (str(path.relative_to(folder)), path.read_bytes())))
    except OSError:
        return ""


def _write(folder: Path, result) -> None:
    if isinstance(result, dict):
        if wrong := [name for name in result if not isinstance(name, str) or "/" in name]:
            raise TypeError(f"a remembered dict has texts without a slash for keys, found {wrong[0]!r}")
        for position, (name, value) in enumerate(result.items()):
            item = folder / f"{position:03}-{name}.item"
            item.mkdir()
            _write(item, value)
    elif isinstance(result, pd.DataFrame) and result.shape[1] > len(result) and (result.dtypes == np.float64).all():
        np.save(folder / "values.npy", result.to_numpy(), allow_pickle=False)  # parquet is slow on thousands of columns
        for name, labels in (("index", result.index), ("columns", result.columns)):
            pd.DataFrame({"": 0}, labels).to_parquet(folder / f"{name}.parquet")  # a range alone has no length there
    elif isinstance(result, pd.DataFrame):
        result.to_parquet(folder / "result.parquet")
    elif isinstance(result, np.ndarray):
        np.save(folder / "result.npy", result, allow_pickle=False)
    elif not hasattr(result, "save"):
        raise TypeError(f"a remembered function returned a {type(result).__name__}: no DataFrame, ndarray, dict of "
                        "these or object with save(path) and load(path)")
    else:
        kind = type(result)
        (folder / "kind.json").write_text(json.dumps([kind.__module__, kind.__qualname__]))
        result.save(folder / "result.npz")


def _read(folder: Path):
    if (folder / "result.parquet").exists():
        return pd.read_parquet(folder / "result.parquet")
    if (folder / "values.npy").exists():
        index, columns = (pd.read_parquet(folder / f"{name}.parquet").index for name in ("index", "columns"))
        return pd.DataFrame(np.load(folder / "values.npy", allow_pickle=False), index, columns)
    if (folder / "result.npy").exists():
        return np.load(folder / "result.npy", allow_pickle=False)
    if (folder / "kind.json").exists():
        module, kind = json.loads((folder / "kind.json").read_text())
        return getattr(importlib.import_module(module), kind).load(folder / "result.npz")
    return {path.stem[4:]: _read(path) for path in sorted(folder.glob("*.item"))}
