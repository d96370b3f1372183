"""Cells by 0.1.0, which name no checkpoint: the checkpoint itself shows whether it is theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bids_neurossm.analysis.cells import Analysis, Cell
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import NeuroSSMError

#: Predictions of one model on one machine differ by less, relative and absolute.
_TOLERANCE = 1e-5


def why_not_its_model(analysis: Analysis, cohort: Cohort, cell: Cell, train: npt.NDArray[np.int64], seed: int) -> str:
    """Say why the checkpoint next to a cell cannot be taken for its model.

    Parameters
    ----------
    analysis : Analysis
        With the execution settings for the predictions.
    cohort : Cohort
        What the cell was made from.
    cell : Cell
        It names no files.
    train : ndarray of int64
        Rows that its model was trained on.
    seed : int
        Of its training.

    Returns
    -------
    str
        Empty where the checkpoint states these runs and this seed and repeats the held-out predictions of the cell.
    """
    # Imported here: they bring torch, which the linear baselines do without.
    from bids_neurossm.cohort.checkpoint_facts import training_hash
    from bids_neurossm.estimators.load import load_trained

    if not cell.indices.size:
        return "the result has no held-out predictions to compare the checkpoint with"
    path = analysis.checkpoint_file(cell.fold, cell.seed)
    try:
        estimator = load_trained(path, analysis.execution)
        assert estimator.facts is not None
        if (estimator.facts.training_hash, estimator.facts.seed) != (training_hash(cohort, train), seed):
            return f"{path.name} was trained on other runs or with another seed"
        scores = estimator.predict(cohort, cell.indices)
    except NeuroSSMError as error:
        return str(error).rstrip(".")
    if scores.shape != cell.scores.shape or not np.allclose(scores, cell.scores, _TOLERANCE, _TOLERANCE):
        return f"{path.name} does not repeat the predictions of the result"
    return ""


def with_its_files(analysis: Analysis, cell: Cell) -> Cell:
    """Return a cell that names the files of its model."""
    return replace(cell, files=analysis.checkpoint_hashes(cell.key))
