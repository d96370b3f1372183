"""From what the command line and settings files spell as text to the types of the settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids_neurossm.dataset.names import entity_name
from bids_neurossm.errors import UsageError

#: Settings that are paths, or names that may be paths.
_PATHS = (
    *(("selection", name) for name in ("exclude", "bids_filter_file", "bids_database_dir")),
    *(("extraction", name) for name in ("atlas", "atlas_dir", "denoise")),
    ("model", "recipe"),
    *(("evaluation", name) for name in ("participants_file", "splits", "checkpoint", "pretrain_from")),
    *(("reference", name) for name in ("source", "terms")),
    *(("execution", name) for name in ("use_plugin", "work_dir")),
)


def convert(tables: dict[str, dict[str, Any]]) -> None:
    """Bring what the command line spells as text to the types of the sections."""
    extraction, selection, execution = tables["extraction"], tables["selection"], tables["execution"]
    dummy = extraction.get("dummy_scans")
    if isinstance(dummy, str):
        if dummy != "auto" and not dummy.isdigit():
            raise UsageError(f"--dummy-scans {dummy!r}: auto or a whole number is expected.")
        extraction.pop("dummy_scans")
        if dummy != "auto":
            extraction["dummy_scans"] = int(dummy)
    named = selection.get("derivatives")
    if isinstance(named, tuple):
        pairs = [item.partition("=") for item in named]
        wrong = [name for name, equals, path in pairs if not equals or not name or not path]
        if wrong:
            raise UsageError(f"-d {wrong[0]!r}: NAME=PATH is expected, for instance fmriprep=/data/fmriprep.")
        selection["derivatives"] = {name: str(Path(path).absolute()) for name, _, path in pairs}
    if isinstance(selection.get("filter"), tuple):
        selection["filter"] = _filters(selection["filter"])
    execution.setdefault("nprocs", len(os.sched_getaffinity(0)))
    for section, field in _PATHS:
        value = tables[section].get(field)
        if value is not None:
            many = isinstance(value, (tuple, list))  # a settings file gives lists
            absolute = tuple(_absolute(each) for each in (value if many else (value,)))
            tables[section][field] = absolute if many else absolute[0]


def _filters(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Gather ``ENTITY=VALUE`` by entity."""
    found: dict[str, tuple[str, ...]] = {}
    for item in given:
        name, equals, label = item.partition("=")
        if not equals or not name:
            raise UsageError(f"--filter {item!r}: ENTITY=VALUE is expected, for example echo=1.")
        entity = entity_name(name)
        found[entity] = (*found.get(entity, ()), label)
    return found


def _absolute(value: str | Path) -> str | Path:
    """Make a path independent of the folder that a worker happens to be in; names are left as they are."""
    if isinstance(value, Path):
        return value.absolute()
    # A folder `demo` may stand beside a recipe of that name: only what looks like a path is one.
    return str(Path(value).absolute()) if "/" in value or Path(value).suffix else value
