"""Figures per fold, per site and per left-out value, and their intervals."""

import numpy as np
import pandas as pd
import pytest
from helpers.predicted_units import CLASSES, predictions
from helpers.predicted_units import units as overconfident

from bids_neurossm.evaluation import metrics
from bids_neurossm.evaluation.calibration import temperatures
from bids_neurossm.evaluation.metric_tables import (
    auc_within_site,
    metric_table,
    partial_r,
    r_within_site,
    score,
    table_by_value,
)


def test_the_auc_is_averaged_over_folds_and_never_pooled():
    """Each fold ranks perfectly but on its own scale: pooled scores would look poor."""
    rows = [
        {"fold": fold, "label": "ab"[person % 2], "logit_1": shift + person % 2, "unit": f"{fold}{person}"}
        for fold, shift in ((1, -10.0), (2, 10.0))
        for person in range(10)
    ]
    units = pd.DataFrame(rows).assign(model="m", set="development", split=1, logit_0=0.0, site="", group="")
    found = score(units, ["a", "b"]).groupby("metric")["value"]
    assert found.mean()["auc"] == 1.0
    assert found.count()["auc"] == 2
    labels, logits = metrics.labels_and_scores(units, ["a", "b"])
    assert metrics.auc(labels, logits) < 0.8


def test_a_fold_with_one_class_is_left_out_and_counted():
    units = metrics.unit_predictions(predictions(), "participant")
    units = units[~((units["fold"] == 3) & (units["label"] == "a"))]
    found = score(units, ["a", "b"]).groupby("metric")["value"]
    assert (found.count()["auc"], found.size()["auc"]) == (4, 5)
    assert (found.count()["accuracy"], found.size()["accuracy"]) == (5, 5)


def test_within_a_site_nothing_is_earned_from_the_site():
    """The score knows the site only, and the sites differ in their share of patients."""
    site = np.repeat(["x", "y"], 100)
    label = np.where(np.random.default_rng(0).random(200) < np.where(site == "x", 0.9, 0.1), "b", "a")
    units = pd.DataFrame({"site": site, "label": label, "logit_0": 0.0, "logit_1": np.where(site == "x", 1.0, 0.0)})
    labels, logits = metrics.labels_and_scores(units, ["a", "b"])
    assert metrics.auc(labels, logits) > 0.85
    assert auc_within_site(units, ["a", "b"]) == 0.5


def test_correlation_within_sites_and_given_covariates():
    random = np.random.default_rng(0)
    site, age = np.repeat(["x", "y"], 200), random.normal(size=400)
    truth = 5 * (site == "x") + age + random.normal(size=400)
    guess = 5 * (site == "x") + age + random.normal(size=400)
    units = pd.DataFrame({"site": site, "label": truth, "prediction": guess, "unit": np.arange(400)})
    assert metrics.pearson_r(truth, guess[:, None]) > 0.8
    assert r_within_site(units) == pytest.approx(0.5, abs=0.1)
    given = pd.DataFrame({"age": age, "site": site})
    assert abs(partial_r(truth, guess, given)) < 0.12
    assert np.isnan(partial_r(truth, age, given))


def test_the_calibration_error_is_taken_over_all_folds_and_only_with_two_hundred_units():
    table = overconfident(400)
    found = temperatures(table, CLASSES)
    metrics = metric_table(table, found, CLASSES, resamples=20).set_index("metric")
    raw = metrics.loc["expected_calibration_error"]
    assert (raw["n"], raw["fold"]) == (400, "all")
    assert raw["value"] > metrics.loc["expected_calibration_error_calibrated", "value"]
    few = overconfident(150)
    small = metric_table(few, temperatures(few, CLASSES), CLASSES, resamples=20)
    assert not small["metric"].str.contains("expected_calibration_error").any()


def test_out_of_fold_intervals_are_of_the_procedure_and_holdout_intervals_given_the_model():
    table = overconfident(holdout=100)
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
    table = overconfident(200)
    splits = pd.DataFrame({"participant_id": table["unit"], "fold": table["fold"]})
    splits["group"] = splits["fold"].map({1: "A", 2: "B", 3: "C", 4: "D", 5: "E"})
    splits.loc[splits.index % 10 == 4, "group"] = "F"
    found = table_by_value(table, splits, "site", CLASSES, {1: 160})
    assert found["site"].to_list() == ["A", "B", "C", "D", "E, F"]
    assert (found["n"] == 40).all()
    assert (found["n_a"] + found["n_b"] == 40).all()
    assert found["n_training"].to_list() == [160, 0, 0, 0, 0]
    assert found["auc"].between(0.5, 1).all()
