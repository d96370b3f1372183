"""What the series of one cohort must have in common: the drawing of the atlas, and the settings that were asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from bids_neurossm.atlas.drawing import Drawing
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.dataset.series import SeriesFile
from bids_neurossm.errors import UsageError

_CHOOSE = "Choose runs of one kind with --participant-label, --session-id, --task-id or --filter"

#: Participants that an example names.
_MOST_NAMED = 5


def drawing_of(file: SeriesFile) -> Drawing | None:
    """Return the drawing of the atlas that a table was made with; None where its sidecar does not state it."""
    atlas = file.sidecar.get("Atlas")
    return Drawing.of_record(atlas) if isinstance(atlas, dict) else None


def same_series(files: Sequence[SeriesFile], allow_mixed_settings: bool) -> list[str]:
    """Check the drawing and the settings of the series of one cohort; see `refuse_two_drawings`.

    Returns
    -------
    list of str
        Notes for the report.
    """
    refuse_two_drawings(files)
    return refuse_mixed_settings(files, allow_mixed_settings)


def refuse_two_drawings(files: Sequence[SeriesFile]) -> None:
    """Refuse series under one atlas name whose regions lie in different places.

    A file of the same labels with another compression is the same drawing. Sidecars by 0.1.0 only state the hash of
    the file. Sidecars of other programs state nothing, and are not compared.

    Raises
    ------
    UsageError
        With the number of runs and the first run of each drawing.
    """
    by_label_file = {_atlas(each).get("SHA256"): drawing_of(each) for each in files if drawing_of(each) is not None}
    found: dict[tuple[str, str], dict[str, list[SeriesFile]]] = defaultdict(lambda: defaultdict(list))
    undrawn = []
    for each in files:
        drawing = drawing_of(each) or by_label_file.get(_atlas(each).get("SHA256"))
        if drawing is not None:
            found[drawing.space, drawing.resolution][drawing.sha256].append(each)
        elif _atlas(each).get("SHA256"):
            undrawn.append(each)
    for each in undrawn:
        space = str(_atlas(each).get("Space"))
        for place in [place for place in found if place[0] == space] or [(space, "not stated")]:
            found[place][str(_atlas(each)["SHA256"])].append(each)
    for (space, _), drawings in found.items():
        if len(drawings) > 1:
            listed = ", ".join(f"{_counted(len(runs))} like {runs[0].run}" for runs in drawings.values())
            raise UsageError(
                f"The series come from {len(drawings)} different label images of {_atlas(files[0]).get('Name')} in "
                f"{space} ({listed}): the same names mean different places in the brain. {_CHOOSE}, or run the "
                "participant level again for all of them with one --atlas and --overwrite."
            )


def refuse_mixed_settings(files: Sequence[SeriesFile], allowed: bool) -> list[str]:
    """Refuse series that were asked for with different settings, unless that is allowed.

    Parameters
    ----------
    files : sequence of SeriesFile
        With sidecars; those that do not state ``RequestedSettings`` are not compared.
    allowed : bool
        Whether ``--allow-mixed-settings`` was given.

    Returns
    -------
    list of str
        A note that names the differences, where they are allowed.

    Raises
    ------
    UsageError
        With the number of runs for each value.
    """
    values: dict[str, dict[str, list[SeriesFile]]] = defaultdict(lambda: defaultdict(list))
    for each in files:
        settings = each.sidecar.get("RequestedSettings")
        if not isinstance(settings, dict):
            continue
        for name, value in {**settings, "RecordFormat": each.sidecar.get("RecordFormat", "n/a")}.items():
            values[str(name)][str(value)[:12]].append(each)
    mixed = {
        name: dict(sorted(runs.items(), key=lambda item: -len(item[1])))
        for name, runs in sorted(values.items())
        if len(runs) > 1
    }
    if not mixed:
        return []
    listed = "; ".join(
        f"{name}: {', '.join(f'{value} ({_counted(len(runs))})' for value, runs in by_value.items())}"
        for name, by_value in mixed.items()
    )
    if allowed:
        return [f"The series were made with different settings, which --allow-mixed-settings permits: {listed}."]
    name, by_value = next(iter(mixed.items()))
    raise UsageError(
        f"The series of this cohort were made with different settings ({listed}). {_CHOOSE}{_example(name, by_value)}, "
        "run the participant level again with the same settings for all of them, or give --allow-mixed-settings."
    )


def _example(setting: str, by_value: Mapping[str, Sequence[SeriesFile]]) -> str:
    """Name the option that keeps the runs with the first value of a setting, where one entity has it in their names."""
    value, wanted = next(iter(by_value.items()))
    others = [each for runs in by_value.values() if runs is not wanted for each in runs]
    for entity in sorted(wanted[0].entities, key=lambda name: name == "sub"):
        labels, foreign = ({each.entities.get(entity) for each in runs} for runs in (wanted, others))
        if labels & foreign or None in labels:
            continue
        known = sorted(map(str, labels))
        option = f"--filter {' '.join(f'{entity}={label}' for label in known)}"
        if entity == "sub":
            option = f"--participant-label {' '.join(known[:_MOST_NAMED])}{' ...' if known[_MOST_NAMED:] else ''}"
        return f" (those with {setting} {value}: {option})"
    return ""


def atlas_drawing(files: Sequence[SeriesFile], parcellation: Parcellation | None) -> dict[str, str]:
    """Return what checkpoints hold of the drawing of the atlas: that of the series, else that of the image found."""
    stated = next((drawing for each in files if (drawing := drawing_of(each)) is not None), None)
    if stated is not None:
        return stated.facts()
    return parcellation.drawing.facts() if parcellation is not None else {}


def other_drawing(found: Parcellation, file: SeriesFile) -> str | None:
    """Say that an atlas is not the one that series were made with; None where it is, or that is not known."""
    stated = drawing_of(file)
    if stated is None or not found.drawing.conflicts_with(stated):
        return None
    return f"{found.image_file.name} draws the regions in other places than the atlas of the series"


def _counted(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"


def _atlas(file: SeriesFile) -> dict[str, Any]:
    atlas = file.sidecar.get("Atlas")
    return atlas if isinstance(atlas, dict) else {}
