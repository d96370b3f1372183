"""Runs of several repetition times: windows last as long, bins are the same, and what can not be meant is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from bids_neurossm import NeuroSSMClassifier
from bids_neurossm.attribution.checks import completeness
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.estimators.neurossm import NeuroSSMEstimator
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.data import RunSet, TrainingSet, usable_times
from bids_neurossm.training.fit import fit
from bids_neurossm.training.inference import evaluation_batches, predict_logits
from bids_neurossm.training.windows import check_length

SECONDS = {"scales": [2.0, 4.0, 8.0], "scale_unit": "seconds", "width": 8, "state": 2}
TINY = Training(epochs=2, batch_size=4, learning_rate=5e-3)
TIMES = np.array([2.0, 0.8, 1.0, 2.0, 0.8, 1.0, 2.0, 0.8])
RUNS = [f"sub-{number}_bold" for number in range(8)]


def _config(**settings):
    return NeuroSSMConfig(n_regions=5, n_outputs=2, **{**SECONDS, "scales": (2.0, 4.0, 8.0), **settings})


def _runs(times=TIMES, seconds=100.0):
    """Runs of 100 s at every repetition time, the first with a gap."""
    generator = np.random.default_rng(0)
    runs = [generator.normal(size=(round(seconds / t), 5)).astype(np.float32) for t in times]
    runs = [(series, [(0, len(series))]) for series in runs]
    runs[0] = (runs[0][0], [(0, 20), (23, 50)])
    return runs


def _set(runs, times=None, reference=None):
    series, segments = zip(*runs, strict=True)
    return RunSet.in_memory(series, RUNS[: len(runs)], segments, times, reference)


def _cohort(folder, times, told=None):
    runs = _runs(times)
    table = pd.DataFrame(
        {
            "run": RUNS, "participant_id": [f"sub-{i}" for i in range(8)], "label": ["a", "b"] * 4,
            "repetition_time": times if told is None else told,
        }
    )  # fmt: skip
    return Cohort.create(folder, table, [series for series, _ in runs], list("vwxyz"), ["net"] * 5, "class")


def _estimator(**settings):
    return NeuroSSMEstimator("neurossm", ModelSpec(settings={**SECONDS, **settings}), TINY, Execution(device="cpu"))


def test_windows_last_as_long_in_every_run():
    whole = _set(_runs(), TIMES, reference=1.0)
    assert [whole.points(number, 40) for number in (0, 1, 2)] == [20, 50, 40]
    assert whole.points(0, None) is None
    inputs = whole.some(np.array([1, 2]))
    batches = list(evaluation_batches(inputs, 40, 8))
    ((batch, owners),) = batches
    assert dict(zip(batch.repetition_times.tolist(), batch.lengths.tolist(), strict=True)) == {0.8: 50, 1.0: 40}
    assert batch.to(torch.device("cpu")).repetition_times.tolist() == [TIMES[1:3][owner] for owner in owners]


def test_the_window_is_chosen_by_time():
    runs = [(np.ones((length, 5), np.float32), [(0, length)]) for length in (50, 125, 100)]
    assert _set(runs, TIMES[:3], 1.0).chosen_window(600) == 100
    assert _set(runs, TIMES[:3], 2.0).chosen_window(600) == 50
    assert _set(runs, TIMES[:3], 2.0).chosen_window(30) == 30
    assert _set(runs, TIMES[:3]).reference == 1.0


def test_pieces_of_a_gap_carry_the_repetition_time_of_their_run():
    ((batch, _),) = evaluation_batches(_set(_runs()[:2], TIMES[:2], 2.0), None, 8)
    assert batch.repetition_times.tolist() == [2.0, 2.0, 0.8]


def test_length_is_asked_for_in_seconds():
    check_length([(0, 32)], 8.0, "sub-01_bold", 2.0)
    check_length([(0, 80)], 8.0, "sub-01_bold", 0.8)
    with pytest.raises(RunError, match=r"79 time points of 0\.8 s are left; 8 x the largest scale, 64 s"):
        check_length([(0, 79)], 8.0, "sub-01_bold", 0.8)
    with pytest.raises(RunError, match=r"longest piece .* 7 time points of 2 s; 2 x the largest scale, 16 s"):
        check_length([(10 * i, 10 * i + 7) for i in range(9)], 8.0, "sub-01_bold", 2.0)


def test_two_seconds_per_time_point_train_the_same_model_as_time_points():
    runs, times = _runs(np.full(8, 2.0)), np.full(8, 2.0)
    logits = []
    for config in (_config(), _config(scales=(1, 2, 4), scale_unit="time points")):
        torch.manual_seed(0)
        model, inputs = NeuroSSM(config), _set(runs, usable_times(config, times, RUNS))
        fit(model, TrainingSet(inputs, np.arange(8) % 2), TINY, 40, 3)
        logits.append(predict_logits(model, inputs, 40))
    np.testing.assert_array_equal(*logits)


def test_a_model_of_time_points_asks_for_no_repetition_time():
    assert usable_times(_config(scales=(1, 2), scale_unit="time points"), None, RUNS) is None


def test_a_run_without_a_repetition_time_is_named():
    unknown = TIMES.copy()
    unknown[3] = np.nan
    with pytest.raises(UsageError, match=r"sub-3_bold: the repetition time is not known.* scales in seconds"):
        usable_times(_config(), unknown, RUNS)
    with pytest.raises(UsageError, match="sub-0_bold"):
        usable_times(_config(), None, RUNS)
    with pytest.raises(UsageError, match=r"2 s is shorter than the longest repetition time, 2\.5 s"):
        usable_times(_config(), np.where(TIMES == 2.0, 2.5, TIMES), RUNS)
    with pytest.raises(UsageError, match="without a repetition time"):
        fit(NeuroSSM(_config()), TrainingSet(_set(_runs()), np.arange(8) % 2), TINY, 40, 3)


def test_a_cohort_of_several_repetition_times_trains_predicts_and_explains(tmp_path):
    cohort, everyone = _cohort(tmp_path / "cohort", TIMES), np.arange(8)
    estimator = _estimator()
    estimator.fit(cohort, everyone, seed=0)
    assert estimator.facts.repetition_time == 1.0
    assert estimator.facts.window == 100
    attribution = estimator.attribute(cohort, everyone)
    assert completeness(attribution).passed
    assert attribution.pathways[0] == "raw-2s"
    estimator.save(tmp_path / "model.safetensors")
    loaded = load_trained(tmp_path / "model.safetensors", Execution(device="cpu"))
    # Runs of another median repetition time are no reason to refuse: the bins are the same.
    slow = np.array([0, 3, 6])
    np.testing.assert_array_equal(loaded.predict(cohort, slow), estimator.predict(cohort, slow))


def test_a_cohort_that_scales_in_seconds_can_not_be_laid_over_is_refused(tmp_path):
    unknown = _cohort(tmp_path / "unknown", TIMES, told=np.where(TIMES == 0.8, np.nan, TIMES))
    with pytest.raises(UsageError, match="sub-1_bold: the repetition time is not known"):
        _estimator().fit(unknown, np.arange(8), seed=0)
    with pytest.raises(UsageError, match=r"1\.5 s is shorter than the longest repetition time, 2 s"):
        _estimator(scales=[1.5, 4.0]).fit(_cohort(tmp_path / "known", TIMES), np.arange(8), seed=0)


def test_arrays_take_a_repetition_time_for_all_or_for_each(tmp_path):
    X, y = [series for series, _ in _runs()], np.arange(8) % 2
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
