"""What telling models apart on each question is worth (C10): beyond ability, beyond benchmarks, beyond format failures.

In log-loss, a forecaster minus a version of itself that knows one ability for each model and one difficulty for each
question. Routing has the same quantity in scores: the gain over the best single model, since an additive forecast asks
one model for everything.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation.fits import compare
from embedllm.evaluation.metrics import question_scores, targets
from embedllm.evaluation.rasch import additive_version
from embedllm.experiments.routing import CrossFitted
from embedllm.levels import additive_means
from embedllm.outcomes import OutcomeMatrix, by_suite, replace_unchecked
from embedllm.splits import Design

FULL, ADDITIVE = catalog.CONVEX, catalog.CONVEX_ADDITIVE
FAILING, BELOW = 0.25, 0.2  # of what levels of model and suite add up to, at most; and so far below it
EVERYWHERE, WITHIN, FORMATTED = "all questions", "within benchmarks", "format failures left out"


def specialization(pool: CrossFitted, level: float) -> pd.DataFrame:
    """The convex embedding against its additive versions.

    - *all questions*: its additive twin, fitted to the same questions without deviations.
    - *format failures left out*: the same without the cells of `format_failures`.
    - *within benchmarks*: its own additive version (`rasch.additive_version`) taken in each benchmark for itself, which
      keeps how good each model is there. What is gained over that, the text alone tells.

    Returns
    -------
    DataFrame
        As from `fits.compare`, below zero where models are special; ``cells`` (share of the cells that count).
    """
    table, truth = pool.table, targets(pool.table, "log_loss")
    benchmarks, bare = table.questions["benchmark"].to_numpy(), np.where(format_failures(table), np.nan, truth)
    values: dict[str, list] = {name: [] for name in (EVERYWHERE, FORMATTED, WITHIN, "", "bare", "own")}
    for forecasts in pool.forecasts:
        full, twin, own = forecasts[FULL.name], forecasts[ADDITIVE.name], np.empty(table.shape)
        for name in np.unique(benchmarks):
            inside = benchmarks == name
            own[:, inside] = additive_version(full[:, inside])
        for name, forecast, scores in ((EVERYWHERE, full, truth), ("", twin, truth), (FORMATTED, full, bare),
                                       ("bare", twin, bare), (WITHIN, full, truth), ("own", own, truth)):
            values[name].append(question_scores(forecast.astype(np.float32), scores, "log_loss"))
    pairs = [(EVERYWHERE, ""), (FORMATTED, "bare"), (WITHIN, "own")]
    found = compare({name: np.stack(one) for name, one in values.items()}, pairs, Design.of(table), level)
    kept = np.isfinite(bare).sum() / np.isfinite(truth).sum()
    return found.assign(reference=[ADDITIVE.name, ADDITIVE.name, "its own additive version in each benchmark"],
                        cells=[1.0, kept, 1.0])


def format_failures(table: OutcomeMatrix) -> np.ndarray:
    """Cells of (model, suite) pairs that score far below what the model's and the suite's levels add up to.

    At most a quarter of it and 20 points below: a model that answers in a form the scoring does not read, rather than
    one that knows little. The rule was fixed before any such difference was computed.

    Returns
    -------
    ndarray of bool, shape (n_models, n_questions)
    """
    wide = replace_unchecked(table, questions=by_suite(table.questions))
    suites, expected = wide.questions["benchmark"], additive_means(wide)
    found = np.zeros(table.shape, bool)
    for name in expected:
        inside = (suites == name).to_numpy()
        seen = table.scores[:, inside]
        asked = ~np.isnan(seen).all(axis=1)
        means = np.full(len(seen), np.nan)
        means[asked] = np.nanmean(seen[asked], axis=1)
        failing = (means <= FAILING * expected[name]) & (means <= expected[name] - BELOW)
        found[np.ix_(np.flatnonzero(failing), np.flatnonzero(inside))] = True
    return found
