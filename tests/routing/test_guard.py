"""The guard: p-values that hold, a sequence that stops, and a choice that keeps the default model."""

from math import inf

import numpy as np
import pytest
from scipy.stats import binomtest

from embedllm.routing import guard


def drawn(rng, mean, share, n, size):
    """Gains of -1, 0 or 1 with a mean, other than zero in a share of the questions."""
    up = (share + mean) / 2
    return rng.choice([1.0, -1.0, 0.0], (size, n), p=[up, share - up, 1 - share])


def test_p_values_hold_at_the_boundary_and_find_what_is_there():
    rng = np.random.default_rng(0)
    for share in (0.02, 0.2, 0.8):
        values = drawn(rng, -guard.EPSILON, share, 600, 4000)
        false = (guard.betting_p(values.T, guard.EPSILON) <= guard.DELTA).sum()
        assert binomtest(int(false), 4000).proportion_ci(0.9).high < 0.065
    found = guard.betting_p(drawn(rng, 0.05, 0.3, 1200, 500).T, guard.EPSILON) <= guard.DELTA
    assert found.mean() > 0.8


def test_the_p_value_by_hand():
    values, epsilon = np.array([[0.5], [-0.2], [1.0]]), 0.1
    capital, square, total = 1.0, 1.0, 0.0
    for number, (value,) in enumerate(values):
        variance = square / max(number + 1, 1)
        bet = min(np.sqrt(2 * np.log(20) / (3 * variance)), guard.CAUTION / (1 - epsilon))
        capital *= 1 + bet * (value + epsilon)
        total += value
        square += (value - total / (number + 2)) ** 2
    assert guard.betting_p(values, epsilon, 0.05)[0] == pytest.approx(min(1, 1 / capital))


def test_a_mean_that_loses_everything_is_never_certified():
    assert guard.betting_p(np.full((1000, 1), -1.0), 0.005)[0] == 1
    for bad in (np.array([[np.nan]]), np.array([[1.5]])):
        with pytest.raises(ValueError, match="gains must lie in"):
            guard.betting_p(bad, 0.005)


def test_the_sequence_stops_at_its_first_failure():
    n = 4000
    lead = np.repeat([3.0, 2.0, 1.0], [1000, 1000, 2000])
    gain = np.repeat([0.5, -0.8, 0.9], [1000, 1000, 2000])  # leaving more would gain again
    found = guard.calibrate(lead, gain, np.array([3.0, 2.0, 1.0]))
    assert found["certified"].tolist() == [True, False, False]
    assert found["p"].iloc[2] < guard.DELTA
    assert found["left"].tolist() == [0.25, 0.5, 1.0]
    assert guard.best_certified(found) == 3.0
    assert guard.best_certified(guard.calibrate(lead[:n], np.full(n, -0.5), np.array([3.0]))) == inf


def test_of_the_certified_rules_the_one_that_gains_most_is_taken():
    certified = guard.certified_of(np.array([[0.01, 0.2, 0.01], [0.01, 0.04, 0.05], [0.06, 0.01, 0.01]]), 0.05)
    assert certified.tolist() == [[True, False, False], [True, True, True], [False, False, False]]
    gains = np.array([[0.1, 0.9, 0.9], [0.1, 0.3, 0.3], [0.5, 0.5, 0.5]])
    assert guard.best_of(certified, gains).tolist() == [0, 1, -1]
    assert guard.best_of(np.ones(3, bool), np.array([-0.1, 0.0, -0.2])) == -1, "certified, but nothing is gained"
    assert guard.best_of(np.zeros((2, 0), bool), np.zeros((2, 0))).tolist() == [-1, -1]
    idle = guard.calibrate(np.ones(4000), np.zeros(4000), np.array([1.0]))
    assert idle["certified"].all() and guard.best_certified(idle) == inf


def test_questions_of_one_group_are_one_draw():
    rng = np.random.default_rng(0)
    gain, lead = drawn(rng, 0.03, 0.3, 400, 1)[0], np.ones(400)
    once = guard.calibrate(lead, gain, np.array([1.0]), np.arange(400))
    copied = guard.calibrate(np.repeat(lead, 5), np.repeat(gain, 5), np.array([1.0]), np.repeat(np.arange(400), 5))
    assert copied["p"].iloc[0] == pytest.approx(once["p"].iloc[0])


def test_the_default_model_is_left_from_the_threshold_on():
    utilities = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.6, 0.7, 0.1], [0.1, 0.2, 0.65, 0.4]])
    lead = guard.leader(utilities, 0)[1]
    assert lead == pytest.approx([0, 0.1, 0.2, 0])
    assert guard.Guard(0, 0.15).choose(utilities).tolist() == [0, 0, 1, 0]
    assert guard.Guard(0, inf).choose(utilities).tolist() == [0, 0, 0, 0]
    assert guard.thresholds(lead, (0.5, 1.0)) == pytest.approx([0.2, 0.1])
    assert len(guard.thresholds(np.zeros(5))) == 0
