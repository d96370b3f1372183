"""Temperatures are fitted on other people, and make overconfident probabilities mean what they say."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.evaluation.calibration import calibrated, temperatures
from bids_neurossm.evaluation.metric_tables import metric_table, table_by_value

CLASSES = ["a", "b"]


def units(n=400, heat=3.0, seed=0, holdout=0):
    """Logits that are right up to a factor."""
    random = np.random.default_rng(seed)
    margin = random.normal(size=n) * 1.5
    label = (random.random(n) < 1 / (1 + np.exp(-margin))).astype(int)
    frame = pd.DataFrame({"model": "m", "set": "development", "split": 1, "fold": np.arange(n) % 5 + 1})
    names = [f"s{i:03d}" for i in range(n)]
    frame = frame.assign(unit=names, group=names, participant_id=names, site=[f"S{i % 2}" for i in range(n)])
    frame = frame.assign(label=np.array(CLASSES)[label], logit_0=-heat * margin / 2, logit_1=heat * margin / 2)
    frame.loc[frame.index < holdout, ["set", "fold"]] = ["holdout", 0]
    return frame


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


def test_the_calibration_error_is_taken_over_all_folds_and_only_with_two_hundred_units():
    table = units(400)
    found = temperatures(table, CLASSES)
    metrics = metric_table(table, found, CLASSES, resamples=20).set_index("metric")
    raw = metrics.loc["expected_calibration_error"]
    assert (raw["n"], raw["fold"]) == (400, "all")
    assert raw["value"] > metrics.loc["expected_calibration_error_calibrated", "value"]
    few = units(150)
    small = metric_table(few, temperatures(few, CLASSES), CLASSES, resamples=20)
    assert not small["metric"].str.contains("expected_calibration_error").any()


def test_out_of_fold_intervals_are_of_the_procedure_and_holdout_intervals_given_the_model():
    table = units(holdout=100)
    overall = metric_table(table, temperatures(table, CLASSES), CLASSES, resamples=50).query("fold == 'all'")
    auc = overall[overall["metric"] == "auc"].set_index("set")
    assert auc.loc["development", "interval"].startswith("of the procedure: Nadeau-Bengio over 5 folds")
    assert auc.loc["holdout", "interval"].startswith("given these models: bootstrap over groups")
    assert auc.loc["development", "given_low"] < auc.loc["development", "value"] < auc.loc["development", "given_high"]
    assert auc.loc["holdout", "ci_low"] == auc.loc["holdout", "given_low"]
    sites = metric_table(table, temperatures(table, CLASSES), CLASSES, folds_are="sites", resamples=50)
    line = sites.query("fold == 'all' and metric == 'auc' and set == 'development'").iloc[0]
    assert line["interval"].startswith("of the procedure: sign-flip over 5 sites")


def test_a_continuous_target_is_given_partial_correlation_and_correlation_within_sites():
    random = np.random.default_rng(0)
    n = 200
    age = random.normal(40, 10, n)
    names = [f"s{i}" for i in range(n)]
    table = pd.DataFrame({"model": "m", "set": "development", "split": 1, "fold": np.arange(n) % 5 + 1, "unit": names})
    table = table.assign(group=names, participant_id=names, site=[f"S{i % 3}" for i in range(n)], age=age)
    table = table.assign(label=age + random.normal(0, 2, n), prediction=age + random.normal(0, 2, n))
    found = metric_table(table, temperatures(table, []), [], ["age"], resamples=20).query("fold == 'all'")
    value = found.set_index("metric")["value"]
    assert value["r"] > 0.9
    # All that was predicted is age.
    assert abs(value["partial_r"]) < 0.2
    assert value["r_within_site"] > 0.9


def test_every_left_out_value_has_a_row_with_its_size():
    table = units(200)
    splits = pd.DataFrame({"participant_id": table["unit"], "fold": table["fold"]})
    splits["group"] = splits["fold"].map({1: "A", 2: "B", 3: "C", 4: "D", 5: "E"})
    splits.loc[splits.index % 10 == 4, "group"] = "F"
    found = table_by_value(table, splits, "site", CLASSES, {1: 160})
    assert found["site"].to_list() == ["A", "B", "C", "D", "E, F"]
    assert (found["n"] == 40).all()
    assert (found["n_a"] + found["n_b"] == 40).all()
    assert found["n_training"].to_list() == [160, 0, 0, 0, 0]
    assert found["auc"].between(0.5, 1).all()
