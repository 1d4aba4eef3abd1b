"""Forecasts and routing on the vectors of several encoders, on equal terms, and what these vectors carry (C3, Q6, Q8).

An encoder is anything that makes vectors of a table's questions (`Maker`): a sentence encoder, counts of words fitted
to the training prompts, or the label of the benchmark alone. All see the same folds, seeds and candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.encoders import fitted
from embedllm.evaluation import fits
from embedllm.evaluation.inference import holm
from embedllm.evaluation.metrics import auc, per_question, targets
from embedllm.forecasters.registry import Job, Round, forecasts
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix, grouped
from embedllm.progress import Counted
from embedllm.routing.policies import choose, gained
from embedllm.splits import Design, cut, folds

Maker = Callable[[np.ndarray], np.ndarray]  # which questions train, (n_questions,) bool, to vectors (n_questions, dim)

MEASURES = ("log_loss", "accuracy", "score")
PUBLISHED_DIM = 768  # of the encoder that the published noise was set for, on vectors of norm 1


def makers(table: OutcomeMatrix, vectors: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, Maker]:
    """Everything that is compared: encoders whose vectors are given, those fitted here, the label, and controls.

    Parameters
    ----------
    vectors : mapping of encoder to ndarray, shape (n_questions, dim)
        The first is the one whose vectors are shuffled.
    seed : int
        Of the controls.

    Returns
    -------
    dict
        Name, as in `catalog.REPRESENTATIONS`, to `Maker`.
    """
    prompts, benchmarks = table.questions["prompt"].to_numpy(object), table.questions["benchmark"].to_numpy(object)
    first = next(iter(vectors.values()))
    mixed = np.random.default_rng(seed).permutation(first)
    drawn = np.random.default_rng(seed).standard_normal(first.shape).astype(np.float32) / np.sqrt(first.shape[1])
    measured = cache(lambda: fitted.measured(prompts))
    counted = cache(lambda train: fitted.tfidf(prompts, np.frombuffer(train, bool)))  # folds come more than once
    return given(vectors) | {
        catalog.TFIDF.name: lambda train: counted(train.tobytes()),
        catalog.FEATURES.name: lambda train: fitted.features(measured(), train),
        catalog.LABEL.name: lambda train: fitted.one_hot(benchmarks, train),
        catalog.SHUFFLED_PROMPTS.name: lambda train: mixed,
        catalog.RANDOM_VECTORS.name: lambda train: drawn,
    }


def given(vectors: Mapping[str, np.ndarray]) -> dict[str, Maker]:
    """Encoders whose vectors are there, whichever questions train."""
    return {name: lambda train, own=own: own for name, own in vectors.items()}


def reduced(made: Mapping[str, Maker], dim: int) -> dict[str, Maker]:
    """The same encoders, their vectors reduced to the leading `dim` principal components of the training prompts."""
    return {name: lambda train, own=own: fitted.reduced(own(train), train, dim) for name, own in made.items()}


def judged(
    table: OutcomeMatrix, made: Mapping[str, Maker], entries: Sequence[catalog.Forecaster], n_folds: int,
    rounds: Sequence[Round], compute: Callable = side_by_side,
) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Every question forecast and routed on the vectors of each encoder by fits that never saw it.

    Folds are those of `registry.cross_fit`. The noise of trainings that have any is set relative to the vectors' root
    mean square in the training questions, so that it means the same on vectors of any scale and length; it equals the
    setting on vectors of norm 1 in 768 dimensions, the paper's. An entry that names its noise keeps it.

    Returns
    -------
    dict
        "log_loss", "accuracy" (means over models) and "score" (of the model with the highest forecast): (encoder,
        forecaster) to array (n_fits, n_questions); "auc": the same to array (n_fits,).
    """
    plans = [(name, fit, part) for name in made for fit, one in enumerate(rounds)
             for part in _parts(table, n_folds, one.fold_seed)]

    def jobs() -> Iterator[Job]:
        for name, fit, part in plans:
            train, settings = part == "train", rounds[fit].settings
            vectors = made[name](train)
            spread = float(np.sqrt(np.mean(vectors[train].astype(np.float64) ** 2))) * PUBLISHED_DIM**0.5
            yield cut(table, vectors, part), entries, settings | {"noise": settings["noise"] * spread}

    whole: dict[tuple[str, str], np.ndarray] = {}
    for (name, fit, part), told in zip(plans, forecasts(Counted(jobs(), len(plans)), compute), strict=True):
        for forecaster, probabilities in told.items():
            empty = np.empty((len(rounds), *table.shape), np.float32)
            whole.setdefault((name, forecaster), empty)[fit][:, part == "test"] = probabilities
    found: dict[str, dict] = {measure: {} for measure in (*MEASURES, "auc")}
    values = targets(table, "score")
    for key, by_fit in whole.items():
        for measure in ("log_loss", "accuracy"):
            found[measure][key] = np.stack([per_question(table, one, measure) for one in by_fit])
        found["score"][key] = np.stack([gained(choose(one, table.observed), values) for one in by_fit])
        found["auc"][key] = np.array([auc(one, targets(table, "auc")) for one in by_fit])
    return found


def _parts(table: OutcomeMatrix, n_folds: int, seed: int) -> Iterator[np.ndarray]:
    """The part of each question, for each fold in its turn."""
    half = folds(table, 2 * n_folds, seed).to_numpy()
    for fold in range(n_folds):
        yield np.select([half // 2 == fold, half == 2 * ((fold + 1) % n_folds)], ["test", "val"], "train")


def widths(table: OutcomeMatrix, made: Mapping[str, Maker], n_folds: int, seed: int) -> dict[str, int]:
    """How many numbers each encoder makes of a question, in the first fold."""
    train = next(_parts(table, n_folds, seed)) == "train"
    return {name: own(train).shape[1] for name, own in made.items()}


def levels(found: Mapping[str, dict], design: Design) -> pd.DataFrame:
    """What is reached with each encoder: ``encoder``, ``forecaster``, ``measure``, ``value``, ``low``, ``high``.

    Intervals (95 %) are over questions and fits; of the area under the curve there is none.
    """
    rows = []
    for measure, values in found.items():
        if measure == "auc":
            rows += [(*key, measure, own.mean(), np.nan, np.nan) for key, own in values.items()]
            continue
        for key, own in values.items():
            one = fits.averages({"": own}, design).iloc[0]
            rows.append((*key, measure, one["value"], one["low"], one["high"]))
    return pd.DataFrame(rows, columns=["encoder", "forecaster", "measure", "value", "low", "high"])


def differences(
    found: Mapping[str, dict], reference: str, forecaster: str, design: Design, level: float = 0.05
) -> pd.DataFrame:
    """Each encoder minus a reference, paired, in every measure; of each measure one family (Holm).

    Returns
    -------
    DataFrame
        As from `fits.compare` with ``measure``; ``method`` and ``reference`` are encoders.
    """
    tables = []
    for measure in MEASURES:
        values = {encoder: own for (encoder, name), own in found[measure].items() if name == forecaster}
        pairs = [(encoder, reference) for encoder in values if encoder != reference]
        tables.append(fits.compare(values, pairs, design, level).assign(measure=measure))
    return pd.concat(tables, ignore_index=True)


def equivalence(
    losses: Mapping[str, np.ndarray], reference: str, design: Design, margin: float, level: float
) -> pd.DataFrame:
    """Is each encoder's log-loss within a margin of the reference's? Two one-sided tests over questions and fits.

    Parameters
    ----------
    losses : mapping of encoder to ndarray, shape (n_fits, n_questions)
    margin : float
        Zero or more, in nats.

    Returns
    -------
    DataFrame
        ``method``; ``difference``, ``low``, ``high`` (1 - 2 * level) and ``se``; ``p_equivalent`` (the larger one of
        the two tests'); ``p_beyond`` (of the null that it lies within the margin, either side) and ``p_beyond_holm``,
        corrected over the encoders; ``margin``, ``level``.
    """
    rows = []
    for name, own in losses.items():
        if name == reference:
            continue
        above, below = (fits.non_inferiority(a, b, design, margin, level) for a, b in
                        ((own, losses[reference]), (losses[reference], own)))
        beyond = min(fits.non_inferiority(a, b - margin, design, 0, level)["p_worse"] for a, b in
                     ((losses[reference], own), (own, losses[reference])))
        rows.append({"method": name, **{key: above[key] for key in ("difference", "low", "high", "se")},
                     "p_equivalent": max(above["p_worse"], below["p_worse"]), "p_beyond": min(1.0, 2 * beyond)})
    table = pd.DataFrame(rows)
    return table.assign(p_beyond_holm=holm(table["p_beyond"]), margin=margin, level=level)


def within(
    found: Mapping[str, dict], reference: str, forecaster: str, table: OutcomeMatrix
) -> pd.DataFrame:
    """Log-loss on each encoder minus that on the benchmark's label alone, by benchmark: where does reading help?

    Returns
    -------
    DataFrame
        As from `fits.compare`, with ``benchmark`` and ``questions``; corrected over all rows (Holm).
    """
    design, rows = Design.of(grouped(table)), []
    values = {encoder: own for (encoder, name), own in found["log_loss"].items() if name == forecaster}
    pairs = [(encoder, reference) for encoder in values if encoder != reference]
    for benchmark in np.unique(design.strata):
        inside = design.strata == benchmark
        own = {encoder: losses[:, inside] for encoder, losses in values.items()}
        rows.append(fits.compare(own, pairs, design.at(inside)).assign(benchmark=benchmark, questions=inside.sum()))
    found = pd.concat(rows, ignore_index=True)
    return found.assign(p_holm=holm(found["p"]))


def earned(crossed: Mapping, name: str, reference: str) -> float:
    """What one forecaster earns over another in log-loss on the validation parts of a `registry.cross_fit`, in nats."""
    means = crossed["folds"].groupby("name")["val"].mean()
    return float(means[reference] - means[name])


def carried(table: OutcomeMatrix, made: Mapping[str, Maker], n_folds: int, seed: int) -> pd.DataFrame:
    """How much of a question's benchmark, and of its difficulty within the benchmark, a linear reader finds in vectors.

    It learns from the training questions of each fold of the cross-fitting, where it chooses its penalty too.

    Returns
    -------
    DataFrame
        ``encoder``; ``benchmark``: share of the questions whose benchmark is found (ridge classification), beside
        ``largest``, the share of the largest one, of many benchmarks of their suites; ``difficulty``: R2 of the
        questions' mean scores, minus the means of their benchmarks in training (ridge regression; below zero where
        those means do better).
    """
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV

    benchmarks = grouped(table).questions["benchmark"].astype(str).to_numpy()
    tasks = table.questions["benchmark"].astype(str).to_numpy()
    means, penalties = np.nanmean(table.scores, axis=0), np.logspace(-3, 4, 8)
    rows = []
    for name, maker in made.items():
        right, error, base = np.zeros(len(means), bool), np.zeros(len(means)), np.zeros(len(means))
        for part in _parts(table, n_folds, seed):
            train, test = part == "train", part == "test"
            vectors = maker(train).astype(np.float64)
            if len(set(benchmarks)) > 1:
                reader = RidgeClassifierCV(penalties).fit(vectors[train], benchmarks[train])
                right[test] = reader.predict(vectors[test]) == benchmarks[test]
            known = pd.Series(means[train]).groupby(tasks[train]).mean()
            rest = means - known.reindex(tasks).fillna(means[train].mean()).to_numpy()
            reader = RidgeCV(penalties).fit(vectors[train], rest[train])
            error[test], base[test] = (rest[test] - reader.predict(vectors[test])) ** 2, rest[test] ** 2
        rows.append((name, right.mean(), 1 - error.sum() / base.sum()))
    found = pd.DataFrame(rows, columns=["encoder", "benchmark", "difficulty"])
    return found.assign(largest=pd.Series(benchmarks).value_counts(normalize=True).iloc[0])
