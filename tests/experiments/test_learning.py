"""Curves over labels and over the length of a vector: what is counted, paired, tested and found."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_parts

from embedllm import catalog
from embedllm.evaluation import fits
from embedllm.experiments import learning
from embedllm.forecasters import registry
from embedllm.splits import Design

SMALL = {"seed": 0, "dim": 4, "noise": 0.0, "epochs": 40, "batch_cells": 512, "learning_rate": 0.02}
FACTORIZATION, CONVEX, BASE = catalog.FACTORIZATION.name, catalog.CONVEX.name, catalog.BENCHMARK_MEAN.name
TUNED = catalog.TUNED_AT_LENGTH.name


@pytest.fixture(scope="module")
def table_and_vectors():
    """Rank-2 logits over eight numbers: 12 models, 600 questions."""
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((600, 8)) / 8**0.5
    logits = rng.standard_normal((12, 1)) + 4 * rng.standard_normal((12, 2)) @ rng.standard_normal((2, 8)) @ vectors.T
    parts = make_parts(logits, vectors)
    return parts["train"]


def test_the_curve_counts_labels_and_ends_at_the_cross_fit(table_and_vectors):
    table, vectors = table_and_vectors
    entries = [catalog.VOTE, catalog.KNN]
    curve = learning.learning_curve(table, vectors, entries, [0.25, 1.0], 2, 3, 7, **SMALL)
    assert curve.index.names == ["metric", "labels", "forecaster", "fit"]
    few, many = curve.index.unique("labels")
    assert few == pytest.approx(many / 4, rel=0.02) and many == pytest.approx(table.observed.sum() * 2 / 3, rel=0.01)
    whole = registry.cross_fit(table, vectors, entries, 3, registry.rounds(2, 7, SMALL))
    own = learning.across_fits(table, whole, "accuracy")["kNN"]
    np.testing.assert_array_equal(curve.loc[("accuracy", many, "kNN")].to_numpy(), own)
    means = learning.levels(curve, Design.of(table)).set_index(["metric", "labels", "forecaster"])["value"]
    assert means["accuracy", many, "kNN"] == pytest.approx(own.mean())
    assert means["log_loss", many, "kNN"] < means["log_loss", few, "kNN"]


def curve_of(means: dict[str, list[float]], n_fits: int = 5, noise: float = 0.02) -> pd.DataFrame:
    """Accuracy of forecasters at sizes 10, 20, ... with a planted mean each."""
    rng = np.random.default_rng(0)
    base, rows, keys = rng.random(500), [], []
    for name, values in means.items():
        for size, mean in enumerate(values, 1):
            for fit in range(n_fits):
                rows.append(base + mean + noise * rng.standard_normal(500))
                keys.append(("accuracy", 10 * size, name, fit))
    index = pd.MultiIndex.from_tuples(keys, names=["metric", "labels", "forecaster", "fit"])
    return pd.DataFrame(rows, index)


@pytest.mark.parametrize("n_fits", [1, 5])
def test_each_size_is_paired_with_the_vote_that_learned_from_the_same(n_fits):
    curve = curve_of({"vote": [0, 0.1], "other": [0.05, 0.1]}, n_fits)
    found = learning.against(curve, {"accuracy": "vote"}, Design(np.arange(500) % 2), level=0.01)
    assert found[["labels", "method"]].to_numpy().tolist() == [[10, "other"], [20, "other"]]
    np.testing.assert_allclose(found["difference"], [0.05, 0], atol=0.004)
    assert (found["low_all"] < found["difference"]).all() and (found["high_all"] > found["high"]).all()
    assert found["p_holm"][0] < 0.001 < found["p_holm"][1] and (found["mde"] > 0).all()


def test_lengths_are_judged_where_nothing_stopped_and_a_planted_rank_is_found(table_and_vectors):
    """Two directions and a level are planted: one number is too few, three are enough for the convex embedding."""
    table, vectors = table_and_vectors
    losses, chosen = learning.lengths(table, vectors, [1, 3, 64], False, 2, 3, **SMALL)
    assert set(losses.index.unique("forecaster")) == {BASE, FACTORIZATION, CONVEX}
    assert list(losses.loc[CONVEX].index.unique("dim")) == [1, 3, 12], "no more numbers than models"
    assert list(losses.loc[FACTORIZATION].index.unique("dim")) == [1, 3, 64]
    found = learning.shorter(losses, chosen, Design.of(table), 0.05).set_index(["forecaster", "dim"])
    assert found.loc[(CONVEX, 3), "best"] == 3 and found.loc[(CONVEX, 1), "difference"] > 0.05
    assert not found.loc[(CONVEX, 1), "as_good"]
    assert learning.margin(chosen, 0.05) > 0
    between = learning.convex_against_factorization(losses, Design.of(table))
    assert list(between["dim"]) == [1, 3] and set(between["reference"]) == {FACTORIZATION}
    one = losses.loc[(CONVEX, 1)].to_numpy() - losses.loc[(FACTORIZATION, 1)].to_numpy()
    assert between["difference"][0] == pytest.approx(one.mean(), abs=1e-6)


def test_the_factorization_is_tuned_at_each_length_from_as_many_candidates(table_and_vectors):
    table, vectors = table_and_vectors
    losses, _ = learning.lengths(table, vectors, [1], True, 1, 2, **SMALL)
    assert list(losses.loc[FACTORIZATION].index.unique("dim")) == [1, 3], "a quarter of the models is tried"
    between = learning.convex_against_factorization(losses, Design.of(table))
    assert between[["method", "reference", "dim"]].to_numpy().tolist() == [[CONVEX, TUNED, 1]]
    one, other = (registry.build(learning.of_length(entry, 8), SMALL) for entry in learning.WITH_LENGTH[1:])
    assert one.n_candidates == other.n_candidates and {each.dim for each in one.alternatives} == {8}


@pytest.mark.parametrize(("n_models", "expected"), [
    (29, [1, 16, 28]), (63, [1, 16, 28, 63]), (64, [1, 16, 28, 64]), (400, [1, 16, 28, 64]), (2, [1, 2]), (1, [1])])
def test_vectors_are_compared_up_to_64_numbers_and_no_more_than_models(n_models, expected):
    assert learning.compared([232, 64, 28, 16, 1], n_models) == expected


def planted_lengths(by_dim: dict[int, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    base, rows, keys = 0.6 + 0.1 * rng.standard_normal(400), [], []
    for name in (FACTORIZATION, CONVEX):
        for dim, more in by_dim.items():
            rows += [base + more + 0.001 * rng.standard_normal(400) for _ in range(3)]
            keys += [(name, dim, fit) for fit in range(3)]
    rows += [base + 0.1 + 0.001 * rng.standard_normal(400) for _ in range(3)]
    keys += [(BASE, 0, fit) for fit in range(3)]
    losses = pd.DataFrame(rows, pd.MultiIndex.from_tuples(keys, names=["forecaster", "dim", "fit"]))
    chosen = pd.DataFrame([(name, dim, more) for name in (FACTORIZATION, CONVEX) for dim, more in by_dim.items()],
                          columns=["forecaster", "dim", "val"])
    return losses, chosen


def test_shorter_vectors_are_as_good_until_the_first_that_is_not():
    """Length 2 is as good as the best, 16, but 4 is not: the sequence stops at 4; 32 is worse and only told."""
    losses, chosen = planted_lengths({2: 0.001, 4: 0.05, 8: 0.001, 16: 0.0, 32: 0.004})
    found = learning.shorter(losses, chosen, Design(np.zeros(400)), margin=0.002).set_index(["forecaster", "dim"])
    own = found.loc[FACTORIZATION]
    assert not found.loc[(BASE, 0), "as_good"] and found.loc[(BASE, 0), "difference"] == pytest.approx(0.1, abs=1e-3)
    assert set(own["best"]) == {16}
    assert own["as_good"].to_dict() == {32: False, 16: True, 8: True, 4: False, 2: False}
    np.testing.assert_allclose(own["difference"][[2, 4, 8, 16, 32]], [0.001, 0.05, 0.001, 0, 0.004], atol=0.0004)
    test = fits.non_inferiority(losses.loc[(FACTORIZATION, 8)].to_numpy(), losses.loc[(FACTORIZATION, 16)].to_numpy(),
                                Design(np.zeros(400)), 0.002)
    assert own["p_worse"][8] == test["p_worse"]


def test_sizes_that_keep_the_same_questions_are_one(table_and_vectors):
    table, vectors = table_and_vectors
    curve = learning.learning_curve(table, vectors, [catalog.MODEL_MEAN], [1e-4, 2e-4, 1.0], 1, 3, **SMALL)
    assert len(curve.index.unique("labels")) == 2 and len(curve.loc["accuracy"]) == 2


def test_a_margin_is_a_share_of_what_is_earned_and_nothing_of_nothing():
    chosen = pd.DataFrame([(BASE, 0, 0.60), (FACTORIZATION, 4, 0.5), (FACTORIZATION, 232, 0.58)],
                          columns=["forecaster", "dim", "val"])
    assert learning.margin(chosen, 0.05) == pytest.approx(0.001)
    assert learning.margin(chosen.assign(val=[0.55, 0.5, 0.58]), 0.05) == 0
