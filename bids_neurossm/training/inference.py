"""What a trained model says of whole runs: means over the windows that cover them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.errors import CheckpointError
from bids_neurossm.models.pathway_model import PathwayModel
from bids_neurossm.training.data import RunSet
from bids_neurossm.training.device import in_smaller_batches
from bids_neurossm.training.windows import Batch, Segments, evaluation_windows

# Windows per batch; one that memory does not hold is halved.
BATCH_SIZE = 32


def evaluation_batches(
    inputs: RunSet, window: int | None, batch_size: int
) -> Iterator[tuple[Batch, NDArray[np.int64]]]:
    """Yield batches of evaluation windows, and which run each window of the batch is of.

    `window` is in time points, at the reference of the runs where they have one.

    Raises
    ------
    RunError
        If a run is not finite or holds no signal.
    """
    waiting: list[tuple[int, NDArray[np.float32], Segments]] = []
    for number in range(len(inputs)):
        series = inputs.series(number)
        for pieces in evaluation_windows(inputs.segments[number], inputs.points(number, window)):
            waiting.append((number, series, pieces))
            if len(waiting) == batch_size:
                yield inputs.batch(waiting), np.array([owner for owner, _, _ in waiting])
                waiting = []
    if waiting:
        yield inputs.batch(waiting), np.array([owner for owner, _, _ in waiting])


def mean_over_windows(
    model: PathwayModel,
    inputs: RunSet,
    window: int | None,
    what: Callable[[Batch], Tensor],
    batch_size: int = BATCH_SIZE,
) -> NDArray[np.float64]:
    """Average a quantity of each window over the windows of each run.

    Parameters
    ----------
    model : PathwayModel
        Put into evaluation mode.
    inputs : RunSet
        The runs.
    window : int or None
        Time points per window; None takes runs whole.
    what : callable
        Gives (windows, ...) for a batch on the model's device.
    batch_size : int
        Windows per batch; halved where memory does not hold them.

    Returns
    -------
    array (runs, ...) float64

    Raises
    ------
    RunError
        If a run is not finite or holds no signal, or memory does not hold a single window.
    """
    device = next(model.parameters()).device
    model.eval()

    def evaluated(size: int) -> NDArray[np.float64]:
        values, owners = [], []
        with torch.no_grad():
            for batch, of_run in evaluation_batches(inputs, window, size):
                values.append(what(batch.to(device)).double().cpu().numpy())
                owners.append(of_run)
        return owner_means(np.concatenate(values), np.concatenate(owners), len(inputs))

    return in_smaller_batches(evaluated, batch_size, "runs are predicted")


def owner_means(values: NDArray[np.float64], owners: NDArray[np.int64], n_owners: int) -> NDArray[np.float64]:
    """Average rows (n, ...) that have the same owner, 0 to `n_owners` - 1."""
    sums = np.zeros((n_owners, *values.shape[1:]))
    np.add.at(sums, owners, values)
    counts = np.bincount(owners, minlength=n_owners).reshape(-1, *[1] * (values.ndim - 1))
    means: NDArray[np.float64] = sums / counts
    return means


def predict_logits(model: PathwayModel, inputs: RunSet, window: int | None) -> NDArray[np.float64]:
    """Return the logits (runs, C), averaged over the windows that cover each run."""
    return mean_over_windows(model, inputs, window, partial(logits_of, model))


def logits_of(model: PathwayModel, batch: Batch) -> Tensor:
    """Return the logits (windows, C) of a batch.

    Raises
    ------
    CheckpointError
        If a model returns another shape.
    """
    logits: Tensor = model(*batch.arguments)
    wanted = (int(batch.owners.max()) + 1, model.config.n_outputs)
    if logits.shape != wanted:
        kind = type(model)
        raise CheckpointError(
            f"{kind.__module__}.{kind.__name__} returns logits of shape {tuple(logits.shape)}; {wanted}, runs x "
            "outputs, is expected."
        )
    return logits


def run_features(model: PathwayModel, inputs: RunSet, window: int | None) -> NDArray[np.float64]:
    """Return the pathway features z_p (runs, P, W), averaged over the windows that cover each run."""
    return mean_over_windows(model, inputs, window, partial(features_of, model))


def features_of(model: PathwayModel, batch: Batch) -> Tensor:
    """Return the pathway features (windows, P, W) of a batch.

    Raises
    ------
    CheckpointError
        If a model returns another shape.
    """
    return model.checked(model.features(*batch.arguments[:4]), int(batch.owners.max()) + 1)


def balanced_mean(values: NDArray[np.float64], classes: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return the mean of values (n, ...) over runs, each class (n,) weighing the same; None where there is none."""
    if classes is None:
        return np.asarray(values.mean(axis=0), dtype=np.float64)
    return np.asarray(np.mean([values[classes == each].mean(axis=0) for each in np.unique(classes)], axis=0))
