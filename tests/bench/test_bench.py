"""`make bench` at a size of seconds: it runs, and its tables say what was measured."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_parts

from embedllm.bench import cost, latency, measure, prompts, report, scale
from embedllm.catalog import ENCODERS, MODEL_MEAN
from embedllm.encoders import cache, encoding, weights

READ = ["timing_speed", "timing_machine", "timing_cost", "timing_exponents", "timing_solvers", "timing_reached",
        "timing_warm_starts", "timing_encoders", "timing_prompts", "timing_latency"]  # by notebooks and the README


def test_exponents_are_those_of_planted_powers():
    sizes = np.array([1.0, 2, 4, 8, 8, 4, 2, 1])
    grown = pd.DataFrame({"axis": "models", "size": sizes, "seconds": 3 * sizes**0.5, "megabytes": 7.0})
    grown.loc[4:, "seconds"] *= 1.21  # the second time all is slower
    found = report.exponents(grown).set_index("measure")
    assert found["exponent"].tolist() == pytest.approx([0.5, 0])
    assert found["factor"].tolist() == pytest.approx([3, 7]), "the least counts"
    assert found["again"].tolist() == pytest.approx([1.21, 1])
    assert found["last"].tolist() == pytest.approx([0.5, 0])


def test_behind_a_fixed_cost_the_last_power_is_the_higher_one():
    sizes = np.array([1.0, 2, 4, 8, 16])
    bent = pd.DataFrame({"axis": "models", "size": sizes, "seconds": 10 + sizes**2, "megabytes": 5 * sizes})
    seconds, megabytes = report.exponents(bent).itertuples()
    assert 0 < seconds.exponent < seconds.last < 2
    assert megabytes.exponent == pytest.approx(1)
    assert megabytes.last == pytest.approx(1)


@pytest.mark.slow
def test_the_whole_bench_runs_at_a_small_size(tmp_path, monkeypatch, rng):
    if not (weights.local("minilm") / "model.safetensors").exists():
        pytest.skip(f"no weights of minilm ({ENCODERS['minilm'].weights.remedy})")

    def small(d_prompt=None, n_train=None):
        vectors = rng.standard_normal((400, d_prompt or 16)).astype(np.float32) / 4
        return make_parts(rng.standard_normal((12, len(vectors[0]))) @ vectors.T * 3, vectors)

    def in_this_process(function, *args):
        called.append(function.__name__)
        return function(*args)

    called = []
    monkeypatch.setattr(measure, "alone", in_this_process)
    monkeypatch.setattr(measure, "paper_parts", small)
    for name, value in {
        "N_MODELS": 12, "N_QUESTIONS": 400, "N_TRAIN": 320, "D_PAPER": 24, "N_ENCODED": 40, "N_SEEDS": 2,
        "SECONDS": 0.1, "PLAIN_SECONDS": 0.2, "SOLVER_SECONDS": 0.5, "LARGE": (40, 400), "LARGE_BATCH": 1_000,
        "NEWCOMERS": (30, 20, 300),
        "SIZES": {"models": [6, 12, 24]}, "SETTINGS": scale.SETTINGS | {"dim": 8, "epochs": 3},
        "CURVES": {"length of a model vector": (2, 8), "training questions": (100, 320)},
        "PUBLISHED": scale.PUBLISHED | {"epochs": 2, "batch_cells": 60},
    }.items():
        monkeypatch.setattr(scale, name, value)
    monkeypatch.setattr(prompts, "N_BATCH", 4)
    monkeypatch.setattr(prompts, "N_LEARNED", 200)
    kept = {name: ENCODERS[name] for name in ("minilm", "minilm-32", "static-mpnet", "hashing")}
    monkeypatch.setattr(prompts.catalog, "ENCODERS", kept)
    monkeypatch.setattr(latency, "LENGTHS", (32,))
    monkeypatch.setattr(latency, "BATCHES", (1, 4, 40))
    monkeypatch.setattr(latency, "FOLLOWED", latency.FOLLOWED[:2])
    monkeypatch.setattr(latency, "paper_parts", lambda encoder="minilm": small(ENCODERS[encoder].dim))
    monkeypatch.setattr(measure.catalog, "to_compare", lambda: [MODEL_MEAN])
    measured = measure.measure()
    report.report(measured, tmp_path)
    for name in READ:
        table = pd.read_csv(tmp_path / f"{name}.csv")
        assert len(table), name
    speed = pd.read_csv(tmp_path / "timing_speed.csv")
    assert (speed["value"].dropna() > 0).all()
    speed = speed.set_index("what")
    assert speed.loc["routing decisions, a batch", "value"] == pytest.approx(
        measured["selections"]["batch_per_second"], rel=1e-5)
    assert speed.loc["peak memory of that process, table included", "value"] == pytest.approx(
        measured["leaderboard"]["megabytes"] / 1000, rel=1e-5)
    assert 1 < speed.loc["matrix-product ceiling over encoding", "value"] < 100
    check_stages(pd.read_csv(tmp_path / "timing_latency.csv"))
    costs = pd.read_csv(tmp_path / "timing_cost.csv", index_col="what")
    assert costs.loc[cost.BY_QUESTION, "seconds"] == pytest.approx(measured["cost"]["seconds"], rel=1e-5)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"timing_growth", "timing_solvers", "timing_roofline"}
    assert called.count("growth") == 6


def check_stages(table):
    """What was timed how often, and against which target."""
    assert set(table["encoder"]) <= {latency.ENCODER, latency.STATIC}
    table = table[table["encoder"] == latency.ENCODER]  # the other is not here
    assert table.groupby("stage")["batch"].agg(lambda batch: set(batch)).to_dict() == {
        "load": {1}, "encode": {1, 4, 40}, "score": {1, 4, 40}, "choose": {1, 4, 40}, "after encoding": {1, 4, 40},
        "together": {1}}
    assert (table["median"] > 0).all() and (table["p99"].isna() == (table["calls"] < 100)).all()
    once = table[table["calls"] < 3].set_index("stage")
    assert once["batch"].to_dict() == {"load": 1, "encode": 40} and (once["calls"] == 1).all()
    aimed = table[table["target"].notna()].set_index("stage")
    assert aimed.loc["encode", "target"].tolist() == 4 * [2] and (aimed.loc["encode", "ratio"] > 0).all()
    assert aimed.loc["after encoding", ["batch", "target"]].to_numpy().tolist() == 2 * [[1, 0.1]]
    assert set(table.loc[table["stage"].isin(["encode", "together"]), "prompts"]) == {"32 tokens", "of mmlu-pro"}


def test_a_slow_call_is_made_once_and_a_quick_one_three_times_after_one_that_warms_up():
    asked = []
    assert len(latency.durations(asked.append, [5, 6], 0)) == 3
    assert asked == [5, 5, 6, 5]
    assert len(latency.durations(asked.append, [7], 10, once=True)) == 1 and asked[4:] == [7]


def test_prompts_have_the_length_asked_for_and_differ():
    prompts = latency._of_length(OneTokenAWord(), 8, 3_000)
    assert len(set(prompts)) == 3_000 and prompts[1] == "word word word a a b"


class OneTokenAWord:
    """An encoder as far as its tokens go: a word each, one to begin and one to end."""

    def tokenizer(self, prompts):
        return {"input_ids": [["begin", *prompt.split(), "end"] for prompt in prompts]}


def test_a_network_in_onnx_runtime_gives_its_vectors():
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="the extra encoders is not installed")
    model = encoding.load("minilm")
    texts = ["one two three", "a much longer text, so that the other one is padded " * 3, ""]
    expected = cache.encode("minilm", texts, None, model)
    np.testing.assert_allclose(cache.encode("minilm", texts, None, prompts.Exported(model)), expected, atol=1e-6)
    np.testing.assert_array_equal(cache.encode("minilm", texts, None, model), expected), "and stays as it was"
