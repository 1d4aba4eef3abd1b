"""What notebook 04 says: what choosing a model for each question gains over asking the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.conclusions._words import LEVEL, bullets, compared, interval
from embedllm.presentation import counted, listed, literal, p_is, unsigned

FACTORIZATION, KNN = catalog.FACTORIZATION.name, catalog.KNN.name
CERTAIN = 0.99  # an oracle that luck alone brings so high says nothing


def gain(over_single: pd.DataFrame, routers) -> str:
    """The router that gains most over the best single model, from `inference.compare` with that model as reference."""
    own = over_single[over_single["method"].isin(routers)]
    most = own.loc[own["difference"].idxmax()]
    if most["difference"] <= 0 or most["p_holm"] >= LEVEL:
        return (f"No router is shown to beat always asking the best single model; the closest, {most['method']}, "
                f"differs by {interval(most)} thousandths.")
    return f"{most['method']} gains most over the best single model, in thousandths: {interval(most)}."


def gains_by_benchmark(rows: pd.DataFrame) -> str:
    """How many gains within benchmarks are on which side, from `results.routing_table`."""
    same = (rows["gain_low"] == 0) & (rows["gain_high"] == 0)
    above, below = (rows["gain_low"] > 0).sum(), (rows["gain_high"] < 0).sum()
    return (f"{above} of {counted(len(rows) - same.sum(), 'gain')} lie above zero with their interval, {below} below, "
            f"where one in twenty would by chance; in {same.sum()} more cases the router asks the best single model "
            "only.")


def spread(shares: pd.DataFrame) -> str:
    """How many models each router asks, from `results.shares`, all benchmarks together."""
    said = [f"{policy} asks {(rows['share'] > 0).sum()} of {len(rows)} models, most often "
            f"{rows.loc[rows['share'].idxmax(), 'model']} ({rows['share'].max():.0%})"
            for policy, rows in shares.groupby("policy", sort=False)]
    return "; ".join(said) + "."


def price(prices: pd.DataFrame | None, routers: Sequence[str]) -> str:
    """What the routers' choices cost beside those of the best single model, from `results.prices`; None: no prices."""
    if prices is None:
        return ("*No model of this table has a price: a column `cost` of `models.csv`, or of the outcomes (one an "
                "answer), brings it here.*")
    rows = prices.set_index("policy")
    single = rows.loc["best single model"]
    lost = rows["unpriced"].map(lambda share: f" ({share:.0%} of the questions to models without one)" if share else "")
    said = [f"{name} {rows['price'][name]:,.3g}{lost[name]}" for name in routers]
    return (f"Mean price of the models asked, per {single['unit']}: the best single model {single['price']:.3g}, "
            f"{listed(said)}.")


def luck(oracle: pd.DataFrame) -> str:
    """The oracle beside pools without specialization, from `results.oracle_beside_luck`."""
    seen, null = oracle.itertuples()
    verdict = f"{p_is(seen.p)}: luck alone does not explain the oracle"
    if seen.p >= LEVEL:
        verdict = f"{p_is(seen.p)}: luck alone could explain the oracle, which is no sign that anything is left to gain"
    if null.value > CERTAIN:
        verdict = "so high that the comparison says nothing"
    return (f"The oracle reaches {seen.value:.3f}; in a pool without any specialization it would reach "
            f"{null.value:.3f} ({null.low:.3f} to {null.high:.3f} in 95 % of the draws; {verdict}).")


def conclusion(
    best_name: str, reached: Mapping[str, np.ndarray], choices: Mapping[str, np.ndarray],
    tests: Mapping[str, pd.DataFrame], oracle: pd.DataFrame,
) -> str:
    """What routing shows.

    Parameters
    ----------
    best_name : str
        The model that did best in training.
    reached, choices : mapping
        From `policies.route`.
    tests : mapping
        "best single model", "default factorization": from `inference.compare` with that policy as reference.
    oracle : DataFrame
        From `results.oracle_beside_luck`.
    """
    used = {policy: len(np.unique(choices[policy])) for policy in (FACTORIZATION, KNN)}
    over_single, over_factorization = tests["best single model"], tests[FACTORIZATION]
    sentences = [compared(over_single, policy, "score") for policy in (FACTORIZATION, KNN, "best per benchmark")]
    sentences += [compared(over_factorization, policy, "score") for policy in (KNN, "random model")]
    behind = over_single.set_index("method")["difference"][FACTORIZATION]
    side = "gains" if behind > 0 else "loses" if behind < 0 else "changes"
    return f"""
## What routing shows

The best single model on the training questions is {literal(best_name)}. Always asking it scores
{reached["best single model"].mean():.3f} on the test questions, a random choice {reached["random model"].mean():.3f}.
Routing by the factorization {side} {unsigned(abs(behind))} thousandths against always asking it.

In thousandths, intervals uncorrected:

{bullets(sentences)}

The factorization spreads its choices over {used[FACTORIZATION]} models, kNN over {used[KNN]}. {luck(oracle)}
"""
