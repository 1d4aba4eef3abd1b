"""Labels other than right and wrong: a pool with graded scores, and what the text tells of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.catalog import TRUTH
from embedllm.evaluation.calibration import excess_loss
from embedllm.evaluation.fits import compare
from embedllm.experiments.comparisons import across_fits
from embedllm.forecasters.registry import Round, cross_fit
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, replace_unchecked
from embedllm.sources.simulated import draw_scores
from embedllm.splits import Design


def graded(table: OutcomeMatrix, seed: int) -> OutcomeMatrix | None:
    """The table if its scores are graded; of a planted pool its graded twin; None where all labels are binary.

    The twin has the same models, questions and true means, so that its ceilings are known; only the scores are drawn
    anew, between 0 and 1 around the same probabilities.
    """
    if not table.binary:
        return table
    if TRUTH not in table.references:
        return None
    drawn = draw_scores(table.references[TRUTH].astype(np.float64), True, np.random.default_rng(seed))
    return replace_unchecked(table, scores=np.where(table.observed, drawn, np.float32(np.nan)))


def compared(chosen: Sequence[catalog.Forecaster]) -> list[catalog.Forecaster]:
    """Who is compared: a factorization of those that are chosen, and last its control on random vectors."""
    tuned = catalog.TUNED in chosen
    pair = (catalog.TUNED, catalog.RANDOM_TUNED) if tuned else (catalog.FACTORIZATION, catalog.RANDOM)
    return [catalog.MODEL_MEAN, catalog.VOTE, catalog.KNN, *pair]


def judged(
    table: OutcomeMatrix, vectors: np.ndarray, chosen: Sequence[catalog.Forecaster], n_folds: int,
    rounds: Sequence[Round], level: float, compute: Callable = side_by_side,
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """What the text tells of graded scores: log-loss against the control on random vectors.

    Parameters
    ----------
    table : OutcomeMatrix
        With graded scores, see `graded`.
    chosen, n_folds, rounds, compute
        As `registry.cross_fit` takes them.
    level : float
        Of the intervals.

    Returns
    -------
    tests : DataFrame
        From `fits.compare`.
    excess : DataFrame or None
        From `calibration.excess_loss`, where the truth is known.
    """
    found = cross_fit(table, vectors, compared(chosen), n_folds, rounds, compute)
    values = across_fits(table, found, "log_loss")
    *others, control = values
    tests = compare(values, [(name, control) for name in others], Design.of(table), level)
    return tests, excess_loss([one["raw"] for one in found], values, table) if TRUTH in table.references else None
