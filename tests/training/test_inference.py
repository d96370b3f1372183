"""Runs are predicted by the windows that cover them."""

import numpy as np
import torch
from several_times import TIMES, run_set, runs_of

from bids_neurossm.training.inference import evaluation_batches


def test_windows_last_as_long_in_every_run():
    whole = run_set(runs_of(), TIMES, reference=1.0)
    assert [whole.points(number, 40) for number in (0, 1, 2)] == [20, 50, 40]
    assert whole.points(0, None) is None
    inputs = whole.some(np.array([1, 2]))
    batches = list(evaluation_batches(inputs, 40, 8))
    ((batch, owners),) = batches
    assert dict(zip(batch.repetition_times.tolist(), batch.lengths.tolist(), strict=True)) == {0.8: 50, 1.0: 40}
    assert batch.to(torch.device("cpu")).repetition_times.tolist() == [TIMES[1:3][owner] for owner in owners]


def test_pieces_of_a_gap_carry_the_repetition_time_of_their_run():
    ((batch, _),) = evaluation_batches(run_set(runs_of()[:2], TIMES[:2], 2.0), None, 8)
    assert batch.repetition_times.tolist() == [2.0, 2.0, 0.8]
