"""Fitting depends on its arguments and the seed only, and stops with the name of what spoils it."""

import numpy as np
import pytest
import torch
from helpers.several_times import BRIEF, RUNS, config_in_seconds, run_set, runs_of

from bids_neurossm.config import Training
from bids_neurossm.errors import RunError
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.data import RunSet, TrainingSet, usable_times
from bids_neurossm.training.fit import fit
from bids_neurossm.training.inference import predict_logits, run_features
from bids_neurossm.training.step import run_losses

TINY = Training(epochs=2, batch_size=4, learning_rate=5e-3)


def _runs(n=8, seed=0):
    """Runs of unequal length, one of them with a censored gap."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(40, 60, n)
    runs = [(generator.normal(size=(t, 5)).astype(np.float32), [(0, int(t))]) for t in lengths]
    runs[0] = (runs[0][0], [(0, 15), (18, 40)])
    return runs


def _set(runs):
    series, segments = zip(*runs, strict=True)
    return RunSet.in_memory(series, [f"run-{i}" for i in range(len(runs))], segments)


def _model(n_outputs=2, **more):
    torch.manual_seed(0)
    return NeuroSSM(NeuroSSMConfig(n_regions=5, n_outputs=n_outputs, width=8, state=2, **more))


def _fitted(runs, targets=None, seed=3, n_outputs=2, settings=TINY, window=32, **more):
    model = _model(n_outputs, **more)
    targets = np.arange(len(runs)) % 2 if targets is None else targets
    return model, fit(model, TrainingSet(_set(runs), targets), settings, window, seed)


def test_the_same_seed_gives_the_same_weights_and_another_one_does_not():
    runs = _runs()
    first, again, other = (_fitted(runs, seed=seed)[0].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_fitting_leaves_the_global_generator_alone():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    runs = _runs()
    model = _model()
    torch.set_rng_state(before)
    fit(model, TrainingSet(_set(runs), np.arange(8) % 2), TINY, 32, 0)
    assert torch.equal(torch.rand(3), expected)


def test_inputs_of_every_pathway_have_a_mean_square_of_one_after_fitting():
    runs = [(series, [(0, 34)]) for series, _ in _runs()]
    model, _ = _fitted(runs, window=None)
    lengths = torch.full((len(runs),), 34)
    inputs = model.pathway_inputs(torch.tensor(np.stack([series[:34] for series, _ in runs])), lengths)
    for values, _ in inputs:
        assert float(values.square().mean()) == pytest.approx(1, rel=1e-4)


def test_the_reference_of_the_attribution_gives_each_class_the_same_weight():
    runs, targets = _runs(), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    model, _ = _fitted(runs, targets)
    features = run_features(model, _set(runs), 32)
    expected = (features[:6].mean(0) + features[6:].mean(0)) / 2
    np.testing.assert_allclose(model.pathway_mean, expected, atol=1e-6)


def test_a_prediction_is_the_mean_over_windows_that_cover_the_run():
    runs = [(np.random.default_rng(5).normal(size=(64, 5)).astype(np.float32), [(0, 64)])]
    model, _ = _fitted(_runs())
    halves = [(runs[0][0][:32], [(0, 32)]), (runs[0][0][32:], [(0, 32)])]
    whole, parts = predict_logits(model, _set(runs), 32)[0], predict_logits(model, _set(halves), 32)
    np.testing.assert_allclose(whole, parts.mean(0), atol=1e-6)


def test_classes_that_are_rare_weigh_more():
    # Twelve times the same run: nothing but the frequencies can be learnt.
    runs, targets = [_runs()[1]] * 12, np.array([0] * 9 + [1] * 3)
    odds = {}
    for weighed in (True, False):
        settings = Training(epochs=40, batch_size=12, learning_rate=0.03, label_smoothing=0, class_weights=weighed)
        model, _ = _fitted(runs, targets, settings=settings, window=None, dropout=0.0, region_dropout=0.0)
        logits = predict_logits(model, _set(runs[:1]), None)[0]
        odds[weighed] = logits[0] - logits[1]
    assert odds[True] == pytest.approx(0, abs=0.1)
    assert odds[False] == pytest.approx(np.log(3), abs=0.1)


def test_progress_is_told_after_every_epoch():
    told = []
    history = fit(
        _model(), TrainingSet(_set(_runs()), np.arange(8) % 2), TINY, 32, 0, follow=Callbacks(epoch=told.append)
    )
    assert [(epoch.number, epoch.of, epoch.loss) for epoch in told] == [
        (1, 2, history.loss[0]),
        (2, 2, history.loss[1]),
    ]
    assert told[0].seconds_left == pytest.approx(told[0].seconds)
    assert told[1].seconds_left == 0


def test_what_is_not_finite_or_too_short_is_named():
    runs = _runs()
    runs[5][0][3, 2] = np.nan
    with pytest.raises(RunError, match=r"run-5.*not finite"):
        _fitted(runs)
    runs[5] = (np.zeros_like(runs[5][0]), runs[5][1])  # what an all-NaN run is standardised to
    with pytest.raises(RunError, match="run-5: no region has a finite signal"):
        _fitted(runs)
    runs[5] = runs[4]
    runs[2] = (runs[2][0][:20], [(0, 20)])
    with pytest.raises(RunError, match="run-2: 20 time points"):
        _fitted(runs)


def test_a_loss_that_is_no_number_names_a_run():
    with pytest.raises(RunError, match=r"run-\d: the loss is not finite in epoch 1"):
        _fitted(_runs(), np.full(8, np.inf), n_outputs=1)


def test_losses_are_cross_entropy_for_classes_and_smooth_l1_for_numbers():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    expected = -torch.log_softmax(logits, dim=1)[[0, 1], [0, 0]]
    torch.testing.assert_close(run_losses(logits, torch.tensor([0, 0]), 0.0), expected)
    numbers = run_losses(torch.tensor([[0.5], [3.0]]), torch.tensor([0.0, 0.0]), 0.1)
    torch.testing.assert_close(numbers, torch.tensor([0.125, 2.5]))


def test_two_seconds_per_time_point_train_the_same_model_as_time_points():
    runs, times = runs_of(np.full(8, 2.0)), np.full(8, 2.0)
    logits = []
    for config in (config_in_seconds(), config_in_seconds(scales=(1, 2, 4), scale_unit="time points")):
        torch.manual_seed(0)
        model, inputs = NeuroSSM(config), run_set(runs, usable_times(config, times, RUNS))
        fit(model, TrainingSet(inputs, np.arange(8) % 2), BRIEF, 40, 3)
        logits.append(predict_logits(model, inputs, 40))
    np.testing.assert_array_equal(*logits)
