"""Comparisons that take several trainings: tables and vectors in, one table of per-question scores out (`scored`).

``parts`` is always {"train" | "val" | "test": (OutcomeMatrix, prompt vectors)}; ``settings`` are those
of the factorization. Notebooks call these through ``run.remember``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation.inference import equivalence
from embedllm.evaluation.intervals import bootstrap_weights, interval
from embedllm.evaluation.metrics import METRICS, per_question
from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.registry import forecasts
from embedllm.outcomes import OutcomeMatrix
from embedllm.progress import Counted
from embedllm.splits import Design, Parts, cut, stratified_share


def train(parts: Parts, **settings) -> Factorization:
    """The factorization fitted on train, stopped on validation."""
    return Factorization(**settings).fit(*parts["train"], *parts["val"])


def scored(table: OutcomeMatrix, forecast: np.ndarray, **method) -> pd.DataFrame:
    """Accuracy and log-loss of a forecast in each question, as all comparisons here keep them.

    Parameters
    ----------
    table : OutcomeMatrix
        The questions that were forecast.
    forecast : ndarray, shape (n_models, n_questions), in [0, 1]
    **method
        What made the forecast, such as ``forecaster="kNN", seed=0``.

    Returns
    -------
    DataFrame
        A row for each metric, a column for each question (its id as text, which is what parquet takes); the
        levels of the index are those of `method` and ``metric``. Tables of one set of questions can be concatenated.
    """
    rows = [per_question(table, forecast, metric) for metric in METRICS]
    index = pd.MultiIndex.from_tuples([(*method.values(), metric) for metric in METRICS], names=[*method, "metric"])
    return pd.DataFrame(np.stack(rows), index, table.questions.index.astype(str))


def dim_curve(parts: Parts, trained: Iterable[Factorization]) -> dict[str, pd.DataFrame]:
    """Scores of factorizations that differ in the length of their vectors.

    Returns
    -------
    dict
        {"train" | "val": table as from `scored`, by ``dim`` and ``seed``}.
    """
    tables = {"train": [], "val": []}
    for fitted, (part, found) in product(trained, tables.items()):
        table, vectors = parts[part]
        found.append(scored(table, fitted.predict_proba(vectors), dim=fitted.dim, seed=fitted.seed))
    return {part: pd.concat(found) for part, found in tables.items()}


def shorter_vectors(values: pd.DataFrame, design: Design, margin: float) -> pd.DataFrame:
    """Is a shorter vector as good as the longest, up to a margin? Paired non-inferiority tests.

    Tested from long to short, each at 5 %, until the first that fails: a fixed sequence needs no
    correction.

    Parameters
    ----------
    values : DataFrame
        Of one part, from `dim_curve`.
    design : Design
        Of the questions of that part.
    margin : float
        Log-loss that may be lost, nats per cell.

    Returns
    -------
    DataFrame
        One row per length, longest first: ``dim``, ``difference`` (log-loss minus the longest vector's),
        ``low90``, ``high90``, ``p`` (of "worse by the margin or more"), ``as_good``.
    """
    losses = over_seeds(values, "log_loss", "dim")
    longest, *others = sorted(losses, reverse=True)
    rows, going = [], True
    for dim in others:
        test = equivalence(losses[dim], losses[longest], design, margin)
        going &= test["p_upper"] < 0.05
        rows.append((dim, test["difference"], test["low90"], test["high90"], test["p_upper"], going))
    return pd.DataFrame(rows, columns=["dim", "difference", "low90", "high90", "p", "as_good"])


def learning_curve(
    parts: Parts, entries: Sequence[catalog.Forecaster], shares: list[float], n_seeds: int, **settings
) -> pd.DataFrame:
    """Forecasters after training on a share of the training questions.

    A seed moves which questions are drawn (stratified by benchmark) and the initialization; with all
    questions it moves the initialization alone. Validation questions are always all of them.

    Returns
    -------
    DataFrame
        As from `scored`, by ``forecaster``, ``n_train`` (training questions) and ``seed``.
    """
    (table, vectors), test = parts["train"], parts["test"][0]
    draws = [(stratified_share(table.questions["benchmark"], share, seed), seed)
             for share, seed in product(shares, range(n_seeds))]
    jobs = ((parts | {"train": (table.at(rows), vectors[rows])}, entries, settings | {"seed": settings["seed"] + seed})
            for rows, seed in draws)
    return pd.concat(scored(test, probabilities, forecaster=name, n_train=len(rows), seed=seed)
                     for (rows, seed), found in zip(draws, forecasts(Counted(jobs, len(draws))), strict=True)
                     for name, probabilities in found.items())


def encoder_comparison(
    table: OutcomeMatrix, vectors: dict[str, np.ndarray], blind: catalog.Forecaster,
    entries: Sequence[catalog.Forecaster], n_seeds: int, **settings,
) -> pd.DataFrame:
    """Forecasters on the vectors of several encoders, all settings equal.

    The noise is set relative to each encoder's root mean square, so that it means the same on vectors
    of any scale or length; the setting names it for unit-norm vectors of 768 numbers, the paper's.

    Parameters
    ----------
    vectors : dict of encoder name to ndarray, shape (n_questions, d_prompt)
    blind : catalog.Forecaster
        One that sees no vectors, to compare with: forecast with the first encoder only.

    Returns
    -------
    DataFrame
        As from `scored`, by ``encoder`` ("no encoder" for the blind one), ``forecaster`` and ``seed``.
    """
    jobs, draws, readers = [], [], {one.name for one in entries}
    for encoder, values in vectors.items():
        parts = cut(table, values)
        scale = np.sqrt(np.mean(parts["train"][1] ** 2)) / 768**-0.5
        compared = entries if jobs else [blind, *entries]
        for seed in range(n_seeds):
            own = settings | {"seed": settings["seed"] + seed, "noise": settings["noise"] * float(scale)}
            jobs.append((parts, compared, own))
            draws.append((encoder, seed))
    return pd.concat(scored(parts["test"][0], probabilities, encoder=encoder if name in readers else "no encoder",
                            forecaster=name, seed=seed)
                     for (encoder, seed), found in zip(draws, forecasts(jobs), strict=True)
                     for name, probabilities in found.items())


def averaged(values: pd.DataFrame, design: Design, n_resamples: int) -> pd.DataFrame:
    """Means over seeds and questions, with intervals over questions and the spread over seeds.

    Parameters
    ----------
    values : DataFrame
        As from `scored`; one level of its index is ``seed``, the others name a method.
    design : Design
        Of the questions.

    Returns
    -------
    DataFrame
        Columns: the levels that name a method, ``metric``, ``value``, ``low``, ``high`` (95 %), ``seed_sd`` (of
        the mean over questions).
    """
    weights = bootstrap_weights(design, n_resamples, np.random.default_rng(0))
    levels, rows = [name for name in values.index.names if name != "seed"], []
    for key, group in values.groupby(level=levels, sort=False):
        by_seed = group.groupby(level="seed").mean()  # (n_seeds, n_questions); one row per seed but for equal sizes
        mean = by_seed.mean().to_numpy()
        rows.append((*key, np.nanmean(mean), *interval(mean, weights), by_seed.mean(axis=1).std(ddof=1)))
    return pd.DataFrame(rows, columns=[*levels, "value", "low", "high", "seed_sd"])


def over_seeds(values: pd.DataFrame, metric: str, by: str) -> dict[str, np.ndarray]:
    """A metric in each question, averaged over what else differs, as `inference.compare` takes it.

    Parameters
    ----------
    values : DataFrame
        As from `scored`.
    metric : {"accuracy", "log_loss"}
    by : str
        The level that names a method.

    Returns
    -------
    dict
        Method to ndarray, shape (n_questions,), in the order of the table.
    """
    means = values.xs(metric, level="metric").groupby(level=by, sort=False).mean()
    return dict(zip(means.index, means.to_numpy(), strict=True))
