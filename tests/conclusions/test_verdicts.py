"""Each rule of `claims.toml`, on tables made so that every outcome occurs."""

import numpy as np
import pandas as pd
import pytest

from embedllm import claims
from embedllm.catalog import AS_PUBLISHED, BENCHMARK_MEAN, FACTORIZATION, TUNED, VOTE
from embedllm.claims import all_claims
from embedllm.conclusions import encoders, routing_claims, verdicts

KNOWN = all_claims()


def base(low: float, high: float, value: float = 0.7, spread: float = 0.004) -> dict:
    own = {"accuracy_value": value, "accuracy_low": value - spread, "accuracy_high": value + spread}
    return {"difference": (low + high) / 2, "low": low, "high": high, "p": 0.01} | own


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0.01, 0.03, "holds here"), (0.001, 0.003, "holds here"), (-0.02, -0.01, "opposite here"),
    (-0.001, 0.004, "does not hold here"), (-0.001, 0.02, "inconclusive")])
def test_c1_elsewhere_is_a_gain_over_the_benchmark_means(low, high, expected):
    found = verdicts.accuracy(base(low, high), KNOWN["C1"], False)
    assert found["verdict"] == expected and found["ours"] == pytest.approx((low + high) / 2)
    base_rate = f"{0.7 - (low + high) / 2:.3f} by the benchmark means"
    assert found["reason"].startswith(f"accuracy 0.700 on vectors of MiniLM, {base_rate}")


@pytest.mark.parametrize(("value", "spread", "expected"), [
    (0.742, 0.004, "reproduced"), (0.72, 0.004, "not reproduced"), (0.76, 0.004, "not reproduced"),
    (0.749, 0.004, "inconclusive"), (0.74, 0.02, "inconclusive")])
def test_c1_on_the_papers_data_is_its_figure(value, spread, expected):
    found = verdicts.accuracy(base(0.01, 0.03, value, spread), KNOWN["C1"], True)
    assert (found["verdict"], found["ours"]) == (expected, value)


def sizes(*rows) -> pd.DataFrame:
    """(low, high, low_all, high_all) at each size; other methods and metrics are not asked."""
    own = pd.DataFrame(rows, columns=["low", "high", "low_all", "high_all"])
    own = own.assign(metric="accuracy", method=TUNED.name, labels=[100 * 2**n for n in range(len(rows))], p=0.01,
                     difference=(own["low"] + own["high"]) / 2)
    return pd.concat([own, own.assign(method="kNN", low=-1, high=-0.9, low_all=-1, high_all=-0.9),
                      own.assign(metric="log_loss", low=-1, high=-0.9, low_all=-1, high_all=-0.9)])


AHEAD, LEVEL, BEHIND = (0.01, 0.03, 0.005, 0.04), (-0.004, 0.003, -0.006, 0.0045), (-0.03, -0.01, -0.04, -0.005)


@pytest.mark.parametrize(("rows", "expected", "at", "ahead"), [
    ((AHEAD, AHEAD), "holds here", 100, 2), ((AHEAD, BEHIND), "opposite here", 200, 1),
    ((AHEAD, (-0.03, -0.01, -0.04, 0.006)), "inconclusive", 200, 1), ((LEVEL, AHEAD), "does not hold here", 100, 1),
    (((-0.01, 0.03, -0.02, 0.04), AHEAD), "inconclusive", 100, 1)])
def test_c2_is_about_every_size(rows, expected, at, ahead):
    """The bounds that decide are told: those of one size where all must hold, of all sizes where one is enough."""
    found = verdicts.every_size(sizes(*rows), KNOWN["C2"], False)
    assert found["verdict"] == expected
    assert found["reason"].startswith(f"at {at} labels, ") and VOTE.name in found["reason"]
    assert f"at {ahead} of 2 sizes" in found["reason"]
    decided = 2 * (expected in ("opposite here", "does not hold here"))
    assert (found["low"], found["high"]) == rows[at // 200][decided : decided + 2]
    p = {"opposite here": 0.02, "does not hold here": np.nan}  # nothing was tested at the margin
    np.testing.assert_equal(found["p"], p.get(expected, 0.01))
    replicated = {"holds here": "reproduced", "inconclusive": "inconclusive"}.get(expected, "not reproduced")
    assert verdicts.every_size(sizes(*rows), KNOWN["C2"], True)["verdict"] == replicated


def lengths(best: int, difference: float, as_good: bool, se: float = 0.0001, low: float = -1) -> pd.DataFrame:
    """Of the factorization: the best length, 232, and 8, the longest compact one with 40 models."""
    rows = {dim: {"difference": difference if dim == 8 else 0.02, "low": low, "high": 1.0, "se": se, "p_worse": 0.5,
                  "as_good": as_good if dim == 8 else dim == best} for dim in (2, 8, 64, 232)}
    table = pd.DataFrame(rows).T.rename_axis("dim").reset_index().astype({"dim": int})
    return table.assign(forecaster=FACTORIZATION.name, best=best)


@pytest.mark.parametrize(("table", "margin", "expected"), [
    (lengths(64, 0.0001, True), 0.001, "holds here"), (lengths(8, 0.0, True, low=-0.0005), 0.001, "holds here"),
    (lengths(8, 0.0, True, low=-0.002), 0.001, "inconclusive"),
    (lengths(64, 0.0001, False, se=0.0005), 0.001, "not testable here"),
    (lengths(64, 0.004, False, low=0.003), 0.001, "does not hold here"),
    (lengths(64, 0.0009, False, low=0.0005), 0.001, "inconclusive")])
def test_c12_is_about_a_quarter_of_the_models(table, margin, expected):
    found = verdicts.compact(table, 40, margin)
    assert found["verdict"] == expected
    assert found["ours"] == (0.02 if table["best"].iloc[0] == 8 else table.set_index("dim")["difference"][8])


def test_c12_needs_lengths_on_both_sides_and_a_margin_that_tells_something():
    table = lengths(64, 0.0001, True)
    assert verdicts.compact(table, 1000, 0.001)["verdict"] == "not testable here", "every length tried is compact"
    assert verdicts.compact(table, 7, 0.001)["verdict"] == "not testable here", "none is"
    means = table[:1].assign(forecaster=BENCHMARK_MEAN.name, dim=0, as_good=True)
    assert "benchmark means for as good" in verdicts.compact(pd.concat([table, means]), 40, 0.001)["reason"]
    assert "earns nothing" in verdicts.compact(lengths(8, 0.0, True), 40, 0.0)["reason"], "whatever else is found"
    told = verdicts.compact(pd.concat([table, means.assign(as_good=False)]), 40, 0.001)
    assert told == verdicts.compact(table, 40, 0.001)


@pytest.mark.parametrize(("low", "high", "expected"), [
    (-0.02, -0.01, "holds here"), (0.01, 0.02, "opposite here"), (-0.01, 0.01, "inconclusive")])
def test_c13_is_superiority_over_random_vectors(low, high, expected):
    row = pd.DataFrame({"method": [TUNED.name], "reference": "control", "difference": 0.0, "low": low, "high": high,
                        "p": 0.1})
    deep = dict.fromkeys(("over_base", "cross_fitted", "learning_curve")) | {"graded_labels": row}
    found = verdicts.of_forecasting(deep, KNOWN, False)
    assert found["C13"]["verdict"] == expected and "minus control" in found["C13"]["reason"]
    assert found["C1"] == found["C2"] == verdicts.waits() and found["Q10"]["verdict"] == "answered"


@pytest.mark.parametrize("on_the_papers_data", [False, True])
def test_every_verdict_is_one_that_its_data_can_give(on_the_papers_data):
    """On every source that a claim of notebook 03 is judged on, or the notebook would stop at its end."""
    source = "embedllm" if on_the_papers_data else "mmlu-pro"
    for rows in ((AHEAD, AHEAD), (AHEAD, BEHIND), (LEVEL, AHEAD), (LEVEL, LEVEL)):
        deep = {"over_base": pd.DataFrame([base(0.01, 0.03)]), "learning_curve": sizes(*rows), "graded_labels": None,
                "cross_fitted": pd.DataFrame({"metric": ["accuracy"], "forecaster": AS_PUBLISHED.name, "value": 0.7})}
        found = verdicts.of_forecasting(deep, KNOWN, on_the_papers_data)
        table = claims.verdicts("03_correctness_forecasting", source, source, found, True).set_index("id")
        assert table.loc["C2", "verdict"] == found["C2"]["verdict"]
        assert found["C1"]["reason"].endswith("; with the published settings 0.700")
        both = pd.concat([sizes(*rows), sizes(AHEAD, BEHIND).assign(
            method=sizes(AHEAD, BEHIND)["method"].replace(TUNED.name, AS_PUBLISHED.name))])
        told = verdicts.every_size(both, KNOWN["C2"], on_the_papers_data)["reason"]
        assert told.endswith("with the published settings ahead at 1, behind at 1")


def rivals(*rows) -> pd.DataFrame:
    """(low, high, low_all, high_all) against each rival."""
    own = pd.DataFrame(rows, columns=["low", "high", "low_all", "high_all"])
    return own.assign(method=TUNED.name, reference=["random model", "best single model", "kNN"][: len(own)], p=0.01,
                      p_margin=0.002, difference=(own["low"] + own["high"]) / 2)


@pytest.mark.parametrize(("rows", "expected", "rival"), [
    ((AHEAD, AHEAD, AHEAD), "holds here", "random model"),
    ((AHEAD, BEHIND, AHEAD), "opposite here", "best single model"),
    ((AHEAD, AHEAD, LEVEL), "does not hold here", "kNN"),
    ((AHEAD, AHEAD, (-0.01, 0.03, -0.02, 0.04)), "inconclusive", "kNN")])
def test_c4_is_about_every_rival(rows, expected, rival):
    found = routing_claims.beats_all(rivals(*rows), KNOWN["C4"])
    assert found["verdict"] == expected and f"minus that of the {rival}," in found["reason"]
    decided = 2 * (expected in ("opposite here", "does not hold here"))
    at = ["random model", "best single model", "kNN"].index(rival)
    assert (found["low"], found["high"]) == rows[at][decided : decided + 2]
    p = {"opposite here": 0.03, "does not hold here": 0.012}  # of no difference, of a gain of the margin; three rivals
    assert found["p"] == pytest.approx(p.get(expected, 0.01))
    assert ("p is that of a gain of the margin" in found["reason"]) == (expected == "does not hold here")


@pytest.mark.parametrize(("low", "high", "p", "expected"), [
    (0.1, 0.3, 0.0025, "holds here"), (0.1, 0.3, 0.02, "inconclusive"), (-0.1, 0.3, 0.0025, "inconclusive"),
    (-0.3, -0.1, 0.0025, "opposite here")])
def test_c10_needs_domain_and_diversity(low, high, p, expected):
    told = {"difference": (low + high) / 2, "low": low, "high": high, "p": 0.001}
    worlds = pd.DataFrame({"forecaster": FACTORIZATION.name,
                           "quantity": ["gain", "entropy", "told_benchmark", "told_difficulty"],
                           "observed": [0.1, 2.0, 0.5, 0.1], "value": [0.0, 1.0, 0.3, 0.2], "p": [0.9, p, 1, 1]})
    found = routing_claims.of_the_domain(told, worlds, KNOWN["C10"])
    assert "and +0.400 bits more of the benchmark, +0.100 without specialization" in found["reason"]
    assert found["verdict"] == expected and "choices of 2.00 bits, 1.00 without" in found["reason"]


def test_routing_waits_for_several_fits_and_knows_the_papers_data():
    nothing = dict.fromkeys(("against_rivals", "told", "worlds", "specialization", "unseen_gains_benchmark"))
    assert {one["verdict"] for one in routing_claims.rows(nothing, KNOWN, False, "fast").values()} == {""}
    some = nothing | {"against_rivals": rivals(AHEAD, AHEAD, AHEAD), "unseen_gains_benchmark": pd.DataFrame()}
    found = routing_claims.rows(some, KNOWN, True, "fast")
    assert (found["C4"]["verdict"], found["Q5"]["verdict"]) == ("reproduced", claims.ANSWERED)
    assert routing_claims.rows(some, KNOWN, False, "fast")["C4"]["verdict"] == "holds here"
    assert found["C4"]["reason"].endswith("; fast")


@pytest.mark.parametrize(("change", "margin", "expected"), [
    ({}, 0.002, "holds here"), ({}, 0.0, "not testable here"),
    ({"TF-IDF": {"p_beyond_holm": 0.001, "p_equivalent": 0.9}}, 0.002, "does not hold here"),
    ({"minilm": {"p_equivalent": 0.2}}, 0.002, "inconclusive"),
    ({"minilm": {"p_equivalent": 0.2, "se": 0.001}}, 0.002, "not testable here"),
    ({"benchmark label": {"p_equivalent": 0.001}}, 0.002, "not testable here")])
def test_c3_needs_every_encoder_within_the_margin_and_no_control(change, margin, expected):
    names = [*KNOWN["C3"].values["compared"], "benchmark label", "control: random vectors"]
    rows = pd.DataFrame({"difference": 0.0005, "low": 0.0, "high": 0.001, "se": 0.0003, "p_equivalent": 0.001,
                         "p_beyond_holm": 1.0}, index=pd.Index(names, name="method"))
    rows.loc[names[3:], "p_equivalent"] = 1.0
    for name, values in change.items():
        for column, value in values.items():
            rows.loc[name, column] = value
    assert encoders.verdict(rows.reset_index().assign(margin=margin), KNOWN["C3"])["verdict"] == expected
    few = encoders.verdict(rows.drop(index="static-mpnet").reset_index().assign(margin=margin), KNOWN["C3"])
    assert few["verdict"] == "not testable here" and "static-mpnet" in few["reason"]


def test_q6_is_answered_where_a_decoder_was_tried():
    claim, tried = KNOWN["C3"], pd.DataFrame({"method": ["minilm", "gemma-last"]})
    none = encoders.rows({"equivalence": None, "levels": None, "explored": None}, claim)
    assert none == dict.fromkeys(("C3", "Q6"), verdicts.waits())
    assert encoders.rows({"equivalence": None, "levels": None, "explored": tried[:1]}, claim)["Q6"] == verdicts.waits()
    found = encoders.rows({"equivalence": None, "levels": None, "explored": tried}, claim)["Q6"]
    assert (found["verdict"], found["figure"]) == ("answered", "06_deep_explored")
