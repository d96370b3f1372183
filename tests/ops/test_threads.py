"""Units of work are spread over threads, each unit once."""

import threading

import pytest
import torch

from bids_neurossm.ops.threads import in_threads


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def spread(n_units, worth):
    done = []
    in_threads(lambda part: done.append((part.start, part.stop, threading.get_ident())), n_units, worth)
    return sorted(done)


@pytest.mark.parametrize(
    ("n_units", "parts"), [(7, [(0, 2), (2, 4), (4, 7)]), (3, [(0, 1), (1, 2), (2, 3)]), (2, [(0, 1), (1, 2)])]
)
def test_every_unit_is_done_once_and_the_caller_takes_the_first(three_threads, n_units, parts):
    done = spread(n_units, worth=True)
    assert [(start, stop) for start, stop, _ in done] == parts
    assert done[0][2] == threading.get_ident()
    assert all(thread != threading.get_ident() for _, _, thread in done[1:])


def test_work_that_does_not_pay_stays_with_the_caller(three_threads):
    assert spread(7, worth=False) == [(0, 7, threading.get_ident())]
    assert spread(1, worth=True) == [(0, 1, threading.get_ident())]


def test_an_error_in_another_thread_reaches_the_caller(three_threads):
    def work(part):
        if part.start:
            raise ValueError(f"unit {part.start}")

    with pytest.raises(ValueError, match="unit 1"):
        in_threads(work, 3, worth=True)
