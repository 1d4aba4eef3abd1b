"""Comparisons of several trainings: what is averaged, drawn and tested."""

import numpy as np
import pandas as pd
from conftest import make_table

from embedllm.evaluation.inference import compare, holm
from embedllm.evaluation.metrics import per_question
from embedllm.experiments import ablation, comparisons
from embedllm.splits import Design, stratified_share

LOSS = 0.6


def losses(by_dim: dict[int, float], n=400, seed=0) -> pd.DataFrame:
    """Per-question losses of each length, paired, with small noise."""
    rng = np.random.default_rng(seed)
    base = LOSS + 0.1 * rng.standard_normal(n)
    index = pd.MultiIndex.from_product([by_dim, [seed], ["log_loss"]], names=["dim", "seed", "metric"])
    return pd.DataFrame([base + more + 0.001 * rng.standard_normal(n) for more in by_dim.values()], index)


def test_scores_survive_parquet_and_stand_by_method_and_question(tmp_path):
    """As they are remembered: a row for each method and metric, a column for each question."""
    table = make_table([[1, 0, np.nan], [1, 1, 1]])
    forecasts = {seed: np.full((2, 3), 0.6 + seed / 10) for seed in (0, 1)}
    values = pd.concat([comparisons.scored(table, p, share=0.5, seed=seed) for seed, p in forecasts.items()])
    values.to_parquet(tmp_path / "values.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "values.parquet"), values)
    assert values.index.names == ["share", "seed", "metric"] and list(values) == ["q0", "q1", "q2"]
    np.testing.assert_allclose(values.loc[(0.5, 1, "log_loss")], per_question(table, forecasts[1], "log_loss"))


def test_averages_are_over_seeds_and_questions():
    values = pd.concat([losses({1: 0.0}), losses({1: 0.2}, seed=1)])
    found = comparisons.averaged(pd.concat([values, losses({2: 0.0})]), Design(np.zeros(400)))
    assert list(found) == ["dim", "metric", "value", "low", "high", "sd_fits"]
    assert list(found["dim"]) == [1, 2] and set(found["metric"]) == {"log_loss"}
    row, alone = found.iloc[0], found.iloc[1]
    np.testing.assert_allclose(row["value"], values.mean(axis=None))
    np.testing.assert_allclose(row["sd_fits"], values.mean(axis=1).std(), rtol=0.01)
    reach = row["high"] - row["value"]
    assert reach > 2 * row["sd_fits"] / 2**0.5 > alone["high"] - alone["value"], "two seeds that differ tell little"


def test_a_smaller_training_set_keeps_every_benchmark():
    benchmarks = pd.Series(np.repeat(["a", "b", "c"], [100, 50, 3]))
    rows = stratified_share(benchmarks, 0.1, seed=0)
    assert benchmarks.iloc[rows].value_counts().to_dict() == {"a": 10, "b": 5, "c": 1}
    assert not np.array_equal(rows, stratified_share(benchmarks, 0.1, seed=1))


def test_each_step_is_compared_with_the_one_before(rng):
    base, design = rng.random(300), Design(np.zeros(300))
    values = {"a": base, "b": base - 0.1 + 0.01 * rng.standard_normal(300), "c": base + 0.2}
    steps = ablation.stepwise({name: own[None] for name, own in values.items()}, design)
    assert list(steps["method"]) == ["b", "c"] and list(steps["reference"]) == ["a", "b"]
    np.testing.assert_allclose(steps["difference"], [-0.1, 0.3], atol=0.005)
    alone = compare({name: values[name] for name in "ab"}, "a", design)
    assert steps["p"].iloc[0] == alone["p"].iloc[0]
    np.testing.assert_array_equal(steps["p_holm"], holm(steps["p"]))
