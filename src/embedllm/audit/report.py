"""What is wrong with a table of outcomes, in words and in numbers to draw; nothing is changed, the reader decides."""

from __future__ import annotations

import numpy as np
import pandas as pd

from embedllm.audit.anomalies import FEWEST, model_fit, model_pairs, names_alike, repeated_cells, repeated_rows
from embedllm.audit.missingness import describe_gaps
from embedllm.audit.near_duplicates import near_duplicates
from embedllm.audit.related import describe_related
from embedllm.audit.row_order import describe_row_orders
from embedllm.audit.variance import label_entropy, variance_components
from embedllm.levels import adjusted_means, groups_apart
from embedllm.outcomes import OutcomeMatrix, abbreviate, by_benchmark, prompt_groups
from embedllm.splits import PARTS

LONG = 20_000  # characters; a longer prompt is no ordinary question
HEAD = 200  # words, about what an encoder that reads 256 tokens sees of a prompt
SHOWN = 20  # benchmarks in the heatmap; of more, those with the largest gap
MEAN_BINS, SIMILARITY_BINS = 10, 20  # few for means: of 29 models they can only be multiples of 1/29
COMPLETE = 0.95  # of every benchmark for every model: then a sentence says more than a heatmap


def audit(table: OutcomeMatrix) -> pd.DataFrame:
    """What a reader should know about the table before believing a result.

    Returns
    -------
    DataFrame
        Columns ``topic``, ``check``, ``value`` (str), ``detail`` (str), about 40 rows; a row whose detail
        is empty found nothing to explain.
    """
    topics = {
        "size": _size, "missing cells": describe_gaps, "repeated rows": _repeated, "questions": _questions,
        "models": _models, "leakage": _leaks, "what can be forecast": _forecastable, "origin": _origin,
    }
    rows = [(topic, *row) for topic, find in topics.items() for row in find(table)]
    return pd.DataFrame(rows, columns=["topic", "check", "value", "detail"]).astype({"value": str})


def audit_panels(table: OutcomeMatrix) -> pd.DataFrame:
    """Everything that `plot_audit` draws, as one tidy table.

    Returns
    -------
    DataFrame
        Columns ``panel``, ``name``, ``group``, ``x``, ``y`` (float64). By panel:

        - size: "benchmarks", -, -, how many there are;
        - coverage: model, benchmark, position of the model, share of its questions asked, for the 20 benchmarks
          with the largest gap; where that share is at least 95 % everywhere only one row "all" without a
          benchmark, with the lowest of them and the share of all cells;
        - variance: component, -, variance of one cell, share of their sum;
        - entropy: what is known, -, position, bits per cell;
        - questions: -, "varies" or "constant", left end of a bin of mean scores, number of questions;
        - models: model, finding of `anomalies.model_fit`, correlation with the others, mean score (a model
          without a correlation has x = NaN);
        - similarity: -, "test", left end of a bin of similarities, number of test questions; absent
          without a split.
    """
    shares = by_benchmark(table, table.observed.astype(np.float64))
    size = pd.DataFrame({"name": ["benchmarks"], "y": [shares.shape[1]]})
    if shares.min(axis=None) >= COMPLETE:
        coverage = pd.DataFrame({"name": ["all"], "x": [shares.min(axis=None)], "y": [table.observed.mean()]})
    else:
        gaps = pd.DataFrame({"lowest": shares.min(), "mean": shares.mean()}).sort_values(["lowest", "mean"])
        shares = shares[gaps.index[:SHOWN]]
        coverage = shares.assign(x=np.arange(len(shares))).rename_axis(index="name").reset_index()
        coverage = coverage.melt(["name", "x"], var_name="group", value_name="y")
    components = variance_components(table).rename(columns={"component": "name", "variance": "x", "share": "y"})
    entropies = label_entropy(table).rename(columns={"knowing": "name", "bits": "y"}).assign(x=lambda rows: rows.index)

    constant = _constant(table)
    mean = np.nanmean(table.scores, axis=0, dtype=np.float64)
    questions = pd.concat([
        _histogram(mean[chosen], group, MEAN_BINS) for group, chosen in (("varies", ~constant), ("constant", constant))
    ])
    fit = model_fit(table).rename(columns={"finding": "group", "correlation": "x", "mean": "y"})
    fit = fit[["group", "x", "y"]].rename_axis(index="name").reset_index()
    panels = {"size": size, "coverage": coverage, "variance": components, "entropy": entropies, "questions": questions,
              "models": fit}
    if "part" in table.questions:
        leaks = near_duplicates(table)
        panels["similarity"] = _histogram(leaks.loc[leaks["part"] == "test", "similarity"], "test", SIMILARITY_BINS)
    tidy = pd.concat({name: rows.reindex(columns=["name", "group", "x", "y"]) for name, rows in panels.items()},
                     names=["panel"]).reset_index("panel").reset_index(drop=True)
    return tidy.astype({"x": float, "y": float}).fillna({"name": "", "group": ""})


def _size(table):
    """How big the table is and what its scores look like."""
    sizes = table.questions["benchmark"].value_counts()
    means, names = adjusted_means(table), table.models.index
    binary = np.isin(table.scores[table.observed], (0, 1)).mean()
    asked, apart = int(table.observed.sum()), groups_apart(table)
    return [
        ("models", table.shape[0], ""),
        ("questions", f"{table.shape[1]:,}", ""),
        ("benchmarks", len(sizes), f"from {sizes.iloc[-1]} questions ({sizes.index[-1]}) to {sizes.iloc[0]} "
                                   f"({sizes.index[0]})" if len(sizes) > 1 else str(sizes.index[0])),
        ("observed cells", f"{asked:,}", f"{asked / table.scores.size:.2%} of the table"),
        ("mean score", f"{table.scores[table.observed].mean(dtype=np.float64):.3f}",
         f"models from {means.min():.3f} ({names[means.argmin()]}) to {means.max():.3f} ({names[means.argmax()]})"
         if apart == 1 else f"not comparable: {apart} groups of models share no benchmark"),
        ("binary cells", f"{binary:.1%}", "" if binary == 1 else "the rest are graded, strictly between 0 and 1"),
    ]


def _repeated(table):
    """Repeated rows: how many, do they agree, and does the rule matter?"""
    cells, scores = repeated_cells(table)
    if not len(cells):
        return [("pairs with several rows", 0, "")]
    spread = pd.Series(scores).groupby(cells).agg(["min", "max", "size"])
    disagree = int((spread["min"] < spread["max"]).sum())
    used = table.provenance.get("rule for repeated rows", "not recorded")
    rules = repeated_rows(table)
    return [
        ("pairs with several rows", f"{len(spread):,}",
         f"{len(cells):,} rows, at most {spread['size'].max()} of one pair"),
        ("of these, pairs whose rows disagree", f"{disagree:,}", f"rule in use: {used}"),
        *((f"rule {row.rule}, against the mean", f"{row.cells:,} cells",
           f"overall mean {row.change:+.4f}; {row.model} most, {row.largest:+.4f}")
          for row in rules[rules["rule"] != "mean"].itertuples()),
    ]


def _questions(table):
    """Questions that tell nothing, and odd ones."""
    only = np.nanmax(table.scores, axis=0)[_constant(table)]  # the one score of each constant question
    share = f"of {table.shape[1]:,}; such a question tells no two models apart"
    sizes = table.questions["benchmark"].value_counts()
    small = sorted(map(str, sizes.index[sizes < len(PARTS)]))
    length = table.questions["prompt"].str.len()
    heads = table.questions["prompt"].str.lower().str.split(n=HEAD).str[:HEAD].str.join(" ")
    distinct = prompt_groups(table).groupby(heads.to_numpy(), sort=False)
    hidden = heads[(distinct.transform("nunique") > 1).to_numpy()]
    pair = ""
    if len(hidden):
        first = distinct.get_group(hidden.iloc[0]).drop_duplicates().index
        pair = (f"and different later, as {first[0]} and {first[1]}: an encoder that reads 256 tokens cannot tell them "
                "apart")
    between = int(((only > 0) & (only < 1)).sum())
    return [
        ("questions every model gets right", f"{(only == 1).sum():,}", share),
        ("questions no model gets right", f"{(only == 0).sum():,}", share),
        *([("questions with one graded score for all", f"{between:,}", share)] if between else []),
        ("benchmarks too small to split", len(small), abbreviate(small)),
        (f"prompts alike in their first {HEAD} words", f"{len(hidden):,}", pair),
        (f"prompts above {LONG:,} characters", int((length > LONG).sum()), f"the longest has {length.max():,}"),
    ]


def _models(table):
    """Models that are constant, copies, or unlike the rest."""
    fit, pairs, names = model_fit(table), model_pairs(table), table.models.index
    constant = [f"{row.Index} ({row.mean:.2f} everywhere)" for row in fit[fit["finding"] == "constant"].itertuples()]
    copies = pairs[pairs["identical"]]
    alike = pairs[~pairs["identical"] & pairs["correlation"].notna()].head(1)
    twice = [repr(name) for name in names_alike(names)]  # quoted, for blanks to be seen
    odd = fit[~fit["finding"].isin(["", "constant"])].sort_values("distance")
    meaning = {
        "weak": "low correlation with a low mean: what guessing looks like",
        "strong": "low correlation with a HIGH mean: what an attack on the scoring looks like, or a judge won by style",
        "middling": "low correlation with a middling mean: look at its answers",
    }
    middle, judged = fit["correlation"].median(), fit["correlation"].notna().sum() >= FEWEST
    rows = [
        ("models with one score everywhere", len(constant), abbreviate(constant)),
        ("pairs of models with identical scores", len(copies),
         abbreviate(f"{p.a} = {p.b}" for p in copies.itertuples())),
        *(("most alike among the others", f"correlation {p.correlation:.2f}",
           f"{p.a} and {p.b}, on {p.shared:,} questions, relative to the question's mean" +
           ("; nearly one and the same model" if p.correlation >= 0.95 else "")) for p in alike.itertuples()),
        ("names that differ in case, blanks or Unicode form only", len(twice), abbreviate(twice)),
        ("models unlike the rest", len(odd) if judged else "not judged",
         f"by the correlation of their scores with the other models' mean (median {middle:.2f})" if judged
         else f"fewer than {FEWEST} models have a correlation with the others"),
    ]
    for kind, text in meaning.items():
        found = [f"{row.Index} (correlation {row.correlation:.2f}, mean {row.mean:.2f})"
                 for row in odd[odd["finding"] == kind].itertuples()]
        if found:
            rows.append((f"unlike the rest, {kind}", len(found), f"{text}: {abbreviate(found)}"))
    return rows + describe_related(table) + describe_row_orders(table)


def _leaks(table):
    """Repeated prompts, and near-duplicates across the parts of the split."""
    groups = prompt_groups(table)
    exact = ("prompts that repeat another", f"{groups.duplicated().sum():,}", "case and white space aside")
    if "part" not in table.questions:
        return [exact, ("near-duplicates across the split", "not looked for", "the questions are not split yet")]
    leaks, rows = near_duplicates(table), [exact]
    for part, name in (("val", "validation questions with a near-duplicate in training"),
                       ("test", "test questions with a near-duplicate in training or validation")):
        here = leaks[leaks["part"] == part]
        repeats, same = here[here["near_duplicates"] > 0], int((here["similarity"] == 1).sum())
        detail = f"{len(repeats) / max(len(here), 1):.1%} of {len(here):,}; {same} with similarity 1"
        closest = repeats.sort_values("similarity", ascending=False, kind="stable").head(3)
        shown = "".join(f"; {question} resembles {nearest}" for question, nearest in closest["nearest"].items())
        rows.append((name, f"{len(repeats):,}", detail + shown))
    return rows


def _forecastable(table):
    """Variance components and the label entropies."""
    meaning = {
        "model": "some models are better everywhere",
        "benchmark": "some benchmarks are easier for all",
        "question within benchmark": "some questions are easier for all",
        "model x benchmark": "models have strong subjects",
        "rest": "a model's luck and taste in single questions",
    }
    rows = []
    for row in variance_components(table).itertuples():
        value = "not estimable" if np.isnan(row.share) else f"{row.share:.1%}"
        note = "; estimate below zero: take it as none" if row.variance < 0 else ""
        rows.append((f"share of variance: {row.component}", value, meaning[row.component] + note))
    entropies = label_entropy(table)
    for row in entropies.itertuples():
        saved = 1 - row.bits / entropies["bits"][0] if entropies["bits"][0] > 0 else 0.0
        told = f"{_percent(abs(saved))} {'less' if saved >= 0 else 'more'} than knowing the overall mean"
        rows.append((f"bits per cell, knowing {row.knowing}", f"{row.bits:.3f}", told if row.Index else ""))
    return rows


def _origin(table):
    """What was mended, and where everything comes from."""
    mended, clean = [], []
    for name, value in table.repairs.items():
        count = value if isinstance(value, int) else len(value)
        if count:
            mended.append((f"mended: {name}", f"{count:,}", "" if isinstance(value, int) else abbreviate(value)))
        else:
            clean.append(name)
    origin = [(f"from: {name}", *(value.split(" ", 1) if value.startswith("sha256 ") else (value, "")))
              for name, value in table.provenance.items()]
    if len(origin) > 6:
        further = abbreviate(list(table.provenance)[5:], 3)
        origin = [*origin[:5], ("from: and further entries", len(origin) - 5, further)]
    return [*mended, *([("nothing to mend", len(clean), "none of: " + "; ".join(clean))] if clean else []), *origin]


def _constant(table) -> np.ndarray:
    """Which questions several models were asked that all got the same score."""
    lowest, highest = np.nanmin(table.scores, axis=0), np.nanmax(table.scores, axis=0)
    return (lowest == highest) & (table.observed.sum(axis=0) > 1)


def _percent(share: float) -> str:
    """A share as whole percent without a minus in front of a zero."""
    return f"{round(100 * share) + 0}%"


def _histogram(values, group: str, bins: int) -> pd.DataFrame:
    """Counts of values in [0, 1] in equal bins, by their left ends."""
    counts, edges = np.histogram(values, bins=bins, range=(0, 1))
    return pd.DataFrame({"group": group, "x": edges[:-1], "y": counts})
