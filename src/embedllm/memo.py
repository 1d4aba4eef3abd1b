"""Results of long computations, kept by what they were computed from.

A notebook reruns when anything it depends on changes, a colour included; what took long is then
read back unless its own inputs or the code behind it changed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

# Modules that draw, name or run things: they cannot change a computed result.
PRESENTATION = {
    "embedllm.figures", "embedllm.audit_figure", "embedllm.calibration_figure", "embedllm.study", "embedllm.parameters",
    "embedllm.execute", "embedllm.memo",
}


class Memory:
    """Results kept in a folder, one folder each.

    Attributes
    ----------
    folder : Path
    read_back : int
        How many results were not computed but found.
    """

    def __init__(self, folder: Path):
        self.folder, self.read_back = folder, 0

    def remember(self, function, *args, **settings):
        """``function(*args, **settings)``, computed once.

        Parameters
        ----------
        function : callable
            A function of this package that depends on nothing but its arguments. Returns a DataFrame, an
            ndarray, an object with ``save(path)`` and ``load(path)``, or a dict of these.
        *args, **settings
            Arrays, DataFrames, objects with a ``fingerprint``, or plain values that JSON can hold.
        """
        code = _code(function.__module__), _libraries()
        key = _digest(function.__module__, function.__qualname__, *code, *map(_fingerprint, args),
                      *(name + _fingerprint(value) for name, value in sorted(settings.items())))
        path = self.folder / f"{function.__name__}-{key[:16]}"
        if path.exists():
            self.read_back += 1
            return _read(path)
        result = function(*args, **settings)
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=".partial-"))
        _write(partial, result)
        try:
            os.replace(partial, path)  # never a half-written result under the final name
        except OSError:  # another process was first
            shutil.rmtree(partial)
        return result


def _code(module: str) -> str:
    """A hash of the source of a module and of all modules of this package that it imports, presentation aside."""
    files, waiting = {}, [module]
    while waiting:
        name = waiting.pop()
        if name in files or name in PRESENTATION:
            continue
        files[name] = Path(importlib.import_module(name).__file__).read_bytes()
        for node in ast.walk(ast.parse(files[name])):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "embedllm":
                package = hasattr(importlib.import_module(node.module), "__path__")  # ``from package import module``
                waiting += [f"{node.module}.{alias.name}" for alias in node.names] if package else [node.module]
    return _digest(*(content for _, content in sorted(files.items())))


def _libraries() -> str:
    """The versions of what computes; that of torch says whether it is built for a CPU."""
    return " ".join(f"{name} {importlib.metadata.version(name)}"
                    for name in ("numpy", "pandas", "scikit-learn", "scipy", "statsmodels", "torch"))


def _fingerprint(value) -> str:
    if hasattr(value, "fingerprint"):
        return value.fingerprint
    if isinstance(value, np.ndarray):
        return _digest(str((value.dtype, value.shape)), np.ascontiguousarray(value).data)
    if isinstance(value, pd.DataFrame | pd.Series):
        return _digest(value.reset_index().to_csv(index=False))
    if isinstance(value, dict):
        return _digest(*(f"{name}={_fingerprint(item)}" for name, item in sorted(value.items())))
    if isinstance(value, list | tuple):
        return _digest(*map(_fingerprint, value))
    return _digest(json.dumps(value))


def _digest(*parts) -> str:
    digest = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _write(folder: Path, result) -> None:
    if isinstance(result, dict):
        for position, (name, value) in enumerate(result.items()):
            item = folder / f"{position:03}-{name}.item"
            item.mkdir()
            _write(item, value)
    elif isinstance(result, pd.DataFrame):
        result.to_parquet(folder / "result.parquet")
    elif isinstance(result, np.ndarray):
        np.save(folder / "result.npy", result, allow_pickle=False)
    else:
        kind = type(result)
        (folder / "kind.json").write_text(json.dumps([kind.__module__, kind.__qualname__]))
        result.save(folder / "result.npz")


def _read(folder: Path):
    if (folder / "result.parquet").exists():
        return pd.read_parquet(folder / "result.parquet")
    if (folder / "result.npy").exists():
        return np.load(folder / "result.npy", allow_pickle=False)
    if (folder / "kind.json").exists():
        module, kind = json.loads((folder / "kind.json").read_text())
        return getattr(sys.modules[module], kind).load(folder / "result.npz")
    return {path.stem[4:]: _read(path) for path in sorted(folder.glob("*.item"))}
