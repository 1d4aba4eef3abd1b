"""Rows in another order: planted ones are found by name, clean pools raise no alarm, numbers equal those by hand."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from scipy.stats import beta, norm

from embedllm.audit import row_order
from embedllm.audit.report import audit
from embedllm.audit.row_order import AS_IT_STANDS, NEIGHBORS, orders, row_orders
from embedllm.sources import mmlu_pro
from embedllm.sources.simulated import simulate

PLANTED = ["interleaved over 4 processes", "de-interleaved over 8 processes", "reversed", "shifted by one forward",
           "interleaved over 8 processes, labeled as over 2", "interleaved over 4 processes, in a table over 8"]


def columns_of(table):
    """Positions in the table of each benchmark's questions, one benchmark after the other, and their numbers."""
    benchmark, _ = pd.factorize(table.questions["benchmark"])
    return np.argsort(benchmark, kind="stable"), np.bincount(benchmark)


def misplaced(table, name, models):
    """The table with the rows of some models in another order: position j holds the score on question order[j]."""
    columns, sizes = columns_of(table)
    scores = table.scores.copy()
    scores[np.ix_(models, columns)] = table.scores[models][:, columns[orders(*sizes)[name]]]
    return replace(table, scores=scores)


def arranged(table, how):
    """The table with the questions of each benchmark grouped or sorted, so that neighbors are alike."""
    facts = table.questions.assign(place=np.arange(table.shape[1]), easy=table.references["true probability"].mean(0))
    by = {"as drawn": ["place"], "sorted": ["benchmark", "easy"], "topics": ["benchmark", "subtopic", "place"],
          "cues": ["benchmark", "difficulty_cue", "subtopic", "place"],
          "sorted topics": ["benchmark", "subtopic", "easy"]}
    return table.at(facts.sort_values(by[how])["place"].to_numpy())


def tempting(seed, kind):
    """A clean pool of 40 models x 600 questions, many of which follow no difficulty: what could raise an alarm.

    Half of the models guess ("guessers": all but four), with talents in blocks of questions of like difficulty
    ("blocks"), also sorted by difficulty ("sorted"), or where nearly all is solved ("solved"); of "contrary" pools
    three models fail where others succeed.
    """
    rng = np.random.default_rng(seed)
    n_models, n, parts = 40, 600, rng.integers(1, 9)
    benchmark = np.repeat(np.arange(parts), rng.multinomial(n - 8 * parts, rng.dirichlet(np.full(parts, 5.0))) + 8)
    _, block = np.unique(1000 * benchmark + np.arange(n) // rng.choice([4, 25, 60]), return_inverse=True)
    hard = rng.normal(size=n) + rng.normal(size=n)[block]
    if kind == "solved":
        hard = np.where(rng.random(n) < 0.02, 3, -4) + rng.normal(0, 0.5, n)
    if kind == "sorted":
        hard = hard[np.lexsort([hard, benchmark])]
    slope = np.where(np.arange(n_models) < (4 if kind == "guessers" else n_models // 2), 1.0, 0.0)
    slope[-3:] -= kind == "contrary"
    talent = rng.normal(size=(n_models, n))[:, block] * (kind in ("blocks", "sorted"))
    logit = rng.normal(0, 1.2, (n_models, 1)) - slope[:, None] * hard + talent
    return make_table(rng.random(logit.shape) < 1 / (1 + np.exp(-logit)), benchmark.astype(str))


ARRANGED = ("as drawn", "sorted", "topics", "cues", "sorted topics")
TEMPTING = ("guessers", "blocks", "sorted", "solved", "contrary")
SETTINGS = ({}, {"kappa": 1.5}, {"kappa": 0.0}, {"graded": True}, {"missing": 0.2}, {"kappa": 1.5, "rho_z": 1.0})


def planted_pool(seed, n_models=40, n_questions=600):
    """A clean planted pool, of another arrangement and setting for each seed."""
    pool = simulate(n_models=n_models, n_questions=n_questions, data_seed=seed, **SETTINGS[seed // 5 % len(SETTINGS)])
    return arranged(pool, ARRANGED[seed % 5])


# ---------------------------------------------------------------- orders

def test_orders_by_hand():
    found = orders(10)
    assert next(iter(found)) == AS_IT_STANDS
    assert found["interleaved over 4 processes"].tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 3, 7]
    assert found["de-interleaved over 4 processes"].tolist() == [0, 3, 6, 8, 1, 4, 7, 9, 2, 5]
    assert found["reversed"].tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert found["shifted by one forward"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert found["shifted by one back"].tolist() == [9, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert len(found) == 22


@pytest.mark.parametrize(("k", "h"), [(8, 2), (4, 8), (8, 1), (1, 8)])
def test_a_run_under_the_header_of_another_run_is_among_the_orders(k, h):
    """Written down as the harness and a table do: results one process after the other, below the header of h."""
    n = 13
    gathered, header = ([q for rank in range(p) for q in range(rank, n, p)] for p in (k, h))
    by_label = [gathered[header.index(q)] for q in range(n)]  # columns sorted by the header
    as_written = [header.index(q) for q in gathered]  # columns as they stand, position by position
    name = {(8, 2): "interleaved over 8 processes, {} over 2", (4, 8): "interleaved over 4 processes, {} over 8",
            (8, 1): "interleaved over 8 processes", (1, 8): "de-interleaved over 8 processes"}[k, h]
    assert orders(n)[name.format("labeled as")].tolist() == by_label
    assert orders(n)[name.format("in a table")].tolist() == as_written


@pytest.mark.parametrize("sizes", [(1,), (2,), (3,), (12,), (250,), (1, 7, 30)])
def test_orders_are_distinct_and_stay_within_benchmarks(sizes):
    found = orders(*sizes)
    home = np.repeat(np.arange(len(sizes)), sizes)
    for order in found.values():
        assert sorted(order) == list(range(sum(sizes))) and (home[order] == home).all()
    assert len({order.tobytes() for order in found.values()}) == len(found)
    assert (len(found) == 1) == (sizes == (1,))
    assert ("interleaved over 4 processes, labeled as over 2" in found) == any(n % 4 and n > 4 for n in sizes)


# ---------------------------------------------------------------- rows

@pytest.mark.parametrize("name", PLANTED)
def test_one_row_and_a_third_of_the_rows_are_found_by_name(name):
    clean = simulate(n_models=40, n_questions=1500, data_seed=3)  # benchmarks take turns in the table
    assert (row_orders(clean)["finding"] == "").all()
    for models in ([7], range(5, 18)):
        found = row_orders(misplaced(clean, name, list(models)))
        flagged = found["finding"] != ""
        assert flagged.to_numpy().nonzero()[0].tolist() == list(models)
        assert (found.loc[flagged, "order"] == name).all()
        assert found["finding"].iloc[models[0]].endswith(f"another order of the questions: {name}")
        assert (found.loc[flagged, "correlation"].abs() < 0.15).all() and (found.loc[flagged, "best"] > 0.2).all()


def test_many_rows_in_one_order_are_found_though_they_agree_with_each_other(monkeypatch):
    clean = simulate(n_models=40, n_questions=1500, data_seed=8)
    planted = [PLANTED[4]] * 16 + [PLANTED[0], "reversed"]
    table = clean
    for model, name in enumerate(planted):
        table = misplaced(table, name, [model])
    assert row_orders(table)["order"].tolist() == planted + [AS_IT_STANDS] * 22
    assert (row_orders(table)["finding"] != "").tolist() == [True] * 18 + [False] * 22
    most = row_orders(misplaced(clean, "interleaved over 8 processes", range(28)))["order"]  # then the others stand out
    assert most.tolist() == [AS_IT_STANDS] * 28 + ["de-interleaved over 8 processes"] * 12
    monkeypatch.setattr(row_order, "ROUNDS", 1)
    assert (row_orders(table)["finding"] != "").sum() < 12  # with the difficulty that all rows find


def test_numbers_by_hand():
    clean = simulate(n_models=12, n_questions=250, data_seed=1)
    name = "interleaved over 2 processes"
    table = misplaced(clean, name, [4])
    columns, sizes = columns_of(table)
    scores = table.scores[:, columns].astype(float)
    rest = np.delete(scores, 4, axis=0)
    x, d = scores[4].copy(), (rest - rest.mean(axis=1, keepdims=True)).mean(axis=0)
    for values in (x, d):
        parts = np.split(values.copy(), np.cumsum(sizes)[:-1])
        values[:] = np.concatenate([[part[j] - part[max(j - NEIGHBORS, 0) : j + NEIGHBORS + 1].mean()
                                     for j in range(len(part))] for part in parts])
    order = orders(*sizes)[name]
    found = row_orders(table).iloc[4]
    length = np.sqrt((x**2).sum() * (d**2).sum())
    expected = (x * d).sum() / length, (x * d[order]).sum() / length
    assert (found["correlation"], found["best"]) == pytest.approx(expected)
    gain, alone = x * (d[order] - d), x * d[order]
    z = min(gain.sum() / np.sqrt((gain**2).sum()), alone.sum() / np.sqrt((alone**2).sum()))
    assert (found["order"], found["z"]) == (name, pytest.approx(z))
    assert found["p"] == pytest.approx(min(norm.sf(z) * 12 * (len(orders(*sizes)) - 1), 1))


def test_a_benchmark_with_a_gap_is_not_used_for_its_model():
    clean = simulate(n_models=20, n_questions=1200, data_seed=2)
    table = misplaced(clean, "reversed", [0, 1, 2])
    scores, benchmark = table.scores.copy(), table.questions["benchmark"].to_numpy()
    largest = benchmark == "general-knowledge"
    scores[0, np.flatnonzero(largest)[5]] = np.nan
    scores[1, [np.flatnonzero(benchmark == name)[0] for name in np.unique(benchmark)]] = np.nan
    found = row_orders(replace(table, scores=scores))
    assert found["compared"].iloc[:3].tolist() == [1200 - largest.sum(), 0, 1200]
    assert found["questions"].iloc[0] == 1199
    assert found["order"].iloc[:3].tolist() == ["reversed", AS_IT_STANDS, "reversed"]
    assert (found["finding"] != "").tolist() == [True, False, True] + [False] * 17
    assert found.iloc[1][["correlation", "z", "p"]].isna().all()
    without = row_orders(replace(table, scores=np.where(largest & (np.arange(20) == 0)[:, None], np.nan, table.scores)))
    assert found["best"].iloc[0] == pytest.approx(without["best"].iloc[0], abs=0.01)


@pytest.mark.parametrize("scores", [np.ones((1, 1)), np.ones((3, 5)), np.eye(9), np.tile([0, 1], (9, 20))])
def test_tables_without_a_difficulty_raise_nothing(scores):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (row_orders(make_table(scores))["finding"] == "").all()


def test_few_models_are_not_judged():
    table = misplaced(simulate(n_models=8, n_questions=2000), "reversed", [0])
    assert (row_orders(table)["finding"] != "").sum() == 1
    fewer = replace(table, scores=table.scores[:7], models=table.models[:7], references={})
    assert (row_orders(fewer)["finding"] == "").all() and row_orders(fewer)["p"].min() < 1e-6


# ---------------------------------------------------------------- false alarms and power

def alarms(pools):
    return np.array([(row_orders(pool)["finding"] != "").sum() for pool in pools])


def upper_bound(count, n):
    """One-sided 95 % upper bound of a share (Clopper and Pearson 1934, Biometrika 26)."""
    return beta.ppf(0.95, count + 1, n - count)


def test_clean_pools_seldom_raise_an_alarm():
    found = alarms([planted_pool(seed) for seed in range(900, 930)])
    assert (found > 0).sum() <= 1  # as 2 of 1,000 others had, and at most 9 of 1,000 of each kind below
    for kind in TEMPTING:
        assert (alarms(tempting(seed, kind) for seed in range(60)) > 0).sum() <= 3, kind


def test_without_regard_to_neighbors_grouped_questions_would_raise_alarms(monkeypatch):
    monkeypatch.setattr(row_order, "NEIGHBORS", 600)
    assert (alarms(tempting(seed, "sorted") for seed in range(60)) > 0).mean() > 0.1


@pytest.mark.slow
def test_the_rate_of_false_alarms_is_bounded():
    seeds = range(10_000, 11_000)
    assert upper_bound((alarms(map(planted_pool, seeds)) > 0).sum(), 1000) <= 0.065
    for kind in TEMPTING:
        assert upper_bound((alarms(tempting(seed, kind) for seed in seeds) > 0).sum(), 1000) <= 0.065, kind


@pytest.mark.slow
@pytest.mark.parametrize("name", ["interleaved over 4 processes", "interleaved over 8 processes", "reversed",
                                  "shifted by one forward"])
def test_power(name):
    """On 1,500 questions nearly every misplaced row is found, alone or with a third of the others, and no other."""
    for share in (1, 13):
        hits, false = 0, 0
        for seed in range(40):
            clean = simulate(n_models=40, n_questions=1500, data_seed=seed)
            wrong = np.random.default_rng(seed).choice(40, share, replace=False)
            flagged = (row_orders(misplaced(clean, name, wrong))["finding"] != "").to_numpy()
            hits, false = hits + flagged[wrong].mean(), false + np.delete(flagged, wrong).sum()
        assert hits / 40 > 0.9 and false == 0


# ---------------------------------------------------------------- the audit's row

def said(table):
    return audit(table).set_index("check").loc["rows in another order"]


def test_the_audit_names_rows_and_orders():
    clean = simulate(n_models=20, n_questions=1200, data_seed=2)
    assert said(clean)[["topic", "value", "detail"]].tolist() == ["models", "0", ""]
    found = said(misplaced(clean, "interleaved over 8 processes", range(7)))
    assert found["value"] == "7" and found["detail"].endswith("as it stands) and 2 more")
    assert found["detail"].count("(interleaved over 8 processes: correlation ") == 5
    scores = clean.scores.copy()
    scores[3, ::2] = np.nan
    gaps = said(replace(clean, scores=scores))
    assert gaps[["value", "detail"]].tolist() == ["0", "not judged, for gaps in every benchmark: 1"]
    assert said(make_table(np.eye(5)))["value"] == "not judged"


def test_no_row_of_mmlu_pro_is_in_another_order():
    table = mmlu_pro.load()
    assert (row_orders(table)["order"] == AS_IT_STANDS).all()
    weakest = int(table.model_means.argmin())
    found = row_orders(misplaced(table, "interleaved over 8 processes", [weakest]))
    assert (found["finding"] != "").to_numpy().nonzero()[0].tolist() == [weakest]
