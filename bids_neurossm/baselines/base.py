"""What all baselines share: they learn, predict, and are kept in the format of the checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.checkpoint_format import Arrays, CheckpointMetadata, write_checkpoint
from bids_neurossm.cohort.checkpoint_facts import check_cohort, facts_of
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import CheckpointError, UsageError


class Baseline(ABC):
    """A model without torch; a subclass says what is learned, and what brings it back.

    Parameters
    ----------
    name : str
        Registered name.

    Attributes
    ----------
    classes : list of str
        Of the training cohort; empty for a continuous target.
    facts : CheckpointMetadata or None
        What its checkpoint says of itself, once it was fitted.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.classes: list[str] = []
        self.facts: CheckpointMetadata | None = None
        self._path, self._restored = Path(name), False

    def fit(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs `indices`."""
        self.classes = list(cohort.classes)
        self._learn(cohort, indices, seed)
        self.facts = facts_of(cohort, indices, {}, seed, self.name)

    def predict(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return logits, shape (n, C), or values, shape (n, 1).

        Raises
        ------
        UsageError
            If it was not fitted.
        CheckpointError
            If the cohort has other regions, or another atlas or denoising, than that which was learned from.
        """
        # Nothing here is told in time points.
        check_cohort(self._fitted(), self._path, cohort, indices, in_seconds=True)
        if not self._restored:
            return self._predicted(cohort, indices)
        try:
            with np.errstate(all="ignore"):
                values = np.asarray(self._predicted(cohort, indices), dtype=np.float64)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self._path} is damaged: {type(error).__name__}: {error}.") from error
        if values.shape != (len(indices), max(len(self.classes), 1)) or not np.isfinite(values).all():
            raise CheckpointError(f"{self._path} is damaged: what it predicts is not finite, or has the wrong shape.")
        return values

    def save(self, path: Path) -> None:
        """Write the checkpoint: ``path`` (.safetensors) and a TOML file beside it."""
        facts = self._fitted()
        arrays, state = self._state()
        write_checkpoint(path, arrays, CheckpointMetadata(**{**vars(facts), "model": state}))

    def restore(self, arrays: Arrays, facts: CheckpointMetadata, path: Path) -> None:
        """Take over what a checkpoint holds.

        Raises
        ------
        CheckpointError
            If something is missing.
        """
        self.classes, self.facts, self._path, self._restored = list(facts.classes), facts, path, True
        try:
            self._take(arrays, dict(facts.model))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is not a {self.name} that can be read: {error}.") from error

    def _fitted(self) -> CheckpointMetadata:
        if self.facts is None:
            raise UsageError(f"The model {self.name} has not been fitted; call fit or restore first.")
        return self.facts

    @abstractmethod
    def _learn(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs; nothing else of the cohort is looked at."""

    @abstractmethod
    def _predicted(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predict runs."""

    @abstractmethod
    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the arrays and the plain values that bring it back; TOML must have the latter."""

    @abstractmethod
    def _take(self, arrays: Arrays, state: dict[str, Any]) -> None:
        """Take over what `_state` gave."""
