"""Cross-fitted routing: who learns from what, what is judged, prices, and what choices tell."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from scipy.stats import norm

from embedllm import catalog
from embedllm.experiments import coverage, guard_trials, guarding, pricing, routing, specialization, unseen
from embedllm.experiments.worlds import OBSERVED, PRIMARY
from embedllm.forecasters import registry
from embedllm.machine import side_by_side
from embedllm.outcomes import MANY, OutcomeMatrix, replace_unchecked
from embedllm.routing import guard, policies
from embedllm.sources.simulated import simulate
from embedllm.splits import Design

SINGLE = catalog.BEST_SINGLE
SETTINGS = {"seed": 0, "dim": 4, "noise": 0.0, "epochs": 30, "batch_cells": 512, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def pool():
    """8 models, 600 questions of three benchmarks; each benchmark has a model of its own that is best there."""
    rng = np.random.default_rng(5)
    kinds = np.repeat(["a", "b", "c"], 200)
    vectors = np.float32(np.eye(3)[np.repeat([0, 1, 2], 200)] + 0.3 * rng.standard_normal((600, 3)))
    rate = np.full((8, 600), 0.4)
    rate[0] = 0.6
    for model, kind in enumerate("abc", start=1):
        rate[model, kinds == kind] = 0.9
    table = make_table(rng.random(rate.shape) < rate, kinds)
    models = table.models.assign(lineage=[f"l{number // 2}" for number in range(8)], cost=[3, 1, 1, 1, 1, 1, 1, 0.5])
    return OutcomeMatrix(table.scores, models, table.questions), vectors


@pytest.fixture(scope="module")
def crossed(pool):
    rounds = registry.rounds(2, 3, SETTINGS)
    entries = [catalog.KNN, catalog.CONVEX, catalog.CONVEX_ADDITIVE]
    return registry.cross_fit(*pool, entries, 4, rounds), rounds


def test_the_policies_of_a_fold_learn_outside_it(pool, crossed):
    table, _ = pool
    judged = routing.CrossFitted.of(table, *crossed, 4)
    found = routing.routed(judged)
    assert judged.table.shape == table.shape
    for fit in range(2):
        for number in range(4):
            test = judged.folds[fit] == number
            own = {name: values[:, test] for name, values in crossed[0][fit]["raw"].items()}
            choices, reached = policies.route(table.at(~test), table.at(test), own)
            for name in choices:
                np.testing.assert_array_equal(found.choices[name][fit, test], choices[name])
            for name in reached:
                np.testing.assert_array_equal(found.reached[name][fit, test], reached[name])
    gains = routing.gains(found.reached, Design.of(table)).set_index("method")
    assert gains.loc["kNN", "p_holm"] < 0.01 < gains.loc["kNN", "difference"]
    assert gains.loc["kNN", "score"] == pytest.approx(found.reached["kNN"].mean())
    assert (gains["difference"].diff().dropna() <= 0).all()
    against = routing.against(found.reached, "kNN", [SINGLE, catalog.RANDOM_MODEL], Design.of(table), 0.01, 0.5)
    assert (against["confidence"] == 0.99).all() and (against["p_margin"] < 0.05).all(), "no gain of a half"
    none = routing.against(found.reached, "kNN", [SINGLE, catalog.RANDOM_MODEL], Design.of(table), 0.01, 0.0)
    assert (none["p_margin"] > 0.9).all(), "a gain of nothing and more is not refuted"
    wide = against["high_all"] - against["low_all"]
    assert (wide > against["high"] - against["low"]).all()
    bound = routing.gains(found.reached, Design.of(table), bounds={routing.HINDSIGHT: np.ones((2, 600))})
    assert set(bound["method"]) == {*gains.index, routing.HINDSIGHT} and bound.loc[0, "score"] == 1
    assert np.isnan(bound.loc[0, "p_holm"]) and bound["p_holm"].dropna().tolist() == gains["p_holm"].tolist()
    inside = routing.gains_within(found.reached, ["kNN"], table)
    assert inside["questions"].tolist() == [200] * 3
    assert inside["difference"].mean() == pytest.approx(gains.loc["kNN", "difference"])


def test_a_single_model_is_never_a_mixture(pool, crossed):
    table, _ = pool
    scores = table.scores.copy()
    scores[2, :20] = np.nan  # lacks too much to be a candidate
    scores[3, 50:53] = np.nan
    holes = OutcomeMatrix(scores, table.models, table.questions)
    judged = routing.CrossFitted.of(holes, *crossed, 4)
    assert judged.table.shape == (7, 597) and judged.table.observed.all()
    assert judged.forecasts[0]["kNN"].shape == (7, 597) and len(judged.folds[0]) == 597
    scores = np.where(np.random.default_rng(0).random(scores.shape) < 0.3, np.nan, scores)
    scores[0] = 1
    thin = routing.CrossFitted.of(OutcomeMatrix(scores, table.models, table.questions), *crossed, 4)
    assert thin.table.shape == table.shape, "where nearly all lack answers, all stay"


def test_hindsight_asks_the_best_model_of_each_benchmark(pool):
    table, _ = pool
    best = np.repeat(table.scores.reshape(8, 3, 200).mean(axis=2).max(axis=0), 200)
    reached = routing.hindsight(table).reshape(3, 200)
    assert reached.mean(axis=1) == pytest.approx(best.reshape(3, 200).mean(axis=1))


def test_choices_tell_of_the_benchmark_where_models_are_special(pool, crossed):
    table, _ = pool
    judged = routing.CrossFitted.of(table, *crossed, 4)
    bits = routing.told_by_choice(judged, "kNN")
    assert bits["benchmark"].shape == (2, 600)
    assert bits["benchmark"].mean() > 0.3 > 3 * bits["difficulty"].mean()
    level = replace_unchecked(table, scores=np.ones_like(table.scores))  # no question is harder than another
    judged = judged._replace(table=level)
    assert abs(routing.told_by_choice(judged, "kNN")["difficulty"].mean()) < 0.03, "ties tell nothing"


def test_scores_are_compared_at_equal_prices(pool, crossed):
    table, _ = pool
    judged = routing.CrossFitted.of(table, *crossed, 4)
    prices = table.models["cost"].to_numpy()
    found = pricing.priced(judged, prices, ["kNN", "convex embedding"])
    area = found.area.set_index("method")
    assert area.loc["kNN", "difference"] > 0.1
    mix = found.curve[found.curve["policy"] == pricing.MIX]
    singles = found.models.sort_values("price")
    cheap = singles[singles["price"] <= 1]["score"].max()
    assert mix["score"].iloc[np.argmin(np.abs(mix["price"] - 1))] >= cheap - 1e-6
    assert mix["score"].max() == pytest.approx(singles["score"].max())
    assert np.trapezoid(mix["score"], mix["price"]) / np.ptp(mix["price"]) == pytest.approx(
        area.loc["kNN", "score"] - area.loc["kNN", "difference"], abs=2e-3)
    reach = found.reach.set_index("policy")
    assert 0.5 < reach.loc["kNN", "price"] < reach.loc[pricing.MIX, "price"]
    without = prices.copy()
    without[0] = np.nan
    assert "m0" not in pricing.priced(judged, without, ["kNN"]).models["model"].tolist()
    none = pricing.by_parameters(judged, ["kNN"])
    assert none.empty and "parameters" in none
    for few in (np.full(8, np.nan), np.where(np.arange(8) == 2, 1.0, np.nan)):
        assert all(one.empty and list(one) == pricing.COLUMNS[name]
                   for name, one in pricing.priced(judged, few, ["kNN"])._asdict().items())
    assert set(pricing.COLUMNS["area"]) <= set(found.area)


def test_worlds_are_counted_one_sided():
    one = {"null": [OBSERVED] + [PRIMARY] * 9 + ["Rasch"], "world": range(11), "best_single": 0.6,
           "routed": [0.7, *np.linspace(0.5, 0.9, 9), 1.0], "entropy": [2.0, *[1.0] * 9, 3.0],
           "told_benchmark": [0.3, *[0.1] * 9, 0.5], "told_difficulty": 0.0}
    drawn = pd.concat(pd.DataFrame(one).assign(forecaster=name) for name in ("convex embedding", "kNN", "x"))
    found = routing.beyond_worlds(drawn).set_index(["forecaster", "quantity"])
    assert found.loc[("kNN", "gain"), ["observed", "value", "p"]].tolist() == pytest.approx([0.1, 0.1, 6 / 10])
    assert found.xs("entropy", level="quantity")["p"].tolist() == pytest.approx([1 / 10] * 3)
    assert found.loc[("x", "told_benchmark"), ["observed", "value"]].tolist() == pytest.approx([0.3, 0.1])
    for name in ("convex embedding", "kNN"):  # the primary one is alone, of the others all draws are the same
        assert found.loc[(name, "gain"), "p_adjusted"] == found.loc[(name, "gain"), "p"]
    drawn.loc[drawn["forecaster"] == "x", "routed"] = [0.7, *np.linspace(0.9, 0.5, 9), 1.0]
    apart = routing.beyond_worlds(drawn).set_index(["forecaster", "quantity"])
    assert apart.loc[("kNN", "gain"), "p_adjusted"] > apart.loc[("kNN", "gain"), "p"]


def test_a_guarded_router_calibrates_on_what_nothing_else_used(pool):
    table, vectors = pool
    seen = []

    def compute(calls):
        calls = list(calls)
        seen.extend(call.args[0] for call in calls)
        return side_by_side(calls)

    rounds = registry.rounds(2, 0, SETTINGS)
    reached, calibrations = guarding.guarded(table, vectors, catalog.KNN, rounds, 0.05, compute)
    assert len(seen) == 12 and not np.isnan(np.stack(list(reached.values()))).any()
    for parts in seen:
        ids = [set(parts[part][0].questions.index) for part in ("train", "val", "test")]
        assert not ids[0] & ids[1] | ids[0] & ids[2] | ids[1] & ids[2]
        assert len(ids[2]) == pytest.approx(300, abs=6) and len(ids[1]) == pytest.approx(50, abs=4)
    gains = routing.gains(reached, Design.of(table)).set_index("method")
    assert gains.loc["unguarded", "difference"] > 0.1
    assert gains.loc["guarded", "difference"] > 0.05
    assert 0 < guarding.left(calibrations) <= 1
    assert calibrations.groupby(["fit", "part"])["chosen"].sum().max() == 1


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(guard_trials, "N_MODELS", 16)
    monkeypatch.setattr(guard_trials, "N_LEARNED", 400)
    monkeypatch.setattr(guard_trials, "N_DRAWN_FROM", 1500)
    monkeypatch.setattr(guard_trials, "SIZES", (400, 1500))
    monkeypatch.setattr(guard_trials, "KAPPAS", (0.0, 1.5))


def test_the_boundary_loses_exactly_what_is_allowed(small):
    for kappa in (0.0, 1.5):
        one = guard_trials.planted(kappa, 1)
        edge = guard_trials.at_the_boundary(one)
        assert edge.true_gains() == pytest.approx([-guard.EPSILON])
        assert ((edge.best >= 0) & (edge.best <= 1)).all()
        assert one.regret >= 0 and np.isnan(edge.regret)
    assert guard_trials.planted(0.0, 1).true_gains().max() < 0.01


def test_the_promise_is_kept_in_trials(small):
    found = guard_trials.promise(2, 300, lambda calls: [call() for call in calls])  # here, where pools are small
    found = found.set_index(["pool", "questions"])
    assert sorted(found.index.unique("pool")) == ["0", "1.5", guard_trials.BOUNDARY]
    assert (found["violated_high"] < 0.09).all(), "end to end, as asked of such tests"
    assert found.loc[("1.5", 1500), "certified"] > found.loc[("1.5", 400), "certified"]
    assert found.loc[("1.5", 1500), "gain"] > 0
    assert (found["left"] <= found["leaves"]).all() and (found["leaves"] <= found["certified"]).all()
    pools = [guard_trials.planted(1.5, seed) for seed in range(2)]
    assert found.loc["1.5", "regret"].tolist() == pytest.approx([np.mean([one.regret for one in pools])] * 2)
    assert found.loc[guard_trials.BOUNDARY, "regret"].isna().all()


def test_regret_is_what_the_default_model_truly_lacks(small):
    one = guard_trials.planted(1.5, 0)
    truth = simulate(n_models=16, n_questions=1900, data_seed=0, kappa=1.5).references[catalog.TRUTH]
    scores = np.float64(truth[:, 400:]).mean(axis=1)
    assert one.regret == pytest.approx(scores.max() - one.default.mean())
    assert np.isclose(scores, one.default.mean()).any()


@pytest.mark.parametrize(("best", "default", "expected"), [
    ([0, 0], [0, 0], {"certified": 1, "violated": 0, "leaves": 0, "left": 0, "gain": 0}),  # loses and gains nothing
    ([1, 1], [0, 0], {"certified": 1, "violated": 0, "leaves": 1, "left": 1, "gain": 1}),
    ([1, 0], [0, 1], {"certified": 1, "violated": 0, "leaves": 1, "left": 0.5, "gain": 0.5}),  # gains at the first only
    ([0, 1], [1, 0], {"certified": 0, "violated": 0, "leaves": 0, "left": 0, "gain": 0})])  # stops at the first
def test_trials_tell_what_is_certified_from_what_is_left(best, default, expected):
    lead = np.repeat([2.0, 1.0], 50)
    pool = guard_trials.Planted(lead, np.repeat(np.float64(best), 50), np.repeat(np.float64(default), 50),
                                np.array([2.0, 1.0]))
    found = guard_trials.trials(pool, 3000, 8, 0)
    assert (found == pd.Series(expected)[found.columns]).all(axis=None)


def test_a_pool_in_which_no_model_leads_is_never_left():
    idle = guard_trials.Planted(np.zeros(50), np.full(50, 0.5), np.full(50, 0.5), np.zeros(0))
    found = guard_trials.trials(idle, 100, 7, 0)
    assert len(found) == 7 and not found.to_numpy().any()


def test_a_benchmark_left_out_is_not_learned_from_and_both_learn_from_as_much(pool):
    table, vectors = pool
    seen = []

    def compute(calls):
        calls = list(calls)
        seen.extend({part: call.args[0][part][0].questions["benchmark"].to_numpy() for part in call.args[0]}
                    for call in calls)
        return side_by_side(calls)

    groups = table.questions["benchmark"].to_numpy()
    found = unseen.unseen(table, vectors, groups, 0, compute, **SETTINGS)
    whole = [one for one in seen if len(one["test"]) == 200]
    assert all(one["test"][0] not in (*one["train"], *one["val"]) for one in whole)
    halves = [one for one in seen if len(one["test"]) < 200]
    assert all(one["test"][0] in one["train"] for one in halves)
    sizes = {len(one["train"]) + len(one["val"]) for one in seen}
    assert max(sizes) - min(sizes) <= 4
    losses = unseen.losses(found, groups, table).set_index(["benchmark", "kind", "method"])
    assert losses.loc[("all", unseen.SEEN, "kNN"), "difference"] < losses.loc[("all", unseen.OUT, "kNN"), "difference"]
    kinds = (unseen.OUT, unseen.SEEN, unseen.COST)
    out, seen_too, cost = (losses.xs(kind, level="kind")["difference"] for kind in kinds)
    np.testing.assert_allclose(cost, out - seen_too)
    gains = unseen.gains(found, groups, table)
    assert gains["reference"].unique().tolist() == [SINGLE]
    assert set(gains["benchmark"]) == {"all", "a", "b", "c"}
    worst = unseen.examples(found, groups, table, "kNN", 2)
    assert len(worst) == 2 and (worst["left out"] > worst["seen"]).all()


def test_a_group_larger_than_all_others_is_seen_in_part_only():
    table = make_table(np.zeros((3, 400)), ["big"] * 300 + ["small"] * 100)
    sizes = {}
    for _, kind, part in unseen._plans(table, table.questions["benchmark"].to_numpy(), 0, 0):
        judged = table.questions["benchmark"][part == "test"].iloc[0]
        sizes.setdefault(judged, {}).setdefault(kind, []).append(np.isin(part, ["train", "val"]).sum())
        assert 0.05 < (part == "val").sum() / np.isin(part, ["train", "val"]).sum() < 0.15
    assert sizes["big"] == {"left out": [100], "seen": [pytest.approx(100, abs=2)] * 2}
    assert sizes["small"] == {"left out": [300], "seen": [pytest.approx(300, abs=2)] * 2}


def test_groups_are_what_the_data_tells():
    table = make_table(np.zeros((2, 4)), ["math", "law", "physics", "history"])
    told = OutcomeMatrix(table.scores, table.models, table.questions.assign(src=["a-1", "a-2", "b-1", "b-2"]))
    found = unseen.groupings(told)
    assert found["origin"].tolist() == ["from a", "from a", "from b", "from b"]
    assert found["kind"].tolist() == ["reasoning, from knowledge", "knowledge, from reasoning"] * 2
    assert set(unseen.groupings(make_table(np.zeros((2, 2)), ["koala", "oasst"]))) == {"benchmark"}
    many = make_table(np.zeros((2, MANY + 1)), [f"{'ab'[n % 2]}/{n}" for n in range(MANY + 1)])
    many.questions["suite"] = many.questions["benchmark"].str[0]
    found = unseen.groupings(many)
    assert {name: len(set(groups)) for name, groups in found.items()} == {"benchmark": 2, "task": MANY + 1}


def test_distance_is_taken_within_benchmarks(pool, crossed):
    judged = routing.CrossFitted.of(pool[0], *crossed, 4)
    rows = unseen.by_distance(judged, pool[1], ["kNN"], catalog.CONVEX_ADDITIVE.name)
    assert rows.loc[0, "nearest"] < 0 and rows.loc[0, "farthest"] < 0
    assert rows.loc[0, "low"] < rows.loc[0, "difference"] < rows.loc[0, "high"]


def test_a_slope_over_distance_is_the_planted_one(pool, crossed):
    judged = routing.CrossFitted.of(pool[0], *crossed, 4)
    e = pool[1] / np.linalg.norm(pool[1], axis=1, keepdims=True)
    planted = []
    for fold, told in zip(judged.folds, judged.forecasts, strict=True):
        distance = np.array([1 - (e[fold != fold[at]] @ e[at]).max() for at in range(600)])
        rank = pd.Series(distance).groupby(np.repeat([0, 1, 2], 200)).rank(pct=True).to_numpy()
        # A forecast whose log-loss is that of the other one plus half the rank.
        base = np.where(judged.table.scores == 1, told["kNN"], 1 - told["kNN"])
        worse = base * np.exp(-rank / 2)
        planted.append(told | {"worse": np.where(judged.table.scores == 1, worse, 1 - worse)})
    rows = unseen.by_distance(judged._replace(forecasts=planted), pool[1], ["worse"], "kNN")
    assert rows.loc[0, "difference"] == pytest.approx(0.5, rel=0.02)
    assert rows.loc[0, "nearest"] == pytest.approx(0.05, abs=0.005)
    assert rows.loc[0, "farthest"] == pytest.approx(0.45, abs=0.005)


def test_information_is_tested_like_any_mean(pool, crossed):
    table, _ = pool
    bits = routing.told_by_choice(routing.CrossFitted.of(table, *crossed, 4), "kNN")
    told = routing.compared(bits, [("benchmark", "difficulty")], Design.of(table), 0.01).iloc[0]
    assert told["confidence"] == 0.99
    assert told["low"] < told["difference"] < told["high"]


def test_hidden_blocks_flatter_who_lacks_most(pool, crossed):
    judged = routing.CrossFitted.of(pool[0], *crossed, 4)
    found = coverage.hidden(judged, "kNN", share=0.3, n_draws=5).set_index(["hidden", "rule"])
    assert len(found) == 6 and found["best"].between(0, 1).all() and (found["lost"] >= 0).all()
    bad = found.loc[coverage.BAD]
    assert bad.loc["mean of its answers", "level"] > bad.loc["mean of its answers", "score"]
    assert bad.loc["missing counts as wrong", "level"] <= bad.loc["mean of its answers", "level"]
    with pytest.raises(ValueError, match="complete table"):
        coverage.hidden(judged._replace(table=replace_unchecked(
            judged.table, scores=np.where(np.eye(8, 600, dtype=bool), np.nan, judged.table.scores))), "kNN")


def test_models_that_are_special_by_benchmark_are_so_there_alone(pool, crossed):
    judged = routing.CrossFitted.of(pool[0], *crossed, 4)
    rows = specialization.specialization(judged, 0.05).set_index("method")
    assert rows.loc[specialization.EVERYWHERE, "difference"] < -0.02 and rows.loc[specialization.EVERYWHERE, "p"] < 0.01
    within = rows.loc[specialization.WITHIN]
    assert within["difference"] > 0.2 * rows.loc[specialization.EVERYWHERE, "difference"], "nothing is gained there"
    assert (rows["cells"] == 1).all()


def test_a_suite_failed_by_format_is_told_from_one_that_is_hard():
    rng = np.random.default_rng(0)
    rate = np.array([[0.8, 0.7, 0.6]] * 6 + [[0.8, 0.7, 0.01]] + [[0.3, 0.2, 0.1]])
    scores = rng.random((8, 300)) < np.repeat(rate, 100, axis=1)
    table = make_table(scores, np.repeat(["a", "b", "c"], 100))
    failed = specialization.format_failures(table)
    assert failed[6, 200:].all() and failed.sum() == 100


def test_the_guard_meets_a_benchmark_that_it_never_saw(pool):
    table, vectors = pool
    rows = guarding.beyond(table, vectors, catalog.KNN, registry.rounds(1, 0, SETTINGS)[0], 0.05)
    assert rows["benchmark"].tolist() == ["a", "b", "c"] * 2 and (rows["questions"] == 200).all()
    assert rows["method"].tolist() == [guarding.GUARDED] * 3 + [guarding.UNGUARDED] * 3
    assert rows["difference"][:3].mean() < 0.05, "what was learned elsewhere says nothing here"
    assert rows["left"].between(0, 1).all() and (rows["se"] > 0).any()
    assert (rows["low"] <= rows["difference"]).all() and (rows["difference"] <= rows["high"]).all()
    alone = replace_unchecked(table, questions=table.questions.assign(benchmark="a"))
    none = guarding.beyond(alone, vectors, catalog.KNN, registry.rounds(1, 0, SETTINGS)[0], 0.05)
    assert none.empty and none.columns.tolist() == rows.columns.tolist(), "nothing else to learn from"


def test_losses_beyond_what_is_allowed_count_equal_prompts_once_and_are_corrected():
    flat, number = np.full(400, 1.0), np.arange(400)
    less = {share: flat - (number < share * 400) for share in (0.1, 0.05)}
    one = {guarding.GUARDED: less[0.1], guarding.UNGUARDED: less[0.05], guarding.DEFAULT: flat}
    alone, twins = Design(np.zeros(400)), Design(np.zeros(400), number // 2)
    found = guarding.losses({"x": (one, alone), "y": (one, twins), "z": (one | {guarding.GUARDED: flat}, alone)}, 0.05)
    rows = found[found["method"] == guarding.GUARDED].set_index("benchmark")
    assert rows["difference"].tolist() == pytest.approx([-0.1, -0.1, 0])
    se = 0.3 / np.sqrt([399, 199])
    assert rows["se"].tolist() == pytest.approx([*se, 0])
    p = norm.sf(0.05 / se)
    assert rows["p_loses"].tolist() == pytest.approx([*p, 1])
    assert rows["p_holm"].tolist() == pytest.approx([3 * p[0], 2 * p[1], 1])
    free = found[found["method"] == guarding.UNGUARDED]
    assert free["p_loses"].tolist() == pytest.approx([0.5] * 3), "just what is allowed"
    assert (rows["low"] <= rows["difference"]).all() and rows.loc["z", ["low", "high"]].tolist() == [0, 0]
