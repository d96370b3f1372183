"""Planning the reference: which studies, which terms, which version of the atlas; before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bids_neurossm.atlas import Parcellation, load_parcellation
from bids_neurossm.config import RunConfig
from bids_neurossm.errors import ResourceMissingError, UsageError
from bids_neurossm.interfaces.reference import SHIPPED_STUDIES
from bids_neurossm.planning.cohort_plan import ReferencePlan
from bids_neurossm.reference.terms import load_term_table, match_classes, shipped_tables

REFERENCE_SPACE = "MNI152NLin6Asym"


def plan_reference(
    config: RunConfig, classes: Sequence[str], parcellation: Parcellation | None, entities: Mapping[str, str]
) -> ReferencePlan:
    """Decide where the reference comes from, before anything is trained.

    What the user asked for by name must be there; what is only the default is left out with the reason.
    """
    source = config.reference.source
    if source == "none" or not config.attribution.cpa:
        return ReferencePlan(notes=["No reference: it was switched off."])
    try:
        return _reference(config, classes, parcellation, entities)
    except (UsageError, ResourceMissingError) as error:
        # An atlas on grayordinates of the user's own has no voxels that the literature could be averaged in.
        if source is not None and parcellation is not None and not parcellation.dense:
            raise
        return ReferencePlan(notes=[f"No reference: {error}"])


def _reference(
    config: RunConfig, classes: Sequence[str], parcellation: Parcellation | None, entities: Mapping[str, str]
) -> ReferencePlan:
    if parcellation is None:
        raise UsageError("the series come without an atlas image, so no literature can be averaged in their regions.")
    if len(classes) < 2:
        raise UsageError("a continuous target has no classes that the literature could speak of.")
    source = config.reference.source or "neurosynth"
    folder = source if source == SHIPPED_STUDIES else str(neurosynth_folder(source))
    terms = config.reference.terms or next((name for name in shipped_tables() if _knows(name, classes)), None)
    if terms is None:
        raise UsageError(
            f"no shipped table has terms for the classes {', '.join(classes)}; give --reference-terms TOML, or "
            "--reference none."
        )
    match_classes(load_term_table(terms), classes, "skip")
    if parcellation.space == REFERENCE_SPACE or parcellation.any_space:
        return ReferencePlan(folder, terms, parcellation)
    # Term maps are in MNI152NLin6Asym, so they are averaged in that version of the atlas.
    wanted = {name: entities[name] for name in ("atlas", "seg", "scale") if name in entities}
    other = atlas_by_name(config, wanted, REFERENCE_SPACE)
    if other is None or other.names != parcellation.names:
        raise ResourceMissingError(f"the atlas {parcellation.name} could not be had in {REFERENCE_SPACE}.")
    return ReferencePlan(folder, terms, other)


def _knows(table: str, classes: Sequence[str]) -> bool:
    try:
        return len(match_classes(load_term_table(table), classes, "skip").classes) == len(classes)
    except UsageError:
        return False


def neurosynth_folder(source: str) -> Path:
    """Find the folder with Neurosynth's files.

    Raises
    ------
    ResourceMissingError
        If it is not there.
    """
    if source != "neurosynth":
        if not Path(source).is_dir():
            raise ResourceMissingError(f"--reference {source} is neither a known name nor a folder that is there.")
        return Path(source).absolute()
    # `bids-neurossm-fetch` fills one folder with templates, atlases and studies.
    places = [os.environ.get(name) for name in ("NEUROSSM_RESOURCES", "TEMPLATEFLOW_HOME", "NIMARE_DATA")]
    candidates = [Path(place) / "neurosynth" for place in places if place] + [Path.home() / ".nimare" / "neurosynth"]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise ResourceMissingError(
        f"Neurosynth's files are in none of {', '.join(map(str, candidates))}; give the folder that holds "
        "data-neurosynth_version-7_coordinates.tsv.gz as --reference DIR, or run `bids-neurossm-fetch DIR` "
        "where there is internet and set NEUROSSM_RESOURCES to it."
    )


def atlas_by_name(config: RunConfig, wanted: Mapping[str, str], space: str) -> Parcellation | None:
    """Look the atlas up in the catalogue."""
    name = {
        "Schaefer2018": f"Schaefer{wanted.get('scale')}_{wanted.get('seg', '7Networks')}",
        "AAL3v2": "AAL3",
        "HarvardOxford": "HarvardOxford",
    }.get(wanted.get("atlas", ""))
    if name is None:
        return None
    try:
        return load_parcellation(name, space, atlas_dir=config.extraction.atlas_dir)
    except UsageError:
        return None
