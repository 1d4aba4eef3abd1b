"""How cheap a router may get: the path of rules, what is certified of it, and where there is nothing to try."""

import numpy as np
import pytest

from embedllm.routing import guard
from embedllm.routing.saving import COLUMNS, Answered, best_priced, certified_savings, nothing_tried

PRICES = np.array([2.0, 1.0, np.nan])


def answered(n: int = 2000) -> Answered:
    """m0 is always right; m1, at half its price, on every other question, as forecast; m2, without a price, always."""
    easy = np.arange(n) % 2 == 0
    forecasts = np.stack([np.full(n, 0.9), np.where(easy, 0.89, 0.3), np.full(n, 0.99)])
    return Answered(forecasts, np.stack([np.ones(n), easy, np.ones(n)]).astype(np.float32))


def savings(default=0, prices=PRICES, validation=None, calibration=None, **more):
    calibration = calibration or answered()
    groups = more.pop("groups", np.arange(calibration.scores.shape[1]))
    return certified_savings(default, prices, validation or answered(200), calibration, groups, **more)


def test_the_cheapest_certified_rule_is_chosen():
    found = savings()
    assert list(found) == list(COLUMNS)
    chosen = found[found["chosen"]].iloc[0]
    assert (chosen["price"], chosen["saved"], chosen["gain"]) == (1.5, 0.25, 0), "m1 on what it gets right, no other"
    assert not found.loc[found["price"] < 1.5, "certified"].any()
    assert found["price"].iloc[-1] == 1.0 and found["gain"].iloc[-1] == pytest.approx(-0.5)
    assert chosen["p"] == pytest.approx(guard.in_sequence(np.zeros((2000, 1)))["p"].iloc[0])


def test_the_path_is_what_validation_finds_undominated_the_safest_first():
    """By brute force, on answers drawn from their forecasts; rules with and without a threshold are on it."""
    rng = np.random.default_rng(0)

    def drawn(n):
        forecasts = np.clip(np.array([[0.8], [0.75], [0.6]]) + rng.normal(0, 0.1, (3, n)), 0, 1)
        return Answered(forecasts, (rng.random((3, n)) < forecasts).astype(np.float32))

    prices, own = np.array([2.0, 1.0, 0.1]), drawn(400)
    found = savings(prices=prices, validation=own, calibration=drawn(4000), epsilon=0.02)
    assert (found["threshold"] > 0).any() and (found["threshold"] == 0).any()
    gains, costs = [], []
    for row in found.itertuples():
        utilities = own.forecasts - row.weight * prices[:, None] / 2
        asked = np.where(utilities.max(axis=0) - utilities[0] >= row.threshold, utilities.argmax(axis=0), 0)
        gains.append(own.scores[asked, np.arange(400)].astype(float) - own.scores[0])
        costs.append(prices[asked].mean())
    mean, cost = np.mean(gains, axis=1), np.array(costs)
    assert not ((mean[:, None] > mean) & (cost[:, None] <= cost)).any()
    assert (np.diff(guard.betting_p(np.stack(gains, axis=1), 0.02)) >= 0).all()


def test_every_rule_is_scored_by_what_it_asks():
    """Gain and price of each row of the path, by hand."""
    own = answered()
    for row in savings(calibration=own).itertuples():
        utilities = own.forecasts[:2] - row.weight * np.array([[1.0], [0.5]])
        leads = utilities[1] - utilities[0]
        asked = (leads > 0) & (leads >= row.threshold)
        assert row.price == pytest.approx(np.where(asked, 1.0, 2.0).mean())
        assert row.gain == pytest.approx((np.where(asked, own.scores[1], 1.0) - 1).mean())


def test_groups_count_once_and_questions_without_the_default_model_not_at_all():
    assert not savings(groups=np.arange(2000) // 100)["certified"].any(), "20 draws certify nothing"
    one = answered()
    one.scores[0, 1::2] = np.nan  # those that m1 gets wrong
    assert savings(calibration=one)["gain"].tolist() == [0, 0]


@pytest.mark.parametrize("options", [
    {"default": None, "prices": np.full(3, np.nan)}, {"prices": np.array([2.0, np.nan, np.nan])},
    {"prices": np.array([1.0, 2.0, np.nan])}, {"prices": np.array([0.0, 0.0, 0.0])},
    {"calibration": Answered(np.full((3, 5), 0.5), np.float32([[np.nan] * 5, [1] * 5, [1] * 5]))},
])
def test_where_nothing_is_cheaper_nothing_is_tried(options):
    found = savings(**options)
    assert found.empty and found.dtypes.equals(nothing_tried().dtypes) and list(found) == list(COLUMNS)


def test_the_best_priced_model_has_a_price():
    assert best_priced(np.array([0.5, 0.6, 0.9]), PRICES) == 1
    assert best_priced(np.array([0.5, 0.6]), np.full(2, np.nan)) is None
