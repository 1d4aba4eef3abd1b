"""CSV files as programs write them: encoding, separator and quotation marks told and checked, then read by pyarrow."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from embedllm.outcomes import OutcomeError
from embedllm.sources._files import LARGEST, first_line, opened, require_cells, require_columns, require_distinct, size
from embedllm.sources._quotes import BLOCK, census, requoted

SEPARATORS = (";", "\t", "|")  # looked for where the first line has no comma
BOM = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
OTHERS = {  # what files begin with that are no CSV
    b"PAR1": "parquet", b"PK\x03\x04": "an Excel or zip file", b"\x80\x04\x95": "a pickle",
    b"\x80\x05\x95": "a pickle", b"(\xb5/\xfd": "packed with zstd", b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
}
UNREADABLE = (pa.ArrowException, OSError, EOFError, zlib.error)
WORD = pa.dictionary(pa.int32(), pa.string())  # a column of few distinct words, each held once


@dataclass(frozen=True)
class Layout:
    """How a CSV file is written.

    Attributes
    ----------
    delimiter : str
    columns : list of str
        Names of the columns; "" for columns without one at the end of the lines.
    skipped : int
        Lines before the names of the columns.
    quoted : bool
        Whether a cell is quoted, so that it may go over several lines.
    content : bytes or None
        The file as UTF-8 with its quotation marks doubled, where it is not written like that.
    """

    delimiter: str
    columns: list[str]
    skipped: int
    quoted: bool
    content: bytes | None


def read_csv(file: Path, words: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file; raises and numbers its rows as `read_table` says.

    Parameters
    ----------
    words : sequence of str
        Columns, if there, that are read as categoricals.
    """
    layout = _layout(file)
    names = _names(layout)
    options = _options(layout, {name: WORD if name in words else pa.string() for name in names})
    try:
        with _stream(file, layout.content) as stream:
            table = pa.csv.read_csv(stream, *options)
    except UNREADABLE as error:
        raise _explained(file, layout, options, error) from None
    frame = table.to_pandas().set_index(pd.RangeIndex(2 + layout.skipped, 2 + layout.skipped + len(table)))
    if layout.columns[-1]:
        return frame
    named = [name for name, column in zip(names, layout.columns, strict=True) if column]
    for row in frame.index[frame.drop(columns=named).notna().any(axis=1)][:1]:
        raise OutcomeError(f"{file}, row {row}: a cell in a column without a name; name the column or remove it")
    return frame[named].dropna(how="all")  # of rows that spreadsheets add, commas only


def read_batches(file: Path, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Some columns of a CSV file piece by piece, for what is too large to hold; raises as `read_table`."""
    layout = _layout(file, held=False)
    require_columns(pd.DataFrame(columns=layout.columns), file, list(types))
    options = _options(layout, types)
    try:
        with _stream(file, layout.content) as stream, pa.csv.open_csv(stream, *options) as reader:
            yield from reader
    except UNREADABLE as error:
        raise _explained(file, layout, options, error) from None


def _layout(file: Path, held: bool = True) -> Layout:
    """How a file is written; `held`: it will be held as a whole, so that it must not be too large."""
    try:
        content = _recoded(file)
        with _stream(file, content) as stream:
            delimiter, columns, skipped = _header(file, stream)
        with _stream(file, content) as stream:
            lines, quoted, doubled = census(stream, delimiter)
        if held:
            require_cells(file, lines, len(columns))
        if not doubled:
            with _stream(file, content) as stream:
                content = requoted(file, stream.read(), delimiter) or content
    except UnicodeDecodeError:
        raise _not_utf8(file) from None
    except (*UNREADABLE, csv.Error) as error:
        raise OutcomeError(f"{file} cannot be read: {first_line(error)}") from None
    return Layout(delimiter, columns, skipped, quoted, content)


def _recoded(file: Path) -> bytes | None:
    """The content of a UTF-16 file in UTF-8."""
    with opened(file) as stream:
        beginning = stream.read(8)
        for start, what in OTHERS.items():
            if beginning.startswith(start):
                raise OutcomeError(f"{file} is no CSV, it is {what}; name it so, or save it as CSV or parquet")
        if not beginning.startswith(UTF_16):
            return None
        content = beginning + stream.read(LARGEST)
    if len(content) > LARGEST:
        raise OutcomeError(f"{file} is UTF-16 of more than {size(LARGEST)}; save it as UTF-8")
    try:
        return content.decode("utf-16").encode()
    except UnicodeDecodeError:
        raise OutcomeError(f"{file} begins as UTF-16 text and is none; save it as UTF-8") from None


def _stream(file: Path, content: bytes | None) -> BinaryIO:
    """The bytes of a file behind its byte order mark."""
    stream = opened(file) if content is None else io.BytesIO(content)
    if stream.read(len(BOM)) != BOM:
        stream.seek(0)
    return stream


def _header(file: Path, stream: BinaryIO) -> tuple[str, list[str], int]:
    """The separator, the names of the columns, and the number of lines before these."""
    place = stream.tell()
    line = stream.readline(BLOCK).decode()
    told = re.fullmatch(r'"?sep=(.)"?[,;\s]*', line, re.IGNORECASE)  # written by and for Excel
    if not told:
        stream.seek(place)
    lines = io.TextIOWrapper(stream, "utf-8", newline="")
    if told:
        delimiter, header = told[1], next(csv.reader(lines, delimiter=told[1]), [])
    else:
        delimiter = "\t" if ".tsv" in file.suffixes and "\t" in line else ","
        header = next(csv.reader(lines, delimiter=delimiter), [])
        found = [sign for sign in SEPARATORS if len(header) == 1 and sign in header[0]]
        if len(found) > 1:
            raise OutcomeError(f"{file} separates its columns by one of {' '.join(map(repr, found))}; save it with "
                               "commas")
        if found:
            delimiter, header = found[0], next(csv.reader([line], delimiter=found[0]))
    if not any(name.strip() for name in header):
        raise OutcomeError(f"{file} is empty or lacks its first line, the names of the columns")
    if any("\0" in name for name in header):
        raise OutcomeError(f"{file} holds NUL bytes, as UTF-16 text without a byte order mark; save it as UTF-8")
    last = max(number for number, name in enumerate(header) if name.strip())
    require_distinct(file, header[:last + 1])
    return delimiter, [*header[:last + 1], *[""] * (len(header) - last - 1)], int(bool(told))


def _names(layout: Layout) -> list[str]:
    """The columns with a name of their own for each that has none behind the last named one."""
    last = max(number for number, name in enumerate(layout.columns) if name.strip())
    return [name if number <= last else f"\0{number}" for number, name in enumerate(layout.columns)]


def _options(layout: Layout, types: Mapping[str, pa.DataType], threads: bool = True) -> tuple:
    return (
        pa.csv.ReadOptions(
            block_size=BLOCK, use_threads=threads, column_names=_names(layout), skip_rows=layout.skipped,
            skip_rows_after_names=1,
        ),
        pa.csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=layout.quoted),
        pa.csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=[""], strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _explained(file: Path, layout: Layout, options: tuple, error: Exception) -> OutcomeError:
    """An error with the number of the row, which pyarrow knows only when it reads with one thread."""
    if "invalid UTF8" in str(error):
        return _not_utf8(file)
    options[0].use_threads = False
    try:
        with _stream(file, layout.content) as stream:
            for _ in pa.csv.open_csv(stream, *options):
                pass
    except UNREADABLE as again:
        error = again
    return OutcomeError(f"{file} cannot be read: {first_line(error)} (row {1 + layout.skipped} is the line of column "
                        "names)")


def _not_utf8(file: Path) -> OutcomeError:
    """The error for a file that is no UTF-8 text, with the first line that is not."""
    number = 1
    with opened(file) as stream:
        for line in stream:
            try:
                line.decode()
            except UnicodeDecodeError:
                break
            number += 1
    return OutcomeError(f"{file}, line {number}, is not UTF-8 text; save the file as UTF-8")
