"""Planning an import: runs, orientation, regions, participants and names; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bids_neurossm import __version__
from bids_neurossm.atlas.catalogue import atlas_entities, load_parcellation
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.atlas.tables import read_label_table
from bids_neurossm.dataset.arrays import ArrayRun, Matrix
from bids_neurossm.dataset.hashing import hash_content, hash_file
from bids_neurossm.dataset.matching import Matched, match_participants
from bids_neurossm.dataset.names import sanitised_label
from bids_neurossm.dataset.outputs import RunOutputs
from bids_neurossm.dataset.sources import Orientation, find_arrays, orientations, usual_regions
from bids_neurossm.errors import NeuroSSMError, ResourceMissingError, RunError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from bids_neurossm.cli.import_series import ImportOptions


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
    mean_displacement : float
        Mean framewise displacement in mm; NaN where it is not known.
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
    mean_displacement: float
    digest: str

    def read(self, n_regions: int) -> npt.NDArray[np.float64]:
        """Read the series.

        Returns
        -------
        ndarray of float64, shape (T, R)
            NaN where the source has no number.

        Raises
        ------
        RunError
            If they can not be read, have another number of regions, or hold infinite values.
        """
        where = f"{self.source}: {self.key}"
        try:
            array = np.asarray(self.load(), dtype=np.float64)
        except NeuroSSMError:
            raise
        except Exception as error:  # as with bids_neurossm.dataset.sources: damage makes readers fail in any way
            raise RunError(f"{where} can not be read ({type(error).__name__}: {error}).") from error
        series = array if self.orientation == "time-roi" else array.T
        if series.shape[1] != n_regions:
            raise RunError(f"{where} has {series.shape[1]} regions; {n_regions} are expected.")
        if np.isinf(series).any():
            raise RunError(f"{where} holds infinite values; numbers are expected.")
        return series


@dataclass(frozen=True)
class Import:
    """An import that is ready to be carried out."""

    runs: list[PlannedRun]
    regions: list[str]
    parcellation: Parcellation | None
    participants: pd.DataFrame | None
    unmatched: list[str]
    notes: list[str]
    failures: list[RunError]
    source_dir: Path
    source_name: str


def plan_import(options: ImportOptions) -> Import:
    """Find out what is imported, and under which names.

    Raises
    ------
    NeuroSSMError
        If something is missing or could be understood in two ways; the message says what mends it.
    """
    leave_out = [each for each in (options.out_dir, options.participants, options.regions) if each is not None]
    found = find_arrays(options.source, leave_out)
    source_dir = options.source if options.source.is_dir() else options.source.parent
    source_name = sanitised_label(source_dir.name) or "source"
    given = _read_names(options.regions) if options.regions is not None else None
    notes = list(found.notes)
    if not found.runs:
        return Import([], given or [], None, None, [], notes, found.failures, source_dir, source_name)
    atlas = _atlas(options, notes)
    expected = len(given) if given is not None else atlas.n_regions
    sides, reason = orientations(found.runs, options.orientation, expected)
    notes.append(f"Orientation {' and '.join(sorted(set(sides)))}: {reason}.")
    count = usual_regions(found.runs, sides)
    atlas = _with_image(options, atlas, count, notes)
    regions = _region_names(options, found.runs, given, atlas, count)
    matched = match_participants(found.runs, options.participants, options.id_column, exact=options.exact_ids)
    notes += matched.notes
    entities = _atlas_entities_for(options, atlas, count, notes)
    drawn = atlas.parcellation if options.space is not None else None
    parcellation = drawn if drawn is not None and list(drawn.names) == regions else None
    runs = _named(options, found.runs, sides, matched, entities, regions)
    return Import(
        runs, regions, parcellation, matched.table, matched.unmatched, notes, found.failures, source_dir, source_name
    )


@dataclass(frozen=True)
class _Atlas:
    """What is known of the atlas: names of entities, the image where it is at hand, the number of regions."""

    entities: dict[str, str]
    parcellation: Parcellation | None = None
    n_regions: int | None = None


def _atlas(options: ImportOptions, notes: list[str]) -> _Atlas:
    """Look the atlas up; a name that is not known is as good as any, but has no image."""
    name = options.atlas
    if name is None:
        notes.append("Without --atlas the regions have no image, and there will be no maps.")
        return _Atlas({})
    if options.space is None:
        notes.append("Without --space there will be no maps.")
    if name.endswith((".nii", ".nii.gz")):
        parcellation = load_parcellation(name, options.space, atlas_space=options.space)
        return _Atlas(dict(parcellation.entities), parcellation, parcellation.n_regions)
    try:
        entities = atlas_entities(name)
    except UsageError:
        if not sanitised_label(name):
            raise
        notes.append(f"The atlas {name} has no image here, so there will be no maps.")
        return _Atlas({"atlas": sanitised_label(name)})
    return _Atlas(entities, None, int(entities["scale"]))


def _with_image(options: ImportOptions, atlas: _Atlas, count: int, notes: list[str]) -> _Atlas:
    """Load a known atlas, once it is clear that it fits: TemplateFlow may have to download it."""
    if atlas.parcellation is not None or atlas.n_regions != count or options.atlas is None:
        return atlas
    try:
        parcellation = load_parcellation(options.atlas, options.space, atlas_dir=options.atlas_dir)
    except (ResourceMissingError, UsageError) as error:
        notes.append(f"The atlas could not be had, so its names are not used and there will be no maps: {error}")
        return atlas
    return _Atlas(atlas.entities, parcellation, atlas.n_regions)


def _atlas_entities_for(options: ImportOptions, atlas: _Atlas, count: int, notes: list[str]) -> dict[str, str]:
    """Name the atlas in file names; one of another size must not go by the name of the known one."""
    if not atlas.entities or count == atlas.n_regions:
        return dict(atlas.entities)
    if atlas.n_regions is not None:
        notes.append(
            f"The series have {count} regions and {options.atlas} has {atlas.n_regions}: they are not called by its "
            "names, and there will be no maps."
        )
        stem = sanitised_label(Path(str(options.atlas)).name.partition(".")[0])
        return {"atlas": stem, "scale": str(count)}
    return {**atlas.entities, "scale": str(count)}


def _read_names(path: Path) -> list[str]:
    """Read names of regions: a table with index and name, or a list with one name a line."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--regions {path} can not be read ({error}); UTF-8 text is expected.") from error
    if not lines or any(separator in lines[0] for separator in "\t,"):
        return list(read_label_table(path).names)
    names = lines[1:] if lines[0].lower() in ("name", "region", "label") else lines
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"--regions {path} has the name {twice[0]!r} more than once; each region needs its own.")
    return names


def _region_names(
    options: ImportOptions, runs: Sequence[ArrayRun], given: list[str] | None, atlas: _Atlas, count: int
) -> list[str]:
    """Take names from the table, the atlas, or the columns that all text tables share; else number the regions."""
    if given is not None:
        if len(given) != count:
            raise UsageError(f"--regions {options.regions} names {len(given)} regions; the series have {count}.")
        return given
    if atlas.parcellation is not None and atlas.n_regions == count:
        return list(atlas.parcellation.names)
    shared = runs[0].columns
    if len(shared) == count == len(set(shared)) and all(run.columns == shared for run in runs):
        return list(shared)
    width = max(3, len(str(count)))
    return [f"region-{index + 1:0{width}d}" for index in range(count)]


def _named(
    options: ImportOptions,
    runs: Sequence[ArrayRun],
    sides: Sequence[Orientation],
    matched: Matched,
    atlas: Mapping[str, str],
    regions: Sequence[str],
) -> list[PlannedRun]:
    """Give every run its file, and refuse two that would be the same file."""
    hashes: dict[Path, str] = {}
    taken: dict[Path, ArrayRun] = {}
    planned = []
    for run, side, stated, motion in zip(runs, sides, matched.entities, matched.motion, strict=True):
        task = stated.get("task") or options.task
        if task is None:
            raise UsageError(f"{run.source}: nothing states the task of {run.key}; add --task rest or so.")
        entities = {**stated, "task": task, **({"space": options.space} if options.space else {})}
        path = RunOutputs(options.out_dir, entities, atlas, options.desc).timeseries
        if path in taken:
            other = taken[path]
            raise UsageError(
                f"{other.key!r} in {other.source} and {run.key!r} in {run.source} would both become {path.name}; "
                "rename one of them."
            )
        taken[path] = run
        if run.source not in hashes:
            hashes[run.source] = hash_file(run.source)
        depends = [__version__, hashes[run.source], run.key, side, options.repetition_time, repr(motion), list(regions)]
        planned.append(
            PlannedRun(
                run.key,
                run.source,
                hashes[run.source],
                side,
                run.load,
                entities,
                path,
                motion,
                hash_content(depends),
            )
        )
    return planned
