"""Models for arrays, in the manner of scikit-learn: the same estimators as on the command line."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from bids_neurossm.checkpoint_format import CheckpointMetadata, check_fit
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, TargetType, Training
from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.estimators.neural import NeuralEstimator
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.files.toml_files import section_from
from bids_neurossm.registry import model_entry
from bids_neurossm.training.recipes import load_recipe

Series = NDArray[np.floating[Any]] | Sequence[NDArray[np.floating[Any]]]


class _SeriesEstimator(BaseEstimator, ABC):  # type: ignore[misc]
    """What classifier and regressor share: arrays are laid into a cohort, which an estimator of the package takes."""

    _target_type: ClassVar[TargetType]
    estimator_: NeuralEstimator

    def __init__(
        self,
        recipe: str = "hcp-task",
        model_settings: dict[str, Any] | None = None,
        training_settings: dict[str, Any] | None = None,
        random_state: int = 0,
        device: str = "auto",
        repetition_time: float | None = None,
        precision: str = "float32",
        model: str = "neurossm",
    ) -> None:
        self.recipe = recipe
        self.model_settings = model_settings
        self.training_settings = training_settings
        self.random_state = random_state
        self.device = device
        self.repetition_time = repetition_time
        self.precision = precision
        self.model = model

    @property
    def model_(self) -> Any:
        """The network."""
        return self._fitted().model

    @property
    def metrics_(self) -> dict[str, float]:
        """Numbers that a checkpoint keeps of the training."""
        return dict(self._facts().metrics)

    @property
    def window_(self) -> int | None:
        """Time points per window."""
        return self._facts().window

    def save(self, path: Path | str) -> None:
        """Write the checkpoint: ``path`` (.safetensors) and a TOML file beside it. Classes are kept as text."""
        self._fitted().save(Path(path))

    @classmethod
    def load(cls, path: Path | str, device: str = "auto", repetition_time: float | None = None) -> Self:
        """Read a checkpoint; `repetition_time` is that of the series to come.

        Raises
        ------
        CheckpointError
            If it is damaged, foreign, or of the other kind of target.
        """
        found = load_trained(Path(path), Execution(device=device))
        facts = found.fitted()[1]
        check_fit(facts, Path(path), target_type=cls._target_type)
        made = cls(device=device, repetition_time=repetition_time, model=found.name)
        made.estimator_ = found
        made._recall(facts.classes)
        return made

    @abstractmethod
    def _recall(self, classes: Sequence[str]) -> None:
        """Take over the classes of a checkpoint."""

    def _fit(self, X: Series, labels: Sequence[Any], times: ArrayLike | None, groups: ArrayLike | None) -> None:
        """Learn from the series."""
        if not model_entry(self.model).by_recipe:
            raise UsageError(f"{self.model} is a baseline; a model that is trained by gradient descent is expected.")
        model_table, training = load_recipe(self.recipe)
        if self.training_settings:
            training = section_from(Training, {**asdict(training), **self.training_settings}, "training_settings")
        spec = ModelSpec(self.model, self.recipe, {**model_table, **(self.model_settings or {})})
        execution = Execution(device=self.device, precision=self.precision)
        found = cast(NeuralEstimator, create_estimator(self.model, spec, training, execution))
        with self._laid_out(X, labels, times, groups) as cohort:
            found.fit(cohort, np.arange(len(cohort.runs)), self.random_state)
        self.estimator_ = found

    def _predicted(self, X: Series, times: ArrayLike | None) -> NDArray[np.float64]:
        """Return logits (n, C), or values (n, 1)."""
        estimator = self._fitted()
        known = len(self._facts().regions)
        if len(X) and np.shape(X[0])[1:] != (known,):
            raise UsageError(f"X has {np.shape(X[0])[-1]} regions; the model was fitted with {known}.")
        nothing: list[Any] = [0.0 if self._target_type == "continuous" else ""] * len(X)
        with self._laid_out(X, nothing, times, None) as cohort:
            return estimator.predict(cohort, np.arange(len(X)))

    def _fitted(self) -> NeuralEstimator:
        if not hasattr(self, "estimator_"):
            raise UsageError(f"{type(self).__name__} has not been fitted; call fit or load first.")
        return self.estimator_

    def _facts(self) -> CheckpointMetadata:
        return self._fitted().fitted()[1]

    @contextmanager
    def _laid_out(
        self, X: Series, labels: Sequence[Any], times: ArrayLike | None, groups: ArrayLike | None
    ) -> Iterator[Cohort]:
        """Lay series into a cohort that is there while the context lasts; each is one contiguous piece."""
        if not len(X):
            raise UsageError("X holds no series.")
        shapes = {np.shape(series)[1:] for series in X}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise UsageError("X must be an array (n, T, R) or a list of arrays (T_i, R) with the same R.")
        told = self.repetition_time if times is None else times
        seconds = np.full(len(X), np.nan) if told is None else np.asarray(told, dtype=np.float64)
        seconds = np.full(len(X), seconds) if seconds.ndim == 0 else seconds
        together = np.arange(len(X)) if groups is None else np.asarray(groups)
        for what, each in (("targets", labels), ("repetition times", seconds), ("groups", together)):
            if len(each) != len(X):
                raise UsageError(f"There are {len(X)} series and {len(each)} {what}.")
        names = [f"X[{number}]" for number in range(len(X))]
        table = pd.DataFrame({"run": names, "participant_id": names, "label": list(labels)})
        table = table.assign(group=[str(each) for each in together], repetition_time=seconds)
        regions = [f"region-{number + 1}" for number in range(shapes.pop()[0])]
        with tempfile.TemporaryDirectory(prefix="bids-neurossm-arrays-") as folder:
            yield Cohort.create(folder, table, X, regions, [""] * len(regions), self._target_type, {"target": "y"})


class NeuroSSMClassifier(ClassifierMixin, _SeriesEstimator):  # type: ignore[misc]
    """Classify regional time series with a NeuroSSM, or another model of the package.

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
    model : str
        Registered model that is trained by gradient descent, for instance ``neurossm-static`` or ``lmae-rwmoe``.

    Attributes
    ----------
    classes_ : array
        Sorted classes; text where they come from a checkpoint.
    estimator_ : NeuralEstimator
        What was fitted.
    model_ : Module
        Its network.
    window_ : int
        Time points per window.
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
        labels = np.asarray(y)
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise LabelError(f"y has {len(self.classes_)} class; two or more are needed.")
        self._fit(X, [str(label) for label in labels], repetition_times, groups)
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

    def _logits(self, X: Series, times: ArrayLike | None) -> NDArray[np.float64]:
        """Return the logits in the order of `classes_`: as text, 10 comes before 9."""
        values = self._predicted(X, times)
        place = {name: number for number, name in enumerate(self._facts().classes)}
        return values[:, [place[str(name)] for name in self.classes_]]

    def _recall(self, classes: Sequence[str]) -> None:
        self.classes_ = np.array(classes)


class NeuroSSMRegressor(RegressorMixin, _SeriesEstimator):  # type: ignore[misc]
    """Predict a number from regional time series with a NeuroSSM, or another model of the package.

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
    model : str
        Registered model that is trained by gradient descent, for instance ``neurossm-static`` or ``lmae-rwmoe``.

    Attributes
    ----------
    estimator_ : NeuralEstimator
        What was fitted.
    model_ : Module
        Its network.
    window_ : int
        Time points per window.
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
        if not values.std() > 0:
            raise LabelError("y must be finite and vary.")
        self._fit(X, values.tolist(), repetition_times, groups)
        return self

    def predict(self, X: Series, repetition_times: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the predicted numbers (n,)."""
        return self._predicted(X, repetition_times)[:, 0]

    def _recall(self, classes: Sequence[str]) -> None:
        """Numbers have no classes."""
