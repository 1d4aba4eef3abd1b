"""Pools without specialization: planted parameters are recovered, and worlds drawn from a fit look like its pool."""

import numpy as np
import pytest
from scipy.special import expit

from embedllm.evaluation import irt
from embedllm.evaluation.rasch import fit_one_dimensional

N_MODELS, N_QUESTIONS = 40, 2000
GUESSING = np.array([0.02, 0.1, 0.25, 0.4])  # of the benchmarks


def planted(null: irt.Null, seed=0, n_models=N_MODELS, n_questions=N_QUESTIONS, missing=0.2, dim=8):
    """A pool of a null: what was planted, by name, and the scores."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n_questions, dim)) / dim**0.5
    text = vectors @ rng.standard_normal(dim)
    text *= 0.9 / text.std()
    abilities = rng.normal(0, 0.9, n_models)
    difficulty = 0.3 + text + rng.normal(0, 1.2, n_questions)
    discrimination = null.discriminates * rng.normal(0, 0.4, n_questions)
    benchmark = rng.integers(len(GUESSING), size=n_questions)
    c = null.guesses * GUESSING[benchmark]
    right = rng.random((n_models, n_questions)) < c + (1 - c) * expit(
        np.exp(discrimination) * (abilities[:, None] - difficulty))
    scores = np.where(rng.random(right.shape) < missing, np.nan, right).astype(np.float32)
    return {"vectors": vectors, "text": text, "abilities": abilities, "difficulty": difficulty,
            "discrimination": discrimination, "benchmark": benchmark}, scores


@pytest.fixture(scope="module", params=list(irt.NULLS))
def case(request):
    null = irt.NULLS[request.param]
    truth, scores = planted(null)
    return null, truth, scores, irt.fit(null, scores, truth["vectors"], truth["benchmark"])


def test_planted_parameters_are_recovered(case):
    null, truth, _, pool = case
    assert np.corrcoef(pool.abilities, truth["abilities"])[0, 1] > 0.99
    # The unit: abilities are known to about 4 % of their spread; guessing takes information away and is itself unsure.
    assert np.polyfit(truth["abilities"], pool.abilities, 1)[0] == pytest.approx(1, abs=0.12 if null.guesses else 0.06)
    assert pool.difficulty_sd == pytest.approx(1.2, abs=0.12 if null.guesses else 0.08)
    assert pool.discrimination_sd == pytest.approx(0.4 * null.discriminates, abs=0.08)
    level = truth["abilities"].mean()  # fitted abilities have mean zero
    assert pool.read.mean() == pytest.approx(0.3 + truth["text"].mean() - level, abs=0.15)
    assert np.corrcoef(pool.read, truth["text"])[0, 1] > 0.99
    assert pool.read.std() == pytest.approx(0.9, abs=0.12)
    for number, c in enumerate(GUESSING):
        found = pool.guessing[truth["benchmark"] == number]
        assert np.ptp(found) == 0
        assert found[0] == pytest.approx(c, abs=0.08) if null.guesses else not found[0]


def test_what_is_drawn_of_a_question_is_as_sure_as_it_ought_to_be(case):
    """The truth lies within the middle 90 % of the draws for about 90 % of the questions, of the hard ones as well."""
    _, truth, _, pool = case
    rng = np.random.default_rng(1)
    drawn = np.array([pool.questions(rng)[:, 0] for _ in range(200)])
    true = truth["difficulty"] - truth["abilities"].mean()
    ties = 1e-6 * rng.standard_normal(drawn.shape)  # draws are nodes
    rank = (drawn + ties < true).mean(axis=0)
    within, hard = (rank > 0.05) & (rank < 0.95), true > np.median(true)
    # Of 2,000 questions a share has an SD of .007; the population is taken as known, and draws lie half an SD apart.
    assert within.mean() == pytest.approx(0.89, abs=0.03)
    assert within[hard].mean() == pytest.approx(0.89, abs=0.04)
    assert np.corrcoef(drawn.mean(axis=0), true)[0, 1] > 0.88


def test_worlds_keep_the_means_of_questions_and_models(case):
    _, _, scores, pool = case
    rng = np.random.default_rng(2)
    worlds = np.array([pool.draw(rng) for _ in range(20)])
    assert worlds.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(worlds), np.broadcast_to(np.isnan(scores), worlds.shape))
    np.testing.assert_allclose(np.nanmean(worlds, axis=(0, 2)), np.nanmean(scores, axis=1), atol=0.01)
    means, expected = np.nanmean(scores, axis=0), np.nanmean(worlds, axis=(0, 1))
    assert np.corrcoef(means, expected)[0, 1] > 0.97
    one = np.nanmean(worlds[0], axis=0)
    assert one.std() == pytest.approx(means.std(), rel=0.03)
    # Beyond its own mean nothing of a question's answers is kept: residuals of a world and of the pool are unrelated.
    rest = [np.nan_to_num(answers - expected - np.nanmean(answers - expected, axis=1, keepdims=True)).ravel()
            for answers in (worlds[0] - one + expected, scores - means + expected)]
    strong = np.corrcoef(*rest)[0, 1]
    assert abs(strong) < 0.2  # what is left is ability, which tells more on questions of middle difficulty


def test_without_text_a_rasch_pool_is_that_of_rasch():
    _, scores = planted(irt.NULLS["Rasch"], n_questions=1500)
    pool = irt.fit(irt.NULLS["Rasch"], scores, np.zeros((1500, 4)), np.zeros(1500))
    other = fit_one_dimensional(scores)
    np.testing.assert_allclose(pool.abilities, other.abilities - other.abilities.mean(), atol=0.01)
    assert pool.difficulty_sd == pytest.approx(other.difficulty_sd, abs=0.01)


def test_few_answers_leave_a_question_where_its_text_puts_it():
    truth, scores = planted(irt.NULLS["2PL"], n_models=6, n_questions=1200, missing=0.0)
    scores[1:, :600] = np.nan
    pool = irt.fit(irt.NULLS["2PL"], scores, truth["vectors"], truth["benchmark"])
    drawn = np.mean([pool.questions(np.random.default_rng(seed))[:, 0] for seed in range(40)], axis=0)
    few, many = drawn[:600], drawn[600:]
    assert np.corrcoef(few, pool.read[:600])[0, 1] > 0.7
    assert np.corrcoef(many, truth["difficulty"][600:])[0, 1] > np.corrcoef(few, truth["difficulty"][:600])[0, 1]


@pytest.mark.parametrize("null", irt.NULLS.values(), ids=list(irt.NULLS))
def test_models_without_an_error_or_a_right_answer_stay_finite(null):
    truth, scores = planted(null, n_models=8, n_questions=300)
    scores[0], scores[1] = np.where(np.isnan(scores[0]), np.nan, 1), np.where(np.isnan(scores[1]), np.nan, 0)
    pool = irt.fit(null, scores, truth["vectors"], truth["benchmark"])
    assert np.isfinite(pool.abilities).all()
    assert (pool.abilities.argmax(), pool.abilities.argmin()) == (0, 1)
    assert set(np.unique(pool.draw(np.random.default_rng(0))[~np.isnan(scores)])) == {0, 1}
