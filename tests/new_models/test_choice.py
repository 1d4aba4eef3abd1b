"""Which question next: the one that lowers the variance most, by brute force; beginnings that are even."""

import numpy as np
import pandas as pd
from conftest import make_table
from scipy.special import expit

from embedllm.new_models.choice import halves, mixed, most_telling, stratified
from embedllm.new_models.onboarding import Posterior, Shared


def variance(at: Shared, z: np.ndarray, precision: np.ndarray, wanted: np.ndarray, asked: list[int]) -> float:
    """Of the mean score over the wanted questions once some are answered, linearized around z."""
    p = expit(at.offset + at.design @ z)
    chance = p * (1 - p)
    for q in asked:
        precision = precision + chance[q] * np.outer(at.design[q], at.design[q])
    left = wanted & ~np.isin(np.arange(len(p)), asked)
    slope = chance[left] @ at.design[left]
    return slope @ np.linalg.inv(precision) @ slope + chance[left].sum()


def test_each_question_is_the_best_of_all_by_brute_force():
    rng = np.random.default_rng(0)
    at = Shared(rng.normal(size=(12, 3)), rng.normal(size=12), np.zeros(12), np.zeros(1), np.eye(1), np.arange(1),
                np.eye(1), np.zeros((2, 1)), np.zeros(0), np.eye(1))
    z, precision, wanted = rng.normal(size=3), np.diag([1.0, 2.0, 4.0]), np.arange(12) < 9
    open_ = np.arange(12) != 4
    posterior = Posterior(z[None], np.linalg.inv(precision)[None], at)
    chosen = list(most_telling(posterior, 0, wanted & open_, open_, 3))
    for number, own in enumerate(chosen):
        rest = [q for q in range(12) if open_[q] and q not in chosen[:number]]
        values = {q: variance(at, z, precision, wanted & open_, [*chosen[:number], q]) for q in rest}
        assert values[own] <= min(values.values()) * (1 + 1e-9)
    assert len(set(chosen)) == 3 and 4 not in chosen
    assert len(most_telling(posterior, 0, wanted, open_, 99)) == 11


def test_one_question_in_four_is_the_most_telling_however_many_are_asked_for_at_once():
    rng = np.random.default_rng(3)
    at = Shared(rng.normal(size=(60, 3)), rng.normal(size=60), np.zeros(60), np.zeros(1), np.eye(1), np.arange(1),
                np.eye(1), np.zeros((2, 1)), np.zeros(0), np.eye(1))
    posterior, wanted, order = Posterior(np.zeros((1, 3)), np.eye(3)[None], at), np.full(60, True), rng.permutation(60)
    for batch in (1, 3, 16):
        open_, telling = wanted.copy(), 0
        for _ in range(48 // batch):
            chosen = mixed(posterior, 0, wanted, open_, batch, order)
            rest = [one for one in order if open_[one]][:batch]
            telling += sum(one not in rest for one in chosen)
            assert len(set(chosen)) == batch and open_[chosen].all()
            open_[chosen] = False
        assert telling <= 12 and open_.sum() == 12
    assert sorted(mixed(posterior, 0, wanted, open_, 99, order)) == np.flatnonzero(open_).tolist()
    target, open_, asked = wanted & (np.arange(60) < 9), wanted.copy(), []
    while len(chosen := mixed(posterior, 0, target, open_, 1, order[target[order]])):
        asked += list(chosen)
        open_[chosen] = False
    assert sorted(asked) == list(range(9)), "a target is asked for itself, and has an end"


def test_content_can_be_balanced():
    rng = np.random.default_rng(3)
    at = Shared(rng.normal(size=(60, 3)), rng.normal(size=60), np.zeros(60), np.zeros(1), np.eye(1), np.arange(1),
                np.eye(1), np.zeros((2, 1)), np.zeros(0), np.eye(1))
    labels, wanted, open_ = np.repeat(["a", "b", "c"], [30, 20, 10]), np.full(60, True), np.full(60, True)
    posterior = Posterior(np.zeros((1, 3)), np.eye(3)[None], at)
    one = most_telling(posterior, 0, wanted, open_, 1, labels)
    assert labels[one] == "a", "the largest is first"
    chosen = most_telling(posterior, 0, wanted, open_, 48, labels)
    counts = np.stack([np.cumsum(labels[chosen] == name) for name in "abc"])
    assert np.abs(counts - np.outer([30, 20, 10], np.arange(1, 49)) / 60).max() < 1
    open_[chosen] = False
    rest = most_telling(posterior, 0, wanted, open_, 99, labels)
    assert sorted([*chosen, *rest]) == list(range(60)), "what is left of a label does not hold up the others"


def test_every_beginning_is_spread_over_the_benchmarks():
    table = make_table(np.zeros((2, 300)), np.repeat(["a", "b", "c"], [200, 60, 40]))
    askable = halves(table, 0)
    assert 148 <= askable.sum() <= 152
    labels = table.questions["benchmark"].to_numpy(str)
    order = stratified(labels, askable, 0)
    assert sorted(order) == list(np.flatnonzero(askable))
    for n in (15, 60, 120):
        shares = pd.Series(labels[order[:n]]).value_counts(normalize=True)
        assert abs(shares["a"] - 2 / 3) < 0.1 and abs(shares["b"] - 0.2) < 0.1
    assert not np.array_equal(order, stratified(labels, askable, 1))
