"""The router to take home: choices, guard, files, and what it refuses."""

import json
import time
from dataclasses import replace
from io import StringIO
from math import inf

import numpy as np
import pandas as pd
import pytest
from conftest import make_table
from safetensors.numpy import load as tensors_of
from safetensors.numpy import save as bytes_of

from embedllm import __main__ as command
from embedllm import catalog
from embedllm.encoders.cache import encode
from embedllm.encoders.weights import EncoderError
from embedllm.outcomes import OutcomeMatrix
from embedllm.routing.guard import Guard
from embedllm.routing.policies import candidates
from embedllm.routing.price import PriceError
from embedllm.routing.router import Router, RouterError
from embedllm.routing.saving import nothing_tried
from embedllm.routing.stored import CONTENT, FORMAT

WORDS = {"art": "painting canvas museum brush", "law": "court statute judge appeal"}


@pytest.fixture(scope="module")
def table() -> OutcomeMatrix:
    """1,200 questions of two kinds; m0 is good at both, m1 better at law, m2 bad; m3 answers as m2 and is cheap."""
    rng = np.random.default_rng(0)
    kinds = np.repeat(["art", "law"], 600)
    rate = np.array([[0.7, 0.7], [0.3, 0.95], [0.2, 0.2], [0.2, 0.2]])[:, (kinds == "law").astype(int)]
    prompts = [f"{' '.join(rng.permutation(WORDS[kind].split()))} {number}" for number, kind in enumerate(kinds)]
    made = make_table(rng.random(rate.shape) < rate, kinds, prompts)
    models = made.models.assign(cost=[2.0, 1.0, 1.0, 0.1], cost_unit="query")
    return OutcomeMatrix(made.scores, models, made.questions)


@pytest.fixture(scope="module")
def router(table) -> Router:
    return Router.fit(table, "hashing", catalog.CONVEX)


def test_it_asks_the_model_that_is_good_at_the_question(router):
    found = router.route(["painting canvas museum brush", "court statute judge appeal", "nothing of either kind here"])
    assert found["model"].tolist()[:2] == ["m0", "m1"]
    assert found["runner_up"].tolist()[:2] == ["m1", "m0"]
    assert found["price"].tolist()[:2] == [2.0, 1.0]
    assert found["certified"].all() and found["probability"].between(0, 1).all()
    assert router.calibration["certified"].any() and np.isfinite(router.guard.threshold)
    assert router.models.index[router.guard.default] == "m0"
    assert router.route("court statute judge appeal").equals(router.route(["court statute judge appeal"]))
    assert router.route([]).empty and list(router.route([]).columns) == list(found.columns)


def test_a_new_model_joins_by_a_few_answers(table, router, tmp_path, monkeypatch):
    """Right in all of art and nothing of law: it gets the questions on art, here and from a file."""
    own = Router.fit(table, "hashing", catalog.POOL)
    asked = own.forecaster.ask(80)
    more = own.add("painter", dict(zip(asked["question_id"], 1.0 * (asked["benchmark"] == "art"), strict=True)), 0.5)
    assert list(own.models.index) == ["m0", "m1", "m2", "m3"] and list(more.models.index)[-1] == "painter"
    assert more.models.loc["painter", "price"] == 0.5 and 0.4 < more.models.loc["painter", "mean"] < 0.6
    more.save(tmp_path / "router.bin")
    prompts = ["painting canvas museum brush", "court statute judge appeal"]
    for one in (more, Router.load(tmp_path / "router.bin")):
        found = one.route(prompts, among=["painter", "m1"])
        assert found["model"].tolist() == ["painter", "m1"] and not found["certified"].any()
    assert own.route(prompts)["certified"].all(), "the router without it stays as it was"
    with pytest.raises(RouterError, match="takes in no models: fit one with entry=catalog"):
        router.add("painter", {})
    with pytest.raises(PriceError, match="painter"):
        own.add("painter", {asked["question_id"][0]: 1.0}, -1)
    monkeypatch.setattr("embedllm.new_models.pool.ODD", 99.0)
    assert own.add("one answer", {asked["question_id"][0]: 1.0}, 1).models.index[-1] == "one answer"
    with pytest.raises(RouterError, match="odd answers unlike any model of the pool"):
        own.add("odd", dict.fromkeys(asked["question_id"], 1.0), 1)


def test_only_models_that_answered_nearly_all_are_candidates(table):
    scores = table.scores.copy()
    scores[2, :40] = np.nan  # more than one in a hundred
    scores[3, :2] = np.nan
    kept, judged = candidates(replace(table, scores=scores))
    assert kept.tolist() == [True, True, False, True] and (~judged).nonzero()[0].tolist() == [0, 1]
    found = Router.fit(replace(table, scores=scores), "hashing", catalog.CONVEX)
    assert found.models.index.tolist() == ["m0", "m1", "m3"] and found.complete
    assert found.route(["court statute judge"])["certified"].all()


def test_nothing_is_certified_where_most_models_lack_answers(table, tmp_path):
    scores = table.scores.copy()
    scores[1:, ::3] = np.nan
    found = Router.fit(replace(table, scores=scores), "hashing", catalog.CONVEX)
    assert len(found.models) == 4 and not found.complete
    found.save(tmp_path / "router")
    for one in (found, Router.load(tmp_path / "router")):
        assert not one.route(["court statute judge", "painting canvas"])["certified"].any()


def test_a_guard_that_never_leaves_says_that_it_fell_back(router):
    careful = Router(router.forecaster, Guard(router.guard.default, inf), router.models, router.unit, router.encoder,
                     router.calibration)
    found = careful.route(["painting canvas museum brush", "court statute judge appeal"])
    assert found["model"].tolist() == ["m0", "m0"] and found["fell_back"].tolist() == [False, True]


def test_prices_and_names_narrow_the_choice(router):
    law = ["court statute judge appeal"]
    assert router.route(law, max_price=1.0)["model"].tolist() == ["m1"]
    assert router.route(law, max_price=0.5)["model"].tolist() == ["m3"]
    narrowed = router.route(law, among=["m2", "m0"])
    assert narrowed["model"].tolist() == ["m0"] and not narrowed["certified"].any()
    alone = router.route(law, among="m2")
    assert alone["model"].tolist() == ["m2"] and alone["runner_up"].isna().all()


def test_the_thrifty_ask_for_forecast_minus_price(router, table):
    prompts = list(table.questions["prompt"][::40])
    found, [row] = router.route(prompts, thrifty=True), router.savings[router.savings["chosen"]].itertuples()
    forecasts = router.forecaster.predict_proba(encode("hashing", prompts, None))
    utilities = forecasts - row.weight * np.array([[2.0], [1.0], [1.0], [0.1]]) / 2
    leads = utilities.max(axis=0) - utilities[0] >= row.threshold
    assert found["model"].tolist() == [f"m{number}" for number in np.where(leads, utilities.argmax(axis=0), 0)]
    assert router.thrift == (row.weight, row.threshold) and row.saved > 0.2 and row.certified
    assert found["certified"].all()
    assert found["fell_back"].tolist() == list(~leads & (utilities.argmax(axis=0) != 0))
    assert found["price"].mean() == pytest.approx(row.price, abs=0.1)
    asked = ["painting canvas museum brush", "court statute judge appeal"]
    assert router.route(asked, thrifty=True)["model"].tolist() == ["m0", "m1"]
    assert router.route(asked, max_price=2, thrifty=True)["certified"].all(), "which leaves no model out"
    for options in ({"max_price": 1.5}, {"among": ["m0", "m1", "m2"]}):
        narrowed = router.route(asked, thrifty=True, **options)
        assert not narrowed["certified"].any() and narrowed["model"].iloc[1] == "m1"
    assert router.route([], thrifty=True).empty
    dear = replace(router, savings=router.savings.assign(weight=1e3, threshold=0.0))
    assert dear.route(asked, thrifty=True)["model"].tolist() == ["m3", "m3"]
    assert dear.route(asked, among=["m0", "m2"], thrifty=True)["model"].tolist() == ["m2", "m2"]


def test_without_a_certified_saving_the_thrifty_ask_the_best_priced_model(router):
    careful, asked = replace(router, savings=nothing_tried()), ["painting canvas museum brush", "court statute judge"]
    found = careful.route(asked, thrifty=True)
    assert careful.thrift is None and careful.best_priced == "m0"
    assert found["model"].tolist() == ["m0", "m0"] and found["fell_back"].tolist() == [False, True]
    assert found["certified"].all()
    unknown = replace(careful, models=careful.models.assign(price=[np.nan, 1, 1, 0.1]))
    found = unknown.route(asked, max_price=1, thrifty=True)
    assert found["model"].tolist() == ["m1", "m1"] and found["certified"].all(), "m0 is never asked anyway"
    assert not careful.route(asked, among=["m1", "m2"], thrifty=True)["certified"].any()
    without = replace(careful, models=careful.models.assign(price=np.nan))
    assert without.best_priced is None
    with pytest.raises(RouterError, match="a thrifty choice needs prices"):
        without.route(asked, thrifty=True)


@pytest.mark.parametrize(("options", "message"), [
    ({"max_price": 0.01}, "no model costs 0.01 or less; the cheapest is m3 at 0.1 a query"),
    ({"among": ["m7"]}, "among names 'm7', which this router does not know"),
    ({"among": []}, "among names no model"),
])
def test_a_choice_that_leaves_nothing_is_refused(router, options, message):
    with pytest.raises(RouterError, match=message):
        router.route(["the judge"], **options)


def test_unusable_prompts_and_tables_are_refused(router, table):
    with pytest.raises(RouterError, match="prompt 1 is empty"):
        router.route(["a painting", "  "])
    with pytest.raises(EncoderError, match="prompt 0 is no text but None"):
        router.route([None])
    with pytest.raises(RouterError, match="1 prompt vectors are not finite, the first in row 2"):
        router.route_vectors(np.float32([[0] * 256, [1] * 256, [np.nan] * 256]))
    with pytest.raises(RouterError, match="two models or more"):
        Router.fit(OutcomeMatrix(table.scores[:1], table.models[:1], table.questions), "hashing", catalog.CONVEX)
    with pytest.raises(RouterError, match="has to be told the benchmark"):
        Router.fit(table, "hashing", catalog.OURS)
    wrong = table.models.assign(cost=[2.0, -1.0, 1.0, 0.1])
    with pytest.raises(PriceError, match="the cost of model m1 must be a number from 0 on"):
        Router.fit(OutcomeMatrix(table.scores, wrong, table.questions), "hashing", catalog.CONVEX)
    unpriced = Router(router.forecaster, router.guard, router.models.assign(price=np.nan), "", "hashing",
                      router.calibration)
    with pytest.raises(RouterError, match="max_price needs prices"):
        unpriced.route(["the judge"], max_price=1)


def test_a_very_long_prompt_is_routed(router):
    start = time.perf_counter()
    assert router.route(["court statute judge appeal " * 8_000])["model"].tolist() == ["m1"]
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize("name", ["convex embedding", "kNN", "stacked ensemble, text only", "cluster router"])
def test_a_saved_router_chooses_the_same(table, tmp_path, name):
    fitted = Router.fit(table, "hashing", catalog.FORECASTERS[name])
    fitted.save(tmp_path / "router.safetensors")
    back = Router.load(tmp_path / "router.safetensors")
    prompts = list(table.questions["prompt"][::50])
    pd.testing.assert_frame_equal(back.route(prompts), fitted.route(prompts))
    pd.testing.assert_frame_equal(back.route(prompts, thrifty=True), fitted.route(prompts, thrifty=True))
    pd.testing.assert_frame_equal(back.calibration, fitted.calibration)
    pd.testing.assert_frame_equal(back.savings, fitted.savings)
    replace(fitted, savings=nothing_tried()).save(tmp_path / "without")
    pd.testing.assert_frame_equal(Router.load(tmp_path / "without").savings, nothing_tried())
    assert (back.guard, back.unit, back.encoder) == (fitted.guard, "query", "hashing")


def test_files_that_are_no_router_are_refused(router, tmp_path):
    path = tmp_path / "router.safetensors"
    router.save(path)
    content = path.read_bytes()
    header = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"][CONTENT])
    arrays = tensors_of(content)
    name = next(name for name, array in arrays.items() if array.dtype == np.float64 and array.size)

    def changed(**values) -> bytes:
        return bytes_of(arrays, {CONTENT: json.dumps(header | values)})

    tampered = bytes_of(arrays | {name: arrays[name] + 1}, {CONTENT: json.dumps(header)})
    for bad, message in (
        (content[: len(content) // 2], "is no router, or only a part of one"), (b"", "is no router"),
        (b"not a router at all", "is no router"), (tampered, "damaged or was changed"),
        (changed(format=FORMAT - 1), f"was written in format {FORMAT - 1}"), (changed(encoder="lost"), "encoder lost"),
        (changed(weights="abc"), "other weights or none"), (changed(models=["x"] * 4), "damaged or was changed"),
        (bytes_of(arrays, {CONTENT: "{}"}), "is no router"),
    ):
        path.write_bytes(bad)
        with pytest.raises(RouterError, match=message):
            Router.load(path)
    with pytest.raises(RouterError, match="cannot be read"):
        Router.load(tmp_path / "nowhere")


def test_the_command_line_routes_arguments_and_lines(router, tmp_path, monkeypatch, capsys):
    router.save(tmp_path / "router")
    told = ["route", "--router", str(tmp_path / "router")]
    assert command.main([*told, "court statute judge appeal"]) == 0
    found = pd.read_csv(StringIO(capsys.readouterr().out))
    assert found["model"].tolist() == ["m1"]
    assert command.main([*told, "--thrifty", "painting canvas museum brush"]) == 0
    assert pd.read_csv(StringIO(capsys.readouterr().out))[["model", "certified"]].to_numpy().tolist() == [["m0", True]]
    monkeypatch.setattr("sys.stdin", StringIO("painting canvas museum brush\n\ncourt statute judge appeal\n"))
    assert command.main([*told, "--among", "m0", "--among", "m2"]) == 0
    assert pd.read_csv(StringIO(capsys.readouterr().out))["model"].tolist() == ["m0", "m0"]
    assert command.main([*told, "--max-price", "0", "x"]) == 1
    assert "no model costs 0 or less" in capsys.readouterr().err
