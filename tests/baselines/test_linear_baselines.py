"""Linear models on connectivity find what is planted, and something in two real sites."""

import numpy as np
import pytest
from helpers.baseline_cohorts import baseline, coupled_cohort
from sklearn.metrics import roc_auc_score

from bids_neurossm.cohort.splitting import make_splits
from bids_neurossm.errors import LabelError


@pytest.mark.parametrize("name", ["pearson-connectivity", "tangent-connectivity"])
def test_connectivity_finds_a_planted_coupling(tmp_path, name):
    cohort = coupled_cohort(tmp_path, n=60, runs_each=2)
    model = baseline(name)
    model.fit(cohort, np.arange(80), seed=0)
    logits = model.predict(cohort, np.arange(80, 120))
    assert roc_auc_score(cohort.labels(np.arange(80, 120)), logits[:, 1] - logits[:, 0]) > 0.95
    values = coupled_cohort(tmp_path / "values", n=80, target="continuous")
    model = baseline(name)
    model.fit(values, np.arange(60), seed=0)
    held = np.arange(60, 80)
    assert np.corrcoef(model.predict(values, held)[:, 0], values.labels(held))[0, 1] > 0.8


def test_a_class_without_training_runs_is_refused(tmp_path):
    cohort = coupled_cohort(tmp_path, n=20)
    with pytest.raises(LabelError, match="Class number 1"):
        baseline("pearson-connectivity").fit(cohort, np.arange(0, 20, 2), seed=0)


def test_connectivity_tells_something_about_diagnosis_in_two_real_sites(two_sites):
    """127 people: chance would reach this mean AUC about once in fifty."""
    splits = make_splits(two_sites.runs, two_sites.classes, "class", 5, 0.0, None, seed=0)
    found = []
    for fold in range(1, 6):
        train, test = splits.fold_indices(two_sites.runs, fold)
        model = baseline("pearson-connectivity")
        model.fit(two_sites, train, seed=0)
        logits = model.predict(two_sites, test)
        found.append(roc_auc_score(two_sites.labels(test), logits[:, 1] - logits[:, 0]))
    assert 0.6 < np.mean(found) < 0.9
