"""Names that have moved keep working for a while, with a note."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any


def forwarded(old: str, new: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module whose names are in another one now.

    Parameters
    ----------
    old, new : str
        Dotted names of the two modules.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807 - what Python calls
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(import_module(new), name)
        warnings.warn(
            f"{old} has moved to {new}; the old name goes with version 0.3.", DeprecationWarning, stacklevel=2
        )
        return found

    return __getattr__
