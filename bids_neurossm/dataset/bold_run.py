"""One preprocessed BOLD image and what belongs to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_neurossm.dataset.companions import (
    BRAIN_MASK,
    CONFOUNDS,
    MIXING,
    NOISE_COMPONENTS,
    Companion,
    Folders,
    find_companion,
)
from bids_neurossm.dataset.names import build_name, source_entities
from bids_neurossm.dataset.repetition_time import repetition_time
from bids_neurossm.errors import RunError
from bids_neurossm.files.safe_reading import missing_content


@dataclass(frozen=True)
class BoldRun:
    """One preprocessed BOLD image and what belongs to it, filled once when the dataset is indexed.

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
    dataset : Path
        Root of the dataset.
    repetition_time : float
        Seconds; NaN where it is not known, which is one of the problems.
    mixing, noise_components : Path or None
        What ICA-AROMA left: time courses of all components, and the list of those that are noise.
    problems : tuple of str
        Sentences: why the run cannot be processed.
    """

    bold: Path
    mask: Path | None
    confounds: Path | None
    entities: Mapping[str, str]
    dataset: Path
    repetition_time: float
    mixing: Path | None = None
    noise_components: Path | None = None
    problems: tuple[str, ...] = ()

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

    @property
    def size(self) -> int:
        """Bytes of the image; 0 where its content is missing."""
        try:
            return self.bold.stat().st_size
        except OSError:
            return 0


def gather_run(
    path: Path, entities: Mapping[str, str], dataset: Path, raw: Sequence[Path], components: bool, folders: Folders
) -> BoldRun:
    """Gather what belongs to an image, and the problems with it.

    Parameters
    ----------
    path : Path
        The image.
    entities : mapping
        Of its name.
    dataset : Path
        Root of its dataset.
    raw : sequence of Path
        Where the repetition time is looked up that the dataset does not state.
    components : bool
        Whether what ICA-AROMA left is needed.
    folders : Folders
        Lists folders once for all images of a dataset.
    """
    problems = []

    def companion(kind: Companion, needed: bool = True) -> Path | None:
        try:
            found = find_companion(path, kind, folders)
        except RunError as error:
            problems.extend([str(error)] if needed else [])
            return None
        problem = missing_content(found) if found is not None and needed else None
        problems.extend([problem] if problem else [])
        return found

    missing = missing_content(path)
    problems.extend([missing] if missing else [])
    mask = None if path.name.endswith(".dtseries.nii") else companion(BRAIN_MASK)
    confounds = companion(CONFOUNDS)
    mixing, noise = companion(MIXING, components), companion(NOISE_COMPONENTS, components)
    try:
        seconds = repetition_time(path, dataset, raw, folders)
    except RunError as error:
        seconds = math.nan
        problems.append(str(error))
    return BoldRun(path, mask, confounds, entities, dataset, seconds, mixing, noise, tuple(problems))
