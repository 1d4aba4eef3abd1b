"""What tells one argument of a remembered function from another."""

from __future__ import annotations

import dataclasses
import json
from functools import cached_property
from types import FunctionType

import numpy as np
import pandas as pd

from embedllm.files import digest
from embedllm.study import closure


def fingerprint(value, roots: set[tuple[str, str]]) -> str:
    """A digest of an argument; the code it brings is added to the roots, as (module, name).

    Raises
    ------
    TypeError
        For an object of which nothing tells two apart.
    """
    kind = value if isinstance(value, FunctionType | type) else type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.split(".")[0] == closure.PACKAGE:
        roots.add((kind.__module__, kind.__qualname__))
    if kind is value:
        return digest("code", name)
    if hasattr(value, "fingerprint"):
        return digest(name, value.fingerprint)
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return digest("objects", str(value.shape), fingerprint(value.ravel().tolist(), roots))
    if isinstance(value, np.ndarray):
        return digest("array", f"{value.dtype} {value.shape}", np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
        return digest(*_columns(value, roots))
    if isinstance(value, dict):  # their order counts: a function may go through them
        return digest("dict", *(fingerprint(part, roots) for item in value.items() for part in item))
    if dataclasses.is_dataclass(value):
        known = dataclasses.fields(value)
        told = [field.name for field in known if field.compare]
        # What a fit has set is no field; what a property has cached says nothing new.
        told += [own for own in getattr(value, "__dict__", ()) if own not in {field.name for field in known}
                 and not isinstance(getattr(kind, own, None), cached_property)]
        return digest("fields", name, *(own + fingerprint(getattr(value, own), roots) for own in told))
    if isinstance(value, list | tuple):
        return digest("list", *(fingerprint(item, roots) for item in value))
    if isinstance(value, str):
        roots.update((module, ".".join(chain)) for module, chain in closure.named(value))
    try:
        return digest(json.dumps(value))
    except TypeError:
        raise TypeError(f"an argument of a remembered function is a {name}, of which nothing tells two apart: give the "
                        "class a `fingerprint`, make it a dataclass, or hand over plain values") from None


def _columns(table: pd.DataFrame | pd.Series | pd.Index, roots: set) -> list[str]:
    """What tells a table from others: names, types, values and index."""
    if isinstance(table, pd.DataFrame):
        columns = [digest(*_values(table.iloc[:, at], None, roots)) for at in range(table.shape[1])]
        return ["table", *_columns(table.columns, roots), *_columns(table.index, roots), *columns]
    if isinstance(table, pd.Series):
        return ["column", *_columns(table.index, roots), *_values(table, table.name, roots)]
    if isinstance(table, pd.MultiIndex):
        levels = [table.get_level_values(at) for at in range(table.nlevels)]
        return ["levels", *(part for level in levels for part in _columns(level, roots))]
    return ["index", *_values(table, table.name, roots)]


def _values(column: pd.Series | pd.Index, name, roots: set) -> list[str]:
    """Name, type and values of a column; those that are no plain numbers one by one."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes if isinstance(column, pd.Series) else column.codes
        return [fingerprint(name, roots), str(column.dtype.ordered), *_columns(column.dtype.categories, roots),
                fingerprint(np.asarray(codes), roots)]
    values = np.asarray(column)
    told = json.dumps(values.tolist(), default=repr) if values.dtype.hasobject else fingerprint(values, roots)
    return [fingerprint(name, roots), str(column.dtype), told]
