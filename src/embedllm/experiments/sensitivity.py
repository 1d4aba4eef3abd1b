"""Curves beside the learning curve: how many models and how many of the cells a forecast needs.

``entries`` and ``settings`` are those of `registry.cross_fit` and `registry.forecasts`; what comes out are per-question
values as from `comparisons.scored`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation import fits
from embedllm.evaluation.inference import holm
from embedllm.experiments.comparisons import scored
from embedllm.forecasters.completion import complete
from embedllm.forecasters.registry import Job, cross_fit, forecasts, rounds
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, prompt_groups, replace_unchecked
from embedllm.splits import Design, Parts

ALONE, WHOLE = "these models alone", "whole pool"
UNSEEN, SEEN = "unseen questions", "completing seen questions"
HELD_OUT = 0.1  # of the kept cells, to choose the shrinkage of the completion by


def models_curve(
    table: OutcomeMatrix, vectors: np.ndarray, entries: Sequence[catalog.Forecaster], sizes: Sequence[int],
    n_draws: int, n_fits: int, n_folds: int, fold_seed: int = 0, compute: Callable = side_by_side, **settings,
) -> pd.DataFrame:
    """Forecasters that learn from the answers of some models alone, cross-fitted, and what all models' answers add.

    Some models are drawn and the forecasters trained on their answers alone; the forecasts of the same cells after
    training on the whole pool stand beside. A draw's smaller sets lie within its larger ones. A fit draws partition
    and seed, the same for all pools of its own, and then models.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of models; the whole pool is always added.
    n_draws : int
        Of each size, in each fit. One that leaves too few questions with an answer to cut into folds is left out.

    Returns
    -------
    DataFrame
        As from `scored`, by ``forecaster``, ``n_models``, ``pool`` ("these models alone", "whole pool"), ``fit`` and
        ``draw`` (numbered over all fits); NaN for a question that none of the drawn models was asked.
    """
    n_models, tables = len(table.models), []
    plan = rounds(n_fits, fold_seed, settings)
    whole = cross_fit(table, vectors, entries, n_folds, plan, compute)

    def add(models: np.ndarray, by_pool: dict[str, dict], **place) -> None:
        own = _cut(table, models)
        tables.extend(scored(own, probabilities, forecaster=name, n_models=len(models), pool=pool, **place)
                      for pool, found in by_pool.items() for name, probabilities in found.items())

    for fit, draw, size in product(range(n_fits), range(n_draws), sorted({size for size in sizes if size < n_models})):
        number = fit * n_draws + draw
        models = np.sort(np.random.default_rng(number).permutation(n_models)[:size])
        own, asked = _asked(_cut(table, models))
        if prompt_groups(own).nunique() >= 2 * n_folds:
            [alone] = cross_fit(own, vectors[asked], entries, n_folds, [plan[fit]], compute)
            spread = {name: _spread(values, asked) for name, values in alone["raw"].items()}
            everyone = {name: values[models] for name, values in whole[fit]["raw"].items()}
            add(models, {ALONE: spread, WHOLE: everyone}, fit=fit, draw=number)
    for fit, found in enumerate(whole):
        add(np.arange(n_models), {ALONE: found["raw"], WHOLE: found["raw"]}, fit=fit, draw=fit * n_draws)
    return pd.concat(tables)


def compared(values: pd.DataFrame, pairs: Sequence[tuple[str, str]], design: Design) -> pd.DataFrame:
    """Forecasters that learned from the same few models, paired, at each size; of each metric one family (Holm).

    What is repeated are fits, each with models of its own, or where there is one fit its draws of models
    (`fits.over_fits`); with neither, intervals are over questions alone.

    Parameters
    ----------
    values : DataFrame
        From `models_curve`.
    pairs : sequence of (str, str)
        Method and reference.

    Returns
    -------
    DataFrame
        ``metric``, ``n_models``, then as from `fits.compare`.
    """
    tables, alone = [], values.xs(ALONE, level="pool")
    for metric, part in alone.groupby(level="metric", sort=False):
        sizes = {size: fits.compare(_repeated(own, "forecaster"), pairs, design)
                 for size, own in part.groupby(level="n_models")}
        joined = pd.concat(sizes, names=["n_models"]).reset_index("n_models").reset_index(drop=True)
        tables.append(joined.assign(metric=metric, p_holm=holm(joined["p"])))
    table = pd.concat(tables, ignore_index=True)
    return table[["metric", *table.columns.drop("metric")]]


def gains(values: pd.DataFrame, n_models: int, design: Design) -> pd.DataFrame:
    """What the other models' answers add, at each size below the whole pool: one family, corrected after Holm.

    Parameters
    ----------
    values : DataFrame
        From `models_curve`.
    n_models : int
        Of the whole pool.
    design : Design

    Returns
    -------
    DataFrame
        ``forecaster``, ``n_models``, then as from `fits.compare` (log-loss alone minus with all models). Empty if no
        size is below the whole pool.
    """
    losses, tables = values.xs("log_loss", level="metric"), []
    smaller = losses[losses.index.get_level_values("n_models") < n_models]
    for (name, size), part in smaller.groupby(level=["forecaster", "n_models"], sort=False):
        one = fits.compare(_repeated(part, "pool"), [(ALONE, WHOLE)], design).drop(columns=["method", "reference"])
        tables.append(pd.concat([pd.DataFrame({"forecaster": [name], "n_models": [size]}), one], axis=1))
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    return table.assign(p_holm=holm(table["p"]))


def _repeated(part: pd.DataFrame, by: str) -> dict[str, np.ndarray]:
    """Values by what a level names: a row for each fit, or where there is one fit for each of its draws.

    Where every question lacks a value in some row, one row: the mean.
    """
    each = "fit" if part.index.unique("fit").size > 1 else "draw"
    means = part.groupby(level=[by, each], sort=False).mean()
    if means.isna().any().all():
        means = part.groupby(level=[by], sort=False).mean()
    return {name: own.to_numpy() for name, own in means.groupby(level=by, sort=False)}


def observed_curve(
    parts: Parts, shares: Sequence[float], n_seeds: int, entries: Sequence[catalog.Forecaster],
    text: catalog.Forecaster, **settings,
) -> dict[str, pd.DataFrame]:
    """Two tasks when only a share of the (model, question) cells is known.

    Forecasting questions that nobody has answered, from their text: the test part. Completing the table:
    the hidden cells of training questions that keep an answer. There the named forecasters still read
    text alone, although the question's own answers were among those they learned from; "completion" adds
    what these answers say about the question (`completion.complete`).

    Parameters
    ----------
    shares : sequence of float, in (0, 1]
        Of the cells of training and validation that are kept, see `kept_cells`. With all of them there
        is nothing to complete.
    text : catalog.Forecaster
        Whose forecasts the completion starts from.
    n_seeds : int
        A seed moves which cells are kept and the initialization. One that leaves no answer to train or
        to validate on is left out.

    Returns
    -------
    dict
        {"unseen questions" | "completing seen ones": table as from `scored`, by ``forecaster``, ``share`` and
        ``seed``}, of test and of training questions; NaN where a question has no hidden cell or keeps no answer.
        A task that no share leaves anything to do in is left out.
    """
    (test, test_vectors), (train, train_vectors) = parts["test"], parts["train"]
    both = replace_unchecked(test, scores=np.hstack([test.scores, train.scores]), references={},
                   questions=pd.concat([test.questions, train.questions]))
    read = {"test": (both, np.concatenate([test_vectors, train_vectors]))}  # both tasks from one training
    draws = []
    for share, seed in product(shares, range(n_seeds)):
        kept = kept_cells(parts, share, seed)
        held_out = np.random.default_rng([seed, 1]).random(train.shape) < HELD_OUT
        fewer = kept | {"train": kept["train"] & ~held_out}
        if all((parts[part][0].observed & cells).any() for part, cells in [*kept.items(), *fewer.items()]):
            draws.append((share, seed, kept, fewer, held_out))

    def jobs() -> Iterator[Job]:
        """Two a draw: with all that is known, and with less of it, to tune the completion by."""
        for share, seed, kept, fewer, _ in draws:
            own = settings | {"seed": settings["seed"] + seed}
            yield _answered(_hidden(parts, kept)) | read, [*entries, text], own
            yield _answered(_hidden(parts, fewer)) | read, [text] if share < 1 else [], own

    found, tables = iter(forecasts(jobs())), {UNSEEN: [], SEEN: []}
    for (share, seed, kept, _, held_out), with_all, less in zip(draws, found, found, strict=True):
        draw = {"share": share, "seed": seed}
        tables[UNSEEN] += [scored(test, with_all[one.name][:, : test.shape[1]], forecaster=one.name, **draw)
                           for one in entries]
        if share < 1:
            seen = {name: probabilities[:, test.shape[1] :] for name, probabilities in with_all.items()}
            scores = _cut(train, kept=kept["train"]).scores
            seen[catalog.COMPLETION] = complete(scores, seen[text.name], held_out, less[text.name][:, test.shape[1] :])
            asked = _cut(train, kept=~kept["train"] & ~np.isnan(scores).all(axis=0))
            shown = dict.fromkeys([*(one.name for one in entries), catalog.COMPLETION])
            tables[SEEN] += [scored(asked, seen[name], forecaster=name, **draw) for name in shown]
    return {task: pd.concat(found) for task, found in tables.items() if found}


def kept_cells(parts: Parts, share: float, seed: int) -> dict[str, np.ndarray]:
    """Which cells of training and validation are kept: part to bool, shape (n_models, n_questions).

    Each cell by itself with chance `share`; the cells of a smaller share are among those of a larger one.
    """
    rng = np.random.default_rng([seed, 0])
    return {part: rng.random(parts[part][0].shape) < share for part in ("train", "val")}


def _asked(table: OutcomeMatrix) -> tuple[OutcomeMatrix, np.ndarray]:
    """The questions that somebody answered, and which they are (mask)."""
    asked = table.observed.any(axis=0)
    return (table if asked.all() else table.at(asked)), asked


def _spread(probabilities: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Forecasts at their places among all questions; a half, which nothing reads, where nobody answered."""
    all_of_them = np.full((len(probabilities), len(asked)), 0.5, np.float32)
    all_of_them[:, asked] = probabilities
    return all_of_them


def _hidden(parts: Parts, kept: dict[str, np.ndarray]) -> Parts:
    """Training and validation with the other cells hidden."""
    return {part: (_cut(parts[part][0], kept=cells), parts[part][1]) for part, cells in kept.items()}


def _answered(parts: Parts) -> Parts | None:
    """Without the training and validation questions that nobody answered; None if a part has no other."""
    rows = {part: parts[part][0].observed.any(axis=0) for part in ("train", "val")}
    if not all(at.any() for at in rows.values()):
        return None
    return parts | {part: (parts[part][0].at(at), parts[part][1][at]) for part, at in rows.items() if not at.all()}


def _cut(table: OutcomeMatrix, models=slice(None), kept=True) -> OutcomeMatrix:
    """The table of some models (positions), or with some cells alone (mask); nobody needs to have an answer."""
    scores = np.where(kept, table.scores, np.float32(np.nan))[models]
    references = {name: values[models] for name, values in table.references.items()}
    return replace_unchecked(table, scores=scores, models=table.models.iloc[models], references=references)
