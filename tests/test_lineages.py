"""Near-copies and lineages, on tables made so that the answer is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import copies_and_others, make_table
from scipy.optimize import minimize
from scipy.special import expit

from embedllm.lineages import (
    FEWEST,
    RELATED,
    RIDGE_MODEL,
    RIDGE_QUESTION,
    disagreements,
    likeness,
    lineages,
    near_copies,
    representatives,
)


def answers(rng, n_models, n_questions, taste=0.0, family=None, steepness=0.0, missing=0.0) -> np.ndarray:
    """Right or wrong: ability minus difficulty, times how steep a question is, plus what a family shares."""
    logits = rng.standard_normal((n_models, 1)) - 1.5 * rng.standard_normal((1, n_questions))
    logits = np.exp(steepness * rng.standard_normal(n_questions)) * logits
    if family is not None:
        logits = logits + taste * rng.standard_normal((max(family) + 1, n_questions))[family]
    scores = np.float32(rng.random(logits.shape) < expit(logits))
    scores[rng.random(logits.shape) < missing] = np.nan
    return scores


def with_bases(table, bases):
    return replace(table, models=table.models.assign(base_model=bases))


def together(groups) -> np.ndarray:
    """Which pairs are in one group."""
    groups = np.asarray(groups)
    return groups[:, None] == groups


# near-copies


def test_near_copies_are_linked_and_one_stands_for_them(rng):
    scores = copies_and_others(rng)
    scores[0, :5] = np.nan
    table = make_table(scores)
    assert near_copies(table).tolist() == [0, 0, 0, 1]
    assert representatives(table).tolist() == [False, True, False, True], "most answers, then the first by name"
    few = make_table(np.float32([[1] * 50, [1] * 50]))
    assert near_copies(few).nunique() == 2, "on fifty questions nobody can tell"


@pytest.mark.parametrize(("differing", "n", "groups"), [
    (5, 100, 1), (6, 100, 2), (0, 99, 2), (20, 400, 1), (21, 400, 2)])
def test_from_95_of_100_common_questions_on_two_are_one(rng, differing, n, groups):
    """Other questions, which only one of them answered, say nothing."""
    own = np.float32(rng.random(n) < 0.5)
    other = np.where(np.arange(n) < differing, 1 - own, own)
    nothing = np.full(n, np.nan, np.float32)
    scores = [np.concatenate([own, own, nothing]), np.concatenate([other, nothing, own])]
    assert near_copies(make_table(np.stack(scores))).nunique() == groups


def test_models_that_are_nearly_always_wrong_are_no_copies(rng):
    scores = np.float32(rng.random((6, 400)) < 0.03)
    alike = (scores[:, None] == scores).mean(axis=2)
    assert (alike[np.triu_indices(6, 1)] > 0.9).all() and near_copies(make_table(scores)).nunique() == 6
    scores[1] = scores[0]
    scores[1, 7] = 1 - scores[0, 7]
    assert near_copies(make_table(scores)).tolist() == [0, 0, 1, 2, 3, 4]
    assert near_copies(make_table(np.ones((2, 400), np.float32))).nunique() == 2, "all right: nothing tells"


def test_a_graded_score_is_right_from_half_on():
    scores = np.float32([[0.5, 0.49] * 100, [1, 0] * 100, [0.5, 0.5] * 100, [0.2, 0.4] * 100])
    assert near_copies(make_table(scores)).tolist() == [0, 0, 1, 2]


def test_representatives_do_not_depend_on_the_order_of_models(rng):
    table = make_table(copies_and_others(rng))
    order = [2, 3, 1, 0]
    turned = replace(table, scores=table.scores[order], models=table.models.iloc[order])
    kept = [set(one.models.index[representatives(one)]) for one in (table, turned)]
    assert kept == [{"m0", "m3"}] * 2


# likeness


def plain(scores) -> np.ndarray:
    """Yen's Q3 written down: one fit of all parameters by scipy, then pair by pair."""
    n, asked = len(scores), ~np.isnan(scores)
    right = np.where(asked, scores, 0).astype(float)

    def loss(both):
        ability, difficulty = both[:n], both[n:]
        logits = ability[:, None] - difficulty
        error = np.where(asked, expit(logits) - right, 0)
        value = (np.where(asked, np.logaddexp(0, logits) - right * logits, 0).sum()
                 + RIDGE_MODEL / 2 * ability @ ability + RIDGE_QUESTION / 2 * difficulty @ difficulty)
        slope = error.sum(axis=1) + RIDGE_MODEL * ability, RIDGE_QUESTION * difficulty - error.sum(axis=0)
        return value, np.concatenate(slope)

    options = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-9}
    both = minimize(loss, np.zeros(sum(scores.shape)), jac=True, method="L-BFGS-B", options=options).x
    p = expit(both[:n, None] - both[n:])
    residual = (scores - p) / np.sqrt(p * (1 - p))
    found = np.eye(n)
    for one, other in zip(*np.triu_indices(n, 1), strict=True):
        common = asked[one] & asked[other]
        x, y = residual[one, common], residual[other, common]
        found[one, other] = found[other, one] = x @ y / np.sqrt((x @ x) * (y @ y))
    return found


@pytest.mark.parametrize("missing", [0, 0.3])
def test_likeness_is_that_of_a_plain_computation(rng, missing):
    scores = answers(rng, 10, 400, 1.5, [0, 0, 0, 1, 1, 1, 2, 2, 3, 3], missing=missing)
    found, expected = likeness(make_table(scores)), plain(scores)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    others = found[~np.eye(10, dtype=bool)]
    assert np.ptp(others) > 0.3 and (found == found.T).all() and found.dtype == np.float64


def test_two_that_share_few_questions_are_not_alike(rng):
    scores = np.tile(answers(rng, 2, 400), (2, 1))
    scores[0, :200] = scores[2, 200 + FEWEST - 1:] = np.nan
    found = likeness(make_table(scores))
    assert found[0, 2] == found[2, 0] == 0 and (np.diag(found) == 1).all() and found[1, 3] > 0.9
    scores[2, 200 + FEWEST - 1] = scores[0, 200 + FEWEST - 1]
    assert likeness(make_table(scores))[0, 2] > 0.5


def test_likeness_is_finite_whatever_the_scores(rng):
    scores = answers(rng, 12, 3000)
    scores[:2], scores[2], scores[3] = 1, 0, 0
    scores[3, 0], scores[:, 1], scores[:, 2] = 1, 1, 0
    for table in (make_table(scores), make_table(rng.random((6, 300))), make_table(np.ones((3, 200)))):
        found = likeness(table)
        assert np.isfinite(found).all() and np.abs(found).max() <= 1 + 1e-9


# lineages


@pytest.mark.parametrize(("family", "missing"), [
    (np.repeat(range(8), 3), 0), (np.repeat(range(9), [5, 4, 3, 2, 2, 1, 1, 1, 1]), 0),
    (np.repeat(range(9), [5, 4, 3, 2, 2, 1, 1, 1, 1]), 0.4)])
def test_planted_families_are_found(family, missing):
    """Residuals of two of a family correlate by about .4; ten pools."""
    for seed in range(10):
        scores = answers(np.random.default_rng(seed), len(family), 1000, 3.0, family, missing=missing)
        found = lineages(make_table(scores))
        np.testing.assert_array_equal(together(found), together(family))
        first = pd.Series(found.index, found.index).groupby(family).transform("min")
        assert found.tolist() == ("like " + first).tolist() and found.name == "lineage"


def test_a_weak_taste_joins_no_strangers():
    family = np.repeat(range(8), 3)
    for seed in range(10):
        found = lineages(make_table(answers(np.random.default_rng(seed), 24, 1000, 1.5, family)))
        assert not (together(found) & ~together(family)).any()


@pytest.mark.parametrize(("steepness", "n_questions"), [(0, 400), (0.8, 1000)])
def test_models_that_differ_in_ability_alone_are_no_family(steepness, n_questions):
    """At most one of 31,600 pairs in ten pools, also where the Rasch model does not hold."""
    false = [80 - lineages(make_table(answers(np.random.default_rng(seed), 80, n_questions, steepness=steepness)))
             .nunique() for seed in range(10)]
    assert sum(false) <= 1, false


def test_a_chain_is_no_family(monkeypatch):
    """Linked by the average: of three in a row the nearest two; and two that are just related."""
    alike = np.eye(5)
    for one, other, much in ((0, 1, 0.4), (1, 2, 0.39), (3, 4, RELATED)):
        alike[one, other] = alike[other, one] = much
    monkeypatch.setattr("embedllm.lineages.likeness", lambda table: alike)
    assert lineages(make_table(np.eye(5))).tolist() == ["like m0", "like m0", "like m2", "like m3", "like m3"]


def test_unknown_models_join_the_known_lineage_that_they_belong_to(rng):
    family = np.repeat(range(6), 4)
    table = make_table(answers(rng, 24, 1000, 3.0, family))
    bases = [f"base {number}" if number < 3 else None for number in family]
    bases[0] = bases[5] = bases[6] = ""
    found = lineages(with_bases(table, bases))
    expected = [f"base {number}" if number < 3 else f"like m{ {3: 12, 4: 16, 5: 20}[number]}" for number in family]
    assert found.tolist() == expected


def test_facts_are_followed_where_they_are_known(rng):
    """Also where the answers say otherwise, and whatever the missing ones are written as."""
    family = np.repeat(range(3), 4)
    table = make_table(answers(rng, 12, 600, 3.0, family))
    crossed = ["one", "two", "three", "four"] * 3
    assert lineages(with_bases(table, crossed)).tolist() == crossed
    some = [*crossed[:8], np.nan, None, "", np.nan]
    assert lineages(with_bases(table, some)).tolist() == [*crossed[:8], *["like m10"] * 4], "the first by name"
    alone = ["one"] * 11 + [None]
    apart = with_bases(make_table(answers(rng, 12, 600)), alone)
    assert lineages(apart).tolist() == ["one"] * 11 + ["like m11"]


def test_lineages_do_not_depend_on_the_order_of_the_table(rng):
    family = np.repeat(range(5), 3)
    table = with_bases(make_table(answers(rng, 15, 600, 3.0, family, missing=0.2)), ["known"] * 2 + [None] * 13)
    models, questions = rng.permutation(15), rng.permutation(600)
    turned = replace(table, scores=table.scores[models][:, questions], models=table.models.iloc[models],
                     questions=table.questions.iloc[questions])
    pd.testing.assert_series_equal(lineages(turned)[table.models.index], lineages(table))


def test_who_shares_no_question_with_others_stays_apart(rng):
    scores = np.tile(answers(rng, 2, 400), (2, 1))
    scores[:2, 250:], scores[2:, :200] = np.nan, np.nan
    assert lineages(make_table(scores)).nunique() == 4


@pytest.mark.parametrize("seed", range(20))
def test_models_that_answer_alike_are_one_lineage_and_no_error(seed):
    """Their likeness may come to lie above one by rounding."""
    rng = np.random.default_rng(seed)
    scores = (rng.random((4, 200)) < 0.6).astype(np.float32)
    scores[1] = scores[2] = scores[0]
    assert lineages(make_table(scores)).nunique() == 2
    assert lineages(make_table(np.ones((3, 200)))).nunique() >= 1


def test_models_disagree_on_what_one_answers_rightly_alone():
    nan = np.nan
    table = make_table(np.array([[1, 0, 1, nan], [1, 1, 0, 0.0], [nan, nan, nan, 0.7]], np.float32))
    np.testing.assert_allclose(disagreements(table), [[0, 2 / 3, 0], [2 / 3, 0, 1], [0, 1, 0]])
