"""NeuroSSM is a sum over pathways, and nothing but valid samples of one piece ever meets."""

import pytest
import torch

from bids_neurossm.errors import UsageError
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig


def _model(seed=0, **settings):
    torch.manual_seed(seed)
    return NeuroSSM(NeuroSSMConfig(n_regions=6, n_outputs=3, width=8, state=4, **settings)).eval()


def _series(batch=3, length=40, seed=1):
    return torch.randn(batch, length, 6, generator=torch.Generator().manual_seed(seed))


def _lengths(*lengths):
    return torch.tensor(lengths)


@pytest.mark.parametrize("fusion", ["additive", "gated"])
def test_bias_and_pathway_terms_add_up_to_the_logits(fusion):
    model, series, lengths = _model(fusion=fusion), _series(), _lengths(40, 40, 33)
    terms = model.pathway_terms(series, lengths)
    assert terms.shape == (3, 6, 3)
    torch.testing.assert_close(model.bias + terms.sum(1), model(series, lengths))


def test_removing_a_pathway_changes_the_logits_by_its_own_term():
    model, series, lengths = _model(), _series(), _lengths(40, 40, 40)
    before, terms = model(series, lengths), model.pathway_terms(series, lengths)
    with torch.no_grad():
        model.head[4] = 0
    torch.testing.assert_close(before - model(series, lengths), terms[:, 4])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(bidirectional):
    model, series = _model(bidirectional=bidirectional), _series()
    lengths = _lengths(40, 29, 17)
    spoilt = series.clone()
    spoilt[1, 29:], spoilt[2, 17:] = 1e3, -1e3
    together = model(spoilt, lengths)
    for row, length in enumerate(lengths):
        alone = model(series[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)


def test_pieces_of_a_run_are_pooled_and_a_gap_is_not_crossed():
    model, series = _model(), _series(batch=2, length=24)
    pieces = model(series, _lengths(24, 24), torch.tensor([0, 0]))
    swapped = model(series.flip(0), _lengths(24, 24), torch.tensor([0, 0]))
    torch.testing.assert_close(pieces, swapped, rtol=1e-4, atol=1e-5)
    joined = model(series.reshape(1, 48, 6), _lengths(48))
    assert not torch.allclose(pieces, joined, atol=1e-4)
    doubled = model(series[[0, 0]], _lengths(24, 24), torch.tensor([0, 0]))
    torch.testing.assert_close(doubled, model(series[:1], _lengths(24)), rtol=1e-4, atol=1e-5)


def test_inputs_are_pooled_first_and_differenced_then():
    model, series = _model(), _series(batch=1, length=11)
    inputs = dict(zip(model.config.pathway_names, model.pathway_inputs(series, _lengths(11)), strict=True))
    assert list(inputs) == ["raw-1", "raw-2", "raw-4", "difference-1", "difference-2", "difference-4"]
    bins = torch.stack([series[:, 0:4].mean(1), series[:, 4:8].mean(1)], dim=1)
    torch.testing.assert_close(inputs["raw-4"][0], bins)
    torch.testing.assert_close(inputs["difference-4"][0], bins[:, 1:] - bins[:, :1])
    assert [int(length) for _, length in inputs.values()] == [11, 5, 2, 10, 4, 1]


def test_inputs_are_divided_by_the_constants_of_the_training_set():
    model, series = _model(), _series()
    before = model.pathway_inputs(series, _lengths(40, 40, 40))
    model.input_scale.copy_(torch.arange(1.0, 7.0))
    after = model.pathway_inputs(series, _lengths(40, 40, 40))
    for number, ((old, _), (new, _)) in enumerate(zip(before, after, strict=True)):
        torch.testing.assert_close(new * (number + 1), old)


def test_a_piece_too_short_for_a_pathway_adds_nothing_to_it():
    model, series = _model(), _series(batch=2, length=40)
    runs = torch.tensor([0, 0])
    one = model.encode(model.pathway_inputs(series[:1], _lengths(40)), runs[:1])
    both = model.encode(model.pathway_inputs(series, _lengths(40, 3)), runs)
    torch.testing.assert_close(both[:, [2, 5]], one[:, [2, 5]])
    assert not torch.allclose(both[:, 0], one[:, 0])


def test_dropout_works_in_training_only_and_drops_whole_regions():
    model, series, lengths = _model(dropout=0.0, region_dropout=0.5), _series(), _lengths(40, 40, 40)
    assert torch.equal(model(series, lengths), model(series, lengths))
    model.train()
    assert not torch.equal(model(series, lengths), model(series, lengths))
    kept = model._kept_regions(200, series)
    assert set(kept.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"scales": (1.5,)}, "seconds"), ({"scales": ()}, "scales"), ({"streams": ("raw", "raw")}, "streams"),
        ({"dropout": 1.0}, "dropout"), ({"fusion": "mean"}, "fusion"), ({"width": 0}, "width"),
        ({"amplitude": True}, "amplitude"),
    ],
)  # fmt: skip
def test_impossible_shapes_are_refused(settings, word):
    with pytest.raises(UsageError, match=word):
        NeuroSSMConfig(**{"n_regions": 6, "n_outputs": 2, **settings})
