"""NeuroSSM learns planted dynamics from a cohort, says where they are, and survives the way to disk and back."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bids_neurossm.attribution.checks import completeness
from bids_neurossm.attribution.maps import class_maps
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError, DeviceUnavailableError, LabelError, RunError, UsageError
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.recipes import load_recipe
from bids_neurossm.training.windows import chosen_window

PLANTED = 6
REGIONS = 48


def _series(slow_class, generator, length=150):
    """Autoregressive noise: regions 0-5 are slow in one class, regions 6-11 alternate fast in the other."""
    coefficient = np.full(REGIONS, 0.4)
    if slow_class:
        coefficient[:PLANTED] = 0.9
    else:
        coefficient[PLANTED : 2 * PLANTED] = -0.4
    noise = generator.normal(size=(length + 20, REGIONS))
    for t in range(1, len(noise)):
        noise[t] += coefficient * noise[t - 1]
    return 1000 + 10 * noise[20:]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"participant_id": [f"{i:02d}" for i in range(36)], "repetition_time": 2.0})
    table["run"] = "sub-" + table["participant_id"]
    table["label"] = ["slow" if i % 2 else "fast" for i in range(36)]
    table["age"] = generator.uniform(20, 80, 36)
    series = [_series(i % 2, generator) for i in range(36)]
    names = [f"region-{r}" for r in range(REGIONS)]
    extra = {"atlas": "simulated", "target": "speed", "denoise": "none"}
    return Cohort.create(tmp_path_factory.mktemp("cohort"), table, series, names, ["-"] * REGIONS, "class", extra)


TRAIN, TEST = np.arange(24), np.arange(24, 36)


def _estimator(training=None, execution=None, **settings):
    model, demo = load_recipe("demo")
    return create_estimator(
        "neurossm", ModelSpec(settings={**model, **settings}), training or demo, execution or Execution(device="cpu")
    )


@pytest.fixture(scope="module")
def trained(cohort):
    estimator = _estimator()
    estimator.fit(cohort, TRAIN, seed=1)
    return estimator


def test_held_out_participants_are_told_apart(cohort, trained):
    logits = trained.predict(cohort, TEST)
    assert logits.shape == (12, 2)
    assert roc_auc_score(cohort.labels(TEST), logits[:, 1] - logits[:, 0]) > 0.9


def test_the_attribution_is_complete_and_finds_the_planted_regions(cohort, trained):
    attribution = trained.attribute(cohort, TEST, cohort.labels(TEST))
    assert completeness(attribution).passed
    everyone, *_ = class_maps(
        attribution.importance, attribution.share, cohort.runs["participant_id"].iloc[TEST],
        cohort.runs["label"].iloc[TEST], cohort.classes, n_bootstraps=50,
    )  # fmt: skip
    planted = np.arange(REGIONS) < 2 * PLANTED
    assert roc_auc_score(planted, everyone.score) > 0.8
    shuffled = np.random.default_rng(0).permutation(planted)
    assert abs(roc_auc_score(shuffled, everyone.score) - 0.5) < 0.25


def test_the_predicted_class_is_explained_by_default(cohort, trained):
    attribution = trained.attribute(cohort, TEST[:4])
    np.testing.assert_array_equal(attribution.target, trained.predict(cohort, TEST[:4]).argmax(axis=1))
    assert (attribution.logit > 0).all()


def test_a_checkpoint_predicts_the_same(cohort, trained, tmp_path):
    path = tmp_path / "fold-1_seed-1.safetensors"
    trained.save(path)
    loaded = load_trained(path, Execution(device="cpu"))
    np.testing.assert_array_equal(loaded.predict(cohort, TEST), trained.predict(cohort, TEST))
    assert loaded.facts == trained.facts
    assert loaded.facts.classes == ("fast", "slow")
    assert loaded.facts.target == "speed"
    assert loaded.facts.repetition_time == 2.0
    assert loaded.facts.window == 128


def test_a_cohort_that_does_not_fit_is_refused(cohort, trained, tmp_path):
    runs = cohort.runs.iloc[:2].drop(columns=["start", "n_volumes"])
    series = [cohort.raw(0), cohort.raw(1)]
    turned = Cohort.create(tmp_path / "a", runs, series, cohort.regions[::-1], cohort.networks, "class", cohort.extra)
    with pytest.raises(CheckpointError, match="region 1 of the checkpoint is region-0"):
        trained.predict(turned, np.array([0]))
    slower = Cohort.create(
        tmp_path / "b", runs.assign(repetition_time=3.0), series, cohort.regions, cohort.networks, "class"
    )
    with pytest.raises(CheckpointError, match=r"3\.0 s"):
        trained.predict(slower, np.array([0]))
    short = Cohort.create(
        tmp_path / "c",
        runs.drop(columns="segments"),
        [s[:30] for s in series],
        cohort.regions,
        cohort.networks,
        "class",
    )
    with pytest.raises(RunError, match="sub-00: 30 time points"):
        trained.predict(short, np.array([0]))


def test_a_continuous_target_comes_back_in_its_own_units(cohort, tmp_path):
    runs = cohort.runs.drop(columns=["start", "n_volumes"]).assign(label=np.where(np.arange(36) % 2, 130.0, 70.0))
    numbers = Cohort.create(
        tmp_path, runs, (cohort.raw(i) for i in range(36)), cohort.regions, cohort.networks, "continuous"
    )
    estimator = _estimator()
    estimator.fit(numbers, TRAIN, seed=0)
    predicted = estimator.predict(numbers, TEST)
    assert predicted.shape == (12, 1)
    assert np.corrcoef(predicted[:, 0], numbers.labels(TEST))[0, 1] > 0.7
    assert 60 < predicted.min() < predicted.max() < 140
    attribution = estimator.attribute(numbers, TEST, np.zeros(12))
    assert completeness(attribution).passed


def test_labels_that_do_not_differ_are_refused(cohort):
    with pytest.raises(LabelError, match="fast"):
        _estimator().fit(cohort, np.arange(0, 24, 2), seed=0)


def test_a_class_that_is_absent_from_the_training_runs_is_named(cohort):
    three = replace(cohort, classes=["fast", "medium", "slow"])
    with pytest.raises(LabelError, match="None of the 24 training runs is of class medium"):
        _estimator().fit(three, TRAIN, seed=0)


def test_a_run_without_any_signal_is_named(cohort, tmp_path):
    runs = cohort.runs.drop(columns=["start", "n_volumes"])
    series = [np.full((150, REGIONS), np.nan) if i == 5 else cohort.raw(i) for i in range(36)]
    dead = Cohort.create(tmp_path, runs, series, cohort.regions, cohort.networks, "class")
    with pytest.raises(RunError, match="sub-05: no region has a finite signal"):
        _estimator().fit(dead, TRAIN, seed=0)


def test_a_training_goes_on_from_its_own_state_only(cohort, tmp_path):
    state, told = tmp_path / ".fold-1_seed-1.state", []
    weights = []
    for seed, indices in ((0, TRAIN), (0, TRAIN), (1, TRAIN), (1, TRAIN[:20])):
        estimator = _estimator(Training(epochs=1), width=4, state=1)
        estimator.follow(Callbacks(epoch=lambda epoch: told.append(epoch.number)), state)
        estimator.fit(cohort, indices, seed)
        weights.append({name: tensor.clone() for name, tensor in estimator.model.state_dict().items()})
    assert told == [1, 1, 1]  # the second one had nothing left to do
    assert all(tensor.equal(weights[1][name]) for name, tensor in weights[0].items())
    assert not all(tensor.equal(weights[2][name]) for name, tensor in weights[0].items())


def test_what_was_not_fitted_can_not_predict(cohort):
    with pytest.raises(UsageError, match="not been fitted"):
        _estimator().predict(cohort, TEST)


def test_unknown_settings_models_and_devices_are_named(cohort):
    with pytest.raises(UsageError, match="unknown setting 'widht'"):
        _estimator(widht=3).fit(cohort, TRAIN, seed=0)
    with pytest.raises(UsageError, match=r"'nothing' is not known.*neurossm"):
        create_estimator("nothing", ModelSpec(), Training(), Execution())
    with pytest.raises(DeviceUnavailableError, match="mps"):
        _estimator(execution=Execution(device="mps")).fit(cohort, TRAIN, seed=0)


def test_the_window_is_the_smaller_of_recipe_and_median():
    lengths = np.array([100.0, 100.0, 300.0])
    assert chosen_window(600, lengths) == 100
    assert chosen_window(80, lengths) == 80
    assert chosen_window(None, lengths) == 100
