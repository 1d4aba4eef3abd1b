"""The sign-flip permutation test, many means at once."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pandas as pd


def sign_flip_p(values: np.ndarray, groups: np.ndarray, n_permutations: int, rng: np.random.Generator) -> list[float]:
    """Two-sided p of the studentized mean of each column under random signs, one sign per group.

    Flips leave the sum of squares as it is, so the studentized mean is a monotone function of |sum|:
    comparing |sum| is the same test. Columns with as many differences that are not zero see the same signs.

    Parameters
    ----------
    values : ndarray, shape (n_questions, k)
    groups : ndarray, shape (n_questions,)
        Questions with one label flip as one.
    n_permutations : int
    rng : Generator
        Is left as it was.
    """
    group, p = pd.factorize(groups)[0], [1.0] * values.shape[1]
    by_length: dict[int, list[tuple[int, np.ndarray]]] = {}
    for column in range(values.shape[1]):
        totals = np.bincount(group, weights=values[:, column])
        totals = totals[np.abs(totals) > 1e-10 * np.abs(totals).max()]  # a zero that rounding missed draws no sign
        by_length.setdefault(len(totals), []).append((column, totals))
    for length, members in by_length.items():
        totals = np.column_stack([one for _, one in members])
        observed = np.abs(totals.sum(axis=0)) - 1e-10 * np.abs(totals).sum(axis=0)  # equal sums tie despite rounding
        extreme, own = np.zeros(len(members), int), deepcopy(rng)
        for start in range(0, n_permutations, 256):
            rows = min(256, n_permutations - start)
            bits = np.unpackbits(own.integers(0, 256, (rows, -(-length // 8)), dtype=np.uint8), axis=1)
            sums = 2 * (bits[:, :length].astype(np.float64) @ totals) - totals.sum(axis=0)
            extreme += (np.abs(sums) >= observed).sum(axis=0)
        for (column, _), count in zip(members, extreme, strict=True):
            p[column] = float((1 + count) / (1 + n_permutations))
    return p
