"""Finding preprocessed BOLD runs with their masks, confounds and sidecars.

Indexing a large dataset is what costs time, so PyBIDS is told to walk into the wanted participants' folders only, to
leave aside figures, anatomy and every file that is no BOLD image, and not to read any JSON: what belongs to an image is
found by the entities of its name (`bids_neurossm.dataset.companions`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_neurossm.config import DEFAULT_SPACES, Selection
from bids_neurossm.dataset.bidsignore import IgnoreRules, vague_sentences
from bids_neurossm.dataset.bold_run import BoldRun, gather_run
from bids_neurossm.dataset.companions import Folders
from bids_neurossm.dataset.exclusions import ExclusionTable, read_exclusions, unmatched_sentences
from bids_neurossm.dataset.kinds import Image, choose_space, is_wanted, refuse_several_kinds
from bids_neurossm.dataset.left_out import LeftOut, left_out_by, sentences
from bids_neurossm.dataset.names import build_name, parse_name, source_entities
from bids_neurossm.dataset.places import Root, look_at_root, place_problem
from bids_neurossm.errors import NoInputError, UsageError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.safe_reading import missing_content

if TYPE_CHECKING:
    from bids.layout import BIDSLayout


#: ``desc-`` of the images that fMRIPrep preprocessed and did nothing else to.
PREPROCESSED = "preproc"
#: Space of the series on grayordinates (CIFTI-2).
DENSE_SPACE = "fsLR"

#: A file that is no BOLD image: five of six files and more need no entry in the index.
_NO_BOLD_FILE = re.compile(r"/(?![^/]*_bold\.(?:dtseries\.)?nii(?:\.gz)?$)[^/]*\.[^/]*$")


@dataclass(frozen=True)
class RunIndex:
    """What a dataset has for a command.

    Parameters
    ----------
    runs : tuple of BoldRun
        Sorted by path.
    left_out : tuple of LeftOut
        Runs and folders that are not processed, with the rule.
    notes : tuple of str
        Sentences for the user, such as a row of ``--exclude`` that matches nothing.
    """

    runs: tuple[BoldRun, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def find_bold_runs(dataset: Path, selection: Selection, image: str = PREPROCESSED) -> list[BoldRun]:
    """Find the preprocessed BOLD runs that a selection describes; see `index_runs`."""
    return list(index_runs(dataset, selection, image).runs)


def index_runs(
    dataset: Path,
    selection: Selection,
    image: str = PREPROCESSED,
    raw: Sequence[Path] = (),
    components: bool = False,
) -> RunIndex:
    """Find the preprocessed BOLD runs that a selection describes, with what belongs to each.

    Parameters
    ----------
    dataset : Path
        fMRIPrep derivatives.
    selection : Selection
        What is wanted.
    image : str
        ``desc-`` of the images; a filter may name another one.
    raw : sequence of Path
        Datasets in which a repetition time is looked up that the derivatives do not state, and whose ``.bidsignore``
        counts as well.
    components : bool
        Whether what ICA-AROMA left is needed.

    Returns
    -------
    RunIndex
        Where no space is asked for, each recording is taken in MNI152NLin2009cAsym, else in MNI152NLin6Asym.

    Raises
    ------
    NoInputError
        If nothing matches; the message says what was there.
    UsageError
        If a filter or ``--exclude`` cannot be used, several kinds of images of one recording match, or another image
        than the preprocessed one is wanted on grayordinates.
    """
    if image != PREPROCESSED and selection.space == DENSE_SPACE:
        raise UsageError(f"There are no desc-{image} series on grayordinates; use another --denoise or --space.")
    rules = [IgnoreRules.read(root) for root in dict.fromkeys((dataset, *raw))]
    root = _root(dataset, rules[0])
    participants = _participants(dataset, root, selection)
    layout = _layout(dataset, participants, selection)
    images, misplaced = _placed(_images(layout, selection, image), dataset, participants)
    exclusions = read_exclusions(selection.exclude, {name for _, entities in images for name in entities})
    wanted = choose_space([pair for pair in images if _is_wanted(pair[1], selection)], selection)
    kept, dropped = _without(wanted, dataset, rules, exclusions)
    left_out = (*root.left_out, *misplaced, *dropped)
    if not kept:
        reasons = " ".join(sentences(left_out))
        raise NoInputError(_nothing_matched(dataset, layout, images, selection, participants, image, reasons))
    refuse_several_kinds(kept)
    unseen = set(root.participants).difference(participants)
    notes = [] if exclusions is None else unmatched_sentences(exclusions, [each for _, each in images], unseen)
    notes += vague_sentences(rules)
    folders = Folders()
    runs = tuple(gather_run(path, entities, dataset, raw, components, folders) for path, entities in kept)
    return RunIndex(runs, left_out, tuple(notes))


def _root(dataset: Path, rules: IgnoreRules) -> Root:
    if not dataset.is_dir():
        raise NoInputError(f"{dataset} is not a folder: fMRIPrep derivatives with sub-* folders are expected there.")
    return look_at_root(dataset, rules, "*_bold.*nii*")


def _participants(dataset: Path, root: Root, selection: Selection) -> list[str]:
    present = list(root.participants)
    if not present:
        invalid = f" with a valid BIDS label. {' '.join(sentences(root.left_out))}" if root.left_out else ""
        raise NoInputError(
            f"{dataset} holds no sub-* folder{invalid}; give the folder that fMRIPrep wrote, or `-d fmriprep=PATH`."
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

    problem = missing_content(dataset / "dataset_description.json")  # PyBIDS opens it
    if problem:
        raise UsageError(problem)
    ignore = [re.compile(r"/(figures|anat|dwi|fmap|perf|log|logs|freesurfer|sourcedata)(/|$)")]
    ignore.append(re.compile(r"^/(?!sub-)[^/]"))  # only participants' folders hold runs
    if not selection.bids_filter_file:
        ignore.append(_NO_BOLD_FILE)
    if selection.participant_label and not selection.bids_database_dir:
        # A database outlives this command and must know every participant, or the next command would miss some.
        # A string given to PyBIDS is a prefix: sub-01 would also take sub-010 along.
        labels = "|".join(re.escape(label) for label in participants)
        ignore.append(re.compile(rf"^/sub-(?!(?:{labels})(?:/|_|\.|$))"))
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignore)
    try:
        return BIDSLayout(
            str(dataset),
            validate=False,
            is_derivative=True,
            indexer=indexer,
            database_path=str(selection.bids_database_dir) if selection.bids_database_dir else None,
            config=["bids", "derivatives"],
        )
    except UnicodeEncodeError as error:  # PyBIDS keeps paths in a database
        raise UsageError(f"{str(error.object)[:300]} has a name that is not UTF-8 text; rename it.") from error


def _images(layout: BIDSLayout, selection: Selection, image: str) -> list[Image]:
    """Ask PyBIDS for the images of the kind that is wanted, in every space."""
    dense = selection.space == DENSE_SPACE
    filters: dict[str, Any] = {"suffix": "bold", "extension": ".dtseries.nii" if dense else [".nii.gz", ".nii"]}
    own = _filters_from_file(selection.bids_filter_file) if selection.bids_filter_file else {}
    unknown = sorted(set(own) - set(layout.get_entities()))
    if unknown:
        raise UsageError(
            f"--bids-filter-file {selection.bids_filter_file}: {unknown[0]!r} is no entity that PyBIDS knows; task, "
            "session, run, space and the like are expected."
        )
    paths = sorted(Path(path) for path in layout.get(return_type="filename", **(filters | own)))
    # macOS leaves ._sub-01_... beside each file on disks of other systems.
    images = [(path, parse_name(path)[0]) for path in paths if not path.name.startswith(".")]
    if "desc" in own or "desc" in selection.filter:
        return images
    # Series on grayordinates are written by fMRIPrep without a desc-.
    wanted = None if dense else image
    return [(path, entities) for path, entities in images if entities.get("desc") == wanted]


def _placed(images: Sequence[Image], dataset: Path, participants: Sequence[str]) -> tuple[list[Image], list[LeftOut]]:
    """Keep the images of the participants that lie where runs lie, under names that say the same."""
    kept, left_out = [], []
    for path, entities in images:
        place = path.relative_to(dataset)
        if place.parts[0].removeprefix("sub-") not in participants:
            continue
        problem = place_problem(place, entities)
        if problem is None:
            kept.append((path, entities))
        else:
            participant = place.parts[0].removeprefix("sub-")
            left_out.append(LeftOut(path.name.partition("_space-")[0], participant, *problem))
    return kept, left_out


def _is_wanted(entities: Mapping[str, str], selection: Selection) -> bool:
    return "space" in entities and is_wanted(entities, selection)


def _without(
    images: Sequence[Image], dataset: Path, rules: Sequence[IgnoreRules], exclusions: ExclusionTable | None
) -> tuple[list[Image], list[LeftOut]]:
    """Leave out what a ``.bidsignore`` or ``--exclude`` names."""
    kept: list[Image] = []
    left_out = []
    for path, entities in images:
        reason = left_out_by(path.relative_to(dataset), entities, rules, exclusions)
        if reason is None:
            kept.append((path, entities))
        else:
            name = build_name(source_entities(entities), "bold", "").removesuffix("_bold")
            left_out.append(LeftOut(name, entities["sub"], *reason))
    return kept, left_out


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


def _nothing_matched(
    dataset: Path,
    layout: BIDSLayout,
    images: Sequence[Image],
    selection: Selection,
    participants: Sequence[str],
    image: str,
    left_out: str,
) -> str:
    """Say what was asked for and what the dataset has instead."""
    present = [entities for _, entities in images]
    if not present and selection.bids_filter_file:
        others = _images(layout, replace(selection, bids_filter_file=None), image)
        present = [entities for _, entities in _placed(others, dataset, participants)[0]]
    if not present:
        wanted = "bold.dtseries.nii" if selection.space == DENSE_SPACE else f"desc-{image}_bold.nii.gz"
        asked_of = "run to its end" if image == PREPROCESSED else "one up to 23.0, called with --use-aroma"
        reasons = f" {left_out}" if left_out else ""
        return f"{dataset} has no *_{wanted} for {_listed(participants)}; was fMRIPrep {asked_of}?{reasons}"

    def there(name: str) -> str:
        return ", ".join(sorted({entities.get(name, "none") for entities in present}))

    filters = tuple(f"{name}={label}" for name, labels in selection.filter.items() for label in labels)
    asked = [
        f"{option} {' '.join(values)}"
        for option, values in (
            ("--session-id", selection.session_id),
            ("--task-id", selection.task_id),
            ("--run-id", selection.run_id),
            ("--space", (selection.space,) if selection.space else DEFAULT_SPACES),
            ("--res", (selection.res,) if selection.res else ()),
            ("--filter", filters),
            ("--bids-filter-file", (str(selection.bids_filter_file),) if selection.bids_filter_file else ()),
        )
        if values
    ]
    reasons = f" {left_out}" if left_out else ""
    further = "".join(f", {name} {there(name)}" for name in selection.filter)
    return (
        f"No run in {dataset} matches {', '.join(asked)}; there are sessions {there('ses')}, tasks {there('task')}, "
        f"runs {there('run')}, spaces {there('space')}, resolutions {there('res')}{further}.{reasons}"
    )
