"""What each part of the stacked ensemble earns, and what knowing more of the models than their ability is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation.fits import compare
from embedllm.evaluation.metrics import per_question, right_or_wrong
from embedllm.evaluation.rasch import fit_one_dimensional
from embedllm.forecasters.registry import Job, forecasts
from embedllm.outcomes import replace_unchecked
from embedllm.progress import Counted
from embedllm.splits import Design, Parts


def stepwise(values: Mapping[str, np.ndarray], design: Design) -> pd.DataFrame:
    """Compare each method with the one before it: a family of paired tests, corrected after Holm.

    Parameters
    ----------
    values : mapping of method name to ndarray, shape (n_fits, n_questions), in order
    design : Design

    Returns
    -------
    DataFrame
        As from `fits.compare`, a row for each method but the first.
    """
    return compare(values, [(name, before) for before, name in pairwise(values)], design)


def without_specialization(
    parts: Parts, entries: Sequence[catalog.Forecaster], reference: catalog.Forecaster, n_worlds: int, **settings
) -> pd.DataFrame:
    """What forecasters gain over one, here and in worlds where models differ in ability alone.

    A one-dimensional pool is fitted to all answers; in each world the same models answer the same questions anew
    (`OneDimensional.draw_same`: a question keeps its difficulty, as far as its answers tell it), and all forecasters
    are trained on those answers. Scores from 0.5 on count as right, here as well.

    Parameters
    ----------
    reference : catalog.Forecaster
        One that knows no specialization.
    n_worlds : int

    Returns
    -------
    DataFrame
        Columns ``forecaster``, ``world`` (0 is the observed one), ``difference`` (test log-loss against labels minus
        the reference's, nats per cell, mean over questions).
    """
    right = {part: right_or_wrong(table) for part, (table, _) in parts.items()}
    pool, rng = fit_one_dimensional(np.hstack(list(right.values()))), np.random.default_rng(settings["seed"])
    def jobs() -> Iterator[Job]:
        for world in range(n_worlds + 1):
            scores = {part: pool.draw_same(answers, rng) if world else answers for part, answers in right.items()}
            own = {part: (replace_unchecked(table, scores=scores[part], references={}), vectors)
                   for part, (table, vectors) in parts.items()}
            tests.append(own["test"][0])
            yield own, [reference, *entries], settings

    rows, tests = [], []
    for world, (forecast, test) in enumerate(zip(forecasts(Counted(jobs(), n_worlds + 1)), tests, strict=True)):
        losses = {name: np.nanmean(per_question(test, p, "log_loss")) for name, p in forecast.items()}
        rows += [(one.name, world, losses[one.name] - losses[reference.name]) for one in entries]
    return pd.DataFrame(rows, columns=["forecaster", "world", "difference"])


def beyond_worlds(worlds: pd.DataFrame) -> pd.DataFrame:
    """What is seen beside what worlds without specialization show.

    Parameters
    ----------
    worlds : DataFrame
        From `without_specialization`.

    Returns
    -------
    DataFrame
        Two rows per forecaster, ``pool`` "observed" and "drawn without specialization": ``forecaster``, ``value`` (the
        difference; of the worlds the mean), ``low``, ``high`` (least and greatest of the worlds), ``p`` (one-sided,
        of the observed one: (1 + worlds that gain as much) / (1 + worlds)).
    """
    here = worlds[worlds["world"] == 0].set_index("forecaster")["difference"]
    others = worlds[worlds["world"] > 0]
    drawn = others.pivot_table(index="world", columns="forecaster", values="difference")[here.index]
    p = (1 + (drawn <= here).sum()) / (1 + len(drawn))
    observed = here.rename("value").reset_index().assign(pool="observed", p=p.to_numpy())
    null = drawn.agg(["mean", "min", "max"]).T.set_axis(["value", "low", "high"], axis=1).reset_index()
    return pd.concat([observed, null.assign(pool="drawn without specialization")], ignore_index=True)
