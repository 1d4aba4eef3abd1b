"""In how many orders labels can stand, and which."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb, prod

import numpy as np


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
