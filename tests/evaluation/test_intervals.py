"""Intervals cover what they claim to cover."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_neurossm.errors import UsageError
from bids_neurossm.evaluation.intervals import (
    bootstrap_interval,
    grouped_bootstrap,
    nadeau_bengio_interval,
    sign_flip_interval,
)
from bids_neurossm.evaluation.metrics import accuracy, auc


def holdout(random, n=60, shift=1.0, members=1):
    """n groups of some members, two classes; the members of a group are alike."""
    label = np.repeat(np.arange(n) % 2, members)
    logit = np.repeat(random.normal(size=n), members) + shift * label
    return pd.DataFrame(
        {
            "split": 1, "fold": 0, "group": np.repeat([f"g{i}" for i in range(n)], members),
            "label": np.array(["a", "b"])[label], "logit_0": 0.0, "logit_1": logit,
        }
    )  # fmt: skip


@pytest.mark.parametrize("members", [1, 3])
def test_the_holdout_interval_covers_the_auc_of_the_model(members):
    """300 simulated holdouts of 30 groups per class, whose true AUC is known."""
    random = np.random.default_rng(0)
    truth = stats.norm.cdf(1.0 / np.sqrt(2))
    hits = 0
    for number in range(300):
        found = bootstrap_interval(holdout(random, members=members), auc, ["a", "b"], resamples=199, seed=number)
        hits += found.low <= truth <= found.high
    assert 0.92 <= hits / 300 <= 0.98


def test_the_bootstrap_says_what_it_speaks_about():
    found = bootstrap_interval(holdout(np.random.default_rng(0)), accuracy, ["a", "b"], resamples=200)
    assert found.label == "given these models"
    assert "within fold and class" in found.method
    assert found.n == 60
    assert found.low < found.estimate < found.high


def test_groups_are_drawn_whole():
    """Ten copies of everybody carry no more information: the interval must not shrink."""
    random = np.random.default_rng(0)
    single = holdout(random, 40)
    tenfold = single.loc[single.index.repeat(10)].reset_index(drop=True)
    one = bootstrap_interval(single, auc, ["a", "b"], resamples=1000)
    ten = bootstrap_interval(tenfold, auc, ["a", "b"], resamples=1000)
    assert ten.high - ten.low == pytest.approx(one.high - one.low, rel=0.1)


def test_every_resample_has_the_classes_of_every_fold():
    units = pd.concat([holdout(np.random.default_rng(i), 20).assign(fold=i) for i in (1, 2)], ignore_index=True)
    seen = []

    def statistic(rows):
        part = units.iloc[rows]
        seen.append((part["fold"].nunique(), *part["label"].value_counts()[["a", "b"]]))
        return 0.0

    grouped_bootstrap(units, statistic, True, resamples=50)
    assert set(seen) == {(1, 10, 10)}


def test_an_undefined_metric_gives_no_interval():
    units = holdout(np.random.default_rng(0)).assign(label="a")
    found = bootstrap_interval(units, auc, ["a", "b"], resamples=50)
    assert np.isnan([found.estimate, found.low, found.high, found.p]).all()


def test_nadeau_bengio_by_hand():
    values = np.array([0.1, 0.3, 0.2, 0.2, 0.2])
    found = nadeau_bengio_interval(values, 0.25)
    error = np.sqrt((1 / 5 + 1 / 4) * 0.005)
    assert found.estimate == pytest.approx(0.2)
    assert found.high - 0.2 == pytest.approx(2.7764451 * error)
    assert found.p == pytest.approx(2 * stats.t.sf(0.2 / error, 4))
    assert found.label == "of the procedure"
    assert found.n == 5


def test_nadeau_bengio_is_wider_than_a_plain_t_interval_and_refuses_nonsense():
    values = np.random.default_rng(0).normal(0.02, 0.03, 10)
    corrected = nadeau_bengio_interval(values, 0.25)
    plain = stats.ttest_1samp(values, 0)
    assert corrected.p > plain.pvalue
    with pytest.raises(UsageError):
        nadeau_bengio_interval(values, 0.0)


def test_folds_that_do_not_differ():
    assert nadeau_bengio_interval(np.zeros(5), 0.25).p == 1.0
    alike = nadeau_bengio_interval(np.full(5, 0.1), 0.25)
    assert np.isnan([alike.low, alike.high, alike.p]).all()
    assert alike.estimate == pytest.approx(0.1)
    assert np.isnan(nadeau_bengio_interval(np.array([0.1, np.nan]), 0.25).high)
    assert nadeau_bengio_interval(np.array([0.1, np.nan, 0.3]), 0.25).n == 2


def test_nadeau_bengio_covers_the_mean_of_cross_validation():
    """5-fold cross-validation of a mean's sign, many cohorts: the null of no difference keeps its level."""
    random = np.random.default_rng(0)
    rejected = 0
    for _ in range(400):
        x, y = random.normal(size=(100, 4)), random.normal(size=100)
        differences = []
        for fold in range(5):
            test = np.arange(100) % 5 == fold
            weights = np.linalg.lstsq(x[~test], y[~test], rcond=None)[0]
            other = np.linalg.lstsq(x[~test][:, ::-1] ** 2 - 1, y[~test], rcond=None)[0]
            errors = (y[test] - x[test] @ weights) ** 2 - (y[test] - (x[test][:, ::-1] ** 2 - 1) @ other) ** 2
            differences.append(errors.mean())
        rejected += nadeau_bengio_interval(np.array(differences), 0.25).p < 0.05
    assert rejected / 400 <= 0.08


def test_sign_flips_are_exact_for_few_sites():
    found = sign_flip_interval(np.array([0.1, 0.2, 0.3, 0.2, 0.1, 0.4]))
    assert found.p == pytest.approx(2 / 64)
    assert "all sign patterns" in found.method
    assert sign_flip_interval(np.array([0.1, -0.1, 0.2, -0.2])).p == 1.0
    many = sign_flip_interval(np.full(20, 0.1), flips=999)
    assert many.p == pytest.approx(1 / 1000)
