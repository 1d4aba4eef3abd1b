"""A vector from a few answers: the most likely one, as sure as it is, whatever stands beside it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import make_table
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import binom

from embedllm.experiments import null_data
from embedllm.experiments.newcomers import embedded
from embedllm.experiments.small_pools import pool
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.new_models.onboarding import Shared, onboard, person_fit
from embedllm.new_models.places import along_size, within_lineages
from embedllm.new_models.sharing import deviations, out_of_sample, shared_parts
from embedllm.outcomes import replace_unchecked, without


def shared(rng, n=300, k=4, doubt=0.0) -> Shared:
    return Shared(rng.normal(size=(n, k)), rng.normal(size=n), np.full(n, doubt), np.zeros(2), np.eye(2),
                  np.full(2, True), 0.1 * np.eye(2), np.zeros((2, 2)), np.zeros(0), np.eye(2))


def drawn(rng, at: Shared, n_models: int) -> tuple[np.ndarray, np.ndarray]:
    """Models from the prior, and their answers."""
    z = rng.normal(size=(n_models, at.design.shape[1]))
    logit = at.offset + z @ at.design.T + rng.normal(size=(1, len(at.offset))) * np.sqrt(at.doubt)
    return z, (rng.random(logit.shape) < expit(logit)).astype(float)


def hidden(rng, answers: np.ndarray, n: int) -> np.ndarray:
    """n answers of each model, others each; the rest NaN."""
    seen = np.full(answers.shape, np.nan)
    for row, own in zip(seen, answers, strict=True):
        asked = rng.choice(len(own), n, replace=False)
        row[asked] = own[asked]
    return seen


def test_it_is_the_most_likely_vector_and_its_curvature():
    rng = np.random.default_rng(0)
    at = shared(rng)
    _, answers = drawn(rng, at, 3)
    seen = hidden(rng, answers, 40)
    found = onboard(at, seen)
    for z, covariance, own in zip(found.z, found.covariance, seen, strict=True):
        asked = ~np.isnan(own)
        x, o, y = at.design[asked], at.offset[asked], own[asked]
        best = minimize(lambda b, x=x, o=o, y=y: np.logaddexp(0, o + x @ b).sum() - y @ (o + x @ b) + b @ b / 2,
                        np.zeros(4), tol=1e-12).x
        np.testing.assert_allclose(z, best, atol=1e-4)
        p = expit(o + x @ best)
        np.testing.assert_allclose(covariance, np.linalg.inv(x.T @ (x * (p * (1 - p))[:, None]) + np.eye(4)), rtol=1e-3)


def test_models_do_not_depend_on_each_other_and_one_without_answers_keeps_the_prior():
    rng = np.random.default_rng(1)
    at = shared(rng)
    seen = hidden(rng, drawn(rng, at, 4)[1], 30)
    seen[1, 5:] = np.nan
    seen[2] = np.nan
    together = onboard(at, seen)
    for row in range(4):
        alone = onboard(at, seen[[row]])
        np.testing.assert_allclose(alone.z[0], together.z[row], atol=1e-6)
    np.testing.assert_array_equal(together.z[2], 0)
    np.testing.assert_allclose(together.covariance[2], np.eye(4))
    assert np.isfinite(onboard(at, np.where(np.isnan(seen), np.nan, 1.0)).z).all(), "all right"


@pytest.mark.parametrize("doubt", [0.0, 1.0])
def test_forecasts_average_over_what_is_not_known(doubt):
    rng = np.random.default_rng(2)
    at = shared(rng, doubt=doubt)
    found = onboard(at, hidden(rng, drawn(rng, at, 1)[1], 10))
    z = rng.multivariate_normal(found.z[0], found.covariance[0], 40_000)
    logit = at.offset[:20] + z @ at.design[:20].T + rng.normal(size=(40_000, 20)) * np.sqrt(doubt)
    np.testing.assert_allclose(found.forecast()[0, :20], expit(logit).mean(axis=0), atol=0.02)


@pytest.mark.parametrize("n", [5, 60])
def test_intervals_hold_what_they_promise_where_the_model_is_right(n):
    rng = np.random.default_rng(3)
    at = shared(rng)
    _, answers = drawn(rng, at, 300)
    seen = hidden(rng, answers, n)
    groups = np.stack([np.full(300, True), np.arange(300) < 60])
    value, low, high = onboard(at, seen).accuracies(seen, groups)
    truth = answers @ groups.T / groups.sum(axis=1)
    inside = ((low <= truth) & (truth <= high)).sum(axis=0)
    assert (binom.ppf(0.001, 300, 0.95) <= inside).all() and (inside <= binom.ppf(0.999, 300, 0.95)).all()
    raw = np.nanmean(seen, axis=1)
    assert np.abs(value[:, 0] - truth[:, 0]).mean() < np.abs(raw - truth[:, 0]).mean()
    everything = onboard(at, answers[:2]).accuracies(answers[:2], groups)
    np.testing.assert_allclose(np.stack(everything), np.stack([truth[:2]] * 3))


@pytest.fixture(scope="module")
def planted():
    one = pool(5, 24, {})
    return one.table, one.vectors, embedded(one.table, one.vectors, 0)


@pytest.mark.parametrize("answered", [True, False])
def test_a_model_of_the_pool_gets_its_vector_back(planted, answered):
    table, vectors, embedding = planted
    parts = shared_parts(embedding, table, vectors, table.models["lineage"], answered=answered)
    found = onboard(parts, table.scores.astype(float))
    assert np.corrcoef(found.vectors[:, 0], embedding.model_vectors[:, 0])[0, 1] > 0.98
    def loss(p):
        return -np.mean(table.scores * np.log(p) + (1 - table.scores) * np.log1p(-p))

    own = loss(embedding.predict_proba(vectors).astype(float))
    assert loss(found.forecast()) < (own - 0.02 if answered else own + 0.005)
    assert (parts.doubt > 0).all() == answered


def test_a_question_is_told_without_its_own_answers(planted):
    table, vectors, embedding = planted
    asked = np.arange(table.shape[1]) % 4 > 0
    known = replace_unchecked(table, scores=np.where(asked, table.scores, np.nan).astype(np.float32))
    found, own = out_of_sample(embedding, known, vectors), embedding.question_vectors(vectors)
    np.testing.assert_array_equal(found[~asked], own[~asked])
    turned = known.scores.copy()
    turned[:, 1] = 1 - turned[:, 1]
    again = out_of_sample(embedding, replace_unchecked(known, scores=turned), vectors)
    np.testing.assert_array_equal(found[1], again[1])
    assert not np.allclose(found[asked], again[asked])
    first = own[:, 1] / own[:, 1].std()
    assert 0.5 < np.corrcoef(found[asked, 1], first[asked])[0, 1] < 0.999, "the same direction"


def test_the_more_a_new_model_answers_the_better_it_is_forecast_elsewhere():
    """Models are apart in what no text tells; with as many numbers as questions an embedding remembers it."""
    rng = np.random.default_rng(0)
    n_models, n_questions, width = 60, 240, 110
    vectors = rng.normal(size=(n_questions, width)) / np.sqrt(width)
    taste = rng.normal(size=(n_models, 2)) @ rng.normal(size=(2, n_questions)) * 1.5
    chance = expit(rng.normal(size=(n_models, 1)) + rng.normal(size=n_questions) + taste)
    table = make_table((rng.random(chance.shape) < chance).astype(np.float32))
    asked, new = np.arange(n_questions) % 2 == 0, np.arange(n_models) % 4 == 0
    pool = without(table, list(table.models.index[new]))
    unread = replace_unchecked(pool, scores=np.where(asked, pool.scores, np.nan).astype(np.float32))
    one = ConvexEmbedding(shared=(0.25,), own=(0.02,)).fit(*(unread.at(asked), vectors[asked]) * 2)

    def losses(coordinates: np.ndarray | None) -> list[float]:
        parts = shared_parts(one, unread, vectors, None, coordinates, answered=False, labeled=False)
        found = []
        for n in (15, 120):
            seen = np.where(np.cumsum(asked) <= n, np.where(asked, table.scores[new], np.nan), np.nan)
            p, truth = onboard(parts, seen).forecast()[:, ~asked], chance[new][:, ~asked]
            found.append(-(truth * np.log(p) + (1 - truth) * np.log1p(-p)).mean())
        return found

    (few, many), (before, harmed) = losses(out_of_sample(one, unread, vectors)), losses(None)
    assert many < few - 0.01 and harmed > before + 0.05


def test_lineages_count_once(planted):
    table, vectors, embedding = planted
    alone = shared_parts(embedding, table, vectors)
    lineages = np.where(np.arange(24) < 12, "one", table.models.index.astype(str))
    weighed = shared_parts(embedding, table, vectors, lineages)
    levels = embedding.model_vectors[:, 0]
    assert alone.mean[0] == pytest.approx(levels.mean())
    assert weighed.mean[0] == pytest.approx((levels[:12].mean() + levels[12:].sum()) / 13)


def test_a_new_model_is_expected_to_lie_as_far_apart_as_lineages_do():
    """Its mean score, before any answer; forecasts from the text alone lie too close together."""
    ratios = []
    for seed in range(4):
        one = pool(seed, 40, {"kappa": 0, "alpha_mean": 0, "alpha_spread": 0, "guessing": False,
                              "format_failures": False})
        table, nothing = one.table, np.full((1, one.table.shape[1]), np.nan)
        parts = shared_parts(embedded(table, one.vectors, 1), table, one.vectors, table.models["lineage"])
        _, [[low]], [[high]] = onboard(parts, nothing).accuracies(nothing, np.full(nothing.shape, True))
        spread = pd.Series(table.scores.mean(axis=1)).groupby(table.models["lineage"].to_numpy(str)).mean().std()
        ratios.append((high - low) / (2 * 1.96 * spread))
    assert 0.95 < np.mean(ratios) < 1.25


def test_how_hard_questions_are_is_not_drawn_too_far_to_the_middle():
    """Widely spread difficulties that the text does not tell, and a pool of few models."""
    rng = np.random.default_rng(5)
    ability, ease = rng.normal(0, 0.7, (60, 1)), rng.normal(0, 2.0, 1500)
    scores = (rng.random((60, 1500)) < expit(ability + ease)).astype(np.float32)
    table, vectors = make_table(scores[:20]), rng.normal(size=(1500, 8)).astype(np.float32)
    parts = shared_parts(embedded(table, vectors, 1), table, vectors)
    seen = np.where(np.arange(1500) < 200, scores[20:], np.nan)
    told, real = onboard(parts, seen).forecast()[:, 200:], scores[20:, 200:]
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.7), (0.7, 0.9), (0.9, 1)):
        own = (told >= low) & (told < high)
        assert own.sum() > 2000 and real[own].mean() == pytest.approx(told[own].mean(), abs=0.03)


def test_deviations_on_a_benchmark_are_as_high_as_they_were_planted():
    """Also where the embedding of the pool has taken them up: the coordinates of a new model are not known yet."""
    rng, benchmarks = np.random.default_rng(0), np.repeat(np.arange(4), 200)
    own, ease = rng.normal(0, 0.8, (40, 4)), rng.normal(0, 1, 800)
    logits = rng.normal(0, 0.5, (40, 1)) + own[:, benchmarks] + ease
    table = make_table(rng.random(logits.shape) < 1 / (1 + np.exp(-logits)), benchmarks.astype(str))
    vectors = (np.eye(4)[benchmarks] + 0.1 * rng.normal(size=(800, 4))).astype(np.float32)
    parts = shared_parts(embedded(table, vectors, 1), table, vectors)
    heights = parts.design[:, len(parts.mean) + 1 :].max(axis=0)
    np.testing.assert_allclose(heights, (own - own.mean(axis=1, keepdims=True)).std(axis=0), rtol=0.3)


def test_deviations_are_found_at_every_height_of_the_tree():
    """On all questions, on three suites, on four benchmarks of each and along ease, around a level that is known."""
    rng, benchmarks = np.random.default_rng(7), np.repeat(np.arange(12), 250)
    everywhere, suite, own = (rng.normal(0, height, (150, n)) for height, n in ((0.4, 1), (0.6, 3), (0.5, 12)))
    ease = rng.normal(0, 1, 3000)
    steep = rng.normal(0.1, 0.25, (150, 1))  # its mean is of no account
    answers = rng.random((150, 3000)) < expit(
        ease * (1 + steep) + everywhere + suite[:, benchmarks // 4] + own[:, benchmarks])
    table = make_table(answers, benchmarks.astype(str))
    table.questions["suite"] = (benchmarks // 4).astype(str)
    columns = deviations(table, np.tile(ease, (150, 1)))
    heights = columns[:, 1:].max(axis=0)
    assert columns.shape == (3000, 17) and np.isin(columns[:, 1:], [*heights, 0]).all()
    np.testing.assert_allclose(columns[:, 0] / (ease - ease.mean()), 0.25, atol=0.05)
    np.testing.assert_allclose(heights[0], 0.4, atol=0.12)
    np.testing.assert_allclose(heights[1:4], 0.6, atol=0.15)
    np.testing.assert_allclose(heights[4:], 0.5, atol=0.15)
    alone = deviations(table.at(benchmarks == 0), np.tile(ease[:250], (150, 1)))
    assert alone.shape == (250, 2) and alone[:, 1].max() == pytest.approx(np.sqrt(0.4**2 + 0.6**2 + 0.5**2), abs=0.15)


@pytest.mark.parametrize("n", [64, 512, 4000])
def test_a_model_like_the_pool_is_not_found_odd_however_much_it_answers(n):
    rng, found = np.random.default_rng(9), []
    for number in range(80):
        at, answers = null_data.newcomer(rng, number >= 60, n)
        found.append(person_fit(at, answers[None])[0])
    usual, guessing = np.array(found[:60]), np.array(found[60:])
    assert np.mean(usual < -3) == 0 and 0.4 < np.std(usual) < 1.2
    assert np.mean(guessing < -3) > (0.4 if n == 64 else 0.9)


def test_models_unlike_the_pool_are_noticed():
    rng = np.random.default_rng(4)
    at = shared(rng)
    _, answers = drawn(rng, at, 200)
    usual = hidden(rng, answers, 64)
    z = person_fit(at, usual)
    assert -1 < z.mean() < 0.5 and 0.5 < z.std() < 1.3 and (z < -3).mean() == 0
    _, answers = drawn(rng, at, 200)
    chosen = rng.random(answers.shape)
    for tampered, power in ((chosen < 0.5, 0.9), (np.where(chosen < 0.5, 1, answers), 0.5),
                            (np.where(chosen < 0.4, 0, answers), 0.5)):
        seen = hidden(rng, tampered.astype(float), 250)
        assert (person_fit(at, seen) < -3).mean() > power
    assert np.isnan(person_fit(at, np.full((1, 300), np.nan))).all()


def test_a_relative_is_expected_where_the_joint_distribution_of_its_lineage_says():
    """The center of a lineage and its models are normal: the next model's mean and covariance given three of them."""
    rng = np.random.default_rng(5)
    x, half = rng.normal(size=(30, 3)), rng.normal(size=(3, 3))
    root = np.linalg.cholesky(np.cov(rng.normal(size=(3, 9))))
    between, within = root @ root.T, 0.3 * half @ half.T
    root = np.linalg.cholesky(between + within)
    mean, offset, own = rng.normal(size=3), rng.normal(size=30), rng.normal(size=(30, 2))
    at = Shared(np.hstack([x @ root, own]), offset, np.zeros(30), mean, root, np.array([0, 2, 3]), within,
                np.zeros((2, 3)), np.zeros(0), within)
    vectors = rng.normal(size=(3, 5))
    found = at.of_relatives(vectors)
    joint = np.kron(np.ones((4, 4)), between) + np.kron(np.eye(4), within)
    gain = joint[:3, 3:] @ np.linalg.inv(joint[3:, 3:])
    expected = mean + gain @ (vectors[:, [0, 2, 3]] - mean).ravel()
    covariance = joint[:3, :3] - gain @ joint[3:, :3]
    np.testing.assert_allclose(found.mean, expected)
    np.testing.assert_allclose(found.root @ found.root.T, covariance, atol=1e-12)
    z = rng.normal(size=5)
    point = found.mean + found.root @ z[:3]
    np.testing.assert_allclose(found.offset + found.design @ z, offset + x @ (point - mean) + own @ z[3:])
    assert at.of_relatives(vectors[:0]) is at
    alone = replace(at, within=np.full((3, 3), np.nan))
    assert alone.of_relatives(vectors) is alone


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_how_alike_relatives_are_is_found(share):
    """Vectors of many lineages of four, so much of their variance within lineages, and a prior from them."""
    rng = np.random.default_rng(6)
    lineages = np.repeat(np.arange(60), 4)
    points = np.sqrt(1 - share) * rng.normal(size=(60, 3))[lineages] + np.sqrt(share) * rng.normal(size=(240, 3))
    total = np.cov(points.T)
    within = within_lineages(points, lineages, np.full(60, 4), total)
    np.testing.assert_allclose(within, share * np.eye(3), atol=0.2)
    assert np.linalg.eigvalsh(total - within).min() > -1e-12
    at = Shared(np.eye(3) @ np.linalg.cholesky(total), np.zeros(3), np.zeros(3), np.zeros(3), np.linalg.cholesky(total),
                np.arange(3), within,
                np.zeros((2, 3)), np.zeros(0), within)
    found = at.of_relatives(np.full((2, 3), 2.0))
    gain = (1 - share) / (1 - share + share / 2)
    np.testing.assert_allclose(found.mean, 2 * gain, atol=0.25)
    np.testing.assert_allclose(found.root @ found.root.T, (1 - gain * (1 - share)) * np.eye(3), atol=0.2)
    assert np.linalg.eigvalsh(total - found.root @ found.root.T).min() > -1e-9, "relatives never tell less than nothing"


def test_a_size_moves_what_is_expected_and_narrows_it():
    """Levels that go along with size, as statsmodels fits them; coordinates that do not."""
    rng, of = np.random.default_rng(8), np.repeat(np.arange(30), [3] * 10 + [1] * 20)
    told = np.log(rng.uniform(1, 70, 30))[of]
    points = np.column_stack([0.8 * told + rng.normal(0, 0.5, 50), rng.normal(size=50)])
    weights = 1 / np.bincount(of)[of]
    points -= np.average(points, axis=0, weights=weights)
    total = np.cov(points.T, aweights=weights)
    told[[4, 40]] = np.nan
    by_size, sizes, given = along_size(points, told, of, total)
    known = np.isfinite(told)
    lineages = 1 / np.unique(of[known], return_counts=True)[1][np.unique(of[known], return_inverse=True)[1]]
    assert sizes.mean() == pytest.approx(np.average(told[known], weights=lineages)) and len(sizes) == 29
    for own, coefficients in zip(points.T, by_size.T, strict=True):
        fit = sm.WLS(own[known], sm.add_constant(told[known] - sizes.mean()), weights=lineages).fit()
        np.testing.assert_allclose(fit.params, coefficients)
    fit = sm.WLS(points[known, 0], sm.add_constant(told[known]), weights=lineages).fit()
    assert given[0, 0] == pytest.approx(fit.ssr / 27, rel=1e-4) and given[0, 0] < 0.6 * total[0, 0]
    root, design = np.linalg.cholesky(total), rng.normal(size=(40, 2))
    at = Shared(design @ root, np.zeros(40), np.zeros(40), np.zeros(2), root, np.arange(2), np.full((2, 2), np.nan),
                by_size, sizes, given)
    line = sm.OLS(rng.normal(size=29), sm.add_constant(sizes)).fit()
    for size in (3, 60):
        found, there = at.of_size(size), line.get_prediction([1, np.log(size)])
        np.testing.assert_allclose(found.mean, by_size[0] + by_size[1] * (np.log(size) - sizes.mean()))
        np.testing.assert_allclose(found.root @ found.root.T, given * there.se_obs**2 / line.scale, atol=1e-12)
        np.testing.assert_allclose(found.offset, design @ found.mean)
    np.testing.assert_array_equal(at.of_size(1e6).mean, at.of_size(np.exp(sizes.max())).mean)
    assert at.of_size(np.nan) is at
    for few in (np.where(of < 7, told, np.nan), rng.permutation(told), np.where(known, 2.0, np.nan)):
        assert not len(along_size(points, few, of, total)[1])
