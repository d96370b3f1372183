"""A checkpoint tells which model it holds; one that cannot be brought back or explained is refused."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.stored_checkpoint import FACTS, state_of_model

from bids_neurossm.baselines.dummy import Majority
from bids_neurossm.checkpoint_format import CheckpointMetadata, write_checkpoint
from bids_neurossm.config import Execution
from bids_neurossm.errors import CheckpointError
from bids_neurossm.estimators.load import load_estimator, load_trained
from bids_neurossm.estimators.neurossm import NeuroSSMEstimator
from bids_neurossm.training.checkpoint_tensors import save_checkpoint

MAJORITY = CheckpointMetadata({}, "dx", "class", ("a", "b"), ("A", "B"), family="majority")


def test_the_family_says_which_model_comes_back(checkpoint_file, tmp_path):
    network = load_estimator(checkpoint_file, Execution(device="cpu"))
    assert type(network) is NeuroSSMEstimator
    assert (network.name, network.training.window) == ("neurossm", 150)
    write_checkpoint(tmp_path / "x.safetensors", {"scores": np.array([-0.5, -1.0])}, MAJORITY)
    baseline = load_estimator(tmp_path / "x.safetensors")
    assert type(baseline) is Majority
    assert baseline.scores.tolist() == [-0.5, -1.0]


def test_the_weights_are_those_of_the_checkpoint(checkpoint_file):
    state = load_trained(checkpoint_file, Execution(device="cpu")).model.state_dict()
    for name, tensor in state_of_model().items():
        np.testing.assert_array_equal(state[name].numpy(), tensor.numpy())


def test_a_baseline_is_not_explained(tmp_path):
    write_checkpoint(tmp_path / "x.safetensors", {"scores": np.array([-0.5, -1.0])}, MAJORITY)
    with pytest.raises(CheckpointError, match=r"x\.safetensors holds a majority, whose decisions are not explained"):
        load_trained(tmp_path / "x.safetensors")


def test_a_family_that_is_not_installed_is_named(checkpoint_file):
    save_checkpoint(checkpoint_file, state_of_model(), replace(FACTS, family="transformer"))
    with pytest.raises(CheckpointError, match="of the family transformer: The model 'transformer' is not known"):
        load_estimator(checkpoint_file)
