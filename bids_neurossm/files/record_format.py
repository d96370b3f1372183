"""The format of this program's records: versions that share it read and resume each other's results."""

from __future__ import annotations

#: Raise it when the meaning of a record changes, or the numbers that the same inputs and settings lead to.
RECORD_FORMAT = 1


def format_stamp() -> str:
    """Return what the hashes of records hold of their format; those of format 1 hold the version that introduced it."""
    return "0.1.0" if RECORD_FORMAT == 1 else f"format {RECORD_FORMAT}"
