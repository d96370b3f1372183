"""The facts of an analysis in one file, and the card of the final model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.analysis.fusion_weights import checkpoints_of, joined_weights, weights_notes
from bids_neurossm.analysis.methods_text import methods_text
from bids_neurossm.analysis.model_card import model_card
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import RunError
from bids_neurossm.files.escaping import escaped
from bids_neurossm.files.portable import portable
from bids_neurossm.files.tables import read_output, read_table
from bids_neurossm.files.write import write_json, write_text, write_tsv
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.provenance import software_versions


class WriteSummaryInputSpec(RecordingInputSpec):
    """Everything that the other nodes had to say."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort")
    metrics = traits.Str(mandatory=True, desc="metrics.tsv")
    comparison = traits.Str(mandatory=True, desc="comparison.tsv")
    controls = traits.Str(mandatory=True, desc="controls.tsv")
    notes = traits.List(traits.Str, desc="known before the workflow ran")
    split_notes = traits.List(traits.Str)
    evaluation_notes = traits.List(traits.Str)
    reference_notes = traits.List(traits.Str)
    map_notes = traits.List(traits.Str)


class WriteSummaryOutputSpec(TraitedSpec):  # type: ignore[misc]
    """The summary."""

    summary = traits.Str(desc="summary.json")


class WriteSummary(RecordingInterface):
    """Write ``summary.json`` and ``card.md``; its end is the end of an analysis."""

    input_spec = WriteSummaryInputSpec
    output_spec = WriteSummaryOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        analysis: Analysis = self.inputs.analysis
        cohort = Cohort.open(self.inputs.cohort)
        metrics = read_output(Path(self.inputs.metrics), RunError)
        comparison = read_output(Path(self.inputs.comparison), RunError)
        controls = read_output(Path(self.inputs.controls), RunError)
        splits = read_table(analysis.outputs.table("splits"), RunError)
        notes: list[str] = []
        folds = int(pd.to_numeric(splits["fold"], errors="coerce").max())
        checkpoints = checkpoints_of(analysis, folds)
        for name in ("notes", "split_notes", "evaluation_notes", "reference_notes", "map_notes"):
            notes += map(portable, getattr(self.inputs, name) or [])
        if checkpoints:
            weights = joined_weights(checkpoints)
            write_tsv(analysis.outputs.table("joined"), weights)
            notes += weights_notes(weights)
        summary = {
            "analysis": analysis.outputs.analysis,
            "target": cohort.extra.get("target"),
            "target_type": cohort.target_type,
            "scored": analysis.level,
            "classes": cohort.classes,
            "class_counts": cohort.runs["label"].value_counts().to_dict() if cohort.classes else {},
            "model": analysis.model.name,
            "recipe": analysis.model.recipe,
            "atlas": cohort.extra.get("atlas"),
            "strategy": cohort.extra.get("denoise"),
            "space": cohort.extra.get("space"),
            "n_participants": int(cohort.runs["participant_id"].nunique()),
            "n_runs": len(cohort.runs),
            "n_regions": len(cohort.regions),
            "folds": folds,
            "repeats": analysis.evaluation.repeats,
            "leave_out": analysis.evaluation.leave_out,
            "seeds": analysis.evaluation.seeds,
            "holdout": int((splits["set"] == "holdout").sum()),
            "random_seed": analysis.execution.random_seed,
            "cohort_sha256": cohort.hash,
            "notes": notes,
            "versions": software_versions(),
        }
        summary["methods"] = methods_text(analysis, cohort, summary)
        write_text(analysis.outputs.models / "card.md", escaped(model_card(summary, metrics, comparison, controls)))
        path = analysis.outputs.folder / "summary.json"
        write_json(path, summary)
        self._results["summary"] = str(path)
