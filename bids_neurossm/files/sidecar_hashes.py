"""Sidecars that name the SHA-256 of the files they describe, and the comparison with what is on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids_neurossm.files.hashing import hash_file

#: Key of a sidecar: names of the files next to it, with their SHA-256.
OUTPUT_HASHES = "OutputHashes"


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text file, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def stated_hashes(sidecar: Mapping[str, Any]) -> dict[str, str]:
    """Return the hashes that a sidecar states, by file name; none for sidecars by 0.1.0 and by other programs."""
    stated = sidecar.get(OUTPUT_HASHES)
    return {str(name): str(value) for name, value in stated.items()} if isinstance(stated, dict) else {}


def is_as_stated(path: Path, expected: str | None) -> bool:
    """Tell whether a file has the hash that a record states; a record without one is taken as it is."""
    return expected is None or hash_file(path) == expected
