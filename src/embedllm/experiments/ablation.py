"""What each part of the stacked ensemble earns."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from embedllm.evaluation.fits import compare
from embedllm.splits import Design


def stepwise(values: Mapping[str, np.ndarray], design: Design) -> pd.DataFrame:
    """Compare each method with the one before it: a family of paired tests, corrected after Holm.

    Parameters
    ----------
    values : mapping of method name to ndarray, shape (n_fits, n_questions), in order
    design : Design

    Returns
    -------
    DataFrame
        As from `fits.compare`, a row for each method but the first.
    """
    return compare(values, [(name, before) for before, name in pairwise(values)], design)
