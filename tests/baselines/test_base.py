"""Every baseline learns from its training runs alone, comes back from disk, and refuses what is damaged."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.baseline_cohorts import baseline, cohort_of_sites, coupled_cohort
from sklearn.metrics import roc_auc_score

from bids_neurossm.checkpoint_format import CheckpointMetadata, write_checkpoint
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.estimators.load import load_estimator

NAMES = ["majority", "covariates", "pearson-connectivity", "tangent-connectivity"]
PANEL = ["linear-svm", "kernel-ridge", "mean-pooled-mlp", "site-only", "age-only"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["class", "continuous"])
def test_a_baseline_comes_back_from_disk_with_the_same_predictions(tmp_path, name, target):
    cohort = coupled_cohort(tmp_path / "cohort", n=40, target=target, age=np.linspace(20, 60, 40), sex=["M", "F"] * 20)
    model = baseline(name)
    with pytest.raises(UsageError, match="has not been fitted"):
        model.predict(cohort, np.arange(2))
    with pytest.raises(UsageError, match="has not been fitted"):
        model.save(tmp_path / "early.safetensors")
    model.fit(cohort, np.arange(30), seed=0)
    expected = model.predict(cohort, np.arange(30, 40))
    assert expected.shape == (10, 2 if target == "class" else 1)
    model.save(tmp_path / "model.safetensors")
    again = load_estimator(tmp_path / "model.safetensors")
    assert again.name == name
    np.testing.assert_array_equal(again.predict(cohort, np.arange(30, 40)), expected)
    first = (tmp_path / "model.safetensors").read_bytes()
    again.save(tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == first


def test_a_file_that_is_no_baseline_is_refused(tmp_path):
    cohort = coupled_cohort(tmp_path / "cohort", n=40)
    model = baseline("tangent-connectivity")
    model.fit(cohort, np.arange(30), seed=0)
    arrays, state = model._state()
    del arrays["whitening"]
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, arrays, replace(model.facts, model=state))
    with pytest.raises(CheckpointError, match="not a tangent-connectivity that can be read: 'whitening'"):
        load_estimator(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("pearson-connectivity", lambda arrays, state: arrays.update(coefficients=arrays["coefficients"][:, :5])),
        ("tangent-connectivity", lambda arrays, state: arrays.update(whitening=np.zeros((8, 8)))),
        ("tangent-connectivity", lambda arrays, state: arrays.update(whitening=np.zeros(()))),
        ("multiscale-tangent", lambda arrays, state: state.update(scales=[0, 1, 2])),
        ("multiscale-tangent", lambda arrays, state: state.update(sizes=[])),
        ("covariates", lambda arrays, state: state.update(codes={"age": 3})),
        ("covariates", lambda arrays, state: state["codes"]["age"].update(sd=0.0)),
        ("kernel-ridge", lambda arrays, state: state.update(factor=float("nan"), spread=float("nan"))),
        ("kernel-ridge", lambda arrays, state: arrays.update(dual=arrays["dual"][:3])),
        ("site-only", lambda arrays, state: arrays.update(elsewhere=np.zeros(7), scores=np.zeros((1, 7)))),
    ],
)
def test_a_forged_baseline_is_refused_when_it_is_read_or_applied(tmp_path, name, change):
    cohort = coupled_cohort(
        tmp_path / "cohort", n=40, target="continuous", age=np.linspace(20, 60, 40), site=["X"] * 40
    )
    model = baseline(name)
    model.fit(cohort, np.arange(30), seed=0)
    arrays, state = model._state()
    change(arrays, state)
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, arrays, replace(model.facts, model=state))
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        load_estimator(path).predict(cohort, np.arange(30, 40))


def test_a_baseline_refuses_other_regions_than_it_learned_from(tmp_path):
    cohort = coupled_cohort(tmp_path / "cohort", n=40)
    model = baseline("pearson-connectivity")
    model.fit(cohort, np.arange(30), seed=0)
    series = [cohort.raw(index) for index in range(4)]
    runs = cohort.runs.iloc[:4].drop(columns=["start", "n_volumes"])
    turned = Cohort.create(tmp_path / "turned", runs, series, cohort.regions[::-1], cohort.networks, "class")
    with pytest.raises(CheckpointError, match="region 1 of the checkpoint is r0"):
        model.predict(turned, np.arange(2))


def test_a_baseline_reads_nothing_but_its_training_runs(tmp_path):
    """Other labels, covariates and series outside the training runs leave the model as it is."""
    age = np.linspace(20, 60, 40)
    one = coupled_cohort(tmp_path / "one", n=40, age=age)
    changed = one.runs.assign(label=np.where(np.arange(40) < 30, one.runs["label"], "b"))
    changed["age"] = np.where(np.arange(40) < 30, age, 1e6)
    series = [one.raw(i) if i < 30 else one.raw(i) ** 3 for i in range(40)]
    two = Cohort.create(tmp_path / "two", changed, series, one.regions, one.networks, "class")
    for name in NAMES:
        first, second = baseline(name), baseline(name)
        first.fit(one, np.arange(30), seed=0)
        second.fit(two, np.arange(30), seed=0)
        test = np.arange(10)
        np.testing.assert_array_equal(first.predict(one, test), second.predict(two, test))


@pytest.mark.parametrize(
    ("family", "arrays", "words"),
    [
        ("majority", {"scores": np.array([0.0, np.nan])}, "scores holds values that are not finite"),
        ("majority", {"scores": np.zeros(3)}, r"\(3,\) scores for 2 classes"),
        (
            "pearson-connectivity",
            {"coefficients": np.zeros((3, 2)), "intercepts": np.zeros(1)},
            r"shape \(3, 2\) for 2 classes",
        ),
        (
            "pearson-connectivity",
            {"coefficients": np.zeros((1, 2)), "intercepts": np.zeros(2)},
            r"shape \(1, 2\) for 2 classes",
        ),
    ],
)
def test_a_baseline_whose_numbers_make_no_sense_is_refused(tmp_path, family, arrays, words):
    facts = CheckpointMetadata(
        {"penalty": 1.0, "weighted": False}, "dx", "class", ("a", "b"), ("A", "B"), family=family
    )
    write_checkpoint(tmp_path / "x.safetensors", arrays, facts)
    with pytest.raises(CheckpointError, match=words):
        load_estimator(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", PANEL)
@pytest.mark.parametrize("target", ["class", "continuous"])
def test_every_baseline_trains_predicts_and_is_saved(tmp_path, name, target):
    cohort = cohort_of_sites(tmp_path / "cohort", target)
    train, test = np.arange(44), np.arange(44, 60)
    model = baseline(name)
    with pytest.raises(UsageError, match="fitted"):
        model.predict(cohort, test)
    model.fit(cohort, train, 1)
    scores = model.predict(cohort, test)
    assert scores.shape == (16, 2 if target == "class" else 1)
    assert np.isfinite(scores).all()
    if name in ("linear-svm", "kernel-ridge", "mean-pooled-mlp"):
        truth = cohort.labels(test)
        found = (
            roc_auc_score(truth, scores[:, 1] - scores[:, 0])
            if target == "class"
            else 0.5 + np.corrcoef(truth, scores[:, 0])[0, 1]
        )
        assert found > 0.75
    again = baseline(name)
    again.fit(cohort, train, 1)
    np.testing.assert_allclose(again.predict(cohort, test), scores, rtol=1e-6)
    model.save(tmp_path / "model.safetensors")
    loaded = load_estimator(tmp_path / "model.safetensors", Execution(device="cpu"))
    assert loaded.name == name
    np.testing.assert_array_equal(loaded.predict(cohort, test), scores)


@pytest.mark.parametrize("name", PANEL)
def test_a_baseline_of_the_panel_reads_nothing_but_its_training_runs(tmp_path, name):
    cohort = cohort_of_sites(tmp_path)
    first, second = baseline(name), baseline(name)
    first.fit(cohort, np.arange(44), 1)
    labels = cohort.runs["label"].where(cohort.runs.index < 44, "a")
    spoilt = Cohort(cohort.folder, cohort.runs.assign(label=labels, age=cohort.runs["age"]), cohort.regions,
                    cohort.networks, cohort.classes, cohort.target_type, "other")  # fmt: skip
    second.fit(spoilt, np.arange(44), 1)
    np.testing.assert_array_equal(first.predict(cohort, np.arange(60)), second.predict(spoilt, np.arange(60)))
