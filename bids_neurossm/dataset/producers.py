"""What other programs write beside their regional series: motion, censored volumes, repetition time.

XCP-D leaves framewise displacement in ``*_motion.tsv`` and one row per volume in ``*_outliers.tsv``; giga_connectome
leaves null where a fact is not known; plain tables have nothing at all. What is found is put under the names that this
program's own sidecars use, and never over what a sidecar says itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.dataset.names import build_name, parse_name, source_entities
from bids_neurossm.dataset.query import repetition_time
from bids_neurossm.dataset.read import read_json_object
from bids_neurossm.errors import RunError

#: XCP-D's columns of framewise displacement, in mm, the unfiltered one first.
_DISPLACEMENT = ("framewise_displacement", "framewise_displacement_filtered", "rmsd")


def read_facts(table: Path, datasets: Sequence[Path] = ()) -> dict[str, Any]:
    """Read the sidecar of a table of series and fill in what stands elsewhere.

    Parameters
    ----------
    table : Path
        ``*_timeseries.tsv`` or ``.csv``.
    datasets : sequence of Path
        Raw or preprocessed datasets in which the repetition time of the recording is looked for.

    Returns
    -------
    dict
        The sidecar without its nulls; ``RepetitionTime``, ``MeanFramewiseDisplacement`` and, where volumes were taken
        out of the series, ``Segments`` are filled in where they are missing and can be had.

    Raises
    ------
    RunError
        If a sidecar is there but is no JSON object, or a table of motion is not readable.
    """
    path = table.with_suffix(".json")
    told = read_json_object(path, RunError) if path.is_file() else {}
    facts = {name: value for name, value in told.items() if value is not None}
    if not is_seconds(facts.get("RepetitionTime")):
        seconds = _seconds(facts, table, datasets)
        facts |= {} if seconds is None else {"RepetitionTime": seconds}
    if "DenoisingStrategy" in facts and "Segments" in facts:
        return facts  # this program's own
    if "MeanFramewiseDisplacement" not in facts:
        mean = _mean_displacement(table)
        facts |= {} if mean is None else {"MeanFramewiseDisplacement": mean}
    if "Segments" not in facts:
        segments = _segments(table)
        facts |= {} if segments is None else {"Segments": segments}
    return facts


def is_seconds(value: Any) -> bool:
    """Tell whether a sidecar's value is a repetition time: a positive number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _seconds(facts: Mapping[str, Any], table: Path, datasets: Sequence[Path]) -> float | None:
    """Find the repetition time in the sampling frequency, or in the sidecar of the recording."""
    frequency = facts.get("SamplingFrequency")
    if frequency is not None and is_seconds(frequency):
        return 1 / float(frequency)
    source = source_entities(parse_name(table)[0])
    session = f"ses-{source['ses']}" if "ses" in source else ""
    for dataset in datasets:
        recording = dataset / f"sub-{source.get('sub')}" / session / "func" / build_name(source, "bold", ".nii.gz")
        try:
            return repetition_time(recording, dataset)
        except RunError:
            continue  # not known there: the next dataset, else the cohort counts it as unknown
    return None


def _beside(table: Path, suffix: str) -> Path | None:
    """Find a table of the same recording, under the names of XCP-D's releases."""
    source = source_entities(parse_name(table)[0])
    names = [build_name({**source, **more}, suffix, ".tsv") for more in ({}, {"desc": "filtered"})]
    return next((path for name in names if (path := table.with_name(name)).is_file()), None)


def _column(path: Path, names: Sequence[str]) -> npt.NDArray[np.float64] | None:
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", na_values=["n/a"])
        found = next((name for name in names if name in table.columns), None)
        return None if found is None else table[found].to_numpy(dtype=np.float64)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is not a readable table of numbers ({error}).") from error


def _mean_displacement(table: Path) -> float | None:
    path = _beside(table, "motion")
    values = None if path is None else _column(path, _DISPLACEMENT)
    if values is None or not np.isfinite(values).any():
        return None
    return float(np.nanmean(values))


def _segments(table: Path) -> list[list[int]] | None:
    """Find the unbroken stretches of series from which censored volumes were taken out.

    Where the series have all volumes, the censored ones were interpolated and no gap is left.
    """
    path = _beside(table, "outliers")
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
