"""What notebook 07 says: whether results hold in small pools, on fewer cells, with larger networks; what defects do."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from embedllm import catalog
from embedllm.conclusions._words import LEVEL, interval
from embedllm.presentation import about, counted, listed, p_is, thousandths, unsigned

VOTE, KNN, BILINEAR = catalog.VOTE.name, catalog.KNN.name, catalog.FACTORIZATION.name
DEFECTS = ["defect", "measure", "without", "with_defect", "difference", "low", "high", "p_holm"]  # columns shown
ANSWER = "What changes in notebook 03"


def over(n_fits: int, n_draws: int) -> str:
    """What intervals in small pools are over, and what they take as given."""
    draws = f"{counted(n_draws, 'draw')} of models"
    if n_fits > 1:
        return f"questions and {n_fits} fits, each with a partition, a seed and {draws} of its own"
    return f"questions and {draws}, given one partition and one seed"


def questions_and(n_fits: int) -> str:
    """What intervals of networks are over."""
    return f"questions and {n_fits} fits" if n_fits > 1 else "questions, given one partition and one seed"


def own(tuned: bool) -> str:
    """The factorization that stands for the paper."""
    return catalog.TUNED.name if tuned else BILINEAR


def tuning(tuned: bool) -> str:
    """Whether a comparison is one of equal budgets."""
    return ("All choose from as many candidates on validation." if tuned else
            f"The {BILINEAR} is not tuned, the others are.")


def small_pools(differences: pd.DataFrame) -> str:
    """Where the factorization stands against the majority vote, in accuracy; from `sensitivity.compared`."""
    rows = _of(differences, "accuracy", VOTE)
    few = rows.iloc[0]
    shown = rows["p_holm"] < LEVEL
    return (f"The {few['method']} is ahead of the {VOTE} at {(shown & (rows['difference'] > 0)).sum()} of "
            f"{counted(len(rows), 'size')} and behind at {(shown & (rows['difference'] < 0)).sum()}, after Holm; "
            f"trained on {counted(int(few['n_models']), 'model')} its accuracy differs by {interval(few)} thousandths.")


def added(gains: pd.DataFrame) -> str:
    """What other models' answers add in the smallest pools, from `sensitivity.gains`."""
    small = gains[gains["n_models"] == gains["n_models"].min()]
    shown = small[(small["p_holm"] < LEVEL) & (small["difference"] > 0)]
    gained = listed(f"{row.forecaster} by {unsigned(row.difference)}" for row in shown.itertuples())
    where = f"For pools of {small['n_models'].iloc[0]} models the answers of the others"
    if shown.empty:
        return f"{where} are not shown to lower the log-loss of any forecaster."
    rest = len(small) - len(shown)
    others = f"; for {counted(rest, 'other')} no gain is shown" if rest else ""
    return f"{where} lower the log-loss of {gained} thousandths of a nat{others}."


def sizes(differences: pd.DataFrame) -> str:
    """Whether a network of any size is better than the bilinear form, from `network_size.differences`."""
    rows = _of(differences, "log_loss", BILINEAR)
    better, best = (rows["p_holm"] < LEVEL) & (rows["difference"] < 0), rows.loc[rows["difference"].idxmin()]
    many = f"{better.sum()} of {counted(len(rows), 'network')}"
    these = " in this one fit" if best["fits"] == 1 else ""
    return (f"{many} {'is' if better.sum() == 1 else 'are'} shown to have a lower log-loss than the {BILINEAR}"
            f"{these}; the lowest, with {best['method']}, differs by {interval(best)} thousandths of a nat at "
            f"{_times(best)}.")


def kept(cells: pd.DataFrame) -> str:
    """The lowest log-loss with the most cells, from `comparisons.averaged`."""
    low, share = _lowest(cells, cells["share"].max())
    return f"With {share:.0%} of the cells {low['forecaster']} has the lowest log-loss, {low['value']:.3f}."


def conclusion(tables: Mapping[str, pd.DataFrame]) -> str:
    """What changes in notebook 03, and how the tables say so.

    Parameters
    ----------
    tables : mapping
        "small_pools" from `sensitivity.compared`, "fewer_models" from `sensitivity.gains` (empty where the pool is too
        small to draw from), "network_size" from `network_size.differences`, "cells_unseen" and "cells_seen" from
        `comparisons.averaged` (the latter empty where nothing was hidden), "official_defects" from
        `official_defects.defects`.
    """
    pools, networks = tables["small_pools"], tables["network_size"]
    method = pools["method"].iloc[0]
    return f"""
## {ANSWER}

All differences in thousandths, with 95 % intervals, uncorrected; a direction counts as shown at 5 % after Holm. From
`make deep` where its tables are there.

- **C2, fewer models.** Accuracy, {method} minus {VOTE}: {_by_size(_of(pools, "accuracy", VOTE))}
  {tuning(method == catalog.TUNED.name)}
- **kNN beside the factorization, fewer models.** Log-loss, {method} minus {KNN}:
  {_by_size(_of(pools, "log_loss", KNN))}
- **What other models' answers add.** {_others(tables["fewer_models"])}
- **Network size.** {sizes(networks)} {_grown(networks)} {_tuned(networks)} {_understated(networks)}

On the published split alone, whose test part is a tenth of the questions, and so no ground to change anything:

- **Fewer cells.** {_order(tables["cells_unseen"])} {_completed(tables["cells_seen"])}
- **Defects of the official code** whose effect is shown at 5 % after Holm, over questions and trainings:
  {_defects(tables["official_defects"])}.
"""


def _by_size(rows: pd.DataFrame) -> str:
    """Differences at each number of models, and whether their direction is that of the whole pool (the last row)."""
    told = "; ".join(f"with {row['n_models']:.0f} models {interval(row)}" for _, row in rows.iterrows())
    signs = {row.n_models: (row.p_holm < LEVEL) * (1 if row.difference > 0 else -1) for row in rows.itertuples()}
    *small, all_models = signs
    if not small:
        return f"{told}. The pool is too small to draw from."
    whole = signs[all_models]
    turned = [size for size in small if signs[size] * whole < 0]
    lost = [size for size in small if whole and not signs[size]]
    found = [size for size in small if signs[size] and not whole]
    changes = [f"{verb} with {_sizes(where)}" for where, verb in (
        (turned, "turns round"), (lost, "cannot be told"), (found, "is shown, unlike with all,")) if where]
    if changes:
        return f"{told}. The direction {' and '.join(changes)}."
    return f"{told}. " + ("The direction is the same at every size." if whole else
                          "A direction is shown at no size, so that none changes.")


def _sizes(numbers: list[float]) -> str:
    return f"{listed(f'{number:.0f}' for number in numbers)} models"


def _others(gains: pd.DataFrame) -> str:
    if gains.empty:
        return "The pool is too small to draw from."
    small = gains[gains["n_models"] == gains["n_models"].min()]
    each = "; ".join(f"{row['forecaster']} {interval(row)}, {p_is(row['p_holm'])} after Holm"
                     for _, row in small.iterrows())
    return f"Log-loss alone minus with all, pools of {counted(int(small['n_models'].iloc[0]), 'model')}: {each}."


def _understated(differences: pd.DataFrame) -> str:
    """What the size of the network changes of what notebook 03 says of the factorization."""
    rows = differences[differences["metric"] == "log_loss"]
    tuned = (rows["reference"] == catalog.TUNED.name).any()
    judged = catalog.TUNED.name if tuned else BILINEAR
    tried = rows[rows["reference"] == judged]
    better = tried[(tried["p_holm"] < LEVEL) & (tried["difference"] < 0)]
    if better.empty:
        return f"Of what notebook 03 says of the {judged} no network is shown to change anything."
    best = better.loc[better["difference"].idxmin()]
    among = f", the best of {len(tried)}," * (len(tried) > 1)
    return (f"Beside what notebook 03 says of the {judged}, {best['method']}{among} has a log-loss that differs by "
            f"{interval(best)} thousandths of a nat.")


def _grown(differences: pd.DataFrame) -> str:
    """What the largest network changes against the smallest with vectors of the same length."""
    rows = differences[(differences["metric"] == "log_loss") & differences["dim"].notna()
                       & (differences["reference"] != BILINEAR)]
    told = " ".join(f"From {row['reference'].split(' ')[0]} to {row['hidden']:.0f} hidden units (vectors of "
                    f"{row['dim']:.0f}) it changes by {interval(row)}, {p_is(row['p_holm'])} after Holm: {_use(row)}."
                    for _, row in rows.iterrows())
    own = differences[(differences["metric"] == "log_loss") & (differences["reference"] == BILINEAR)].dropna(
        subset=["hidden"])
    best = own.loc[own["difference"].idxmin()]
    edge = (" The best network is the largest tried, so that a larger one may do better still."
            if best["hidden"] == own["hidden"].max() else "")
    return told + edge


def _use(row: pd.Series) -> str:
    if row["fits"] == 1:
        return "with one training each this may be luck"
    if row["p_holm"] >= LEVEL:
        return "more units are not shown to help"
    return f"more units {'help' if row['difference'] < 0 else 'harm'}"


def _tuned(differences: pd.DataFrame) -> str:
    rows = differences[(differences["metric"] == "log_loss") & (differences["method"] == catalog.TWO_LAYER.name)]
    most, fixed = max(catalog.TWO_LAYER.grid["hidden"]), differences["hidden"].max()
    end = (f" Its candidates end at {most} hidden units; networks of {fixed:.0f} were tried with fixed settings only."
           if fixed > most else "")
    return "".join(f"Both tuned from as many candidates, network minus factorization: {interval(row)}, "
                   f"{p_is(row['p_holm'])} after Holm, at {_times(row)}.{end}" for _, row in rows.iterrows())


def _times(row: pd.Series) -> str:
    return (f"{about(row['per_question'] / row['reference_per_question'])} times the multiply-adds per question "
            f"({about(row['per_question'])})")


def _order(cells: pd.DataFrame) -> str:
    """Who has the lowest log-loss on unseen questions with the fewest and with the most cells."""
    (few, least), (many, most) = (_lowest(cells, share) for share in (cells["share"].min(), cells["share"].max()))
    if least == most:
        return (f"On unseen questions, with {least:.0%} of the cells, {few['forecaster']} has the lowest log-loss, "
                f"{few['value']:.3f}.")
    same = "still" if few["forecaster"] == many["forecaster"] else "instead"
    return (f"On unseen questions {few['forecaster']} has the lowest log-loss with {least:.0%} of the cells, "
            f"{few['value']:.3f}, and {same} {many['forecaster']} with {most:.0%}, {many['value']:.3f} (not tested).")


def _completed(cells: pd.DataFrame) -> str:
    if cells.empty:
        return "Nothing was hidden, so that there was nothing to complete."
    rows = cells[cells["metric"] == "log_loss"]
    most = rows["share"].max()
    seen = rows[rows["share"] == most].set_index("forecaster")["value"]
    return (f"Completing seen questions is another task: with {most:.0%} of the cells its log-loss is "
            f"{seen[catalog.COMPLETION]:.3f} where the text alone gives {seen[catalog.ONE_ABILITY.name]:.3f}, which "
            "says nothing about new questions.")


def _defects(flaws: pd.DataFrame) -> str:
    changed: dict[str, list[str]] = {}
    for row in flaws[flaws["p_holm"] < LEVEL].itertuples():
        changed.setdefault(row.defect, []).append(f"{row.measure} {thousandths(row.difference)}")
    return "; ".join(f"{defect} ({', '.join(measures)})" for defect, measures in changed.items()) or "none"


def _of(differences: pd.DataFrame, metric: str, reference: str) -> pd.DataFrame:
    rows = differences[(differences["metric"] == metric) & (differences["reference"] == reference)]
    return rows.sort_values("n_models") if "n_models" in rows else rows


def _lowest(cells: pd.DataFrame, share: float) -> tuple[pd.Series, float]:
    rows = cells[(cells["metric"] == "log_loss") & (cells["share"] == share)]
    return rows.loc[rows["value"].idxmin()], share
