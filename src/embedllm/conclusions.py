"""What the notebooks conclude: tables to Markdown that says no more than they do, one function a notebook."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.audit.report import HEAD
from embedllm.outcomes import OutcomeMatrix

AIM = 0.5  # of what specialization is worth to a reader of the text, on simulated data
CERTAIN = 0.99  # an oracle that luck alone brings so high says nothing
BY_CHANCE = 0.5  # rank correlation of two trainings below which distances show their initialization


def data_preparation(
    table: OutcomeMatrix, findings: pd.DataFrame, panels: pd.DataFrame, effect: pd.DataFrame, encoder: str, dim: int
) -> str:
    """What the table holds, and what to keep in mind: notebook 01.

    Parameters
    ----------
    findings, panels : DataFrame
        From `report.audit` and `report.audit_panels`.
    effect : DataFrame
        From `leakage.effect_of_leakage`.
    encoder : str
    dim : int
        Length of its vectors.
    """
    drawn = {name: rows.set_index("name") for name, rows in panels.groupby("panel")}
    shares, bits = drawn["variance"]["y"], drawn["entropy"]["y"]
    named = ", ".join(f"{name} ({row.group})" for name, row in drawn["models"].query("group != ''").iterrows())
    twins = findings.set_index("check").loc["test questions with a twin in training or validation", "value"]
    on_all = effect[(effect["test_questions"] == "all") & (effect["metric"] == "log_loss")]
    changed = ""
    if on_all["difference"].notna().any():
        changed = (f" Without the twins in training, kNN's log-loss on all test questions changes by "
                   f"{-on_all['difference'].iloc[0]:+.2g} nats per cell (p = {on_all['p'].iloc[0]:.2g}).")
    means, n_test = table.model_means, (table.questions["part"] == "test").sum()
    n_benchmarks = table.questions["benchmark"].nunique()
    long = (table.questions["prompt"].str.split().str.len() > HEAD).mean()
    return f"""
## What the table holds, and what to keep in mind

{table.shape[0]} models were scored on {table.shape[1]:,} questions of {n_benchmarks} benchmarks;
{table.observed.mean():.2%} of the cells are observed. The best model scores {means.max():.3f}, the weakest
{means.min():.3f}. {n_test:,} questions are set aside for the test.

- Of the variance of a score, {shares["model"]:.0%} lies between models, {shares["question within benchmark"]:.0%}
  between questions of a benchmark, and {shares["rest"]:.0%} in the single answer. A score holds
  {bits["the overall mean"]:.3f} bits for one who knows the overall mean and {bits["the model"]:.3f} for one who
  knows the model. A forecaster that reads the prompt can only earn a part of the latter: what it does not say,
  and luck, stay.
- Models to look at before believing a ranking: {named or "none"}. What is no model can be left out with `EXCLUDE`,
  for the whole study in a preset.
- Test questions with a twin in training or validation: {twins} of {n_test:,}.{changed}

{long:.1%} of the prompts have more than {HEAD} words. They are now {dim}-dimensional {encoder} vectors.
"""


def training(
    history: pd.DataFrame, curve: pd.DataFrame, shorter: pd.DataFrame, margin: float, n_models: int
) -> str:
    """What training shows: notebook 02.

    Parameters
    ----------
    history : DataFrame
        Of the fitted factorization.
    curve : DataFrame
        Validation and training log-loss by ``dim``, with ``part``.
    shorter : DataFrame
        From `comparisons.shorter_vectors`.
    margin : float
        Log-loss, nats per cell.
    n_models : int
    """
    losses = history["val"]
    by_dim = curve[curve["part"] == "validation"].set_index("dim")["value"]
    longest, as_good = by_dim.index.max(), shorter["dim"][shorter["as_good"]]
    verdict = f"No shorter length is shown to come within {margin} of {longest}, which may be for want of questions"
    if len(as_good):
        verdict = (f"Down to {as_good.min()} numbers per model the loss is shown to be less than {margin} above that "
                   f"of {longest}")
    return f"""
## What training shows

The lowest validation loss, {losses.min():.4f}, is reached in epoch {losses.idxmin() + 1} of {len(losses)}.
Among the lengths tried, the loss on validation questions is lowest with {by_dim.idxmin()} numbers per model.
{verdict} (on these validation questions and this training). From {n_models} numbers on, as many as there are models,
the length restricts nothing.
"""


def speed(tables: Mapping[str, pd.DataFrame]) -> str:
    """What `make bench` measured: the last section of notebook 02.

    Parameters
    ----------
    tables : mapping
        "machine", "reached", "exponents", "warm_starts", "encoders", "cost": the tables timing_* of figures/bench.
    """
    machine = tables["machine"].set_index("what")["value"]
    told, plain, batched, mmlu, labels, _ = tables["cost"]["flop"]
    by_cells, by_question = (tables["cost"].iloc[row] for row in (1, 2))
    powers = tables["exponents"].set_index("measure")
    grows, fills = (", ".join(f"{of.axis} {of.exponent:.2f} ({of.last:.2f})" for of in powers.loc[measure].itertuples())
                    for measure in ("seconds", "megabytes"))
    near = tables["reached"].dropna().sort_values("seconds")
    arrived = "; ".join(f"{row.solver} in {row.seconds:.1f} s" for row in near.itertuples())
    warm = tables["warm_starts"].pivot_table(index=["curve", "size"], columns="start")
    anew, onward = warm["seconds"].columns
    change = warm["val"][onward] - warm["val"][anew]
    saved = "; ".join(
        f"for the {curve} {part[onward].sum():.0f} s instead of {part[anew].sum():.0f}, loss "
        f"{change[curve].min():+.4f} to {change[curve].max():+.4f}" for curve, part in warm["seconds"].groupby("curve"))
    encoders = tables["encoders"].set_index("way")
    fastest = encoders["prompts_per_second"].idxmax()
    return f"""
### What the measurements show

On {machine['processor']} with {machine['cores']} cores ({machine['memory, GB']} GB, torch {machine['torch']}):

- Of {len(tables["reached"])} ways to train, each tried with one seed, these come within {near['margin'].max()} of the
  lowest validation loss: {arrived}.
- Time of an epoch grows as these powers of the sizes, in brackets between the two largest: {grows}. Two measurements
  of one size differ by some {powers.loc["seconds", "again"].median() - 1:.0%}.
- Memory beyond vectors and scores grows as these: {fills}.
- Starting each point of a curve from the one before takes, {saved}. The curves of this study train anew, so that no
  point depends on another.
- The fastest way to encode is {fastest} ({encoders['prompts_per_second'][fastest]:.0f} prompts a second, float32
  {encoders['prompts_per_second']['float32']:.0f}); its vectors have a cosine of
  {encoders['lowest_cosine'][fastest]:.3f} at least with those of float32, which the study keeps.
- The paper's figure follows from its convention: {told / 1e12:.1f} TFLOP. Counted, training cell by cell takes
  {plain / 1e12:.1f} TFLOP (prompt vectors need no gradient) and by question {batched / 1e12:.2f},
  {plain / batched:.0f} times less. In time that is {by_cells['seconds'] / 60:.0f} minutes and
  {by_question['seconds']:.0f} seconds, {by_cells['seconds'] / by_question['seconds']:.0f} times less; in memory
  {by_cells['megabytes']:.0f} and {by_question['megabytes']:.0f} MB.
- Benchmarking on MMLU costs {mmlu / told:,.0f} times the paper's figure and {mmlu / batched:,.0f} times training by
  question. That leaves the labels out. Training asks more questions than MMLU has, so to collect its labels costs
  {labels / mmlu:.1f} times as much as that benchmark: vectors save where the labels are there already or serve many
  benchmarks.
"""


def forecasting(
    components: pd.DataFrame, cross_fitted: pd.DataFrame, curve: pd.DataFrame, by_size: pd.DataFrame,
    differences: pd.DataFrame, against: pd.DataFrame, worlds: pd.DataFrame, excess: pd.DataFrame, margin: float,
) -> str:
    """Answers to the questions of notebook 03.

    Parameters
    ----------
    components : DataFrame
        Of the scores of all questions, from `variance.variance_components`.
    cross_fitted : DataFrame
        From `intervals.summarize`.
    curve : DataFrame
        From `comparisons.averaged`, a row a forecaster and size, sizes ascending.
    by_size : DataFrame
        kNN against the factorization at each size, from `inference.one_family`; more is better.
    differences : DataFrame
        From `inference.compare`, log-loss, reference the factorization.
    against : DataFrame
        Ours against each other forecaster: ``forecaster``, ``difference``, ``low90``, ``high90``, ``p_worse``.
    worlds : DataFrame
        From `ablation.beyond_worlds`.
    excess : DataFrame
        From `calibration.excess_loss`; empty where the truth is not known.
    margin : float
        Of non-inferiority, nats per cell.
    """
    accuracy = cross_fitted[cross_fitted["metric"] == "accuracy"].set_index("forecaster")
    one = {row.Index: f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})" for row in accuracy.itertuples()}
    full = curve[(curve["forecaster"] == "factorization") & (curve["metric"] == "accuracy")].iloc[-1]
    share = components.set_index("component")["share"]
    observed = worlds[worlds["pool"] == "observed"].itertuples()
    gains = ", ".join(f"{row.forecaster} {row.value:+.4f} (p = {row.p:.2g})" for row in observed)
    sentences = "\n".join("- " + _compared(differences, name, "log-loss") for name in differences["method"])
    return f"""
## What the comparison shows

**C1, accuracy on unseen questions.** Cross-fitted, with 95 % intervals: factorization {one["factorization"]}, kNN
{one["kNN"]}, model mean {one["model mean"]}, stacked ensemble {one[catalog.OURS.name]}. The paper's accuracy
belongs to its own table; accuracies on different tables do not compare. Another initialization moves the
factorization's test accuracy by {full["seed_sd"]:.4f} (SD).

**C2, better than kNN at every size of the training set** (test accuracy, corrected for the number of sizes):
{_against_neighbors(by_size)}. The same question in log-loss, over all questions, cross-fitted, for every forecaster:

{sentences}

**Where the signal is.** Of the variance of a score {share["model"]:.0%} lies between models,
{share["question within benchmark"] + share.get("benchmark", 0):.0%} between questions,
{share.get("model x benchmark", 0):.0%} in models being better on some benchmarks than on others, and
{share["rest"]:.0%} in what is left: the single answer's luck, and models being better at some questions within a
benchmark. Log-loss on the test questions minus that of one ability per model and a difficulty read from the text (below
zero: something is gained by knowing more of the models), with p from worlds that hold nothing more: {gains}.

**The best forecaster.** {_best(against, margin)} {_recovered(excess)}

**C12, how compact**, is answered by the curve over the length of a vector in notebook 02; **Q11, fewer models or
cells**, and what each defect of the official code changes, in notebook 07. **Q2, Q10** (what exactly is computed) and
**C13, Q4** (labels need not be binary) are answered above the first table.
"""


def routing(
    best_name: str, reached: Mapping[str, np.ndarray], choices: Mapping[str, np.ndarray],
    tests: Mapping[str, pd.DataFrame], luck: pd.DataFrame,
) -> str:
    """What routing shows: notebook 04.

    Parameters
    ----------
    best_name : str
        The model that did best in training.
    reached, choices : mapping
        From `policies.route`.
    tests : mapping
        "best single model", "factorization": from `inference.compare` with that policy as reference.
    luck : DataFrame
        From `results.oracle_beside_luck`.
    """
    used = {policy: len(np.unique(choices[policy])) for policy in ("factorization", "kNN")}
    oracle, null = luck.itertuples()
    verdict = f"p = {oracle.p:.2g}: luck alone does not explain the oracle"
    if oracle.p >= 0.05:
        verdict = f"p = {oracle.p:.2g}: luck alone explains the oracle, which is no sign that anything is left to gain"
    if null.value > CERTAIN:
        verdict = "so high that the comparison says nothing"
    over_single, over_factorization = tests["best single model"], tests["factorization"]
    sentences = [_compared(over_single, policy, "score") for policy in ("factorization", "kNN", "best per benchmark")]
    sentences += [_compared(over_factorization, policy, "score") for policy in ("kNN", "random model")]
    return f"""
## What routing shows

The best single model on the training questions is {best_name}; asked always, it scores
{reached["best single model"].mean():.3f} on the test questions, a random choice
{reached["random model"].mean():.3f}.

{_listed(sentences)}

The factorization spreads its choices over {used["factorization"]} models, kNN over {used["kNN"]}. The
oracle reaches {oracle.value:.3f}; in a pool without any specialization it would reach {null.value:.3f}
({null.low:.3f} to {null.high:.3f} in 95 % of the draws; {verdict}).
"""


def probing(predictions: pd.DataFrame, by_size: pd.DataFrame, agreement: pd.DataFrame, trust: float) -> str:
    """What the probes show: notebook 05.

    Parameters
    ----------
    predictions, by_size, agreement : DataFrame
        From `probes.benchmark_probes`, `probes.size_communities`, `probes.agreement`.
    trust : float
        Trustworthiness of the map; NaN where there is none.
    """
    raw, identified = (agreement.set_index("distance")["rank_correlation"][name] for name in ("raw", "identified"))
    on_raw = "what they show is the initialization" if raw < BY_CHANCE else "they carry more than the initialization"
    on_map = "Too few models: a map would say nothing."
    if trust > 0:
        on_map = (f"The t-SNE map has a trustworthiness of {trust:.2f}. Whether it shows clusters is for the eye to "
                  "say, and what the eye says is no test.")
    return f"""
## What the probes show

**C7.** {_predictions(predictions)}

**C8.** {_communities(by_size)} Two trainings agree on identified distances with a rank
correlation of {identified:.2f}, on raw distances of {raw:.2f}: {on_raw}.

**C9.** {on_map}
"""


def encoders(tests: pd.DataFrame, reference: str, margin: float) -> str:
    """What the ablation shows: notebook 06.

    Parameters
    ----------
    tests : DataFrame
        From `inference.compare`, with ``equivalent``.
    reference : str
        The encoder that others are compared with.
    margin : float
        Of equivalence, in accuracy.
    """
    alike = ", ".join(tests["method"][tests["equivalent"]]) or "none"
    control = tests.set_index("method").reindex(["random"]).iloc[0]
    verdict = f"That reading the prompt with {reference} earns anything is not shown here."
    if control["p_holm"] < 0.05 and control["difference"] < 0:
        verdict = (f"Against vectors that know nothing, reading the prompt with {reference} earns "
                   f"{-control['difference']:.3f} of accuracy.")
    return f"""
## What the ablation shows

{_listed(_compared(tests, name, "accuracy") for name in tests["method"])}

Shown to be equivalent to {reference} within {margin} of accuracy: {alike}. {verdict}
Equivalence of two encoders says that they are alike, not that nothing better exists.
"""


def sensitivity(gains: pd.DataFrame, completed: pd.DataFrame, flaws: pd.DataFrame, n_seeds: int) -> str:
    """What the comparison rests on: notebook 07.

    Parameters
    ----------
    gains : DataFrame
        From `sensitivity.gains`; empty where the pool is too small to draw from.
    completed : DataFrame
        Completing seen questions, from `comparisons.averaged`; empty where nothing was hidden.
    flaws : DataFrame
        From `official_defects.defects`.
    n_seeds : int
        Trainings of each defect.
    """
    small = gains[gains["n_models"] == gains["n_models"].min()] if len(gains) else gains
    added = "; ".join(f"{row.forecaster} {row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f}, "
                      f"p = {row.p_holm:.2g} after Holm)" for row in small.itertuples())
    cells = "nothing was hidden, so that there was nothing to complete."
    if len(completed):
        most = completed["share"].max()
        seen = completed[(completed["metric"] == "log_loss") & (completed["share"] == most)]
        seen = seen.set_index("forecaster")["value"]
        cells = (f"with {most:.0%} of them, completing seen questions has a log-loss of "
                 f"{seen[catalog.COMPLETION]:.4f} where the text alone gives {seen[catalog.ONE_ABILITY.name]:.4f}. The "
                 "two tasks are not one: a good completion says nothing about new questions.")
    beyond_seeds = flaws["difference"].abs() > 3 * flaws["seed_sd"] / n_seeds**0.5
    tested = flaws[(flaws["p_holm"] < 0.05) & beyond_seeds]
    shown = "; ".join(f"{row.defect} ({row.measure} {row.difference:+.4f})" for row in tested.itertuples())
    return f"""
## What the comparison rests on

- Fewer models, log-loss alone minus with all models' answers, smallest pools:
  {added or "the pool is too small to draw from"}.
- Fewer cells: {cells}
- Defects whose effect is shown at 5 % after Holm and is beyond what trainings differ by:
  {shown or "none"}.
"""


def _against_neighbors(by_size: pd.DataFrame) -> str:
    """The verdict on C2; no difference shown is none for or against it."""
    real = by_size["p_holm"] < 0.05
    ahead, behind = (real & (by_size["difference"] < 0)).sum(), (real & (by_size["difference"] > 0)).sum()
    sizes = f"of {len(by_size)} sizes the factorization is ahead of kNN at {ahead} and kNN ahead at {behind}"
    if ahead == len(by_size):
        return "reproduced, the factorization is ahead of kNN at every size"
    if behind:
        return f"not reproduced, {sizes}"
    if ahead:
        return f"reproduced in part, {sizes}; at the others no difference is shown"
    return f"no difference is shown at any size (the tests find differences from {by_size['mde'].min():.3f} on)"


def _best(against: pd.DataFrame, margin: float) -> str:
    open_cases, hardest = against[against["p_worse"] >= 0.05], against.loc[against["p_worse"].idxmax()]
    verdict = (f"is not shown to be within the margin of {', '.join(open_cases['forecaster'])}" if len(open_cases)
               else "is no worse than any other forecaster by the margin")
    return (f"The stacked ensemble {verdict} (margin {margin}; the hardest case is {hardest['forecaster']}: "
            f"{hardest['difference']:+.4f}, 90 % interval {hardest['low90']:+.4f} to {hardest['high90']:+.4f}).")


def _recovered(excess: pd.DataFrame) -> str:
    if excess.empty:
        return ""
    ours = excess[excess["forecaster"] == catalog.OURS.name].set_index("quantity")
    got = ours.loc["recovered"]
    return (f"Of what specialization is worth to a reader of the text it recovers {got['value']:.0%} "
            f"({got['low']:.0%} to {got['high']:.0%}; below zero: less than difficulty alone could tell). "
            f"{AIM:.0%} was aimed at: {'met' if got['value'] >= AIM else 'not met'}. "
            f"{ours['value']['estimation']:.4f} nats per cell are lost to estimation and to what the encoder does not "
            f"pass on, {ours['value']['unread text']:.4f} no reader could tell.")


def _predictions(probes: pd.DataFrame) -> str:
    """What `probes.benchmark_probes` shows, in sentences that claim no more."""
    tested = probes[probes["r2_cv"].notna()]
    by_vectors, by_level = (
        tested[tested["predictors"] == name].set_index("benchmark") for name in ("model vectors", "accuracy elsewhere")
    )
    if by_vectors.empty:
        return f"Not testable on this table ({probes['note'].iloc[0]})."
    classical, respecting = ((by_vectors[column] < 0.05).sum() for column in ("p_holm", "p_family_holm"))
    better = (by_vectors["r2_cv"] > by_level["r2_cv"].reindex(by_vectors.index)).sum()
    return (
        f"Of {len(by_vectors)} left-out benchmarks, vectors learned without them predict the accuracy on {classical} "
        f"by the classical F test and on {respecting} by the test that respects families (both after Holm). Families "
        f"that the regression never saw are predicted with a median R2 of {by_vectors['r2_cv'].median():.2f}; the "
        f"mean accuracy on the other benchmarks alone gives {by_level['r2_cv'].median():.2f}. The vectors' R2 is the "
        f"higher one on {better} of {len(by_vectors)}, a count that is no test."
    )


def _communities(communities: pd.DataFrame) -> str:
    """What `probes.size_communities` shows for the identified distance, in sentences that claim no more."""
    rows = communities[communities["distance"] == "identified"].set_index("community")
    if rows.empty:
        return "Not tested: the size of no model is known to lie in one of the classes."
    closer = rows.index[(rows["difference"] < 0) & (rows["p_holm"] < 0.05)]
    tested, untested = rows.index[rows["p_family"].notna()], rows.index[rows["p_family"].isna()]
    return (
        f"In the identified distance and with families respected, models are shown to lie closer to their own size "
        f"class than to the other classes for {', '.join(closer) or 'none'} of {', '.join(tested) or 'no class'}"
        + (f"; not testable: {', '.join(untested)}" if len(untested) else "")
        + ". What is not shown is not refuted: `p_attainable` says how small the p-value could have become."
    )


def _compared(comparisons: pd.DataFrame, method: str, measure: str) -> str:
    """One row of `compare` as a sentence that says no more than the test does."""
    row = comparisons.set_index("method").loc[method]
    if row["difference"] == 0 and row["se"] == 0:
        return f"{method} and {row['reference']} have the same {measure}: their difference is zero, without spread."
    numbers = f"{row['difference']:+.4f} (95 % interval {row['low']:+.4f} to {row['high']:+.4f}"
    numbers += f", p = {row['p_holm']:.2g} after Holm)"
    if row["p_holm"] < 0.05:
        order = "higher" if row["difference"] > 0 else "lower"
        return f"{method} has a {order} {measure} than {row['reference']}: {numbers}."
    return (f"No difference in {measure} is shown between {method} and {row['reference']}: {numbers}; "
            f"this test finds differences from {row['mde']:.4f} on.")


def _listed(sentences) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
