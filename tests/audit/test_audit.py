"""The audit: planted faults must be found, a clean pool must pass, and estimates must equal known answers."""

import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, make_table

from embedllm.audit.anomalies import model_fit, model_pairs, names_alike, repeated_rows
from embedllm.audit.missingness import missing_difference
from embedllm.audit.near_duplicates import NEAR, near_duplicates
from embedllm.audit.report import audit, audit_panels
from embedllm.audit.variance import label_entropy, variance_components
from embedllm.figures.audit import plot_audit
from embedllm.outcomes import OutcomeError
from embedllm.sources import mmlu_pro
from embedllm.sources._rows import from_rows
from embedllm.sources.simulated import simulate
from embedllm.splits import split

N = np.nan
COMPONENTS = ["model", "benchmark", "question within benchmark", "model x benchmark", "rest"]


def parted(table, part=None):
    return replace(table, questions=table.questions.assign(part=split(table) if part is None else part))


def said(table) -> pd.DataFrame:
    """The audit by check; every check occurs once."""
    found = audit(table)
    assert list(found) == ["topic", "check", "value", "detail"]
    assert found["check"].is_unique and found.map(type).eq(str).all(axis=None)
    return found.set_index("check")


def rasch(n_models=12, n_questions=400, seed=0, spread=1.0):
    """Chances of a right answer that follow one difficulty and one ability."""
    rng = np.random.default_rng(seed)
    logit = np.linspace(-spread, spread, n_models)[:, None] - 1.5 * rng.standard_normal(n_questions)
    return 1 / (1 + np.exp(-logit))


def answers(probabilities, seed=1):
    return (np.random.default_rng(seed).random(probabilities.shape) < probabilities).astype(np.float32)


# ---------------------------------------------------------------- variance components

def classical(y):
    """ANOVA estimates of the five components of balanced complete y (models, benchmarks, questions in each)."""
    M, B, Q = y.shape
    model, benchmark = y.mean((1, 2), keepdims=True), y.mean((0, 2), keepdims=True)
    block, question, mean = y.mean(2, keepdims=True), y.mean(0, keepdims=True), y.mean()
    ms_model = B * Q * ((model - mean) ** 2).sum() / (M - 1)
    ms_benchmark = M * Q * ((benchmark - mean) ** 2).sum() / (B - 1)
    ms_question = M * ((question - benchmark) ** 2).sum() / (B * (Q - 1))
    ms_block = Q * ((block - model - benchmark + mean) ** 2).sum() / ((M - 1) * (B - 1))
    ms_rest = ((y - block - question + benchmark) ** 2).sum() / ((M - 1) * B * (Q - 1))
    mixed = (ms_block - ms_rest) / Q
    return [(ms_model - ms_block) / (B * Q), (ms_benchmark - ms_question - ms_block + ms_rest) / (M * Q),
            (ms_question - ms_rest) / M, mixed, ms_rest]


@pytest.mark.parametrize("graded", [False, True])
def test_components_equal_anova_on_balanced_complete_tables(rng, graded):
    y = rng.random((6, 4, 9)) * rng.random((6, 1, 1)) + 0.0
    y = (y if graded else y > 0.2).astype(np.float32)
    found = variance_components(make_table(y.reshape(6, 36), np.repeat(list("abcd"), 9)))
    assert found["component"].to_list() == COMPONENTS
    np.testing.assert_allclose(found["variance"], classical(y.astype(float)), atol=1e-6)
    assert found["share"].sum() == pytest.approx(1)


def test_components_of_one_benchmark_equal_two_way_anova(rng):
    y = rng.random((5, 30)).astype(np.float32) * np.linspace(0.4, 1, 5, dtype=np.float32)[:, None]
    rest = y - y.mean(0) - y.mean(1, keepdims=True) + y.mean()
    ms_rest = (rest**2).sum() / (4 * 29)
    expected = [y.mean(1).var(ddof=1) - ms_rest / 30, y.mean(0).var(ddof=1) - ms_rest / 5, ms_rest]
    found = variance_components(make_table(y))
    assert found["component"].to_list() == ["model", "question within benchmark", "rest"]
    np.testing.assert_allclose(found["variance"], expected, atol=1e-6)


def test_components_are_unbiased_with_unequal_benchmarks_and_missing_cells():
    truth, draws = np.array([0.03, 0.02, 0.05, 0.01, 0.09]) / 30, []
    benchmark = np.repeat(np.arange(8), [5, 10, 15, 20, 5, 10, 15, 20])
    for seed in range(150):
        rng = np.random.default_rng(seed)
        draw = [rng.normal(0, np.sqrt(v), size) for v, size in
                zip(truth, [(15, 1), 8, len(benchmark), (15, 8), (15, len(benchmark))], strict=True)]
        y = 0.5 + draw[0] + draw[1][benchmark] + draw[2] + draw[3][:, benchmark] + draw[4]
        y[rng.random(y.shape) < 0.3] = N
        table = make_table(np.clip(y, 0, 1), benchmark.astype(str))
        draws.append(variance_components(table)["variance"].to_numpy())
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert (np.abs(np.mean(draws, axis=0) - truth) < 3.5 * error).all()
    assert (error < truth).all()  # the test could have failed


def test_components_that_no_pair_shows_are_missing_not_zero():
    found = variance_components(make_table(np.eye(4), list("abcd")))  # one question a benchmark
    assert found["share"].isna().all()
    assert said(make_table(np.eye(4), list("abcd"))).loc["share of variance: rest", "value"] == "not estimable"


# ---------------------------------------------------------------- label entropy

def test_label_entropies_by_hand():
    found = label_entropy(make_table([[1, 1], [1, 0]])).set_index("knowing")["bits"]
    # Right cells: the other three hold two right ones, (2 + 1/2) / 4; the wrong one: (3 + 1/2) / 4.
    assert found["the overall mean"] == pytest.approx(-(3 * np.log2(2.5 / 4) + np.log2(0.5 / 4)) / 4)
    # Of each model one other cell: (1 + 1/2) / 2 twice, then (0 + 1/2) / 2 for a right and 1/4 for a wrong one.
    assert found["the model"] == pytest.approx(-(2 * np.log2(0.75) + 2 * np.log2(0.25)) / 4)
    assert list(found.index) == ["the overall mean", "the model", "other models on the question"]


def test_label_entropies_descend_to_the_truth(clean):
    found = label_entropy(clean).set_index("knowing")["bits"]
    truth = clean.references["true probability"].astype(float)
    entropy = -(truth * np.log2(truth) + (1 - truth) * np.log2(1 - truth)).mean()
    assert found["the true probability"] == pytest.approx(entropy, abs=1e-6)
    assert found["all that the text tells"] > found["the true probability"]
    assert found.idxmin() == "the true probability"


def test_graded_scores_have_an_entropy_of_their_own():
    found = label_entropy(make_table([[0.5, 0.5, 1], [0.5, 0.5, 0]])).set_index("knowing")["bits"]
    assert found["the graded score itself"] == pytest.approx(4 / 6)


# ---------------------------------------------------------------- a clean pool

@pytest.fixture(scope="module")
def clean():
    return parted(simulate(n_models=40, n_questions=1500))


def test_nothing_is_held_against_a_clean_pool(clean):
    found = said(clean)
    for check in ("models unlike the rest", "models with one score everywhere", "pairs with several rows",
                  "names that differ in case, blanks or Unicode form only", "pairs of models with identical scores",
                  "prompts alike in their first 200 words", "benchmarks too small to split",
                  "prompts above 20,000 characters"):
        assert found.loc[check, "value"] == "0", check
    assert found.loc["pattern of missing cells", "value"] == "none"
    assert len(found) <= 40


def test_false_alarms_are_below_one_model_a_pool():
    # 0.25 in Fisher z was set on other seeds; none of 192 further pools of several settings had an alarm.
    alarms = [(model_fit(simulate(n_models=112, n_questions=600, data_seed=seed))["finding"] != "").sum()
              for seed in range(300, 306)]
    assert np.mean(alarms) < 1


# ---------------------------------------------------------------- models

def test_attack_guesser_constant_and_copy_are_told_apart():
    scores = answers(rasch(14))
    scores[0] = answers(np.full(400, 0.95), seed=2)  # high scores that do not follow difficulty
    scores[1] = answers(np.full(400, 0.10), seed=3)  # guesses
    scores[2] = 0.5
    scores[4] = scores[3]
    table = make_table(scores)
    table = replace(table, models=table.models.rename({"m5": "M6"}))
    fit = model_fit(table)
    assert fit.loc[fit["finding"] != "", "finding"].to_dict() == {"m0": "strong", "m1": "weak", "m2": "constant"}
    assert np.isnan(fit.loc["m2", "correlation"])
    found = said(table)
    assert "m0 (correlation" in found.loc["unlike the rest, strong", "detail"]
    assert "attack" in found.loc["unlike the rest, strong", "detail"]
    assert "guessing" in found.loc["unlike the rest, weak", "detail"]
    assert found.loc["models with one score everywhere", "detail"] == "m2 (0.50 everywhere)"
    assert found.loc["pairs of models with identical scores", "detail"] == "m3 = m4"
    assert found.loc["names that differ in case, blanks or Unicode form only", "detail"] == "'M6', 'm6'"


@pytest.mark.parametrize(("a", "b", "alike"), [
    ("gpt", "gpt ", True), ("gpt 4", "gpt\u00a0 4", True), ("caf\u00e9", "cafe\u0301", True), ("Yi-6B", "yi-6b", True),
    ("gpt", "g\u200bpt", True), ("STRASSE", "stra\u00dfe", True), ("\uff27\uff30\uff34", "gpt", True),
    ("Yi-6B", "Yi-6b-Chat", False), ("llama-3.1", "llama-31", False), ("cafe", "caf\u00e9", False),
])
def test_names_that_readers_take_for_one(a, b, alike):
    assert names_alike([a, "other", b]) == ([a, b] if alike else [])


def test_correlation_with_the_rest_by_hand():
    scores = answers(rasch(9, 60))
    expected = [np.corrcoef(row, np.delete(scores, m, axis=0).mean(axis=0))[0, 1] for m, row in enumerate(scores)]
    np.testing.assert_allclose(model_fit(make_table(scores))["correlation"], expected, atol=1e-6)


def test_few_models_are_not_judged():
    scores = answers(rasch(5))
    scores[0] = answers(np.full(400, 0.95))
    assert (model_fit(make_table(scores))["finding"] == "").all()
    assert said(make_table(scores)).loc["models unlike the rest", "value"] == "not judged"


def test_pairs_by_hand_and_copies_despite_gaps():
    scores = answers(rasch(6, 100))
    scores[1] = scores[0]
    scores[0, :30], scores[1, 60:] = N, N
    scores[2, 20:] = N  # shares 20 questions with nobody enough
    centered = scores - np.nanmean(scores, axis=0)
    pairs = model_pairs(make_table(scores)).set_index(["a", "b"])
    assert pairs.index[0] == ("m0", "m1") and pairs["identical"].sum() == 1
    assert pairs.loc[("m0", "m1"), "shared"] == 30
    assert "m2" not in pairs.index.get_level_values("a")
    both = ~np.isnan(centered[0] + centered[4])
    expected = np.corrcoef(centered[0, both], centered[4, both])[0, 1]
    assert pairs.loc[("m0", "m4"), "correlation"] == pytest.approx(expected, abs=1e-6)


# ---------------------------------------------------------------- missing cells

def hide(kind):
    """A table of 12 models and 400 questions of 4 benchmarks with missing cells of one kind."""
    rng = np.random.default_rng(5)
    scores, benchmarks = answers(rasch()), np.repeat(list("abcd"), 100)
    hidden = np.zeros(scores.shape, bool)
    if kind == "by block":
        hidden[2, :100] = hidden[7, 200:300] = hidden[9, 200:300] = True
    elif kind == "by model":
        hidden[3] = rng.random(400) < 0.8
    elif kind == "by question":
        hidden[:-1, rng.choice(400, 80, replace=False)] = True
    elif kind == "by model-benchmark pair":
        hidden[2, :90] = hidden[7, 200:280] = True
    elif kind == "by question and by model":
        hidden[3] = rng.random(400) < 0.8
        hidden[:, rng.choice(400, 30, replace=False)] = True
        hidden[5] = False
    elif kind == "no pattern by model, benchmark or question":
        hidden = rng.random(scores.shape) < 0.2
    elif kind == "too few to say":
        hidden[0, :5] = True
    return make_table(np.where(hidden, N, scores), benchmarks)


@pytest.mark.parametrize("kind", ["none", "by block", "by model", "by question", "by model-benchmark pair",
                                  "by question and by model", "no pattern by model, benchmark or question",
                                  "too few to say"])
def test_the_pattern_of_missing_cells_has_a_name(kind):
    found = said(hide(kind))
    assert found.loc["pattern of missing cells", "value"] == kind
    if kind == "by block":
        assert found.loc["missing cells in whole blocks never run", "value"] == "100%"
        assert "m2 on a" in found.loc["missing cells in whole blocks never run", "detail"]
        assert found.loc["benchmark with the lowest coverage", "detail"] == "c"
    shares = [int(share) for share in re.findall(r"(\d+)%", found.loc["pattern of missing cells", "detail"])]
    assert kind == "none" or 98 <= sum(shares) <= 102  # no share of variance below zero or above the whole
    if kind == "by model":
        assert "m3, which accounts for 100%" in found.loc["models with the fewest answers", "detail"]


def test_missing_hard_questions_are_noticed():
    probabilities = rasch()
    scores, hard = answers(probabilities), probabilities.mean(axis=0) < 0.3
    biased = scores.copy()
    biased[2, hard] = N
    found = missing_difference(make_table(biased))
    assert found["model"].to_list() == ["", "m2"] and (found["missing"] == hard.sum()).all()
    others = np.delete(biased, 2, axis=0).mean(axis=0)  # complete: the offsets of own means cancel
    np.testing.assert_allclose(found["difference"], others[hard].mean() - others[~hard].mean(), atol=1e-6)
    assert (found["difference"] < -5 * found["error"]).all() and (found["p"] < 1e-6).all()
    words = said(make_table(biased))
    assert "means over observed cells do not compare" in words.loc[BIAS, "detail"]
    assert "m2, standard error" in words.loc[CLEAREST, "detail"]
    shift = biased[2][~hard].mean() - scores[2].mean()  # by how much the gaps flatter the model in truth
    told = float(re.search(r"lies about ([+-][.0-9]+)", words.loc[CLEAREST, "detail"])[1])
    assert told == pytest.approx(shift, abs=0.04)
    assert missing_difference(make_table(scores)).empty


BIAS = "missing questions are easier (+) or harder (-)"
CLEAREST = "the same for the model where it is clearest"


def test_errors_of_missing_questions_by_hand():
    rows = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 0]], float)
    rows = np.vstack([[1, 0, N, N], rows])  # the first lacks the benchmark b: one draw between benchmarks
    others = np.mean(rows[1:] - rows[1:].mean(axis=1, keepdims=True), axis=0)
    a, b = others[:2].mean(), others[2:].mean()
    found = missing_difference(make_table(rows, list("aabb"))).loc[1]
    assert found["difference"] == pytest.approx(b - a)
    # Weights -1 and +1 on two means whose variance is (b - a)^2 / 2; nothing within, as blocks are whole.
    assert (found["error"], found["benchmark_share"]) == pytest.approx((abs(b - a), 1))
    assert np.isnan(found["p"])  # two benchmarks

    rows[0] = [1, N, 0, 1]
    found = missing_difference(make_table(rows)).loc[1]  # one benchmark: all within
    weight = np.array([-1, 3, -1, -1]) / 3
    assert found["benchmark_share"] == 0
    assert found["error"] == pytest.approx(np.sqrt(np.sum((weight * (others - others.mean())) ** 2)))


def pools(kind, n_benchmarks, seeds=80):
    """First rows of `missing_difference` of pools with benchmarks of unequal size and difficulty, gaps by chance."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        benchmark = np.repeat(np.arange(n_benchmarks), rng.integers(10, 80, n_benchmarks))
        easy = rng.normal(0, 0.8, n_benchmarks)[benchmark] + rng.normal(0, 1, len(benchmark))
        logit = rng.normal(0, 1, (20, 1)) + easy
        scores = answers(1 / (1 + np.exp(-logit)), seed)
        if kind != "blocks":
            scores[rng.random(scores.shape) < 0.15] = N
        if kind != "cells":
            scores[benchmark == rng.integers(n_benchmarks, size=(20, 1))] = N
        rows.append(missing_difference(make_table(scores, benchmark.astype(str))))
    return [row.iloc[0] for row in rows], [row.iloc[1:] for row in rows]


@pytest.mark.parametrize("kind", ["cells", "blocks", "both"])
@pytest.mark.parametrize("n_benchmarks", [6, 20])
def test_gaps_by_chance_are_seldom_called_a_bias(kind, n_benchmarks):
    together, models = pools(kind, n_benchmarks)
    z = np.array([row["difference"] / row["error"] for row in together])
    assert np.mean(np.abs(z) > 2) <= 0.1
    assert 0.7 < np.sqrt(np.mean(z**2)) < 1.3  # neither too small an error nor too large a one
    assert np.mean([row["p"] < 0.05 for row in together]) <= 0.1
    assert np.mean([row["p"].min() * len(row) < 0.05 for row in models]) <= 0.1  # the clearest of all models
    assert (np.median([row["benchmark_share"] for row in together]) > 0.5) == (kind != "cells")


def test_whole_blocks_of_few_benchmarks_are_not_judged():
    words = said(hide("by block"))
    assert words.loc[BIAS, "value"] == words.loc[CLEAREST, "value"] == "not judged"
    assert "do not compare" not in words.loc[BIAS, "detail"] + words.loc[CLEAREST, "detail"]
    assert "not judged" not in said(hide("by model")).loc[BIAS, "value"]  # scattered cells of as many can be


def test_biases_that_cancel_are_told_model_by_model():
    probabilities = rasch(20, 400)
    scores, hard = answers(probabilities), probabilities.mean(axis=0) < 0.5
    scores[0, hard], scores[1, ~hard] = N, N
    found = missing_difference(make_table(scores)).set_index("model")["difference"]
    assert abs(found[""]) < 0.1 and found["m0"] < -0.3 and found["m1"] > 0.3
    assert "beyond chance for 2 of 2 models" in said(make_table(scores)).loc[CLEAREST, "detail"]


def test_cells_missing_for_their_answer_are_not_called_random():
    scores = answers(rasch())
    scores[(scores == 0) & (np.random.default_rng(0).random(scores.shape) < 0.1)] = N
    found = said(make_table(scores, np.repeat(list("abcdefgh"), 50)))
    assert found.loc["pattern of missing cells", "value"] == "no pattern by model, benchmark or question"
    assert "because of the answer itself look the same" in found.loc["pattern of missing cells", "detail"]
    assert float(found.loc[BIAS, "value"]) < 0
    assert "means over observed cells do not compare" in found.loc[BIAS, "detail"]


# ---------------------------------------------------------------- repeated rows

def test_what_each_rule_for_repeated_rows_changes():
    rows = [("a", 1, 1), ("a", 1, 0), ("a", 1, 0), ("a", 2, 1), ("b", 1, 1), ("b", 1, 1), ("b", 2, 0), ("b", 2, 1),
            ("a", 3, 0), ("b", 3, 0)]
    table = from_rows(pd.DataFrame(rows, columns=["model", "question_id", "score"]),
                      pd.DataFrame({"question_id": [1, 2, 3], "prompt": ["x", "y", "z"], "benchmark": "one"}))
    found = repeated_rows(table).set_index("rule")
    assert found["cells"].to_dict() == {"first": 2, "mean": 0, "max": 2, "majority": 2}
    # first: a gains 2/3, b loses 1/2; max: 2/3 and 1/2; majority: a loses 1/3, b (a tie, the first) 1/2.
    expected = {"first": (2 / 3 - 1 / 2) / 6, "mean": 0, "max": (2 / 3 + 1 / 2) / 6, "majority": -(1 / 3 + 1 / 2) / 6}
    assert found["change"].to_dict() == pytest.approx(expected)
    assert found["model"].to_dict() == {"first": "a", "mean": "a", "max": "a", "majority": "b"}
    assert found.loc["majority", "largest"] == pytest.approx(-1 / 6)
    words = said(table)
    assert words.loc["pairs with several rows", "value"] == "3"
    disagree = words.loc["of these, pairs whose rows disagree"]
    assert (disagree["value"], disagree["detail"]) == ("2", "rule in use: first")
    assert words.loc["rule max, against the mean", "value"] == "2 cells"
    agree = from_rows(pd.DataFrame([("a", 1, 0.4)] * 3 + [("b", 1, 0.7)], columns=["model", "question_id", "score"]),
                      pd.DataFrame({"question_id": [1], "prompt": ["x"], "benchmark": "one"}), duplicates="majority")
    words = said(agree)  # rows that agree: every rule is shown to change nothing, graded scores too
    assert agree.scores[0, 0] == np.float32(0.4)
    assert words.loc["of these, pairs whose rows disagree", "value"] == "0"
    for rule in ("first", "max", "majority"):
        assert words.loc[f"rule {rule}, against the mean", "value"] == "0 cells"
    assert len(repeated_rows(table.at([1, 2]))) == 4  # rows of questions that were cut away do not count
    assert repeated_rows(table.at([1, 2]))["cells"].max() == 1


# ---------------------------------------------------------------- questions

def test_questions_that_tell_nothing():
    scores = answers(rasch(4, 20))
    scores[:, 0], scores[:, 1], scores[:, 2] = 1, 0, 0.25
    scores[:, 3:6], scores[1:, 6] = [[0], [1], [0], [1]], N
    scores[0, 6] = 1  # asked of one model: not constant
    found = said(make_table(scores, ["big"] * 18 + ["tiny"] * 2, ["x" * 20_001, *map(str, range(19))]))
    ordinary = scores[:, 7:]
    assert int(found.loc["questions every model gets right", "value"]) == 1 + (ordinary == 1).all(axis=0).sum()
    assert int(found.loc["questions no model gets right", "value"]) == 1 + (ordinary == 0).all(axis=0).sum()
    assert found.loc["questions with one graded score for all", "value"] == "1"
    assert found.loc["benchmarks too small to split", ["value", "detail"]].to_list() == ["1", "tiny"]
    assert found.loc["prompts above 20,000 characters", "value"] == "1"
    assert found.loc["binary cells", "value"] == "94.8%"


def test_prompts_that_an_encoder_cannot_tell_apart():
    long = " ".join(f"w{n}" for n in range(200))
    prompts = [long + " and so on", long.upper() + "  or  not", long, "w1 w2", "w1 w2 w3",
               "x " + long + " this", "x " + long + "  This",  # one prompt but for case and white space
               " ".join(long.split()[:199]) + " other"]  # the 200th word differs
    found = said(make_table(np.tile([1, 0], (3, 4)), prompts=prompts)).loc["prompts alike in their first 200 words"]
    assert found["value"] == "3"
    assert "as q0 and q1:" in found["detail"]


# ---------------------------------------------------------------- leakage

PROMPTS = [
    "Which gas do plants take from the air to make sugar in daylight?",  # train
    "A train leaves at noon and travels 60 miles an hour for two hours.",
    "4 + 5", "x",
    "which GAS do plants take  from the air to make sugar in daylight?",  # the same as the first
    "Which gas do plants take from the air to make sugar in full daylight?",  # nearly
    "Name the longest river that crosses the old city of Cologne.",
    "4 - 5", "x",
]


def test_near_duplicates_across_the_split_by_hand(monkeypatch):
    parts = ["train"] * 4 + ["val", "test", "test", "test", "test"]
    table = parted(make_table(np.tile([1, 0, 1], (3, 3)), prompts=PROMPTS), parts)
    found = near_duplicates(table)
    assert found["part"].to_list() == parts[4:]
    assert found["nearest"].fillna("none").to_list() == ["q0", "q0", "none", "none", "q3"]
    # 14 words and signs give 12 triples; "full" breaks two of them and adds three.
    np.testing.assert_allclose(found["similarity"], [1, 10 / 15, 0, 0, 1])
    assert found["near_duplicates"].to_list() == [1, 0, 0, 0, 1]
    words = said(table)
    assert words.loc["test questions with a near-duplicate in training or validation", "value"] == "1"
    assert words.loc["validation questions with a near-duplicate in training", "value"] == "1"
    assert words.loc["prompts that repeat another", "value"] == "2"
    with pytest.raises(OutcomeError, match="no column part"):
        near_duplicates(make_table(np.eye(3)))
    monkeypatch.setattr("embedllm.audit.near_duplicates.NEAR", 0.6)
    assert near_duplicates(table)["near_duplicates"].to_list() == [1, 2, 0, 0, 1]  # the other in validation


def test_similarity_equals_brute_force(rng):
    words = np.array([f"w{n}" for n in range(6)])
    prompts = [" ".join(rng.choice(words, rng.integers(3, 12))) for _ in range(60)]
    table = parted(make_table(np.tile([1, 0], (3, 30)), prompts=prompts), ["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    triples = [set(zip(p.split(), p.split()[1:], p.split()[2:], strict=False)) for p in prompts]
    frequent = {t for t in set().union(*triples) if sum(t in s for s in triples) > 15}  # a quarter
    triples = [s - frequent for s in triples]
    best = [max(len(a & b) / max(len(a | b), 1) for b in triples[: 40 if n < 50 else 50])
            for n, a in enumerate(triples) if n >= 40]
    np.testing.assert_allclose(near_duplicates(table)["similarity"], best, atol=1e-9)


def test_a_shared_preamble_is_no_similarity():
    preamble = "Answer the following question with one letter and nothing else, thinking step by step: "
    rng = np.random.default_rng(0)
    prompts = [preamble + " ".join(f"w{n}" for n in rng.integers(0, 500, 4)) for _ in range(60)]
    table = parted(make_table(np.tile([1, 0], (3, 30)), prompts=prompts), ["train"] * 40 + ["test"] * 20)
    found = near_duplicates(table)
    assert found["similarity"].max() < 0.5


# ---------------------------------------------------------------- origin, figure, odd and real tables

def test_repairs_and_provenance_are_reported():
    table = make_table(answers(rasch(4, 30)),
                       repairs={"rows dropped": 12, "models dropped": ["x", "y"], "odd scores": 0},
                       provenance={"source": "here", **{f"file {n}": "sha256 0" for n in range(9)}})
    found = said(table)
    assert found.loc["mended: rows dropped", "value"] == "12"
    assert found.loc["mended: models dropped", ["value", "detail"]].to_list() == ["2", "x, y"]
    assert found.loc["nothing to mend", "detail"] == "none of: odd scores"
    assert found.loc["from: source", "value"] == "here"
    assert found.loc["from: and further entries", "value"] == "5"


@pytest.mark.parametrize("scores", [np.ones((1, 1)), np.ones((3, 5)), np.eye(3), [[0.5, N], [N, 1]]])
@pytest.mark.filterwarnings("error")
def test_the_smallest_tables_can_be_audited_and_drawn(scores):
    table = make_table(scores)
    assert said(table).loc["models", "value"] == str(len(scores))
    plt.close(plot_audit(audit_panels(table), NEAR))


def written(figure) -> str:
    found = "\n".join(text.get_text() for text in figure.findobj(plt.Text))
    plt.close(figure)
    return found


def test_the_figure_is_drawn_from_its_csv(clean, tmp_path):
    panels = audit_panels(clean)
    panels.to_csv(tmp_path / "audit.csv", index=False)
    assert list(panels) == ["panel", "name", "group", "x", "y"]
    counted = panels.groupby("panel")["y"].sum()
    assert counted["questions"] == 1500
    assert counted["similarity"] == (clean.questions["part"] == "test").sum()
    figure = plot_audit(pd.read_csv(tmp_path / "audit.csv").fillna({"name": "", "group": ""}), NEAR)
    titles = {"What is left to forecast", "How hard the questions are", "Models", "Leakage of prompts"}
    assert titles <= set(written(figure).split("\n"))


def test_the_figure_names_odd_models_and_shows_gaps():
    table = hide("by block")
    scores = table.scores.copy()
    scores[0], scores[5] = answers(np.full(400, 0.95)), 0.5
    panels = audit_panels(parted(replace(table, scores=scores)))
    assert (panels["panel"] == "coverage").sum() == 12 * 4
    figure = plot_audit(panels, NEAR)
    assert figure.get_size_inches()[0] == 7
    assert {"m0", "m5"} <= set(written(figure).split("\n"))


def many_benchmarks(n_benchmarks, n_unseen=1):
    """100 models; benchmarks with a few cells missing each, but of the last the first models saw nothing."""
    rng = np.random.default_rng(0)
    benchmark = np.repeat([f"b{n:02d}" for n in range(n_benchmarks)], 50)
    scores = rng.integers(0, 2, (100, len(benchmark))).astype(np.float32)
    scores[:, np.arange(len(benchmark)) % 50 == 0] = np.where(rng.random((100, n_benchmarks)) < 0.5, N, 1)
    scores[:, benchmark == f"b{n_benchmarks - 1:02d}"] = 0  # the fullest of all but for those models
    scores[:n_unseen, benchmark == f"b{n_benchmarks - 1:02d}"] = N
    return make_table(scores, benchmark)


@pytest.mark.parametrize(("n_benchmarks", "title"), [
    (30, "Coverage: the 20 of 30 benchmarks with the largest gap by model"), (20, "Coverage: benchmarks by model"),
])
def test_a_gap_in_one_of_many_benchmarks_is_shown(n_benchmarks, title):
    panels = audit_panels(many_benchmarks(n_benchmarks, n_unseen=13))
    coverage = panels[panels["panel"] == "coverage"]
    assert len(coverage) == 100 * 20
    assert coverage.iloc[0][["name", "group", "y"]].to_list() == ["m0", f"b{n_benchmarks - 1:02d}", 0]
    assert title in written(plot_audit(panels, NEAR))
    few = audit_panels(many_benchmarks(n_benchmarks))
    assert ("at least 98.0% of every benchmark for every model, except (share asked):\n"
            f"m0: b{n_benchmarks - 1:02d} 0%\n") in written(plot_audit(few, NEAR))


def test_a_few_missing_blocks_are_listed():
    listed = "every model was asked every question, except (share asked):\nm7: c 0%\nm9: c 0%\nm2: a 0%\n"
    assert listed in written(plot_audit(audit_panels(hide("by block")), NEAR))


def test_variances_below_zero_are_drawn_as_zero_with_a_footnote():
    panels = audit_panels(hide("by block"))
    variance = panels["panel"] == "variance"
    panels.loc[variance, "y"] = [0.5, -0.06, 0.2, -0.001, N]
    figure = plot_audit(panels, NEAR)
    axes = figure.subfigs[1].axes[0]
    assert [bar.get_width() for bar in axes.patches[:4]] == [0.5, 0, 0.2, 0]
    assert [text.get_text() for text in axes.texts] == ["50%", "0% *", "20%", "0% *", "not estimable"]
    assert axes.get_xlabel().endswith("* estimated below zero, taken as none")
    plt.close(figure)


def test_the_sentence_on_coverage_is_true():
    scores = many_benchmarks(30).scores.copy()
    scores[0, -50:] = [N, N] + [1] * 48  # now the lowest of all: 96 %
    table = replace(many_benchmarks(30), scores=scores, models=many_benchmarks(30).models.rename({"m3": "all"}))
    coverage = audit_panels(table).set_index("panel").loc["coverage"]
    assert (coverage["name"], coverage["group"]) == ("all", "")
    assert (coverage["x"], coverage["y"]) == pytest.approx((0.96, table.observed.mean()))
    assert "at least 96.0% of every benchmark for every model" in written(plot_audit(audit_panels(table), NEAR))


def test_what_is_known_of_real_tables_is_found():
    folder = SHARED / "alpaca-eval"
    if not (folder / "outcomes.parquet").exists():
        pytest.skip(f"no real data in {SHARED}")
    questions = pd.read_parquet(folder / "questions.parquet").rename(columns={"category": "benchmark"})
    found = said(parted(from_rows(pd.read_parquet(folder / "outcomes.parquet"), questions)))
    assert "NullModel" in found.loc["unlike the rest, strong", "detail"]
    assert "gpt4_1106_preview (0.50 everywhere)" in found.loc["models with one score everywhere", "detail"]

    table = parted(mmlu_pro.load(SHARED / "mmlu-pro"))
    found = said(table)
    assert "Llama-2-7b-hf" in found.loc["unlike the rest, weak", "detail"]
    assert "unlike the rest, strong" not in found.index
    assert "DeepSeek-Coder-V2" in found.loc["models with the fewest answers", "detail"]
    assert found.loc["prompts that repeat another", "value"] == "159"
