"""Names of images in small trees of empty files, and what a selection finds there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bids_neurossm.config import Selection
from bids_neurossm.dataset.query import find_bold_runs, index_runs

C2009, ASYM6 = "space-MNI152NLin2009cAsym", "space-MNI152NLin6Asym"


def bold(source: str, *entities: str) -> str:
    return "_".join([source, *entities, "desc-preproc", "bold.nii.gz"])


def found(dataset: Path, **selection: Any) -> list[str]:
    return [run.bold.name for run in find_bold_runs(dataset, Selection(**selection))]


def kept_and_left_out(dataset: Path, **selection: Any) -> tuple[list[str], list[tuple[str, str, int]]]:
    index = index_runs(dataset, Selection(**selection))
    return [run.bold.name for run in index.runs], [(each.name, each.reason, each.n_runs) for each in index.left_out]
