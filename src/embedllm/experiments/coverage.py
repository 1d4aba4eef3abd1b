"""What incomplete coverage does to the choice of a best single model, and to what routers seem to gain over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from embedllm.entries import Forecaster
from embedllm.evaluation import fits
from embedllm.evaluation.metrics import targets
from embedllm.experiments.routing import CrossFitted
from embedllm.forecasters.registry import Round, cross_fit
from embedllm.levels import adjusted_means
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, grouped, replace_unchecked
from embedllm.routing.policies import choose, gained
from embedllm.sources.flaws import blocks_never_run
from embedllm.splits import Design, folds

SHARE, N_DRAWS = 0.4, 20  # of the (model, benchmark) blocks that are hidden; draws
COLUMNS = ["hidden", "rule", "best", "level", "score", "lost", "not asked", "seeming gain", "true gain"]
RANDOM, BAD = "at random", "where models do badly"
RULES: Mapping[str, Callable[[OutcomeMatrix], np.ndarray]] = {  # levels by which the best single model is chosen
    "mean of its answers": lambda table: table.model_means,
    "missing counts as wrong": lambda table: np.nansum(table.scores, axis=1, dtype=np.float64) / table.shape[1],
    "adjusted mean": adjusted_means,
}


def hidden(pool: CrossFitted, name: str, share: float = SHARE, n_draws: int = N_DRAWS, seed: int = 0) -> pd.DataFrame:
    """Hide blocks of a complete table, and choose a best single model from what is left.

    Parameters
    ----------
    pool : CrossFitted
        Complete.
    name : str
        The forecaster whose router is compared with the single model; its forecasts are those of the complete table.
    share : float
        Of the (model, benchmark) blocks.

    Returns
    -------
    DataFrame
        A row for what is hidden and each rule, means over the draws: ``hidden`` ("at random" or "where models do
        badly"), ``rule``; ``best`` (share of the draws in which it finds the truly best model), ``level`` (what the
        rule says of the chosen model), ``score`` (its mean on all questions), ``lost`` (against the truly best),
        ``not asked`` (share of the questions that the chosen model was not asked), ``seeming gain`` (of the router
        over it, where others stand in on questions that a model was not asked) and ``true gain`` (on the complete
        table); no rows with fewer than three benchmarks.

    Raises
    ------
    ValueError
        If the table is not complete.
    """
    table, values = pool.table, targets(pool.table, "score").astype(np.float64)
    if not table.observed.all():
        raise ValueError("blocks can only be hidden from a complete table")
    benchmarks, forecast = grouped(table).questions["benchmark"].to_numpy(), pool.forecasts[0][name]
    truth, rows = values.mean(axis=1), []
    if len(np.unique(benchmarks)) < 3:
        return pd.DataFrame(columns=COLUMNS)
    everywhere = gained(choose(forecast, table.observed), values).mean()
    for how, badness in ((RANDOM, np.zeros_like(values)), (BAD, values)):
        for draw in range(n_draws):
            gone = blocks_never_run(badness, benchmarks, share, np.random.default_rng([seed, draw]))
            left = replace_unchecked(table, scores=np.where(gone, np.nan, table.scores), references={})
            some = left.observed.any(axis=0)
            routed = gained(choose(forecast[:, some], left.observed[:, some]), values[:, some]).mean()
            for rule, levels in RULES.items():
                level = levels(left)
                chosen = int(np.nanargmax(level))
                order = np.nan_to_num(level, nan=-1.0)
                standing_in = gained(choose(order, left.observed[:, some]), values[:, some]).mean()
                rows.append({
                    "hidden": how, "rule": rule, "best": truth[chosen] == truth.max(), "level": level[chosen],
                    "score": truth[chosen], "lost": truth.max() - truth[chosen], "not asked": gone[chosen].mean(),
                    "seeming gain": routed - standing_in, "true gain": everywhere - truth[chosen]})
    return pd.DataFrame(rows).groupby(["hidden", "rule"], sort=False).mean().reset_index()


def of_further(further: Mapping[str, OutcomeMatrix], vectors: Callable, *how) -> pd.DataFrame:
    """`incomplete` of those of a source's further tables that are; blank where there is none.

    Parameters
    ----------
    further : mapping of pool to OutcomeMatrix
    vectors : callable
        Prompts to their vectors, (n_prompts, d_prompt).
    *how
        The rest that `incomplete` is given.
    """
    tables = [incomplete(one, vectors(one.questions["prompt"]), *how).assign(pool=pool)
              for pool, one in further.items() if not one.observed.all()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def incomplete(
    table: OutcomeMatrix, vectors: np.ndarray, entry: Forecaster, n_folds: int, one: Round,
    compute: Callable = side_by_side,
) -> pd.DataFrame:
    """Which single model an incomplete table calls the best, and what a router seems to gain over it.

    The router asks, of the models that answered a question, the one with the highest forecast. Forecasts and single
    models are those of the other folds.

    Returns
    -------
    DataFrame
        Two rows for each rule, as from `fits.compare`: ``where`` is "everywhere", where the next best model by the rule
        stands in on questions that the chosen one was not asked, or "where it was asked". ``rule``, ``model`` (chosen
        most often), ``level`` (what the rule says of it, all questions), ``behind`` (by how much its adjusted mean
        lies below the best) and ``asked`` (share of the questions).
    """
    values, design, rows = targets(table, "score").astype(np.float64), Design.of(table), []
    forecast = cross_fit(table, vectors, [entry], n_folds, [one], compute)[0]["raw"][entry.name]
    fold = folds(table, 2 * n_folds, one.fold_seed).to_numpy() // 2
    routed, adjusted = gained(choose(forecast, table.observed), values), adjusted_means(table)
    for rule, levels in RULES.items():
        stood, chosen = np.empty(table.shape[1]), np.empty(table.shape[1], int)
        for number in np.unique(fold):
            test = fold == number
            level = levels(table.at(~test))
            chosen[test] = np.nanargmax(level)
            order = np.nan_to_num(level, nan=-1.0)
            stood[test] = gained(choose(order, table.observed[:, test]), values[:, test])
        asked = table.observed[chosen, np.arange(len(chosen))]
        most = int(np.bincount(chosen).argmax())
        for where, router in (("everywhere", routed), ("where it was asked", np.where(asked, routed, np.nan))):
            found = fits.compare({"router": router[None], rule: stood[None]}, [("router", rule)], design)
            rows.append(found.assign(where=where, rule=rule, model=table.models.index[most], level=levels(table)[most],
                                     behind=adjusted.max() - adjusted[most], asked=asked.mean()))
    return pd.concat(rows, ignore_index=True)
