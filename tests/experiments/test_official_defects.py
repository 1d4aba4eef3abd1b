"""What each defect of the official code changes, on tables made so that the answer is known."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_parts, make_table
from scipy.special import expit
from scipy.stats import binom

from embedllm.evaluation.inference import holm
from embedllm.evaluation.metrics import question_scores
from embedllm.experiments import official_defects as module
from embedllm.experiments.comparisons import train
from embedllm.experiments.official_defects import COLUMNS, defects
from embedllm.forecasters.factorization import Factorization
from embedllm.outcomes import OutcomeMatrix
from embedllm.sources._rows import from_rows
from embedllm.splits import PARTS, Parts, cut

FAST = {"dim": 4, "epochs": 15, "batch_cells": 512, "learning_rate": 0.02}
SHUFFLING = ["no shuffling, sorted by benchmark", "no shuffling, order of the file"]
REPEATED = ["repeated rows: kNN takes the maximum", "repeated rows: the factorization trains on all"]


def in_order(table: OutcomeMatrix, vectors, shares=(0.5, 0.2)) -> Parts:
    """A table as parts, in the order of its questions."""
    first, second = (round(share * table.shape[1]) for share in shares)
    return cut(table, np.float32(vectors), np.repeat(PARTS, [first, second, table.shape[1] - first - second]))


def loss_of(forecasts, shares) -> float:
    """Mean log-loss where each model has one forecast and is right in a share of the questions."""
    return float(-np.mean(shares * np.log(forecasts) + (1 - shares) * np.log(1 - forecasts)))


def row(found: pd.DataFrame, defect: str, measure: str = "log-loss") -> pd.Series:
    return found.set_index(["defect", "measure"]).loc[(defect, measure)]


@pytest.fixture(scope="module")
def simulated():
    """12 models, 1,500 questions of 6 benchmarks, known probabilities of rank 2: parts and their defects."""
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((1500, 8)) / 8**0.5
    truth = expit(2 * rng.standard_normal((12, 2)) @ rng.standard_normal((2, 8)) @ vectors.T).astype(np.float32)
    scores = (rng.random(truth.shape) < truth).astype(np.float32)
    benchmarks = [f"b{n % 6}" for n in range(1500)]
    parts = in_order(make_table(scores, benchmarks, references={"true probability": truth}), vectors, (0.3, 0.1))
    return parts, defects(parts, 2, **FAST, noise=0.5)


def test_every_defect_has_its_rows(simulated):
    """With the truth known, the injected flaws are measured too; only the pinning is not."""
    _, found = simulated
    assert list(found) == COLUMNS
    assert found["defect"].nunique() == 10
    blank = found[found["measure"] == ""]
    assert list(blank["defect"]) == ["revisions of data and encoder not pinned"]
    assert blank.drop(columns=["defect", "measure", "note"]).isna().all(axis=None)
    told = found.drop(blank.index)
    np.testing.assert_allclose(told["difference"], told["with_defect"] - told["without"], atol=1e-12)
    assert (told["low"] <= told["difference"]).all() and (told["difference"] <= told["high"]).all()
    chosen = told["defect"].isin(["epoch chosen on test", "best single model picked on test"])
    assert told.loc[chosen, "p"].isna().all() and told.loc[~chosen, "p"].notna().all()
    np.testing.assert_array_equal(found["p_holm"], holm(found["p"]))


def test_values_are_means_over_seeds_of_the_honest_protocol(simulated):
    parts, found = simulated
    test, vectors = parts["test"]
    losses = [question_scores(train(parts, **FAST, noise=0.5, seed=seed).predict_proba(vectors),
                              test.references["true probability"], "log_loss").mean() for seed in (0, 1)]
    for defect in ("training noise stays on in forecasts", "no epoch chosen", *SHUFFLING, REPEATED[1]):
        np.testing.assert_allclose(row(found, defect)["without"], np.mean(losses))


def test_what_is_chosen_on_test_is_scored_by_its_labels(simulated):
    """The lowest log-loss in the history of a training that watches test; the highest mean label."""
    parts, found = simulated
    watched = [Factorization(**FAST, noise=0.5, seed=seed).fit(*parts["train"], *parts["test"]) for seed in (0, 1)]
    lowest = np.mean([fitted.history["val"].min() for fitted in watched])
    np.testing.assert_allclose(row(found, "epoch chosen on test")["with_defect"], lowest, rtol=1e-5)
    single = row(found, "best single model picked on test", "score of the best single model")
    means, learned = (parts[part][0].model_means for part in ("test", "train"))
    np.testing.assert_allclose(single[["without", "with_defect"]].astype(float), [means[learned.argmax()], means.max()])


def test_noise_costs_what_the_fitted_slopes_say(simulated):
    """A logit l becomes normal with mean l and SD noise |beta|; its expected loss by quadrature."""
    parts, found = simulated
    vectors, truth = parts["test"][1], parts["test"][0].references["true probability"]
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    expected = []
    for seed in (0, 1):
        fitted = train(parts, **FAST, noise=0.5, seed=seed)
        logits = fitted.intercepts[:, None] + fitted.betas @ vectors.T
        sd = 0.5 * np.linalg.norm(fitted.betas, axis=1)[:, None]
        noisy = expit(logits[..., None] + sd[..., None] * nodes)
        losses = -(truth[..., None] * np.log(noisy) + (1 - truth[..., None]) * np.log1p(-noisy))
        expected.append((losses @ weights).mean() / weights.sum())
    found = row(found, "training noise stays on in forecasts")
    assert found["difference"] > 0.02
    np.testing.assert_allclose(found["with_defect"], np.mean(expected), atol=0.005)


def test_dropped_blocks_are_whole_and_leave_the_test_questions_alone(simulated):
    parts, found = simulated
    dropped, note = module._with_gaps(parts, np.random.default_rng(0))
    assert set(dropped) == {"train", "val"} and note.startswith("injected")
    gone = {part: pd.DataFrame(np.isnan(table.scores.T)).groupby(table.questions["benchmark"].to_numpy()).mean()
            for part, (table, _) in dropped.items()}
    pd.testing.assert_frame_equal(gone["train"], gone["val"])
    assert set(np.unique(gone["train"])) == {0, 1} and gone["train"].mean(axis=None) == pytest.approx(0.1, abs=0.02)
    few, many = (row(one, "missing labels count as wrong") for one in (found, defects(parts, 6, **FAST, noise=0.5)))
    assert many["difference"] > 0 and many["p"] < 0.01 < few["p"], "two draws of what is dropped tell little"
    assert row(found, "missing labels count as wrong")["difference"] > 0


def test_second_runs_are_drawn_from_the_truth(simulated):
    """Whole questions, about 13 %; the first run is the table's, the second right as often as it should be."""
    table, _ = simulated[0]["train"]
    repeats, note = module._repeats(table, np.random.default_rng(0))
    assert note.startswith("injected") and (repeats.groupby(["model", "question_id"]).size() == 2).all()
    first, second = repeats.iloc[: len(repeats) // 2], repeats.iloc[len(repeats) // 2 :]
    m, q = np.divmod(module._cells(table, second), table.shape[1])
    assert len(second) == 12 * len(np.unique(q)) and len(np.unique(q)) / table.shape[1] == pytest.approx(0.13, abs=0.01)
    np.testing.assert_array_equal(first["score"], table.scores[m, q])
    truth = table.references["true probability"][m, q]
    standardized = ((second["score"] - truth) @ (truth - 0.5)) / np.sqrt((truth * (1 - truth)) @ (truth - 0.5) ** 2)
    assert abs(standardized) < 3.5 and abs((second["score"] - truth).mean()) < 0.06


def test_nothing_is_found_where_there_is_nothing_to_find():
    """All questions alike, no noise, every pair twice with one label, of two benchmarks: every difference is zero."""
    scores = np.repeat(np.float32([[0.9], [0.2], [0.4]]), 120, axis=1)
    m, q = (where.ravel() for where in np.indices(scores.shape))
    rows = pd.DataFrame({"model": [f"m{n}" for n in m], "question_id": [f"q{n}" for n in q], "score": scores[m, q]})
    table = make_table(scores, ["a", "b"] * 60, repeats=pd.concat([rows, rows]))
    found = defects(in_order(table, np.ones((120, 3))), 1, **FAST | {"epochs": 2, "batch_cells": 6}, noise=0)
    told = found[found["measure"] != ""]
    assert set(found["defect"]) - set(told["defect"]) == {
        "missing labels count as wrong", "revisions of data and encoder not pinned"
    }
    np.testing.assert_allclose(told["difference"], 0, atol=1e-6)
    exact = told[told["defect"].isin(["training noise stays on in forecasts", *SHUFFLING, REPEATED[0]])]
    assert len(exact) == 12 and (exact["difference"] == 0).all() and (exact["p"] == 1).all()


def test_missing_cells_count_as_wrong():
    """Prompts that say nothing: a forecast falls from a model's mean to its mean times the share that was asked."""
    rng = np.random.default_rng(0)
    scores = (rng.random((6, 3000)) < np.linspace(0.3, 0.9, 6)[:, None]).astype(np.float32)
    hidden = rng.random(scores.shape) >= np.array([1, 1, 0.6, 0.6, 0.3, 0.3])[:, None]
    hidden[:, 1800:] = False  # the test questions are complete
    parts = in_order(make_table(np.where(hidden, np.float32(np.nan), scores)), np.zeros((3000, 2)), (0.4, 0.2))
    found = row(defects(parts, 1, **FAST | {"dim": 8, "epochs": 40}, noise=0), "missing labels count as wrong")
    means, asked = parts["train"][0].model_means, parts["train"][0].observed.mean(axis=1)
    right = scores[:, 1800:].mean(axis=1)
    for name, forecast in {"without": means, "with_defect": means * asked}.items():
        np.testing.assert_allclose(found[name], loss_of(forecast, right), atol=0.01)
    assert "table's own missing cells" in found["note"]


def test_the_best_of_equals_is_overstated_by_the_mean_of_the_maximum():
    """Thirty coins: the best of n test answers, by labels even where the truth is known."""
    n_models, n, rng = 30, 100, np.random.default_rng(0)
    at = np.arange(n + 1) / n
    expected = at @ np.diff(binom(n, 0.5).cdf(np.arange(n + 1)) ** n_models, prepend=0) - 0.5
    half = {"true probability": np.full((n_models, n), 0.5, np.float32)}
    gains = []
    for _ in range(300):
        learned, test = (make_table(rng.integers(0, 2, (n_models, n)), references=half) for _ in range(2))
        gains.append((module._best_single(test, test) - module._best_single(learned, test)).mean())
    assert expected > 0.08
    np.testing.assert_allclose(np.mean(gains), expected, atol=4 * np.std(gains) / 300**0.5)


def test_sorted_questions_leave_the_forecast_at_the_last_benchmark():
    """Prompts say nothing and benchmarks differ: after an epoch in order the last one is remembered best."""
    settings = FAST | {"learning_rate": 0.1, "epochs": 1}
    rng = np.random.default_rng(0)
    chance = np.tile([0.1, 0.9], 500)
    scores = rng.random((8, 1000)) < chance
    parts = in_order(make_table(scores, ["hard", "easy"] * 500), np.zeros((1000, 2)))
    found = defects(parts, 1, **settings, noise=0)
    assert row(found, SHUFFLING[0])["difference"] > 0.2 and row(found, SHUFFLING[0])["p_holm"] < 0.05
    assert abs(row(found, SHUFFLING[1])["difference"]) < 0.01  # the file alternates

    at = np.argsort(np.tile([0, 1], 250), kind="stable")
    table, vectors = parts["train"]
    in_file = defects(parts | {"train": (table.at(at), vectors[at])}, 1, **settings, noise=0)
    assert "as above" in row(in_file, SHUFFLING[1], "")["note"]
    assert row(in_file, SHUFFLING[0])["with_defect"] == row(found, SHUFFLING[0])["with_defect"]


def test_labels_without_meaning_are_learned_by_heart_and_the_test_epoch_looks_better():
    """Patience 0: the honest protocol goes back to the best epoch on validation, from which nothing is better."""
    rng = np.random.default_rng(0)
    parts = make_parts(np.zeros((10, 600)), rng.standard_normal((600, 30)), shares=(0.2, 0.3))
    fast, slow = (defects(parts, 3, **FAST | {"dim": 10, "learning_rate": rate, "patience": 0}, noise=0)
                  for rate in (0.005, 0.001))  # fast, the first epoch is the best for everyone
    assert row(fast, "no epoch chosen")["difference"] > 0.1
    on_test, found = row(slow, "epoch chosen on test"), slow
    assert on_test["difference"] < 0 and np.isnan(on_test["p"])
    assert {row(found, name, "")["note"] for name in REPEATED} == {"no repeated rows in this table"}


@pytest.fixture
def repeated():
    """Rows of 4 models on 30 questions of which every third stands there twice or three times, in any order."""
    rng = np.random.default_rng(0)
    rows = pd.MultiIndex.from_product([list("abcd"), range(30)], names=["model", "question_id"]).to_frame(index=False)
    often = 1 + (rng.random(len(rows)) < 0.3) * rng.integers(1, 3, len(rows))
    rows = rows.loc[np.repeat(rows.index, often)]
    rows = rows.assign(score=rng.integers(0, 2, len(rows))).sample(frac=1, random_state=0, ignore_index=True)
    questions = pd.DataFrame({"question_id": range(30), "prompt": [f"{n}?" for n in range(30)], "benchmark": "one"})
    return rows, {rule: from_rows(rows, questions, duplicates=rule) for rule in ("first", "mean", "max")}


def test_repeated_rows_become_maxima_or_rows_of_their_own(repeated):
    """As the reader of tables makes them by the rules "max" and "mean"; a part looks at its own questions only."""
    rows, tables = repeated
    some = slice(10, 25)
    table, (repeats, note) = tables["first"].at(some), module._repeats(tables["first"].at(some), None)
    np.testing.assert_array_equal(module._maxima(table, repeats).scores, tables["max"].at(some).scores)
    raw, at = module._all_rows(table, repeats)
    counts = rows[rows["question_id"].between(10, 24)].pivot_table(
        index="model", columns="question_id", values="score", aggfunc=["size", "mean"])
    columns = pd.DataFrame(raw.scores.T).groupby(at)
    np.testing.assert_array_equal(columns.count().T, counts["size"])
    np.testing.assert_allclose(columns.mean().T, counts["mean"])
    assert list(raw.questions.index) == list(table.questions.index[at])
    assert f"{(counts['size'] > 1).mean(axis=None):.1%}" in note and note.endswith("first")


def test_repeated_rows_move_forecasts_to_their_maximum_or_their_mean():
    """Prompts say nothing; half of the training cells have a second row, always right."""
    rng = np.random.default_rng(0)
    scores = (rng.random((5, 1000)) < np.linspace(0.2, 0.6, 5)[:, None]).astype(np.float32)
    m, q = np.nonzero(rng.random((5, 600)) < 0.5)
    pairs = pd.DataFrame({"model": [f"m{n}" for n in m], "question_id": [f"q{n}" for n in q]})
    repeats = pd.concat([pairs.assign(score=scores[m, q]), pairs.assign(score=1.0)])
    parts = in_order(make_table(scores, repeats=repeats), np.zeros((1000, 2)), (0.6, 0.1))
    found = defects(parts, 1, **FAST | {"epochs": 40, "patience": 0}, noise=0)
    first, right = scores[:, :600], parts["test"][0].model_means
    second, seconds = first.copy(), np.bincount(m)
    second[m, q] = 1
    weighted = (first.sum(axis=1) + seconds) / (600 + seconds)
    for name, forecast in zip(REPEATED, (second.mean(axis=1), weighted), strict=True):
        np.testing.assert_allclose(row(found, name)["without"], loss_of(first.mean(axis=1), right), atol=0.01)
        np.testing.assert_allclose(row(found, name)["with_defect"], loss_of(forecast, right), atol=0.02)
        assert row(found, name)["difference"] > 0.05
