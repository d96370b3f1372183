"""Names as people write them: metrics, models, sets of rows, verdicts."""

from __future__ import annotations

import math
from typing import Any

from bids_neurossm.evaluation.metric_names import METRIC_NAMES, lower_is_better, metric_words
from bids_neurossm.registry import installed_entry

#: Names of models in results that are none of the registry.
_OTHER_MODELS = {"static": "static connectivity"}

_SETS = {"development": "out-of-fold", "holdout": "holdout"}


def metric_name(metric: str, explain: bool = False) -> str:
    """Return a metric's name as people write it.

    Parameters
    ----------
    metric : str
        Name in ``metrics.tsv``.
    explain : bool
        Say which way is good where that is not plain.

    Examples
    --------
    >>> metric_name("auc"), metric_name("log_loss", explain=True), metric_name("my_score")
    ('AUC', 'log loss (lower is better)', 'my score')
    """
    known = METRIC_NAMES.get(metric)
    text = metric_words(metric)
    return f"{text} ({known.better})" if explain and known and known.better else text


def metric_range(metric: str) -> tuple[float, float]:
    """Return the smallest and the largest value that a metric can have.

    Examples
    --------
    >>> metric_range("auc"), metric_range("r"), metric_range("mae"), metric_range("calibration_slope")
    ((0.0, 1.0), (-1.0, 1.0), (0.0, inf), (-inf, inf))
    """
    known = METRIC_NAMES.get(metric)
    return (known.low, known.high) if known else (-math.inf, math.inf)


def interval_text(metric: str, low: Any, high: Any) -> str:
    """Return an interval for people: cut where the metric ends, which the interval of a mean over folds does not know.

    Examples
    --------
    >>> interval_text("auc", 0.841, 1.083), interval_text("auc", math.nan, math.nan)
    ('0.841 to 1.000', 'no interval')
    """
    least, most = metric_range(metric)
    if math.isnan(low) or math.isnan(high):
        return "no interval"
    return f"{max(low, least):.3f} to {min(high, most):.3f}"


def model_name(model: str) -> str:
    """Return a model's name as people write it.

    Examples
    --------
    >>> model_name("pearson-connectivity"), model_name("my-own_model")
    ('Pearson connectivity', 'my own model')
    """
    if model in _OTHER_MODELS:
        return _OTHER_MODELS[model]
    entry = installed_entry(model)
    return entry.label if entry else model.replace("-", " ").replace("_", " ")


def set_name(name: str) -> str:
    """Return what a set of rows is, in words."""
    return _SETS.get(name, name.replace("_", " "))


def target_name(target: object) -> str:
    """Return the target without the notation of the command line.

    Examples
    --------
    >>> target_name("entity:task"), target_name("phenotype/scores:iq_total"), target_name("dx")
    ('task', 'iq total', 'dx')
    """
    return str(target or "the target").rpartition(":")[2].replace("_", " ")


def comparison_verdict(metric: str, difference: Any, low: Any, high: Any, p: Any) -> str:
    """Say what a paired difference shows, model minus baseline.

    Parameters
    ----------
    metric : str
        Which way is good depends on it.
    difference, low, high, p : float
        Estimate, 95 % interval, p; any may be missing.

    Returns
    -------
    str
        ``beats``, ``is worse than``, ``can not be told apart from`` or ``can not be compared with``; ``is ahead of`` or
        ``is behind`` where there is a difference and no test of it.

    Examples
    --------
    >>> comparison_verdict("auc", 0.1, 0.02, 0.18, 0.01), comparison_verdict("mae", 0.1, 0.02, 0.18, 0.01)
    ('beats', 'is worse than')
    >>> comparison_verdict("auc", 0.2, -0.3, 0.7, 0.3), comparison_verdict("auc", float("nan"), None, None, None)
    ('can not be told apart from', 'can not be compared with')
    >>> comparison_verdict("auc", 0.5, float("nan"), float("nan"), float("nan"))
    'is ahead of'
    """
    found = [float(value) if isinstance(value, (int, float)) else math.nan for value in (difference, low, high, p)]
    if math.isnan(found[0]):
        return "can not be compared with"
    better = (found[0] > 0) != lower_is_better(metric)
    # Folds that are all alike, or a single one, do not say how much the difference would vary.
    untested = math.isnan(found[3]) and (math.isnan(found[1]) or found[1] == found[2])
    if untested and found[0] != 0:
        return "is ahead of" if better else "is behind"
    significant = found[3] < 0.05 if not math.isnan(found[3]) else found[1] > 0 or found[2] < 0
    if not significant:
        return "can not be told apart from"
    return "beats" if better else "is worse than"
