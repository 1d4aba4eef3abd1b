"""What routing reaches when every question is routed by a fit that never saw it.

Values are as `evaluation.fits` takes them: policy to an array (n_fits, n_questions), a row for each cross-fitting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation import fits
from embedllm.evaluation.fits import Values
from embedllm.evaluation.inference import holm
from embedllm.evaluation.intervals import ALPHA
from embedllm.evaluation.metrics import targets
from embedllm.experiments.worlds import METHODS, OBSERVED, PRIMARY, REFERENCE, max_p
from embedllm.forecasters.registry import Round
from embedllm.outcomes import OutcomeMatrix, grouped, without
from embedllm.routing import diversity
from embedllm.routing.policies import candidates, choose, gained, route
from embedllm.splits import Design, folds

LABEL = "best per benchmark"
HINDSIGHT = f"{LABEL}, in hindsight"
QUANTITIES = ("gain", "entropy", "told_benchmark", "told_difficulty")  # of choices, in worlds


class CrossFitted(NamedTuple):
    """Forecasts of questions by fits that never saw them, where every candidate answered every question.

    Attributes
    ----------
    table : OutcomeMatrix
        The candidates and the questions that are judged.
    forecasts : list of dict
        Of each round: forecaster to probabilities, float32, (n_models, n_questions).
    folds : list of ndarray, shape (n_questions,)
        Of each round: which questions were forecast together.
    seeds : list of int
        Of each round.
    """

    table: OutcomeMatrix
    forecasts: list[dict[str, np.ndarray]]
    folds: list[np.ndarray]
    seeds: list[int]

    @classmethod
    def of(cls, table: OutcomeMatrix, crossed: Sequence[dict], rounds: Sequence[Round], n_folds: int) -> CrossFitted:
        """What can be judged of cross-fittings (`registry.cross_fit`, with what it was given).

        Models and questions are those of `policies.candidates`. Where not all of them answered all, a policy takes the
        best of those that were asked.
        """
        kept, judged = candidates(table)
        fewer = without(table, list(table.models.index[~kept])).at(judged)
        return cls(
            fewer, [{name: values[np.ix_(kept, judged)] for name, values in one["raw"].items()} for one in crossed],
            [folds(table, 2 * n_folds, one.fold_seed).to_numpy()[judged] // 2 for one in rounds],
            [one.fold_seed for one in rounds])


class Routed(NamedTuple):
    """What policies choose and reach: name to array (n_fits, n_questions).

    Attributes
    ----------
    choices : dict
        Position of the model asked, int; without the random policy, which is an expectation.
    reached : dict
        Score of that model, float64.
    """

    choices: dict[str, np.ndarray]
    reached: dict[str, np.ndarray]


def routed(pool: CrossFitted) -> Routed:
    """Route every question by every policy of the catalog whose forecasts are there.

    Policies that learn from outcomes themselves, such as the best single model, learn from all questions outside the
    fold.
    """
    found = []
    for fold, forecasts in zip(pool.folds, pool.forecasts, strict=True):
        kept: tuple[dict, dict] = ({}, {})
        for number in np.unique(fold):
            test = fold == number
            own = {name: forecast[:, test] for name, forecast in forecasts.items()}
            for all_folds, values in zip(kept, route(pool.table.at(~test), pool.table.at(test), own), strict=True):
                for name, value in values.items():
                    all_folds.setdefault(name, np.empty(len(fold), value.dtype))[test] = value
        found.append(kept)
    return Routed(*({name: np.stack([one[at][name] for one in found]) for name in found[0][at]} for at in (0, 1)))


def hindsight(table: OutcomeMatrix) -> np.ndarray:
    """Score of the model that did best on each benchmark, chosen on the judged answers: (n_questions,)."""
    values, benchmarks = targets(table, "score"), table.questions["benchmark"].to_numpy()
    reached = np.empty(table.shape[1])
    for name in np.unique(benchmarks):
        rows = np.flatnonzero(benchmarks == name)
        means = np.nan_to_num(np.nanmean(values[:, rows], axis=1), nan=-1.0)
        reached[rows] = gained(choose(means, table.observed[:, rows]), values[:, rows])
    return reached


def gains(
    reached: Values, design: Design, level: float = ALPHA, reference: str = catalog.BEST_SINGLE,
    bounds: Values | None = None,
) -> pd.DataFrame:
    """Score of each policy minus that of a reference, the largest first.

    Parameters
    ----------
    bounds : mapping of str to ndarray, shape (n_fits, n_questions), optional
        What was chosen on the judged answers themselves: shown beside policies, and no test is made of it.

    Returns
    -------
    DataFrame
        As from `fits.compare`, and ``score``, the mean that the policy reaches.
    """
    others, bounds = [name for name in reached if name != reference], bounds or {}
    table = fits.compare(reached, [(name, reference) for name in others], design, level)
    if bounds:
        beside = fits.compare({**bounds, reference: reached[reference]}, [(name, reference) for name in bounds], design)
        table = pd.concat([table, beside.assign(p=np.nan, p_holm=np.nan, mde=np.nan)], ignore_index=True)
    table["score"] = [{**reached, **bounds}[name].mean() for name in table["method"]]
    return table.sort_values("difference", ascending=False, ignore_index=True)


def compared(values: Values, pairs: Sequence[tuple[str, str]], design: Design, level: float) -> pd.DataFrame:
    """`fits.compare` at a claim's level, with ``confidence``: that of its intervals, of one fit always 0.95."""
    one_fit = len(next(iter(values.values()))) == 1
    return fits.compare(values, pairs, design, level).assign(confidence=1 - (ALPHA if one_fit else level))


def over_label(reached: Values, routers: Sequence[str], design: Design) -> pd.DataFrame:
    """Each router minus asking the best model of each benchmark: `compared` at 5 %; empty where that policy is not."""
    if LABEL not in reached:
        return pd.DataFrame(columns=["method", "reference", "difference", "low", "high", "p_holm", "mde"])
    return compared(reached, [(name, LABEL) for name in routers], design, ALPHA)


def against(
    reached: Values, name: str, rivals: Sequence[str], design: Design, level: float, margin: float
) -> pd.DataFrame:
    """One policy against each of its rivals.

    Returns
    -------
    DataFrame
        As from `compared`, with ``low_all`` and ``high_all``, ends of intervals for all rivals together, and
        ``p_margin``: one-sided, of the null that the gain is the margin or more.
    """
    pairs = [(name, rival) for rival in rivals]
    low, high = fits.intervals(reached, pairs, design, level / len(rivals))
    beyond = fits.no_worse({one: reached[one] for one in (name, *rivals)}, name, design, margin)  # the same null
    return compared(reached, pairs, design, level).assign(low_all=low, high_all=high, p_margin=beyond["p_worse"])


def beyond_worlds(worlds: pd.DataFrame, null: str = PRIMARY) -> pd.DataFrame:
    """Gain over the best single model and diversity of the choices, beside worlds without specialization.

    Parameters
    ----------
    worlds : DataFrame
        From `worlds.draw`.

    Returns
    -------
    DataFrame
        A row for each forecaster and quantity, see `QUANTITIES`: ``observed``, ``value`` (mean of the worlds), ``low``,
        ``high`` (95 % of them), ``p`` (one-sided: (1 + worlds with as much) / (1 + worlds)), ``p_adjusted`` (over the
        forecasters but the primary one, which keeps its p, by the maximum statistic: `worlds.max_p`), ``worlds``.
    """
    table = worlds.assign(gain=worlds["routed"] - worlds["best_single"])
    table = table[table["forecaster"] != REFERENCE.name]  # it asks one model for everything
    names, rows = list(table["forecaster"].unique()), []
    for quantity in QUANTITIES:
        wide = table.pivot_table(index=["null", "world"], columns="forecaster", values=quantity)[names]
        here, drawn = wide.loc[OBSERVED].iloc[0], wide.loc[null]
        p = (1 + (drawn >= here).sum()) / (1 + len(drawn))
        adjusted, others = p.copy(), [name for name in names if name != METHODS[0].name]
        if others:
            adjusted[others] = max_p(here[others].to_numpy(), drawn[others].to_numpy())
        rows.append(pd.DataFrame({
            "forecaster": names, "quantity": quantity, "observed": here, "value": drawn.mean(),
            "low": drawn.quantile(0.025), "high": drawn.quantile(0.975), "p": p, "p_adjusted": adjusted,
            "worlds": len(drawn)}))
    return pd.concat(rows, ignore_index=True)


def gains_within(reached: Values, names: Sequence[str], table: OutcomeMatrix) -> pd.DataFrame:
    """Gain of some policies over the best single model within each benchmark, corrected over all of them (Holm).

    Returns
    -------
    DataFrame
        As from `fits.compare`, with ``benchmark`` and ``questions`` (how many).
    """
    design, rows = Design.of(grouped(table)), []
    for benchmark in np.unique(design.strata):
        inside = design.strata == benchmark
        own = {name: reached[name][:, inside] for name in (*names, catalog.BEST_SINGLE)}
        pairs = [(name, catalog.BEST_SINGLE) for name in names]
        rows.append(fits.compare(own, pairs, design.at(inside)).assign(benchmark=benchmark, questions=inside.sum()))
    found = pd.concat(rows, ignore_index=True)
    return found.assign(p_holm=holm(found["p"]))


def told_by_choice(pool: CrossFitted, name: str) -> dict[str, np.ndarray]:
    """What a forecaster's choices tell of a question's benchmark and of its difficulty, in bits.

    Returns
    -------
    dict
        "benchmark", "difficulty": as from `diversity.told_by_choice`, (n_fits, n_questions).
    """
    table = grouped(pool.table)
    found = [diversity.told_by_choice(forecasts[name], table, seed)
             for forecasts, seed in zip(pool.forecasts, pool.seeds, strict=True)]
    return dict(zip(("benchmark", "difficulty"), np.stack(found, axis=1), strict=True))
