"""Fewer models, fewer cells: what is drawn, hidden and scored, and that what is hidden stays unseen."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import make_parts, make_table
from scipy.special import expit

from embedllm import catalog
from embedllm.evaluation.metrics import question_scores
from embedllm.experiments import sensitivity
from embedllm.experiments.comparisons import averaged
from embedllm.forecasters.registry import cross_fit, forecast, rounds
from embedllm.splits import PARTS, Design

# The cheapest forecaster that reads text in place of the costliest: tested is who sees what, not how well.
READER = replace(catalog.ONE_ABILITY, name="reader")
COMPARED, SETTINGS = [catalog.MODEL_MEAN, READER], {"seed": 0}


def replace_unchecked(parts, change):
    """The same parts, the scores of each as `change(part, table)` gives them, and its references."""
    return {part: (table_like(table, *change(part, table)), vectors) for part, (table, vectors) in parts.items()}


def table_like(table, scores, truth):
    """A table at the same places, whose models may have no answer at all."""
    full = make_table(np.ones(table.shape), references={"true probability": np.float32(truth)}).at(slice(None))
    object.__setattr__(full, "scores", np.float32(scores))
    return full


@pytest.fixture
def shifted(rng):
    """20 models, 1,200 questions with effects that their text does not tell; the truth is known."""
    vectors = rng.standard_normal((1200, 8)) / 8**0.5
    logits = rng.standard_normal((20, 1)) + 2 * vectors @ rng.standard_normal(8) + 2 * rng.standard_normal(1200)
    parts, cuts = make_parts(logits, vectors), np.split(expit(logits), [960, 1080], axis=1)
    truth = dict(zip(("train", "val", "test"), cuts, strict=True))
    return replace_unchecked(parts, lambda part, table: (table.scores, truth[part]))


def losses(values, **where):
    """The rows of log-losses at these levels."""
    return values.xs(("log_loss", *where.values()), level=("metric", *where))


def mean(values, **where):
    """Mean log-loss of these rows."""
    return losses(values, **where).mean(axis=None)


def levels(values, *names):
    """The distinct values of some levels."""
    return set(values.index.droplevel([name for name in values.index.names if name not in names]))


# number of models

PLAN = {"n_draws": 2, "n_fits": 2, "n_folds": 3, "fold_seed": 5}


@pytest.fixture(scope="module")
def whole_pool(planted):
    """Table and vectors of all questions of the planted parts."""
    parts = planted[0]
    table = make_table(np.hstack([parts[part][0].scores for part in PARTS]))
    return table, np.concatenate([parts[part][1] for part in PARTS])


def test_the_whole_pool_alone_is_the_whole_pool_cross_fitted(whole_pool):
    table, vectors = whole_pool
    values = sensitivity.models_curve(table, vectors, COMPARED, [4, 50], **PLAN, **SETTINGS)
    assert values.index.names == ["forecaster", "n_models", "pool", "fit", "draw", "metric"]
    assert list(values.columns) == list(table.questions.index)
    counts = values.groupby(level=["n_models", "fit", "draw"]).size().to_dict()
    assert counts == {(4, 0, 0): 8, (4, 0, 1): 8, (4, 1, 2): 8, (4, 1, 3): 8, (12, 0, 0): 8, (12, 1, 2): 8}
    pd.testing.assert_frame_equal(*(values.xs((12, pool), level=("n_models", "pool"))
                                    for pool in (sensitivity.ALONE, sensitivity.WHOLE)))
    found = cross_fit(table, vectors, COMPARED, 3, rounds(2, 5, SETTINGS))
    for fit, draw in ((0, 0), (1, 2)):
        np.testing.assert_array_equal(
            values.loc[("reader", 12, sensitivity.ALONE, fit, draw, "log_loss")],
            question_scores(found[fit]["raw"]["reader"], table.scores, "log_loss"))


def test_some_models_alone_are_a_table_of_their_own(whole_pool):
    table, vectors = whole_pool
    values = sensitivity.models_curve(table, vectors, COMPARED, [5], **PLAN, **SETTINGS).xs(5, level="n_models")
    plan = rounds(2, 5, SETTINGS)
    whole = cross_fit(table, vectors, COMPARED, 3, plan)
    for draw in range(4):
        fit, models = draw // 2, np.sort(np.random.default_rng(draw).permutation(12)[:5])
        own = make_table(table.scores[models])
        [alone] = cross_fit(own, vectors, COMPARED, 3, [plan[fit]])
        for name in ("model mean", "reader"):
            for pool, probabilities in ((sensitivity.ALONE, alone["raw"][name]),
                                        (sensitivity.WHOLE, whole[fit]["raw"][name][models])):
                np.testing.assert_array_equal(values.loc[(name, pool, fit, draw, "log_loss")],
                                              question_scores(probabilities, own.scores, "log_loss"))


def test_drawn_models_of_a_smaller_size_are_among_those_of_a_larger():
    """Each model alone answered its questions, so that the questions with a value tell which models were drawn."""
    scores = np.where(np.repeat(np.eye(10, dtype=bool), 20, axis=1), np.arange(200) % 2, np.nan)
    vectors = np.ones((200, 2), np.float32)
    values = sensitivity.models_curve(make_table(scores), vectors, [catalog.MODEL_MEAN], [3, 6], 4, 1, 3, seed=0)
    values = values.xs(sensitivity.ALONE, level="pool")
    for draw in range(4):
        drawn = {size: {int(name[1:]) // 20 for name in losses(values, draw=draw, n_models=size).dropna(axis=1).columns}
                 for size in (3, 6)}
        assert [len(drawn[size]) for size in (3, 6)] == [3, 6]
        assert drawn[3] < drawn[6]


def test_what_models_share_is_learned_from_all_of_them(rng):
    """One difficulty for all: few models alone do not see it as well, except by their own means."""
    vectors = (rng.standard_normal((400, 30)) / 30**0.5).astype(np.float32)
    logits = rng.standard_normal((40, 1)) + 4 * rng.standard_normal(30) @ vectors.T
    table = make_table(rng.random(logits.shape) < expit(logits))
    values = sensitivity.models_curve(table, vectors, COMPARED, [3, 20], 6, 1, 3, **SETTINGS)
    gain = {(size, name): mean(values, n_models=size, forecaster=name, pool=sensitivity.ALONE)
            - mean(values, n_models=size, forecaster=name, pool=sensitivity.WHOLE)
            for size in (3, 20) for name in levels(values, "forecaster")}
    assert gain[3, "reader"] > 0.01
    assert gain[20, "reader"] < gain[3, "reader"] / 2
    assert abs(gain[3, "model mean"]) < 0.002
    tested = sensitivity.gains(values, 40, Design(np.zeros(400))).set_index(["forecaster", "n_models"])
    for key, row in tested.iterrows():
        assert row["difference"] == pytest.approx(gain[key[::-1]])
    assert tested.loc[("reader", 3), "low"] > 0 and tested.loc[("reader", 3), "p_holm"] < 0.05
    assert (tested["p_holm"] >= tested["p"]).all() and sensitivity.gains(values, 3, Design(np.zeros(400))).empty


def test_draws_without_answers_to_cut_into_folds_are_left_out():
    """One of twelve models answered anything but one question."""
    scores = np.full((12, 120), np.nan)
    scores[0], scores[1:, 0] = np.arange(120) % 2, 1
    vectors = np.random.default_rng(0).standard_normal((120, 3)).astype(np.float32)
    values = sensitivity.models_curve(
        make_table(scores), vectors, [catalog.MODEL_MEAN, catalog.KNN], [2], 12, 1, 3, seed=0)
    has_first = [draw for draw in range(12) if 0 in np.random.default_rng(draw).permutation(12)[:2]]
    assert 0 < len(has_first) < 12
    assert sorted(levels(values.xs(2, level="n_models"), "draw")) == has_first
    assert values.notna().all(axis=None)


def pools_of(difference, n_fits=1, n_draws=4, missing=()):
    """Accuracy of "one" and "other" with 5 and 9 models, 300 questions, apart by `difference(size, fit, draw)`."""
    rng, rows = np.random.default_rng(2), {}
    for size, fit, draw in product((5, 9), range(n_fits), range(n_draws)):
        other = rng.random(300)
        for name, values in (("one", other + difference(size, fit, draw) + 0.1 * rng.standard_normal(300)),
                             ("other", other)):
            rows[(name, size, sensitivity.ALONE, fit, fit * n_draws + draw, "accuracy")] = np.where(
                np.isin(np.arange(300), missing) & (draw == 0), np.nan, values)
    names = ["forecaster", "n_models", "pool", "fit", "draw", "metric"]
    return pd.DataFrame(list(rows.values()), pd.MultiIndex.from_tuples(rows, names=names))


def test_what_is_repeated_is_the_fit_or_of_one_fit_the_draw():
    """Draws that differ by a lot: over them nothing is shown; in fits that each average four of them it is."""
    design = Design(np.arange(300) % 3)
    swing = (-0.3, 0.3, -0.2, 0.4)
    by_draw = sensitivity.compared(pools_of(lambda size, fit, draw: swing[draw]), [("one", "other")], design)
    assert by_draw[["metric", "n_models", "method", "reference"]].to_numpy().tolist() == [
        ["accuracy", 5, "one", "other"], ["accuracy", 9, "one", "other"]]
    np.testing.assert_allclose(by_draw["difference"], 0.05, atol=0.01)
    assert (by_draw["low"] < -0.3).all() and (by_draw["se"] > 0.15).all(), "SD of the draws over the root of four"
    by_fit = sensitivity.compared(pools_of(lambda size, fit, draw: swing[draw], 3), [("one", "other")], design)
    np.testing.assert_allclose(by_fit["difference"], 0.05, atol=0.01)
    assert (by_fit["low"] > 0).all() and (by_fit["p_holm"] < 0.05).all()


def test_a_question_without_a_value_in_some_draw_is_left_out_unless_all_are():
    design, pairs = Design(np.zeros(300)), [("one", "other")]
    few = sensitivity.compared(pools_of(lambda size, fit, draw: 0.05, missing=range(10)), pairs, design)
    np.testing.assert_allclose(few["difference"], 0.05, atol=0.01)
    none = pools_of(lambda size, fit, draw: 0.05, n_draws=2, missing=range(150))
    draws = none.index.get_level_values("draw") == 1
    none.loc[draws, none.columns[150:]] = np.nan
    np.testing.assert_allclose(sensitivity.compared(none, pairs, design)["difference"], 0.05, atol=0.01)


# observed cells


def test_kept_cells_are_a_random_share_and_nested(planted):
    parts = planted[0]
    few, many = (sensitivity.kept_cells(parts, share, 3) for share in (0.2, 0.6))
    for part in ("train", "val"):
        assert abs(few[part].mean() - 0.2) < 0.02 and abs(many[part].mean() - 0.6) < 0.02
        assert (many[part] | ~few[part]).all()
    assert not np.array_equal(few["train"], sensitivity.kept_cells(parts, 0.2, 4)["train"])
    assert all(cells.all() for cells in sensitivity.kept_cells(parts, 1.0, 0).values())


def test_all_cells_leave_nothing_to_complete(planted):
    parts = planted[0]
    values = sensitivity.observed_curve(parts, [1.0], 2, COMPARED, catalog.ONE_ABILITY, **SETTINGS)
    assert list(values) == ["unseen questions"]
    assert values[sensitivity.UNSEEN].index.names == ["forecaster", "share", "seed", "metric"]
    for name, probabilities in forecast(parts, COMPARED).items():
        expected = question_scores(probabilities, parts["test"][0].scores, "log_loss")
        for seed in (0, 1):
            found = values[sensitivity.UNSEEN].loc[(name, 1.0, seed, "log_loss")]
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_hidden_cells_never_matter(shifted):
    """Scored against known probabilities, all values stay the same bits when every hidden answer is turned."""
    kept = sensitivity.kept_cells(shifted, 0.3, 1)

    def turned(part, table):
        scores = np.where(kept[part], table.scores, 1 - table.scores) if part in kept else 1 - table.scores
        return scores, table.references["true probability"]

    compared = [*COMPARED, catalog.KNN]
    before, after = (sensitivity.observed_curve(parts, [0.3], 2, compared, catalog.ONE_ABILITY, **SETTINGS)
                     for parts in (shifted, replace_unchecked(shifted, turned)))
    assert list(before) == ["unseen questions", "completing seen questions"]
    for task in before:
        pd.testing.assert_frame_equal(*(values[task].xs(1, level="seed") for values in (before, after)))


def test_completion_is_scored_where_a_seen_question_hides_something(shifted):
    train = shifted["train"][0]
    kept = sensitivity.kept_cells(shifted, 0.1, 0)["train"]
    values = sensitivity.observed_curve(shifted, [0.1], 1, [catalog.MODEL_MEAN], catalog.ONE_ABILITY, **SETTINGS)
    scored = values["completing seen questions"].loc[("model mean", 0.1, 0, "log_loss")]
    seen = kept.any(axis=0)
    assert not seen.all() and list(scored.index) == list(train.questions.index)
    np.testing.assert_array_equal(scored.notna(), seen)
    means = (np.where(kept, train.scores, 0).sum(axis=1) + train.scores[kept].mean()) / (kept.sum(axis=1) + 1)
    truth = np.where(~kept & seen, train.references["true probability"], np.nan)
    expected = question_scores(np.repeat(means[:, None], len(seen), axis=1), truth, "log_loss")
    np.testing.assert_allclose(scored, expected, rtol=1e-5)


def test_own_answers_beat_the_text_the_more_of_them_are_kept(shifted):
    values = sensitivity.observed_curve(shifted, [0.1, 0.2, 0.8], 1, COMPARED, catalog.ONE_ABILITY, **SETTINGS)
    gain = [mean(values[sensitivity.SEEN], share=share, forecaster="reader")
            - mean(values[sensitivity.SEEN], share=share, forecaster="completion") for share in (0.1, 0.2, 0.8)]
    assert 0.03 < gain[0] < gain[1] < gain[2]
    assert levels(values[sensitivity.UNSEEN], "forecaster") == {one.name for one in COMPARED}, "no completion"
    truth, unseen = shifted["train"][0].references["true probability"], sensitivity.kept_cells(shifted, 0.8, 0)["train"]
    least = np.nanmean(question_scores(truth, np.where(unseen, np.nan, truth), "log_loss"))
    excess = {name: mean(values[sensitivity.SEEN], share=0.8, forecaster=name) - least
              for name in ("completion", "reader")}
    assert excess["completion"] < 0.3 * excess["reader"]


def test_averages_of_both_tasks_come_back(shifted):
    values = sensitivity.observed_curve(shifted, [0.3], 2, [catalog.MODEL_MEAN], catalog.ONE_ABILITY, **SETTINGS)
    for part, task in (("test", sensitivity.UNSEEN), ("train", sensitivity.SEEN)):
        table = averaged(values[task], Design.of(shifted[part][0])).set_index(["forecaster", "metric"])
        for name, group in losses(values[task]).groupby(level="forecaster"):
            found = table.loc[(name, "log_loss")]
            np.testing.assert_allclose(found["value"], group.dropna(axis=1).mean().mean())
            assert found["low"] < found["value"] < found["high"]


def test_a_share_that_leaves_nothing_is_left_out():
    parts = make_parts(np.zeros((3, 60)), np.random.default_rng(0).standard_normal((60, 2)))
    compared = [catalog.MODEL_MEAN, catalog.KNN]
    values = sensitivity.observed_curve(parts, [0.01, 0.9], 3, compared, catalog.ONE_ABILITY, **SETTINGS)
    values = values[sensitivity.UNSEEN]
    assert 0.9 in levels(values, "share")
    kept = [sensitivity.kept_cells(parts, 0.01, seed).values() for seed in range(3)]
    asked = [seed for seed in range(3) if all(cells.any() for cells in kept[seed])]
    assert {seed for share, seed in levels(values, "share", "seed") if share == 0.01} <= set(asked) != {0, 1, 2}
