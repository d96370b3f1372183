"""Windows cover what they should, cross no gap, and batches lose nothing."""

import numpy as np
import pytest
import torch

from bids_neurossm.errors import RunError
from bids_neurossm.training.windows import (
    assemble,
    check_length,
    evaluation_windows,
    training_window,
    valid_length,
)


def test_training_windows_start_everywhere_the_last_start_included():
    generator = torch.Generator().manual_seed(0)
    drawn = [training_window([(0, 10)], 7, generator) for _ in range(400)]
    assert {window[0] for window in drawn} == {(0, 7), (1, 8), (2, 9), (3, 10)}


def test_a_run_that_is_not_longer_is_taken_whole():
    segments = [(0, 5), (7, 12)]
    assert training_window(segments, 10, torch.Generator()) == segments
    assert training_window(segments, None, torch.Generator()) == segments
    assert evaluation_windows(segments, 50) == [segments]


def test_a_window_is_cut_at_a_gap_and_holds_no_censored_volume():
    segments = [(2, 6), (9, 10), (12, 20)]
    generator = torch.Generator().manual_seed(1)
    kept = {t for start, stop in segments for t in range(start, stop)}
    for _ in range(100):
        window = training_window(segments, 7, generator)
        times = [t for start, stop in window for t in range(start, stop)]
        assert len(times) == 7
        assert set(times) <= kept
        assert all(any(a <= start and stop <= b for a, b in segments) for start, stop in window)


@pytest.mark.parametrize("length", [3, 5, 8, 12, 13])
def test_evaluation_windows_cover_the_run_with_the_fewest(length):
    segments = [(0, 8), (10, 15)]
    windows = evaluation_windows(segments, length)
    assert len(windows) == -(-13 // length)
    assert all(valid_length(window) == length for window in windows)
    covered = {t for window in windows for start, stop in window for t in range(start, stop)}
    assert covered == {*range(8), *range(10, 15)}


def test_a_batch_keeps_every_piece_with_its_owner():
    first, second = (np.arange(n * 2, dtype=np.float32).reshape(n, 2) for n in (9, 5))
    batch = assemble([(first, [(0, 3), (5, 9)]), (second, [(1, 3)])])
    assert batch.lengths.tolist() == [3, 4, 2]
    assert batch.owners.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(batch.series[1], first[5:9])
    np.testing.assert_array_equal(batch.series[2], [[2, 3], [4, 5], [0, 0], [0, 0]])


def test_runs_that_are_too_short_are_named():
    check_length([(0, 32)], 4, "sub-01_bold")
    with pytest.raises(RunError, match=r"sub-01_bold: 31 time points .* 32"):
        check_length([(0, 31)], 4, "sub-01_bold")
    with pytest.raises(RunError, match=r"longest piece .* 7 time points"):
        check_length([(10 * i, 10 * i + 7) for i in range(9)], 4, "sub-01_bold")


def test_length_is_asked_for_in_seconds():
    check_length([(0, 32)], 8.0, "sub-01_bold", 2.0)
    check_length([(0, 80)], 8.0, "sub-01_bold", 0.8)
    with pytest.raises(RunError, match=r"79 time points of 0\.8 s are left; 8 x the largest scale, 64 s"):
        check_length([(0, 79)], 8.0, "sub-01_bold", 0.8)
    with pytest.raises(RunError, match=r"longest piece .* 7 time points of 2 s; 2 x the largest scale, 16 s"):
        check_length([(10 * i, 10 * i + 7) for i in range(9)], 8.0, "sub-01_bold", 2.0)
