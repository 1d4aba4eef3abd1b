"""Labels other than right and wrong: a pool with graded scores, and what the text tells of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedllm import catalog
from embedllm.catalog import TRUTH
from embedllm.outcomes import OutcomeMatrix, replace_unchecked
from embedllm.sources.simulated import draw_scores


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
