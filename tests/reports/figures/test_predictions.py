"""Figures of predictions: curves and matrices with a known answer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_neurossm.reports.figures.predictions import calibration_curve, confusion_matrix, roc_curves


def test_the_area_under_the_curve_is_taken_per_fold_and_then_averaged() -> None:
    # Each fold is told apart perfectly, on scales so different that the pooled scores would mix the classes.
    predictions = pd.DataFrame(
        {
            "fold": ["1", "1", "2", "2"],
            "label": ["a", "b", "a", "b"],
            "probability_b": [0.10, 0.20, 0.80, 0.90],
        }
    )
    picture = roc_curves(predictions, ["a", "b"], "participants")
    assert picture is not None
    assert picture.alt == "ROC curves; area under the curve: b 1.00."
    assert "n = 4 participants, mean of 2 folds" in picture.caption


def test_a_fold_with_one_class_has_no_curve() -> None:
    predictions = pd.DataFrame({"fold": ["1", "1"], "label": ["a", "a"], "probability_b": [0.1, 0.2]})
    assert roc_curves(predictions, ["a", "b"], "participants") is None


def test_the_confusion_matrix_counts_every_class_even_one_never_predicted() -> None:
    predictions = pd.DataFrame({"label": ["a", "b", "b", "c"], "predicted": ["a", "a", "b", "b"]})
    picture = confusion_matrix(predictions, ["a", "b", "c"], "runs")
    assert picture is not None
    assert picture.alt == "Confusion matrix of 3 classes, 2 of 4 right."


def test_probabilities_that_can_be_taken_at_their_word_lie_on_the_diagonal() -> None:
    stated = np.repeat([0.1, 0.5, 0.9], 100)
    right = np.concatenate([np.arange(100) < share for share in (10, 50, 90)])
    rows = pd.DataFrame({"label": np.where(right, "b", "a"), "probability_a": 1 - stated, "probability_b": stated})
    picture = calibration_curve(rows, ["a", "b"], "participants")
    assert picture is not None
    assert picture.caption.startswith("Calibration, n = 300 participants in 10 bins")
    assert calibration_curve(rows.head(19), ["a", "b"], "participants") is None
