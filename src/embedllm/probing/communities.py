"""Do models of one size lie together? Distances within communities of models and across them, with tests.

Models of one family, and fine-tunes of one base model, resemble each other whatever their size: labels are
permuted within families, and the base model is what counts.
"""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd

from embedllm.evaluation.inference import holm
from embedllm.probing import arrangements
from embedllm.probing.prediction import family_codes


def community_distances(distances: np.ndarray, labels, blocks=None) -> pd.DataFrame:
    """Mean distance of models within a community and to the models of other communities.

    Parameters
    ----------
    distances : ndarray, shape (n_models, n_models), float
        Symmetric.
    labels : array-like of str, shape (n_models,)
        The community of each model; models without one (None, NaN) are left out.
    blocks : array-like of str, shape (n_models,), optional
        What shares its label by construction, such as the fine-tunes of one base model: a block counts
        as one, by the mean over its models' distances, and pairs within it do not count. A missing
        entry is a block of its own. Default: every model counts.

    Returns
    -------
    DataFrame
        One row per community, sorted: ``community``, ``n_models``, ``n_units`` (blocks, or models),
        ``n_pairs`` (of units within), ``intra``, ``inter``, ``difference`` = intra - inter (NaN where
        no such pair exists).

    Raises
    ------
    ValueError
        If shapes disagree, a distance is not finite or the models of a block differ in label.
    """
    units, between = merged(distances, labels, blocks)
    rows = []
    for community in sorted(units["label"].unique()):
        member = (units["label"] == community).to_numpy()
        (intra,), (inter,) = _within_and_across(between, member[None])
        rows.append({
            "community": community,
            "n_models": int(units["n_models"][member].sum()),
            "n_units": int(member.sum()),
            "n_pairs": comb(int(member.sum()), 2),
            "intra": float(intra),
            "inter": float(inter),
            "difference": float(intra - inter),
        })
    columns = ["community", "n_models", "n_units", "n_pairs", "intra", "inter", "difference"]
    return pd.DataFrame(rows, columns=columns)


def community_test(
    distances: np.ndarray, labels, families, base_models=None, n_permutations: int = 2000
) -> pd.DataFrame:
    """Do models of one community (of one size, say) lie closer to each other than to the others?

    One-sided permutation tests of ``difference`` = intra - inter < 0. ``p_family`` moves labels only
    among the base models of one family, all fine-tunes with their base, and measures between base
    models as `community_distances` does with ``blocks=base_models``: every arrangement then holds as
    many pairs within families as the observed one, so that likeness within a family cannot pass for
    likeness by size. ``p_free`` moves labels among all models; it takes family for size and is given
    to show by how much. Models without a label take no part.

    Parameters
    ----------
    distances : ndarray, shape (n_models, n_models), float
        Symmetric.
    labels : array-like of str, shape (n_models,)
        The community of each model, None or NaN without one.
    families : array-like of str, shape (n_models,)
    base_models : array-like of str, shape (n_models,), optional
        The model each was fine-tuned from; a base carries its own name. A missing entry, or None for
        all, makes a model its own base.
    n_permutations : int
        Random arrangements; a community with no more distinct ones than this gets them all.

    Returns
    -------
    DataFrame
        One row per community, sorted: ``community``, ``n_models``, ``n_units`` (base models),
        ``difference`` and ``p_family``; ``p_attainable``, the smallest ``p_family`` possible;
        ``p_holm``, ``p_family`` adjusted over the testable communities; ``difference_free`` (over
        pairs of models, as in the paper) and ``p_free``; ``note``, why a p is NaN ("not testable: ..."),
        else empty.

    Raises
    ------
    ValueError
        If shapes disagree, a distance is not finite, a labeled model has no family, or the models of
        one base differ in label or family.
    """
    rng = np.random.default_rng(0)
    units, between = merged(distances, labels, base_models, families)
    models, between_models = merged(distances, labels, None)
    free = np.zeros(len(models), dtype=np.int64)  # one family of all
    rows = []
    for community in sorted(units["label"].unique()):
        member = (units["label"] == community).to_numpy()
        row = {
            "community": community,
            "n_models": int(units["n_models"][member].sum()),
            "n_units": int(member.sum()),
        }
        row |= _closer(between, member, units["family"].to_numpy(), n_permutations, rng)
        lenient = _closer(
            between_models, (models["label"] == community).to_numpy(), free, n_permutations, rng
        )
        rows.append({"difference_free": lenient["difference"], "p_free": lenient["p_family"]} | row)
    columns = ["community", "n_models", "n_units", "difference", "p_family", "p_attainable",
               "difference_free", "p_free", "note"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(columns.index("p_attainable") + 1, "p_holm", holm(table["p_family"]))
    return table


def pooled_test(
    distances: np.ndarray, labels, families, base_models=None, n_permutations: int = 4999
) -> dict[str, float | int | str]:
    """The same question once for all communities: is the mean of their differences below zero?

    The mean of ``difference`` over the communities of two units and more. All labels move at once among the base
    models of each family: every arrangement, or `n_permutations` random ones.

    Parameters
    ----------
    distances, labels, families, base_models, n_permutations
        As for `community_test`.

    Returns
    -------
    dict
        ``gap`` (that mean), ``p_closer`` and ``p_farther`` (one-sided), ``p_attainable`` (the smallest that either can
        be), ``n_units``, ``n_communities``; ``note``: why the p are NaN, else blank.
    """
    units, between = merged(distances, labels, base_models, families)
    codes, names = pd.factorize(units["label"])
    counted = np.flatnonzero(np.bincount(codes, minlength=len(names)) > 1)
    found = {"gap": np.nan, "p_closer": np.nan, "p_farther": np.nan, "p_attainable": np.nan,
             "n_units": len(units), "n_communities": len(counted)}
    if len(counted) < 2:
        return found | {"note": "not testable: fewer than two communities of two units"}
    drawn = arrangements.within(codes, units["family"].to_numpy(), n_permutations, np.random.default_rng(0))
    means = []
    for code in counted:
        intra, inter = _within_and_across(between, drawn == code)
        means.append(intra - inter)
    values = np.mean(means, axis=0)
    slack = 1e-9 * between.max()
    return found | {"gap": float(values[0]), "p_closer": float(np.mean(values <= values[0] + slack)),
                    "p_farther": float(np.mean(values >= values[0] - slack)),
                    "p_attainable": float(min(np.mean(values <= values.min() + slack),
                                              np.mean(values >= values.max() - slack))),
                    "note": "" if len(drawn) > 1 else "not testable: one arrangement only"}


def merged(distances: np.ndarray, labels, blocks, families=None) -> tuple[pd.DataFrame, np.ndarray]:
    """Labeled models merged into blocks: a table (label, family, n_models) and their mean distances.

    The diagonal of the distances is zero: pairs within a block do not count.
    """
    distances = np.asarray(distances, float)
    n_models = len(labels)
    if distances.shape != (n_models, n_models):
        raise ValueError(f"{n_models} labels need distances {(n_models,) * 2}, found {distances.shape}")
    if not np.isfinite(distances).all():
        raise ValueError("distances hold values that are not finite")
    models = pd.DataFrame({
        "label": np.asarray(labels, dtype=object),
        "family": 0 if families is None else np.asarray(families, dtype=object),
        "block": None if blocks is None else np.asarray(blocks, dtype=object),
    })
    labeled = models["label"].notna().to_numpy()
    models, distances = models[labeled], distances[np.ix_(labeled, labeled)]
    models = models.assign(family=family_codes(models["family"]))
    # A model without a block is one; a tuple cannot collide with a name.
    own = pd.Series([("model", position) for position in models.index], index=models.index, dtype=object)
    block = models["block"].astype(object).where(models["block"].notna(), own)
    for column in ("label", "family"):
        mixed = models.groupby(block, sort=False)[column].nunique().gt(1)
        if mixed.any():
            raise ValueError(f"models of one block differ in {column}: {list(mixed.index[mixed])[:5]}")
    codes, _ = pd.factorize(block)
    onehot = np.eye(codes.max(initial=-1) + 1)[codes]
    sizes = onehot.sum(axis=0)
    between = (onehot.T @ distances @ onehot) / np.outer(sizes, sizes)
    np.fill_diagonal(between, 0)
    units = models[["label", "family"]].groupby(codes).first().assign(n_models=sizes.astype(int))
    return units, between


def _within_and_across(between: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean distance within a community and to the rest, for each row of members; NaN without a pair."""
    n_in = members.sum(axis=1)
    n_out = members.shape[1] - n_in
    reach = members @ between
    within = (reach * members).sum(axis=1)
    across = (reach * ~members).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return within / (n_in * (n_in - 1)), across / (n_in * n_out)


def _closer(
    between: np.ndarray, member: np.ndarray, family: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> dict[str, float | str]:
    """Test one community against arrangements of its label within families."""
    intra, inter = _within_and_across(between, member[None])
    observed = float((intra - inter)[0])
    members = arrangements.within(member.astype(int), family, n_permutations, rng) == 1
    if member.sum() < 2:
        note = "not testable: a single unit, no pair within"
    elif member.all():
        note = "not testable: no other community"
    elif len(members) == 1:
        note = "not testable: no family has this and another community, one arrangement only"
    else:
        note = ""
    if note:
        return {"difference": observed, "p_family": np.nan, "p_attainable": np.nan, "note": note}
    intra, inter = _within_and_across(between, members)
    p = np.mean(intra - inter <= observed + 1e-9 * between.max())  # the observed arrangement is one of them
    return {"difference": observed, "p_family": float(p), "p_attainable": 1 / len(members), "note": note}
