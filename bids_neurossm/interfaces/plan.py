"""What a participant workflow is to do, and the folders it works between."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.dataset.bold_run import BoldRun


@dataclass(frozen=True)
class Places:
    """Folders that a workflow works between.

    Parameters
    ----------
    out_dir : Path
        Output dataset.
    work_dir : Path
        Nipype's scratch folder.
    records : Path
        Where failures are recorded.
    hash_cache : Path or None
        Where hashes of input files are remembered.
    """

    out_dir: Path
    work_dir: Path
    records: Path
    hash_cache: Path | None = None


@dataclass(frozen=True)
class RunPlan:
    """A run with the parcellations that are still to be done for it."""

    run: BoldRun
    parcellations: tuple[Parcellation, ...]
