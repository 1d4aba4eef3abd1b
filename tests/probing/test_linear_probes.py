"""What a linear map reads off, and Mantel's test: planted is found, noise is not, lineages stay whole."""

import numpy as np
import pytest
from scipy.stats import binom, spearmanr
from sklearn.linear_model import Ridge

from embedllm.probing import linear_probes
from embedllm.probing.folds import lineage_folds
from embedllm.probing.mantel import mantel


def test_planted_targets_are_read_and_others_are_not():
    rng = np.random.default_rng(0)
    lineage = np.repeat(np.arange(30), 2)
    x = rng.normal(size=(30, 4))[lineage] + rng.normal(0, 0.1, (60, 4))
    found = linear_probes.probe(x, {
        "planted": x[:, 0], "noise": rng.normal(size=30)[lineage], "class": np.where(x[:, 1] > 0, "a", "b"),
        "rare": ["a"] * 57 + ["b"] * 3, "unknown": [None] * 60}, lineage, 199).set_index("target")
    assert found.loc["planted", "score"] > 0.95 and found.loc["planted", "p"] == 0.005
    assert found.loc["class", "score"] > 0.8 and found.loc["class", "p"] <= 0.01
    assert found.loc["noise", "p"] > 0.02 and abs(found.loc["noise", "selectivity"]) < 0.3
    assert found.loc[["rare", "unknown"], "note"].str.startswith("not testable").all()


def test_false_alarms_keep_their_level_though_lineages_are_alike():
    rng, p = np.random.default_rng(1), []
    lineage = np.repeat(np.arange(16), [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 6, 12])  # as in real pools
    for _ in range(120):
        x = rng.normal(size=(16, 3))[lineage] + rng.normal(0, 0.3, (len(lineage), 3))
        y = rng.normal(size=16)[lineage] + rng.normal(0, 0.3, len(lineage))
        p.append(linear_probes.probe(x, {"y": y}, lineage, 99)["p"].iloc[0])
    assert np.mean(np.array(p) <= 0.05) <= binom.ppf(0.999, 120, 0.065) / 120


def test_the_score_is_that_of_the_best_ridge():
    rng = np.random.default_rng(2)
    names = [f"{number:02}" for number in range(30)]
    x, fold = rng.normal(size=(30, 3)), lineage_folds(names)
    y = x[:, 0] + rng.normal(size=30)
    scores = []
    for penalty in linear_probes.PENALTIES:
        told = np.empty(30)
        for out in (fold == number for number in np.unique(fold)):
            total = ((x[~out] - x[~out].mean(axis=0)) ** 2).sum()
            told[out] = Ridge(penalty * total).fit(x[~out], y[~out]).predict(x[out])
        scores.append(1 - ((told - y) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    assert linear_probes.probe(x, {"y": y}, names, 9)["score"].iloc[0] == pytest.approx(max(scores))


def test_mantel_is_spearmans_correlation_over_pairs_with_exact_p():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(9, 2))
    one = np.linalg.norm(points[:, None] - points, axis=2)
    other = one + (noise := rng.normal(0, 0.3, (9, 9))) + noise.T
    found, upper = mantel(one, other, 499), np.triu_indices(9, 1)
    assert found["correlation"] == pytest.approx(spearmanr(one[upper], other[upper]).statistic)
    assert found["p"] < 0.01 and found["p_attainable"] == 1 / 500
    twice = np.repeat(np.arange(9), 2)
    pairs = np.ix_(twice, twice)
    assert mantel(one[pairs], other[pairs], 99, twice)["correlation"] == pytest.approx(found["correlation"])
    free = [mantel(one, (n := rng.normal(size=(9, 9))) + n.T, 99)["p"] for _ in range(120)]
    assert np.mean(np.array(free) <= 0.05) <= binom.ppf(0.999, 120, 0.065) / 120
    assert np.isnan(mantel(one[:3, :3], other[:3, :3], 9)["p"])
