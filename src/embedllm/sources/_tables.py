"""Tables from files: CSV as text cells, parquet with its types, the first sheet of an Excel file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from embedllm.outcomes import OutcomeError
from embedllm.sources._csv import UNREADABLE, read_csv
from embedllm.sources._files import LARGEST, first_line, opened, require_cells, require_distinct, size

SUFFIXES = ("csv", "csv.gz", "tsv", "parquet", "xlsx")


def read_table(file: Path, words: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV, parquet or Excel file.

    Parameters
    ----------
    file : Path
        Its suffix says which. CSV: UTF-8 or UTF-16, plain or gzip's, separated by commas or else by semicolons, tabs
        or bars. The one sheet of an Excel file is read if openpyxl is installed.
    words : sequence of str
        Columns, if there, whose text is held once for each distinct word, as categoricals.

    Returns
    -------
    DataFrame
        The index numbers rows as a reader finds them: from 2 in a CSV file, whose first row names the
        columns, from 1 in a parquet file. Of a CSV file every cell is text (an id 007 and a prompt "None"
        survive) and an empty cell is missing; a parquet file keeps its types, and named levels of an index
        are columns.

    Raises
    ------
    OutcomeError
        If the file cannot be read: text in another encoding, a row with more or fewer cells than the header, a column
        named twice, a misplaced quotation mark, or no table at all; if it is a Git LFS pointer; or if it is
        larger than `CELLS` cells or unpacks to more than `LARGEST` bytes.
    """
    if file.suffix == ".parquet":
        return _parquet(file, words)
    return _excel(file) if file.suffix == ".xlsx" else read_csv(file, words)


def _parquet(file: Path, words: Sequence[str]) -> pd.DataFrame:
    try:
        with opened(file) as stream:
            parquet = pa.parquet.ParquetFile(stream)
            held, names = parquet.metadata, set(parquet.schema_arrow.names)
            require_cells(file, held.num_rows, held.num_columns)
            unpacked = sum(held.row_group(number).total_byte_size for number in range(held.num_row_groups))
            if unpacked > LARGEST:
                raise OutcomeError(f"{file} unpacks to {size(unpacked)}, more than {size(LARGEST)}; keep fewer rows")
            table = pa.parquet.read_table(stream, read_dictionary=sorted(names & set(words)))
        table.validate(full=True)  # damaged text is found here, not wherever it is used first
        frame = table.to_pandas()
    except (*UNREADABLE, ValueError, TypeError, KeyError) as error:
        if isinstance(error, OutcomeError):
            raise
        raise OutcomeError(f"{file} cannot be read as parquet: {first_line(error)}") from None
    levels = [name for name in frame.index.names if name is not None and name not in frame.columns]
    index = frame.index.to_frame(index=False, name=range(frame.index.nlevels))
    index.columns = frame.index.names
    frame = pd.concat([index[levels], frame.reset_index(drop=True)], axis=1)
    frame.columns = frame.columns.map(str)
    require_distinct(file, list(frame.columns))
    return _numbered(frame, 1)


def _excel(file: Path) -> pd.DataFrame:
    try:
        with opened(file) as stream:
            _require_bounded(file, stream)
            with pd.ExcelFile(stream, engine="openpyxl") as book:
                if len(book.sheet_names) > 1:
                    raise OutcomeError(f"{file} has {len(book.sheet_names)} sheets; keep the one that is meant")
                cells = book.parse(header=None, dtype=str, keep_default_na=False, na_values=[""])
    except ImportError:
        raise OutcomeError(f"{file} needs the package openpyxl (pip install openpyxl); or save it as CSV") from None
    except OutcomeError:
        raise
    except Exception as error:  # openpyxl and the XML parsers below it raise whatever they meet
        raise OutcomeError(f"{file} cannot be read as an Excel file: {first_line(error)}") from None
    if cells.empty:
        raise OutcomeError(f"{file} is empty or lacks its first row, the names of the columns")
    columns, frame = cells.iloc[0].fillna(""), cells.iloc[1:]
    held = (columns != "") | frame.notna().any()
    require_distinct(file, list(columns[held]))
    return _numbered(frame.loc[:, held].set_axis(columns[held], axis=1), 2).dropna(how="all")


def _require_bounded(file: Path, stream: BinaryIO) -> None:
    """Raise OutcomeError if the parts of a zip say that they unpack to more than `LARGEST` bytes."""
    with zipfile.ZipFile(stream) as archive:  # which reads no part beyond what it says
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > LARGEST:
        raise OutcomeError(f"{file} unpacks to {size(unpacked)}, more than {size(LARGEST)}; save it as CSV")
    stream.seek(0)


def _numbered(frame: pd.DataFrame, first: int) -> pd.DataFrame:
    return frame.set_index(pd.RangeIndex(first, first + len(frame)))
