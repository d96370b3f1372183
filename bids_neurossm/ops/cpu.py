"""The selective scan on CPUs: checks and layouts, threads, and the gradient, around `bids_neurossm.ops.kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from bids_neurossm.ops import kernels
from bids_neurossm.ops.shapes import check_shapes, grouped
from bids_neurossm.ops.threads import in_threads

# Below this many state updates a second thread costs more than it saves.
_WORTH_THREADS = 400_000


def selective_scan_cpu(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Run the scan and its gradient in compiled code.

    Parameters, results and errors are those of `bids_neurossm.ops.selective_scan`. Half-precision input is computed in
    float32; tensors of another device are brought to the CPU and the result back. B and C that are fixed per channel
    are laid out per channel and time point, and are slow.

    Notes
    -----
    The tensors lie channels last inside: a ``(B, D, L)`` view of a contiguous ``(B, L, D)`` tensor is not copied.
    Threads: as many as ``torch.get_num_threads()``. Results are the same for any number of them.
    """
    batch, channels, length = u.shape
    check_shapes(u, delta, A, D, z, delta_bias)
    kind = torch.float64 if u.dtype == torch.float64 else torch.float32

    def last(tensor: Tensor) -> Tensor:
        return tensor.to("cpu", kind).transpose(1, 2).contiguous()

    def vector(tensor: Tensor | None) -> Tensor:
        return torch.zeros(channels, dtype=kind) if tensor is None else tensor.to("cpu", kind).contiguous()

    inputs, outputs = grouped(B, C, batch, channels, length)
    result, state = _Scan.apply(  # type: ignore[no-untyped-call]
        last(u),
        last(delta),
        A.to("cpu", kind).t().contiguous(),
        *(rearrange(matrix.to("cpu", kind), "b g n l -> b l g n").contiguous() for matrix in (inputs, outputs)),
        vector(D),
        torch.zeros(0, 0, 0, dtype=kind) if z is None else last(z),
        vector(delta_bias),
        delta_softplus,
    )
    result = result.transpose(1, 2).to(u.device, u.dtype)
    return (result, state.transpose(1, 2).to(u.device)) if return_last_state else result


class _Scan(torch.autograd.Function):
    """Scan of channels-last tensors with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor,
        softplus: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Run the forward kernel; keep one state per chunk where a gradient will be asked for."""
        (batch, length, channels), n_states = u.shape, A.shape[0]
        units, tiles = _units(batch, channels, B.shape[2])
        out, last = torch.empty_like(u), u.new_empty(batch, n_states, channels)
        chunks = -(-length // kernels.CHUNK)
        kept = u.new_empty((batch, chunks, n_states, channels) if any(ctx.needs_input_grad) else (0, 0, 0, 0))
        arrays = [tensor.detach().numpy() for tensor in (u, delta, A, B, C, D, z, bias)]
        results = [tensor.numpy() for tensor in (out, last, kept)]
        in_threads(
            lambda part: kernels.forward(units[part], *arrays, softplus, *results), len(units), _worth(u, n_states)
        )
        ctx.save_for_backward(u, delta, A, B, C, D, z, bias, kept)
        ctx.softplus, ctx.units, ctx.tiles = softplus, units, tiles
        return out, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        """Run the backward kernel and add up, in a fixed order, what each unit found."""
        u, delta, A, B, C, D, z, bias, kept = ctx.saved_tensors
        batch, n_states, channels = u.shape[0], A.shape[0], u.shape[2]
        grad_u, grad_delta, grad_z = torch.empty_like(u), torch.empty_like(u), torch.empty_like(z)
        grad_A, grad_D = u.new_empty(batch, n_states, channels), u.new_empty(batch, channels)
        grad_B, grad_C = (u.new_empty(int(ctx.tiles.max()) + 1, *B.shape) for _ in range(2))
        arrays = [tensor.detach().numpy() for tensor in (u, delta, A, B, C, D, z, bias)]
        incoming = [kept.numpy(), grad_out.contiguous().numpy(), grad_last.contiguous().numpy()]
        results = [t.numpy() for t in (grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_z)]
        in_threads(
            lambda part: kernels.backward(
                ctx.units[part], ctx.tiles[part], *arrays, ctx.softplus, *incoming, *results
            ),
            len(ctx.units),
            _worth(u, n_states),
        )  # fmt: skip
        sums = [part[0] if len(part) == 1 else part.sum(dim=0) for part in (grad_A, grad_B, grad_C, grad_D)]
        return grad_u, grad_delta, *sums, grad_z, grad_delta.sum(dim=(0, 1)), None


def _worth(u: Tensor, n_states: int) -> bool:
    """Whether there are so many state updates that a second thread pays."""
    return u.numel() * n_states >= _WORTH_THREADS


def _units(batch: int, channels: int, groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut the work into sequences x tiles of channels; a tile lies within one group."""
    size = channels // groups
    # Tiles of the same size, as far as whole vectors allow.
    step = -(-size // -(-size // kernels.TILE) // kernels.EVEN) * kernels.EVEN
    rows = [
        (b, g, g * size + start, min(g * size + start + step, (g + 1) * size), tile)
        for b in range(batch)
        for g in range(groups)
        for tile, start in enumerate(range(0, size, step))
    ]
    table = np.array(rows, dtype=np.int64)
    return np.ascontiguousarray(table[:, :4]), np.ascontiguousarray(table[:, 4])
