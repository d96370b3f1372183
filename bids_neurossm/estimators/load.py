"""A trained model of any family, told by its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from bids_neurossm.checkpoint_format import read_checkpoint
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.estimators.protocol import Estimator, create_estimator
from bids_neurossm.registry import STATIC

if TYPE_CHECKING:
    from bids_neurossm.estimators.neural import NeuralEstimator


def load_estimator(path: Path, execution: Execution | None = None) -> Estimator:
    """Read a checkpoint of a model or a baseline; the package of the model that it names is imported.

    Parameters
    ----------
    path : Path
        Ends in ``.safetensors``.
    execution : Execution, optional
        Device and precision.

    Raises
    ------
    CheckpointError
        If it is damaged or foreign, its package is not installed, or its model cannot be brought back.
    """
    arrays, facts = read_checkpoint(path)
    name = facts.family + STATIC if facts.static else facts.family
    spec = ModelSpec(name, str(path), dict(facts.model))
    try:
        estimator = create_estimator(name, spec, Training(window=facts.window), execution or Execution())
    except (UsageError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds a model of the family {facts.family}: {error}") from error
    restore = getattr(estimator, "restore", None)
    if restore is None:
        raise CheckpointError(f"{path} holds a model of the family {facts.family}, which cannot be brought back.")
    restore(arrays, facts, path)
    return estimator


def load_trained(path: Path, execution: Execution | None = None) -> NeuralEstimator:
    """Read a checkpoint of a model whose decisions are explained; see `load_estimator`.

    Raises
    ------
    CheckpointError
        As there, and if the model has no pathways.
    """
    estimator = load_estimator(path, execution)
    if not hasattr(estimator, "attribute"):
        raise CheckpointError(f"{path} holds a {estimator.name}, whose decisions are not explained.")
    return cast("NeuralEstimator", estimator)
