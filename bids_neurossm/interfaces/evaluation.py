"""From the cells' predictions to the tables that say how good the model is, against what, and whether to believe it."""

from __future__ import annotations

from pathlib import Path

from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.analysis.cells import Analysis, Cell
from bids_neurossm.analysis.evaluation_tables import EvaluationTables
from bids_neurossm.cohort.split_table import read_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface


class EvaluateInputSpec(RecordingInputSpec):
    """The cells of all models."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort")
    splits = traits.Str(mandatory=True, desc="splits.tsv")
    cells = traits.List(traits.Str, mandatory=True, desc="npz of each cell")


class EvaluateOutputSpec(TraitedSpec):  # type: ignore[misc]
    """The tables."""

    metrics = traits.Str(desc="metrics.tsv")
    comparison = traits.Str(desc="comparison.tsv")
    controls = traits.Str(desc="controls.tsv")
    notes = traits.List(traits.Str, desc="what the report should say about them")


class Evaluate(RecordingInterface):
    """Write predictions, metrics, comparison, controls, and what was asked for besides."""

    input_spec = EvaluateInputSpec
    output_spec = EvaluateOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        analysis: Analysis = self.inputs.analysis
        cohort = Cohort.open(self.inputs.cohort)
        splits = read_splits(Path(self.inputs.splits))
        cells = [Cell.load(Path(path)) for path in self.inputs.cells]
        judge = EvaluationTables(analysis, cohort, splits, cells)
        self._results["notes"] = judge.write_tables()
        for name in ("metrics", "comparison", "controls"):
            self._results[name] = str(analysis.outputs.table(name))
