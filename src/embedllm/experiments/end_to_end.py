"""Are the tests right from end to end? Small planted pools go through the study's own steps (notebook 08).

`method_checks` draws what a test is given. Here tests get what forecasters and vectors make of 40 models and 800
questions. In each mode a pool lacks one thing, and the tests that look for it are asked whether they see it all the
same; where the pool has it they show their power.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from embedllm import catalog
from embedllm.evaluation import fits, inference
from embedllm.evaluation.metrics import question_scores
from embedllm.experiments import benchmark_prediction as prediction
from embedllm.experiments import domain, encoder_ablation, probes, training_ablation, worlds
from embedllm.experiments.comparisons import across_fits, fitted
from embedllm.experiments.method_checks import LEVEL, N_PERMUTATIONS, Check, judged, settled
from embedllm.experiments.routing import CrossFitted, routed
from embedllm.experiments.small_pools import N_FOLDS, Pool, best_of, crossed, eighths, names_of, pool
from embedllm.forecasters.registry import cross_fit, rounds
from embedllm.machine import side_by_side
from embedllm.outcomes import model_facts
from embedllm.probing import clusters, geometry, linear_probes, scores
from embedllm.probing.prediction import predict_benchmark
from embedllm.routing import guard
from embedllm.splits import Design

MOST_FALSE, LEAST_COVERED = 0.09, 0.90  # bounds, of 200 repetitions
N_MODELS = 40
N_FITS, N_WORLDS, N_DROPS, N_COMPONENTS = 5, 19, 2, 3  # 19 worlds: the fewest that reach .05
ENOUGH = 200  # pools of a mode that can settle a check
FEWER = 4  # so many times fewer repetitions where what is looked for is there
CHUNK, SEEDS = 5, 1_000_000
ALONE = "medicine"  # the benchmark on which models are drawn anew
EQUAL, WORSE = 0.5, 2.0  # noise on vectors over their root mean square
LEAN = (catalog.KNN, catalog.CONVEX, catalog.CONVEX_ADDITIVE)
MEAN_OF_MODEL = catalog.MODEL_MEAN.name
NEAREST, VECTORS, TWIN = (entry.name for entry in LEAN)


def nobody_is_special(one: Pool, seed: int, planted: bool) -> dict[str, float]:
    """Routers and deviations from one ability."""
    plan, design = rounds(N_FITS, seed, {"seed": seed}), Design.of(one.table)
    found, told = crossed(one, LEAN, plan)
    judged = CrossFitted.of(one.table, found, plan, N_FOLDS)
    reached = routed(judged).reached
    losses = across_fits(one.table, found, "log_loss", [VECTORS, TWIN])
    [gain] = fits.compare(reached, [(NEAREST, catalog.BEST_SINGLE)], design).itertuples()
    true = [one.true_mean(one.reached(forecasts[NEAREST]) - one.truth[best_of(one.table.at(fold != number))])
            for fold, by_fold in zip(judged.folds, told, strict=True) for number, forecasts in enumerate(by_fold)]
    drawn = worlds.draw(worlds.select(one.table, one.vectors, seed), {worlds.PRIMARY: N_WORLDS}, (catalog.CONVEX,),
                        seed=seed)
    beyond = worlds.beyond(drawn).set_index("pool").loc[worlds.PRIMARY]
    return {"router against the best model":
                fits.non_inferiority(reached[catalog.BEST_SINGLE], reached[NEAREST], design, 0)["p_worse"],
            "interval of the router's gain": float(gain.low <= np.mean(true) <= gain.high),
            "deviations against one ability": fits.non_inferiority(losses[VECTORS], losses[TWIN], design, 0)["p_worse"],
            "worlds without specialization": float(beyond["p"]),
            "promise of the guard": _guarded(one, seed)}


def text_tells_nothing(one: Pool, seed: int, planted: bool) -> dict[str, float]:
    """Forecasts from the text against none, and what leaving a benchmark out does to itself."""
    plan, design = rounds(N_FITS, seed, {"seed": seed}), Design.of(one.table)
    found, told = crossed(one, (catalog.MODEL_MEAN, catalog.CONVEX), plan)
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
    """Communities, linear probes, neighbors and clusters of vectors."""
    parts = eighths(one, seed, 7)
    embedding, prompts = fitted(parts, catalog.CONVEX), parts["train"][1]
    distances = geometry.distances_with_level(embedding.betas, embedding.intercepts, prompts)
    facts = model_facts(one.table).assign(lineage=one.table.models["lineage"])
    [pooled] = probes.by_size({"": distances}, facts, N_PERMUTATIONS).itertuples()
    near = probes.communities({"": distances}, facts, N_PERMUTATIONS)
    classes = near[(near["by"] == "size class") & (near["p_attainable"] * near["p_family"].notna().sum() < LEVEL)]
    coordinates, _ = geometry.identified_coordinates(embedding.betas, embedding.intercepts, prompts, 5)
    read = linear_probes.probe(coordinates, {"size": np.log(facts["parameters_b"])}, facts["lineage"], N_PERMUTATIONS)
    neighbors = probes.neighbors({"": distances}, facts, N_PERMUTATIONS).set_index("label")["p"]
    found = clusters.clustering_test(geometry.principal(coordinates, 5), 4, 0.1, 0.05, N_PERMUTATIONS, 1)
    return {"sizes over all classes, end to end": pooled.p_closer if pooled.p_attainable < LEVEL else np.nan,
            "size classes, Holm": classes["p_holm"].min(),
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
    true = domain.taken_apart(domain.logits_of(embedding, one.fresh[rows]), one.benchmarks[rows], np.zeros(len(rows)))
    return {name: float(found.loc[part, "low"] <= true[part] <= found.loc[part, "high"])
            for name, part in zip(SHARES, PARTS_SHARED, strict=True)}


PARTS_SHARED = ("within benchmarks", "along difficulty", "along difficulty, within benchmarks")
SHARES = tuple(f"interval of the share {part}" for part in PARTS_SHARED)


@dataclass(frozen=True)
class Mode:
    """What a pool lacks, and who is asked whether they see it all the same.

    Attributes
    ----------
    lacks : str
    settings : dict
        Of a pool that lacks it; one that has it is as the study plants it.
    n_models : int
        More where 40 are too few for any test of sizes within families.
    ask : callable
        Pool, seed and whether it is there, to {name of a check: its p, or 1.0 where its interval covers}; NaN where a
        pool is too small to ask.
    checks : tuple of Check
    """

    lacks: str
    settings: dict
    ask: Callable[[Pool, int, bool], dict[str, float]]
    checks: tuple[Check, ...]
    n_models: int = N_MODELS


PLAIN = {"kappa": 0, "alpha_mean": 0, "alpha_spread": 0, "guessing": False, "format_failures": False}
SPECIAL, READ, SIZED = "no specialization", "the text tells nothing", "size and kind tell nothing, families are alike"
DRAWN_ANEW, COPIES = "models drawn anew on a benchmark, families alike", "two noisy copies of the vectors"
MODES = (
    Mode("specialization", PLAIN, nobody_is_special, (
        Check("router against the best model", "04", SPECIAL),
        Check("interval of the router's gain", "04", SPECIAL, covers=True),
        Check("deviations against one ability", "03, 07", SPECIAL),
        Check("worlds without specialization", "03, 04", SPECIAL),
        Check("promise of the guard", "04", SPECIAL, covers=True))),
    Mode("text", {"rho_d": 0, "rho_z": 0, "benchmark_in_text": False}, text_tells_nothing, (
        Check("text against model means", "02, 03, 07", READ),
        Check("interval of text minus model means", "02, 03, 07", READ, covers=True),
        Check("text against model means, one fit", "03, 07", READ),
        Check("what is left out, end to end", "05", READ))),
    Mode("size and kind", {"beta": 0, "specialty": 0}, size_and_kind_tell_nothing, (
        Check("sizes over all classes, end to end", "05", SIZED),
        Check("size classes, Holm", "05", SIZED),
        Check("size from vectors", "05", SIZED),
        Check("neighbors of one kind", "05", SIZED),
        Check("neighbors of one size", "05", SIZED),
        Check("clusters, end to end", "05", SIZED)), n_models=112),
    Mode("a common ability", {"redrawn_benchmark": ALONE, "format_failures": False}, a_benchmark_stands_alone, (
        Check("regression, families", "05", DRAWN_ANEW),
        Check("regression, lineages", "05", DRAWN_ANEW),
        Check("vectors against the mean elsewhere", "05", DRAWN_ANEW))),
    Mode("a better encoder", {}, encoders_are_equal, (
        Check("two encoders", "06", COPIES),
        Check("no worse, margin zero", "06", COPIES),
        Check("interval of two encoders' difference", "06", COPIES, covers=True))),
    Mode("nothing", {}, everything_is_there, tuple(
        Check(name, "05", "the study's own pool", covers=True) for name in SHARES)),
)
CHECKS = tuple(check for mode in MODES for check in mode.checks)


def run(
    number: int, seed: int, compute: Callable = side_by_side, names: Sequence[str] = (),
) -> dict[tuple[str, bool], np.ndarray]:
    """So many pools of every mode and a quarter as many that lack nothing, or the pools that some checks need.

    Returns what `method_checks.run` does, without the pools that were too small to ask.
    """
    modes = [mode for mode in MODES if not names or {check.name for check in mode.checks} & set(names)]
    first, plan = seed * SEEDS, []
    for mode in modes:
        for planted, many in ((False, number), (True, 0 if names else -(-number // FEWER))):
            plan += [(mode, planted, list(range(start, min(start + CHUNK, first + many))))
                     for start in range(first, first + many, CHUNK)]
    found: dict[tuple[str, bool], list] = {}
    calls = [partial(repeated, mode.lacks, planted, seeds) for mode, planted, seeds in plan]
    for (_, planted, _), rows in zip(plan, compute(calls), strict=True):
        for name in rows:
            found.setdefault((name, planted), []).append(rows[name].dropna().to_numpy())
    return {key: np.concatenate(values) for key, values in found.items()
            if (key[0] in names or not names) and sum(map(len, values))}


def repeated(lacks: str, planted: bool, seeds: list[int]) -> pd.DataFrame:
    """What the checks of a mode say of these pools: a row each, a column a check."""
    [mode] = (mode for mode in MODES if mode.lacks == lacks)
    drawn = (pool(seed, mode.n_models, {} if planted else mode.settings) for seed in seeds)
    return pd.DataFrame([mode.ask(one, seed, planted) for one, seed in zip(drawn, seeds, strict=True)], dtype=float)


def kept(number: int, seed: int, compute: Callable = side_by_side) -> dict[str, pd.DataFrame]:
    """`method_checks.settled` of these checks, with their own bounds."""
    judge = partial(judged, checks=CHECKS, most_false=MOST_FALSE, least_covered=LEAST_COVERED)
    return settled(number, seed, compute, run, judge, CHECKS, ENOUGH)


def _guarded(one: Pool, seed: int) -> float:
    """Whether the guard of a router that follows kNN keeps its promise; three eighths of the questions calibrate it."""
    parts = eighths(one, seed, 4)
    router = fitted(parts, catalog.KNN)
    before, found = (router.predict_proba(parts[part][1], parts[part][0].questions["benchmark"].to_numpy())
                     for part in ("val", "test"))
    held, _ = guard.fit_guard(best_of(parts["train"][0]), before, found, parts["test"][0].scores, seed=seed)
    asked = held.choose(router.predict_proba(one.fresh, one.benchmarks))
    gain = one.truth[asked, np.arange(len(asked))] - one.truth[held.default]
    return float(one.true_mean(gain) >= -held.epsilon)
