"""Random arguments of a selective scan, and what comes out, with gradients."""

import torch

from bids_neurossm.ops import selective_scan

NAMES = ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"]


def draw_scan(batch=2, channels=6, length=35, states=3, form="(B,N,L)", groups=2, kind=torch.float64):
    """Random arguments with gradients; lengths are no multiple of anything inside."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=kind)

    shape = {"(D,N)": (channels, states), "(B,N,L)": (batch, states, length)}.get(form, (batch, groups, states, length))
    drawn = {
        "u": normal(batch, channels, length), "delta": normal(batch, channels, length),
        "A": -normal(channels, states).exp(), "B": normal(*shape), "C": normal(*shape), "D": normal(channels),
        "z": normal(batch, channels, length), "delta_bias": normal(channels),
    }  # fmt: skip
    return {name: tensor.requires_grad_() for name, tensor in drawn.items()}


def scan_outcome(arguments, backend, softplus=True):
    """Output, last state, and the gradients of a sum that touches both."""
    out, state = selective_scan(**arguments, delta_softplus=softplus, return_last_state=True, backend=backend)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    gradients = torch.autograd.grad((out * weight).sum() + state.square().sum(), list(arguments.values()))
    return [out.detach(), state.detach(), *gradients]
