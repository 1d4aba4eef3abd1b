"""Generated data on which tests are tried: values of questions and fits, vectors of families and lineages, answers."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform
from scipy.special import expit

from embedllm.evaluation.metrics import auc
from embedllm.new_models.onboarding import Shared
from embedllm.outcomes import OutcomeMatrix
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


def lineages(rng: np.random.Generator, n_families: int = 10, most: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Family and lineage of each of some 40 models: one to so many lineages a family, of one to three models."""
    family, lineage = [], []
    for one in range(n_families):
        for _ in range(rng.integers(1, most + 1)):
            size = rng.integers(1, 4)
            family += [one] * size
            lineage += [len(set(lineage))] * size
    return np.array(family), np.array(lineage)


def alike(rng: np.random.Generator, family: np.ndarray, lineage: np.ndarray, width: int) -> np.ndarray:
    """Vectors of which a third of the variance is the family's and a third the lineage's: (n_models, width)."""
    parts = (rng.normal(size=(codes.max() + 1, width))[codes] for codes in (family, lineage, np.arange(len(lineage))))
    return sum(parts) / np.sqrt(3)


def sized(rng: np.random.Generator, planted: bool, n_families: int = 14) -> tuple[np.ndarray, ...]:
    """Distances, sizes that families differ in, families and lineages."""
    family, lineage = lineages(rng, n_families, 3 if n_families > 9 else 12)
    prone = rng.random(family.max() + 1)
    size = np.where(rng.random(lineage.max() + 1) < prone[family[np.unique(lineage, return_index=True)[1]]], "7B",
                    "70B")[lineage]
    places = alike(rng, family, lineage, 4) + 1.5 * planted * (size == "7B")[:, None]
    return squareform(pdist(places)), size, family.astype(str), lineage.astype(str)


def table_of(right: np.ndarray) -> OutcomeMatrix:
    """Answers of models without further facts: bool, (n_models, n_questions)."""
    n_models, n = right.shape
    questions = pd.DataFrame({"prompt": [f"question {at}" for at in range(n)], "benchmark": "one"},
                             index=[f"q{at}" for at in range(n)])
    return OutcomeMatrix(right.astype(np.float32), pd.DataFrame(index=[f"model {at}" for at in range(n_models)]),
                         questions)


def newcomer(rng: np.random.Generator, guesses: bool, n: int = 400, k: int = 6) -> tuple[Shared, np.ndarray]:
    """What a pool shares on some questions, and the answers of a new model that is like it, or guesses: (n,)."""
    offset, doubt = rng.normal(0, 1.2, n), rng.uniform(0.1, 0.6, n)
    design = np.column_stack([np.ones(n), rng.normal(0, 0.4, (n, k - 1)), 0.15 * (offset - offset.mean())])
    shared = Shared(design, offset, doubt, np.zeros(k), np.eye(k), np.arange(k), np.full((k, k), np.nan),
                    np.zeros((2, k)), np.zeros(0), np.eye(k))
    p = expit(offset + np.sqrt(doubt) * rng.normal(size=n) + design @ rng.normal(size=k + 1))
    return shared, (rng.random(n) < (0.5 if guesses else p)).astype(float)


def forecast(rng: np.random.Generator, n: int) -> tuple[dict[str, np.ndarray], OutcomeMatrix]:
    """Forecasts from what is half known of questions, and what 20 models answer."""
    ability, told = np.linspace(-1, 1, 20), rng.normal(size=n)
    right = rng.random((20, n)) < expit(ability[:, None] + told + rng.normal(size=n))
    return {"": expit(ability[:, None] + told)}, table_of(right)


@cache
def true_auc() -> float:
    forecasts, table = forecast(np.random.default_rng(0), 100_000)
    return float(auc(forecasts[""], table.scores))


@cache
def true_disagreement(spread: float) -> float:
    """Of two models on a question: abilities are standard normal, difficulties normal with this spread."""
    places, shares = np.polynomial.hermite_e.hermegauss(60)
    right = expit(places[:, None] + spread * places).T @ shares / shares.sum()
    return float((2 * right * (1 - right)) @ shares / shares.sum())
