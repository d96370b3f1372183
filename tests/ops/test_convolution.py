"""The compiled causal convolution with its SiLU gives the numbers of its definition, forward and backward."""

import pytest
import torch

from bids_neurossm.ops.convolution import causal_convolution, convolution_reference


def _draw(channels, length, taps, kind=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, length, channels), (channels, taps), (channels,))
    return [torch.randn(shape, generator=generator, dtype=kind).requires_grad_() for shape in shapes]


# Fewer channels than a vector, a tail, more time points than a chunk, fewer than taps.
@pytest.mark.parametrize(("channels", "length", "taps"), [(5, 9, 4), (24, 70, 4), (16, 3, 4), (8, 12, 1)])
def test_compiled_equals_definition(channels, length, taps):
    arguments = _draw(channels, length, taps)
    ours, expected = causal_convolution(*arguments), convolution_reference(*arguments)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    incoming = torch.linspace(-1, 1, ours.numel(), dtype=torch.float64).view(ours.shape)
    pairs = zip(*(torch.autograd.grad(out, arguments, incoming) for out in (ours, expected)), strict=True)
    for first, second in pairs:
        torch.testing.assert_close(first, second, rtol=1e-11, atol=1e-11)


def test_definition_is_a_grouped_convolution_that_looks_back_only():
    x, taps, bias = _draw(6, 20, 4)
    whole = torch.nn.functional.conv1d(x.mT, taps[:, None], bias, padding=3, groups=6)[..., :20].mT
    torch.testing.assert_close(convolution_reference(x, taps, bias), torch.nn.functional.silu(whole))
    torch.testing.assert_close(
        causal_convolution(x, taps), torch.nn.functional.silu(whole - bias), rtol=1e-12, atol=1e-12
    )


def test_half_precision_keeps_its_type_and_the_number_of_threads_changes_no_bit():
    x, taps, bias = (tensor.detach() for tensor in _draw(96, 1000, 4, torch.float32))
    assert causal_convolution(x.bfloat16(), taps.bfloat16(), bias.bfloat16()).dtype == torch.bfloat16
    before, outcomes = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            outcomes.append(causal_convolution(x, taps, bias))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*outcomes)
