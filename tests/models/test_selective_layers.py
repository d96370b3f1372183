"""Stacks of selective state-space layers run together as each does alone; no valid sample sees padding."""

import pytest
import torch

from bids_neurossm.models.selective_layers import SelectiveLayers, reverse_valid, stacks_together


def stack(seed=0, bidirectional=False, depth=2):
    torch.manual_seed(seed)
    return SelectiveLayers(
        width=4, state=2, depth=depth, convolution=3, expand=2, dropout=0.0, bidirectional=bidirectional
    )


def sequences(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_valid_samples_are_turned_round_and_padding_stays_at_the_end():
    values = torch.arange(10.0).reshape(2, 5, 1)
    turned = reverse_valid(values, torch.tensor([5, 3]))
    assert turned[:, :, 0].tolist() == [[4.0, 3.0, 2.0, 1.0, 0.0], [7.0, 6.0, 5.0, 8.0, 9.0]]
    assert torch.equal(reverse_valid(turned, torch.tensor([5, 3])), values)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_stacks_that_run_together_give_what_each_gives_alone(bidirectional):
    stacks = [stack(seed, bidirectional) for seed in range(3)]
    inputs, lengths = sequences(3, 2, 9, 4), torch.tensor([[9, 6], [5, 9], [9, 2]])
    together = stacks_together(stacks, inputs, lengths)
    for number, each in enumerate(stacks):
        torch.testing.assert_close(together[number], each(inputs[number], lengths[number]), rtol=1e-5, atol=1e-6)


def test_without_layers_a_sequence_comes_back_as_it_is():
    inputs = sequences(2, 7, 4)
    assert torch.equal(stack(depth=0)(inputs, torch.tensor([7, 7])), inputs)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_no_valid_sample_sees_padding(bidirectional):
    layers, inputs = stack(bidirectional=bidirectional), sequences(1, 9, 4)
    spoilt = inputs.clone()
    spoilt[0, 6:] = 1e3
    found, expected = layers(spoilt, torch.tensor([6])), layers(inputs[:, :6], torch.tensor([6]))
    torch.testing.assert_close(found[:, :6], expected, rtol=1e-5, atol=1e-6)


def test_one_direction_looks_back_only_and_two_look_both_ways():
    changed = sequences(1, 9, 4)
    changed[0, 5, 0] += 5  # a layer norm would hide a shift of all
    lengths = torch.tensor([9])
    for bidirectional in (False, True):
        layers = stack(bidirectional=bidirectional)
        moved = (layers(changed, lengths) - layers(sequences(1, 9, 4), lengths)).abs().sum(dim=2)[0] > 0
        assert moved.tolist() == [bidirectional] * 5 + [True] * 4
