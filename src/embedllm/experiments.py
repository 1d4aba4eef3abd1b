"""Comparisons that take several trainings: tables and vectors in, one tidy table out.

``parts`` is always {"train" | "val" | "test": (OutcomeMatrix, prompt vectors)}; ``settings`` are those
of the factorisation. Notebooks call these through ``run.remember``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from embedllm import metrics
from embedllm.factorization import Factorization
from embedllm.inference import bootstrap_weights, equivalence, interval
from embedllm.ladder import PAPER, forecast
from embedllm.one_dimensional import fit_one_dimensional
from embedllm.outcomes import Design, OutcomeMatrix, Parts, changed, cut

METRICS = ("accuracy", "log_loss")


def train(parts: Parts, **settings) -> Factorization:
    """The factorisation fitted on train, stopped on validation."""
    return Factorization(**settings).fit(*parts["train"], *parts["val"])


def dim_curve(parts: Parts, dims: list[int], **settings) -> pd.DataFrame:
    """The factorisation trained anew for each length of its vectors.

    Returns
    -------
    DataFrame
        As from `_scored`, with the columns ``part`` (train, val), ``dim`` and ``seed``.
    """
    tables = []
    for dim in dims:
        fitted = train(parts, **settings | {"dim": dim})
        for part in ("train", "val"):
            table, vectors = parts[part]
            scored = _scored(table, fitted.predict_proba(vectors))
            tables.append(scored.assign(part=part, dim=dim, seed=settings["seed"]))
    return pd.concat(tables, ignore_index=True)


def shorter_vectors(values: pd.DataFrame, design: Design, margin: float) -> pd.DataFrame:
    """Is a shorter vector as good as the longest, up to a margin? Paired non-inferiority tests.

    Tested from long to short, each at 5 %, until the first that fails: a fixed sequence needs no
    correction.

    Parameters
    ----------
    values : DataFrame
        From `dim_curve`, one part only.
    design : Design
        Of the questions of that part.
    margin : float
        Log-loss that may be lost, nats a cell.

    Returns
    -------
    DataFrame
        One row a length, longest first: ``dim``, ``difference`` (log-loss minus the longest vector's),
        ``low90``, ``high90``, ``p`` (of "worse by the margin or more"), ``as_good``.
    """
    losses = per_question(values, "log_loss", "dim")
    longest, *others = sorted(losses, reverse=True)
    rows, going = [], True
    for dim in others:
        test = equivalence(losses[dim], losses[longest], design, margin)
        going &= test["p_upper"] < 0.05
        rows.append((dim, test["difference"], test["low90"], test["high90"], test["p_upper"], going))
    return pd.DataFrame(rows, columns=["dim", "difference", "low90", "high90", "p", "as_good"])


def learning_curve(parts: Parts, shares: list[float], n_seeds: int, **settings) -> pd.DataFrame:
    """The paper's forecasters after training on a share of the training questions.

    A seed moves which questions are drawn (stratified by benchmark) and the initialisation; with all
    questions it moves the initialisation alone. Validation questions are always all of them.

    Returns
    -------
    DataFrame
        As from `_scored`, with the column ``n_train`` (training questions) in front.
    """
    (table, vectors), tables = parts["train"], []
    for share in shares:
        for seed in range(n_seeds):
            rows = _stratified_share(table.questions["benchmark"], share, seed)
            some = parts | {"train": (table.at(rows), vectors[rows])}
            for name, probabilities in forecast(some, PAPER, **settings | {"seed": settings["seed"] + seed}).items():
                tables.append(_scored(parts["test"][0], probabilities).assign(
                    n_train=len(rows), seed=seed, forecaster=name))
    return pd.concat(tables, ignore_index=True)


def without_specialisation(
    parts: Parts, names: Sequence[str], reference: str, n_worlds: int, **settings
) -> pd.DataFrame:
    """What forecasters gain over one, here and in worlds where models differ in ability alone.

    A one-dimensional pool is fitted to all answers; in each world the same models answer the same questions anew
    (`OneDimensional.draw_same`: a question keeps its difficulty, as far as its answers tell it), and all forecasters
    are trained on those answers. Scores from 0.5 on count as right, here as well.

    Parameters
    ----------
    reference : str
        A forecaster that knows no specialisation.
    n_worlds : int

    Returns
    -------
    DataFrame
        Columns ``forecaster``, ``world`` (0 is the observed one), ``difference`` (test log-loss against labels minus
        the reference's, nats a cell, mean over questions).
    """
    right = {part: metrics.right_or_wrong(table) for part, (table, _) in parts.items()}
    pool, rng = fit_one_dimensional(np.hstack(list(right.values()))), np.random.default_rng(settings["seed"])
    rows = []
    for world in range(n_worlds + 1):
        scores = {part: pool.draw_same(answers, rng) if world else answers for part, answers in right.items()}
        own = {part: (changed(table, scores=scores[part], references={}), vectors)
               for part, (table, vectors) in parts.items()}
        told, test = forecast(own, [reference, *names], **settings), own["test"][0]
        losses = {name: np.nanmean(metrics.per_question(test, p, "log_loss")) for name, p in told.items()}
        rows += [(name, world, losses[name] - losses[reference]) for name in names]
    return pd.DataFrame(rows, columns=["forecaster", "world", "difference"])


def encoder_comparison(
    table: OutcomeMatrix, vectors: dict[str, np.ndarray], n_seeds: int, **settings
) -> pd.DataFrame:
    """kNN and the factorisation on the vectors of several encoders, all settings equal.

    The noise is set relative to each encoder's root mean square, so that it means the same on vectors
    of any scale or length; the setting names it for unit-norm vectors of 768 numbers, the paper's.

    Returns
    -------
    DataFrame
        As from `_scored`, with the columns ``encoder``, ``forecaster`` and ``seed``.
    """
    tables = []
    for encoder, values in vectors.items():
        parts = cut(table, values)
        scale = np.sqrt(np.mean(parts["train"][1] ** 2)) / 768**-0.5
        for seed in range(n_seeds):
            own = settings | {"seed": settings["seed"] + seed, "noise": settings["noise"] * float(scale)}
            for name, probabilities in forecast(parts, PAPER, **own).items():
                if name == "model mean" and encoder != next(iter(vectors)):
                    continue  # sees no vectors: once is enough
                tables.append(_scored(parts["test"][0], probabilities).assign(
                    encoder="no encoder" if name == "model mean" else encoder, forecaster=name, seed=seed))
    return pd.concat(tables, ignore_index=True)


def averaged(values: pd.DataFrame, by: list[str], design: Design, n_resamples: int) -> pd.DataFrame:
    """Means over seeds and questions, with intervals over questions and the spread over seeds.

    Parameters
    ----------
    values : DataFrame
        From `learning_curve` or `encoder_comparison`.
    by : list of str
        Columns that name a method.
    design : Design
        Of the questions.

    Returns
    -------
    DataFrame
        Columns `by`, ``metric``, ``value``, ``low``, ``high`` (95 %), ``seed_sd`` (of the mean over
        questions).
    """
    weights = bootstrap_weights(design, n_resamples, np.random.default_rng(0))
    rows = []
    for key, group in values.groupby(by, sort=False):
        for metric in METRICS:
            wide = group.pivot_table(index="question", columns="seed", values=metric, dropna=False)
            mean = wide.mean(axis=1).to_numpy()
            rows.append((*key, metric, np.nanmean(mean), *interval(mean, weights), wide.mean().std(ddof=1)))
    return pd.DataFrame(rows, columns=[*by, "metric", "value", "low", "high", "seed_sd"])


def per_question(values: pd.DataFrame, metric: str, by: str) -> dict[str, np.ndarray]:
    """Seed-averaged per-question values of each method, as `inference.compare` takes them."""
    wide = values.pivot_table(index="question", columns=by, values=metric, sort=False, dropna=False)
    return {name: wide[name].to_numpy() for name in wide}


def _scored(table: OutcomeMatrix, probabilities: np.ndarray) -> pd.DataFrame:
    """Per-question metrics: columns ``question`` (position), ``accuracy``, ``log_loss``."""
    columns = {metric: metrics.per_question(table, probabilities, metric) for metric in METRICS}
    return pd.DataFrame({"question": np.arange(table.shape[1]), **columns})


def _stratified_share(benchmarks: pd.Series, share: float, seed: int) -> np.ndarray:
    """Sorted positions of a share of the questions of each benchmark, at least one of each."""
    if share == 1:
        return np.arange(len(benchmarks))
    rng = np.random.default_rng(seed)
    positions = pd.Series(np.arange(len(benchmarks)))
    drawn = [rng.choice(rows, max(1, round(share * len(rows))), replace=False)
             for _, rows in positions.groupby(benchmarks.to_numpy(), observed=True)]
    return np.sort(np.concatenate(drawn))
