"""What a model has to beat: majority, covariates, Pearson connectivity, tangent connectivity.

All learn from the training runs alone, ride along on the same splits as the model (docs/methods.md, section 2), and
are linear: l2 logistic regression for classes, ridge regression for a continuous target.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.checkpoint import Arrays
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.training.connectivity import (
    MultiscaleTangentFeatures,
    TangentSpace,
    covariances_of,
    pearson_features,
)
from bids_neurossm.training.harmonisation import harmonised
from bids_neurossm.training.linear import LinearModel, fit_linear, participant_weights
from bids_neurossm.training.saved import Baseline

#: Columns of the cohort's table that the covariate baseline uses where they exist.
COVARIATES = ("age", "sex", "site", "mean_fd", "n_volumes", "repetition_time")


class Features(Protocol):
    """Turns runs into rows of numbers; what it needs to know is learned from the training runs."""

    def fit(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Learn from the training runs and return their features, shape (n, p)."""
        ...

    def transform(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Features of other runs, shape (n, p)."""
        ...

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and plain values that bring the features back."""
        ...

    def restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        ...


class PearsonFeatures:
    """Fisher z of Pearson correlations; nothing is learned."""

    def fit(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Features of the training runs, shape (n, R (R - 1) / 2)."""
        return pearson_features(cohort, indices)

    def transform(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Features of other runs."""
        return pearson_features(cohort, indices)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Nothing."""
        return {}, {}

    def restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Nothing to take over."""


class TangentFeatures:
    """Tangent vectors of shrunk covariances; the reference is the geometric mean of the training runs."""

    def __init__(self) -> None:
        self.space = TangentSpace()

    def fit(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Find the reference and return the tangent vectors of the training runs, shape (n, R (R + 1) / 2)."""
        return self.space.fit_transform(covariances_of(cohort, indices))

    def transform(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Tangent vectors of other runs."""
        return self.space.transform(covariances_of(cohort, indices))

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return the whitening matrix."""
        return {"whitening": self.space.whitening}, {}

    def restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Take the whitening matrix over."""
        self.space.whitening = arrays["whitening"]


class CovariateFeatures:
    """Age, sex, site, motion, length and repetition time, as far as they are known, plus columns by name.

    A number is standardised over the training runs, a missing one takes their median and sets a flag; a word becomes
    one column per value seen in training, and an unseen value none. A column that says the label itself is left out.

    Parameters
    ----------
    columns : tuple of str
        Columns of the cohort's table besides :data:`COVARIATES`.
    standard : tuple of str
        Columns taken in place of :data:`COVARIATES`.
    """

    def __init__(self, columns: tuple[str, ...] = (), standard: tuple[str, ...] = COVARIATES) -> None:
        self.wanted = (*standard, *(name for name in columns if name not in standard))
        self.codes: dict[str, dict[str, Any]] = {}

    def fit(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Learn medians, scales and values; return the coded training runs."""
        rows = cohort.runs.iloc[indices]
        named = [name for name in self.wanted if name in rows and not _same(rows[name], rows["label"])]
        coded = {name: _code(rows[name]) for name in named}
        self.codes = {name: code for name, code in coded.items() if code is not None}
        return self.transform(cohort, indices)

    def transform(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Coded covariates, shape (n, p); a single column of zeros where the cohort has no covariate."""
        rows = cohort.runs.iloc[indices]
        blocks = [_encode(rows[name], code) for name, code in self.codes.items()]
        return np.hstack([np.zeros((len(rows), 1)), *blocks])

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return the codes of the columns."""
        return {}, {"codes": self.codes, "wanted": list(self.wanted)}

    def restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Take the codes over."""
        self.codes, self.wanted = facts["codes"], tuple(facts["wanted"])


def _same(column: pd.Series[Any], label: pd.Series[Any]) -> bool:
    """Whether a covariate is the target itself, as sex is where sex is predicted."""
    if pd.api.types.is_numeric_dtype(column) and pd.api.types.is_numeric_dtype(label):
        return bool(np.array_equal(column.to_numpy(dtype=float), label.to_numpy(dtype=float)))
    return bool((column.astype(str).to_numpy() == label.astype(str).to_numpy()).all())


def _code(column: pd.Series[Any]) -> dict[str, Any] | None:
    """How a column is coded; None where it does not vary."""
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64)
        known = values[np.isfinite(values)]
        if len(known) == 0:
            return None
        spread = float(known.std())
        missing = len(known) < len(values)
        if spread == 0 and not missing:
            return None
        return {"median": float(np.median(known)), "mean": float(known.mean()), "sd": spread or 1.0, "flag": missing}
    values_seen = sorted(set(_words(column)) - {""})
    return {"values": values_seen} if len(set(_words(column))) > 1 else None


def _encode(column: pd.Series[Any], code: dict[str, Any]) -> NDArray[np.float64]:
    if "values" in code:
        words = _words(column)
        return np.array([[float(word == value) for value in code["values"]] for word in words])
    values = column.to_numpy(dtype=np.float64)
    missing = ~np.isfinite(values)
    standard = (np.where(missing, code["median"], values) - code["mean"]) / code["sd"]
    return np.column_stack([standard, missing]) if code["flag"] else standard[:, None]


def _words(column: pd.Series[Any]) -> list[str]:
    return ["" if text in ("n/a", "nan") else text for text in column.astype("string").fillna("")]


class LinearBaseline(Baseline):
    """An l2 linear model on features of the runs; see :func:`bids_neurossm.training.linear.fit_linear`.

    Rows are weighted so that every participant counts once per label, however many runs it has.

    Parameters
    ----------
    name : str
        Registered name.
    features : Features
        Where its numbers come from.
    class_weights : bool
        Give every class the same total weight.
    """

    def __init__(self, name: str, features: Features, class_weights: bool) -> None:
        super().__init__(name)
        self.features = features
        self.class_weights = class_weights
        self.model: LinearModel | None = None

    def _learn(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs ``indices``; the penalty is chosen on inner grouped splits of them."""
        features = self.features.fit(cohort, indices)
        runs = cohort.runs.iloc[indices].reset_index(drop=True)
        target = cohort.labels(indices)
        self.model = fit_linear(features, target, runs, len(cohort.classes), seed, self.class_weights)

    def _predicted(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        assert self.model is not None
        return self.model.predict(self.features.transform(cohort, indices))

    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        assert self.model is not None
        arrays, state = self.features.state()
        arrays = {**arrays, "coefficients": self.model.coefficients, "intercepts": self.model.intercepts}
        return arrays, {**state, "penalty": self.model.penalty, "weighted": self.class_weights}

    def _take(self, arrays: Arrays, state: dict[str, Any]) -> None:
        self.features.restore(arrays, state)
        self.class_weights = bool(state["weighted"])
        coefficients, intercepts, count = arrays["coefficients"], arrays["intercepts"], len(self.classes)
        rows = 1 if count in (0, 2) else count
        if coefficients.ndim != 2 or len(coefficients) != rows or intercepts.shape != (rows,):
            raise ValueError(f"it has coefficients of shape {coefficients.shape} for {count} classes")
        self.model = LinearModel(coefficients, intercepts, count, float(state["penalty"]))


class Majority(Baseline):
    """Predicts the frequencies of the classes, or the mean, of the training participants."""

    scores: NDArray[np.float64]

    def _learn(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Count labels; every participant counts once per label."""
        target = cohort.labels(indices)
        runs = cohort.runs.iloc[indices]
        weights = participant_weights(runs, target, len(self.classes))
        if not self.classes:
            self.scores = np.array([np.average(target, weights=weights)])
            return
        shares = np.bincount(target, weights=weights, minlength=len(self.classes)) / weights.sum()
        # Half a participant keeps the logit of a class without a training run finite.
        self.scores = np.log(np.maximum(shares, 0.5 / len(runs)))

    def _predicted(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the same row for everybody, shape (n, C) or (n, 1)."""
        return np.tile(self.scores, (len(indices), 1))

    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        return {"scores": self.scores}, {}

    def _take(self, arrays: Arrays, state: dict[str, Any]) -> None:
        self.scores = arrays["scores"]
        if self.scores.shape != (len(self.classes) or 1,):
            raise ValueError(f"it has {self.scores.shape} scores for {len(self.classes)} classes")


def majority(name: str, spec: ModelSpec, training: Training, execution: Execution) -> Majority:
    """Make the majority baseline; nothing can be set."""
    return Majority(name)


def covariates(name: str, spec: ModelSpec, training: Training, execution: Execution) -> LinearBaseline:
    """Make the covariate baseline; ``settings["covariates"]`` may list further columns."""
    columns = tuple(str(column) for column in spec.settings.get("covariates", ()))
    return LinearBaseline(name, CovariateFeatures(columns), training.class_weights)


def age_only(name: str, spec: ModelSpec, training: Training, execution: Execution) -> LinearBaseline:
    """Make the baseline of age alone; nothing can be set."""
    return LinearBaseline(name, CovariateFeatures(standard=("age",)), training.class_weights)


def pearson(name: str, spec: ModelSpec, training: Training, execution: Execution) -> LinearBaseline:
    """Make the baseline of Pearson connectivity; ``settings["harmonise"]`` may ask for ComBat over sites."""
    return _on(PearsonFeatures(), name, spec, training)


def tangent(name: str, spec: ModelSpec, training: Training, execution: Execution) -> LinearBaseline:
    """Make the baseline of tangent connectivity; ``settings["harmonise"]`` may ask for ComBat over sites."""
    return _on(TangentFeatures(), name, spec, training)


def multiscale_tangent(name: str, spec: ModelSpec, training: Training, execution: Execution) -> LinearBaseline:
    """Make that of tangent connectivity at several scales; ``settings["harmonise"]`` may ask for ComBat over sites."""
    return _on(MultiscaleTangentFeatures(), name, spec, training)


def _on(features: Features, name: str, spec: ModelSpec, training: Training) -> LinearBaseline:
    return LinearBaseline(name, harmonised(features, spec.settings.get("harmonise")), training.class_weights)
