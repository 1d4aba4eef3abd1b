"""AlpacaEval as published and as prepared: known lists, files that are broken, the prepared table as a clone."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import JSON, SHARED, damaged, sentence
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedllm.outcomes import OutcomeError
from embedllm.sources import _records, alpaca_eval

DATA = SHARED / "alpaca-eval"
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
N = np.nan


def record(instruction="Sing.", preference=1.25, /, **fields):
    return {"instruction": instruction, "output_1": "la", "generator_1": "gpt4_1106_preview", "dataset": "koala",
            "output_2": "lo", "generator_2": "example", "annotator": alpaca_eval.JUDGE, "preference": preference,
            "raw_completion": None, **fields}


def put(root: Path, judge: str = alpaca_eval.JUDGE, **lists) -> Path:
    """Write a list of judgements for each model, as a clone of the public repository has them."""
    for model, content in lists.items():
        folder = root / "results" / model / judge
        folder.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / "annotations.json").write_bytes(data)
    return root


def refusal(path: Path) -> str:
    return sentence(alpaca_eval.load, path)


# facts


def test_facts_are_consistent():
    facts = alpaca_eval.facts().set_index("model")
    assert len(facts) == 58
    assert facts.index.is_unique and facts.index.is_monotonic_increasing
    assert facts.loc[["NullModel", "gpt4_gamed"]].isna().all(axis=None)
    facts = facts.drop(["NullModel", "gpt4_gamed"])
    assert facts[["family", "base_model", "kind"]].notna().all(axis=None)
    assert list(facts.index[facts["kind"] == "base"]) == ["phi-2"]
    assert set(facts["kind"]) == {"base", "chat"}
    assert set(facts["family"][facts["parameters_b"].isna()]) == {"claude", "gpt-3", "gpt-3.5", "gpt-4", "jina-chat"}
    assert list(facts.index[facts["active_parameters_b"] < facts["parameters_b"]]) == [
        "Mixtral-8x7B-Instruct-v0.1_concise"]
    assert facts.groupby("base_model")["family"].nunique().eq(1).all()
    for style in ("_concise", "_verbose"):
        styled = facts.index[facts.index.str.endswith(style)]
        assert list(facts.loc[styled, "base_model"]) == list(styled.str.removesuffix(style))
    within = facts[facts["base_model"].isin(facts.index)]
    assert (facts["family"][within["base_model"]].to_numpy() == within["family"]).all(), "the family of its base"
    sizes = facts.index.to_series().str.extract(r"-(\d+)b", expand=False).astype(float)
    nominal = sizes.notna() & ~facts.index.isin(["openbuddy-llama-30b-v7.1"])
    np.testing.assert_array_equal(facts["parameters_b"][nominal], sizes[nominal])


# prepared tables


@pytest.fixture(scope="module")
def prepared():
    if not DATA.exists():
        pytest.skip(f"no real data in {DATA} (set EMBEDLLM_TEST_DATA)")
    return alpaca_eval.load(DATA)


def test_alpaca_eval_itself(prepared):
    assert prepared.shape == (58, 805)
    assert prepared.observed.sum() == 46_680
    assert set(prepared.models.index) == set(alpaca_eval.facts()["model"])
    assert (prepared.scores[prepared.models.index == "gpt4_1106_preview"] == 0.5).all()
    # As published for this model: preference 1.9900139974, 1.4593660117.
    null = prepared.scores[prepared.models.index == "NullModel"][0, :2]
    np.testing.assert_allclose(null, [0.9900139974, 0.4593660117], atol=5e-5)
    assert [name for name, value in prepared.repairs.items() if value] == []
    assert prepared.provenance["source"] == "alpaca-eval"
    assert "CC BY-NC 4.0" in prepared.provenance["license"]


def test_the_prepared_table_as_a_clone_of_the_public_repository(prepared, tmp_path):
    """What was not judged is absent in some files and null in others; the first file by name is short."""
    models, prompts = prepared.models.index, prepared.questions["prompt"]
    sets = prepared.questions["benchmark"]
    for model, scores in zip(models, prepared.scores.astype(float), strict=True):
        put(tmp_path, **{model: [
            record(prompt, None if np.isnan(score) else 1 + score, dataset=dataset)
            for prompt, dataset, score in zip(prompts, sets, scores, strict=True)
            if not np.isnan(score) or model > "m"
        ]})
    cut = tmp_path / "results" / models[0] / alpaca_eval.JUDGE / "annotations.json"
    cut.write_text(json.dumps([record(prompts.iloc[3], dataset=sets.iloc[3])]))
    table = alpaca_eval.load(tmp_path)
    np.testing.assert_allclose(table.scores[1:], prepared.scores[1:], atol=1e-6)
    assert np.flatnonzero(table.observed[0]).tolist() == [3]
    pd.testing.assert_frame_equal(table.questions, prepared.questions, check_dtype=False)
    pd.testing.assert_frame_equal(table.models, prepared.models)
    assert table.repairs["records that the judge failed at, taken as not asked"] == 5
    assert table.repairs["questions that a model lacks"] == [
        "FuseChat-Gemma-2-9B-Instruct (804)", "alpaca-7b_concise (1)", "alpaca-7b_verbose (3)",
        "gpt35_turbo_instruct (1)",
    ]
    assert table.repairs["files in another order, matched by text"] == []


# published files


def test_known_lists(tmp_path):
    put(tmp_path,
        a=[record("q2", 2), record("q1", 1)],
        vicuna=[record("q0", None), record("q1", 1.5), record("q2", N), record("q2", 1.25, dataset="oasst"), "text"],
        phi=[record("q0", 1), record("q2", -1), record("q2", 1.1), record("q1", 1.75, generator_1="text_davinci_003")])
    put(tmp_path, judge="alpaca_eval_gpt4", old=b"not looked at")
    older = json.loads(json.dumps(record("q1", 1.875)).replace("generator_1", "generator"))
    put(tmp_path, **{"vicuna-7b": [older]})
    table = alpaca_eval.load(tmp_path)
    assert list(table.models.index) == ["vicuna-7b", "a", "phi", "vicuna"]
    assert list(table.questions["prompt"]) == ["q0", "q2", "q1", "q2"], "as in the first of the longest lists"
    assert list(table.questions["benchmark"]) == ["koala", "koala", "koala", "oasst"]
    assert list(table.questions.index) == ["0", "1", "2", "3"]
    np.testing.assert_allclose(
        table.scores, [[N, N, 0.875, N], [N, 1, 0, N], [0, 0.1, N, N], [N, N, 0.5, 0.25]], atol=1e-7
    )
    assert table.models.loc["vicuna-7b", "parameters_b"] == 7
    assert {name: value for name, value in table.repairs.items() if value} == {
        "entries that are no records, left out": 1,
        "records repeated in a file": 1,
        "records that the judge failed at, taken as not asked": 3,
        "records judged against another reference, taken as not asked": 1,
        "questions that a model lacks": ["a (2)", "phi (1)", "vicuna-7b (3)"],
        "files in another order, matched by text": ["vicuna"],
        f"folders without a judgement by {alpaca_eval.JUDGE}": ["old"],
        "models without a row of facts": ["a", "phi", "vicuna"],
    }
    again = alpaca_eval.load(tmp_path / "results")
    assert again.fingerprint == table.fingerprint
    assert again.provenance == table.provenance
    put(tmp_path, a=[record("q2", 2), record("q1", 1.5)])
    assert alpaca_eval.load(tmp_path).provenance["files"] != table.provenance["files"]


MENDED = "records that write a question or its set in another way, matched all the same"


def test_one_question_however_it_is_written(tmp_path):
    put(tmp_path,
        a=[record("Caf\u00e9?", 1), record("Sing.", 1.5), record("Sing.", 1.25, dataset="oasst")],
        b=[record("Cafe\u0301?", 2), record(" Sing.\n", 1.75, dataset="Koala "), record("Dance.", 1, dataset="KOALA")],
        c=[record("sing.", 2), record("Sing .", 2)])
    table = alpaca_eval.load(tmp_path)
    assert list(table.questions["prompt"]) == ["Caf\u00e9?", "Sing.", "Sing.", "Dance.", "sing.", "Sing ."]
    assert list(table.questions["benchmark"]) == ["koala", "koala", "oasst", "koala", "koala", "koala"]
    np.testing.assert_array_equal(table.scores, [
        [0, 0.5, 0.25, N, N, N], [1, 0.75, N, 0, N, N], [N, N, N, N, 1, 1]])
    assert table.repairs[MENDED] == 3, "b's three records"
    assert table.repairs["records repeated in a file"] == 0


def test_two_spellings_in_one_file_are_a_repeated_record(tmp_path):
    put(tmp_path, a=[record("Sing.", 1), record("Sing. ", 2)])
    table = alpaca_eval.load(tmp_path, duplicates="mean")
    assert table.scores.item() == 0.5
    assert table.questions["prompt"].item() == "Sing."
    assert table.repairs["records repeated in a file"] == table.repairs[MENDED] == 1


def test_repeated_records_follow_the_rule(tmp_path):
    put(tmp_path, a=[record("q", 1), record("q", 2)])
    assert alpaca_eval.load(tmp_path).scores.item() == 0
    assert alpaca_eval.load(tmp_path, duplicates="mean").scores.item() == 0.5


def test_nothing_to_read(tmp_path):
    assert "holds neither" in refusal(tmp_path / "absent")
    assert "holds neither" in refusal(tmp_path)
    assert "no score at all" in refusal(put(tmp_path, a=[], b=[record("q", None)]))


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("preference", 0.99, "must be a number in [1, 2] or null, found 0.99"),
        ("preference", 2.1, "found 2.1"),
        ("preference", 0, "found 0"),
        ("preference", 1e400, "found inf"),
        ("preference", 10**4000, "found 1000"),
        ("preference", True, "found true or false"),
        ("preference", "1.5", "found text"),
        ("preference", [1.5], "found a list"),
        ("instruction", None, "instruction must be text, found nothing"),
        ("instruction", " ", "found blank text"),
        ("instruction", "\udfff", "half a character"),
        ("dataset", ["koala"], "dataset must be text, found a list"),
        ("generator_1", {}, "generator_1 must be text, found an object"),
    ],
)
def test_wrong_fields(tmp_path, field, value, found):
    message = refusal(put(tmp_path, a=[record("q"), record("r", **{field: value})]))
    assert f"{alpaca_eval.JUDGE}/annotations.json, entry 2: " in message
    assert found in message
    lacking = record()
    del lacking[field]
    assert f"entry 1: the field {field} is missing" in refusal(put(tmp_path, a=[lacking]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (json.dumps([record()]).encode()[:-1], "is no JSON"),
        (json.dumps([record()]).encode("utf-16"), "is not UTF-8"),
        (b'["\xe9"]', "is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": [' * 50_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "is no JSON"),
        (b"{}", "must hold a JSON list of records, found an object"),
        (b"[" + b" " * 2_000_000 + b"]", "holds more than 1,000,000 bytes"),
    ],
)
def test_unusable_files(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(_records, "LARGEST", 1_000_000)
    found = refusal(put(tmp_path, a=content))
    assert message in found
    assert "annotations.json" in found


def test_a_folder_named_like_a_file(tmp_path):
    (tmp_path / "results" / "a" / alpaca_eval.JUDGE / "annotations.json").mkdir(parents=True)
    assert "cannot be read" in refusal(tmp_path)


# whatever is in a file: a table or one sentence

GOOD = json.dumps([record(f"Say {number}.", 1 + number / 10) for number in range(10)]).encode()


def survives(root: Path, content: bytes) -> None:
    put(root, a=content)
    before = set(root.rglob("*"))
    refused = ""
    try:
        table = alpaca_eval.load(root)
    except OutcomeError as error:
        refused = str(error)
    assert set(root.rglob("*")) == before
    if refused:
        assert str(root) in refused and "\n" not in refused
    else:
        assert len(table.fingerprint) == 64
        assert ((table.scores >= 0) & (table.scores <= 1) | ~table.observed).all()


@FUZZ
@given(content=damaged(GOOD))
def test_cuts_and_flips(tmp_path, content):
    survives(tmp_path, content)


@FUZZ
@given(entries=st.lists(JSON | st.dictionaries(st.sampled_from(sorted(record())), JSON).map(lambda d: record() | d)))
def test_any_value_in_any_field(tmp_path, entries):
    survives(tmp_path, json.dumps(entries).encode())
