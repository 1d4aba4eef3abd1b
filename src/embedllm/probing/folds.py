"""Folds of lineages, and what is known of a model without a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

N_FOLDS, N_INNER = 10, 3  # of lineages; within each fold, to choose penalties and trees


def lineage_folds(lineages: Sequence[str], n_folds: int = N_FOLDS, seed: int = 0) -> np.ndarray:
    """A fold for each model: random, lineages whole, as many of them in each as can be; int, (n_models,)."""
    codes, names = pd.factorize(np.asarray(lineages, dtype=object))
    return (np.random.default_rng(seed).permutation(len(names)) % n_folds)[codes]


def without(known: pd.DataFrame, *names: str) -> np.ndarray:
    """Each model's mean accuracy on the other benchmarks, which count alike; (n_models,)."""
    return known.drop(columns=list(names)).mean(axis=1).to_numpy()
