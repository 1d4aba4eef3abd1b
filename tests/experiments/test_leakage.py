"""Near-duplicates in small benchmarks behind a preamble and in validation; removals that leave nothing."""

import numpy as np
import pytest
from conftest import make_table

from embedllm.audit.near_duplicates import near_duplicates
from embedllm.experiments.leakage import effect_of_leakage


def parted(table, part):
    table.questions["part"] = part
    return table


def text(rng, n_words):
    return " ".join(f"w{number}" for number in rng.integers(0, 50_000, n_words))


@pytest.mark.parametrize("column", ["benchmark", "sub_benchmark"])
@pytest.mark.parametrize("n_questions", [5, 8, 20, 30])
def test_preamble_of_a_small_benchmark_hides_no_near_duplicate_and_makes_none(rng, column, n_questions):
    """Each benchmark has a preamble of its own, one pair and one triple alike, the rest unlike each other."""
    prompts, names = [], []
    for name in range(12):
        questions = [text(rng, 40) for _ in range(n_questions - 3)]
        questions += [questions[0] + " again", questions[1] + " again", questions[1] + " more"]
        preamble = text(rng, 200)
        prompts += [f"{preamble}\n\nQuestion: {question}\nAnswer:" for question in questions]
        names += [f"task {name}"] * n_questions
    part = ["train"] * (n_questions - 3) + ["test", "test", "val"]
    table = make_table(np.tile([1, 0], (3, len(prompts) // 2)), names, prompts)
    if column == "sub_benchmark":
        table.questions["sub_benchmark"], table.questions["benchmark"] = table.questions["benchmark"], "all"
    found = near_duplicates(parted(table, part * 12))
    assert found["part"].to_list() == ["test", "test", "val"] * 12
    assert found["near_duplicates"].to_list() == [1, 2, 1] * 12
    # without "again", which goes into the last triples, one question is like another
    part = ["train"] * (n_questions - 5) + ["test"] * 2 + ["other"] * 3
    kept = np.tile(np.array(part) != "other", 12)
    if n_questions > 5:
        found = near_duplicates(parted(table.at(kept), [name for name in part * 12 if name != "other"]))
        assert (found["near_duplicates"] == 0).all() and found["similarity"].max() < 0.2


def test_two_preambles_in_one_benchmark(rng):
    instructions = [text(rng, 100) for _ in range(3)]
    prompts = [instructions[number % 3] + " " + text(rng, 10) for number in range(24)]
    table = parted(make_table(np.tile([1, 0], (3, 12)), prompts=prompts), ["train"] * 16 + ["val"] * 3 + ["test"] * 5)
    assert near_duplicates(table)["similarity"].max() < 0.2


def test_near_duplicates_in_validation(rng):
    a, b, c, d = (text(rng, 30) for _ in range(4))
    prompts = [a, b, c, b + " again", b.upper(), c + " again", d, d]
    part = ["train", "val", "val", "test", "test", "train", "test", "test"]
    found = near_duplicates(parted(make_table(np.tile([1, 0], (3, 4)), prompts=prompts), part))
    assert found["nearest"].to_list() == [None, "q5", "q1", "q1", None, None]
    assert found["nearest_part"].to_list() == [None, "train", "val", "val", None, None]
    assert found["near_duplicates"].to_list() == [0, 1, 1, 1, 0, 0], "equals within the test are no leak"


def test_training_is_the_nearest_where_validation_holds_the_same_prompt(rng):
    a = text(rng, 30)
    found = near_duplicates(parted(make_table(np.eye(4), prompts=[a, "x", a, a]), ["val", "train", "train", "test"]))
    assert found.loc["q3", ["nearest", "nearest_part", "near_duplicates"]].to_list() == ["q2", "train", 2]


def table_of_families(rng, part):
    """30 prompts as often as parts are named, all models alike: a near tells everything; and 60 prompts once."""
    family = np.r_[np.repeat(np.arange(30), len(part)), 30 + np.arange(60)]
    prompts = np.array([text(rng, 12) for _ in range(90)])[family]
    vectors = rng.standard_normal((90, 24)).astype(np.float32)[family]
    scores = np.tile((rng.random(90) < 0.5)[family], (12, 1))
    alone = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    return parted(make_table(scores, prompts=prompts), np.r_[np.tile(part, 30), alone]), vectors


@pytest.mark.parametrize("seed", range(3))
def test_without_its_near_duplicates_knn_knows_nothing_of_a_question(seed):
    """With six among its eleven neighbors it is nearly sure and right; without, log-loss is that of a coin."""
    table, vectors = table_of_families(np.random.default_rng(seed), ["train"] * 6 + ["val", "test"])
    found = effect_of_leakage(table, vectors).set_index(["test_questions", "metric"])
    assert (found["removed"] == 180).all()
    assert found.loc["with a near-duplicate", "n_questions"].to_list() == [30, 30]
    row = found.loc[("with a near-duplicate", "log_loss")]
    assert row["difference"] == pytest.approx(row["with_them"] - row["without_them"])
    assert row["low"] < row["difference"] < row["high"] < 0 and row["p"] < 0.05
    assert row["with_them"] < 0.5 < 0.6 < row["without_them"]


def test_near_duplicates_in_validation_are_nothing_that_knn_remembers(rng):
    table, vectors = table_of_families(rng, ["val", "test"])
    assert (near_duplicates(table)["near_duplicates"] > 0).sum() == 30 and effect_of_leakage(table, vectors).empty


def test_nothing_left_to_train_on_gives_no_number_and_no_error(rng):
    table, vectors = table_of_families(rng, ["train", "val", "test"])
    part = table.questions["part"].to_numpy().copy()
    part[90:] = np.where(part[90:] == "test", "test", "val")
    found = effect_of_leakage(parted(table, part), vectors)
    assert found["test_questions"].to_list() == ["with a near-duplicate"] * 2 + ["all"] * 2
    assert (found["removed"] == 30).all() and found["n_questions"].to_list() == [30, 30, 40, 40]
    assert found.drop(columns=["test_questions", "n_questions", "removed", "metric"]).isna().all(axis=None)
    assert effect_of_leakage(table.at(part == "test"), vectors[part == "test"]).empty
