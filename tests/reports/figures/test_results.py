"""Figures of results: what they say of models, baselines, controls and learning."""

from __future__ import annotations

import pandas as pd

from bids_neurossm.reports.figures.results import controls_figure, differences, learning_curve, metric_intervals

METRICS = pd.DataFrame(
    [
        ("neurossm", "auc", 0.7, 0.6, 0.8, 60),
        ("majority", "auc", 0.5, 0.5, 0.5, 60),
        ("neurossm", "mae", 3.0, 2, 4, 60),
    ],
    columns=["model", "metric", "value", "ci_low", "ci_high", "n"],
).assign(interval="of the procedure")


def test_models_are_compared_in_one_metric_and_the_best_is_named() -> None:
    drawn = metric_intervals(METRICS, "auc", "neurossm", 0.5)
    assert drawn is not None
    assert drawn.alt == "AUC of 2 models with intervals; the largest value is that of NeuroSSM."
    assert drawn.caption == (
        "NeuroSSM (orange) and the baselines on the same splits, n = 60. Interval: of the procedure, cut where the "
        "metric ends. The dashed line is guessing."
    )
    assert metric_intervals(METRICS, "log_loss", "neurossm", None) is None


def test_folds_are_mentioned_only_where_they_are_drawn() -> None:
    folds = pd.DataFrame({"model": ["neurossm"] * 2, "metric": ["auc", "mae"], "value": [0.65, 3.0]})
    for rows, said in ((folds, True), (folds[folds["metric"] == "mae"], False)):
        drawn = metric_intervals(METRICS, "auc", "neurossm", None, rows)
        assert drawn is not None
        assert ("Small dots are single folds." in drawn.caption) is said


def test_each_difference_has_its_verdict_in_words() -> None:
    rows = [
        ("majority", 0.2, 0.1, 0.3, 0.001),
        ("covariates", 0.1, -0.2, 0.4, 0.4),
        ("tangent", -0.2, -0.3, -0.1, 0.01),
    ]
    table = pd.DataFrame(rows, columns=["baseline", "difference", "ci_low", "ci_high", "p"]).assign(metric="auc")
    drawn = differences(table, "auc", "neurossm")
    assert drawn is not None
    assert drawn.alt == (
        "Paired differences; the model beats guessing (majority class); can not be told apart from covariates only; is "
        "worse than tangent."
    )
    assert differences(table, "mae", "neurossm") is None


def test_controls_beyond_chance_are_counted() -> None:
    table = pd.DataFrame({"control": ["labels permuted", "time shuffled", "not done"], "metric": "auc"})
    table = table.assign(observed=[0.8, 0.55, None], null_mean=0.5, null_q95=0.6, n=1000)
    drawn = controls_figure(table)
    assert drawn is not None
    assert drawn.alt == "2 controls, 1 of them with an observed value beyond the 95th percentile of chance."
    assert drawn.caption.endswith("95th percentile, n = 1,000 permutations at most.")
    assert controls_figure(table.drop(columns="null_q95")) is None


def test_a_learning_curve_is_told_from_its_first_to_its_last_point() -> None:
    rows = [("majority", 48, 0.5), ("neurossm", 48, 0.71), ("neurossm", 12, 0.58), ("majority", 12, 0.5)]
    table = pd.DataFrame(rows, columns=["model", "n_training", "value"]).assign(metric="auc")
    drawn = learning_curve(table, "neurossm")
    assert drawn is not None
    assert drawn.alt == "Learning curve of 2 models; NeuroSSM goes from 0.58 to 0.71."
    assert "n = 48 groups at most." in drawn.caption
    assert learning_curve(table.assign(value=float("nan")), "neurossm") is None
