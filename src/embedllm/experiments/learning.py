"""How forecasters grow with the answers they learn from and with the length of their vectors: cross-fitted, paired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation import fits
from embedllm.evaluation.inference import holm
from embedllm.evaluation.intervals import ALPHA
from embedllm.evaluation.metrics import METRICS
from embedllm.experiments.comparisons import across_fits
from embedllm.forecasters.registry import cross_fit, rounds
from embedllm.machine import side_by_side
from embedllm.outcomes import OutcomeMatrix
from embedllm.splits import Design

WITH_LENGTH = (catalog.FACTORIZATION, catalog.TUNED_AT_LENGTH, catalog.CONVEX)  # whose vectors have a length to choose
LONGEST = 64
RIVALS = (catalog.TUNED_AT_LENGTH, catalog.FACTORIZATION)  # of the convex embedding, the first that is there
CONTROL = catalog.BENCHMARK_MEAN  # what knows no text: a margin that takes it for equal shows nothing


def learning_curve(
    table: OutcomeMatrix, vectors: np.ndarray, entries: Sequence[catalog.Forecaster], shares: Sequence[float],
    n_fits: int, n_folds: int, fold_seed: int = 0, compute: Callable = side_by_side, **settings,
) -> pd.DataFrame:
    """Forecasters that learn from a share of the questions, judged on all of them.

    A share is one of training *and* validation: what is tuned or stopped on costs answers too. A fit draws partition,
    questions and seed, the same for all forecasters.

    Returns
    -------
    DataFrame
        A row for each fit, a column for each question; levels of the index: ``metric``, ``labels`` (answers used in
        training and validation, mean over folds and fits), ``forecaster``, ``fit``.
    """
    plans = [(share, rounds(n_fits, fold_seed, settings, share)) for share in sorted(shares)]
    found = cross_fit(table, vectors, entries, n_folds, [one for _, own in plans for one in own], compute)
    rows, keys = [], []
    for at in range(len(plans)):
        own = found[at * n_fits : (at + 1) * n_fits]
        labels = round(np.mean([one["folds"]["labels"].mean() for one in own]))
        if any(labels == known for _, known, *_ in keys):  # small benchmarks keep a question each: the same again
            continue
        for metric in METRICS:
            for name, values in across_fits(table, own, metric).items():
                rows += list(values)
                keys += [(metric, labels, name, fit) for fit in range(n_fits)]
    index = pd.MultiIndex.from_tuples(keys, names=["metric", "labels", "forecaster", "fit"])
    return pd.DataFrame(np.stack(rows), index, table.questions.index.astype(str))


def levels(curve: pd.DataFrame, design: Design) -> pd.DataFrame:
    """The curve itself: ``metric``, ``labels`` and what `fits.averages` gives."""
    parts = {key: fits.averages(_by_method(part), design) for key, part in curve.groupby(level=["metric", "labels"])}
    return pd.concat(parts, names=["metric", "labels"]).reset_index(["metric", "labels"]).reset_index(drop=True)


def against(
    curve: pd.DataFrame, references: Mapping[str, str], design: Design, level: float = ALPHA
) -> pd.DataFrame:
    """Each forecaster against one, at each size, paired; of each metric one family, corrected after Holm.

    With one fit ``low`` and ``high`` are those of 95 %, over questions.

    Parameters
    ----------
    curve : DataFrame
        From `learning_curve`.
    references : mapping of str to str
        Metric to the forecaster that the others are compared with.
    level : float
        Of the intervals.

    Returns
    -------
    DataFrame
        Columns ``metric``, ``labels``, those of `fits.compare` (``mde`` of one test at `level`), and ``low_all``,
        ``high_all``: of `level` over the number of sizes, so that those of one forecaster hold together.
    """
    tables = []
    for metric, reference in references.items():
        sizes, groups = {}, list(curve.loc[[metric]].groupby(level="labels"))
        for labels, own in groups:
            values = _by_method(own)
            pairs = [(name, reference) for name in values if name != reference]
            sizes[labels] = fits.compare(values, pairs, design, level, round(ALPHA / level))
            together = fits.intervals(values, pairs, design, level / len(groups))
            sizes[labels] = sizes[labels].assign(low_all=together[0], high_all=together[1])
        table = pd.concat(sizes, names=["labels"]).reset_index("labels").reset_index(drop=True)
        tables.append(table.assign(metric=metric, p_holm=holm(table["p"])))
    return pd.concat(tables, ignore_index=True)


def of_length(entry: catalog.Forecaster, dim: int) -> catalog.Forecaster:
    """The same forecaster with vectors of another length."""
    return replace(entry, name=f"{entry.name}, {dim}", settings=dict(entry.settings) | {"dim": dim})


def lengths(
    table: OutcomeMatrix, vectors: np.ndarray, dims: Sequence[int], tuned: bool, n_fits: int, n_folds: int,
    fold_seed: int = 0, compute: Callable = side_by_side, **settings,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecasters whose vectors have a length, at several lengths, judged on questions that nothing stopped on.

    A quarter of the models is a further length of the default factorization: up to there C12 calls a vector compact.
    The convex embedding, for which more numbers than models have no meaning, and what it is compared with have the
    lengths of `compared`.

    Parameters
    ----------
    tuned : bool
        Whether the factorization is tuned too, from as many candidates as the convex embedding at each length.

    Returns
    -------
    values : DataFrame
        Log-loss in each question, a row for each fit; levels ``forecaster``, ``dim`` (0: benchmark means), ``fit``.
    chosen : DataFrame
        Mean validation log-loss: ``forecaster``, ``dim``, ``val``.
    """
    n_models = len(table.models)
    short, dims = compared(dims, n_models), {*dims, max(1, n_models // 4)}
    plan = {of_length(entry, dim).name: (entry, dim) for entry in WITH_LENGTH
            if tuned or entry is not catalog.TUNED_AT_LENGTH
            for dim in sorted(dims if entry is catalog.FACTORIZATION else short)}
    entries = [of_length(*one) for one in plan.values()]
    own = rounds(n_fits, fold_seed, settings)
    found = cross_fit(table, vectors, [CONTROL, *entries], n_folds, own, compute)
    plan = {CONTROL.name: (CONTROL, 0)} | plan
    values = across_fits(table, found, "log_loss")
    keys = [(plan[name][0].name, plan[name][1], fit) for name in values for fit in range(n_fits)]
    index = pd.MultiIndex.from_tuples(keys, names=["forecaster", "dim", "fit"])
    losses = pd.DataFrame(np.concatenate(list(values.values())), index, table.questions.index.astype(str))
    val = pd.concat(one["folds"] for one in found).groupby("name", sort=False)["val"].mean()
    chosen = pd.DataFrame([(plan[name][0].name, plan[name][1], loss) for name, loss in val.items()],
                          columns=["forecaster", "dim", "val"])
    return losses, chosen


def compared(dims: Sequence[int], n_models: int) -> list[int]:
    """Lengths up to `LONGEST` at which two kinds of vectors are compared; as many as models for the first beyond that.

    The latter only where it is no near repetition: half as many again as the one before.
    """
    asked = sorted(dim for dim in dims if dim <= LONGEST)
    kept = [dim for dim in asked if dim <= n_models]
    return kept + [n_models] * (len(kept) < len(asked) and 2 * n_models > 3 * max(kept, default=0))


def shorter(
    losses: pd.DataFrame, chosen: pd.DataFrame, design: Design, margin: float, level: float = ALPHA
) -> pd.DataFrame:
    """At each length, is a vector as good as at the best one, up to a margin? Of each forecaster, paired.

    The best length is the one with the lowest validation loss, so that the judged questions do not choose it. Shorter
    ones are tested from long to short, one-sided, each at `level`, until the first that fails: a fixed sequence needs
    no correction. Longer ones are told beside. Last, as length 0, the benchmark means against the factorization: a
    margin that takes them for as good shows nothing.

    Returns
    -------
    DataFrame
        Columns ``forecaster``, ``dim``, ``best`` (length), ``difference``, ``low``, ``high`` (of level 1 - 2 `level`:
        ends of the one-sided tests), ``se``, ``p_worse``, ``as_good`` (shown, in sequence).
    """
    rows = []
    for entry in WITH_LENGTH:
        if entry.name not in losses.index.unique("forecaster"):
            continue
        best = int(chosen[chosen["forecaster"] == entry.name].set_index("dim")["val"].idxmin())
        values = {dim: part.to_numpy() for dim, part in losses.loc[entry.name].groupby(level="dim")}
        going = True
        for dim in sorted(values, reverse=True):
            if dim == best:
                rows.append({"forecaster": entry.name, "dim": dim, "best": best, "difference": 0.0, "low": 0.0,
                             "high": 0.0, "se": 0.0, "p_worse": 0.0, "as_good": True})
                continue
            found = fits.non_inferiority(values[dim], values[best], design, margin, level)
            going &= dim > best or found["p_worse"] < level
            rows.append({"forecaster": entry.name, "dim": dim, "best": best} | found | {
                "as_good": bool(going) if dim < best else bool(found["p_worse"] < level)})
        if entry is catalog.FACTORIZATION:
            found = fits.non_inferiority(losses.loc[CONTROL.name].to_numpy(), values[best], design, margin, level)
            rows.append({"forecaster": CONTROL.name, "dim": 0, "best": best} | found | {
                "as_good": bool(found["p_worse"] < level)})
    return pd.DataFrame(rows)


def convex_against_factorization(losses: pd.DataFrame, design: Design, level: float = ALPHA) -> pd.DataFrame:
    """Convex embedding minus factorization at each length that both have, with simultaneous intervals (Bonferroni).

    The factorization is the tuned one where there is one, else that of the default settings.

    Returns
    -------
    DataFrame
        Columns ``method``, ``reference``, ``dim``, ``difference``, ``low``, ``high``, ``se``, ``p_holm``; together the
        intervals hold at `level`.
    """
    rival = next(entry.name for entry in RIVALS if entry.name in losses.index.unique("forecaster"))
    pair, tables = [(catalog.CONVEX.name, rival)], []
    one, other = ({dim: part.to_numpy() for dim, part in losses.loc[name].groupby(level="dim")} for name in pair[0])
    dims = sorted(set(one) & set(other))
    columns = ["method", "reference", "dim", "difference", "low", "high", "se", "p_holm"]
    if not dims:
        return pd.DataFrame(columns=columns)
    for dim in dims:
        values = dict(zip(pair[0], (one[dim], other[dim]), strict=True))
        (low,), (high,) = fits.intervals(values, pair, design, level / len(dims))
        tables.append(fits.compare(values, pair, design).assign(dim=dim, low=low, high=high))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(p_holm=holm(table["p"]))[columns]


def margin(chosen: pd.DataFrame, share: float) -> float:
    """A share of what the longest factorization earns over benchmark means on validation: nats per cell, from 0."""
    val = chosen.set_index(["forecaster", "dim"])["val"]
    longest = val[catalog.FACTORIZATION.name]
    return max(0.0, share * float(val[CONTROL.name].iloc[0] - longest[longest.index.max()]))


def _by_method(part: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: own.to_numpy() for name, own in part.groupby(level="forecaster", sort=False)}
