"""A file or folder of ROI arrays: which files it has, and which side of an array is time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

from bids_neurossm.errors import NoInputError, RunError, UsageError
from bids_neurossm.files.safe_reading import missing_content
from bids_neurossm.roi_arrays.isolated import IsolatedReader
from bids_neurossm.roi_arrays.pickled_records import Reading
from bids_neurossm.roi_arrays.published import published_lengths
from bids_neurossm.roi_arrays.reader_choice import BINARY_SUFFIXES, TEXT_SUFFIXES, runs_in
from bids_neurossm.roi_arrays.readers import ArrayRun, Found

Orientation = Literal["time-roi", "roi-time"]

#: Tables of a study that are no series.
_NO_SERIES = re.compile(r"(participants|sessions|descriptions|pheno|.*_(scans|events|confounds_timeseries))\.(tsv|csv)")

#: Sides that give the orientation away, besides the lengths of published runs: Schaefer's 400 and AAL3's 166 or 170.
_CANONICAL_REGIONS = {400, 166, 170}


def find_arrays(source: Path, leave_out: Iterable[Path] = (), reading: Reading | None = None) -> Found:
    """Look through a file or a folder for regional series.

    Parameters
    ----------
    source : Path
        A file, or a folder that is searched with its subfolders. Where a folder has binary files, its text tables are
        taken for labels and not for series.
    leave_out : iterable of Path
        Files and folders that are not looked at.
    reading : Reading, optional
        How the records of pickles are to be read.

    Returns
    -------
    Found
        Sorted by file.

    Raises
    ------
    NoInputError
        If there is no file of a known kind.
    UsageError
        If a pickle asks for more than arrays and plain values, its records could be read in two ways, or a format
        cannot be read here.
    """
    found = Found([], [], [])
    with IsolatedReader() as reader:
        for path in _files(source, [each.resolve() for each in leave_out]):
            try:
                found.runs.extend(runs_in(path, found.notes, reading, reader))
            except RunError as error:
                found.failures.append(error)
    return found


def _files(source: Path, leave_out: Sequence[Path]) -> list[Path]:
    if not source.exists():
        raise NoInputError(f"{source} does not exist; a file or a folder with ROI arrays is expected.")
    if not source.is_dir():
        if not source.is_file():
            raise UsageError(missing_content(source) or f"{source} is neither a file nor a folder.")
        files = [source]
    else:
        listed = sorted(path for path in source.rglob("*") if path.is_file())
        files = [path for path in listed if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    kept = [path for path in files if not any(path.resolve().is_relative_to(each) for each in leave_out)]
    binary = [path for path in kept if path.suffix in BINARY_SUFFIXES]
    text = [path for path in kept if path.suffix in TEXT_SUFFIXES and not _NO_SERIES.fullmatch(path.name)]
    if not binary and not text:
        raise NoInputError(f"{source} holds no ROI arrays; {', '.join(BINARY_SUFFIXES + TEXT_SUFFIXES)} are read.")
    return binary or text


def orientations(
    runs: Sequence[ArrayRun], wanted: Literal["time-roi", "roi-time", "auto"], sizes: Collection[int] = ()
) -> tuple[list[Orientation], str]:
    """Tell which side of each array is time.

    In this order: what the user said; the side that is as long as the atlas or the table of regions; where runs are of
    unequal length, the side that is the same in all of them is regions; the lengths of the HCP's runs and the sizes of
    the atlases that go with them.

    Parameters
    ----------
    runs : sequence of ArrayRun
        At least one.
    wanted : {"time-roi", "roi-time", "auto"}
        As the user gave it.
    sizes : collection of int
        Numbers of regions that series of the atlas can have; empty where it is not known.

    Returns
    -------
    list of {"time-roi", "roi-time"}
        For each run.
    str
        What decided.

    Raises
    ------
    UsageError
        If `wanted` is ``auto`` and an array could be either, or neither, or records of one file lie both ways.
    """
    if wanted != "auto":
        return [wanted] * len(runs), "--orientation says"
    if sizes:
        decided = _decided(runs, set(sizes), set())
        _refuse_both_ways(runs, decided)
        return decided, f"one side has {' or '.join(map(str, sorted(sizes)))} regions"
    sides = [{run.shape[index] for run in runs} for index in (0, 1)]
    if (len(sides[0]) == 1) != (len(sides[1]) == 1):
        constant = 0 if len(sides[0]) == 1 else 1
        orientation: Orientation = "roi-time" if constant == 0 else "time-roi"
        return [orientation] * len(runs), f"one side is {min(sides[constant])} in all runs, which are the regions"
    return _decided(runs, _CANONICAL_REGIONS, published_lengths()), "known lengths of runs and sizes of atlases tell"


def _decided(runs: Sequence[ArrayRun], regions: set[int], lengths: set[int]) -> list[Orientation]:
    decided: list[Orientation] = []
    for run in runs:
        rows, columns = run.shape
        upright = columns in regions or rows in lengths
        lying = rows in regions or columns in lengths
        if rows == columns or upright == lying:
            expected = f", {min(regions)} regions are expected" if not lengths else ""
            raise UsageError(
                f"{run.source}: {run.key} is {rows} x {columns}{expected}, and nothing tells which side is time: give "
                "--orientation time-roi (one row for each volume) or --orientation roi-time"
                f"{', and the right --atlas' if expected and not {rows, columns} & regions else ''}."
            )
        decided.append("time-roi" if upright else "roi-time")
    return decided


def _refuse_both_ways(runs: Sequence[ArrayRun], sides: Sequence[Orientation]) -> None:
    first: dict[Path, tuple[ArrayRun, Orientation]] = {}
    for run, side in zip(runs, sides, strict=True):
        other, known = first.setdefault(run.source, (run, side)) if run.is_record else (run, side)
        if known != side:
            raise UsageError(
                f"{run.source}: {other.key} is {' x '.join(map(str, other.shape))} and {run.key} is "
                f"{' x '.join(map(str, run.shape))}, so that one of them lies the other way or is of another atlas: "
                "save series of one atlas and one orientation in a file."
            )


def usual_regions(runs: Sequence[ArrayRun], sides: Sequence[Orientation]) -> int:
    """Count the regions that most runs have."""
    counts = Counter(run.shape[1 if side == "time-roi" else 0] for run, side in zip(runs, sides, strict=True))
    return counts.most_common(1)[0][0]
