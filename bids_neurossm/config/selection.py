"""Which runs of the input dataset are wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_neurossm.config.checking import require


def _several(value: Any) -> tuple[Any, ...]:
    """One value or several, as a settings file may give them."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


@dataclass(frozen=True)
class Selection:
    """Which runs of the input dataset are wanted.

    Parameters
    ----------
    participant_label, exclude_participant_label, session_id, task_id, run_id : tuple of str
        Labels without their ``sub-``, ``ses-`` ... prefix; empty means all.
    space : str or None
        Space of the preprocessed BOLD; by default MNI152NLin2009cAsym, else MNI152NLin6Asym.
    res : str or None
        ``res-`` entity, for datasets with several resolutions of one space.
    bids_filter_file : Path or None
        JSON of PyBIDS filters, ``{"bold": {...}}``, as fMRIPrep takes it.
    derivatives : mapping of str to Path
        Further datasets by name, for instance ``{"fmriprep": Path, "raw": Path}``.
    bids_database_dir : Path or None
        Folder of a PyBIDS database to reuse or to fill.
    filter : mapping of str to tuple of str
        Labels that entities of file names may have, ``{"echo": ("1",)}``; an empty label means without the entity.
    exclude : Path or None
        Table of runs that are left out, by their entities.
    """

    participant_label: tuple[str, ...] = ()
    exclude_participant_label: tuple[str, ...] = ()
    session_id: tuple[str, ...] = ()
    task_id: tuple[str, ...] = ()
    run_id: tuple[str, ...] = ()
    space: str | None = None
    res: str | None = None
    bids_filter_file: Path | None = None
    derivatives: Mapping[str, Path] = field(default_factory=dict)
    bids_database_dir: Path | None = None
    filter: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: Path | None = None

    def __post_init__(self) -> None:
        prefixes = {
            "participant_label": "sub-",
            "exclude_participant_label": "sub-",
            "session_id": "ses-",
            "task_id": "task-",
            "run_id": "run-",
        }
        for name, prefix in prefixes.items():
            labels = tuple(str(label).removeprefix(prefix) for label in getattr(self, name))
            for label in labels:
                require(
                    bool(re.fullmatch(r"[0-9A-Za-z+]+", label)),
                    f"--{name.replace('_', '-')} {label!r} is not a BIDS label: letters and digits are expected.",
                )
            object.__setattr__(self, name, labels)
        if self.space is not None:
            object.__setattr__(self, "space", self.space.removeprefix("space-"))
        if self.res is not None:
            object.__setattr__(self, "res", str(self.res).removeprefix("res-"))
        filters = {}
        for name, value in self.filter.items():
            labels = tuple(str(label).removeprefix(f"{name}-") for label in _several(value))
            require(
                bool(re.fullmatch(r"[A-Za-z]+", name))
                and all(re.fullmatch(r"[0-9A-Za-z+-]*", each) for each in labels),
                f"--filter {name}={' '.join(labels)}: an entity of file names and its label are expected, for example "
                "echo=1.",
            )
            filters[name] = labels
        object.__setattr__(self, "filter", filters)
