"""Processes that train together share every batch, and sum their gradients."""

import pytest
import torch
from torch import nn

from bids_neurossm.training.process_group import ALONE, Ranks


@pytest.mark.parametrize(
    ("n", "size", "shares"),
    [
        (7, 3, [[0, 1, 2], [3, 4], [5, 6]]),
        (4, 2, [[0, 1], [2, 3]]),
        (1, 3, [[0], [], []]),
        (5, 1, [[0, 1, 2, 3, 4]]),
    ],
)
def test_a_batch_is_shared_out_in_order_and_nothing_is_left(n, size, shares):
    assert [Ranks(rank, size).share(list(range(n))) for rank in range(size)] == shares


def test_the_first_process_leads():
    assert [Ranks(rank, 3).leads for rank in range(3)] == [True, False, False]
    assert ALONE.leads


def test_a_process_on_its_own_keeps_its_gradients_and_sends_nothing():
    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    assert ALONE.add_gradients(model, 0.5) == 0.5
    assert model.weight.grad.tolist() == [[1.0, 1.0]]
    values = torch.arange(3.0)
    ALONE.agree([values])
    assert values.tolist() == [0.0, 1.0, 2.0]


def test_gradients_and_losses_are_summed_in_one_message(monkeypatch):
    """The other process sends 10 for every number; ours had no run for the bias, and the frozen layer has no part."""
    sent = []

    def all_reduce(flat):
        sent.append(flat.tolist())
        flat += 10

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    model[0].weight.grad = torch.tensor([[1.0, 2.0]])
    assert Ranks(0, 2).add_gradients(model, 0.5) == 10.5
    assert sent == [[1.0, 2.0, 0.0, 0.5]]
    assert model[0].weight.grad.tolist() == [[11.0, 12.0]]
    assert model[0].bias.grad.tolist() == [10.0]
    assert model[1].weight.grad is None
