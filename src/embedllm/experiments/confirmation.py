"""The confirmation: does the stacked ensemble, frozen before it met a table, beat every comparator there?

Row S1 of `claims.toml` holds the rule, and what stands here follows it: comparators, folds and fits are its values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.claims import Claim
from embedllm.evaluation.fits import over_fits
from embedllm.evaluation.metrics import per_question
from embedllm.forecasters.registry import cross_fit, rounds
from embedllm.lineages import representatives
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, replace_unchecked, suites, without
from embedllm.splits import Design

ALL = "all"  # the judged questions together
DEVELOPED_ON = "mmlu_pro"  # the suite whose questions are those of the pool that the ensemble was developed on


def judged(table: OutcomeMatrix, vectors: np.ndarray) -> tuple[OutcomeMatrix, np.ndarray]:
    """The models and questions that are judged, with their prompt vectors.

    One of each group of near-copies; no question of MMLU-Pro.
    """
    kept = without(table, list(table.models.index[~representatives(table)]))
    kept = kept.at((suites(kept) != DEVELOPED_ON).to_numpy())
    return kept, vectors[table.questions.index.get_indexer(kept.questions.index)]


def confirm(
    table: OutcomeMatrix, vectors: np.ndarray, claim: Claim, compute: Callable = side_by_side,
    cells: np.ndarray | None = None, **settings,
) -> pd.DataFrame:
    """The ensemble against each comparator, over all judged questions and in each suite.

    Parameters
    ----------
    table, vectors
        As `judged` leaves them.
    claim : Claim
        Row S1.
    compute : callable
        As `registry.forecast` takes it.
    cells : ndarray of bool, shape (n_models, n_questions), optional
        Which cells are judged, of those that are trained on and forecast; default all.

    Returns
    -------
    DataFrame
        Columns ``suite`` ("all" first), ``method``, ``reference`` (the comparator), ``loss`` (of the ensemble, nats
        per cell) and those of `fits.over_fits`, at the claim's level.

    Raises
    ------
    ValueError
        If the forecaster's definition is not the one that was frozen.
    """
    ensemble = catalog.FORECASTERS[claim.values["forecaster"]]
    others = [replace(catalog.FROZEN[name], name=name) for name in claim.values["comparators"]]
    if ensemble.definition != claim.values["definition"]:
        raise ValueError(f"{ensemble.name} is not what was frozen as {claim.id}: its definition has changed since")
    seen = table
    if cells is not None:
        seen = replace_unchecked(table, scores=np.where(cells, table.scores, np.float32(np.nan)))
    own_rounds = rounds(claim.values["fits"], 0, settings | {"seed": 0})
    found = cross_fit(table, vectors, [ensemble, *others], claim.values["folds"], own_rounds, compute)
    values = {one.name: np.stack([per_question(seen, fit["raw"][one.name], claim.values["metric"]) for fit in found])
              for one in (ensemble, *others)}
    design, suite = Design.of(table), suites(table)
    parts = {ALL: np.full(len(suite), True)} | {name: (suite == name).to_numpy() for name in suite.unique()}
    rows = []
    for part, at in parts.items():
        own = values[ensemble.name][:, at]
        rows += [{"suite": part, "method": ensemble.name, "reference": other.name, "loss": float(np.nanmean(own)),
                  **over_fits(own, values[other.name][:, at], design.at(at), claim.level)} for other in others]
    return pd.DataFrame(rows)


def verdict(rows: pd.DataFrame, claim: Claim) -> Mapping:
    """What the rule of row S1 gives: the verdict, and the comparator on which it hangs, that with the largest p.

    Parameters
    ----------
    rows : DataFrame
        From `confirm`.
    """
    tests = rows[rows["suite"] == ALL].set_index("reference")
    shown, sign = tests["p"] < claim.level, np.sign(tests["difference"])
    hardest, closest = tests["p"].where(sign < 0, 2 - tests["p"]).idxmax(), tests["difference"].idxmax()  # one-sided p
    if (shown & (sign > 0)).any():
        outcome = "opposite here"
    else:
        outcome = "holds here" if (shown & (sign < 0)).all() else "inconclusive"
    row, most = tests.loc[hardest], 1000 * tests["difference"][closest]
    lead = f"the smallest lead is {-most:.1f} thousandths, over the {closest}" if most < 0 else \
        f"it is behind the {closest} by {most:.1f} thousandths"
    return {"ours": row["difference"], "low": row["low"], "high": row["high"], "p": row["p"], "verdict": outcome,
            "reason": f"against the {hardest}, over which an advantage is least shown of {len(tests)}; {lead}",
            "figure": "03_confirmation"}
