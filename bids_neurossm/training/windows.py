"""Windows of a run in time, and batches of windows of unequal length.

A window is a list of pieces ``(start, stop)``: L valid time points of the run, cut where a censored gap lies between
them (docs/methods.md, sections 1.2 and 1.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.errors import RunError
from bids_neurossm.registry import LEAST_BINS

Segments = Sequence[tuple[int, int]]


def valid_length(segments: Segments) -> int:
    """Return the number of time points in the segments."""
    return sum(stop - start for start, stop in segments)


def check_patch(segments: Segments, patch: float, run: str, repetition_time: float | None = None) -> None:
    """Refuse a run that no patch fits into; its length is in time points, or in s where a repetition time is given.

    Raises
    ------
    RunError
        Naming the run, its longest piece and the length of a patch.
    """
    longest = max((stop - start for start, stop in segments), default=0) * (repetition_time or 1.0)
    if longest < patch * (1 - 1e-4):
        unit = "time points" if repetition_time is None else "s"
        raise RunError(
            f"{run}: a patch of {patch:g} {unit} is longer than the run's longest piece between censored volumes, "
            f"{longest:g} {unit}. Use a smaller model.patch, or exclude the run."
        )


def check_length(segments: Segments, largest_scale: float, run: str, repetition_time: float | None = None) -> None:
    """Refuse a run that is too short; the scale is in time points, or in seconds where a repetition time (s) is given.

    Raises
    ------
    RunError
        If it has fewer than 8 bins of the largest scale, or no segment that holds two of them.
    """
    length, longest = valid_length(segments), max((stop - start for start, stop in segments), default=0)
    size = largest_scale if repetition_time is None else largest_scale / repetition_time
    points = "time points" if repetition_time is None else f"time points of {repetition_time:g} s"
    unit = "" if repetition_time is None else " s"
    # A little less is enough: repetition times are rounded.
    if length < LEAST_BINS * size * (1 - 1e-4):
        raise RunError(
            f"{run}: {length} {points} are left; {LEAST_BINS} x the largest scale, "
            f"{LEAST_BINS * largest_scale:g}{unit}, are needed. Use smaller scales, or exclude the run."
        )
    if longest < 2 * size * (1 - 1e-4):
        raise RunError(
            f"{run}: the longest piece between censored volumes has {longest} {points}; "
            f"2 x the largest scale, {2 * largest_scale:g}{unit}, are needed. Exclude the run."
        )


def chosen_window(wanted: int | None, lengths: NDArray[np.float64]) -> int:
    """Return the smaller of the recipe's window and the median length of the training runs, in time points."""
    # A rounding error below a whole number must not cost a time point.
    median = int(np.median(lengths) + 1e-6)
    return median if wanted is None else min(wanted, median)


def training_window(segments: Segments, length: int | None, generator: torch.Generator) -> Segments:
    """Draw a window of `length` valid time points, uniformly over every start, the last included.

    A run that is not longer, or `length` None, is taken whole.
    """
    total = valid_length(segments)
    if length is None or total <= length:
        return _cut(segments, 0, total)
    start = int(torch.randint(total - length + 1, (), generator=generator))
    return _cut(segments, start, start + length)


def evaluation_windows(segments: Segments, length: int | None) -> list[Segments]:
    """Return the fewest windows of `length` valid time points that cover the run, evenly spread.

    Logits are averaged over them, so that the answer does not depend on how long the run is.
    """
    total = valid_length(segments)
    if length is None or total <= length:
        return [_cut(segments, 0, total)]
    starts = np.linspace(0, total - length, -(-total // length)).round().astype(int)
    return [_cut(segments, int(start), int(start) + length) for start in starts]


def _cut(segments: Segments, start: int, stop: int) -> Segments:
    """Take the valid time points start .. stop - 1, counted over the segments, as pieces of the run."""
    pieces, passed = [], 0
    for first, last in segments:
        low, high = max(start - passed, 0), min(stop - passed, last - first)
        if low < high:
            pieces.append((first + low, first + high))
        passed += last - first
    return pieces


@dataclass(frozen=True)
class Batch:
    """Pieces of several windows, padded with zeros at the end.

    Attributes
    ----------
    series : Tensor (B, T, R)
        One piece per row.
    lengths : Tensor (B,)
        Valid time points of each row.
    owners : Tensor (B,)
        Which window each row belongs to.
    repetition_times : Tensor (B,) or None
        Of each row, in s; None where the model does not ask for it.
    amplitude : Tensor (windows, R) or None
        log(sd / mean) of each region of the window's run; None where the model does not ask for it.
    """

    series: Tensor
    lengths: Tensor
    owners: Tensor
    repetition_times: Tensor | None = None
    amplitude: Tensor | None = None

    @property
    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """The arguments of `NeuroSSM.forward`, in its order."""
        return self.series, self.lengths, self.owners, self.repetition_times, self.amplitude

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        times, amplitude = (each if each is None else each.to(device) for each in self.arguments[3:])
        return Batch(self.series.to(device), self.lengths.to(device), self.owners.to(device), times, amplitude)


def assemble(
    windows: Sequence[tuple[NDArray[np.float32], Segments]],
    repetition_times: Sequence[float] | None = None,
    amplitude: NDArray[np.float32] | None = None,
) -> Batch:
    """Lay windows, each the series (T_i, R) of its run and its pieces, into one batch.

    `repetition_times` are those of the windows, in s, and `amplitude` (windows, R) the log(sd / mean) of the regions of
    their runs, where the model asks for them.
    """
    rows = [(series[start:stop], owner) for owner, (series, window) in enumerate(windows) for start, stop in window]
    lengths = torch.tensor([len(piece) for piece, _ in rows])
    padded = np.zeros((len(rows), int(lengths.max()), rows[0][0].shape[1]), dtype=np.float32)
    for row, (piece, _) in zip(padded, rows, strict=True):
        row[: len(piece)] = piece
    owners = torch.tensor([owner for _, owner in rows])
    times = None if repetition_times is None else torch.tensor(repetition_times, dtype=torch.float64)[owners]
    amplitudes = None if amplitude is None else torch.from_numpy(amplitude)
    return Batch(torch.from_numpy(padded), lengths, owners, times, amplitudes)
