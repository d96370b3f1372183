"""The repetition time of a recording, from JSON sidecars by the inheritance principle of BIDS.

The image header is ignored: writers leave 1.0 or milliseconds there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bids_neurossm.dataset.companions import Folders, contradicts
from bids_neurossm.dataset.names import parse_name, plain_label, recording_entities
from bids_neurossm.errors import RunError

#: Seconds; no sequence is faster or slower.
_SHORTEST, _LONGEST = 0.05, 30.0

#: How far two gaps between volumes may differ, in seconds, for the volumes to be evenly spaced.
_EVEN = 1e-3


def repetition_time(bold: Path, dataset: Path, others: Sequence[Path] = (), folders: Folders | None = None) -> float:
    """Find the repetition time of an image.

    Parameters
    ----------
    bold : Path
        The image.
    dataset : Path
        Root of its dataset; sidecars above it are ignored.
    others : sequence of Path
        Datasets in which the recording is looked up where its own sidecars do not state the time: the raw dataset.
    folders : Folders, optional
        Lists folders and reads JSON files once for many images.

    Returns
    -------
    float
        Seconds: ``RepetitionTime``, of the image's own sidecars first, else the gap of an evenly spaced
        ``VolumeTiming``.

    Raises
    ------
    RunError
        If none is stated, sidecars that are equally close disagree, a sidecar cannot be read, or the value is not a
        number of seconds between 0.05 and 30.
    """
    folders = folders or Folders()
    entities, suffix, _ = parse_name(bold)
    places = [_own_sidecars(bold, dataset, suffix, folders)]
    places += [recording_sidecars(entities, other, folders) for other in others]
    for key in ("RepetitionTime", "VolumeTiming"):
        for levels in places:
            found = _closest(levels, key, folders)
            if found is not None:
                value, where = found
                return _seconds(value, where) if key == "RepetitionTime" else _even_spacing(value, where)
    where = bold.with_name(bold.name.partition(".")[0] + ".json")
    raise RunError(
        f'{where} gives no RepetitionTime; add the seconds between two volumes, for example "RepetitionTime": 2.0, or '
        "name the raw dataset with `-d raw=PATH`."
    )


def recording_repetition_time(
    entities: Mapping[str, str], dataset: Path, folders: Folders | None = None
) -> float | None:
    """Find the repetition time of a recording in a raw or preprocessed dataset; None where it is not stated there.

    Parameters
    ----------
    entities : mapping
        Of any file of the recording.
    dataset : Path
        Root of the dataset.
    folders : Folders, optional
        Lists folders and reads JSON files once for many recordings.

    Raises
    ------
    RunError
        As `repetition_time`.
    """
    folders = folders or Folders()
    levels = recording_sidecars(entities, dataset, folders)
    for key, read in (("RepetitionTime", _seconds), ("VolumeTiming", _even_spacing)):
        found = _closest(levels, key, folders)
        if found is not None:
            return read(*found)
    return None


_Levels = list[list[Path]]


def _own_sidecars(bold: Path, dataset: Path, suffix: str, folders: Folders) -> _Levels:
    """Find the sidecars that apply to an image, the closest first; those of one level are equally close."""
    entities, _, _ = parse_name(bold)
    above = [bold.parent]
    while above[-1] != dataset and dataset in above[-1].parents:
        above.append(above[-1].parent)
    # fMRIPrep before 20.2 gave dense series a sidecar with both extensions.
    extensions = (".json", ".dtseries.json") if bold.name.endswith(".dtseries.nii") else (".json",)
    levels: _Levels = []
    for folder in above:
        fitting: dict[int, list[Path]] = {}
        for each in folders.files(folder):
            if each.suffix == suffix and each.extension in extensions and not contradicts(each.entities, entities):
                fitting.setdefault(len(each.entities), []).append(each.path)
        levels += [fitting[number] for number in sorted(fitting, reverse=True)]
    return levels


def recording_sidecars(entities: Mapping[str, str], dataset: Path, folders: Folders) -> _Levels:
    """Find the sidecars of a recording's images, the closest first.

    What they say of echo, part or space does not matter: images of one recording have one repetition time.
    """
    recording = recording_entities(entities)
    root = [dataset, dataset / f"sub-{recording.get('sub', '')}"]
    session = [root[1] / f"ses-{recording['ses']}"] if "ses" in recording else []
    above = [*root, *session, (session or root)[-1] / "func"]
    levels: _Levels = []
    for folder in reversed(above):
        fitting: dict[int, list[Path]] = {}
        for each in folders.files(folder):
            stated = {name: plain_label(name, value) for name, value in recording_entities(each.entities).items()}
            if each.suffix == "bold" and each.extension.endswith(".json") and stated.items() <= recording.items():
                fitting.setdefault(len(stated), []).append(each.path)
        levels += [fitting[number] for number in sorted(fitting, reverse=True)]
    return levels


def _closest(levels: _Levels, key: str, folders: Folders) -> tuple[Any, Path] | None:
    """Read a key from the closest sidecars that state it.

    Raises
    ------
    RunError
        If two of them disagree.
    """
    for paths in levels:
        stated = [(folders.json(path).get(key), path) for path in paths]
        stated = [(value, path) for value, path in stated if value is not None]
        if stated:
            value, where = stated[0]
            other = next((pair for pair in stated[1:] if pair[0] != value), None)
            if other is not None:
                raise RunError(
                    f"{where} and {other[1]} disagree on {key} of one recording, {value!r} and {other[0]!r}: "
                    "correct one of them."
                )
            return value, where
    return None


def _seconds(value: Any, where: Path) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not _SHORTEST <= value <= _LONGEST:
        raise RunError(f"{where}: RepetitionTime is {value!r}; seconds between 0.05 and 30 are expected.")
    return float(value)


def _even_spacing(value: Any, where: Path) -> float:
    """Read the gap between volumes from their times."""
    numbers = isinstance(value, list) and all(
        isinstance(each, (int, float)) and not isinstance(each, bool) and math.isfinite(each) for each in value
    )
    if not numbers or len(value) < 2:
        raise RunError(
            f"{where}: VolumeTiming must list the times of the volumes in seconds; it is {str(value)[:100]}."
        )
    gaps = np.diff(np.asarray(value, dtype=np.float64))
    if float(np.ptp(gaps)) > _EVEN:
        raise RunError(
            f"{where}: VolumeTiming is not evenly spaced (gaps from {gaps.min():g} to {gaps.max():g} s), as in sparse "
            "sampling; series with one repetition time are expected, so leave the run out with --exclude."
        )
    return _seconds(round(float(gaps.mean()), 6), where)
