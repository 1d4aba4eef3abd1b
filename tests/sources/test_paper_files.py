"""Planted outcomes in the paper's own files: what was planted is what is read, also at full size."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from embedllm.sources import embedllm, paper_files
from embedllm.sources.simulated import simulate
from embedllm.splits import PARTS, split

SIZE = ["--models", "12", "--questions", "600", "--seed", "3"]


@pytest.fixture(scope="module")
def planted():
    return simulate(n_models=12, n_questions=600, data_seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files") / "new"
    paper_files.main([str(folder), *SIZE])
    return folder


def test_what_was_planted_is_read(folder, planted):
    table = embedllm.load(folder)
    assert set(table.questions.index) == {str(number) for number in range(600)}
    scores = table.scores[:, table.questions.index.astype(int).argsort()]
    order = np.argsort([f"simulated/{name}" for name in planted.models.index])
    assert list(table.models.index) == [f"simulated/{planted.models.index[number]}" for number in order]
    np.testing.assert_array_equal(scores, planted.scores[order])
    questions = table.questions.loc[[str(number) for number in range(600)]]
    assert list(questions["prompt"]) == list(planted.questions["prompt"])
    assert list(questions["benchmark"]) == list(planted.questions["benchmark"].map(paper_files.BENCHMARKS))
    assert list(questions["part"]) == list(split(planted, 3))
    assert questions["sub_benchmark"].str.startswith("mmlu_").sum() == (questions["benchmark"] == "mmlu").sum() > 50
    assert questions.loc[questions["benchmark"] == "mmlu", "sub_benchmark"].nunique() == 8
    assert set(questions["benchmark"]) == {"asdiv", "gpqa", "gsm8k", "logiqa", "mathqa", "medmcqa", "mmlu", "piqa",
                                           "social_iqa", "truthfulqa_mc1"}


def test_nobody_takes_it_for_the_papers_data(folder):
    assert embedllm.load(folder).provenance["source"].startswith("simulated, ")


def test_the_science_questions_are_listed_several_times_for_every_model_with_labels_in_conflict(folder, planted):
    table = embedllm.load(folder, duplicates="max")
    science = planted.questions["benchmark"].eq("graduate-science").to_numpy()
    assert table.repairs["questions listed in several categories of their benchmark, the first kept"] == science.sum()
    cells = table.repeats.groupby(["question_id", "model"])["score"]
    assert cells.ngroups == 12 * science.sum()
    assert set(cells.size()) == {2, 4, 6}, "three nested sets in two forms"
    rows = sum(len(pd.read_csv(folder / name)) for name in embedllm.FILES)
    assert rows == 12 * 600 + len(table.repeats) - cells.ngroups
    chance = planted.references["true probability"][:, science].mean()
    assert abs(table.repeats["score"].mean() - chance) < 0.05, "every row is a draw from the same chance"
    assert 0.3 < (cells.max() > cells.min()).mean() < 0.95
    assert (table.scores >= embedllm.load(folder, duplicates="first").scores).all()


def test_as_much_is_repeated_as_in_the_papers_files():
    """There 4,586,288 rows hold 112 models on 35,673 questions: 13 % of the rows are repeats."""
    listed = paper_files.listings(simulate(n_models=8, n_questions=36_000).questions, np.random.default_rng(0))
    assert 1 - len(listed) / sum(map(len, listed)) == pytest.approx(1 - 112 * 35_673 / 4_586_288, abs=0.03)


def test_the_layout_is_the_papers(folder):
    rows = pd.concat([pd.read_csv(folder / f"{part}.csv").assign(part=part) for part in PARTS])
    assert list(rows.columns[:-1]) == ["prompt_id", "model_id", "category_id", "label", "model_name", "category",
                                       "prompt"]
    questions, models = pd.read_csv(folder / "question_order.csv"), pd.read_csv(folder / "model_order.csv")
    assert list(questions.columns) == ["prompt_id", "prompt"] and list(models.columns) == ["model_id", "model_name"]
    for order, key in ((questions, "prompt_id"), (models, "model_id")):
        said = rows.drop_duplicates(key)[list(order.columns)].sort_values(key, ignore_index=True)
        pd.testing.assert_frame_equal(said, order)
    assert rows.groupby("category")["category_id"].nunique().eq(1).all()
    assert rows["category_id"].nunique() == rows["category"].nunique()
    assert not rows["model_name"].str.contains("/").any()


def test_files_that_are_there_are_left_alone(folder):
    before = (folder / "train.csv").read_bytes()
    with pytest.raises(SystemExit, match=r"holds train\.csv already"):
        paper_files.main([str(folder), *SIZE])
    assert (folder / "train.csv").read_bytes() == before


READ = """
import resource, sys, time
from pathlib import Path
from embedllm.sources import embedllm
began = time.perf_counter()
table = embedllm.load(Path(sys.argv[1]))
print(*table.shape, time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


@pytest.mark.slow
def test_the_papers_size_is_read_within_two_minutes_and_8_gb(tmp_path):
    paper_files.main([str(tmp_path / "files")])
    done = subprocess.run([sys.executable, "-c", READ, tmp_path / "files"], capture_output=True, text=True, check=True)
    n_models, n_questions, seconds, gigabytes = map(float, done.stdout.split())
    assert (n_models, n_questions) == (112, 36_000)
    assert seconds < 120 and gigabytes < 8
