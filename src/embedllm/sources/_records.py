"""Files that hold one JSON list of records, plain or zipped: read within bounds, fields checked, nothing unpacked."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

from embedllm.outcomes import OutcomeError
from embedllm.sources._files import first_line, opened

LARGEST = 1 << 28  # bytes that a list may take; the published ones take 4 to 17 million
# What zipfile raises for files that are not whole (NotImplementedError is a RuntimeError).
UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, RuntimeError, OverflowError)
KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}


def read_list(file: Path) -> tuple[list, bytes]:
    """The entries of a JSON list in a file, and the bytes they were read from.

    Raises
    ------
    OutcomeError
        If the file cannot be read, takes more than `LARGEST` bytes, or holds anything but one JSON list
        in UTF-8.
    """
    try:
        with opened(file) as stream:
            data = stream.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise OutcomeError(f"{file} cannot be read: {first_line(error)}") from None
    return _parsed(data, file), data


def read_zipped_list(file: Path) -> list:
    """The entries of the one JSON list in a zip file, which is unpacked in memory, never to disk.

    Raises
    ------
    OutcomeError
        If the file is no whole zip file, is encrypted, is compressed in another way than deflate, holds no
        or several JSON files (those that macOS adds aside), one with a name that points outside, one above
        `LARGEST` bytes unpacked, or anything but one JSON list in UTF-8.
    """
    try:
        with opened(file) as packed, zipfile.ZipFile(packed) as archive:
            members = [member for member in archive.infolist()
                       if member.filename.lower().endswith(".json") and not member.filename.startswith("__MACOSX/")]
            if len(members) != 1:
                raise OutcomeError(f"{file} must hold one JSON file, found {len(members)}; fetch it anew")
            member, name = members[0], PureWindowsPath(members[0].filename)  # which knows / and \ and C:
            if name.anchor or ".." in name.parts:
                raise OutcomeError(f"{file} holds {member.filename!r}, a name that points outside; do not unpack it")
            if member.flag_bits & 1:
                raise OutcomeError(f"{file} is encrypted, which the published files are not; fetch it anew")
            # Only these two unpack piece by piece, so that the bound below holds.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise OutcomeError(f"{file} is compressed in another way than deflate; fetch it anew")
            with archive.open(member) as stream:
                data = stream.read(LARGEST + 1)  # the size that the zip states may be a lie
    except OutcomeError:
        raise
    except UNREADABLE as error:
        raise OutcomeError(f"{file} is no whole zip file ({first_line(error)}); fetch it anew") from None
    return _parsed(data, file)


def field(record: Mapping, name: str, where: str) -> object:
    """A field of a record; OutcomeError, starting with `where`, if the record lacks it."""
    if name not in record:
        raise OutcomeError(f"{where}: the field {name} is missing")
    return record[name]


def require_text(record: Mapping, name: str, where: str) -> str:
    """A field of a record that must be text and not blank; OutcomeError, starting with `where`, if it is not."""
    value = field(record, name, where)
    if not isinstance(value, str) or not value.strip():
        found = f"blank {json_type(value)}" if isinstance(value, str) else json_type(value)
        raise OutcomeError(f"{where}: the field {name} must be text, found {found}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise OutcomeError(f"{where}: the field {name} holds half a character (a lone surrogate)") from None
    return value


def json_type(value: object) -> str:
    """What a value in JSON is, in words: one of a few short texts, or a number as it stands."""
    return KINDS.get(type(value)) or f"{value!r:.30}"


def _parsed(data: bytes, file: Path) -> list:
    """The entries of a JSON list."""
    if len(data) > LARGEST:
        raise OutcomeError(f"{file} holds more than {LARGEST:,} bytes, far above the published files; do not use it")
    try:
        entries = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise OutcomeError(f"{file} is not UTF-8 text; fetch it anew") from None
    except RecursionError:
        raise OutcomeError(f"{file} is nested too deeply for a list of records; fetch it anew") from None
    except ValueError as error:
        raise OutcomeError(f"{file} is no JSON ({first_line(error)}); fetch it anew") from None
    if not isinstance(entries, list):
        raise OutcomeError(f"{file} must hold a JSON list of records, found {json_type(entries)}")
    return entries
