"""The literal majority vote, by hand and beside scikit-learn."""

import numpy as np
import pytest
from conftest import make_table
from sklearn.neighbors import KNeighborsClassifier

from embedllm.encoders.encoding import unit
from embedllm.evaluation.metrics import CLIP
from embedllm.forecasters.neighbors import KNearestNeighbors, MajorityVote


def on_a_circle(degrees) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_the_vote_is_the_share_of_right_answers_among_the_k_nearest_by_hand():
    """Five training questions at 0, 10, 20, 90 and 100 degrees; the new one lies at 1 degree."""
    train, vectors = make_table([[1, 0, 1, 0, 0], [0, 0, 1, 1, 1]]), on_a_circle([0, 10, 20, 90, 100])
    one = on_a_circle([1.0])
    for k, expected in ((1, [1, 0]), (3, [2 / 3, 1 / 3]), (5, [2 / 5, 3 / 5])):
        fitted = MajorityVote(grid=(k,)).fit(train, vectors, train, vectors)
        np.testing.assert_allclose(fitted.predict_proba(one)[:, 0], np.clip(expected, CLIP, 1 - CLIP), rtol=1e-6)
    shrunk = KNearestNeighbors(grid=(3,), weights=("even",), centered=(False,), pseudo=(1,))
    mean = (2 + 0.5) / 6  # a pseudo-answer at the pool's mean
    told = shrunk.fit(train, vectors, train, vectors).predict_proba(one)[0, 0]
    np.testing.assert_allclose(told, (2 + mean) / 4, rtol=1e-6)


def test_the_vote_decides_as_scikit_learn_does(rng):
    vectors = unit(rng.standard_normal((300, 5)).astype(np.float32))
    scores = (vectors @ rng.standard_normal((5, 4)) + rng.standard_normal((300, 4)) > 0).T.astype(np.float32)
    train, fresh = make_table(scores[:, :200]), vectors[200:]
    told = MajorityVote(grid=(7,)).fit(train, vectors[:200], train, vectors[:200]).predict_proba(fresh)
    for model, own in enumerate(scores[:, :200]):
        oracle = KNeighborsClassifier(7, metric="cosine", algorithm="brute").fit(vectors[:200], own)
        np.testing.assert_array_equal(told[model] >= 0.5, oracle.predict(fresh) == 1)
        np.testing.assert_allclose(told[model], np.clip(oracle.predict_proba(fresh)[:, 1], CLIP, 1 - CLIP), atol=1e-6)


def test_k_is_chosen_for_accuracy_and_not_for_log_loss():
    """One neighbor is always right here; in log-loss its certainty costs nothing, but a single error would."""
    degrees = np.arange(0, 180, 2.0)
    scores = np.tile(np.float32([[1, 0]]), (2, 45))
    scores[1] = 1 - scores[1]
    train, val = make_table(scores), make_table(scores[:, :40])
    near = on_a_circle(degrees[:40] + 0.4)
    fitted = MajorityVote(grid=(1, 3)).fit(train, on_a_circle(degrees), val, near)
    assert fitted.choice == {"k": 1} and fitted.n_candidates == 2
    wrong = scores[:, :40].copy()
    wrong[:, :9] = 1 - wrong[:, :9]  # accuracy of one neighbor 31 of 40, of three 9 of 40; log-loss the other way round
    val = make_table(wrong)
    assert MajorityVote(grid=(1, 3)).fit(train, on_a_circle(degrees), val, near).choice == {"k": 1}
    shared = {"grid": (1, 3), "weights": ("even",), "centered": (False,), "pseudo": (1e-6,)}
    assert KNearestNeighbors(**shared).fit(train, on_a_circle(degrees), val, near).choice["k"] == 3


def test_a_model_that_no_neighbor_was_put_to_has_its_mean():
    train = make_table([[1, np.nan, np.nan, 0, 1], [1, 0, 1, 1, 1]])
    fitted = MajorityVote(grid=(1,)).fit(train, on_a_circle([0, 45, 90, 135, 170]), train,
                                         on_a_circle([0, 45, 90, 135, 170]))
    told = fitted.predict_proba(on_a_circle([46.0]))
    pool = np.nanmean(train.scores)
    np.testing.assert_allclose(told[:, 0], [(2 + pool) / 4, CLIP], rtol=1e-5)


@pytest.mark.parametrize("k", [1, 3])
def test_repeated_prompts_all_count(k):
    """Neighbors tied with the k-th do not depend on their order."""
    train, vectors = make_table([[1, 1, 0, 0]]), on_a_circle([0, 0, 0, 90])
    told = MajorityVote(grid=(k,)).fit(train, vectors, train, vectors).predict_proba(on_a_circle([1.0]))
    np.testing.assert_allclose(told, 2 / 3, rtol=1e-6)
