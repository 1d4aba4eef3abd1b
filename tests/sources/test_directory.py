"""The reader's own folder: known tables, the forms they may take, and files that are wrong."""

import csv
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import damaged, read_or_refuse, sentence
from hypothesis import given, settings
from hypothesis import strategies as st

from embedllm.outcomes import OutcomeError
from embedllm.sources import directory

N = np.nan
DIFFERING = "models whose cost differs by more than 1 % from the mean of their answers"

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
    assert list(table.models["family"]) == ["f", None]
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


def test_facts_meet_names_written_with_other_blanks(folder):
    """One name, mended alike wherever it stands; a model listed twice is named by its row of the file."""
    outcomes = OUTCOMES.assign(model=[f"{name} " for name in OUTCOMES["model"]])
    table = directory.load(folder(models=MODELS, outcomes=outcomes))
    assert list(table.models.index) == ["a", "b"] and table.models.loc["a", "family"] == "f"
    assert table.repairs["models without a row of facts"] == []
    assert table.repairs["models with facts and no outcomes, left out"] == []
    twice = pd.concat([MODELS, pd.DataFrame({"model": ["unused", "b "]})])
    assert "models.csv: model that stands in an earlier row as well: row 5" in refusal(folder(models=twice))


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


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_wide_form_equals_long_form(folder, suffix):
    wide = pd.DataFrame({"question_id": [10, 1, 2], "b": [0.25, 1, 0], "a": [0.5, N, 1]})
    table = directory.load(folder(suffix, outcomes=wide))
    np.testing.assert_array_equal(table.scores, SCORES)
    assert list(table.models.index) == ["a", "b"]
    opposite = wide.assign(a=1 - wide["a"], b=1 - wide["b"])
    again = directory.load(folder(suffix, outcomes=pd.concat([wide, opposite])), duplicates="mean")
    np.testing.assert_array_equal(again.scores, np.where(np.isnan(SCORES), N, 0.5))
    assert len(again.repeats) == 10


def test_wide_form_names_the_row_and_the_model_of_a_wrong_score(folder):
    wide = pd.DataFrame({"question_id": [1, 2], "a": ["1", "0"], "b": ["0.5", "yes"]})
    assert "row 3 (model 'b', question_id '2', score 'yes')" in refusal(folder(outcomes=wide))
    wide = wide.assign(b="1", prompt="What?")
    assert "prompt belongs in the questions table" in refusal(folder(outcomes=wide))


def test_wide_form_needs_names_and_says_what_it_took_for_models(folder):
    wide = pd.DataFrame({"question_id": [1, 2], "b": [1, 0], "a": [0.5, 1]})
    table = directory.load(folder(outcomes=wide))
    assert table.provenance["columns taken as models"] == "2: b, a"
    assert "a column without a name" in refusal(folder(outcomes=wide[["b", "question_id", "a"]].rename(
        columns={"b": ""})))


@pytest.mark.parametrize("form", [{"sep": ";"}, {"sep": "\t"}, {"encoding": "utf-16"}, {"compression": "gzip"}])
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv"])
def test_forms_of_csv(folder, tmp_path, form, suffix):
    path = folder(outcomes=None, models=MODELS)
    OUTCOMES.to_csv(path / f"outcomes.{suffix}", index=False, **{"compression": None} | form)
    np.testing.assert_array_equal(directory.load(tmp_path).scores, SCORES)


@pytest.mark.parametrize("wide", [False, True])
def test_ids_in_the_index_of_a_parquet_file(folder, tmp_path, wide):
    """As pandas writes tables whose ids are their index, or columns and index."""
    outcomes = OUTCOMES.set_index(["model", "question_id"])
    outcomes = OUTCOMES.pivot_table("score", "question_id", "model") if wide else outcomes
    outcomes.to_parquet(folder(outcomes=None, questions=None) / "outcomes.parquet")
    QUESTIONS.set_index("question_id", drop=False).to_parquet(tmp_path / "questions.parquet")
    MODELS.set_index("model").to_parquet(tmp_path / "models.parquet")
    table = directory.load(tmp_path)
    np.testing.assert_array_equal(table.scores, SCORES)
    assert list(table.models["family"]) == ["f", None]


def test_an_excel_file(folder, tmp_path):
    file = folder(outcomes=None) / "outcomes.xlsx"
    if importlib.util.find_spec("openpyxl"):
        OUTCOMES.to_excel(file, index=False)
        np.testing.assert_array_equal(directory.load(tmp_path).scores, SCORES)
        with pd.ExcelWriter(file) as book:
            OUTCOMES.to_excel(book, sheet_name="one", index=False)
            OUTCOMES.to_excel(book, sheet_name="two", index=False)
        assert "has 2 sheets; keep the one that is meant" in refusal(tmp_path)
        OUTCOMES.set_axis(["model", "question_id", "model"], axis=1).to_excel(file, index=False)
        assert "has several columns named 'model'" in refusal(tmp_path)
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("xl/workbook.xml", "")
        assert "outcomes.xlsx needs the package openpyxl (pip install openpyxl)" in refusal(tmp_path)
    file.write_bytes(b"PK")
    assert "outcomes.xlsx cannot be read as an Excel file" in refusal(tmp_path)


def test_excel_files_are_bounded(folder, tmp_path, monkeypatch):
    with zipfile.ZipFile(folder(outcomes=None) / "outcomes.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 5000)
    monkeypatch.setattr("embedllm.sources._tables.LARGEST", 4999)
    assert "outcomes.xlsx unpacks to" in refusal(tmp_path)


@pytest.mark.parametrize(("column", "message"), [
    ("score", "score that is no number in [0, 1]: row 1"), ("model", "model holds lists, records or bytes where names"),
])
def test_lists_in_a_parquet_file(folder, column, message):
    assert message in refusal(folder("parquet", outcomes=OUTCOMES.assign(**{column: [[1], [2], [3]] * 2})))


@pytest.mark.parametrize("suffix", ["pkl", "pickle"])
def test_a_pickle_is_refused_with_a_recipe_that_works(folder, tmp_path, suffix, monkeypatch):
    OUTCOMES.to_pickle(folder(outcomes=None) / f"outcomes.{suffix}")
    recipe = refusal(tmp_path).partition("turn it into parquet: ")[2]
    assert len(recipe.split("; ")) == 3
    monkeypatch.chdir(tmp_path)
    exec(recipe)
    np.testing.assert_array_equal(directory.load(tmp_path).scores, SCORES)


@pytest.mark.parametrize("stem", ["outcomes", "questions", "models"])
def test_a_table_in_a_form_that_is_not_read_is_named(folder, tmp_path, stem):
    (folder(**{} if stem == "models" else {stem: None}) / f"{stem}.jsonl").write_text("{}")
    message = refusal(tmp_path)
    assert f"lacks {stem}.csv or {stem}.parquet" in message and f"it holds {stem}.jsonl" in message
    (tmp_path / f"{stem}.jsonl").rename(tmp_path / f"{stem}.txt")
    if stem == "models":
        assert directory.load(tmp_path).shape == (2, 3)


@pytest.mark.parametrize("file", ["outcomes.csv", "questions.parquet", "models.csv", "models.xlsx"])
def test_pointers_of_git_lfs_and_pipes(folder, tmp_path, file):
    stem, _, suffix = file.partition(".")
    path = folder("parquet" if suffix == "parquet" else "csv", **{} if stem == "models" else {stem: None})
    (path / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:11dfe2fc\nsize 42\n")
    assert f"{file} is a Git LFS pointer, not the data: git lfs pull" in refusal(path)
    (path / file).unlink()
    os.mkfifo(path / file)
    assert "it is no file" in refusal(path)


def test_a_table_too_large_for_memory_is_refused_before(folder, tmp_path, monkeypatch):
    """60,000 models x 60,000 questions, few of them asked."""
    number = np.arange(60_000)
    outcomes = pd.DataFrame({"model": number, "question_id": number, "score": 1})
    questions = pd.DataFrame({"question_id": number, "prompt": "What?", "benchmark": "x"})
    assert "60,000 x 60,000 cells would take 13.4 GiB, more than the 4 GiB" in refusal(
        folder("parquet", outcomes=outcomes, questions=questions))


def test_many_rows_take_little_memory(tmp_path):
    """A million rows, 34 MB: they take 215 MB beyond the imports, with a Python object for each id 360."""
    with (tmp_path / "outcomes.csv").open("w") as stream:
        stream.write("model,question_id,score\n")
        for model in range(100):
            stream.writelines(f"maker/{model:09d},question-{number:05d},{number % 2}\n" for number in range(10_000))
    pd.DataFrame({"question_id": [f"question-{number:05d}" for number in range(10_000)], "prompt": "What?",
                  "benchmark": "x"}).to_csv(tmp_path / "questions.csv", index=False)
    program = (
        "import resource, sys; from pathlib import Path; from embedllm.sources import directory\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); directory.load(Path(sys.argv[1])); print(peak() - before)"
    )
    grown = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True).stdout
    assert int(grown) * (1 if sys.platform == "darwin" else 2**10) < 290 * 2**20


# costs


COSTS = [0.02, 0.04, N, 5, 0.1, 0.3]  # of a's first row nothing: it was not asked


def test_costs_of_answers_become_costs_of_models(folder):
    outcomes = OUTCOMES.assign(cost=COSTS)
    for models in (None, MODELS):
        table = directory.load(folder(outcomes=outcomes, models=models))
        np.testing.assert_allclose(table.models["cost"], [0.2, 0.03])
        assert set(table.models["cost_unit"]) == {"query"}
        np.testing.assert_array_equal(table.scores, SCORES)
    table = directory.load(folder(outcomes=outcomes, models=MODELS.assign(cost=[0.2001, N])))
    np.testing.assert_allclose(table.models["cost"], [0.2001, 0.03])
    assert table.repairs[DIFFERING] == 0
    table = directory.load(folder(outcomes=outcomes, models=MODELS.assign(cost=[0.21, 0.0301])))
    np.testing.assert_allclose(table.models["cost"], [0.21, 0.0301])
    assert table.repairs[DIFFERING] == 1


def test_models_without_costs_of_answers_have_none(folder):
    table = directory.load(folder(outcomes=OUTCOMES.assign(cost=[N, N, N, N, 0, 0])))
    np.testing.assert_array_equal(table.models["cost"], [0, N])
    assert "cost" not in directory.load(folder(outcomes=OUTCOMES)).models


@pytest.mark.parametrize(("cost", "message"), [
    (-1, "must be a number from 0 on, found '-1"), ("cheap", "found 'cheap'"), (np.inf, "found 'inf'"),
])
def test_wrong_costs_of_answers(folder, cost, message):
    costs = pd.Series(COSTS, dtype=object)
    costs[4] = cost
    told = refusal(folder(outcomes=OUTCOMES.assign(cost=costs)))
    assert "outcomes.csv, row 6: cost of model a" in told and message in told


def test_units_of_costs(folder):
    def units(*told):
        return folder(models=MODELS.assign(cost=[1, 2], cost_unit=told))

    assert list(directory.load(units("query", None)).models["cost_unit"]) == ["query"] * 2
    assert list(directory.load(units(*["million tokens"] * 2)).models["cost_unit"]) == ["million tokens"] * 2
    told = folder(models=MODELS.assign(cost=[1, N], cost_unit=["million tokens", None]))
    assert list(directory.load(told).models["cost_unit"]) == ["million tokens"] * 2, "no cost, no unit of its own"
    assert list(directory.load(folder(models=MODELS.assign(cost=1))).models["cost_unit"]) == ["query"] * 2
    assert "models.csv, row 3: cost_unit of model b must be query or million tokens, found 'token'" in refusal(
        units("query", "token"))
    assert "for a query and for million tokens; give all in one" in refusal(units("query", "million tokens"))
    units(*["million tokens"] * 2)
    told = refusal(folder(outcomes=OUTCOMES.assign(cost=COSTS)))
    assert "models have costs for million tokens, outcomes for each answer; keep those of one" in told


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from(["a", "b ", "b"]), st.sampled_from(["1", "2"]),
                               st.sampled_from(["0", "1", ""]), st.sampled_from(["", "0", "0.5", "2"])), min_size=1))
def test_any_costs_are_averaged_over_the_answers_of_a_model(rows):
    expected: dict[str, list[float]] = {}
    for model, _, score, cost in rows:
        if score:
            expected.setdefault(model.strip(), []).extend([float(cost)] if cost else [])
    with tempfile.TemporaryDirectory() as path:
        put(pd.DataFrame(rows, columns=["model", "question_id", "score", "cost"]), Path(path) / "outcomes.csv")
        put(QUESTIONS, Path(path) / "questions.csv")
        table = read_or_refuse(directory.load, Path(path))
    if not expected:
        assert table is None
        return
    assert table.models["cost"].to_dict() == pytest.approx(
        {model: np.mean(costs) if costs else N for model, costs in expected.items()}, nan_ok=True)


@pytest.mark.parametrize("prompt", [[1, 2, 3], [b"a", b"b", b"c"], [[{"role": "user", "content": "hi"}]] * 3])
def test_prompts_of_parquet_files_are_text(folder, prompt):
    assert "questions.parquet: prompt that is blank or no text: row 1" in refusal(
        folder("parquet", questions=QUESTIONS.assign(prompt=prompt)))


def test_a_published_split_of_ones_own(folder):
    table = directory.load(folder(questions=QUESTIONS.assign(part=["val", "train", "test"])))
    assert table.questions["part"].tolist() == ["val", "train", "test"]
    assert "part that is none of" in refusal(folder(questions=QUESTIONS.assign(part=["val", "train", None])))


# what it refuses, in one sentence that names the file


def refusal(path: Path) -> str:
    return sentence(directory.load, path)


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
    assert "questions.csv, line 5, is not UTF-8 text" in refusal(tmp_path)


def test_an_unquoted_comma_does_not_shift_columns(folder, tmp_path):
    (folder(questions=None) / "questions.csv").write_text(
        "question_id,prompt,benchmark\n1,Is it 1, or 2?,x\n2,Is it 3, or 4?,x\n10,Is it 5, or 6?,x\n"
    )
    assert "questions.csv cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("outcomes", {"score": [1, 0, 1, 2, 0, 0]}, "[0, 1]: row {3} (model 'a', question_id '1', score '2"),
        ("outcomes", {"score": [1, 0, "yes", 1, 0, 0]}, "row {2} (model 'b', question_id '10', score 'yes')"),
        ("outcomes", {"question_id": [1, 2, 10, 1, 2, 99]}, "does not hold: row {5} (model 'a', question_id '99'"),
        ("outcomes", {"model": ["b", None, "b", "a", "a", "a"]}, ", row {1}: no model (1 such row(s))"),
        ("questions", {"question_id": [1, 1, 2]}, "stands in an earlier row as well: row {1} (question_id '1')"),
        ("questions", {"prompt": ["p", None, "q"]}, "prompt that is blank or no text: row {1}"),
        ("models", {"parameters_b": ["seven", "8"]}, ", row {0}: parameters_b of model a must be a number above 0"),
        ("models", {"parameters_b": ["7", "-8"]}, ", row {1}: parameters_b of model b must be a number above 0"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_wrong_content(folder, suffix, table, change, message):
    frames = {"outcomes": OUTCOMES, "questions": QUESTIONS, "models": MODELS}
    if table == "outcomes" and "score" in change and suffix == "parquet":
        change = {"score": [str(value) for value in change["score"]]}
    rows = range(2 if suffix == "csv" else 1, 10)  # as a reader finds them in the file
    told = refusal(folder(suffix, **{**frames, table: frames[table].assign(**change)}))
    assert f"{table}.{suffix}" in told and message.format(*rows) in told


@pytest.mark.parametrize(
    ("table", "column"),
    [("outcomes", "model"), ("outcomes", "score"), ("questions", "benchmark"), ("models", "model")],
)
def test_lacking_columns(folder, table, column):
    frames = {"outcomes": OUTCOMES, "questions": QUESTIONS, "models": MODELS}
    frames[table] = frames[table].drop(columns=column)
    message = refusal(folder(**frames))
    assert table in message and f"lacks the column(s) {column};" in message


# whatever a file holds: the table that a few plain lines make of it, or a sentence

GOOD = ["0", "1", "0.5", "1.0", "true", "FALSE", "", "nan", " 1 ", "1e-1"]
BAD = ["2", "-1", "yes", "inf", "0x1", "1,0", "1_0", "\u0661", '"']
NAMES = ["a", "A", "b ", "caf\u00e9", "\U0001f916", "x" * 300, "1", "01", "None"]


def plain(cell: str) -> float | None:
    """The score of a cell; None where it is blank; ValueError where it is none."""
    word = cell.strip().lower()
    if "_" in word or not word.isascii():
        raise ValueError(cell)
    if word in ("", "nan"):
        return None
    value = {"true": 1.0, "false": 0.0}.get(word)
    value = float(word) if value is None else value
    if not 0 <= value <= 1:
        raise ValueError(cell)
    return value


def cells_of(table) -> dict:
    """Score of each observed model and question."""
    return {(model, question): table.scores[i, j] for i, model in enumerate(table.models.index)
            for j, question in enumerate(table.questions.index) if table.observed[i, j]}


def answers(words: list[str]):
    """Rows of model, question and score."""
    row = st.tuples(st.sampled_from(NAMES), st.sampled_from(["7", "07", "8", "\u00fc"]), st.sampled_from(words))
    return st.lists(row, min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(rows=answers(GOOD) | answers(GOOD * 3 + BAD), wide=st.booleans(), ending=st.sampled_from(["\n", "\r\n"]),
       bom=st.booleans())
def test_any_cells_give_what_plain_python_gives_or_an_error(rows, wide, ending, bom):
    if wide:  # one row per question, all models; the last score given for a cell stands
        cells = {(model.strip(), question): word for model, question, word in rows}
        names, ids = (sorted({key[side] for key in cells}) for side in (0, 1))
        lines = [["question_id", *names], *([q, *(cells.get((m, q), "") for m in names)] for q in ids)]
        rows = [(m, q, cells.get((m, q), "")) for q in ids for m in names]
    else:
        lines = [["model", "question_id", "score"], *rows]
    questions = [["question_id", "prompt", "benchmark"], *([q, f"what, {q}?", "b"] for q in ("7", "07", "8", "\u00fc"))]
    expected: dict | None = {}
    try:
        for model, question, word in rows:
            if (score := plain(word)) is not None:
                expected.setdefault((model.strip(), question), np.float32(score))
    except ValueError:
        expected = None
    with tempfile.TemporaryDirectory() as folder:
        for stem, content in {"outcomes": lines, "questions": questions}.items():
            with open(f"{folder}/{stem}.csv", "w", newline="", encoding="utf-8-sig" if bom else "utf-8") as stream:
                csv.writer(stream, lineterminator=ending).writerows(content)
        table = read_or_refuse(directory.load, Path(folder))
    if not expected:
        assert table is None
        return
    assert cells_of(table) == expected


@settings(max_examples=250, deadline=None)
@given(data=st.data(), suffix=st.sampled_from(["csv", "parquet"]),
       stem=st.sampled_from(["outcomes", "questions", "models"]))
def test_damaged_files_give_a_table_or_a_sentence(data, suffix, stem):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{stem}.{suffix}"
        for name, frame in {"outcomes": OUTCOMES, "questions": QUESTIONS, "models": MODELS}.items():
            put(frame, Path(folder) / f"{name}.{suffix}")
        file.write_bytes(data.draw(damaged(file.read_bytes())))
        table = read_or_refuse(directory.load, Path(folder))
        if table is None:
            return
        read = partial(pd.read_csv, dtype=str, keep_default_na=False) if suffix == "csv" else pd.read_parquet
        outcomes, questions = (read(Path(folder) / f"{name}.{suffix}") for name in ("outcomes", "questions"))
    prompts = {str(row.question_id).strip(): row.prompt for row in questions.itertuples()}
    assert table.questions["prompt"].to_dict() == {question: prompts[question] for question in table.questions.index}
    outcomes["score"] = pd.to_numeric(outcomes["score"].astype(str).str.strip(), errors="coerce")
    known = outcomes[outcomes["score"].notna()]
    known = known.drop_duplicates(["model", "question_id"])
    assert cells_of(table) == {(str(model).strip(), str(question).strip()): np.float32(score)
                               for model, question, score in known[["model", "question_id", "score"]].to_numpy()}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_very_long_and_odd_prompts_survive(folder, suffix):
    prompts = ["x" * 200_000, "\u0000\u202e\U0001f600 \ufeff", '"']
    table = directory.load(folder(suffix, questions=QUESTIONS.assign(prompt=prompts)))
    assert table.questions["prompt"].tolist() == prompts


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


def test_vectors_in_pieces(table, tmp_path):
    """Whole numbers too; an encoder whose name begins alike is another."""
    (tmp_path / "vectors").mkdir()
    ids, vectors = np.array([2, 3, 1, 10]), np.arange(8, dtype=np.int8).reshape(4, 2)
    for name, rows in (("minilm.1", [3, 1]), ("minilm.2", [0, 2]), ("minilm-large", [0, 1, 2, 3])):
        np.savez(tmp_path / "vectors" / f"{name}.npz", question_id=ids[rows], vectors=vectors[rows])
    found = directory.vectors_of(tmp_path, "minilm", table)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors[[3, 2, 0]])
    np.savez(tmp_path / "vectors" / "minilm.2.npz", question_id=ids[:1], vectors=np.ones((1, 3)))
    with pytest.raises(OutcomeError, match=r"vectors of different lengths, \[2, 3\]"):
        directory.vectors_of(tmp_path, "minilm", table)
    np.savez(tmp_path / "vectors" / "minilm.2.npz", question_id=ids[3:], vectors=vectors[3:])
    with pytest.raises(OutcomeError, match=r"minilm: question id\(s\) that occur twice: \['10'\]"):
        directory.vectors_of(tmp_path, "minilm", table)


def test_vectors_that_git_lfs_has_not_fetched(table, tmp_path):
    save_vectors(tmp_path)
    (tmp_path / "vectors" / "minilm.npz").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(OutcomeError, match=r"minilm\.npz is a Git LFS pointer"):
        directory.vectors_of(tmp_path, "minilm", table)


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_vectors_cut_short(table, tmp_path, keep):
    save_vectors(tmp_path, question_id=np.arange(99), vectors=np.ones((99, 5)))
    file = tmp_path / "vectors" / "minilm.npz"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(OutcomeError, match=r"minilm\.npz cannot be read"):
        directory.vectors_of(tmp_path, "minilm", table)
