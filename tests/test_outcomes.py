from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from hypothesis import given, settings
from hypothesis import strategies as st

from embedllm.outcomes import (
    PARTS,
    OutcomeError,
    OutcomeMatrix,
    audit,
    by_benchmark,
    check_size,
    from_rows,
    model_facts,
    split,
)

OUTCOMES = pd.DataFrame({
    "model": ["a", "a", "b", "b"], "question_id": [1, 2, 1, 2], "score": [1.0, 0.0, 0.5, 1.0],
})
QUESTIONS = pd.DataFrame({"question_id": [1, 2], "prompt": ["one?", "two?"], "benchmark": ["x", "x"]})


def test_rows_become_a_matrix_model_first():
    table = from_rows(OUTCOMES, QUESTIONS)
    np.testing.assert_array_equal(table.scores, np.float32([[1, 0], [0.5, 1]]))
    assert list(table.models.index) == ["a", "b"]
    np.testing.assert_allclose(table.model_means, [0.5, 0.75])


def test_a_missing_cell_stays_missing():
    table = from_rows(OUTCOMES.iloc[:3], QUESTIONS)
    assert table.observed.tolist() == [[True, True], [True, False]]
    np.testing.assert_allclose(table.model_means, [0.5, 0.5])
    np.testing.assert_allclose(by_benchmark(table)["x"], [0.5, 0.5])


@pytest.mark.parametrize("column", ["model", "question_id", "score"])
def test_a_missing_column_is_named(column):
    with pytest.raises(OutcomeError, match=f"outcomes table lacks.*{column}"):
        from_rows(OUTCOMES.drop(columns=column), QUESTIONS)


@pytest.mark.parametrize("score", [2, -1, "yes", np.inf])
def test_a_score_outside_the_range_is_named_with_its_row(score):
    wrong = OUTCOMES.astype({"score": object})
    wrong.loc[2, "score"] = score
    with pytest.raises(OutcomeError, match=r"1 score\(s\).*rows 2: \('b', 1"):
        from_rows(wrong, QUESTIONS)


def test_an_unknown_question_is_named_with_its_row():
    with pytest.raises(OutcomeError, match="of a question that the questions table does not hold; rows 0"):
        from_rows(OUTCOMES.assign(question_id=[9, 2, 1, 2]), QUESTIONS)


def test_repeated_rows_keep_the_first_and_are_counted():
    again = pd.concat([OUTCOMES, OUTCOMES.iloc[:2].assign(score=[0.0, 0.0])])
    table = from_rows(again, QUESTIONS)
    assert table.scores[0].tolist() == [1, 0]
    assert table.repairs["rows that repeat a (model, question) pair"] == 2
    assert table.repairs["repeated pairs whose scores disagree"] == 1


def test_a_model_without_answers_is_dropped_and_named():
    models = pd.DataFrame({"model": ["a", "b", "silent"]})
    table = from_rows(OUTCOMES, QUESTIONS, models)
    assert list(table.models.index) == ["a", "b"]
    assert table.repairs["models dropped, never asked"] == ["silent"]
    assert "silent" in audit(table)["detail"].to_list()


def test_names_that_occur_twice_are_refused():
    with pytest.raises(OutcomeError, match="questions table names twice: 1"):
        from_rows(OUTCOMES, QUESTIONS.assign(question_id=[1, 1]))


def test_a_matrix_of_another_shape_is_refused():
    table = make_table(np.ones((2, 3)))
    with pytest.raises(OutcomeError, match="shape"):
        OutcomeMatrix(scores=np.ones((3, 3), np.float32), models=table.models, questions=table.questions)


def test_saved_and_loaded_tables_are_equal(tmp_path):
    scores = np.float32([[1, 0, np.nan], [0.25, 1, 1]])
    table = make_table(scores, references={"true probability": np.full_like(scores, 0.5)})
    table.save(tmp_path / "table")
    loaded = OutcomeMatrix.load(tmp_path / "table")
    np.testing.assert_array_equal(loaded.scores, scores)
    assert loaded.fingerprint == table.fingerprint
    assert make_table(np.nan_to_num(scores)).fingerprint != table.fingerprint


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6), seed=st.integers(0, 5))
def test_every_question_gets_one_part_and_equal_prompts_the_same(sizes, seed):
    benchmarks = np.repeat([f"b{number}" for number in range(len(sizes))], sizes)
    sized = zip(dict.fromkeys(benchmarks), sizes, strict=True)
    prompts = [f"{benchmark} {number // 2}" for benchmark, size in sized for number in range(size)]
    table = make_table(np.ones((2, len(benchmarks))), benchmarks, prompts)
    part = split(table, seed)
    assert set(part) <= set(PARTS)
    assert part.notna().all()
    assert part.groupby(prompts).nunique().eq(1).all()
    for benchmark, size in zip(dict.fromkeys(benchmarks), sizes, strict=True):
        own = set(part[benchmarks == benchmark])
        assert own == ({"train"} if (size + 1) // 2 < 3 else set(PARTS))


def test_the_split_is_80_10_10_stratified_and_seeded():
    benchmarks = np.repeat(["a", "b"], [1000, 500])
    table = make_table(np.ones((2, 1500)), benchmarks)
    part = split(table, seed=3)
    counts = pd.crosstab(benchmarks, part)
    assert abs(counts.loc["a", "test"] - 100) <= 1
    assert abs(counts.loc["b", "val"] - 50) <= 1
    assert part.equals(split(table, seed=3))
    assert not part.equals(split(table, seed=4))


def test_a_table_too_small_to_study_is_told_before_anything_heavy():
    table = make_table(np.ones((3, 30)))
    with pytest.raises(OutcomeError, match="too small: 3 models and 24 train, 3 val, 3 test"):
        check_size(replace(table, questions=table.questions.assign(part=["train"] * 24 + ["val"] * 3 + ["test"] * 3)))


def test_numbers_as_names_become_text():
    table = from_rows(OUTCOMES.assign(model=[1, 1, 2, 2]), QUESTIONS.assign(benchmark=7),
                      pd.DataFrame({"model": [1, 2], "family": ["x", "y"]}))
    assert list(table.models.index) == ["1", "2"]
    assert list(by_benchmark(table).columns) == ["7"]


def test_unknown_facts_stand_for_themselves():
    facts = model_facts(make_table(np.ones((2, 2))))
    assert facts["family"].to_list() == ["m0", "m1"]
    assert facts["parameters_b"].isna().all()
