"""Small planted pools through the study: every check answers, what is true is told, pools too small are left out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from embedllm import catalog
from embedllm.conclusions import method_checks as said
from embedllm.experiments import end_to_end, pool_checks, small_pools
from embedllm.forecasters.registry import cross_fit, rounds


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(small_pools, "N_QUESTIONS", 240)
    monkeypatch.setattr(small_pools, "N_FRESH", 400)
    for name, value in (("N_FITS", 2), ("N_WORLDS", 2), ("N_ORACLES", 2), ("N_DROPS", 1), ("N_PERMUTATIONS", 19)):
        monkeypatch.setattr(pool_checks, name, value)
    monkeypatch.setattr(end_to_end, "CHUNK", 2)


@pytest.mark.parametrize("mode", end_to_end.MODES, ids=lambda mode: mode.lacks)
def test_every_check_of_a_mode_answers(mode):
    [row] = end_to_end.repeated(mode.ask, mode.n_models, mode.settings, False, [3]).to_dict("records")
    assert list(row) == [check.name for check in mode.checks]
    values = np.array([value for value in row.values() if not np.isnan(value)])
    assert ((values >= 0) & (values <= 1)).all()
    assert all(row[check.name] in (0, 1) for check in mode.checks if check.covers)


def test_a_pool_is_what_it_is_said_to_be():
    one = small_pools.pool(2, 16, {"kappa": 0})
    assert one.table.shape == (16, 240) and one.vectors.shape == (240, small_pools.WIDTH) and not one.table.references
    assert one.truth.shape == (16, 400) and one.true_mean(np.ones(400)) == pytest.approx(1)
    own = one.table.questions["benchmark"].value_counts(normalize=True)
    weighed = pd.Series(one.weights).groupby(one.benchmarks).sum()
    np.testing.assert_allclose(weighed, own[weighed.index] / own[weighed.index].sum())
    scores = one.table.scores.mean(axis=1)
    assert np.corrcoef(scores, one.truth.mean(axis=1))[0, 1] > 0.9


def test_a_crossing_is_that_of_the_study_and_tells_of_fresh_questions():
    one, entries, plan = small_pools.pool(1, 12, {}), [catalog.MODEL_MEAN, catalog.KNN], rounds(2, 5, {"seed": 0})
    found, told = small_pools.cross_fit_with_fresh(one, entries, plan)
    own = cross_fit(one.table, one.vectors, entries, small_pools.N_FOLDS, plan)
    for first, second in zip(found, own, strict=True):
        np.testing.assert_array_equal(first["raw"]["kNN"], second["raw"]["kNN"])
    assert [len(by_fold) for by_fold in told] == [small_pools.N_FOLDS] * 2
    mean = told[0][1]["model mean"]
    assert mean.shape == (12, 400) and (mean == mean[:, :1]).all()
    assert told[0][1]["kNN"].std(axis=1).min() > 0


def test_repetitions_come_together_without_pools_too_small_to_ask(monkeypatch):
    def ask(one, seed, planted):
        return {"neighbors of one kind": np.nan if seed % 2 else 0.5, "size from vectors": float(planted)}

    whole = {mode.lacks: mode for mode in end_to_end.MODES}["size and kind"]
    few = tuple(check for check in whole.checks if check.name in ("neighbors of one kind", "size from vectors"))
    monkeypatch.setattr(end_to_end, "MODES", (end_to_end.Mode("size", {}, ask, few, 8),))
    monkeypatch.setattr(end_to_end, "CHECKS", few)
    monkeypatch.setattr(end_to_end, "BOUNDS", replace(end_to_end.BOUNDS, enough=8))
    def here(calls):  # workers would not know this mode
        return [call() for call in calls]

    found = end_to_end.run(8, 0, here)
    assert {key: len(values) for key, values in found.items()} == {
        ("neighbors of one kind", False): 4, ("size from vectors", False): 8, ("neighbors of one kind", True): 1,
        ("size from vectors", True): 2}
    rates = end_to_end.kept(8, 0, here)["rates"].set_index("check")
    assert rates.loc["size from vectors", "rate"] == 1 and not rates["passes"].any() and (rates["tries"] == 2).all()
    assert "**End to end.** With up to 16 repetitions 0 of 2 checks pass" in said.conclusion(
        rates.reset_index(), rates.reset_index())
