"""Networks of several sizes: parameters and operations by hand, a planted bend that only a network can follow."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_table
from scipy.special import expit

from embedllm import catalog
from embedllm.experiments import network_size
from embedllm.forecasters import registry
from embedllm.forecasters.factorization import Factorization
from embedllm.forecasters.networks import TwoLayer
from embedllm.splits import Design

SETTINGS = {"seed": 0, "dim": 4, "noise": 0.0, "epochs": 60, "batch_cells": 256, "learning_rate": 0.02}


def test_costs_are_those_counted_by_hand():
    """3 models, 100 questions of 5 numbers; batches of 2 questions, since 8 cells a batch are 2 questions of 3 models.

    The factorization with vectors of 2: 3 x 2 + 5 x 2 + 2 + 2 + 1 weights; a question costs 5 x 2 to project and 3 x 2
    to score; backward the same again and 3 x 2 for the model vectors. The network with 4 units: 3 x 2 + 4 x 2 + 5 x 4 +
    4 + 4 + 1 weights; a question costs 5 x 4 and 3 x 4; backward 5 x 4 and three times 3 x 4; each of 50 updates turns
    the model vectors by the layer, 3 x 2 x 4, and back to both, twice as much.
    """
    assert network_size.cost(Factorization(dim=2, batch_cells=8), 3, 100, 5) == {
        "parameters": 21, "per_question": 16, "per_epoch": 100 * (10 + 6 + 10 + 6 + 6)}
    assert network_size.cost(TwoLayer(dim=2, hidden=4, batch_cells=8), 3, 100, 5) == {
        "parameters": 43, "per_question": 32, "per_epoch": 100 * (20 + 12 + 20 + 36) + 50 * 3 * 24}


@pytest.mark.parametrize("kind", [Factorization(dim=3, epochs=1), TwoLayer(dim=3, hidden=5, epochs=1)])
def test_parameters_are_those_that_are_trained(kind, planted):
    parts = planted[0]
    kind.fit(*parts["train"], *parts["val"])
    weights = sum(np.size(getattr(kind, name)) for name in kind.WEIGHTS)
    assert network_size.cost(kind, 12, 1600, 16)["parameters"] == weights


def test_every_network_meets_the_bilinear_form_and_the_largest_the_smallest():
    compared = network_size.entries([8, 2], [3], tuned=True)
    small, large = "2 hidden units, vectors of 3", "8 hidden units, vectors of 3"
    assert [entry.name for entry in compared] == [
        "default factorization", small, large, "two-layer network", "tuned factorization"]
    assert network_size.pairs(compared) == [
        (small, "default factorization"), (large, "default factorization"),
        ("two-layer network", "tuned factorization"), (large, small)]
    assert network_size.pairs(network_size.entries([8], [3], tuned=False)) == [(large, "default factorization")]
    built = registry.build(compared[1], {"epochs": 7, "dim": 99, "seed": 3})
    assert (built.hidden, built.dim, built.epochs, built.seed) == (2, 3, 7, 3), "trained as the factorization is"


def test_a_network_follows_a_bend_that_the_bilinear_form_cannot(rng):
    """Who is right depends on the size of a number of the prompt, not on its sign."""
    vectors = rng.uniform(-1, 1, (900, 3)).astype(np.float32)
    logits = rng.choice([-1, 1], (10, 1)) * 6 * (np.abs(vectors[:, 0]) - 0.5)
    table = make_table(rng.random(logits.shape) < expit(logits))
    compared = network_size.entries([1, 16], [2], tuned=False)
    found = registry.cross_fit(table, vectors, compared, 3, registry.rounds(2, 0, SETTINGS))
    price = network_size.costs(compared, found, table.shape, 3, SETTINGS)
    assert price["hidden"].tolist()[1:] == [1, 16] and np.isnan(price["hidden"][0])
    tests = network_size.differences(table, found, compared, price, Design(np.zeros(900)))
    rows = tests[tests["metric"] == "log_loss"].set_index(["method", "reference"])
    large, small, bilinear = "16 hidden units, vectors of 2", "1 hidden units, vectors of 2", "default factorization"
    assert rows.loc[(large, bilinear), "high"] < -0.05 and rows.loc[(large, small), "high"] < -0.05
    assert rows.loc[(large, bilinear), "per_question"] == 16 * (3 + 10)
    assert rows.loc[(large, bilinear), "reference_per_question"] == 4 * (3 + 10)
    gain = tests.set_index(["metric", "method", "reference"]).loc[("accuracy", large, bilinear), "difference"]
    assert gain > 0.05


def test_a_tuned_forecaster_costs_what_its_fits_chose(rng):
    vectors = rng.standard_normal((120, 3)).astype(np.float32)
    table = make_table(rng.random((4, 120)) < 0.5)
    quick = {"epochs": 1, "batch_cells": 64}
    tuned = replace(catalog.TWO_LAYER, takes=("seed",), settings=quick, grid={"dim": (2, 3), "hidden": (2, 4)})
    found = registry.cross_fit(table, vectors, [tuned], 3, registry.rounds(1, 0, {"seed": 0}))
    [row] = network_size.costs([tuned], found, table.shape, 3, {"seed": 0}).to_dict("records")
    chosen = [dict(part.split(" ") for part in choice.split(", ")) for choice in found[0]["folds"]["choice"]]
    assert row["per_question"] == pytest.approx(np.mean([int(one["hidden"]) * (3 + 4) for one in chosen]))
    assert row["parameters"] == pytest.approx(np.mean(
        [(4 + int(one["hidden"])) * int(one["dim"]) + 5 * int(one["hidden"]) + 1 for one in chosen]))
