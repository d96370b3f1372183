"""Runs as a model takes them, what it has to be told of each, and what is to be learnt from them.

The series of a run are on disk in a `Cohort`; a `RunSet` reads them, standardised, when they are asked for; a
`TrainingSet` adds what is to be learnt; a `Batch` holds windows of them as tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import LabelError, RunError, UsageError
from bids_neurossm.models.neurossm import log_variation
from bids_neurossm.models.pathway_model import InputConfig
from bids_neurossm.models.scales import usable_repetition_times
from bids_neurossm.training.windows import (
    Batch,
    Segments,
    assemble,
    check_length,
    check_patch,
    chosen_window,
    valid_length,
)

Targets = NDArray[np.int64] | NDArray[np.float64]

#: Standardised series are kept in memory up to this size, and made anew beyond it.
_CACHE_BYTES = 2**30


@dataclass(frozen=True)
class RunSet:
    """Some runs, and what a model has to be told of each besides its series.

    Attributes
    ----------
    read : callable
        Gives the standardised series (T, R) float32 of a run, by its number.
    segments : sequence of sequence of (start, stop)
        Contiguous pieces of each run.
    names : sequence of str
        What the runs are called in messages.
    repetition_times : array (n,) or None
        In s, for a model whose scales are in seconds; see `usable_times`.
    reference : float or None
        Repetition time that a number of time points per window is meant at, in s; the median of the runs by default. A
        window lasts as long in every run, or its length would tell the repetition time, and with it the scanner.
    amplitude : array (n, R) float32 or None
        log(sd / mean) of each region, for a model with the amplitude term; see `run_amplitude`.
    """

    read: Callable[[int], NDArray[np.float32]]
    segments: Sequence[Segments]
    names: Sequence[str]
    repetition_times: NDArray[np.float64] | None = None
    reference: float | None = None
    amplitude: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.repetition_times is not None and self.reference is None:
            object.__setattr__(self, "reference", float(np.median(self.repetition_times)))

    @classmethod
    def in_memory(
        cls,
        series: Sequence[NDArray[np.float32]],
        names: Sequence[str],
        segments: Sequence[Segments] | None = None,
        repetition_times: NDArray[np.float64] | None = None,
        reference: float | None = None,
        amplitude: NDArray[np.float32] | None = None,
    ) -> RunSet:
        """Make one of standardised series; each is one contiguous piece by default."""
        pieces = [[(0, len(each))] for each in series] if segments is None else segments
        return cls(series.__getitem__, pieces, names, repetition_times, reference, amplitude)

    def __len__(self) -> int:
        return len(self.names)

    def series(self, number: int) -> NDArray[np.float32]:
        """Return the series (T, R) of a run.

        Raises
        ------
        RunError
            If it is not finite, or holds no signal at all; the run is named.
        """
        series = self.read(number)
        if not np.isfinite(series).all():
            raise RunError(f"{self.names[number]}: the standardised series is not finite.")
        if not series.any():
            raise RunError(f"{self.names[number]}: no region has a finite signal that varies. Exclude the run.")
        return series

    def points(self, number: int, window: int | None) -> int | None:
        """Return the time points of a run that last as long as `window` of them at the reference."""
        if window is None or self.repetition_times is None or self.reference is None:
            return window
        return max(1, round(window * self.reference / float(self.repetition_times[number])))

    def batch(self, drawn: Sequence[tuple[int, NDArray[np.float32], Segments]]) -> Batch:
        """Lay windows, each the number of its run, the run's series and its pieces, into one batch."""
        numbers = [number for number, _, _ in drawn]
        times = None if self.repetition_times is None else self.repetition_times[numbers].tolist()
        amplitude = None if self.amplitude is None else self.amplitude[numbers]
        return assemble([(series, window) for _, series, window in drawn], times, amplitude)

    def some(self, indices: NDArray[np.int64]) -> RunSet:
        """Return some of the runs, in the order of `indices`."""
        numbers = indices.tolist()
        return RunSet(
            lambda number: self.read(numbers[number]),
            [self.segments[number] for number in numbers],
            [self.names[number] for number in numbers],
            None if self.repetition_times is None else self.repetition_times[indices],
            self.reference,
            None if self.amplitude is None else self.amplitude[indices],
        )

    def check_lengths(self, config: InputConfig) -> None:
        """Refuse a run that is too short for the scales of a model; see `check_length`.

        Raises
        ------
        RunError
            Naming the run.
        """
        for number, (name, segments) in enumerate(zip(self.names, self.segments, strict=True)):
            time = None if self.repetition_times is None else float(self.repetition_times[number])
            if config.patch_length is not None:
                check_patch(segments, config.patch_length, name, time)
            check_length(segments, max(config.scales), name, time)

    def chosen_window(self, wanted: int | None) -> int:
        """Return the window that these runs are trained with; see `bids_neurossm.training.windows.chosen_window`."""
        lengths = np.array([valid_length(segments) for segments in self.segments], dtype=np.float64)
        if self.repetition_times is not None and self.reference is not None:
            lengths *= self.repetition_times / self.reference
        return chosen_window(wanted, lengths)


def usable_times(
    config: InputConfig, repetition_times: ArrayLike | None, runs: Sequence[str]
) -> NDArray[np.float64] | None:
    """Return the repetition times of runs for a model; None for one whose scales are in time points.

    Parameters
    ----------
    config : NeuroSSMConfig or LMAEConfig
        The model's.
    repetition_times : array (n,), optional
        In s; NaN where one is not known.
    runs : sequence of str
        What the runs are called in messages.

    Raises
    ------
    UsageError
        If one is not known, or longer than the smallest scale.
    """
    if not config.in_seconds:
        return None
    times = np.full(len(runs), np.nan) if repetition_times is None else np.asarray(repetition_times, dtype=np.float64)
    known = np.isfinite(times) & (times > 0)
    if len(times) == len(runs) and not known.all():
        raise UsageError(
            f"{runs[int(np.argmin(known))]}: the repetition time is not known; series without one can not use scales "
            "in seconds. Give RepetitionTime in the sidecar, or scales in time points."
        )
    usable_repetition_times(config, torch.from_numpy(times), len(runs))
    return times


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


def cohort_run_set(
    cohort: Cohort,
    indices: NDArray[np.int64],
    config: InputConfig,
    reference: float | None = None,
) -> RunSet:
    """Return runs of a cohort for a model.

    Parameters
    ----------
    cohort : Cohort
        Where they come from.
    indices : array of int64
        Which.
    config : NeuroSSMConfig or LMAEConfig
        The model's.
    reference : float, optional
        See `RunSet`.

    Raises
    ------
    RunError
        If a run is too short for the scales.
    UsageError
        If scales are in seconds, and a repetition time is not known or longer than the smallest scale; if the model has
        the amplitude term, and series have no mean.
    """
    rows = [int(index) for index in indices]
    names = [str(name) for name in cohort.runs["run"].to_numpy()[indices]]
    segments = [cohort.segments(row) for row in rows]
    times = usable_times(config, cohort.repetition_times(indices), names)
    amplitude = None
    if config.amplitude:
        each = zip(rows, segments, names, strict=True)
        amplitude = np.stack([run_amplitude(cohort.raw(row), pieces, name) for row, pieces, name in each])

    def read(number: int) -> NDArray[np.float32]:
        return cohort.standardised(rows[number])

    size = int(cohort.runs["n_volumes"].to_numpy()[indices].sum()) * len(cohort.regions) * 4
    inputs = RunSet(cache(read) if size <= _CACHE_BYTES else read, segments, names, times, reference, amplitude)
    inputs.check_lengths(config)
    return inputs


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


def targets_of(cohort: Cohort, indices: NDArray[np.int64]) -> tuple[Targets, float, float]:
    """Return what is to be learnt: class indices, or standardised values with their mean and scale."""
    labels = cohort.labels(indices)
    if len(np.unique(labels)) < 2:
        raise LabelError(f"The {len(indices)} training runs all have the label {cohort.runs['label'][indices[0]]}.")
    if cohort.target_type == "continuous":
        mean, scale = float(labels.mean()), float(labels.std())
        return (labels - mean) / scale, mean, scale
    absent = [name for number, name in enumerate(cohort.classes) if number not in labels]
    if absent:
        raise LabelError(
            f"None of the {len(indices)} training runs is of class {absent[0]}: it could not be learnt. Use fewer "
            "--folds, or leave the class out."
        )
    return labels, 0.0, 1.0
