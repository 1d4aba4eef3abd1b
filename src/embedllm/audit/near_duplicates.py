"""Prompts on both sides of the split: which validation and test questions have a near-duplicate before it."""

from __future__ import annotations

import re
from array import array

import numpy as np
import pandas as pd
from scipy import sparse

from embedllm.outcomes import OutcomeError, OutcomeMatrix, prompt_groups
from embedllm.splits import PARTS

NEAR = 0.8  # Jaccard similarity from which two prompts count as near-duplicates
EARLIER = {"val": ("train",), "test": ("train", "val")}  # the parts that a forecaster may remember


def near_duplicates(table: OutcomeMatrix) -> pd.DataFrame:
    """For each validation question the most similar training prompt, for each test question that of both.

    Validation counts for the test because k, epochs and the like are chosen there. Similarity is that of Jaccard
    between the sets of three successive words (and signs, case aside) of two prompts. Boilerplate is left out:
    triples in more than 1 % of all distinct prompts (and more than 20), and, from the prompts of a benchmark
    (``sub_benchmark`` where there is one), those in more than a quarter of them (and more than 3), such as an
    instruction or worked examples before every question. Prompts of fewer than three words are cut into
    characters. Exact repeats (case and white space aside) have similarity 1 whatever they consist of.

    Returns
    -------
    DataFrame, indexed by question id
        ``part`` (val or test), ``nearest`` (the first question of the most similar earlier prompt, one of training
        if there is, None where none shares anything), ``nearest_part`` (train or val), ``similarity`` (in [0, 1])
        and ``near_duplicates`` (number of earlier questions with a similarity of at least 0.8).

    Raises
    ------
    OutcomeError
        If the questions have no column ``part``.
    """
    part, group, held, size = _prepared(table)
    found = []
    for late, early in EARLIER.items():
        earlier = pd.concat([
            pd.DataFrame({"question": table.questions.index[part == name].to_numpy(object), "part": name},
                         index=group[part == name]) for name in early
        ])
        later = table.questions.index[part == late]
        number = earlier.groupby(level=0).size()  # earlier questions of each distinct prompt
        best, similarity, pairs = _near_duplicates(held, size, group[part == late], earlier.index.to_numpy())
        repeats = pairs["earlier"].map(number).groupby(pairs["later"]).sum()
        first = dict(zip(earlier.index[::-1], earlier.to_numpy(object)[::-1], strict=True)) | {-1: (None, None)}
        nearest = [first[number] for number in best[group[part == late]]]
        found.append(pd.DataFrame({
            "part": late, **{name: pd.Series([pair[at] for pair in nearest], later, dtype=object)
                             for at, name in enumerate(("nearest", "nearest_part"))},
            "similarity": similarity[group[part == late]],
            "near_duplicates": repeats.reindex(group[part == late], fill_value=0).to_numpy(int),
        }, index=later))
    return pd.concat(found).loc[table.questions.index[part != PARTS[0]]]


def training_near_duplicates(table: OutcomeMatrix) -> tuple[np.ndarray, np.ndarray]:
    """Which training questions are near-duplicates of test questions, and which test questions have one.

    Returns
    -------
    near, affected : ndarray of bool, shape (n_questions,)

    Raises
    ------
    OutcomeError
        If the questions have no column ``part``.
    """
    part, group, held, size = _prepared(table)
    train, test = part == "train", part == "test"
    pairs = _near_duplicates(held, size, group[test], group[train])[2]
    return train & np.isin(group, pairs["earlier"]), test & np.isin(group, pairs["later"])


def _shingles(prompts: pd.Series, benchmark: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
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
    found, row = np.bincount(held.indices)[held.indices], np.repeat(np.arange(len(prompts)), np.diff(held.indptr))
    often = np.flatnonzero(found > 3)
    here, size = pd.factorize(benchmark[row[often]] * len(distinct) + held.indices[often])[0], np.bincount(benchmark)
    shared = np.bincount(here)[here] > np.maximum(3, 0.25 * size[benchmark[row[often]]])
    held.data[often[shared]] = 0
    held.data[found > max(20, 0.01 * len(prompts))] = 0
    held.eliminate_zeros()
    return held, np.diff(held.indptr)


def _prepared(table: OutcomeMatrix) -> tuple[np.ndarray, np.ndarray, sparse.csr_matrix, np.ndarray]:
    """Part and number of the distinct prompt of each question; triples of each distinct prompt, and how many."""
    if "part" not in table.questions:
        raise OutcomeError("the questions have no column part: assign embedllm.outcomes.split(table) to it first")
    groups = prompt_groups(table)
    first = table.questions[~groups.duplicated().to_numpy()]
    within = [name for name in ("benchmark", "sub_benchmark") if name in first]
    held, size = _shingles(first["prompt"], first.groupby(within, dropna=False).ngroup().to_numpy())
    return table.questions["part"].to_numpy(), groups.to_numpy(), held, size


def _near_duplicates(held: sparse.csr_matrix, size: np.ndarray, later: np.ndarray, earlier: np.ndarray):
    """Of each later prompt (by number) the best match among the earlier ones and its similarity; the pairs alike."""
    later, earlier = np.unique(later), np.unique(earlier)
    best, similarity = np.full(len(size), -1), np.zeros(len(size))
    of_earlier, pairs = held[earlier].T.tocsr(), []
    for start in range(0, len(later), 1000):
        block = later[start : start + 1000]
        common = (held[block] @ of_earlier).tocoo()
        row, column, both = block[common.row], earlier[common.col], common.data.astype(np.float64)
        jaccard = both / (size[row] + size[column] - both)
        highest = np.zeros(len(size))
        np.maximum.at(highest, row, jaccard)
        top = np.flatnonzero(jaccard == highest[row])
        top = top[np.lexsort((column[top], row[top]))]  # of equals the first prompt of the table
        top = top[np.unique(row[top], return_index=True)[1]]
        best[row[top]], similarity[row[top]] = column[top], jaccard[top]
        near = (jaccard >= NEAR) & (row != column)
        pairs.append(np.column_stack([row[near], column[near]]))
    same = np.intersect1d(later, earlier)
    best[same], similarity[same] = same, 1.0
    pairs = np.concatenate([*pairs, np.column_stack([same, same])]).astype(int)
    return best, similarity, pd.DataFrame(pairs, columns=["later", "earlier"])
