"""Temperatures are fitted on other people, and make overconfident probabilities mean what they say."""

import numpy as np
import pandas as pd
import pytest
from helpers.predicted_units import CLASSES, units

from bids_neurossm.evaluation.calibration import calibrated, temperatures
from bids_neurossm.evaluation.metric_tables import metric_table


def test_the_factor_of_overconfidence_is_found_and_taken_away():
    table = units(holdout=100)
    found = temperatures(table, CLASSES)
    assert len(found) == 6
    assert found["temperature"].between(2, 4.5).all()
    tempered = calibrated(table, found, CLASSES)
    pd.testing.assert_series_equal(tempered["unit"], table["unit"])
    np.testing.assert_allclose(tempered["logit_1"] * tempered["temperature"], table["logit_1"])
    metrics = metric_table(table, found, CLASSES, resamples=20).query("fold == 'all'").set_index(["set", "metric"])
    for name in ("development", "holdout"):
        assert metrics.loc[(name, "calibration_slope"), "value"] < 0.6
        assert metrics.loc[(name, "calibration_slope_calibrated"), "value"] == pytest.approx(1, abs=0.45)
        assert metrics.loc[(name, "log_loss_calibrated"), "value"] < metrics.loc[(name, "log_loss"), "value"]
    # AUC does not change, and so is given once.
    assert "auc_calibrated" not in metrics.index.get_level_values("metric")


def test_a_fold_has_no_part_in_its_own_temperature():
    table = units()
    before = temperatures(table, CLASSES).set_index("fold")["temperature"]
    turned = table.copy()
    mine = turned["fold"] == 2
    turned.loc[mine, "label"] = np.where(turned.loc[mine, "label"] == "a", "b", "a")
    after = temperatures(turned, CLASSES).set_index("fold")["temperature"]
    assert after[2] == before[2]
    assert (after.drop(2) > before.drop(2)).all()


def test_where_there_is_nothing_to_fit_the_temperature_is_one():
    flat = units().assign(logit_0=0.0, logit_1=0.0)
    assert (temperatures(flat, CLASSES)["temperature"] == 1).all()
    numbers = units().rename(columns={"logit_0": "prediction"}).assign(label=1.0)
    found = temperatures(numbers, [])
    assert (found["temperature"] == 1).all()
    pd.testing.assert_series_equal(calibrated(numbers, found, [])["prediction"], numbers["prediction"])
