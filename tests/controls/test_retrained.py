"""Verdicts of retraining: on altered series, on permuted labels, on fewer participants."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.cohort.surrogates import PHASE_RANDOMISATION, TIME_SHUFFLE
from bids_neurossm.controls.permutation import COLUMNS
from bids_neurossm.controls.retrained import (
    altered_series_controls,
    altered_series_table,
    learning_curve_table,
    retrained_null_control,
)


def row(difference, p, metric="auc", variant=TIME_SHUFFLE):
    return {
        "baseline": variant, "metric": metric, "model_value": 0.75, "baseline_value": 0.75 - difference,
        "difference": difference, "low": difference - 0.1, "high": difference + 0.1, "p": p, "n_folds": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "p", "metric", "verdict"),
    [
        (0.25, 0.01, "auc", "the model uses the order of the volumes in time"),
        (-0.25, 0.01, "auc", "the model does better without the order of the volumes in time"),
        (-0.25, 0.01, "log_loss", "the model uses the order of the volumes in time"),
        (0.25, 0.01, "log_loss", "the model does better without the order of the volumes in time"),
        (0.25, 0.05, "auc", "the model is not shown to use the order of the volumes in time"),
        (0.0, np.nan, "auc", "can not be tested"),
    ],
)
def test_the_model_uses_what_it_is_worse_without(difference, p, metric, verdict):
    table = altered_series_controls(pd.DataFrame([row(difference, p, metric), row(0.25, 0.5, "other")]), metric)
    assert table.columns.to_list() == list(COLUMNS)
    (found,) = table.to_dict(orient="records")
    assert found["control"] == "time shuffled in training and test, retrained"
    assert (found["observed"], found["null_mean"], found["n"]) == (0.75, 0.75 - difference, 5)
    assert found["verdict"].startswith(f"{verdict} (")


def test_the_figures_of_an_altered_series_stand_in_its_verdict():
    (found,) = altered_series_controls(pd.DataFrame([row(0.25, 0.01, variant=PHASE_RANDOMISATION)]), "auc")["verdict"]
    assert found == (
        "the model uses dynamics beyond lagged covariance (what phase randomisation destroys) (AUC 0.750, and 0.500 "
        "with randomised phases; difference +0.250, 95 % interval +0.150 to +0.350, p = 0.01)"
    )


@pytest.mark.parametrize(
    ("observed", "null", "p", "verdict"),
    [
        (0.9, [0.5] * 24, 0.04, "the labels are predicted better than chance (p = 0.04, 24 retrained nulls)"),
        (0.5, [0.4, 0.6, 0.5] * 8, 17 / 25, "nothing learned: chance does as well (p = 0.68, 24 retrained nulls)"),
        (np.nan, [0.5], np.nan, "can not be tested: not defined in any fold"),
    ],
)
def test_a_retrained_null_counts_the_observed_value(observed, null, p, verdict):
    (found,) = retrained_null_control(observed, null, "auc", "within sites").to_dict(orient="records")
    assert found["control"] == f"labels permuted within sites, model retrained (N = {len(null)})"
    assert found["p"] == pytest.approx(p, nan_ok=True)
    assert found["verdict"] == verdict


def test_nineteen_nulls_are_the_least_that_tell():
    (found,) = retrained_null_control(0.9, [0.5] * 19, "auc", "within sites")["verdict"]
    assert found == "the labels are predicted better than chance (p = 0.05, 19 retrained nulls)"


@pytest.mark.parametrize(("n", "least"), [(3, "0.25"), (9, "0.1")])
def test_too_few_nulls_are_said_to_be_too_few(n, least):
    (found,) = retrained_null_control(0.9, [0.5] * n, "auc", "within sites")["verdict"]
    said = f"too few nulls to tell: with {n} of them p can not fall below {least}; it is {least}"
    assert found.startswith(f"{said} (--retrained-nulls ")


def units(hits, model="m", n=20, folds=5):
    """Four people in each fold, of whom so many are predicted rightly, alternately of class a and b."""
    number = np.arange(n)
    label = number // folds % 2
    right = number // folds < hits
    margin = np.where(right, 1.0, -1.0) * np.where(label, 1.0, -1.0)
    names = [f"s{i:02d}" for i in number]
    return pd.DataFrame(
        {
            "model": model, "set": "development", "split": 1, "fold": number % folds + 1, "participant_id": names,
            "group": names, "unit": names, "site": "", "label": np.array(["a", "b"])[label], "logit_0": 0.0,
            "logit_1": margin,
        }
    )  # fmt: skip


def test_altered_series_are_compared_on_the_folds_of_the_model():
    table = altered_series_table(
        pd.concat([units(4), units(0, "another")]), {TIME_SHUFFLE: units(2)}, "m", ["a", "b"], "random"
    )
    balanced = table[table["metric"] == "balanced_accuracy"].iloc[0]
    assert set(table["baseline"]) == {TIME_SHUFFLE}
    assert (balanced["model_value"], balanced["baseline_value"], balanced["difference"]) == (1.0, 0.5, 0.5)


def test_a_learning_curve_has_a_row_per_model_and_share_and_says_what_was_gained():
    parts = {50: units(3), 100: units(4)}
    sizes = {("m", 50): 8.0, ("m", 100): 16.0}
    table, sentence = learning_curve_table(parts, sizes, "m", ["a", "b"], "balanced_accuracy", "random")
    assert table["percent"].to_list() == [50, 100]
    assert table["n_training"].to_list() == [8.0, 16.0]
    assert table["value"].to_list() == [0.75, 1.0]
    assert table["n_folds"].to_list() == [5, 5]
    assert sentence == (
        "Learning curve: from 50 % of the training groups (8) to all (16) the balanced accuracy of m changed by +0.250 "
        "(no test, as all folds are alike): more participants are not shown to help."
    )
