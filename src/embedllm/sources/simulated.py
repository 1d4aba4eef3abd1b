"""The planted pool: invented LLMs whose chance to answer each question correctly is known.

Outcomes follow a multidimensional item-response model with guessing and format failures. For model m and
question q of benchmark b, subtopic c and difficulty cue l,

    pi = (1 - phi_m) [gamma_b + (1 - gamma_b) sigmoid(alpha_q (a_m - delta_q) + kappa t_m . z_q / sqrt(6))]

with ability a, difficulty delta, taste t and topic z. The prompt carries b, and c and l in part, so the
best forecast from the text alone is known as well. Use it to judge procedures, never the paper's claims.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit

from embedllm.outcomes import OutcomeMatrix, resolved
from embedllm.sources._simulated_text import BENCHMARKS, N_CUES, N_SUBTOPICS, draw_hints, posterior, write
from embedllm.sources._simulated_world import (
    SKILLS,
    Landscape,
    Planted,
    Traits,
    draw_landscape,
    draw_models,
    draw_traits,
    shares,
)
from embedllm.sources.flaws import blocks_never_run, cells_run_twice

CUE_EFFECT = (np.arange(N_CUES) - 2) / np.sqrt(2)  # x_l: mean 0, variance 1 over the five cues
COMMON_VOICE = "general-knowledge"  # every prompt sounds like this one where the benchmark is hidden
GRADES = 2.0  # concentration of graded scores around pi: variance pi (1 - pi) / 3, a third of the binary one's
TINY = float(np.finfo(np.float32).eps)  # keeps float32 probabilities inside (0, 1)


def load(
    path: Path, *, n_models: int, n_questions: int, data_seed: int, kappa: float, graded: bool, missing: float,
    repeated: float, duplicates: str,
) -> OutcomeMatrix:
    """`simulate` as the other sources are called; nothing is read from the folder."""
    return simulate(n_models=n_models, n_questions=n_questions, data_seed=data_seed, kappa=kappa, graded=graded,
                    missing=missing, repeated=repeated, duplicates=duplicates)


def simulate(
    *, n_models: int = 112, n_questions: int = 6000, data_seed: int = 0, graded: bool = False,
    missing: float = 0.0, repeated: float = 0.0, duplicates: str = "first", **planted,
) -> OutcomeMatrix:
    """Draw a pool of models, a set of questions with prompts, and who answers what correctly.

    Parameters
    ----------
    n_models, n_questions : int
        At least 8 and 10.
    data_seed : int
        Equal seed and parameters give a bit-identical table. The same seed with other parameters
        keeps the underlying draws, so that two settings differ by the setting alone.
    graded : bool
        Scores are draws from Beta(2 pi, 2 (1 - pi)) in place of correct or not; their mean is pi as well.
    missing : float
        Share of (model, benchmark) blocks never run, in [0, 1), most of them where the model does badly;
        see `blocks_never_run`.
    repeated : float
        Share of cells run a second time, in [0, 1]: another draw from the same pi, which may disagree.
    duplicates : str
        Rule for them, see `resolved`.
    **planted
        Fields of `Planted`, as ``kappa=0.5``.

    Returns
    -------
    OutcomeMatrix
        Binary scores without gaps unless told otherwise. ``models``: family, base_model, parameters_b, kind,
        cost, cost_unit ("million tokens"). ``questions``: prompt, benchmark, subtopic (1 to 8), difficulty_cue (1 to
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
    if not (0 <= missing < 1 and 0 <= repeated <= 1):
        raise ValueError(f"missing must lie in [0, 1) and repeated in [0, 1], found {missing} and {repeated}")
    setting = Planted(**planted)
    roster_rng, trait_rng, landscape_rng, question_rng, text_rng, outcome_rng, flaw_rng = (
        np.random.default_rng(data_seed).spawn(7)
    )
    models = draw_models(n_models, roster_rng)
    traits = draw_traits(models, setting, trait_rng)
    landscape = draw_landscape(setting, landscape_rng)

    benchmark = question_rng.choice(len(BENCHMARKS), size=n_questions, p=shares())
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
    scores = draw_scores(truth, graded, outcome_rng)
    scores[blocks_never_run(truth, benchmark, missing, flaw_rng)] = np.nan
    twice = cells_run_twice(~np.isnan(scores), repeated, flaw_rng)
    runs = np.stack([scores.flat[twice], draw_scores(truth.flat[twice], graded, flaw_rng)], axis=1)
    scores.flat[twice] = resolved(twice.repeat(2), runs.ravel(), duplicates).to_numpy()
    return OutcomeMatrix(
        scores=scores,
        models=models,
        questions=questions,
        references={
            name: np.clip(values, TINY, 1 - TINY).astype(np.float32) for name, values in references.items()
        },
        repeats=pd.DataFrame({
            "model": models.index[twice.repeat(2) // n_questions].to_numpy(object),
            "question_id": questions.index[twice.repeat(2) % n_questions].to_numpy(object),
            "score": runs.ravel(),
        }),
        provenance={"source": f"simulated, seed {data_seed}", "rule for repeated rows": duplicates},
    )


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


def draw_scores(chance: np.ndarray, graded: bool, rng: np.random.Generator) -> np.ndarray:
    """Scores with a given mean: float32, of the same shape."""
    if graded:
        return rng.beta(GRADES * chance, GRADES * (1 - chance)).astype(np.float32)
    return (rng.random(chance.shape) < chance).astype(np.float32)


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
        return np.einsum("mbk,b->mk", cells, shares()) @ reading.T
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
