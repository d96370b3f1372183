"""What every model is to the evaluation: fit, predict, save; and how one is made by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError
from bids_neurossm.registry import blaming, model_entry, resolved
from bids_neurossm.training.callbacks import Callbacks


class Estimator(Protocol):
    """A model that learns from some runs of a cohort and predicts others.

    Attributes
    ----------
    name : str
        The name that it is registered by.
    """

    name: str

    def fit(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs `indices`, and from nothing else of the cohort."""
        ...

    def predict(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return logits (n, C) for classes, values (n, 1) for a continuous target."""
        ...

    def save(self, path: Path) -> None:
        """Write what was learnt to `path`."""
        ...


@runtime_checkable
class Followed(Protocol):
    """An estimator whose training takes long: it tells how far it is, and goes on after a kill."""

    def follow(self, follow: Callbacks, state_file: Path | None = None) -> None:
        """Say who is told, and where the state is kept after every epoch."""
        ...


Factory = Callable[[str, ModelSpec, Training, Execution], Estimator]


def create_estimator(name: str, spec: ModelSpec, training: Training, execution: Execution) -> Estimator:
    """Make an unfitted estimator.

    Parameters
    ----------
    name : str
        Registered name; see `bids_neurossm.registry`.
    spec, training, execution : ModelSpec, Training, Execution
        Handed to the model's factory; a baseline uses what concerns it.

    Raises
    ------
    UsageError
        If no model has that name, its settings cannot be used, or another package that brings it fails.
    """
    entry = model_entry(name)
    factory: Factory = resolved(entry.factory, name, entry)
    with blaming(name, entry.package):
        made = factory(name, spec, training, execution)
        if not (hasattr(made, "fit") and hasattr(made, "predict")):
            raise TypeError(f"{entry.factory} returns a {type(made).__name__}, which is no model")
        return made


def checked_scores(name: str, scores: NDArray[Any], n_runs: int, n_outputs: int) -> NDArray[np.float64]:
    """Return what a model predicts as float64.

    Raises
    ------
    CheckpointError
        If its shape is not (n_runs, n_outputs), or a value is not finite; the package that brings the model is named.
    """
    found = np.asarray(scores, dtype=np.float64)
    what = f"an array of shape {found.shape}" if found.shape != (n_runs, n_outputs) else "values that are not finite"
    if found.shape == (n_runs, n_outputs) and np.isfinite(found).all():
        return found
    raise CheckpointError(
        f"The model {name!r} of the package {model_entry(name).package} predicted {what}; finite values of shape "
        f"({n_runs}, {n_outputs}), runs x outputs, are expected."
    )
