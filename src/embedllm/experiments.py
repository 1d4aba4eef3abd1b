"""Comparisons that take several trainings: tables and vectors in, one tidy table out.

``parts`` is always {"train" | "val" | "test": (OutcomeMatrix, prompt vectors)}; ``settings`` are those
of the factorisation. Notebooks call these through ``run.remember``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm.baselines import Forecaster, KNearestNeighbours, ModelMean
from embedllm.communities import community_distances, community_test, family_of_size
from embedllm.factorization import Factorization
from embedllm.inference import bootstrap_weights, interval
from embedllm.metrics import question_scores
from embedllm.outcomes import OutcomeMatrix, prompt_groups
from embedllm.probing import identified_coordinates, leave_one_out_table, predict_benchmark

Parts = dict[str, tuple[OutcomeMatrix, np.ndarray]]
METRICS = ("accuracy", "log_loss")


def forecasters(settings: dict) -> dict[str, Forecaster]:
    """The rungs that are compared, untrained, by the name every figure uses."""
    return {
        "model mean": ModelMean(),
        "kNN": KNearestNeighbours(),
        "factorisation": Factorization(**settings),
    }


def train(parts: Parts, **settings) -> Factorization:
    """The factorisation fitted on train, stopped on validation."""
    return Factorization(**settings).fit(*parts["train"], *parts["val"])


def forecast(parts: Parts, **settings) -> dict[str, np.ndarray]:
    """Test probabilities of every forecaster: name to float32, shape (n_models, n_test)."""
    return {
        name: forecaster.fit(*parts["train"], *parts["val"]).predict_proba(parts["test"][1])
        for name, forecaster in forecasters(settings).items()
    }


def dim_curve(parts: Parts, dims: list[int], **settings) -> pd.DataFrame:
    """Log-loss of the factorisation against the length of its vectors.

    Returns
    -------
    DataFrame
        Columns ``dim``, ``part`` (train, validation), ``log_loss`` (nats a cell), ``low``, ``high`` (95 %
        over questions), ``epochs`` (until the best validation loss).
    """
    rows = []
    for dim in dims:
        fitted = train(parts, **settings | {"dim": dim})
        for part, name in (("train", "train"), ("val", "validation")):
            table, vectors = parts[part]
            values = question_scores(fitted.predict_proba(vectors), table.scores, "log_loss")
            low, high = interval(values, _resamples(table))
            rows.append((dim, name, np.nanmean(values), low, high, int(fitted.history["val"].idxmin()) + 1))
    return pd.DataFrame(rows, columns=["dim", "part", "log_loss", "low", "high", "epochs"])


def learning_curve(parts: Parts, shares: list[float], n_seeds: int, **settings) -> pd.DataFrame:
    """Every forecaster after training on a share of the training questions.

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
            for name, probabilities in forecast(some, **settings | {"seed": settings["seed"] + seed}).items():
                tables.append(_scored(parts["test"][0], probabilities).assign(
                    n_train=len(rows), seed=seed, forecaster=name))
    return pd.concat(tables, ignore_index=True)


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
    at = {part: np.flatnonzero(table.questions["part"] == part) for part in ("train", "val", "test")}
    tables = []
    for encoder, values in vectors.items():
        parts = {part: (table.at(rows), values[rows]) for part, rows in at.items()}
        scale = np.sqrt(np.mean(parts["train"][1] ** 2)) / 768**-0.5
        for seed in range(n_seeds):
            own = settings | {"seed": settings["seed"] + seed, "noise": settings["noise"] * float(scale)}
            for name, probabilities in forecast(parts, **own).items():
                if name == "model mean" and encoder != next(iter(vectors)):
                    continue  # sees no vectors: once is enough
                tables.append(_scored(parts["test"][0], probabilities).assign(
                    encoder="no encoder" if name == "model mean" else encoder, forecaster=name, seed=seed))
    return pd.concat(tables, ignore_index=True)


def leave_one_benchmark_out(
    table: OutcomeMatrix, vectors: np.ndarray, n_components: int, **settings
) -> pd.DataFrame:
    """Model coordinates learned without a benchmark, beside the accuracy on it.

    The benchmark is out of training and of validation, and every fit starts anew.

    Returns
    -------
    DataFrame
        One row a (benchmark, model): ``benchmark``, ``model``, ``accuracy`` (on all its questions),
        ``elsewhere`` (mean training score without it) and the identified coordinates ``c0`` (level)
        to ``c<n_components>``.
    """
    part, benchmark = table.questions["part"], table.questions["benchmark"]
    tables = []
    for left_out in sorted(benchmark.unique()):
        rows = {name: np.flatnonzero((part == name) & (benchmark != left_out)) for name in ("train", "val")}
        parts = {name: (table.at(at), vectors[at]) for name, at in rows.items()}
        fitted = train(parts, **settings)
        coordinates, _ = identified_coordinates(
            fitted.betas, fitted.intercepts, parts["train"][1], n_components
        )
        tables.append(pd.DataFrame({
            "benchmark": left_out,
            "model": table.models.index,
            "accuracy": table.at(np.flatnonzero(benchmark == left_out)).model_means,
            "elsewhere": parts["train"][0].model_means,
            **{f"c{number}": column for number, column in enumerate(coordinates.T)},
        }))
    return pd.concat(tables, ignore_index=True)


def benchmark_probes(rows: pd.DataFrame, facts: pd.DataFrame, n_permutations: int) -> pd.DataFrame:
    """Predict each left-out benchmark from the model vectors, and from accuracy elsewhere alone.

    Parameters
    ----------
    rows : DataFrame
        From `leave_one_benchmark_out`.
    facts : DataFrame
        From `outcomes.model_facts`.

    Returns
    -------
    DataFrame
        As from `probing.leave_one_out_table`, with the column ``predictors`` in front.
    """
    coordinates = [column for column in rows if column.startswith("c") and column[1:].isdigit()]
    tables = {
        name: leave_one_out_table([
            predict_benchmark(part[columns].to_numpy(), part["accuracy"].to_numpy(), facts["family"],
                              benchmark, n_permutations=n_permutations)
            for benchmark, part in rows.groupby("benchmark")
        ])
        for name, columns in {"model vectors": coordinates, "accuracy elsewhere": ["elsewhere"]}.items()
    }
    return pd.concat(tables, names=["predictors"]).reset_index("predictors").reset_index(drop=True)


def size_communities(
    distances: dict[str, np.ndarray], facts: pd.DataFrame, n_permutations: int
) -> pd.DataFrame:
    """Distances within and between size classes, with their tests, for several distances.

    Returns
    -------
    DataFrame
        As from `communities.community_test` with ``intra`` and ``inter``, the column ``distance`` in front.
    """
    sizes, tables = family_of_size(facts["parameters_b"]), {}
    for name, values in distances.items():
        tests = community_test(
            values, sizes, facts["family"], facts["base_model"], n_permutations=n_permutations
        )
        means = community_distances(values, sizes, facts["base_model"])
        tables[name] = means[["community", "intra", "inter"]].merge(tests, on="community")
    return pd.concat(tables, names=["distance"]).reset_index("distance").reset_index(drop=True)


def averaged(values: pd.DataFrame, by: list[str], table: OutcomeMatrix, n_resamples: int) -> pd.DataFrame:
    """Means over seeds and questions, with intervals over questions and the spread over seeds.

    Parameters
    ----------
    values : DataFrame
        From `learning_curve` or `encoder_comparison`.
    by : list of str
        Columns that name a method.
    table : OutcomeMatrix
        The test questions.

    Returns
    -------
    DataFrame
        Columns `by`, ``metric``, ``value``, ``low``, ``high`` (95 %), ``seed_sd`` (of the mean over
        questions).
    """
    weights, rows = _resamples(table, n_resamples), []
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


def targets(table: OutcomeMatrix) -> np.ndarray:
    """What forecasts are scored against: the true probabilities where known, else the scores.

    On simulated data this takes the coin-flip of the label out of every comparison.
    """
    truth = table.references.get("true probability")
    return table.scores if truth is None else np.where(table.observed, truth, np.nan).astype(np.float32)


def _scored(table: OutcomeMatrix, probabilities: np.ndarray) -> pd.DataFrame:
    """Per-question metrics: columns ``question`` (position), ``accuracy``, ``log_loss``."""
    columns = {metric: question_scores(probabilities, targets(table), metric) for metric in METRICS}
    return pd.DataFrame({"question": np.arange(table.shape[1]), **columns})


def _resamples(table: OutcomeMatrix, n_resamples: int = 1000) -> np.ndarray:
    """Bootstrap weights over the questions of a table, stratified, repeated prompts together."""
    return bootstrap_weights(
        table.questions["benchmark"], n_resamples, np.random.default_rng(0), prompt_groups(table)
    )


def _stratified_share(benchmarks: pd.Series, share: float, seed: int) -> np.ndarray:
    """Sorted positions of a share of the questions of each benchmark, at least one of each."""
    if share == 1:
        return np.arange(len(benchmarks))
    rng = np.random.default_rng(seed)
    positions = pd.Series(np.arange(len(benchmarks)))
    drawn = [rng.choice(rows, max(1, round(share * len(rows))), replace=False)
             for _, rows in positions.groupby(benchmarks.to_numpy(), observed=True)]
    return np.sort(np.concatenate(drawn))
