"""One cell of the grid: train a model in one fold with one seed, predict those it never saw, explain it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.analysis.cells import (
    ATTRIBUTION_FIELDS,
    FINAL,
    Analysis,
    Cell,
    CellKey,
    has_its_model,
    matching_cell,
)
from bids_neurossm.analysis.earlier_cells import why_not_its_model, with_its_files
from bids_neurossm.analysis.expert_maps import routing_arrays
from bids_neurossm.cohort.split_table import Splits, read_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.cohort.surrogates import TRAINED_ON, altered, nested_part
from bids_neurossm.estimators.protocol import Followed, checked_scores, create_estimator
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.training_progress import ProgressFile
from bids_neurossm.registry import blaming, model_entry


class TrainCellInputSpec(RecordingInputSpec):
    """Which cell."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort")
    splits = traits.Str(mandatory=True, desc="splits.tsv")
    key = traits.Instance(CellKey, mandatory=True, desc="its place in the grid")


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
        key: CellKey = self.inputs.key
        cohort = Cohort.open(self.inputs.cohort)
        splits = read_splits(Path(self.inputs.splits))
        made_from = (cohort.hash, splits.digest(key.split, final=key.fold == FINAL))
        digest = analysis.cell_hash(key, *made_from)
        path = analysis.cell_file(key)
        known = (digest, analysis.cell_hash_of_0_1_0(key, *made_from))
        found = None if analysis.execution.overwrite else matching_cell(analysis, key, known)
        if found is None or not self._is_finished(analysis, cohort, splits, found):
            if analysis.execution.overwrite:
                analysis.remove_states(key)
            with blaming(key.model, model_entry(key.model).package), ExitStack() as held:
                cell = self._cell(analysis, cohort, splits, digest, held)
            cell.save(path)
            analysis.remove_states(key)
        self._results["cell"] = str(path)

    def _is_finished(self, analysis: Analysis, cohort: Cohort, splits: Splits, cell: Cell) -> bool:
        """Whether a cell has its model; one by 0.1.0 gets the hashes of a checkpoint that proves to be its own."""
        if cell.files or has_its_model(analysis, cell):
            return has_its_model(analysis, cell)
        train, _ = _sides(analysis, cohort, splits.repeat(cell.key.split), cell.key)
        why_not = why_not_its_model(analysis, cohort, cell, train, _seed_of(analysis, cell.key))
        if why_not:
            text = f"the model is trained again: version 0.1.0 did not record its checkpoint, and {why_not}."
            ProgressFile(Path(self.inputs.records), self.inputs.unit).notice(text)
            return False
        with_its_files(analysis, cell).save(analysis.cell_file(cell.key))
        return True

    def _cell(self, analysis: Analysis, whole: Cohort, splits: Splits, digest: str, held: ExitStack) -> Cell:
        key: CellKey = self.inputs.key
        cohort = altered(whole, key.variant, analysis.level, analysis.execution.random_seed)
        train, test = _sides(analysis, cohort, splits.repeat(key.split), key)
        classes = max(len(cohort.classes), 1)
        if key.fold != FINAL and not test.size:
            # A left-out value can lose its runs after the cells were counted.
            return Cell(key, digest, np.empty(0, dtype=np.int64), np.empty((0, classes)), {})
        spec = analysis.spec_of(key.model)
        estimator: Any = create_estimator(key.model, spec, analysis.training, analysis.execution)
        progress = ProgressFile(Path(self.inputs.records), self.inputs.unit)
        if isinstance(estimator, Followed):
            # Imported here: it brings torch, which the linear baselines do without.
            from bids_neurossm.ops.engines import device_choice
            from bids_neurossm.training.device import own_gpu

            held.enter_context(own_gpu(analysis.execution.device, Path(self.inputs.records)))
            ProgressFile(Path(self.inputs.records), "device").notice(device_choice(analysis.execution.device))
            estimator.follow(progress.follow(), analysis.state_file(key))
        try:
            estimator.fit(cohort, train, _seed_of(analysis, key))
        finally:
            progress.end()
        scores = np.empty((0, classes))
        if test.size:
            scores = checked_scores(key.model, estimator.predict(cohort, test), len(test), classes)
        attribution: dict[str, npt.NDArray[Any]] = {}
        if analysis.keeps_model(key):
            # From here until the new cell is written, no cell vouches for the checkpoint.
            analysis.cell_file(key).unlink(missing_ok=True)
            estimator.save(analysis.checkpoint_file(key.fold, key.seed))
            if analysis.attribution.cpa and test.size and hasattr(estimator, "attribute"):
                # Held-out runs are explained for their true class, or in the direction of their true value.
                labels = cohort.labels(test)
                target = labels if cohort.classes else np.where(labels < cohort.labels(train).mean(), -1, 1)
                found = estimator.attribute(cohort, test, target, analysis.attribution.localisation)
                attribution = {name: np.asarray(getattr(found, name)) for name in ATTRIBUTION_FIELDS}
                attribution |= found.further_terms | routing_arrays(estimator, cohort, test)
                attribution["pathways"] = np.array(found.pathways, dtype=np.str_)
        groups = int(cohort.runs["group"].iloc[train].nunique())
        files = analysis.checkpoint_hashes(key)
        return Cell(key, digest, test, scores, attribution, groups, files)


def _sides(
    analysis: Analysis, cohort: Cohort, splits: Splits, key: CellKey
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows to train on and to test on; for a learning curve only a part of the former."""
    if key.fold == FINAL:
        train, test = splits.holdout_indices(cohort.runs)
    else:
        train, test = splits.fold_indices(cohort.runs, key.fold)
    if key.variant.startswith(TRAINED_ON):
        percent = int(key.variant.removeprefix(TRAINED_ON))
        own = int(np.random.SeedSequence([analysis.execution.random_seed, key.split, key.fold]).generate_state(1)[0])
        train = train[nested_part(cohort.runs.iloc[train], percent, cohort.target_type, own)]
    return train, test


def _seed_of(analysis: Analysis, key: CellKey) -> int:
    """Derive a seed of its own for every cell from the seed of the command; a variant has that of its original."""
    place = [analysis.execution.random_seed, key.fold, key.seed]
    sequence = np.random.SeedSequence(place if key.split == 1 else [*place, key.split])
    return int(sequence.generate_state(1)[0])
