"""A trained model of either family, told by its checkpoint."""

from __future__ import annotations

from pathlib import Path

from bids_neurossm.config import Execution
from bids_neurossm.errors import CheckpointError
from bids_neurossm.training.checkpoint import load_checkpoint
from bids_neurossm.training.first_family import NeuroSSMEstimator
from bids_neurossm.training.neural import NeuralEstimator
from bids_neurossm.training.second_family import SecondFamilyEstimator

_FAMILIES: dict[str, type[NeuralEstimator]] = {each.family: each for each in (NeuroSSMEstimator, SecondFamilyEstimator)}


def load_trained(path: Path, execution: Execution | None = None) -> NeuralEstimator:
    """Read a checkpoint of either family.

    Raises
    ------
    CheckpointError
        If it is damaged or foreign, or holds an encoder alone.
    """
    state, facts = load_checkpoint(path)
    if facts.family not in _FAMILIES:
        expected = " or ".join(_FAMILIES)
        raise CheckpointError(f"{path} holds a model of the family {facts.family}; {expected} is expected.")
    return _FAMILIES[facts.family].restored(state, facts, path, execution)
