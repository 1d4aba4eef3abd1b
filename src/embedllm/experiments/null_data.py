"""Generated data on which tests are tried: values of questions and fits, vectors of families and lineages."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist, squareform

from embedllm.splits import Design

SHIFT = 0.2  # of a method that differs


def questions(rng: np.random.Generator, planted: bool, n: int = 810) -> tuple[np.ndarray, np.ndarray, Design]:
    """Per-question values of two methods: skewed, strata of different spread, some questions in groups."""
    strata = np.repeat(np.arange(6), n // 6)
    groups = np.where(rng.random(n) < 0.2, np.arange(n) // 3, n + np.arange(n))
    shared = rng.exponential(size=2 * n)[groups] - 1
    spread = np.linspace(0.5, 2, 6)[strata]
    return spread * shared + (SHIFT if planted else 0.0), np.zeros(n), Design(strata, groups)


def fits(rng: np.random.Generator, planted: bool, n_fits: int = 5, n: int = 810) -> tuple[np.ndarray, ...]:
    """The same over several fits, each with an error of its own in every question and in all of them."""
    one, other, design = questions(rng, planted, n)
    own = rng.normal(0, 0.1, (n_fits, 1)) + rng.normal(0, 0.5, (n_fits, n))
    return one + own, np.tile(other, (n_fits, 1)), design


def lineages(rng: np.random.Generator, n_families: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Family and lineage of each of some 40 models: one to three lineages a family, of one to three models."""
    family, lineage = [], []
    for one in range(n_families):
        for _ in range(rng.integers(1, 4)):
            size = rng.integers(1, 4)
            family += [one] * size
            lineage += [len(set(lineage))] * size
    return np.array(family), np.array(lineage)


def alike(rng: np.random.Generator, family: np.ndarray, lineage: np.ndarray, width: int) -> np.ndarray:
    """Vectors of which a third of the variance is the family's and a third the lineage's: (n_models, width)."""
    parts = (rng.normal(size=(codes.max() + 1, width))[codes] for codes in (family, lineage, np.arange(len(lineage))))
    return sum(parts) / np.sqrt(3)


def sized(rng: np.random.Generator, planted: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distances, sizes that families differ in, families and lineages."""
    family, lineage = lineages(rng, 14)
    prone = rng.random(family.max() + 1)
    size = np.where(rng.random(lineage.max() + 1) < prone[family[np.unique(lineage, return_index=True)[1]]], "7B",
                    "70B")[lineage]
    places = alike(rng, family, lineage, 4) + 1.5 * planted * (size == "7B")[:, None]
    return squareform(pdist(places)), size, family.astype(str), lineage.astype(str)
