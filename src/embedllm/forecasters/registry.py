"""Many forecasters at once: built from the catalog, fitted on one split or cross-fitted.

``parts`` are those of `splits.cut`; ``settings`` are those of the factorization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from itertools import islice, product
from operator import length_hint
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.entries import code
from embedllm.evaluation.calibration import scaled, temperature
from embedllm.evaluation.metrics import question_scores
from embedllm.forecasters.contract import Forecaster
from embedllm.forecasters.ensemble import log_opinion_pool, weigh
from embedllm.forecasters.tuning import Tuned
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, replace_unchecked
from embedllm.progress import Counted
from embedllm.splits import PARTS, Parts, cut, folds, stratified_share

JUDGED = ("val", "test")
CHOICE = "choice"  # beside them: what a forecaster chose on validation
Job = tuple[Parts, Sequence[catalog.Forecaster], dict]  # parts, forecasters and settings


def build(entry: catalog.Forecaster, settings: dict) -> Forecaster:
    """A forecaster of the catalog, not fitted.

    Parameters
    ----------
    settings : dict
        Of the factorization: each forecaster takes of them what its entry says.
    """
    kind = entry.code()
    if entry.members:
        return kind({member.name: build(member, settings) for member in entry.members})
    own = {name: settings[name] for name in entry.takes if name in settings} | dict(entry.settings)
    if not entry.grid:
        return kind(**own)
    combinations = product(*entry.grid.values())
    return Tuned([kind(**own, **dict(zip(entry.grid, values, strict=True))) for values in combinations])


def forecast(
    parts: Parts, entries: Sequence[catalog.Forecaster], compute: Callable = side_by_side, **settings
) -> dict[str, np.ndarray]:
    """Test probabilities of forecasters of the catalog: name to float32, shape (n_models, n_test).

    Parameters
    ----------
    compute : callable
        Calls of `fitted_forecasts` to what they return; `memo.Memory.remember_all` also keeps it.
    """
    [found] = forecasts([(parts, entries, settings)], compute)
    return found


def forecasts(jobs: Iterable[Job], compute: Callable = side_by_side) -> list[dict[str, np.ndarray]]:
    """As `forecast`, of many jobs at once, so that all cores have something to do."""
    return [{name: judged["test"] for name, judged in found.items()} for found in _judged(jobs, compute)]


class Round(NamedTuple):
    """One cross-fitting: what draws the folds, what share of the questions it learns from, how it trains."""

    fold_seed: int
    settings: dict
    share: float = 1.0


def rounds(n_fits: int, fold_seed: int, settings: dict, share: float = 1.0) -> list[Round]:
    """So many fits of a method: each moves the partition into folds and the seed of the trainings."""
    return [Round(fold_seed + fit, settings | {"seed": settings["seed"] + fit}, share) for fit in range(n_fits)]


def cross_fit(
    table: OutcomeMatrix, vectors: np.ndarray, entries: Sequence[catalog.Forecaster], n_folds: int,
    rounds: Sequence[Round], compute: Callable = side_by_side,
) -> list[dict]:
    """Every question forecast once in each round, by a fit that never saw it; all tuning is inside each fold.

    A fold is the test part in its turn, half of the next one the validation part, the rest is trained on; of both a
    share where the round says so, drawn within benchmarks. The seed of the folds is not that of the trainings, so that
    another initialization can be compared on the same folds.

    Returns
    -------
    list of dict, one a round
        ``raw`` and ``scaled``: name to probabilities, float32, (n_models, n_questions), as forecast and after
        temperature scaling on each fold's validation part. ``folds``: DataFrame with ``name``, ``fold``, ``labels``
        (answers that training and validation used), ``val`` (validation log-loss), ``temperature``, ``choice``.
    """
    cuts = [_cuts(table, n_folds, one) for one in rounds]
    jobs = Counted(((cut(table, vectors, part), entries, one.settings)
                    for one, parts in zip(rounds, cuts, strict=True) for part in parts), len(rounds) * n_folds)
    judged = iter(_judged(jobs, compute))
    return [_gathered(table, parts, list(islice(judged, n_folds)), [entry.name for entry in entries]) for parts in cuts]


def _cuts(table: OutcomeMatrix, n_folds: int, one: Round) -> list[np.ndarray]:
    """The part of each question ("train", "val", "test", "" where it is left out), for each fold in its turn."""
    half = folds(table, 2 * n_folds, one.fold_seed).to_numpy()
    found = []
    for fold in range(n_folds):
        part = np.select([half // 2 == fold, half == 2 * ((fold + 1) % n_folds)], ["test", "val"], "train")
        for name in PARTS[:2]:
            own = np.flatnonzero(part == name)
            kept = stratified_share(table.questions["benchmark"].iloc[own], one.share, one.fold_seed)
            part[np.delete(own, kept)] = ""
        found.append(part)
    return found


def _gathered(table: OutcomeMatrix, parts: list[np.ndarray], judged: list[dict], names: list[str]) -> dict:
    """The forecasts of all folds of a round together."""
    raw, calibrated = ({name: np.empty(table.shape, np.float32) for name in names} for _ in range(2))
    rows = []
    for fold, (part, found) in enumerate(zip(parts, judged, strict=True)):
        scores, test = table.scores[:, part == "val"], part == "test"
        labels = int(table.observed[:, (part == "train") | (part == "val")].sum())
        for name in names:
            one = found[name]
            heat, loss = temperature(one["val"], scores), np.nanmean(question_scores(one["val"], scores, "log_loss"))
            raw[name][:, test], calibrated[name][:, test] = one["test"], scaled(one["test"], heat)
            choice = ", ".join(f"{setting} {value}" for setting, value in one[CHOICE].itertuples(index=False))
            rows.append((name, fold, labels, float(loss), heat, choice))
    columns = ["name", "fold", "labels", "val", "temperature", "choice"]
    return {"raw": raw, "scaled": calibrated, "folds": pd.DataFrame(rows, columns=columns)}


def fitted_forecasts(parts: Parts, forecaster: Forecaster) -> dict:
    """Fit one forecaster: what it forecasts of validation and test, and what it chose.

    Returns
    -------
    dict
        "val" and "test": float32, (n_models, n_questions); "choice": DataFrame with ``setting`` and ``value`` (text).
    """
    forecaster = deepcopy(forecaster).fit(*parts["train"], *parts["val"])  # whoever asked keeps an empty one
    told = {part: forecaster.predict_proba(parts[part][1], parts[part][0].questions["benchmark"].to_numpy())
            for part in JUDGED}
    return told | {CHOICE: _table(forecaster.choice)}


def _table(choice: dict) -> pd.DataFrame:
    rows = [(name, f"{value:.3g}" if isinstance(value, float) else str(value)) for name, value in choice.items()]
    return pd.DataFrame(rows, columns=["setting", "value"], dtype=object)


def shuffled(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every prompt vector at another question, which is the same as shuffling the labels of all models together."""
    return rng.permutation(vectors)


def noise(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of the spread of the prompt vectors."""
    return (rng.standard_normal(vectors.shape) * vectors.std()).astype(np.float32)


def _judged(jobs: Iterable[Job], compute: Callable) -> list[dict[str, dict]]:
    """Forecasts of validation and test by name, of each job.

    Within a job equal forecasters are fitted once, the members of ensembles included.
    """
    plans, sizes, truths = [], [], []

    def calls() -> Iterator[partial]:  # one job's parts at a time
        for parts, entries, settings in jobs:
            fits: list[tuple] = []
            plans.append({entry.name: _plan(entry, settings, fits) for entry in entries})
            sizes.append(len(fits))
            truths.append(parts["val"][0].scores)
            own = {part: (replace_unchecked(table, references={}), vectors) for part, (table, vectors) in parts.items()}
            for forecaster, prompts in fits:
                yield partial(fitted_forecasts, _with_other_prompts(own, prompts, settings), forecaster)

    n_jobs = length_hint(jobs)
    results = iter(compute(Counted(calls(), lambda: sizes[0] * n_jobs if sizes else 0)))  # jobs are mostly alike
    found = [list(islice(results, size)) for size in sizes]
    return [{name: _followed(number, of_job, truth) for name, number in plan.items()}
            for plan, of_job, truth in zip(plans, found, truths, strict=True)]


def _plan(entry: catalog.Forecaster, settings: dict, fits: list[tuple]) -> int | list:
    """Which of the fits (forecaster and what replaces its prompts) an entry needs; an ensemble: those of its members.

    A fit that is not there yet is added.
    """
    if entry.members:
        return [_plan(member, settings, fits) for member in entry.members]
    fit = (build(entry, settings), entry.prompts)
    if fit not in fits:
        fits.append(fit)
    return fits.index(fit)


def _followed(plan: int | list, found: list[dict], truth: np.ndarray) -> dict:
    """The forecasts of an entry, from what the fits found; `truth` are the validation scores."""
    if isinstance(plan, int):
        return found[plan]
    members = [_followed(member, found, truth) for member in plan]
    weights = weigh([member["val"] for member in members], truth)
    told = {part: log_opinion_pool([member[part] for member in members], weights) for part in JUDGED}
    return told | {CHOICE: _table({f"weight {number}": float(one) for number, one in enumerate(weights, 1)})}


def _with_other_prompts(parts: Parts, path: str, settings: dict) -> Parts:
    """The parts with what a control's function makes of all their prompt vectors; without a function as they are."""
    if not path:
        return parts
    vectors = np.concatenate([parts[part][1] for part in PARTS])
    ends = np.cumsum([len(parts[part][1]) for part in PARTS])[:-1]
    pieces = np.split(code(path)(vectors, np.random.default_rng(settings.get("seed", 0))), ends)
    return {part: (parts[part][0], piece) for part, piece in zip(PARTS, pieces, strict=True)}
