"""MMLU-Pro as published, as prepared and as the package carries it: known lists, broken and hostile files."""

import io
import json
import shutil
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import JSON, SHARED, damaged, sentence
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedllm.outcomes import OutcomeError
from embedllm.sources import _records, directory, mmlu_pro

DATA = SHARED / "mmlu-pro"
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
N = np.nan


def record(number=1, /, **fields):
    return {"question_id": number, "question": f"What is {number}?", "options": ["one", "two"], "answer": "B",
            "category": "law", "src": "ori", "pred": "B", "model_outputs": "B it is", **fields}


def zipped(entries, name="list.json", **options) -> bytes:
    """A zip file around one JSON list."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", options.pop("compression", zipfile.ZIP_DEFLATED)) as archive:
        archive.writestr(name, entries if isinstance(entries, bytes) else json.dumps(entries))
        for other, content in options.items():
            archive.writestr(other, content)
    return stream.getvalue()


def put(folder: Path, **lists) -> Path:
    """Write a zip file for each model; dots of names are written as two underscores."""
    folder.mkdir(exist_ok=True, parents=True)
    for model, content in lists.items():
        file = folder / f"model_outputs_{model.replace('__', '.')}_5shots.zip"
        file.write_bytes(content if isinstance(content, bytes) else zipped(content))
    return folder


def refusal(path: Path, act=mmlu_pro.load) -> str:
    return sentence(act, path)


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# facts


def test_facts_are_consistent():
    facts = mmlu_pro.facts().set_index("model")
    assert len(facts) == 29
    assert facts.index.is_unique
    assert set(facts["kind"]) == {"base", "chat", "code", "math"}
    unpublished = facts.index[facts["parameters_b"].isna()]
    assert list(unpublished) == ["gemini-1.5-flash-002", "gemini-1.5-pro-002"]
    mixtures = facts.index[facts["active_parameters_b"] < facts["parameters_b"]]
    assert set(mixtures) == {
        "DeepSeek-Coder-V2", "Mixtral-8x7B-Instruct-v0.1", "Mixtral-8x7B-v0.1", "jamba-1.5-large"
    }
    assert not (facts["active_parameters_b"] > facts["parameters_b"]).any()
    assert (facts["base_model"][facts["kind"] == "base"] == facts.index[facts["kind"] == "base"]).all()
    assert facts.groupby("base_model")["family"].nunique().eq(1).all()
    together = facts.index.to_series().groupby(facts["base_model"]).apply(set)
    assert [group for group in together if len(group) > 1] == [
        {"Meta-Llama-3_1-70B", "Meta-Llama-3_1-70B-Instruct"},
        {"Meta-Llama-3_1-8B", "Meta-Llama-3_1-8B-Instruct"},
        {"Mistral-7B-v0.1", "Mistral-7B-Instruct-v0.1", "mathstral-7B"},
        {"Mistral-7B-v0.2-hf", "Mistral-7B-Instruct-v0.2"},
        {"Mixtral-8x7B-v0.1", "Mixtral-8x7B-Instruct-v0.1"},
        {"Yi-6B", "Yi-6b-Chat"},
    ]


# prepared tables


def test_prepared_tables_come_before_raw_files(tmp_path):
    put(tmp_path, Llama=b"not looked at")
    pd.DataFrame({
        "model": ["Yi-6B", "Yi-6B", "gemma-7b", "new"], "question_id": [1, 10, 10, 1], "label": [1, 0, 1, 1],
    }).to_parquet(tmp_path / "outcomes.parquet")
    pd.DataFrame({
        "question_id": [10, 1], "prompt": ["p", "q"], "category": ["law", "art"], "src": ["a", "b"],
    }).to_parquet(tmp_path / "questions.parquet")
    table = mmlu_pro.load(tmp_path)
    np.testing.assert_array_equal(table.scores, [[0, 1], [1, N], [N, 1]])
    assert list(table.models.index) == ["Yi-6B", "gemma-7b", "new"]
    assert list(table.questions["benchmark"]) == ["law", "art"]
    assert list(table.questions["src"]) == ["a", "b"]
    assert table.models.loc["Yi-6B", "family"] == "yi"
    assert table.repairs["models without a row of facts"] == ["new"]
    assert table.provenance["source"] == "mmlu-pro"


@pytest.fixture(scope="module")
def prepared():
    if not DATA.exists():
        pytest.skip(f"no real data in {DATA} (set EMBEDLLM_TEST_DATA)")
    return mmlu_pro.load(DATA)


def test_mmlu_pro_itself(prepared):
    assert prepared.shape == (29, 12_032)
    assert prepared.observed.sum() == 347_215
    assert round(float(np.nanmean(prepared.scores)), 2) == 0.40
    assert prepared.questions["benchmark"].nunique() == 14
    assert prepared.questions["src"].str.startswith(("ori_mmlu", "stemez", "theoremQA", "scibench")).all()
    raw = pd.read_parquet(DATA / "outcomes.parquet").groupby("model")["label"].mean()
    np.testing.assert_allclose(prepared.model_means, raw[prepared.models.index])
    assert [name for name, value in prepared.repairs.items() if value] == []
    given = pd.read_csv(DATA / "models.csv", index_col="model").loc[prepared.models.index]
    pd.testing.assert_frame_equal(prepared.models[list(given)], given, check_dtype=False, check_index_type=False)
    vectors = directory.vectors_of(DATA, "minilm", prepared)
    assert (vectors.shape, vectors.dtype) == ((12_032, 384), np.float32)


def test_raw_files_give_the_prepared_table(prepared):
    table = mmlu_pro.load(DATA / "raw")
    assert len(table.models) == 3
    scores = prepared.scores[prepared.models.index.get_indexer(table.models.index)]
    asked = ~np.isnan(scores).all(axis=0)
    np.testing.assert_array_equal(table.scores, scores[:, asked])
    pd.testing.assert_frame_equal(table.questions, prepared.questions[asked])
    pd.testing.assert_frame_equal(table.models, prepared.models.loc[table.models.index])
    assert {name: value for name, value in table.repairs.items() if value} == {
        "entries that are no records, left out": 43,
        "records without an extracted answer, scored 0": 2_143,
        "records whose extracted answer is no letter of their options, scored 0": 43,
        "records whose answer_index is not that of their key, the key followed": 1,
        "questions that a model lacks": ["DeepSeek-Coder-V2 (1,681)", "gemini-1.5-flash-002 (20)"],
        "questions whose text differs between files, the first file followed": 17,
        "questions whose options or key differ between files, each model judged by its own": 42,
    }
    assert len([name for name in table.provenance if name.endswith("_5shots.zip")]) == 3


# published files


def test_known_lists(tmp_path):
    put(tmp_path, new=[record(10), record(2, pred="A"), record(2, pred="B"), "law", None, record(7, pred=None)],
        gemma__7b=[record(2), record(7, answer="A"), record(10, question="Other?"), record(11, category="art")])
    (tmp_path / "model_outputs_gemma.7b_5shots.zip").rename(tmp_path / "model_outputs_gemma-7b_5shots.zip")
    (tmp_path / "model_outputs_Yi-6B_0shots.zip").write_bytes(b"")
    table = mmlu_pro.load(tmp_path)
    assert list(table.models.index) == ["gemma-7b", "new"]
    assert list(table.questions.index) == ["2", "7", "10", "11"], "by number"
    np.testing.assert_array_equal(table.scores, [[1, 0, 1, 1], [0, 0, 1, N]])
    assert table.questions.loc["2", "prompt"] == "What is 2?\nA. one\nB. two"
    assert table.questions.loc["10", "prompt"] == "Other?\nA. one\nB. two", "gemma's file comes first by name"
    assert list(table.questions["benchmark"]) == ["law", "law", "law", "art"]
    assert list(table.questions["src"]) == ["ori"] * 4
    assert table.models.loc["gemma-7b", "parameters_b"] == 7
    assert table.models.loc["new"].isna().all()
    assert {name: value for name, value in table.repairs.items() if value} == {
        "entries that are no records, left out": 2,
        "records repeated in a file": 1,
        "records without an extracted answer, scored 0": 1,
        "questions that a model lacks": ["new (1)"],
        "questions whose text differs between files, the first file followed": 1,
        "questions whose options or key differ between files, each model judged by its own": 1,
        "zip files left out, not named as the published ones": ["model_outputs_Yi-6B_0shots.zip"],
        "models without a row of facts": ["new"],
    }
    assert mmlu_pro.load(tmp_path, duplicates="mean").scores[1, 0] == 0.5
    assert list(table.repeats["score"]) == [0, 1]


def test_what_is_no_letter_of_the_options_scores_0_and_is_counted(tmp_path):
    extracted = ["B", "b", "(B)", "B ", "", "AB", "C", None, "A"]
    put(tmp_path, a=[record(number, pred=pred) for number, pred in enumerate(extracted)])
    table = mmlu_pro.load(tmp_path)
    np.testing.assert_array_equal(table.scores, [[1] + [0] * 8])
    assert table.repairs["records whose extracted answer is no letter of their options, scored 0"] == 6
    assert table.repairs["records without an extracted answer, scored 0"] == 1


def test_the_key_is_followed_where_answer_index_differs(tmp_path):
    told = [1, 0, 2, "1", None, -1]
    put(tmp_path, a=[record(number, answer_index=index) for number, index in enumerate(told)] + [record(9)])
    table = mmlu_pro.load(tmp_path)
    assert table.scores.all()
    assert table.repairs["records whose answer_index is not that of their key, the key followed"] == 4


def test_sub_folder_raw(tmp_path):
    put(tmp_path / "raw", a=[record(1)])
    put(tmp_path, b=[record(2)])
    table = mmlu_pro.load(tmp_path)
    np.testing.assert_array_equal(table.scores, [[1, N], [N, 1]])
    assert {"raw/model_outputs_a_5shots.zip", "model_outputs_b_5shots.zip"} <= set(table.provenance)
    put(tmp_path, a=[record(3)])
    assert "twice, also in raw" in refusal(tmp_path)


def test_names_that_macos_adds(tmp_path):
    put(tmp_path, a=zipped([record()], **{"__MACOSX/._list.json": b"\x00"}))
    assert mmlu_pro.load(tmp_path).shape == (1, 1)


@pytest.mark.parametrize("lists", [{}, {"a": []}, {"a": ["law"], "b": []}])
def test_nothing_to_read(tmp_path, lists):
    assert "holds neither" in refusal(tmp_path / "absent")
    message = refusal(put(tmp_path, **lists))
    assert ("no score at all" if lists else "holds neither") in message


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("question_id", N, "must be a whole number from 0, found nan"),
        ("question_id", True, "found true or false"),
        ("question_id", "1", "found text"),
        ("question_id", -1, "found -1"),
        ("question_id", 10**4000, "found 1000"),
        ("question_id", [1], "found a list"),
        ("question", None, "question must be text, found nothing"),
        ("question", "  ", "question must be text, found blank text"),
        ("question", "\ud800", "half a character"),
        ("options", "AB", "options must be a list of 1 to 26"),
        ("options", [], "options must be a list"),
        ("options", ["o"] * 27, "options must be a list"),
        ("options", ["one", {}], "options must be text, found an object"),
        ("answer", 3, "answer must be text, found 3"),
        ("answer", "Z", "answer must be the letter of an option, A to B, found 'Z'"),
        ("answer", "C", "A to B, found 'C'"),
        ("answer", "b", "A to B, found 'b'"),
        ("answer", "AB", "A to B, found 'AB'"),
        ("answer", "B\n", "A to B, found 'B\\n'"),
        ("pred", 0, "pred must be a letter or null, found 0"),
        ("category", [], "category must be text, found a list"),
        ("src", {}, "src must be text"),
        ("pred", ["A"], "pred must be a letter or null, found a list"),
        ("pred", 1e400, "found inf"),
    ],
)
def test_wrong_fields(tmp_path, field, value, found):
    message = refusal(put(tmp_path, a=[record(1), "law", record(2, **{field: value})]))
    assert "model_outputs_a_5shots.zip, entry 3: " in message
    assert found in message
    lacking = record()
    del lacking[field]
    assert f"entry 1: the field {field} is missing" in refusal(put(tmp_path, a=[lacking]))


def encrypted(data: bytes) -> bytes:
    """The same zip file, marked as encrypted in both of its headers."""
    data = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def sized(data: bytes, size: int) -> bytes:
    """The same zip file, whose directory states another unpacked size."""
    at = data.index(b"PK\x01\x02") + 24
    return data[:at] + struct.pack("<I", size) + data[at + 4:]


GOOD = zipped([record(number) for number in range(20)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no whole zip file"),
        (GOOD[:-30], "is no whole zip file"),
        (GOOD[:60] + b"????" + GOOD[64:], "is no whole zip file"),
        (sized(GOOD, 100), "is no whole zip file"),
        (encrypted(GOOD), "is encrypted"),
        (zipped([record()], compression=zipfile.ZIP_LZMA), "in another way than deflate"),
        (zipped([record()], name="list.txt"), "one JSON file, found 0"),
        (zipped([record()], **{"b.json": b"[]"}), "one JSON file, found 2"),
        (zipped([record()], name="../../evil.json"), "points outside"),
        (zipped([record()], name="/evil.json"), "points outside"),
        (zipped([record()], name="C:\\evil.json"), "points outside"),
        (zipped([record()], name="a\\..\\..\\evil.json"), "points outside"),
        (zipped(b"[{}"), "is no JSON"),
        (zipped(b"[1]" + b" " * 99 + b"2"), "is no JSON"),
        (zipped(b"[" * 100_000), "nested too deeply"),
        (zipped(b'[{"question_id": ' + b"9" * 5000 + b"}]"), "is no JSON"),
        (zipped("[]".encode("utf-16")), "is not UTF-8"),
        (zipped(b'["\xe9"]'), "is not UTF-8"),
        (zipped({"a": 1}), "must hold a JSON list of records, found an object"),
        (zipped(b"NaN"), "found nan"),
    ],
)
def test_unusable_zips(tmp_path, content, message):
    folder = put(tmp_path / "deep" / "folder", a=content)
    before = tree(tmp_path)
    found = refusal(folder)
    assert message in found
    assert "model_outputs_a_5shots.zip" in found
    assert tree(tmp_path) == before


def test_a_folder_that_is_named_like_a_zip(tmp_path):
    (tmp_path / "model_outputs_a_5shots.zip").mkdir()
    assert "cannot be read, it is no file" in refusal(tmp_path)


@pytest.mark.parametrize("stated", [None, 10, 4_000_000_000])
def test_a_bomb(tmp_path, monkeypatch, stated):
    """A megabyte of blanks in a kilobyte; the size it states makes no difference."""
    monkeypatch.setattr(_records, "LARGEST", 100_000)
    bomb = zipped(b"[" + b" " * 1_000_000 + b"]")
    assert len(bomb) < 2_000
    message = refusal(put(tmp_path, a=bomb if stated is None else sized(bomb, stated)))
    assert ("is no whole zip file" if stated == 10 else "holds more than 100,000 bytes") in message


# whatever is in a file: a table or one sentence


def survives(folder: Path, content: bytes) -> None:
    put(folder / "in", a=content)
    before = tree(folder)
    refused = ""
    try:
        table = mmlu_pro.load(folder / "in")
    except OutcomeError as error:
        refused = str(error)
    assert tree(folder) == before
    if refused:
        assert str(folder) in refused and "\n" not in refused
    else:
        assert np.isin(table.scores, [0, 1]).all()
        assert len(table.fingerprint) == 64


@FUZZ
@given(content=damaged(GOOD))
def test_cuts_and_flips(tmp_path, content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of odd extra fields
        survives(tmp_path, content)


@FUZZ
@given(entries=st.lists(JSON | st.dictionaries(st.sampled_from(sorted(record())), JSON).map(lambda d: record() | d)))
def test_any_value_in_any_field(tmp_path, entries):
    survives(tmp_path, zipped(entries))


# what the package carries


def test_the_package_carries_the_published_table():
    table = mmlu_pro.load()
    assert table.shape == (29, 12_032)
    assert int(table.observed.sum()) == 347_215
    assert set(table.models.index) == set(mmlu_pro.facts()["model"])
    assert table.questions["benchmark"].nunique() == 14
    assert {"LICENSE-questions.txt", "LICENSE-outcomes.txt", "README.md"} <= {
        path.name for path in mmlu_pro.EMBEDDED.iterdir()}
    assert all(path.stat().st_size < 2_500_000 for path in mmlu_pro.EMBEDDED.rglob("*"))
    for name in ("questions.parquet", "outcomes.parquet"):
        assert b"Answer" not in (mmlu_pro.EMBEDDED / name).read_bytes(), "prompts are never plain text"


@pytest.mark.skipif(not DATA.is_dir(), reason="no real results beside the repository")
def test_it_is_the_prepared_one_and_agrees_with_the_published_files(tmp_path):
    """Cell for cell; of the raw files three are at hand."""
    carried = mmlu_pro.load()
    assert mmlu_pro.load(DATA).fingerprint == carried.fingerprint
    mmlu_pro.embed(DATA, tmp_path)
    assert mmlu_pro.load(tmp_path).fingerprint == carried.fingerprint
    anew, shipped = (directory.vectors_of(folder, "minilm", carried) for folder in (tmp_path, mmlu_pro.EMBEDDED))
    np.testing.assert_array_equal(anew, shipped)
    raw = mmlu_pro.load(DATA / "raw")
    rows = carried.models.index.get_indexer(raw.models.index)
    columns = carried.questions.index.get_indexer(raw.questions.index)
    assert len(rows) == 3 and (rows >= 0).all() and (columns >= 0).all()
    np.testing.assert_array_equal(carried.scores[np.ix_(rows, columns)], raw.scores)
    assert raw.repairs["entries that are no records, left out"] == 43
    same = carried.questions.iloc[columns]["prompt"].to_numpy() == raw.questions["prompt"].to_numpy()
    assert same.mean() > 0.999, "the first file is followed where texts differ, and there the first is another one"


@pytest.mark.skipif(not DATA.is_dir(), reason="no real results beside the repository")
def test_its_vectors_are_those_of_the_encoder():
    carried = mmlu_pro.load()
    shipped, exact = (directory.vectors_of(folder, "minilm", carried) for folder in (mmlu_pro.EMBEDDED, DATA))
    cosines = (shipped * exact).sum(axis=1) / np.linalg.norm(shipped, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosines.min() > 0.9999


@pytest.mark.parametrize("file", ["outcomes.parquet", "vectors/minilm.2.npz"])
@pytest.mark.parametrize(("fault", "message"), [
    ("changed", "{} of MMLU-Pro, which the package carries, was changed"),
    ("missing", "{} of MMLU-Pro, which the package carries, is missing")])
def test_a_changed_or_missing_embedded_file_is_refused(tmp_path, monkeypatch, file, fault, message):
    shutil.copytree(mmlu_pro.EMBEDDED, tmp_path / "data")
    monkeypatch.setattr(mmlu_pro, "EMBEDDED", tmp_path / "data")
    path = tmp_path / "data" / file
    if fault == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"0")
    else:
        path.unlink()
    with pytest.raises(OutcomeError, match=message.format(file)):
        mmlu_pro.load()
