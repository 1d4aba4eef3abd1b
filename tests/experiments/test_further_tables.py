"""What further tables of a source are for: coverage that is incomplete, suites and kinds that are left out."""

import numpy as np
import pytest
from conftest import make_table

from embedllm import catalog
from embedllm.experiments import coverage, unseen
from embedllm.forecasters import registry
from embedllm.outcomes import OutcomeMatrix


def test_a_model_that_was_asked_what_is_easy_seems_the_best_of_an_incomplete_table():
    rng = np.random.default_rng(4)
    rate = np.add.outer([0.95, 0.85, 0.6, 0.6, 0.5, 0.5], np.repeat([0, -0.3], 300))
    scores = np.float32(rng.random(rate.shape) < rate)
    scores[1:4, 300:] = np.nan  # m0 is the best everywhere, m1 was asked what is easy
    table = make_table(scores, np.repeat(["easy", "hard"], 300))
    vectors = np.float32(rng.standard_normal((600, 4)))
    one = registry.rounds(1, 0, {"seed": 0})[0]
    found = coverage.incomplete(table, vectors, catalog.MODEL_MEAN, 3, one).set_index(["where", "rule"])
    everywhere, asked = found.loc["everywhere"], found.loc["where it was asked"]
    assert everywhere["model"].to_dict() == {
        "mean of its answers": "m1", "missing counts as wrong": "m0", "adjusted mean": "m0"}
    assert everywhere["asked"].tolist() == [0.5, 1, 1]
    assert everywhere.loc["mean of its answers", "behind"] > 0 == everywhere.loc["adjusted mean", "behind"]
    # This router asks by means as well: nothing is gained over them, and over m0 what m1 does better where it is asked.
    assert (found.xs("mean of its answers", level="rule")["difference"] == 0).all()
    gain = (scores[1, :300].mean() - scores[0, :300].mean()) / 2
    assert everywhere.loc["adjusted mean", "difference"] == pytest.approx(gain)
    assert asked.loc["adjusted mean", "difference"] == pytest.approx(gain)


@pytest.fixture
def several():
    benchmarks = ["bbh_navigate", "ifeval", "mmlu_pro/law", "mmlu_pro/math"]
    table = make_table(np.zeros((2, 4)), benchmarks)
    suites = [name.split("_navigate")[0].split("/")[0] for name in benchmarks]
    return OutcomeMatrix(table.scores, table.models, table.questions.assign(suite=suites))


def test_kinds_go_across_suites(several):
    found = unseen.across(several)
    assert found["suite"].tolist() == ["bbh", "ifeval", "mmlu_pro", "mmlu_pro"]
    assert [kind.split(",")[0] for kind in found["kind"]] == ["reasoning", "instructions", "knowledge", "reasoning"]


def test_only_a_complete_further_table_is_a_case(several):
    union = OutcomeMatrix(np.float32([[np.nan, 0, 0, 0], [0, 0, 0, 0]]), several.models, several.questions)
    found = unseen.cases(several, {"all-suites": several, "union": union})
    assert set(found) == {"benchmark", "all-suites_suite", "all-suites_kind"}
