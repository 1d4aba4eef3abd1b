"""Many forecasters at once: built from the catalog, fitted on one split or cross-fitted.

``parts`` are those of `outcomes.cut`; ``settings`` are those of the factorisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.calibration import scaled, temperature
from embedllm.contract import Forecaster
from embedllm.metrics import question_scores
from embedllm.outcomes import PARTS, OutcomeMatrix, Parts, cut, folds
from embedllm.pool import pooled, weigh
from embedllm.training import Tuned

JUDGED = ("val", "test")


def build(entry: catalog.Forecaster, settings: dict) -> Forecaster:
    """A forecaster of the catalog, not fitted.

    Parameters
    ----------
    settings : dict
        Of the factorisation: each forecaster takes of them what its entry says.
    """
    kind = entry.code()
    if entry.members:
        return kind({member.name: build(member, settings) for member in entry.members})
    own = {name: settings[name] for name in entry.takes if name in settings} | dict(entry.settings)
    if not entry.grid:
        return kind(**own)
    combinations = product(*entry.grid.values())
    return Tuned([kind(**own, **dict(zip(entry.grid, values, strict=True))) for values in combinations])


def direct(function: Callable, *args, **settings):
    """Call a function; in its place `memo.Memory.remember` keeps what it returns."""
    return function(*args, **settings)


def forecast(
    parts: Parts, entries: Sequence[catalog.Forecaster], remember: Callable = direct, **settings
) -> dict[str, np.ndarray]:
    """Test probabilities of forecasters of the catalog: name to float32, shape (n_models, n_test)."""
    return {name: judged["test"] for name, judged in _judged(parts, entries, remember, settings).items()}


def cross_fit(
    table: OutcomeMatrix, vectors: np.ndarray, entries: Sequence[catalog.Forecaster], n_folds: int,
    fold_seed: int = 0, remember: Callable = direct, **settings,
) -> dict:
    """Every question forecast once, by a fit that never saw it; all tuning is inside each fold.

    A fold is the test part in its turn, half of the next one the validation part, the rest is trained on. The seed
    of the folds is not that of the trainings, so that another initialisation is compared on the same folds.

    Returns
    -------
    dict
        ``raw`` and ``scaled``: name to probabilities, float32, (n_models, n_questions), as forecast and after
        temperature scaling on each fold's validation part. ``folds``: DataFrame with ``name``, ``fold``, ``val``
        (validation log-loss) and ``temperature``.
    """
    half = folds(table, 2 * n_folds, fold_seed).to_numpy()
    raw, calibrated = ({entry.name: np.empty(table.shape, np.float32) for entry in entries} for _ in range(2))
    rows = []
    for fold in range(n_folds):
        test, val = half // 2 == fold, half == 2 * ((fold + 1) % n_folds)
        parts = cut(table, vectors, np.select([test, val], ["test", "val"], "train"))
        scores = parts["val"][0].scores
        for name, judged in _judged(parts, entries, remember, settings).items():
            heat = temperature(judged["val"], scores)
            raw[name][:, test], calibrated[name][:, test] = judged["test"], scaled(judged["test"], heat)
            rows.append((name, fold, float(np.nanmean(question_scores(judged["val"], scores, "log_loss"))), heat))
    tuning = pd.DataFrame(rows, columns=["name", "fold", "val", "temperature"])
    return {"raw": raw, "scaled": calibrated, "folds": tuning}


def fitted_forecasts(parts: Parts, forecaster: Forecaster) -> dict[str, np.ndarray]:
    """Fit one forecaster; its forecasts of validation and test: {"val" | "test": (n_models, n_questions), float32}."""
    forecaster.fit(*parts["train"], *parts["val"])
    return {part: forecaster.predict_proba(parts[part][1], parts[part][0].questions["benchmark"].to_numpy())
            for part in JUDGED}


def shuffled(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every prompt vector at another question, which is the same as shuffling the labels of all models together."""
    return rng.permutation(vectors)


def noise(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of the spread of the prompt vectors."""
    return (rng.standard_normal(vectors.shape) * vectors.std()).astype(np.float32)


def _judged(parts: Parts, entries: Sequence[catalog.Forecaster], remember: Callable, settings: dict) -> dict[str, dict]:
    """Forecasts of validation and test by name; equal forecasters are fitted once, an ensemble's members included."""
    done: list[tuple[tuple, dict]] = []  # a forecaster with what replaces its prompts, and its forecasts

    def judged(entry: catalog.Forecaster) -> dict[str, np.ndarray]:
        if entry.members:
            members = [judged(member) for member in entry.members]
            weights = weigh([member["val"] for member in members], parts["val"][0].scores)
            return {part: pooled([member[part] for member in members], weights) for part in JUDGED}
        key = (build(entry, settings), entry.prompts)
        for known, forecasts in done:
            if known == key:
                return forecasts
        own = _with_other_prompts(parts, entry.prompts, settings.get("seed", 0)) if entry.prompts else parts
        done.append((key, remember(fitted_forecasts, own, key[0])))
        return done[-1][1]

    return {entry.name: judged(entry) for entry in entries}


def _with_other_prompts(parts: Parts, path: str, seed: int) -> Parts:
    """The parts with what a control's function makes of all their prompt vectors."""
    vectors = np.concatenate([parts[part][1] for part in PARTS])
    ends = np.cumsum([len(parts[part][1]) for part in PARTS])[:-1]
    pieces = np.split(catalog.code(path)(vectors, np.random.default_rng(seed)), ends)
    return {part: (parts[part][0], piece) for part, piece in zip(PARTS, pieces, strict=True)}
