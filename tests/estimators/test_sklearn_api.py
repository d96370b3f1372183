"""Arrays in, classes or numbers out, in the manner of scikit-learn."""

import numpy as np
import pytest
from helpers.several_times import SECONDS, TIMES, runs_of
from sklearn.base import clone

from bids_neurossm import NeuroSSMClassifier, NeuroSSMRegressor
from bids_neurossm.errors import CheckpointError, LabelError, RunError, UsageError

QUICK = {"recipe": "demo", "training_settings": {"epochs": 12, "learning_rate": 0.02}, "device": "cpu"}


def _series(n=24, length=64, seed=0):
    """Slow noise in the first half of the regions for odd runs."""
    generator = np.random.default_rng(seed)
    series = []
    for number in range(n):
        noise = generator.normal(size=(length + number % 3, 8))
        if number % 2:
            for t in range(1, len(noise)):
                noise[t, :4] += 0.9 * noise[t - 1, :4]
        series.append(noise * 5 + 100)
    return series, np.arange(n) % 2


@pytest.fixture(scope="module")
def classifier():
    series, y = _series()
    return NeuroSSMClassifier(**QUICK).fit(series, np.array(["fast", "slow"])[y])


def test_a_classifier_learns_and_gives_probabilities(classifier):
    series, y = _series(seed=1)
    assert list(classifier.classes_) == ["fast", "slow"]
    assert (classifier.predict(series) == np.array(["fast", "slow"])[y]).mean() > 0.9
    probabilities = classifier.predict_proba(series)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(probabilities[:, 1] > 0.5, classifier.decision_function(series) > 0)
    assert classifier.score(series, np.array(["fast", "slow"])[y]) > 0.9


def test_an_array_is_as_good_as_a_list(classifier):
    series = [values[:64] for values in _series(seed=1)[0]]
    np.testing.assert_array_equal(classifier.predict_proba(np.stack(series)), classifier.predict_proba(series))


def test_a_classifier_comes_back_from_disk(classifier, tmp_path):
    series, _ = _series(seed=1)
    classifier.save(tmp_path / "model.safetensors")
    loaded = NeuroSSMClassifier.load(tmp_path / "model.safetensors", device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(series), classifier.predict_proba(series))
    np.testing.assert_array_equal(loaded.predict(series), classifier.predict(series))
    with pytest.raises(CheckpointError, match="type of the target"):
        NeuroSSMRegressor.load(tmp_path / "model.safetensors")


def test_a_regressor_learns_and_comes_back_from_disk(tmp_path):
    series, y = _series()
    regressor = NeuroSSMRegressor(**QUICK).fit(series, 40 + 20 * y)
    new, truth = _series(seed=1)
    assert regressor.score(new, 40 + 20 * truth) > 0.5
    regressor.save(tmp_path / "age.safetensors")
    loaded = NeuroSSMRegressor.load(tmp_path / "age.safetensors", device="cpu")
    np.testing.assert_array_equal(loaded.predict(new), regressor.predict(new))


def test_parameters_are_those_of_scikit_learn():
    estimator = NeuroSSMClassifier(recipe="demo", random_state=7)
    assert estimator.get_params()["random_state"] == 7
    assert clone(estimator.set_params(recipe="ppmi")).recipe == "ppmi"


def test_what_does_not_fit_is_named(classifier):
    series, y = _series(n=4)
    with pytest.raises(UsageError, match="4 regions; the model was fitted with 8"):
        classifier.predict([values[:, :4] for values in series])
    with pytest.raises(RunError, match=r"X\[0\]: 20 time points"):
        classifier.predict([values[:20] for values in series])
    with pytest.raises(LabelError, match="1 class"):
        NeuroSSMClassifier().fit(series, [1, 1, 1, 1])
    with pytest.raises(UsageError, match="4 series and 3 targets"):
        NeuroSSMClassifier(**QUICK).fit(series, y[:3])
    with pytest.raises(UsageError, match="same R"):
        NeuroSSMClassifier(**QUICK).fit([series[0], series[1][:, :3]], [0, 1])
    with pytest.raises(UsageError, match="has not been fitted"):
        NeuroSSMClassifier().predict(series)
    with pytest.raises(UsageError, match="majority is a baseline"):
        NeuroSSMClassifier(**QUICK, model="majority").fit(series, y)
    with pytest.raises(UsageError, match="unknown setting 'epoch'"):
        NeuroSSMClassifier(training_settings={"epoch": 1}).fit(series, y)


def test_arrays_take_a_repetition_time_for_all_or_for_each(tmp_path):
    X, y = [series for series, _ in runs_of()], np.arange(8) % 2
    settings = {"recipe": "demo", "model_settings": SECONDS, "training_settings": {"epochs": 1}, "device": "cpu"}
    each = NeuroSSMClassifier(**settings).fit(X, y, repetition_times=TIMES)
    assert each.predict_proba(X, repetition_times=TIMES).shape == (8, 2)
    with pytest.raises(UsageError, match=r"X\[0\]: the repetition time is not known"):
        each.predict(X)
    with pytest.raises(UsageError, match="8 series and 3 repetition times"):
        each.predict(X, repetition_times=TIMES[:3])
    same = [series[:60] for series in X[1::3]] * 2
    one = NeuroSSMClassifier(**settings, repetition_time=1.1).fit(same, [0, 1, 0, 1, 0, 1][: len(same)])
    one.save(tmp_path / "one.safetensors")
    again = NeuroSSMClassifier.load(tmp_path / "one.safetensors", "cpu", repetition_time=1.1)
    np.testing.assert_array_equal(again.predict_proba(same), one.predict_proba(same))
