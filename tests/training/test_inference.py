"""Runs are predicted by the windows that cover them."""

import numpy as np
import pytest
import torch
from helpers.linear_pathways import LinearPathways
from helpers.several_times import TIMES, run_set, runs_of

from bids_neurossm.errors import CheckpointError
from bids_neurossm.training.data import RunSet
from bids_neurossm.training.inference import (
    balanced_mean,
    evaluation_batches,
    mean_over_windows,
    owner_means,
    predict_logits,
)

RUNS = [(4, 0.0), (8, 2.0)]
SHAPE = np.arange(8, dtype=np.float32)[:, None] * np.ones(3, np.float32)


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


def test_rows_are_averaged_over_their_owners():
    values = np.array([[1.0, 10.0], [3.0, 30.0], [5.0, 50.0]])
    assert owner_means(values, np.array([1, 0, 1]), 2).tolist() == [[3.0, 30.0], [3.0, 30.0]]
    assert owner_means(np.array([[[2.0]], [[4.0]]]), np.array([0, 0]), 1).tolist() == [[[3.0]]]


def test_each_class_has_the_same_weight_in_a_balanced_mean():
    values = np.array([[0.0], [2.0], [4.0], [10.0]])
    assert balanced_mean(values, np.array([0, 0, 0, 1])).tolist() == [6.0]
    assert balanced_mean(values, None).tolist() == [4.0]


def test_a_quantity_is_averaged_over_the_windows_of_each_run():
    """The mean of region 0 over windows of four time points, whatever the size of the batches."""
    series = [np.full((length, 3), value, np.float32) + SHAPE[:length] for length, value in RUNS]
    inputs = RunSet.in_memory(series, ["short", "long"])
    model = LinearPathways().train()
    for batch_size in (1, 2, 32):
        found = mean_over_windows(model, inputs, 4, lambda batch: batch.series[:, :, 0].mean(dim=1), batch_size)
        np.testing.assert_allclose(found, [1.5, 5.5], rtol=1e-6)
    assert not model.training


def test_a_model_whose_logits_have_another_shape_is_refused():
    class Wrong(LinearPathways):
        def forward(self, series, *others):
            return super().forward(series, *others)[:, :1]

    inputs = RunSet.in_memory([np.float32([[1, 2, 3], [2, 1, 0]])], ["run"])
    with pytest.raises(CheckpointError, match=r"Wrong returns logits of shape \(1, 1\); \(1, 2\), runs x outputs"):
        predict_logits(Wrong(), inputs, None)
