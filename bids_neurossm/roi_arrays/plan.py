"""Planning an import: runs, orientation, regions, participants and names; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.dataset.names import sanitised_label
from bids_neurossm.dataset.outputs import RunOutputs
from bids_neurossm.errors import NeuroSSMError, RunError, UsageError
from bids_neurossm.files.hashing import hash_content, hash_file
from bids_neurossm.files.record_format import format_stamp
from bids_neurossm.roi_arrays.atlas import (
    drawn,
    entities_for,
    find_atlas,
    kept_columns,
    read_names,
    region_names,
    with_image,
)
from bids_neurossm.roi_arrays.discovery import Orientation, find_arrays, orientations, usual_regions
from bids_neurossm.roi_arrays.matching import Matched
from bids_neurossm.roi_arrays.participants import people_of, runs_with_facts
from bids_neurossm.roi_arrays.pickled_records import Reading
from bids_neurossm.roi_arrays.published import check_length, read_task_codes
from bids_neurossm.roi_arrays.readers import ArrayRun, Found, Matrix

if TYPE_CHECKING:
    import pandas as pd

    from bids_neurossm.roi_arrays.options import ImportOptions


@dataclass(frozen=True)
class Layout:
    """How the series of one atlas are laid out.

    Parameters
    ----------
    atlas : str or None
        Its name.
    entities : mapping
        BIDS entities that name it.
    regions : list of str
        Names of the regions that are written, R of them.
    kept : tuple of int or None
        Columns that are regions; None keeps all.
    parcellation : Parcellation or None
        Where maps can be drawn.
    """

    atlas: str | None
    entities: Mapping[str, str]
    regions: list[str]
    kept: tuple[int, ...] | None = None
    parcellation: Parcellation | None = None


@dataclass(frozen=True)
class PlannedRun:
    """One run that is to be imported.

    Parameters
    ----------
    key, source, source_sha256 : str, Path, str
        Where it comes from.
    orientation : {"time-roi", "roi-time"}
        Of the array as stored.
    load : callable
        Reads that array.
    entities : mapping
        BIDS entities of the recording.
    path : Path
        The table that is written.
    layout : Layout
        Its atlas and regions.
    repetition_time, mean_displacement : float or None, float
        In seconds; in mm, NaN where it is not known.
    digest : str
        Hash of all that the table depends on.
    """

    key: str
    source: Path
    source_sha256: str
    orientation: Orientation
    load: Callable[[], Matrix]
    entities: Mapping[str, str]
    path: Path
    layout: Layout
    repetition_time: float | None = None
    mean_displacement: float = float("nan")
    digest: str = ""

    def read(self) -> npt.NDArray[np.float64]:
        """Read the series.

        Returns
        -------
        ndarray of float64, shape (T, R)
            NaN where the source has no number.

        Raises
        ------
        RunError
            If they cannot be read, have another number of regions, hold infinite values or no number at all, or have
            numbers in columns that are no region of the atlas.
        """
        where, kept = f"{self.source}: {self.key}", self.layout.kept
        try:
            array = np.asarray(self.load(), dtype=np.float64)
        except NeuroSSMError:
            raise
        except Exception as error:  # as with bids_neurossm.roi_arrays.discovery: damage makes readers fail in any way
            raise RunError(f"{where} cannot be read ({type(error).__name__}: {error}).") from error
        series = array if self.orientation == "time-roi" else array.T
        n_columns = len(self.layout.regions) if kept is None else kept[-1] + 1
        if series.shape[1] != n_columns:
            raise RunError(f"{where} has {series.shape[1]} regions; {n_columns} are expected.")
        if np.isinf(series).any():
            raise RunError(f"{where} holds infinite values; numbers are expected.")
        if not np.isfinite(series).any():
            raise RunError(f"{where} holds no number at all (every value is NaN).")
        return series if kept is None else self._regions_alone(series, where)

    def _regions_alone(self, series: npt.NDArray[np.float64], where: str) -> npt.NDArray[np.float64]:
        """Leave out columns for numbers that are no label, which must be empty."""
        kept = self.layout.kept or ()
        others = np.delete(series, kept, axis=1)
        filled = np.ptp(np.nan_to_num(others), axis=0) > 0
        if filled.any():
            columns = np.delete(np.arange(series.shape[1]), kept)[filled] + 1
            raise RunError(
                f"{where} has numbers in column {columns[0]}, which is no region of {self.layout.atlas}: its columns "
                "are in another order, or of another atlas."
            )
        return series[:, kept]


@dataclass(frozen=True)
class Import:
    """An import that is ready to be carried out."""

    runs: list[PlannedRun]
    layouts: list[Layout]
    participants: pd.DataFrame | None
    notes: list[str]
    failures: list[RunError]
    source_dir: Path
    source_name: str


def plan_import(options: ImportOptions) -> Import:
    """Find out what is imported, and under which names.

    Raises
    ------
    NeuroSSMError
        If something is missing or could be understood in two ways; the message says how to fix it.
    """
    found = _found(options)
    notes = list(found.notes)
    runs = runs_with_facts(options, found.runs, notes)
    source_dir = options.source if options.source.is_dir() else options.source.parent
    source_name = sanitised_label(source_dir.name) or "source"
    if not runs:
        return Import([], [], None, notes, found.failures, source_dir, source_name)
    notes += _by_name(runs)
    layouts, sides = _layouts(options, runs, notes)
    matched, participants = people_of(options, runs, notes)
    planned = _named(options, runs, sides, layouts, matched)
    unique = list({id(layout): layout for layout in layouts}.values())
    return Import(planned, unique, participants, notes, found.failures, source_dir, source_name)


def _found(options: ImportOptions) -> Found:
    """List the runs of the source."""
    codes = None if options.task_codes is None else read_task_codes(options.task_codes)
    besides = (options.out_dir, options.participants, options.regions, options.task_codes)
    leave_out = [each for each in besides if each is not None]
    return find_arrays(options.source, leave_out, Reading(options.id_key, options.task, codes))


def _layouts(
    options: ImportOptions, runs: Sequence[ArrayRun], notes: list[str]
) -> tuple[list[Layout], list[Orientation]]:
    """Find the layout and the orientation of every run, atlas by atlas."""
    groups: dict[str | None, list[int]] = {}
    for index, run in enumerate(runs):
        groups.setdefault(options.atlas or run.published.atlas, []).append(index)
    layouts: dict[int, Layout] = {}
    sides: dict[int, Orientation] = {}
    for atlas, indices in groups.items():
        layout, group_sides = _laid_out(options, atlas, [runs[index] for index in indices], notes)
        layouts |= dict.fromkeys(indices, layout)
        sides |= dict(zip(indices, group_sides, strict=True))
    if options.space is None and any(layout.atlas for layout in layouts.values()):
        notes.append("Without --space there will be no maps.")
    in_order = range(len(runs))
    return [layouts[index] for index in in_order], [sides[index] for index in in_order]


def _by_name(runs: Sequence[ArrayRun]) -> list[str]:
    """Report what was read off the names of files."""
    files: dict[Path, list[ArrayRun]] = {}
    for run in runs:
        files.setdefault(run.source, []).append(run)
    known = {path: each for path, each in files.items() if each[0].published.atlas or each[0].published.study}
    return [
        f"{path.name}: {len(each)} runs; by its name of the atlas {each[0].published.atlas or 'that --atlas names'}, "
        f"{'task ' if each[0].published.task else ''}{each[0].published.task or 'with the task in each record'}."
        for path, each in known.items()
    ]


def _laid_out(
    options: ImportOptions, name: str | None, runs: Sequence[ArrayRun], notes: list[str]
) -> tuple[Layout, list[Orientation]]:
    """Find out how the series of one atlas are laid out, and which side of each is time."""
    given = read_names(options.regions) if options.regions is not None else None
    atlas = find_atlas(options, name, notes)
    sides, reason = orientations(runs, options.orientation, [len(given)] if given is not None else atlas.sizes)
    _check_tasks(runs, sides)
    count = usual_regions(runs, sides)
    atlas = with_image(options, atlas, count, notes)
    kept = kept_columns(atlas, count)
    of = f" of {name}" if name else ""
    notes.append(f"{len(runs)} runs{of}: orientation {' and '.join(sorted(set(sides)))}, as {reason}.")
    if kept is not None:
        labels = ", ".join(map(str, atlas.absent))
        notes.append(f"{name} has no labels {labels}: their columns, which hold nothing, are left out.")
    entities = entities_for(atlas, count, notes)
    names = region_names(options, runs, given, atlas, count if kept is None else len(kept))
    return Layout(name, entities, names, kept, drawn(options, atlas, names)), sides


def _check_tasks(runs: Sequence[ArrayRun], sides: Sequence[Orientation]) -> None:
    """Compare the tasks that records state with the lengths of the runs."""
    for run, side in zip(runs, sides, strict=True):
        if run.is_record and run.published.task is None and "task" in run.entities:
            check_length(run.published, run.entities["task"], _volumes(run, side), f"{run.source}: {run.key}")


def _volumes(run: ArrayRun, side: Orientation) -> int:
    return run.shape[0 if side == "time-roi" else 1]


def _repetition_time(options: ImportOptions, run: ArrayRun, task: str, side: Orientation) -> float | None:
    """Take the repetition time that was given, or the study's where a run is one of the study's whole runs.

    Raises
    ------
    UsageError
        If they differ.
    """
    known = run.published.repetition_time if run.published.volumes.get(task) == _volumes(run, side) else None
    given = options.repetition_time
    if known is not None and given is not None and abs(given - known) > 0.001:
        raise UsageError(
            f"{run.source}: runs of the {run.published.study} have a repetition time of {known:g} s, and --tr says "
            f"{given:g}; import files of other studies by a command of their own."
        )
    return known if given is None else given


def _named(
    options: ImportOptions,
    runs: Sequence[ArrayRun],
    sides: Sequence[Orientation],
    layouts: Sequence[Layout],
    matched: Matched,
) -> list[PlannedRun]:
    """Give every run its file, and refuse two that would be the same file."""
    hashes: dict[Path, str] = {}
    taken: dict[object, ArrayRun] = {}
    planned = []
    for run, side, layout, stated, motion in zip(runs, sides, layouts, matched.entities, matched.motion, strict=True):
        task = stated.get("task") or options.task
        if task is None:
            raise UsageError(f"{run.source}: nothing states the task of {run.key}; add --task rest, for example.")
        seconds = _repetition_time(options, run, task, side)
        entities = {**stated, "task": task, **({"space": options.space} if options.space else {})}
        path = RunOutputs(options.out_dir, entities, layout.entities, options.desc).timeseries
        _refuse_second(run, path, entities, layout, taken)
        if run.source not in hashes:
            hashes[run.source] = hash_file(run.source)
        digest = hash_content(
            [format_stamp(), hashes[run.source], run.key, side, seconds, repr(motion), layout.regions]
        )
        planned.append(
            PlannedRun(
                key=run.key,
                source=run.source,
                source_sha256=hashes[run.source],
                orientation=side,
                load=run.load,
                entities=entities,
                path=path,
                layout=layout,
                repetition_time=seconds,
                mean_displacement=motion,
                digest=digest,
            )
        )
    return planned


def _refuse_second(
    run: ArrayRun, path: Path, entities: Mapping[str, str], layout: Layout, taken: dict[object, ArrayRun]
) -> None:
    """Refuse two runs of one name, and two files of records that both hold runs of one person and task."""
    other = taken.setdefault(path, run)
    if other is not run:
        raise UsageError(
            f"{other.key!r} in {other.source} and {run.key!r} in {run.source} would both become {path.name}; "
            "rename one of them."
        )
    if not run.is_record:
        return
    recording = (entities["sub"], entities.get("ses"), entities["task"], tuple(layout.entities.items()))
    other = taken.setdefault(recording, run)
    if other.source != run.source:
        raise UsageError(
            f"{other.source} and {run.source} both hold runs of {entities['task']} of participant {run.key}: import "
            "one of the two files."
        )
