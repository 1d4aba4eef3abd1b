"""Prices of models, and hulls of score against price."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import ConvexHull

from embedllm.routing import price


def models(**columns):
    return pd.DataFrame(columns, index=pd.Index(columns.pop("names"), name="model"))


def test_a_model_is_undominated_where_none_scores_as_much_for_less():
    prices, scores = np.array([1, 1, 2, 3, 3, np.nan]), np.array([0.5, 0.4, 0.5, 0.7, 0.7, 0.9])
    assert price.undominated(prices, scores).tolist() == [True, False, False, True, True, False]


def test_a_model_has_its_own_price_or_that_of_its_size():
    found = price.of_models(models(
        names=["gemini-1.5-pro-002", "claude-2_concise", "some-7b", "mix-8x7b", "huge", "unknown"],
        parameters_b=[np.nan, np.nan, 7, 47, 2000, np.nan], active_parameters_b=[np.nan, np.nan, 7, 13, 2000, np.nan]))
    assert found["price"].tolist() == pytest.approx([(3 * 1.25 + 5) / 4, 12, 0.2, 0.6, np.nan, np.nan], nan_ok=True)
    assert found["basis"].tolist() == ["listed", "listed", "size class", "size class", "", ""]
    given = price.of_models(models(names=["a", "b"], cost=[0.5, np.nan]))
    assert given["basis"].tolist() == ["given", ""]


@pytest.mark.parametrize("cost", [-0.5, np.inf, -np.inf])
def test_a_price_that_no_model_can_have_is_refused(cost):
    with pytest.raises(price.PriceError, match=f"the cost of model b must be a number from 0 on.* found {cost:g}"):
        price.of_models(models(names=["a", "b", "c"], cost=[0, cost, np.nan]))


def test_where_all_are_free_the_forecast_decides():
    choices = price.weighed(np.array([[0.2, 0.9], [0.4, 0.1]]), np.full((2, 2), True), np.zeros(2))
    assert (choices == [1, 0]).all()


def test_listed_prices_are_of_the_years_of_their_sources():
    found = price.of_models(models(names=["gemini-1.5-pro-002", "text_davinci_003", "some-7b"],
                                   parameters_b=[np.nan, np.nan, 7]))
    assert price.years(found["source"]) == [2024, 2025] and price.years(found["source"][:1]) == [2025]
    assert price.years(["", "a reader's"]) == []


def test_every_listed_price_names_its_source():
    listed = price.price_list()
    assert all(str(one["year"]) in one["text"] for one in listed["sources"].values())
    assert all(one["source"] in listed["sources"] for one in listed["models"].values())
    for ends in listed["classes"].values():
        assert ends == sorted(ends)


def test_choices_get_cheaper_as_the_price_weighs_more():
    rng = np.random.default_rng(0)
    utilities, prices = rng.random((5, 200)), np.array([1.0, 0.1, 3.0, np.nan, 0.5])
    choices = price.weighed(utilities, np.full((5, 200), True), prices)
    mean = prices[choices].mean(axis=1)
    assert (np.diff(mean) <= 1e-12).all()
    assert mean[-1] == pytest.approx(0.1)
    best = np.where(np.isnan(prices)[:, None], -1, utilities).argmax(axis=0)
    assert (choices[0] == best).all()


def test_a_model_that_is_hardly_cheaper_is_reached_as_well():
    prices = np.array([1.0, 0.0105, 0.01])
    choices = price.weighed(np.array([[0.5, 0.5], [0.9, 0.1], [0.1, 0.2]]), np.full((3, 2), True), prices)
    assert (choices[-1] == 2).all() and (choices[-2] == [1, 2]).all()
    low = prices[choices].mean(axis=1)
    assert price.at_prices(np.zeros((len(low), 2)), low, np.array([0.01])).shape == (1, 2)


def test_the_hull_is_that_of_scipy_and_mixes_two_options():
    rng = np.random.default_rng(1)
    for _ in range(20):
        prices, scores = rng.random(12), rng.random((12, 50)) * rng.random((12, 1))
        grid = np.linspace(prices.min(), 1.2, 30)
        found = price.at_prices(scores, prices, grid)
        means = scores.mean(axis=1)
        points = np.vstack([np.column_stack([prices, means]), [[prices.max() + 1, means.max()]],
                            [[prices.min(), -1], [prices.max() + 1, -1]]])
        corners = points[ConvexHull(points).vertices]
        upper = corners[corners[:, 1] >= 0]
        upper = upper[np.argsort(upper[:, 0])]
        assert found.mean(axis=1) == pytest.approx(np.interp(grid, upper[:, 0], upper[:, 1]))
    with pytest.raises(ValueError, match="nothing costs as little"):
        price.at_prices(scores, prices, np.array([prices.min() - 0.1]))


def test_one_option_costs_and_reaches_the_same_everywhere():
    found = price.at_prices(np.array([[0.0, 1.0]]), np.array([2.0]), np.array([2.0, 3.0]))
    assert found.tolist() == [[0, 1], [0, 1]]
