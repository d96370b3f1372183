"""From the attributions of held-out runs to class maps, their checks, and their scores against the literature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.attribution.maps import ClassMap, class_maps
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.dataset.names import class_labels
from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.files.archives import read_archive
from bids_neurossm.files.tables import read_output
from bids_neurossm.files.write import write_json, write_tsv
from bids_neurossm.interfaces.analysis import Analysis, Cell
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.experts import matched_cells, write_experts
from bids_neurossm.interfaces.held_out import HeldOut, held_out_attributions
from bids_neurossm.interfaces.map_checks import check_maps, permutation_p
from bids_neurossm.interfaces.map_tables import DISCRIMINATIVE, REGION_COLUMNS, pathway_table, region_table
from bids_neurossm.interfaces.painting import Namer, Painter
from bids_neurossm.reference.regions import region_geometry
from bids_neurossm.reference.scoring import ReferenceScores, score_maps
from bids_neurossm.registry import model_entry


class WriteMapsInputSpec(RecordingInputSpec):
    """Attributions and what is needed to draw and score them."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort")
    cells = traits.List(traits.Str, mandatory=True, desc="npz of the cells of the model")
    parcellation = traits.Instance(Parcellation, desc="atlas in the space of the runs; none, no images")
    controls = traits.Str("", usedefault=True, desc="controls.tsv, for the verdict on the maps")
    reference = traits.Str("", usedefault=True, desc="npz of ComputeReference, empty where there is none")
    reference_parcellation = traits.Instance(Parcellation, desc="the atlas in the space of the reference")


class WriteMapsOutputSpec(TraitedSpec):  # type: ignore[misc]
    """What was written, in words."""

    notes = traits.List(traits.Str)


class WriteMaps(RecordingInterface):
    """Write images, region table, pathway table, checks and the reference table of an analysis."""

    input_spec = WriteMapsInputSpec
    output_spec = WriteMapsOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        analysis: Analysis = self.inputs.analysis
        cohort = Cohort.open(self.inputs.cohort)
        cells = matched_cells([Cell.load(Path(path)) for path in self.inputs.cells])
        found = held_out_attributions(cells)
        if found is None:
            self._results["notes"] = [f"The model {analysis.model.name} has no attributions, so there are no maps."]
            return
        everything, correct = _maps(found, cohort, analysis)
        scores, notes = self._reference_scores(everything, cohort)
        painter = Painter(self.inputs.parcellation, surfaces=True) if self.inputs.parcellation else None
        if painter is not None:
            _write_images(analysis, painter, everything, scores, cohort, found.pathways, self._literature())
            notes += painter.notes
        labels = self.inputs.parcellation.labels if self.inputs.parcellation else range(1, len(cohort.regions) + 1)
        notes += write_experts(analysis, cells, cohort, list(labels), painter)
        regions = region_table(everything, correct, scores, cohort, list(labels), found.pathways)
        write_tsv(analysis.outputs.named("regions", ".tsv", "cpa"), regions)
        write_json(analysis.outputs.named("regions", ".json", "cpa"), REGION_COLUMNS)
        pathways = pathway_table(everything, found, cohort, analysis.execution.random_seed)
        write_tsv(analysis.outputs.named("pathways", ".tsv", "cpa"), pathways)
        notes += map_notes(everything, correct, cohort.classes, model_entry(analysis.model.name).map_note)
        self._results["notes"] = notes + self._checked(cells, cohort, found, everything)

    def _checked(self, cells: list[Cell], cohort: Cohort, found: HeldOut, maps: list[ClassMap]) -> list[str]:
        """Check the maps that are shown, and say what came out."""
        analysis: Analysis = self.inputs.analysis
        p = float("nan")
        if self.inputs.controls:
            p = permutation_p(read_output(Path(self.inputs.controls), RunError))
        shown = [each for each in maps if each.label or len(cohort.classes) <= 2]
        checks, deletion = check_maps(analysis, cohort, cells, found, shown, p)
        write_tsv(analysis.outputs.table("cpa_checks"), checks)
        write_tsv(analysis.outputs.table("cpa_deletion"), deletion)
        verdicts = checks[checks["check"].str.startswith("verdict")]
        return [f"Map of {row.label}: {row.verdict}." for row in verdicts.itertuples()]

    def _literature(self) -> dict[str, str]:
        """Say which studies and terms are behind the images that are called ``neurosynth``."""
        if not self.inputs.reference:
            return {}
        stored = read_archive(Path(self.inputs.reference))
        return {"Reference": str(stored["source"]), "ReferenceTerms": str(stored["table"])}

    def _reference_scores(self, maps: list[ClassMap], cohort: Cohort) -> tuple[ReferenceScores | None, list[str]]:
        """Score the class maps against the literature, where there is a reference."""
        analysis: Analysis = self.inputs.analysis
        if not self.inputs.reference:
            return None, []
        stored = read_archive(Path(self.inputs.reference))
        references, n_studies = stored["maps"], stored["n_studies"]
        atlas: Parcellation = self.inputs.reference_parcellation
        image, affine, _ = atlas.image()
        sizes, centroids = region_geometry(image, affine, atlas.labels)
        by_label = {each.label: each.score for each in maps}
        nothing = np.full(len(cohort.regions), np.nan)
        try:
            scores = score_maps(
                np.array([by_label.get(name, nothing) for name in cohort.classes]),
                references,
                sizes.astype(np.float64),
                centroids,
                cohort.classes,
                analysis.reference.surrogates,
                analysis.execution.random_seed,
            )
        except UsageError as error:
            return None, [f"The maps were not scored against the literature: {error}"]
        table = scores.table.copy()
        count = dict(zip(cohort.classes, n_studies.tolist(), strict=True))
        # A contrast rests on the studies of both classes.
        table["n_studies"] = [count.get(str(name), int(n_studies.sum())) for name in table["column_class"]]
        write_tsv(analysis.outputs.table("reference"), table)
        return scores, list(scores.notes)


def _maps(found: HeldOut, cohort: Cohort, analysis: Analysis) -> tuple[list[ClassMap], list[ClassMap]]:
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


def _write_images(
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
