"""Opens the seal of a pool, once: the confirmation of a later version on questions and models nobody had looked at.

``python -m embedllm.experiments.open_seal <source> <folder> <forecaster>``, for a forecaster of the catalog that was
frozen before. Everything is cross-fitted as in `confirmation.confirm`, sealed cells included; only they are judged.
What comes out is kept in ``figures/<source>/seal_opened.json``, and where that is the seal stays as it is.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from embedllm.catalog import FORECASTERS, SOURCES
from embedllm.claims import all_claims
from embedllm.encoders.cache import encode
from embedllm.experiments.confirmation import confirm, judged, verdict
from embedllm.files import ROOT, write
from embedllm.outcomes import OutcomeError, without
from embedllm.sources.seal import sealed
from embedllm.study.parameters import CorrectnessForecasting


def open_seal(source: str, folder: Path, forecaster: str, record: Path) -> dict:
    """Judge a forecaster on the sealed part of a pool, and write what comes out to `record`.

    Returns
    -------
    dict
        The verdict with the definition of the forecaster, and the tests against each comparator.

    Raises
    ------
    OutcomeError
        If the seal was opened before, nothing of the source is sealed, or the table cannot be read.
    """
    if record.exists():
        raise OutcomeError(f"{record} exists: the seal of {source} was opened, and another look confirms nothing")
    names = set(sealed(source)["name"])
    if not names:
        raise OutcomeError(f"nothing of {source} is sealed")
    entry = SOURCES[source]
    whole = entry.code().read(folder, entry.pools["default"])
    whole = without(whole, [name for name in entry.left_out if name in whole.models.index])
    table, vectors = judged(whole, encode("minilm", whole.questions["prompt"], ROOT / "artifacts" / "vectors"))
    cells = table.questions.index.isin(names)[None, :] | table.models.index.isin(names)[:, None]
    claim = all_claims()["S1"]
    claim = replace(claim, values=dict(claim.values) | {"forecaster": forecaster})
    rows = confirm(table, vectors, claim, cells=cells, **CorrectnessForecasting(DATASET=source).fitting)
    found = {"forecaster": forecaster, "definition": FORECASTERS[forecaster].definition, **verdict(rows, claim),
             "tests": rows.to_dict("records")}
    write(record, json.dumps(found, indent=1, default=float) + "\n")
    return found


if __name__ == "__main__":
    asked, place, name = sys.argv[1:]
    print(json.dumps(open_seal(asked, Path(place), name, ROOT / "figures" / asked / "seal_opened.json"), indent=1,
                     default=float))
