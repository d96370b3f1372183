"""Selective scans written in plain torch, with gradients by autograd: what the compiled kernels are measured against.

All take ``u, delta, A, B, C, D, z, bias`` with B and C of shape (batch, states, length), and apply the softplus.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def _parts(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factor between states and what is added, (batch, channels, length, states), of every time point."""
    step = functional.softplus(delta + bias[:, None])
    return torch.exp(step[..., None] * A[:, None]), (step * u)[..., None] * B.mT[:, None]


def _output(states: Tensor, u: Tensor, C: Tensor, D: Tensor, z: Tensor) -> Tensor:
    """Read the output off the states (batch, channels, length, states)."""
    return (torch.einsum("bdln,bnl->bdl", states, C) + D[:, None] * u) * functional.silu(z)


def indexed_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor
) -> Tensor:
    """Scan in the plain form of mamba-ssm's reference: everything is laid out first, then indexed step by step."""
    decays, inputs = _parts(u, delta, A, B, bias)
    state = torch.zeros_like(decays[:, :, 0])
    steps = []
    for t in range(u.shape[2]):
        state = decays[:, :, t] * state + inputs[:, :, t]
        steps.append((state * C[:, None, :, t]).sum(dim=-1))
    return (torch.stack(steps, dim=2) + D[:, None] * u) * functional.silu(z)


def log_step_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor
) -> Tensor:
    """Scan in log2(length) steps (Hillis and Steele): each adds what lies 1, 2, 4 ... time points back."""
    decays, states = _parts(u, delta, A, B, bias)
    back = 1
    while back < u.shape[2]:
        earlier = functional.pad(states[:, :, :-back], (0, 0, back, 0))
        states = states + decays * earlier
        decays = torch.cat([decays[:, :, :back], decays[:, :, back:] * decays[:, :, :-back]], dim=2)
        back *= 2
    return _output(states, u, C, D, z)


def associative_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor
) -> Tensor:
    """Scan by halving (Blelloch): pairs are joined, the half as long sequence is scanned, the rest is filled in."""

    def scanned(decays: Tensor, inputs: Tensor) -> Tensor:
        length = decays.shape[2]
        if length == 1:
            return inputs
        first, second = slice(0, length - length % 2, 2), slice(1, None, 2)
        odd = scanned(
            decays[:, :, second] * decays[:, :, first],
            inputs[:, :, second] + decays[:, :, second] * inputs[:, :, first],
        )
        rest = odd[:, :, : (length + 1) // 2 - 1]
        even = torch.cat([inputs[:, :, :1], inputs[:, :, 2::2] + decays[:, :, 2::2] * rest], dim=2)
        padded = functional.pad(odd, (0, 0, 0, even.shape[2] - odd.shape[2]))
        return torch.stack([even, padded], dim=3).flatten(2, 3)[:, :, :length]

    return _output(scanned(*_parts(u, delta, A, B, bias)), u, C, D, z)


def chunked_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor
) -> Tensor:
    """Scan about sqrt(length) chunks side by side, each from zero, and then add what each takes over from the last."""
    length = u.shape[2]
    size = max(1, round(length**0.5))
    decays, inputs = _parts(u, delta, A, B, bias)
    fill = -length % size
    decays, inputs = (functional.pad(each, (0, 0, 0, fill)).unflatten(2, (-1, size)) for each in (decays, inputs))
    state, so_far, states, factors = torch.zeros_like(inputs[:, :, :, 0]), torch.ones_like(inputs[:, :, :, 0]), [], []
    for decay, added in zip(decays.unbind(3), inputs.unbind(3), strict=True):
        state, so_far = decay * state + added, decay * so_far
        states.append(state)
        factors.append(so_far)
    carried = [torch.zeros_like(state[:, :, 0])]
    for end, factor in zip(state.unbind(2)[:-1], so_far.unbind(2)[:-1], strict=True):
        carried.append(end + factor * carried[-1])
    whole = torch.stack(states, dim=3) + torch.stack(factors, dim=3) * torch.stack(carried, dim=2)[:, :, :, None]
    return _output(whole.flatten(2, 3)[:, :, :length], u, C, D, z)
