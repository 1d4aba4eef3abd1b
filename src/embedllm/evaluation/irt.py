"""Worlds without specialization: models differ in one ability, questions in difficulty, discrimination and guessing.

For model m and question q of benchmark b,

    P(right) = c_b + (1 - c_b) sigmoid(alpha_q (theta_m - delta_q))

Questions are draws from a population, of which the prompt tells a part: delta_q is normal around a linear function of
the prompt vector, log alpha_q around zero. Abilities, guessing and the population are fitted by marginal maximum
likelihood; a world gives each question a difficulty and a discrimination from what its answers and its text say of
them, and has the same models answer anew. `rasch` holds the simpler pool without text, for new questions as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit
from threadpoolctl import threadpool_limits

REACH, N_DIFFICULTIES = 4.5, 61  # nodes lie evenly over so many SDs of the population to each side
STRETCH, N_DISCRIMINATIONS = 3.0, 9  # of the log discriminations
RIDGE = 0.01  # prior precision of an ability: one with every answer right stays finite
GUESSES = (1.0, 9.0)  # pseudo-guesses of a benchmark, right and wrong: where few models guess, guessing stays near .1
SIGNAL = (1e-4, 1e3)  # range in which the variance that text explains is sought, relative to the rest
LEAST = 1e-3  # SD of a population
STEPS, SETTLED = 200, 5e-4  # of EM at most; largest change of an ability or an SD at which it ends


@dataclass(frozen=True)
class Null:
    """What a world without specialization may have besides abilities and difficulties read in part from the text.

    Attributes
    ----------
    discriminates : bool
        Questions differ in how sharply they tell models apart; False: all do alike.
    guesses : bool
        Whoever does not know the answer is right at times, at a rate of the benchmark.
    """

    discriminates: bool
    guesses: bool = False


NULLS = {
    "2PL": Null(discriminates=True),
    "Rasch": Null(discriminates=False),
    "3PL": Null(discriminates=True, guesses=True),
}


@dataclass(frozen=True, eq=False)
class ItemResponse:
    """A pool without specialization, fitted by `fit`.

    Attributes
    ----------
    abilities : ndarray, shape (n_models,), float64
        In logits of a question of typical discrimination, of mean zero.
    difficulty_sd, discrimination_sd : float
        SD of delta around what the text tells, and of log alpha, whose mean is zero.
    read : ndarray, shape (n_questions,), float64
        What the text tells of delta: its mean.
    guessing : ndarray, shape (n_questions,), float64
        Rate c of the question's benchmark.
    nodes : ndarray, shape (n_nodes, 2), float64
        Pairs of difficulty and log discrimination.
    cumulated : ndarray, shape (n_questions, n_nodes), float32
        Chance of each node and those before it, given all that is known of a question.
    observed : ndarray of bool, shape (n_models, n_questions)
    """

    abilities: np.ndarray
    difficulty_sd: float
    discrimination_sd: float
    read: np.ndarray
    guessing: np.ndarray
    nodes: np.ndarray
    cumulated: np.ndarray
    observed: np.ndarray

    def questions(self, rng: np.random.Generator) -> np.ndarray:
        """Difficulty and log discrimination of each question, drawn from their posterior: (n_questions, 2)."""
        at = (self.cumulated < rng.random((len(self.cumulated), 1), dtype=np.float32)).sum(axis=1)
        return self.nodes[np.minimum(at, len(self.nodes) - 1)]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """New answers of the same models to the same questions: a world.

        Returns
        -------
        ndarray, shape (n_models, n_questions), float32
            0 or 1; NaN where not observed.
        """
        difficulty, discrimination = self.questions(rng).T
        knows = expit(np.exp(discrimination) * (self.abilities[:, None] - difficulty))
        right = rng.random(knows.shape) < self.guessing + (1 - self.guessing) * knows
        return np.where(self.observed, right, np.nan).astype(np.float32)


@threadpool_limits.wrap(limits=1, user_api="blas")  # more threads would wait for each other at every step
def fit(null: Null, scores: np.ndarray, vectors: np.ndarray, benchmarks: np.ndarray) -> ItemResponse:
    """Fit a pool without specialization to answers, by marginal maximum likelihood.

    EM over a grid of difficulties and discriminations (Bock and Aitkin 1981, Psychometrika 46) with a linear regression
    of difficulty on the prompt vectors inside, whose ridge follows from the likelihood as well. The unit of abilities
    is free in each step and then fixed by a mean log discrimination of zero (parameter expansion, Liu, Rubin and Wu
    1998, Biometrika 85). Abilities are those at which each model is expected to be right as often as it was: in a Rasch
    pool the maximum of the likelihood; elsewhere that would match weighted means, and leave those of worlds off where
    models do specialize.

    Parameters
    ----------
    null : Null
    scores : ndarray, shape (n_models, n_questions), in {0, 1}
        NaN = not observed, left out.
    vectors : ndarray, shape (n_questions, d_prompt)
    benchmarks : array-like, shape (n_questions,)
        Guessing differs between them.

    Returns
    -------
    ItemResponse
    """
    em, before = _EM(null, scores, vectors, benchmarks), np.inf
    for _ in range(STEPS):
        em.step()
        state = np.concatenate([em.abilities, em.sd, em.guessing])
        if np.abs(state - before).max() < SETTLED:
            break
        before = state
    return em.fitted()


class _EM:
    """The fit while it goes on: what `fit` finds, and the answers, which are gathered by rate of guessing."""

    def __init__(self, null: Null, scores: np.ndarray, vectors: np.ndarray, benchmarks: np.ndarray):
        self.null, self.observed, self.text = null, ~np.isnan(scores), _Text(vectors)
        self.right = np.nan_to_num(scores).astype(np.float32)
        self.wrong = (self.observed - self.right).astype(np.float32)
        self.codes = np.unique(benchmarks, return_inverse=True)[1] if null.guesses else np.zeros(scores.shape[1], int)
        self.members = [np.flatnonzero(self.codes == code) for code in range(self.codes.max() + 1)]
        self.guessing = np.full(len(self.members), 0.1 if null.guesses else 0.0)
        mean = (self.right.sum(axis=1) + 0.5) / (self.observed.sum(axis=1) + 1.0)
        self.abilities = np.log(mean / (1 - mean))
        self.read = np.zeros(scores.shape[1])
        self.sd = np.array([1.0, 0.3 if null.discriminates else 0.0])

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Difficulties and log discriminations that make up the grid, by the spread of the population."""
        spread = np.sqrt(self.sd[0]**2 + self.read.var())
        difficulty = self.read.mean() + spread * np.linspace(-REACH, REACH, N_DIFFICULTIES)
        if not self.null.discriminates:
            return difficulty, np.zeros(1)
        return difficulty, self.sd[1] * np.linspace(-STRETCH, STRETCH, N_DISCRIMINATIONS)

    def posterior(self, difficulty: np.ndarray, discrimination: np.ndarray) -> np.ndarray:
        """Chance of each pair of nodes for each question: float32, (n_questions, n_difficulties, n_discriminations)."""
        logit = self._logits(difficulty, discrimination)
        found = np.empty((self.right.shape[1], logit.shape[1]), np.float32)
        for members, c in zip(self.members, self.guessing, strict=True):
            fails = np.logaddexp(0, logit)
            right = (np.logaddexp(np.log(c), logit) if c else logit) - fails
            wrong = np.log1p(-c) - fails
            found[members] = self.right[:, members].T @ right.astype(np.float32)
            found[members] += self.wrong[:, members].T @ wrong.astype(np.float32)
        found = found.reshape(len(found), len(difficulty), len(discrimination))
        found -= (((difficulty - self.read[:, None]) / self.sd[0]) ** 2 / 2).astype(np.float32)[:, :, None]
        if self.null.discriminates:
            found -= ((discrimination / self.sd[1]) ** 2 / 2).astype(np.float32)
        found -= found.max(axis=(1, 2), keepdims=True)
        np.exp(found, out=found)
        found /= found.sum(axis=(1, 2), keepdims=True)
        return found

    def step(self) -> None:
        difficulty, discrimination = self.nodes()
        posterior = self.posterior(difficulty, discrimination)
        self._answers(posterior.reshape(len(posterior), -1), difficulty, discrimination)
        self.read, self.sd[0] = self.text.read(*_moments(posterior.sum(axis=2), difficulty))
        unit, level = 1.0, self.abilities.mean()
        if self.null.discriminates:
            mean, variance = _moments(posterior.sum(axis=1), discrimination)
            self.sd[1] = max(np.sqrt(mean.var() + variance.mean()), LEAST)
            unit = np.exp(mean.mean())
        self.abilities, self.read = (self.abilities - level) * unit, (self.read - level) * unit
        self.sd[0] *= unit

    def _answers(self, posterior: np.ndarray, difficulty: np.ndarray, discrimination: np.ndarray) -> None:
        """A step of Newton's method on the abilities, and of EM on the rates of guessing."""
        logit = self._logits(difficulty, discrimination)
        alpha = np.tile(np.exp(discrimination), len(difficulty))
        knows, fails = expit(logit), expit(-logit)
        slope, curvature = -RIDGE * self.abilities, np.full(len(self.abilities), RIDGE)
        for at, members in enumerate(self.members):
            c, chance = self.guessing[at], posterior[members]
            right, wrong = (cells[:, members] @ chance for cells in (self.right, self.wrong))  # (n_models, n_nodes)
            p, asked = c + (1 - c) * knows, right + wrong
            slope += (right - asked * p).sum(axis=1)
            curvature += (asked * (1 - c) * knows * fails * alpha).sum(axis=1)
            if self.null.guesses:
                lucky = (right * c * fails / p).sum()
                self.guessing[at] = (GUESSES[0] + lucky) / (sum(GUESSES) + lucky + wrong.sum())
        self.abilities = self.abilities + np.clip(slope / curvature, -1, 1)

    def _logits(self, difficulty: np.ndarray, discrimination: np.ndarray) -> np.ndarray:
        """(n_models, n_nodes), discriminations varying fastest."""
        gap = self.abilities[:, None, None] - difficulty[:, None]
        return (gap * np.exp(discrimination)).reshape(len(self.abilities), -1)

    def fitted(self) -> ItemResponse:
        nodes = self.nodes()
        posterior = self.posterior(*nodes)
        guessing = self.guessing[self.codes]
        pairs = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 2)
        cumulated = posterior.reshape(len(posterior), -1).cumsum(axis=1, dtype=np.float64).astype(np.float32)
        return ItemResponse(self.abilities, *self.sd, self.read, guessing, pairs, cumulated, self.observed)


class _Text:
    """Linear regression on prompt vectors of what is known of each question up to a variance."""

    def __init__(self, vectors: np.ndarray):
        x = vectors - vectors.mean(axis=0, dtype=np.float64)
        spread, axes = np.linalg.eigh(x.T @ x)
        kept = spread > 1e-9 * spread.max(initial=0)
        self.axes = x @ axes[:, kept] / np.sqrt(spread[kept])  # (n_questions, rank)
        self.spread = spread[kept] * len(x) / spread[kept].sum()

    def read(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, float]:
        """What the text tells of each question, and the SD around it, from the posteriors of the questions.

        The likelihood of the signal and the rest is maximized; coefficients are normal and integrated out.
        """
        n, level = len(mean), mean.mean()
        along, noise = self.axes.T @ (mean - level), self.axes.T**2 @ variance
        total = ((mean - level) ** 2).sum() + variance.sum()

        def rest(signal: float) -> float:  # variance that the text leaves
            return (total - (signal * self.spread / (1 + signal * self.spread) * (along**2 + noise)).sum()) / n

        def deviance(log_signal: float) -> float:  # of a normal with covariance rest (1 + signal x x')
            signal = np.exp(log_signal)
            return n * np.log(rest(signal)) + np.log1p(signal * self.spread).sum()

        found = minimize_scalar(deviance, bounds=np.log(SIGNAL), method="bounded", options={"xatol": 1e-3})
        signal = np.exp(found.x) if found.fun < n * np.log(rest(0.0)) else 0.0
        kept = signal * self.spread / (1 + signal * self.spread)
        return level + self.axes @ (kept * along), max(np.sqrt(rest(signal)), LEAST)


def _moments(chance: np.ndarray, node: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each question, from the chances of its nodes, (n_questions, n_nodes)."""
    mean = chance @ node
    return mean, np.maximum(chance @ node**2 - mean**2, 0)
