"""What the notebooks conclude: no more than the tests behind it."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_table

from embedllm import conclusions
from embedllm.catalog import OURS
from embedllm.files import ROOT
from embedllm.outcomes import replace_unchecked


@pytest.mark.parametrize(("differences", "p", "expected"), [
    ([-0.1, -0.1], [0.01, 0.01], "reproduced, the factorization is ahead of kNN at every size"),
    ([-0.1, -0.1], [0.01, 0.9], "reproduced in part, of 2 sizes the factorization is ahead of kNN at 1"),
    ([-0.1, 0.1], [0.01, 0.01], "not reproduced, of 2 sizes the factorization is ahead of kNN at 1 and kNN ahead at 1"),
    ([0.1, -0.1], [0.9, 0.9], "no difference is shown at any size (the tests find differences from 0.020 on)"),
])
def test_the_verdict_on_neighbors_follows_signs_and_tests(differences, p, expected):
    by_size = pd.DataFrame({"difference": differences, "p_holm": p, "mde": [0.02, 0.03]})  # kNN minus factorization
    assert conclusions._against_neighbors(by_size).startswith(expected)


def test_no_worse_than_the_best_needs_every_rung():
    against = pd.DataFrame({"forecaster": ["kNN", "boosted trees"], "difference": [-0.01, 0.0],
                            "low90": [-0.02, -0.003],
                            "high90": [-0.001, 0.003], "p_worse": [0.001, 0.2]})
    assert "is not shown to be within the margin of boosted trees (" in conclusions._best(against, 0.002)
    assert "is no worse than any other forecaster" in conclusions._best(against[:1], 0.002)


@pytest.mark.parametrize(("share", "expected"), [(0.6, "50% was aimed at: met"), (-0.2, "50% was aimed at: not met")])
def test_the_target_is_judged_where_the_truth_is_known(share, expected):
    excess = pd.DataFrame({"forecaster": OURS.name, "quantity": ["recovered", "estimation", "unread text"],
                           "value": [share, 0.02, 0.08], "low": share - 0.1, "high": share + 0.1})
    assert expected in conclusions._recovered(excess)
    assert conclusions._recovered(pd.DataFrame()) == ""


def compared(difference: float, p: float, method: str = "kNN", reference: str = "factorization", **more) -> dict:
    return {"method": method, "reference": reference, "difference": difference, "low": difference - 0.01,
            "high": difference + 0.01, "se": 0.005, "p_holm": p, "mde": 0.02, **more}


def test_training_names_the_lowest_epoch_and_length():
    history = pd.DataFrame({"epoch": [1, 2, 3], "val": [0.7, 0.6, 0.65]})
    curve = pd.DataFrame({"part": ["validation"] * 3, "dim": [2, 8, 32], "value": [0.63, 0.60, 0.61]})
    shorter = pd.DataFrame({"dim": [8, 2], "as_good": [True, False]})
    told = conclusions.training(history, curve, shorter, 0.002, 12)
    assert "0.6000, is reached in epoch 2 of 3" in told
    assert "lowest with 8 numbers per model" in told
    assert "Down to 8 numbers per model" in told
    assert "No shorter length is shown" in conclusions.training(history, curve, shorter[1:], 0.002, 12)


def test_speed_says_what_the_committed_tables_hold():
    names = ("machine", "reached", "exponents", "warm_starts", "encoders", "cost")
    tables = {name: pd.read_csv(ROOT / "figures" / "bench" / f"timing_{name}.csv") for name in names}
    told = conclusions.speed(tables)
    for row in tables["reached"].dropna().itertuples():
        assert f"{row.solver} in {row.seconds:.1f} s" in told
    assert f"Of {len(tables['reached'])} ways to train" in told
    assert "nan" not in told


@pytest.mark.parametrize(("p", "null", "expected"), [
    (0.01, 0.8, "luck alone does not explain the oracle"), (0.4, 0.8, "luck alone explains the oracle"),
    (0.01, 0.995, "so high that the comparison says nothing"),
])
def test_routing_compares_the_oracle_with_luck(p, null, expected):
    luck = pd.DataFrame({"pool": ["observed", "drawn"], "value": [0.9, null], "low": [0.9, null - 0.01],
                         "high": [0.9, null + 0.01], "p": [p, np.nan]})
    reached = {name: np.array([0.5, 1.0]) for name in ("best single model", "random model")}
    choices = {"factorization": np.array([0, 1]), "kNN": np.array([1, 1])}
    single = pd.DataFrame([compared(0.1, 0.01, name, "best single model") for name in
                           ("factorization", "kNN", "best per benchmark")])
    own = pd.DataFrame([compared(-0.1, 0.9, name) for name in ("kNN", "random model")])
    tests = {"best single model": single, "factorization": own}
    told = conclusions.routing("llm", reached, choices, tests, luck)
    assert expected in told
    assert "is llm; asked always, it scores\n0.750" in told
    assert "over 2 models, kNN over 1" in told
    assert told.count("has a higher score than best single model") == 3
    assert told.count("No difference in score is shown") == 2


def test_probing_says_whether_distances_outlast_the_initialization():
    predictions = pd.DataFrame({"predictors": ["model vectors"], "benchmark": "law", "r2_cv": np.nan,
                                "note": "not testable: few models"})
    by_size = pd.DataFrame({"distance": ["raw"], "community": "7B"})
    for raw, expected in ((0.2, "what they show is the initialization"), (0.9, "they carry more than")):
        agreement = pd.DataFrame({"distance": ["identified", "raw"], "rank_correlation": [0.95, raw]})
        told = conclusions.probing(predictions, by_size, agreement, np.nan)
        assert expected in told
        assert "Not testable on this table (not testable: few models)" in told
        assert "Too few models" in told
    assert "trustworthiness of 0.91" in conclusions.probing(predictions, by_size, agreement, 0.91)


@pytest.mark.parametrize(("p", "expected"), [(0.01, "earns 0.020 of accuracy"), (0.2, "is not shown here")])
def test_encoders_are_judged_against_vectors_that_know_nothing(p, expected):
    tests = pd.DataFrame([compared(-0.02, p, "random", "minilm", equivalent=False),
                          compared(0.001, 0.9, "mpnet", "minilm", equivalent=True)])
    told = conclusions.encoders(tests, "minilm", 0.01)
    assert expected in told
    assert "within 0.01 of accuracy: mpnet." in told
    assert "not shown here" in conclusions.encoders(tests[1:], "minilm", 0.01)


def test_sensitivity_names_the_smallest_pools_the_largest_share_and_what_passes_both_bars():
    gains = pd.DataFrame([{"forecaster": name, "n_models": size, "difference": 0.01 * size, "low": 0.0, "high": 0.2,
                           "p_holm": 0.03} for name in ("kNN", "factorization") for size in (4, 8)])
    completed = pd.DataFrame([{"forecaster": name, "share": share, "metric": "log_loss", "value": value}
                              for share in (0.1, 0.5) for name, value in (("completion", 0.5 + share),
                                                                          ("1PL with text", 0.6 + share))])
    flaws = pd.DataFrame({"defect": ["large", "small", "unsure"], "measure": "accuracy",
                          "difference": [-0.1, -0.001, -0.1], "seed_sd": 0.01, "p_holm": [0.01, 0.01, 0.2]})
    told = conclusions.sensitivity(gains, completed, flaws, 4)
    assert "kNN +0.0400 (" in told and "+0.0800" not in told
    assert "with 50% of them" in told and "1.0000 where the text alone gives 1.1000" in told
    assert "large (accuracy -0.1000)." in told and "small" not in told.split("Defects")[1]
    nothing = conclusions.sensitivity(gains[:0], completed[:0], flaws[:0], 4)
    assert "too small to draw from" in nothing and "nothing to complete" in nothing and "  none." in nothing


@pytest.mark.parametrize("twins", [True, False])
def test_data_preparation_counts_what_the_table_holds(twins, rng):
    scores = (rng.random((5, 60)) < np.linspace(0.2, 0.9, 5)[:, None]).astype(float)
    table = make_table(scores, np.repeat(["law", "food"], 30), [f"question {n} of many" for n in range(60)])
    table = replace_unchecked(table, questions=table.questions.assign(part=np.repeat(["train", "val", "test"], 20)))
    panels = pd.DataFrame(
        [("variance", name, "", 0.25) for name in ("model", "question within benchmark", "rest")]
        + [("entropy", name, "", 0.5) for name in ("the overall mean", "the model")]
        + [("models", "odd one", "weak", 0.1), ("models", "plain", "", 0.5)], columns=["panel", "name", "group", "y"])
    findings = pd.DataFrame({"check": ["test questions with a twin in training or validation"], "value": ["3"]})
    effect = pd.DataFrame({"test_questions": ["all"] * twins, "metric": "log_loss", "difference": 0.002, "p": 0.04})
    told = conclusions.data_preparation(table, findings, panels, effect, "minilm", 384)
    assert "5 models were scored on 60 questions of 2 benchmarks;\n100.00% of the cells" in told
    assert "odd one (weak)" in told and "plain" not in told
    assert ("changes by -0.002 nats per cell (p = 0.04)" in told) == twins
    assert "20 questions are set aside" in told and "384-dimensional minilm vectors" in told
