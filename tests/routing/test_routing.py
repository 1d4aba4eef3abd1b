"""Routers stay between their bounds and off missing cells."""

import time
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embedllm.conclusions import routing
from embedllm.levels import additive_means, adjusted_means
from embedllm.outcomes import OutcomeMatrix
from embedllm.routing.policies import best_per_benchmark, best_single, choose, gained, oracle, random_routing
from embedllm.routing.results import prices, routing_table, selections_per_second, shares
from embedllm.splits import Design

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


def test_routing_table_is_paired_and_complete():
    rng = np.random.default_rng(1)
    design = Design(np.repeat(["x", "y"], [60, 40]))
    base = (rng.random(100) < 0.6).astype(float)
    better = np.minimum(base + 0.25, 1.25)  # exactly 0.25 everywhere: the paired interval has no width
    result = routing_table({"best single": base, "router": better}, "best single", design)
    result = result.set_index(["policy", "benchmark"])
    assert len(result) == 2 * 3
    assert result.loc[("best single", "x"), "accuracy"] == pytest.approx(base[:60].mean())
    np.testing.assert_allclose(result.loc["router", ["gain", "gain_low", "gain_high"]], 0.25)
    np.testing.assert_allclose(result.loc["best single", ["gain", "gain_low", "gain_high"]], 0.0)
    overall = result.loc[("best single", "all")]
    sd = np.sqrt(60 * base[:60].var() + 40 * base[60:].var()) / 100
    assert overall["high"] - overall["low"] == pytest.approx(2 * 1.96 * sd, rel=0.12)
    with pytest.raises(ValueError, match="best single"):
        routing_table({"router": better}, "best single", design)


def test_shares_count_every_model():
    found = shares(np.array([2, 2, 0, 2]), pd.Index(["a", "b", "c"]), np.array(["law", "law", "law", "art"]))
    by_benchmark = {name: rows.set_index("model")["share"].to_dict() for name, rows in found.groupby("benchmark")}
    assert list(found["benchmark"].unique()) == ["all", "art", "law"]
    assert list(by_benchmark["all"].items()) == [("c", 0.75), ("a", 0.25), ("b", 0.0)], "most often chosen first"
    assert by_benchmark["art"] == {"c": 1, "a": 0, "b": 0}
    assert by_benchmark["law"] == {"c": pytest.approx(2 / 3), "a": pytest.approx(1 / 3), "b": 0}


def test_speed_is_measured_in_the_stated_units():
    calls = []

    def decide(vectors):
        calls.append(len(vectors))
        time.sleep(0.002)
        return np.zeros(len(vectors), dtype=int)

    speed = selections_per_second(decide, np.zeros((50, 4)), seconds=0.05)
    assert calls[:2] == [50, 50]  # warm-up, then the batch
    assert set(calls) == {1, 50}
    assert speed["batch_size"] == 50
    assert 50 / 0.05 < speed["batch_per_second"] <= 50 / 0.002
    assert 2000 <= speed["single_median_us"] <= speed["single_p95_us"]
    assert speed["single_per_second"] == pytest.approx(1e6 / speed["single_median_us"])


def test_prices_are_those_of_the_models_asked():
    models = pd.DataFrame({"cost": [1.0, 3.0, NAN], "cost_unit": "query"})
    choices = {"best single model": np.array([0, 0]), "router": np.array([1, 2]), "lost": np.array([2, 2])}
    reached = {name: np.array([1.0, 0.0]) for name in choices}
    rows = prices(choices, reached, models).set_index("policy")
    assert rows.loc["best single model"].tolist() == [0.5, 1.0, "query", 0.0]
    assert rows.loc["router"].tolist() == [0.5, 3.0, "query", 0.5]
    assert np.isnan(rows.loc["lost", "price"])
    assert routing.price(rows.reset_index(), ["router"]) == (
        "Mean price of the models asked, per query: the best single model 1, router 3 (50% of the questions to models "
        "without one).")
    assert "No model of this table has a price" in routing.price(None, [])
