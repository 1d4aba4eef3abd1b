"""Files that are whole or not there, and the digests they are known by."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def write(path: Path, content: str | bytes) -> None:
    """Write a file so that nobody, not even after a power loss, finds half of it under its name.

    Parameters
    ----------
    path : Path
        Its folder is made.
    content : str or bytes
        Text is written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have what a library wrote to a file reach the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def digest(*parts: str | bytes | memoryview) -> str:
    """SHA-256 in hexadecimal: of one part, or of the digests of several, so that their borders count."""
    hashes = [hashlib.sha256(part.encode(errors="surrogatepass") if isinstance(part, str) else part) for part in parts]
    if len(parts) != 1:
        hashes = [hashlib.sha256(b"".join(one.digest() for one in hashes))]
    return hashes[0].hexdigest()


def shown(path: Path) -> str:
    """A path as make and a reader want it: relative to the repository where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
