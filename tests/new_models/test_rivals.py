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
    return make_table(scores, np.repeat(["a", "b"], 100)), rivals.clusters(rng.normal(size=(200, 6)).astype(np.float32))


def asked(pool, model: int, n: int) -> np.ndarray:
    seen = np.full((1, 200), np.nan)
    seen[0, :n] = pool.scores[model, :n]
    return seen


@pytest.mark.parametrize("entry", catalog.RIVALS, ids=lambda entry: entry.name)
@pytest.mark.parametrize("n", [1, 8, 120])
def test_forecasts_are_probabilities_of_each_model_alone(pool, entry, n):
    table, cluster = pool
    seen = np.vstack([asked(table, 0, n), asked(table, 1, max(1, n // 2))])
    forecast = entry.code()(table, cluster)
    for settings in rivals.GRIDS.get(entry.code(), [{}]):
        found = forecast(seen, **settings)
        assert found.shape == (2, 200) and ((found > 0) & (found < 1)).all()
        np.testing.assert_allclose(forecast(seen[1:], **settings)[0], found[1])


def test_means_by_hand(pool):
    table, cluster = pool
    seen = np.full((1, 200), np.nan)
    seen[0, :4] = [1, 1, 0, 1]
    raw = rivals.raw_mean(table, cluster)
    assert set(raw(seen)[0]) == {0.75}
    seen[0, 2] = 1
    assert set(raw(seen)[0]) == {5 / 6}, "one answer away from certainty"
    levels = rivals.benchmark_levels(table, cluster)(seen, penalty=1.0)[0]
    means = table.scores.mean(axis=0)
    assert levels[0] > means[:100].mean() and (levels[0] > levels[100]) == (means[:100].mean() > means[100:].mean())
    shrunken = rivals.shrunken_clusters(table, np.repeat([[0, 0], [1, 0]], 100, axis=0))
    assert shrunken(seen, which=0, pseudo=2)[0, [0, 199]] == pytest.approx([(4 + 2 * 5 / 6) / 6, 5 / 6])
    assert shrunken(seen, which=1, pseudo=2)[0, [0, 199]] == pytest.approx([(4 + 2 * 5 / 6) / 6] * 2)


def test_a_copy_is_found_and_its_answers_are_believed(pool):
    table, cluster = pool
    found = rivals.nearest_model(table, cluster)(asked(table, 3, 100))[0, 100:]
    assert ((found > 0.5) == (table.scores[3, 100:] == 1)).all() and np.abs(found - 0.5).min() > 0.4


def test_items_and_accuracies_of_the_pool_are_used(pool):
    table, cluster = pool
    rest = np.delete(np.arange(12), 5)
    others = make_table(table.scores[rest], table.questions["benchmark"].to_numpy())
    real, seen = table.scores[5, 100:], asked(table, 5, 100)
    forecast = rivals.item_response(others, cluster)
    p = forecast(seen, share=0.0)[0, 100:]
    assert np.corrcoef(p, table.scores[:, 100:].mean(axis=0))[0, 1] > 0.9
    assert np.mean((p > 0.5) == real) > max(real.mean(), 1 - real.mean())
    assert forecast(seen, share=1.0)[0] == pytest.approx(table.scores[5, :100].mean())
    ridge = rivals.ridge_of_accuracies(others, cluster)(seen, penalty=0.1)[0]
    assert len(set(ridge)) == 2 and abs(ridge[150] - real.mean()) < 0.15


def test_settings_are_those_that_forecast_models_of_the_pool_best():
    """Clusters that tell models apart want little shrinking; clusters that tell nothing want much."""
    rng, cluster = np.random.default_rng(0), np.column_stack([np.arange(300) % 2, np.arange(300) % 6])
    apart, alike = (rng.random((30, 300)) < 0.5 + height * np.where(np.arange(30)[:, None] % 2 == cluster[:, 0], 1, -1)
                    for height in (0.4, 0.0))
    askable, lineages = np.arange(300) < 200, np.arange(30).astype(str)
    chosen = [rivals.Tuned(rivals.shrunken_clusters, make_table(scores), cluster, lineages, askable, 0).settings(32)
              for scores in (apart, alike)]
    assert chosen[0]["log_loss"] == {"which": 0, "pseudo": 2.0} and chosen[1]["log_loss"]["pseudo"] == 32
    one = rivals.Tuned(rivals.raw_mean, make_table(alike), np.zeros((300, 2), int), lineages, askable, 0)
    assert one.settings(8) == {aim: {} for aim in rivals.AIMS}
    assert one.forecast(np.where(askable, alike[:1], np.nan), 8)["rmse"].shape == (1, 300)
    last = rivals.Tuned(rivals.shrunken_clusters, make_table(alike), np.zeros((300, 2), int), lineages, askable, 0)
    assert last.settings(200) == last.settings(150), "some of the questions have to judge"


def test_means_may_want_other_settings_than_forecasts():
    """Items tell answers apart; where their abilities mislead, the mean of the answers tells the mean score."""
    rng = np.random.default_rng(1)
    ability, bend = rng.normal(size=(30, 1)), rng.normal(size=(30, 1))
    ease = np.linspace(-3, 3, 300)
    scores = rng.random((30, 300)) < 1 / (1 + np.exp(-(ability + ease + bend * ease)))
    askable = np.ones(300, bool)
    tuned = rivals.Tuned(rivals.item_response, make_table(scores), np.zeros((300, 2), int), np.arange(30).astype(str),
                         askable, 0)
    chosen = tuned.settings(200)
    assert chosen["log_loss"]["share"] < chosen["rmse"]["share"]
    seen = np.where(np.arange(300) < 200, scores[:2], np.nan)
    made, alone = tuned.forecast(seen, 200), rivals.item_response(make_table(scores), np.zeros((300, 2), int))
    for aim in rivals.AIMS:
        np.testing.assert_array_equal(made[aim], alone(seen, **chosen[aim]))
    assert np.abs(made["rmse"] - made["log_loss"]).max() > 0.05
