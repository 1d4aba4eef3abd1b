"""What a run was told: by make, in environment variables, or in a notebook, by papermill or the reader."""

from __future__ import annotations

import ast
import os

from embedllm.study.parameters import NOTEBOOKS, TABLE, ParameterError, Parameters, read
from embedllm.study.paths import check_data_dir
from embedllm.study.presets import read_preset

INJECTED = "# Parameters"  # the first line of papermill's cell


def from_environment() -> dict[str, str]:
    """The shared parameters as make exports them, each an environment variable; the default of one that is not there.

    Raises
    ------
    ParameterError
        For a value that is not UTF-8 text.
    """
    values = {name: os.environ.get(name, str(info.default)) for name, info in Parameters.model_fields.items()}
    for name, value in values.items():
        if any("\ud800" <= letter <= "\udfff" for letter in value):  # what became of bytes that are none
            raise ParameterError(f"{name} = {value!a} is not UTF-8 text: rename what it names")
    return values


def read_all(values: dict) -> dict[str, Parameters]:
    """The parameters of every notebook of a run, by its name.

    Raises
    ------
    ParameterError
        If a value or the preset cannot be used, or DATA_DIR does not hold the dataset.
    """
    preset = read_preset(values["PRESET"], values["DATASET"])
    known = {name: read(name, preset | values, preset) for name in NOTEBOOKS}
    check_data_dir(known[TABLE])
    return known


def from_namespace(namespace: dict) -> dict:
    """What a notebook's names say of parameters, known or not.

    UPPER_CASE names are taken for parameters wherever they come from. Other names only if a parameter cell binds them,
    papermill's or the tagged one that the reader edited: a notebook's own variables may differ from a parameter in case
    alone, and are bound when its first cells run again.
    """
    told = {name for source in _parameter_cells(namespace.get("In", [])) for name in _bound(source)}
    return {name: value for name, value in namespace.items() if name.isupper() or name in told}


def _parameter_cells(sources: list[str]) -> list[str]:
    """The tagged cell and papermill's, as they were run last; an earlier version may hold what was mended since."""
    injected = [source for source in sources if source.partition("\n")[0] == INJECTED]
    tagged = [source for source in sources if "DATASET" in _bound(source) and source not in injected]
    return injected[-1:] + tagged[-1:]


def _bound(source: str) -> set[str]:
    """Names that a cell assigns to at its top; none where it is no plain Python."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return set()
    targets = [node.targets if isinstance(node, ast.Assign) else [node.target] for node in body
               if isinstance(node, ast.Assign | ast.AnnAssign)]
    return {target.id for several in targets for target in several if isinstance(target, ast.Name)}
