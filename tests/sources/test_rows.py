"""From rows to the table: what a row may hold, and what becomes of repeated ones."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedllm.outcomes import DUPLICATES, OutcomeError, by_benchmark
from embedllm.sources import alpaca_eval, mmlu_pro
from embedllm.sources._rows import from_rows, read_facts

OUTCOMES = pd.DataFrame({
    "model": ["a", "a", "b", "b"], "question_id": [1, 2, 1, 2], "score": [1.0, 0.0, 0.5, 1.0],
})
QUESTIONS = pd.DataFrame({"question_id": [1, 2], "prompt": ["one?", "two?"], "benchmark": ["x", "x"]})
THREE = pd.DataFrame({"question_id": [1, 2, 3], "prompt": ["one?", "two?", "three?"], "benchmark": ["x"] * 3})


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
    with pytest.raises(OutcomeError, match=r"score that is no number in \[0, 1\]: row 2 \(model 'b', question_id '1'"):
        from_rows(wrong, QUESTIONS)


def test_an_unknown_question_is_named_with_its_row():
    with pytest.raises(OutcomeError, match="question that the questions table does not hold: row 0"):
        from_rows(OUTCOMES.assign(question_id=[9, 2, 1, 2]), QUESTIONS)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("first", [0, 1, 0.2]), ("mean", [0.5, 2 / 3, 0.6]), ("max", [1, 1, 1]), ("majority", [0, 1, 0.2])],
)
def test_repeated_rows_follow_the_rule(rule, expected):
    """0 and 1, a tie; 1, 0 and 1; the graded 0.2 and 1, a tie as well: the first."""
    outcomes = pd.DataFrame({
        "model": ["a"] * 7 + ["b"], "question_id": [1, 2, 3, 2, 1, 3, 2, 1], "score": [0, 1, 0.2, 0, 1, 1, 1, 1],
    })
    table = from_rows(outcomes, THREE, duplicates=rule)
    np.testing.assert_allclose(table.scores[0], expected, rtol=1e-6)
    assert table.scores[1, 0] == 1 and np.isnan(table.scores[1, 1:]).all()
    assert table.provenance["rule for repeated rows"] == rule
    assert table.repeats["score"].tolist() == pytest.approx([0, 1, 0.2, 0, 1, 1, 1])
    assert table.repeats["question_id"].tolist() == [1, 2, 3, 2, 1, 3, 2]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0, None])), min_size=1),
    rule=st.sampled_from(DUPLICATES),
)
def test_any_order_and_repetition_gives_what_a_loop_gives(rows, rule):
    by_hand: dict = {}
    for model, question, score in rows:
        if score is not None:
            by_hand.setdefault((f"m{model}", question), []).append(score)
    settle = {
        "first": lambda found: found[0], "mean": np.mean, "max": max,
        "majority": lambda found: Counter(found).most_common(1)[0][0],  # the first of equally frequent ones
    }[rule]
    outcomes = pd.DataFrame(rows, columns=["model", "question_id", "score"]).astype({"score": float})
    outcomes["model"] = "m" + outcomes["model"].astype(str)
    questions = pd.DataFrame({"question_id": range(4), "prompt": "p", "benchmark": "b"})
    if not by_hand:
        with pytest.raises(OutcomeError, match="no score at all"):
            from_rows(outcomes, questions, duplicates=rule)
        return
    table = from_rows(outcomes, questions, duplicates=rule)
    found = {(m, q): table.scores[i, j] for i, m in enumerate(table.models.index)
             for j, q in enumerate(table.questions.index) if table.observed[i, j]}
    assert found == pytest.approx({cell: settle(scores) for cell, scores in by_hand.items()})
    assert len(table.repeats) == sum(len(scores) for scores in by_hand.values() if len(scores) > 1)


def test_a_published_split_is_kept_and_checked():
    table = from_rows(OUTCOMES, QUESTIONS.assign(part=["test", "train"]))
    assert table.questions["part"].tolist() == ["test", "train"]
    with pytest.raises(OutcomeError, match=r"none of train, val, test: row 0 \(question_id '1', part 'dev'\)"):
        from_rows(OUTCOMES, QUESTIONS.assign(part=["dev", "train"]))


def test_a_model_without_answers_is_dropped_and_named():
    models = pd.DataFrame({"model": ["a", "b", "silent"]})
    table = from_rows(OUTCOMES, QUESTIONS, models)
    assert list(table.models.index) == ["a", "b"]
    assert table.repairs["models dropped, never asked"] == ["silent"]


def test_names_that_occur_twice_are_refused():
    with pytest.raises(OutcomeError, match=r"stands in an earlier row as well: row 1 \(question_id '1'\)"):
        from_rows(OUTCOMES, QUESTIONS.assign(question_id=[1, 1]))


def test_names_are_stripped_and_brought_into_one_form_and_counted():
    """The same letters in two Unicode forms, blanks at the ends: one model, one question."""
    outcomes = OUTCOMES.assign(model=["caf\u00e9", "cafe\u0301 ", "b", "b"], question_id=["1 ", "2", "1", " 2"])
    table = from_rows(outcomes, QUESTIONS.assign(question_id=["1", "2\t"]))
    assert list(table.models.index) == ["b", "caf\u00e9"] and list(table.questions.index) == ["1", "2"]
    np.testing.assert_array_equal(table.scores, np.float32([[0.5, 1], [1, 0]]))
    mended = table.repairs["names mended, blanks at the ends or another Unicode form"]
    assert set(mended) == {"cafe\u0301 ", "1 ", " 2", "2\t"}


@pytest.mark.parametrize("column", ["prompt", "benchmark"])
@pytest.mark.parametrize("cell", [None, " ", b"bytes", {"role": "user"}, ["a", "b"], np.nan])
def test_prompts_and_benchmarks_are_text(column, cell):
    questions = QUESTIONS.astype({column: object})
    questions.at[1, column] = cell  # noqa: PD008 (a list is one cell)
    with pytest.raises(OutcomeError, match=f"{column} that is blank or no text: row 1"):
        from_rows(OUTCOMES, questions)
    with pytest.raises(OutcomeError, match="prompt that is blank or no text: row 0"):
        from_rows(OUTCOMES, QUESTIONS.assign(prompt=[1, 2]))


def test_numbers_as_names_become_text():
    table = from_rows(OUTCOMES.assign(model=[1, 1, 2, 2]), QUESTIONS.assign(benchmark=7),
                      pd.DataFrame({"model": [1, 2], "family": ["x", "y"]}))
    assert list(table.models.index) == ["1", "2"]
    assert list(by_benchmark(table).columns) == ["7"]


@pytest.mark.parametrize("file", [mmlu_pro.FACTS, alpaca_eval.FACTS], ids=lambda file: file.stem)
def test_every_fact_about_a_model_names_its_source(file):
    rows = pd.read_csv(file)
    assert rows["source"].str.len().min() > 15
    facts = read_facts(file)
    assert list(facts["model"]) == list(rows["model"]) and facts["model"].is_unique
    assert facts.dtypes[["parameters_b", "active_parameters_b"]].eq("float64").all()
    assert (facts["active_parameters_b"].dropna() <= facts["parameters_b"].dropna()).all()


def test_models_of_alpaca_eval_are_in_the_order_of_their_names():
    """As the table has them; another order would draw other starting values."""
    names = list(alpaca_eval.facts()["model"])
    assert names == sorted(names)
