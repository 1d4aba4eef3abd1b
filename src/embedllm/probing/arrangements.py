"""In how many orders labels can stand, and which: where families are alike, labels move within families."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import comb, prod

import numpy as np


def within(codes: np.ndarray, groups: np.ndarray, n_permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Orders of labels that move within groups: all there are, or the given one and `n_permutations` random ones.

    Parameters
    ----------
    codes : ndarray of int from 0 on, shape (n_units,)
        Labels.
    groups : ndarray, shape (n_units,)
        No label leaves its group.

    Returns
    -------
    ndarray of int, shape (n_orders, n_units)
        The given order first.
    """
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    many = prod(number(codes[group]) for group in members)
    if many > n_permutations + 1:
        drawn = np.tile(codes, (1 + n_permutations, 1))
        for group in members:
            drawn[1:, group] = rng.permuted(drawn[1:, group], axis=1)
        return drawn
    drawn = np.empty((many, len(codes)), int)
    for row, parts in zip(drawn, product(*(orders(np.bincount(codes[group])) for group in members)), strict=True):
        for group, part in zip(members, parts, strict=True):
            row[group] = part
    own = int((drawn == codes).all(axis=1).argmax())
    drawn[[0, own]] = drawn[[own, 0]]
    return drawn


def number(codes: np.ndarray) -> int:
    """How many distinct orders these labels have; codes from 0 on."""
    counts = np.bincount(codes)
    return prod(comb(int(counts[: at + 1].sum()), int(count)) for at, count in enumerate(counts))


def orders(counts: np.ndarray) -> Iterator[tuple[int, ...]]:
    """All distinct orders of labels of which each occurs so often, in lexicographic order."""
    if not counts.any():
        yield ()
    for code in np.flatnonzero(counts):
        left = counts.copy()
        left[code] -= 1
        for rest in orders(left):
            yield int(code), *rest
