"""Which model is trained, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bids_neurossm.config.checking import require


@dataclass(frozen=True)
class ModelSpec:
    """Which model is trained.

    Parameters
    ----------
    name : str
        Registered model.
    recipe : str
        Name of a shipped recipe or path of a TOML file with the tables ``[model]`` and ``[training]``.
    settings : mapping
        Arguments of the model's own configuration (the recipe's ``[model]`` table).
    """

    name: str = "neurossm"
    recipe: str = "hcp-task"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """How a neural model is fitted (the recipe's ``[training]`` table).

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the training runs; runs per step.
    learning_rate, weight_decay, gradient_clip : float
        Peak of the one-cycle schedule, AdamW decay, largest gradient norm.
    label_smoothing : float
        Share of the target mass spread over the other classes.
    window : int or None
        Length L in time points of the random training window; None takes the cohort's median.
    class_weights : bool
        Weigh classes by the inverse of their frequency in the training set.
    early_stopping : int or None
        Epochs without a better loss on runs set aside after which training ends with the best weights; None trains all
        epochs on all runs.
    validation_fraction : float
        Share of the training groups that early stopping sets aside.
    """

    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    gradient_clip: float = 1.0
    label_smoothing: float = 0.1
    window: int | None = None
    class_weights: bool = True
    early_stopping: int | None = None
    validation_fraction: float = 0.2

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"training.{name} must be at least 1.")
        for name in ("learning_rate", "gradient_clip"):
            require(getattr(self, name) > 0, f"training.{name} must be positive.")
        require(self.weight_decay >= 0, "training.weight_decay must not be negative.")
        require(0 <= self.label_smoothing < 1, "training.label_smoothing must lie in [0, 1).")
        require(self.window is None or self.window >= 8, "training.window must be at least 8 time points.")
        patience = self.early_stopping
        require(patience is None or patience >= 1, "training.early_stopping must be at least 1 epoch.")
        require(0 < self.validation_fraction <= 0.5, "training.validation_fraction must lie in (0, 0.5].")
