"""Metrics agree with scikit-learn where it has them, and are NaN where they have no meaning."""

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from helpers.predicted_units import predictions
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.evaluation import metrics


def simulated(classes, n=300, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    return labels, random.normal(size=(n, classes)) + np.eye(classes)[labels]


@pytest.mark.parametrize("classes", [2, 4])
def test_class_metrics_equal_those_of_scikit_learn(classes):
    labels, logits = simulated(classes)
    probability, guess = softmax(logits, axis=1), logits.argmax(axis=1)
    ranked = probability[:, 1] if classes == 2 else probability
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(labels, guess),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(labels, guess),
        "macro_f1": sklearn.metrics.f1_score(labels, guess, average="macro"),
        "auc": sklearn.metrics.roc_auc_score(labels, ranked, multi_class="ovr"),
        "log_loss": sklearn.metrics.log_loss(labels, probability),
        "brier": ((probability - np.eye(classes)[labels]) ** 2).sum(axis=1).mean(),
    }
    for name, value in expected.items():
        assert metrics.METRICS[name](labels, logits) == pytest.approx(value, abs=1e-12), name


def test_ties_count_half_in_the_auc_and_great_logits_do_not_tie():
    labels = np.array([0, 0, 1, 1])
    assert metrics.auc(labels, np.zeros((4, 2))) == 0.5
    three = np.array([0, 1, 2, 2])
    far = np.array([[900.0, 0, 0], [0, 900, 0], [0, 0, 900], [0, 0, 1000]])
    assert metrics.auc(three, far) == 1.0


def test_the_calibration_slope_is_that_of_an_unpenalised_logistic_regression():
    labels, logits = simulated(2, 2000)
    score_of = logits[:, 1] - logits[:, 0]
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(score_of[:, None], labels)
    assert metrics.calibration_slope(labels, logits) == pytest.approx(reference.coef_[0, 0], abs=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_calibrated_logits_have_slope_one_and_intercept_nought(classes):
    random = np.random.default_rng(1)
    logits = random.normal(size=(20_000, classes)) * 1.5
    labels = (softmax(logits, axis=1).cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    assert metrics.calibration_slope(labels, logits) == pytest.approx(1, abs=0.06)
    assert metrics.calibration_intercept(labels, logits) == pytest.approx(0, abs=0.06)
    assert metrics.calibration_slope(labels, 3 * logits) == pytest.approx(1 / 3, abs=0.03)
    assert metrics.fit_temperature(labels, 3 * logits) == pytest.approx(3, abs=0.15)
    assert metrics.expected_calibration_error(labels, logits) < 0.02 < 0.1
    assert metrics.expected_calibration_error(labels, 5 * logits) > 0.1


def test_a_shift_of_the_logit_is_the_intercept():
    random = np.random.default_rng(2)
    true = random.normal(size=20_000)
    labels = (random.random(20_000) < expit(true + 0.7)).astype(int)
    logits = np.column_stack([-true / 2, true / 2])
    assert metrics.calibration_intercept(labels, logits) == pytest.approx(0.7, abs=0.05)


def test_what_is_undefined_is_nan_and_not_a_crash():
    labels, logits = np.zeros(30, dtype=int), np.random.default_rng(0).normal(size=(30, 2))
    for name in ("balanced_accuracy", "macro_f1", "auc", "calibration_slope", "expected_calibration_error"):
        assert np.isnan(metrics.METRICS[name](labels, logits)), name
    assert np.isfinite(metrics.accuracy(labels, logits))
    separated = np.repeat([0, 1], 15)
    assert np.isnan(metrics.calibration_slope(separated, np.eye(2)[separated]))
    assert np.isnan(metrics.calibration_slope(np.tile([0, 1], 15), np.zeros((30, 2))))
    assert np.isnan(metrics.pearson_r(np.arange(9.0), np.ones((9, 1))))
    assert np.isnan(metrics.r_squared(np.ones(9), np.ones((9, 1))))


def test_values_are_scored_as_by_scikit_learn():
    random = np.random.default_rng(0)
    truth = random.normal(size=50)
    guess = (truth + random.normal(size=50))[:, None]
    assert metrics.mean_absolute_error(truth, guess) == pytest.approx(
        sklearn.metrics.mean_absolute_error(truth, guess[:, 0])
    )
    assert metrics.r_squared(truth, guess) == pytest.approx(sklearn.metrics.r2_score(truth, guess[:, 0]))
    assert metrics.pearson_r(truth, guess) == pytest.approx(np.corrcoef(truth, guess[:, 0])[0, 1])


def test_a_participant_is_scored_once_on_the_mean_logit_of_its_runs_and_seeds():
    table = predictions()
    units = metrics.unit_predictions(table, "participant")
    assert len(units) == 100
    assert "seed" not in units
    mine = table[table["participant_id"] == "sub-7"]
    row = units[units["unit"] == "sub-7"].iloc[0]
    assert row["logit_1"] == pytest.approx(mine["logit_1"].mean())
    assert row["label"] == "b"
    runs = metrics.unit_predictions(table, "run")
    assert len(runs) == 200
    one = table[table["unit"] == "sub-7_run-1"]["logit_0"].mean()
    assert runs.set_index("unit")["logit_0"]["sub-7_run-1"] == pytest.approx(one)


def test_runs_of_several_classes_are_not_averaged():
    table = predictions()
    table.loc[0, "label"] = "b"
    with pytest.raises(LabelError, match="sub-0 has runs of several classes"):
        metrics.unit_predictions(table, "participant")


def test_an_estimator_that_returns_another_shape_is_refused():
    runs = pd.DataFrame({"participant_id": ["a"], "run": ["a_1"], "label": ["x"]})
    with pytest.raises(UsageError, match="shape"):
        metrics.prediction_frame(runs, np.zeros((1, 3)), ["x", "y"], model="m", set_name="holdout", fold=0, seed=1)
