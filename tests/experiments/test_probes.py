"""The probes on tables that are too small or too odd for some of them: a note, never a crash."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_table

from embedllm.conclusions import probing as said
from embedllm.experiments import comparisons, probes
from embedllm.outcomes import model_facts
from embedllm.probing.geometry import distances_without_level, raw_distances
from embedllm.sources._rows import from_rows

SETTINGS = {"dim": 2, "epochs": 2, "seed": 0, "n_components": 2}


def pool(n_models=9, benchmarks=(40, 40, 40), seed=0):
    """Scores with one ability per model, a column ``part``, and vectors: (table, vectors)."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"b{number}" for number in range(len(benchmarks))], benchmarks)
    chance = np.linspace(0.2, 0.8, n_models)[:, None]
    table = make_table(rng.random((n_models, len(names))) < chance, names)
    table.questions["part"] = np.resize(["train", "train", "val", "test"], len(names))
    return table, rng.standard_normal((len(names), 5)).astype(np.float32)


def probe(table, vectors, facts=None):
    rows = probes.leave_one_benchmark_out(table, vectors, **SETTINGS)
    facts = model_facts(table) if facts is None else facts
    return rows, probes.benchmark_probes(table, rows, facts, n_permutations=99)


def test_a_left_out_benchmark_is_predicted_from_ability_alone():
    rows, found = probe(*pool(n_models=16, benchmarks=(200, 200, 200)))
    assert len(rows) == 3 * 16
    level = found[found["predictors"] == "accuracy elsewhere"]
    assert (level["r2_cv"] > 0.8).all()
    assert (level["p_family_holm"] < 0.05).all()
    assert (found["reliability"] > 0.9).all()
    assert (found["note"] == "").all()
    assert "3 benchmarks" in said._predictions(found)


def test_a_left_out_benchmark_is_not_seen_in_training():
    """Scores of the left-out benchmark can be anything: its coordinates stay the same."""
    table, vectors = pool()
    own = (table.questions["benchmark"] == "b1").to_numpy()
    scores = table.scores.copy()
    scores[:, own] = 1 - scores[:, own]
    changed = make_table(scores, table.questions["benchmark"].to_numpy())
    changed.questions["part"] = table.questions["part"].to_numpy()
    first, second = (
        probes.leave_one_benchmark_out(t, vectors, **SETTINGS).query("benchmark == 'b1'") for t in (table, changed)
    )
    pd.testing.assert_frame_equal(first[["elsewhere", "c0", "c1"]], second[["elsewhere", "c0", "c1"]])
    np.testing.assert_allclose(first["accuracy"], 1 - second["accuracy"], atol=1e-6)


@pytest.mark.parametrize(("n_models", "benchmarks"), [(9, (60,)), (4, (40, 40)), (3, (40, 40))])
def test_too_small_is_a_note(n_models, benchmarks):
    _, found = probe(*pool(n_models, benchmarks))
    assert set(found["benchmark"]) == {f"b{number}" for number in range(len(benchmarks))}
    untested = found[found["r2_cv"].isna()]
    assert len(untested)
    assert untested.loc[untested["p"].isna(), "note"].str.startswith("not testable: ").all()
    assert said._predictions(found)


def test_the_accuracy_on_a_single_question_has_no_reliability():
    _, found = probe(*pool(9, (60, 60, 1)))
    assert found.set_index("benchmark")["reliability"].isna().to_dict() == {"b0": False, "b1": False, "b2": True}


def test_a_benchmark_everybody_gets_right_is_a_note():
    table, vectors = pool()
    table.scores[:, (table.questions["benchmark"] == "b2").to_numpy()] = 1
    _, found = probe(table, vectors)
    row = found[(found["benchmark"] == "b2") & (found["predictors"] == "model vectors")].iloc[0]
    assert "nothing to explain" in row["note"]
    assert np.isnan(row["reliability"])


def test_a_model_asked_on_one_benchmark_only_takes_no_part():
    table, vectors = pool()
    scores = table.scores.copy()
    scores[0, (table.questions["benchmark"] != "b0").to_numpy()] = np.nan
    part = make_table(scores, table.questions["benchmark"].to_numpy())
    part.questions["part"] = table.questions["part"].to_numpy()
    rows, found = probe(part, vectors)
    assert "m0" not in set(rows["model"])
    assert (found["n_models"] == 8).all()
    assert np.isfinite(rows.drop(columns=["benchmark", "model"]).to_numpy(float)).all()


def test_one_benchmark_leaves_nothing_to_test_and_the_same_columns():
    several, vectors = pool()
    alone = make_table(several.scores, ["b0"] * several.shape[1])
    alone.questions["part"] = several.questions["part"].to_numpy()
    found, usual = probe(alone, vectors)[1], probe(several, vectors)[1]
    assert set(found) >= {"r2", "f", "df_model", "df_resid", "p_holm", "r2_cv", "p_family_holm", "reliability", "note"}
    assert set(found) <= set(usual)
    assert found[["r2", "p_holm", "p_family_holm"]].isna().all(axis=None) and found["note"].ne("").all()


def test_sizes_unknown_are_said_to_be_unknown():
    distances = {"without level": np.ones((9, 9)) - np.eye(9)}
    found = probes.size_communities(distances, model_facts(pool()[0]), n_permutations=99)
    assert found.empty
    assert "no model" in said._communities(found)


def test_fine_tunes_of_another_size_or_family_than_their_base_are_no_error():
    facts = pd.DataFrame({
        "family": ["a", "b", "a", "c", "c", "d"], "base_model": ["m0", "m0", "m0", "m3", "m3", "m5"],
        "parameters_b": [7, 7, 13, 7, 70, 70],
    }, index=[f"m{number}" for number in range(6)])
    rng = np.random.default_rng(0)
    points = rng.standard_normal((6, 2))
    distances = {"without level": np.linalg.norm(points[:, None] - points, axis=2)}
    found = probes.size_communities(distances, facts, n_permutations=99)
    assert set(found["community"]) == {"7B", "13B", "70B"}
    assert found["note"].notna().all()
    assert "13B" in said._communities(found)


def test_two_trainings_agree_on_distances_without_level_better_than_on_raw_ones(planted):
    parts, _ = planted
    first, second = (comparisons.train(parts, dim=8, epochs=60, learning_rate=0.01, batch_cells=1024, seed=seed)
                     for seed in (0, 1))
    vectors = parts["train"][1]
    first, second = (
        {"without level": distances_without_level(fitted.betas, vectors), "raw": raw_distances(fitted.model_vectors)}
        for fitted in (first, second)
    )
    found = probes.agreement(first, second).set_index("distance")["rank_correlation"]
    assert found["without level"] > 0.99
    assert found["raw"] < found["without level"] - 0.03


def test_from_rows_to_probes_with_a_models_table():
    outcomes = pd.DataFrame([(f"m{m}", q, float((m + q) % 3 > 0)) for m in range(8) for q in range(60)],
                            columns=["model", "question_id", "score"])
    questions = pd.DataFrame({"question_id": range(60), "prompt": [f"q {q}" for q in range(60)],
                              "benchmark": ["x", "y"] * 30})
    models = pd.DataFrame({"model": [f"m{m}" for m in range(8)], "family": list("aabbccdd"), "parameters_b": [7] * 8})
    facts = model_facts(from_rows(outcomes, questions, models))
    assert facts["base_model"].to_list() == facts.index.to_list()
    assert facts["family"].nunique() == 4
