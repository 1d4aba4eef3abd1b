"""Sources that read a folder: known tables, the forms they may take, and files that are wrong."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from embedllm.outcomes import OutcomeError
from embedllm.sources import directory, mmlu_pro

DATA = Path(os.environ.get("EMBEDLLM_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
N = np.nan

OUTCOMES = pd.DataFrame({
    "model": ["b", "b", "b", "a", "a", "a"],
    "question_id": [1, 2, 10, 1, 2, 10],
    "score": [1.0, 0.0, 0.25, N, 1.0, 0.5],
})
QUESTIONS = pd.DataFrame({
    "question_id": [10, 1, 2],
    "prompt": ["None", 'a "quoted", comma\nand line', "caf\u00e9"],
    "benchmark": ["x", "x", "y"],
    "origin": ["o1", "o2", "o3"],
})
MODELS = pd.DataFrame({"model": ["a", "b"], "family": ["f", "NA"], "parameters_b": [7.0, N]})
SCORES = np.array([[0.5, N, 1.0], [0.25, 1.0, 0.0]], dtype=np.float32)  # models a, b; questions 10, 1, 2


def put(frame: pd.DataFrame, file: Path, **options) -> None:
    if file.suffix == ".csv":
        frame.to_csv(file, index=False, **options)
    else:
        frame.to_parquet(file, index=False)


@pytest.fixture
def folder(tmp_path):
    """Write a folder of tables; the given ones take the place of the defaults, None leaves one out."""

    def write(suffix: str = "csv", **tables) -> Path:
        for stem, frame in {"outcomes": OUTCOMES, "questions": QUESTIONS, **tables}.items():
            if frame is not None:
                put(frame, tmp_path / f"{stem}.{suffix}")
        return tmp_path

    return write


# what it reads


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_known_table(folder, suffix):
    table = directory.load(folder(suffix, models=MODELS))
    np.testing.assert_array_equal(table.scores, SCORES)
    assert list(table.models.index) == ["a", "b"]
    assert list(table.questions.index) == ["10", "1", "2"]
    assert list(table.questions["prompt"]) == list(QUESTIONS["prompt"]), "the prompt None is a prompt"
    assert list(table.questions["origin"]) == ["o1", "o2", "o3"]
    assert list(table.models["family"]) == ["f", "NA"]
    np.testing.assert_array_equal(table.models["parameters_b"], [7.0, N])
    assert table.repairs["models without a row of facts"] == []


def test_csv_and_parquet_of_one_table_are_equal(folder, tmp_path):
    put(OUTCOMES, folder("parquet", models=MODELS, outcomes=None) / "outcomes.csv")
    mixed = directory.load(tmp_path)
    (tmp_path / "outcomes.csv").unlink()
    put(OUTCOMES, tmp_path / "outcomes.parquet")
    assert directory.load(tmp_path).fingerprint == mixed.fingerprint


def test_models_table_is_optional(folder):
    table = directory.load(folder())
    assert list(table.models.index) == ["a", "b"]
    np.testing.assert_array_equal(table.scores, SCORES)


def test_models_without_facts_are_added_and_named(folder):
    more = pd.DataFrame({"model": ["z", "c"], "question_id": [1, 2], "score": [1, 1]})
    table = directory.load(folder(models=MODELS, outcomes=pd.concat([OUTCOMES, more])))
    assert list(table.models.index) == ["a", "b", "c", "z"]
    assert table.repairs["models without a row of facts"] == ["c", "z"]
    assert table.models.loc[["c", "z"], ["family", "parameters_b"]].isna().all(axis=None)
    np.testing.assert_array_equal(table.scores[:2], SCORES)
    np.testing.assert_array_equal(table.scores[2:], [[N, N, 1], [N, 1, N]])


@pytest.mark.parametrize("benchmark", ["benchmark", "category", "task"])
@pytest.mark.parametrize("score", ["score", "label"])
def test_other_names_of_columns(folder, benchmark, score):
    path = folder(
        outcomes=OUTCOMES.rename(columns={"score": score}),
        questions=QUESTIONS.rename(columns={"benchmark": benchmark}),
    )
    table = directory.load(path)
    np.testing.assert_array_equal(table.scores, SCORES)
    assert list(table.questions["benchmark"]) == ["x", "x", "y"]


def test_first_name_wins_and_the_other_column_stays(folder):
    table = directory.load(folder(questions=QUESTIONS.assign(category="c")))
    assert list(table.questions["benchmark"]) == ["x", "x", "y"]
    assert list(table.questions["category"]) == ["c"] * 3


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_true_and_false_are_scores(folder, suffix):
    outcomes = OUTCOMES.assign(score=[True, False, True, True, True, False])
    np.testing.assert_array_equal(
        directory.load(folder(suffix, outcomes=outcomes)).scores, [[0, 1, 1], [1, 1, 0]]
    )


@pytest.mark.parametrize("blank", ["", "NaN", "n/a", "null", " None "])
def test_words_for_nothing_mean_not_asked(folder, blank):
    outcomes = OUTCOMES.astype({"score": object})
    outcomes.loc[3, "score"] = blank
    np.testing.assert_array_equal(directory.load(folder(outcomes=outcomes)).scores, SCORES)


def test_ids_are_text(folder, tmp_path):
    """007 stays apart from 7 in a csv; a float column of whole numbers in parquet is 1, 2, 10."""
    outcomes = OUTCOMES.assign(question_id=["007", "7", "10"] * 2)
    questions = QUESTIONS.assign(question_id=["10", "007", "7"])
    table = directory.load(folder(outcomes=outcomes, questions=questions))
    assert list(table.questions.index) == ["10", "007", "7"]
    np.testing.assert_array_equal(table.scores, SCORES)

    for file in tmp_path.iterdir():
        file.unlink()
    put(OUTCOMES.astype({"question_id": float}), tmp_path / "outcomes.parquet")
    put(QUESTIONS, tmp_path / "questions.csv")
    np.testing.assert_array_equal(directory.load(tmp_path).scores, SCORES)


def test_byte_order_mark_of_spreadsheets(folder, tmp_path):
    put(OUTCOMES, folder(outcomes=None) / "outcomes.csv", encoding="utf-8-sig")
    np.testing.assert_array_equal(directory.load(tmp_path).scores, SCORES)


# what it refuses, in one sentence that names the file


def refusal(path: Path) -> str:
    with pytest.raises(OutcomeError) as caught:
        directory.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    return message


def test_missing_folder_and_files(folder, tmp_path):
    assert "no directory; expected a folder with outcomes.csv or" in refusal(tmp_path / "absent")
    assert "lacks outcomes.csv or outcomes.parquet" in refusal(folder(outcomes=None))
    (tmp_path / "questions.csv").unlink()
    assert "lacks questions.csv or questions.parquet" in refusal(folder(questions=None))


def test_two_files_of_one_table(folder):
    put(OUTCOMES, folder() / "outcomes.parquet")
    assert "keep the one that is meant" in refusal(folder())


@pytest.mark.parametrize("file", ["outcomes.csv", "questions.parquet", "models.parquet", "models.csv"])
@pytest.mark.parametrize("content", [b"", b"PAR1 cut off", b"\xff\xfe\x00not", b'model\n"open', b"\x00" * 99])
def test_unreadable_files(folder, file, content):
    stem, _, suffix = file.partition(".")
    path = folder("csv" if stem == "models" else suffix, **{} if stem == "models" else {stem: None})
    (path / file).write_bytes(content)
    assert str(path) in refusal(path)


def test_truncated_parquet(folder):
    file = folder("parquet") / "outcomes.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    assert "outcomes.parquet cannot be read" in refusal(file.parent)


def test_wrong_encoding(folder, tmp_path):
    put(QUESTIONS, folder(questions=None) / "questions.csv", encoding="latin-1")
    assert "questions.csv is not UTF-8 text; save it as UTF-8" in refusal(tmp_path)


def test_an_unquoted_comma_does_not_shift_columns(folder, tmp_path):
    (folder(questions=None) / "questions.csv").write_text(
        "question_id,prompt,benchmark\n1,Is it 1, or 2?,x\n2,Is it 3, or 4?,x\n10,Is it 5, or 6?,x\n"
    )
    assert "questions.csv cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("outcomes", {"score": [1, 0, 1, 2, 0, 0]}, "1 score(s) that are no number in [0, 1]; rows 3"),
        ("outcomes", {"score": [1, 0, "yes", 1, 0, 0]}, "('b', '10', 'yes')"),
        ("outcomes", {"question_id": [1, 2, 10, 1, 2, 99]}, "the questions table does not hold"),
        ("outcomes", {"model": ["b", None, "b", "a", "a", "a"]}, "1 row(s) without a model, first row 1"),
        ("questions", {"question_id": [1, 1, 2]}, "names twice: 1"),
        ("questions", {"prompt": ["p", None, "q"]}, "without a prompt or benchmark: 1"),
        ("models", {"parameters_b": ["seven", "8"]}, "parameters_b of model a is no number but 'seven'"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_wrong_content(folder, suffix, table, change, message):
    frames = {"outcomes": OUTCOMES, "questions": QUESTIONS, "models": MODELS}
    if table == "outcomes" and "score" in change and suffix == "parquet":
        change = {"score": [str(value) for value in change["score"]]}
    assert message in refusal(folder(suffix, **{**frames, table: frames[table].assign(**change)}))


@pytest.mark.parametrize(
    ("table", "column"),
    [("outcomes", "model"), ("outcomes", "score"), ("questions", "benchmark"), ("models", "model")],
)
def test_lacking_columns(folder, table, column):
    frames = {"outcomes": OUTCOMES, "questions": QUESTIONS, "models": MODELS}
    frames[table] = frames[table].drop(columns=column)
    assert f"the {table} table lacks the column(s) ['{column}']" in refusal(folder(**frames))


# ready-made vectors


@pytest.fixture
def table(folder):
    return directory.load(folder())


def save_vectors(path: Path, **arrays) -> None:
    (path / "vectors").mkdir(exist_ok=True)
    np.savez(path / "vectors" / "minilm.npz", **arrays)


@pytest.mark.parametrize("dtype", [int, str, float])
def test_vectors_in_the_order_of_the_table(table, tmp_path, dtype):
    ids = np.array([2, 3, 1, 10])
    ids = ids.astype(dtype)
    vectors = np.arange(8, dtype=np.float16).reshape(4, 2)
    save_vectors(tmp_path, question_id=ids, vectors=vectors)
    found = directory.vectors_of(tmp_path, "minilm", table)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors[[3, 2, 0]])


def test_no_vectors_or_not_all(table, tmp_path):
    assert directory.vectors_of(tmp_path, "minilm", table) is None
    save_vectors(tmp_path, question_id=np.array([1, 2]), vectors=np.ones((2, 3)))
    assert directory.vectors_of(tmp_path, "minilm", table) is None
    assert directory.vectors_of(tmp_path, "mpnet", table) is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vectors": np.ones((3, 2))}, "expected arrays question_id and vectors"),
        ({"question_id": np.arange(2), "vectors": np.ones((3, 2))}, r"found \(2,\) and \(3, 2\)"),
        ({"question_id": np.array([1, 1, 2]), "vectors": np.ones((3, 2))}, "occur twice: .*1"),
        ({"question_id": np.array([object()] * 3), "vectors": np.ones((3, 2))}, "cannot be read"),
    ],
)
def test_vectors_of_the_wrong_form(table, tmp_path, arrays, message):
    save_vectors(tmp_path, **arrays)
    with pytest.raises(OutcomeError, match=message):
        directory.vectors_of(tmp_path, "minilm", table)


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_vectors_cut_short(table, tmp_path, keep):
    save_vectors(tmp_path, question_id=np.arange(99), vectors=np.ones((99, 5)))
    file = tmp_path / "vectors" / "minilm.npz"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(OutcomeError, match=r"minilm\.npz cannot be read"):
        directory.vectors_of(tmp_path, "minilm", table)


# mmlu-pro


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


def test_mmlu_pro_from_a_small_folder(folder):
    outcomes = OUTCOMES.assign(model=["Yi-6B"] * 3 + ["gemma-7b"] * 3).rename(columns={"score": "label"})
    questions = QUESTIONS.rename(columns={"benchmark": "category", "origin": "src"})
    table = mmlu_pro.load(folder("parquet", outcomes=outcomes, questions=questions, models=MODELS))
    assert list(table.models.index) == ["Yi-6B", "gemma-7b"]
    np.testing.assert_array_equal(table.scores, SCORES[::-1])
    assert list(table.questions["benchmark"]) == ["x", "x", "y"]
    assert list(table.questions["src"]) == ["o1", "o2", "o3"]
    assert table.models.loc["Yi-6B", "family"] == "yi"


def real(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"no real data in {DATA / name} (set EMBEDLLM_TEST_DATA)")
    return DATA / name


def test_mmlu_pro_itself():
    path = real("mmlu-pro")
    table = mmlu_pro.load(path)
    assert table.shape == (29, 12_032)
    assert table.observed.sum() == 347_215
    assert round(float(np.nanmean(table.scores)), 2) == 0.40
    assert table.questions["benchmark"].nunique() == 14
    assert table.questions["src"].str.startswith(("ori_mmlu", "stemez", "theoremQA", "scibench")).all()
    raw = pd.read_parquet(path / "outcomes.parquet").groupby("model")["label"].mean()
    np.testing.assert_allclose(table.model_means, raw[table.models.index])
    assert [name for name, value in table.repairs.items() if value] == []

    given = pd.read_csv(path / "models.csv", index_col="model").loc[table.models.index]
    pd.testing.assert_frame_equal(table.models[list(given)], given, check_dtype=False, check_index_type=False)

    vectors = directory.vectors_of(path, "minilm", table)
    assert (vectors.shape, vectors.dtype) == ((12_032, 384), np.float32)


def test_graded_scores_of_alpaca_eval():
    table = directory.load(real("alpaca-eval"))
    assert table.shape == (58, 805)
    assert table.observed.sum() == 46_680
    assert np.nanstd(table.scores) > 0.2
    assert ((table.scores > 0) & (table.scores < 1)).sum() > 20_000
    assert (table.scores[table.models.index == "gpt4_1106_preview"] == 0.5).all()
