"""Names of metrics, models and verdicts as people write them."""

from __future__ import annotations

import math

import pytest

from bids_neurossm.reports.wording import comparison_verdict, interval_text, model_name, set_name


def test_an_interval_ends_where_the_metric_does() -> None:
    assert interval_text("r", -1.2, 0.5) == "-1.000 to 0.500"
    assert interval_text("mae", -0.3, 4.25) == "0.000 to 4.250"
    assert interval_text("auc", math.nan, 0.9) == "no interval"


def test_sets_and_models_have_names() -> None:
    assert [set_name(name) for name in ("development", "holdout", "my_set")] == ["out-of-fold", "holdout", "my set"]
    assert [model_name(name) for name in ("neurossm", "static", "majority")] == [
        "NeuroSSM",
        "static connectivity",
        "guessing (majority class)",
    ]


@pytest.mark.parametrize(
    ("metric", "values", "said"),
    [
        ("auc", (0.1, 0.02, 0.18, math.nan), "beats"),  # no p: the interval decides
        ("auc", (0.1, -0.02, 0.22, math.nan), "can not be told apart from"),
        ("auc", (0.1, 0.02, 0.18, 0.06), "can not be told apart from"),  # p decides where there is one
        ("log_loss", (-0.1, -0.18, -0.02, 0.01), "beats"),
        ("log_loss", (0.1, 0.1, 0.1, math.nan), "is behind"),
        ("auc", (0.0, 0.0, 0.0, math.nan), "can not be told apart from"),
        ("auc", (None, None, None, None), "can not be compared with"),
    ],
)
def test_a_difference_has_one_verdict(metric: str, values: tuple[float, ...], said: str) -> None:
    assert comparison_verdict(metric, *values) == said
