"""bids-neurossm: state-space models of brain dynamics from fMRIPrep derivatives, explained.

Importing the package is free of side effects and loads nothing heavy: the public names below are
imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "NeuroSSMClassifier": "bids_neurossm.estimators.sklearn_api",
    "NeuroSSMRegressor": "bids_neurossm.estimators.sklearn_api",
    "simulate_derivatives": "bids_neurossm.simulation",
}

__all__ = ["NeuroSSMClassifier", "NeuroSSMRegressor", "__version__", "simulate_derivatives"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
