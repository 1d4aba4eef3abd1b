"""Questions unlike those of training (Q5): groups left out, beside fits on as many questions that saw them.

Groups are benchmarks (suites and their tasks, where there are many), origins and kinds, where the data tells them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.encoders.encoding import unit
from embedllm.evaluation.fits import averages, compare
from embedllm.evaluation.metrics import per_question, targets
from embedllm.experiments.routing import CrossFitted
from embedllm.forecasters.registry import Job, forecasts
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, grouped
from embedllm.progress import Counted
from embedllm.routing.policies import best_single, choose, gained
from embedllm.splits import Design, cut, folds, stratified_share

METHODS = (catalog.MODEL_MEAN, catalog.KNN, catalog.CONVEX, catalog.FACTORIZATION)
OUT, SEEN, ALL = "left out", "seen", "all"
COST = "left out minus seen"
FITS = 2
VALIDATION = 10  # one question of so many validates
FEWEST = 50  # questions of a group that is left out
REASONING = {"math", "physics", "chemistry", "engineering", "computer science", "business"}  # subjects of MMLU-Pro
KNOWLEDGE = {"law", "history", "philosophy", "psychology", "health", "biology", "economics", "other"}
INSTRUCTIONS = "ifeval"  # a suite
FIFTHS = 5
EXCERPT = 70  # letters of a prompt that a reader sees


def groupings(table: OutcomeMatrix) -> dict[str, np.ndarray]:
    """Ways to divide a table's questions into groups: name to the group of each question, (n_questions,)."""
    benchmarks = grouped(table).questions["benchmark"].astype(str)
    tasks = table.questions["benchmark"].astype(str)
    found = {"benchmark": benchmarks.to_numpy()} | ({} if tasks.equals(benchmarks) else {"task": tasks.to_numpy()})
    if "src" in table.questions:
        origins = table.questions["src"].astype(str).str.split("-").str[0]
        found["origin"] = ("from " + origins).to_numpy()
    if set(benchmarks) <= REASONING | KNOWLEDGE:
        found["kind"] = np.where(benchmarks.isin(REASONING), "reasoning, from knowledge", "knowledge, from reasoning")
    return {name: groups for name, groups in found.items() if len(set(groups)) > 1}


def across(table: OutcomeMatrix) -> dict[str, np.ndarray]:
    """The same for a table of several suites: suites, and knowledge and reasoning over all of them.

    Subjects of MMLU-Pro are one or the other, other suites reasoning, but for that which asks to follow instructions.
    """
    suites = table.questions["suite"].astype(str)
    subjects = table.questions["benchmark"].astype(str).str.split("/").str[-1]
    kinds = np.select(
        [subjects.isin(KNOWLEDGE), suites == INSTRUCTIONS], ["knowledge, from the rest", "instructions, from the rest"],
        "reasoning, from the rest")
    return {"suite": suites.to_numpy(), "kind": kinds}


def cases(
    table: OutcomeMatrix, further: Mapping[str, OutcomeMatrix]
) -> dict[str, tuple[OutcomeMatrix, np.ndarray]]:
    """What is left out of which table: its `groupings`, and those `across` further tables that are complete."""
    return {name: (table, groups) for name, groups in groupings(table).items()} | {
        f"{pool}_{name}": (one, groups) for pool, one in further.items() if one.observed.all()
        for name, groups in across(one).items()}


def unseen(
    table: OutcomeMatrix, vectors: np.ndarray, groups: np.ndarray, fold_seed: int, compute: Callable = side_by_side,
    n_fits: int = FITS, **settings,
) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Forecast and route the questions of each group by fits that saw none of it, and by fits that saw half of it.

    A fit that saw a group learns from one half of it and is judged on the other, in turns; of the other groups it
    learns from so few questions, drawn at random, that both kinds of fit learn from as many in all.

    Parameters
    ----------
    groups : ndarray, shape (n_questions,)
        From `groupings`.

    Returns
    -------
    dict
        "log_loss" (mean over models) and "score" (of the model with the highest forecast), each of them a dict of
        (forecaster, "left out" or "seen") to array (n_fits, n_questions); also ("best single model", ...), the score of
        the model with the best mean among the questions learned from. NaN in groups of fewer than 50 questions.
    """
    plans = [plan for fit in range(n_fits) for plan in _plans(table, groups, fold_seed + fit, fit)]

    def jobs() -> Iterator[Job]:
        for fit, _, part in plans:
            yield cut(table, vectors, part), METHODS, settings | {"seed": settings["seed"] + fit}

    values = targets(table, "score")
    found: dict[str, dict] = {"log_loss": {}, "score": {}}
    for (fit, kind, part), told in zip(plans, forecasts(Counted(jobs(), len(plans)), compute), strict=True):
        rows, learned = np.flatnonzero(part == "test"), table.at(np.isin(part, ["train", "val"]))
        test = table.at(rows)
        choices = {name: choose(forecast, test.observed) for name, forecast in told.items()}
        choices[catalog.BEST_SINGLE] = choose(best_single(learned, test.questions), test.observed)
        judged = [("score", name, gained(choice, values[:, rows])) for name, choice in choices.items()]
        judged += [("log_loss", name, per_question(test, forecast, "log_loss")) for name, forecast in told.items()]
        for measure, name, value in judged:
            empty = np.full((n_fits, len(groups)), np.nan)
            found[measure].setdefault((name, kind), empty)[fit, rows] = value
    return found


def _plans(table: OutcomeMatrix, groups: np.ndarray, seed: int, fit: int) -> Iterator[tuple[int, str, np.ndarray]]:
    """Which questions learn, validate and are judged: (fit, kind, part of each question)."""
    half, tenth = np.divmod(folds(table, 2 * VALIDATION, seed).to_numpy(), VALIDATION)  # validation is in both halves
    learned = np.where(tenth == 0, "val", "train").astype(object)
    names, counts = np.unique(groups, return_counts=True)
    for name in names[counts >= FEWEST]:
        inside, others = groups == name, np.flatnonzero(groups != name)
        yield fit, OUT, np.where(inside, "test", learned)
        for judged in (0, 1):
            test, own = inside & (half == judged), np.flatnonzero(inside & (half != judged))
            own = own[stratified_share(pd.Series(groups[own]), min(1.0, len(others) / len(own)), seed)]
            share = max(0.0, 1 - len(own) / len(others))
            rest = others[stratified_share(table.questions["benchmark"].iloc[others], share, seed)] if share else []
            part = np.full(len(groups), "", object)
            part[own], part[rest], part[test] = learned[own], learned[rest], "test"
            yield fit, SEEN, part


def losses(found: Mapping[str, dict], groups: np.ndarray, table: OutcomeMatrix) -> pd.DataFrame:
    """Log-loss of each forecaster minus that of the model means, by group, left out and seen.

    Returns
    -------
    DataFrame
        As from `fits.compare` of the means over fits, so that intervals are over questions alone, with ``benchmark``
        ("all", then each group) and ``kind``: "left out", "seen", or "left out minus seen", paired by question.
    """
    return _by_group(found["log_loss"], catalog.MODEL_MEAN.name, groups, table)


def gains(found: Mapping[str, dict], groups: np.ndarray, table: OutcomeMatrix) -> pd.DataFrame:
    """Score of routing by each forecaster minus that of the best single model, likewise."""
    return _by_group(found["score"], catalog.BEST_SINGLE, groups, table)


def _by_group(values: dict, reference: str, groups: np.ndarray, table: OutcomeMatrix) -> pd.DataFrame:
    design, rows = Design.of(table), []
    judged = ~np.isnan(next(iter(values.values()))).any(axis=0)
    names = dict.fromkeys(name for name, _ in values if name not in (reference, catalog.MODEL_MEAN.name))
    for part in (ALL, *np.unique(groups[judged])):
        inside = judged & ((groups == part) | (part == ALL))
        own = {kind: {name: values[name, kind][:, inside].mean(axis=0, keepdims=True) for name in (*names, reference)}
               for kind in (OUT, SEEN)}
        own[COST] = {name: own[OUT][name] - own[SEEN][name] - (own[OUT][reference] - own[SEEN][reference])
                     for name in (*names, reference)}
        pairs = [(name, reference) for name in names]
        rows += [compare(one, pairs, design.at(inside)).assign(benchmark=part, kind=kind) for kind, one in own.items()]
    return pd.concat(rows, ignore_index=True)


def by_distance(pool: CrossFitted, vectors: np.ndarray, names: Sequence[str], reference: str) -> pd.DataFrame:
    """Does a forecast get worse the farther a question lies from all training questions, within its benchmark?

    Parameters
    ----------
    vectors : ndarray, shape (n_questions, d_prompt)
        Of the judged questions.
    names : sequence of str
        Forecasters, compared with the reference.

    Returns
    -------
    DataFrame
        A row for each forecaster: ``forecaster``, ``nearest`` and ``farthest`` (mean difference in log-loss to the
        reference in these fifths of the questions of each benchmark, by 1 - cosine to the nearest training question),
        ``difference`` (slope of the same over the ranks of distance within a benchmark, from its nearest question to
        its farthest) with ``low`` and ``high`` over questions and fits.
    """
    e, benchmarks = unit(vectors), pool.table.questions["benchmark"]
    ranks, gaps = [], {name: [] for name in names}
    for told, fold in zip(pool.forecasts, pool.folds, strict=True):
        distance = np.empty(len(fold))
        for number in np.unique(fold):
            test = fold == number
            distance[test] = 1 - (e[test] @ e[~test].T).max(axis=1)
        ranks.append(pd.Series(distance).groupby(benchmarks.to_numpy()).rank(pct=True).to_numpy())
        base = per_question(pool.table, told[reference], "log_loss")
        for name in names:
            gaps[name].append(per_question(pool.table, told[name], "log_loss") - base)
    rank, rows = np.stack(ranks), []
    for name, found in gaps.items():
        gap = np.stack(found)
        within = gap - pd.DataFrame(gap.T).groupby(benchmarks.to_numpy()).transform("mean").to_numpy().T
        slope = averages({name: 12 * (rank - 0.5) * within}, Design.of(pool.table)).iloc[0]  # 12: 1 / variance
        rows.append((name, gap[rank <= 1 / FIFTHS].mean(), gap[rank > 1 - 1 / FIFTHS].mean(), slope["value"],
                     slope["low"], slope["high"]))
    return pd.DataFrame(rows, columns=["forecaster", "nearest", "farthest", "difference", "low", "high"])


def examples(
    found: Mapping[str, dict], groups: np.ndarray, table: OutcomeMatrix, name: str, number: int = 5
) -> pd.DataFrame:
    """The questions that suffer most: of the groups whose log-loss rises most when left out, the one that rises most.

    Returns
    -------
    DataFrame
        ``benchmark``, ``question_id``, ``question`` (its beginning), ``left out`` and ``seen``: log-loss of the
        forecaster.
    """
    out, seen = (found["log_loss"][name, kind].mean(axis=0) for kind in (OUT, SEEN))
    rise = pd.Series(out - seen, index=table.questions.index)
    worst = rise.groupby(groups).mean().nlargest(number).index
    chosen = [int(np.nanargmax(np.where(groups == group, rise, np.nan))) for group in worst]
    prompts = table.questions["prompt"].iloc[chosen].str.split().str.join(" ").str[:EXCERPT]
    return pd.DataFrame({"benchmark": groups[chosen], "question_id": prompts.index, "question": prompts.to_numpy(),
                         OUT: out[chosen], SEEN: seen[chosen]})
