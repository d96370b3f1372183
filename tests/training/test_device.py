"""Devices by name, smaller batches where memory ends, and a GPU of its own for each training of a command."""

import contextlib
import errno
import fcntl
import os

import pytest
import torch

from bids_neurossm.errors import DeviceUnavailableError, RunError
from bids_neurossm.training.device import first_line, in_smaller_batches, own_gpu, torch_device


@pytest.fixture
def current(monkeypatch):
    """Two GPUs, and the list of those that were made the current one."""
    made = []

    @contextlib.contextmanager
    def device(number):
        made.append(number)
        yield

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", device)
    return made


def test_trainings_take_the_gpu_with_the_fewest_trainings(current, tmp_path):
    first, second, third = (own_gpu("auto", tmp_path / "records") for _ in range(3))
    with second:
        with first, third:
            assert current == [0, 1, 0]
        # The other two have ended: the GPU that is free is taken.
        with own_gpu("cuda", tmp_path / "records"):
            assert current == [0, 1, 0, 1]
    with own_gpu("auto", tmp_path / "records"):
        assert current == [0, 1, 0, 1, 0]


def test_the_processor_is_not_shared_out(current, tmp_path):
    with own_gpu("cpu", tmp_path):
        assert current == []


def test_a_single_gpu_is_not_shared_out(current, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with own_gpu("auto", tmp_path):
        assert current == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_spreads_by_process(current, monkeypatch, tmp_path):
    def refused(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with own_gpu("auto", tmp_path):
        assert current == [os.getpid() % 2]


def test_what_a_training_raises_is_raised(current, tmp_path):
    with pytest.raises(OSError, match="disk"), own_gpu("auto", tmp_path):
        raise OSError("disk")
    with own_gpu("auto", tmp_path):
        assert current == [0, 0]


def test_a_device_that_is_not_there_is_refused_and_auto_takes_what_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == torch_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:1", "tpu"):
        with pytest.raises(DeviceUnavailableError, match=f"The device '{name}'"):
            torch_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert torch_device("auto") == torch.device("cuda")
    assert torch_device("cuda:1") == torch.device("cuda:1")
    assert torch_device("cpu") == torch.device("cpu")
    with pytest.raises(DeviceUnavailableError):
        torch_device("tpu")


def test_the_batch_is_halved_until_memory_holds_it():
    tried = []

    def work(size):
        tried.append(size)
        if size > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return f"done with {size}"

    assert in_smaller_batches(work, 21, "runs are predicted") == "done with 3"
    assert tried == [21, 11, 6, 3]


def test_one_window_that_memory_does_not_hold_is_an_error_and_other_errors_are_handed_on():
    def too_large(size):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    expected = r"does not hold one window while runs are predicted: CUDA out of memory\.$"
    with pytest.raises(RunError, match=expected):
        in_smaller_batches(too_large, 4, "runs are predicted")
    with pytest.raises(ZeroDivisionError):
        in_smaller_batches(lambda size: 1 // 0, 4, "runs are predicted")


def test_the_first_sentence_of_a_library_is_enough():
    assert first_line(ValueError("No space left. Free some.\nDetails")) == "No space left."
    assert first_line(ValueError("")) == "ValueError."
