"""Small tables with known truth, shared by the tests."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import event
from hypothesis import strategies as st
from scipy.special import expit

from embedllm.evaluation.calibration import scaled
from embedllm.evaluation.intervals import bootstrap_weights
from embedllm.files import ROOT
from embedllm.outcomes import OutcomeError, OutcomeMatrix
from embedllm.sources.simulated import simulate
from embedllm.splits import PARTS, Design, cut

SHARED = Path(os.environ.get("EMBEDLLM_TEST_DATA", ROOT.parent / "shared" / "data"))  # real results


def pytest_collection_modifyitems(items):
    """Notebooks, which build on each other, take longest: the worker that has them begins with them."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


def make_table(scores, benchmarks=None, prompts=None, **fields) -> OutcomeMatrix:
    """An OutcomeMatrix around an array of scores (n_models, n_questions)."""
    scores = np.asarray(scores, np.float32)
    n_models, n_questions = scores.shape
    ids = [f"q{number}" for number in range(n_questions)]
    questions = pd.DataFrame({
        "prompt": prompts if prompts is not None else [f"question {name}" for name in ids],
        "benchmark": benchmarks if benchmarks is not None else ["one"] * n_questions,
    }, index=pd.Index(ids, name="question_id"))
    models = pd.DataFrame(index=pd.Index([f"m{number}" for number in range(n_models)], name="model"))
    return OutcomeMatrix(scores=scores, models=models, questions=questions, **fields)


def copies_and_others(rng) -> np.ndarray:
    """Models a, b (19 of 20 answers as a), c (as b but for one more in 20), d (nothing to do with them)."""
    a = rng.random(400) < 0.5
    b = a ^ (np.arange(400) % 20 == 0)
    return np.float32([a, b, b ^ (np.arange(400) % 20 == 7), rng.random(400) < 0.5])


def make_parts(logits, vectors, seed=0, missing=0.0, shares=(0.8, 0.1), benchmarks=None):
    """Bernoulli outcomes of given logits, cut into train, val and test: {part: (table, vectors)}.

    With missing cells, the first model still answers everything.
    """
    rng = np.random.default_rng(seed)
    scores = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    hidden = rng.random(scores.shape) < missing
    hidden[0] = False
    scores[hidden] = np.nan
    n_train, n_val = (int(share * logits.shape[1]) for share in shares)
    part = np.repeat(PARTS, [n_train, n_val, logits.shape[1] - n_train - n_val])
    return cut(make_table(scores, benchmarks), vectors.astype(np.float32), part)


@pytest.fixture(scope="session")
def planted():
    """12 models, 2,000 questions, logits of rank 3 in 16-dimensional prompt vectors: (parts, logits)."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((2000, 16)) / 4
    logits = rng.standard_normal((12, 3)) @ rng.standard_normal((3, 16)) @ vectors.T * 2
    logits += rng.standard_normal((12, 1))
    return make_parts(logits, vectors), logits


def write_directory(path, n_models, n_questions, graded=False, missing=0.0, n_benchmarks=3, seed=0):
    """Write outcomes.csv and questions.csv as the source `directory` reads them."""
    rng = np.random.default_rng(seed)
    topics = ["law", "maths", "food"]
    questions = pd.DataFrame({
        "question_id": np.arange(n_questions),
        "prompt": [f"Question {n} about {topics[n % 3]}: what is {rng.integers(1000)}?" for n in range(n_questions)],
        "benchmark": [topics[n % n_benchmarks] for n in range(n_questions)],
    })
    mean = 0.3 + 0.4 * np.arange(n_models)[:, None] / n_models
    mean = mean + 0.2 * (np.arange(n_questions) % 3 == np.arange(n_models)[:, None] % 3)
    scores = np.clip(rng.normal(mean, 0.3), 0, 1) if graded else rng.random(mean.shape) < mean
    outcomes = pd.DataFrame(scores.astype(float).round(3), index=[f"llm{m}" for m in range(n_models)])
    outcomes = outcomes.rename_axis("model").reset_index().melt("model", var_name="question_id", value_name="score")
    outcomes[rng.random(len(outcomes)) >= missing].to_csv(path / "outcomes.csv", index=False)
    questions.to_csv(path / "questions.csv", index=False)


JSON = st.recursive(  # any value that JSON can hold, lone surrogates included
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=5,
)


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """A file of which up to four bytes have changed, or that was cut short."""
    place = st.integers(0, len(content) - 1)
    flips = draw(st.lists(st.tuples(place, st.integers(1, 255)), max_size=4))
    if not flips:
        return content[: draw(place)]
    changed = bytearray(content)
    for at, change in flips:
        changed[at] ^= change
    return bytes(changed)


def flipped(paths, number, seed=0):
    """One bit changed at a time, all over some files: (path, damaged content)."""
    rng = np.random.default_rng(seed)
    paths = sorted(paths)
    for turn in range(number):
        path = paths[turn % len(paths)] if turn < len(paths) else paths[rng.integers(len(paths))]
        content = bytearray(path.read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        yield path, bytes(content)


def same(one, other) -> bool:
    """Whether two results are equal to the last bit."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, pd.DataFrame | pd.Series):
        return one.equals(other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return same(vars(one), vars(other)) if hasattr(one, "__dict__") else one == other


def sentence(act, path) -> str:
    """The one sentence in which a reader refuses what lies at a path, and names it."""
    with pytest.raises(OutcomeError) as caught:
        act(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    return message


def read_or_refuse(load, path) -> OutcomeMatrix | None:
    """What a reader makes of whatever lies in a folder: a table, or None after one sentence that names the place."""
    try:
        table = load(path)
    except OutcomeError as error:
        message = str(error)
        event("refused")
    else:
        event("read")
        return table
    assert str(path) in message and "\n" not in message
    return None


@pytest.fixture
def rng():
    return np.random.default_rng(20250101)


@pytest.fixture
def cells(rng):
    """Forecasts with ties and binary scores with missing cells: 7 models, 40 questions."""
    probabilities = rng.integers(0, 11, (7, 40)) / 10
    scores = (rng.random((7, 40)) < 0.2 + 0.6 * probabilities).astype(float)
    scores[rng.random((7, 40)) < 0.25] = np.nan
    scores[0] = np.nan_to_num(scores[0])  # no question without any cell
    return probabilities, scores


CEILINGS = ["text ceiling", "additive text ceiling"]


def resamples(n_questions, n=300, seed=0, strata=None):
    design = Design(np.zeros(n_questions) if strata is None else strata)
    return bootstrap_weights(design, n, np.random.default_rng(seed))


def world(n_models=12, n_questions=400, seed=0):
    """True probabilities in which a question's cells share its difficulty, and one draw of binary scores."""
    rng = np.random.default_rng(seed)
    difficulty, own = rng.standard_normal(n_questions), rng.standard_normal((n_models, n_questions))
    truth = expit(rng.standard_normal((n_models, 1)) + 1.5 * difficulty + 0.5 * own)
    return truth, (rng.random(truth.shape) < truth).astype(float)


@pytest.fixture(scope="session")
def pool_with_ceilings():
    """A simulated table with gaps, forecasters between its ceilings and beyond, and weights."""
    table = simulate(n_models=20, n_questions=500, kappa=1.5, missing=0.1)
    text, additive = (table.references[name] for name in CEILINGS)
    forecasts = {"far": scaled(additive, 0.5), "between": (text + additive) / 2}
    return table, forecasts, resamples(500, strata=table.questions["benchmark"])
