"""How good predictions are, fold by fold, per participant or per run (docs/methods.md, section 2).

Predictions are a tidy table, one row per run, model, fold and seed:

========================  ==========================================================================================
``model``                 registered name
``set``                   ``development`` (out-of-fold) or ``holdout``
``split``                 number of the re-split, 1 if there is one only
``fold``                  1 to K; 0 where one model judged the whole holdout
``seed``                  seed of the model
``participant_id``        participant
``group``                 what stays together in a split
``unit``                  what is scored: the run, or the participant after :func:`unit_predictions`
``site``                  site, empty if unknown
``label``                 class name, or value
``logit_0`` ...           one column per class in the order of ``classes``; a continuous target has ``prediction``
========================  ==========================================================================================

Further columns (covariates) are carried along. A metric that is undefined in a fold, such as the AUC where one class
is absent, is NaN there, left out of the mean, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logsumexp, softmax

from bids_neurossm.errors import LabelError, UsageError

Floats = NDArray[np.float64]
Metric = Callable[[NDArray[Any], Floats], float]
KEYS = ("model", "set", "split", "fold")

#: Expected calibration error means little on fewer predictions (docs/methods.md, section 2).
SMALLEST_CALIBRATION_SAMPLE = 200


def prediction_frame(
    runs: pd.DataFrame,
    scores: Floats,
    classes: Sequence[str],
    *,
    model: str,
    set_name: Literal["development", "holdout"],
    fold: int,
    seed: int,
    split: int = 1,
    covariates: Sequence[str] = (),
) -> pd.DataFrame:
    """Lay an estimator's output beside the facts of its runs.

    Parameters
    ----------
    runs : DataFrame
        The predicted rows of the cohort's table.
    scores : array, shape (n, C) or (n, 1)
        What ``predict`` returned.
    classes : sequence of str
        Class names; empty for a continuous target.
    model, set_name, fold, seed, split
        Where the scores come from.
    covariates : sequence of str
        Columns of ``runs`` to carry along.

    Returns
    -------
    DataFrame
        The table that the module describes.
    """
    names = score_columns(classes)
    if scores.shape != (len(runs), len(names)):
        raise UsageError(f"{model} returned scores of shape {scores.shape}; {(len(runs), len(names))} was expected.")
    frame = pd.DataFrame(
        {"model": model, "set": set_name, "split": split, "fold": fold, "seed": seed}, index=runs.index
    )
    frame["participant_id"] = runs["participant_id"].astype(str)
    frame["group"] = runs["group"].astype(str) if "group" in runs else frame["participant_id"]
    frame["unit"] = runs["run"].astype(str)
    frame["site"] = runs["site"].astype("string").fillna("").astype(str) if "site" in runs else ""
    frame["label"] = runs["label"]
    frame[names] = np.asarray(scores, dtype=np.float64)
    for name in covariates:
        if name not in frame:
            frame[name] = runs[name]
    return frame.reset_index(drop=True)


def score_columns(classes: Sequence[str]) -> list[str]:
    """Names of the columns that hold an estimator's output."""
    return [f"logit_{number}" for number in range(len(classes))] if classes else ["prediction"]


def unit_predictions(predictions: pd.DataFrame, level: Literal["participant", "run"]) -> pd.DataFrame:
    """Average seeds, and the runs of a participant, into the units that are scored.

    Parameters
    ----------
    predictions : DataFrame
        The table that the module describes.
    level : {"participant", "run"}
        ``participant`` for a target that belongs to the participant: the mean logit over its runs. ``run`` for a
        target that belongs to the run (``entity:task``).

    Returns
    -------
    DataFrame
        One row per ``model``, ``set``, ``split``, ``fold`` and unit, sorted; without ``seed``. Other numbers are
        averaged, other words taken from the first run.

    Raises
    ------
    LabelError
        If runs that are averaged have different classes.
    """
    table = predictions.drop(columns="seed", errors="ignore")
    if level == "participant":
        table = table.assign(unit=table["participant_id"])
    keys = [*KEYS, "unit"]
    by = table.groupby(keys, sort=True)
    if not pd.api.types.is_numeric_dtype(table["label"]):
        torn = by["label"].nunique()
        if (torn > 1).any():
            unit = torn[torn > 1].index[0][-1]
            raise LabelError(f"{unit} has runs of several classes: this target belongs to the run, score it per run.")
    kinds = {
        name: "mean" if pd.api.types.is_numeric_dtype(table[name]) else "first"
        for name in table.columns
        if name not in keys
    }
    return by.agg(kinds).reset_index()[list(table.columns)]


def class_indices(labels: pd.Series[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Place of every label in ``classes``; raises LabelError for an unknown one."""
    places = {name: number for number, name in enumerate(classes)}
    unknown = sorted(set(labels) - set(places))
    if unknown:
        raise LabelError(f"The label {unknown[0]!r} is none of the classes {', '.join(classes)}.")
    return np.array([places[label] for label in labels], dtype=np.int64)


def labels_and_scores(units: pd.DataFrame, classes: Sequence[str]) -> tuple[NDArray[Any], Floats]:
    """Arrays for a metric: class indices and logits (n, C), or values and predictions (n, 1)."""
    scores = units[score_columns(classes)].to_numpy(dtype=np.float64)
    if classes:
        return class_indices(units["label"], classes), scores
    return units["label"].to_numpy(dtype=np.float64), scores


def development_of_others(
    units: pd.DataFrame, model: object, set_name: object, split: object, fold: object
) -> pd.DataFrame:
    """Out-of-fold units of a model that may teach what is applied to one fold, or to the holdout.

    For a fold those of the other folds of the same split; for the holdout the whole development set.
    """
    mine = units[(units["model"] == model) & (units["set"] == "development")]
    return mine if set_name == "holdout" else mine[(mine["split"] == split) & (mine["fold"] != fold)]


def primary_metric(classes: Sequence[str], level: Literal["participant", "run"]) -> str:
    """Metric that an analysis is judged by: AUC (balanced accuracy for a target of the run), or r."""
    if not classes:
        return "r"
    return "balanced_accuracy" if level == "run" else "auc"


def rows_of_folds(units: pd.DataFrame) -> list[NDArray[np.int64]]:
    """Places, from 0, of the units of each fold of every split, in order."""
    folds = units.reset_index(drop=True).groupby(["split", "fold"], sort=True).indices.values()
    return [np.asarray(rows, dtype=np.int64) for rows in folds]


def values_by_fold(units: pd.DataFrame, classes: Sequence[str], metric: str) -> Floats:
    """Metric of one model's units in each fold of every split, shape (J,); NaN where it is not defined."""
    labels, scores = labels_and_scores(units, classes)
    return np.array([METRICS[metric](labels[rows], scores[rows]) for rows in rows_of_folds(units)])


def defined_mean(values: Floats) -> float:
    """Mean over the folds where a metric is defined; NaN if it is in none."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def mean_over_folds(units: pd.DataFrame, classes: Sequence[str], metric: str) -> float:
    """Metric fold by fold, averaged over the folds where it is defined."""
    return defined_mean(values_by_fold(units, classes, metric))


def _all_present(labels: NDArray[Any], scores: Floats) -> bool:
    return bool(len(np.unique(labels)) == scores.shape[1])


def accuracy(labels: NDArray[Any], logits: Floats) -> float:
    """Share of the units whose largest logit is the true class's."""
    return float(np.mean(logits.argmax(axis=1) == labels)) if len(labels) else float("nan")


def balanced_accuracy(labels: NDArray[Any], logits: Floats) -> float:
    """Mean over classes of the share that is found; NaN where a class is absent."""
    if not _all_present(labels, logits):
        return float("nan")
    hit = logits.argmax(axis=1) == labels
    return float(np.mean([hit[labels == number].mean() for number in range(logits.shape[1])]))


def macro_f1(labels: NDArray[Any], logits: Floats) -> float:
    """Mean over classes of F1; NaN where a class is absent."""
    if not _all_present(labels, logits):
        return float("nan")
    guess = logits.argmax(axis=1)
    return float(
        np.mean(
            [
                2 * np.sum((guess == c) & (labels == c)) / (np.sum(guess == c) + np.sum(labels == c))
                for c in range(logits.shape[1])
            ]
        )
    )


def binary_auc(positive: NDArray[np.bool_], score: Floats) -> float:
    """Probability that a positive outranks a negative, ties counted half; NaN with one class."""
    high, low = score[positive], np.sort(score[~positive])
    if not len(high) or not len(low):
        return float("nan")
    below = np.searchsorted(low, high, "left").sum() + np.searchsorted(low, high, "right").sum()
    return float(below / (2 * len(high) * len(low)))


def one_vs_rest(logits: Floats) -> Floats:
    """Logit of every class against all others together, shape (n, C); ranks like the probability, never saturates."""
    columns = [logits[:, c] - logsumexp(np.delete(logits, c, axis=1), axis=1) for c in range(logits.shape[1])]
    return np.column_stack(columns)


def auc(labels: NDArray[Any], logits: Floats) -> float:
    """Area under the ROC curve, macro one-vs-rest; NaN where a class is absent."""
    if logits.shape[1] == 2:
        return binary_auc(labels == 1, logits[:, 1] - logits[:, 0])
    against = one_vs_rest(logits)
    return float(np.mean([binary_auc(labels == c, against[:, c]) for c in range(logits.shape[1])]))


def log_loss(labels: NDArray[Any], logits: Floats) -> float:
    """Mean negative log probability of the true class, in nats."""
    if not len(labels):
        return float("nan")
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def brier(labels: NDArray[Any], logits: Floats) -> float:
    """Mean squared distance between probabilities and truth, summed over classes (0 to 2; Brier, 1950)."""
    if not len(labels):
        return float("nan")
    return float(((softmax(logits, axis=1) - np.eye(logits.shape[1])[labels]) ** 2).sum(axis=1).mean())


def calibration_slope(labels: NDArray[Any], logits: Floats) -> float:
    """Slope of the truth on the logit: 1 is calibrated, below 1 is overconfident.

    Cox, 1958, "Two further applications of a model for binary regression". With three classes or more, the mean of
    the one-vs-rest slopes. NaN where a class is absent or the classes are separated, so that no slope exists.
    """
    return float(np.mean([_logistic(labels == c, score, free_slope=True) for c, score in _binary_scores(logits)]))


def calibration_intercept(labels: NDArray[Any], logits: Floats) -> float:
    """Calibration in the large: what must be added to the logit, its slope held at 1; 0 is calibrated.

    Of the second class, if there are two; else the mean size over the one-vs-rest intercepts.
    """
    found = [_logistic(labels == c, score, free_slope=False) for c, score in _binary_scores(logits)]
    return found[0] if len(found) == 1 else float(np.mean(np.abs(found)))


def _binary_scores(logits: Floats) -> list[tuple[int, Floats]]:
    if logits.shape[1] == 2:
        return [(1, logits[:, 1] - logits[:, 0])]
    return list(enumerate(one_vs_rest(logits).T))


def _logistic(positive: NDArray[np.bool_], score: Floats, *, free_slope: bool) -> float:
    """Unpenalised logistic regression of the truth on the score by Newton's method; NaN without a finite answer."""
    if positive.all() or not positive.any():
        return float("nan")
    ones = np.ones_like(score)
    design = np.column_stack([ones, score]) if free_slope else ones[:, None]
    offset = np.zeros_like(score) if free_slope else score
    weights = np.zeros(design.shape[1])
    for _ in range(100):
        probability = expit(design @ weights + offset)
        gradient = design.T @ (positive - probability)
        hessian = (design * (probability * (1 - probability))[:, None]).T @ design
        if not np.linalg.cond(hessian) < 1e12:
            return float("nan")
        step = np.linalg.solve(hessian, gradient)
        weights = weights + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-9:
            return float(weights[-1])
    return float("nan")


def expected_calibration_error(labels: NDArray[Any], logits: Floats) -> float:
    """Mean gap between confidence and accuracy over bins of equal mass; NaN below 200 units.

    There are ten bins, fewer where that leaves less than 20 units in one.
    """
    if len(labels) < SMALLEST_CALIBRATION_SAMPLE:
        return float("nan")
    confidence = softmax(logits, axis=1).max(axis=1)
    hit = logits.argmax(axis=1) == labels
    bins = np.array_split(np.argsort(confidence, kind="stable"), min(10, len(labels) // 20))
    return float(sum(abs(confidence[b].mean() - hit[b].mean()) * len(b) for b in bins) / len(labels))


def fit_temperature(labels: NDArray[Any], logits: Floats) -> float:
    """Temperature that minimises the log loss; fit it on out-of-fold logits (Guo et al., 2017, ICML, section 4.2)."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: log_loss(labels, logits / np.exp(log_t)), bounds=(-5.0, 5.0), method="bounded"
    )
    return float(np.exp(found.x))


def mean_absolute_error(values: NDArray[Any], predicted: Floats) -> float:
    """Mean absolute error, in the unit of the target."""
    return float(np.abs(values - predicted[:, 0]).mean()) if len(values) else float("nan")


def pearson_r(values: NDArray[Any], predicted: Floats) -> float:
    """Pearson correlation of truth and prediction; NaN where either is constant."""
    return correlation(values, predicted[:, 0])


def r_squared(values: NDArray[Any], predicted: Floats) -> float:
    """Coefficient of determination, 1 - SSE / SST about the mean of the tested units; may be negative."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float("nan")
    return float(1 - ((values - predicted[:, 0]) ** 2).sum() / ((values - values.mean()) ** 2).sum())


def centred_logits(outputs: Floats, target: NDArray[np.int64]) -> Floats:
    """Return how far outputs (n, C) speak for what is explained, (n,): that logit minus the mean of the others.

    Of a continuous target (n, 1), the value in the direction of the target, -1 for downwards.
    """
    if outputs.shape[1] == 1:
        return np.where(target < 0, -1.0, 1.0) * outputs[:, 0]
    own = outputs[np.arange(len(target)), target]
    return np.asarray(own - (outputs.sum(axis=1) - own) / (outputs.shape[1] - 1), dtype=np.float64)


def correlation(x: Floats, y: Floats) -> float:
    """Pearson correlation; NaN with fewer than three pairs or a constant."""
    if len(x) < 3 or np.ptp(x) <= 1e-12 * np.abs(x).max() or np.ptp(y) <= 1e-12 * np.abs(y).max():
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


#: Metric of a class target, by its name in ``metrics.tsv``.
CLASS_METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "auc": auc,
    "log_loss": log_loss,
    "brier": brier,
    "calibration_slope": calibration_slope,
    "calibration_intercept": calibration_intercept,
    "expected_calibration_error": expected_calibration_error,
}
#: Metric of a continuous target, by its name in ``metrics.tsv``.
VALUE_METRICS: dict[str, Metric] = {"mae": mean_absolute_error, "r": pearson_r, "r2": r_squared}
METRICS: dict[str, Metric] = {**CLASS_METRICS, **VALUE_METRICS}
