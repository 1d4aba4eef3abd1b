"""What a few answers tell of a new model: lineages left out of the pool, asked some questions, judged on all (Q9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import beta

from embedllm import catalog
from embedllm.evaluation.inference import of_independent
from embedllm.evaluation.metrics import question_scores
from embedllm.experiments.comparisons import fitted
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.machine import side_by_side
from embedllm.new_models.choice import halves, stratified
from embedllm.new_models.onboarding import onboard, shared_parts
from embedllm.outcomes import OutcomeMatrix, replace_unchecked
from embedllm.probing.folds import lineage_folds
from embedllm.progress import Counted
from embedllm.routing.policies import choose, gained
from embedllm.splits import cut, folds

OURS, TEXT, LEVEL_ONLY, ANEW, RAW = (one.name for one in (
    catalog.ONBOARDING, catalog.FROM_TEXT, catalog.LEVEL_ALONE, catalog.ANEW, catalog.RIVALS[0]))
UNREAD = (TEXT, ANEW, *(entry.name for entry in catalog.RIVALS[:4]))  # see `curves`
MEASURES = ("log_loss", "rmse", "benchmark_error", "routed", "changed")
N_FOLDS, N_RESAMPLES, FEWEST = 5, 2000, 8  # of lineages


def testable(table: OutcomeMatrix) -> bool:
    """Whether there are lineages enough to leave some out."""
    return table.models["lineage"].nunique() >= FEWEST


def parted(table: OutcomeMatrix, new: np.ndarray) -> tuple[OutcomeMatrix, np.ndarray]:
    """The pool without its new models (bool, (n_models,)), and the new ones' answers: (n_new, n_questions)."""
    pool = replace_unchecked(table, scores=table.scores[~new], models=table.models[~new], references={},
                             repeats=table.repeats.iloc[:0])
    return pool, table.scores[new].astype(np.float64)


def embedded(pool: OutcomeMatrix, vectors: np.ndarray, seed: int) -> ConvexEmbedding:
    """The convex embedding of a pool, fitted to seven eighths of the questions and tuned on the others."""
    part = np.where(folds(pool, 8, seed).to_numpy() == 0, "val", "train")
    return fitted(cut(pool, vectors, part), catalog.CONVEX)


class _Router(NamedTuple):
    """Whom a pool's own forecasts choose on each question."""

    highest: np.ndarray  # forecast of the chosen model, (n_questions,)
    score: np.ndarray  # what it got

    @classmethod
    def of(cls, embedding: ConvexEmbedding, pool: OutcomeMatrix, vectors: np.ndarray) -> _Router:
        told = np.where(pool.observed, embedding.predict_proba(vectors), -1.0)
        return cls(told.max(axis=0), gained(choose(told, pool.observed), pool.scores))

    def gain(self, told: np.ndarray, scores: np.ndarray, judged: np.ndarray) -> float:
        """Mean score gained by asking a new model where its forecast is the highest."""
        return float(np.nanmean(np.where(told > self.highest, scores - self.score, 0)[judged]))


def _anew(pool: OutcomeMatrix, vectors: np.ndarray, seen: np.ndarray, seed: int) -> np.ndarray:
    """Forecasts for new models by an embedding that is fitted to their answers as well, all of them at once."""
    models = pd.DataFrame(index=[*pool.models.index, *(f"new {number}" for number in range(len(seen)))])
    both = replace_unchecked(pool, scores=np.vstack([pool.scores, seen]).astype(np.float32), models=models)
    return embedded(both, vectors, seed).predict_proba(vectors)[-len(seen):].astype(np.float64)


def curves(
    table: OutcomeMatrix, vectors: np.ndarray, sizes: Sequence[int], retrained: Sequence[int], n_draws: int, seed: int,
    compute: Callable = side_by_side,
) -> pd.DataFrame:
    """What each method makes of n answers, over models of lineages that the pool does not hold.

    Half of the questions may be asked, in a stratified random order; forecasts are judged on the other half.

    Parameters
    ----------
    table : OutcomeMatrix
        Its models have ``lineage``.
    sizes : sequence of int
        Numbers of answers; those above half of the questions are left out.
    retrained : sequence of int
        Of these the ones at which everything is also trained anew, in the first draw.
    n_draws : int
        Orders of the questions.

    Returns
    -------
    DataFrame
        A row for each model, number of answers, draw and method: ``model``, ``lineage``, ``n``, ``draw``, ``method``;
        ``log_loss`` on the other half; ``estimate`` and ``truth``, mean score on all questions; ``benchmark_error``,
        mean absolute error of the mean scores by benchmark. Of methods that do not read what the pool answered to the
        judged questions, `UNREAD`, ``routed``: score gained by a router over the pool that asks the new model where it
        is forecast highest. Of training anew ``changed``: share of questions that it forecasts on the other side of one
        half than onboarding from the text. Of onboarding ``covered``, whether the interval of 95 % holds the truth,
        ``width``, and ``benchmarks_covered``, the share of benchmarks in theirs.
    """
    fold = lineage_folds(table.models["lineage"], N_FOLDS, seed)
    calls = [partial(of_fold, table, vectors, fold == number, list(sizes), list(retrained), n_draws, seed)
             for number in range(N_FOLDS)]
    return pd.concat(compute(Counted(calls, N_FOLDS)), ignore_index=True)


def of_fold(
    table: OutcomeMatrix, vectors: np.ndarray, new: np.ndarray, sizes: Sequence[int], retrained: Sequence[int],
    n_draws: int, seed: int,
) -> pd.DataFrame:
    """`curves` for the new models of one fold, bool, (n_models,)."""
    pool, answers = parted(table, new)
    embedding, lineages = embedded(pool, vectors, seed), table.models["lineage"].to_numpy(str)
    whole, text = (shared_parts(embedding, pool, vectors, lineages[~new], answered) for answered in (True, False))
    level = replace(whole, design=whole.design[:, :1], mean=whole.mean[:1], root=whole.root[:1, :1],
                    kept=whole.kept[:1])
    ways = {OURS: whole, TEXT: text, LEVEL_ONLY: level}
    asked_half, router = halves(table, seed), _Router.of(embedding, pool, vectors)
    labels = table.questions["benchmark"].astype(str).to_numpy()
    groups = np.stack([np.full(len(labels), True), *(labels == name for name in np.unique(labels))])
    truth = _means(answers, groups)
    names, rows = table.models.index[new], []
    for draw in range(n_draws):
        order = stratified(table, asked_half, seed + draw)
        for n in (size for size in sizes if size <= len(order)):
            seen = np.full(answers.shape, np.nan)
            seen[:, order[:n]] = answers[:, order[:n]]
            found = {name: (onboard(shared, seen),) for name, shared in ways.items()}
            told = {name: one.forecast() for name, (one,) in found.items()}
            told |= {rival.name: rival.code()(pool, vectors, seen) for rival in catalog.RIVALS}
            if n in retrained and not draw:
                told[ANEW] = _anew(pool, vectors, seen, seed)
            _, low, high = found[OURS][0].accuracies(seen, groups, seed=seed)
            inside = (low <= truth) & (truth <= high)
            for name, p in told.items():
                means = _means(np.where(np.isnan(seen), np.where(np.isnan(answers), np.nan, p), seen), groups)
                loss = np.array([np.nanmean(question_scores(own[None, ~asked_half].astype(np.float32),
                                                            real[None, ~asked_half].astype(np.float32), "log_loss"))
                                 for own, real in zip(p, answers, strict=True)])
                error = np.nanmean(np.abs(means - truth)[:, 1:], axis=1)
                for at, model in enumerate(names):
                    row = {"model": model, "lineage": lineages[new][at], "n": n, "draw": draw, "method": name,
                           "log_loss": loss[at], "estimate": means[at, 0], "truth": truth[at, 0],
                           "benchmark_error": error[at],
                           "routed": router.gain(p[at], answers[at], ~asked_half) if name in UNREAD else np.nan,
                           "changed": np.nan}
                    if name == ANEW:
                        row["changed"] = float(((p[at] >= 0.5) != (told[TEXT][at] >= 0.5))[~asked_half].mean())
                    if name == OURS:
                        row |= {"covered": float(inside[at, 0]), "width": high[at, 0] - low[at, 0],
                                "benchmarks_covered": inside[at, 1:].mean()}
                    rows.append(row)
    return pd.DataFrame(rows)


def _means(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean over the known scores in each group: (n_models, n_groups)."""
    known = ~np.isnan(scores)
    return np.nan_to_num(scores) @ groups.T / np.maximum(known @ groups.T.astype(float), 1)


def summary(rows: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """Each method at each number of answers, over lineages.

    Parameters
    ----------
    rows : DataFrame
        From `curves`.

    Returns
    -------
    DataFrame
        ``method``, ``n``, ``measure``, ``value`` with ``low`` and ``high``, ``n_lineages``. Measures are the columns of
        `curves`, with ``rmse`` of the mean score (root of the mean over lineages, and so are its ends); shares of what
        is covered have binomial intervals (Clopper and Pearson 1934), lineages being the draws. ``rank`` is Spearman's
        correlation of estimate and truth over models, mean over draws, without interval.
    """
    rows = rows.assign(rmse=(rows["estimate"] - rows["truth"]) ** 2)
    measures, found = [*MEASURES, "covered", "benchmarks_covered", "width"], []
    for (method, n), own in rows.groupby(["method", "n"], sort=False):
        by_lineage = own.groupby("lineage")[measures].mean()
        for name in measures:
            values = by_lineage[name].dropna().to_numpy()
            if len(values):
                found.append((method, n, name, *_ends(values, name, level), len(values)))
        ranks = own.groupby("draw")[["estimate", "truth"]].corr("spearman").iloc[::2, 1]
        found.append((method, n, "rank", ranks.mean(), np.nan, np.nan, len(by_lineage)))
    return pd.DataFrame(found, columns=["method", "n", "measure", "value", "low", "high", "n_lineages"])


def _ends(values: np.ndarray, measure: str, level: float) -> np.ndarray:
    """Mean over lineages and its interval."""
    if measure in ("covered", "benchmarks_covered"):
        n, hits = len(values), values.sum()
        low, high = beta.ppf(level / 2, hits, n - hits + 1), beta.ppf(1 - level / 2, hits + 1, n - hits)
        return np.array([values.mean(), low if hits else 0.0, high if hits < n else 1.0])
    if measure == "routed":  # zero for most lineages, of which a studentized mean makes anything
        drawn = np.random.default_rng(0).choice(values, (N_RESAMPLES, len(values))).mean(axis=1)
        return np.array([values.mean(), *np.quantile(drawn, (level / 2, 1 - level / 2))])
    told = of_independent(values, level)
    ends = np.array([told["difference"], told["low"], told["high"]])
    return np.sqrt(np.maximum(ends, 0)) if measure == "rmse" else ends
