"""The plain trainer and the fast one are the same algorithm, and other solvers come to the same loss."""

import numpy as np
import pytest
import torch
from conftest import make_parts

from embedllm.bench import cost
from embedllm.bench.per_cell import updates
from embedllm.bench.solvers import ALTERNATING, WHOLE, by_full_batches, by_gradient_steps
from embedllm.claims import all_claims
from embedllm.forecasters.factorization import Factorization

N_MODELS, N_TRAIN, D = 8, 640, 12


@pytest.fixture
def planted():
    """Parts, and the true probabilities of the test part."""
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((800, D)) / D**0.5
    logits = rng.standard_normal((N_MODELS, 3)) @ rng.standard_normal((3, D)) @ vectors.T * 3
    return make_parts(logits, vectors), 1 / (1 + np.exp(-logits[:, -80:]))


@pytest.fixture
def parts(planted):
    return planted[0]


def test_without_noise_or_shuffling_both_trainers_make_the_same_steps(parts):
    """640 questions of 8 models: batches of 160 cells are 20 questions, and question by question both are alike."""
    like = Factorization(dim=5, noise=0, batch_cells=160, learning_rate=0.01, epochs=3, patience=0, shuffle=False)
    *_, (network, _) = updates(parts, like, epochs=3)
    like.fit(*parts["train"], *parts["val"])
    for name, value in network.weights.items():
        np.testing.assert_allclose(value.detach().numpy(), getattr(like, name), atol=1e-4, err_msg=name)


def test_cell_by_cell_and_by_question_reach_the_same_solution(planted):
    """Same model, other order and noise: the forecasts of both end up closer to each other than to the truth."""
    parts, truth = planted
    like = Factorization(dim=5, noise=0.01, batch_cells=160, learning_rate=0.005, epochs=60, patience=0)
    *_, (network, _) = updates(parts, like, epochs=60)
    fast = like.fit(*parts["train"], *parts["val"]).predict_proba(parts["test"][1])
    e = torch.as_tensor(parts["test"][1])
    with torch.no_grad():
        logits = torch.stack([network(torch.full((len(e),), m), e) for m in range(N_MODELS)])
    plain = torch.sigmoid(logits).numpy()
    assert np.abs(plain - fast).mean() < 0.3 * np.abs(fast - truth).mean()
    assert np.corrcoef(plain.ravel(), fast.ravel())[0, 1] > 0.99


def test_quasi_newton_ends_where_gradient_steps_end(parts):
    like = Factorization(dim=N_MODELS, noise=0, batch_cells=640, epochs=400, patience=0, weight_decay=0.003)
    ends = by_gradient_steps(parts, like)["val"].iloc[-20:].mean()
    assert abs(by_full_batches(parts, like, WHOLE, seconds=2)["val"].iloc[-1] - ends) < 0.001


def test_alternating_solves_come_down_to_the_loss_of_gradient_steps(parts):
    like = Factorization(dim=N_MODELS, noise=0, batch_cells=160, learning_rate=0.01, epochs=60)
    lowest = by_gradient_steps(parts, like)["val"].min()
    assert abs(by_full_batches(parts, like, ALTERNATING, seconds=3)["val"].min() - lowest) < 0.01


def test_operations_counted_by_torch_are_those_of_the_formulas():
    assert cost.counted("by question", 30, 7, 11, batch=4) == pytest.approx(cost.per_question(30, 7, 11) / 11)
    # A projection of each cell forward and the product for its gradient; products with one vector hardly count.
    assert cost.counted("cell by cell") == pytest.approx(4 * cost.D_PROMPT * cost.DIM, rel=0.02)
    assert 90 < cost.counted("cell by cell") / cost.counted("by question") < 112


def test_the_papers_figures_follow_from_its_convention():
    """C5 and C6, labels left out."""
    published = all_claims()
    table = cost.cost_table({cost.BY_CELLS: (3600, 300), cost.BY_QUESTION: (36, 50)}).set_index("what")
    convention = table.loc["training, 6 operations per weight of the projection and cell"]
    assert convention["flop"] == 6 * 178_176 * 112 * cost.EPOCHS * cost.N_QUESTIONS
    assert convention["flop"] == pytest.approx(published["C5"].values["flop"], rel=0.001)
    assert convention["generations"] == pytest.approx(published["C6"].values["generations"], rel=0.01)
    benchmarking = table.loc["benchmarking 112 models on MMLU"]
    assert benchmarking["flop"] / convention["flop"] == pytest.approx(published["C6"].values["ratio"], rel=0.01)
    assert table.loc["labels and training by question", "flop"] > benchmarking["flop"]
    assert table["dollars"].notna().all()
