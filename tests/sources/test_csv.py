"""CSV files as programs write them: read to the last character, or refused with the line."""

import codecs
import contextlib
import csv
import gzip
import io
import os
import tempfile
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
from conftest import sentence
from hypothesis import given, settings
from hypothesis import strategies as st

from embedllm.outcomes import OutcomeError
from embedllm.sources import _files, _quotes, _tables
from embedllm.sources._tables import read_table

CELLS = st.text(st.sampled_from('a1 ,;\t|"\\\n\u00fc\U0001f600='), max_size=6)
TABLES = st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=4))
HEADER = ["question_id", "prompt", "benchmark", "origin"]


def read(content: bytes, name: str = "questions.csv") -> list[list[str]]:
    """The cells of a table with those of its header, blank where missing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        frame = read_table(file)
    return [list(frame.columns), *frame.astype(object).fillna("").to_numpy().tolist()]


def refused(tmp_path: Path, content: bytes, name: str = "questions.csv") -> str:
    (tmp_path / name).write_bytes(content)
    return sentence(read_table, tmp_path / name)


@settings(max_examples=300, deadline=None)
@given(rows=TABLES, delimiter=st.sampled_from(",;\t|"), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
       ending=st.sampled_from(["\n", "\r\n"]), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
       told=st.booleans(), packed=st.booleans(), trailing=st.integers(0, 2))
def test_whatever_a_program_writes_is_read_to_the_last_character(
    rows, delimiter, quoting, ending, encoding, told, packed, trailing
):
    rows = [HEADER[:len(rows[0]) if rows else 2], *(["x" + row[0], *row[1:]] for row in rows)]
    stream = io.StringIO(newline="")
    stream.write(f"sep={delimiter}{ending}" * told)
    csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=ending).writerows(
        [*row, *[""] * trailing] for row in rows)
    content = stream.getvalue().encode(encoding)
    assert read(gzip.compress(content, mtime=0) if packed else content) == rows


def spark(rows: list[list[str]]) -> bytes:
    """As Spark writes CSV by default: a backslash before a quotation mark inside of a quoted cell."""
    lines = []
    for row in rows:
        lines.append(",".join('"' + cell.replace('"', '\\"') + '"' if set(cell) & set(',"\n\r') else cell
                              for cell in row))
    return "".join(f"{line}\n" for line in lines).encode()


@settings(max_examples=300, deadline=None)
@given(rows=TABLES)
def test_backslashes_before_quotation_marks_are_read_right_or_refused(rows):
    """Where the quoted cells hold no other backslash nothing is refused."""
    rows = [HEADER[:len(rows[0]) if rows else 2], *(["x" + row[0], *row[1:]] for row in rows)]
    ambiguous = any("\\" in cell for row in rows for cell in row)
    with contextlib.suppress(OutcomeError) if ambiguous else contextlib.nullcontext():
        assert read(spark(rows)) == rows


@settings(max_examples=500, deadline=None)
@given(text=st.text(st.sampled_from('a",\n '), max_size=30))
def test_any_quotation_marks_are_read_as_the_standard_reader_does_or_refused(text):
    content = "question_id,prompt\n" + text
    try:
        found = read(content.encode())
    except OutcomeError:
        return
    assert found == [row for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row]


@pytest.mark.parametrize(("cell", "prompt"), [
    (r'"He said \"hi\", ok"', 'He said "hi", ok'), (r'"Print \"hi\" now"', 'Print "hi" now'), (r'"5\""', '5"'),
    (r'"{""a"": ""x\""y""}"', r'{"a": "x\"y"}'), (r'"C:\"', "C:\\"), ('6" x 8" pipe', '6" x 8" pipe'),
])
def test_quotation_marks_of_two_conventions(cell, prompt):
    assert read(f"question_id,prompt,benchmark\n1,{cell},x\n2,Who?,y\n".encode())[1] == ["1", prompt, "x"]


@pytest.mark.parametrize(("cell", "message"), [
    ('A 6" pipe', "line 3, has a quotation mark in a cell that does not begin with one"),
    (' "What?"', "line 3, has a quotation mark in a cell that does not begin with one"),
    ('"What "is" it?"', "line 3, has a quoted cell with text behind its end"),
    ('"cut short', "line 3, begins a quoted cell that never ends"),
    (r'"Line one\nline \"two\""', r"line 3, escapes quotation marks by backslashes and has '\\n'"),
])
def test_a_misplaced_quotation_mark_is_named_by_its_line(tmp_path, cell, message):
    assert message in refused(tmp_path, f"question_id,prompt\n1,What?\n2,{cell}\n3,Who?\n".encode())


def test_quotation_marks_at_the_ends_of_blocks(monkeypatch):
    monkeypatch.setattr(_quotes, "BLOCK", 8)
    for length in range(20):
        for cells, doubled in (('"x""",y', True), ('"","""",y', True), ('"x"y', False), ('x"y"', False), ('"x', False)):
            content = b"x" * length + b"\n" + cells.encode() + b"\n" * (cells != '"x')
            assert _quotes.census(io.BytesIO(content), ",") == (mock.ANY, True, doubled)


def test_rows_are_numbered_from_the_first_line(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\nquestion_id;prompt\n1;a\n2;b\n")
    assert read_table(tmp_path / "t.csv").index.tolist() == [3, 4]
    assert "Row #4" in refused(tmp_path, b"sep=;\nquestion_id;prompt\n1;a\n2;b;c\n")


def test_commas_that_spreadsheets_leave_at_the_ends(tmp_path):
    assert read(b"question_id,a,b,,\n1,1,0,,\n,,,,\n2,0,1,,\n,,,,\n") == [
        ["question_id", "a", "b"], ["1", "1", "0"], ["2", "0", "1"]]
    assert "row 3: a cell in a column without a name" in refused(tmp_path, b"question_id,a,,\n1,1,,\n2,0,,x\n")


@pytest.mark.parametrize(("content", "message"), [
    (b"PAR1" + b"x" * 9, "is no CSV, it is parquet"), (b"(\xb5/\xfd" + b"x" * 9, "packed with zstd"),
    (b"PK\x03\x04" + b"x" * 9, "an Excel or zip file"), (b"\x80\x04\x95", "a pickle"),
    ("question_id,prompt\n".encode("utf-16-le"), "UTF-16 text without a byte order mark"),
    (codecs.BOM_UTF16_LE + b"a", "begins as UTF-16 text and is none"),
    (b"question_id;prompt|x\n1;2|3\n", "by one of ';' '|'"), (b"a,b,a,c,b\n", "several columns named 'a', 'b'"),
    (gzip.compress(b"a,b\n" * 999, mtime=0)[:-9], "cannot be read"),
    (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
])
def test_what_is_no_csv_is_named(tmp_path, content, message):
    assert message in refused(tmp_path, content)


# sizes


def test_a_header_of_many_columns_is_checked_in_linear_time(tmp_path):
    names = [f"m{number}" for number in range(200_000)]
    assert "several columns named 'm7'" in refused(tmp_path, ",".join([*names, "m7"]).encode())


def test_packed_files_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "LARGEST", 1 << 20)
    packed = gzip.compress(b"question_id,prompt\n" + b"1,a\n" * (1 << 18), mtime=0)
    assert len(packed) < 1 << 13 and "unpacks to more than" in refused(tmp_path, packed)
    assert "unpacks to more than" in refused(tmp_path, packed, "questions.csv.gz")


def test_tables_are_bounded_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "CELLS", 1000)
    assert "more than the" in refused(tmp_path, b"a,b,c\n" + b"1,2,3\n" * 500)
    pd.DataFrame({"model": ["a"] * 600, "score": 1}).to_parquet(tmp_path / "t.parquet")
    assert "600 x 2 cells would take" in sentence(read_table, tmp_path / "t.parquet")
    monkeypatch.undo()
    monkeypatch.setattr(_tables, "LARGEST", 100)
    assert "unpacks to" in sentence(read_table, tmp_path / "t.parquet")


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "questions.csv")
    assert "it is no file" in sentence(read_table, tmp_path / "questions.csv")
