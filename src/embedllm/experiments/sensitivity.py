"""Curves beside the learning curve: how many models and how many of the cells a forecast needs.

``parts``, ``entries`` and ``settings`` are those of `registry.forecast`; what comes out are per-question values as from
`comparisons.scored`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation.inference import holm, paired_test
from embedllm.experiments.comparisons import over_seeds, scored
from embedllm.forecasters.completion import complete
from embedllm.forecasters.registry import Job, forecasts
from embedllm.outcomes import OutcomeMatrix, replace_unchecked
from embedllm.splits import Design, Parts

ALONE, WHOLE = "these models alone", "whole pool"
UNSEEN, SEEN = "unseen questions", "completing seen questions"
HELD_OUT = 0.1  # of the kept cells, to choose the shrinkage of the completion by


def models_curve(
    parts: Parts, sizes: Sequence[int], n_draws: int, entries: Sequence[catalog.Forecaster], **settings
) -> pd.DataFrame:
    """What other models' answers add to forecasting some models.

    Some models are drawn and the forecasters trained on their answers alone; the forecasts of the same
    cells after training on the whole pool stand beside. A draw's smaller sets lie within its larger ones.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of models; the whole pool is always added, and drawn once.
    n_draws : int
        A draw moves nothing but the models. One that leaves no answer to train or to validate on is left out.

    Returns
    -------
    DataFrame
        As from `scored`, by ``forecaster``, ``n_models``, ``pool`` ("these models alone", "whole pool") and
        ``seed`` (the draw); NaN for a question that none of the drawn models was asked.
    """
    n_models = len(parts["test"][0].models)
    draws = [(0, np.arange(n_models), parts)]
    for size, draw in product(sorted({size for size in sizes if size < n_models}), range(n_draws)):
        models = np.sort(np.random.default_rng(draw).permutation(n_models)[:size])
        some = _answered({part: (_cut(table, models), vectors) for part, (table, vectors) in parts.items()})
        if some is not None:
            draws.append((draw, models, some))
    whole, *others = forecasts([(some, entries, settings) for _, _, some in draws])
    tables = []
    for (draw, models, some), alone in zip([*draws[1:], draws[0]], [*others, whole], strict=True):
        for name in alone:
            for pool, probabilities in ((ALONE, alone[name]), (WHOLE, whole[name][models])):
                tables.append(scored(some["test"][0], probabilities,
                                     forecaster=name, n_models=len(models), pool=pool, seed=draw))
    return pd.concat(tables)


def gains(values: pd.DataFrame, n_models: int, design: Design) -> pd.DataFrame:
    """What the other models' answers add, at each size below the whole pool: paired tests, corrected after Holm.

    Parameters
    ----------
    values : DataFrame
        From `models_curve`.
    n_models : int
        Of the whole pool.
    design : Design
        Of the test questions.

    Returns
    -------
    DataFrame
        ``forecaster``, ``n_models``, then as from `inference.paired_test` (log-loss alone minus with all models), and
        ``p_holm``. Empty if no size is below the whole pool.
    """
    rows, smaller = [], values[values.index.get_level_values("n_models") < n_models]
    for (name, size), part in smaller.groupby(level=["forecaster", "n_models"], sort=False):
        by_pool = over_seeds(part, "log_loss", "pool")
        rows.append({"forecaster": name, "n_models": size} | paired_test(by_pool[ALONE], by_pool[WHOLE], design))
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"])) if rows else table


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
