"""The quotation marks of a CSV file: misplaced ones found before pyarrow takes them as they come, Spark's rewritten."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from embedllm.outcomes import OutcomeError

BLOCK = 1 << 24  # bytes read at a time; the longest row must fit
# What can be wrong with a quotation mark.
NEVER_ENDS = ('begins a quoted cell that never ends: the file is cut short, or a quotation mark is missing or not '
              'doubled (inside a quoted cell it is written "")')
TEXT_BEHIND = 'has a quoted cell with text behind its end; write quotation marks inside of it as ""'
UNQUOTED = ('has a quotation mark in a cell that does not begin with one; put the cell in quotation marks and write '
            'those inside of it as ""')
TWO_THINGS = ("which may mean one of two things; write quotation marks twice (in Spark the option escape is '\"'), or "
              "parquet")


class _MisquotedError(Exception):
    """What is wrong with a quotation mark, and its position."""


def census(stream: BinaryIO, delimiter: str) -> tuple[int, bool, bool]:
    """The number of lines, whether there are quotation marks, and whether all stand as RFC 4180 has it.

    Of well-placed marks every second one begins a cell, or follows its twin directly; each other ends one, or is
    followed directly by its twin. pyarrow would take others as they come, and damage the text.
    """
    edge = np.zeros(256, dtype=bool)
    edge[[ord(delimiter), *b'\r\n"']] = True
    lines, quoted, inside, last, due = 0, False, False, b"\n", False
    while block := stream.read(BLOCK):
        lines += block.count(b"\n")
        bytes_ = np.frombuffer(last + block, np.uint8)
        if due and not edge[bytes_[1]]:
            return lines, True, False
        marks = np.flatnonzero(bytes_[1:] == ord('"')) + 1
        opening, closing = marks[int(inside)::2], marks[1 - int(inside)::2]
        behind = closing[closing + 1 < len(bytes_)] + 1
        if not (edge[bytes_[opening - 1]].all() and edge[bytes_[behind]].all()):
            return lines, True, False
        quoted, inside, last = quoted or len(marks) > 0, inside ^ bool(len(marks) % 2), block[-1:]
        due = len(closing) > 0 and int(closing[-1]) == len(bytes_) - 1
    return lines, quoted, not inside


def requoted(file: Path, content: bytes, delimiter: str) -> bytes | None:
    r"""The content with \" in quoted cells written as "", as Spark writes them; None where nothing has to change.

    Raises
    ------
    OutcomeError
        If a quotation mark is misplaced, or a backslash may or may not be meant as one; the message names the line.
    """
    try:
        for _ in _quoted_cells(content, delimiter, rb'"(?:[^"]|"")*+"'):
            pass
    except _MisquotedError as fault:
        what, place = fault.args
    else:
        return None
    cells = []
    if b'\\"' in content:
        with contextlib.suppress(_MisquotedError):
            cells = list(_quoted_cells(content, delimiter, rb'"(?:[^"\\]|\\.)*+"'))
    others = [(cell.start() + other.start(), other[0]) for cell in cells if (other := re.search(rb'\\[^"]', cell[0]))]
    if cells and not others:
        ends = [0, *(cell.end() for cell in cells)]
        mended = [content[end:cell.start()] + cell[0].replace(b'\\"', b'""')
                  for end, cell in zip(ends, cells, strict=False)]
        return b"".join([*mended, content[ends[-1]:]])
    if others:
        place, other = others[0]
        what = f"escapes quotation marks by backslashes and has {other.decode(errors='replace')!r}, {TWO_THINGS}"
    raise OutcomeError(f"{file}, line {content.count(10, 0, place) + 1}, {what}")


def _quoted_cells(content: bytes, delimiter: str, pattern: bytes) -> Iterator[re.Match]:
    """The quoted cells of a CSV file; `_MisquotedError` at the first mark out of place."""
    edges, ends = f"{delimiter}\r\n".encode(), re.compile(rb"[%s\r\n]|\Z" % re.escape(delimiter.encode()))
    quoted, place = re.compile(pattern, re.DOTALL), 0
    while (place := content.find(b'"', place)) >= 0:
        before = content[max(place - 99, 0):place]
        if not before or before[-1] in edges:
            cell = quoted.match(content, place)
            if not cell:
                raise _MisquotedError(NEVER_ENDS, place)
            if cell.end() < len(content) and content[cell.end()] not in edges:
                raise _MisquotedError(TEXT_BEHIND, place)
            yield cell
            place = cell.end()
        else:
            end = ends.search(content, place).start()
            blank = not re.split(rb"[%s]" % re.escape(edges), before)[-1].strip()
            if blank or content.count(b'"', place, end) % 2 or b'\\"' in content[place - 1:end]:
                raise _MisquotedError(UNQUOTED, place)
            place = end
