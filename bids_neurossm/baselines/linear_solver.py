"""Linear models with an l2 penalty, exact and quick where features outnumber runs, the penalty chosen inside.

With n runs and p features the solution lies in the span of the training runs (the representer theorem), so that the
features are rotated once into at most n coordinates and everything else happens there, with the same result.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.cohort.split_table import Splits
from bids_neurossm.cohort.splitting import make_splits
from bids_neurossm.errors import LabelError

#: Candidates for C, the inverse penalty, for features scaled to a mean squared length of 1.
PENALTIES = tuple(float(value) for value in 10.0 ** np.arange(-2.0, 4.5, 0.75))
#: Used where the training set is too small to choose.
MIDDLE_PENALTY = 1.0
INNER_FOLDS = 5
_CHUNK = 4096


@dataclass(frozen=True)
class LinearModel:
    """Fitted coefficients.

    Parameters
    ----------
    coefficients : array, shape (K, p)
        K = 1 for two classes (the logit of the second) and for a continuous target, else the number of classes.
    intercepts : array, shape (K,)
        Added to the product.
    classes : int
        Number of classes; 0 for a continuous target.
    penalty : float
        The C that was chosen.
    """

    coefficients: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    classes: int
    penalty: float

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Logits, shape (n, C), or values, shape (n, 1), for features of shape (n, p)."""
        scores = np.asarray(features @ self.coefficients.T + self.intercepts, dtype=np.float64)
        return _as_logits(scores) if self.classes == 2 else scores


def fit_linear(
    features: NDArray[np.floating],
    target: NDArray[Any],
    runs: pd.DataFrame,
    classes: int,
    seed: int,
    class_weights: bool = False,
) -> LinearModel:
    """Fit logistic or ridge regression, C chosen on inner splits that keep groups together.

    Every participant weighs the same: a row weighs one over the number of rows that its participant has with that
    label, so that ten runs of one person do not count as ten persons.

    Parameters
    ----------
    features : array, shape (n, p)
        Training rows. They are centred, and scaled together by one number.
    target : array, shape (n,)
        Class indices, or values.
    runs : DataFrame
        The same rows of the cohort's table: ``participant_id``, ``label``, ``group``, ``site``.
    classes : int
        Number of classes; 0 for a continuous target.
    seed : int
        Seed of the inner splits.
    class_weights : bool
        Give every class the same total weight.

    Returns
    -------
    LinearModel
        The model whose C has the smallest inner log loss (squared error for a continuous target).

    Raises
    ------
    LabelError
        If a class has no training row.
    """
    if classes and len(np.unique(target)) < classes:
        absent = sorted(set(range(classes)) - set(np.unique(target).tolist()))
        raise LabelError(f"Class number {absent[0]} has no run to train on.")
    weights = participant_weights(runs, target, classes, class_weights)
    mean = np.asarray(features.mean(axis=0, dtype=np.float64))
    coordinates, back = _rotate(features, mean)
    penalty = _choose_penalty(coordinates, target, weights, runs, classes, seed)
    coefficients, intercepts = _solve(coordinates, target, weights, classes, [penalty])[0]
    outer = back(coefficients)
    return LinearModel(outer, intercepts - outer @ mean, classes, penalty)


def out_of_fold(
    features: NDArray[np.floating],
    target: NDArray[Any],
    runs: pd.DataFrame,
    classes: int,
    seed: int,
    penalty: float,
    class_weights: bool = False,
) -> NDArray[np.float64] | None:
    """Predict every training row by a model that saw none of its group, with a C that is given.

    Parameters and splits are those of :func:`fit_linear`.

    Returns
    -------
    array, shape (n, C) or (n, 1), or None
        Logits, or values; None where a class has a single group, so that there are no inner splits.
    """
    splits = inner_splits(runs, classes, seed)
    if splits is None:
        return None
    weights = participant_weights(runs, target, classes, class_weights)
    coordinates, _ = _rotate(features, np.asarray(features.mean(axis=0, dtype=np.float64)))
    scores = np.empty((len(target), max(classes, 1)))
    for fold in range(1, splits.folds + 1):
        train, test = splits.fold_indices(runs, fold)
        coefficients, intercepts = _solve(coordinates[train], target[train], weights[train], classes, [penalty])[0]
        scores[test] = LinearModel(coefficients, intercepts, classes, penalty).predict(coordinates[test])
    return scores


def participant_weights(
    runs: pd.DataFrame, target: NDArray[Any], classes: int, class_weights: bool = False
) -> NDArray[np.float64]:
    """Weight of every row, shape (n,), mean 1; see :func:`fit_linear`."""
    cell = pd.DataFrame({"participant": runs["participant_id"].astype(str).to_numpy(), "target": target})
    weights = 1.0 / cell.groupby(["participant", "target"])["target"].transform("size").to_numpy(dtype=np.float64)
    if classes and class_weights:
        totals = np.bincount(target, weights=weights, minlength=classes)
        weights = weights / totals[target]
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def _rotate(features: NDArray[np.floating], mean: NDArray[np.float64]) -> tuple[NDArray[np.float64], Any]:
    """Coordinates of the centred rows, and the way back from coefficients on them to coefficients on features."""
    n, p = features.shape
    if p <= n:
        centred = features.astype(np.float64) - mean
        scale = float(np.sqrt((centred**2).sum(axis=1).mean())) or 1.0
        return centred / scale, lambda coefficients: coefficients / scale
    gram = np.zeros((n, n))
    for start in range(0, p, _CHUNK):
        # In pieces, as a copy of all features in float64 could be larger than the memory.
        part = features[:, start : start + _CHUNK].astype(np.float64) - mean[start : start + _CHUNK]
        gram += part @ part.T
    scale = float(np.sqrt(np.trace(gram) / n)) or 1.0
    values, vectors = np.linalg.eigh(gram / scale**2)
    kept = values > values[-1] * n * np.finfo(np.float64).eps
    roots, vectors = np.sqrt(values[kept]), vectors[:, kept]

    def back(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        dual = (coefficients / roots) @ vectors.T / scale**2
        # Features are centred in the product: sum_i dual_i (x_i - mean).
        return np.asarray(dual @ features - dual.sum(axis=1, keepdims=True) * mean, dtype=np.float64)

    return vectors * roots, back


def _choose_penalty(
    coordinates: NDArray[np.float64],
    target: NDArray[Any],
    weights: NDArray[np.float64],
    runs: pd.DataFrame,
    classes: int,
    seed: int,
) -> float:
    splits = inner_splits(runs, classes, seed)
    if splits is None:
        return MIDDLE_PENALTY
    losses = np.zeros(len(PENALTIES))
    for fold in range(1, splits.folds + 1):
        train, test = splits.fold_indices(runs, fold)
        solutions = _solve(coordinates[train], target[train], weights[train], classes, PENALTIES)
        for number, (coefficients, intercepts) in enumerate(solutions):
            scores = coordinates[test] @ coefficients.T + intercepts
            losses[number] += float(weights[test] @ _losses(scores, target[test], classes))
    return PENALTIES[int(np.argmin(losses))]


def inner_splits(runs: pd.DataFrame, classes: int, seed: int) -> Splits | None:
    """Make grouped inner splits; None where a class has a single group."""
    names = sorted(set(runs["label"])) if classes else []
    for folds in range(INNER_FOLDS, 1, -1):
        try:
            return make_splits(runs, names, "class" if classes else "continuous", folds, 0.0, None, seed)
        except LabelError:
            # Too few groups for so many folds: the next smaller number is tried, and none is an answer too.
            continue
    return None


def _solve(
    coordinates: NDArray[np.float64],
    target: NDArray[Any],
    weights: NDArray[np.float64],
    classes: int,
    penalties: Sequence[float],
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Coefficients and intercepts for every C, from the strongest penalty to the weakest."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    solutions = []
    if not classes:
        for penalty in penalties:
            ridge = Ridge(alpha=1.0 / penalty, solver="cholesky").fit(coordinates, target, sample_weight=weights)
            solutions.append((np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_)))
        return solutions
    logistic = LogisticRegression(solver="lbfgs", max_iter=1000, tol=1e-5, warm_start=True)
    for penalty in penalties:
        logistic.set_params(C=penalty)
        with warnings.catch_warnings():
            # An almost unpenalised fit of separable classes has no end; the inner loss turns it down.
            warnings.simplefilter("ignore", ConvergenceWarning)
            logistic.fit(coordinates, target, sample_weight=weights)
        solutions.append((logistic.coef_.copy(), logistic.intercept_.copy()))
    return solutions


def _losses(scores: NDArray[np.float64], target: NDArray[Any], classes: int) -> NDArray[np.float64]:
    if not classes:
        return np.asarray((scores[:, 0] - target) ** 2, dtype=np.float64)
    from scipy.special import log_softmax

    logits = _as_logits(scores) if classes == 2 else scores
    return np.asarray(-log_softmax(logits, axis=1)[np.arange(len(target)), target], dtype=np.float64)


def _as_logits(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two centred logits, shape (n, 2), from the logit of the second class, shape (n, 1)."""
    return np.hstack([-scores / 2, scores / 2])
