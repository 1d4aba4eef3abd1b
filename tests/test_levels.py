"""Levels of models that were asked different questions: those of a regression, and no jump where a cell goes."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from conftest import make_table

from embedllm.levels import additive_means, adjusted_means, groups_apart


@pytest.mark.parametrize("seed", range(5))
def test_adjusted_means_are_those_of_a_regression_on_models_and_benchmarks(seed):
    rng = np.random.default_rng(seed)
    scores = rng.random((6, 60)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = np.nan
    scores[2, 20:], scores[0] = np.nan, rng.random(60)
    table = make_table(scores, benchmarks=np.repeat(list("aabcde"), 10))
    cells = pd.DataFrame(scores, table.models.index, table.questions["benchmark"]).melt(
        ignore_index=False, var_name="benchmark", value_name="score").reset_index(names="model").dropna()
    fitted = smf.ols("score ~ model + benchmark", cells).fit()
    asked = pd.MultiIndex.from_product([table.models.index, table.questions["benchmark"]], names=["model", "benchmark"])
    told = fitted.predict(asked.to_frame(index=False)).to_numpy().reshape(scores.shape)
    np.testing.assert_allclose(adjusted_means(table), told.mean(axis=1), atol=1e-6)
    each = additive_means(table)
    np.testing.assert_allclose(each[table.questions["benchmark"]], told, atol=1e-6)


def test_adjusted_means_are_the_means_where_all_were_asked_the_same(rng):
    table = make_table(rng.random((5, 30)).astype(np.float32), benchmarks=np.arange(30) % 4)
    assert (adjusted_means(table) == table.model_means).all()
    shares = table.questions["benchmark"].value_counts(normalize=True)
    np.testing.assert_allclose(additive_means(table)[shares.index] @ shares, table.model_means, atol=1e-9)


def test_adjusted_means_do_not_jump_when_a_cell_goes():
    """Models that were asked as many questions of each benchmark, but not the same share of them."""
    scores = np.full((4, 80), np.nan, np.float32)
    scores[:, :40] = 1
    for model in range(4):
        scores[model, 40 + 10 * model : 50 + 10 * model] = 0
    benchmarks = np.repeat(["easy", "hard"], 40)
    np.testing.assert_allclose(adjusted_means(make_table(scores, benchmarks)), 0.5)
    scores[0, 0] = np.nan
    np.testing.assert_allclose(adjusted_means(make_table(scores, benchmarks)), 0.5)


def test_groups_of_models_without_a_common_benchmark_are_counted(rng):
    scores = rng.random((4, 30)).astype(np.float32)
    scores[:2, 20:], scores[2:, :20] = np.nan, np.nan
    table = make_table(scores, np.repeat(list("aab"), 10))
    assert groups_apart(table) == 2 and np.isfinite(adjusted_means(table)).all()
    scores[0, 25] = 1
    assert groups_apart(make_table(scores, np.repeat(list("aab"), 10))) == 1


def test_a_benchmark_for_each_question_takes_no_time(rng):
    scores = np.where(rng.random((5, 3000)) < 0.9, rng.random((5, 3000)), np.nan).astype(np.float32)
    scores[0] = 0.5
    table = make_table(scores, [f"b{number}" for number in range(3000)])
    few = make_table(scores, np.arange(3000) % 3)
    np.testing.assert_allclose(adjusted_means(table), adjusted_means(few), atol=0.05)
