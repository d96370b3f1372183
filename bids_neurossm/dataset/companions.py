"""Companion files: what belongs to an image is found by the entities of its name, in any order.

A mask, a table of confounds or a label table belongs to an image if it has the right suffix and extension, states
nothing that contradicts the image, and leaves out only those of the image's entities that such a file may leave out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_neurossm.dataset.names import ENTITY_ORDER, RECORDING_ENTITIES, parse_name, same_label
from bids_neurossm.errors import NeuroSSMError, RunError
from bids_neurossm.files.json_files import read_json_object


@dataclass(frozen=True)
class NamedFile:
    """A file of a folder with its name taken apart.

    Parameters
    ----------
    path : Path
        The file; its content may be missing.
    entities : mapping
        Of its name.
    others : tuple of str
        Parts of the name that are no entities, without the suffix.
    suffix, extension : str
        For instance ``bold`` and ``.nii.gz``.
    """

    path: Path
    entities: Mapping[str, str]
    others: tuple[str, ...]
    suffix: str
    extension: str

    @classmethod
    def of(cls, path: Path) -> NamedFile:
        """Take a name apart."""
        entities, suffix, extension = parse_name(path)
        parts = path.name.partition(".")[0].split("_")[:-1]
        return cls(path, entities, tuple(part for part in parts if "-" not in part), suffix, extension)


@dataclass
class Folders:
    """Names and JSON objects of a dataset, each folder listed once and each file read once."""

    _listed: dict[Path, tuple[NamedFile, ...]] = field(default_factory=dict)
    _read: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def files(self, folder: Path) -> tuple[NamedFile, ...]:
        """List the files of a folder, also those whose content is missing; nothing where there is no such folder."""
        if folder not in self._listed:
            try:
                paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
            except OSError:
                paths = []
            self._listed[folder] = tuple(NamedFile.of(path) for path in paths if "." in path.name)
        return self._listed[folder]

    def json(self, path: Path) -> dict[str, Any]:
        """Read a JSON object.

        Raises
        ------
        RunError
            If it cannot be read.
        """
        if path not in self._read:
            self._read[path] = read_json_object(path, RunError)
        return self._read[path]


@dataclass(frozen=True)
class Companion:
    """How one kind of companion file is named.

    Parameters
    ----------
    what : str
        What it is called in messages.
    suffixes, extensions : tuple of str
        Those it can have; an empty tuple of suffixes means that of the image. Of two files that fit equally well, the
        one whose extension comes first is taken where `ranked` is set.
    required : mapping
        Entities that it must have.
    may_lack : tuple of str
        Entities of the image that it may leave out.
    ranked : bool
        Whether the order of the extensions decides.
    """

    what: str
    suffixes: tuple[str, ...]
    extensions: tuple[str, ...]
    required: Mapping[str, str] = field(default_factory=dict)
    may_lack: tuple[str, ...] = ()
    ranked: bool = False


#: Everything that may be said of an image and is not said of its recording.
_OF_IMAGES = tuple(name for name in ENTITY_ORDER if name not in RECORDING_ENTITIES)

BRAIN_MASK = Companion("brain masks", ("mask",), (".nii.gz", ".nii"), {"desc": "brain"}, ("echo", "part"))
# fMRIPrep before 20.2 called the table `regressors`.
CONFOUNDS = Companion("tables of confounds", ("timeseries", "regressors"), (".tsv",), {"desc": "confounds"}, _OF_IMAGES)
MIXING = Companion("tables of components", ("mixing",), (".tsv",), {"desc": "MELODIC"}, _OF_IMAGES)
NOISE_COMPONENTS = Companion("lists of noise components", ("AROMAnoiseICs",), (".csv",), {}, _OF_IMAGES)
MOTION = Companion("tables of motion", ("motion",), (".tsv",), {}, _OF_IMAGES)
OUTLIERS = Companion("tables of outliers", ("outliers",), (".tsv",), {}, _OF_IMAGES)
LABEL_TABLE = Companion(
    "label tables",
    (),
    (".tsv", ".csv", ".txt", ".xml"),
    may_lack=("res", "den", "space", "tpl", "cohort"),
    ranked=True,
)


def find_companion(
    image: Path, kind: Companion, folders: Folders, error: type[NeuroSSMError] = RunError
) -> Path | None:
    """Find the file of a kind that belongs to an image.

    Parameters
    ----------
    image : Path
        The image; its folder is searched.
    kind : Companion
        Which file is wanted.
    folders : Folders
        Lists the folder.
    error : type
        What is raised where two files fit equally well.

    Returns
    -------
    Path or None
        The file that states most of the image's entities. Its content may be missing; see
        `bids_neurossm.files.safe_reading.missing_content`.

    Raises
    ------
    NeuroSSMError
        `error`, if two files fit equally well.
    """
    named = NamedFile.of(image)
    fitting = [(_fit(each, named, kind), each) for each in folders.files(image.parent) if each.path != image]
    ranked = sorted(
        ((score, each) for score, each in fitting if score is not None),
        key=lambda pair: (pair[0], pair[1].path.name),
        reverse=True,
    )
    if not ranked:
        return None
    if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
        pair = sorted(each.path.name for _, each in ranked[:2])
        raise error(
            f"{image.parent} has two {kind.what} that fit {image.name} equally well, {pair[0]} and {pair[1]}: "
            "remove or rename one of them."
        )
    return ranked[0][1].path


def _fit(candidate: NamedFile, image: NamedFile, kind: Companion) -> tuple[int, int] | None:
    """Rate a candidate: entities that it shares with the image less those it adds, then its extension; None: unfit."""
    if candidate.suffix not in (kind.suffixes or (image.suffix,)) or candidate.extension not in kind.extensions:
        return None
    mine, theirs = dict(image.entities), dict(candidate.entities)
    for name, value in kind.required.items():
        if theirs.pop(name, None) != value:
            return None
        mine.pop(name, None)
    if candidate.others != image.others or any(
        # The magnitude is what is meant where nothing is said.
        not same_label(name, mine.get(name, "mag" if name == "part" else None), value)
        for name, value in theirs.items()
    ):
        return None
    lacking = [name for name in mine if name not in theirs]
    if any(name not in kind.may_lack and (name, mine[name]) != ("part", "mag") for name in lacking):
        return None
    added = sum(name not in mine for name in theirs)
    rank = -kind.extensions.index(candidate.extension) if kind.ranked else 0
    return len(theirs) - 2 * added, rank


def contradicts(candidate: Mapping[str, str], entities: Mapping[str, str]) -> bool:
    """Tell whether a name states an entity that the other one does not have, or has with another label."""
    return any(not same_label(name, entities.get(name), value) for name, value in candidate.items())
