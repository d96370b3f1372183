"""Baselines with a kernel on connectivity: linear support vector machine, kernel ridge.

Both are scikit-learn's; what is learned besides (penalty, kernel width, the scale of the logits) is learned on inner
grouped splits of the training runs (docs/methods.md, section 2).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.baselines.base import Baseline
from bids_neurossm.baselines.combat import harmonised
from bids_neurossm.baselines.features import Features, PearsonFeatures
from bids_neurossm.baselines.linear_solver import inner_splits, participant_weights
from bids_neurossm.checkpoint_format import Arrays
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.evaluation.metrics import fit_temperature

Floats = NDArray[np.float64]
#: Candidates for C of the support vector machine, for features scaled to a mean squared length of 1.
MARGIN_PENALTIES = tuple(float(value) for value in 10.0 ** np.arange(-2.0, 2.5, 0.75))
#: Candidates for alpha of kernel ridge, and for the squared width of its kernel over the mean squared length.
RIDGE_PENALTIES = tuple(float(value) for value in 10.0 ** np.arange(-3.0, 1.5, 0.75))
WIDTHS = (0.5, 2.0)
#: Penalty and width of either where the training set is too small to choose.
_MIDDLE_OF_MARGIN, _MIDDLE_OF_RIDGE = (1.0, 0.0), (0.1, 2.0)
_ITERATIONS = 20_000


class KernelBaseline(Baseline):
    """A support vector machine or kernel ridge on features of the runs.

    A class is told from the others by goals of plus and minus one. The decisions are made into logits by one factor,
    fitted on inner out-of-fold decisions (as in `bids_neurossm.evaluation.calibration`), since they are none by
    themselves. A continuous target is standardised for the fit.

    Parameters
    ----------
    name : str
        Registered name.
    features : Features
        Where its numbers come from.
    class_weights : bool
        Give every class the same total weight.
    is_ridge : bool
        Kernel ridge, or a support vector machine.
    """

    def __init__(self, name: str, features: Features, class_weights: bool, is_ridge: bool) -> None:
        super().__init__(name)
        self.is_ridge = is_ridge
        self.features = features
        self.class_weights = class_weights
        self.arrays: Arrays = {}
        self.chosen: dict[str, float] = {}

    def _learn(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs ``indices``; what has to be chosen is chosen on inner grouped splits of them."""
        features = np.asarray(self.features.fit(cohort, indices))
        runs = cohort.runs.iloc[indices].reset_index(drop=True)
        target = cohort.labels(indices)
        weights = participant_weights(runs, target, len(self.classes), self.class_weights)
        mean = features.mean(axis=0)
        training = features - mean
        scale = float(np.einsum("np,np->n", training, training, dtype=np.float64).mean()) or 1.0
        goals, centre, spread = _goals(target, len(self.classes), weights)
        (penalty, width), factor = self._choose(training, scale, goals, weights, runs, target, seed)
        kernel = _similarity(training, training, scale, width)
        dual, intercept = self._solve(kernel, goals, weights, penalty)
        self.arrays = {"dual": dual, "intercept": intercept, "mean": mean, "training": training}
        self.chosen = {
            "penalty": penalty, "width": width, "factor": factor, "centre": centre, "spread": spread, "scale": scale,
        }  # fmt: skip

    def _predicted(self, cohort: Cohort, indices: NDArray[np.int64]) -> Floats:
        rows = np.asarray(self.features.transform(cohort, indices)) - self.arrays["mean"]
        kernel = _similarity(rows, self.arrays["training"], self.chosen["scale"], self.chosen["width"])
        decisions = kernel @ self.arrays["dual"] + self.arrays["intercept"]
        if not self.classes:
            return np.asarray(decisions * self.chosen["spread"] + self.chosen["centre"], dtype=np.float64)
        return _as_logits(decisions * self.chosen["factor"])

    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        arrays, state = self.features.state()
        return arrays | self.arrays, {**state, **self.chosen}

    def _take(self, arrays: Arrays, state: dict[str, Any]) -> None:
        self.features.restore(arrays, state)
        self.arrays = {name: arrays[name] for name in ("dual", "intercept", "mean", "training")}
        names = ("penalty", "width", "factor", "centre", "spread", "scale")
        self.chosen = {name: float(state[name]) for name in names}

    def _choose(
        self,
        training: NDArray[np.floating],
        scale: float,
        goals: Floats,
        weights: Floats,
        runs: pd.DataFrame,
        target: NDArray[Any],
        seed: int,
    ) -> tuple[tuple[float, float], float]:
        """Penalty and width with the smallest inner loss, and the factor from decisions to logits."""
        splits = inner_splits(runs, len(self.classes), seed)
        if splits is None:
            return (_MIDDLE_OF_RIDGE if self.is_ridge else _MIDDLE_OF_MARGIN), 1.0
        best: tuple[float, tuple[float, float], Floats] | None = None
        for width in WIDTHS if self.is_ridge else (0.0,):
            kernel = _similarity(training, training, scale, width)
            for penalty in RIDGE_PENALTIES if self.is_ridge else MARGIN_PENALTIES:
                decisions = np.empty_like(goals)
                for fold in range(1, splits.folds + 1):
                    train, test = splits.fold_indices(runs, fold)
                    dual, intercept = self._solve(kernel[np.ix_(train, train)], goals[train], weights[train], penalty)
                    decisions[test] = kernel[np.ix_(test, train)] @ dual + intercept
                loss = float(weights @ self._losses(goals, decisions))
                if best is None or loss < best[0]:
                    best = (loss, (penalty, width), decisions)
        assert best is not None
        return best[1], 1 / fit_temperature(target, _as_logits(best[2])) if self.classes else 1.0

    def _losses(self, goals: Floats, decisions: Floats) -> Floats:
        """Loss of every row: the one that the method itself minimises."""
        if self.is_ridge:
            return np.asarray(((goals - decisions) ** 2).sum(axis=1), dtype=np.float64)
        if self.classes:
            return np.asarray(np.maximum(0, 1 - goals * decisions).sum(axis=1), dtype=np.float64)
        return np.asarray(np.abs(goals - decisions).sum(axis=1), dtype=np.float64)

    def _solve(self, kernel: Floats, goals: Floats, weights: Floats, penalty: float) -> tuple[Floats, Floats]:
        """Dual coefficients, shape (n, K), and intercepts, shape (K,), for goals of shape (n, K)."""
        if self.is_ridge:
            from sklearn.kernel_ridge import KernelRidge

            # A constant in the kernel is an intercept: the sum of the dual coefficients.
            model = KernelRidge(alpha=penalty, kernel="precomputed").fit(kernel + 1, goals, sample_weight=weights)
            dual = np.asarray(model.dual_coef_, dtype=np.float64).reshape(goals.shape)
            return dual, dual.sum(axis=0)
        solved = [_machine(kernel, goal, weights, penalty, bool(self.classes)) for goal in goals.T]
        return np.column_stack([dual for dual, _ in solved]), np.array([intercept for _, intercept in solved])


def _machine(kernel: Floats, goal: Floats, weights: Floats, penalty: float, classes: bool) -> tuple[Floats, float]:
    """One support vector machine: dual coefficients, shape (n,), and intercept."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC, SVR

    kind = SVC if classes else SVR
    machine = kind(C=penalty, kernel="precomputed", max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        # An almost unpenalised fit of separable classes takes long; the inner loss turns it down.
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(kernel, goal, sample_weight=weights)
    dual = np.zeros(len(kernel))
    dual[machine.support_] = machine.dual_coef_[0]
    return dual, float(machine.intercept_[0])


def _goals(target: NDArray[Any], classes: int, weights: Floats) -> tuple[Floats, float, float]:
    """Plus and minus one per class against the others (one column for two), or the standardised target."""
    if not classes:
        centre, spread = float(np.average(target, weights=weights)), float(np.std(target)) or 1.0
        return ((target - centre) / spread)[:, None], centre, spread
    if classes == 2:
        return np.where(target == 1, 1.0, -1.0)[:, None], 0.0, 1.0
    return np.where(target[:, None] == np.arange(classes), 1.0, -1.0), 0.0, 1.0


def _similarity(rows: NDArray[np.floating], training: NDArray[np.floating], scale: float, width: float) -> Floats:
    """Kernel between centred rows, shape (n, m): linear for width 0, else Gaussian."""
    inner = np.asarray(rows @ training.T, dtype=np.float64) / scale
    if not width:
        return inner
    own, theirs = (np.einsum("np,np->n", part, part, dtype=np.float64) / scale for part in (rows, training))
    return np.asarray(np.exp(-np.maximum(own[:, None] + theirs - 2 * inner, 0.0) / (2 * width)), dtype=np.float64)


def _as_logits(decisions: Floats) -> Floats:
    return np.hstack([-decisions / 2, decisions / 2]) if decisions.shape[1] == 1 else decisions


def support_vectors(name: str, spec: ModelSpec, training: Training, execution: Execution) -> KernelBaseline:
    """Make the support vector machine; ``settings["harmonise"]`` may ask for ComBat over sites."""
    return _on_pearson(name, spec, training, is_ridge=False)


def ridge(name: str, spec: ModelSpec, training: Training, execution: Execution) -> KernelBaseline:
    """Make kernel ridge; ``settings["harmonise"]`` may ask for ComBat over sites."""
    return _on_pearson(name, spec, training, is_ridge=True)


def _on_pearson(name: str, spec: ModelSpec, training: Training, is_ridge: bool) -> KernelBaseline:
    features = harmonised(PearsonFeatures(), spec.settings.get("harmonise"))
    return KernelBaseline(name, features, training.class_weights, is_ridge)
