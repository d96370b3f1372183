"""The definition of the selective scan, worked out by hand."""

import math

import pytest
import torch

from bids_neurossm.errors import UsageError
from bids_neurossm.ops.reference import selective_scan_reference

HALF = torch.tensor([[-math.log(2.0)]], dtype=torch.float64)  # a state that halves per unit of time


def tensor(*values):
    return torch.tensor([[values]], dtype=torch.float64)


def scan(u, delta, B, C, **more):
    return selective_scan_reference(u, delta, HALF, B, C, **more)


def test_a_state_decays_by_its_rate_and_takes_up_the_input():
    ones = tensor(1.0, 1.0, 1.0)
    out, state = scan(tensor(1.0, 0.0, 4.0), ones, ones, ones, return_last_state=True)
    torch.testing.assert_close(out, tensor(1.0, 0.5, 4.25))
    torch.testing.assert_close(state, tensor(4.25))


def test_a_longer_step_decays_more_and_takes_up_more():
    out = scan(tensor(1.0, 1.0), tensor(1.0, 2.0), tensor(1.0, 1.0), tensor(1.0, 10.0))
    torch.testing.assert_close(out, tensor(1.0, 10 * (0.25 + 2.0)))


def test_the_input_itself_and_the_gate_come_last():
    ones = tensor(1.0, 1.0)
    out = scan(tensor(1.0, 0.0), ones, ones, ones, D=torch.tensor([3.0]).double(), z=tensor(2.0, 0.0))
    torch.testing.assert_close(out, tensor((1.0 + 3.0) * 2.0 / (1 + math.exp(-2.0)), 0.0))


def test_the_bias_is_added_before_the_softplus():
    ones = tensor(1.0)
    bias = torch.tensor([0.5]).double()
    out = scan(ones, tensor(0.25), ones, ones, delta_bias=bias, delta_softplus=True)
    torch.testing.assert_close(out, tensor(math.log1p(math.exp(0.75))))
    torch.testing.assert_close(scan(ones, tensor(0.25), ones, ones, delta_bias=bias), tensor(0.75))


def test_groups_are_neighbouring_channels():
    u = torch.ones(1, 4, 1).double()
    rates = -torch.ones(4, 1).double()
    B = torch.tensor([[[[2.0]], [[3.0]]]]).double()
    out = selective_scan_reference(u, u, rates, B, torch.ones(1, 1, 1).double())
    assert out[0, :, 0].tolist() == [2.0, 2.0, 3.0, 3.0]


def test_a_matrix_of_no_known_form_is_refused():
    with pytest.raises(UsageError, match=r"B has shape \(1, 1, 3\)"):
        scan(tensor(1.0, 0.0), tensor(1.0, 1.0), tensor(1.0, 1.0, 1.0), tensor(1.0, 1.0))
