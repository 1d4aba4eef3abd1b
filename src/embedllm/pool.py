"""One forecast out of several: a pool whose weights are chosen on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from embedllm.baselines import Forecaster
from embedllm.metrics import CLIP

EVENNESS = 0.01  # ridge towards even weights, per observed cell: with few validation questions they stay near


@dataclass
class Pool:
    """Forecasters pooled in the logit: ``logit p = sum_k weight_k logit p_k`` with weights from 0 on.

    Each member is a special case, and so is each of them at another temperature: weights need not add up to one, so
    the pool is calibrated on validation as well (stacking, Breiman 1996, Machine Learning 24, of logarithmic opinion
    pools, Genest and Zidek 1986, Statistical Science 1). Linear forecasters pooled are one linear forecaster.

    Parameters
    ----------
    members : mapping of name to Forecaster

    Attributes (after ``fit``)
    --------------------------
    weights : ndarray, shape (n_members,), float64
    """

    members: Mapping[str, Forecaster]

    def fit(self, train, train_vectors, val, val_vectors) -> Self:
        """Fit every member, then weigh them on `val`; the contract is `baselines.Forecaster`."""
        for member in self.members.values():
            member.fit(train, train_vectors, val, val_vectors)
        self.weights = weigh([member.predict_proba(val_vectors) for member in self.members.values()], val.scores)
        return self

    def predict_proba(self, prompt_vectors: np.ndarray) -> np.ndarray:
        """P(correct): float32 in (0, 1), shape (n_models, n_questions)."""
        return pooled([member.predict_proba(prompt_vectors) for member in self.members.values()], self.weights)


def weigh(forecasts: Sequence[np.ndarray], scores: np.ndarray) -> np.ndarray:
    """The weights that minimise the log-loss of the pool plus a ridge towards even ones.

    Parameters
    ----------
    forecasts : sequence of ndarray, shape (n_models, n_questions), in [0, 1]
    scores : ndarray, shape (n_models, n_questions), in [0, 1]
        NaN = not observed; not what the pool is judged on.

    Returns
    -------
    ndarray, shape (n_forecasts,), float64, from 0 on
        Even where nothing is observed.
    """
    observed = ~np.isnan(scores)
    logits, s = np.stack([_logit(p[observed]) for p in forecasts]), scores[observed]  # (n_forecasts, n_cells)
    even = np.full(len(logits), 1 / len(logits))
    n = max(len(s), 1)

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z, gap = weights @ logits, weights - even
        loss = (np.logaddexp(0, z) - s * z).sum() / n + EVENNESS * gap @ gap / 2
        return loss, logits @ (expit(z) - s) / n + EVENNESS * gap

    return minimize(objective, even, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(even)).x


def pooled(forecasts: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """``sigmoid(sum_k weight_k logit p_k)``: float32 in (0, 1), of the shape of each forecast."""
    logits = sum(weight * _logit(p) for weight, p in zip(weights, forecasts, strict=True))
    return expit(np.clip(logits, -15, 15)).astype(np.float32)  # beyond, float32 would round to certainty


def _logit(probabilities: np.ndarray) -> np.ndarray:
    return logit(np.clip(probabilities.astype(np.float64), CLIP, 1 - CLIP))
