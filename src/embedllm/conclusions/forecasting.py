"""What notebook 03 says: who forecasts best, by how much, and what of it is specialization."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from embedllm import catalog
from embedllm.conclusions._words import LEVEL, compared, interval, sorted_by_test
from embedllm.experiments.worlds import SPREADS
from embedllm.presentation import counted, in_markdown, listed, p_is, p_value, thousandths, unsigned

VOTE, TUNED, BASE = catalog.VOTE.name, catalog.TUNED.name, catalog.BENCHMARK_MEAN.name
PUBLISHED, MEAN = catalog.AS_PUBLISHED.name, catalog.MODEL_MEAN.name
RIVALS = {"accuracy": VOTE, "log_loss": catalog.KNN.name}  # in the learning curve: a vote is no probability


def methods(entries: Iterable[catalog.Forecaster], candidates: Mapping[str, int]) -> str:
    """Markdown: what each forecaster knows of a question, what is tuned on validation, from how many candidates."""
    rows = [(entry.name, entry.knows, entry.tuned_on, candidates[entry.name] if entry.is_tuned else "-")
            for entry in entries]
    columns = ["forecaster", "what it knows of a question", "tuned on validation", "candidates"]
    return f"## The forecasters\n\n{in_markdown(pd.DataFrame(rows, columns=columns))}"


def ahead(entries: Iterable[catalog.Forecaster]) -> str:
    """The factorization that stands for the paper: the tuned one, or where that is skipped the default one."""
    return TUNED if TUNED in [entry.name for entry in entries] else catalog.FACTORIZATION.name


def measures(headline: str) -> tuple[str, str]:
    """What to look at first: accuracy and log-loss, or log-loss and AUC where most scores lie near 0 or 1."""
    return ("accuracy", "log_loss") if headline == "accuracy" else ("log_loss", "auc")


def best(scores: pd.DataFrame, headline: str = "accuracy") -> str:
    """Which forecaster is best, from `intervals.summarize`; what is known of the truth is no forecaster.

    Parameters
    ----------
    headline : {"accuracy", "log_loss"}
        With log-loss at the head, accuracy stands beside what each model's mean alone reaches.
    """
    own = scores[scores["forecaster"].isin(_compared())]
    ends = {metric: rows.set_index("forecaster")["value"] for metric, rows in own.groupby("metric")}
    words = {"accuracy": "highest accuracy", "log_loss": "lowest log-loss", "auc": "highest AUC"}
    winners = {name: ends[name].idxmin() if name == "log_loss" else ends[name].idxmax() for name in measures(headline)}
    (one, first), (two, second) = winners.items()
    who = "and" if first == second else f"the {second}"
    said = (f"Of {len(ends[one])} forecasters the {first} has the {words[one]}, {ends[one][first]:.3f}, {who} the "
            f"{words[two]}, {ends[two][second]:.3f}.")
    if headline == "accuracy":
        return said
    accuracy = ends["accuracy"]
    return (f"{said} The accuracy of the {first} is {accuracy[first]:.3f}, where the mean of each model alone reaches "
            f"{accuracy[catalog.MODEL_MEAN.name]:.3f}.")


def differences(tests: pd.DataFrame) -> str:
    """Which forecasters differ from the factorization in log-loss, from `fits.compare`; a vote is no probability."""
    return sorted_by_test(tests[tests["method"] != VOTE], "log-loss")


def parts(steps: pd.DataFrame) -> str:
    """Which part of the stacked ensemble earns most, from `ablation.stepwise`."""
    most, shown = steps.loc[steps["difference"].idxmin()], (steps["difference"] < 0) & (steps["p_holm"] < LEVEL)
    verb = "is" if shown.sum() == 1 else "are"
    return (f"{shown.sum()} of {counted(len(steps), 'part')} {verb} shown to earn something, most of all "
            f"{most['method'].removeprefix('+ ')}: {unsigned(-most['difference'])} thousandths of a nat.")


def beyond_ability(gains: pd.DataFrame, matched: pd.DataFrame) -> str:
    """What the primary contrast gains beyond worlds without specialization, from `worlds.beyond` and `matched`.

    Where the worlds of the primary null are unlike the pool in its spreads, that comes first.
    """
    here = gains[gains["forecaster"] == catalog.CONVEX.name].set_index("pool")
    observed, primary, rest = here["value"].iloc[0], here.iloc[1], here.iloc[2:]
    shown = "a larger gain than in" if primary["p"] <= LEVEL + 1e-9 else "not shown to be a larger gain than in"
    if observed >= 0:
        shown = "no gain to compare with those of"
    unlike = matched[(matched["null"] == primary.name) & matched["quantity"].isin(SPREADS.values())
                     & (matched["p"] < LEVEL)]["quantity"]
    warning = "" if unlike.empty else (f"The {primary.name} worlds are unlike this pool in {listed(unlike)}, so that a "
                                       "gain beyond theirs may come from that. ")
    said = (f"{warning}The {catalog.CONVEX.name} changes the log-loss by {thousandths(observed)} thousandths of a nat "
            f"against its own additive version: {shown} {primary['worlds']:.0f} {primary.name} worlds without "
            f"specialization ({thousandths(primary['value'])} on average; {p_is(primary['p'])}, the smallest possible "
            f"being {p_value(primary['smallest_p'])})")
    others = ", ".join(f"{row.Index} {p_is(row.p)}" for row in rest.itertuples())
    return f"{said}; sensitivity: {others}." if others else f"{said}."


def alike(matched: pd.DataFrame) -> str:
    """Whether worlds are like the observed pool in what is no specialization, from `worlds.matched`."""
    spreads = matched[matched["quantity"].isin(SPREADS.values())]
    apart = spreads[spreads["p"] < LEVEL]
    told = [f"the {null} worlds in {listed([f'{row.quantity} ({p_is(row.p)})' for row in rows.itertuples()])}"
            for null, rows in apart.groupby("null", sort=False)]
    alike = [null for null in spreads["null"].unique() if null not in set(apart["null"])]
    said = [f"No difference of {listed(alike)} worlds from the pool is shown in the spread of questions and of models."
            ] * bool(alike) + [f"Unlike it are {listed(told)}: what they show has to be read with this in mind."
                               ] * bool(told)
    return " ".join(said)


def calibrated(scores: pd.DataFrame, drawn: Iterable[str]) -> str:
    """The largest expected calibration error of those drawn, from `calibration.over_cells`."""
    errors = scores[(scores["metric"] == "ece") & scores["forecaster"].isin(drawn)]
    worst = errors.loc[errors["value"].idxmax()]
    return f"The largest expected calibration error here is {worst['value']:.3f} ({worst['forecaster']})."


def everywhere(rows: pd.DataFrame, by: str, reference: str) -> str:
    """On how many benchmarks or models the stacked ensemble is below the reference, from `calibration.breakdown`."""
    own = rows[rows["forecaster"] == catalog.OURS.name]
    return (f"The {catalog.OURS.name} has a lower log-loss than the {reference} on {(own['value'] < 0).sum()} of "
            f"{counted(len(own), by)}; {counted((own['high'] < 0).sum(), 'interval')} below zero, "
            f"{(own['low'] > 0).sum()} above.")


def lost(excess: pd.DataFrame) -> str:
    """How far the stacked ensemble stays from the best reader, from `calibration.excess_loss`."""
    wide = excess.pivot_table(index="forecaster", columns="quantity", values="value", dropna=False)
    ours, additive = (wide.loc[name, "estimation"] for name in (catalog.OURS.name, catalog.ADDITIVE))
    side, share = "above" if ours > additive else "below", wide.loc[catalog.OURS.name, "recovered"]
    recovered = "" if pd.isna(share) else (
        f" Of what telling the models apart is worth to the best reader it recovers {share:.0%}.")
    return (f"The {catalog.OURS.name} is {unsigned(ours)} thousandths of a nat above the best that a "
            f"reader of the text could do, and {unsigned(abs(ours - additive))} {side} what ability and "
            f"difficulty alone would allow.{recovered}")


def growth(differences: pd.DataFrame, own: str) -> str:
    """Where the factorization stands against the majority vote, in accuracy; from `learning.against`."""
    rows = differences[(differences["metric"] == "accuracy") & (differences["method"] == own)].sort_values("labels")
    few, many = rows.iloc[0], rows.iloc[-1]
    before, behind = (rows["low"] > 0).sum(), (rows["high_all"] < 0).sum()  # each for itself; all sizes together
    stands = " and ".join(f"{where} at {number}" for where, number in (("ahead", before), ("behind", behind)) if number)
    stands = stands or "neither ahead nor behind at any"
    return (f"Of {counted(len(rows), 'size')} the {own} is shown {stands}, against the {VOTE} (ahead: each size by "
            f"itself, behind: corrected for their number): "
            f"{thousandths(few['difference'])} thousandths of accuracy after {few['labels']:,} labels, "
            f"{thousandths(many['difference'])} after {many['labels']:,}.")


def graded(tests: pd.DataFrame, excess: pd.DataFrame | None, own: str) -> str:
    """What graded scores let the factorization forecast, from `fits.compare`; of planted scores with their ceiling.

    Beside it the model means, which read nothing: the control learns noise and can be worse than they are.
    """
    said, gains = compared(tests, own, "log-loss on graded scores"), tests.set_index("method")["difference"]
    if MEAN in gains:
        side = "more" if gains[own] < gains[MEAN] else "no more"
        said += (f" The {MEAN}, which reads nothing, differs from the same control by {thousandths(gains[MEAN])}: the "
                 f"factorization gains {side} than that.")
    if excess is None:
        return said
    rest = excess[excess["quantity"] == "estimation"].set_index("forecaster")["value"]
    return f"{said} It stays {unsigned(rest[own])} thousandths of a nat above the best reader of the text."


def conclusion(
    components: pd.DataFrame, tables: Mapping[str, pd.DataFrame], excess: pd.DataFrame, margin: float, own: str
) -> str:
    """Answers to the questions of the notebook.

    Parameters
    ----------
    components : DataFrame
        Of the scores of all questions, from `variance.variance_components`.
    tables : mapping
        "cross_fitted" from `comparisons.summary`, "learning_curve" from `learning.against` the majority vote,
        "paired_differences" from `fits.compare` (log-loss, reference the factorization) and "non_inferiority" from
        `fits.no_worse` of the stacked ensemble.
    excess : DataFrame
        From `calibration.excess_loss`; empty where the truth is not known.
    margin : float
        Of non-inferiority, nats per cell.
    own : str
        The factorization that stands for the paper.
    """
    scores, differences = tables["cross_fitted"], tables["paired_differences"]
    accuracy = scores[scores["metric"] == "accuracy"].set_index("forecaster")
    one = {row.Index: f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})" for row in accuracy.itertuples()}
    share = components.set_index("component")["share"]
    below = " (Shares estimated below zero count as none, so that these add up to more.)" if (share < 0).any() else ""
    curve, published, settings, as_published = tables["learning_curve"], "", "", ""
    if PUBLISHED in one:
        published, settings = f"{PUBLISHED} {one[PUBLISHED]}, ", f" In log-loss: {_pair(differences, PUBLISHED)}"
        as_published = f" With the paper's settings: {growth(curve, PUBLISHED)}"
    return f"""
## What the comparison shows

From the several fits of `make deep` where its tables are there.

**C1, accuracy on unseen questions.** Cross-fitted, with 95 % intervals: {own} {one[own]}, {published}{VOTE}
{one[VOTE]}, model mean {one["model mean"]}, {catalog.OURS.name} {one[catalog.OURS.name]}. An accuracy cannot
be compared with that on another table. The base rate is that of the benchmark mean, which knows the benchmark alone:
{one[BASE]}.{settings}

**C2, ahead of a majority vote at every size.** {growth(curve, own)}{as_published} A vote is no probability; kNN makes
one of the same neighbors, those nearer weighing more, shrunk towards each model's mean. In log-loss over all questions:
{_pair(differences, catalog.KNN.name)}

**Where the signal is.** Of the variance of a score {share["model"]:.0%} lies between models,
{max(share.get("benchmark", 0), 0):.0%} between benchmarks, {share["question within benchmark"]:.0%} between the
questions of a benchmark, {max(share.get("model x benchmark", 0), 0):.0%} in models that are better on some benchmarks
than on others, and {share["rest"]:.0%} in the rest: the luck of a single answer, and models that are better at some
questions within a benchmark.{below}

**The best forecaster.** {_best(tables["non_inferiority"], margin, own)} {"" if excess.empty else lost(excess)}
"""


def _compared() -> list[str]:
    """Forecasters that are compared, without the controls."""
    return [entry.name for entry in catalog.to_compare() if entry.role != "control"]


def _pair(differences: pd.DataFrame, name: str) -> str:
    said = compared(differences, name, "log-loss")
    return said[0].lower() + said[1:]


def _best(against: pd.DataFrame, margin: float, own: str) -> str:
    """Whether ours is no worse than any other by the margin, and what the margin means."""
    rows, others = against.set_index("forecaster"), against[against["forecaster"] != catalog.TEXT_ONLY.name]
    hardest = others.loc[others["high90"].idxmax()]  # its own part that reads the text alone is no rival
    open_cases = against["forecaster"][against["p_worse"] >= LEVEL]
    if (others["high90"] < 0).all():
        return (f"The {catalog.OURS.name} has a lower log-loss than every other forecaster, its own part that reads "
                f"the text alone aside. The closest is {hardest['forecaster']}: {interval(hardest, 'low90', 'high90')} "
                "thousandths of a nat.")
    verdict = (f"is not shown to be within the margin of {listed(open_cases)}" if len(open_cases)
               else "is no worse than any other forecaster by the margin")
    meaning = ""
    if {own, BASE} <= set(rows.index):
        earned = rows["difference"][own] - rows["difference"][BASE]
        meaning = (f", {margin / earned:.0%} of what the {own} earns over the benchmark means" if earned > 0
                   else f"; the {own} earns nothing over the benchmark means that would say whether that is little")
    return (f"The {catalog.OURS.name} {verdict} (the margin is {unsigned(margin)} thousandths of a nat{meaning}). The "
            f"closest, its own part that reads the text alone aside, is {hardest['forecaster']}: "
            f"{interval(hardest, 'low90', 'high90')}.")
