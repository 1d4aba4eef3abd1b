"""The table itself: its checks, its file, its split."""

import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from conftest import make_table
from hypothesis import given, settings
from hypothesis import strategies as st

from embedllm.outcomes import (
    OutcomeError,
    OutcomeMatrix,
    additive_means,
    adjusted_means,
    grouped,
    groups_apart,
    model_facts,
    suites,
    without,
)
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


def test_a_question_without_a_suite_belongs_to_its_benchmark():
    table = make_table(np.ones((2, 3)), benchmarks=["a", "b", "c"])
    table = replace(table, questions=table.questions.assign(suite=["s", None, ""]))
    assert suites(table).tolist() == ["s", "b", "c"]
