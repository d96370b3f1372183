"""Models: one model, one file. The names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Mamba": "bids_neurossm.models.mamba",
    "NeuroSSM": "bids_neurossm.models.neurossm",
    "NeuroSSMConfig": "bids_neurossm.models.neurossm",
}

__all__ = ["Mamba", "NeuroSSM", "NeuroSSMConfig"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
