"""Finding the series of an analysis: which dataset, which kind, and what is left out by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bids_neurossm.atlas.catalogue import atlas_entities
from bids_neurossm.config import RunConfig
from bids_neurossm.dataset.bidsignore import IgnoreRules, vague_sentences
from bids_neurossm.dataset.companions import Folders
from bids_neurossm.dataset.exclusions import read_exclusions, unmatched_sentences
from bids_neurossm.dataset.left_out import UNREADABLE, LeftOut, left_out_by, sentences
from bids_neurossm.dataset.series import (
    FoundSeries,
    SeriesFile,
    choose_kind,
    label_entities,
    look_for_series,
    with_sidecars,
)
from bids_neurossm.errors import NoInputError, RunError, UsageError
from bids_neurossm.phenotype.identifiers import listed
from bids_neurossm.phenotype.labels import Target, source_datasets
from bids_neurossm.signal.strategy import load_strategy


@dataclass(frozen=True)
class SeriesPlan:
    """The series of an analysis.

    Parameters
    ----------
    source : Path
        Dataset that they are in.
    files : list of SeriesFile
        One per recording, of one kind, with sidecars.
    excluded : list of dict
        Rows of exclusions.tsv: what the options and ``.bidsignore`` leave out.
    notes : list of str
        Sentences for the user.
    """

    source: Path
    files: list[SeriesFile]
    excluded: list[dict[str, str]]
    notes: list[str]


def series_of(config: RunConfig, target: Target | None = None) -> SeriesPlan:
    """Find the series: in the output dataset, else in BIDS_DIR or another dataset that was named.

    Parameters
    ----------
    config : RunConfig
        What is asked for.
    target : Target, optional
        What is predicted; an entity that is the target does not tell kinds of series apart.

    Raises
    ------
    NoInputError
        If there are none, or all are excluded.
    UsageError
        If several kinds are there and no option chooses.
    """
    if len(config.extraction.atlas) > 1:
        raise UsageError("The group level takes one --atlas; run it once for each.")
    selection = config.selection
    places = list(dict.fromkeys([config.out_dir, config.bids_dir, *selection.derivatives.values()]))
    looked = [look_for_series(place, selection) for place in places]
    found = next((each for each in looked if each.files), None)
    notes = _unknown_participants(looked, config)
    if found is None:
        where = " or ".join(str(place) for place in places)
        there = [entities for each in looked for entities in each.unwanted]
        if there:
            raise NoInputError(f"No series in {where} match the options; there are {_labels_there(there)}.")
        reasons = "".join(f" {each}" for each in sentences(each for place in looked for each in place.left_out))
        raise NoInputError(
            f"There is no *_timeseries.tsv of the wanted runs in {where}; run the participant level first, or give a "
            f"dataset that has series.{reasons}"
        )
    names = [each.entities for each in found.files]
    exclusions = read_exclusions(selection.exclude, {name for entities in names for name in entities})
    inputs = (found.dataset, config.bids_dir, selection.derivatives.get("fmriprep", config.bids_dir))
    rules = [IgnoreRules.read(place) for place in dict.fromkeys(inputs)]
    kept: list[SeriesFile] = []
    dropped: dict[str, LeftOut] = {}
    for each in found.files:
        reason = left_out_by(each.path.relative_to(found.dataset), each.entities, rules, exclusions)
        if reason is None:
            kept.append(each)
        else:  # one row for all kinds of series of a recording
            dropped.setdefault(each.run, LeftOut(each.run, each.entities["sub"], *reason))
    left_out = [*found.left_out, *dropped.values()]
    if not kept:
        raise NoInputError(f"All {len(dropped)} runs in {found.dataset} are left out. {' '.join(sentences(left_out))}")
    entity = target.column if target is not None and target.kind == "entity" else None
    kept = [replace(each, label_entity=entity) for each in kept]
    several = [name for name, labels in selection.filter.items() if len(labels) > 1]
    chosen = choose_kind(kept, *_atlas_and_strategy(config, kept), found.dataset, several)
    notes += [] if exclusions is None else unmatched_sentences(exclusions, [*names, *found.unwanted])
    notes += vague_sentences(rules)
    recordings = [config.bids_dir, *selection.derivatives.values(), *source_datasets(found.dataset)]
    files, unreadable = _with_sidecars(chosen, list(dict.fromkeys(recordings)))
    left_out += unreadable
    return SeriesPlan(found.dataset, files, [each.row() for each in left_out], notes)


def _unknown_participants(looked: Sequence[FoundSeries], config: RunConfig) -> list[str]:
    """Refuse participants that were asked for and are nowhere; report excluded ones that are nowhere."""
    known = {entities.get("sub", "") for each in looked for entities in each.unwanted}
    known |= {file.entities.get("sub", "") for each in looked for file in each.files}
    known |= {path.name.removeprefix("sub-") for each in looked for path in each.dataset.glob("sub-*") if path.is_dir()}
    where = " or ".join(str(each.dataset) for each in looked)
    absent = [label for label in config.selection.participant_label if label not in known]
    if absent:
        raise NoInputError(f"{where} has no participant {listed(absent)}; there are {listed(sorted(known))}.")
    spare = [label for label in config.selection.exclude_participant_label if label not in known]
    return (
        [f"--exclude-participant-label {listed(spare)} leaves out nobody: {where} has no such folder."] if spare else []
    )


def _labels_there(names: Sequence[Mapping[str, str]]) -> str:
    """List the labels of the entities that options select by."""
    words = {"ses": "sessions", "task": "tasks", "run": "runs", "space": "spaces"}
    there = {what: sorted({entities[name] for entities in names if name in entities}) for name, what in words.items()}
    return ", ".join(f"{what} {listed(labels)}" for what, labels in there.items() if labels)


def _with_sidecars(chosen: Sequence[SeriesFile], recordings: Sequence[Path]) -> tuple[list[SeriesFile], list[LeftOut]]:
    """Read the sidecars; a run whose sidecar cannot be read is left out, and is a failure as well.

    Raises
    ------
    RunError
        If none can be read.
    """
    files: list[SeriesFile] = []
    unreadable = []
    folders, first = Folders(), None
    for each in chosen:
        try:
            files += with_sidecars([each], recordings, folders)
        except RunError as error:
            first = first or error
            unreadable.append(LeftOut(each.run, each.entities["sub"], UNREADABLE, str(error)))
    if first is not None and not files:
        raise first
    return files, unreadable


def _atlas_and_strategy(config: RunConfig, files: Sequence[SeriesFile]) -> tuple[dict[str, str] | None, str | None]:
    """Tell what --atlas and --denoise are called in the names of the files.

    Other programs have names of their own for atlases and strategies: those of the files come first.
    """
    extraction = config.extraction
    atlas = strategy = None
    if extraction.atlas:
        name = extraction.atlas[0]
        atlas = label_entities(files, name) or atlas_entities(name, extraction.atlas_space)
    if extraction.denoise:
        known = any(each.entities.get("desc") == extraction.denoise for each in files)
        strategy = extraction.denoise if known else load_strategy(extraction.denoise).name
    return atlas, strategy
