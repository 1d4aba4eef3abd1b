"""What a few answers tell of a new model: lineages left out of the pool, asked some questions, judged on all (Q9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation.intervals import ratio_of_means
from embedllm.evaluation.metrics import cell_scores
from embedllm.experiments.newcomers import complete, embedded, ordered, over_folds, over_lineages, told_of
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.machine import side_by_side
from embedllm.new_models import rivals
from embedllm.new_models.choice import halves
from embedllm.new_models.onboarding import groups_of, onboard
from embedllm.new_models.places import nearest
from embedllm.new_models.sharing import out_of_sample, shared_parts
from embedllm.outcomes import OutcomeMatrix, parted, replace_unchecked
from embedllm.routing.policies import choose, gained

OURS, SIZED, TEXT, LABELED, LEVEL_ONLY, ANEW, RAW, _, RIDGE = (one.name for one in (
    catalog.ONBOARDING, catalog.SIZE_TOLD, catalog.FROM_TEXT, catalog.TEXT_AND_LABEL, catalog.LEVEL_ALONE, catalog.ANEW,
    *catalog.RIVALS[:3]))
UNREAD = (TEXT, LABELED, ANEW, *(entry.name for entry in catalog.RIVALS[:4]))  # see `curves`
N_ANEW = 30  # lineages for which everything is trained anew
MEASURES = ("log_loss", "rmse", "benchmark_error", "routed", "regret", "over_anew", "changed", "over_level",
            "over_ridge", "similar", "similar_by_chance")
COVERAGE = ("covered", "benchmarks_covered", "width")


class _Router(NamedTuple):
    """Whom a pool's own forecasts choose on each question."""

    highest: np.ndarray  # forecast of the chosen model, (n_questions,); 2 where no model of the pool answered
    score: np.ndarray  # what it got

    @classmethod
    def of(cls, embedding: ConvexEmbedding, pool: OutcomeMatrix, vectors: np.ndarray) -> _Router:
        told, asked = embedding.predict_proba(vectors), pool.observed.any(axis=0)
        highest, score = np.full(len(asked), 2.0), np.zeros(len(asked))
        chosen = choose(told[:, asked], pool.observed[:, asked])
        highest[asked] = told[:, asked][chosen, np.arange(asked.sum())]
        score[asked] = gained(chosen, pool.scores[:, asked])
        return cls(highest, score)

    def gain(self, told: np.ndarray, scores: np.ndarray, judged: np.ndarray) -> float:
        """Mean score gained by asking a new model where its forecast is the highest."""
        return float(np.nanmean(((scores - self.score) * (told > self.highest))[judged]))


def _anew(
    pool: OutcomeMatrix, vectors: np.ndarray, seen: np.ndarray, asked: np.ndarray, penalties: tuple[float, float]
) -> np.ndarray:
    """Forecasts for a new model, (n_questions,), by an embedding that is fitted to its answers as well.

    To questions that may be `asked`, bool, (n_questions,), with the penalties that were tuned on the pool's answers to
    these: nothing is held out.
    """
    models = pd.DataFrame(index=[*pool.models.index, "new"])
    both = replace_unchecked(pool, scores=np.vstack([pool.scores, seen]).astype(np.float32), models=models).at(asked)
    whole, (shared, own) = (both, vectors[asked]), penalties
    embedding = ConvexEmbedding(shared=(shared,), own=(own,)).fit(*whole, *whole)
    return embedding.predict_proba(vectors)[-1].astype(np.float64)


def sampled(table: OutcomeMatrix, seed: int) -> np.ndarray:
    """Which models everything is trained anew for, one at a time: one of each of `N_ANEW` lineages at most, at random.

    Returns
    -------
    ndarray of bool, shape (n_models,)
    """
    rng, found = np.random.default_rng(seed), np.full(len(table.models), False)
    drawn = pd.Series(rng.permutation(len(table.models)))
    of_each = drawn.groupby(table.models["lineage"].to_numpy(str)[drawn]).first()
    found[rng.permutation(of_each)[:N_ANEW]] = True
    return found


def curves(
    table: OutcomeMatrix, vectors: np.ndarray, sizes: Sequence[int], retrained: Sequence[int], n_draws: int, seed: int,
    compute: Callable = side_by_side,
) -> pd.DataFrame:
    """What each method makes of n answers, over models of lineages that the pool does not hold.

    A fifth of the lineages is left out at a time. Half of the questions may be asked, in a stratified random order for
    each lineage; forecasts are judged on the other half. Those of `UNREAD` learn from the pool's answers to the first
    half; the others know what the pool answered to the judged questions as well.

    Parameters
    ----------
    table : OutcomeMatrix
        Its models have ``lineage``; what lacks answers is left out, see `complete`.
    sizes : sequence of int
        Numbers of answers; of those above half of the questions that half takes the place.
    retrained : sequence of int
        Of these the ones at which everything is also trained anew, for each model of `sampled` by itself, in the first
        order.
    n_draws : int
        Orders of the questions.

    Returns
    -------
    DataFrame
        A row for each model, number of answers, draw and method: ``model``, ``lineage``, ``n``, ``draw``, ``method``,
        ``n_questions`` in all, ``n_pool`` models in the pool, ``sized`` (whether its size is known); ``log_loss`` on
        the other half; ``estimate`` and ``truth``, mean score on all questions; ``benchmark_error``, mean absolute
        error of the mean scores by benchmark. Of `UNREAD`, which know no answers to the judged questions, ``routed``:
        score gained by a router over the pool that asks the new model where it is forecast highest, and ``regret``: by
        how much less than after onboarding from all that may be asked. Of onboarding from the text ``similar``: share
        of the five models with the closest vectors that these are with answers to all that may be asked, beside
        ``similar_by_chance``; where everything was trained anew, ``over_anew``: log-loss minus that of the training,
        and ``changed``: share of forecasts on the other side of one half. Of onboarding ``covered``, whether the
        interval of 95 % holds the truth, ``width``, and ``benchmarks_covered``, the share of benchmarks in theirs.
    """
    table, vectors = complete(table, vectors)
    told = rivals.clusters(vectors), list(sizes), list(retrained), n_draws
    return over_folds(of_fold, table, vectors, *told, seed=seed, compute=compute)


def of_fold(
    table: OutcomeMatrix, vectors: np.ndarray, new: np.ndarray, cluster: np.ndarray, sizes: Sequence[int],
    retrained: Sequence[int], n_draws: int, seed: int,
) -> pd.DataFrame:
    """`curves` for the new models of one fold, bool, (n_models,); `rivals.clusters` are those of the prompts."""
    pool, answers = parted(table, new)
    lineages, asked = table.models["lineage"].to_numpy(str), halves(table, seed)
    unread = replace_unchecked(pool, scores=np.where(asked, pool.scores, np.nan).astype(np.float32))
    reading, text = embedded(pool, vectors, seed + 1), embedded(pool.at(asked), vectors[asked], seed + 1)
    fresh = out_of_sample(text, unread, vectors)
    ways = {OURS: shared_parts(reading, pool, vectors, lineages[~new]),
            LEVEL_ONLY: shared_parts(reading, pool, vectors, lineages[~new], most=0),
            TEXT: shared_parts(text, unread, vectors, lineages[~new], fresh, answered=False, labeled=False),
            LABELED: shared_parts(text, unread, vectors, lineages[~new], fresh, answered=False)}
    sizes_of = table.models.get("parameters_b", pd.Series(np.nan, table.models.index)).to_numpy(float)[new]
    of_size = [ways[OURS].of_size(size) for size in sizes_of]
    router, judged = _Router.of(text, pool, vectors), ~asked
    others = {rival.name: rivals.Tuned(rival.code(), unread if rival.name in UNREAD else pool, cluster, lineages[~new],
                                       asked, seed) for rival in catalog.RIVALS}
    _, groups = groups_of(table.questions["benchmark"].astype(str).to_numpy())
    truth, picked, tables = _means(answers, groups), sampled(table, seed)[new], []
    all_told = onboard(ways[TEXT], np.where(asked, answers, np.nan))
    most = np.array([router.gain(*own, judged) for own in zip(all_told.forecast(), answers, strict=True)])
    for draw in range(n_draws):
        orders = ordered(table, lineages[new], asked, seed, draw)
        for n in sorted({min(size, int(asked.sum())) for size in sizes}):
            seen = told_of(answers, orders, n)
            found = {name: onboard(shared, seen) for name, shared in ways.items()}
            told = {name: one.forecast() for name, one in found.items()}
            told[SIZED] = np.concatenate([onboard(one, own[None]).forecast()
                                          for one, own in zip(of_size, seen, strict=True)])
            if again := n in retrained and draw == 0 and picked.any():
                told[ANEW] = told[TEXT].copy()
                told[ANEW][picked] = [_anew(pool, vectors, own, asked, text.penalties) for own in seen[picked]]
            made = {name: dict.fromkeys(rivals.AIMS, p) for name, p in told.items()}
            made |= {name: rival.forecast(seen, n) for name, rival in others.items()}
            _, low, high = found[OURS].accuracies(seen, groups, seed=seed)
            inside = np.where(np.isnan(truth), np.nan, (low <= truth) & (truth <= high))
            for name, by_aim in made.items():
                means = {aim: _means(np.where(np.isnan(seen), np.where(np.isnan(answers), np.nan, p), seen), groups)
                         for aim, p in by_aim.items()}
                p = by_aim[rivals.LOG_LOSS]
                rows = pd.DataFrame({
                    "model": table.models.index[new], "lineage": lineages[new], "n": n, "draw": draw, "method": name,
                    "n_questions": len(asked), "n_pool": len(pool.models), "sized": ~np.isnan(sizes_of),
                    "log_loss": _losses(p, answers, judged),
                    "estimate": means[rivals.MEAN][:, 0], "truth": truth[:, 0],
                    "benchmark_error": np.nanmean(np.abs(means[rivals.BENCHMARKS] - truth)[:, 1:], axis=1)})
                if name in UNREAD:
                    rows["routed"] = [router.gain(*own, judged) for own in zip(p, answers, strict=True)]
                    rows["regret"] = most - rows["routed"]
                if name == TEXT:
                    own, known = (nearest(text.model_vectors, one.vectors)[0] for one in (found[name], all_told))
                    rows["similar"] = (own[:, :, None] == known[:, None]).any(axis=2).mean(axis=1)
                    rows["similar_by_chance"] = known.shape[1] / len(pool.models)
                if name == TEXT and again:
                    rows["over_anew"] = rows["log_loss"] - _losses(told[ANEW], answers, judged)
                    rows["changed"] = ((p >= 0.5) != (told[ANEW] >= 0.5))[:, judged].mean(axis=1)
                    rows.loc[~picked, ["over_anew", "changed"]] = np.nan
                if name == OURS:
                    rows = rows.assign(covered=inside[:, 0], width=(high - low)[:, 0],
                                       benchmarks_covered=np.nanmean(inside[:, 1:], axis=1))
                tables.append(rows[picked] if name == ANEW else rows)
    return pd.concat(tables, ignore_index=True)


def _losses(told: np.ndarray, answers: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Log-loss of each model on the judged questions, (n_models,)."""
    return np.nanmean(cell_scores(told[:, judged], answers[:, judged], "log_loss"), axis=1)


def _means(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean over the known scores in each group, NaN where there is none: (n_models, n_groups)."""
    known, groups = ~np.isnan(scores), groups.astype(np.float64)
    number = known @ groups.T
    return np.divide(np.nan_to_num(scores) @ groups.T, number, out=np.full(number.shape, np.nan), where=number > 0)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Each method at each number of answers, over lineages.

    Parameters
    ----------
    rows : DataFrame
        From `curves`.

    Returns
    -------
    DataFrame
        ``method``, ``n``, ``measure``, ``value`` with ``low`` and ``high`` (95 %), ``n_lineages``. Measures are the
        columns of `curves`, with ``rmse`` of the mean score (root of the mean over lineages, and so are its ends);
        ``covered`` has a binomial interval (Clopper and Pearson 1934), lineages being the draws; one of several
        models or orders may count in part. ``rank`` is Spearman's correlation of estimate and truth over models, mean
        over draws, without interval. ``over_raw`` is the mean squared error of the mean score over that of the raw
        mean, ``benchmarks_over_raw`` that of ``benchmark_error``. Of onboarding ``worth`` is the number of answers,
        drawn without replacement, whose mean has the same squared error, and ``over_level`` its ``benchmark_error``
        minus that of its level alone; of onboarding from the text ``over_ridge`` is its ``log_loss`` minus that of the
        ridge on accuracies. Where sizes are told ``over_untold`` is the mean squared error over that of
        onboarding without them, over models of known size.
    """
    rows = rows.reindex(columns=rows.columns.union([*MEASURES, *COVERAGE]))
    rows["rmse"] = (rows["estimate"] - rows["truth"]) ** 2
    for own, other, measure, name in ((OURS, LEVEL_ONLY, "benchmark_error", "over_level"),
                                      (TEXT, RIDGE, "log_loss", "over_ridge"),
                                      (LABELED, RIDGE, "log_loss", "over_ridge")):
        one, beside = (rows[rows["method"] == method].set_index(["model", "n", "draw"])[measure]
                       for method in (own, other))
        rows.loc[rows["method"] == own, name] = (one - beside.reindex(one.index)).to_numpy()
    measures, found = [*MEASURES, *COVERAGE], []
    for (method, n), own in rows.groupby(["method", "n"], sort=False):
        by_lineage = own.groupby("lineage")[measures].mean()
        for name in measures:
            values = by_lineage[name].dropna().to_numpy()
            if len(values):
                found.append((method, n, name, *over_lineages(values, name), len(values)))
        ranks = own.groupby("draw")[["estimate", "truth"]].corr("spearman").iloc[::2, 1]
        found.append((method, n, "rank", ranks.mean(), np.nan, np.nan, len(by_lineage)))
    table = pd.concat([pd.DataFrame(found, columns=["method", "n", "measure", "value", "low", "high", "n_lineages"]),
                       _over(rows, RAW, "rmse", "over_raw"),
                       _over(rows, RAW, "benchmark_error", "benchmarks_over_raw")])
    untold = _over(rows[rows["sized"] & rows["method"].isin([SIZED, OURS])], OURS, "rmse", "over_untold")
    worth = table[(table["method"] == OURS) & (table["measure"] == "over_raw")].assign(measure="worth")
    ends = ["value", "low", "high"]
    left = 1 / worth[["n"]].to_numpy() - 1 / rows["n_questions"].iloc[0]  # an error's share of what one answer makes
    worth[ends] = 1 / (worth[["value", "high", "low"]].to_numpy() * left + 1 / rows["n_questions"].iloc[0])
    return pd.concat([table, untold, worth], ignore_index=True)


def _over(rows: pd.DataFrame, unit: str, column: str, measure: str) -> pd.DataFrame:
    """Ratio of a mean over lineages to that of another method, over the same models, for each method and n."""
    means, found = rows.pivot_table(index=["lineage", "model"], columns=["method", "n"], values=column, sort=False), []
    for method, n in means:
        if method != unit and (unit, n) in means:
            own, other = means[[(method, n), (unit, n)]].dropna().groupby("lineage").mean().to_numpy().T[..., None]
            found.append((method, n, measure, *np.concatenate(ratio_of_means(own, other)), len(own)))
    return pd.DataFrame(found, columns=["method", "n", "measure", "value", "low", "high", "n_lineages"])
