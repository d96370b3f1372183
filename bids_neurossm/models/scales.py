"""Temporal scales: means over bins of whole time points, or of seconds (docs/methods.md, 1.4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from einops import reduce
from torch import Tensor
from torch.nn import functional

from bids_neurossm.errors import UsageError

if TYPE_CHECKING:
    from bids_neurossm.models.pathway_model import InputConfig

# Time points that differ by less are the same: repetition times are rounded, some of them to float32.
_CLOSE = 1e-4


def valid_points(series: Tensor, lengths: Tensor) -> Tensor:
    """Tell which time points of pieces (B, T, R) are no padding, (B, T, 1)."""
    return (torch.arange(series.shape[1], device=series.device) < lengths[:, None])[:, :, None]


def bins_of_time_points(series: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return means (B, K, R) of `size` neighbouring time points of (B, T, R), and how many are whole (B,)."""
    # At least two bins, so that no pathway is empty; what is added is not valid.
    series = functional.pad(series, (0, 0, 0, max(2 * size - series.shape[1], 0)))
    n_bins = series.shape[1] // size
    return reduce(series[:, : n_bins * size], "b (k size) r -> b k r", "mean", size=size), lengths // size


def bins_of_seconds(series: Tensor, lengths: Tensor, repetition_times: Tensor, seconds: float) -> tuple[Tensor, Tensor]:
    """Return means (B, K, R) over bins of `seconds`, and how many are whole (B,).

    Each time point stands for the whole of its repetition time; one that lies in two bins is shared between them by
    the time that it spends in each (docs/methods.md, 1.4). The bins of a piece begin with it.
    """
    # Time points per bin, and their whole numbers, which rounding must not miss: 8 s / 0.8 s is 10.
    ratio = _whole_if_close(seconds / repetition_times)
    size = int(ratio[0])
    if bool((ratio == size).all()):
        return bins_of_time_points(series, lengths, size)
    valid = _whole_if_close(lengths / ratio).floor().to(lengths.dtype)
    number = torch.arange(max(int(valid.max()), 2), device=series.device)
    begin, end = _whole_if_close(number * ratio[:, None]), _whole_if_close((number + 1) * ratio[:, None])
    pooled = series.new_zeros(len(series), len(number), series.shape[2])
    for step in range(math.ceil(float(ratio.max())) + 1):
        place = begin.floor() + step
        weight = (torch.minimum(end, place + 1) - torch.maximum(begin, place)).clamp_min(0) / (end - begin)
        # Places after the end have no weight in a valid bin; they are moved to a valid one, since padding may be NaN.
        place = place.long().minimum((lengths[:, None] - 1).clamp_min(0))
        taken = series.gather(1, place[:, :, None].expand(-1, -1, series.shape[2]))
        pooled = pooled + weight[:, :, None].to(series.dtype) * taken
    return pooled, valid


def usable_repetition_times(config: InputConfig, repetition_times: Tensor | None, n_pieces: int) -> Tensor:
    """Return the repetition times (B,) in double precision, once it is known that the scales can be laid over them.

    Raises
    ------
    UsageError
        If one is missing, or longer than the smallest scale.
    """
    if repetition_times is None or not bool((repetition_times > 0).all() & repetition_times.isfinite().all()):
        raise UsageError(
            "Series without a repetition time can not use scales in seconds: give the repetition time, or scales in "
            "time points (model.scale_unit = 'time points')."
        )
    if repetition_times.shape != (n_pieces,):
        raise UsageError(f"There are {n_pieces} pieces and repetition times of shape {tuple(repetition_times.shape)}.")
    longest, smallest = float(repetition_times.max()), min(config.scales)
    if smallest < longest * (1 - _CLOSE):
        raise UsageError(
            f"model.scales: {smallest:g} s is shorter than the longest repetition time, {longest:g} s; every scale in "
            "seconds must be at least as long."
        )
    return repetition_times.double()


def _whole_if_close(values: Tensor) -> Tensor:
    """Round what is a whole number but for rounding errors of a repetition time."""
    whole = values.round()
    return torch.where((values - whole).abs() < _CLOSE, whole, values)
