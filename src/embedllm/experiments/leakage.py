"""What near-duplicates across the split change in the forecasts of the method that remembers most."""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm.audit.near_duplicates import training_near_duplicates
from embedllm.evaluation.inference import paired_test
from embedllm.evaluation.metrics import METRICS, per_question
from embedllm.forecasters.neighbors import KNearestNeighbors
from embedllm.outcomes import OutcomeMatrix
from embedllm.splits import Design, cut

EFFECT = ["test_questions", "n_questions", "removed", "metric", "with_them", "without_them", "difference", "low",
          "high", "p"]


def effect_of_leakage(table: OutcomeMatrix, vectors: np.ndarray) -> pd.DataFrame:
    """What the training near-duplicates of test questions do to the forecasts of kNN, which remembers most.

    `KNearestNeighbors` is fitted once on all training questions, tuned on validation, and once, with the same
    settings, without the near-duplicates of test questions. The test questions are the same.

    Parameters
    ----------
    vectors : ndarray, shape (n_questions, d_prompt), float32
        Prompt vectors, in the order of ``table.questions``.

    Returns
    -------
    DataFrame
        Columns ``test_questions`` ("with a near-duplicate", "all"), ``n_questions``, ``removed`` (training questions),
        ``metric`` (accuracy, log_loss in nats), ``with_them``, ``without_them`` and their paired ``difference``
        with ``low``, ``high`` (95 %) and ``p``, over questions (`inference.paired_test`). These numbers are NaN
        where nothing is left to train on. Empty if no test question has a near-duplicate in training.

    Raises
    ------
    OutcomeError
        If the questions have no column ``part``.
    """
    near, affected = training_near_duplicates(table)
    parts, design = cut(table, vectors), Design.of(table)
    train, test = ((table.questions["part"] == name).to_numpy() for name in ("train", "test"))
    forecasts, settings = [], {}
    for kept in (train, train & ~near) if near.any() else ():
        if table.at(kept).observed.any():
            knn = KNearestNeighbors(**settings).fit(table.at(kept), vectors[kept], *parts["val"])
            forecasts.append(knn.predict_proba(parts["test"][1]))
            names = ("centered", "grid", "weights", "pseudo")  # kept, so that nothing else makes the difference
            settings = {name: (value,) for name, value in zip(names, knn.chosen, strict=True)}
    rows = []
    for label, chosen in (("with a near-duplicate", affected[test]), ("all", test[test])):
        for metric in METRICS if near.any() and chosen.any() else ():
            row = {"test_questions": label, "n_questions": int(chosen.sum()), "removed": int(near.sum()),
                   "metric": metric}
            if len(forecasts) == 2:
                a, b = (per_question(parts["test"][0], p, metric)[chosen] for p in forecasts)
                if np.isfinite(a - b).any():
                    result = paired_test(a, b, design.at(test).at(chosen))
                    row |= {"with_them": np.nanmean(a), "without_them": np.nanmean(b)}
                    row |= {name: result[name] for name in ("n_questions", "difference", "low", "high", "p")}
            rows.append(row)
    return pd.DataFrame(rows, columns=EFFECT)
