"""From the attributions of held-out runs to class maps, their checks, and their scores against the literature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.analysis.cells import Analysis, Cell
from bids_neurossm.analysis.class_map_files import map_notes, maps_of, write_images
from bids_neurossm.analysis.expert_maps import matched_cells, write_experts
from bids_neurossm.analysis.held_out import HeldOut, held_out_attributions
from bids_neurossm.analysis.map_checks import check_maps, permutation_p
from bids_neurossm.analysis.map_images import Painter
from bids_neurossm.analysis.map_tables import REGION_COLUMNS, pathway_table, region_table
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.attribution.maps import ClassMap
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.files.numpy_files import read_archive
from bids_neurossm.files.tables import read_output
from bids_neurossm.files.write import write_json, write_tsv
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
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
        everything, correct = maps_of(found, cohort, analysis)
        scores, notes = self._reference_scores(everything, cohort)
        painter = Painter(self.inputs.parcellation, surfaces=True) if self.inputs.parcellation else None
        if painter is not None:
            write_images(analysis, painter, everything, scores, cohort, found.pathways, self._literature())
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
