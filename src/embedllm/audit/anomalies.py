"""What is odd about a table: rows that disagree, models that are no models or copies."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import numpy as np
import pandas as pd

from embedllm.levels import adjusted_means
from embedllm.outcomes import DUPLICATES, OutcomeMatrix, resolved

SHARED = 30  # questions that two models must share before anything is read into their likeness
# A model is unlike the rest if its Fisher z lies below the median by more than each of these:
FARTHEST = 0.25  # in Fisher z, set by hand
CUT = 2.5  # scaled median absolute deviations (Leys et al. 2013, J. of Experimental Social Psychology 49)
FEWEST = 8  # models; with fewer there is no bulk to differ from


def repeated_rows(table: OutcomeMatrix) -> pd.DataFrame:
    """What the rule for repeated (model, question) rows changes, against taking their mean.

    Returns
    -------
    DataFrame, one row per rule of `outcomes.resolved`
        Columns ``rule``, ``cells`` (that differ from the mean), ``change`` (of the mean of all scores),
        ``model`` and ``largest`` (the model whose mean changes most, and by how much). Empty without repeats.
    """
    columns = ["rule", "cells", "change", "model", "largest"]
    cells, scores = repeated_cells(table)
    if not len(cells):
        return pd.DataFrame(columns=columns)
    mean = resolved(cells, scores, "mean").astype(np.float64)
    asked = table.observed.sum(axis=1)
    rows = []
    for rule in DUPLICATES:
        change = resolved(cells, scores, rule).astype(np.float64) - mean
        moved = np.bincount(mean.index // table.shape[1], weights=change, minlength=len(asked)) / asked
        most = np.abs(moved).argmax()
        rows.append((rule, int((change != 0).sum()), change.sum() / asked.sum(), table.models.index[most], moved[most]))
    return pd.DataFrame(rows, columns=columns)


def model_fit(table: OutcomeMatrix) -> pd.DataFrame:
    """How well each model's scores follow the difficulty that the other models find.

    The correlation over questions between a model's scores and the mean of the other models, each relative to
    its own mean: the personal biserial correlation of psychometrics (Donlon and Fischer 1968, Educational and
    Psychological Measurement 28), here Pearson's so that graded scores fit too. A model is unlike the rest if
    its Fisher z lies below the median by more than 2.5 scaled median absolute deviations, by more than 0.25 and
    by more than three standard errors 1 / sqrt(n - 3). A weak guesser and a scoring that was tricked both get a
    low correlation; the mean score tells which is likelier.

    Returns
    -------
    DataFrame, indexed by model name
        ``questions`` (asked), ``mean`` (`adjusted_means`), ``correlation`` (NaN where undefined), ``distance`` (Fisher
        z minus the median of all) and ``finding``: "", "constant", or, where unlike the rest, "weak" (in the
        lowest third by mean), "strong" (in the highest third) or "middling". With fewer than eight models that have a
        correlation none is judged.
    """
    easy = easiness(table)
    used = table.observed & ~np.isnan(easy)
    n, means = used.sum(axis=1), adjusted_means(table)
    score, rest = np.where(used, table.scores, 0.0), np.where(used, easy, 0.0)
    count = np.maximum(n, 1)[:, None]
    score -= np.where(used, score.sum(axis=1, keepdims=True) / count, 0)
    rest -= np.where(used, rest.sum(axis=1, keepdims=True) / count, 0)
    spread = np.sqrt((score**2).sum(axis=1) * (rest**2).sum(axis=1))
    constant = _one_score(table)
    defined = (spread > 1e-9) & ~constant & (n > 3)
    correlation = np.divide((score * rest).sum(axis=1), spread, out=np.full(len(n), np.nan), where=defined)
    z = np.arctanh(np.clip(correlation, -0.999999, 0.999999))
    distance = z - np.median(z[defined]) if defined.any() else z
    finding = np.where(constant & (table.observed.sum(axis=1) > 1), "constant", "").astype(object)
    if defined.sum() >= FEWEST:
        scale = 1.4826 * np.median(np.abs(distance[defined]))
        limit = np.maximum(max(FARTHEST, CUT * scale), 3 / np.sqrt(np.maximum(n - 3, 1)))
        rank = pd.Series(means).rank(pct=True).to_numpy()
        kind = np.select([rank <= 1 / 3, rank > 2 / 3], ["weak", "strong"], "middling")
        finding = np.where(defined & (distance < -limit), kind, finding)
    return pd.DataFrame({"questions": table.observed.sum(axis=1), "mean": means,
                         "correlation": correlation, "distance": distance, "finding": finding},
                        index=table.models.index)


def model_pairs(table: OutcomeMatrix) -> pd.DataFrame:
    """Models two by two: which are copies?

    Returns
    -------
    DataFrame, one row per pair that shares at least 30 questions, the most alike first
        Columns ``a``, ``b``, ``shared`` (questions), ``correlation`` (of scores after the question's mean is
        taken off; NaN where undefined) and ``identical`` (bool). Constant models are left out.
    """
    constant = _one_score(table)
    names, scores = table.models.index[~constant], table.scores[~constant].astype(np.float64)
    observed = ~np.isnan(scores)
    seen, asked = observed.astype(np.float64), observed.sum(axis=0)
    raw = np.nan_to_num(scores)
    z = np.where(observed, raw - raw.sum(axis=0) / np.maximum(asked, 1), 0)
    shared, product, sums, squares = seen @ seen.T, z @ z.T, z @ seen.T, z**2 @ seen.T
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = squares - sums**2 / shared
        spread = np.sqrt(np.maximum(spread * spread.T, 0))
        correlation = np.where(spread > 1e-9, (product - sums * sums.T / shared) / spread, np.nan)
    gap = raw**2 @ seen.T
    gap = gap + gap.T - 2 * raw @ raw.T
    first, second = np.triu_indices(len(names), 1)
    enough = shared[first, second] >= SHARED
    first, second = first[enough], second[enough]
    identical = gap[first, second] < 1e-6
    for pair in np.flatnonzero(identical):  # rounding cannot make a copy
        both = observed[first[pair]] & observed[second[pair]]
        identical[pair] = (scores[first[pair], both] == scores[second[pair], both]).all()
    pairs = pd.DataFrame({"a": names[first].to_numpy(), "b": names[second].to_numpy(),
                          "shared": shared[first, second].astype(int),
                          "correlation": correlation[first, second], "identical": identical})
    return pairs.sort_values(["identical", "correlation"], ascending=False, kind="stable", ignore_index=True)


def _one_score(table: OutcomeMatrix) -> np.ndarray:
    """Which models have the same score on every question: bool, (n_models,)."""
    return np.nanmax(table.scores, axis=1) == np.nanmin(table.scores, axis=1)


def names_alike(names: Iterable[str]) -> list[str]:
    """Names that another equals but for case, blanks, signs of no width or Unicode form, in their order."""
    def bare(name: str) -> str:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        return "".join(sign for sign in folded if sign.isprintable() and sign != " ")

    seen = pd.Series([bare(str(name)) for name in names], index=list(names))
    return list(seen.index[seen.duplicated(keep=False)])


def easiness(table: OutcomeMatrix) -> np.ndarray:
    """Mean over the *other* models of score minus own mean: float64, (n_models, n_questions); NaN if none."""
    # Relative to own means, so that who happened to be asked does not make a question look easy.
    centered = np.where(table.observed, table.scores - table.model_means[:, None], 0.0)
    others = table.observed.sum(axis=0) - table.observed
    total = centered.sum(axis=0) - centered
    return np.divide(total, others, out=np.full(table.shape, np.nan), where=others > 0)


def repeated_cells(table: OutcomeMatrix) -> tuple[np.ndarray, np.ndarray]:
    """Cell number and score of every repeated row whose model and question the table holds."""
    row = table.models.index.get_indexer(pd.Index(table.repeats["model"], dtype=object))
    column = table.questions.index.get_indexer(pd.Index(table.repeats["question_id"], dtype=object))
    known = (row >= 0) & (column >= 0)
    return (row * table.shape[1] + column)[known], table.repeats["score"].to_numpy(np.float64)[known]
