"""The table itself: its checks, its file, its split."""

import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from hypothesis import given, settings
from hypothesis import strategies as st

from embedllm.outcomes import OutcomeError, OutcomeMatrix, grouped, model_facts, suites, without
from embedllm.splits import PARTS, Design, check_size, cut, divide, split


def test_a_matrix_of_another_shape_is_refused():
    table = make_table(np.ones((2, 3)))
    with pytest.raises(OutcomeError, match="shape"):
        OutcomeMatrix(scores=np.ones((3, 3), np.float32), models=table.models, questions=table.questions)


@pytest.mark.parametrize("values", [[1, 0, np.nan], [0.25, 1, 0], [0.1, np.nan, 0.9]])
def test_saved_and_loaded_tables_are_equal(tmp_path, values):
    scores = np.float32([values, [1, 1, 1]])
    repeats = pd.DataFrame({"model": ["m1"] * 2, "question_id": ["q0"] * 2, "score": np.float32([1, 0])})
    table = make_table(
        scores, references={"true probability": np.full_like(scores, 0.3)}, repeats=repeats,
        provenance={"source": "test"}, repairs={"rows lost": 3, "models lost": ["x"]},
    )
    table.save(tmp_path / "deep" / "table.zip")
    loaded = OutcomeMatrix.load(tmp_path / "deep" / "table.zip")
    np.testing.assert_array_equal(loaded.scores, scores)
    assert loaded.fingerprint == table.fingerprint != make_table(scores).fingerprint
    assert (loaded.provenance, loaded.repairs) == (table.provenance, table.repairs)
    loaded.save(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "deep" / "table.zip").read_bytes()


def test_a_binary_table_takes_two_bits_a_cell(tmp_path):
    scores = (np.arange(100 * 8000) % 3 == 0).reshape(100, 8000)
    make_table(scores).save(tmp_path / "table.zip")
    with zipfile.ZipFile(tmp_path / "table.zip") as archive:
        assert archive.getinfo("scores.npy").file_size == pytest.approx(2 * scores.size / 8, rel=0.01)


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


def test_parts_hold_their_questions_and_vectors():
    table = make_table([[1, 0, 1, 0, 1], [0, 1, 0, 1, 0]])
    part, vectors = ["test", "train", "else", "train", "val"], np.arange(10).reshape(5, 2)
    parts = cut(table, vectors, part)
    assert list(parts) == list(PARTS)
    assert {name: list(of_part.questions.index) for name, (of_part, _) in parts.items()} == {
        "train": ["q1", "q3"], "val": ["q4"], "test": ["q0"]}
    np.testing.assert_array_equal(parts["train"][1], vectors[[1, 3]])
    own = cut(replace(table, questions=table.questions.assign(part=part)), vectors)
    for name in PARTS:
        np.testing.assert_array_equal(own[name][0].scores, parts[name][0].scores)


def test_a_design_is_cut_as_its_table_is():
    table = make_table(np.ones((2, 4)), ["a", "a", "b", "b"], ["One?", "two?", " one?", "three?"])
    design = Design.of(table)
    assert design.strata.tolist() == ["a", "a", "b", "b"] and design.groups.tolist() == [0, 1, 0, 2]
    for some in (np.array([True, False, True, True]), [0, 2, 3]):
        assert design.at(some).strata.tolist() == ["a", "b", "b"] and design.at(some).groups.tolist() == [0, 0, 2]
    assert len(set(Design(design.strata).groups)) == 4, "without groups each question is alone"
    with pytest.raises(ValueError, match=r"found \(4,\) and \(3,\)"):
        Design(design.strata, design.groups[:3])


def test_models_can_be_left_out():
    table = make_table([[1, 0, np.nan], [1, np.nan, 0], [0, 1, np.nan]], references={"r": np.eye(3, dtype=np.float32)})
    left = without(table, ["m1"])
    np.testing.assert_array_equal(left.scores, [[1, 0], [0, 1]])
    np.testing.assert_array_equal(left.references["r"], [[1, 0], [0, 0]])
    assert list(left.questions.index) == ["q0", "q1"] and left.provenance["models left out"] == "m1"
    assert without(table, []) is table
    with pytest.raises(OutcomeError, match=r"no model is called m12; did you mean .*m1"):
        without(table, ["m12"])


def test_a_published_split_stands_unless_another_is_drawn():
    table = make_table(np.ones((3, 200)))
    published = replace(table, questions=table.questions.assign(part=["test"] * 100 + ["val"] * 20 + ["train"] * 80))
    assert divide(published).questions.equals(published.questions)
    assert divide(published).provenance["split"] == "published"
    drawn = divide(published, "drawn", seed=2)
    assert drawn.questions["part"].equals(split(table, 2)) and drawn.provenance["split"] == "drawn, seed 2"
    assert divide(table, seed=2).fingerprint == drawn.fingerprint
    with pytest.raises(OutcomeError, match="too small"):
        divide(published.at(np.arange(125)))


def test_a_table_too_small_to_study_is_told_before_anything_heavy():
    table = make_table(np.ones((3, 30)))
    with pytest.raises(OutcomeError, match="too small: 3 models and 24 train, 3 val, 3 test"):
        check_size(replace(table, questions=table.questions.assign(part=["train"] * 24 + ["val"] * 3 + ["test"] * 3)))


def test_unknown_facts_stand_for_themselves():
    facts = model_facts(make_table(np.ones((2, 2))))
    assert facts["family"].to_list() == ["m0", "m1"]
    assert facts["parameters_b"].isna().all()


def test_many_benchmarks_give_way_to_their_suites():
    table = make_table(np.ones((2, 42)), [f"b{n % 21}" for n in range(42)])
    table = replace(table, questions=table.questions.assign(suite=[f"s{n % 2}" for n in range(42)]))
    assert set(grouped(table).questions["benchmark"]) == {"s0", "s1"}
    few = table.at(np.arange(42) % 21 < 20)
    assert set(grouped(few).questions["benchmark"]) == {f"b{n}" for n in range(20)}
    bare = replace(table, questions=table.questions.drop(columns="suite"))
    assert grouped(bare).questions["benchmark"].nunique() == 21
    assert list(suites(bare)) == list(bare.questions["benchmark"])


def test_a_question_without_a_suite_belongs_to_its_benchmark():
    table = make_table(np.ones((2, 3)), benchmarks=["a", "b", "c"])
    table = replace(table, questions=table.questions.assign(suite=["s", None, ""]))
    assert suites(table).tolist() == ["s", "b", "c"]
