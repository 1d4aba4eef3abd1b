"""The planted pool: invented LLMs whose chance to answer each question correctly is known.

Outcomes follow a multidimensional item-response model with guessing and format failures. For model m and
question q of benchmark b, subtopic c and difficulty cue l,

    pi = (1 - phi_m) [gamma_b + (1 - gamma_b) sigmoid(alpha_q (a_m - delta_q) + kappa t_m . z_q / sqrt(6))]

with ability a, difficulty delta, taste t and topic z. The prompt carries b, and c and l in part, so the
best forecast from the text alone is known as well. Use it to judge procedures, never the paper's claims.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit

from embedllm.outcomes import OutcomeMatrix
from embedllm.sources._simulated_text import (
    BENCHMARKS,
    N_CUES,
    N_SUBTOPICS,
    draw_hints,
    posterior,
    write,
)

SKILLS = ("math", "code", "medical", "science", "instruct", "chat")  # the axes of taste; kinds of fine-tune
CUE_EFFECT = (np.arange(N_CUES) - 2) / np.sqrt(2)  # x_l: mean 0, variance 1 over the five cues
COMMON_VOICE = "general-knowledge"  # every prompt sounds like this one where the benchmark is hidden
TINY = float(np.finfo(np.float32).eps)  # keeps float32 probabilities inside (0, 1)

# Base models of each invented family by size in billions of parameters, most popular first.
FAMILIES = {
    "alder": (7, 13, 70), "basalt": (13, 7, 34), "cobalt": (70, 8, 3), "dune": (7, 34, 13),
    "ember": (70, 8), "fjord": (34, 7), "garnet": (13, 70, 7), "heron": (3, 7),
    "indigo": (70, 7, 13), "juniper": (1.5, 13), "krill": (7, 34), "larch": (13, 3, 70),
    "maple": (7, 34), "nimbus": (8, 13, 70), "onyx": (70, 13), "pumice": (3, 1.5, 7),
}


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


def simulate(
    *, n_models: int = 112, n_questions: int = 6000, data_seed: int = 0, **planted
) -> OutcomeMatrix:
    """Draw a pool of models, a set of questions with prompts, and who answers what correctly.

    Parameters
    ----------
    n_models, n_questions : int
        At least 8 and 10.
    data_seed : int
        Equal seed and parameters give a bit-identical table. The same seed with other parameters
        keeps the underlying draws, so that two settings differ by the setting alone.
    **planted
        Fields of `Planted`, as ``kappa=0.5``.

    Returns
    -------
    OutcomeMatrix
        Binary scores without gaps. ``models``: family, base_model, parameters_b, kind, cost (dollars
        per million tokens). ``questions``: prompt, benchmark, subtopic (1 to 8), difficulty_cue (1 to
        5). ``references``: "true probability" (pi), "text ceiling" (the best forecast from the
        prompt, E[pi | text]) and "additive text ceiling" (the same from ability and difficulty alone).

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    TypeError
        If a parameter is unknown.
    """
    if n_models < 8 or n_questions < 10:
        raise ValueError(f"need at least 8 models and 10 questions, found {n_models} and {n_questions}")
    setting = Planted(**planted)
    roster_rng, trait_rng, landscape_rng, question_rng, text_rng, outcome_rng = (
        np.random.default_rng(data_seed).spawn(6)
    )
    models = draw_models(n_models, roster_rng)
    traits = _draw_traits(models, setting, trait_rng)
    landscape = _draw_landscape(setting, landscape_rng)

    benchmark = question_rng.choice(len(BENCHMARKS), size=n_questions, p=_shares())
    subtopic = question_rng.integers(N_SUBTOPICS, size=n_questions)
    cue = question_rng.integers(N_CUES, size=n_questions)
    truth = _true_probabilities(benchmark, subtopic, cue, traits, landscape, setting, question_rng)

    hints = draw_hints(subtopic, cue, setting.blur, text_rng)
    reading = posterior(hints, setting.blur)
    questions = pd.DataFrame(
        {
            "prompt": _write_prompts(benchmark, hints, setting, text_rng),
            "benchmark": np.array(list(BENCHMARKS), dtype=object)[benchmark],
            "subtopic": subtopic + 1,
            "difficulty_cue": cue + 1,
        },
        index=pd.Index([f"q{number:05d}" for number in range(1, n_questions + 1)], name="question_id"),
    )
    additive, full = (
        _mix(expected_probabilities(traits, landscape, setting, with_topic), reading, benchmark, setting)
        for with_topic in (False, True)
    )
    references = {"true probability": truth, "text ceiling": full, "additive text ceiling": additive}
    return OutcomeMatrix(
        scores=(outcome_rng.random(truth.shape) < truth).astype(np.float32),
        models=models,
        questions=questions,
        references={
            name: np.clip(values, TINY, 1 - TINY).astype(np.float32) for name, values in references.items()
        },
    )


def draw_models(n_models: int, rng: np.random.Generator) -> pd.DataFrame:
    """Invent a pool: two in five are base models, the rest fine-tunes spread evenly over them.

    Returns
    -------
    DataFrame, indexed by model name
        family (16 of them from 64 models on), base_model (its own name for a base model),
        parameters_b, kind ("base" or one of `SKILLS`), cost (dollars per million tokens, growing with
        size, with 20 % noise).
    """
    families = list(FAMILIES)[: max(2, n_models // 4)]
    ladder = [
        (family, FAMILIES[family][rung])
        for rung in range(3) for family in families if rung < len(FAMILIES[family])
    ]
    bases = ladder[: max(len(families), round(0.4 * n_models))]
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
    return table.set_index("model")


def expected_probabilities(
    traits: Traits, landscape: Landscape, setting: Planted, with_topic: bool = True
) -> np.ndarray:
    """The mean of pi over all questions of one benchmark, subtopic and difficulty cue.

    Given alpha, the logit is Gaussian with mean ``alpha (a - d_b - sigma sqrt(rho_d) x_l) + kappa
    sqrt(rho_z) t . tau / sqrt(6)`` and variance ``alpha^2 sigma^2 (1 - rho_d) + kappa^2 (1 - rho_z)
    |t|^2 / 6``; 21 Gauss-Hermite nodes integrate over it and 5 over log alpha.

    Parameters
    ----------
    with_topic : bool
        False leaves the term in tau out and gives its variance to the noise (1 for 1 - rho_z):
        what ability and difficulty alone can tell.

    Returns
    -------
    ndarray of float64, shape (n_models, n_benchmarks, 8, 5), in (0, 1)
    """
    rho_z = setting.rho_z if with_topic else 0.0
    axes = traits.taste.shape[-1]
    hardness = landscape.difficulty[:, None] + setting.sigma * np.sqrt(setting.rho_d) * CUE_EFFECT
    gap = (traits.ability[:, :, None] - hardness)[:, :, None, :]  # (models, benchmarks, 1, cues)
    affinity = np.einsum("mbk,bck->mbc", traits.taste, landscape.topic)[..., None]
    affinity = setting.kappa * np.sqrt(rho_z / axes) * affinity  # (models, benchmarks, subtopics, 1)
    taste_variance = setting.kappa**2 * (1 - rho_z) * (traits.taste**2).sum(axis=-1)[..., None, None] / axes

    nodes, weights = hermegauss(21)
    alpha_nodes, alpha_weights = hermegauss(5)
    solved = 0.0
    for alpha, alpha_weight in zip(
        np.exp(setting.alpha_mean + setting.alpha_spread * alpha_nodes),
        alpha_weights / alpha_weights.sum(), strict=True,
    ):
        mean = alpha * gap + affinity
        spread = np.sqrt(alpha**2 * setting.sigma**2 * (1 - setting.rho_d) + taste_variance)
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            solved = solved + alpha_weight * weight * expit(mean + spread * node)
    return _guess_and_fail(solved, landscape.guess[:, None, None], traits.failure[..., None, None])


def _shares() -> np.ndarray:
    """Each benchmark's part of the questions; sums to 1."""
    shares = np.array([benchmark.share for benchmark in BENCHMARKS.values()], dtype=float)
    return shares / shares.sum()


def _draw_traits(models: pd.DataFrame, setting: Planted, rng: np.random.Generator) -> Traits:
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


def _draw_landscape(setting: Planted, rng: np.random.Generator) -> Landscape:
    """Difficulty and topics; standardised, so that no seed gives an easy or a lopsided world."""
    skill = np.array([SKILLS.index(benchmark.skill) for benchmark in BENCHMARKS.values()])
    difficulty = _standardised(rng.standard_normal(len(BENCHMARKS)), _shares())
    of_benchmark = 1.5 * np.eye(len(SKILLS))[skill] + 0.5 * rng.standard_normal((len(skill), len(SKILLS)))
    topic = of_benchmark[:, None] + 0.8 * rng.standard_normal((len(skill), N_SUBTOPICS, len(SKILLS)))
    every = topic.reshape(-1, len(SKILLS))
    topic = _standardised(every, np.repeat(_shares(), N_SUBTOPICS) / N_SUBTOPICS).reshape(topic.shape)
    guess = np.array([benchmark.guess for benchmark in BENCHMARKS.values()]) * setting.guessing
    return Landscape(setting.benchmark_sd * difficulty, topic, guess)


def _standardised(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values with weighted mean 0 and variance 1 along the first axis."""
    centred = values - weights @ values
    return centred / np.sqrt(weights @ centred**2)


def _true_probabilities(
    benchmark: np.ndarray, subtopic: np.ndarray, cue: np.ndarray,
    traits: Traits, landscape: Landscape, setting: Planted, rng: np.random.Generator,
) -> np.ndarray:
    """Draw what is particular to each question, and give pi: float64, (n_models, n_questions)."""
    n_questions, axes = len(benchmark), len(SKILLS)
    alpha = np.exp(setting.alpha_mean + setting.alpha_spread * rng.standard_normal(n_questions))
    own_topic = rng.standard_normal((n_questions, axes))
    own_difficulty = rng.standard_normal(n_questions)
    topic = np.sqrt(setting.rho_z) * landscape.topic[benchmark, subtopic]
    topic += np.sqrt(1 - setting.rho_z) * own_topic
    difficulty = landscape.difficulty[benchmark] + setting.sigma * (
        np.sqrt(setting.rho_d) * CUE_EFFECT[cue] + np.sqrt(1 - setting.rho_d) * own_difficulty
    )
    logit = alpha * (traits.ability[:, benchmark] - difficulty)
    for b in range(len(BENCHMARKS)):
        here = benchmark == b
        logit[:, here] += setting.kappa / np.sqrt(axes) * traits.taste[:, b] @ topic[here].T
    return _guess_and_fail(expit(logit), landscape.guess[benchmark], traits.failure)


def _guess_and_fail(solved: np.ndarray, guess: np.ndarray, failure: np.ndarray) -> np.ndarray:
    """Chance of a correct and readable answer, from the chance to solve the question."""
    return (1 - failure) * (guess + (1 - guess) * solved)


def _mix(
    expected: np.ndarray, reading: np.ndarray, benchmark: np.ndarray, setting: Planted
) -> np.ndarray:
    """Average over what the reader of a prompt does not know: float64, (n_models, n_questions)."""
    cells = expected.reshape(*expected.shape[:2], -1)  # (n_models, n_benchmarks, 40)
    reading = reading.reshape(len(reading), -1)
    if not setting.benchmark_in_text:
        return np.einsum("mbk,b->mk", cells, _shares()) @ reading.T
    mixed = np.empty((len(cells), len(reading)))
    for b in range(len(BENCHMARKS)):
        here = benchmark == b
        mixed[:, here] = cells[:, b] @ reading[here].T
    return mixed


def _write_prompts(
    benchmark: np.ndarray, hints: np.ndarray, setting: Planted, rng: np.random.Generator
) -> np.ndarray:
    """The prompt of each question: object array of str, (n_questions,)."""
    prompts = np.empty(len(benchmark), dtype=object)
    if not setting.benchmark_in_text:
        prompts[:] = write(BENCHMARKS[COMMON_VOICE], hints, rng)
        return prompts
    for b, voice in enumerate(BENCHMARKS.values()):
        here = benchmark == b
        prompts[here] = write(voice, hints[here], rng)
    return prompts
