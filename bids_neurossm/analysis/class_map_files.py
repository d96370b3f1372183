"""The images of class maps, and what is noted about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.analysis.held_out import HeldOut
from bids_neurossm.analysis.map_images import Namer, Painter
from bids_neurossm.analysis.map_tables import DISCRIMINATIVE
from bids_neurossm.attribution.maps import ClassMap, class_maps
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.dataset.names import class_labels
from bids_neurossm.reference.scoring import ReferenceScores


def maps_of(found: HeldOut, cohort: Cohort, analysis: Analysis) -> tuple[list[ClassMap], list[ClassMap]]:
    """Make the maps over all held-out runs, and over those that were classified rightly."""

    def of(rows: npt.NDArray[np.bool_]) -> list[ClassMap]:
        if not rows.any():
            return []
        runs = cohort.runs.iloc[found.indices[rows]]
        labels = runs["label"].astype(str).tolist() if cohort.classes else None
        present = [name for name in cohort.classes if labels and name in labels]
        return class_maps(
            found.importance[rows],
            found.share[rows],
            runs["participant_id"].tolist(),
            labels,
            present,
            seed=analysis.execution.random_seed,
        )

    return of(np.ones(found.indices.size, dtype=bool)), of(found.correct)


def write_images(
    analysis: Analysis,
    painter: Painter,
    maps: list[ClassMap],
    scores: ReferenceScores | None,
    cohort: Cohort,
    pathways: tuple[str, ...],
    literature: Mapping[str, str],
) -> None:
    """Write the images of every class; `literature` says for the sidecars what the reference is."""
    names = class_labels(cohort.classes)
    for each in maps:
        if not each.label and len(cohort.classes) > 2:
            continue  # with three classes and more there is no single contrast
        label = names[each.label] if each.label else None
        facts: dict[str, Any] = {
            "Class": each.label or DISCRIMINATIVE,
            "NumberOfParticipants": each.n_participants,
            "NumberOfRuns": each.n_runs,
            "Defined": each.defined,
            "Localisation": analysis.attribution.localisation,
        }
        text = f"CPA over {each.n_participants} participants, {each.n_runs} held-out runs"
        names_of = partial(_name, analysis, label)
        painter.paint(names_of("boldmap", "cpa"), each.score, "score", {"Description": text, **facts})
        top = {"Description": f"Top quarter of the regions: {text}", **facts}
        painter.paint(names_of("mask", "cpa", "top25"), each.top_quarter, "mask", top)
        dominant = {"Description": f"Dominant pathway: {text}", **facts}
        named = ["none stable", *pathways]
        painter.paint(names_of("dseg", "cpa", "dominantpathway"), each.dominant + 1, "labels", dominant, named)
        if scores is not None and each.label:
            row = cohort.classes.index(each.label)
            residual = {"Description": f"Residual reference score, z, from {literature['Reference']}", **literature}
            painter.paint(names_of("boldmap", "neurosynth"), scores.residual_reference[row], "score", residual)
            top = {"Description": f"Top quarter of the reference score, from {literature['Reference']}", **literature}
            painter.paint(names_of("mask", "neurosynth", "top25"), scores.top_quarter[row], "mask", top)


def _name(analysis: Analysis, label: str | None, suffix: str, stat: str, desc: str | None = None) -> Namer:
    """Name the images of a map; a surface has entities of its own."""

    def named(entities: Mapping[str, str | None], extension: str) -> Path:
        outputs = analysis.outputs
        own = {key: value for key, value in {**outputs.entities, **entities}.items() if value is not None}
        return replace(outputs, entities=own).named(suffix, extension, stat, label, desc)

    return named


def map_notes(maps: list[ClassMap], correct: list[ClassMap], classes: Sequence[str], of_model: str) -> list[str]:
    """Say what the maps of an analysis do not show; `correct` are those over runs that were classified rightly."""
    notes = [
        f"The map of {each.label or 'all classes'} is not defined: no pathway has a positive importance."
        for each in maps
        if not each.defined
    ]
    known = {each.label for each in correct}
    notes += [
        f"No held-out run of {each.label} was predicted to be {each.label}: its map shows what spoke for it in runs "
        "that the model took for something else, and importance_correct is n/a."
        for each in maps
        if each.label and each.label not in known
    ]
    if len(classes) == 2:
        notes.append(
            "With two classes there is one discriminative map; the maps of the classes are means over their own runs "
            "and are descriptive."
        )
    return [*notes, of_model] if of_model else notes
