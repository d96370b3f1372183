"""What every network inherits: its decision is the bias plus a term per pathway."""

import pytest
import torch
from helpers.linear_pathways import GAIN, LinearConfig, LinearPathways

from bids_neurossm.errors import CheckpointError
from bids_neurossm.models.pathway_model import PathwayConfig, PathwayModel

SERIES = torch.tensor([[[2.0, 0.0, 1.0], [4.0, 2.0, 3.0]]])
LENGTHS = torch.tensor([2])


def test_logits_are_the_bias_plus_the_terms_of_the_pathways():
    model = LinearPathways()
    features = model.features(SERIES, LENGTHS)
    assert features.tolist() == [[[3.0, 2.0, 0.0], [0.0, 0.0, 6.0]]]  # means (3, 1, 2) times the gains
    assert model.terms(features).tolist() == [[[5.0, 0.0], [0.0, 6.0]]]
    assert model(SERIES, LENGTHS).tolist() == [[5.5, 6.0]]


def test_scaled_outputs_change_every_term_alike():
    model = LinearPathways()
    model.scale_outputs(0.5)
    assert model(SERIES, LENGTHS).tolist() == [[2.75, 3.0]]
    assert model.terms(model.features(SERIES, LENGTHS)).tolist() == [[[2.5, 0.0], [0.0, 3.0]]]
    assert model.head.requires_grad


def test_a_network_that_says_nothing_else_needs_nothing_else():
    model, config = LinearPathways(), LinearConfig()
    assert model.auxiliary_loss().item() == 0.0
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.fit_inputs([(SERIES, LENGTHS, None)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert config.term_names == config.pathway_names == ("first", "second")
    assert (config.scales, config.in_seconds, config.patch_length, config.amplitude) == ((1,), False, None, False)
    assert GAIN.shape == (2, 3)


def test_features_and_names_of_pathways_have_to_be_given():
    with pytest.raises(NotImplementedError):
        PathwayModel().features(SERIES, LENGTHS)
    with pytest.raises(NotImplementedError):
        _ = PathwayConfig().pathway_names


def test_features_of_another_shape_are_refused():
    model = LinearPathways()
    with pytest.raises(CheckpointError, match=r"features returns the shape \(4, 1, 3\); \(4, 2, 3\), runs x pathways"):
        model.terms(torch.zeros(4, 1, 3))
