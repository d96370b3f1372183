"""Kernel machines agree with scikit-learn."""

import numpy as np
from helpers.baseline_cohorts import baseline, cohort_of_sites
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC

from bids_neurossm.baselines import kernel_machines
from bids_neurossm.baselines.connectivity import pearson_features
from bids_neurossm.baselines.linear_solver import participant_weights


def test_the_margin_is_that_of_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_machines, "MARGIN_PENALTIES", (1.0,))
    cohort = cohort_of_sites(tmp_path)
    model = baseline("linear-svm")
    model.fit(cohort, np.arange(44), 1)
    features = pearson_features(cohort, np.arange(60)).astype(np.float64)
    centred = features - features[:44].mean(axis=0)
    centred /= np.sqrt((centred[:44] ** 2).sum(axis=1).mean())
    labels = cohort.labels(np.arange(44))
    theirs = SVC(C=1.0, kernel="linear").fit(
        centred[:44], labels, sample_weight=participant_weights(cohort.runs.iloc[:44], labels, 2, True)
    )
    margin = np.diff(model.predict(cohort, np.arange(44, 60)), axis=1)[:, 0] / model.chosen["factor"]
    np.testing.assert_allclose(margin, theirs.decision_function(centred[44:]), atol=5e-3)


def test_kernel_ridge_is_that_of_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_machines, "RIDGE_PENALTIES", (0.1,))
    monkeypatch.setattr(kernel_machines, "WIDTHS", (2.0,))
    cohort = cohort_of_sites(tmp_path, "continuous")
    model = baseline("kernel-ridge")
    model.fit(cohort, np.arange(44), 1)
    features = pearson_features(cohort, np.arange(60)).astype(np.float64)
    centred = features - features[:44].mean(axis=0)
    centred /= np.sqrt((centred[:44] ** 2).sum(axis=1).mean())
    target = cohort.labels(np.arange(44))
    from sklearn.metrics.pairwise import rbf_kernel

    theirs = KernelRidge(alpha=0.1, kernel="precomputed").fit(
        rbf_kernel(centred[:44], gamma=0.25) + 1, (target - target.mean()) / target.std()
    )
    expected = theirs.predict(rbf_kernel(centred[44:], centred[:44], gamma=0.25) + 1) * target.std() + target.mean()
    np.testing.assert_allclose(model.predict(cohort, np.arange(44, 60))[:, 0], expected, rtol=1e-4)
