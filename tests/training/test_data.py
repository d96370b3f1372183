"""What a model is told of a run besides its standardised series."""

import numpy as np
import pytest
import torch
from helpers.several_times import BRIEF, RUNS, TIMES, config_in_seconds, run_set, runs_of

from bids_neurossm import NeuroSSMClassifier
from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.models import NeuroSSM
from bids_neurossm.training.data import RunSet, TrainingSet, run_amplitude, usable_times
from bids_neurossm.training.fit import fit

GENERATOR = np.random.default_rng(0)


def test_the_amplitude_is_the_logarithm_of_the_coefficient_of_variation():
    series = 1000 + GENERATOR.normal(size=(40, 4)) * [10, 20, 5, 5]
    series[:, 2] -= 1000 + series[:, 2].mean()  # a region without a mean
    series[:, 3] = np.nan
    series[30:] = 1e6  # censored
    expected = np.log(series[:30, :2].std(axis=0) / series[:30, :2].mean(axis=0))
    found = run_amplitude(series, [(0, 10), (10, 30)], "sub-01")
    np.testing.assert_allclose(found[:2], expected, rtol=1e-5)
    assert np.isnan(found[2:]).all()


def test_series_without_means_have_no_amplitude():
    with pytest.raises(UsageError, match=r"sub-01: model.amplitude needs series that still have their mean.*none"):
        run_amplitude(GENERATOR.normal(size=(40, 4)), [(0, 40)], "sub-01")


def test_amplitudes_that_differ_are_learnt_by_the_amplitude_term_only(tmp_path):
    y = np.arange(24) % 2
    X = 1000 + GENERATOR.normal(size=(24, 64, 6)) * (5 * 2**y)[:, None, None]
    settings = {"dropout": 0.0, "width": 8, "state": 2, "scales": [1]}
    training = {"epochs": 12, "learning_rate": 0.05}

    def fitted(amplitude):
        more = {"model_settings": {**settings, "amplitude": amplitude}, "training_settings": training, "device": "cpu"}
        return NeuroSSMClassifier(recipe="demo", **more).fit(X[:16], y[:16])

    with_term, without = fitted(True), fitted(False)
    assert with_term.score(X[16:], y[16:]) == 1
    assert without.score(X[16:], y[16:]) < 1
    with_term.save(tmp_path / "model.safetensors")
    loaded = NeuroSSMClassifier.load(tmp_path / "model.safetensors", device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(X), with_term.predict_proba(X))
    with pytest.raises(UsageError, match=r"X\[0\]: model.amplitude needs"):
        with_term.predict(X - X.mean(axis=1, keepdims=True))


def test_some_of_the_runs_keep_what_is_said_of_them():
    runs = [np.full((10 + i, 2), i + 1.0, dtype=np.float32) for i in range(4)]
    times, amplitude = np.array([1.0, 2.0, 3.0, 4.0]), np.arange(8, dtype=np.float32).reshape(4, 2)
    some = RunSet.in_memory(runs, list("abcd"), None, times, 2.0, amplitude).some(np.array([3, 1]))
    assert (some.names, len(some)) == (["d", "b"], 2)
    assert some.segments[0] == [(0, 13)]
    assert some.points(0, 8) == 4
    batch = some.batch([(1, some.series(1), [(0, 4), (6, 8)]), (0, some.series(0), [(0, 5)])])
    assert batch.owners.tolist() == [0, 0, 1]
    assert batch.repetition_times.tolist() == [2, 2, 4]
    assert batch.amplitude.tolist() == [[2, 3], [6, 7]]
    assert torch.equal(batch.arguments[0], batch.series)


def test_a_run_without_signal_is_named():
    inputs = RunSet.in_memory([np.zeros((40, 2), dtype=np.float32)], ["sub-03"])
    with pytest.raises(RunError, match="sub-03: no region has a finite signal that varies"):
        inputs.series(0)


def test_the_window_is_chosen_by_time():
    runs = [(np.ones((length, 5), np.float32), [(0, length)]) for length in (50, 125, 100)]
    assert run_set(runs, TIMES[:3], 1.0).chosen_window(600) == 100
    assert run_set(runs, TIMES[:3], 2.0).chosen_window(600) == 50
    assert run_set(runs, TIMES[:3], 2.0).chosen_window(30) == 30
    assert run_set(runs, TIMES[:3]).reference == 1.0


def test_a_model_of_time_points_asks_for_no_repetition_time():
    assert usable_times(config_in_seconds(scales=(1, 2), scale_unit="time points"), None, RUNS) is None


def test_a_run_without_a_repetition_time_is_named():
    unknown = TIMES.copy()
    unknown[3] = np.nan
    with pytest.raises(UsageError, match=r"sub-3_bold: the repetition time is not known.* scales in seconds"):
        usable_times(config_in_seconds(), unknown, RUNS)
    with pytest.raises(UsageError, match="sub-0_bold"):
        usable_times(config_in_seconds(), None, RUNS)
    with pytest.raises(UsageError, match=r"2 s is shorter than the longest repetition time, 2\.5 s"):
        usable_times(config_in_seconds(), np.where(TIMES == 2.0, 2.5, TIMES), RUNS)
    with pytest.raises(UsageError, match="without a repetition time"):
        fit(NeuroSSM(config_in_seconds()), TrainingSet(run_set(runs_of()), np.arange(8) % 2), BRIEF, 40, 3)
