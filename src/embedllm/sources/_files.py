"""What the readers of files share: files opened with care, cells as text and numbers, checksums, required columns."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from embedllm.outcomes import OutcomeError

BLANK = ("", "na", "n/a", "nan", "null", "none")  # a number that is not there, in any case
LARGEST = 1 << 31  # bytes that a packed file may take unpacked
CELLS = 1 << 30  # cells of a table, 4 GiB as float32

LFS = b"version https://git-lfs.github.com/spec/"  # what a file begins with that Git LFS has not fetched
GZIP = b"\x1f\x8b"


def opened(file: Path) -> BinaryIO:
    """Open a file to read its bytes, unpacked where it is gzip's.

    Raises
    ------
    OutcomeError
        If it is no regular file (a pipe would wait for ever), or a pointer of Git LFS instead of the data. From
        reads of the stream: if the file unpacks to more than `LARGEST` bytes.
    OSError, EOFError, zlib.error
        If it cannot be read.
    """
    _require_regular(file)
    with file.open("rb") as stream:
        beginning = stream.read(len(LFS))
    if beginning == LFS:
        raise OutcomeError(f"{file} is a Git LFS pointer, not the data: git lfs pull fetches it")
    return io.BufferedReader(_Unpacked(file), 1 << 20) if beginning.startswith(GZIP) else file.open("rb")


class _Unpacked(io.RawIOBase):
    """The content of a gzip file, an error where it grows beyond `LARGEST` bytes."""

    def __init__(self, file: Path):
        self.file, self.stream = file, gzip.GzipFile(file)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        number = self.stream.readinto(buffer)
        if self.stream.tell() > LARGEST:
            raise OutcomeError(f"{self.file} unpacks to more than {size(LARGEST)}; unpack it (gunzip) if it is meant")
        return number

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.stream.seek(offset, whence)

    def close(self) -> None:
        self.stream.close()
        super().close()


def checksum(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    _require_regular(file)
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_columns(frame: pd.DataFrame, name: object, columns: Sequence[str]) -> None:
    """Raise OutcomeError if a table lacks columns."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise OutcomeError(f"{name} lacks the column(s) {', '.join(missing)}; {held(frame)}")


def held(frame: pd.DataFrame) -> str:
    """The columns that a table has, for an error about one that it lacks."""
    return f"it has {', '.join(f'{str(column)[:40]!r}' for column in frame.columns[:12]) or 'none'}"


def require_distinct(name: object, columns: Sequence[str]) -> None:
    """Raise OutcomeError if two columns have one name."""
    repeated = sorted(column for column, number in Counter(columns).items() if number > 1)
    if repeated:
        raise OutcomeError(f"{name} has several columns named {', '.join(map(repr, repeated[:5]))}")


def require_cells(name: object, rows: int, columns: int) -> None:
    """Raise OutcomeError if a table of so many rows and columns is too large to be held."""
    if rows * columns > CELLS:
        raise OutcomeError(f"{name}: {rows:,} x {columns:,} cells would take {size(4 * rows * columns)}, more than the "
                           f"{size(4 * CELLS)} that a table may take; keep fewer models or questions")


def size(n_bytes: int) -> str:
    """A number of bytes in words."""
    return f"{n_bytes / 2**30:.3g} GiB"


def text(values: pd.Series) -> pd.Series:
    """Ids as text: 1, 1.0 (an integer column with gaps) and "1" are the same."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return values.astype("string").astype(object)


def text_categories(values: pd.Series) -> pd.Series:
    """Ids as `text` gives them, each held once: a categorical, for columns of many rows."""
    codes, distinct = pd.factorize(values)
    names, ids = pd.factorize(text(pd.Series(distinct)))  # 1 and "1" of one column are the same
    return pd.Series(pd.Categorical.from_codes(np.append(names, -1)[codes], ids), index=values.index)


def coerce_numbers(values: pd.Series) -> pd.Series:
    """Cells as numbers or, where they are none, as they stand: true and false are 1 and 0, blanks NaN."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values
    words = values.astype("string").str.strip().str.lower()
    words = words.replace({"true": "1", "false": "0"}).mask(words.isin(BLANK))
    return words.astype(object)


def to_scores(values: pd.Series) -> pd.Series:
    """Cells as `coerce_numbers` gives them, float64 if every one that is not blank is a number; each word read once."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values
    try:
        codes, distinct = pd.factorize(values)
    except TypeError:  # lists and records, which are no numbers
        codes, distinct = pd.factorize(values.map(str))
    words = coerce_numbers(pd.Series(distinct, dtype=object))
    numbers = pd.to_numeric(words, errors="coerce")
    if (numbers.notna() | words.isna()).all():
        words = numbers.astype(np.float64)
    return pd.Series(np.append(words.to_numpy(), np.nan)[codes], index=values.index)


def first_line(error: BaseException) -> str:
    """The first line of an error, for one sentence; a cell that it quotes may be very long."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 200 else f"{line[:200]}..."


def _require_regular(file: Path) -> None:
    """Raise OutcomeError for what is not there, and for pipes and folders."""
    if not file.is_file():
        raise OutcomeError(f"{file} " + ("cannot be read, it is no file" if file.exists() else "does not exist"))
