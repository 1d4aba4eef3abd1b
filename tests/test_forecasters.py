"""One contract, one suite: every forecaster runs through all of it."""

from math import inf

import numpy as np
import pytest
import torch
from conftest import make_parts, make_table
from sklearn.neighbors import NearestNeighbors

from embedllm import training
from embedllm.baselines import KNearestNeighbours, ModelMean
from embedllm.factorization import Factorization
from embedllm.linear import TextLogistic
from embedllm.metrics import question_scores
from embedllm.networks import ItemResponse, TwoLayer
from embedllm.pool import Pool
from embedllm.training import Tuned

FORECASTERS = {
    "model mean": ModelMean,
    "kNN": lambda: KNearestNeighbours(grid=(5, 21, 61)),
    "1PL with text": lambda: TextLogistic(own=(inf,)),
    "logistic per model": lambda: TextLogistic(shared=(inf,), shapings=0),
    "shaped logistic": TextLogistic,
    "logistic on similarities": lambda: TextLogistic(width=0.7),
    "pool": lambda: Pool({"linear": TextLogistic(shapings=0), "kNN": KNearestNeighbours(grid=(5, 21))}),
    "2PL with text": lambda: Tuned([ItemResponse(dim=1, batch_cells=1024, weight_decay=d) for d in (0, 1e-4)]),
    "MIRT with text": lambda: ItemResponse(dim=3, batch_cells=1024, learning_rate=0.01),
    "two-layer network": lambda: TwoLayer(dim=8, hidden=16, batch_cells=1024, learning_rate=0.01),
    "factorisation": lambda: Factorization(dim=8, epochs=60, batch_cells=1024, learning_rate=0.01),
}


def log_loss(forecaster, parts, part="test"):
    table, vectors = parts[part]
    return np.nanmean(question_scores(forecaster.predict_proba(vectors), table.scores, "log_loss"))


@pytest.fixture(params=FORECASTERS)
def forecaster(request):
    return FORECASTERS[request.param]()


def test_probabilities_have_the_contract_shape(forecaster, planted):
    parts, _ = planted
    probabilities = forecaster.fit(*parts["train"], *parts["val"]).predict_proba(parts["test"][1])
    assert probabilities.shape == parts["test"][0].shape
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_the_same_seed_gives_the_same_bits(forecaster, planted):
    parts, _ = planted
    first = forecaster.fit(*parts["train"], *parts["val"]).predict_proba(parts["test"][1])
    second = forecaster.fit(*parts["train"], *parts["val"]).predict_proba(parts["test"][1])
    np.testing.assert_array_equal(first, second)


def test_models_never_seen_in_training_get_a_usable_forecast(forecaster, planted):
    (train, vectors), val = planted[0]["train"], planted[0]["val"]
    scores = train.scores.copy()
    scores[0] = np.nan
    blind = make_table(np.ones_like(scores)).at(slice(None))
    object.__setattr__(blind, "scores", scores)
    probabilities = forecaster.fit(blind, vectors, *val).predict_proba(val[1])
    assert np.isfinite(probabilities).all()


def test_missing_cells_do_not_count(forecaster):
    """What stands in a missing cell cannot matter, and half of the cells still teach the same thing."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((1500, 6)) / 6**0.5
    logits = np.repeat([[2.0], [-2.0], [1.0], [-1.0]], 1500, axis=1)
    parts = make_parts(logits, vectors, missing=0.5)
    probabilities = forecaster.fit(*parts["train"], *parts["val"]).predict_proba(parts["test"][1])
    expected = 1 / (1 + np.exp(-logits[:, 0]))
    np.testing.assert_allclose(probabilities.mean(axis=1), expected, atol=0.06)


@pytest.mark.parametrize("name", [
    "kNN", "logistic per model", "logistic on similarities", "pool", "MIRT with text", "two-layer network",
    "factorisation"])
def test_reading_the_prompt_pays_only_if_labels_are_real(name, planted):
    parts, _ = planted
    mean = log_loss(ModelMean().fit(*parts["train"], *parts["val"]), parts)
    assert log_loss(FORECASTERS[name]().fit(*parts["train"], *parts["val"]), parts) < mean - 0.02
    train, vectors = parts["train"]
    shuffled = parts | {"train": (train, np.random.default_rng(0).permutation(vectors))}
    assert log_loss(FORECASTERS[name]().fit(*shuffled["train"], *shuffled["val"]), shuffled) > mean - 0.005


def test_the_factorisation_recovers_planted_logits():
    """More questions, smaller error: the planted rank-3 logits come back up to estimation noise."""
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((20_000, 8)) / 8**0.5
    logits = 2 * rng.standard_normal((20, 3)) @ rng.standard_normal((3, 8)) @ vectors.T
    errors = []
    for n in (1000, 20_000):
        parts = make_parts(logits[:, :n], vectors[:n])
        fitted = Factorization(dim=3, noise=0, epochs=120, learning_rate=0.005, batch_cells=4096).fit(
            *parts["train"], *parts["val"])
        truth = 1 / (1 + np.exp(-logits[:, :n][:, -len(parts["test"][1]):]))
        errors.append(np.sqrt(np.mean((fitted.predict_proba(parts["test"][1]) - truth) ** 2)))
    assert errors[1] < 0.03
    assert errors[1] < errors[0] / 2


def test_identified_coefficients_give_the_same_probabilities(planted):
    parts, _ = planted
    fitted = FORECASTERS["factorisation"]().fit(*parts["train"], *parts["val"])
    vectors = parts["test"][1]
    logits = fitted.intercepts[:, None] + fitted.betas @ vectors.T
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), fitted.predict_proba(vectors), atol=2e-6)


def test_two_outputs_and_softmax_are_the_same_model():
    """The published code has an output for "wrong" and one for "right"; only their difference counts."""
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn((50, 7), generator=generator)
    weight, bias = torch.randn((2, 7), generator=generator), torch.randn(2, generator=generator)
    two = torch.softmax(latent @ weight.T + bias, dim=1)[:, 1]
    one = torch.sigmoid(latent @ (weight[1] - weight[0]) + bias[1] - bias[0])
    torch.testing.assert_close(one, two)


def test_early_stopping_keeps_the_best_epoch(planted):
    parts, _ = planted
    fitted = Factorization(dim=32, noise=0, epochs=60, learning_rate=0.05, patience=3).fit(
        *parts["train"], *parts["val"])
    assert len(fitted.history) < 60
    np.testing.assert_allclose(log_loss(fitted, parts, "val"), fitted.history["val"].min(), atol=1e-5)


def test_published_settings_make_the_published_number_of_updates(planted, monkeypatch):
    parts, _ = planted
    steps = []
    monkeypatch.setattr(training, "adam", lambda *state, **settings: steps.append((settings["lr"], len(state[0]))))
    n_models, n_train = parts["train"][0].shape
    Factorization(epochs=2, batch_cells=768, patience=0, dim=4).fit(*parts["train"], *parts["val"])
    assert steps == [(Factorization.learning_rate, 1)] * 2 * -(-n_train // (768 // n_models))


def test_a_small_table_is_trained_to_the_end_whatever_the_length_of_the_vectors(planted):
    """With one update an epoch, short vectors would stay worse than the mean of each model."""
    parts = planted[0]
    table, vectors = parts["train"]
    small = parts | {"train": (table.at(np.arange(200)), vectors[:200])}
    mean = ModelMean().fit(*small["train"], *small["val"])
    for dim in (2, 16):
        fitted = Factorization(dim=dim, batch_cells=16_384).fit(*small["train"], *small["val"])
        assert log_loss(fitted, parts, "val") < log_loss(mean, parts, "val") - 0.02, dim


def test_saved_and_loaded_factorisations_predict_the_same(planted, tmp_path):
    parts, _ = planted
    fitted = FORECASTERS["factorisation"]().fit(*parts["train"], *parts["val"])
    fitted.save(tmp_path / "factorisation.npz")
    loaded = Factorization.load(tmp_path / "factorisation.npz")
    vectors = parts["test"][1]
    np.testing.assert_array_equal(loaded.predict_proba(vectors), fitted.predict_proba(vectors))
    assert loaded.history.equals(fitted.history)
    assert loaded == fitted


@pytest.mark.parametrize(
    ("weights", "centred", "pseudo"), [("even", False, 1), ("even", True, 4), ("distance", True, 1)])
def test_neighbours_equal_brute_force_with_missing_cells(weights, centred, pseudo):
    rng = np.random.default_rng(0)
    parts = make_parts(rng.standard_normal((5, 400)), rng.standard_normal((400, 4)) + 0.5, missing=0.3)
    (train, train_vectors), vectors = parts["train"], parts["test"][1]
    fitted = KNearestNeighbours((7,), (weights,), (centred,), (pseudo,), block=16).fit(*parts["train"], *parts["val"])
    level = train_vectors.mean(axis=0) * centred
    near = NearestNeighbors(n_neighbors=7, metric="cosine").fit(train_vectors - level)
    distance, near = near.kneighbors(vectors - level)
    weight = 1 / np.maximum(distance, 0.01) if weights == "distance" else np.ones_like(distance)
    weight *= 7 / weight.sum(axis=1, keepdims=True)
    expected = np.array([
        [(np.nansum(w * train.scores[m, rows]) + pseudo * fitted.means[m]) / (w @ train.observed[m, rows] + pseudo)
         for w, rows in zip(weight, near, strict=True)]
        for m in range(5)
    ])
    np.testing.assert_allclose(fitted.predict_proba(vectors), expected, atol=1e-5)


@pytest.mark.parametrize("weights", ["even", "distance"])
def test_tied_neighbours_with_missing_cells_equal_brute_force(weights):
    """Every training prompt occurs three times: the 7th neighbour ties with the 8th and the 9th."""
    rng = np.random.default_rng(1)
    distinct = rng.integers(-3, 4, (60, 5)) + np.eye(5)[0] * 0.5
    vectors = np.concatenate([np.repeat(distinct, 3, axis=0), rng.standard_normal((40, 5))]).astype(np.float32)
    parts = make_parts(rng.standard_normal((4, 220)), vectors, missing=0.4, shares=(180 / 220, 20 / 220))
    (train, train_vectors), new = parts["train"], parts["test"][1]
    fitted = KNearestNeighbours((7,), (weights,), (False,), (4,)).fit(*parts["train"], *parts["val"])
    told = fitted.predict_proba(new)
    for q, one in enumerate(new.astype(float)):
        cosine = train_vectors @ one / np.linalg.norm(train_vectors, axis=1) / np.linalg.norm(one)
        near = np.flatnonzero(cosine >= np.sort(cosine)[-7] - 1e-6)
        assert len(near) % 3 == 0
        weight = 1 / np.maximum(1 - cosine[near], 0.01) if weights == "distance" else np.ones(len(near))
        weight *= len(near) / weight.sum()
        right, asked = np.nan_to_num(train.scores[:, near]) @ weight, train.observed[:, near] @ weight
        np.testing.assert_allclose(told[:, q], (right + 4 * fitted.means) / (asked + 4), atol=1e-5)


def test_tied_neighbours_all_count():
    vectors = np.float32([[1, 0], [1, 0], [1, 0], [0, 1]])
    train = make_table([[1, 0, 0, 1]])
    fitted = KNearestNeighbours((1,), ("even",), (False,), (1,)).fit(train, vectors, train, vectors)
    expected = (1 + fitted.means[0]) / 4  # three neighbours and one pseudo-answer
    np.testing.assert_allclose(fitted.predict_proba(vectors[:1]), [[expected]], atol=1e-6)


def test_k_is_chosen_on_validation(planted):
    parts, _ = planted
    fitted = KNearestNeighbours(grid=(3, 31, 1600), centred=(False,)).fit(*parts["train"], *parts["val"])
    losses = {(k, weights): log_loss(KNearestNeighbours((k,), (weights,), (False,)).fit(*parts["train"], *parts["val"]),
                                     parts, "val")
              for k in (3, 31, 1600) for weights in ("even", "distance")}
    assert fitted.chosen[1:3] == min(losses, key=losses.get)
