"""Trainings that run at the same time take GPUs of their own."""

import contextlib
import errno
import fcntl
import os

import pytest
import torch

from bids_neurossm.training.device import own_gpu


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
