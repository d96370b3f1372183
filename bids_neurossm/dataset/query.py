"""Finding preprocessed BOLD runs, their masks, confounds and sidecars, with PyBIDS.

Indexing a large dataset is what costs time, so PyBIDS is told to walk into the wanted participants' folders only, to
leave aside figures, anatomy and every file that is no BOLD image, and not to read any JSON: the few files that matter
beside an image are found by their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_neurossm.config import DEFAULT_SPACES, Selection
from bids_neurossm.dataset.names import build_name, parse_name, source_entities
from bids_neurossm.dataset.read import read_json_object
from bids_neurossm.errors import NoInputError, RunError, UsageError

if TYPE_CHECKING:
    from bids.layout import BIDSLayout


#: ``desc-`` of the images that fMRIPrep preprocessed and did nothing else to.
PREPROCESSED = "preproc"
#: Space of the series on grayordinates (CIFTI-2).
DENSE_SPACE = "fsLR"

#: A file that is no BOLD image. What belongs to an image is found by its name, so that five of six files and more need
#: no entry in the index.
_NO_BOLD_FILE = re.compile(r"/(?![^/]*_bold\.(?:dtseries\.)?nii(?:\.gz)?$)[^/]*\.[^/]*$")


@dataclass(frozen=True)
class BoldRun:
    """One preprocessed BOLD image and what belongs to it.

    Parameters
    ----------
    bold : Path
        The 4D image, or the ``.dtseries.nii``.
    mask : Path or None
        Brain mask on the same grid.
    confounds : Path or None
        Table of confounds, one row per volume.
    entities : mapping
        All entities of the image's name.
    mixing, noise_components : Path or None
        What ICA-AROMA left: time courses of all components, and the list of those that are noise.
    """

    bold: Path
    mask: Path | None
    confounds: Path | None
    entities: Mapping[str, str]
    mixing: Path | None = None
    noise_components: Path | None = None

    @property
    def dense(self) -> bool:
        """Whether it is on grayordinates."""
        return self.bold.name.endswith(".dtseries.nii")

    @property
    def key(self) -> str:
        """Name of the recording in this space, unique within a dataset."""
        kept = source_entities(self.entities)
        kept.update({name: self.entities[name] for name in ("cohort", "space", "res", "den") if name in self.entities})
        return build_name(kept, "bold", "").removesuffix("_bold")

    @property
    def participant(self) -> str:
        """Participant label, without ``sub-``."""
        return self.entities["sub"]

    @property
    def space(self) -> str:
        """Standard space of the image."""
        return self.entities["space"]


def find_bold_runs(dataset: Path, selection: Selection, image: str = PREPROCESSED) -> list[BoldRun]:
    """Find the preprocessed BOLD runs that a selection describes.

    Parameters
    ----------
    dataset : Path
        fMRIPrep derivatives.
    selection : Selection
        What is wanted.
    image : str
        ``desc-`` of the images; a filter file may name another one.

    Returns
    -------
    list of BoldRun
        Sorted by path. Where no space is asked for, each recording is taken in MNI152NLin2009cAsym, else in
        MNI152NLin6Asym.

    Raises
    ------
    NoInputError
        If nothing matches; the message says what was there.
    UsageError
        If the filter file can not be used, several resolutions match and none was chosen, or another image than
        the preprocessed one is wanted on grayordinates.
    """
    if image != PREPROCESSED and selection.space == DENSE_SPACE:
        raise UsageError(f"There are no desc-{image} series on grayordinates; use another --denoise or --space.")
    participants = find_participants(dataset, selection)
    layout = _layout(dataset, participants, selection)
    filters = _bold_filters(selection, image)
    unknown = sorted(set(filters) - set(layout.get_entities()))
    if unknown:
        raise UsageError(
            f"--bids-filter-file {selection.bids_filter_file}: {unknown[0]!r} is no entity that PyBIDS knows; task, "
            "session, run, space and the like are expected."
        )
    files = [Path(path) for path in layout.get(return_type="filename", **filters)]
    runs = [(path, parse_name(path)[0]) for path in sorted(files)]
    runs = [(path, entities) for path, entities in runs if entities.get("sub") in participants]
    chosen = _choose_space([pair for pair in runs if "space" in pair[1]], selection)
    if not chosen:
        raise NoInputError(_nothing_matched(dataset, layout, selection, participants, image))
    _refuse_several_resolutions(chosen)
    return [_bold_run(path, entities) for path, entities in chosen]


def find_participants(dataset: Path, selection: Selection) -> list[str]:
    """List the participants of a dataset that a selection admits.

    Raises
    ------
    NoInputError
        If the folder has no participant, a wanted one is not there, or all are excluded.
    """
    if not dataset.is_dir():
        raise NoInputError(f"{dataset} is not a folder: fMRIPrep derivatives with sub-* folders are expected there.")
    present = sorted(path.name.removeprefix("sub-") for path in dataset.glob("sub-*") if path.is_dir())
    if not present:
        raise NoInputError(
            f"{dataset} holds no sub-* folder; give the folder that fMRIPrep wrote, or `-d fmriprep=PATH`."
        )
    wanted = list(selection.participant_label) or present
    absent = [label for label in wanted if label not in present]
    if absent:
        raise NoInputError(
            f"{dataset} has no folder sub-{absent[0]}"
            + (f" (and {len(absent) - 1} more of those asked for)" if len(absent) > 1 else "")
            + f"; it has {_listed(present)}."
        )
    left = [label for label in wanted if label not in selection.exclude_participant_label]
    if not left:
        raise NoInputError(
            f"--exclude-participant-label leaves no participant of {dataset}; it has {_listed(present)}."
        )
    return left


def _listed(labels: Iterable[str], most: int = 6) -> str:
    labels = list(labels)
    more = f" ... ({len(labels)} in all)" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more


def _layout(dataset: Path, participants: list[str], selection: Selection) -> BIDSLayout:
    """Index the wanted participants' functional files, nothing else."""
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    ignore = [re.compile(r"/(figures|anat|dwi|fmap|perf|log|logs|freesurfer|sourcedata)(/|$)")]
    if not selection.bids_filter_file:
        ignore.append(_NO_BOLD_FILE)
    if selection.participant_label and not selection.bids_database_dir:
        # A database outlives this command and must know every participant, or the next command would miss some.
        # A string given to PyBIDS is a prefix: sub-01 would also take sub-010 along.
        labels = "|".join(re.escape(label) for label in participants)
        ignore.append(re.compile(rf"^/sub-(?!(?:{labels})(?:/|_|\.|$))"))
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignore)
    return BIDSLayout(
        str(dataset),
        validate=False,
        is_derivative=True,
        indexer=indexer,
        database_path=str(selection.bids_database_dir) if selection.bids_database_dir else None,
        config=["bids", "derivatives"],
    )


def _image_filters(selection: Selection, image: str) -> dict[str, Any]:
    """Tell images of voxels from series on grayordinates, which fMRIPrep writes without a ``desc-``."""
    if selection.space == DENSE_SPACE:
        from bids.layout import Query

        return {"suffix": "bold", "desc": Query.NONE, "extension": ".dtseries.nii"}
    return {"suffix": "bold", "desc": image, "extension": [".nii.gz", ".nii"]}


def _bold_filters(selection: Selection, image: str) -> dict[str, Any]:
    filters = _image_filters(selection, image)
    if selection.session_id:
        filters["session"] = list(selection.session_id)
    if selection.task_id:
        filters["task"] = list(selection.task_id)
    if selection.run_id:
        # PyBIDS keeps runs as numbers that remember their padding.
        filters["run"] = [int(run) if run.isdigit() else run for run in selection.run_id]
    if selection.space:
        filters["space"] = selection.space
    if selection.res:
        filters["den" if selection.space == DENSE_SPACE else "res"] = selection.res
    if selection.bids_filter_file:
        filters |= _filters_from_file(selection.bids_filter_file)
    return filters


def _filters_from_file(path: Path) -> dict[str, Any]:
    """Read the filters for BOLD, with fMRIPrep's spellings: null is no such entity, "*" is any value of it."""
    from bids.layout import Query

    spelled = {None: Query.NONE, "*": Query.ANY}
    bold = read_json_object(path, UsageError).get("bold", {})
    if not isinstance(bold, dict):
        raise UsageError(f'--bids-filter-file {path} must hold an object such as {{"bold": {{"task": "rest"}}}}.')
    return {
        name: value if isinstance(value, (list, dict)) else spelled.get(value, value)
        for name, value in bold.items()
        if name != "datatype"
    }


def _choose_space(runs: list[tuple[Path, dict[str, str]]], selection: Selection) -> list[tuple[Path, dict[str, str]]]:
    """Keep each recording in one space: the one asked for, or the first default one that it has."""
    if selection.space:
        return runs
    ranks = {space: rank for rank, space in enumerate(DEFAULT_SPACES)}
    by_recording: dict[str, list[tuple[Path, dict[str, str]]]] = {}
    for path, entities in runs:
        if entities["space"] in ranks:
            name = build_name(source_entities(entities), "bold", "")
            by_recording.setdefault(name, []).append((path, entities))
    kept: list[tuple[Path, dict[str, str]]] = []
    for candidates in by_recording.values():
        best = min(ranks[entities["space"]] for _, entities in candidates)
        kept += [pair for pair in candidates if ranks[pair[1]["space"]] == best]
    return sorted(kept)


def _refuse_several_resolutions(runs: list[tuple[Path, dict[str, str]]]) -> None:
    seen: dict[str, Path] = {}
    for path, entities in runs:
        name = build_name(source_entities(entities) | {"space": entities["space"]}, "bold", "")
        before = parse_name(seen[name])[0] if name in seen else {}
        if before and all(before.get(grid) == entities.get(grid) for grid in ("res", "den")):
            raise UsageError(
                f"{seen[name]} and {path} would be written under one name; keep one of them, or choose with "
                "--bids-filter-file."
            )
        if name in seen:
            raise UsageError(
                f"{seen[name].name} and {path.name} are one recording at two resolutions; choose one with --res."
            )
        seen[name] = path


def _bold_run(path: Path, entities: dict[str, str]) -> BoldRun:
    """Find the mask and the confounds that stand beside an image."""
    folder = path.parent
    mask = next(
        (
            candidate
            for extension in (".nii.gz", ".nii")
            if (candidate := folder / build_name({**entities, "desc": "brain"}, "mask", extension)).is_file()
        ),
        None,
    )
    source = source_entities(entities)
    # fMRIPrep before 20.2 called the table `regressors`.
    names = [build_name({**source, "desc": "confounds"}, suffix, ".tsv") for suffix in ("timeseries", "regressors")]
    confounds = next((folder / name for name in names if (folder / name).is_file()), None)
    mixing = folder / build_name({**source, "desc": "MELODIC"}, "mixing", ".tsv")
    noise = folder / build_name(source, "AROMAnoiseICs", ".csv")
    return BoldRun(
        path, mask, confounds, entities, mixing if mixing.is_file() else None, noise if noise.is_file() else None
    )


def _nothing_matched(
    dataset: Path, layout: BIDSLayout, selection: Selection, participants: list[str], image: str
) -> str:
    """Say what was asked for and what the dataset has instead."""
    files = layout.get(return_type="filename", **_image_filters(selection, image))
    present = [parse_name(path)[0] for path in files]
    present = [entities for entities in present if entities.get("sub") in participants]
    if not present:
        wanted = "bold.dtseries.nii" if selection.space == DENSE_SPACE else f"desc-{image}_bold.nii.gz"
        asked_of = "run to its end" if image == PREPROCESSED else "one up to 23.0, called with --use-aroma"
        return f"{dataset} has no *_{wanted} for {_listed(participants)}; was fMRIPrep {asked_of}?"

    def there(name: str) -> str:
        return ", ".join(sorted({entities.get(name, "none") for entities in present}))

    asked = [
        f"{option} {' '.join(values)}"
        for option, values in (
            ("--session-id", selection.session_id),
            ("--task-id", selection.task_id),
            ("--run-id", selection.run_id),
            ("--space", (selection.space,) if selection.space else DEFAULT_SPACES),
            ("--res", (selection.res,) if selection.res else ()),
            ("--bids-filter-file", (str(selection.bids_filter_file),) if selection.bids_filter_file else ()),
        )
        if values
    ]
    return (
        f"No run in {dataset} matches {', '.join(asked)}; there are sessions {there('ses')}, tasks {there('task')}, "
        f"runs {there('run')}, spaces {there('space')}, resolutions {there('res')}."
    )


def repetition_time(bold: Path, dataset: Path) -> float:
    """Read the repetition time from the image's sidecar, following the inheritance principle.

    The header is not asked: writers leave 1.0 or milliseconds there.

    Parameters
    ----------
    bold : Path
        The image.
    dataset : Path
        Root of its dataset; sidecars above it are not looked at.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    RunError
        If no sidecar states one, or it is not a number of seconds between 0.05 and 30.
    """
    value: Any = None
    where = bold.with_name(bold.name.partition(".")[0] + ".json")
    for sidecar in _inherited_sidecars(bold, dataset):
        content = read_json_object(sidecar, RunError)
        if "RepetitionTime" in content:
            value, where = content["RepetitionTime"], sidecar
    if value is None:
        raise RunError(
            f'{where} gives no RepetitionTime; add the seconds between two volumes, for instance "RepetitionTime": 2.0.'
        )
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.05 <= value <= 30:
        raise RunError(f"{where}: RepetitionTime is {value!r}; seconds between 0.05 and 30 are expected.")
    return float(value)


def _inherited_sidecars(bold: Path, dataset: Path) -> list[Path]:
    """Sidecars that apply to an image, the most general first."""
    entities, suffix, _ = parse_name(bold)
    folders = [bold.parent]
    while folders[-1] != dataset and dataset in folders[-1].parents:
        folders.append(folders[-1].parent)
    found = []
    for folder in reversed(folders):
        matching = []
        for candidate in folder.glob(f"*{suffix}*.json"):
            other, other_suffix, extension = parse_name(candidate)
            # fMRIPrep before 20.2 gave dense series a sidecar with both extensions.
            named = extension == ".json" or bold.name.endswith(extension.removesuffix(".json") + ".nii")
            if named and other_suffix == suffix and other.items() <= entities.items():
                matching.append((len(other), candidate))
        found += [candidate for _, candidate in sorted(matching)]
    return found
