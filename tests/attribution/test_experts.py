"""The importance of the experts of regions and their references add up to the decision."""

import numpy as np
import pytest
import torch
from helpers.experts_of_regions import REGIONS, small_model, white_series

from bids_neurossm.attribution.checks import completeness
from bids_neurossm.attribution.experts import expert_attribution
from bids_neurossm.evaluation.metrics import centred_logits

LENGTHS = torch.tensor([48, 40, 33])
TARGET = np.array([0, 1, 2])


@pytest.fixture(scope="module")
def model():
    model = small_model()
    with torch.no_grad():  # the reference that a training leaves
        model.pathway_mean.copy_(model.features(white_series(seed=2), torch.tensor([48, 48, 48])).mean(dim=0))
    return model


def test_reference_and_importances_are_the_decision(model):
    found = expert_attribution(model, white_series(), TARGET, LENGTHS)
    assert found.pathways == tuple(model.config.pathway_names)
    assert found.share.shape == (3, 4, REGIONS)
    with torch.no_grad():
        logits = model(white_series(), LENGTHS).double().numpy()
        mean = (model.bias + model.terms(model.pathway_mean[None]).sum(dim=1)).double().numpy()
    np.testing.assert_allclose(found.logit, centred_logits(logits, TARGET), atol=1e-5)
    np.testing.assert_allclose(found.reference, centred_logits(np.repeat(mean, 3, axis=0), TARGET), atol=1e-5)
    np.testing.assert_allclose(found.logit, found.reference + found.importance.sum(axis=1), atol=1e-5)
    assert completeness(found).passed


def test_padding_has_no_part_in_an_attribution(model):
    spoilt = white_series()
    spoilt[1, 40:], spoilt[2, 33:] = torch.nan, 1e3
    found, clean = (expert_attribution(model, series, TARGET, LENGTHS) for series in (spoilt, white_series()))
    np.testing.assert_array_equal(found.score, clean.score)
    np.testing.assert_array_equal(found.importance, clean.importance)


def test_a_region_without_signal_has_no_share(model):
    series = white_series()
    series[:, :, 3] = 0
    found = expert_attribution(model, series, TARGET, LENGTHS)
    assert not found.share[:, :, 3].any()
    np.testing.assert_allclose(found.share.sum(axis=2), 1, rtol=1e-6)


def test_integrated_scores_and_gap_are_the_term_less_that_of_silence(model):
    found = expert_attribution(model, white_series(), TARGET, LENGTHS, localisation="integrated", steps=3)
    finer = expert_attribution(model, white_series(), TARGET, LENGTHS, localisation="integrated", steps=24)
    np.testing.assert_allclose(found.score.sum(axis=2) + found.gap, finer.score.sum(axis=2) + finer.gap, atol=1e-5)
    assert np.abs(finer.gap).sum() < np.abs(found.gap).sum()
