"""How much of the scores can be forecast at all: where their variance lies, how many bits a score holds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeMatrix


def variance_components(table: OutcomeMatrix, values: np.ndarray | None = None) -> pd.DataFrame:
    """Where the variance of the scores lies, for any pattern of missing cells.

    Symmetric-differences estimates (Koch 1968, Technometrics 10) of the random-effects model score = mean +
    model + benchmark + question within benchmark + model x benchmark + rest. Half the mean squared difference
    of two cells is the sum of the components they do not share, so five kinds of pairs give five components;
    all sums over pairs follow from sums over groups. Unbiased if what is missing does not depend on the score.

    Parameters
    ----------
    values : ndarray, shape (n_models, n_questions), optional
        Numbers with NaN where there is none; default the scores.

    Returns
    -------
    DataFrame
        Columns ``component``, ``variance`` (of one cell, float64; an estimate may lie below zero where the
        truth is near it) and ``share`` (of their sum, NaN if that is zero). With one benchmark there are only
        model, question within benchmark and rest. NaN where the table holds no pair to estimate from.
    """
    values = table.scores if values is None else values
    model, question = np.nonzero(~np.isnan(values))
    benchmark, n_benchmarks = benchmark_numbers(table)
    benchmark = benchmark[question]
    y = values[model, question].astype(np.float64)
    y -= y.mean()  # no cancellation in differences of large sums

    def pairs(group) -> np.ndarray:
        """Number of pairs within groups, and the sum of their squared differences."""
        n, total, squares = (np.bincount(group, weights=w) for w in (None, y, y * y))
        return np.array([(n * (n - 1.0)).sum() / 2, (n * squares - total**2).sum()])

    everything, in_model, in_question, in_benchmark, in_block = (pairs(group) for group in (
        np.zeros_like(model), model, question, benchmark, model * n_benchmarks + benchmark))

    def gamma(sums: np.ndarray) -> float:
        """Half the mean squared difference; rounding may leave a tiny sum where there is no pair."""
        return sums[1] / sums[0] / 2 if sums[0] >= 1 else np.nan

    same_block, same_question = gamma(in_block), gamma(in_question)
    same_benchmark = gamma(in_benchmark - in_block - in_question)
    if n_benchmarks == 1:
        found = {"model": same_benchmark - same_block, "question within benchmark": same_benchmark - same_question}
        found["rest"] = same_block - found["question within benchmark"]
    else:
        same_model = gamma(in_model - in_block)
        nothing = gamma(everything - in_model - in_benchmark + in_block)
        found = {
            "model": nothing - same_model,
            "benchmark": nothing - same_benchmark,
            "question within benchmark": same_benchmark - same_question,
            "model x benchmark": same_model + same_benchmark - nothing - same_block,
            "rest": same_block - same_benchmark + same_question,
        }
    result = pd.DataFrame({"component": list(found), "variance": list(found.values())})
    total = result["variance"].sum(skipna=False)
    return result.assign(share=result["variance"] / total if total > 1e-15 else np.nan)


def label_entropy(table: OutcomeMatrix) -> pd.DataFrame:
    """How many bits a score still holds for one who knows the mean of other cells.

    Each cell is forecast by the mean of the other cells of its group with half a pseudo-answer on each side
    (Krichevsky and Trofimov 1981, IEEE Transactions on Information Theory 27). A graded score s costs
    -s log2 p - (1 - s) log2 (1 - p).

    Returns
    -------
    DataFrame
        Columns ``knowing`` (what the group is) and ``bits`` (mean over observed cells, float64, >= 0). The known
        probabilities of simulated data follow, then for graded scores what no forecast can go below.
    """
    model, question = np.nonzero(table.observed)
    benchmark, n_benchmarks = benchmark_numbers(table)
    benchmark = benchmark[question]
    y = table.scores[table.observed].astype(np.float64)
    groups = {"the overall mean": np.zeros_like(model), "the benchmark": benchmark, "the model": model,
              "model and benchmark": model * n_benchmarks + benchmark, "other models on the question": question}
    if n_benchmarks == 1:
        del groups["the benchmark"], groups["model and benchmark"]
    rows = []
    for knowing, group in groups.items():
        n, total = np.bincount(group), np.bincount(group, weights=y)
        rows.append((knowing, _bits(y, (total[group] - y + 0.5) / n[group])))
    truth = table.references.get("true probability")
    if truth is not None:
        truth = truth[table.observed].astype(np.float64)
        if "text ceiling" in table.references:
            ceiling = table.references["text ceiling"][table.observed].astype(np.float64)
            rows.append(("all that the text tells", _bits(truth, ceiling)))
        rows.append(("the true probability", _bits(truth, truth)))
    if not table.binary:
        rows.append(("the graded score itself", _bits(y, np.clip(y, 1e-12, 1 - 1e-12))))
    return pd.DataFrame(rows, columns=["knowing", "bits"])


def benchmark_numbers(table) -> tuple[np.ndarray, int]:
    """A number for each question's benchmark, in order of appearance, and how many there are."""
    codes, names = pd.factorize(table.questions["benchmark"])
    return codes, len(names)


def _bits(y: np.ndarray, p: np.ndarray) -> float:
    """Mean cross-entropy in bits of forecasts p, strictly inside (0, 1), for scores y."""
    return float(-(y * np.log2(p) + (1 - y) * np.log2(1 - p)).mean())
