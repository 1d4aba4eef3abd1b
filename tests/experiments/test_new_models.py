"""Lineages left out, asked a few questions: nothing they were not asked is used; summaries by hand; what is said."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from embedllm import catalog
from embedllm.bench import cost
from embedllm.conclusions import new_models as said
from embedllm.conclusions import onboarding as told
from embedllm.experiments import (
    joint,
    new_models,
    newcomers,
    odd_models,
    portfolio,
    question_choice,
    relatives,
    small_pools,
    stopping,
)
from embedllm.figures import new_models as drawn
from embedllm.new_models import rivals
from embedllm.new_models.choice import halves
from embedllm.outcomes import replace_unchecked
from embedllm.splits import folds


@pytest.fixture(scope="module")
def planted():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_pools, "N_QUESTIONS", 400)
        patch.setattr(small_pools, "N_FRESH", 100)
        one = small_pools.pool(3, 20, {})
    return one.table, one.vectors


@pytest.fixture(scope="module")
def rows(planted):
    return new_models.curves(*planted, [8, 64, 999], [64], 2, 0)


def test_every_model_is_judged_once_an_order_by_every_method(planted, rows):
    table, _ = planted
    counts = rows.groupby(["method", "n"])["model"].agg(["size", "nunique"])
    assert set(counts.index.get_level_values("n")) == {8, 64, 200}, "at most half of the questions is asked"
    anew = counts.loc[new_models.ANEW]
    n_lineages = table.models["lineage"].nunique()
    assert (counts.drop(new_models.ANEW) == [40, 20]).all(axis=None)
    assert anew.index.tolist() == [64] and anew.to_numpy().tolist() == [[n_lineages, n_lineages]]
    assert rows[rows["method"] == new_models.ANEW]["lineage"].is_unique
    compared = rows.dropna(subset=["over_anew", "changed"])
    assert set(compared["model"]) == set(rows.loc[rows["method"] == new_models.ANEW, "model"])
    assert set(rows["method"]) == set(catalog.NEWCOMERS)
    truth = rows.groupby("model")["truth"].first()
    np.testing.assert_allclose(truth, table.scores.mean(axis=1)[table.models.index.get_indexer(truth.index)])


def test_what_was_not_asked_changes_no_forecast(planted):
    table, vectors = planted
    new = (table.models["lineage"] == table.models["lineage"].iloc[0]).to_numpy()
    first = new_models.of_fold(table, vectors, new, rivals.clusters(vectors), [16], [], 1, 0)
    lineages = table.models["lineage"].to_numpy(str)
    order = newcomers.ordered(table, lineages[new], halves(table, 0), 0, 0)[0][:16]
    turned = table.scores.copy()
    rest = np.delete(np.arange(table.shape[1]), order)
    turned[np.ix_(np.flatnonzero(new), rest)] = 1 - turned[np.ix_(np.flatnonzero(new), rest)]
    turned = replace_unchecked(table, scores=turned)
    second = new_models.of_fold(turned, vectors, new, rivals.clusters(vectors), [16], [], 1, 0)
    np.testing.assert_allclose(first["estimate"], second["estimate"])
    assert not np.allclose(first["truth"], second["truth"])


def test_from_the_text_alone_no_benchmark_is_read(planted):
    table, vectors = planted
    new = (table.models["lineage"] == table.models["lineage"].iloc[0]).to_numpy()
    labels = table.questions["benchmark"].to_numpy()
    judged = ~halves(table, 0)
    shuffled = labels.copy()
    shuffled[judged] = np.random.default_rng(0).permutation(labels[judged])
    with pytest.MonkeyPatch.context() as patch:  # the same questions may be asked
        patch.setattr(new_models, "halves", lambda *_: ~judged)
        first, second = (new_models.of_fold(
            replace_unchecked(table, questions=table.questions.assign(benchmark=own)), vectors, new,
            rivals.clusters(vectors), [64], [64], 1, 0)
            .groupby("method")["log_loss"].mean() for own in (labels, shuffled))
    for method in (new_models.TEXT, new_models.ANEW):
        assert first[method] == second[method]
    assert first[new_models.LABELED] != second[new_models.LABELED]


def test_as_many_lineages_as_are_meant_are_trained_anew(planted, monkeypatch):
    table, _ = planted
    monkeypatch.setattr(new_models, "N_ANEW", 3)
    found = table.models["lineage"][new_models.sampled(table, 0)]
    assert len(found) == 3 == found.nunique()
    drawn = {tuple(np.flatnonzero(new_models.sampled(table, seed))) for seed in range(9)}
    assert len(drawn) > 3
    large = replace_unchecked(table, models=table.models.assign(lineage=["a"] * 11 + list("bcdefghij")))
    found = np.array([new_models.sampled(large, seed) for seed in range(400)])
    assert abs(found[:, :11].any(axis=1).mean() - 0.3) < 0.08, "a large lineage is drawn as often as others"
    assert (found[:, :11].mean(axis=0) > 0).all(), "each of its models"


def test_the_models_most_alike_are_found_with_more_answers(rows):
    own = rows[rows["method"] == new_models.TEXT].groupby("n")[["similar", "similar_by_chance"]].mean()
    assert own.loc[200, "similar"] == 1 > own.loc[64, "similar"] > own.loc[8, "similar"]
    assert 5 / 16 <= own["similar_by_chance"].min() <= own["similar_by_chance"].max() <= 0.5


def test_a_few_answers_tell_more_than_their_mean(rows):
    table = new_models.summary(rows).set_index(["method", "n", "measure"])["value"]
    for n in (8, 64):
        assert table[new_models.OURS, n, "log_loss"] < table[new_models.RAW, n, "log_loss"] - 0.02
        assert table[new_models.OURS, n, "rmse"] < table[new_models.RAW, n, "rmse"]
        assert table[new_models.OURS, n, "covered"] > 0.7
    assert table[new_models.TEXT, 64, "log_loss"] < table[new_models.TEXT, 8, "log_loss"]


def test_what_a_router_gains_and_misses_is_what_the_answers_offer(rows):
    own = rows.dropna(subset=["routed"])
    offered = (own["routed"] + own["regret"]).groupby(own["model"])
    assert set(own["method"]) == set(new_models.UNREAD) and own["regret"].abs().max() > 0
    np.testing.assert_allclose(offered.max(), offered.min(), atol=1e-12)


def test_a_summary_counts_lineages_alike():
    rows = pd.DataFrame({"model": list("abc"), "lineage": ["x", "x", "y"], "n": 8, "draw": 0, "method": "raw mean",
                         "log_loss": [0.2, 0.4, 0.9], "estimate": [0.5, 0.5, 0.7], "truth": [0.5, 0.9, 0.6],
                         "benchmark_error": 0.1, "routed": 0.0, "n_questions": 100, "sized": True})
    table = new_models.summary(rows).set_index("measure")
    assert table.loc["log_loss", "value"] == pytest.approx(0.6) and table.loc["log_loss", "n_lineages"] == 2
    assert table.loc["rmse", "value"] == pytest.approx(np.sqrt((0.08 + 0.01) / 2))
    assert "covered" not in table.index and table.loc["routed", ["value", "low", "high"]].tolist() == [0, 0, 0]


def test_choices_and_estimates_are_compared_apart(planted, rows):
    picked = question_choice.choices(*planted, [12, 60], 1, 0)
    assert len(picked) == 3 * 2 * 2 * 20
    further = question_choice.choices(*planted, [12, 60], 1, 0, further=True)
    pd.testing.assert_frame_equal(further[further["choice"].isin(picked["choice"])].reset_index(drop=True), picked)
    valid = question_choice.validity(further).set_index(["choice", "n"])
    assert len(valid) == 5 * 2 + 2 * 1 and (valid["flagged"] <= 0.2).all() and (valid["covered"] > 0.6).all()
    alone, batches = (valid.loc[(choice, 60), "benchmark_error"] for choice in (question_choice.ALONE,
                                                                                question_choice.ADAPTIVE))
    assert alone != batches
    errors = question_choice.errors(picked).set_index(["way", "n"])
    assert errors.loc[("adaptive, onboarding", 60), "rmse"] < errors.loc[("adaptive, raw mean", 60), "rmse"]
    ratios = question_choice.ratios(picked)
    squares = (picked.assign(s=picked["error"] ** 2).groupby(["choice", "estimator", "n", "lineage"])["s"].mean()
               .groupby(["choice", "estimator", "n"]).mean())
    own = ratios.set_index(["due_to", "n"])["ratio"]
    assert own[question_choice.CHOICE, 60] == pytest.approx(
        squares["adaptive", new_models.OURS, 60] / squares["stratified", new_models.OURS, 60])
    assert own[question_choice.MODEL, 12] == pytest.approx(
        squares["stratified", new_models.OURS, 12] / squares["stratified", "raw mean", 12])
    answers = new_models.summary(rows)
    table, vectors = planted
    few = portfolio.portfolios(table, vectors, [1, 3, 99], 4, 0)
    errors = answers[(answers["measure"] == "rmse") & answers["method"].isin([new_models.OURS, new_models.ANEW])]
    costs = cost.of_a_new_model(errors, table.shape, 384)
    text = said.conclusion(answers, ratios, costs, question_choice.validity(picked), few,
                           dict.fromkeys(["unseen", "stopping", "odd", "relatives"]), "simulated")
    assert "**A new benchmark as well?** `make deep` computes it." in text
    assert text.count("- **") == 14 and "nan" not in text
    assert said.verdict(answers, few, None, "x")["verdict"] == "answered"
    assert "does not carry over" in said.verdict(answers, few, None, "metabench")["reason"]
    assert told.base(rows).startswith("20 models of ")
    better = answers.assign(value=answers["value"].mask(answers["method"] == new_models.ANEW, 0.0))
    for say in (told.forecasts, told.accuracies):
        assert say(better) == say(answers), "a training anew is judged on other models than the others"
    for figure in (drawn.plot_answers(answers, new_models.RAW, new_models.UNREAD),
                   *(drawn.plot_answers(answers[answers["n"] == n], new_models.RAW, new_models.UNREAD)
                     for n in (8, 64)),
                   drawn.plot_choices(question_choice.errors(picked)), drawn.plot_portfolios(few)):
        plt.close(figure)


def test_whoever_stops_early_has_fewer_answers_and_every_rule_is_judged(planted):
    rows = stopping.stopped(*planted, 0.1, 0)
    assert rows["rule"].value_counts().to_dict() == dict.fromkeys(stopping.RULES, 20)
    assert rows["answers"].between(32, 192).all() and (rows["answers"] % 16 == 0).all()
    assert (rows["covered"] | ~rows["always"]).all(), "who holds at every look holds at the last"
    table = stopping.summary(rows, 0.1)
    found = table.set_index(["rule", "measure"])["value"]
    assert found[stopping.TELLING, "answers"] < found[stopping.MIXED, "answers"] < found[stopping.RANDOM, "answers"]
    assert found[stopping.TELLING, "answers"] < found[stopping.TEXTBOOK, "answers"] < found[
        stopping.ANY_TIME, "answers"]
    assert found[stopping.ANY_TIME, "always"] == 1
    by_rule = stopping.wide(table)
    assert len(by_rule) == len(stopping.RULES) and by_rule.set_index("rule").loc[
        stopping.ANY_TIME, "always"] == 1 and by_rule.columns.tolist()[:5] == ["aim", "rule", "answers", "low", "high"]
    assert stopping.TELLING in said.stopped(by_rule) and "nan" not in said.stopped(by_rule)
    plt.close(drawn.plot_stopping(table, 0.95))
    few = planted[0].at(np.arange(400) < 60)
    assert stopping.stopped(few, planted[1][:60], 0.1, 0).empty, "half of them are fewer than the first look takes"


def test_a_stop_is_the_first_narrow_look():
    looks = stopping.Looks(np.array([32, 48, 64]), np.array([0.5, 0.6, 0.7]), np.array([0.1, 0.52, 0.6]),
                           np.array([0.9, 0.7, 0.75]))
    assert stopping.stop(looks, 0.65, 0.1) == (48, True, pytest.approx(-0.05), True, True)
    assert stopping.stop(looks, 0.95, 0.1) == (48, True, pytest.approx(-0.35), False, False)
    assert stopping.stop(looks, 0.72, 0.05) == (64, False, pytest.approx(-0.02), True, False)


def test_models_that_were_tampered_with_are_noticed_more_often(planted):
    rows = odd_models.odd_models(*planted, [32, 200, 999], 0)
    assert len(rows) == 20 * len(odd_models.KINDS) * 2, "more than all questions is left out"
    table = odd_models.summary(rows)
    flagged = table.set_index(["kind", "n"])["flagged"]
    assert flagged[odd_models.REAL, 200] < 0.1 < 0.5 < flagged["the contrary of its answers", 200]
    assert "the contrary" in said.odd(table)


def test_relatives_in_the_pool_are_worth_answers(planted):
    rows = relatives.with_relatives(*planted, [0, 64, 999], 0)
    several = planted[0].models["lineage"].value_counts() > 1
    assert len(rows) == 2 * 2 * several.sum() and rows["lineage"].nunique() == several.sum()
    table = relatives.summary(rows).set_index(["n", "prior"])
    assert table.loc[(0, relatives.RELATED), "difference"] == pytest.approx(
        table.loc[(0, relatives.RELATED), "log_loss"] - table.loc[(0, relatives.ANY), "log_loss"])
    assert "(64)" in said.related(table.reset_index())
    alone = replace_unchecked(planted[0], models=planted[0].models.assign(lineage=planted[0].models.index))
    assert relatives.with_relatives(alone, planted[1], [8], 0) is None


def test_what_a_new_model_costs_is_its_answers(rows):
    answers = new_models.summary(rows)
    errors = answers[(answers["measure"] == "rmse") & answers["method"].isin([new_models.OURS, new_models.ANEW])]
    table = cost.of_a_new_model(errors, (20, 400), 384).set_index(["way", "answers"])
    answer = 2 * 7e9 * 128
    assert table["asking_pflop"].to_numpy() == pytest.approx([n * answer / 1e15 for n in (8000, 400, 8, 64, 64, 200)])
    assert table.loc[(f"new model: {new_models.ANEW}", 64), "training_pflop"].item() == pytest.approx(
        6 * 384 * 232 * 50 * 400 * 21 / 1e15)
    assert "tokens an answer" in told.cost(table.reset_index(), answers)


def test_portfolios_by_hand():
    """Three questions, three models: the second complements the first, the third is a copy of the first."""
    scores = np.array([[1.0, 1, 0], [0, 0, 1], [1, 1, 0]])
    told = np.where(scores == 1, 0.9, 0.2) + np.array([[0.01], [0], [0]])
    assert portfolio.greedy(told, scores, None, 3)[:2] == [0, 1]
    assert portfolio.top(told, scores, None, 2) == [0, 2]

    class Places:
        model_vectors = np.array([[0.0], [9], [1]])

    assert portfolio.centers(told, scores, Places(), 3) == [0, 1, 2]


def test_portfolios_are_judged_beside_all_models(planted):
    table, vectors = planted
    rows = portfolio.portfolios(table, vectors, [1, 4, 99], 3, 0).set_index(["way", "size"])
    assert len(rows) == 2 * 4 + 1, "more than all models is left out"
    fold = folds(table, 5, 0).to_numpy()
    single = sum(table.scores[table.scores[:, fold != number].mean(axis=1).argmax(), fold == number].sum()
                 for number in range(5))
    for way in (portfolio.GREEDY, portfolio.TOP, portfolio.CENTERS):
        assert rows.loc[(way, 1), "score"] == pytest.approx(single / table.shape[1])
    assert rows.loc[(portfolio.RANDOM, 4), "score"] < rows.loc[(portfolio.GREEDY, 4), "score"]
    own = rows[rows["difference"].notna()]
    assert (own["low"] <= own["difference"]).all() and (own["worst"].dropna() <= own["withdrawn"].dropna()).all()


def test_questions_that_are_left_out_change_no_portfolio(planted):
    table, vectors = planted
    test = folds(table, 5, 0).to_numpy() == 0
    turned = table.scores.copy()
    turned[:, test] = turned[::-1, test]
    single = table.scores[:, ~test].mean(axis=1).argmax()
    for scores in (table.scores, turned):
        rows = portfolio.of_fold(replace_unchecked(table, scores=scores), vectors, test, [1], 2, (0, 0))
        own = rows[rows["way"] == portfolio.GREEDY].set_index("question")["score"]
        np.testing.assert_array_equal(own, scores[single, own.index])


def test_models_and_questions_without_all_answers_are_left_out(planted):
    table, vectors = planted
    scores = table.scores.copy()
    scores[0, :50], scores[1, 7] = np.nan, np.nan
    found, own = newcomers.complete(replace_unchecked(table, scores=scores), vectors)
    assert found.shape == (19, 399) and own.shape[0] == 399 and found.observed.all()


def test_of_a_benchmark_that_nobody_was_asked_nothing_is_known_but_its_text(planted):
    table, vectors = planted
    new = (table.models["lineage"] == table.models["lineage"].iloc[0]).to_numpy()
    name = str(table.questions["benchmark"].value_counts().index[0])
    inside = (table.questions["benchmark"] == name).to_numpy()
    first = joint.of_benchmark(table, vectors, new, name, 64, 0)
    turned = table.scores.copy()
    turned[np.ix_(~new, inside)] = 1 - turned[np.ix_(~new, inside)]
    second = joint.of_benchmark(replace_unchecked(table, scores=turned), vectors, new, name, 64, 0)
    changed = (first.set_index(["method", "model"]) != second.set_index(["method", "model"]))["log_loss"]
    assert not changed[[joint.TEXT, joint.OF_MODEL]].any() and changed[joint.OF_BENCHMARK].all()
    own = first[(first["method"] == joint.OF_MODEL)]["log_loss"]
    assert own.between(0.3, 1.5).all() and len(first) == 4 * new.sum()
    assert first[first["method"] == joint.COIN]["log_loss"].to_numpy() == pytest.approx(np.log(2))


def test_forecasts_of_what_is_wholly_new_are_compared_over_lineages():
    rows = pd.DataFrame([(f"m{at}", f"l{at // 2}", name, method, loss + 0.01 * at)
                         for method, loss in ((joint.TEXT, 0.5), (joint.OF_MODEL, 0.6), (joint.OF_BENCHMARK, 0.5),
                                              (joint.COIN, 0.7))
                         for name in "ab" for at in range(12)],
                        columns=["model", "lineage", "benchmark", "method", "log_loss"])
    table = joint.against(rows).set_index("reference")
    assert table.loc[joint.OF_MODEL, "difference"] == pytest.approx(-0.1) and table.loc[joint.OF_MODEL, "n_better"] == 2
    assert table.loc[joint.OF_BENCHMARK, ["difference", "p", "n_lineages"]].tolist() == [0, 1, 6]
    assert "mean of its answers -100.0" in said.both_unseen(table.reset_index())


def test_one_benchmark_cannot_be_left_out(planted):
    table, vectors = planted
    one = table.at((table.questions["benchmark"] == table.questions["benchmark"].iloc[0]).to_numpy())
    assert joint.unseen(one, vectors[: one.shape[1]], 16, 0) is None
