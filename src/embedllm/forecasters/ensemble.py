"""One forecast out of several, with weights that are chosen on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from embedllm.evaluation.metrics import CLIP, sigmoid
from embedllm.forecasters.contract import Forecaster

EVENNESS = 0.01  # ridge towards even weights, per observed cell: with few validation questions they stay near


@dataclass
class LogOpinionPool(Forecaster):
    """Stacked ensemble: ``logit p = sum_k weight_k logit p_k`` over forecasters, with weights from 0 on.

    Each member is a special case, and so is each of them at another temperature: weights need not add up to one, so
    the ensemble is calibrated on validation as well (stacking, Breiman 1996, Machine Learning 24, of logarithmic
    opinion pools, Genest and Zidek 1986, Statistical Science 1). Linear ones together are one linear forecaster.

    Parameters
    ----------
    members : mapping of name to Forecaster

    Attributes (after ``fit``)
    --------------------------
    fitted : list of Forecaster
        The members, fitted.
    weights : ndarray, shape (n_members,), float64
    """

    members: Mapping[str, Forecaster]

    LEARNED: ClassVar = ("fitted", "weights")

    @property
    def choice(self) -> dict:
        return dict(zip(self.members, self.weights.tolist(), strict=True))

    def _fit(self, train, train_vectors, val, val_vectors) -> None:
        self.fitted = [copy(member).fit(train, train_vectors, val, val_vectors) for member in self.members.values()]
        self.weights = weigh(self._forecasts(val_vectors, val.questions["benchmark"]), val.scores)

    def _predict(self, prompt_vectors, benchmarks) -> np.ndarray:
        return log_opinion_pool(self._forecasts(prompt_vectors, benchmarks), self.weights)

    def _forecasts(self, prompt_vectors, benchmarks) -> list[np.ndarray]:
        return [member.predict_proba(prompt_vectors, benchmarks) for member in self.fitted]


def weigh(forecasts: Sequence[np.ndarray], scores: np.ndarray) -> np.ndarray:
    """The weights that minimize the log-loss of the ensemble plus a ridge towards even ones.

    Parameters
    ----------
    forecasts : sequence of ndarray, shape (n_models, n_questions), in [0, 1]
    scores : ndarray, shape (n_models, n_questions), in [0, 1]
        NaN = not observed; not what the ensemble is judged on.

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


def log_opinion_pool(forecasts: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """``sigmoid(sum_k weight_k logit p_k)``: float32 in (0, 1), of the shape of each forecast."""
    logits = sum(weight * _logit(p) for weight, p in zip(weights, forecasts, strict=True))
    return sigmoid(logits).astype(np.float32)


def _logit(probabilities: np.ndarray) -> np.ndarray:
    return logit(np.clip(probabilities.astype(np.float64), CLIP, 1 - CLIP))
