"""What things cost: hand numbers, one price, and committed tables that follow from today's code."""

import numpy as np
import pandas as pd
import pytest

from embedllm.bench import cost, pool
from embedllm.claims import all_claims
from embedllm.conclusions import verdicts
from embedllm.figures.style import to_csv
from embedllm.files import ROOT

ANSWER = 2 * 7e9 * 128  # operations
DOLLARS = 2 / 3600 / (0.4 * 989e12)  # an operation


def test_a_size_is_what_is_active_where_that_is_declared():
    models = pd.DataFrame({"parameters_b": [47, 7, None], "active_parameters_b": [13, None, None]}, index=list("abc"))
    assert pool.sizes(models).tolist()[:2] == [13, 7] and np.isnan(pool.sizes(models)["c"])
    assert pool.sizes(models[["parameters_b"]]).tolist()[:2] == [47, 7]
    assert pool.sizes(models[[]]).isna().all()


def test_a_pool_costs_what_the_sum_of_its_sizes_says():
    """Models of 7B, 70B and unknown size, 10 questions: an answer of both is 11 of a 7B model, not 2."""
    table = pool.costs(pd.Series([7, 70, np.nan]), 10).set_index("what")
    assert set(table["models"]) == {2}
    asked = [pool.AS_MMLU, pool.OWN, cost.LABELS]
    assert table.loc[asked, "questions"].tolist() == [14_000, 10, 18_000]
    assert table.loc[asked, "generations_7b"].tolist() == pytest.approx([28_000, 20, 36_000])
    assert table.loc[asked, "generations_real"].tolist() == pytest.approx([154_000, 110, 198_000])
    assert table["dollars_7b"].tolist() == pytest.approx((table["generations_7b"] * ANSWER * DOLLARS).tolist())
    trainings = [cost.BY_CONVENTION, cost.BY_CELLS, cost.BY_QUESTION]
    flop = [6 * 768 * 232 * 2 * 50 * 18_000, 4 * 768 * 232 * 2 * 50 * 18_000, cost.per_question(768, 232, 2) * 900_000]
    assert table.loc[trainings, "flop_real"].tolist() == pytest.approx(flop, rel=0.02)
    assert (table["flop_real"] == table["flop_7b"])[trainings].all(), "training does not know the sizes"
    by_convention = table.loc[cost.BY_CONVENTION]
    assert by_convention["times_7b"] == pytest.approx(28_000 * ANSWER / flop[0])
    assert by_convention["times_real"] == pytest.approx(5.5 * by_convention["times_7b"])
    assert by_convention["times_7b"] == pytest.approx(all_claims()["C6"].values["ratio"], rel=0.01)
    with_labels = table.loc[cost.WITH_LABELS]
    assert with_labels["flop_real"] == pytest.approx(198_000 * ANSWER + flop[2], rel=1e-6)
    assert [with_labels["times_7b"], with_labels["times_real"]] == pytest.approx([14 / 18] * 2, rel=1e-3)
    assert table["tokens"].dropna().unique().tolist() == [128] and table.loc[trainings, "tokens"].isna().all()


def test_without_a_size_nothing_is_counted():
    nothing = pool.costs(pd.Series([np.nan, np.nan]), 10)
    assert nothing.empty and "times_real" in nothing


@pytest.mark.parametrize(("billions", "dataset", "expected"), [
    ([7.0, 7.0], "mmlu-pro", "holds here"), ([7.0, 70.0], "embedllm", "reproduced"),
    ([1.0, 3.0], "mmlu-pro", "does not hold here"), ([1.0, 3.0], "embedllm", "not reproduced"),
    ([1e-4, 1e-4], "mmlu-pro", "opposite here"), ([70.0, np.nan, np.nan], "mmlu-pro", "not testable here"),
])
def test_the_claim_on_benchmarking_depends_on_real_sizes(billions, dataset, expected):
    sizes = pd.Series(billions)
    numbers = pool.of_the_claim(pool.costs(sizes, 10), sizes)
    found = verdicts.benchmark_cost(numbers, all_claims()["C6"], dataset == "embedllm")
    assert found["verdict"] == expected
    if "ours" in found:
        assert found["ours"] == pytest.approx(26_075 * sizes.mean() / 7, rel=0.01)


def bench_table(megabytes: float) -> pd.DataFrame:
    return cost.cost_table({cost.BY_CELLS: (3600, megabytes), cost.BY_QUESTION: (36, 50)})


@pytest.mark.parametrize(("megabytes", "dataset", "expected"), [
    (300, "mmlu-pro", "holds here"), (950, "mmlu-pro", "does not hold here"),  # 63 MB are vectors and scores
    (300, "embedllm", "reproduced"), (950, "embedllm", "not reproduced"),
])
def test_the_claim_on_training_hangs_on_memory_and_operations(megabytes, dataset, expected):
    def found(table: pd.DataFrame) -> dict:
        return verdicts.training_cost(cost.of_the_claim(table), all_claims()["C5"], dataset == "embedllm")

    table = bench_table(megabytes)
    assert found(table)["verdict"] == expected
    assert found(table)["ours"] == pytest.approx(4 * 768 * 232 * 112 * 50 * 18_000 / 1e12, rel=0.02)
    more = table.assign(flop=2 * table["flop"])
    assert found(more)["verdict"] in ("does not hold here", "not reproduced")


def test_one_price_for_all_that_is_counted():
    """Seconds stand beside and have none."""
    table = bench_table(300)
    assert table["dollars"].tolist() == pytest.approx((table["flop"] * DOLLARS).tolist())
    assert table["seconds"].count() == 2


def test_the_committed_costs_follow_from_todays_code():
    """From the seconds and megabytes that were measured; all else is arithmetic."""
    path = ROOT / "figures" / "bench" / "timing_cost.csv"
    measured = pd.read_csv(path, index_col="what")[["seconds", "megabytes"]].dropna()
    again = cost.cost_table({row.Index: (row.seconds, row.megabytes) for row in measured.itertuples()})
    assert path.read_text() == to_csv(again)
