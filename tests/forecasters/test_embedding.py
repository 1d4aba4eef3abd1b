"""The convex embedding: equal to other solvers, one solution whatever the order, the seed or the threads."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import torch
from conftest import make_parts, make_table
from scipy.linalg import subspace_angles
from scipy.optimize import minimize
from scipy.spatial.distance import pdist
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from embedllm.forecasters.contract import Forecaster
from embedllm.forecasters.embedding import ConvexEmbedding
from embedllm.forecasters.low_rank import ANCHOR, Expansion, Solver
from embedllm.forecasters.means import smoothed_means
from embedllm.forecasters.trace_norm import SMOOTHING
from embedllm.machine import threads
from embedllm.probing.geometry import distances_without_level, identified_coordinates


def draw(rng, n_models, n_questions, d_prompt=20, missing=0.0, graded=False):
    """Parts whose models deviate along two directions, in prompts of uneven spread away from zero."""
    vectors = rng.standard_normal((n_questions, d_prompt)) * np.geomspace(2, 0.2, d_prompt) + 1
    w, p, q = rng.standard_normal(d_prompt), rng.standard_normal((n_models, 2)), rng.standard_normal((2, d_prompt))
    logits = rng.standard_normal((n_models, 1)) + (w + p @ q) @ (vectors - 1).T / 3
    parts = make_parts(logits, vectors, missing=missing)
    if graded:
        parts = {part: (replace(table, scores=(table.scores + 1) / 3), e) for part, (table, e) in parts.items()}
    return parts


def fit(parts, **settings):
    return ConvexEmbedding(**settings).fit(*parts["train"], *parts["val"])


def logits_of(fitted, vectors):
    return fitted.intercepts[:, None] + fitted.betas @ vectors.T.astype(float)


def standardized(vectors):
    x = vectors - vectors.mean(axis=0, dtype=float)
    scale = sqrt((x**2).sum(axis=1).mean())
    return x / scale, scale


def objective(train, x, levels, slopes, shared, own):
    """What is minimized, as the docstring of `low_rank` writes it."""
    logits, y = levels[:, None] + slopes @ x.T, np.nan_to_num(train.scores)
    loss = ((np.logaddexp(0, logits) - y * logits) * train.observed).sum() / train.observed.sum()
    means = smoothed_means(train)
    loss += ANCHOR / 2 * ((levels - np.log(means / (1 - means))) ** 2).sum()
    w = slopes.mean(axis=0)
    sizes = np.linalg.svd(slopes - w, compute_uv=False) / sqrt(len(slopes))
    return loss + shared / 2 * w @ w + own * np.sqrt(sizes**2 + SMOOTHING**2).sum()


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_without_deviations_it_is_the_ridge_logistic_with_a_level_per_model(rng, missing):
    parts, s = draw(rng, 6, 500, missing=missing), 3.0
    train, vectors = parts["train"]
    x, scale = standardized(vectors)
    penalty = s / (train.observed.sum() / 6)

    def loss(point):
        return objective(train, x, point[:6], np.tile(point[6:], (6, 1)), penalty, 0)

    oracle = minimize(loss, np.zeros(6 + x.shape[1]), method="BFGS", options={"gtol": 1e-7}).x
    for settings in ({"dim": 1}, {"own": (1e6,)}):
        fitted = fit(parts, shared=(s,), **settings)
        np.testing.assert_allclose(fitted.model_vectors[:, 0], oracle[:6], atol=2e-4)
        np.testing.assert_allclose(fitted.betas * scale, np.tile(oracle[6:], (6, 1)), atol=1e-3)


def test_one_model_is_a_logistic_regression(rng):
    parts = draw(rng, 1, 800)
    train, vectors = parts["train"]
    x, scale = standardized(vectors)
    oracle = LogisticRegression(C=1 / 2.0, tol=1e-10, max_iter=10_000).fit(x, train.scores[0])
    fitted = fit(parts, shared=(2.0,))
    assert fitted.model_vectors.shape == (1, 1)
    np.testing.assert_allclose(fitted.betas * scale, oracle.coef_, atol=1e-4)
    np.testing.assert_allclose(fitted.model_vectors[0], oracle.intercept_, atol=1e-4)


@pytest.mark.parametrize(("n_models", "graded"), [(7, False), (30, True)])
def test_derivatives_are_those_of_the_objective(rng, n_models, graded):
    """With fewer models than axes and with more; of the gradient, and of the curvature where cells are missing."""
    train, vectors = draw(rng, n_models, 300, d_prompt=12, missing=0.3, graded=graded)["train"]
    x, h = standardized(vectors)[0], 1e-5
    with threads(1), ThreadPoolExecutor(1) as pool:
        solver = Solver(train, x, pool)
        size = n_models * 13
        point, step, other = rng.standard_normal((3, size)) * np.array([[0.5], [1], [1]])

        def value(at):
            levels, slopes = solver.unpack(at)
            return objective(train, x @ solver.axes, levels, slopes, 0.02, 0.03)

        def around(at):
            return Expansion(solver, at, 0.02, 0.03, torch.float64)

        here = around(point)
        slope = (value(point + h * step) - value(point - h * step)) / (2 * h)
        np.testing.assert_allclose(here.gradient @ step, slope, rtol=1e-6)
        change = (around(point + h * step).gradient - around(point - h * step).gradient) / (2 * h)
        around(point)  # curvature is taken where the last gradient was
        np.testing.assert_allclose(here.curvature(step.astype(np.float32)), change, atol=1e-5 * np.abs(change).max())
        there, back = (here.precondition(one.astype(np.float32)) for one in (step, other))
        np.testing.assert_allclose(there @ other, back @ step, rtol=1e-3)  # symmetric, as conjugate gradients need


@pytest.mark.parametrize("n_models", [8, 40])
def test_the_solution_is_the_lowest_point(rng, n_models):
    parts = draw(rng, n_models, 400, missing=0.2)
    train, vectors = parts["train"]
    x, scale = standardized(vectors)
    fitted = fit(parts, shared=(1.0,), own=(0.1,))
    n = train.observed.sum() / n_models
    solution, h = np.column_stack([fitted.model_vectors[:, 0], fitted.betas * scale]), 1e-3

    def value(at):
        return objective(train, x, at[:, 0], at[:, 1:], 1.0 / n, 0.1 / sqrt(n))

    for _ in range(20):
        step = rng.standard_normal(solution.shape)
        beyond, before, lowest = value(solution + h * step), value(solution - h * step), value(solution)
        assert min(beyond, before) > lowest
        assert abs(beyond - before) < 1e-2 * (beyond + before - 2 * lowest)  # the slope is that of 1e-5 of the step


def test_the_order_of_models_and_questions_does_not_matter(rng):
    parts = draw(rng, 9, 1300, missing=0.1)
    fitted = fit(parts)
    models = rng.permutation(9)
    shuffled = {}
    for part, (table, vectors) in parts.items():
        order = rng.permutation(len(vectors))
        table = replace(table.at(order), scores=table.scores[models][:, order], models=table.models.iloc[models])
        shuffled[part] = table, vectors[order]
    other = fit(shuffled)
    assert other.penalties == fitted.penalties
    np.testing.assert_allclose(other.model_vectors, fitted.model_vectors[models], atol=1e-5)
    vectors = parts["test"][1]
    np.testing.assert_allclose(other.question_vectors(vectors), fitted.question_vectors(vectors), atol=1e-5)


def test_two_fits_are_equal_to_the_last_bit_whatever_the_number_of_threads(rng):
    parts, before = draw(rng, 30, 5000, d_prompt=60), torch.get_num_threads()
    try:
        found = []
        for number in (1, 2, 2):
            torch.set_num_threads(number)
            found.append(fit(parts))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert np.abs(logits_of(other, parts["test"][1]) - logits_of(found[0], parts["test"][1])).max() < 1e-5
        for name in ConvexEmbedding.LEARNED:
            np.testing.assert_array_equal(getattr(other, name), getattr(found[0], name))


def test_planted_directions_and_coordinates_come_back(rng):
    vectors = rng.standard_normal((15_000, 12)) * np.geomspace(1.5, 0.5, 12)
    coordinates = rng.standard_normal((16, 2)) * [1.0, 0.5]
    coordinates -= coordinates.mean(axis=0)
    directions = np.linalg.qr(rng.standard_normal((12, 2)))[0]
    ability = np.linspace(-1, 1, 16)
    parts = make_parts(ability[:, None] + (rng.standard_normal(12) / 3 + coordinates @ directions.T) @ vectors.T,
                       vectors)
    fitted = fit(parts, dim=3)
    assert np.corrcoef(fitted.model_vectors[:, 0], ability)[0, 1] > 0.99
    assert subspace_angles(fitted.model_vectors[:, 1:], coordinates).max() < 0.1
    assert subspace_angles(fitted.mapping[:, 1:], directions).max() < 0.15
    true = distances_without_level(coordinates @ directions.T, parts["train"][1])[np.triu_indices(16, 1)]
    found = pdist(fitted.model_vectors[:, 1:])
    assert np.corrcoef(found, true)[0, 1] > 0.99
    assert 0.85 < np.median(found / true) < 1.05


def test_distances_are_differences_of_logits_and_agree_with_the_geometry_of_the_study(rng):
    parts = draw(rng, 8, 900)
    vectors = parts["train"][1]
    fitted = fit(parts)
    assert fitted.model_vectors.shape == (8, 8) and fitted.model_vectors.dtype == np.float64
    logits = logits_of(fitted, vectors)
    logits -= logits.mean(axis=1, keepdims=True)
    differences = [sqrt(((logits[i] - logits[j]) ** 2).mean()) for i in range(8) for j in range(i + 1, 8)]
    np.testing.assert_allclose(pdist(fitted.model_vectors[:, 1:]), differences, atol=1e-9)
    known, _ = identified_coordinates(fitted.betas, fitted.intercepts, vectors, 7)
    np.testing.assert_allclose(fitted.model_vectors[:, 0], known[:, 0], atol=1e-9)
    np.testing.assert_allclose(np.abs(fitted.model_vectors), np.abs(known), atol=1e-7)
    assert ((fitted.model_vectors[:, 1:] ** 3).sum(axis=0) > 0).all()
    questions = fitted.question_vectors(vectors)
    np.testing.assert_allclose(questions.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(questions[:, 1:].T, bias=True), np.eye(7), atol=1e-6)


@pytest.mark.parametrize("dim", [None, 1, 3])
def test_forecasts_are_the_product_of_models_and_questions(rng, dim):
    parts = draw(rng, 6, 700)
    fitted, vectors = fit(parts, dim=dim), parts["test"][1]
    assert fitted.model_vectors.shape == (6, dim or 6)
    questions = fitted.question_vectors(vectors)
    logits = fitted.model_vectors[:, :1] + questions[:, 0] + fitted.model_vectors[:, 1:] @ questions[:, 1:].T
    np.testing.assert_allclose(fitted.predict_proba(vectors), expit(logits), atol=1e-6)
    np.testing.assert_allclose(logits_of(fitted, vectors), logits, atol=1e-6)


def test_a_shorter_vector_is_the_beginning_of_a_longer_one_at_the_same_penalties(rng):
    parts = draw(rng, 7, 700)
    whole, short = (fit(parts, dim=dim, shared=(1.0,), own=(0.1,)) for dim in (None, 3))
    np.testing.assert_allclose(short.model_vectors, whole.model_vectors[:, :3], atol=1e-9)
    assert fit(parts, dim=100, shared=(1.0,), own=(0.1,)).model_vectors.shape == (7, 7)


def test_it_tries_twelve_candidates(rng, monkeypatch):
    parts, solve, tried = draw(rng, 6, 700), Solver.solve, []

    def counted(self, shared, own, start, exact=False):
        tried.append((shared, own, exact))
        return solve(self, shared, own, start, exact)

    monkeypatch.setattr(Solver, "solve", counted)
    assert ConvexEmbedding().n_candidates == ConvexEmbedding(dim=5).n_candidates == 12
    assert ConvexEmbedding(dim=1).n_candidates == len(ConvexEmbedding().shared)
    fit(parts)
    assert len(tried) == len(set(tried)) <= 12 + 1
    assert [exact for *_, exact in tried].count(True) == 1


def test_a_saved_embedding_is_loaded_whole(rng, tmp_path):
    parts = draw(rng, 5, 400)
    fitted = fit(parts, dim=3)
    fitted.save(tmp_path / "saved.npz", encoder="minilm")
    loaded = Forecaster.load(tmp_path / "saved.npz")
    assert loaded == fitted and loaded.penalties == fitted.penalties
    for name in ("model_vectors", "mapping", "betas", "intercepts"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(fitted, name))


def test_equal_models_get_equal_vectors_and_two_models_a_sign(rng):
    parts = draw(rng, 5, 600)
    twins = {}
    for part, (table, vectors) in parts.items():
        twins[part] = make_table(table.scores[[0, 1, 2, 1, 3, 1]]), vectors
    fitted = fit(twins)
    np.testing.assert_allclose(fitted.model_vectors[[3, 5]], fitted.model_vectors[[1, 1]], atol=1e-5)
    assert (np.abs(fitted.model_vectors[:, 4:]) < 1e-6).all()  # four models span three directions
    two = {part: (make_table(table.scores[:2]), vectors) for part, (table, vectors) in parts.items()}
    turned = {part: (make_table(table.scores[[1, 0]]), vectors) for part, (table, vectors) in parts.items()}
    np.testing.assert_allclose(fit(turned).model_vectors[::-1], fit(two).model_vectors, atol=1e-5)


@pytest.mark.parametrize("dim", [None, 2])
@pytest.mark.parametrize("case", ["all right", "few questions", "graded", "small", "one number", "equal prompts"])
def test_odd_tables(rng, case, dim):
    settings = {"few questions": (8, 50, 60), "small": (3, 200), "one number": (6, 300, 1)}.get(case, (5, 300))
    parts = draw(rng, *settings, missing=0.2, graded=case == "graded")
    if case == "all right":
        for part, (table, vectors) in parts.items():
            same = np.ones((1, table.shape[1]))
            parts[part] = make_table(np.concatenate([same, table.scores, 0 * same])), vectors
    if case == "equal prompts":
        parts = {part: (table, np.ones_like(vectors)) for part, (table, vectors) in parts.items()}
    fitted = fit(parts, dim=dim)
    vectors = parts["test"][1]
    probabilities = fitted.predict_proba(vectors)
    assert np.isfinite(fitted.model_vectors).all() and ((probabilities > 0) & (probabilities < 1)).all()
    means = np.nanmean(parts["train"][0].scores, axis=1)
    assert np.corrcoef(fitted.model_vectors[:, 0], means)[0, 1] > 0.8
    if case == "all right":
        assert probabilities[0].min() > 0.95 and probabilities[-1].max() < 0.05
