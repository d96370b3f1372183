"""The decision of LMAE-RWMoE is a sum over its experts of regions."""

import pytest
import torch
from helpers.experts_of_regions import small_config, small_model, white_series

from bids_neurossm.errors import UsageError


def test_bias_and_the_terms_of_the_experts_add_up_to_the_logits():
    model, series, lengths = small_model(), white_series(), torch.tensor([48, 40, 33])
    features = model.features(series, lengths)
    assert features.shape == (3, 4, 8 + 64)
    torch.testing.assert_close(model.bias + model.terms(features).sum(dim=1), model(series, lengths))


def test_an_expert_that_no_region_asks_has_no_part_in_the_decision():
    model, series, lengths = small_model(), white_series(), torch.tensor([48, 48, 48])
    _, routed = model.routed(series, lengths)
    without = routed.of_regions.clone()
    without[:, :, 2] = 0
    features, _ = model.routed(series, lengths, held=routed._replace(of_regions=without))
    assert not features[:, 2].any()
    assert features[:, [0, 1, 3]].any(dim=2).all()


def test_padding_and_the_order_of_pieces_change_nothing():
    model, series = small_model(), white_series()
    lengths = torch.tensor([48, 29, 20])
    spoilt = series.clone()
    spoilt[1, 29:], spoilt[2, 20:] = 1e3, -1e3
    together = model(spoilt, lengths)
    for row, length in enumerate(lengths):
        alone = model(series[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-3, atol=1e-4)
    pieces = model(series[:2], torch.tensor([48, 48]), torch.tensor([0, 0]))
    torch.testing.assert_close(
        model(series[:2].flip(0), torch.tensor([48, 48]), torch.tensor([0, 0])), pieces, rtol=1e-3, atol=1e-4
    )


def test_a_frozen_encoder_gets_no_gradient_and_the_rest_does():
    model = small_model()
    model.freeze_encoder(True)
    loss = model(white_series(), torch.tensor([48, 48, 48])).square().mean() + model.auxiliary_loss()
    loss.backward()
    assert all(each.grad is None for each in model.encoder.parameters())
    assert model.region_router.choice.weight.grad.abs().sum() > 0
    assert model.head.grad.abs().sum() > 0
    model.freeze_encoder(False)
    model(white_series(), torch.tensor([48, 48, 48])).square().mean().backward()
    assert model.encoder.embedding.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"heads": 3}, "must divide model.width"),
        ({"edges": 0.0}, "model.edges"),
        ({"experts": 0}, "experts must be at least 1"),
        ({"walk_steps": 0}, "walk_steps must be at least 1"),
        ({"balance": -1.0}, "balance must be 0 or more"),
        ({"predictor_dropout": 1.0}, "predictor_dropout"),
    ],
)
def test_impossible_shapes_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        small_config(**settings)


def test_the_routers_have_no_losses_before_they_decided():
    with pytest.raises(UsageError, match="call the model first"):
        small_model().auxiliary_loss()
