"""Metrics against scikit-learn and known answers."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from embedllm.evaluation.metrics import auc, expected_calibration_error, question_scores, targets


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("accuracy", lambda s, p: accuracy_score(s, p >= 0.5)),
        ("log_loss", lambda s, p: log_loss(s, np.clip(p, 1e-6, 1 - 1e-6), labels=[0, 1])),
        ("brier", lambda s, p: brier_score_loss(s, p, labels=[0, 1])),
    ],
)
def test_question_scores_equal_scikit_learn(cells, metric, reference):
    probabilities, scores = cells
    expected = []
    for p, s in zip(probabilities.T, scores.T, strict=True):
        asked = ~np.isnan(s)
        expected.append(reference(s[asked], p[asked]))
    np.testing.assert_allclose(question_scores(probabilities, scores, metric), expected, rtol=1e-12)


@pytest.mark.parametrize(("metric", "irreducible"), [("accuracy", 0), ("log_loss", 0), ("brier", 1)])
def test_probabilities_as_scores_give_the_expected_metric(rng, metric, irreducible):
    p, truth = rng.random((5, 30)), rng.random((5, 30))
    right = question_scores(p, np.ones_like(p), metric) * 0
    for m in range(5):  # the expectation over a binary label, cell by cell
        if_one = question_scores(p[[m]], np.ones((1, 30)), metric)
        if_zero = question_scores(p[[m]], np.zeros((1, 30)), metric)
        excess = irreducible * truth[m] * (1 - truth[m])
        right += (truth[m] * if_one + (1 - truth[m]) * if_zero - excess) / 5
    np.testing.assert_allclose(question_scores(p, truth, metric), right, rtol=1e-12)


def test_certain_and_wrong_stays_finite_and_missing_questions_are_nan():
    p = np.array([[1.0, 0.3, np.nan]])
    loss = question_scores(p, np.array([[0.0, 1.0, np.nan]]), "log_loss")
    np.testing.assert_allclose(loss, [-np.log(1e-6), -np.log(0.3), np.nan], rtol=1e-9)


@pytest.mark.parametrize(
    ("probabilities", "scores", "metric", "message"),
    [
        (np.full((2, 3), 0.5), np.zeros((3, 2)), "brier", "shape"),
        (np.array([[0.5, np.nan]]), np.zeros((1, 2)), "brier", r"forecast .* \(model 0, question 1\)"),
        (np.array([[0.5, 1.5]]), np.zeros((1, 2)), "brier", "1.5"),
        (np.array([[0.5]]), np.array([[2.0]]), "brier", "score outside"),
        (np.array([[0.5]]), np.array([[1.0]]), "f1", "'f1'"),
    ],
)
def test_unusable_input_is_named(probabilities, scores, metric, message):
    with pytest.raises(ValueError, match=message):
        question_scores(probabilities, scores, metric)


def test_auc_equals_scikit_learn_with_ties_weights_and_missing_cells(cells, rng):
    probabilities, scores = cells
    asked = ~np.isnan(scores)
    assert auc(probabilities, scores) == pytest.approx(
        roc_auc_score(scores[asked], probabilities[asked]), abs=1e-12
    )
    weights = rng.integers(0, 4, (5, 40))
    expected = [
        roc_auc_score(scores[asked], probabilities[asked], sample_weight=np.tile(w, (7, 1))[asked])
        for w in weights
    ]
    np.testing.assert_allclose(auc(probabilities, scores, weights), expected, atol=1e-12)
    assert auc(probabilities, scores, weights[2]) == pytest.approx(expected[2], abs=1e-12)


def test_auc_known_answers():
    scores = np.array([[0.0, 0.4, 0.5, 1.0]])  # graded: the last two are positive
    assert auc(np.array([[0.1, 0.2, 0.3, 0.4]]), scores) == 1.0
    assert auc(np.full((1, 4), 0.7), scores) == 0.5
    assert np.isnan(auc(np.full((1, 4), 0.7), np.ones((1, 4))))
    assert np.isnan(auc(np.full((1, 4), 0.7), scores, np.array([[3, 1, 0, 0]])))[0]


def test_calibration_error_known_answers(rng):
    scores = np.array([[1.0, 0, 1, 0, 1, 1, 1, 1, np.nan]])
    assert expected_calibration_error(np.full((1, 9), 0.9), scores) == pytest.approx(0.9 - 0.75)
    halves = np.array([[0.2] * 4 + [0.9] * 5])  # gaps 0.2 - 0.5 and 0.9 - 1 must not cancel
    assert expected_calibration_error(halves, scores, n_bins=2) == pytest.approx(0.5 * 0.3 + 0.5 * 0.1)

    p = rng.random((6, 50))
    s = (rng.random((6, 50)) < p**2).astype(float)
    flat = pd.DataFrame({"gap": (p - s).ravel(), "bin": pd.qcut(p.ravel(), 15, labels=False)})
    brute = flat.groupby("bin")["gap"].sum().abs().sum() / p.size
    assert expected_calibration_error(p, s) == pytest.approx(brute)


def test_each_metric_has_its_targets():
    truth = np.float32([[0.3, 0.8, 0.5], [1, 1, 1]])
    binary = make_table([[1, 0, np.nan], [1, 1, 1]], references={"true probability": truth})
    graded = make_table([[0.5, 0.4, np.nan], [1, 1, 1]], references={"true probability": truth})
    unknown = make_table([[0.5, 0.4, np.nan], [1, 1, 1]])
    for table, metric, expected in (
        (binary, "accuracy", [0.3, 0.8]), (binary, "log_loss", [0.3, 0.8]), (binary, "brier", [1, 0]),
        (graded, "accuracy", [1, 0]), (graded, "score", [0.3, 0.8]), (graded, "auc", [0.5, 0.4]),
        (unknown, "accuracy", [1, 0]), (unknown, "log_loss", [0.5, 0.4]), (unknown, "score", [0.5, 0.4]),
    ):
        np.testing.assert_array_equal(targets(table, metric)[0], np.float32([*expected, np.nan]))
