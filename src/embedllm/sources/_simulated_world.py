"""The world of the planted pool: its parameters, who the models are and what the benchmarks are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from embedllm.sources._simulated_text import BENCHMARKS, N_SUBTOPICS, VOCABULARY

SKILLS = ("math", "code", "medical", "science", "instruct", "chat")  # the axes of taste; kinds of fine-tune

FAMILIES = VOCABULARY["families"]  # sizes of base models in billions of parameters, most popular first


@dataclass(frozen=True)
class Planted:
    """Parameters of the planted pool; the defaults are the study's.

    Two modes in which no effect is to be found: ``kappa=0, alpha_mean=0, alpha_spread=0,
    format_failures=False`` (no router can gain) and ``rho_d=0, rho_z=0, benchmark_in_text=False``
    (the text tells nothing). For exact recovery by a logit model: ``guessing=False,
    format_failures=False, alpha_mean=0, alpha_spread=0, rho_d=1, rho_z=1``.

    Attributes
    ----------
    kappa : float
        Strength of the interaction of model and topic; 0 leaves ability and difficulty alone.
    beta, family_sd, model_sd : float
        Ability: slope on log10(size / 7B), SD of the family's and of the model's own part.
    specialty, family_taste_sd, taste_sd : float
        Taste, before it is made uncorrelated with ability and scaled to unit variance: height of a
        fine-tune's own axis, SD of the family's and of the model's own part.
    sigma, benchmark_sd : float
        SD of difficulty within and between benchmarks.
    rho_d, rho_z : float in [0, 1]
        Share of the variance of difficulty and of topic that cue and subtopic explain.
    alpha_mean, alpha_spread : float
        Mean and SD of log discrimination.
    guessing, format_failures : bool
        Whether blind guesses can be right, and whether models fail at the answer's format.
    blur : float in [0, 1]
        Rate at which a filler of the prompt is drawn regardless of the truth.
    benchmark_in_text : bool
        False: every benchmark's prompts are written in the same words.
    redrawn_benchmark : str, optional
        A benchmark on which ability and taste are drawn anew, from families alone: nothing seen
        elsewhere forecasts a model's accuracy there (except format failures: turn them off).

    Raises
    ------
    ValueError
        If a parameter is out of its range or the benchmark to redraw is unknown.
    """

    kappa: float = 1.0
    beta: float = 0.9
    family_sd: float = 0.4
    model_sd: float = 0.4
    specialty: float = 1.5
    family_taste_sd: float = 0.5
    taste_sd: float = 0.6
    sigma: float = 1.5
    benchmark_sd: float = 0.8
    rho_d: float = 0.35
    rho_z: float = 0.5
    alpha_mean: float = -0.03
    alpha_spread: float = 0.25
    guessing: bool = True
    format_failures: bool = True
    blur: float = 0.15
    benchmark_in_text: bool = True
    redrawn_benchmark: str | None = None

    def __post_init__(self):
        for name in ("rho_d", "rho_z", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], found {getattr(self, name)}")
        for name in ("kappa", "family_sd", "model_sd", "family_taste_sd", "taste_sd", "sigma",
                     "benchmark_sd", "alpha_spread"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        if self.redrawn_benchmark not in (None, *BENCHMARKS):
            raise ValueError(
                f"redrawn_benchmark {self.redrawn_benchmark!r} is none of {', '.join(BENCHMARKS)}"
            )


class Traits(NamedTuple):
    """What the models are, on each benchmark."""

    ability: np.ndarray  # a, (n_models, n_benchmarks)
    taste: np.ndarray  # t, (n_models, n_benchmarks, 6)
    failure: np.ndarray  # phi, (n_models, 1)


class Landscape(NamedTuple):
    """What the benchmarks are."""

    difficulty: np.ndarray  # d, (n_benchmarks,)
    topic: np.ndarray  # tau, (n_benchmarks, 8, 6)
    guess: np.ndarray  # gamma, (n_benchmarks,)


def draw_models(n_models: int, rng: np.random.Generator) -> pd.DataFrame:
    """Invent a pool: two in five are base models, the rest fine-tunes spread evenly over them.

    Returns
    -------
    DataFrame, indexed by model name
        family (16 of them from 64 models on), base_model (its own name for a base model),
        parameters_b, kind ("base" or one of `SKILLS`), cost (growing with size, with 20 % noise) and
        cost_unit ("million tokens").
    """
    families = list(FAMILIES)[: max(2, n_models // 4)]
    ordered = [
        (family, FAMILIES[family][place])
        for place in range(3) for family in families if place < len(FAMILIES[family])
    ]
    bases = ordered[: max(len(families), round(0.4 * n_models))]
    rows = [
        (name := f"{family}-{size:g}b", family, name, float(size), "base") for family, size in bases
    ]
    seen: Counter[str] = Counter()
    n_tunes = n_models - len(bases)
    parents = [i for _ in range(n_tunes // len(bases) + 1) for i in rng.permutation(len(bases))][:n_tunes]
    kinds = [k for _ in range(n_tunes // len(SKILLS) + 1) for k in rng.permutation(SKILLS)][:n_tunes]
    for parent, kind in zip(parents, kinds, strict=True):
        base, family, _, size, _ = rows[parent]
        name = f"{base}-{kind}"
        seen[name] += 1
        version = f"-v{seen[name]}" if seen[name] > 1 else ""
        rows.append((name + version, family, base, size, str(kind)))
    table = pd.DataFrame(rows, columns=["model", "family", "base_model", "parameters_b", "kind"])
    noise = np.exp(rng.normal(0, 0.2, size=n_models))
    table["cost"] = (0.03 * table["parameters_b"] ** 0.8 * noise).round(4)
    table["cost_unit"] = "million tokens"
    return table.set_index("model")


def draw_traits(models: pd.DataFrame, setting: Planted, rng: np.random.Generator) -> Traits:
    """Ability and taste of each model, the same on every benchmark but a redrawn one."""
    ability, taste = _draw_ability_and_taste(models, setting, rng)
    other = _draw_ability_and_taste(models, replace(setting, beta=0, specialty=0), rng)
    traits = Traits(
        ability=np.repeat(ability[:, None], len(BENCHMARKS), axis=1),
        taste=np.repeat(taste[:, None], len(BENCHMARKS), axis=1),
        failure=rng.beta(1, 30, size=(len(models), 1)) * setting.format_failures,
    )
    if setting.redrawn_benchmark is not None:
        redrawn = list(BENCHMARKS).index(setting.redrawn_benchmark)
        traits.ability[:, redrawn], traits.taste[:, redrawn] = other
    return traits


def draw_landscape(setting: Planted, rng: np.random.Generator) -> Landscape:
    """Difficulty and topics; standardized, so that no seed gives an easy or a lopsided world."""
    skill = np.array([SKILLS.index(benchmark.skill) for benchmark in BENCHMARKS.values()])
    difficulty = _standardized(rng.standard_normal(len(BENCHMARKS)), shares())
    of_benchmark = 1.5 * np.eye(len(SKILLS))[skill] + 0.5 * rng.standard_normal((len(skill), len(SKILLS)))
    topic = of_benchmark[:, None] + 0.8 * rng.standard_normal((len(skill), N_SUBTOPICS, len(SKILLS)))
    every = topic.reshape(-1, len(SKILLS))
    topic = _standardized(every, np.repeat(shares(), N_SUBTOPICS) / N_SUBTOPICS).reshape(topic.shape)
    guess = np.array([benchmark.guess for benchmark in BENCHMARKS.values()]) * setting.guessing
    return Landscape(setting.benchmark_sd * difficulty, topic, guess)


def shares() -> np.ndarray:
    """Each benchmark's part of the questions; sums to 1."""
    sizes = np.array([benchmark.share for benchmark in BENCHMARKS.values()], dtype=float)
    return sizes / sizes.sum()


def _draw_ability_and_taste(
    models: pd.DataFrame, setting: Planted, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Ability (n_models,) and taste (n_models, 6); taste is uncorrelated with ability, variance 1."""
    family, names = pd.factorize(models["family"])
    size = setting.beta * np.log10(models["parameters_b"].to_numpy() / 7)
    of_family = setting.family_sd * rng.standard_normal(len(names))[family]
    ability = size + of_family + setting.model_sd * rng.standard_normal(len(models))

    gift = setting.specialty * (models["kind"].to_numpy()[:, None] == np.array(SKILLS))
    of_family = setting.family_taste_sd * rng.standard_normal((len(names), len(SKILLS)))[family]
    taste = gift + of_family + setting.taste_sd * rng.standard_normal(gift.shape)
    design = np.column_stack([np.ones(len(models)), ability])
    taste -= design @ np.linalg.lstsq(design, taste, rcond=None)[0]
    spread = taste.std(axis=0)
    return ability, taste / np.where(spread > 0, spread, 1)


def _standardized(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values with weighted mean 0 and variance 1 along the first axis."""
    centered = values - weights @ values
    return centered / np.sqrt(weights @ centered**2)
