"""One cell of the grid: train a model in one fold with one seed, predict those it never saw, explain it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.config import ModelSpec
from bids_neurossm.interfaces.analysis import FINAL, Analysis, Cell, finished_cell
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.cohort import splits_hash
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.estimator import create_estimator
from bids_neurossm.training.splits import read_splits

#: Fields of a `PathwayAttribution` that are kept with a cell.
ATTRIBUTION_FIELDS = ("target", "logit", "reference", "importance", "importance_zero", "score", "share", "gap")


class TrainCellInputSpec(RecordingInputSpec):
    """Which cell."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort")
    splits = traits.Str(mandatory=True, desc="splits.tsv")
    model = traits.Str(mandatory=True, desc="registered name")
    fold = traits.Int(mandatory=True, desc="1 to K; 0 trains the final model")
    seed = traits.Int(mandatory=True, desc="1 to the number of seeds")


class TrainCellOutputSpec(TraitedSpec):  # type: ignore[misc]
    """Its results."""

    cell = traits.Str(desc="npz of the cell")


class TrainCell(RecordingInterface):
    """Train, predict, explain; a cell that is there and fits is left as it is."""

    input_spec = TrainCellInputSpec
    output_spec = TrainCellOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        analysis: Analysis = self.inputs.analysis
        model, fold, seed = self.inputs.model, self.inputs.fold, self.inputs.seed
        cohort = Cohort.open(self.inputs.cohort)
        digest = analysis.cell_hash(model, fold, seed, cohort.hash, splits_hash(self.inputs.splits))
        path = analysis.cell_file(model, fold, seed)
        own = model == analysis.model.name
        complete = not own or analysis.checkpoint_file(fold, seed).is_file()
        if analysis.execution.overwrite or not complete or finished_cell(path, digest) is None:
            self._train(analysis, cohort, digest).save(path)
        self._results["cell"] = str(path)

    def _train(self, analysis: Analysis, cohort: Cohort, digest: str) -> Cell:
        model, fold, seed = self.inputs.model, self.inputs.fold, self.inputs.seed
        splits = read_splits(Path(self.inputs.splits))
        if fold == FINAL:
            train, test = splits.holdout_indices(cohort.runs)
        else:
            train, test = splits.fold_indices(cohort.runs, fold)
        own = model == analysis.model.name
        spec = analysis.model if own else ModelSpec(model, settings={"covariates": list(analysis.covariates)})
        estimator: Any = create_estimator(model, spec, analysis.training, analysis.execution)
        estimator.fit(cohort, train, _seed_of(analysis, fold, seed))
        classes = max(len(cohort.classes), 1)
        scores = estimator.predict(cohort, test) if test.size else np.empty((0, classes))
        attribution: dict[str, npt.NDArray[Any]] = {}
        if own:
            estimator.save(analysis.checkpoint_file(fold, seed))
            if analysis.attribution.cpa and test.size and hasattr(estimator, "attribute"):
                # Held-out runs are explained for their true class.
                target = cohort.labels(test) if cohort.classes else np.zeros(test.size, dtype=np.int64)
                found = estimator.attribute(cohort, test, target, analysis.attribution.localisation)
                attribution = {name: np.asarray(getattr(found, name)) for name in ATTRIBUTION_FIELDS}
                attribution["pathways"] = np.array(found.pathways, dtype=np.str_)
        return Cell(model, fold, seed, digest, test, np.asarray(scores, dtype=np.float64), attribution)


def _seed_of(analysis: Analysis, fold: int, seed: int) -> int:
    """Derive a seed of its own for every cell from the seed of the command."""
    sequence = np.random.SeedSequence([analysis.execution.random_seed, fold, seed])
    return int(sequence.generate_state(1)[0])
