"""The audit: planted faults must be found, a clean pool must pass, and estimates must equal known answers."""

import os
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import make_table

from embedllm.audit import audit, audit_panels
from embedllm.audit_figure import plot_audit
from embedllm.irregularities import missing_difference, model_fit, model_pairs, repeated_rows
from embedllm.leakage import effect_of_leakage, leakage
from embedllm.outcomes import OutcomeError, split
from embedllm.signal import label_entropy, variance_components
from embedllm.sources import mmlu_pro
from embedllm.sources._rows import from_rows
from embedllm.sources.simulated import simulate

DATA = Path(os.environ.get("EMBEDLLM_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
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

def test_entropy_ladder_by_hand():
    found = label_entropy(make_table([[1, 1], [1, 0]])).set_index("knowing")["bits"]
    # Right cells: the other three hold two right ones, (2 + 1/2) / 4; the wrong one: (3 + 1/2) / 4.
    assert found["the overall mean"] == pytest.approx(-(3 * np.log2(2.5 / 4) + np.log2(0.5 / 4)) / 4)
    # Of each model one other cell: (1 + 1/2) / 2 twice, then (0 + 1/2) / 2 for a right and 1/4 for a wrong one.
    assert found["the model"] == pytest.approx(-(2 * np.log2(0.75) + 2 * np.log2(0.25)) / 4)
    assert list(found.index) == ["the overall mean", "the model", "other models on the question"]


def test_entropy_ladder_descends_to_the_truth(clean):
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
    for check in ("models unlike the rest", "models with one score everywhere", "names that differ in case only",
                  "pairs of models with identical scores", "pairs with several rows", "benchmarks too small to split",
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
    assert found.loc["names that differ in case only", "detail"] == "M6, m6"


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
    centred = scores - np.nanmean(scores, axis=0)
    pairs = model_pairs(make_table(scores)).set_index(["a", "b"])
    assert pairs.index[0] == ("m0", "m1") and pairs["identical"].sum() == 1
    assert pairs.loc[("m0", "m1"), "shared"] == 30
    assert "m2" not in pairs.index.get_level_values("a")
    both = ~np.isnan(centred[0] + centred[4])
    expected = np.corrcoef(centred[0, both], centred[4, both])[0, 1]
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
    elif kind == "by model and benchmark":
        hidden[2, :90] = hidden[7, 200:280] = True
    elif kind == "scattered at random":
        hidden = rng.random(scores.shape) < 0.2
    elif kind == "too few to say":
        hidden[0, :5] = True
    return make_table(np.where(hidden, N, scores), benchmarks)


@pytest.mark.parametrize("kind", ["none", "by block", "by model", "by question", "by model and benchmark",
                                  "scattered at random", "too few to say"])
def test_the_pattern_of_missing_cells_has_a_name(kind):
    found = said(hide(kind))
    assert found.loc["pattern of missing cells", "value"] == kind
    if kind == "by block":
        assert found.loc["missing cells in whole blocks never run", "value"] == "100%"
        assert "m2 on a" in found.loc["missing cells in whole blocks never run", "detail"]
        assert found.loc["benchmark with the lowest coverage", "detail"] == "c"
    if kind == "by model":
        assert "m3, which accounts for 100%" in found.loc["models with the fewest answers", "detail"]


def test_missing_hard_questions_are_noticed_and_random_ones_are_not():
    probabilities = rasch()
    scores, hard = answers(probabilities), probabilities.mean(axis=0) < 0.3
    biased = scores.copy()
    biased[2, hard] = N
    difference, error = missing_difference(make_table(biased))
    others = np.delete(biased, 2, axis=0).mean(axis=0)  # complete: the offsets of own means cancel
    assert difference == pytest.approx(others[hard].mean() - others[~hard].mean(), abs=1e-6)
    assert difference < -5 * error
    z = []
    for seed in range(40):
        random = np.where(np.random.default_rng(seed).random(scores.shape) < 0.1, N, scores)
        difference, error = missing_difference(make_table(random))
        z.append(difference / error)
    assert 0.7 < np.sqrt(np.mean(np.square(z))) < 1.4  # the standard error is of the right size
    assert np.isnan(missing_difference(make_table(scores))[0])


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


def test_twins_across_the_split_by_hand():
    parts = ["train"] * 4 + ["val", "test", "test", "test", "test"]
    table = parted(make_table(np.tile([1, 0, 1], (3, 3)), prompts=PROMPTS), parts)
    found = leakage(table)
    assert found["part"].to_list() == parts[4:]
    assert found["nearest"].to_list() == ["q0", "q0", None, None, "q3"]
    # 14 words and signs give 12 triples; "full" breaks two of them and adds three.
    np.testing.assert_allclose(found["similarity"], [1, 10 / 15, 0, 0, 1])
    assert found["twins"].to_list() == [1, 0, 0, 0, 1]
    assert leakage(table, threshold=0.6)["twins"].to_list() == [1, 1, 0, 0, 1]
    words = said(table)
    assert words.loc["test questions with a twin in training", "value"] == "1"
    assert words.loc["prompts that repeat another", "value"] == "2"
    with pytest.raises(OutcomeError, match="no column part"):
        leakage(make_table(np.eye(3)))


def test_similarity_equals_brute_force(rng):
    words = np.array([f"w{n}" for n in range(6)])
    prompts = [" ".join(rng.choice(words, rng.integers(3, 12))) for _ in range(60)]
    table = parted(make_table(np.tile([1, 0], (3, 30)), prompts=prompts), ["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    triples = [set(zip(p.split(), p.split()[1:], p.split()[2:], strict=False)) for p in prompts]
    frequent = {t for t in set().union(*triples) if sum(t in s for s in triples) > 20}
    triples = [s - frequent for s in triples]
    best = [max(len(a & b) / max(len(a | b), 1) for b in triples[:40]) for a in triples[40:]]
    np.testing.assert_allclose(leakage(table)["similarity"], best, atol=1e-9)


def test_a_shared_preamble_is_no_similarity():
    preamble = "Answer the following question with one letter and nothing else, thinking step by step: "
    rng = np.random.default_rng(0)
    prompts = [preamble + " ".join(f"w{n}" for n in rng.integers(0, 500, 4)) for _ in range(60)]
    found = leakage(parted(make_table(np.tile([1, 0], (3, 30)), prompts=prompts), ["train"] * 40 + ["test"] * 20))
    assert found["similarity"].max() < 0.5


def test_removing_twins_lowers_what_knn_remembers(rng):
    family = np.r_[np.repeat(np.arange(30), 8), 30 + np.arange(60)]  # 30 prompts eight times, 60 once
    prompts = np.array([" ".join(f"w{word}" for word in rng.integers(0, 5000, 12)) for _ in range(90)])[family]
    vectors = rng.standard_normal((90, 24)).astype(np.float32)[family]
    scores = np.tile((rng.random(90) < 0.5)[family], (12, 1))  # all models alike: a twin tells everything
    part = np.r_[np.tile(["train"] * 6 + ["val", "test"], 30), ["train"] * 50, ["test"] * 10]
    table = parted(make_table(scores, prompts=prompts), part)
    assert (leakage(table)["twins"] == [6] * 60 + [0] * 10).all()
    found = effect_of_leakage(table, vectors).set_index(["test_questions", "metric"])
    assert (found["removed"] == 180).all()
    assert found.loc["with a twin", "n_questions"].to_list() == [30, 30]
    assert found.loc["all", "n_questions"].to_list() == [40, 40]
    row = found.loc[("with a twin", "log_loss")]
    assert row["difference"] == pytest.approx(row["with_twins"] - row["without_twins"])
    assert row["low"] < row["difference"] < row["high"] < 0 and row["p"] < 0.05
    assert found.loc[("with a twin", "accuracy"), "difference"] > 0.2

    alone = family >= 30
    assert effect_of_leakage(parted(table.at(alone), part[alone]), vectors[alone]).empty
    held = np.where(alone & (part == "train"), "val", part)  # all that is left in training has twins
    with pytest.raises(OutcomeError, match="nothing is left to train on"):
        effect_of_leakage(parted(table, held), vectors)


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
    plt.close(plot_audit(audit_panels(table)))


def test_the_figure_is_drawn_from_its_csv(clean, tmp_path):
    panels = audit_panels(clean)
    panels.to_csv(tmp_path / "audit.csv", index=False)
    assert list(panels) == ["panel", "name", "group", "x", "y"]
    counted = panels.groupby("panel")["y"].sum()
    assert counted["questions"] == 1500
    assert counted["similarity"] == (clean.questions["part"] == "test").sum()
    figure = plot_audit(pd.read_csv(tmp_path / "audit.csv").fillna({"name": "", "group": ""}))
    written = {text.get_text() for text in figure.findobj(plt.Text)}
    assert {"What is left to forecast", "How hard the questions are", "Models", "Leakage of prompts"} <= written
    plt.close(figure)


def test_the_figure_names_odd_models_and_shows_gaps():
    table = hide("by block")
    scores = table.scores.copy()
    scores[0], scores[5] = answers(np.full(400, 0.95)), 0.5
    panels = audit_panels(parted(replace(table, scores=scores)))
    assert (panels["panel"] == "coverage").sum() == 12 * 4
    figure = plot_audit(panels)
    written = {text.get_text() for text in figure.findobj(plt.Text)}
    assert {"m0", "m5"} <= written
    assert figure.get_size_inches()[0] == 7
    plt.close(figure)


def test_what_is_known_of_real_tables_is_found():
    folder = DATA / "alpaca-eval"
    if not (folder / "outcomes.parquet").exists():
        pytest.skip(f"no real data in {DATA}")
    questions = pd.read_parquet(folder / "questions.parquet").rename(columns={"category": "benchmark"})
    found = said(parted(from_rows(pd.read_parquet(folder / "outcomes.parquet"), questions)))
    assert "NullModel" in found.loc["unlike the rest, strong", "detail"]
    assert "gpt4_1106_preview (0.50 everywhere)" in found.loc["models with one score everywhere", "detail"]

    table = parted(mmlu_pro.load(DATA / "mmlu-pro"))
    found = said(table)
    assert "Llama-2-7b-hf" in found.loc["unlike the rest, weak", "detail"]
    assert "unlike the rest, strong" not in found.index
    assert "DeepSeek-Coder-V2" in found.loc["models with the fewest answers", "detail"]
    assert found.loc["prompts that repeat another", "value"] == "159"
