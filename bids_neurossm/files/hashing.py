"""Content hashes of inputs and settings: what decides whether finished work is kept.

Reading terabytes again only to find that nothing changed would be wasteful, so the hash of a file is kept in the
work folder beside its size and modification time, and taken from there while both stay the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from bids_neurossm.errors import RunError
from bids_neurossm.files.safe_reading import no_file
from bids_neurossm.files.write import write_text


def hash_file(path: Path, cache_dir: Path | None = None) -> str:
    """Return the SHA-256 of a file's content.

    Parameters
    ----------
    path : Path
        The file.
    cache_dir : Path or None
        Where hashes are remembered against size and modification time.
    """
    if cache_dir is None:
        return _sha256(path)
    known = known_hash(path, cache_dir)
    if known is not None:
        return known
    before = path.stat()
    value = _sha256(path)
    remember_hash(path, before, value, cache_dir)
    return value


def known_hash(path: Path, cache_dir: Path) -> str | None:
    """Look up the hash of a file that still has the size and the modification time it had when it was hashed."""
    entry = _entry(path, path.stat(), cache_dir)
    value = entry.read_text(encoding="ascii", errors="replace").strip() if entry.is_file() else ""
    return value if len(value) == 64 else None


def remember_hash(path: Path, before: os.stat_result, value: str, cache_dir: Path) -> None:
    """Remember the hash of a file that has just been read.

    Parameters
    ----------
    path : Path
        The file.
    before : os.stat_result
        Its state before it was read. Nothing is remembered where it has changed since.
    value : str
        SHA-256 in hexadecimal.
    cache_dir : Path
        Where hashes are remembered.
    """
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
        write_text(_entry(path, before, cache_dir), value + "\n")


def _entry(path: Path, status: os.stat_result, cache_dir: Path) -> Path:
    """Name the small file that remembers one input: no two jobs ever write the same bytes to different ends."""
    facts = [str(path.resolve()), status.st_size, status.st_mtime_ns]
    return cache_dir / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()}.sha256"


def _sha256(path: Path) -> str:
    problem = no_file(path, path.stat().st_mode)
    if problem is not None:
        raise RunError(problem)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_content(content: Any) -> str:
    """Return the SHA-256 of plain values, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
