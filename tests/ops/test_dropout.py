"""Dropout on a CPU drops what it says, keeps the mean, and follows the seed."""

import pytest
import torch

from bids_neurossm.ops import dropout


@pytest.mark.parametrize("share", [0.5, 0.3, 0.05])
def test_share_and_mean(share):
    torch.manual_seed(0)
    dropped = dropout(torch.ones(1001, 997), share, training=True)
    assert len(dropped.unique()) == 2
    # Three standard errors of a million draws.
    assert float((dropped == 0).double().mean()) == pytest.approx(share, abs=3e-3 * (share * (1 - share)) ** 0.5)
    assert float(dropped.max()) == pytest.approx(1 / (1 - share), rel=1e-4)


def test_neighbours_that_share_random_bits_are_independent():
    torch.manual_seed(1)
    dropped = dropout(torch.ones(500_000, 4), 0.5, training=True) == 0
    correlation = torch.corrcoef(dropped.T.double())
    assert float((correlation - torch.eye(4)).abs().max()) < 5 / 500_000**0.5


def test_the_seed_gives_the_mask_and_the_gradient_follows_it():
    x = torch.randn(7, 5, requires_grad=True)
    outcomes = []
    for _ in range(2):
        torch.manual_seed(2)
        outcomes.append(dropout(x, 0.4, training=True))
    assert torch.equal(*outcomes)
    (gradient,) = torch.autograd.grad(outcomes[0].sum(), x)
    torch.testing.assert_close(gradient * x.detach(), outcomes[0].detach())


def test_nothing_is_dropped_outside_training():
    x = torch.randn(3, 4)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x
