"""What stands beside onboarding: values by hand, and no forecast that reads what it may not."""

import numpy as np
import pytest
from conftest import make_table

from embedllm import catalog
from embedllm.new_models import rivals


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    ability, ease = rng.normal(size=12), rng.normal(0, 1.5, 200)
    scores = rng.random((12, 200)) < 1 / (1 + np.exp(-(ability[:, None] + ease)))
    return make_table(scores, np.repeat(["a", "b"], 100)), rng.normal(size=(200, 6)).astype(np.float32)


def asked(pool, model: int, n: int) -> np.ndarray:
    seen = np.full((1, 200), np.nan)
    seen[0, :n] = pool.scores[model, :n]
    return seen


@pytest.mark.parametrize("entry", catalog.RIVALS, ids=lambda entry: entry.name)
@pytest.mark.parametrize("n", [1, 8, 120])
def test_forecasts_are_probabilities_of_each_model_alone(pool, entry, n):
    table, vectors = pool
    seen = np.vstack([asked(table, 0, n), asked(table, 1, max(1, n // 2))])
    found = entry.code()(table, vectors, seen)
    assert found.shape == (2, 200) and ((found > 0) & (found < 1)).all()
    np.testing.assert_allclose(entry.code()(table, vectors, seen[1:])[0], found[1])


def test_means_by_hand(pool):
    table, vectors = pool
    seen = np.full((1, 200), np.nan)
    seen[0, :4] = [1, 1, 0, 1]
    assert set(rivals.raw_mean(table, vectors, seen)[0]) == {0.75}
    seen[0, 2] = 1
    assert set(rivals.raw_mean(table, vectors, seen)[0]) == {5 / 6}, "one answer away from certainty"
    levels = rivals.benchmark_levels(table, vectors, seen)[0]
    means = table.scores.mean(axis=0)
    assert levels[0] > means[:100].mean() and (levels[0] > levels[100]) == (means[:100].mean() > means[100:].mean())


def test_a_copy_is_found_and_its_answers_are_believed(pool):
    table, vectors = pool
    found = rivals.nearest_model(table, vectors, asked(table, 3, 100))[0, 100:]
    assert ((found > 0.5) == (table.scores[3, 100:] == 1)).all() and np.abs(found - 0.5).min() > 0.4


def test_items_and_accuracies_of_the_pool_are_used(pool):
    table, vectors = pool
    rest = np.delete(np.arange(12), 5)
    others = make_table(table.scores[rest], table.questions["benchmark"].to_numpy())
    real = table.scores[5, 100:]
    p = rivals.item_response(others, vectors, asked(table, 5, 100))[0, 100:]
    assert np.corrcoef(p, table.scores[:, 100:].mean(axis=0))[0, 1] > 0.9
    assert np.mean((p > 0.5) == real) > max(real.mean(), 1 - real.mean())
    ridge = rivals.ridge_of_accuracies(others, vectors, asked(table, 5, 100))[0]
    assert len(set(ridge)) == 2 and abs(ridge[150] - real.mean()) < 0.15
