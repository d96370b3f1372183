"""The atlas of imported series: its entities, sizes and image, and the names of its regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_neurossm.atlas.catalogue import absent_labels, atlas_entities, load_parcellation
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.atlas.tables import read_label_table
from bids_neurossm.dataset.names import sanitised_label
from bids_neurossm.errors import ResourceMissingError, UsageError
from bids_neurossm.files.safe_reading import MAX_TABLE_BYTES, read_utf8
from bids_neurossm.roi_arrays.readers import ArrayRun

if TYPE_CHECKING:
    from bids_neurossm.roi_arrays.options import ImportOptions


@dataclass(frozen=True)
class Atlas:
    """What is known of an atlas.

    Parameters
    ----------
    name : str or None
        As the user, or the name of a file, gives it.
    entities : dict
        BIDS entities in file names; empty for an atlas that is not known.
    parcellation : Parcellation or None
        Names and image, once they are loaded.
    n_regions : int or None
        Where it is known.
    absent : tuple of int
        Whole numbers up to the highest label that are no label: some extract a column for them all the same.
    """

    name: str | None
    entities: dict[str, str]
    parcellation: Parcellation | None = None
    n_regions: int | None = None
    absent: tuple[int, ...] = ()

    @property
    def sizes(self) -> frozenset[int]:
        """Numbers of columns that series of this atlas can have; empty where it is not known."""
        return frozenset() if self.n_regions is None else frozenset({self.n_regions, self.n_regions + len(self.absent)})


def find_atlas(options: ImportOptions, name: str | None, notes: list[str]) -> Atlas:
    """Look an atlas up by its name; one that is not known has no image."""
    if name is None:
        notes.append("Without --atlas the regions have no image, and there will be no maps.")
        return Atlas(None, {})
    if name.endswith((".nii", ".nii.gz")):
        parcellation = load_parcellation(name, options.space, atlas_space=options.space)
        labels = set(parcellation.labels)
        absent = tuple(label for label in range(1, max(labels, default=0)) if label not in labels)
        return Atlas(name, dict(parcellation.entities), parcellation, parcellation.n_regions, absent)
    try:
        entities = atlas_entities(name)
    except UsageError:
        if not sanitised_label(name):
            raise
        notes.append(f"The atlas {name} has no image here, so there will be no maps.")
        return Atlas(name, {"atlas": sanitised_label(name)})
    return Atlas(name, entities, None, int(entities["scale"]), absent_labels(name))


def with_image(options: ImportOptions, atlas: Atlas, count: int, notes: list[str]) -> Atlas:
    """Load a known atlas, once it is clear that it fits: TemplateFlow may have to download it.

    Raises
    ------
    ResourceMissingError
        If it is not available, and neither `numbered_regions` nor `regions` of the options says to go on without it.
    """
    if atlas.parcellation is not None or count not in atlas.sizes or atlas.name is None:
        return atlas
    try:
        parcellation = _parcellation(options, atlas.name, notes)
    except ResourceMissingError as error:
        if not options.numbered_regions and options.regions is None:
            raise ResourceMissingError(
                f"The names of the regions come from the atlas {atlas.name}. {error} Or go on without it: "
                "--numbered-regions numbers the regions, and there will be no maps."
            ) from error
        notes.append(f"The atlas {atlas.name} is not available, so there will be no maps: {error}")
        return atlas
    return Atlas(atlas.name, atlas.entities, parcellation, atlas.n_regions, atlas.absent)


def _parcellation(options: ImportOptions, name: str, notes: list[str]) -> Parcellation:
    """Load an atlas in the space of the series, or for its names alone where it is not drawn in that space."""
    try:
        return load_parcellation(name, options.space, atlas_dir=options.atlas_dir)
    except UsageError as error:
        notes.append(f"There will be no maps: {error}")
        return load_parcellation(name, atlas_dir=options.atlas_dir)


def drawn(options: ImportOptions, atlas: Atlas, names: Sequence[str]) -> Parcellation | None:
    """Return the parcellation that maps can be drawn on: one with these regions, in the space of the series."""
    found = atlas.parcellation
    if found is None or options.space is None or list(found.names) != list(names):
        return None
    return found if found.any_space or found.space == options.space else None


def entities_for(atlas: Atlas, count: int, notes: list[str]) -> dict[str, str]:
    """Name the atlas in file names; one of another size must not go by the name of the known one."""
    if not atlas.entities or count in atlas.sizes:
        return dict(atlas.entities)
    if atlas.n_regions is not None:
        notes.append(
            f"The series have {count} regions and {atlas.name} has {atlas.n_regions}: they are not called by its "
            "names, and there will be no maps."
        )
        stem = sanitised_label(Path(str(atlas.name)).name.partition(".")[0])
        return {"atlas": stem, "scale": str(count)}
    return {**atlas.entities, "scale": str(count)}


def kept_columns(atlas: Atlas, count: int) -> tuple[int, ...] | None:
    """Return the columns that are regions, where there are columns for numbers that are no label; None keeps all."""
    if not atlas.absent or atlas.n_regions is None or count == atlas.n_regions or count not in atlas.sizes:
        return None
    return tuple(label - 1 for label in range(1, count + 1) if label not in atlas.absent)


def read_names(path: Path) -> list[str]:
    """Read names of regions: a table with index and name, or a list with one name a line.

    Raises
    ------
    UsageError
        If it cannot be read, or a name is there twice.
    """
    text = read_utf8(path, UsageError, MAX_TABLE_BYTES)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or any(separator in lines[0] for separator in "\t,"):
        return list(read_label_table(path).names)
    names = lines[1:] if lines[0].lower() in ("name", "region", "label") else lines
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise UsageError(f"--regions {path} has the name {twice[0]!r} more than once; each region needs its own.")
    return names


def _refuse_another_order(options: ImportOptions, runs: Sequence[ArrayRun], given: list[str]) -> None:
    """Refuse names in an order other than that of the columns of the series themselves."""
    for run in runs:
        if run.columns and set(run.columns) == set(given) and list(run.columns) != given:
            raise UsageError(
                f"--regions {options.regions} names the regions in another order than the columns of {run.source}; "
                "leave --regions out, or put its rows in the order of the columns."
            )


def region_names(
    options: ImportOptions, runs: Sequence[ArrayRun], given: list[str] | None, atlas: Atlas, count: int
) -> list[str]:
    """Take names from the table, the atlas, or the columns that all text tables share; else number the regions.

    Raises
    ------
    UsageError
        If the table names another number of regions.
    """
    if given is not None:
        if len(given) != count:
            raise UsageError(f"--regions {options.regions} names {len(given)} regions; the series have {count}.")
        _refuse_another_order(options, runs, given)
        return given
    if atlas.parcellation is not None and atlas.n_regions == count:
        return list(atlas.parcellation.names)
    shared = runs[0].columns
    if len(shared) == count == len(set(shared)) and all(run.columns == shared for run in runs):
        return list(shared)
    width = max(3, len(str(count)))
    return [f"region-{index + 1:0{width}d}" for index in range(count)]
