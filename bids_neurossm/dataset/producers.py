"""What other programs write beside their regional series: motion, censored volumes, repetition time.

XCP-D leaves framewise displacement in ``*_motion.tsv`` and one row per volume in ``*_outliers.tsv``; giga_connectome
leaves null where a fact is not known; plain tables have nothing at all. What is found is put under the names that this
program's own sidecars use, and never over what a sidecar says itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.dataset.companions import MOTION, OUTLIERS, Companion, Folders, find_companion
from bids_neurossm.dataset.names import parse_name
from bids_neurossm.dataset.repetition_time import recording_repetition_time
from bids_neurossm.errors import RunError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.safe_reading import is_listed
from bids_neurossm.files.tables import read_delimited

#: XCP-D's columns of framewise displacement, in mm, the unfiltered one first.
_DISPLACEMENT = ("framewise_displacement", "framewise_displacement_filtered", "rmsd")


def read_facts(table: Path, datasets: Sequence[Path] = (), folders: Folders | None = None) -> dict[str, Any]:
    """Read the sidecar of a table of series and fill in what stands elsewhere.

    Parameters
    ----------
    table : Path
        ``*_timeseries.tsv`` or ``.csv``.
    datasets : sequence of Path
        Raw or preprocessed datasets in which the repetition time of the recording is looked for.
    folders : Folders, optional
        Lists folders and reads JSON files once for many tables.

    Returns
    -------
    dict
        The sidecar without its nulls; ``RepetitionTime``, ``MeanFramewiseDisplacement`` and, where volumes were taken
        out of the series, ``Segments`` are filled in where they are missing and can be had.

    Raises
    ------
    RunError
        If a sidecar is there but is no JSON object or its content was not fetched, sidecars of the recording disagree
        on its repetition time, or a table of motion is not readable.
    """
    folders = folders or Folders()
    path = table.with_suffix(".json")
    told = read_json_object(path, RunError) if is_listed(path) else {}
    facts = {name: value for name, value in told.items() if value is not None}
    if not is_seconds(facts.get("RepetitionTime")):
        seconds = _seconds(facts, table, datasets, folders)
        facts |= {} if seconds is None else {"RepetitionTime": seconds}
    if "DenoisingStrategy" in facts and "Segments" in facts:
        return facts  # this program's own
    if "MeanFramewiseDisplacement" not in facts:
        mean = _mean_displacement(table, folders)
        facts |= {} if mean is None else {"MeanFramewiseDisplacement": mean}
    if "Segments" not in facts:
        segments = _segments(table, folders)
        facts |= {} if segments is None else {"Segments": segments}
    return facts


def is_seconds(value: Any) -> bool:
    """Tell whether a sidecar's value is a repetition time: a positive number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _seconds(facts: Mapping[str, Any], table: Path, datasets: Sequence[Path], folders: Folders) -> float | None:
    """Find the repetition time in the sampling frequency, or in the sidecars of the recording."""
    frequency = facts.get("SamplingFrequency")
    if frequency is not None and is_seconds(frequency):
        return 1 / float(frequency)
    entities, _, _ = parse_name(table)
    found = (recording_repetition_time(entities, dataset, folders) for dataset in datasets)
    return next((seconds for seconds in found if seconds is not None), None)


def _beside(table: Path, kind: Companion, folders: Folders) -> Path | None:
    """Find a table of the same recording, under the names of XCP-D's releases."""
    kinds = (kind, replace(kind, required={"desc": "filtered"}))
    return next((path for each in kinds if (path := find_companion(table, each, folders))), None)


def _column(path: Path, names: Sequence[str]) -> npt.NDArray[np.float64] | None:
    table = read_delimited(path, RunError).typed()
    found = next((name for name in names if name in table.columns), None)
    try:
        return None if found is None else table[found].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise RunError(f"{path} is not a readable table of numbers ({error}).") from error


def _mean_displacement(table: Path, folders: Folders) -> float | None:
    path = _beside(table, MOTION, folders)
    values = None if path is None else _column(path, _DISPLACEMENT)
    if values is None or not np.isfinite(values).any():
        return None
    return float(np.nanmean(values))


def _segments(table: Path, folders: Folders) -> list[list[int]] | None:
    """Find the unbroken stretches of series from which censored volumes were taken out.

    Where the series have all volumes, the censored ones were interpolated and no gap is left.
    """
    path = _beside(table, OUTLIERS, folders)
    outliers = None if path is None else _column(path, ("framewise_displacement", "outlier", "censored"))
    if outliers is None or not outliers.any():
        return None
    kept = np.flatnonzero(outliers == 0)
    with table.open("rb") as stream:
        n_volumes = sum(1 for line in stream if line.strip()) - 1
    if n_volumes != kept.size or n_volumes == outliers.size:
        return None
    starts = np.flatnonzero(np.diff(kept, prepend=-2) > 1)
    stops = [*starts[1:].tolist(), int(kept.size)]
    return [[int(start), int(stop)] for start, stop in zip(starts, stops, strict=True)]
