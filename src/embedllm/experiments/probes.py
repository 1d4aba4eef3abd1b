"""The probes of notebook 05 on a pool: who lies close to whom, by size, family and kind.

The statistics are those of `embedllm.probing`; here they meet a table of outcomes, which can be too small for one of
them and large enough for the next.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from embedllm.forecasters.contract import Forecaster
from embedllm.probing import clusters
from embedllm.probing.communities import community_distances, community_test, pooled_test
from embedllm.probing.geometry import distances_with_level, distances_without_level, raw_distances
from embedllm.probing.sizes import across_families, family_of_size, size_bands

WITH, WITHOUT, RAW = "with level", "without level", "raw"
Distances = Mapping[str, np.ndarray]  # name to (n_models, n_models)


def distances(embedding: Forecaster, factorization: Forecaster, vectors: np.ndarray) -> dict[str, np.ndarray]:
    """The three distances that are compared: of the convex embedding with level and without, raw of the factorization.

    Parameters
    ----------
    vectors : ndarray, shape (n_questions, d_prompt)
        Prompts of the training questions.
    """
    return {WITH: distances_with_level(embedding.betas, embedding.intercepts, vectors),
            WITHOUT: distances_without_level(embedding.betas, vectors), RAW: raw_distances(factorization.model_vectors)}


def by_size(found: Distances, facts: pd.DataFrame, n_permutations: int) -> pd.DataFrame:
    """Are lineages of one size class closer, over the classes together (C8)? A row for each distance.

    Sizes move among the lineages of each family; ``p_across``: among all lineages, which takes family for size. Beside
    it pairs of different families alone (`sizes.across_families`).

    Parameters
    ----------
    facts : DataFrame, indexed by model
        ``parameters_b``, ``family``, ``lineage``.

    Returns
    -------
    DataFrame
        As from `communities.pooled_test`, with ``distance`` in front, ``p_across``, and ``between_gap``, ``between_p``
        and ``between_note`` of pairs of different families.
    """
    sizes, families, units = _of_size(facts)
    rows = []
    for name, values in found.items():
        own = pooled_test(values, sizes, families, units, n_permutations)
        across = pooled_test(values, sizes, pd.Series("all", sizes.index), units, n_permutations)
        between = across_families(values, sizes, families, units, n_permutations)
        rows.append({"distance": name, **own, "p_across": across["p_closer"], "between_gap": between["gap"],
                     "between_p": between["p_closer"], "between_note": between["note"]})
    return pd.DataFrame(rows)


def communities(found: Distances, facts: pd.DataFrame, n_permutations: int) -> pd.DataFrame:
    """Distances within size classes, size bands, families and kinds, and to the others, each with its test.

    Sizes move among the lineages of a family, families among lineages, kinds among the models of a lineage.

    Returns
    -------
    DataFrame
        As from `communities.community_test` with ``intra`` and ``inter``; ``by`` and ``distance`` in front.
    """
    sizes, families, units = _of_size(facts)
    bands = size_bands(facts["parameters_b"]).astype(object)
    everything = pd.Series("all", facts.index)
    ways = {"size class": (sizes, families, units),
            "size band": (bands, facts["family"], facts["lineage"] + " " + bands.astype(str) + " " + facts["family"]),
            "family": (facts["family"].where(facts["family"].map(facts["family"].value_counts()) > 1), everything,
                       facts["lineage"] + " " + facts["family"]),
            "kind": (facts["kind"], facts["lineage"], None)}
    tables = {}
    for by, (labels, within, blocks) in ways.items():
        for name, values in found.items():
            tests = community_test(values, labels, within, blocks, n_permutations)
            means = community_distances(values, labels, blocks)[["community", "intra", "inter"]]
            tables[by, name] = means.merge(tests, on="community")
    return pd.concat(tables, names=["by", "distance"]).reset_index(["by", "distance"]).reset_index(drop=True)


def neighbors(found: Distances, facts: pd.DataFrame, n_permutations: int) -> pd.DataFrame:
    """Whether nearest neighbors of other lineages share size band, family or kind: `clusters.purity` by distance."""
    labels = {"size band": size_bands(facts["parameters_b"]).astype(object), "family": facts["family"],
              "kind": facts["kind"]}
    return pd.concat(clusters.purity(values, labels, facts["lineage"], n_permutations).assign(distance=name)
                     for name, values in found.items())


def on_maps(found: pd.DataFrame, trust: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Models on the t-SNE map that keeps most neighbors, and on the first two principal components.

    Parameters
    ----------
    found, trust : DataFrame
        From `geometry.maps`.

    Returns
    -------
    DataFrame
        `facts` with ``map``, the name of that map; ``x``, ``y``; ``component 1``, ``component 2``; ``size`` (band) and
        ``size_again``, the same.
    """
    best = trust.iloc[1:].sort_values("overlap", ascending=False, kind="stable")["map"].iloc[0]
    flat, pca = (found[found["map"] == one][["x", "y"]].to_numpy() for one in (best, "PCA"))
    band = size_bands(facts["parameters_b"])
    return facts.assign(**{"map": best, "x": flat[:, 0], "y": flat[:, 1], "component 1": pca[:, 0],
                           "component 2": pca[:, 1], "size": band, "size_again": band}).reset_index()


def _of_size(facts: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Size class, family and unit of each model: fine-tunes count with their lineage where they share its size."""
    sizes = family_of_size(facts["parameters_b"])
    return sizes, facts["family"], facts["lineage"] + " " + sizes.fillna("") + " " + facts["family"]
