"""Rows in another order: models whose scores belong to other questions than the table says.

Published tables hold such rows. The lm-evaluation-harness deals the questions of a task out to k processes and writes
their results one process after the other: the first holds the questions 0, k, 2k, ..., the next 1, k + 1, ... A table
that puts runs of different k under one header gives the scores of a model to other questions of the same benchmark.
Such a row keeps its mean, and follows the difficulty that the other models find in its own order only.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtr

from embedllm.audit.anomalies import FEWEST, easiness
from embedllm.outcomes import OutcomeMatrix, abbreviate, replace_unchecked
from embedllm.sources.process_order import dealt

AS_IT_STANDS = "as it stands"
PROCESSES = (2, 4, 8)  # on which a run is split in practice, one for each GPU of a machine
NEIGHBORS = 5  # questions on each side that a question is compared with
ALPHA = 0.05  # chance of any false alarm in a table
ROUNDS = 20  # at most, of leaving rows out of the difficulty; the worst real table took 6
BLOCK = 100_000  # cells compared at a time, so that they stay in the processor's cache


def orders(*sizes: int) -> dict[str, np.ndarray]:
    """The orders that are tried on a row, by name.

    Parameters
    ----------
    *sizes : int
        Number of questions of each benchmark, at least 1; their questions stand one benchmark after the other.

    Returns
    -------
    dict of str to ndarray of int, shape (sum of sizes,)
        ``order[j]`` is the question that position j of the row belongs to, in the same benchmark as j. First
        "as it stands", then, with k and h in 2, 4, 8:

        - "interleaved over k processes": 0, k, 2k, ..., 1, k + 1, ...;
        - "de-interleaved over k processes": its inverse, a row in the order of the questions below a header that is
          interleaved, after the columns were sorted by that header or not;
        - "interleaved over k processes, labeled as over h": the header is that of a run on h processes, and the
          columns were sorted by it;
        - "interleaved over k processes, in a table over h": the same with the columns as they were;
        - "reversed", "shifted by one forward" (position j belongs to question j + 1, the last to the first) and
          "shifted by one back".

        Of orders that are equal for these sizes only the first is there: "interleaved over 4 processes, labeled as
        over 2" is "interleaved over 2 processes" where the number of questions is a multiple of 4.
    """
    own = {k: [dealt(n, k) for n in sizes] for k in PROCESSES}
    back = {k: [np.argsort(order) for order in own[k]] for k in PROCESSES}
    named = {AS_IT_STANDS: [np.arange(n) for n in sizes]}
    for k in PROCESSES:
        named[f"interleaved over {k} processes"] = own[k]
        named[f"de-interleaved over {k} processes"] = back[k]
    for k, h in ((k, h) for k in PROCESSES for h in PROCESSES if k != h):
        both = list(zip(own[k], back[h], strict=True))
        named[f"interleaved over {k} processes, labeled as over {h}"] = [row[header] for row, header in both]
        named[f"interleaved over {k} processes, in a table over {h}"] = [header[row] for row, header in both]
    named["reversed"] = [np.arange(n)[::-1] for n in sizes]
    named["shifted by one forward"] = [np.roll(np.arange(n), -1) for n in sizes]
    named["shifted by one back"] = [np.roll(np.arange(n), 1) for n in sizes]

    first, distinct = np.cumsum([0, *sizes[:-1]]), {}
    for name, parts in named.items():
        order = np.concatenate([start + part for start, part in zip(first, parts, strict=True)])
        distinct.setdefault(order.tobytes(), (name, order))
    return dict(distinct.values())


def row_orders(table: OutcomeMatrix) -> pd.DataFrame:
    """Which rows would follow the difficulty that the other models find far better in another order?

    Of a row, x holds the scores and d the means of the other models relative to their own means (`anomalies.easiness`),
    both relative to the mean of the same at the ten nearest questions of the benchmark. In an order pi the row has the
    correlation r(pi) = sum_j x_j d_pi(j) / (|x| |d|). Orders rearrange within benchmarks, so that the denominator is
    the same for all, and a difference between benchmarks counts for nothing.

    **What chance can do.** Suppose that the row is right as it stands: x = b d + noise, b >= 0. Then the gain of an
    order, sum_j g_j with g_j = x_j (d_pi(j) - d_j), has the mean b (sum_j d_j d_pi(j) - sum_j d_j^2), which by Cauchy
    and Schwarz is never above zero, however alike neighbors are (a shifted row of sorted questions correlates as well,
    but never gains). Worst is b = 0, a row that follows nobody; then z = sum g / sqrt(sum g^2) is about standard
    normal. Divided by its own squares the sum needs no variance of the scores, and a few cells that outweigh all others
    cannot make it large: for symmetric g, P(z > t) <= exp(-t^2 / 2) (Efron 1969, J. of the American Statistical
    Association 64). Because a model that fails where others succeed (b < 0) gains by any order, the correlation in the
    new order must lie as far above zero: z is the smaller of the two. p is multiplied by the number of models times
    orders (Bonferroni), so that a table without a fault has any finding with a chance of at most about .05.

    **Why relative to neighbors.** Questions often stand in groups, by topic say, in which both difficulty and a model's
    talents are alike. There are few such groups, so that in some order they agree by chance, which a z that counts
    questions does not know. What is left beside the neighbors is particular to the question. The price: in a benchmark
    that is sorted by difficulty exactly, hardly anything is left by which to recognize an order.

    **Many rows.** Rows that correlate most in another order are left out of the difficulty (but not unjudged), until
    they stay the same: otherwise many rows in one other order would look half right to each other. What is right is
    what most rows agree on; where they are wrong together the few right ones are found, in the inverse order.

    Returns
    -------
    DataFrame, indexed by model name
        ``questions`` (asked); ``compared``, those of benchmarks that the model answered completely: what stands behind
        a gap is at an unknown position, so that other benchmarks are not used for it; ``correlation`` (as it stands,
        NaN where undefined), ``order`` (with the highest correlation), ``best`` (its correlation), ``z`` (0 if that is
        the row as it stands), ``p`` (in [0, 1]), ``finding``: "", or "this row looks as if it belonged to another order
        of the questions: " and the order, where p < .05. With fewer than eight models that have a correlation none
        is judged. Positions are those of the table: questions that it lost since the run, or that were sorted by
        something else, hide an order, and so does a row that is right on most benchmarks (try `OutcomeMatrix.at`).
    """
    benchmark, _ = pd.factorize(table.questions["benchmark"])
    column, sizes = np.argsort(benchmark, kind="stable"), np.bincount(benchmark)
    tried = orders(*sizes)
    names, number = np.array(list(tried), dtype=object), np.arange(table.shape[0])
    answered = np.add.reduceat(table.observed[:, column], np.cumsum([0, *sizes[:-1]]), axis=1, dtype=np.int64)
    used = np.repeat(answered == sizes, sizes, axis=1)
    row = np.where(used, _beside_neighbors(np.where(used, table.scores[:, column], 0.0), sizes), 0.0)
    out = np.zeros(len(row), dtype=bool)
    for _ in range(ROUNDS):
        others = replace_unchecked(table, scores=np.where(out[:, None], np.float32(np.nan), table.scores))
        rest = _beside_neighbors(np.nan_to_num(easiness(others)[:, column]), sizes)
        correlation, errors_above = _compared(row, np.where(used, rest, 0.0), list(tried.values()))
        defined = ~np.isnan(correlation[:, 0])
        best = np.where(defined, np.nan_to_num(correlation, nan=-2.0).argmax(axis=1), 0)
        if ((best > 0) == out).all() or (best == 0).sum() < FEWEST:
            break
        out = best > 0
    z = np.where(defined, errors_above[number, best], np.nan)
    p = np.minimum(defined.sum() * (len(names) - 1) * ndtr(-z), 1.0)
    found = (p < ALPHA) & (best > 0) & (defined.sum() >= FEWEST)
    words = "this row looks as if it belonged to another order of the questions: " + names[best]
    return pd.DataFrame({"questions": table.observed.sum(axis=1), "compared": used.sum(axis=1),
                         "correlation": correlation[:, 0], "order": names[best], "best": correlation[number, best],
                         "z": z, "p": p, "finding": np.where(found, words, "")}, index=table.models.index)


def describe_row_orders(table: OutcomeMatrix) -> list[tuple]:
    """What `row_orders` finds, as rows (check, value, detail) of the audit."""
    check = "rows in another order"
    if lost := table.repairs.get("questions sealed", 0):
        return [(check, "not judged", f"{lost:,} questions are sealed, so that positions in the run are not known")]
    rows = row_orders(table)
    found = rows[rows["finding"] != ""].sort_values("z", ascending=False, kind="stable")
    if rows["correlation"].notna().sum() < FEWEST:
        return [(check, "not judged", f"fewer than {FEWEST} models have complete benchmarks and follow any difficulty")]
    named = abbreviate(f"{row.Index} ({row.order}: correlation {row.best:.2f}, {row.correlation:.2f} as it stands)"
                       for row in found.itertuples())
    gaps = int((rows["compared"] == 0).sum())
    details = [f"if most rows are right, these belong to other questions of their benchmark: {named}"] if named else []
    details += [f"not judged, for gaps in every benchmark: {gaps}"] if gaps else []
    return [(check, len(found), "; ".join(details))]


def _compared(row: np.ndarray, rest: np.ndarray, tried: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of each row with the rest in each order, and z, how far it lies above the first order and zero.

    Parameters
    ----------
    row, rest : ndarray of float64, shape (n_models, n_questions)
        Of mean zero, and zero where a model is not compared.
    tried : list of ndarray of int, shape (n_questions,)

    Returns
    -------
    correlation, z : ndarray of float64, shape (n_models, n_orders)
        NaN where undefined; z of the first order is 0.
    """
    correlation, z = np.full((2, len(row), len(tried)), np.nan)
    step = max(BLOCK // row.shape[1], 1)
    for here in (slice(start, start + step) for start in range(0, len(row), step)):
        x, d = row[here], rest[here]
        stands = x * d
        total, squares, mixed = np.empty((3, len(tried), len(x)))
        for number, order in enumerate(tried):
            product = x * d[:, order]
            total[number] = product.sum(axis=1)
            squares[number] = np.einsum("ij,ij->i", product, product)
            mixed[number] = np.einsum("ij,ij->i", product, stands)
        length = np.sqrt((x**2).sum(axis=1) * (d**2).sum(axis=1))
        gain = np.maximum(squares - 2 * mixed + squares[0], 0)  # the sum of (product - stands)^2
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation[here] = np.where(length > 1e-9, total / length, np.nan).T
            z[here] = np.minimum((total - total[0]) / np.sqrt(gain), total / np.sqrt(squares)).T
    z[:, 0] = 0
    return correlation, z


def _beside_neighbors(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Values minus their mean over up to five questions on each side of the same benchmark and the question itself."""
    end = np.repeat(np.cumsum(sizes), sizes)
    place = np.arange(len(end))
    low = np.maximum(place - NEIGHBORS, end - np.repeat(sizes, sizes))
    high = np.minimum(place + NEIGHBORS + 1, end)
    total = np.zeros((len(values), len(end) + 1))
    np.cumsum(values, axis=1, out=total[:, 1:])
    return values - (total[:, high] - total[:, low]) / (high - low)
