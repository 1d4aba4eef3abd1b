"""Encoders on equal terms: what does not matter does not show, what matters does, and what vectors carry."""

import numpy as np
import pytest
from conftest import make_table
from scipy.special import expit

from embedllm import catalog
from embedllm.evaluation.metrics import per_question
from embedllm.experiments import encoder_ablation as ablation
from embedllm.forecasters.registry import cross_fit, rounds
from embedllm.outcomes import OutcomeMatrix
from embedllm.splits import Design

SETTINGS = {"dim": 4, "noise": 0.05, "learning_rate": 1e-2, "weight_decay": 1e-5, "epochs": 4, "batch_cells": 4096,
            "patience": 0, "seed": 0}


@pytest.fixture(scope="module")
def planted() -> tuple[OutcomeMatrix, np.ndarray]:
    """10 models on 900 questions of 3 benchmarks; difficulty lies in the vectors beside the benchmark."""
    rng = np.random.default_rng(5)
    benchmark = np.arange(900) % 3
    vectors = np.column_stack([np.eye(3)[benchmark], rng.standard_normal((900, 5))]).astype(np.float32) / 2
    logits = rng.normal(0, 0.5, (10, 1)) + np.array([1.0, 0.0, -1.0])[benchmark] + 2 * vectors[:, 3]
    scores = (rng.random((10, 900)) < expit(logits)).astype(np.float32)
    table = make_table(scores, [f"b{one}" for one in benchmark])
    table.questions["prompt"] = [f"question {n} of kind {'abc'[one]}" for n, one in enumerate(benchmark)]
    return table, vectors


@pytest.fixture(scope="module")
def found(planted):
    table, vectors = planted
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0].astype(np.float32)
    made = ablation.makers(table, {"own": vectors, "turned": 3 * vectors @ turn})
    return made, ablation.judged(table, made, [catalog.CONVEX], 4, rounds(2, 0, SETTINGS))


def test_folds_are_those_of_the_cross_fitting(planted, found):
    table, vectors = planted
    crossed = cross_fit(table, vectors, [catalog.CONVEX], 4, rounds(2, 0, SETTINGS))
    for fit, one in enumerate(crossed):
        expected = per_question(table, one["raw"][catalog.CONVEX.name], "log_loss")
        np.testing.assert_allclose(found[1]["log_loss"]["own", catalog.CONVEX.name][fit], expected, atol=1e-6)


def test_a_turned_and_stretched_encoder_forecasts_the_same(planted, found):
    made, judged = found
    design, name = Design.of(planted[0]), catalog.CONVEX.name
    losses = {encoder: own for (encoder, _), own in judged["log_loss"].items()}
    rows = ablation.equivalence(losses, "own", design, 0.002, 0.025).set_index("method")
    assert abs(rows.loc["turned", "difference"]) < 1e-4 and rows.loc["turned", "p_equivalent"] < 0.001
    label = rows.loc[catalog.LABEL.name]
    assert label["difference"] > 0.05 and label["p_equivalent"] > 0.9 and label["p_beyond_holm"] < 0.05
    assert set(made) == {name for name, _ in judged["auc"]} == {"own", "turned", *catalog.REPRESENTATIONS}
    order = ["own", catalog.LABEL.name, catalog.RANDOM_VECTORS.name]
    assert np.all(np.diff([judged["auc"][encoder, name].mean() for encoder in order]) < -0.03)
    controls = [losses[one.name].mean() for one in (catalog.RANDOM_VECTORS, catalog.SHUFFLED_PROMPTS)]
    assert abs(np.diff(controls)[0]) < 0.02 < min(controls) - losses[catalog.LABEL.name].mean()


def test_noise_means_the_same_on_vectors_of_any_scale(planted):
    table, vectors = planted
    made = {"own": lambda train: vectors, "stretched": lambda train: 8 * vectors}
    fixed = catalog.Forecaster("fixed", catalog.FACTORIZATION.path, takes=catalog.TRAINING, settings={"noise": 0.0})
    settings = SETTINGS | {"noise": 5.0}  # so much that nothing can be learned from the vectors
    judged = ablation.judged(table, made, [catalog.FACTORIZATION, fixed], 3, rounds(1, 0, settings))
    loss = {key: own.mean() for key, own in judged["log_loss"].items()}
    for encoder in made:
        assert loss[encoder, catalog.FACTORIZATION.name] > loss["own", "fixed"] + 0.05, "noise grows with the vectors"


def test_differences_are_paired_and_corrected_by_measure(planted, found):
    table, _ = planted
    rows = ablation.differences(found[1], catalog.LABEL.name, catalog.CONVEX.name, Design.of(table))
    assert list(rows["measure"].unique()) == list(ablation.MEASURES)
    losses = rows[rows["measure"] == "log_loss"].set_index("method")
    key = catalog.CONVEX.name
    expected = found[1]["log_loss"]["own", key].mean() - found[1]["log_loss"][catalog.LABEL.name, key].mean()
    assert losses.loc["own", "difference"] == pytest.approx(expected)
    assert losses.loc["own", "p_holm"] < 0.05 and len(losses) == len(found[0]) - 1
    inside = ablation.within(found[1], catalog.LABEL.name, key, table)
    assert (inside[inside["method"] == "own"]["high"] < 0).all() and inside["questions"].eq(300).all()
    told = ablation.levels(found[1], Design.of(table))
    assert (told.dropna()["low"] < told.dropna()["value"]).all() and set(told["measure"]) == {*ablation.MEASURES, "auc"}


def test_what_vectors_carry(planted):
    table, vectors = planted
    rows = ablation.carried(table, ablation.makers(table, {"own": vectors}), 4, 0).set_index("encoder")
    assert rows.loc["own", "benchmark"] == 1 and rows.loc[catalog.LABEL.name, "benchmark"] == 1
    assert rows.loc[catalog.RANDOM_VECTORS.name, "benchmark"] == pytest.approx(1 / 3, abs=0.06)
    assert rows.loc["own", "difficulty"] > 0.5 and abs(rows.loc[catalog.LABEL.name, "difficulty"]) < 0.02
    assert rows["largest"].tolist() == pytest.approx([1 / 3] * len(rows))


def test_reduced_encoders_have_the_length_that_is_asked(planted):
    table, vectors = planted
    train = np.arange(900) < 700
    made = ablation.reduced(ablation.makers(table, {"own": vectors}), 4)
    assert {name: made[name](train).shape for name in ("own", catalog.RANDOM_VECTORS.name)} == {
        "own": (900, 4), catalog.RANDOM_VECTORS.name: (900, 4)}
    assert made[catalog.LABEL.name](train).shape == (900, 2), "three labels lie in a plane"
