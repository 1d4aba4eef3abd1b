"""Prompts on both sides of the split: which test questions have a twin in training, and what that changes."""

from __future__ import annotations

import re
from array import array

import numpy as np
import pandas as pd
from scipy import sparse

from embedllm.baselines import KNearestNeighbours
from embedllm.experiments import METRICS, targets
from embedllm.inference import paired_test
from embedllm.metrics import question_scores
from embedllm.outcomes import PARTS, OutcomeError, OutcomeMatrix, prompt_groups

TWIN = 0.8  # Jaccard similarity from which two prompts count as twins


def leakage(table: OutcomeMatrix, threshold: float = TWIN) -> pd.DataFrame:
    """For each validation and test question the most similar training prompt.

    Similarity is that of Jaccard between the sets of three successive words (and signs, case aside) of two
    prompts. Triples found in more than 1 % of the distinct prompts (and more than 20) are boilerplate and left out.
    Prompts of fewer than three words are cut into characters. Exact repeats (case and white space aside) have
    similarity 1 whatever they consist of.

    Parameters
    ----------
    threshold : float, in (0, 1]
        From which similarity a training question counts as a twin.

    Returns
    -------
    DataFrame, indexed by question id
        ``part`` (val or test), ``nearest`` (the first training question of that prompt, None where none
        shares anything), ``similarity`` (in [0, 1]) and ``twins`` (number of training questions at or above the
        threshold).

    Raises
    ------
    OutcomeError
        If the questions have no column ``part``.
    """
    group, best, similarity, pairs = _twins(table, threshold)
    part = table.questions["part"].to_numpy()
    training = pd.Series(table.questions.index[part == PARTS[0]].to_numpy(object), index=group[part == PARTS[0]])
    number = training.groupby(level=0).size()  # training questions of each distinct prompt
    twins = pairs["training"].map(number).groupby(pairs["held_out"]).sum()
    held = np.flatnonzero(part != PARTS[0])
    first = training[~training.index.duplicated()]
    return pd.DataFrame({
        "part": part[held],
        "nearest": pd.Series([first[best[g]] if best[g] >= 0 else None for g in group[held]],
                             index=table.questions.index[held], dtype=object),
        "similarity": similarity[group[held]],
        "twins": twins.reindex(group[held], fill_value=0).to_numpy(int),
    }, index=table.questions.index[held])


def effect_of_leakage(
    table: OutcomeMatrix, vectors: np.ndarray, threshold: float = TWIN, seed: int = 0
) -> pd.DataFrame:
    """What the training twins of validation and test questions do to the forecasts of kNN, which remembers most.

    `KNearestNeighbours` is fitted once on all training questions and once without those twins; both choose k on
    validation. Neither the validation nor the test questions change.

    Parameters
    ----------
    vectors : ndarray, shape (n_questions, d_prompt), float32
        Prompt vectors, in the order of ``table.questions``.
    threshold : float, in (0, 1]
        As in `leakage`.
    seed : int
        Of the resamples behind the intervals.

    Returns
    -------
    DataFrame
        Columns ``test_questions`` ("with a twin", "all"), ``n_questions``, ``removed`` (training questions),
        ``metric`` (accuracy, log_loss in nats), ``with_twins``, ``without_twins`` and their paired
        ``difference`` with ``low``, ``high`` (95 %) and ``p``, over questions (`inference.paired_test`). Empty if
        no validation or test question has a twin; only "all" if no test question has.

    Raises
    ------
    OutcomeError
        If the questions have no column ``part``, or nothing is left to train on.
    """
    columns = ["test_questions", "n_questions", "removed", "metric", "with_twins", "without_twins", "difference",
               "low", "high", "p"]
    group, _, _, pairs = _twins(table, threshold)
    part = table.questions["part"].to_numpy()
    train, val, test = (part == name for name in PARTS)
    twin = train & np.isin(group, pairs["training"])
    if not twin.any():
        return pd.DataFrame(columns=columns)
    if not (train & ~twin).any():
        raise OutcomeError("every training question repeats a validation or test question: nothing is left to train on")
    forecasts = []
    for kept in (train, train & ~twin):
        knn = KNearestNeighbours().fit(table.at(kept), vectors[kept], table.at(val), vectors[val])
        forecasts.append(knn.predict_proba(vectors[test]))
    affected = np.isin(group[test], pairs["held_out"])
    benchmarks = table.questions["benchmark"].to_numpy()[test]
    rows = []
    for label, chosen in (("with a twin", affected), ("all", np.ones_like(affected))):
        for metric in METRICS if chosen.any() else ():
            a, b = (question_scores(p, targets(table.at(test), metric), metric)[chosen] for p in forecasts)
            result = paired_test(a, b, benchmarks[chosen], seed, groups=group[test][chosen])
            rows.append((label, result["n_questions"], int(twin.sum()), metric, np.nanmean(a), np.nanmean(b),
                         *(result[name] for name in ("difference", "low", "high", "p"))))
    return pd.DataFrame(rows, columns=columns)


def _shingles(prompts: pd.Series) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Triples of words that distinct prompts hold (binary, prompts x triples), and how many each has."""
    numbers: dict[str, int] = {}
    words, lengths = array("q"), array("q")
    for text in prompts:
        units = re.findall(r"\w+|[^\w\s]", text.lower())
        if len(units) < 3:
            units = list("".join(units).center(3))
        words.fromlist([numbers.setdefault(unit, len(numbers)) for unit in units])
        lengths.append(len(units))
    words, prompt = np.array(words, dtype=np.uint64), np.repeat(np.arange(len(prompts)), lengths)
    inside = prompt[2:] == prompt[:-2]
    size = np.uint64(len(numbers))  # exact up to two million different words, a hash beyond
    triples = ((words[:-2] * size + words[1:-1]) * size + words[2:])[inside]
    column, distinct = pd.factorize(triples)
    held = sparse.csr_matrix((np.ones(len(column), np.float32), (prompt[:-2][inside], column)),
                             shape=(len(prompts), len(distinct)))
    held.sum_duplicates()
    held.data[:] = 1
    found = np.bincount(held.indices, minlength=len(distinct))
    held = held[:, np.flatnonzero(found <= max(20, 0.01 * len(prompts)))]
    return held, np.diff(held.indptr)


def _twins(table: OutcomeMatrix, threshold: float):
    """Distinct prompts across the split: their number for each question, best match, similarity, pairs of twins."""
    if "part" not in table.questions:
        raise OutcomeError("the questions have no column part: assign embedllm.outcomes.split(table) to it first")
    groups = prompt_groups(table)
    group, part = groups.to_numpy(), table.questions["part"].to_numpy()
    held, size = _shingles(table.questions["prompt"][~groups.duplicated().to_numpy()])
    training, held_out = np.unique(group[part == PARTS[0]]), np.unique(group[part != PARTS[0]])
    best, similarity = np.full(len(size), -1), np.zeros(len(size))
    in_training, pairs = held[training].T.tocsr(), []
    for start in range(0, len(held_out), 1000):
        block = held_out[start : start + 1000]
        common = (held[block] @ in_training).tocoo()
        row, column, both = block[common.row], training[common.col], common.data.astype(np.float64)
        jaccard = both / (size[row] + size[column] - both)
        highest = np.zeros(len(size))
        np.maximum.at(highest, row, jaccard)
        top = np.flatnonzero(jaccard == highest[row])
        top = top[np.lexsort((column[top], row[top]))]  # of equals the earlier training question
        top = top[np.unique(row[top], return_index=True)[1]]
        best[row[top]], similarity[row[top]] = column[top], jaccard[top]
        near = (jaccard >= threshold) & (row != column)
        pairs.append(np.column_stack([row[near], column[near]]))
    same = np.intersect1d(held_out, training)
    best[same], similarity[same] = same, 1.0
    pairs = np.concatenate([*pairs, np.column_stack([same, same])]).astype(int)
    return group, best, similarity, pd.DataFrame(pairs, columns=["held_out", "training"])
