"""Prompts of the planted pool: what a question says about its subtopic and its difficulty.

A prompt is one template of its benchmark with five fillers in it. Three fillers are phrases that hint at
the subtopic, two hint at the difficulty cue: a tone word, and the number of steps. Every filler is drawn
on its own from P(word | subtopic, cue), and the template and the wording of the steps depend on neither,
so what a perfect reader can infer is known exactly (`posterior`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np

N_SUBTOPICS, N_CUES = 8, 5
TOPIC_SLOTS = ("subject", "partner", "place")  # each names the subtopic, mistaken at rate `blur`
CUE_SLOTS = ("tone", "steps")  # each names the difficulty cue, mistaken at rate `blur`


class Benchmark(NamedTuple):
    """The invented stand-in for one of the paper's ten benchmarks.

    Attributes
    ----------
    skill : str
        The kind of fine-tune that has a gift for it, one of ``simulated.SKILLS``.
    share : float
        Its part of all questions, relative to the other benchmarks.
    guess : float
        Chance that a blind guess is right, by its answer format; 0 for free answers.
    templates, steps : list of str
        Sentences with one place for each slot; clauses that lengthen a question.
    subtopics : list of str
        One line each: phrases for subject | partner | place, separated by commas.
    """

    skill: str
    share: float
    guess: float
    templates: list[str]
    steps: list[str]
    subtopics: list[str]


def phrases(benchmark: Benchmark) -> list[list[list[str]]]:
    """The phrases of a benchmark as ``[slot][subtopic][choice]``, slots in the order of `TOPIC_SLOTS`."""
    lines = [[part.split(",") for part in line.split("|")] for line in benchmark.subtopics]
    return [[[phrase.strip() for phrase in line[slot]] for line in lines] for slot in range(len(TOPIC_SLOTS))]


def draw_hints(
    subtopic: np.ndarray, cue: np.ndarray, blur: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw what each filler of each question hints at.

    A filler hints at the true value with probability 1 - blur and at any value alike otherwise.

    Parameters
    ----------
    subtopic, cue : ndarray of int, shape (n_questions,)
        True values, counted from 0.
    blur : float in [0, 1]
        0: every filler tells the truth; 1: the text tells nothing.

    Returns
    -------
    ndarray of int, shape (n_questions, 5)
        The subtopics hinted at by the `TOPIC_SLOTS`, then the cues hinted at by the `CUE_SLOTS`.
    """
    truth = np.column_stack([subtopic] * len(TOPIC_SLOTS) + [cue] * len(CUE_SLOTS))
    options = [N_SUBTOPICS] * len(TOPIC_SLOTS) + [N_CUES] * len(CUE_SLOTS)
    return np.where(rng.random(truth.shape) < blur, rng.integers(options, size=truth.shape), truth)


def posterior(hints: np.ndarray, blur: float) -> np.ndarray:
    """What the best reader knows: P(subtopic, cue | text), by Bayes' rule from a uniform prior.

    Parameters
    ----------
    hints : ndarray of int, shape (n_questions, 5)
        As `draw_hints` gives them. They are all that a text tells: which phrase stands for a
        hint, which template and which steps are used depends on neither subtopic nor cue.
    blur : float in [0, 1]
        As the hints were drawn.

    Returns
    -------
    ndarray of float64, shape (n_questions, 8, 5)
        Sums to 1 over the last two axes.
    """
    subtopic = _posterior(hints[:, : len(TOPIC_SLOTS)], N_SUBTOPICS, blur)
    cue = _posterior(hints[:, len(TOPIC_SLOTS) :], N_CUES, blur)
    return subtopic[:, :, None] * cue[:, None, :]


def write(benchmark: Benchmark, hints: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Write one prompt for each row of `hints`, shape (n_questions, 5), in a benchmark's words."""
    vocabulary = phrases(benchmark)
    template = rng.integers(len(benchmark.templates), size=len(hints))
    choice = rng.random((len(hints), len(TOPIC_SLOTS) + 1))
    order = rng.random((len(hints), len(benchmark.steps))).argsort(axis=1)
    prompts = []
    for row, (*topics, tone, last_step) in enumerate(hints.tolist()):
        groups = [slot[topic] for slot, topic in zip(vocabulary, topics, strict=True)] + [TONES[tone]]
        words = [group[int(u * len(group))] for group, u in zip(groups, choice[row].tolist(), strict=True)]
        steps = [benchmark.steps[step] for step in order[row, : last_step + 1]]
        fillers = dict(zip((*TOPIC_SLOTS, "tone"), words, strict=True), steps=_listed(steps))
        prompts.append(benchmark.templates[template[row]].format(**fillers))
    return prompts


def _posterior(hints: np.ndarray, n_values: int, blur: float) -> np.ndarray:
    """P(value | independent hints), shape (n_questions, n_values)."""
    likelihood = np.full((n_values, n_values), blur / n_values) + (1 - blur) * np.eye(n_values)
    joint = likelihood[hints].prod(axis=1)  # likelihood is symmetric: [hint, value] = [value, hint]
    return joint / joint.sum(axis=1, keepdims=True)


def _listed(items: list[str]) -> str:
    """The items as an English list: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))


VOCABULARY = tomllib.loads(Path(__file__).with_name("simulated.toml").read_text())
TONES = VOCABULARY["tones"]
BENCHMARKS = {name: Benchmark(**told) for name, told in VOCABULARY["benchmarks"].items()}
