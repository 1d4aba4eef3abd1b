"""What notebook 05 says: what the model vectors know about the models."""

from __future__ import annotations

import pandas as pd

from embedllm.conclusions._words import LEVEL
from embedllm.presentation import counted, listed, literal

BY_CHANCE = 0.5  # rank correlation of two trainings below which distances show their initialization


def unseen(predictions: pd.DataFrame) -> str:
    """How well accuracy is predicted for families not seen, from `probes.benchmark_probes`."""
    rows = predictions[predictions["r2_cv"].notna()]
    medians = rows.groupby("predictors")["r2_cv"].median()
    return (f"The median R2 over {counted(rows['benchmark'].nunique(), 'benchmark')} is {medians['model vectors']:.2f} "
            f"with model vectors and {medians['accuracy elsewhere']:.2f} with the mean accuracy elsewhere.")


def closer(by_size: pd.DataFrame) -> str:
    """Which size classes are shown to lie closer together, from `probes.size_communities`."""
    said = []
    for distance, rows in by_size.groupby("distance", sort=False):
        shown = rows["community"][(rows["difference"] < 0) & (rows["p_holm"] < LEVEL)]
        said.append(f"{listed(shown, 'no class')} ({distance})")
    return f"Shown to lie closer to their own size class than to the others, by distance: {', '.join(said)}."


def trusted(trust: float) -> str:
    """How far a map can be believed."""
    return f"Neighbors on the map are neighbors in the data with a trustworthiness of {trust:.2f}."


def conclusion(predictions: pd.DataFrame, by_size: pd.DataFrame, agreement: pd.DataFrame, trust: float) -> str:
    """What the probes show.

    Parameters
    ----------
    predictions, by_size, agreement : DataFrame
        From `probes.benchmark_probes`, `probes.size_communities`, `probes.agreement`.
    trust : float
        Trustworthiness of the map; NaN where there is none.
    """
    raw, logit = (agreement.set_index("distance")["rank_correlation"][name] for name in ("raw", "without level"))
    on_raw = "what they show is the initialization" if raw < BY_CHANCE else "they carry more than the initialization"
    on_map = "Too few models: a map would say nothing."
    if trust > 0:
        on_map = (f"{trusted(trust)} Whether it shows clusters is left to the eye, which is no test.")
    return f"""
## What the probes show

**C7, accuracy on a benchmark that was left out.** {_predictions(predictions)}

**C8, models of one size.** {_communities(by_size)} Two trainings agree on distances without the overall level with a
rank correlation of {logit:.2f}, on raw distances of {raw:.2f}: {on_raw}.

**C9, clusters.** {on_map}
"""


def _predictions(probes: pd.DataFrame) -> str:
    """What `probes.benchmark_probes` shows, in sentences that claim no more."""
    tested = probes[probes["r2_cv"].notna()]
    by_vectors, by_level = (
        tested[tested["predictors"] == name].set_index("benchmark") for name in ("model vectors", "accuracy elsewhere")
    )
    if by_vectors.empty:
        return f"Not testable on this table ({literal(probes['note'].iloc[0])})."
    classical, respecting = ((by_vectors[column] < LEVEL).sum() for column in ("p_holm", "p_family_holm"))
    better = (by_vectors["r2_cv"] > by_level["r2_cv"].reindex(by_vectors.index)).sum()
    return (
        f"Vectors learned without a benchmark predict the accuracy on it for {classical} of "
        f"{counted(len(by_vectors), 'benchmark')} by the classical F test and for {respecting} by the test that "
        f"respects families (both after Holm). {unseen(probes)} The vectors' R2 is the higher one on {better} of "
        f"{len(by_vectors)}, a count that is no test."
    )


def _communities(communities: pd.DataFrame) -> str:
    """What `probes.size_communities` shows for the distance without level, in sentences that claim no more."""
    rows = communities[communities["distance"] == "without level"].set_index("community")
    if rows.empty:
        return "Not tested: no model is known to have a size in one of the classes."
    shown = rows.index[(rows["difference"] < 0) & (rows["p_holm"] < LEVEL)]
    testable = rows["p_family"].notna() & (rows["p_attainable"] * rows["p_family"].notna().sum() < LEVEL)
    tested, untested = rows.index[testable], rows.index[~testable]
    if tested.empty:
        return f"Not testable on this table: no p-value could fall below 5 % ({listed(untested)})."
    return (
        f"Without the overall level and with families respected, models are shown to lie closer to their own size "
        f"class than to the other classes for {listed(shown)} of {listed(tested)}"
        + (f"; not testable, since no p-value could fall below 5 %: {listed(untested)}" if len(untested) else "") + "."
    )
