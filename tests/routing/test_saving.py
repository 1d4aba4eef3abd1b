"""How cheap a router may get: the path of weights, what is certified of it, and where there is nothing to try."""

import numpy as np
import pytest

from embedllm.routing import guard, price
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


def test_the_cheapest_certified_weight_is_chosen():
    found = savings()
    assert list(found) == list(COLUMNS)
    assert found["price"].tolist() == [1.5, 1.0] and found["saved"].tolist() == [0.25, 0.5]
    assert found["gain"].tolist() == pytest.approx([0, -0.5])
    assert found["certified"].tolist() == [True, False] and found["chosen"].tolist() == [True, False]
    weights = np.array(price.WEIGHTS)
    assert found["weight"].tolist() == [weights[weights > 0.02].min(), weights[weights > 1.2].min()]
    assert found["p"].iloc[0] == pytest.approx(guard.in_sequence(np.zeros((2000, 1)))["p"].iloc[0])


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
