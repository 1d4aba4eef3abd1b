"""What a column of outcomes is: the score and no key, a model and no fact, what tells repeated rows apart."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import sentence
from hypothesis import given, settings
from hypothesis import strategies as st

from embedllm.outcomes import OutcomeError
from embedllm.sources import alpaca_eval, directory, mmlu_pro
from embedllm.sources._columns import NO_MODEL, NOT_OF_A_RUN, OF_A_RUN, long_form, require_alike, with_score

FILE = Path("outcomes.csv")
BIT = st.sampled_from(["0", "1"])


def pairs(n_models: int = 3, n_questions: int = 4) -> pd.DataFrame:
    rows = [(f"m{model}", str(question)) for model in range(n_models) for question in range(n_questions)]
    return pd.DataFrame(rows, columns=["model", "question_id"]).set_index(pd.RangeIndex(2, 2 + len(rows)))


def put(path: Path, outcomes: pd.DataFrame) -> Path:
    questions = outcomes["question_id"].unique()
    pd.DataFrame({"question_id": questions, "prompt": "What?", "benchmark": "x"}).to_csv(
        path / "questions.csv", index=False)
    outcomes.to_csv(path / "outcomes.csv", index=False)
    return path


# the score


@settings(max_examples=50, deadline=None)
@given(right=st.lists(BIT, min_size=12, max_size=12), key=st.lists(BIT, min_size=12, max_size=12),
       first=st.booleans(), name=st.sampled_from(["score", "correct"]))
def test_a_label_beside_a_score_is_never_the_score(right, key, first, name):
    columns = {"label": key, name: right} if first else {name: right, "label": key}
    found = with_score(pairs().assign(**columns), FILE)
    assert found["score"].tolist() == [float(cell) for cell in right] and "label" not in found


def test_the_right_answer_beside_whether_a_model_was_right(tmp_path):
    outcomes = pd.DataFrame({"model": [*"abcabc"], "question_id": [1, 1, 1, 2, 2, 2], "label": [1, 1, 1, 0, 0, 0],
                             "correct": [0, 1, 0, 1, 0, 1]})
    np.testing.assert_array_equal(directory.load(put(tmp_path, outcomes)).scores, [[0, 1], [1, 0], [0, 1]])
    assert "label is the same for all models at every question" in sentence(
        directory.load, put(tmp_path, outcomes.drop(columns="correct")))
    assert "label may be the right answer, beside prediction" in sentence(
        directory.load, put(tmp_path, outcomes.drop(columns="correct").assign(prediction=[1, 0, 1, 0, 1, 0])))


@given(key=st.lists(BIT, min_size=4, max_size=4))
def test_a_key_alone_is_refused_and_constant_scores_are_not(key):
    outcomes = pairs().assign(label=key * 3)
    if len(set(key)) > 1:
        with pytest.raises(OutcomeError, match="label is the same for all models"):
            with_score(outcomes, FILE)
    else:
        assert set(with_score(outcomes, FILE)["score"]) == {float(key[0])}


@settings(max_examples=50, deadline=None)
@given(score=st.lists(st.sampled_from(["0", "1", "1.0", "true", "0.5", ""]), min_size=12, max_size=12),
       correct=st.lists(st.sampled_from(["0", "1", ""]), min_size=12, max_size=12), same=st.booleans())
def test_two_scores_agree_or_are_refused_by_name(score, correct, same):
    outcomes = pairs().assign(score=score, correct=score if same else correct)
    value = {"": None, "true": 1.0}
    told = [[value[cell] if cell in value else float(cell) for cell in outcomes[name]] for name in ("score", "correct")]
    if told[0] == told[1]:
        assert with_score(outcomes, FILE)["score"].notna().tolist() == [cell is not None for cell in told[0]]
        return
    row = next(row for row, one, other in zip(outcomes.index, *told, strict=True) if one != other)
    with pytest.raises(OutcomeError, match=f"outcomes.csv, row {row}: score and correct disagree"):
        with_score(outcomes, FILE)


def test_no_score_says_what_was_looked_for():
    with pytest.raises(OutcomeError, match=r"lacks the column\(s\) score; looked for score, correct or label; it has"):
        with_score(pairs().assign(accuracy="1"), FILE)


# repeated rows


@pytest.mark.parametrize("column", ["metric", "filter", "scorer", "benchmark", "temperature", "n_shots"])
def test_rows_that_differ_in_a_column_are_no_repeats(tmp_path, column):
    outcomes = pd.concat([pairs().assign(**{column: value, "score": 1}) for value in ("exact_match", "f1")])
    message = sentence(directory.load, put(tmp_path, outcomes))
    assert f"rows differ in {column}; keep one: row 14 " in message and "('exact_match', 'f1')" in message
    kept = outcomes[outcomes[column] == "f1"]
    assert not len(directory.load(put(tmp_path, kept)).repeats)


@pytest.mark.parametrize("column", ["seed", "run_id", "timestamp", "response", "Answer", "startTime", "n_tokens"])
def test_rows_that_differ_from_run_to_run_are_repeats(tmp_path, column):
    outcomes = pd.concat([pairs().assign(**{column: value, "score": 1}) for value in ("1", "2")])
    assert len(directory.load(put(tmp_path, outcomes)).repeats) == 24


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from([*sorted(NOT_OF_A_RUN), *sorted(OF_A_RUN), "aspect"]), data=st.data())
def test_any_rows_are_repeats_only_if_nothing_tells_them_apart(name, data):
    """A column of the kind that tells apart: no two rows of a pair with two values are mixed."""
    row = st.tuples(st.sampled_from(["a", "b", "b "]), st.sampled_from("12"), st.sampled_from("xy"))
    rows = data.draw(st.lists(row, min_size=1, max_size=12))
    outcomes = pd.DataFrame(rows, columns=["model", "question_id", name]).assign(score=1.0)
    values = outcomes.groupby([outcomes["model"].str.strip(), "question_id"])[name].nunique()
    mixed = (values > 1).any() and name in NOT_OF_A_RUN
    if mixed:
        with pytest.raises(OutcomeError, match=f"rows differ in {name}; keep one"):
            require_alike(outcomes, FILE)
    elif name != "aspect":
        require_alike(outcomes, FILE)


# models


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(sorted(NO_MODEL)), write=st.sampled_from([str, str.upper, str.title,
                                                                      lambda name: name.replace("_", " ")]),
       place=st.integers(0, 2))
def test_a_column_with_a_name_that_no_model_has_is_refused(name, write, place):
    wide = pd.DataFrame({"question_id": ["1", "2"], "a": ["1", "0"], "b": ["0", "1"]})
    wide.insert(1 + place, write(name), ["0", "1"])
    with pytest.raises(OutcomeError, match=f"taken as a model: {write(name)} belongs in the questions table"):
        long_form(wide, FILE)


@settings(max_examples=100, deadline=None)
@given(cells=st.lists(st.sampled_from(["153", "-1", "yes", "A", "2.5", ""]), min_size=3, max_size=3)
       .filter(any), place=st.integers(0, 2), kind=st.sampled_from([str, object]))
def test_a_column_whose_cells_are_no_scores_is_refused_by_name(cells, place, kind):
    wide = pd.DataFrame({"question_id": ["1", "2", "3"], "a": ["1", "0", ""], "b": ["0.5", "true", "1"]}, dtype=kind)
    wide.insert(1 + place, "odd", cells)
    with pytest.raises(OutcomeError, match="no cell of 'odd' is a score"):
        long_form(wide.replace("", None), FILE)


@pytest.mark.parametrize("name", ["gpt-4|total_cost", "gpt-4|model_response", "gpt-4_tokens", "gpt-4 answer",
                                  "input_tokens", "Unnamed: 0", "mean_score", "gpt-4_confidence", "gold_label",
                                  "true_answer", "is_hard", "n_correct", "y_true"])
def test_columns_beside_those_of_models(name):
    wide = pd.DataFrame({"question_id": ["1"], "gpt-4": ["1"], name: ["0"]})
    with pytest.raises(OutcomeError, match=r"belongs? in the questions table"):
        long_form(wide, FILE)


def test_columns_of_one_model_without_one_of_its_own():
    wide = pd.DataFrame({"question_id": ["1"], "m_correct": ["1"], "m_confidence": ["0"], "other_latency": ["1"]})
    with pytest.raises(OutcomeError, match="m_correct, m_confidence belong in the questions table"):
        long_form(wide, FILE)


def test_columns_that_differ_in_blanks_are_not_mixed():
    with pytest.raises(OutcomeError, match="differ in blanks at the ends or in Unicode form only: 'm', 'm '; keep one"):
        long_form(pd.DataFrame({"question_id": ["1"], "m": ["1"], "m ": ["0"]}), FILE)


@pytest.mark.parametrize("column", ["metric_id", "prompt_template_id", "judge_id"])
def test_a_word_of_a_run_does_not_hide_what_was_scored(column):
    rows = pd.DataFrame({"model": ["a", "a"], "question_id": ["1", "1"], "score": [1.0, 0.0], column: ["x", "y"]})
    with pytest.raises(OutcomeError, match=f"rows differ in {column}; keep one"):
        require_alike(rows, FILE)


def test_a_right_answer_under_the_name_correct_is_no_score(tmp_path):
    outcomes = pd.DataFrame([(model, question, question % 2, 1) for model in "abc" for question in range(4)],
                            columns=["model", "question_id", "correct", "prediction"])
    assert "correct is the same for all models at every question" in sentence(directory.load, put(tmp_path, outcomes))


def test_a_folder_of_other_models_is_not_a_published_data_set(tmp_path):
    outcomes = pd.DataFrame({"model": ["a", "b"], "question_id": [1, 1], "score": [1, 0]})
    assert "read by DATASET=directory" in sentence(mmlu_pro.load, put(tmp_path, outcomes))


def test_a_refused_name_of_several_lines_is_one_line(tmp_path):
    outcomes = pd.DataFrame({"question_id": [1], "a": [1], "total\ncost": [0]})
    assert "total cost belongs in the questions table" in sentence(directory.load, put(tmp_path, outcomes))


def test_names_of_models_are_names_of_models():
    similar = ["qwen", "qwen-max", "gpt-4", "gpt-4-mini", "random"]
    names = list(dict.fromkeys([*mmlu_pro.facts()["model"], *alpaca_eval.facts()["model"], *similar]))
    wide = pd.DataFrame({"question_id": ["1", "2"], **{name: ["1", "0"] for name in names}})
    found = long_form(wide, FILE)
    assert list(found["model"].unique()) == names and found["score"].tolist() == [1.0, 0.0] * len(names)


def test_neither_form_says_what_was_looked_for(tmp_path):
    outcomes = pd.DataFrame({"model_name": ["a"], "question_id": [1], "performance": [1]})
    message = sentence(directory.load, put(tmp_path, outcomes))
    assert "model_name, performance belong in" in message
    assert "looked for the columns model, question_id and score or correct or label" in message
    for column in ("difficulty", "label"):
        outcomes = pd.DataFrame({"question_id": [1, 2, 3], column: [0.3, 0.9, 0.5], "a": [1, 0, 1], "b": [0, 1, 1]})
        assert f"{column} belongs in the questions table" in sentence(directory.load, put(tmp_path, outcomes))
