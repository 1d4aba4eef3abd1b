"""Facts about the models of a reader's own table: numbers above 0, and what an answer costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError
from embedllm.sources._files import BLANK, require_columns, to_scores
from embedllm.sources._rows import known_models, written

FACTS = ("parameters_b", "active_parameters_b", "cost")  # what is known about models in numbers
SIZES, LARGEST = {"parameters_b", "active_parameters_b"}, 100_000  # billions
WORDS = {"family", "base_model", "kind"}  # what is known about models in words
UNITS = ("query", "million tokens")  # what a model's cost is for; the first where nothing is said


def read_models(models: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The models table, its facts as numbers and the unit of its costs filled in."""
    require_columns(models, file, ["model"])
    models = models.assign(**{
        fact: numbers(file, models, fact, zero=fact == "cost") for fact in FACTS if fact in models})
    for fact in SIZES & set(models):
        for number in models.index[models[fact] > LARGEST][:1]:
            raise OutcomeError(f"{file}, row {number}: {fact} of model {models['model'][number]} is told in billions; "
                               f"found {models[fact][number]:g}")
    blank = {name: models[name].astype("string").str.strip().str.lower().isin(BLANK) for name in WORDS & set(models)}
    models = models.assign(**{name: models[name].astype(object).mask(none, None) for name, none in blank.items()})
    if not {"cost", "cost_unit"} & set(models):
        return models
    units = models.get("cost_unit", pd.Series("", models.index)).astype("string").str.strip().str.lower()
    units = units.fillna("").astype(object)
    priced = models["cost"].notna() if "cost" in models else pd.Series(False, models.index)
    units = units.mask((units == "") & priced, UNITS[0])
    units = units.mask(units == "", next((unit for unit in units if unit), UNITS[0]))
    for number in models.index[~units.isin(UNITS)][:1]:
        raise OutcomeError(f"{file}, row {number}: cost_unit of model {models['model'][number]} must be "
                           f"{' or '.join(UNITS)}, found {units[number][:60]!r}")
    if set(UNITS) <= set(units):
        raise OutcomeError(f"{file} gives costs for a {UNITS[0]} and for {UNITS[1]}; give all in one cost_unit")
    return models.assign(cost_unit=units)


def with_costs(
    outcomes: pd.DataFrame, models: pd.DataFrame | None, folder: Path
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Models with the mean cost of their answers where they have no cost, and how many costs differ from that mean."""
    if models is None:
        models, _ = known_models(outcomes["model"].unique(), pd.DataFrame({"model": []}, dtype=object))
    if "cost_unit" in models and (models["cost_unit"] == UNITS[1]).any():
        raise OutcomeError(f"{folder}: models have costs for {UNITS[1]}, outcomes for each answer; keep those of one")
    answered = outcomes[outcomes["score"].notna()]
    costs = answered.groupby("model", observed=True)["cost"].agg(["sum", "count"]).groupby(written).sum()
    means = (costs["sum"] / costs["count"]).reindex(models["model"].map(written)).to_numpy()  # none of none is NaN
    known = models["cost"].to_numpy(float) if "cost" in models else np.full(len(models), np.nan)
    differing = int((np.abs(means / known - 1) > 0.01).sum())
    return (
        models.assign(cost=np.where(np.isnan(known), means, known), cost_unit=UNITS[0]),
        {"models whose cost differs by more than 1 % from the mean of their answers": differing},
    )


def numbers(file: Path, frame: pd.DataFrame, column: str, zero: bool = False) -> pd.Series:
    """A column of finite numbers above 0, or from 0 on, float64, NaN where blank."""
    words = to_scores(frame[column])
    found = pd.to_numeric(words, errors="coerce").astype("float64")
    wrong = (found.isna() & words.notna()) | (found < 0 if zero else found <= 0) | np.isinf(found)
    for number, row in frame[wrong].head(1).iterrows():
        raise OutcomeError(f"{file}, row {number}: {column} of model {row['model']} must be a number "
                           f"{'from 0 on' if zero else 'above 0'}, found {str(row[column])[:60]!r}")
    return found
