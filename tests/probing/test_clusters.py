"""Clusters: planted ones are found, a Gaussian cloud is not, and neighbors count by lineage."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.cluster import KMeans

from embedllm.probing import clusters, geometry


def test_the_index_is_that_of_two_means():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(6, 40, 3)) * [3, 1, 1]
    found = clusters.cluster_index(samples, 0.0)
    for own, points in zip(found, samples, strict=True):
        best = KMeans(2, n_init=20, random_state=0).fit(points).inertia_ / ((points - points.mean(axis=0)) ** 2).sum()
        assert own == pytest.approx(best, abs=0.02)
    assert (clusters.cluster_index(samples, 0.6) == 1).all(), "no group of two can hold more than half"


def test_planted_clusters_are_found_and_an_outlier_is_none():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(60, 5))
    points[:30, 0] += 6
    found = clusters.clustering_test(geometry.principal(points, 5), 4, 0.1, 0.05, 199, 50)
    assert found["p"] < 0.02 and 0.2 < found["power"] <= 1 and found["index"] < found["low"]
    assert found["p_even"] < 0.02 and found["smaller"] == 0.5 and found["along_first"] > 0.9
    alone = rng.normal(size=(60, 5))
    alone[0] += 30
    assert clusters.clustering_test(geometry.principal(alone, 5), 4, 0.1, 0.05, 199, 50)["p"] > 0.05
    flat = rng.normal(size=(300, 5))
    flat[:, 0] = rng.uniform(-6, 6, 300)
    even = clusters.clustering_test(geometry.principal(flat, 5), 4, 0.1, 0.05, 199, 20)
    assert even["p"] < 0.05 < even["p_even"], "no gap, though not normal"
    few = clusters.clustering_test(points[:19], 4, 0.1, 0.05)
    assert np.isnan(few["p"]) and few["note"].startswith("not testable")


def test_a_gaussian_cloud_is_called_clustered_at_the_level():
    rng = np.random.default_rng(2)
    p = [clusters.clustering_test(geometry.principal(rng.normal(size=(40, 5)) * [4, 2, 1, 1, 1], 5), 4, 0.1, 0.05, 99,
                                  20)["p"] for _ in range(120)]
    assert np.mean(np.array(p) <= 0.05) <= binom.ppf(0.999, 120, 0.065) / 120


def test_neighbors_share_what_is_planted_and_nothing_else():
    rng = np.random.default_rng(3)
    lineage = np.repeat(np.arange(20), 2)
    label = np.where(np.arange(20) % 2, "a", "b")[lineage]
    place = rng.normal(size=(20, 2))[lineage] + rng.normal(0, 0.1, (40, 2)) + 3 * (label == "a")[:, None]
    distances = np.linalg.norm(place[:, None] - place, axis=2)
    found = clusters.purity(distances, {"planted": label, "lineage": [f"l{one}" for one in lineage],
                                        "other": rng.permutation(20)[lineage] % 2, "one": ["x"] * 40}, lineage, 199)
    rows = found.set_index("label")
    assert rows.loc["planted", "share"] > 0.9 and rows.loc["planted", "p"] <= 0.01
    assert rows.loc["lineage", "share"] == 0, "neighbors of one's own lineage do not count"
    assert rows.loc["other", "p"] > 0.01 and rows.loc["one", "note"].startswith("not testable")
