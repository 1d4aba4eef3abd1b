"""One contract, one suite: every forecaster of the catalog runs through all of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_parts, make_table
from sklearn.neighbors import NearestNeighbors

from embedllm import catalog
from embedllm.evaluation.metrics import question_scores
from embedllm.forecasters import training
from embedllm.forecasters.contract import Forecaster, ForecasterError
from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.means import ModelMean
from embedllm.forecasters.neighbors import KNearestNeighbors
from embedllm.forecasters.registry import build

SMALL = {"seed": 0, "dim": 8, "epochs": 60, "batch_cells": 1024, "learning_rate": 0.01}
# Blind to the planted deviations, as is who reads no text.
ONE_ABILITY = ("1PL with text", "2PL with text", "convex embedding, additive")


def made(name: str) -> Forecaster:
    """A forecaster of the catalog; of a grid the first candidates, to be quick."""
    entry = catalog.FORECASTERS[name]
    return build(replace(entry, grid={setting: values[-2:] for setting, values in entry.grid.items()}), SMALL)


def told(forecaster, parts, part="test") -> np.ndarray:
    table, vectors = parts[part]
    return forecaster.predict_proba(vectors, table.questions["benchmark"])


def log_loss(forecaster, parts, part="test"):
    return np.nanmean(question_scores(told(forecaster, parts, part), parts[part][0].scores, "log_loss"))


LONG = (catalog.WITH_NETWORK.name,)  # its parts are tried by themselves


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in catalog.FORECASTERS])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(planted):
    """Name to the forecaster fitted on the planted parts, once for the whole suite."""
    known = {}

    def fit(name: str) -> Forecaster:
        if name not in known:
            known[name] = made(name).fit(*planted[0]["train"], *planted[0]["val"])
        return known[name]

    return fit


def test_probabilities_have_the_contract_shape(name, fitted, planted):
    parts, _ = planted
    probabilities = told(fitted(name), parts)
    assert probabilities.shape == parts["test"][0].shape
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert fitted(name).models == list(parts["test"][0].models.index)


def test_the_same_seed_gives_the_same_bits_and_fitting_again_forgets(name, fitted, planted):
    parts, _ = planted
    table, vectors = parts["train"]
    again = made(name).fit(table.at(slice(0, 60)), vectors[:60], *parts["val"])
    again.fit(*parts["train"], *parts["val"])
    np.testing.assert_array_equal(told(again, parts), told(fitted(name), parts))


def test_a_forecaster_is_its_settings(name, fitted):
    """What is shared between ensembles and remembered are forecasters that are equal, fitted or not."""
    assert fitted(name) == made(name)
    others = [other for other in catalog.FORECASTERS if made(other) == made(name) and other != name]
    prompts = catalog.FORECASTERS[name].prompts  # a control is the same forecaster, given something else to read
    assert all(catalog.FORECASTERS[other].prompts != prompts for other in others)


def test_a_saved_forecaster_is_loaded_whole(name, fitted, planted, tmp_path):
    parts, _ = planted
    fitted(name).save(tmp_path / "saved.npz", encoder="minilm")
    loaded = Forecaster.load(tmp_path / "saved.npz")
    assert type(loaded) is type(fitted(name))
    assert loaded == fitted(name)
    assert loaded.models == list(parts["train"][0].models.index)
    assert loaded.encoder == "minilm"
    np.testing.assert_array_equal(told(loaded, parts), told(fitted(name), parts))


def test_vectors_of_another_encoder_are_refused(name, fitted, planted):
    table, vectors = planted[0]["test"]
    with pytest.raises(ForecasterError, match=r"length 16.*\(200, 12\).*same encoder"):
        fitted(name).predict_proba(vectors[:, :12], table.questions["benchmark"])
    with pytest.raises(ForecasterError, match="1600 training questions need a prompt vector each"):
        made(name).fit(planted[0]["train"][0], vectors, table, vectors)
    with pytest.raises(ForecasterError, match="200 validation questions need a prompt vector each, all of one length"):
        made(name).fit(table, vectors, table, vectors[:, :12])
    with pytest.raises(ForecasterError, match="not fitted yet"):
        made(name).predict_proba(vectors)
    renamed = replace(table, models=table.models.rename(lambda model: f"other {model}"))
    with pytest.raises(ForecasterError, match="the same models"):
        made(name).fit(table, vectors, renamed, vectors)


def test_models_never_seen_in_training_get_a_usable_forecast(name, planted):
    (train, vectors), val = planted[0]["train"], planted[0]["val"]
    scores = train.scores.copy()
    scores[0] = np.nan
    blind = make_table(np.ones_like(scores)).at(slice(None))
    object.__setattr__(blind, "scores", scores)
    probabilities = told(made(name).fit(blind, vectors, *val), planted[0], "val")
    assert np.isfinite(probabilities).all()


def test_missing_cells_do_not_count(name):
    """What stands in a missing cell cannot matter, and half of the cells still teach the same thing."""
    if name == "published factorization":
        pytest.skip("its steps are too small to get anywhere on 1,200 questions")
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((1500, 6)) / 6**0.5
    logits = np.repeat(np.repeat([[2.0], [-2.0], [1.0], [-1.0]], 5, axis=0), 1500, axis=1)
    parts = make_parts(logits, vectors, missing=0.5)
    probabilities = told(made(name).fit(*parts["train"], *parts["val"]), parts)
    expected = 1 / (1 + np.exp(-logits[:, 0]))
    np.testing.assert_allclose(probabilities.mean(axis=1), expected, atol=0.06)


def test_reading_the_prompt_pays_only_if_labels_are_real(name, fitted, planted):
    parts, _ = planted
    if name in ONE_ABILITY or "text" not in catalog.FORECASTERS[name].reads:
        pytest.skip("cannot see how models deviate on a prompt, which is all that is planted")
    mean = log_loss(fitted("model mean"), parts)
    assert log_loss(fitted(name), parts) < mean - 0.02
    train, vectors = parts["train"]
    shuffled = parts | {"train": (train, np.random.default_rng(0).permutation(vectors))}
    assert log_loss(made(name).fit(*shuffled["train"], *shuffled["val"]), shuffled) > mean - 0.005


def test_a_forecaster_that_needs_benchmarks_says_so(fitted, planted):
    vectors = planted[0]["test"][1]
    for name in [name for name, entry in catalog.FORECASTERS.items() if "benchmark" in entry.reads]:
        with pytest.raises(ForecasterError, match=r"forecasts from benchmarks: pass that of each of the 200"):
            fitted(name).predict_proba(vectors)


def test_a_file_that_holds_no_forecaster_is_told(fitted, tmp_path):
    path = tmp_path / "saved.npz"
    fitted("kNN").save(path)
    content = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(str(arrays.pop("header")))
    foreign = {"class": "os.system", "settings": {}, "learned": {}}
    for wrong, message in (
        ({"format": 99}, "format 99"), ({"forecaster": {}}, "no forecaster that this version can"),
        ({"forecaster": {"array": "array99"}}, "KeyError"), ({"forecaster": foreign}, "os.system is no forecaster"),
    ):
        np.savez(path, header=np.array(json.dumps(header | wrong)), **arrays)
        with pytest.raises(ForecasterError, match=message):
            Forecaster.load(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ForecasterError, match="holds no forecaster"):
        Forecaster.load(path)


def test_the_factorization_recovers_planted_logits():
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
    fitted = made("default factorization").fit(*parts["train"], *parts["val"])
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
    monkeypatch.setattr(
        training, "adam", lambda *state, **settings: steps.append((settings["lr"], len(state[0]))))
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


@pytest.mark.parametrize(
    ("weights", "centered", "pseudo"), [("even", False, 1), ("even", True, 4), ("distance", True, 1)])
def test_neighbors_equal_brute_force_with_missing_cells(weights, centered, pseudo):
    rng = np.random.default_rng(0)
    parts = make_parts(rng.standard_normal((5, 400)), rng.standard_normal((400, 4)) + 0.5, missing=0.3)
    (train, train_vectors), vectors = parts["train"], parts["test"][1]
    fitted = KNearestNeighbors((7,), (weights,), (centered,), (pseudo,), block=16).fit(*parts["train"], *parts["val"])
    level = train_vectors.mean(axis=0) * centered
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
def test_tied_neighbors_with_missing_cells_equal_brute_force(weights):
    """Every training prompt occurs three times: the 7th neighbor ties with the 8th and the 9th."""
    rng = np.random.default_rng(1)
    distinct = rng.integers(-3, 4, (60, 5)) + np.eye(5)[0] * 0.5
    vectors = np.concatenate([np.repeat(distinct, 3, axis=0), rng.standard_normal((40, 5))]).astype(np.float32)
    parts = make_parts(rng.standard_normal((4, 220)), vectors, missing=0.4, shares=(180 / 220, 20 / 220))
    (train, train_vectors), new = parts["train"], parts["test"][1]
    fitted = KNearestNeighbors((7,), (weights,), (False,), (4,)).fit(*parts["train"], *parts["val"])
    told = fitted.predict_proba(new)
    for q, one in enumerate(new.astype(float)):
        cosine = train_vectors @ one / np.linalg.norm(train_vectors, axis=1) / np.linalg.norm(one)
        near = np.flatnonzero(cosine >= np.sort(cosine)[-7] - 1e-6)
        assert len(near) % 3 == 0
        weight = 1 / np.maximum(1 - cosine[near], 0.01) if weights == "distance" else np.ones(len(near))
        weight *= len(near) / weight.sum()
        right, asked = np.nan_to_num(train.scores[:, near]) @ weight, train.observed[:, near] @ weight
        np.testing.assert_allclose(told[:, q], (right + 4 * fitted.means) / (asked + 4), atol=1e-5)


def test_tied_neighbors_all_count():
    vectors = np.float32([[1, 0], [1, 0], [1, 0], [0, 1]])
    train = make_table([[1, 0, 0, 1]])
    fitted = KNearestNeighbors((1,), ("even",), (False,), (1,)).fit(train, vectors, train, vectors)
    expected = (1 + fitted.means[0]) / 4  # three neighbors and one pseudo-answer
    np.testing.assert_allclose(fitted.predict_proba(vectors[:1]), [[expected]], atol=1e-6)


def test_k_is_chosen_on_validation(planted):
    parts, _ = planted
    fitted = KNearestNeighbors(grid=(3, 31, 1600), centered=(False,)).fit(*parts["train"], *parts["val"])
    losses = {(k, weights): log_loss(KNearestNeighbors((k,), (weights,), (False,)).fit(*parts["train"], *parts["val"]),
                                     parts, "val")
              for k in (3, 31, 1600) for weights in ("even", "distance")}
    assert fitted.chosen[1:3] == min(losses, key=losses.get)
