"""Routers stay between their bounds and off missing cells."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embedllm.levels import additive_means, adjusted_means
from embedllm.outcomes import OutcomeMatrix
from embedllm.routing.policies import (
    best_per_benchmark,
    best_per_suite,
    best_single,
    choose,
    gained,
    oracle,
    random_routing,
    route,
)

NAN = np.nan


def table(scores, benchmarks) -> OutcomeMatrix:
    """An OutcomeMatrix of given scores and benchmarks."""
    scores = np.asarray(scores, dtype=np.float32)
    prompts = [f"question {q}" for q in range(scores.shape[1])]
    return OutcomeMatrix(
        scores=scores,
        models=pd.DataFrame(index=pd.Index([f"m{m}" for m in range(scores.shape[0])], name="model")),
        questions=pd.DataFrame({"prompt": prompts, "benchmark": list(benchmarks)}),
    )


@st.composite
def scored_pools(draw):
    """Scores with missing cells, every question asked of some model, and utilities of either shape."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 12)))
    scores = draw(hnp.arrays(np.float64, shape, elements=st.floats(0, 1)))
    observed = draw(hnp.arrays(np.bool_, shape))
    someone = draw(hnp.arrays(np.int64, shape[1], elements=st.integers(0, shape[0] - 1)))
    observed[someone, range(shape[1])] = True
    utilities = draw(hnp.arrays(np.float64, draw(st.sampled_from([shape, shape[:1]])),
                                elements=st.floats(-1e6, 1e6)))
    return np.where(observed, scores, NAN), utilities


@given(scored_pools())
def test_a_router_stays_on_observed_cells_and_between_its_bounds(pool):
    scores, utilities = pool
    observed = ~np.isnan(scores)
    choices = choose(utilities, observed)
    assert observed[choices, range(scores.shape[1])].all()
    reached = gained(choices, scores)
    assert (reached >= np.nanmin(scores, axis=0)).all()
    assert (reached <= oracle(scores)).all()
    assert (random_routing(scores) <= oracle(scores) + 1e-12).all()
    assert (gained(choose(np.nan_to_num(scores), observed), scores) == oracle(scores)).all()


def test_constant_policy_falls_back_and_ties_go_to_the_first():
    observed = np.array([[True, True, False], [True, False, False], [True, True, True]])
    assert choose(np.array([0.2, 0.9, 0.5]), observed).tolist() == [1, 2, 2]
    assert choose(np.ones(3), observed).tolist() == [0, 0, 2]
    missing = np.where(observed, 0.5, NAN)  # a forecast may be missing where nothing was observed
    assert choose(missing, observed).tolist() == [0, 0, 2]


def test_unusable_routing_is_refused():
    observed = np.array([[True, False], [True, False]])
    with pytest.raises(ValueError, match="position 1"):
        choose(np.ones(2), observed)
    with pytest.raises(ValueError, match=r"model 1, question 0"):
        choose(np.array([1.0, NAN]), observed[:, :1])
    with pytest.raises(ValueError, match="shape"):
        choose(np.ones(3), observed[:, :1])
    with pytest.raises(ValueError, match="not observed"):
        gained(np.array([0, 1]), np.array([[1.0, 1.0], [0.0, NAN]]))
    with pytest.raises(ValueError, match="no model was asked"):
        oracle(np.array([[1.0, NAN]]))


def test_best_single_comes_from_training_and_tolerates_an_absent_model():
    whole = table([[1, 1, 1, 0], [0, 1, 0, 1], [NAN, NAN, NAN, 1]], "aaab")
    train, test = whole.at([0, 1, 2]), whole.at([3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        utilities = best_single(train, train.questions)
    np.testing.assert_allclose(utilities, [1, 1 / 3, 1 / 3 - 1])
    assert choose(utilities, test.observed).tolist() == [0]  # although only model 0 fails the test question
    assert gained(choose(utilities, test.observed), test.scores).tolist() == [0.0]


def test_best_per_benchmark_shrinks_and_falls_back():
    train = table([[1, 1, 0, 0], [0, 0, 1, NAN], [0.5, NAN, 0.5, 0.5]], "aabb")
    utilities = best_per_benchmark(train, pd.DataFrame({"benchmark": ["b", "a", "new"]}))
    prior = additive_means(train)
    np.testing.assert_allclose(utilities[:, 0], (np.array([0, 1, 1]) + prior["b"]) / np.array([3, 2, 3]))
    np.testing.assert_allclose(utilities[:, 1], (np.array([2, 0, 0.5]) + prior["a"]) / np.array([3, 3, 2]))
    np.testing.assert_allclose(utilities[:, 2], adjusted_means(train))


def test_a_model_that_was_asked_the_easy_benchmark_only_is_no_best_single(rng):
    """Nor the best on the hard one, which it was never asked."""
    ability, hard = rng.normal(size=(40, 1)), np.arange(1000) % 2 == 1
    truth = 1 / (1 + np.exp(np.where(hard, 1.5, -1.5) - ability))
    scores = (rng.random(truth.shape) < truth).astype(np.float32)
    weak = ability[:, 0].argsort()[:20]
    scores[np.ix_(weak, hard)] = NAN
    some = table(scores, np.where(hard, "hard", "easy"))
    assert some.model_means.argmax() in weak, "a raw mean picks one of them"
    assert truth.mean(axis=1)[best_single(some, some.questions).argmax()] > truth.mean(axis=1).max() - 0.01
    chosen = best_per_benchmark(some, some.questions).argmax(axis=0)[hard]
    assert not set(chosen) & set(weak)


def test_random_routing_and_oracle_leave_missing_cells_out():
    scores = np.array([[1, NAN, 0.2], [0, 0.5, NAN]], dtype=np.float32)
    np.testing.assert_allclose(random_routing(scores), [0.5, 0.5, 0.2], rtol=1e-6)
    np.testing.assert_allclose(oracle(scores), [1, 0.5, 0.2], rtol=1e-6)


def test_a_suite_is_asked_for_its_best_model_and_left_out_where_there_is_none():
    pool = table([[1, 1, 0, 0], [0, 0, 1, 1]], ["a", "b", "c", "c"])
    suites = pool.questions.assign(suite=["x", "x", "", "y"])
    grouped = OutcomeMatrix(pool.scores, pool.models, suites)
    assert best_per_suite(grouped, suites).argmax(axis=0).tolist() == [0, 0, 1, 1]
    assert "best per suite" in route(grouped, grouped, {})[0]
    assert "best per suite" not in route(pool, pool, {})[0]
