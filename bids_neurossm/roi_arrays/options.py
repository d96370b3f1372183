"""What an import was asked for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bids_neurossm.errors import UsageError
from bids_neurossm.files.safe_reading import missing_content


@dataclass(frozen=True)
class ImportOptions:
    """What a user asked to be imported, and how.

    Parameters
    ----------
    source, out_dir : Path
        ROI arrays; the derivatives dataset that is written, and grows.
    atlas : str or None
        A known atlas, a label image, or any name.
    atlas_dir : Path or None
        Folder where atlas files are looked for before TemplateFlow.
    repetition_time : float or None
        Seconds between volumes; without it scales in seconds are refused later on.
    space : str or None
        Space that the series were taken in; without it there are no maps.
    task : str or None
        Label of the task where the source does not state it.
    orientation : {"time-roi", "roi-time", "auto"}
        Which side of an array is time.
    participants, regions : Path or None
        Table of participants; names of the regions.
    id_column : str or None
        Column of that table that holds the identifiers of the series; ``participant_id`` by default.
    exact_ids : bool
        Whether identifiers must match exactly, apart from ``sub-``.
    numbered_regions : bool
        Go on with numbered regions where a known atlas is not available.
    id_key : str or None
        Key that names the participant in records.
    task_codes : Path or None
        Table with the columns code and task, for records that give the task as a number.
    release : str or None
        Release of the HCP whose task runs are kept; ``all`` keeps every one. Q1 by default, as published.
    desc : str
        Label of how the series were cleaned.
    overwrite : bool
        Do finished runs again.
    """

    source: Path
    out_dir: Path
    atlas: str | None = None
    atlas_dir: Path | None = None
    repetition_time: float | None = None
    space: str | None = None
    task: str | None = None
    orientation: Literal["time-roi", "roi-time", "auto"] = "auto"
    participants: Path | None = None
    id_column: str | None = None
    exact_ids: bool = False
    regions: Path | None = None
    numbered_regions: bool = False
    id_key: str | None = None
    task_codes: Path | None = None
    release: str | None = None
    desc: str = "imported"
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name, prefix in (("space", "space-"), ("task", "task-"), ("desc", "desc-")):
            label = getattr(self, name)
            if label is not None:
                object.__setattr__(self, name, label.removeprefix(prefix))
                if not re.fullmatch(r"[0-9A-Za-z]+", getattr(self, name)):
                    raise UsageError(f"--{name} {label!r} is not a BIDS label: letters and digits are expected.")
        if self.repetition_time is not None and not 0 < self.repetition_time < math.inf:
            raise UsageError(f"--tr {self.repetition_time}: a positive number of seconds is expected.")
        for name in ("participants", "regions", "task_codes"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise UsageError(missing_content(path) or f"--{name.replace('_', '-')} {path}: there is no such file.")
        if self.out_dir.resolve() == self.source.resolve():
            raise UsageError(f"SOURCE and OUT_DIR are both {self.source}: the input is never written to.")
