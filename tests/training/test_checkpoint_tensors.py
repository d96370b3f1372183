"""A checkpoint comes back as it was, and one that is damaged or does not fit is refused with the reason."""

from dataclasses import replace

import pytest
import torch
from helpers.stored_checkpoint import FACTS, state_of_model

from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError
from bids_neurossm.estimators.neurossm import NeuroSSMEstimator
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.checkpoint_tensors import load_checkpoint, restored_module


def _restored(facts, checkpoint_file):
    estimator = NeuroSSMEstimator("neurossm", ModelSpec(), Training(), Execution(device="cpu"))
    estimator.restore({name: tensor.numpy() for name, tensor in state_of_model().items()}, facts, checkpoint_file)
    return estimator


def test_tensors_and_facts_come_back(checkpoint_file):
    assert checkpoint_file.name == "fold-1_seed-2.safetensors"
    state, facts = load_checkpoint(checkpoint_file)
    assert facts == replace(FACTS, model={**FACTS.model})
    assert all(torch.equal(state[name], tensor) for name, tensor in state_of_model().items())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"kernels": 3}, "unknown setting 'kernels'"),
        ({**FACTS.model, "width": 0}, "model.width"),
        ({"width": 8}, "missing"),
    ],
)
def test_a_model_of_another_version_is_refused(checkpoint_file, model, words):
    with pytest.raises(CheckpointError, match=rf"holds a model that this version does not know.*{words}"):
        _restored(replace(FACTS, model=model), checkpoint_file)
    assert _restored(FACTS, checkpoint_file).model.config.scales == (1, 2)


def test_tensors_of_another_architecture_are_refused(checkpoint_file):
    other = NeuroSSMConfig(n_regions=3, n_outputs=2, width=16, scales=(1, 2))
    with pytest.raises(CheckpointError, match="own architecture"):
        restored_module(lambda: NeuroSSM(other), load_checkpoint(checkpoint_file)[0], checkpoint_file)


def test_shapes_are_compared_before_memory_is_set_aside(checkpoint_file):
    """A model of this width would take 300 GB."""
    facts = replace(FACTS, model={**FACTS.model, "width": 200_000})
    with pytest.raises(CheckpointError, match="does not fit its own architecture"):
        _restored(facts, checkpoint_file)
