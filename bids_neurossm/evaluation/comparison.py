"""The model against every baseline, on the same units and the same folds, ending in a plain sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.errors import UsageError
from bids_neurossm.evaluation.intervals import Interval, grouped_bootstrap, nadeau_bengio_interval, sign_flip_interval
from bids_neurossm.evaluation.metric_names import lower_is_better, metric_words
from bids_neurossm.evaluation.metrics import (
    METRICS,
    Floats,
    labels_and_scores,
    values_by_fold,
)

FoldsAre = Literal["random", "sites"]

#: Below this p a difference is called one.
SIGNIFICANCE = 0.05
COLUMNS = (
    "model", "baseline", "set", "metric", "model_value", "baseline_value", "difference", "low", "high", "p", "method",
    "label", "n_folds", "n_units", "verdict",
)  # fmt: skip


def compare(
    units: pd.DataFrame,
    model: str,
    classes: Sequence[str],
    metrics: Sequence[str] | None = None,
    *,
    folds_are: FoldsAre = "random",
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Set a model against every other model of the table.

    Parameters
    ----------
    units : DataFrame
        From :func:`bids_neurossm.evaluation.metrics.unit_predictions`, all models on the same units and folds.
    model : str
        The model that is judged.
    classes : sequence of str
        Class names; empty for a continuous target.
    metrics : sequence of str, optional
        Names of :data:`bids_neurossm.evaluation.metrics.METRICS`; by default AUC and balanced accuracy, or r and mae.
    folds_are : {"random", "sites"}
        ``random`` folds are tested with Nadeau-Bengio, left-out ``sites`` by sign-flips. A holdout is one fold, and
        is judged by a paired bootstrap over its groups, given these models.
    resamples, seed : int
        Of the bootstrap and the sign-flips.

    Returns
    -------
    DataFrame
        A row per baseline, set and metric: ``model``, ``baseline``, ``set``, ``metric``, ``model_value``,
        ``baseline_value``, ``difference`` (model minus baseline, mean over folds where both are defined), ``low``,
        ``high`` (95 %), ``p`` (two-sided, not corrected for the number of baselines), ``method``, ``label``,
        ``n_folds``, ``n_units``, ``verdict``.

    Raises
    ------
    UsageError
        If the model is absent, or a baseline was scored on other units or folds.
    """
    names = list(metrics) if metrics is not None else (["auc", "balanced_accuracy"] if classes else ["r", "mae"])
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise UsageError(f"The metric {unknown[0]!r} is not known; known are {', '.join(METRICS)}.")
    if model not in set(units["model"]):
        raise UsageError(
            f"The predictions hold no model {model!r}; they hold {', '.join(sorted(set(units['model'])))}."
        )
    rows = []
    for set_name, part in units.groupby("set", sort=True):
        mine = _in_order(part, model)
        for baseline in sorted(set(part["model"]) - {model}):
            theirs = _in_order(part, baseline)
            _require_same_units(mine, theirs, model, baseline, str(set_name))
            rows += [_row(mine, theirs, name, classes, folds_are, resamples, seed) for name in names]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _in_order(part: pd.DataFrame, model: str) -> pd.DataFrame:
    return part[part["model"] == model].sort_values(["split", "fold", "unit"], ignore_index=True)


def _require_same_units(mine: pd.DataFrame, theirs: pd.DataFrame, model: str, baseline: str, set_name: str) -> None:
    columns = ["split", "fold", "unit", "label"]
    if len(mine) != len(theirs) or not mine[columns].equals(theirs[columns]):
        raise UsageError(
            f"{model} and {baseline} were not scored on the same units of the {set_name} set in the same folds "
            f"({len(mine)} and {len(theirs)} rows): their difference would mean nothing."
        )


def _row(
    mine: pd.DataFrame,
    theirs: pd.DataFrame,
    name: str,
    classes: Sequence[str],
    folds_are: FoldsAre,
    resamples: int,
    seed: int,
) -> dict[str, object]:
    metric = METRICS[name]
    labels, scores = labels_and_scores(mine, classes)
    _, other_scores = labels_and_scores(theirs, classes)

    def difference(rows: NDArray[np.int64]) -> float:
        return metric(labels[rows], scores[rows]) - metric(labels[rows], other_scores[rows])

    values, others = (values_by_fold(each, classes, name) for each in (mine, theirs))
    both = np.isfinite(values) & np.isfinite(others)
    found = (
        grouped_bootstrap(mine, difference, bool(classes), resamples=resamples, seed=seed)
        if mine["set"].iloc[0] == "holdout"
        else over_folds(values - others, mine, folds_are, seed)
    )
    model, baseline = str(mine["model"].iloc[0]), str(theirs["model"].iloc[0])
    mean, other = (float(v[both].mean()) if both.any() else float("nan") for v in (values, others))
    return {
        "model": model, "baseline": baseline, "set": mine["set"].iloc[0], "metric": name, "model_value": mean,
        "baseline_value": other, "difference": found.estimate, "low": found.low, "high": found.high, "p": found.p,
        "method": found.method, "label": found.label, "n_folds": int(both.sum()), "n_units": mine["unit"].nunique(),
        "verdict": verdict(model, baseline, name, mean, other, found),
    }  # fmt: skip


def over_folds(values: Floats, units: pd.DataFrame, folds_are: FoldsAre, seed: int = 0) -> Interval:
    """Interval of the procedure for a figure, or a paired difference, per fold.

    Parameters
    ----------
    values : array, shape (J,)
        One per fold of every re-split.
    units : DataFrame
        The units of one model that were scored, for the sizes of the folds.
    folds_are : {"random", "sites"}
        Nadeau-Bengio, or sign-flips and a t interval over left-out sites.
    seed : int
        Of the sign-flips.
    """
    if folds_are == "sites":
        return sign_flip_interval(values, seed=seed)
    return nadeau_bengio_interval(values, ratio_of_test_to_train(units), folds=folds_of_a_split(units))


def folds_of_a_split(units: pd.DataFrame) -> int:
    """Return the number of folds of one split."""
    return int(units.groupby("split")["fold"].nunique().max())


def ratio_of_test_to_train(units: pd.DataFrame) -> float:
    """Return groups tested over groups trained on, averaged over folds and re-splits of one model.

    With K equal folds this is 1 / (K - 1).

    Raises
    ------
    UsageError
        If there is a single fold, so that nothing says what it was trained on.
    """
    ratios = []
    for _, split in units.groupby("split"):
        counts = split.groupby("fold")["group"].nunique().to_numpy(dtype=np.float64)
        if len(counts) < 2:
            raise UsageError("The predictions hold a single fold: run the other folds before models are compared.")
        ratios.extend(counts / (counts.sum() - counts))
    return float(np.mean(ratios))


def verdict(model: str, baseline: str, metric: str, value: float, other: float, found: Interval) -> str:
    """Say in plain words what a comparison showed.

    Parameters
    ----------
    model, baseline, metric : str
        Names.
    value, other : float
        The model's figure and the baseline's.
    found : Interval
        Of the difference, model minus baseline.

    Returns
    -------
    str
        The model ``beats`` or ``is worse than`` the baseline where p < .05; else it ``can not be told apart from`` it,
        which is not to say that the two are alike: the interval says how far apart they may be. It ``is ahead of`` or
        ``is behind`` the baseline where the folds allow no test.
    """
    word = metric_words(metric)
    figures = f"{word} {value:.3f} against {other:.3f}"
    if not np.isfinite(found.estimate):
        return f"{model} and {baseline} can not be compared: {word} is not defined for both in any fold."
    if not np.isfinite(found.p):
        # The report says the same in fewer words (`bids_neurossm.reports.wording.comparison_verdict`).
        ahead = (found.estimate < 0) == (lower_is_better(metric))
        side = "can not be told apart from" if found.estimate == 0 else "is ahead of" if ahead else "is behind"
        where = f"in each of {found.n} folds" if found.n > 1 else "in one fold"
        reason = "folds that are all alike do" if found.n > 1 else "one fold does"
        return (
            f"{model} {side} {baseline}, by {abs(found.estimate):.3f} {where} ({figures}): no test, as {reason} not "
            "say how much the difference would vary."
        )
    evidence = (
        f"{figures}; difference {found.estimate:+.3f}, 95 % interval {found.low:+.3f} to {found.high:+.3f}, "
        f"p = {found.p:.3g}, {found.method}, {found.label}"
    )
    if found.p < SIGNIFICANCE:
        better = found.estimate < 0 if lower_is_better(metric) else found.estimate > 0
        return f"{model} {'beats' if better else 'is worse than'} {baseline} ({evidence})."
    if found.low <= 0 <= found.high:
        return f"{model} can not be told apart from {baseline}, and so is not shown to beat it ({evidence})."
    return f"{model} is not shown to differ from {baseline} ({evidence})."
