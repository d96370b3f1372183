"""Scales in seconds: the same bins at every repetition time; the scales in time points where those are meant."""

import numpy as np
import pytest
import torch

from bids_neurossm.attribution import cpa
from bids_neurossm.attribution.checks import completeness
from bids_neurossm.errors import UsageError
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.models.scales import bins_of_seconds

SECONDS = {"scales": (2.0, 4.0, 8.0), "scale_unit": "seconds"}


def _model(**settings):
    torch.manual_seed(0)
    return NeuroSSM(NeuroSSMConfig(n_regions=6, n_outputs=3, width=8, state=4, **settings)).eval()


def _series(batch=3, length=40, seed=1):
    return torch.randn(batch, length, 6, generator=torch.Generator().manual_seed(seed))


def _averages(series, repetition_time, seconds):
    """Average a step function over bins, by exact integration on a grid of 10 ms."""
    fine = np.repeat(np.asarray(series, dtype=np.float64), round(repetition_time * 100), axis=0)
    size = round(seconds * 100)
    n_bins = len(fine) // size
    return fine[: n_bins * size].reshape(n_bins, size, -1).mean(axis=1)


def test_two_seconds_per_time_point_give_the_scales_in_time_points_exactly():
    points, seconds = _model(scales=(1, 2, 4)), _model(**SECONDS)
    seconds.load_state_dict(points.state_dict())
    series, lengths, times = _series(), torch.tensor([40, 37, 19]), torch.full((3,), 2.0)
    pairs = zip(points.pathway_inputs(series, lengths), seconds.pathway_inputs(series, lengths, times), strict=True)
    for (expected, valid), (ours, ours_valid) in pairs:
        assert torch.equal(ours, expected)
        assert torch.equal(ours_valid, valid)
    assert torch.equal(seconds(series, lengths, None, times), points(series, lengths))
    assert points.config.pathway_names[:3] == ("raw-1", "raw-2", "raw-4")
    assert seconds.config.pathway_names[3:] == ("difference-2s", "difference-4s", "difference-8s")


@pytest.mark.parametrize("seconds", [2.5, 4.0, 8.0])
def test_bins_are_weighted_by_time_for_every_repetition_time_of_a_batch(seconds):
    times, lengths = torch.tensor([0.72, 2.0, 2.5]), torch.tensor([100, 36, 29])
    series = _series(length=100)
    pooled, valid = bins_of_seconds(series, lengths, times.double(), seconds)
    for row, (time, length) in enumerate(zip((0.72, 2.0, 2.5), lengths.tolist(), strict=True)):
        expected = _averages(series[row, :length], time, seconds)
        assert int(valid[row]) == len(expected) == int(length * time / seconds + 1e-9)
        np.testing.assert_allclose(pooled[row, : len(expected)], expected, atol=1e-5)


def test_a_signal_sampled_at_two_repetition_times_gives_the_same_bins():
    # A slow wave of size 1: what is left of the sampling is small against it.
    def wave(time, length):
        return torch.sin(2 * np.pi * (torch.arange(length) + 0.5) * time / 60)[:, None].expand(-1, 6)

    series = torch.zeros(2, 300, 6)
    series[0, :120], series[1, :300] = wave(2.0, 120), wave(0.8, 300)
    model = _model(**SECONDS)
    for values, valid in model.pathway_inputs(series, torch.tensor([120, 300]), torch.tensor([2.0, 0.8])):
        assert int(valid[0]) == int(valid[1])
        torch.testing.assert_close(values[0, : valid[0]], values[1, : valid[0]], rtol=0, atol=0.01)


def test_differences_follow_the_pooling():
    config = _model(**SECONDS).config
    inputs = _model(**SECONDS).pathway_inputs(_series(), torch.tensor([40, 40, 31]), torch.tensor([0.8, 1.1, 2.0]))
    named = dict(zip(config.pathway_names, inputs, strict=True))
    for scale in ("2s", "4s", "8s"):
        raw, difference = named[f"raw-{scale}"], named[f"difference-{scale}"]
        assert torch.equal(difference[0], raw[0].diff(dim=1))
        assert torch.equal(difference[1], raw[1] - 1)


def test_neither_padding_nor_a_neighbouring_piece_is_seen():
    model, series = _model(**SECONDS), _series()
    lengths, times, runs = torch.tensor([40, 29, 17]), torch.tensor([0.8, 1.1, 2.0]), torch.tensor([0, 0, 1])
    spoilt = series.clone()
    spoilt[1, 29:], spoilt[2, 17:] = torch.nan, torch.nan
    for (clean, valid), (other, _) in zip(
        model.pathway_inputs(series, lengths, times), model.pathway_inputs(spoilt, lengths, times), strict=True
    ):
        for row in range(3):
            assert torch.equal(clean[row, : valid[row]], other[row, : valid[row]])
    together = model(series, lengths, runs, times)
    alone = model(series[2:, :17], lengths[2:], None, times[2:])
    torch.testing.assert_close(together[1], alone[0], rtol=1e-4, atol=1e-5)


def test_attributions_are_complete_over_pathways_named_in_seconds():
    model, times = _model(**SECONDS), torch.tensor([0.8, 1.1, 2.0])
    attribution = cpa(model, _series(), [0, 1, 2], repetition_times=times)
    assert completeness(attribution).passed
    assert attribution.pathways[:3] == ("raw-2s", "raw-4s", "raw-8s")
    assert attribution.score.shape == (3, 6, 6)
    assert (np.abs(attribution.score) > 0).all()


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (None, "without a repetition time"), ([2.0, np.nan, 2.0], "without a repetition time"),
        ([2.0, 0.0, 2.0], "without a repetition time"), ([0.8, 2.2, 2.0], r"2 s is shorter .* 2\.2 s"),
        ([2.0, 2.0], "3 pieces"),
    ],
)  # fmt: skip
def test_repetition_times_that_can_not_be_used_are_refused(times, words):
    given = None if times is None else torch.tensor(times)
    with pytest.raises(UsageError, match=words):
        _model(**SECONDS)(_series(), torch.full((3,), 40), None, given)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scales": (2.5,)}, "whole number of time points.*seconds"), ({"scale_unit": "minutes"}, "scale_unit"),
        ({"scales": (0.0,), "scale_unit": "seconds"}, "positive"), ({"scales": (2, 2.0)}, "whole number"),
        ({"scales": (2, 2.0), "scale_unit": "seconds"}, "once"), ({"scales": (True,)}, "positive"),
    ],
)  # fmt: skip
def test_scales_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        NeuroSSMConfig(n_regions=6, n_outputs=2, **settings)


def test_a_configuration_written_before_there_were_units_is_read_as_time_points():
    config = NeuroSSMConfig(n_regions=6, n_outputs=2, scales=(1, 2, 4))
    assert not config.in_seconds
    model = NeuroSSM(config).eval()
    series, lengths = _series(), torch.full((3,), 40)
    assert torch.equal(model(series, lengths), model(series, lengths, None, torch.full((3,), torch.nan)))
