"""Many forecasters at once: shared fits, folds, cross-fitting, those that know benchmarks only, controls that lose."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from conftest import make_parts, make_table
from scipy.special import expit, logit

from embedllm import catalog
from embedllm.evaluation.calibration import excess_loss, scaled
from embedllm.evaluation.metrics import question_scores
from embedllm.forecasters import registry
from embedllm.forecasters.means import BenchmarkMean, BoostedTrees, ModelMean
from embedllm.forecasters.networks import ItemResponse, TwoLayer
from embedllm.forecasters.tuning import Tuned
from embedllm.machine import side_by_side
from embedllm.sources.simulated import simulate
from embedllm.splits import PARTS, cut, folds

SMALL = {"seed": 0, "dim": 4, "batch_cells": 1024, "learning_rate": 0.01, "epochs": 30}


def entries(*names: str) -> list[catalog.Forecaster]:
    return [catalog.FORECASTERS[name] for name in names]


def one_hot(names: pd.Series) -> np.ndarray:
    return pd.get_dummies(names).to_numpy(np.float32)


def loss(probabilities, table) -> float:
    return float(np.nanmean(question_scores(probabilities, table.scores, "log_loss")))


@pytest.fixture
def by_benchmark(rng):
    """12 models on four benchmarks, each with its own probability for each model, prompts of noise: (parts, truth)."""
    truth, names = expit(1.5 * rng.standard_normal((12, 4))), rng.permutation(np.repeat(list("abcd"), 500))
    noise = rng.standard_normal((2000, 8))
    parts = make_parts(logit(truth) @ one_hot(pd.Series(names)).T, noise, benchmarks=names)
    return parts, truth


def of_benchmarks(fitted, names) -> np.ndarray:
    return fitted.predict_proba(np.zeros((len(names), fitted.d_prompt), np.float32), names)


@pytest.mark.parametrize("kind", [BenchmarkMean, BoostedTrees])
def test_forecasters_that_know_the_benchmark_recover_its_means(kind, by_benchmark):
    parts, truth = by_benchmark
    fitted = kind().fit(*parts["train"], *parts["val"])
    error = np.abs(of_benchmarks(fitted, list("abcd")) - truth)
    assert error.mean() < 0.06  # trees pool models that are much alike, so single pairs may be farther off
    mean = ModelMean().fit(*parts["train"], *parts["val"])
    table, vectors = parts["test"]
    told = [one.predict_proba(vectors, table.questions["benchmark"]) for one in (mean, fitted)]
    assert loss(told[0], table) - loss(told[1], table) > 0.05


@pytest.mark.parametrize("kind", [BenchmarkMean, BoostedTrees])
def test_a_benchmark_never_trained_on_is_forecast_from_the_model(kind, by_benchmark):
    parts, _ = by_benchmark
    table, vectors = parts["train"]
    seen = (table.questions["benchmark"] != "d").to_numpy()
    fitted = kind().fit(table.at(seen), vectors[seen], *parts["val"])
    known, unknown, unheard = of_benchmarks(fitted, ["a", "d", "never heard of"]).T
    assert np.corrcoef(unknown, table.at(seen).model_means)[0, 1] > 0.8
    np.testing.assert_array_equal(unknown, unheard)
    assert not np.allclose(known, unknown)


def test_trees_take_more_benchmarks_than_the_booster_has_categories(rng):
    names = pd.Series(np.arange(900) % 300).astype(str)
    parts = make_parts(rng.standard_normal((5, 900)), np.zeros((900, 1)), benchmarks=names.to_numpy())
    fitted = BoostedTrees(rates=(0.3,), leaves=(3,), trees=5).fit(*parts["train"], *parts["val"])
    assert of_benchmarks(fitted, names).shape == (5, 900)


def test_benchmark_means_with_one_pseudo_answer():
    """Counted by hand on the smallest table."""
    table = make_table([[1, 1, 0, np.nan], [0, 1, np.nan, 1]], benchmarks=["a", "a", "b", "b"])
    vectors = np.zeros((4, 1), np.float32)
    fitted = BenchmarkMean(grid=(2,)).fit(table, vectors, table, vectors)
    means = (np.array([2, 2]) + 4 / 6) / 4  # with one pseudo-answer at the pool's mean
    expected = [[(2 + 2 * means[0]) / 4, (0 + 2 * means[0]) / 3, means[0]],
                [(1 + 2 * means[1]) / 4, (1 + 2 * means[1]) / 3, means[1]]]
    np.testing.assert_allclose(of_benchmarks(fitted, ["a", "b", "c"]), expected, rtol=1e-6)


def test_abilities_and_discrimination_of_a_2pl_pool_are_recovered(rng):
    """Unlike in the 1PL, models lie farther apart on questions that tell them apart better."""
    ability, vectors = np.linspace(-1.5, 1.5, 15), rng.standard_normal((6000, 4)) / 2
    slope = 1.5 + vectors @ np.array([1.2, 0, 0, 0])
    parts = make_parts(slope * ability[:, None] - vectors @ np.array([0, 1.5, 0, 0]), vectors)
    fitted = ItemResponse(dim=1, noise=0, batch_cells=2048, learning_rate=0.01).fit(*parts["train"], *parts["val"])
    found = fitted.model_vectors[:, 0] * fitted.level[0]
    np.testing.assert_allclose(found - found.mean(), 1.5 * ability, atol=0.2)
    direction = fitted.discrimination[:, 0] / fitted.level[0]
    np.testing.assert_allclose(direction, [0.8, 0, 0, 0], atol=0.15)
    assert abs(np.corrcoef(fitted.difficulty, [0, 1, 0, 0])[0, 1]) > 0.97


def test_the_network_learns_what_no_linear_forecaster_can(rng):
    """Questions are hard on one side of a circle and easy on the other, for all models alike."""
    vectors = rng.standard_normal((4000, 2))
    inside = (vectors**2).sum(axis=1) < 1.4
    parts = make_parts(np.where(inside, 2.0, -2.0) * np.ones((10, 1)), vectors)
    network = TwoLayer(dim=4, hidden=32, noise=0, batch_cells=1024, learning_rate=0.01)
    kernel, shaped = (registry.build(entry, SMALL) for entry in (catalog.TEXT_ONLY, catalog.SHAPED))
    test, e = parts["test"]
    linear, *others = (loss(one.fit(*parts["train"], *parts["val"]).predict_proba(e), test)
                       for one in (shaped, network, kernel))
    assert linear > 0.68
    assert max(others) < 0.5  # the truth has 0.37


def test_folds_keep_prompts_together_and_benchmarks_even(rng):
    benchmarks = np.repeat(["a", "b", "c"], [100, 53, 3])
    prompts = [f"prompt {number}" for number in range(156)]
    prompts[1] = prompts[0].upper()
    table = make_table(np.ones((2, 156)), prompts=prompts, benchmarks=benchmarks)
    found = folds(table, 5, seed=0)
    assert found.iloc[0] == found.iloc[1]
    counts = pd.crosstab(benchmarks, found.to_numpy())
    assert (counts.max(axis=1) - counts.min(axis=1) <= 2).all()
    sizes = found.value_counts()
    assert sizes.max() - sizes.min() <= 2
    assert not found.equals(folds(table, 5, seed=1))


def test_cross_fitting_forecasts_each_question_by_a_fit_that_never_saw_it(planted):
    """Flipping the answers to the questions of one fold leaves their own forecasts as they are."""
    parts, _ = planted
    table, vectors = parts["train"]
    names = ["model mean", "logistic per model", "benchmark mean", "kNN", catalog.CALIBRATED.name]
    once = registry.rounds(1, 0, SMALL)
    [first] = registry.cross_fit(table, vectors, entries(*names), 3, once)
    fold = folds(table, 6, 0).to_numpy() // 2
    scores = np.where(fold == 1, 1 - table.scores, table.scores)
    flipped = make_table(scores, prompts=table.questions["prompt"], benchmarks=table.questions["benchmark"])
    [second] = registry.cross_fit(flipped, vectors, entries(*names), 3, once)
    for name in names:
        np.testing.assert_array_equal(first["raw"][name][:, fold == 1], second["raw"][name][:, fold == 1])
        assert not np.allclose(first["raw"][name][:, fold == 0], second["raw"][name][:, fold == 0])
    assert loss(first["raw"]["logistic per model"], table) < loss(first["raw"]["model mean"], table) - 0.02
    rows = first["folds"].query("name == 'logistic per model'").set_index("fold")
    assert list(rows.index) == [0, 1, 2]
    for number, heat in rows["temperature"].items():
        told = first["raw"]["logistic per model"][:, fold == number]
        np.testing.assert_array_equal(first["scaled"]["logistic per model"][:, fold == number], scaled(told, heat))


def test_each_round_has_a_partition_and_a_seed_and_counts_the_labels_it_used(planted):
    """All labels but those of the judged fold and of the half fold that is left over; of a share, that share."""
    table, vectors = planted[0]["train"]
    own = [*registry.rounds(2, 5, SMALL), *registry.rounds(1, 5, SMALL, share=0.25)]
    assert [(one.fold_seed, one.settings["seed"], one.share) for one in own] == [(5, 0, 1), (6, 1, 1), (5, 0, 0.25)]
    first, second, quarter = registry.cross_fit(table, vectors, entries("model mean", "kNN"), 4, own)
    again = registry.cross_fit(table, vectors, entries("model mean", "kNN"), 4, own[1:2])[0]
    np.testing.assert_array_equal(second["raw"]["kNN"], again["raw"]["kNN"])
    assert not np.array_equal(first["raw"]["kNN"], second["raw"]["kNN"])
    half = folds(table, 8, 5).to_numpy()
    for fold, labels in first["folds"].query("name == 'kNN'").set_index("fold")["labels"].items():
        assert labels == table.observed[:, half // 2 != fold].sum()
        share = quarter["folds"].query("name == 'kNN'").set_index("fold")["labels"][fold] / labels
        assert share == pytest.approx(0.25, abs=0.01)
    choices = first["folds"].query("name == 'kNN'")["choice"]
    assert choices.str.match(r"centered True, k \d+, weights distance, .*").all()


def test_controls_lose(planted):
    """What learns from shuffled labels or noise for prompts is no better than the model mean."""
    parts, _ = planted
    found = registry.forecast(
        parts, [catalog.MODEL_MEAN, catalog.FACTORIZATION, catalog.SHUFFLED, catalog.RANDOM], **SMALL)
    mean, real, *controls = (loss(found[name], parts["test"][0]) for name in found)
    assert real < mean - 0.02
    assert min(controls) > mean - 0.003


def test_who_is_tuned_chooses_from_the_same_number_of_candidates():
    """By construction: as many settings as the built forecaster may try."""
    counts = {entry.name: registry.build(entry, {"seed": 0}).n_candidates for entry in catalog.to_compare()
              if entry.role in ("baseline", "paper")}
    fixed = {"model mean", "published factorization", "default factorization"}
    assert {name for name, count in counts.items() if count == 1} == fixed
    assert {count for name, count in counts.items() if name not in fixed} == {catalog.BUDGET}
    assert {entry.name for entry in catalog.to_compare() if entry.is_tuned} == set(counts) - fixed


def test_networks_are_given_what_they_share_and_the_published_settings_are_compared():
    built = {name: registry.build(entry, {"seed": 3, "noise": 0.1}) for name, entry in catalog.FORECASTERS.items()}
    tuned = {name: kind.alternatives for name, kind in built.items() if isinstance(kind, Tuned)}
    assert len(tuned) == 6
    assert all(one.seed == 3 and one.noise == 0.1 for candidates in tuned.values() for one in candidates)
    assert all(a != b for candidates in tuned.values() for a, b in pairwise(candidates))
    published = built["published factorization"]
    assert (published.dim, published.learning_rate, published.epochs, published.patience) == (232, 1e-4, 50, 0)


def readable(n_models: int, n_questions: int, **planted) -> dict:
    """Parts of a simulated pool whose prompt vectors say what the text says: one-hot topic, and the difficulty cue."""
    table = simulate(n_models=n_models, n_questions=n_questions, **planted)
    benchmark, subtopic, cue = (table.questions[name] for name in ("benchmark", "subtopic", "difficulty_cue"))
    topic, level = one_hot(benchmark + subtopic.astype(str)), (cue.to_numpy()[:, None] - 3) / 2
    vectors = np.concatenate([topic, level], axis=1).astype(np.float32)
    n_train, n_val = int(0.8 * n_questions), int(0.9 * n_questions) - int(0.8 * n_questions)
    return cut(table, vectors, np.repeat(PARTS, [n_train, n_val, n_questions - n_train - n_val]))


def test_planted_probabilities_are_recovered_where_the_truth_is_a_logit_of_the_vectors():
    """The recoverable mode of the pool: more questions, smaller error, for the factorization and for ours."""
    plain = {"guessing": False, "format_failures": False, "alpha_mean": 0, "alpha_spread": 0, "rho_d": 1, "rho_z": 1}
    errors = []
    for n_questions in (1000, 12_000):
        parts = readable(24, n_questions, **plain)
        settings = {"seed": 0, "dim": 8, "noise": 0, "learning_rate": 0.01, "batch_cells": 4096}
        told, truth = registry.forecast(parts, [catalog.SHAPED, catalog.FACTORIZATION], **settings), parts["test"][0]
        errors.append([np.sqrt(np.mean((p - truth.references["true probability"]) ** 2)) for p in told.values()])
    assert max(errors[1]) < 0.05
    assert (np.array(errors[1]) < np.array(errors[0]) / 2).all()


def recovered(n_questions: int) -> float:
    """Share of what specialization is worth to a reader that the stacked ensemble gets."""
    parts = readable(30, n_questions, blur=1e-6)
    told, test = registry.forecast(parts, [catalog.TEXT_ONLY], seed=0), parts["test"][0]
    rows = excess_loss([told], told, test).set_index(["forecaster", "quantity"])
    return rows.loc[(catalog.TEXT_ONLY.name, "recovered"), "value"]


def test_the_pooled_factorization_comes_closer_to_the_text_ceiling_the_more_questions_it_sees():
    few, many = recovered(1000), recovered(8000)
    assert few < 0.4 < 0.6 < many < 1


def test_an_ensemble_of_the_catalog_is_that_of_its_members(planted):
    """Sharing fits between forecasters changes nothing."""
    parts = {part: (table.at(range(150)), vectors[:150]) for part, (table, vectors) in planted[0].items()}
    alone = registry.build(catalog.TEXT_ONLY, SMALL).fit(*parts["train"], *parts["val"])
    shared = registry.forecast(parts, [catalog.KNN, catalog.SHAPED, catalog.TEXT_ONLY], **SMALL)
    np.testing.assert_array_equal(alone.predict_proba(parts["test"][1]), shared[catalog.TEXT_ONLY.name])


def test_equal_forecasters_are_fitted_once_whatever_their_names(planted):
    parts, fits = planted[0], []

    def compute(calls):
        fits.extend(calls := list(calls))
        return side_by_side(calls)

    other = replace(catalog.KNN, settings={"grid": (5,)})
    same = replace(catalog.KNN, name="neighbors")
    pool = replace(catalog.TEXT_ONLY, members=(other, catalog.SHAPED))
    found = registry.forecast(parts, [catalog.KNN, same, pool, catalog.SHAPED], compute, **SMALL)
    assert len(fits) == 3, "a member called kNN with other settings does not get the fit of kNN"
    np.testing.assert_array_equal(found["kNN"], found["neighbors"])
    fits.clear()
    registry.forecast(parts, [catalog.FACTORIZATION, catalog.SHUFFLED, catalog.RANDOM], compute, **SMALL)
    assert len(fits) == 3, "controls see other prompts than the forecaster that they equal"


def test_a_pool_knows_the_benchmark_where_only_the_benchmark_tells(by_benchmark):
    """Prompt vectors of noise: what the pool forecasts is the benchmark's mean."""
    parts, _ = by_benchmark
    told = registry.forecast(parts, [catalog.BENCHMARK_MEAN, catalog.TEXT_ONLY, catalog.OURS], **SMALL)
    best, blind, ours = (loss(probabilities, parts["test"][0]) for probabilities in told.values())
    assert ours < best + 0.005 < blind - 0.05
