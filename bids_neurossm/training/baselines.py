"""What a model has to beat: majority, covariates, Pearson connectivity, tangent connectivity.

All learn from the training runs alone, ride along on the same splits as the model (docs/methods.md, section 2), and
are linear: l2 logistic regression for classes, ridge regression for a continuous target.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.dataset.write import write_bytes
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.connectivity import (
    MultiscaleTangentFeatures,
    TangentSpace,
    covariances_of,
    pearson_features,
)
from bids_neurossm.training.estimator import Estimator
from bids_neurossm.training.harmonisation import harmonised
from bids_neurossm.training.linear import LinearModel, fit_linear, participant_weights

#: Columns of the cohort's table that the covariate baseline uses where they exist.
COVARIATES = ("age", "sex", "site", "mean_fd", "n_volumes", "repetition_time")
#: How the names of the models end whose features can be harmonised over sites.
_CONNECTIVITY = ("connectivity", "tangent")


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


class LinearBaseline:
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
        self.name = name
        self.features = features
        self.class_weights = class_weights
        self.model: LinearModel | None = None
        self.classes: list[str] = []

    def fit(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs ``indices``; the penalty is chosen on inner grouped splits of them."""
        features = self.features.fit(cohort, indices)
        runs = cohort.runs.iloc[indices].reset_index(drop=True)
        target = cohort.labels(indices)
        self.classes = list(cohort.classes)
        self.model = fit_linear(features, target, runs, len(cohort.classes), seed, self.class_weights)

    def predict(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Logits, shape (n, C), or values, shape (n, 1)."""
        if self.model is None:
            raise UsageError(f"{self.name} predicts only after it was fitted.")
        return self.model.predict(self.features.transform(cohort, indices))

    def save(self, path: Path) -> None:
        """Write arrays and facts as one safetensors file."""
        if self.model is None:
            raise UsageError(f"{self.name} is saved only after it was fitted.")
        arrays, facts = self.features.state()
        arrays = {**arrays, "coefficients": self.model.coefficients, "intercepts": self.model.intercepts}
        facts = {**facts, "penalty": self.model.penalty, "n_classes": self.model.classes}
        write_baseline(
            path, arrays, {**facts, "name": self.name, "classes": self.classes, "weighted": self.class_weights}
        )


class Majority:
    """Predicts the frequencies of the classes, or the mean, of the training participants."""

    name = "majority"

    def __init__(self) -> None:
        self.scores: NDArray[np.float64] | None = None
        self.classes: list[str] = []

    def fit(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Count labels; every participant counts once per label."""
        target = cohort.labels(indices)
        runs = cohort.runs.iloc[indices]
        self.classes = list(cohort.classes)
        weights = participant_weights(runs, target, len(self.classes))
        if not self.classes:
            self.scores = np.array([np.average(target, weights=weights)])
            return
        shares = np.bincount(target, weights=weights, minlength=len(self.classes)) / weights.sum()
        # Half a participant keeps the logit of a class without a training run finite.
        self.scores = np.log(np.maximum(shares, 0.5 / len(runs)))

    def predict(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the same row for everybody, shape (n, C) or (n, 1)."""
        if self.scores is None:
            raise UsageError("majority predicts only after it was fitted.")
        return np.tile(self.scores, (len(indices), 1))

    def save(self, path: Path) -> None:
        """Write the row as a safetensors file."""
        if self.scores is None:
            raise UsageError("majority is saved only after it was fitted.")
        write_baseline(path, {"scores": self.scores}, {"name": self.name, "classes": self.classes})


def create(name: str, spec: ModelSpec, training: Training, execution: Execution) -> Estimator:
    """Make a baseline by its registered name.

    Parameters
    ----------
    name : str
        ``majority``, ``covariates``, ``age-only``, ``pearson-connectivity``, ``tangent-connectivity`` or
        ``multiscale-tangent``.
    spec : ModelSpec
        ``settings["covariates"]`` may list further columns for the covariate baseline, ``settings["harmonise"]`` ask
        for ComBat over sites.
    training : Training
        ``class_weights`` holds for the linear baselines as for the model.
    execution : Execution
        Not used.

    Raises
    ------
    UsageError
        If there is no such baseline.
    """
    if name == "majority":
        return Majority()
    if name == "covariates":
        columns = tuple(str(column) for column in spec.settings.get("covariates", ()))
        return LinearBaseline(name, CovariateFeatures(columns), training.class_weights)
    features = harmonised(_features(name), spec.settings.get("harmonise") if name.endswith(_CONNECTIVITY) else None)
    return LinearBaseline(name, features, training.class_weights)


def _features(name: str) -> Features:
    kinds: dict[str, Callable[[], Features]] = {
        "covariates": CovariateFeatures,
        "age-only": lambda: CovariateFeatures(standard=("age",)),
        "pearson-connectivity": PearsonFeatures,
        "tangent-connectivity": TangentFeatures,
        "multiscale-tangent": MultiscaleTangentFeatures,
    }
    if name not in kinds:
        raise UsageError(f"{name!r} is not a baseline; known are majority, {', '.join(kinds)}.")
    return kinds[name]()


def load_baseline(path: Path) -> Estimator:
    """Read a baseline that was saved.

    Raises
    ------
    CheckpointError
        If the file is absent, damaged, or not a baseline.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            facts = json.loads(file.metadata()["baseline"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        if facts["name"] == "majority":
            majority = Majority()
            majority.scores, majority.classes = arrays["scores"], facts["classes"]
            return majority
        features = harmonised(_features(facts["name"]), "combat" if "sites" in facts else None)
        baseline = LinearBaseline(facts["name"], features, facts["weighted"])
        baseline.features.restore(arrays, facts)
        baseline.classes = facts["classes"]
        baseline.model = LinearModel(arrays["coefficients"], arrays["intercepts"], facts["n_classes"], facts["penalty"])
        return baseline
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, UsageError) as error:
        raise CheckpointError(f"{path} is not a baseline that can be read: {error}.") from error


def write_baseline(path: Path, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
    """Write what a baseline learned as one safetensors file.

    Parameters
    ----------
    path : Path
        File to write; it has its final name only once it is whole.
    arrays : dict of array
        Numbers that were learned.
    facts : dict
        Plain values beside them, its registered ``name`` among them; they go into the header as JSON.
    """
    from safetensors.numpy import save

    whole = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    write_bytes(path, save(whole, metadata={"baseline": json.dumps(facts, sort_keys=True)}))
