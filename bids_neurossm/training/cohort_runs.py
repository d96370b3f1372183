"""Runs of a cohort on disk in the form that models take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.errors import LabelError
from bids_neurossm.models.trainable import InputConfig
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.runset import Run, RunSet, Targets, run_amplitude
from bids_neurossm.training.windows import sampling_for

#: Standardised series are kept in memory up to this size, and made anew beyond it.
_CACHE_BYTES = 2**30


def cohort_run_set(
    cohort: Cohort, indices: NDArray[np.int64], config: InputConfig, reference: float | None = None
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
        Repetition time that windows are meant at, in s, where scales are in seconds; the median of the runs by default.

    Raises
    ------
    RunError
        If a run is too short for the scales.
    UsageError
        If scales are in seconds, and a repetition time is not known or longer than the smallest scale; if the model has
        the amplitude term, and series have no mean.
    """
    names = [str(name) for name in cohort.runs["run"].to_numpy()[indices]]
    sampling = sampling_for(config, cohort.repetition_times(indices), names, reference)
    amplitude = cohort_amplitude(cohort, indices, names) if config.amplitude else None
    inputs = RunSet(CohortRuns(cohort, indices), names, sampling, amplitude)
    inputs.check_lengths(config)
    return inputs


class CohortRuns(Sequence[Run]):
    """Standardised series and segments of some runs of a cohort.

    Parameters
    ----------
    cohort : Cohort
        Where they come from.
    indices : array of int64
        Which.
    cache_bytes : int
        Series are kept in memory where all of them together take no more.
    """

    def __init__(self, cohort: Cohort, indices: NDArray[np.int64], cache_bytes: int = _CACHE_BYTES) -> None:
        self.cohort = cohort
        self.indices = indices
        rows = int(cohort.runs["n_volumes"].to_numpy()[indices].sum())
        self._keep = rows * len(cohort.regions) * 4 <= cache_bytes
        self._kept: dict[int, NDArray[np.float32]] = {}
        self._segments: dict[int, list[tuple[int, int]]] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: Any) -> Any:
        if number not in self._kept:
            series = self.cohort.standardised(int(self.indices[number]))
            if not self._keep:
                return series, self.segments(number)
            self._kept[number] = series
        return self._kept[number], self.segments(number)

    def segments(self, number: int) -> list[tuple[int, int]]:
        """Return the contiguous pieces of a run."""
        if number not in self._segments:
            self._segments[number] = self.cohort.segments(int(self.indices[number]))
        return self._segments[number]


def cohort_amplitude(cohort: Cohort, indices: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.float32]:
    """Return log(sd / mean) (n, R) of the regions of runs; see `bids_neurossm.training.runset.run_amplitude`."""
    return np.stack(
        [
            run_amplitude(cohort.raw(int(index)), cohort.segments(int(index)), name)
            for index, name in zip(indices, names, strict=True)
        ]
    )


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
