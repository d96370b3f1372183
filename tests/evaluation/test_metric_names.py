"""Metrics have words, a direction and a range."""

from bids_neurossm.evaluation.metric_names import METRIC_NAMES, lower_is_better, metric_words
from bids_neurossm.evaluation.metrics import METRICS


def test_every_metric_has_words():
    assert set(METRICS) <= set(METRIC_NAMES)


def test_losses_and_errors_are_better_when_they_are_lower_and_a_slope_is_not():
    lower = {name for name in METRIC_NAMES if lower_is_better(name)}
    assert lower == {"log_loss", "brier", "expected_calibration_error", "mae", "rmse"}
    assert not lower_is_better("my_score")


def test_words_and_ranges_are_those_of_the_metric():
    assert metric_words("r2") == "R²"
    assert metric_words("my_score") == "my score"
    assert [(METRIC_NAMES[name].low, METRIC_NAMES[name].high) for name in ("auc", "r", "mae", "r2")] == [
        (0.0, 1.0), (-1.0, 1.0), (0.0, float("inf")), (-float("inf"), float("inf")),
    ]  # fmt: skip
