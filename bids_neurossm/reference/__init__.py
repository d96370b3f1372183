"""Meta-analytic reference maps: read studies, map terms, score class maps against them.

The names below are imported when they are first used, so that importing the package stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "ClassTerms": "terms",
    "ReferenceMaps": "regions",
    "ReferenceScores": "scoring",
    "Studies": "studies",
    "association_maps": "maps",
    "load_neurosynth": "studies",
    "load_nimare_task_studies": "studies",
    "load_term_table": "terms",
    "match_classes": "terms",
    "reference_region_maps": "regions",
    "region_geometry": "regions",
    "score_maps": "scoring",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
