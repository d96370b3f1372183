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

Segments = Sequence[tuple[int, int]]
Window = list[tuple[int, int]]

# A run must hold this many bins of the largest scale.
LEAST_BINS = 8


def valid_length(segments: Segments) -> int:
    """Return the number of time points in the segments."""
    return sum(stop - start for start, stop in segments)


def check_length(segments: Segments, largest_scale: int, run: str) -> None:
    """Refuse a run that is too short.

    Raises
    ------
    RunError
        If it has fewer than 8 bins of the largest scale, or no segment that holds two of them.
    """
    length, longest = valid_length(segments), max((stop - start for start, stop in segments), default=0)
    if length < LEAST_BINS * largest_scale:
        raise RunError(
            f"{run}: {length} time points are left; {LEAST_BINS} x the largest scale, "
            f"{LEAST_BINS * largest_scale}, are needed. Use smaller scales, or exclude the run."
        )
    if longest < 2 * largest_scale:
        raise RunError(
            f"{run}: the longest piece between censored volumes has {longest} time points; "
            f"2 x the largest scale, {2 * largest_scale}, are needed. Exclude the run."
        )


def training_window(segments: Segments, length: int | None, generator: torch.Generator) -> Window:
    """Draw a window of `length` valid time points, uniformly over every start, the last included.

    A run that is not longer, or `length` None, is taken whole.
    """
    total = valid_length(segments)
    if length is None or total <= length:
        return _cut(segments, 0, total)
    start = int(torch.randint(total - length + 1, (), generator=generator))
    return _cut(segments, start, start + length)


def evaluation_windows(segments: Segments, length: int | None) -> list[Window]:
    """Return the fewest windows of `length` valid time points that cover the run, evenly spread.

    Logits are averaged over them, so that the answer does not depend on how long the run is.
    """
    total = valid_length(segments)
    if length is None or total <= length:
        return [_cut(segments, 0, total)]
    starts = np.linspace(0, total - length, -(-total // length)).round().astype(int)
    return [_cut(segments, int(start), int(start) + length) for start in starts]


def _cut(segments: Segments, start: int, stop: int) -> Window:
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
    """

    series: Tensor
    lengths: Tensor
    owners: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        return Batch(self.series.to(device), self.lengths.to(device), self.owners.to(device))


def assemble(windows: Sequence[tuple[NDArray[np.float32], Window]]) -> Batch:
    """Lay windows, each the series (T_i, R) of its run and its pieces, into one batch."""
    rows = [(series[start:stop], owner) for owner, (series, window) in enumerate(windows) for start, stop in window]
    lengths = torch.tensor([len(piece) for piece, _ in rows])
    padded = np.zeros((len(rows), int(lengths.max()), rows[0][0].shape[1]), dtype=np.float32)
    for row, (piece, _) in zip(padded, rows, strict=True):
        row[: len(piece)] = piece
    return Batch(torch.from_numpy(padded), lengths, torch.tensor([owner for _, owner in rows]))
