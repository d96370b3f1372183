"""The encoder sees what is shown and nothing else, and its cost grows linearly with time."""

import numpy as np
import pytest
import torch

from bids_neurossm.errors import UsageError
from bids_neurossm.models.lmae import LMAE, LMAEConfig, run_embedding
from bids_neurossm.models.masks import Masking, homologues

REGIONS = 12


def _model(seed=0, **settings):
    torch.manual_seed(seed)
    model = LMAE(LMAEConfig(REGIONS, **{"width": 8, "nodes": 4, "state": 2, **settings})).eval()
    mixing = torch.randn(REGIONS, REGIONS)
    model.encoder.start_from(mixing @ mixing.T / REGIONS, 0.3)
    torch.nn.init.normal_(model.decoder.weight)
    return model


def _series(batch=2, length=48, seed=1):
    return torch.randn(batch, length, REGIONS, generator=torch.Generator().manual_seed(seed))


def _hidden(patches, seed=0):
    twins = homologues(np.eye(REGIONS), 1)
    draw = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([Masking(homologues=1).draw(patches.shape[2], twins, draw) for _ in patches]))


def test_patches_are_cut_from_the_series_and_a_partial_one_is_dropped():
    series = _series(length=50)
    patches, counts = _model().encoder.patches(series, torch.tensor([50, 31]))
    assert patches.shape == (2, REGIONS, 12, 4)
    assert counts.tolist() == [12, 7]
    torch.testing.assert_close(patches[0, 5, 3], series[0, 12:16, 5])
    assert not patches[1, :, 7:].any()


def test_in_seconds_runs_of_different_repetition_times_see_the_same_patches():
    encoder = _model(sample=2.0, scale_unit="seconds").encoder
    coarse = _series(batch=1, length=40)
    fine = coarse.repeat_interleave(2, dim=1)
    ours, n = encoder.patches(coarse, torch.tensor([40]), torch.tensor([2.0]))
    theirs, m = encoder.patches(fine, torch.tensor([80]), torch.tensor([1.0]))
    assert n.tolist() == m.tolist() == [10]
    torch.testing.assert_close(ours, theirs)
    with pytest.raises(UsageError, match="without a repetition time"):
        encoder.patches(coarse, torch.tensor([40]))
    with pytest.raises(UsageError, match="2 s is shorter than the longest repetition time, 3 s"):
        encoder.patches(coarse, torch.tensor([40]), torch.tensor([3.0]))


def test_hidden_values_reach_nothing():
    model = _model()
    patches, counts = model.encoder.patches(_series(), torch.tensor([48, 40]))
    hidden = _hidden(patches)
    other = torch.where(hidden[..., None], 100 * torch.randn_like(patches), patches)
    for mine, theirs in zip(
        model.encoder.expected(patches, hidden), model.encoder.expected(other, hidden), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    torch.testing.assert_close(model(patches, counts, hidden), model(other, counts, hidden), rtol=0, atol=0)
    assert not torch.allclose(model(patches, counts, ~hidden & (hidden.sum(1, keepdim=True) > 0)),
                              model(other, counts, ~hidden & (hidden.sum(1, keepdim=True) > 0)))  # fmt: skip


def test_what_is_shown_before_and_after_reaches_a_hidden_token():
    """Both ways: with a causal encoder interpolation would win."""
    model = _model()
    patches, counts = model.encoder.patches(_series(batch=1), torch.tensor([48]))
    hidden = torch.zeros(1, REGIONS, 12, dtype=torch.bool)
    hidden[0, 3, 5:7] = True
    before, after = patches.clone(), patches.clone()
    before[0, 3, 4] += 1
    after[0, 3, 7] += 1
    plain = model(patches, counts, hidden)[0, 3, 5:7]
    assert not torch.allclose(model(before, counts, hidden)[0, 3, 5:7], plain)
    assert not torch.allclose(model(after, counts, hidden)[0, 3, 5:7], plain)


def test_hidden_regions_are_expected_as_ridge_regression_on_the_visible_ones_has_it():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(REGIONS, REGIONS, generator=generator)
    covariance = (mixing @ mixing.T / REGIONS).double()
    encoder = _model().encoder
    encoder.start_from(covariance, 1.0)
    patches = torch.randn(1, REGIONS, 3, 4, generator=generator)
    hidden = torch.zeros(1, REGIONS, 3, dtype=torch.bool)
    hidden[0, :4] = True
    expected = encoder.expected(patches, hidden)[1][0, :4].flatten(1).double()
    inner = covariance[4:, 4:] + torch.eye(REGIONS - 4)
    exact = covariance[:4, 4:] @ torch.linalg.solve(inner, patches[0, 4:].flatten(1).double())
    assert float((expected - exact).norm() / exact.norm()) < 0.05


def test_padding_changes_nothing():
    model, series = _model(), _series()
    lengths = torch.tensor([48, 30])
    spoilt = series.clone()
    spoilt[1, 30:] = 1e3
    patches, counts = model.encoder.patches(spoilt, lengths)
    together = model.encoder(patches, counts)
    alone = model.encoder(*model.encoder.patches(series[1:, :30], lengths[1:]))
    torch.testing.assert_close(together[1, :, :7], alone[0], rtol=1e-4, atol=1e-5)
    assert not together[1, :, 7:].any()


def test_a_patch_with_all_regions_hidden_is_refused():
    model = _model()
    patches, counts = model.encoder.patches(_series(), torch.tensor([48, 40]))
    hidden = torch.zeros(2, REGIONS, 12, dtype=torch.bool)
    hidden[1, :, 11] = True  # behind the end of the second piece: nothing is asked there
    model(patches, counts, hidden)
    hidden[1, :, 3] = True
    with pytest.raises(UsageError, match="All regions of a patch are hidden"):
        model(patches, counts, hidden)


def test_dead_regions_are_not_reconstructed():
    model = _model()
    series = _series()
    series[:, :, 4] = 0
    patches, counts = model.encoder.patches(series, torch.tensor([48, 48]))
    hidden = torch.zeros(2, REGIONS, 12, dtype=torch.bool)
    hidden[:, 4] = True
    assert float(model.loss(patches, counts, hidden).detach()) == 0.0


def test_operations_grow_linearly_with_time():
    """Four times as many time points, four times as many floating-point operations."""
    from torch.utils.flop_counter import FlopCounterMode

    model, counted = _model(), []
    for length in (64, 256):
        patches, counts = model.encoder.patches(_series(1, length), torch.tensor([length]))
        with FlopCounterMode(display=False) as counter:
            model(patches, counts, torch.zeros(1, REGIONS, length // 4, dtype=torch.bool))
        counted.append(counter.get_total_flops())
    assert counted[1] == pytest.approx(4 * counted[0], rel=0.02)


def test_the_embedding_of_a_run_is_the_mean_over_its_pieces():
    tokens = torch.randn(2, REGIONS, 5, 8)
    tokens[1, :, 3:] = 0
    found = run_embedding(tokens, torch.tensor([5, 3]), torch.tensor([0, 0]))
    expected = torch.cat([tokens[0], tokens[1, :, :3]], dim=1).mean(dim=1)
    torch.testing.assert_close(found[0], expected)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sample": 1.5}, "whole time points"),
        ({"sample": 0, "scale_unit": "seconds"}, "positive number"),
        ({"scale_unit": "hours"}, "scale_unit"),
        ({"patch": 0}, "patch must be at least 1"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_impossible_shapes_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        LMAEConfig(REGIONS, **settings)
