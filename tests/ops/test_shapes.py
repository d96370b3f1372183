"""Shapes that every engine of the selective scan checks, and the one layout of B and C."""

import pytest
import torch

from bids_neurossm.errors import UsageError
from bids_neurossm.ops.shapes import check_shapes, grouped

U = torch.zeros(2, 6, 5)
A = torch.zeros(6, 3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"delta": U[:, :, :4]}, r"delta has shape \(2, 6, 4\); \(2, 6, 5\) is expected"),
        ({"z": U[:1]}, r"z has shape \(1, 6, 5\); \(2, 6, 5\) is expected"),
        ({"D": torch.zeros(5)}, r"D has shape \(5,\); \(6,\) is expected"),
        ({"delta_bias": torch.zeros(6, 1)}, r"delta_bias has shape \(6, 1\); \(6,\) is expected"),
        ({"A": torch.zeros(5, 3)}, r"A is torch\.float32 of shape \(5, 3\); real numbers of shape \(6, N\)"),
        ({"A": torch.zeros(6, 3, dtype=torch.complex64)}, r"A is torch\.complex64"),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(changed, words):
    fitting = {"u": U, "delta": U, "A": A, "D": torch.zeros(6), "z": U, "delta_bias": torch.zeros(6)}
    check_shapes(**fitting)
    check_shapes(**{**fitting, "D": None, "z": None, "delta_bias": None})
    with pytest.raises(UsageError, match=words):
        check_shapes(**{**fitting, **changed})


def test_matrices_shared_by_all_channels_are_one_group():
    shared = torch.arange(30.0).reshape(2, 3, 5)
    B, C = grouped(shared, -shared, 2, 6, 5)
    assert B.shape == C.shape == (2, 1, 3, 5)
    assert torch.equal(B[:, 0], shared)
    assert torch.equal(C[:, 0], -shared)


def test_matrices_that_are_fixed_are_a_group_per_channel_at_every_time_point():
    fixed = torch.arange(18.0).reshape(6, 3)
    B, C = grouped(fixed, fixed, 2, 6, 5)
    assert B.shape == C.shape == (2, 6, 3, 5)
    assert all(torch.equal(B[b, :, :, t], fixed) for b in range(2) for t in range(5))


def test_two_numbers_of_groups_are_brought_to_the_larger_one():
    shared, two = torch.arange(30.0).reshape(2, 3, 5), torch.arange(60.0).reshape(2, 2, 3, 5)
    B, C = grouped(shared, two, 2, 6, 5)
    assert B.shape == (2, 2, 3, 5)
    assert torch.equal(B[:, 0], shared)
    assert torch.equal(B[:, 1], shared)
    assert torch.equal(C, two)


def test_numbers_of_groups_that_do_not_divide_each_other_become_a_group_per_channel():
    two, three = torch.arange(60.0).reshape(2, 2, 3, 5), torch.arange(90.0).reshape(2, 3, 3, 5)
    B, C = grouped(two, three, 2, 6, 5)
    assert B.shape == C.shape == (2, 6, 3, 5)
    assert [torch.equal(B[:, d], two[:, d // 3]) for d in range(6)] == [True] * 6
    assert [torch.equal(C[:, d], three[:, d // 2]) for d in range(6)] == [True] * 6


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (1, 2, 3, 5), (2, 4, 3, 5)])
def test_a_shape_of_no_form_is_named(shape):
    with pytest.raises(UsageError, match=r"C has shape .* with G dividing 6 is expected"):
        grouped(torch.zeros(2, 3, 5), torch.zeros(shape), 2, 6, 5)
