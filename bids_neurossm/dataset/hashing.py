"""Content hashes of inputs and settings: what decides whether finished work is kept.

Reading terabytes again only to find that nothing changed would be wasteful, so the hash of a file is kept in the
work folder beside its size and modification time, and taken from there while both stay the same.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bids_neurossm.dataset.write import write_text


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
    status = path.stat()
    facts = [str(path.resolve()), status.st_size, status.st_mtime_ns]
    # One small file per input: no two jobs ever write the same bytes to different ends.
    entry = cache_dir / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()}.sha256"
    if entry.is_file():
        known = entry.read_text(encoding="ascii").strip()
        if len(known) == 64:
            return known
    value = _sha256(path)
    write_text(entry, value + "\n")
    return value


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_content(content: Any) -> str:
    """Return the SHA-256 of plain values, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
