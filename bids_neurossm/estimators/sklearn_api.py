"""NeuroSSM for arrays, in the manner of scikit-learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from bids_neurossm.checkpoint import CheckpointMetadata, check_fit
from bids_neurossm.cohort.store import standardise
from bids_neurossm.config import Execution, Training
from bids_neurossm.errors import CheckpointError, LabelError, UsageError
from bids_neurossm.estimators.neurossm import model_config
from bids_neurossm.files.toml_files import section_from
from bids_neurossm.models.neurossm import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.checkpoint import load_checkpoint, restored_module, save_checkpoint
from bids_neurossm.training.data import RunSet, Targets, TrainingSet, run_amplitude, usable_times
from bids_neurossm.training.device import torch_device
from bids_neurossm.training.fit import fit
from bids_neurossm.training.inference import predict_logits
from bids_neurossm.training.recipes import load_recipe

Series = NDArray[np.floating[Any]] | Sequence[NDArray[np.floating[Any]]]


class _SeriesEstimator(BaseEstimator, ABC):  # type: ignore[misc]
    """What classifier and regressor share; a subclass says what its targets are, in `_target_facts` and back."""

    _target_type: ClassVar[str]

    def __init__(
        self,
        recipe: str = "hcp-task",
        model_settings: dict[str, Any] | None = None,
        training_settings: dict[str, Any] | None = None,
        random_state: int = 0,
        device: str = "auto",
        repetition_time: float | None = None,
        precision: str = "float32",
    ) -> None:
        self.recipe = recipe
        self.model_settings = model_settings
        self.training_settings = training_settings
        self.random_state = random_state
        self.device = device
        self.repetition_time = repetition_time
        self.precision = precision

    def _fit(
        self, X: Series, targets: Targets, n_outputs: int, times: ArrayLike | None, groups: ArrayLike | None
    ) -> None:
        """Train on standardised series."""
        runs, names = _runs(X)
        if len(runs) != len(targets):
            raise UsageError(f"There are {len(runs)} series and {len(targets)} targets.")
        together = None if groups is None else [str(group) for group in np.asarray(groups)]
        if together is not None and len(together) != len(runs):
            raise UsageError(f"There are {len(runs)} series and {len(together)} groups.")
        Execution(precision=self.precision)  # refuses one that is not known
        model_table, training = load_recipe(self.recipe)
        if self.training_settings:
            table = {**vars(training), **self.training_settings}
            training = section_from(Training, table, "training_settings")
        settings = {**model_table, **(self.model_settings or {})}
        self.n_regions_ = int(runs[0].shape[1])
        config = section_from(
            NeuroSSMConfig, {**settings, "n_regions": self.n_regions_, "n_outputs": n_outputs}, "model_settings"
        )
        of_runs = usable_times(config, self._times(times, len(runs)), names)
        inputs = RunSet.in_memory(runs, names, None, of_runs, None, _amplitude(X, config, names))
        self.reference_time_ = self.repetition_time if of_runs is None else inputs.reference
        self.window_ = inputs.chosen_window(training.window)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self.model_ = NeuroSSM(config).to(torch_device(self.device))
        data = TrainingSet(inputs, targets, together)
        self.history_ = fit(self.model_, data, training, self.window_, self.random_state, self.precision)
        self.metrics_ = self.history_.metrics()

    def _times(self, times: ArrayLike | None, n_runs: int) -> NDArray[np.float64] | None:
        """Return the repetition time of each series, or None where none was told."""
        told = self.repetition_time if times is None else times
        if told is None:
            return None
        values = np.asarray(told, dtype=np.float64)
        return np.full(n_runs, values) if values.ndim == 0 else values

    def _logits(self, X: Series, times: ArrayLike | None) -> NDArray[np.float64]:
        """Return the outputs (n, C) for each run."""
        self._require_fitted()
        runs, names = _runs(X)
        if runs[0].shape[1] != self.n_regions_:
            raise UsageError(f"X has {runs[0].shape[1]} regions; the model was fitted with {self.n_regions_}.")
        config = self.model_.config
        of_runs = usable_times(config, self._times(times, len(runs)), names)
        inputs = RunSet.in_memory(runs, names, None, of_runs, self.reference_time_, _amplitude(X, config, names))
        inputs.check_lengths(config)
        return predict_logits(self.model_, inputs, self.window_)

    def _require_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise UsageError(f"{type(self).__name__} has not been fitted; call fit or load first.")

    def save(self, path: Path | str) -> None:
        """Write the checkpoint: ``path`` (.safetensors) and a TOML file beside it. Classes are kept as text."""
        self._require_fitted()
        config = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self.model_.config).items()}
        facts = CheckpointMetadata(
            model=config,
            target="y",
            target_type=self._target_type,
            regions=tuple(f"region-{r + 1}" for r in range(self.n_regions_)),
            repetition_time=self.reference_time_,
            window=self.window_,
            seed=self.random_state,
            precision=self.precision,
            metrics=self.metrics_,
            **self._target_facts(),
        )
        save_checkpoint(Path(path), self.model_.state_dict(), facts)

    @classmethod
    def load(cls, path: Path | str, device: str = "auto", repetition_time: float | None = None) -> Self:
        """Read a checkpoint; `repetition_time` is that of the series to come.

        Raises
        ------
        CheckpointError
            If it is damaged, foreign, or of the other kind of target.
        """
        estimator = cls(device=device, repetition_time=repetition_time)
        estimator._recall_target(estimator._restore(Path(path)))
        return estimator

    @abstractmethod
    def _target_facts(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the target."""

    @abstractmethod
    def _recall_target(self, facts: CheckpointMetadata) -> None:
        """Take the target back from a checkpoint."""

    def _restore(self, path: Path) -> CheckpointMetadata:
        """Read model and window from a checkpoint."""
        state, facts = load_checkpoint(path)
        check_fit(facts, path, target_type=self._target_type)
        config = model_config(facts, path)
        self.model_ = restored_module(lambda: NeuroSSM(config), state, path)
        self.model_.to(torch_device(self.device)).eval()
        if facts.window is None:
            raise CheckpointError(f"{path} does not tell the window that it was trained with.")
        self.n_regions_, self.window_, self.reference_time_ = config.n_regions, facts.window, facts.repetition_time
        self.metrics_ = dict(facts.metrics)
        return facts


class NeuroSSMClassifier(ClassifierMixin, _SeriesEstimator):  # type: ignore[misc]
    """Classify regional time series with a NeuroSSM.

    Parameters
    ----------
    recipe : str
        Shipped recipe, or a TOML file.
    model_settings, training_settings : dict, optional
        Settings that replace the recipe's, by name.
    random_state : int
        Seed.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    repetition_time : float, optional
        Of all series, in s. Models whose scales are in seconds need it here, or of each series where X is given.
    precision : {"float32", "bfloat16", "float16"}
        Of the matrix products in training.

    Attributes
    ----------
    classes_ : array
        Sorted classes.
    model_ : NeuroSSM
        The network.
    history_ : History
        Loss of each epoch, after `fit`.
    metrics_ : dict
        Numbers that a checkpoint keeps: training loss, epochs; with early stopping the best epoch and its loss.
    """

    _target_type = "class"

    def fit(
        self, X: Series, y: ArrayLike, repetition_times: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Self:
        """Learn from series X, array (n, T, R) or a list of (T_i, R) as extracted, and classes y (n,).

        `repetition_times` (n,), in s, are asked for by scales in seconds where they differ between the series.
        `groups` (n,) say what belongs together (the runs of a participant) when early stopping sets series aside.

        Raises
        ------
        LabelError
            If there are not two classes.
        """
        self.classes_, targets = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) < 2:
            raise LabelError(f"y has {len(self.classes_)} class; two or more are needed.")
        self._fit(X, targets.astype(np.int64), len(self.classes_), repetition_times, groups)
        return self

    def decision_function(self, X: Series, repetition_times: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the logits (n, C); for two classes their difference (n,)."""
        logits = self._logits(X, repetition_times)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Series, repetition_times: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the probability (n, C) of each class."""
        logits = self._logits(X, repetition_times)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, X: Series, repetition_times: ArrayLike | None = None) -> NDArray[Any]:
        """Return the most probable class (n,)."""
        logits = self._logits(X, repetition_times)
        chosen: NDArray[Any] = self.classes_[logits.argmax(axis=1)]
        return chosen

    def _target_facts(self) -> dict[str, Any]:
        return {"classes": tuple(str(name) for name in self.classes_)}

    def _recall_target(self, facts: CheckpointMetadata) -> None:
        self.classes_ = np.array(facts.classes)


class NeuroSSMRegressor(RegressorMixin, _SeriesEstimator):  # type: ignore[misc]
    """Predict a number from regional time series with a NeuroSSM.

    Parameters
    ----------
    recipe : str
        Shipped recipe, or a TOML file.
    model_settings, training_settings : dict, optional
        Settings that replace the recipe's, by name.
    random_state : int
        Seed.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    repetition_time : float, optional
        Of all series, in s. Models whose scales are in seconds need it here, or of each series where X is given.
    precision : {"float32", "bfloat16", "float16"}
        Of the matrix products in training.

    Attributes
    ----------
    mean_, scale_ : float
        Of the targets that it learnt from; the network predicts in units of the scale.
    model_ : NeuroSSM
        The network.
    history_ : History
        Loss of each epoch, after `fit`.
    metrics_ : dict
        Numbers that a checkpoint keeps: training loss, epochs; with early stopping the best epoch and its loss.
    """

    _target_type = "continuous"

    def fit(
        self, X: Series, y: ArrayLike, repetition_times: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Self:
        """Learn from series X, array (n, T, R) or a list of (T_i, R) as extracted, and numbers y (n,).

        `repetition_times` (n,), in s, are asked for by scales in seconds where they differ between the series.
        `groups` (n,) say what belongs together (the runs of a participant) when early stopping sets series aside.

        Raises
        ------
        LabelError
            If y does not vary.
        """
        values = np.asarray(y, dtype=np.float64)
        self.mean_, self.scale_ = float(values.mean()), float(values.std())
        if not self.scale_ > 0:
            raise LabelError("y must be finite and vary.")
        self._fit(X, (values - self.mean_) / self.scale_, 1, repetition_times, groups)
        return self

    def predict(self, X: Series, repetition_times: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the predicted numbers (n,)."""
        return self._logits(X, repetition_times)[:, 0] * self.scale_ + self.mean_

    def _target_facts(self) -> dict[str, Any]:
        return {"classes": (), "target_mean": self.mean_, "target_scale": self.scale_}

    def _recall_target(self, facts: CheckpointMetadata) -> None:
        self.mean_, self.scale_ = facts.target_mean, facts.target_scale


def _amplitude(X: Series, config: NeuroSSMConfig, names: Sequence[str]) -> NDArray[np.float32] | None:
    """Return what the amplitude term needs of the series as extracted, where the model has one."""
    if not config.amplitude:
        return None
    return np.stack([run_amplitude(run, [(0, len(run))], name) for run, name in zip(X, names, strict=True)])


def _runs(X: Series) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Standardise the series, and name them."""
    if not len(X):
        raise UsageError("X holds no series.")
    shapes = {np.shape(series)[1:] for series in X}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise UsageError("X must be an array (n, T, R) or a list of arrays (T_i, R) with the same R.")
    runs = [standardise(series) for series in X]
    return runs, [f"X[{number}]" for number in range(len(runs))]
