"""A step sees the whole batch whatever memory holds at once, and half precision trains as well as single does."""

import warnings

import numpy as np
import pytest
import torch

from bids_neurossm.config import Training
from bids_neurossm.errors import RunError
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.callbacks import Callbacks, TrainingWarning
from bids_neurossm.training.data import RunSet, TrainingSet
from bids_neurossm.training.fit import fit
from bids_neurossm.training.inference import predict_logits

TINY = Training(epochs=3, batch_size=8, learning_rate=5e-3)


class Small(NeuroSSM):
    """A model on a device whose memory holds a few windows only."""

    holds = 99

    def features(self, series, *others):
        if len(series) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
        return super().features(series, *others)


def _data(n=16):
    """Runs with a gap each, so that a window has several pieces; slow ones and fast ones."""
    generator = np.random.default_rng(0)
    runs = []
    for number in range(n):
        series = generator.normal(size=(48, 5)).astype(np.float32)
        if number % 2:
            series = np.cumsum(series, axis=0)
        runs.append(((series - series.mean(0)) / series.std(0)).astype(np.float32))
    return TrainingSet(RunSet.in_memory(runs, [f"run-{i}" for i in range(n)]), np.arange(n) % 2)


def _fitted(holds=99, notices=None, settings=TINY, precision="float32", **more):
    torch.manual_seed(0)
    more = {"dropout": 0.0, "region_dropout": 0.0, **more}
    model = Small(NeuroSSMConfig(n_regions=5, n_outputs=2, width=8, state=2, **more))
    model.holds = holds
    follow = Callbacks() if notices is None else Callbacks(notice=notices.append)
    return model, fit(model, _data(), settings, 32, 1, precision, follow)


def test_a_batch_that_memory_does_not_hold_is_taken_in_parts_with_the_same_result():
    notices = []
    whole, expected = _fitted()
    model, history = _fitted(holds=3, notices=notices)
    assert expected.at_once == 8
    assert history.at_once == 2
    np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-5)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, whole.state_dict()[name], rtol=1e-3, atol=1e-5)
    (notice,) = notices  # said once, though it was halved twice
    assert "does not hold 8 runs at once (CUDA out of memory.)" in notice
    assert "every step still sees 8 runs" in notice


def test_predictions_are_made_in_smaller_batches_too():
    model, _ = _fitted()
    inputs = _data().inputs
    expected = predict_logits(model, inputs, 32)
    model.holds = 5
    np.testing.assert_allclose(predict_logits(model, inputs, 32), expected, atol=1e-6)
    model.holds = 0
    with pytest.raises(RunError, match=r"does not hold one window while runs are predicted: CUDA out of memory\.$"):
        predict_logits(model, inputs, 32)


def test_the_run_that_memory_does_not_hold_alone_is_named():
    with pytest.raises(RunError, match=r"run-\d+: the memory of the device does not hold a single run"):
        _fitted(holds=0, notices=[])


def test_who_does_not_follow_is_warned():
    with pytest.warns(TrainingWarning, match="does not hold 8 runs"):
        _fitted(holds=4, settings=Training(epochs=1, batch_size=8))


def test_batches_of_one_run_train():
    _, history = _fitted(settings=Training(epochs=1, batch_size=1))
    assert np.isfinite(history.loss).all()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_as_single_does(precision):
    settings = Training(epochs=8, batch_size=8, learning_rate=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, history = _fitted(settings=settings, precision=precision)
    _, single = _fitted(settings=settings)
    assert history.loss != single.loss  # it is another arithmetic
    np.testing.assert_allclose(history.loss, single.loss, atol=0.05)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_gated_fusion_trains_its_gate():
    model, history = _fitted(fusion="gated", settings=Training(epochs=8, batch_size=8, learning_rate=0.02))
    assert history.loss[-1] < history.loss[0]
    assert model.gate.abs().max() > 1e-3
