"""Baselines learn from the training runs, agree with scikit-learn and nilearn, and come back from disk."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from bids_neurossm.baselines import linear
from bids_neurossm.baselines.connectivity import (
    TangentSpace,
    covariances_of,
    fisher_z_connectivity,
    pearson_features,
    shrunk_covariance,
)
from bids_neurossm.checkpoint import CheckpointMetadata, write_checkpoint
from bids_neurossm.cohort.splitting import make_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError, LabelError, UsageError
from bids_neurossm.estimators.load import load_estimator
from bids_neurossm.estimators.protocol import create_estimator

NAMES = ["majority", "covariates", "pearson-connectivity", "tangent-connectivity"]


def baseline(name, settings=None, class_weights=True):
    return create_estimator(
        name, ModelSpec(name, settings=settings or {}), Training(class_weights=class_weights), Execution()
    )


def simulated(folder, n=60, regions=8, target="class", runs_each=1, **columns):
    """Class "b" couples regions 0 and 1; a continuous target is that coupling."""
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(n), runs_each)
    coupling = np.where(np.arange(n) % 2, 0.7, 0.1) if target == "class" else random.random(n)
    series = []
    for number in person:
        x = random.normal(size=(80, regions))
        x[:, 1] = coupling[number] * x[:, 0] + np.sqrt(1 - coupling[number] ** 2) * x[:, 1]
        series.append(x)
    label = np.array(["a", "b"])[person % 2] if target == "class" else coupling[person]
    runs = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in person], "label": label}).assign(**columns)
    runs["run"] = [f"run{i}" for i in range(len(runs))]
    return Cohort.create(folder, runs, series, [f"r{i}" for i in range(regions)], ["net"] * regions, target)


@pytest.fixture(scope="module")
def two_sites(shared_data, tmp_path_factory):
    """ABIDE: NYU is not there, so the two sites Yale and USM, 127 people."""
    table = pd.read_csv(shared_data / "abide" / "participants.tsv", sep="\t")
    table = table[table["site"].isin(["YALE", "USM"])].sort_values(["npz", "file_id"]).reset_index(drop=True)
    files = {name: np.load(shared_data / "abide" / name) for name in table["npz"].unique()}
    series = [files[row.npz][row.file_id].astype(np.float32) for row in table.itertuples()]
    runs = table[["participant_id", "dx", "site", "mean_fd", "age", "sex"]].rename(columns={"dx": "label"})
    names = [f"cc{i}" for i in range(series[0].shape[1])]
    folder = tmp_path_factory.mktemp("abide")
    return Cohort.create(folder, runs.assign(run=table["file_id"]), series, names, names, "class")


def test_pearson_connectivity_is_fisher_z_with_dead_regions_at_nought():
    series = np.random.default_rng(0).normal(900, 3, size=(100, 5))
    series[:, 2], series[:, 4] = 7.5, np.nan
    z = fisher_z_connectivity(series)
    assert z.dtype == np.float32
    expected = np.arctanh(np.corrcoef(series[:, [0, 1, 3]].T)[[0, 0, 1], [1, 2, 2]])
    np.testing.assert_allclose(z[[0, 2, 5]], expected, rtol=1e-5)
    assert (np.delete(z, [0, 2, 5]) == 0).all()
    assert np.isfinite(fisher_z_connectivity(np.tile(series[:, :1], 3))).all()


def test_censored_volumes_do_not_enter(tmp_path):
    whole = np.random.default_rng(0).normal(size=(100, 4))
    whole[40:50] = 1e6
    runs = pd.DataFrame({"run": ["x"], "participant_id": ["s"], "label": ["a"], "segments": ["[[0, 40], [50, 100]]"]})
    cohort = Cohort.create(tmp_path, runs, [whole], list("abcd"), list("abcd"), "class")
    expected = fisher_z_connectivity(np.delete(whole, np.s_[40:50], axis=0))
    np.testing.assert_allclose(pearson_features(cohort, [0])[0], expected, atol=1e-3)


def test_the_tangent_space_is_that_of_nilearn(two_sites):
    from nilearn.connectome import ConnectivityMeasure
    from sklearn.covariance import LedoitWolf

    chosen = np.arange(8)
    series = [two_sites.standardised(i)[:, :20].astype(np.float64) for i in chosen]
    measure = ConnectivityMeasure(LedoitWolf(store_precision=False), kind="tangent", vectorize=True)
    expected = measure.fit_transform(series)
    covariances = np.stack([shrunk_covariance(x) for x in series])
    found = TangentSpace(tolerance=1e-6).fit(covariances).transform(covariances)
    np.testing.assert_allclose(found, np.sqrt(2) * expected, atol=1e-4)


def test_a_dead_region_stays_apart_in_the_covariance():
    series = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    series[:, 1] = 0
    covariance = shrunk_covariance(series)
    np.testing.assert_array_equal(covariance[1], [0, 1, 0, 0])
    assert np.linalg.eigvalsh(covariance).min() > 0


@pytest.mark.parametrize(("n", "p"), [(40, 300), (80, 6)])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_rotated_coordinates_give_the_same_model_as_the_features_themselves(monkeypatch, n, p, classes):
    random = np.random.default_rng(0)
    x = random.normal(size=(n, p)) + 5
    y = np.arange(n) % classes if classes else x[:, 0] + random.normal(size=n)
    runs = pd.DataFrame({"participant_id": [f"s{i}" for i in range(n)], "label": [str(v) for v in y] if classes else y})
    monkeypatch.setattr(linear, "PENALTIES", (1.0,))
    model = linear.fit_linear(x, y, runs, classes, seed=0)
    scaled = (x - x.mean(axis=0)) / np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    if not classes:
        expected = Ridge(alpha=1.0).fit(scaled, y).predict(scaled)
        np.testing.assert_allclose(model.predict(x)[:, 0], expected, rtol=1e-6)
        return
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(scaled, y)
    np.testing.assert_allclose(
        np.exp(model.predict(x)) / np.exp(model.predict(x)).sum(axis=1, keepdims=True),
        reference.predict_proba(scaled),
        atol=2e-4,
    )


def test_every_participant_weighs_the_same():
    runs = pd.DataFrame({"participant_id": ["a", "a", "a", "b", "c"]})
    weights = linear.participant_weights(runs, np.array([0, 0, 0, 1, 1]), 2)
    np.testing.assert_allclose(weights / weights.sum(), [1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3])
    balanced = linear.participant_weights(runs, np.array([0, 0, 0, 1, 1]), 2, class_weights=True)
    assert balanced[:3].sum() == pytest.approx(balanced[3:].sum())
    tasks = linear.participant_weights(pd.DataFrame({"participant_id": ["a", "a"]}), np.array([0, 1]), 2)
    np.testing.assert_array_equal(tasks, [1, 1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["class", "continuous"])
def test_a_baseline_comes_back_from_disk_with_the_same_predictions(tmp_path, name, target):
    cohort = simulated(tmp_path / "cohort", n=40, target=target, age=np.linspace(20, 60, 40), sex=["M", "F"] * 20)
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
    cohort = simulated(tmp_path / "cohort", n=40)
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
    cohort = simulated(tmp_path / "cohort", n=40, target="continuous", age=np.linspace(20, 60, 40), site=["X"] * 40)
    model = baseline(name)
    model.fit(cohort, np.arange(30), seed=0)
    arrays, state = model._state()
    change(arrays, state)
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, arrays, replace(model.facts, model=state))
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        load_estimator(path).predict(cohort, np.arange(30, 40))


def test_a_baseline_refuses_other_regions_than_it_learned_from(tmp_path):
    cohort = simulated(tmp_path / "cohort", n=40)
    model = baseline("pearson-connectivity")
    model.fit(cohort, np.arange(30), seed=0)
    series = [cohort.raw(index) for index in range(4)]
    runs = cohort.runs.iloc[:4].drop(columns=["start", "n_volumes"])
    turned = Cohort.create(tmp_path / "turned", runs, series, cohort.regions[::-1], cohort.networks, "class")
    with pytest.raises(CheckpointError, match="region 1 of the checkpoint is r0"):
        model.predict(turned, np.arange(2))


@pytest.mark.parametrize("name", ["pearson-connectivity", "tangent-connectivity"])
def test_connectivity_finds_a_planted_coupling(tmp_path, name):
    cohort = simulated(tmp_path, n=60, runs_each=2)
    model = baseline(name)
    model.fit(cohort, np.arange(80), seed=0)
    logits = model.predict(cohort, np.arange(80, 120))
    assert roc_auc_score(cohort.labels(np.arange(80, 120)), logits[:, 1] - logits[:, 0]) > 0.95
    values = simulated(tmp_path / "values", n=80, target="continuous")
    model = baseline(name)
    model.fit(values, np.arange(60), seed=0)
    held = np.arange(60, 80)
    assert np.corrcoef(model.predict(values, held)[:, 0], values.labels(held))[0, 1] > 0.8


def test_a_baseline_reads_nothing_but_its_training_runs(tmp_path):
    """Other labels, covariates and series outside the training runs leave the model as it is."""
    age = np.linspace(20, 60, 40)
    one = simulated(tmp_path / "one", n=40, age=age)
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


def test_covariates_code_words_gaps_and_unseen_values(tmp_path):
    age = np.where(np.arange(40) % 2, 60.0, 20.0)
    age[[3, 36]] = np.nan
    site = ["x"] * 20 + ["y"] * 18 + ["unseen"] * 2
    cohort = simulated(tmp_path, n=40, age=age, site=site)
    model = baseline("covariates")
    model.fit(cohort, np.arange(38), seed=0)
    logits = model.predict(cohort, np.arange(40))
    assert np.isfinite(logits).all()
    known = np.flatnonzero(np.isfinite(age))
    assert (logits.argmax(axis=1)[known] == cohort.labels(known)).all()
    assert set(model.features.codes) == {"age", "site"}


def test_the_target_is_no_covariate_of_itself(tmp_path):
    cohort = simulated(tmp_path, n=40, sex=["a", "b"] * 20)
    model = baseline("covariates")
    model.fit(cohort, np.arange(30), seed=0)
    assert "sex" not in model.features.codes
    assert len(set(model.predict(cohort, np.arange(10))[:, 1])) == 1


def test_columns_asked_for_are_used(tmp_path):
    cohort = simulated(tmp_path, n=40, handedness=["left", "right"] * 20)
    model = baseline("covariates", {"covariates": ["handedness"]})
    model.fit(cohort, np.arange(30), seed=0)
    assert (model.predict(cohort, np.arange(30, 40)).argmax(axis=1) == cohort.labels(np.arange(30, 40))).all()


def test_the_majority_is_counted_in_participants(tmp_path):
    cohort = simulated(tmp_path, n=9)
    model = baseline("majority")
    model.fit(cohort, np.arange(9), seed=0)
    np.testing.assert_allclose(np.exp(model.predict(cohort, np.arange(2))), [[5 / 9, 4 / 9]] * 2)


def test_a_class_without_training_runs_is_refused(tmp_path):
    cohort = simulated(tmp_path, n=20)
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


def test_covariances_of_real_runs_are_positive_definite(two_sites):
    assert np.linalg.eigvalsh(covariances_of(two_sites, [0, 70])).min() > 0


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
