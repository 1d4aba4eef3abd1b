"""Routers in a file: arrays as safetensors, the rest as JSON in its metadata, no pickle, sealed by a hash of it all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load as tensors_of
from safetensors.numpy import save as bytes_of

from embedllm import catalog
from embedllm.encoders.weights import fingerprint
from embedllm.files import digest, write
from embedllm.presentation import OneSentenceError

FORMAT = 3  # of saved routers
CONTENT = "router"  # key of the file's metadata


class RouterError(OneSentenceError, ValueError):
    """A question, a choice of models or a file that a router cannot use."""


def write_router(
    path: Path, content: Mapping, arrays: Mapping[str, np.ndarray], tables: Mapping[str, pd.DataFrame]
) -> None:
    """Write one file.

    Parameters
    ----------
    content : mapping
        What JSON can hold, with the name of the ``encoder``; infinity as text.
    arrays : mapping of str to ndarray
    tables : mapping of str to DataFrame
        Columns of numbers or truth values; an index is not kept.
    """
    arrays = arrays | {f"{label}.{name}": table[name].to_numpy() for label, table in tables.items() for name in table}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = {"format": FORMAT, "version": version("embedllm-study"), "weights": fingerprint(content["encoder"]),
              "columns": {label: list(table) for label, table in tables.items()}, **content}
    write(Path(path), bytes_of(arrays, {CONTENT: json.dumps(header | {"digest": _fingerprint(header, arrays)})}))


def read_router(path: Path) -> tuple[dict, dict[str, np.ndarray], dict[str, pd.DataFrame]]:
    """Read what `write_router` wrote: content, arrays and tables.

    Raises
    ------
    RouterError
        If the file is no router, damaged, of another format, or its encoder has other weights here.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][CONTENT])
        arrays, written, encoder = tensors_of(content), header["format"], header["encoder"]
    except OSError as error:
        raise RouterError(f"{path} cannot be read ({error.strerror})") from None
    except Exception as error:  # whatever JSON and safetensors find wrong
        raise RouterError(f"{path} is no router, or only a part of one ({type(error).__name__})") from error
    if written != FORMAT:
        raise RouterError(f"{path} was written in format {written} by version {header.get('version')}; this one "
                          f"reads format {FORMAT}: fit and save it again")
    if encoder not in catalog.ENCODERS or header.get("weights") != fingerprint(encoder):
        raise RouterError(f"{path} was fitted to vectors of encoder {encoder}, of which this version has other "
                          "weights or none: fit and save it again")
    if header.pop("digest", "") != _fingerprint(header, arrays):
        raise RouterError(f"{path} does not hold what was saved: it is damaged or was changed")
    tables = {label: pd.DataFrame({name: arrays[f"{label}.{name}"] for name in columns})
              for label, columns in header["columns"].items()}
    return header, arrays, tables


def _fingerprint(header: dict, arrays: dict[str, np.ndarray]) -> str:
    """A SHA-256 of the header and of the names, shapes, types and bytes of the arrays."""
    told = [repr((name, arrays[name].shape, arrays[name].dtype.str)) for name in sorted(arrays)]
    return digest(json.dumps(header, sort_keys=True), *told, *(arrays[name].tobytes() for name in sorted(arrays)))
