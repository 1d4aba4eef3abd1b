"""What notebook 03 says: no more than the tests behind it."""

import numpy as np
import pandas as pd
import pytest

from embedllm import conclusions
from embedllm.catalog import OURS
from embedllm.evaluation.inference import compare, holm
from embedllm.splits import Design


def test_worlds_are_counted_on_the_side_of_a_gain():
    worlds = pd.DataFrame({
        "forecaster": ["kNN"] * 5 + ["factorization"] * 5, "world": [0, 1, 2, 3, 4] * 2,
        "difference": [-0.3, -0.4, -0.2, 0.0, 0.1, 0.05, 0.1, 0.2, 0.3, 0.4],
    })
    found = conclusions.beyond_worlds(worlds).set_index(["pool", "forecaster"])
    assert found.loc[("observed", "kNN"), "p"] == pytest.approx(2 / 5)  # one of four gains as much
    assert found.loc[("observed", "factorization"), "p"] == pytest.approx(1 / 5)
    drawn = found.loc[("drawn without specialization", "kNN")]
    assert (drawn["value"], drawn["low"], drawn["high"]) == pytest.approx((-0.125, -0.4, 0.1))


def test_each_step_is_compared_with_the_one_before(rng):
    base, design = rng.random(300), Design(np.zeros(300))
    values = {"a": base, "b": base - 0.1 + 0.01 * rng.standard_normal(300), "c": base + 0.2}
    steps = conclusions.stepwise(values, design)
    assert list(steps["method"]) == ["b", "c"] and list(steps["reference"]) == ["a", "b"]
    np.testing.assert_allclose(steps["difference"], [-0.1, 0.3], atol=0.005)
    alone = compare({name: values[name] for name in "ab"}, "a", design)
    assert steps["p"].iloc[0] == alone["p"].iloc[0]
    np.testing.assert_array_equal(steps["p_holm"], holm(steps["p"]))


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
