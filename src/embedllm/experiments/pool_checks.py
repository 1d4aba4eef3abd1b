"""What the study says of a small pool: p-values, and whether intervals hold what is true, mode by mode.

Each takes a pool of `small_pools`, a seed and whether what it looks for is there, and returns {name of a check: its p,
or 1.0 where its interval covers}; NaN where a pool is too small to ask. See `end_to_end`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation import fits, inference
from embedllm.evaluation.metrics import question_scores
from embedllm.experiments import benchmark_prediction as prediction
from embedllm.experiments import (
    domain,
    encoder_ablation,
    new_models,
    pricing,
    probes,
    stopping,
    training_ablation,
    worlds,
)
from embedllm.experiments.comparisons import across_fits, fitted
from embedllm.experiments.method_checks import LEVEL, N_PERMUTATIONS
from embedllm.experiments.routing import CrossFitted, routed
from embedllm.experiments.small_pools import N_FOLDS, Pool, best_of, cross_fit_with_fresh, eighths, names_of
from embedllm.forecasters.registry import cross_fit, rounds
from embedllm.new_models import rivals
from embedllm.outcomes import model_facts, prompt_groups
from embedllm.probing import clusters, geometry, linear_probes, scores
from embedllm.probing.prediction import predict_benchmark
from embedllm.routing import guard
from embedllm.routing.oracle import oracle_beside_luck
from embedllm.routing.price import GRID, at_prices, of_models, weigh, weighed
from embedllm.routing.saving import Answered, best_priced, certified_savings
from embedllm.splits import Design

N_FITS, N_WORLDS, N_DROPS, N_COMPONENTS = 5, 19, 2, 3  # 19 worlds: the fewest that reach .05
N_ORACLES = 99  # pools that are drawn around one ability
PROMISED = 0.05  # largest loss that a guard allows: with 300 questions nothing smaller is ever certified
ALONE = "medicine"  # the benchmark on which models are drawn anew
EQUAL, WORSE = 0.5, 2.0  # noise on vectors over their root mean square
LEAN = (catalog.KNN, catalog.CONVEX, catalog.CONVEX_ADDITIVE)
MEAN_OF_MODEL = catalog.MODEL_MEAN.name
NEAREST, VECTORS, TWIN = (entry.name for entry in LEAN)
N_ASKED = 32  # answers of a new model
NEWCOMER = "interval of a new model's mean score, end to end"
NARROW, UNREACHED = 0.08, 0.01  # half the width at which it is asked no more; one at which it never is
STOPPED, LOOKED_AT = "the same when it is narrow, most telling questions", "interval at any time, end to end"
PARTS_SHARED = (domain.BENCHMARKS, domain.ALONG, domain.DIFFERENCE)
SHARES = tuple(f"interval of the share {part}" for part in PARTS_SHARED)


def nobody_is_special(one: Pool, seed: int, planted: bool) -> dict[str, float]:
    """Routers and deviations from one ability."""
    plan, design = rounds(N_FITS, seed, {"seed": seed}), Design.of(one.table)
    found, told = cross_fit_with_fresh(one, LEAN, plan)
    asked, prices = CrossFitted.of(one.table, found, plan, N_FOLDS), of_models(one.table.models)["price"].to_numpy()
    reached = routed(asked).reached
    losses = across_fits(one.table, found, "log_loss", [VECTORS, TWIN])
    [gain] = fits.compare(reached, [(NEAREST, catalog.BEST_SINGLE)], design).itertuples()
    true = [one.true_mean(one.reached(forecasts[NEAREST]) - one.truth[best_of(one.table.at(fold != number))])
            for fold, by_fold in zip(asked.folds, told, strict=True) for number, forecasts in enumerate(by_fold)]
    area = pricing.priced(asked, prices, [NEAREST]).area.iloc[0]
    drawn = worlds.draw(worlds.select(one.table, one.vectors, seed), {worlds.PRIMARY: N_WORLDS}, (catalog.CONVEX,),
                        seed=seed)
    beyond = worlds.beyond(drawn).set_index("pool").loc[worlds.PRIMARY]
    guarded, saved = _promises(one, prices, seed)
    return {"router against the best model":
                fits.non_inferiority(reached[catalog.BEST_SINGLE], reached[NEAREST], design, 0)["p_worse"],
            "interval of the router's gain": float(gain.low <= np.mean(true) <= gain.high),
            "interval of the gain at all prices": float(area["low"] <= _true_area(one, told, prices) <= area["high"]),
            "deviations against one ability": fits.non_inferiority(losses[VECTORS], losses[TWIN], design, 0)["p_worse"],
            "worlds without specialization": float(beyond["p"]),
            "the oracle against one ability": oracle_beside_luck(one.table.scores, N_ORACLES)["p"].iloc[0],
            "promise of the guard": guarded, "promise of a saving": saved}


def text_tells_nothing(one: Pool, seed: int, planted: bool) -> dict[str, float]:
    """Forecasts from the text against none, and what leaving a benchmark out does to itself."""
    plan, design = rounds(N_FITS, seed, {"seed": seed}), Design.of(one.table)
    found, told = cross_fit_with_fresh(one, (catalog.MODEL_MEAN, catalog.CONVEX), plan)
    losses = across_fits(one.table, found, "log_loss")
    nearest = across_fits(one.table, cross_fit(one.table, one.vectors, [catalog.KNN], N_FOLDS, plan[:1]), "log_loss")
    [row] = fits.compare(losses, [(VECTORS, MEAN_OF_MODEL)], design).itertuples()
    true = [one.true_mean(question_scores(forecasts[VECTORS], one.truth, "log_loss")
                          - question_scores(forecasts[MEAN_OF_MODEL], one.truth, "log_loss"))
            for by_fold in told for forecasts in by_fold]
    single = inference.paired_test(nearest[NEAREST][0], losses[MEAN_OF_MODEL][0], design, seed=seed)
    changed = training_ablation.changes(one.table, one.vectors, N_COMPONENTS, N_DROPS, seed)
    better = fits.non_inferiority(losses[VECTORS], losses[MEAN_OF_MODEL], design, 0)["p_worse"]
    return {"text against model means": better,
            "interval of text minus model means": float(row.low <= np.mean(true) <= row.high),
            "text against model means, one fit": single["p"] / 2 if single["difference"] < 0 else 1 - single["p"] / 2,
            "what is left out, end to end": training_ablation.own_against_others(changed, 999)["p_more"]}


def size_and_kind_tell_nothing(one: Pool, seed: int, planted: bool) -> dict[str, float]:
    """Sizes, linear probes, neighbors and clusters of vectors; single size classes need larger pools."""
    parts = eighths(one, seed, 7)
    embedding, prompts = fitted(parts, catalog.CONVEX), parts["train"][1]
    distances = geometry.distances_with_level(embedding.betas, embedding.intercepts, prompts)
    facts = model_facts(one.table).assign(lineage=one.table.models["lineage"])
    [pooled] = probes.by_size({"": distances}, facts, N_PERMUTATIONS).itertuples()
    coordinates, _ = geometry.identified_coordinates(embedding.betas, embedding.intercepts, prompts, 5)
    read = linear_probes.probe(coordinates, {"size": np.log(facts["parameters_b"])}, facts["lineage"], N_PERMUTATIONS)
    neighbors = probes.neighbors({"": distances}, facts, N_PERMUTATIONS).set_index("label")["p"]
    found = clusters.clustering_test(geometry.principal(coordinates, 5), 4, 0.1, 0.05, N_PERMUTATIONS, 1)
    return {"sizes over all classes, end to end": pooled.p_closer if pooled.p_attainable < LEVEL else np.nan,
            "size from vectors": read["p"].iloc[0], "neighbors of one kind": neighbors["kind"],
            "neighbors of one size": neighbors["size band"], "clusters, end to end": max(found["p"], found["p_even"])}


def a_benchmark_stands_alone(one: Pool, seed: int, planted: bool) -> dict[str, float]:
    """What vectors that never saw a benchmark tell of the accuracy there."""
    table = replace(one.table, questions=one.table.questions.assign(part=names_of(one.table, seed, 7)))
    learned = prediction.learn(table, one.vectors, [catalog.CONVEX])
    own = learned.coordinates[VECTORS][ALONE][:, : 1 + N_COMPONENTS]
    regression = predict_benchmark(own, learned.target[ALONE].to_numpy(), learned.facts["lineage"],
                                   learned.facts["family"], ALONE, N_PERMUTATIONS)
    alone = replace(learned, target=learned.target[[ALONE]])
    found = scores.by_regression(learned.known, {VECTORS: {ALONE: own}}, {}, alone.target, learned.facts)
    errors = prediction.pooled(found, alone, 0.05).set_index("method")
    row = errors.loc[VECTORS]
    return {"regression, families": regression["p_family"], "regression, lineages": regression["p_lineage"],
            "vectors against the mean elsewhere": row["p"] / 2 if row["difference"] < 0 else 1 - row["p"] / 2}


def encoders_are_equal(one: Pool, seed: int, planted: bool) -> dict[str, float]:
    """Two noisy copies of the prompt vectors; planted: one of them noisier."""
    rng, spread = np.random.default_rng(seed), float(np.sqrt(np.mean(one.vectors**2)))
    noise = {"one": EQUAL, "other": WORSE if planted else EQUAL}
    copies = {name: one.vectors + rng.normal(0, share * spread, one.vectors.shape).astype(np.float32)
              for name, share in noise.items()}
    plan, design = rounds(N_FITS, seed, {"seed": seed, "noise": 0.0}), Design.of(one.table)
    found = encoder_ablation.judged(one.table, encoder_ablation.given(copies), [catalog.CONVEX], N_FOLDS, plan)
    losses = {name: own for (name, _), own in found["log_loss"].items()}
    [row] = fits.compare(losses, [("one", "other")], design).itertuples()
    return {"two encoders": row.p, "no worse, margin zero":
                fits.non_inferiority(losses["one"], losses["other"], design, 0)["p_worse"],
            "interval of two encoders' difference": float(row.low <= 0 <= row.high)}


def everything_is_there(one: Pool, seed: int, planted: bool) -> dict[str, float]:
    """Intervals of what deviations go with, where there are deviations."""
    parts = eighths(one, seed, 4)
    test, vectors = parts["test"]
    embedding = fitted(parts, catalog.CONVEX)
    found = domain.shares(embedding, test, vectors).set_index("part")
    number, there = test.questions["benchmark"].value_counts(), pd.Series(one.benchmarks)
    often = (there.value_counts()[number.index] // number).min()  # fresh questions in the proportions of the test part
    rows = np.flatnonzero(there.groupby(there).cumcount() < there.map(number * often).fillna(0))
    answered = np.random.default_rng(seed).random((len(one.truth), len(rows))) < one.truth[:, rows]
    true = domain.taken_apart(domain.logits_of(embedding, one.fresh[rows]), one.benchmarks[rows], np.zeros(len(rows)),
                              answered.mean(axis=0))
    return {name: float(found.loc[part, "low"] <= true[part] <= found.loc[part, "high"])
            for name, part in zip(SHARES, PARTS_SHARED, strict=True)}


def a_newcomer_is_asked(one: Pool, seed: int, planted: bool) -> dict[str, float]:
    """Intervals of a new model's mean score over all questions, its lineage being left out of the pool."""
    lineages = one.table.models["lineage"].to_numpy(str)
    new = lineages == np.random.default_rng(seed).choice(np.unique(lineages))
    rows = new_models.of_fold(one.table, one.vectors, new, rivals.clusters(one.vectors), [N_ASKED], [], 1, seed)
    own = rows.loc[rows["method"] == new_models.OURS, "covered"].iloc[0]
    stops = stopping.of_fold(one.table, one.vectors, new, NARROW, [stopping.TELLING], seed)
    never = stopping.of_fold(one.table, one.vectors, new, UNREACHED, [stopping.WEIGHTED], seed)
    return {NEWCOMER: own, STOPPED: float(stops["covered"].iloc[0]), LOOKED_AT: float(never["always"].iloc[0])}


def _promises(one: Pool, prices: np.ndarray, seed: int) -> tuple[float, float]:
    """Whether all that guard and saving of a router by kNN certify is as promised; three eighths calibrate them."""
    parts, groups = eighths(one, seed, 4), prompt_groups(one.table)
    router, train, test = fitted(parts, catalog.KNN), parts["train"][0], parts["test"][0]
    val, found = (Answered(router.predict_proba(vectors, table.questions["benchmark"].to_numpy()), table.scores)
                  for table, vectors in (parts["val"], parts["test"]))
    groups, told = groups[test.questions.index].to_numpy(), router.predict_proba(one.fresh, one.benchmarks)
    best, priced = best_of(train), best_priced(train.model_means, prices)
    _, guarded = guard.fit_guard(best, val.forecasts, *found, groups, PROMISED, seed=seed)
    saved = certified_savings(priced, prices, val, found, groups, PROMISED, seed)

    def kept(default: int, rules: pd.DataFrame) -> float:
        choices = [guard.Guard(default, row.threshold).choose(weigh(told, prices, row.weight))
                   for row in rules[rules["certified"]].itertuples()]
        gains = [one.true_mean(one.truth[choice, np.arange(len(choice))] - one.truth[default]) for choice in choices]
        return float(min(gains, default=0) >= -PROMISED)

    return kept(best, guarded.assign(weight=0.0)), kept(priced, saved)


def _true_area(one: Pool, told: Sequence[Sequence[dict[str, np.ndarray]]], prices: np.ndarray) -> float:
    """What kNN gains over a fixed mix of models at equal prices, on average over prices, by the true probabilities."""
    grid, means = np.linspace(prices.min(), prices.max(), GRID), one.truth @ one.weights
    mix, asked, gains = at_prices(means[:, None], prices, grid), np.full(one.truth.shape, True), []
    for by_fold in told:
        choices = [weighed(forecasts[NEAREST], asked, prices) for forecasts in by_fold]
        score, price = (np.mean([values @ one.weights for values in one_of], axis=0) for one_of in (
            [np.take_along_axis(one.truth, choice, axis=0) for choice in choices],
            [prices[choice] for choice in choices]))
        gains.append((at_prices(score[:, None], price, grid) - mix).mean())
    return float(np.mean(gains))
