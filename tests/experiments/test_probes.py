"""The probes on tables that are too small or too odd for some of them: a note, never a crash."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_table

from embedllm import __main__ as command
from embedllm import catalog, claims
from embedllm.conclusions import probing as said
from embedllm.conclusions import probing_claims
from embedllm.experiments import benchmark_prediction as prediction
from embedllm.experiments import domain, probes, specialists, stability, training_ablation
from embedllm.experiments.comparisons import fitted, train
from embedllm.outcomes import model_facts
from embedllm.probing import scores
from embedllm.probing.geometry import distances_with_level
from embedllm.sources._rows import from_rows
from embedllm.splits import split

KNOWN = claims.all_claims()


def pool(n_models=12, benchmarks=(60, 60, 60), seed=0, lineages=0):
    """Scores with one ability per lineage, a column ``part``, and vectors: (table, vectors)."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"b{number}" for number in range(len(benchmarks))], benchmarks)
    lineage = np.arange(n_models) % (lineages or n_models)
    chance = np.linspace(0.2, 0.8, n_models)[lineage][:, None]
    table = make_table(rng.random((n_models, len(names))) < chance, names)
    table.questions["part"] = np.resize(["train", "train", "val", "test"], len(names))
    table.models["lineage"] = [f"l{one}" for one in lineage]
    return table, rng.standard_normal((len(names), 5)).astype(np.float32)


def learn(table, vectors):
    return prediction.learn(table, vectors, [catalog.CONVEX])


def test_a_left_out_benchmark_is_predicted_from_ability_alone():
    table, vectors = pool(24, (150, 150, 150))
    learned = learn(table, vectors)
    found = prediction.pooled(prediction.of_new_models(learned, 2), learned, 0.05).set_index("method")
    assert found.loc[scores.MEAN, "error"] < 0.3 < found.loc[scores.NOTHING, "error"]
    within = prediction.within(prediction.of_new_models(learned, 2), learned, table)
    assert (within[within["method"] == "reliability"]["r2"] > 0.9).all()
    rows = prediction.regressions(learned, 2, 199)
    assert (rows["p_lineage_holm"] < 0.05).all() and (rows["note"] == "").all()
    assert "3 by the test by lineages" in said.significant(rows)
    rivals = prediction.pooled(prediction.of_new_models(learned, 2), learned, 0.05, said.OWN)
    judged = probing_claims.beyond_the_mean(found.reset_index(), rivals, within, KNOWN["C7"])
    assert f"Minus the {said.OWN}, over the same lineages: {scores.RIDGE}" in judged["reason"]
    assert "median R2" in judged["reason"] and judged["figure"] == "05_new_models"


def test_a_left_out_benchmark_is_not_seen_in_training():
    """Scores of the left-out benchmark can be anything: its coordinates, and what is forecast, stay the same."""
    table, vectors = pool()
    own = (table.questions["benchmark"] == "b1").to_numpy()
    values = table.scores.copy()
    values[:, own] = 1 - values[:, own]
    changed = make_table(values, table.questions["benchmark"].to_numpy())
    changed.questions["part"], changed.models["lineage"] = table.questions["part"].to_numpy(), table.models["lineage"]
    first, second = learn(table, vectors), learn(changed, vectors)
    np.testing.assert_array_equal(*(one.coordinates[catalog.CONVEX.name]["b1"] for one in (first, second)))
    np.testing.assert_array_equal(*(one.forecasts[catalog.CONVEX.name]["b1"] for one in (first, second)))
    np.testing.assert_allclose(first.target["b1"], 1 - second.target["b1"], atol=1e-6)


def test_too_small_is_a_note():
    assert learn(*pool(9, (80,))) is None
    table, vectors = pool(4, (40, 40))
    learned = learn(table, vectors)
    rows = prediction.regressions(learned, 3, 99)
    assert rows["note"][:2].str.startswith("not testable: ").all() and said.significant(rows).startswith("Regressions")
    few = prediction.pooled(prediction.of_new_models(learned, 3), learned, 0.05)
    within = prediction.within(prediction.of_new_models(learned, 3), learned, table)
    assert probing_claims.beyond_the_mean(few, few, within, KNOWN["C7"])["verdict"] == "not testable here"
    assert probing_claims.beyond_the_mean(None, None, None, KNOWN["C7"])["verdict"] == "not testable here"


def test_a_benchmark_everybody_gets_right_is_a_note_and_unasked_models_stay_out():
    table, vectors = pool(12, (60, 60, 60, 60))
    table.scores[:, (table.questions["benchmark"] == "b2").to_numpy()] = 1
    table.scores[0, (table.questions["benchmark"] == "b3").to_numpy()] = np.nan
    learned = learn(make_again(table), vectors)
    rows = prediction.regressions(learned, 2, 99).set_index(["predictors", "benchmark"])
    assert "nothing to explain" in rows.loc[("model vectors", "b2"), "note"]
    assert rows.loc[("model vectors", "b3"), "n_models"] == 11
    found = prediction.of_new_models(learned, 2)
    errors, units = prediction.pooled(found, learned, 0.05), prediction.by_unit(found, learned, 0.05)
    assert np.isfinite(errors["error"]).all()
    own = errors.set_index("method").loc["model vectors", ["difference", "p", "n_lineages"]]
    assert units.set_index("units").loc["lineages", own.index].tolist() == own.tolist()
    assert said.by_unit(units).startswith("The same difference over other units: families (")
    trees = prediction.of_new_benchmarks(learned)
    assert all(np.isfinite(one.to_numpy(float)).all() for one in trees.values())


def make_again(table):
    """The same table, its masks made anew."""
    found = make_table(table.scores, table.questions["benchmark"].to_numpy())
    found.questions["part"], found.models["lineage"] = table.questions["part"].to_numpy(), table.models["lineage"]
    return found


def known(sizes, families, lineages=None):
    """Facts of models."""
    names = [f"m{at}" for at in range(len(sizes))]
    return pd.DataFrame({"parameters_b": sizes, "family": families, "lineage": lineages or names, "kind": None}, names)


def test_sizes_that_lie_together_are_told_and_unknown_ones_said():
    rng = np.random.default_rng(0)
    sizes, families = [7.0, 7.0, 70.0, 70.0] * 4, np.repeat(list("abcd"), 4)
    place = rng.normal(size=(16, 2)) + 6 * (np.array(sizes) > 10)[:, None]
    distances = {name: np.linalg.norm(place[:, None] - place, axis=2) for name in (probes.WITH, probes.RAW)}
    facts = known(sizes, families)
    pooled, rows = probes.by_size(distances, facts, 499), probes.communities(distances, facts, 499)
    assert probing_claims.by_size(pooled, rows, KNOWN["C8"])["verdict"] == "holds here"
    assert "by size class 2 of 2 (with level)" in said.groups(rows)
    assert said.closer(pooled).startswith("Mean distance within a size class")
    assert "between families alone: not testable: 5 lineages" in said.between(pooled, pooled)
    five = known([7.0] * 5 + [70.0] * 5 + [7.0] * 5 + [70.0], ["a"] * 10 + ["b"] * 6)
    apart = np.abs(np.subtract.outer(five["parameters_b"].to_numpy(), five["parameters_b"].to_numpy()))
    told = said.between(probes.by_size({probes.WITH: apart}, five, 99), pooled)
    assert "of one size class minus that of two, between families alone: -63 (p = .0" in told
    unknown = probes.by_size(distances, facts.assign(parameters_b=np.nan), 99)
    assert unknown["note"].str.startswith("not testable").all()
    rows = probes.communities(distances, facts.assign(parameters_b=np.nan), 99)
    assert probing_claims.by_size(unknown, rows, KNOWN["C8"])["verdict"] == "not testable here"
    near = probes.neighbors(distances, facts, 99)
    assert near[near["label"] == "size band"]["share"].min() > 0.9 and "size band" in said.near(near)


def test_models_of_a_lineage_may_differ_in_size_and_family():
    facts = known([7, 7, 13, 7, 70, 70], ["a", "b", "a", "c", "c", "d"], ["x", "x", "x", "y", "y", "z"])
    rng = np.random.default_rng(0)
    points = rng.standard_normal((6, 2))
    distances = {probes.WITH: np.linalg.norm(points[:, None] - points, axis=2)}
    found = probes.communities(distances, facts, 99)
    assert {"7B", "13B", "70B"} <= set(found["community"])
    assert (found["p_family"].isna() == (found["note"] != "")).all()


@pytest.mark.parametrize(("p", "power", "expected"), [(0.5, 0.9, "holds here"), (0.5, 0.5, "inconclusive"),
                                                      (0.001, 0.9, "does not hold here")])
def test_no_clusters_needs_power(p, power, expected):
    found = {"note": "", "p": p, "p_even": p, "power": power, "index": 0.4, "low": 0.3, "high": 0.5, "null": 0.4,
             "n_models": 30, "smaller": 0.4, "along_first": 0.9}
    assert probing_claims.no_clusters(found, found, KNOWN["C9"])["verdict"] == expected
    assert "would be told from both in" in said.clustered(found, found, 4)
    few = {"note": "not testable: fewer than 20 models", "n_models": 3}
    assert probing_claims.no_clusters(few, few, KNOWN["C9"])["verdict"] == "not testable here"


def test_what_is_no_normal_sample_and_no_clearer_divided_than_an_even_one_is_left_open():
    found = {"note": "", "p": 0.001, "p_even": 0.5, "power": 0.9, "index": 0.4, "low": 0.3, "high": 0.5, "null": 0.4,
             "n_models": 30, "smaller": 0.4, "along_first": 0.9}
    assert probing_claims.no_clusters(found, found, KNOWN["C9"])["verdict"] == "inconclusive"


@pytest.mark.parametrize(("difference", "low", "high", "expected"), [
    (-0.1, -0.2, -0.01, "holds here"), (0.1, 0.05, 0.2, "opposite here"), (0.0, -0.01, 0.1, "does not hold here"),
    (-0.01, -0.1, 0.1, "inconclusive")])
def test_c7_by_its_rule(difference, low, high, expected):
    pooled = pd.DataFrame({"method": [said.OWN, scores.MEAN, scores.RIDGE], "difference": [difference, np.nan, 0.0],
                           "low": low, "high": high, "p": 0.5, "n_lineages": 20})
    within = pd.DataFrame({"method": [said.OWN, scores.MEAN] * 3, "benchmark": list("aabbcc"), "r2": 0.5})
    assert probing_claims.beyond_the_mean(pooled, pooled, within, KNOWN["C7"])["verdict"] == expected


@pytest.mark.parametrize(("closer", "farther", "classes", "expected"), [
    (0.001, 1.0, (-1, -1), "holds here"), (0.001, 1.0, (-1, 1), "inconclusive"), (1.0, 0.001, (1, 1), "opposite here"),
    (0.3, 0.7, (-1, -1), "inconclusive")])
def test_c8_by_its_rule(closer, farther, classes, expected):
    pooled = pd.DataFrame({"distance": [probes.WITH], "note": "", "gap": -0.1, "p_closer": closer, "p_farther": farther,
                           "p_attainable": 0.001, "n_units": 20, "between_note": "", "between_gap": 0.1,
                           "between_p": 0.3})
    near = pd.DataFrame({"by": "size class", "distance": probes.WITH, "community": ["7B", "70B"], "n_units": 5,
                         "difference": classes, "p_holm": [0.01, np.nan]})
    found = probing_claims.by_size(pooled, near, KNOWN["C8"])
    assert found["verdict"] == expected and "70B" in found["reason"] and "+0.1 (p = .30" in found["reason"]
    border = pooled.assign(p_attainable=KNOWN["C8"].level)
    assert probing_claims.by_size(border, near, KNOWN["C8"])["verdict"] == "not testable here"


def test_questions_without_data_are_not_answered():
    parts = pd.DataFrame({"part": [domain.BENCHMARKS, domain.ALONG, domain.DIFFICULTY, domain.DIFFERENCE],
                          "share": [0.3, 0.1, 0.2, 0.1], "low": -0.1, "high": 0.3})
    few = {"note": "not testable: few"}
    found = {"new_models": None, "rivals": None, "new_benchmarks": None, "by_benchmark": None, "communities": None,
             "by_size": pd.DataFrame({"distance": [probes.WITH], "note": "no", "p_attainable": np.nan}), "maps": None,
             "clusters": few, "beyond": few, "bands": pd.DataFrame(), "ablation": None, "domain": parts}
    rows = probing_claims.rows(found, KNOWN, False)
    assert "difference +0.10 (-0.10 to +0.30)" in rows["Q8"]["reason"] and "neither" in rows["Q8"]["reason"]
    assert {name: rows[name]["verdict"] for name in ("Q1", "Q3", "Q7", "Q8")} == {"Q1": "", "Q3": "", "Q7": "",
                                                                                "Q8": "answered"}


def test_what_is_left_out_is_missed_where_it_was_needed():
    own = np.eye(6) * 0.5 + np.random.default_rng(0).normal(0, 0.01, (6, 6))
    changed = pd.DataFrame([(f"b{a}", f"b{b}", own[a, b]) for a in range(6) for b in range(6)],
                           columns=["dropped", "benchmark", "excess"])
    test = training_ablation.own_against_others(changed)
    assert (test["p_more"], test["p_attainable"]) == (1 / 720, 1 / 720) and test["difference"] == pytest.approx(
        0.5, abs=0.02)
    assert probing_claims.follows_training(test, KNOWN["C11"])["verdict"] == "holds here"
    turned = training_ablation.own_against_others(changed.assign(excess=-changed["excess"]))
    assert probing_claims.follows_training(turned, KNOWN["C11"])["verdict"] == "opposite here"
    few = training_ablation.own_against_others(changed[changed["dropped"].isin(["b0", "b1"])
                                                       & changed["benchmark"].isin(["b0", "b1"])])
    assert probing_claims.follows_training(few, KNOWN["C11"])["verdict"] == "not testable here"
    assert probing_claims.follows_training(None, KNOWN["C11"])["verdict"] == ""


def test_drops_take_as_many_questions_at_random_and_leave_the_test_questions():
    table, vectors = pool(12, (80, 80))
    found = training_ablation.changes(table, vectors, 2, 2, 0)
    assert found.shape[0] == 4 and np.isfinite(found["excess"]).all()
    part = split(table, 0)
    plans = list(training_ablation._plans(part, table.questions["benchmark"], ["b0", "b1"], 2, 0))
    assert [name for name, _ in plans] == ["b0"] * 3 + ["b1"] * 3
    counts = {tuple(kept.value_counts().sort_index()) for name, kept in plans if name == "b0"}
    assert len(counts) == 1 and all((kept[part == "test"] == "test").all() for _, kept in plans)
    assert np.isnan(training_ablation.related(found, table, vectors, 99)["related"])


def test_logits_agree_between_seeds_and_close_models_answer_alike(planted):
    parts, _ = planted
    settings = {"dim": 8, "epochs": 60, "learning_rate": 0.01, "batch_cells": 1024, "seed": 0}
    found = stability.variants(parts, {"again": parts}, **settings).set_index("compared")
    assert found.loc["factorization, its logits: two seeds", "distances"] > 0.95
    assert found.loc["factorization, raw vectors: two seeds", "distances"] < found.loc[
        "factorization, its logits: two seeds", "distances"]
    same = found.loc["convex: encoder again"]
    assert same[["distances", "correlation", "cka", "procrustes"]].tolist() == pytest.approx([1] * 4)
    assert 0 < same["cka_chance"] < 0.9 and 0 < same["procrustes_chance"] < 0.9
    convex, own = fitted(parts, catalog.CONVEX), train(parts, **settings)
    distances = probes.distances(convex, own, parts["train"][1])
    lineages = pd.Series(parts["train"][0].models.index, parts["train"][0].models.index)
    rows = stability.disagreement(distances, parts["train"][0], parts["test"][0], lineages, 99).set_index("distance")
    assert rows.loc[probes.WITH, "correlation"] > 0.3 and rows.loc[probes.WITH, "p"] == 0.01
    similar = stability.most_similar(convex, 2)
    apart = distances_with_level(convex.betas, convex.intercepts, parts["train"][1])
    np.fill_diagonal(apart, np.inf)
    first = similar[similar["rank"] == 1]
    np.testing.assert_allclose(first["distance"], apart.min(axis=1), rtol=1e-6)
    assert len(similar) == 2 * len(apart)
    assert "convex: encoder again 1.00 and 1.00 (" in said.agreed(found.reset_index())
    assert "minus the difference in accuracy: " in said.answers(rows.reset_index())


def test_shares_of_what_tells_models_apart_are_those_planted():
    class Planted:
        def predict_proba(self, vectors):
            return 1 / (1 + np.exp(-self.logits))

    rng = np.random.default_rng(0)
    table, vectors = pool(20, (200, 200))
    ease, side = rng.normal(size=400), np.repeat([-1.0, 1.0], 200)
    by_domain, by_ease = rng.normal(size=20), rng.normal(0, 2, 20)
    one = Planted()
    one.logits = np.outer(by_domain, side) + ease
    found = domain.shares(one, table, vectors).set_index("part")["share"]
    assert found["between benchmarks"] == pytest.approx(1, abs=0.01), "but for logits beyond the clip"
    assert found[domain.ALONG] == pytest.approx(0, abs=0.01) and found[domain.DIFFERENCE] > 0.9
    one.logits = np.outer(by_ease - by_ease.mean() + 1, ease)
    found = domain.shares(one, table, vectors).set_index("part")["share"]
    assert found[domain.BENCHMARKS] + found[domain.ALONG] == pytest.approx(1, abs=0.01)
    assert found[domain.DIFFICULTY] == pytest.approx(0, abs=0.1), "scores that have nothing to do with it"
    table.scores[:] = ease > 0
    found = domain.shares(one, table, vectors).set_index("part")
    assert found.loc[domain.DIFFERENCE, "high"] < -0.4 and found.loc[domain.DIFFICULTY, "share"] > 0.55
    assert next(iter(found.index)) == "between benchmarks", "no suites, no share of theirs"


def test_chance_between_benchmarks_is_taken_off():
    """Questions that differ at random: without the correction nine of 59 parts would lie between ten benchmarks."""
    rng, benchmarks = np.random.default_rng(0), np.repeat(np.arange(10), 6)
    logits = rng.normal(size=(300, 60))
    found = domain.taken_apart(logits, benchmarks, benchmarks // 5, rng.random(60))
    between = [found["between suites"], found[domain.BENCHMARKS], found[domain.DIFFICULTY]]
    assert np.abs(between).max() < 0.02


def test_specialized_models_are_trained_on_alone():
    table, vectors = pool(16, (120, 120))
    table.models["kind"] = ["math", "code"] * 5 + ["base"] * 6
    fields = specialists.fields(table, "directory")
    assert list(fields.index) == list(table.models.index[:10]) and set(fields) == {"math", "code"}
    points = specialists.trained_alone(table, vectors, list(fields.index))
    changed = table.scores.copy()
    changed[10:] = 1 - changed[10:]
    other = make_again(table)
    other.scores[:] = changed
    np.testing.assert_array_equal(points, specialists.trained_alone(other, vectors, list(fields.index)))
    assert specialists.fields(table, "metabench").empty, "none of the names"
    names = [name for group in specialists.BY_NAME["metabench"].values() for name in group]
    assert len(names) == len(set(names))


def test_the_most_similar_models_on_the_command_line(planted, tmp_path, capsys):
    parts, _ = planted
    one = fitted(parts, catalog.CONVEX)
    one.save(path := tmp_path / "one.npz")
    name = one.models[3]
    assert command.main(["similar", name, "--embedding", str(path), "-n", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model,rank,similar,distance" and len(lines) == 3 and lines[1].startswith(f"{name},1,")
    for arguments, message in ((["nobody", "--embedding", str(path)], "is called nobody; did you mean"),
                               ([name, "--embedding", str(tmp_path / "none")], "is not there: `make reproduce`"),
                               ([name, "--embedding", str(path), "-n", "0"], "-n is 0")):
        assert command.main(["similar", *arguments]) == 1
        assert message in capsys.readouterr().err


def test_from_rows_to_probes_with_a_models_table():
    outcomes = pd.DataFrame([(f"m{m}", q, float((m + q) % 3 > 0)) for m in range(8) for q in range(60)],
                            columns=["model", "question_id", "score"])
    questions = pd.DataFrame({"question_id": range(60), "prompt": [f"q {q}" for q in range(60)],
                              "benchmark": ["x", "y"] * 30})
    models = pd.DataFrame({"model": [f"m{m}" for m in range(8)], "family": list("aabbccdd"), "parameters_b": [7] * 8})
    facts = model_facts(from_rows(outcomes, questions, models))
    assert facts["base_model"].to_list() == facts.index.to_list()
    assert facts["family"].nunique() == 4
