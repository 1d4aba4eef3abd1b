"""Is it specialization? What forecasters gain over one ability per model, here and in worlds without specialization.

In a *world* the same models answer the same questions anew, from a fitted item-response model in which they differ in
one ability (`evaluation.irt`); everything is trained on those answers. A gain over the additive model that such worlds
show as well comes from noise, guessing or unequal discrimination. The table of all worlds is made once (`draw`);
`beyond`, `matched` and what is asked of routing read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation import irt
from embedllm.evaluation.metrics import per_question, right_or_wrong
from embedllm.forecasters.registry import Job, forecasts
from embedllm.lineages import representatives
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, grouped, replace_unchecked
from embedllm.progress import Counted
from embedllm.routing.diversity import entropy, told_by_choice
from embedllm.routing.policies import best_single, choose, gained, oracle
from embedllm.splits import PARTS, Parts, cut, folds

N_MODELS, N_QUESTIONS = 40, 3000  # at most
SLICES = 500  # of the questions, of which so many are taken as reach N_QUESTIONS
TENTHS = (5, 1)  # of the questions that train and validate; the others test, many, since power hangs on them
OBSERVED, PRIMARY = "observed", "2PL"
CHUNK = 40  # worlds that are computed, and kept, as one
REFERENCE = catalog.CONVEX_ADDITIVE  # the same forecaster without deviations
METHODS = (catalog.CONVEX, catalog.KNN, catalog.FACTORIZATION)  # the first makes the primary contrast
SPREADS = {"question_sd": "SD of question means", "model_sd": "SD of model means",
           "always_right": "questions that all answer right", "always_wrong": "questions that all answer wrong"}


def select(table: OutcomeMatrix, vectors: np.ndarray, seed: int) -> Parts:
    """The part of a table that worlds are drawn of, cut into 50 % train, 10 % val and 40 % test.

    Models: one of each group of near-copies (`lineages.representatives`), of more than 40 a random 40. Questions that
    one of them answered: of more than 3,000 about so many and not more, evenly from the benchmarks; questions with
    the same prompt go together, here and in the cut. Scores from 0.5 on count as right; known truth is left out.

    Parameters
    ----------
    vectors : ndarray, shape (n_questions, d_prompt)
    seed : int
        Of both draws and the cut.
    """
    models, rng = np.flatnonzero(representatives(table)), np.random.default_rng(seed)
    if len(models) > N_MODELS:
        models = np.sort(rng.choice(models, N_MODELS, replace=False))
    answered = np.flatnonzero(table.observed[models].any(axis=0))
    kept = replace_unchecked(
        table, scores=right_or_wrong(table)[np.ix_(models, answered)], models=table.models.iloc[models],
        questions=table.questions.iloc[answered], references={}, repeats=table.repeats.iloc[:0])
    if len(answered) > N_QUESTIONS:
        slices = rng.permutation(SLICES)[folds(kept, SLICES, seed)]  # a small benchmark lies in neighboring folds
        enough = np.searchsorted(np.cumsum(np.bincount(slices, minlength=SLICES)), N_QUESTIONS, side="right")
        rows = np.flatnonzero(slices < enough)
        kept, answered = kept.at(rows), answered[rows]
    tenth = folds(kept, 10, seed).to_numpy()
    return cut(kept, vectors[answered], np.array(PARTS)[np.searchsorted(np.cumsum(TENTHS), tenth, side="right")])


def counts(number: int) -> dict[str, int]:
    """So many worlds of the primary null, a quarter as many of each other one."""
    return {PRIMARY: number} | {null: number // 4 for null in irt.NULLS if null != PRIMARY and number // 4}


def draw(
    parts: Parts, counts: Mapping[str, int], methods: Sequence[catalog.Forecaster] = METHODS,
    compute: Callable = side_by_side, **settings,
) -> pd.DataFrame:
    """What forecasters reach here and in worlds without specialization.

    Parameters
    ----------
    parts : Parts
        From `select`.
    counts : mapping of str to int
        Name of a null (`irt.NULLS`) to its number of worlds.
    methods : sequence of catalog.Forecaster
        Beside the reference, `REFERENCE`.
    compute : callable
        Calls of `reached` to what they return; `memo.Memory.remember_all` keeps each, so that an interrupted run
        goes on where it was.
    **settings
        Of the factorization; ``seed`` also draws the worlds.

    Returns
    -------
    DataFrame
        A row for each world and forecaster, the reference first: ``null`` ("observed", or a name), ``world`` (0 is the
        observed one), ``forecaster``; over the test questions ``log_loss`` (nats per cell), ``difference`` (log-loss
        minus the reference's), ``routed`` (mean score where each question goes to the model that the forecast has
        highest), ``entropy`` (of the choices, bits), ``told_benchmark`` and ``told_difficulty`` (bits, see
        `diversity.told_by_choice`), ``best_single`` (score of the best model of training) and ``oracle``; over all
        questions ``question_sd`` and ``model_sd`` (SD of their means), ``always_right`` and ``always_wrong`` (shares).
    """
    chunks = [(OBSERVED, range(1))]
    for null, number in counts.items():
        chunks += [(null, range(first, min(first + CHUNK, number + 1))) for first in range(1, number + 1, CHUNK)]
    calls = (partial(reached, parts, list(methods), null, list(worlds), **settings) for null, worlds in chunks)
    return pd.concat(compute(Counted(calls, len(chunks))), ignore_index=True)


def reached(
    parts: Parts, methods: Sequence[catalog.Forecaster], null: str, worlds: Sequence[int], **settings
) -> pd.DataFrame:
    """Some worlds of one null, as `draw` returns them; which others are computed with them changes nothing.

    Parameters
    ----------
    null : str
        `OBSERVED`: the answers as they are.
    worlds : sequence of int
        Their numbers.
    """
    whole, tables = np.hstack([parts[part][0].scores for part in PARTS]), []
    ends = np.cumsum([parts[part][0].shape[1] for part in PARTS])[:-1]
    if null != OBSERVED:
        vectors = np.concatenate([parts[part][1] for part in PARTS])
        benchmarks = np.concatenate([parts[part][0].questions["benchmark"].to_numpy(str) for part in PARTS])
        pool = irt.fit(irt.NULLS[null], whole, vectors, benchmarks)

    def jobs() -> Iterator[Job]:
        for world in worlds:
            rng = np.random.default_rng([settings["seed"], list(irt.NULLS).index(null), world] if world else 0)
            scores = pool.draw(rng) if null != OBSERVED else whole
            pieces = dict(zip(PARTS, np.split(scores, ends, axis=1), strict=True))
            own = {part: (replace_unchecked(table, scores=pieces[part]), vectors)
                   for part, (table, vectors) in parts.items()}
            tables.append((own["train"][0], own["test"][0], spreads(scores)))
            yield own, [REFERENCE, *methods], settings

    rows = []
    for world, found, one in zip(worlds, forecasts(Counted(jobs(), len(worlds))), tables, strict=True):
        rows += _rows(*one, found, {"null": null, "world": world})
    return pd.DataFrame(rows)


def spreads(scores: np.ndarray) -> dict[str, float]:
    """How far questions and models lie apart: SDs of their means, shares of questions that say nothing.

    Parameters
    ----------
    scores : ndarray, shape (n_models, n_questions), in {0, 1}
        NaN = not observed; every question has an answer.
    """
    means = np.nanmean(scores, axis=0, dtype=np.float64)
    return {"question_sd": means.std(), "model_sd": np.nanstd(np.nanmean(scores, axis=1, dtype=np.float64)),
            "always_right": (means == 1).mean(), "always_wrong": (means == 0).mean()}


def _rows(train: OutcomeMatrix, test: OutcomeMatrix, spread: dict, found: dict, names: dict) -> list[dict]:
    """The rows of one world, from the forecasts of its test questions."""
    single = gained(choose(best_single(train, test.questions), test.observed), test.scores).mean()
    losses = {name: np.nanmean(per_question(test, forecast, "log_loss")) for name, forecast in found.items()}
    by_group, best, rows = grouped(test), oracle(test.scores).mean(), []
    for name, forecast in found.items():
        choices, told = choose(forecast, test.observed), told_by_choice(forecast, by_group, seed=0).mean(axis=1)
        rows.append(names | {
            "forecaster": name, "log_loss": losses[name], "difference": losses[name] - losses[REFERENCE.name],
            "routed": gained(choices, test.scores).mean(), "entropy": entropy(choices), "told_benchmark": told[0],
            "told_difficulty": told[1], "best_single": single, "oracle": best, **spread,
        })
    return rows


def beyond(worlds: pd.DataFrame, primary: str = METHODS[0].name) -> pd.DataFrame:
    """The gains over one ability per model beside those of worlds without specialization.

    Parameters
    ----------
    worlds : DataFrame
        From `draw`.
    primary : str
        The forecaster of the primary contrast; the others are one family.

    Returns
    -------
    DataFrame
        A row for each pool ("observed", then each null) and forecaster: ``pool``, ``forecaster``, ``value`` (log-loss
        minus the reference's; of worlds the mean), and of a null ``low``, ``high`` (95 % of its worlds), ``p``
        (one-sided, of the observed value: (1 + worlds that gain as much) / (1 + worlds)), ``p_adjusted`` (over the
        other methods by the maximum statistic, see `max_p`; the primary contrast is alone and keeps its p),
        ``explained`` (share of the observed gain that its worlds show on average; NaN where nothing is gained),
        ``worlds`` and ``smallest_p`` (attainable with so many).
    """
    gains = worlds[worlds["forecaster"] != REFERENCE.name].pivot_table(
        index=["null", "world"], columns="forecaster", values="difference", sort=False)
    here = gains.loc[(OBSERVED, 0)]
    tables = [pd.DataFrame({"pool": OBSERVED, "forecaster": here.index, "value": here.to_numpy()})]
    others = [name for name in here.index if name != primary]
    for null in (name for name in worlds["null"].unique() if name != OBSERVED):
        drawn = gains.loc[null]
        p = (1 + (drawn <= here).sum()) / (1 + len(drawn))
        adjusted = p.copy()
        if others:
            adjusted[others] = max_p(-here[others].to_numpy(), -drawn[others].to_numpy())
        tables.append(pd.DataFrame({
            "pool": null, "forecaster": here.index, "value": drawn.mean(), "low": drawn.quantile(0.025),
            "high": drawn.quantile(0.975), "p": p, "p_adjusted": adjusted,
            "explained": (drawn.mean() / here).where(here < 0), "worlds": len(drawn),
            "smallest_p": 1 / (1 + len(drawn)),
        }))
    return pd.concat(tables, ignore_index=True)


def max_p(observed: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Adjusted p of several one-sided tests by the maximum statistic (Westfall and Young 1993), in one step.

    Each statistic is studentized by its mean and SD over the worlds and the observed pool alike, so that under the
    null all are exchangeable and the family's error is bounded exactly, with 19 worlds as with 399.

    Parameters
    ----------
    observed : ndarray, shape (n_methods,)
        More is more extreme.
    drawn : ndarray, shape (n_worlds, n_methods)

    Returns
    -------
    ndarray, shape (n_methods,)
        (1 + worlds whose largest statistic is as large) / (1 + worlds).
    """
    values = np.vstack([observed, drawn])
    spread = values.std(axis=0)
    z = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return (1 + (z[1:].max(axis=1, keepdims=True) >= z[0]).sum(axis=0)) / len(values)


def matched(worlds: pd.DataFrame) -> pd.DataFrame:
    """Are worlds like the observed pool in what is no specialization? A posterior predictive check of each null.

    Where they are not, gains cannot be compared with them. The log-loss of the additive model is shown beside the
    spreads: it tells whether difficulty can be read from the text as well as here, and is worse here than in the
    worlds where models specialize.

    Returns
    -------
    DataFrame
        A row for each null and quantity: ``null``, ``quantity``, ``observed``, ``value`` (mean of the worlds), ``low``,
        ``high`` (95 % of them), ``p`` (two-sided: (1 + worlds as far from their mean) / (1 + worlds)).
    """
    names = SPREADS | {"log_loss": f"log-loss of {REFERENCE.name}"}
    tables = worlds[worlds["forecaster"] == REFERENCE.name].set_index("null")
    rows = []
    for null in (name for name in tables.index.unique() if name != OBSERVED):
        for column, quantity in names.items():
            here, drawn = tables.loc[OBSERVED, column], tables.loc[[null], column]
            far = np.abs(drawn - drawn.mean()) >= np.abs(here - drawn.mean())
            rows.append((null, quantity, here, drawn.mean(), *drawn.quantile([0.025, 0.975]),
                         (1 + far.sum()) / (1 + len(drawn))))
    return pd.DataFrame(rows, columns=["null", "quantity", "observed", "value", "low", "high", "p"])
