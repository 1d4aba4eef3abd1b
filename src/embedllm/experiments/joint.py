"""Lineage and benchmark unseen: what answers elsewhere tell of a new model where nobody was asked (Q9)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from embedllm.evaluation.inference import of_independent
from embedllm.evaluation.metrics import cell_scores
from embedllm.experiments.new_models import TEXT
from embedllm.experiments.newcomers import N_FOLDS, complete, embedded, ordered, told_of
from embedllm.machine import side_by_side
from embedllm.new_models.onboarding import onboard
from embedllm.new_models.sharing import out_of_sample, shared_parts
from embedllm.outcomes import OutcomeMatrix, grouped, parted, replace_unchecked
from embedllm.probing.folds import lineage_folds
from embedllm.progress import Counted

OF_MODEL, OF_BENCHMARK, COIN = "mean of its answers", "mean of the benchmark, known afterwards", "one half, always"


def unseen(
    table: OutcomeMatrix, vectors: np.ndarray, n: int, seed: int, compute: Callable = side_by_side
) -> pd.DataFrame | None:
    """Log-loss of models on a benchmark that neither they nor the pool were asked, from n answers to the others.

    A fifth of the lineages is left out at a time, and a benchmark: a suite, where there are more than 20 benchmarks;
    where it is told (as of MMLU-Pro, whose subjects are much alike) the origin of the questions, the beginning of their
    column ``src``.

    Returns
    -------
    DataFrame or None
        ``model``, ``lineage``, ``benchmark``, ``method``: onboarding from the text, the mean of its answers, the mean
        of the pool on the benchmark, which nobody knows before it was asked, and one half; ``log_loss``. None for fewer
        than two benchmarks.
    """
    table = grouped(table)
    if "src" in table.questions:
        origin = table.questions["src"].astype(str).str.split("-").str[0]
        table = replace_unchecked(table, questions=table.questions.assign(benchmark=origin))
    table, vectors = complete(table, vectors)
    names, fold = table.questions["benchmark"].unique(), lineage_folds(table.models["lineage"], N_FOLDS, seed)
    if len(names) < 2:
        return None
    calls = [partial(of_benchmark, table, vectors, fold == number, str(name), n, seed)
             for name in sorted(names) for number in range(N_FOLDS)]
    return pd.concat(compute(Counted(calls, len(calls))), ignore_index=True)


def of_benchmark(
    table: OutcomeMatrix, vectors: np.ndarray, new: np.ndarray, name: str, n: int, seed: int
) -> pd.DataFrame:
    """`unseen` for the new models of one fold, bool, (n_models,), and one benchmark."""
    pool, answers = parted(table, new)
    inside, lineages = (table.questions["benchmark"] == name).to_numpy(), table.models["lineage"].to_numpy(str)
    text = embedded(pool.at(~inside), vectors[~inside], seed + 1)
    elsewhere = replace_unchecked(pool, scores=np.where(inside, np.nan, pool.scores).astype(np.float32))
    fresh = out_of_sample(text, elsewhere, vectors)
    shared = shared_parts(text, elsewhere, vectors, lineages[~new], fresh, answered=False, labeled=False)
    seen = told_of(answers, ordered(table, lineages[new], ~inside, seed, 0), n)
    right, asked = np.nansum(seen, axis=1), (~np.isnan(seen)).sum(axis=1)
    mean = np.tile((np.nansum(pool.scores[:, inside]) + 0.5) / (inside.sum() * len(pool.scores) + 1), len(seen))
    told = {TEXT: onboard(shared, seen).forecast()[:, inside],
            OF_MODEL: np.tile(((right + 0.5) / (asked + 1))[:, None], inside.sum()),
            OF_BENCHMARK: np.tile(mean[:, None], inside.sum()), COIN: np.full((len(seen), inside.sum()), 0.5)}
    return pd.concat([pd.DataFrame({
        "model": table.models.index[new], "lineage": lineages[new], "benchmark": name, "method": method,
        "log_loss": np.nanmean(cell_scores(p, answers[:, inside], "log_loss"), axis=1)}) for method, p in told.items()],
        ignore_index=True)


def against(rows: pd.DataFrame) -> pd.DataFrame:
    """Onboarding minus each of the others, over lineages, benchmarks counting alike.

    Parameters
    ----------
    rows : DataFrame
        From `unseen`.

    Returns
    -------
    DataFrame
        ``reference``, ``loss`` (of onboarding), ``difference`` with ``low`` and ``high`` (95 %), ``p``, ``n_lineages``,
        ``n_benchmarks`` and ``n_better``, on how many of them onboarding loses less, lineages counting alike; ``least``
        and ``most``, of the differences on a benchmark. Intervals and p are for these benchmarks, whatever others are.
    """
    by_lineage = rows.groupby(["method", "benchmark", "lineage"])["log_loss"].mean()
    own, found = by_lineage[TEXT], []
    for reference in (OF_MODEL, OF_BENCHMARK, COIN):
        gap = own - by_lineage[reference]
        told = of_independent(gap.groupby("lineage").mean().to_numpy())
        per = gap.groupby("benchmark").mean()
        found.append((reference, own.groupby("benchmark").mean().mean(), told["difference"], told["low"], told["high"],
                      told["p"], gap.index.get_level_values("lineage").nunique(), len(per), int((per < 0).sum()),
                      per.min(), per.max()))
    return pd.DataFrame(found, columns=["reference", "loss", "difference", "low", "high", "p", "n_lineages",
                                        "n_benchmarks", "n_better", "least", "most"])
