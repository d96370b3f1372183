"""Metrics have words, a direction and a range."""

from bids_neurossm.evaluation.metric_names import METRIC_NAMES
from bids_neurossm.evaluation.metrics import METRICS


def test_every_metric_has_words():
    assert set(METRICS) <= set(METRIC_NAMES)
