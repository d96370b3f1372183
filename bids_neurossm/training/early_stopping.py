"""Early stopping: some of the training runs are set aside, and the weights that did best on them are kept."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from bids_neurossm.errors import LabelError
from bids_neurossm.training.data import TrainingSet

_QUANTILES = 5


def inner_split(
    data: TrainingSet, n_outputs: int, fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Set part of a training set aside, by group, balanced over classes (or quantiles of the target) and sites.

    Parameters
    ----------
    data : TrainingSet
        Training runs; nothing else is looked at (docs/methods.md, section 2).
    n_outputs : int
        C classes, or 1 for a continuous target.
    fraction : float
        Share to set aside, to the nearest 1 / k; a larger one where a class has fewer than k groups, so that both
        sides have every class.
    seed : int
        Of the draw.

    Returns
    -------
    array, array
        Runs to learn from, and runs to stop by.

    Raises
    ------
    LabelError
        If a class has a single group, so that it can not be on both sides.
    """
    labels = _labels(data, n_outputs)
    counts = _groups_of(data, labels)
    if min(counts) < 2:
        raise LabelError(
            "Early stopping sets training runs aside, but a class of the training set has a single group; leave "
            "training.early_stopping out."
        )
    for learn, aside in inner_parts(data, n_outputs, round(1 / fraction), seed):
        if len(np.unique(labels[learn])) == len(np.unique(labels[aside])) == len(counts):
            return learn, aside
    raise LabelError(
        "Early stopping found no way to set training runs aside that leaves every class on both sides: the groups are "
        "too few or too unequal; leave training.early_stopping out."
    )


def inner_parts(
    data: TrainingSet, n_outputs: int, parts: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Deal a training set into parts, by group, balanced over classes (or quantiles of the target) and sites.

    Parameters
    ----------
    data : TrainingSet
        Training runs; nothing else is looked at.
    n_outputs : int
        C classes, or 1 for a continuous target.
    parts : int
        How many; fewer where a class has fewer groups, but at least 2.
    seed : int
        Of the draw.

    Returns
    -------
    list of (array, array)
        For each part the runs outside it, and its own; a side may lack a class where groups are very unequal.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels = _labels(data, n_outputs)
    sites = ["" for _ in labels] if data.sites is None else data.sites
    strata = np.unique([f"{label} {site}" for label, site in zip(labels, sites, strict=True)], return_inverse=True)[1]
    parts = max(2, min(parts, *_groups_of(data, labels)))
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # A class in a site may have fewer members than there are parts; whether classes are on both sides is the
        # caller's to look at.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return list(splitter.split(strata, strata, _groups(data)))


def _groups(data: TrainingSet) -> NDArray[np.int64]:
    """Return the number of the group of each run."""
    names = data.inputs.names if data.groups is None else data.groups
    return np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)[1]


def _groups_of(data: TrainingSet, labels: NDArray[np.int64]) -> list[int]:
    """Return how many groups each class has."""
    groups = _groups(data)
    return [len(np.unique(groups[labels == label])) for label in np.unique(labels)]


def _labels(data: TrainingSet, n_outputs: int) -> NDArray[np.int64]:
    """Class of each run, or which part of its range a continuous target lies in."""
    if n_outputs > 1:
        return np.asarray(data.targets, dtype=np.int64)
    bins = int(np.clip(len(data) // 10, 1, _QUANTILES))
    ranks = np.argsort(np.argsort(data.targets, kind="stable"), kind="stable")
    return ranks.astype(np.int64) * bins // len(data)


class EarlyStopping:
    """The best epoch so far.

    Parameters
    ----------
    patience : int
        Epochs without a better loss that are waited for.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best_loss, self.best_epoch, self.epoch = math.inf, 0, 0
        self.weights: dict[str, Tensor] = {}

    @property
    def over(self) -> bool:
        """Whether it has been waited long enough."""
        return self.epoch - self.best_epoch >= self.patience

    def see(self, epoch: int, loss: float, model: nn.Module) -> None:
        """Look at the loss of those set aside; keep the weights where it is the best one."""
        self.epoch = epoch
        if loss < self.best_loss or not self.weights:
            self.best_loss, self.best_epoch = loss, epoch
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on, besides the weights."""
        return {"best_loss": self.best_loss, "best_epoch": self.best_epoch, "epoch": self.epoch}

    def restore(self, state: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Go on where `state` was taken."""
        self.best_loss, self.best_epoch, self.epoch = state["best_loss"], state["best_epoch"], state["epoch"]
        self.weights = dict(weights)
