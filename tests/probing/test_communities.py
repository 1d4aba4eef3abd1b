"""Communities: distances by hand, tests against brute force, families that could pass for sizes."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from scipy import stats
from scipy.spatial.distance import cdist
from scipy.special import logit

from embedllm.probing import arrangements, communities
from embedllm.probing import sizes as sizes_of


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_community_distances_by_hand():
    distances = cdist(*[np.array([[0.0], [1.0], [5.0], [8.0], [100.0]])] * 2)
    labels = ["7B", "7B", "13B", "13B", np.nan]
    table = communities.community_distances(distances, labels).set_index("community")
    assert table.loc["7B", ["intra", "inter"]].tolist() == [1, (5 + 8 + 4 + 7) / 4]
    assert table.loc["13B", "difference"] == 3 - 6
    assert table["n_models"].tolist() == [2, 2] and table["n_pairs"].tolist() == [1, 1]
    # Fine-tunes of one base: one unit, pairs within it do not count.
    blocks = ["a", "a", "c", None, "a"]
    merged = communities.community_distances(distances, ["7B", "7B", "13B", "13B", None], blocks)
    merged = merged.set_index("community")
    assert np.isnan(merged.loc["7B", "intra"]) and merged.loc["7B", "n_units"] == 1
    assert merged.loc["7B", "n_models"] == 2 and merged.loc["7B", "inter"] == 6
    assert merged.loc["13B", "intra"] == 3 and merged.loc["13B", "inter"] == pytest.approx((4.5 + 7.5) / 2)


def test_community_test_equals_brute_force(rng):
    """Every arrangement within families, each difference from community_distances."""
    from itertools import permutations

    families = np.array(list("aaaabbb"))
    labels = np.array(["7B", "7B", "13B", "13B", "7B", "13B", "13B"])
    distances = cdist(*[rng.normal(size=(7, 3))] * 2)
    result = communities.community_test(distances, labels, families).set_index("community")
    within_a, within_b = set(permutations(labels[:4])), set(permutations(labels[4:]))
    for community in ("7B", "13B"):
        differences = [
            communities.community_distances(distances, a + b).set_index("community")["difference"][community]
            for a in within_a for b in within_b
        ]
        observed = result["difference"][community]
        assert result["p_family"][community] == pytest.approx(np.mean(differences <= observed + 1e-9))
        assert result["p_attainable"][community] == pytest.approx(1 / 18)


def pool(rng, size_effect=0.0):
    """Distances, sizes, families and bases of 50-odd models whose size goes with family and base.

    Popular 7B bases have more fine-tunes; families prefer sizes; without `size_effect` size does nothing.
    """
    rows = []
    for family in range(10):
        for _ in range(4):
            label = rng.choice(["7B", "13B", "70B"], p=np.roll([0.7, 0.2, 0.1], family % 3))
            rows += [(label, family, len(rows))] * (1 + rng.poisson({"7B": 2, "13B": 0.5, "70B": 0.5}[label]))
    labels, families, bases = (np.array(column) for column in zip(*rows, strict=True))
    shift = {label: rng.normal(size=5) for label in ("7B", "13B", "70B")}
    vectors = (
        1.5 * rng.normal(size=(10, 5))[families] + 0.8 * rng.normal(size=(bases.max() + 1, 5))[bases]
        + 0.3 * rng.normal(size=(len(rows), 5)) + size_effect * np.array([shift[label] for label in labels])
    )
    return cdist(vectors, vectors), labels, families.astype(str), bases.astype(str)


def test_community_test_keeps_its_level_and_the_free_one_does_not(rng):
    tables = pd.concat([communities.community_test(*pool(rng), n_permutations=199) for _ in range(60)])
    false_alarms = (tables[["p_family", "p_free"]] <= 0.05).groupby(tables["community"]).mean()
    assert (false_alarms["p_family"] <= stats.binom.ppf(0.999, 60, 0.05) / 60).all()
    assert (false_alarms["p_free"] > stats.binom.ppf(0.999, 60, 0.05) / 60).all()


def test_planted_communities_are_found(rng):
    table = communities.community_test(*pool(rng, size_effect=2))
    assert (table["p_holm"] < 0.05).all() and (table["difference"] < 0).all()
    assert (table["note"] == "").all()


def test_community_test_says_what_it_cannot_test(rng):
    distances = cdist(*[rng.normal(size=(7, 3))] * 2)
    labels = ["7B", "7B", "7B", "70B", "70B", "13B", None]
    table = communities.community_test(distances, labels, list("aabbbab")).set_index("community")
    assert np.isnan(table.loc["13B", "p_family"]) and "single unit" in table.loc["13B", "note"]
    assert table.loc["7B", "p_family"] >= table.loc["7B", "p_attainable"] > 0
    # Holm counts testable communities only.
    np.testing.assert_allclose(table["p_holm"].min(), min(1, 2 * table["p_family"].min()))
    fixed = communities.community_test(distances, labels, ["a", "a", "a", "b", "b", "c", "d"])
    assert fixed["p_family"].isna().all() and fixed["note"].str.contains("not testable").all()
    assert fixed["p_free"].notna().any()
    with pytest.raises(ValueError, match=r"differ in label: \['x'\]"):
        communities.community_test(distances, labels, ["a"] * 7, ["x", "y", "z", "x", "u", "v", "w"])
    with pytest.raises(ValueError, match=r"\[4\] have no family"):
        communities.community_test(distances, labels, ["a", "a", "a", "a", None, "b", None])
    with pytest.raises(ValueError, match="not finite"):
        communities.community_distances(distances * np.nan, labels)
    with pytest.raises(ValueError, match="6 labels need"):
        communities.community_distances(distances, labels[1:])


def test_sizes():
    sizes = pd.Series([6, 6.7, 9.2, 10, 12.9, 13, 14.7, 15, 65.2, 72.7, 73, 5.9, np.nan], index=range(5, 18))
    expected = ["7B"] * 3 + [None, None, "13B", "13B", None, "70B", "70B"] + [None] * 3
    classes = sizes_of.family_of_size(sizes)
    assert [None if pd.isna(c) else c for c in classes] == expected
    assert classes.index.equals(sizes.index)
    assert sizes_of.family_of_size([7.0, np.nan]).notna().tolist() == [True, False]


def test_the_pooled_test_equals_brute_force(rng):
    family, size = np.repeat(["a", "b"], 4), np.array(["7B", "7B", "70B", "70B", "7B", "70B", "70B", "7B"])
    distances = cdist(place := rng.normal(size=(8, 2)) + (size == "7B")[:, None], place)
    found = communities.pooled_test(distances, size, family)
    values = []
    for first in set(permutations(size[:4])):
        for second in set(permutations(size[4:])):
            labels = np.array([*first, *second])
            values.append(np.mean([distances[np.ix_(own, own)].sum() / 12 - distances[np.ix_(own, ~own)].mean()
                                   for own in (labels == "7B", labels == "70B")]))
    own = np.mean([distances[np.ix_(own, own)].sum() / 12 - distances[np.ix_(own, ~own)].mean()
                   for own in (size == "7B", size == "70B")])
    assert len(values) == 36
    low, high = min(values), max(values)
    tails = (np.mean(np.isclose(values, end)) for end in (low, high))
    assert found["p_attainable"] == pytest.approx(min(tails))
    swapped = communities.pooled_test(distances[:4, :4], size[:4], family[:4])
    assert swapped["p_attainable"] >= 1 / 3, "of two classes all labels can be swapped: nothing changes"
    assert found["gap"] == pytest.approx(own)
    assert found["p_closer"] == pytest.approx(np.mean(np.array(values) <= own + 1e-9))
    assert found["p_farther"] == pytest.approx(np.mean(np.array(values) >= own - 1e-9))


def test_the_pooled_test_keeps_its_level_with_families_and_says_what_it_cannot_tell(rng):
    families = np.repeat(np.arange(8), 4)
    p = []
    for _ in range(150):
        place = 2 * rng.normal(size=(8, 3))[families] + rng.normal(size=(32, 3))
        sizes = np.where(rng.random(32) < 0.2 + 0.6 * (families < 4), "7B", "70B")  # families differ in size
        p.append(communities.pooled_test(cdist(place, place), sizes, families, n_permutations=199)["p_closer"])
    assert np.mean(np.array(p) <= 0.05) <= stats.binom.ppf(0.999, 150, 0.065) / 150
    one = communities.pooled_test(np.zeros((3, 3)), ["7B", "7B", "70B"], ["a", "a", "a"])
    assert one["note"] == "not testable: fewer than two communities of two units" and np.isnan(one["p_closer"])


@pytest.mark.parametrize("labels", ["aabbc", "aaaa", "abc", "aabbbbb"])
def test_arrangements_are_all_and_distinct(labels):
    codes = np.unique(list(labels), return_inverse=True)[1]
    found = list(arrangements.orders(np.bincount(codes)))
    assert set(found) == set(permutations(codes.tolist())) and len(found) == len(set(found)) == arrangements.number(
        codes)


def test_labels_move_within_groups_the_given_order_first(rng):
    codes, groups = np.array([1, 0, 0, 2, 1, 1]), np.array([5, 5, 5, 3, 3, 3])
    every = arrangements.within(codes, groups, 8, rng)
    by_hand = {(*one, *other) for one in permutations([1, 0, 0]) for other in permutations([2, 1, 1])}
    assert set(map(tuple, every)) == by_hand and len(every) == len(by_hand) == 9 and every[0].tolist() == codes.tolist()
    drawn = arrangements.within(codes, groups, 7, rng)
    assert len(drawn) == 8 and drawn[0].tolist() == codes.tolist() and set(map(tuple, drawn)) <= by_hand


def test_large_models_that_differ_less_are_found(rng):
    size = np.repeat([7.0, 70.0], 12)
    ability = np.where(size < 10, rng.normal(0, 1.2, 24), rng.normal(1, 0.1, 24))
    table = make_table(rng.random((24, 800)) < 1 / (1 + np.exp(rng.normal(size=800) - ability[:, None])))
    lineages = pd.Series([f"l{at}" for at in range(24)], table.models.index)
    found = sizes_of.alike_by_size(table, pd.Series(size, table.models.index), lineages).set_index("size")
    small, large = found.loc["5 to 10B"], found.loc["from 50B"]
    assert small["spread_low"] > large["spread_high"]
    pseudo = np.log([np.std(np.delete(logit(table.model_means[:12]), at), ddof=1) for at in range(12)])
    se = np.sqrt(11 / 12 * ((pseudo - np.mean(pseudo)) ** 2).sum())
    assert small["spread_se"] == pytest.approx(se * small["spread"], rel=1e-6)
    assert np.log(small["spread_high"] / small["spread"]) >= stats.t.isf(0.025, 11) * se
    right = table.scores[12:]
    disagree = [(right[a] != right[b]).mean() for a, b in combinations(range(12), 2)]
    assert large["disagreement"] == pytest.approx(np.mean(disagree), abs=1e-6)
    assert small["spread"] == pytest.approx(np.std(logit(table.model_means[:12]), ddof=1), rel=1e-6)
    assert abs(large["alike"]) < 0.05 and large["alike_low"] <= large["alike"] <= large["alike_high"]
    half = lineages.where(np.arange(24) % 2 == 0, lineages.shift())
    assert sizes_of.alike_by_size(table, pd.Series(size, table.models.index), half)["n_lineages"].tolist() == [6, 6]


def test_sizes_between_families_by_brute_force(rng):
    """Two families, one of them in two size classes: every pair of two families by hand, over all arrangements."""
    family, size = list("aaaaaaaaaa") + list("bbbbbc"), ["7B", "13B"] * 5 + ["7B"] * 5 + ["70B"]
    place = rng.normal(size=16) + 3 * (np.array(size) == "13B")
    distances = np.abs(place[:, None] - place)

    def gap(labels):
        pairs = [(distances[m, n], labels[m] == labels[n]) for m, n in combinations(range(15), 2)
                 if family[m] != family[n]]
        return np.mean([d for d, same in pairs if same]) - np.mean([d for d, same in pairs if not same])

    drawn = [gap(["13B" if at in chosen else "7B" for at in range(10)] + size[10:])
             for chosen in combinations(range(10), 5)]
    found = sizes_of.across_families(distances, size, family)
    assert found["gap"] == pytest.approx(gap(size)) and found["n_units"] == 15 and found["n_families"] == 2
    assert found["p_closer"] == pytest.approx(np.mean(np.array(drawn) <= gap(size) + 1e-9), abs=1e-9)
    assert found["p_closer"] < 0.05
    for few in (["7B"] * 16, ["7B"] * 10 + ["13B"] * 6):
        assert sizes_of.across_families(distances, few, family)["note"].startswith("not testable: 5 lineages")
