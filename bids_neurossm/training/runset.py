"""Runs as a model takes them, what it has to be told of each, and what is to be learnt from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.models.neurossm import log_variation
from bids_neurossm.models.trainable import InputConfig
from bids_neurossm.training.windows import (
    Batch,
    Sampling,
    Segments,
    Window,
    assemble,
    check_length,
    check_patch,
    chosen_window,
)

# One run: standardised series (T, R) float32, and its contiguous segments.
Run = tuple[NDArray[np.float32], Segments]
Targets = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True)
class RunSet:
    """Some runs, and what a model has to be told of each besides its series.

    Attributes
    ----------
    runs : sequence of (series (T_i, R), segments)
        Standardised series; they may be read from disk when they are asked for.
    names : sequence of str
        What the runs are called in messages.
    sampling : Sampling or None
        Repetition times, for a model whose scales are in seconds.
    amplitude : array (n, R) float32 or None
        log(sd / mean) of each region, for a model with the amplitude term; see `run_amplitude`.
    """

    runs: Sequence[Run]
    names: Sequence[str]
    sampling: Sampling | None = None
    amplitude: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def series(self, number: int) -> NDArray[np.float32]:
        """Return the series (T, R) of a run.

        Raises
        ------
        RunError
            If it is not finite, or holds no signal at all; the run is named.
        """
        series = self.runs[number][0]
        if not np.isfinite(series).all():
            raise RunError(f"{self.names[number]}: the standardised series is not finite.")
        if not series.any():
            raise RunError(f"{self.names[number]}: no region has a finite signal that varies. Exclude the run.")
        return series

    def segments(self, number: int) -> Segments:
        """Return the contiguous pieces of a run, which need not be read for it."""
        known = getattr(self.runs, "segments", None)
        segments: Segments = self.runs[number][1] if known is None else known(number)
        return segments

    def points(self, number: int, window: int | None) -> int | None:
        """Return the time points of a run that last as long as `window` of them at the sampling's reference."""
        return window if self.sampling is None else self.sampling.window(number, window)

    def batch(self, drawn: Sequence[tuple[int, NDArray[np.float32], Window]]) -> Batch:
        """Lay windows, each the number of its run, the run's series and its pieces, into one batch."""
        times = None
        if self.sampling is not None:
            times = [float(self.sampling.repetition_times[number]) for number, _, _ in drawn]
        amplitude = None if self.amplitude is None else self.amplitude[[number for number, _, _ in drawn]]
        return assemble([(series, window) for _, series, window in drawn], times, amplitude)

    def some(self, indices: NDArray[np.int64]) -> RunSet:
        """Return some of the runs, in the order of `indices`."""
        sampling = self.sampling
        if sampling is not None:
            sampling = replace(sampling, repetition_times=sampling.repetition_times[indices])
        amplitude = None if self.amplitude is None else self.amplitude[indices]
        return RunSet(_Some(self, indices), [self.names[i] for i in indices], sampling, amplitude)

    def check_lengths(self, config: InputConfig) -> None:
        """Refuse a run that is too short for the scales of a model; see `check_length`.

        Raises
        ------
        RunError
            Naming the run.
        """
        for number, name in enumerate(self.names):
            time = None if self.sampling is None else float(self.sampling.repetition_times[number])
            if config.patch_length is not None:
                check_patch(self.segments(number), config.patch_length, name, time)
            check_length(self.segments(number), max(config.scales), name, time)

    def chosen_window(self, wanted: int | None) -> int:
        """Return the window that these runs are trained with; see `bids_neurossm.training.windows.chosen_window`."""
        return chosen_window(wanted, [self.segments(number) for number in range(len(self))], self.sampling)


class _Some(Sequence[Run]):
    """Some runs of a set, read when they are asked for."""

    def __init__(self, whole: RunSet, indices: NDArray[np.int64]) -> None:
        self._whole, self._indices = whole, indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, number: int) -> Run: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Run]: ...
    def __getitem__(self, number: Any) -> Any:
        return self._whole.runs[int(self._indices[number])]

    def segments(self, number: int) -> Segments:
        return self._whole.segments(int(self._indices[number]))


def run_amplitude(series: NDArray[Any], segments: Segments, name: str) -> NDArray[np.float32]:
    """Return log(sd / mean) of each region over a run, (R,): what standardised series do not tell any more.

    Parameters
    ----------
    series : array (T, R)
        Values as extracted.
    segments : sequence of (start, stop)
        The rows that count.
    name : str
        What the run is called in messages.

    Returns
    -------
    array (R,) float32
        NaN where a region has no positive mean, or does not vary.

    Raises
    ------
    UsageError
        If the means of most regions are not above their standard deviations: the series were z-scored or detrended,
        and log(sd / mean) would be noise.
    """
    values = np.concatenate([np.asarray(series[start:stop], dtype=np.float64) for start, stop in segments])
    with np.errstate(invalid="ignore", over="ignore"):
        mean, deviation = values.mean(axis=0), values.std(axis=0)
    varying = deviation > 0
    # A run without any signal is refused elsewhere, with a better reason.
    if varying.any() and np.mean(mean[varying] > deviation[varying]) <= 0.5:
        raise UsageError(
            f"{name}: model.amplitude needs series that still have their mean, and these have been z-scored or "
            "detrended; take series of --denoise none, or set model.amplitude to false."
        )
    amplitude: NDArray[np.float32] = log_variation(torch.from_numpy(mean), torch.from_numpy(deviation)).float().numpy()
    return amplitude


@dataclass(frozen=True)
class TrainingSet:
    """Runs to learn from.

    Attributes
    ----------
    inputs : RunSet
        The runs.
    targets : array (n,)
        Class indices, or standardised values of the target.
    groups : sequence of str or None
        What of the runs must stay together when some are set aside for early stopping; each run on its own by default.
    sites : sequence of str or None
        Over which those set aside are balanced besides the targets.
    """

    inputs: RunSet
    targets: Targets
    groups: Sequence[str] | None = None
    sites: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def some(self, indices: NDArray[np.int64]) -> TrainingSet:
        """Return some of the runs, in the order of `indices`."""
        groups, sites = (each and [each[i] for i in indices] for each in (self.groups, self.sites))
        return TrainingSet(self.inputs.some(indices), self.targets[indices], groups, sites)
