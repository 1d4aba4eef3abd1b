"""The published tables of the Open LLM Leaderboard v2, against what was prepared from them elsewhere."""

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED

from embedllm.catalog import SOURCES
from embedllm.outcomes import without
from embedllm.sources import open_llm_leaderboard as source
from embedllm.sources import process_order

DATA = SHARED / "open-llm-leaderboard"
LEFT_OUT = SOURCES["open-llm-leaderboard"].left_out


@pytest.fixture(scope="module")
def tables():
    """Each pool, and what is told about every row; the files are read once."""
    if not (DATA / "raw").exists():
        pytest.skip(f"no real data in {DATA} (set EMBEDLLM_TEST_DATA)")
    tasks = source._tasks(DATA / "raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "_tasks", lambda root: tasks)
        return {pool: source.read(DATA, pool) for pool in source.POOLS}, process_order.row_order(tasks[0])


def test_every_cell_is_that_of_the_prepared_table(tables):
    union = tables[0]["union"]
    cells, questions = (pd.read_parquet(DATA / f"{name}.parquet") for name in ("outcomes", "questions"))
    assert len(cells) == 1_071_670 and union.shape == (81, 20_414)
    row = union.models.index.get_indexer(cells["model"])
    column = union.questions.index.get_indexer(cells["question_id"])
    assert row.min() >= 0 and column.min() >= 0
    np.testing.assert_array_equal(union.scores[row, column], cells["score"].to_numpy(np.float32))
    more = union.observed.copy()
    more[row, column] = False
    assert set(union.models.index[more.any(axis=1)]) == set(LEFT_OUT), "whose order could not be told there"
    told = ["prompt", "benchmark"]
    own = union.questions.loc[questions["question_id"], told].reset_index()
    pd.testing.assert_frame_equal(own, questions[["question_id", *told]], check_dtype=False)
    assert len(union.questions) == len(questions)


def test_pools_have_the_sizes_of_the_prepared_tables(tables):
    for pool, whole, shape in (("core", 78, (69, 8_382)), ("all-suites", 39, (34, 20_414))):
        table = tables[0][pool]
        assert table.observed.all() and len(table.models) == whole
        assert without(table, [name for name in LEFT_OUT if name in table.models.index]).shape == shape
    counts = tables[0]["all-suites"].questions["suite"].value_counts().to_dict()
    assert counts == {"bbh": 5_761, "ifeval": 541, "math": 1_324, "musr": 756, "mmlu_pro": 12_032}


def test_rows_are_in_the_orders_that_were_told_before(tables):
    known = pd.read_csv(DATA / "row_order.csv", index_col="model")
    for part in ("core", "mmlu_pro"):
        sure = known[known[f"{part}_certain"]]
        own = tables[1][tables[1]["part"] == part].set_index("model").loc[sure.index]
        assert own["certain"].all() and (own["processes"] == sure[f"k_{part}"]).all()


def test_misordered_rows_follow_no_difficulty_until_they_are_put_in_order(tables):
    order = tables[1]
    told = order[order["certain"] & order["whole"]]
    other = told[told["processes"] != process_order.HEADER]
    assert len(other) == 73 and other["published"].abs().max() < 0.03
    assert other["repaired"].min() > 0.08 and other[other["part"] == "core"]["repaired"].min() > 0.09
    assert other[~other["model"].isin(LEFT_OUT)]["repaired"].min() > 0.13


def test_both_parts_tell_the_same_order(tables):
    """Told apart: from the models of the pool in one part, from those of `mmlu_pro` in the other."""
    order = tables[1][tables[1]["certain"]].set_index("model")
    core, other = (order.loc[order["part"] == part, "processes"] for part in ("core", "mmlu_pro"))
    both = core.index.intersection(other.index)
    assert len(both) == 42 and (core[both] == other[both]).all()


def test_what_is_left_out_is_named(tables):
    repairs = tables[0]["union"].repairs
    unknown, lacking = (repairs[f"rows {what}, left out"] for what in (
        "whose order cannot be told", "that lack tasks of their part"))
    assert unknown == ["LenguajeNaturalAI/leniachat-gemma-2b-v0 (mmlu_pro)"]
    assert [name.split("-")[0] for name in lacking] == ["OpenAI/GPT"] * 3
    assert repairs["models whose evaluations differ, the fullest followed"] == []
    assert repairs["models without a row of facts"] == []
