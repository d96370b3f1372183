"""What a trained NeuroSSM says of whole runs: means over the windows that cover them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.models.neurossm import NeuroSSM
from bids_neurossm.training.windows import Batch, Sampling, Segments, assemble, evaluation_windows

# One run as a model takes it: standardised series (T, R) float32, and its contiguous segments.
Run = tuple[NDArray[np.float32], Segments]


def evaluation_batches(
    runs: Sequence[Run], window: int | None, batch_size: int, sampling: Sampling | None = None
) -> Iterator[tuple[Batch, NDArray[np.int64]]]:
    """Yield batches of evaluation windows, and which run each window of the batch is of.

    `window` is in time points, at the reference of the `sampling` where there is one.
    """

    def batch() -> tuple[Batch, NDArray[np.int64]]:
        times = None if sampling is None else [float(sampling.repetition_times[number]) for number in owners]
        return assemble(waiting, times), np.array(owners)

    waiting: list[tuple[NDArray[np.float32], list[tuple[int, int]]]] = []
    owners: list[int] = []
    for number in range(len(runs)):
        series, segments = runs[number]
        points = window if sampling is None else sampling.window(number, window)
        for pieces in evaluation_windows(segments, points):
            waiting.append((series, pieces))
            owners.append(number)
            if len(waiting) == batch_size:
                yield batch()
                waiting, owners = [], []
    if waiting:
        yield batch()


def mean_over_windows(
    model: NeuroSSM,
    runs: Sequence[Run],
    window: int | None,
    what: Callable[[Batch], Tensor],
    batch_size: int = 32,
    sampling: Sampling | None = None,
) -> NDArray[np.float64]:
    """Average a quantity of each window over the windows of each run.

    Parameters
    ----------
    model : NeuroSSM
        Put into evaluation mode.
    runs : sequence of (series, segments)
        Standardised series.
    window : int or None
        Time points per window; None takes runs whole.
    what : callable
        Gives (windows, ...) for a batch on the model's device.
    batch_size : int
        Windows per batch.
    sampling : Sampling, optional
        Of the runs, for a model whose scales are in seconds.

    Returns
    -------
    array (runs, ...) float64
    """
    device = next(model.parameters()).device
    model.eval()
    values, owners = [], []
    with torch.no_grad():
        for batch, of_run in evaluation_batches(runs, window, batch_size, sampling):
            values.append(what(batch.to(device)).double().cpu().numpy())
            owners.append(of_run)
    return owner_means(np.concatenate(values), np.concatenate(owners), len(runs))


def owner_means(values: NDArray[np.float64], owners: NDArray[np.int64], n_owners: int) -> NDArray[np.float64]:
    """Average rows (n, ...) that have the same owner, 0 to `n_owners` - 1."""
    sums = np.zeros((n_owners, *values.shape[1:]))
    np.add.at(sums, owners, values)
    counts = np.bincount(owners, minlength=n_owners).reshape(-1, *[1] * (values.ndim - 1))
    means: NDArray[np.float64] = sums / counts
    return means


def predict_logits(
    model: NeuroSSM, runs: Sequence[Run], window: int | None, sampling: Sampling | None = None
) -> NDArray[np.float64]:
    """Return the logits (runs, C), averaged over the windows that cover each run."""

    def logits(batch: Batch) -> Tensor:
        return cast(Tensor, model(batch.series, batch.lengths, batch.owners, batch.repetition_times))

    return mean_over_windows(model, runs, window, logits, sampling=sampling)


def run_features(
    model: NeuroSSM, runs: Sequence[Run], window: int | None, sampling: Sampling | None = None
) -> NDArray[np.float64]:
    """Return the pathway features z_p (runs, P, W), averaged over the windows that cover each run."""

    def features(batch: Batch) -> Tensor:
        return model.encode(model.pathway_inputs(batch.series, batch.lengths, batch.repetition_times), batch.owners)

    return mean_over_windows(model, runs, window, features, sampling=sampling)
