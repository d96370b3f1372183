"""What every setting is checked with."""

from __future__ import annotations

from bids_neurossm.errors import UsageError


def require(condition: bool, message: str) -> None:
    """Refuse a setting.

    Raises
    ------
    UsageError
        With the message, unless the condition holds.
    """
    if not condition:
        raise UsageError(message)
