"""The metrics by name: what people call them, which way is good, and what values they can have."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricName:
    """What is known of a metric without computing it.

    Parameters
    ----------
    words : str
        As people write it.
    better : str
        Which way is good, where that is not plain: ``"lower is better"``, ``"1 is ideal"``.
    low, high : float
        Smallest and largest value that it can have.
    """

    words: str
    better: str = ""
    low: float = 0.0
    high: float = 1.0


_LOWER = "lower is better"
_ANY = (-math.inf, math.inf)

#: By the name in ``metrics.tsv``.
METRIC_NAMES = {
    "auc": MetricName("AUC"),
    "macro_auc": MetricName("macro AUC"),
    "auc_within_site": MetricName("AUC within sites"),
    "accuracy": MetricName("accuracy"),
    "balanced_accuracy": MetricName("balanced accuracy"),
    "f1": MetricName("F1"),
    "macro_f1": MetricName("macro F1"),
    "log_loss": MetricName("log loss", _LOWER, 0.0, math.inf),
    "brier": MetricName("Brier score", _LOWER, 0.0, math.inf),
    "calibration_slope": MetricName("calibration slope", "1 is ideal", *_ANY),
    "calibration_intercept": MetricName("calibration intercept", "0 is ideal", *_ANY),
    "expected_calibration_error": MetricName("expected calibration error", _LOWER),
    "mae": MetricName("mean absolute error", _LOWER, 0.0, math.inf),
    "rmse": MetricName("root mean squared error", _LOWER, 0.0, math.inf),
    "r": MetricName("correlation r", "", -1.0),
    "r2": MetricName("R\N{SUPERSCRIPT TWO}", "", *_ANY),
    "r_within_site": MetricName("correlation r within sites", "", -1.0),
    "partial_r": MetricName("partial r given covariates", "", -1.0),
}


def metric_words(metric: str) -> str:
    """Return a metric's name as people write it.

    Examples
    --------
    >>> metric_words("auc"), metric_words("my_score")
    ('AUC', 'my score')
    """
    known = METRIC_NAMES.get(metric)
    return known.words if known else metric.replace("_", " ")


def lower_is_better(metric: str) -> bool:
    """Tell whether a small value of a metric is the good one."""
    return metric in METRIC_NAMES and METRIC_NAMES[metric].better == _LOWER
