"""Opens the seal of a pool, once: the confirmation of a later version on questions and models nobody had looked at.

``python -m embedllm.experiments.open_seal <source> <folder> <forecaster>``, for a forecaster of the catalog whose rule
was committed before. Everything is cross-fitted as in `confirmation.confirm`, sealed cells included; judged are the
sealed questions, which give the verdict, and apart from them the sealed models. What comes out is kept in
``figures/<source>/seal_opened.json``, and where that is the seal stays as it is.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedllm.catalog import FORECASTERS, SOURCES
from embedllm.claims import all_claims
from embedllm.encoders.cache import encode
from embedllm.encoders.weights import EncoderError
from embedllm.experiments.confirmation import confirm, judged, verdict
from embedllm.files import ROOT, write
from embedllm.outcomes import OutcomeError
from embedllm.sources.seal import sealed
from embedllm.study.parameters import CorrectnessForecasting
from embedllm.study.paths import ARTIFACTS


def open_seal(source: str, folder: Path, forecaster: str, record: Path) -> dict:
    """Judge a forecaster on the sealed part of a pool, and write what comes out to `record`.

    Near-copies do not get in twice: one of each group is kept (`confirmation.judged`), and a sealed model with an open
    copy is judged only if it is the one that stands for both.

    Returns
    -------
    dict
        The verdict on the sealed questions with the definition of the forecaster, and the tests of both parts against
        each comparator.

    Raises
    ------
    OutcomeError
        If the seal was opened before, nothing of the source is sealed, the forecaster is none that can be judged, or
        the table cannot be read.
    """
    claim, names = all_claims()["S1"], sealed(source)
    if record.exists():
        raise OutcomeError(f"{record} exists: the seal of {source} was opened, and another look confirms nothing")
    if names.empty:
        raise OutcomeError(f"nothing of {source} is sealed")
    if forecaster not in FORECASTERS or forecaster in claim.values["comparators"]:
        raise OutcomeError(f"{forecaster!r} is no forecaster of the catalog that could be judged against the others")
    whole = SOURCES[source].code().read(folder, SOURCES[source].pool)
    table, vectors = judged(whole, encode("minilm", whole.questions["prompt"], ARTIFACTS / "vectors"))
    definition = FORECASTERS[forecaster].definition
    claim = replace(claim, values=dict(claim.values) | {"forecaster": forecaster, "definition": definition})
    own = {kind: set(part["name"]) for kind, part in names.groupby("kind")}
    question, model = table.questions.index.isin(own["question"]), table.models.index.isin(own.get("model", ()))
    settings = CorrectnessForecasting(DATASET=source).fitting
    parts = {"sealed questions": question[None, :] & ~model[:, None],
             "sealed models": np.broadcast_to(model[:, None], table.shape)}
    rows = {name: confirm(table, vectors, claim, cells=cells, **settings)
            for name, cells in parts.items() if cells.any()}
    found = {"forecaster": forecaster, "definition": definition, **verdict(rows["sealed questions"], claim),
             "tests": {name: tests.to_dict("records") for name, tests in rows.items()}}
    write(record, json.dumps(found, indent=1, default=float) + "\n")
    return found


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    asked, place, named = sys.argv[1:]
    try:
        opened = open_seal(asked, Path(place), named, ROOT / "figures" / asked / "seal_opened.json")
    except (OutcomeError, EncoderError) as error:
        sys.exit(f"error: {error}")
    print(json.dumps(opened, indent=1, default=float))
