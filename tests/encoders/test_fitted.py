"""Vectors without a pretrained encoder: what they see, what they learn from, how they are scaled."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer

from embedllm.encoders import fitted

TEXTS = [f"{'alpha beta' if n % 2 else 'gamma delta'} question {n % 7} of {n % 5} things" for n in range(60)]
TRAIN = np.arange(60) % 3 > 0


@pytest.mark.parametrize("name", ["tfidf", "features", "one_hot"])
def test_only_training_questions_are_learned_from(name):
    """What the others say changes nothing but their own vectors."""
    def function(texts, train):
        return getattr(fitted, name)(fitted.measured(texts) if name == "features" else texts, train)

    others = [text if train else "entirely different 123 words" for text, train in zip(TEXTS, TRAIN, strict=True)]
    own, changed = function(TEXTS, TRAIN), function(others, TRAIN)
    np.testing.assert_array_equal(own[TRAIN], changed[TRAIN])
    assert own.dtype == np.float32 and len(own) == 60
    assert (own[TRAIN] ** 2).sum(axis=1).mean() == pytest.approx(1, abs=1e-5)


def test_tfidf_keeps_the_cosines_of_the_weighted_counts():
    vectors = fitted.tfidf(TEXTS, TRAIN)
    counts = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit([TEXTS[n] for n in
                                                                                 np.flatnonzero(TRAIN)])
    exact = counts.transform(TEXTS).toarray()
    cosines = (vectors[TRAIN] @ vectors[TRAIN].T)[np.triu_indices(TRAIN.sum(), 1)]
    expected = (exact[TRAIN] @ exact[TRAIN].T)[np.triu_indices(TRAIN.sum(), 1)]
    assert np.abs(cosines - expected).max() < 0.02
    assert not fitted.tfidf([*TEXTS, "unheard"], np.append(TRAIN, False))[-1].any()


def test_features_see_length_digits_options_code_and_formulas():
    names = list(fitted.FEATURES)
    plain = "Which of these is it?"
    changes = {
        "words, log": plain + " and more words", "share of digits": plain + " 123456", "options": plain + "\nA. a",
        "signs of code, log": plain + " int f() { return 1; }", "signs of formulas, log": plain + r" $\frac{a}{b}$",
        "question marks": plain + " Is it?", "blanks to fill": plain + " ____", "share of capitals": plain + " NASA",
        "lines, log": plain + "\n\n", "share of signs": plain + " !!!", "numbers, log": plain + " 1 2 3",
        "letters, log": plain + " and more words", "letters per word": plain + " incomprehensibilities",
    }
    assert set(changes) == set(names)
    for name, text in changes.items():
        assert fitted.FEATURES[name](text) > fitted.FEATURES[name](plain), name
        assert all(np.isfinite(measure("")) for measure in fitted.FEATURES.values())
    vectors = fitted.features(fitted.measured(["the same"] * 5), np.full(5, True))
    assert not vectors.any(), "what does not vary tells nothing"


def test_a_label_that_training_lacks_has_no_place():
    vectors = fitted.one_hot(["b", "a", "b", "c"], np.array([True, True, True, False]))
    np.testing.assert_array_equal(vectors, [[0, 1], [1, 0], [0, 1], [0, 0]])


def test_reduced_vectors_are_principal_components(rng):
    vectors = (rng.standard_normal((200, 6)) * [5, 3, 1, 0.5, 0.1, 0]).astype(np.float32)
    train = np.arange(200) < 150
    own = fitted.reduced(vectors, train, 3)
    oracle = PCA(3).fit(vectors[train]).transform(vectors)
    oracle = oracle / np.sqrt((oracle[train] ** 2).sum(axis=1).mean())
    np.testing.assert_allclose(np.abs(own), np.abs(oracle), atol=1e-4)
    assert fitted.reduced(vectors, train, 50).shape == (200, 5), "what does not vary is left out"
    assert fitted.reduced(np.ones((5, 3), np.float32), np.full(5, True), 2).shape == (5, 1)
