"""Features of baselines are learned on training runs: codes of covariates, references of tangent spaces."""

import numpy as np
import pandas as pd
import pytest
from helpers.baseline_cohorts import baseline, coupled_cohort

from bids_neurossm.baselines.connectivity import TangentSpace, covariances_of
from bids_neurossm.baselines.features import MultiscaleTangentFeatures
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.estimators.load import load_estimator
from bids_neurossm.estimators.protocol import create_estimator


def test_covariates_code_words_gaps_and_unseen_values(tmp_path):
    age = np.where(np.arange(40) % 2, 60.0, 20.0)
    age[[3, 36]] = np.nan
    site = ["x"] * 20 + ["y"] * 18 + ["unseen"] * 2
    cohort = coupled_cohort(tmp_path, n=40, age=age, site=site)
    model = baseline("covariates")
    model.fit(cohort, np.arange(38), seed=0)
    logits = model.predict(cohort, np.arange(40))
    assert np.isfinite(logits).all()
    known = np.flatnonzero(np.isfinite(age))
    assert (logits.argmax(axis=1)[known] == cohort.labels(known)).all()
    assert set(model.features.codes) == {"age", "site"}


def test_the_target_is_no_covariate_of_itself(tmp_path):
    cohort = coupled_cohort(tmp_path, n=40, sex=["a", "b"] * 20)
    model = baseline("covariates")
    model.fit(cohort, np.arange(30), seed=0)
    assert "sex" not in model.features.codes
    assert len(set(model.predict(cohort, np.arange(10))[:, 1])) == 1


def test_columns_asked_for_are_used(tmp_path):
    cohort = coupled_cohort(tmp_path, n=40, handedness=["left", "right"] * 20)
    model = baseline("covariates", covariates=["handedness"])
    model.fit(cohort, np.arange(30), seed=0)
    assert (model.predict(cohort, np.arange(30, 40)).argmax(axis=1) == cohort.labels(np.arange(30, 40))).all()


REGIONS = 6


def autoregressive(coefficient, random, length=120):
    noise = random.normal(size=(length + 10, REGIONS))
    for t in range(1, len(noise)):
        noise[t] += coefficient * noise[t - 1]
    return noise[10:]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Class "b" couples regions 0 and 1 in what is slow alone: at single time points fast noise hides it."""
    random = np.random.default_rng(0)
    series = []
    for number in range(60):
        x = autoregressive(0.0, random)
        slow = np.repeat(random.normal(size=(30, 1)), 4, axis=0)
        x[:, :1] += slow
        x[:, 1:2] += slow if number % 2 else np.repeat(random.normal(size=(30, 1)), 4, axis=0)
        series.append(x)
    runs = pd.DataFrame({"participant_id": [f"s{i:02d}" for i in range(60)]})
    runs["run"], runs["label"] = runs["participant_id"], np.array(["a", "b"])[np.arange(60) % 2]
    names = [f"r{i}" for i in range(REGIONS)]
    return Cohort.create(tmp_path_factory.mktemp("cohort"), runs, series, names, names, "class")


def test_each_scale_has_its_own_reference_and_the_same_weight(cohort):
    features = MultiscaleTangentFeatures((1, 4))
    train = np.arange(40)
    both = features.fit(cohort, train)
    cells = REGIONS * (REGIONS + 1) // 2
    assert both.shape == (40, 2 * cells)
    for number, size in enumerate((1, 4)):
        block = both[:, number * cells : (number + 1) * cells].astype(np.float64)
        np.testing.assert_allclose(block.var(axis=0).sum(), 1.0, rtol=1e-5)
        alone = TangentSpace().fit_transform(covariances_of(cohort, train, size))
        np.testing.assert_allclose(block, alone / np.sqrt(alone.astype(np.float64).var(axis=0).sum()), atol=1e-5)
    # The references are those of the training runs, whoever is transformed.
    np.testing.assert_allclose(features.transform(cohort, train[:3]), both[:3], atol=1e-5)


def test_slow_coupling_is_found_and_comes_back_from_disk(cohort, tmp_path):
    train, test = np.arange(40), np.arange(40, 60)
    model = create_estimator("multiscale-tangent", ModelSpec(), Training(), Execution())
    model.fit(cohort, train, seed=0)
    logits = model.predict(cohort, test)
    assert (logits.argmax(axis=1) == cohort.labels(test)).mean() >= 0.9
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(load_estimator(tmp_path / "model.safetensors").predict(cohort, test), logits)
