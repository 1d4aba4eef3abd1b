"""What the notebooks say: no more than the tests behind it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import make_table

from embedllm import claims
from embedllm.catalog import ADDITIVE, OURS
from embedllm.catalog import FACTORIZATION as DEFAULT
from embedllm.catalog import TUNED as TUNED_ENTRY
from embedllm.conclusions import (
    _words,
    data_preparation,
    encoders,
    forecasting,
    latency,
    pricing,
    routing,
    sensitivity,
    terms,
    training,
    verdicts,
)
from embedllm.experiments.pricing import Priced
from embedllm.files import ROOT
from embedllm.outcomes import replace_unchecked, without
from embedllm.presentation import about
from embedllm.routing.guard import Guard
from embedllm.routing.price import price_list

FACTORIZATION, TUNED = DEFAULT.name, TUNED_ENTRY.name


def compared(difference: float, p: float, method: str = "kNN", reference: str = "factorization", **more) -> dict:
    return {"method": method, "reference": reference, "difference": difference, "low": difference - 0.01,
            "high": difference + 0.01, "se": 0.005, "p_holm": p, "mde": 0.02, **more}


@pytest.mark.parametrize(("difference", "p", "expected"), [
    (0.0051, 0.0002, "The kNN has a higher score than the factorization: +5.1 (95 % interval -4.9 to +15.1) "
                     "thousandths, p < .001"),
    (-0.0051, 0.04, "The kNN has a lower score than the factorization: -5.1 (95 % interval -15.1 to +4.9) "
                    "thousandths, p = .040"),
    (-0.0051, 0.4, "No difference in score is shown between the kNN and the factorization: -5.1 (95 % interval "
                   "-15.1 to +4.9) thousandths, p = .400 after Holm; one of 20.0 thousandths would be found in 80 % of "
                   "tries."),
])
def test_a_comparison_in_words_says_what_the_test_says(difference, p, expected):
    assert _words.compared(pd.DataFrame([compared(difference, p)]), "kNN", "score").startswith(expected)


def test_methods_that_are_the_same_are_called_so():
    same = pd.DataFrame([compared(0.0, 1.0, se=0.0)])
    assert _words.compared(same, "kNN", "score").startswith("The kNN and the factorization have the same score")


def test_many_comparisons_fit_one_sentence():
    tests = pd.DataFrame([compared(-0.1, 0.01, "a"), compared(0.1, 0.01, "b"), compared(0.1, 0.2, "c"),
                          compared(-0.1, 0.04, "d, text only")])
    assert _words.sorted_by_test(tests, "log-loss") == (
        "Log-loss compared with the factorization, after Holm: lower with a and d, text only; higher with b; no "
        "difference shown for c (one of 20.0 thousandths would be found in 80 % of tries).")
    assert "no difference" not in _words.sorted_by_test(tests[:2], "log-loss")


def test_where_the_factorization_stands_at_how_many_sizes():
    rows = pd.DataFrame({"metric": "accuracy", "method": TUNED, "labels": [1000, 20_000, 300_000],
                         "difference": [-0.02, 0.001, 0.01], "low": [-0.03, -0.01, 0.005],
                         "high_all": [-0.01, 0.01, 0.02]})
    other = rows.assign(method="kNN", low=1, high_all=2)
    said = forecasting.growth(pd.concat([other, rows[::-1], rows.assign(metric="log_loss", low=1, high_all=2)]), TUNED)
    assert said == ("Of 3 sizes the tuned factorization is shown ahead at 1 and behind at 1, against the majority "
                    "vote (ahead: each size by itself, behind: corrected for their number): -20.0 thousandths of "
                    "accuracy after 1,000 labels, +10.0 after 300,000.")
    level = forecasting.growth(rows.assign(low=-1, high_all=1), TUNED)
    assert "is shown neither ahead nor behind at any, against" in level


def test_no_worse_than_the_best_needs_every_forecaster_and_says_what_the_margin_means():
    against = pd.DataFrame({"forecaster": ["kNN", "boosted trees", TUNED, "benchmark mean"],
                            "difference": [-0.01, 0.0, -0.006, -0.01], "low90": -0.02,
                            "high90": [0.003, 0.004, 0.003, 0.003], "p_worse": [0.001, 0.2, 0.001, 0.001]})
    said = forecasting._best(against, 0.002, TUNED)
    assert "is not shown to be within the margin of boosted trees (" in said
    assert "2.0 thousandths of a nat, 50% of what the tuned factorization earns over the benchmark means" in said
    assert "reads the text alone aside, is boosted trees: 0.0 (90 % interval -20.0 to +4.0)." in said
    assert "is no worse than any other forecaster" in forecasting._best(against[:1], 0.002, TUNED)
    ahead = forecasting._best(against.assign(high90=[-0.001, -0.002, -0.003, -0.004]), 0.002, TUNED)
    assert "has a lower log-loss than every other forecaster" in ahead and "margin" not in ahead
    worse = against.assign(difference=[0, 0, -0.01, -0.006])
    assert "earns nothing over the benchmark means" in forecasting._best(worse, 0.002, TUNED)


@pytest.mark.parametrize(("ours", "expected"), [
    (0.02, "20.0 thousandths of a nat above the best that a reader of the text could do, and 5.0 above"),
    (0.012, "12.0 thousandths of a nat above the best that a reader of the text could do, and 3.0 below")])
def test_the_loss_beyond_the_best_reader_stands_beside_that_without_specialization(ours, expected):
    rows = [(OURS.name, "estimation", ours), (ADDITIVE, "estimation", 0.015), (OURS.name, "recovered", 0.4),
            (ADDITIVE, "recovered", 0.0)]
    excess = pd.DataFrame(rows, columns=["forecaster", "quantity", "value"])
    assert expected in forecasting.lost(excess)
    assert forecasting.lost(excess).endswith("worth to the best reader it recovers 40%.")
    nothing = excess.assign(value=excess["value"].where(excess["quantity"] == "estimation"))
    assert "recovers" not in forecasting.lost(nothing), "where telling models apart is worth nothing"


def test_the_best_forecaster_is_none_of_the_bounds():
    rows = [(name, metric, value) for name, accuracy, loss in (
        ("kNN", 0.7, 0.6), (TUNED, 0.6, 0.5), ("text ceiling", 0.9, 0.1))
        for metric, value in (("accuracy", accuracy), ("log_loss", loss), ("ece", 1 - accuracy))]
    scores = pd.DataFrame(rows, columns=["forecaster", "metric", "value"])
    assert forecasting.best(scores) == (
        "Of 2 forecasters the kNN has the highest accuracy, 0.700, the tuned factorization the lowest "
        "log-loss, 0.500.")
    assert "kNN has the highest accuracy, 0.700, and the lowest log-loss" in forecasting.best(scores[:4])
    heads = pd.concat([scores, scores[scores["metric"] == "accuracy"].assign(metric="auc")])
    heads = pd.concat([heads, scores[:1].assign(forecaster="model mean", value=0.55)])
    assert forecasting.best(heads, "log_loss") == (
        "Of 2 forecasters the tuned factorization has the lowest log-loss, 0.500, the kNN the highest AUC, 0.700. The "
        "accuracy of the tuned factorization is 0.600, where the mean of each model alone reaches 0.550.")
    assert forecasting.calibrated(scores, ["kNN", "text ceiling"]).endswith("here is 0.300 (kNN).")


def test_captions_of_notebook_03_count_what_their_tables_hold():
    steps = pd.DataFrame({"method": ["+ own deviations", "+ calibration"], "difference": [-0.01, -0.2],
                          "p_holm": [0.01, 1]})
    assert forecasting.parts(steps).startswith(
        "1 of 2 parts is shown to earn something, most of all calibration: 200.0")
    rows = pd.DataFrame({"forecaster": OURS.name, "value": [-0.1, 0.1], "low": [-0.2, 0.05], "high": [-0.05, 0.2]})
    assert "on 1 of 2 models; 1 interval below zero, 1 above." in forecasting.everywhere(rows, "model", TUNED)


@pytest.mark.parametrize(("p", "value", "expected"), [
    (0.0025, -0.004, "version: a larger gain than in 399 2PL worlds without specialization (-1.0 on average; p = .003"),
    (0.2, -0.004, "not shown to be a larger gain than in 399 2PL worlds"),
    (0.9, 0.002, "no gain to compare with those of 399 2PL worlds")])
def test_the_gain_over_ability_stands_beside_that_of_worlds(p, value, expected):
    rows = [("observed", value, None, None, None), ("2PL", -0.001, p, 0.25 if value < 0 else None, 399),
            ("Rasch", 0.0, 0.01, None, 99)]
    gains = pd.DataFrame(rows, columns=["pool", "value", "p", "explained", "worlds"]).assign(
        forecaster="convex embedding", smallest_p=0.0025)
    matched = pd.DataFrame({"null": ["2PL", "Rasch"], "quantity": "SD of model means", "p": [0.3, 0.01]})
    said = forecasting.beyond_ability(pd.concat([gains, gains.assign(forecaster="kNN", p=1.0, value=9)]), matched)
    assert said.startswith("The convex embedding changes")
    assert expected in said and said.endswith("; sensitivity: Rasch p = .010.")
    assert "sensitivity" not in forecasting.beyond_ability(gains[:2], matched)
    assert forecasting.beyond_ability(gains, matched.assign(p=0.01)).startswith(
        "The 2PL worlds are unlike this pool in SD of model means, so that a gain beyond theirs may come from that.")


def test_worlds_that_differ_from_the_pool_are_named():
    rows = [("2PL", "SD of question means", 0.4), ("2PL", "SD of model means", 0.2), ("2PL", "log-loss of it", 0.01),
            ("3PL", "SD of question means", 0.9), ("3PL", "questions that all answer wrong", 0.01)]
    matched = pd.DataFrame(rows, columns=["null", "quantity", "p"])
    assert forecasting.alike(matched) == (
        "No difference of 2PL worlds from the pool is shown in the spread of questions and of models. Unlike it are "
        "the 3PL worlds in questions that all answer wrong (p = .010): what they show has to be read with this in "
        "mind.")
    assert forecasting.alike(matched[:3]).endswith("of models.") and "Unlike" not in forecasting.alike(matched[:3])


def test_training_names_the_lowest_epoch_and_length():
    history = pd.DataFrame({"epoch": [1, 2, 3], "val": [0.7, 0.6, 0.65]})
    rows = [(FACTORIZATION, 32, 32, True), (FACTORIZATION, 8, 32, True), (FACTORIZATION, 2, 32, False),
            ("convex embedding", 8, 2, False), ("convex embedding", 2, 2, True), ("convex embedding", 1, 2, False)]
    shorter = pd.DataFrame(rows, columns=["forecaster", "dim", "best", "as_good"])
    between = pd.DataFrame({"dim": [1, 8], "high": [-0.001, 0.002], "method": "one", "reference": "another"})
    said = training.conclusion(history, shorter, between, 0.002, 12)
    assert "lowest, 0.6000, after epoch 2 of 3" in said
    assert "default factorization, 32 numbers per model best on validation, down to 8 shown to be as good" in said
    assert "convex embedding, 2 numbers per model best on validation, no shorter one shown to be as good" in said
    assert "(margin 2.0 thousandths of a nat)" in said and "earns nothing" not in said
    assert "ahead of the another at 1 of 2 lengths; at all of them it is at most 2.0 thous" in " ".join(said.split())
    everywhere = training.bounded(between.assign(high=[-0.001, -0.003]))
    assert everywhere == "The one is shown ahead of the another at every length, by 1.0 thousandths of a nat and more."
    descriptive = shorter.assign(difference=0.002, low=0.001, high=0.003)
    bare = training.conclusion(history, descriptive, between, 0.0, 12)
    assert "At the best length, 32, it is " not in bare
    assert "there is no margin, and nothing is tested. With fewer numbers than the best length, 32, its" in bare
    assert "in thousandths: 8 +2.0 (97.5 % interval +1.0 to +3.0); 2 +2.0 (" in bare
    means = pd.DataFrame([("benchmark mean", 0, 32, True, 0.003, 0.002, 0.004)], columns=list(descriptive))
    bare = training.conclusion(history, pd.concat([descriptive, means]), between, 0.0, 12)
    assert "At the best length, 32, the means lie at +3.0 (97.5 % interval +2.0 to +4.0) thousandths. With" in bare
    places = pd.DataFrame({"level": [1.0, 2, 3], "first": [2.0, 4, 6], "second": [1.0, 0, 1]})
    told = training.directions((0.2, 0.3), places)
    assert told.startswith("Two directions carry 50%") and "they correlate +1.00 and +0.00" in told


def test_the_convex_embedding_is_told_with_names_and_shares():
    vectors = np.array([[0.1, 3.0, 0.0], [0.2, -3.0, 4.0]])
    table = training.vectors_table(vectors, pd.Index(["a", "b"], name="model"))
    assert table.to_dict("list") == {"model": ["a", "b"], "level": [0.1, 0.2], "d1": [3, -3], "d2": [0, 4]}
    np.testing.assert_allclose(training.spread(vectors), [18 / 34, 16 / 34])


def test_speed_says_what_the_committed_tables_hold():
    names = ("machine", "reached", "exponents", "warm_starts", "encoders", "cost")
    tables = {name: pd.read_csv(ROOT / "figures" / "bench" / f"timing_{name}.csv") for name in names}
    said = training.speed(tables)
    for row in tables["reached"].dropna().itertuples():
        assert f"{row.solver} in {row.seconds:.1f} s" in said
    assert f"Of {len(tables['reached'])} ways to train" in said
    assert "(published: 107.71)" in " ".join(said.split())
    assert "nan" not in said
    costs = pricing.as_read(tables["cost"]).set_index("what")
    assert costs.iloc[0].tolist() == ["108", "60", "", "", "< 0.001", "107.71 TFLOP, some 60 generations"]
    measured = [about(tables["cost"].loc[1, name]) for name in ("seconds", "megabytes")]
    assert costs.iloc[1, :5].tolist() == ["71.8", "40", *measured, "< 0.001"]


ASSUMED = {"dollars an hour": 3.0, "TFLOP a second": 500.0, "use": 0.25, "since": "May 2030"}


def pool_costs(times: float) -> pd.DataFrame:
    """Seven rows as `bench.pool.costs` has them: two benchmarks, labels, three trainings, labels with a training."""
    flop = np.array([3e18, 2e18, 4.5e18, 3e18 / times, 1e12, 1e10, 4.5e18])
    table = pd.DataFrame({"what": list("abcdefg"), "questions": [14_000, 9_000] + 5 * [18_000], "tokens": 100.0})
    for way, factors in (("7b", 1), ("real", np.array([2, 2, 2, 1, 1, 1, 2]))):
        own = flop * factors
        table = table.assign(**{f"flop_{way}": own, f"generations_{way}": own / 1e12, f"dollars_{way}": own / 1e18,
                                f"times_{way}": own[0] / own})
    return table


def test_costs_of_a_pool_are_those_of_the_table():
    said = " ".join(pricing.benchmarking(pool_costs(26_000), ASSUMED).split())
    for part in ("Asking these models 14,000 questions, 100 tokens an answer", "6.0 million answers of a model of 7",
                 "each it would be 3.0 million, and the real sizes make it 2.0 times", "this table costs 4.0 million",
                 "costs 52,000 times one training by the paper's convention (at 7B each 26,000; published: at least "
                 "26,000)", "fewer than 50 tokens would bring it below", "18,000 of each model, which cost 1.5 times",
                 "The benchmark costs 0.67 times", "3 dollars an hour of a GPU, May 2030", "costs 6.0 dollars"):
        assert part in said, part
    assert "Answers of 200 tokens would bring it to the published" in pricing.benchmarking(pool_costs(6500), ASSUMED)
    read = pricing.pool_as_read(pool_costs(26_000))
    assert read.shape == (7, 8)
    assert read.iloc[0].tolist() == ["a", "14,000", "3.0 million", "6.0 million", "3.0", "6.0", "1.0", "1.0"]
    counting = " ".join(pricing.counting(ASSUMED, 18_000).split())
    assert "a GPU of 500 TFLOP/s (dense bfloat16) for 3 dollars an hour, 25% of it in use (assumed in May" in counting


def test_models_of_unknown_size_are_named():
    billions = pd.Series([7, 70, np.nan, np.nan], index=["a", "b", "<x>", "y"])
    said = pricing.sizes_known(billions)
    assert said.startswith("2 of 4 models count here: 7.0 to 70 billion parameters, 38 on average; left out")
    assert said.endswith("as of unknown size: &lt;x&gt;, y.")
    assert "left out" not in pricing.sizes_known(billions[:2])
    assert pricing.sizes_known(billions[2:]).startswith("The size of no model is known")


def test_the_picture_answers_what_goes_in_is_trained_and_comes_out():
    for part in ("figure 02_architecture", "Given:", "Trained,", "Output:"):
        assert part in verdicts.answered(f"figure 02_architecture. {training.ARCHITECTURE}")["reason"]
    assert verdicts.answered("there")["verdict"] == claims.ANSWERED


def luck(p: float, null: float) -> pd.DataFrame:
    return pd.DataFrame({"pool": ["observed", "drawn"], "value": [0.9, null], "low": [0.9, null - 0.01],
                         "high": [0.9, null + 0.01], "p": [p, np.nan]})


@pytest.mark.parametrize(("p", "null", "expected"), [
    (0.01, 0.8, "p = .010: luck alone does not explain the oracle"), (0.4, 0.8, "luck alone could explain the oracle"),
    (0.01, 0.95, "p = .010: luck alone would bring it higher"),
    (0.01, 0.995, "so high that the comparison says nothing"),
])
def test_routing_compares_the_oracle_with_luck(p, null, expected):
    assert expected in routing.luck(luck(p, null))


def gained(*rows) -> pd.DataFrame:
    """(method, difference, p): a table of gains over the best single model."""
    return pd.DataFrame([compared(difference, p, name, "best single model", score=0.7 + difference)
                         for name, difference, p in rows])


def test_routing_names_what_gains_most_and_only_what_is_shown():
    rows = gained(("oracle", 0.3, 0.001), ("kNN", 0.1, 0.01), ("convex embedding", 0.05, 0.001))
    assert routing.gain(rows, ["kNN", "convex embedding"]) == (
        "2 of 2 routers that read the text alone are shown to score more than the best single model; most is gained by "
        "kNN, +100.0 thousandths.")
    told = gained(("kNN", 0.1, 0.01), ("best per benchmark", 0.2, 0.01), (OURS.name, 0.3, 0.01))
    assert routing.gain(told, ["kNN", OURS.name]).endswith(
        "by kNN, +100.0 thousandths. Told the benchmark, the best model of that benchmark gains +200.0. Told the "
        "benchmark, the stacked ensemble gains +300.0.")
    open_case = gained(("kNN", 0.1, 0.2), ("convex embedding", 0.05, 0.01))
    assert routing.gain(open_case, ["kNN", "convex embedding"]).startswith(
        "No router that reads the text alone is shown to beat always asking the best single model; the closest, kNN, "
        "differs by +100.0 ")
    assert routing.gain(gained(("kNN", -0.1, 0.01)), ["kNN"]).startswith("No router that")


def test_routing_concludes_with_rivals_labels_and_luck():
    rivals = pd.DataFrame([compared(0.1, 0.01, TUNED, "random model"), compared(-0.1, 0.01, TUNED, "best single model"),
                           compared(0.01, 0.4, TUNED, "kNN")])
    gains = gained(("best per benchmark", 0.2, 0.01), ("kNN", 0.1, 0.01), (OURS.name, 0.15, 0.01))
    bits = pd.DataFrame([compared(0.1, 0.01) | {"p": 0.01, "benchmark": 0.5, "difficulty": 0.4, "entropy": 1.0}])
    label = pd.DataFrame([compared(-0.1, 0.01, "kNN", "best per benchmark"),
                          compared(-0.05, 0.4, OURS.name, "best per benchmark")])
    apart = pd.DataFrame([compared(0.1, 0.01, "within benchmarks", "its twin") | {"cells": 1.0}])
    far = pd.DataFrame([compared(0.1, 0.01, "kNN", "best single model") | {"benchmark": "all", "kind": kind} for kind in
                        ("left out", "seen", "left out minus seen")]).assign(low=0.05, high=0.15)
    given = apart, ["kNN", OURS.name], luck(0.4, 0.8), ["<llm>"], {"safe": "It is certified.", "cost": ""}
    said = routing.conclusion(rivals, gains, label, bits, *given, [None, far])
    assert "**Can it be made safe?** It is certified." in said
    assert "within benchmarks minus its twin: +100.0 (" in said
    assert "No prices and no sizes" in said
    assert "**Domain or difficulty?** Of the benchmark the choice tells 0.500 bits" in said
    assert "kind?** `make deep` computes it." in said
    assert "is &lt;llm&gt;." in said
    assert "higher score than the random model" in said and "lower score than the best single model" in said
    assert "No difference in score is shown" in said
    assert ("Score of routing compared with best per benchmark, after Holm: lower with kNN; no difference shown for "
            "stacked ensemble (") in said
    losses = far.assign(reference="model mean")
    known = routing.conclusion(rivals, gains[1:], label[:0], bits, *given, [losses, far])
    assert "compared with best per benchmark" not in known
    assert ("without correction: lower log-loss than the model mean: none; higher: kNN; lower score of routing than "
            "the best single model: none; higher: kNN. Log-loss minus that of the model mean, in") in known


def test_captions_of_notebook_04_count_what_their_tables_hold():
    within = gained(("kNN", 0.1, 0.01), ("kNN", 0.2, 0.01), ("kNN", -0.1, 0.01), ("kNN", 0.1, 0.2))
    assert routing.within(within.assign(benchmark=["law", "law", "art", "art"])) == (
        "After correction for 4 comparisons (Holm), shown are 2 gains (law) and 1 loss (art).")
    assert routing.within(within[3:].assign(benchmark="art")).endswith("shown are 0 gains and 0 losses.")
    shares = pd.DataFrame({"policy": "kNN", "model": ["a", "b", "c"], "share": [0.75, 0.25, 0]})
    assert routing.spread(shares) == "kNN asks 2 of 3 models, most often a (75%)."
    whole = make_table(np.ones((5, 12)))
    assert routing.judged(whole, whole).startswith("All 5 models answered all 12 questions")
    some = routing.judged(whole, without(whole.at(np.arange(11)), [whole.models.index[2]]))
    assert some.startswith("4 of 5 models are candidates, and 11 of 12 questions")
    assert some.endswith(f"Left out for its missing answers: {whole.models.index[2]}.")
    holes = make_table(np.where(np.eye(5, 12), np.nan, 1))
    assert routing.judged(holes, holes).startswith("Fewer than half of the 5 models answered")
    assert routing.own(["kNN", TUNED]) == TUNED and routing.own(["kNN"]) == FACTORIZATION
    listed = routing.policies(["kNN", "best per benchmark", OURS.name])
    assert listed.count("\n") == 1 and listed.startswith("- **kNN**: the model that this forecaster, explained")
    assert "it has to be told the benchmark" in listed


@pytest.mark.parametrize(("p", "expected"), [(0.01, "more than such worlds explain"),
                                             (0.3, "no more than such worlds explain")])
def test_routing_compares_gains_with_worlds(p, expected):
    table = pd.DataFrame({"forecaster": "kNN", "quantity": ["gain", "told_benchmark"], "observed": [0.02, 0.5],
                          "value": [0.01, 0.25], "p": 0.001, "p_adjusted": [p, 0.5]})
    assert routing.worlds(table) == (f"kNN gains +20.0 thousandths here and +10.0 in worlds without specialization "
                                     f"(p = {str(p)[1:]:0<4}: {expected}); of the benchmark its choices tell 0.50 bits "
                                     "here and 0.25 there.")


def test_specialization_may_be_worth_something_or_harm():
    rows = pd.DataFrame([compared(difference, p, name, other, cells=cells) for difference, p, name, other, cells in (
        (-0.01, 0.01, "all", "twin", 1.0), (0.01, 0.01, "within", "own", 1.0), (0.01, 0.2, "formatted", "twin", 0.9),
        (-0.01, 0.01, "format failures left out", "twin", 1.0))])
    said = routing.special(rows)
    assert "; all minus twin: -10.0 (95 % interval -20.0 to 0.0), better (one of 20.0 would be found); " in said
    assert "; within minus own: +10.0 (95 % interval 0.0 to +20.0), worse (" in said
    assert said.endswith("; no model fails a suite by the form of its answers.")
    assert "; formatted (10.0% of the cells) minus twin: +10.0 (95 % interval 0.0 to +20.0), not shown to " in said


@pytest.mark.parametrize(("low", "high", "expected"), [(-0.01, 0.03, "not shown to change"),
                                                       (0.005, 0.03, "less is earned far away"),
                                                       (-0.03, -0.01, "more is earned far away")])
def test_distance_is_told_with_its_slope(low, high, expected):
    rows = pd.DataFrame([{"forecaster": "kNN", "nearest": -0.03, "farthest": -0.01, "difference": (low + high) / 2,
                          "low": low, "high": high}])
    assert routing.distance(rows, "twin").endswith(f": {expected}.")


def test_information_is_told_with_its_order():
    told = {"difference": -0.2, "low": -0.3, "high": -0.1, "p": 0.01, "benchmark": 0.1, "difficulty": 0.3,
            "entropy": 1.5}
    assert "(99 % interval" in routing.told(told | {"confidence": 0.99})
    said = routing.told(told)
    assert "0.200 bits less (95 % interval -0.300 to -0.100" in said and "not shown" not in said
    assert "which is not shown to differ" in routing.told(told | {"p": 0.2})


def test_a_guard_says_what_is_certified_and_when_nothing_is():
    calibration = pd.DataFrame({"threshold": [0.2, 0.1], "left": [0.1, 0.3], "gain": [0.01, 0.02],
                                "certified": True, "chosen": [False, True]})
    router = SimpleNamespace(calibration=calibration, models=pd.DataFrame(index=["a", "b"]), guard=Guard(1, 0.1))
    said = terms.guard(router)
    assert said.startswith("The guard leaves b on 30% of the questions, where another model leads by 0.100 or more.")
    assert "gained +20.0 thousandths, the most of any certified threshold, so that the figure flatters" in said
    assert "loses no more than 5.0 thousandths" in said
    none = "No gain is certified: the guarded router always asks b; "
    router.calibration = calibration.assign(chosen=False)
    assert terms.guard(router).startswith(f"{none}on the questions that calibrate, no certified threshold gained")
    router.calibration = calibration.assign(chosen=False, certified=False)
    assert terms.guard(router) == (
        f"{none}already the first threshold, which leaves it on 10.0% of the questions, is not certified. With more "
        "questions, or a router that gains more, it could leave.")
    router.calibration = calibration[:0]
    assert terms.guard(router).startswith(f"{none}no other model leads")


def test_a_guarded_gain_is_told_only_where_there_is_one():
    rows = gained(("guarded", 0.01, 0.01), ("unguarded", 0.02, 0.01), ("best per benchmark", 0.03, 0.01))
    assert "guarded +10.0 (95 % interval 0.0 to +20.0), unguarded +20.0" in terms.guarded(rows, 0.25)
    assert terms.guarded(rows, 0.25).endswith("on average and keeps 50% of what is gained without it.")
    rows.loc[1, "low"] = -0.01
    assert terms.guarded(rows, 0.25).endswith("leaves the default model on 25% of the questions on average.")
    rows.loc[0, ["difference", "low", "high", "se"]] = 0.0
    said = terms.guarded(rows, 0.0)
    assert said.startswith("Gain over the best single model, in thousandths: unguarded +20.0 (")
    assert said.endswith(" Guarded, no gain is certified: the default model is never left.")
    assert "no gain" not in terms.guarded(rows, 0.25) and "where others score the same" in terms.guarded(rows, 0.25)
    rows.loc[0, "se"] = 0.01
    assert "thousandths: guarded 0.0 (" in terms.guarded(rows, 0.0)


def test_a_promise_is_told_with_what_its_default_model_lacks():
    kept = pd.DataFrame({"pool": ["0", "1", "boundary"], "questions": [300, 300, 5000],
                         "violated": [0.01, 0.0, 0.035], "regret": [0.001, 0.0042, np.nan]})
    said = terms.promise(kept)
    assert said.startswith("The promise is broken in at most 3.5% of the calibrations (pool boundary, "
                           "5,000 questions), where 5 % are allowed; at the boundary")
    assert "the default model, which is itself truly 1.0 to 4.2 thousandths below the best one" in said


@pytest.mark.parametrize(("p_holm", "expected"), [
    ([0.01, 0.04, 0.06], "allows is shown on a and b, after Holm, 2 of 3 benchmarks; "),
    ([0.01, np.nan, 1.0], "allows is shown on a, after Holm, 1 of 3 benchmarks; "),
    ([0.05, 0.3, 1.0], "allows is shown on none of 3 benchmarks, after Holm; "),
    ([0.05], "allows is shown on none of 1 benchmark, after Holm; ")])
def test_where_the_guard_breaks_is_said_only_where_it_is_shown(p_holm, expected):
    own = pd.DataFrame({"benchmark": list("abc")[: len(p_holm)], "method": "guarded", "difference": -0.02, "se": 0.001,
                        "p_holm": p_holm, "left": 0.1})
    free = own.assign(method="unguarded", difference=-0.03, p_holm=0.001)
    said = terms.broken(pd.concat([own, free]), 0.005)
    assert f"loses more than the 5.0 thousandths that it {expected}" in said
    assert said.endswith("is -20.0 thousandths, unguarded -30.0.")
    assert "; all guards left the default model. Its" in said
    own.loc[0, "left"] = 0
    assert "; 1 guard never left the default model, where" in terms.broken(pd.concat([own, free]), 0.005)
    assert "shown" not in terms.broken(own[:0], 0.005)


@pytest.mark.parametrize(("share", "p", "expected"), [
    (0.4, 0.01, "kNN, the router with the largest area, reaches that score at 40% of that price (point estimate, in "
                "hindsight)."),
    (1.0, 0.01, "area, does not reach that score for less."), (np.nan, 0.2, "does not reach that score for less."),
    (0.4, 0.2, "is +20.0 thousandths, a difference that is not shown.")])
def test_prices_are_compared_with_the_best_priced_model(share, p, expected):
    found = Priced(pd.DataFrame(), gained(("kNN", 0.02, p)), pd.DataFrame({"model": ["a", "b"], "price": [1.0, 2.0],
                                                                            "score": [0.5, 0.6]}),
                   pd.DataFrame({"policy": ["kNN"], "price": [share], "share": [share]}))
    said = terms.price(found)
    assert said.startswith("The best priced model in hindsight, on the judged questions, is b at 2; ")
    assert expected in said
    assert terms.price(Priced(*[found.models[:0]] * 4)) == ""


def test_of_a_saving_the_loss_alone_is_certified():
    path = pd.DataFrame({"price": [0.75, 0.5], "saved": [0.25, 0.5], "gain": [0.01, -0.02],
                         "certified": [True, False], "chosen": [True, False]})
    router = SimpleNamespace(savings=path, best_priced="<llm>", guard=Guard(1, 0.1))
    named = "&lt;llm&gt;, the priced model that did best on the other questions"
    assert terms.saving(router) == (
        "Certified, with 95% confidence: asked with `thrifty=True`, the router loses no more than 5.0 thousandths "
        f"against {named}. On the questions that certify this, means that are not certified themselves: it cost 0.75, "
        "25% less than &lt;llm&gt;, and gained +10.0 thousandths.")
    router.savings = path.assign(chosen=False)
    assert terms.saving(router).endswith(f"is shown to lose next to nothing against {named}.")
    router.best_priced = None
    assert terms.saving(router) == "No saving is certified: no model has a price."


def test_the_basis_of_prices_is_named():
    prices = pd.DataFrame({"price": [1, 2, np.nan], "basis": ["listed", "size class", ""], "source": ["x", "y", ""]},
                          index=["a", "b", "<c>"])
    said = terms.basis(prices)
    assert said.startswith("Prices: 1 of the model's own provider and 1 by size class. &lt;c&gt; has no price and is ")
    assert said.endswith("- x\n- y")
    assert " <c> " not in said and "a and b have no price and are left out" in terms.basis(
        pd.concat([prices[:2].assign(basis=""), prices[1:2]]))
    many = pd.concat([prices[:1], *[prices[2:]] * 12])
    assert "&lt;c&gt; and 2 more have no price" in terms.basis(many)
    sources = price_list()["sources"]
    of = [prices[:2].assign(source=[sources[one]["text"] for one in names])
          for names in (("openai", "together"), ("openai", "openai"))]
    assert [terms.basis(one).split(":")[0] for one in of] == ["Prices, of 2024 to 2025", "Prices, of 2024"]
    assert terms.basis(prices[2:]).startswith("No model of this table has a price or a known size")


def test_an_incomplete_table_names_a_best_model_by_each_rule():
    rows = pd.DataFrame([compared(0.1, 0.01, "router", "mean", rule="mean", model="a_b", asked=0.63, behind=0.2),
                         compared(0.0, 1.0, "router", "mean", rule="mean", model="a_b", asked=0.63, behind=0.2)])
    assert routing.incomplete(rows) == (
        "Which model is the best single one? By mean: a_b, asked 63% of the questions and 200.0 thousandths below the "
        "best in adjusted mean; over it, with stand-ins, the router seems to gain +100.0 (95 % interval +90.0 to "
        "+110.0), where it was asked 0.0 (95 % interval -10.0 to +10.0).")


def test_left_out_and_seen_stand_beside_each_other():
    rows = pd.DataFrame([compared(0.01, 0.1, "kNN", "best single model", benchmark="all", kind="left out"),
                         compared(0.03, 0.1, "kNN", "best single model", benchmark="all", kind="seen"),
                         compared(-0.02, 0.1, "kNN", "best single model", benchmark="all", kind="left out minus seen"),
                         compared(0.9, 0.1, "kNN", "best single model", benchmark="law", kind="seen")])
    assert routing.unseen(rows) == (
        "Score minus that of the best single model, in thousandths: kNN +10.0 left out, +30.0 seen, between them -20.0 "
        "(95 % interval -30.0 to -10.0).")


def test_speed_is_read_from_the_benchmark():
    measured = pd.read_csv(ROOT / "figures" / "bench" / "timing_speed.csv")
    said = latency.speed(measured, 750)
    assert "a secondary source says 750" in said and "microseconds" in said
    assert routing.chance(gained(("random model", -0.3, 0.01))) == "A random choice lies at -300.0."


def of_stages(**more) -> pd.DataFrame:
    """A table of `bench.latency` as it is read from its file, where blank is missing; targets by router."""
    columns = ["stage", "router", "prompts", "batch", "median", "ratio", "target"]
    rows = [("load", "", "", 1, 4000, np.nan, np.nan), ("encode", "", "32 tokens", 1, 5, 2.5, 2),
            ("encode", "", "of mmlu-pro", 1, 35, 1.25, 2), ("encode", "", "32 tokens", 3000, 15e3, 1.1, 2)]
    for router, score, answer in (("kNN", 2, 2.04), (FACTORIZATION, 0.0123, 0.34)):
        rows += [("score", router, "", 1, score, np.nan, np.nan), ("choose", router, "", 1, 0.02, np.nan, np.nan),
                 ("after encoding", router, "", 1, answer, np.nan, {"kNN": 3, FACTORIZATION: 0.1}[router]),
                 ("score", router, "", 3000, 70 * score, np.nan, np.nan),
                 ("after encoding", router, "", 3000, 70 * answer, np.nan, np.nan),
                 ("together", router, "of mmlu-pro", 1, 35 + answer, np.nan, np.nan)]
    table = pd.DataFrame(rows, columns=columns).replace("", np.nan)
    return table.assign(calls=3, p99=table["median"] * 2, **{"encoder": "minilm", **more})


def test_stages_say_medians_and_which_targets_are_missed():
    assert latency.stages(of_stages()) == (
        "Medians: a fresh process takes 4.0 s until its first prompt is a vector. After that one prompt takes 5.0 ms "
        "(32 tokens) and 35 ms (of mmlu-pro); all encoding takes 1.1 to 2.5 times what its matrix products alone "
        "would. Once a prompt is a vector, the answer takes 2.0 ms (kNN) and 0.34 ms (default factorization), of which "
        "scoring all models takes 0.012 to 2.0 ms and choosing one 0.020. 3,000 answers at once: 140 ms (kNN) and 24 "
        "ms (default factorization). Together, from text to answer, one prompt takes 37 ms (kNN) and 35 ms (default "
        "factorization). Targets met: 3 of 5; missed: encode (32 tokens, batch 1) 2.50 times, not 2 and after encoding "
        "(default factorization, batch 1) 0.340 ms, not 0.1.")
    table = of_stages()
    assert latency.stages(table.assign(target=table["target"] * 4)).endswith(". All targets are met.")
    assert "Targets met: 0 of 5; missed: " in latency.stages(table.assign(target=table["target"] / 100))
    assert latency.stages(of_stages(target=np.nan)).endswith(". No target is set.")
    quick = table[table["prompts"] == "of mmlu-pro"].assign(encoder="static-mpnet", median=[0.4, 9, 0.44])
    quick = quick[quick["router"] != "kNN"].assign(target=[np.nan, 1])
    assert latency.stages(pd.concat([of_stages(), quick], ignore_index=True)) == latency.stages(of_stages()).replace(
        "Targets met: 3 of 5", "With the encoder static-mpnet, from text to answer default factorization takes 0.44 ms,"
        " 0.40 of them to encode. Targets met: 4 of 6")


def test_the_claim_about_speed_takes_all_that_follows_encoding():
    assert latency.against_neighbors(of_stages()) == (
        "the prompt being a vector, the answer of the default factorization takes 0.34 ms, that of kNN 2.0 (medians, "
        "by make bench)")


def test_encoders_are_told_by_what_they_earn_beyond_the_label():
    names, own = ["minilm", "features", "benchmark label", "control: random vectors"], "convex embedding"
    rows = pd.DataFrame([compared(value, p, name, "benchmark label", measure=measure, forecaster=own)
                         for measure in ("log_loss", "score")
                         for name, value, p in (("minilm", -0.02, 0.01), ("features", 0.001, 0.9))])
    assert encoders.beyond_label(rows, own) == (
        "Log-loss of the convex embedding compared with the benchmark label, after Holm: lower with minilm; no "
        "difference shown for features (one of 20.0 thousandths would be found in 80 % of tries).")
    inside = pd.DataFrame([compared(-0.02, p, "minilm", "benchmark label", benchmark=name)
                           for name, p in (("law", 0.01), ("art", 0.01), ("math", 0.2))])
    assert encoders.where(inside) == "Of 3 benchmarks, after Holm: minilm 2 better."
    worse = inside.assign(difference=0.02)
    assert encoders.where(worse) == "Of 3 benchmarks, after Holm: minilm 0 better, 2 worse."
    carried = pd.DataFrame({"encoder": [*names, "TF-IDF"], "benchmark": [0.6, 0.5, 1.0, 0.3, 0.7],
                            "difficulty": [0.2, 0.1, 0.0, -0.01, 0.15], "gain": [0.02, 0.01, 0.0, -0.01, 0.015]})
    assert encoders.carry(carried).startswith(
        "Over the 3 encoders that read the text, too few to tell the two apart, what is gained in forecasting has a "
        "rank correlation of +1.00 with the difficulty that a linear reader finds within benchmarks and of +0.50 with")
    equivalent = alike_as(minilm=(0.001, 0.001, 0.9))
    paid = pd.DataFrame({"encoder": ["minilm", "features"], "gain": [0.02, -0.001], "p_holm": [0.01, 0.9],
                         "milliseconds": [30.0, 0.2], "p99": [50.0, 0.3], "prompts_per_second": [90.0, 4e4],
                         "front_one": [True, True], "front_many": [True, True]})
    said = encoders.conclusion(rows, rows, equivalent, inside, carried, paid, None, "mpnet", own)
    assert "**Routing.** Score of routing by the convex embedding compared with the benchmark label, after" in said
    assert "Q6" not in said
    tried = pd.DataFrame([compared(value, p, name, other) for name, other, value, p in (
        ("minilm", "mpnet", 0.002, 0.4), ("minilm-32", "minilm", 0.01, 0.02), ("gemma-mean", "mpnet", 0.01, 0.01),
        ("gemma-last", "mpnet", 0.03, 0.01))])
    said = encoders.conclusion(rows, rows, equivalent, inside, carried, paid, tried, "mpnet", own)
    assert ("**On a sample.** Log-loss, in thousandths of a nat, after Holm: higher with minilm-32 than with minilm "
            "(+10.0), gemma-mean than with mpnet (+10.0) and gemma-last than with mpnet (+30.0); no difference shown "
            "between minilm and mpnet (one of 20.0 thousandths would be found in 80 % of tries).") in said
    assert ("minus mpnet: the best of 2 ways to pool it, gemma-mean, +10.0 (95 % interval 0.0 to +20.0) thousandths, "
            "p = .010 after Holm; 2 of them shown to be worse.") in said
    assert encoders.decoder(tried[:1]) == "No encoder built on a decoder was tried."


def test_other_forms_of_a_network_are_told_with_their_drift():
    measured = pd.DataFrame({"way": ["float32", "int8"], "prompts_per_second": [100.0, 250.0], "ratio": [1.25, 0.5],
                             "lowest_cosine": [1.0, 0.93]})
    assert encoders.forms(measured) == (
        "MiniLM as it is, in float32, takes 1.25 times what its matrix products alone would (measured beside it). In "
        "other forms, compared with those vectors: int8 2.5 times as fast, lowest cosine 0.930.")


def test_an_encoder_is_recommended_by_what_it_keeps():
    paid = pd.DataFrame({"encoder": ["mpnet", "minilm", "TF-IDF", "static", "features"],
                         "gain": [0.02, 0.017, 0.016, 0.011, 0.003], "p_holm": [0.01] * 4 + [0.9],
                         "milliseconds": [200.0, 30.0, 2.0, 0.4, 0.1], "p99": [300.0, 50.0, 3.0, 0.5, 0.2],
                         "prompts_per_second": [9.0, 90.0, 900.0, 5e3, 4e4], "front_one": True, "front_many": True})
    paid = paid.assign(low=paid["gain"] - 0.002, high=paid["gain"] + 0.002)
    scores = pd.DataFrame([compared(value, p, name, "benchmark label") for name, value, p in (
        ("mpnet", 0.01, 0.4), ("minilm", 0.02, 0.01), ("static", -0.01, 0.01), ("features", -0.03, 0.01))])
    assert encoders.recommended(paid, scores) == (
        "- **For the best forecasts:** of those compared on all questions mpnet, +20.0 thousandths beyond the label, "
        "at 9.0 prompts a second.\n"
        "- **On a laptop:** TF-IDF, 900 prompts a second: the cheapest of those that keep 80% of that (80%; its own "
        "gain +16.0 (95 % interval +14.0 to +18.0)).\n"
        "- **In the path of a request:** static, 0.40 ms for one prompt (99 of 100 within 0.50): the cheapest of those "
        "that keep 50% of that (55%; its own gain +11.0 (95 % interval +9.0 to +13.0)). Its router's score minus that "
        "of one which is told the benchmark: -10.0 (95 % interval -20.0 to 0.0) thousandths; with mpnet: +10.0 (95 % "
        "interval 0.0 to +20.0).\n"
        "- **Where a router is told the benchmark:** minilm is shown to score more than the label alone.")
    alone = encoders.recommended(paid[:1], scores.assign(p_holm=0.9))
    assert "9.0 prompts a second: no cheaper one keeps 80% of that." in alone
    assert "; with mpnet" not in alone and "told the benchmark:** none is shown to score" in alone
    assert "take none" in encoders.recommended(paid.assign(p_holm=0.9), scores)
    paid.loc[1, ["front_one", "front_many"]] = False
    paid.loc[3, "front_many"] = False
    assert encoders.cost(paid).startswith(
        "Of those compared on all questions, none earns as much beyond the label, here in thousandths, in less time: "
        "for a single prompt features (0.10 "
        "ms, +3.0); static (0.40 ms, +11.0); TF-IDF (2.0 ms, +16.0) and mpnet (200 ms, +20.0); for many at once "
        "features (40,000 a second, +3.0); TF-IDF (900 a second, +16.0) and mpnet (9.0 a second, +20.0). Point ")


def alike_as(**encoders_) -> pd.DataFrame:
    """Difference, p of equivalence and p of lying beyond the margin."""
    return pd.DataFrame([{"method": name, "difference": d, "low": d - 0.001, "high": d + 0.001, "se": 0.0003,
                          "p_equivalent": p, "p_beyond_holm": beyond, "margin": 0.002, "level": 0.05}
                         for name, (d, p, beyond) in encoders_.items()])


def test_equivalence_is_void_where_a_control_passes():
    rows = alike_as(minilm=(0.001, 0.001, 0.9), TFIDF=(0.01, 0.9, 0.001))
    assert encoders.alike(rows, "mpnet") == (
        "Shown to lie within 2.0 thousandths of mpnet: minilm; shown to lie beyond: TFIDF.")
    void = pd.concat([rows, alike_as(**{"benchmark label": (0.0, 0.001, 0.9)})])
    assert encoders.alike(void, "mpnet") == (
        "No encoder can be called equivalent to mpnet: benchmark label would be as well.")
    assert "nothing is earned" in encoders.alike(rows.assign(margin=0.0), "mpnet")


def pools(**ends: tuple[float, float]) -> pd.DataFrame:
    """Accuracy of a factorization minus vote and log-loss minus kNN; sizes like `m5` to the ends of both intervals."""
    return pd.DataFrame([{"metric": metric, "n_models": int(size[1:]), "method": "tuned factorization",
                          "reference": reference, "difference": sum(bounds) / 2, "low": bounds[0], "high": bounds[1],
                          "p_holm": 0.01 if bounds[0] * bounds[1] > 0 else 0.2}
                         for metric, reference in (("accuracy", "majority vote"), ("log_loss", "kNN"))
                         for size, bounds in ends.items()])


NETWORKS = pd.DataFrame([
    ("log_loss", "16 hidden units, vectors of 8", "default factorization", -0.002, -0.003, -0.001, 0.01, 16, 8, 5_000),
    ("log_loss", "64 hidden units, vectors of 8", "default factorization", -0.004, -0.009, 0.001, 0.2, 64, 8, 20_000),
    ("accuracy", "64 hidden units, vectors of 8", "default factorization", 0.9, 0.8, 1.0, 0.01, 64, 8, 20_000),
    ("log_loss", "two-layer network", "tuned factorization", -0.003, -0.004, -0.002, 0.01, None, None, 30_000),
    ("log_loss", "64 hidden units, vectors of 8", "16 hidden units, vectors of 8", -0.002, -0.006, 0.002, 0.4, 64, 8,
     20_000),
], columns=["metric", "method", "reference", "difference", "low", "high", "p_holm", "hidden", "dim", "per_question"]
).assign(reference_per_question=10_000.0, fits=5)


def test_small_pools_are_counted_by_what_is_shown():
    rows = pools(m9=(0.01, 0.03), m5=(-0.01, 0.03), m20=(-0.03, -0.01))
    assert sensitivity.small_pools(rows) == (
        "The tuned factorization is ahead of the majority vote at 1 of 3 sizes and behind at 1, after Holm; trained "
        "on 5 models its accuracy differs by +10.0 (95 % interval -10.0 to +30.0) thousandths.")
    gains = pd.DataFrame([{"forecaster": name, "n_models": size, "difference": 0.01 * size, "low": 0.0, "high": 0.2,
                           "p_holm": 0.03} for name in ("kNN", "factorization") for size in (4, 8)])
    assert sensitivity.added(gains).endswith("log-loss of kNN by 40.0 and factorization by 40.0 thousandths of a nat.")
    unsure = gains.assign(p_holm=[0.2, 0.2, 0.03, 0.03])
    assert sensitivity.added(unsure).endswith("of factorization by 40.0 thousandths of a nat; for 1 other no gain is "
                                              "shown.")
    assert "not shown to lower" in sensitivity.added(gains.assign(difference=-0.1))


def test_networks_are_counted_after_holm_and_the_lowest_has_its_cost():
    assert sensitivity.sizes(NETWORKS) == (
        "1 of 2 networks is shown to have a lower log-loss than the default factorization; the lowest, with 64 hidden "
        "units, vectors of 8, differs by -4.0 (95 % interval -9.0 to +1.0) thousandths of a nat at 2.0 times the "
        "multiply-adds per question (20,000).")
    assert "than the default factorization in this one fit; the" in sensitivity.sizes(NETWORKS.assign(fits=1))


@pytest.mark.parametrize(("rows", "said"), [
    (pools(m5=(0.01, 0.03), m29=(0.02, 0.03)), "The direction is the same at every size."),
    (pools(m5=(-0.03, -0.01), m9=(-0.01, 0.01), m29=(0.01, 0.03)),
     "The direction turns round with 5 models and cannot be told with 9 models."),
    (pools(m5=(0.01, 0.03), m29=(-0.01, 0.03)), "The direction is shown, unlike with all, with 5 models."),
    (pools(m5=(-0.01, 0.03), m29=(-0.01, 0.03)), "A direction is shown at no size, so that none changes."),
    (pools(m29=(-0.01, 0.03)), "The pool is too small to draw from."),
])
def test_what_changes_in_small_pools_is_a_direction(rows, said):
    assert sensitivity.conclusion(told(small_pools=rows)).count(said) == 2, "of C2 and of kNN"


def told(**changed) -> dict[str, pd.DataFrame]:
    """What notebook 07 concludes from, with some tables changed."""
    cells = pd.DataFrame([{"forecaster": name, "share": share, "metric": "log_loss", "value": value}
                          for share in (0.1, 0.5) for name, value in (("completion", 0.5 + share), ("kNN", 0.7),
                                                                      ("1PL with text", 0.65 + share / 5))])
    flaws = pd.DataFrame({"defect": ["large", "small", "unsure"], "measure": "accuracy",
                          "difference": [-0.1, -0.001, -0.1], "p_holm": [0.01, 0.06, 0.2]})
    gains = pd.DataFrame([{"forecaster": "kNN", "n_models": size, "difference": 0.01 * size, "low": 0.0, "high": 0.2,
                           "p_holm": 0.03} for size in (4, 8)])
    return {"small_pools": pools(m5=(0.01, 0.03), m29=(0.01, 0.03)), "fewer_models": gains, "network_size": NETWORKS,
            "cells_unseen": cells[cells["forecaster"] != "completion"], "cells_seen": cells,
            "official_defects": flaws} | changed


def test_sensitivity_concludes_from_all_its_tables():
    said = sensitivity.conclusion(told())
    assert "pools of 4 models: kNN +40.0 (" in said and "+80.0" not in said
    assert ("From 16 to 64 hidden units (vectors of 8) it changes by -2.0 (95 % interval -6.0 to +2.0), p = .400 after "
            "Holm: more units are not shown to help. The best network is the largest tried") in said
    assert "factorization: -3.0 (95 % interval -4.0 to -2.0), p = .010 after Holm, at 3.0 times the multiply" in said
    assert ("Beside what notebook 03 says of the tuned factorization, two-layer network has a log-loss that differs by "
            "-3.0 (95 % interval -4.0 to -2.0) thousandths of a nat.") in said and "candidates end" not in said
    untuned = sensitivity.conclusion(told(network_size=NETWORKS[NETWORKS["reference"] != "tuned factorization"]))
    assert "notebook 03 says of the default factorization, 16 hidden units, vectors of 8, the best of " in untuned
    none = sensitivity.conclusion(told(network_size=NETWORKS.assign(p_holm=0.2)))
    assert "Of what notebook 03 says of the tuned factorization no network is shown to change anything." in none
    larger = NETWORKS.assign(hidden=NETWORKS["hidden"].replace(64, 256))
    assert "Its candidates end at 64 hidden units; networks of 256 were tried" in sensitivity.conclusion(
        told(network_size=larger))
    assert "1PL with text has the lowest log-loss with 10% of the cells, 0.670, and instead kNN with 50%, 0.700" in said
    assert "with 50% of the cells its log-loss is 1.000 where the text alone gives 0.750" in said
    assert "large (accuracy -100.0)." in said and "small" not in said.split("Defects")[1]
    one_fit = told(network_size=NETWORKS.assign(fits=1))
    assert "with one training each this may be luck" in sensitivity.conclusion(one_fit)
    empty = pd.DataFrame()
    nothing = sensitivity.conclusion(told(fewer_models=empty, cells_seen=empty,
                                          official_defects=told()["official_defects"][:0]))
    assert "too small to draw from" in nothing and "nothing to complete" in nothing and "  none." in nothing
    assert sensitivity.kept(told()["cells_seen"]).startswith("With 50% of the cells kNN has the lowest log-loss, 0.700")


def test_intervals_say_what_they_are_over():
    assert sensitivity.over(1, 4) == "questions and 4 draws of models, given one partition and one seed"
    assert sensitivity.over(5, 1).endswith("5 fits, each with a partition, a seed and 1 draw of models of its own")
    assert sensitivity.own(True) == "tuned factorization" and "not tuned" in sensitivity.tuning(False)


def test_the_specialist_is_the_cell_farthest_from_model_and_benchmark():
    rows, columns = pd.Index(["a", "b", "c"], name="model"), pd.Index(["law", "art", "sums"])
    accuracy = pd.DataFrame(np.add.outer([0.2, 0.3, 0.4], [0.0, 0.1, 0.2]), rows, columns)
    accuracy.loc["b", "sums"] += 0.2
    assert "is b on sums, +0.09" in data_preparation.specialist(accuracy)


@pytest.mark.parametrize("repeated", [True, False])
def test_data_preparation_counts_what_the_table_holds(repeated, rng):
    scores = (rng.random((5, 60)) < np.linspace(0.2, 0.9, 5)[:, None]).astype(float)
    table = make_table(scores, np.repeat(["law", "food"], 30), [f"question {n} of many" for n in range(60)])
    table = replace_unchecked(table, questions=table.questions.assign(part=np.repeat(["train", "val", "test"], 20)))
    panels = pd.DataFrame(
        [("variance", name, "", 0.25) for name in ("model", "question within benchmark", "rest")]
        + [("entropy", name, "", 0.5) for name in ("the overall mean", "the model")]
        + [("models", "<odd>", "weak", 0.1), ("models", "plain", "", 0.5)], columns=["panel", "name", "group", "y"])
    check = "test questions with a near-duplicate in training or validation"
    findings = pd.DataFrame({"check": [check], "value": ["3"]})
    effect = pd.DataFrame({"test_questions": ["all"] * repeated, "metric": "log_loss", "difference": 0.002, "p": 0.04})
    said = data_preparation.conclusion(table, findings, panels, effect, "minilm", 384)
    assert "5 models were scored on 60 questions of 2 benchmarks;\n100.00% of the cells" in said
    assert "&lt;odd&gt; (weak)" in said and "plain" not in said
    assert ("changes by -2.0 thousandths of a nat per cell (p = .040)" in said) == repeated
    assert "20 questions are set aside" in said and "vectors of 384 numbers" in said
    assert data_preparation.variance(panels).startswith("25% of the variance of a score lies in the single answer")
    assert data_preparation.lengths(pd.Series([4, 4, 300])) == ("Half of the prompts have at least 4 words, 33.3% have "
                                                                "more than 200.")


@pytest.mark.parametrize(("finding", "expected"), [
    ("strong", "&lt;null&gt; (mean 0.80, correlation 0.20) follows the difficulty"), ("constant", "&lt;null&gt;"),
    ("", None), ("middling", None)])
def test_the_highest_means_are_doubted_where_the_audit_flags_them(finding, expected):
    fit = pd.DataFrame({"mean": [0.8, 0.7, 0.6, 0.1], "correlation": [0.2, 0.6, 0.6, 0.1],
                        "finding": [finding, "", "", "weak"]}, index=["<null>", "a", "b", "far below"])
    said = data_preparation.doubts(fit)
    assert expected in said if expected else said == ""
    assert "far below" not in said


def test_no_conclusion_gives_a_verdict():
    """They have one place, where the rules are followed."""
    words = {*claims.ON_THE_PAPERS_DATA, *claims.ELSEWHERE} - {"not testable here", "inconclusive"}
    files = sorted(set((ROOT / "src" / "embedllm" / "conclusions").glob("*.py")) - {Path(verdicts.__file__)})
    assert len(files) > 7
    assert not [(path.name, word) for path in files for word in words if word in path.read_text()]


def test_the_confirmation_says_its_verdict_or_where_it_is_judged():
    claim = claims.all_claims()["S1"]
    assert "runs on open-llm-leaderboard and metabench, not by this run" in verdicts.confirmed({}, claim)
    found = {"S1": {"ours": -0.0012, "low": -0.002, "high": -0.0004, "verdict": "holds here", "reason": "against kNN"}}
    said = verdicts.confirmed(found, claim)
    rows = pd.DataFrame({"suite": ["all", "x", "x", "y", "z"], "reference": ["a", "a", "b", "b", "c"],
                         "difference": [-0.1, 0.01, -0.2, 0.001, -0.3], "low": [-0.2, 0.005, -0.3, -0.01, -0.4],
                         "high": [-0.05, 0.02, -0.1, 0.02, -0.2]})
    assert verdicts.confirmed(found, claim, rows).endswith(
        " Within suites, which is exploratory, the ensemble is behind a in x by 10.0 thousandths and not shown to "
        "differ from b in y.")
    assert said.startswith("**Verdict: holds here.** Against kNN: -1.2 (97.5 % interval -2.0 to -0.4) thousandths")


@pytest.mark.parametrize("n_fits", [1, 5])
def test_forecasting_tells_the_published_settings_apart_where_they_were_fitted(n_fits):
    names = [TUNED, "majority vote", "kNN", "model mean", OURS.name, "benchmark mean"]
    names += ["published factorization"] * (n_fits > 1)
    scores = pd.DataFrame({"forecaster": names, "metric": "accuracy", "value": 0.6, "low": 0.5, "high": 0.7})
    rest = [name for name in names if name != TUNED]
    pairs = pd.DataFrame({"method": rest, "reference": TUNED, "difference": 0.001, "low": 0.0005, "high": 0.002,
                          "se": 0.001, "p_holm": 0.01, "mde": 0.002})
    curve = pd.DataFrame([{"metric": "accuracy", "method": name, "labels": labels, "difference": 0.002, "low": low,
                           "high_all": 0.003} for name in names for labels, low in ((1000, -0.001), (2000, 0.001))])
    against = pd.DataFrame({"forecaster": rest, "difference": 0.0, "low90": -0.001, "high90": 0.001, "p_worse": 0.01})
    shares = pd.DataFrame({"component": ["model", "question within benchmark", "rest"], "share": [0.1, 0.3, 0.6]})
    said = " ".join(forecasting.conclusion(shares, {
        "cross_fitted": scores, "learning_curve": curve, "paired_differences": pairs, "non_inferiority": against,
    }, pd.DataFrame(), 0.002, TUNED).split())
    published = "With the paper's settings: Of 2 sizes the published factorization is shown ahead at 1, against"
    assert (published in said) == ("published factorization 0.600 (0.500 to 0.700)" in said) == (n_fits > 1)
    assert ("the published factorization has a higher log-loss than the tuned" in said) == (n_fits > 1)
    assert "In log-loss over all questions: the kNN has a higher log-loss" in said
