"""Ridge regression as weights, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from embedllm.probing.ridge import ridge_weights


@pytest.mark.parametrize("shape", [(30, 4), (8, 20)])
def test_forecasts_are_scikit_learns(shape):
    rng = np.random.default_rng(0)
    x, new, y = rng.normal(size=shape), rng.normal(size=(5, shape[1])), rng.normal(size=shape[0])
    found = ridge_weights(x, new, np.array([1e-3, 0.5]))
    np.testing.assert_allclose(found.sum(axis=2), 1)
    total = ((x - x.mean(axis=0)) ** 2).sum()
    for weights, penalty in zip(found, (1e-3, 0.5), strict=True):
        np.testing.assert_allclose(weights @ y, Ridge(penalty * total).fit(x, y).predict(new), rtol=1e-9)


def test_predictors_that_do_not_vary_forecast_the_mean():
    y = np.array([1.0, 2.0, 6.0])
    np.testing.assert_allclose(ridge_weights(np.ones((3, 2)), np.ones((2, 2)), np.array([0.1]))[0] @ y, 3)
