"""Linear baselines: covariates, Pearson connectivity, tangent connectivity.

All learn from the training runs alone, ride along on the same splits as the model (docs/methods.md, section 2), and
are linear: l2 logistic regression for classes, ridge regression for a continuous target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.baselines.base import Baseline
from bids_neurossm.baselines.combat import harmonised
from bids_neurossm.baselines.features import (
    CovariateFeatures,
    Features,
    MultiscaleTangentFeatures,
    PearsonFeatures,
    TangentFeatures,
)
from bids_neurossm.baselines.linear_solver import LinearModel, fit_linear
from bids_neurossm.checkpoint_format import Arrays
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training


class LinearBaseline(Baseline):
    """An l2 linear model on features of the runs; see :func:`bids_neurossm.baselines.linear_solver.fit_linear`.

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
