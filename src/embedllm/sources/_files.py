"""What the readers of files share: tables as text cells, checksums, errors that name the file and the row."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from embedllm.outcomes import OutcomeError

BLOCK = 1 << 24  # bytes of a CSV file read at a time; the longest row must fit
BLANK = ("", "na", "n/a", "nan", "null", "none")  # a number that is not there, in any case


LFS = b"version https://git-lfs.github.com/spec/"  # what a file begins with that Git LFS has not fetched
GZIP = b"\x1f\x8b"


def opened(file: Path) -> BinaryIO:
    """Open a file to read its bytes, unpacked where it is gzip's.

    Raises
    ------
    OutcomeError
        If it is no regular file (a pipe would wait for ever), or a pointer of Git LFS instead of the data.
    OSError
        If it cannot be read.
    """
    if not file.is_file():
        raise OutcomeError(f"{file} is no file" if file.exists() else f"{file} does not exist")
    with file.open("rb") as stream:
        beginning = stream.read(len(LFS))
    if beginning == LFS:
        raise OutcomeError(f"{file} is a Git LFS pointer, not the data: git lfs pull fetches it")
    return gzip.open(file) if beginning.startswith(GZIP) else file.open("rb")


def checksum(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_table(file: Path) -> pd.DataFrame:
    """Read a CSV or parquet file.

    Parameters
    ----------
    file : Path
        Its suffix says which.

    Returns
    -------
    DataFrame
        The index numbers rows as a reader finds them: from 2 in a CSV file, whose first row names the
        columns, from 1 in a parquet file. Of a CSV file every cell is text (an id 007 and a prompt "None"
        survive) and an empty cell is missing; a parquet file keeps its types.

    Raises
    ------
    OutcomeError
        If the file cannot be read: not UTF-8, a row with more or fewer cells than the header, a column
        named twice, a quoted cell that never ends, or no table at all.
    """
    if file.suffix == ".parquet":
        try:
            table = pa.parquet.read_table(file)
            table.validate(full=True)  # damaged text is found here, not wherever it is used first
            return _numbered(table.to_pandas().reset_index(drop=True), 1)
        except (pa.ArrowException, ValueError, OSError, TypeError, KeyError) as error:
            raise OutcomeError(f"{file} cannot be read as parquet: {first_line(error)}") from None
    types = dict.fromkeys(_header(file), pa.string())
    try:
        return _numbered(pa.csv.read_csv(file, *_csv_options(types)).to_pandas(), 2)
    except (pa.ArrowException, OSError) as error:
        raise _explained(file, types, error) from None


def read_batches(file: Path, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Some columns of a CSV file piece by piece, for what is too large to hold; raises as `read_table`."""
    require_columns(pd.DataFrame(columns=_header(file)), file, list(types))
    try:
        with pa.csv.open_csv(file, *_csv_options(types)) as reader:
            yield from reader
    except (pa.ArrowException, OSError) as error:
        raise _explained(file, types, error) from None


def require_columns(frame: pd.DataFrame, name: object, columns: Sequence[str]) -> None:
    """Raise OutcomeError if a table lacks columns."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        held = ", ".join(f"{str(column)[:40]!r}" for column in frame.columns[:12])
        raise OutcomeError(f"{name} lacks the column(s) {', '.join(missing)}; it has {held or 'none'}")


def text(values: pd.Series) -> pd.Series:
    """Ids as text: 1, 1.0 (an integer column with gaps) and "1" are the same."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return values.astype("string").astype(object)


def coerce_numbers(values: pd.Series) -> pd.Series:
    """Cells as numbers or, where they are none, as they stand: true and false are 1 and 0, blanks NaN."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values
    words = values.astype("string").str.strip().str.lower()
    words = words.replace({"true": "1", "false": "0"}).mask(words.isin(BLANK))
    return words.astype(object)


def first_line(error: BaseException) -> str:
    """The first line of an error, for one sentence; a cell that it quotes may be very long."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 200 else f"{line[:200]}..."


def _numbered(frame: pd.DataFrame, first: int) -> pd.DataFrame:
    return frame.set_index(pd.RangeIndex(first, first + len(frame)))


def _not_utf8(file: Path) -> OutcomeError:
    """The error for a file that is no UTF-8 text, with the first line that is not."""
    number = 1
    with file.open("rb") as stream:
        for line in stream:
            try:
                line.decode()
            except UnicodeDecodeError:
                break
            number += 1
    return OutcomeError(f"{file}, line {number}, is not UTF-8 text; save the file as UTF-8")


def _header(file: Path) -> list[str]:
    """The columns of a CSV file, its header and quotes checked, which pyarrow would take as they come."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream), [])
    except UnicodeDecodeError:
        raise _not_utf8(file) from None
    except (OSError, csv.Error) as error:
        raise OutcomeError(f"{file} cannot be read: {first_line(error)}") from None
    if not any(name.strip() for name in header):
        raise OutcomeError(f"{file} is empty or lacks its first line, the names of the columns")
    if len(header) == 1 and (other := [sign for sign in (";", "\t", "|") if sign in header[0]]):
        raise OutcomeError(f"{file} separates its columns by {other[0]!r}; save it with commas")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise OutcomeError(f"{file} has several columns named {', '.join(map(repr, repeated))}")
    with file.open("rb") as stream:
        if sum(block.count(b'"') for block in iter(lambda: stream.read(BLOCK), b"")) % 2:
            raise OutcomeError(
                f"{file} is cut short or misquoted: it has an odd number of quotation marks, so a quoted cell never "
                'ends (a quotation mark inside a quoted cell is written "")'
            )
    return header


def _csv_options(types: Mapping[str, pa.DataType], threads: bool = True) -> tuple:
    return (
        pa.csv.ReadOptions(block_size=BLOCK, use_threads=threads),
        pa.csv.ParseOptions(newlines_in_values=True),
        pa.csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=[""], strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _explained(file: Path, types: Mapping[str, pa.DataType], error: Exception) -> OutcomeError:
    """An error with the number of the row, which pyarrow knows only when it reads with one thread."""
    if "invalid UTF8" in str(error):
        return _not_utf8(file)
    try:
        for _ in pa.csv.open_csv(file, *_csv_options(types, threads=False)):
            pass
    except (pa.ArrowException, OSError) as again:
        error = again
    return OutcomeError(f"{file} cannot be read: {first_line(error)} (row 1 is the line of column names)")
