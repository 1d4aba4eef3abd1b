"""Presets: values for many notebooks at once, from a file of ``notebooks/presets``."""

from __future__ import annotations

import yaml

from embedllm.files import ROOT
from embedllm.study.parameters import NOTEBOOKS, ParameterError, Parameters

PRESETS = ROOT / "notebooks" / "presets"


def with_preset(notebook: str, values: dict) -> tuple[dict, dict]:
    """The values of a notebook's cell, completed where PRESET was typed into it, and the preset.

    Papermill puts the values of a preset into the notebook. A reader who types its name alone gets them as well: if
    none of them stands in the cell, all are taken.
    """
    known = NOTEBOOKS[notebook].model_fields
    preset = read_preset(values.get("PRESET", "default"), values.get("DATASET", known["DATASET"].default))
    own = {name: value for name, value in preset.items() if name in known and name not in Parameters.model_fields}
    if all(values.get(name, known[name].default) == known[name].default for name in own):
        values = values | own
    return values, preset


def read_preset(name: str, dataset: str) -> dict:
    """The values of a preset; "default" has none, since the notebooks' literals are the default.

    Raises
    ------
    ParameterError
        If there is no such preset, if it names what only make or papermill can say, or if it is for another dataset.
    """
    if name == "default":
        return {}
    path = PRESETS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(["default", *sorted(found.stem for found in PRESETS.glob("*.yaml"))])
        raise ParameterError(f"PRESET = {name!r}: no such file in notebooks/presets; known: {known}")
    values = yaml.safe_load(path.read_text())
    if not isinstance(values, dict) or values.get("PRESET") != name:
        raise ParameterError(f"notebooks/presets/{name}.yaml must be a list of NAME: value with PRESET: {name}")
    if shared := (values.keys() & Parameters.model_fields.keys()) - {"PRESET", "DATASET"}:
        raise ParameterError(
            f"notebooks/presets/{name}.yaml: {', '.join(sorted(shared))} cannot stand in a preset, since make "
            "names the run by it; give it to make or to papermill -p"
        )
    if values.get("DATASET", dataset) != dataset:
        raise ParameterError(f"PRESET = {name!r} is for DATASET {values['DATASET']}, not {dataset}: "
                             f"make reproduce PRESET={name} DATASET={values['DATASET']}")
    return values
