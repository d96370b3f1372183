"""The selective scan on GPUs: fused Triton kernels, forward and backward, and the gradient around them.

Arrays lie channels last, (B, L, D), so that neighbouring lanes load neighbouring channels; a layer that works on
(B, L, D) hands its tensors over without a copy. One program is one sequence of the batch x one tile of channels of one
group; it walks through time with its states (tile, N) in registers, in float32 whatever the input type. Bias, softplus,
skip and gate are done on the way, so that nothing of size (B, D, L, N) is ever written.

The backward kernel needs every state. They are not stored, but computed again from one state in every ``CHUNK`` steps.
What must be summed over programs is written apart and added up in a fixed order afterwards: no atomics, the same bits
every time.

Importing this module imports Triton; `bids_neurossm.ops.selective_scan` does so when it is asked to.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import triton
import triton.language as tl
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

from bids_neurossm.errors import DeviceUnavailableError
from bids_neurossm.ops.shapes import check_shapes, grouped

CHUNK = 16
# One warp a program: sums over channels and over states need no shared memory, and small batches fill the device.
TILE = 16
_WARPS = 1


def selective_scan_triton(
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
    """Run the scan and its gradient in Triton kernels.

    Parameters, results and errors are those of `bids_neurossm.ops.selective_scan`. Everything is computed in
    float32, also for half and double precision; the output has the type of `u`, the last state is float32, and each
    gradient has the type of its tensor. B and C that are fixed per channel are one group per channel, and slow.

    Notes
    -----
    With the variable ``TRITON_INTERPRET=1`` set before Triton is imported, the kernels are interpreted on the CPU:
    slow, and meant for tests.
    """
    if not u.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        raise DeviceUnavailableError(f"backend='triton' needs CUDA tensors; u is on {u.device}.")
    batch, channels, length = u.shape
    check_shapes(u, delta, A, D, z, delta_bias)
    inputs, outputs = grouped(B, C, batch, channels, length)

    def last(tensor: Tensor) -> Tensor:
        return tensor.transpose(1, 2).contiguous()

    result, state = _Scan.apply(  # type: ignore[no-untyped-call]
        last(u),
        last(delta),
        A.contiguous(),
        *(rearrange(matrix, "b g n l -> b l g n").contiguous() for matrix in (inputs, outputs)),
        None if D is None else D.contiguous(),
        None if z is None else last(z),
        None if delta_bias is None else delta_bias.contiguous(),
        delta_softplus,
    )
    result = result.transpose(1, 2)
    return (result, state) if return_last_state else result


@triton.jit  # type: ignore[untyped-decorator]
def _sigmoid(x: tl.tensor) -> tl.tensor:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit  # type: ignore[untyped-decorator]
def _softplus(x: tl.tensor) -> tl.tensor:
    """log(1 + exp(x)), exact for very negative x too: log1p(e) = 2 atanh(e / (2 + e)) as a series, e <= 1."""
    e = tl.exp(-tl.abs(x))
    s = e / (2.0 + e)
    q = s * s
    series = q * (1.0 / 15) + 1.0 / 13
    series = q * series + 1.0 / 11
    series = q * series + 1.0 / 9
    series = q * series + 1.0 / 7
    series = q * series + 1.0 / 5
    series = q * series + 1.0 / 3
    series = q * series + 1.0
    return tl.maximum(x, 0.0) + 2.0 * s * series


@triton.jit  # type: ignore[untyped-decorator]
def _place(channels: tl.tensor, groups: tl.tensor, tiles: tl.tensor, TILE: tl.constexpr) -> tl.tensor:
    """Sequence and group of this program, its tile's number in the group, its channels, and which of them exist."""
    unit = tl.program_id(0) % (groups * tiles)
    # Wide, since offsets of whole sequences may pass 2^31.
    sequence = (tl.program_id(0) // (groups * tiles)).to(tl.int64)
    group, tile = unit // tiles, unit % tiles
    size = channels // groups
    within = tile * TILE + tl.arange(0, TILE)
    return sequence, group, tile, group * size + within, within < size


@triton.jit  # type: ignore[untyped-decorator]
def _vector(pointer: tl.tensor, d: tl.tensor, exists: tl.tensor, PRESENT: tl.constexpr) -> tl.tensor:
    """One number per channel of the tile, in float32; zeros where the argument was not given."""
    values = tl.zeros(d.shape, tl.float32)
    if PRESENT:
        values = tl.load(pointer + d, mask=exists, other=0.0).to(tl.float32)
    return values


@triton.jit  # type: ignore[untyped-decorator]
def _sample(
    u: tl.tensor, delta: tl.tensor, B: tl.tensor, at: tl.tensor, at_matrix: tl.tensor, exists: tl.tensor,
    has: tl.tensor, shift: tl.tensor, SOFTPLUS: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Input (tile), step (tile) and input matrix (N) of a time point; and the step before the softplus."""
    x = tl.load(u + at, mask=exists, other=0.0).to(tl.float32)
    raw = tl.load(delta + at, mask=exists, other=0.0).to(tl.float32) + shift
    into = tl.load(B + at_matrix, mask=has, other=0.0).to(tl.float32)
    step = raw
    if SOFTPLUS:
        step = _softplus(raw)
    return x, step, into, raw


@triton.jit  # type: ignore[untyped-decorator]
def _forward_kernel(
    u: tl.tensor, delta: tl.tensor, A: tl.tensor, B: tl.tensor, C: tl.tensor, D: tl.tensor, z: tl.tensor,
    bias: tl.tensor, out: tl.tensor, last: tl.tensor, kept: tl.tensor, length: tl.tensor, channels: tl.tensor,
    groups: tl.tensor, tiles: tl.tensor, n_states: tl.tensor, KEEP: tl.constexpr, HAS_D: tl.constexpr,
    HAS_Z: tl.constexpr, HAS_BIAS: tl.constexpr, SOFTPLUS: tl.constexpr, CHUNK: tl.constexpr, TILE: tl.constexpr,
    STATES: tl.constexpr,
) -> None:  # fmt: skip
    """Scan a tile; u, delta, z, out (B, L, D), B, C (B, L, G, N), last (B, D, N), kept (B, chunks, D, N)."""
    sequence, group, _tile, d, exists = _place(channels, groups, tiles, TILE)
    n = tl.arange(0, STATES)
    has, both = n < n_states, exists[:, None] & (n < n_states)[None, :]
    pair = d[:, None] * n_states + n[None, :]
    rates = tl.load(A + pair, mask=both, other=0.0).to(tl.float32)
    skip, shift = _vector(D, d, exists, HAS_D), _vector(bias, d, exists, HAS_BIAS)
    state = tl.zeros((TILE, STATES), tl.float32)
    chunks = tl.cdiv(length, CHUNK)
    for chunk in range(chunks):
        if KEEP:
            tl.store(kept + (sequence * chunks + chunk) * channels * n_states + pair, state, mask=both)
        for t in range(chunk * CHUNK, tl.minimum(chunk * CHUNK + CHUNK, length)):
            at = (sequence * length + t) * channels + d
            at_matrix = ((sequence * length + t) * groups + group) * n_states + n
            x, step, into, _raw = _sample(u, delta, B, at, at_matrix, exists, has, shift, SOFTPLUS)
            from_ = tl.load(C + at_matrix, mask=has, other=0.0).to(tl.float32)
            state = tl.exp(step[:, None] * rates) * state + (step * x)[:, None] * into[None, :]
            y = tl.sum(state * from_[None, :], axis=1) + skip * x
            if HAS_Z:
                gate = tl.load(z + at, mask=exists, other=0.0).to(tl.float32)
                y *= gate * _sigmoid(gate)
            tl.store(out + at, y.to(out.dtype.element_ty), mask=exists)
    tl.store(last + sequence * channels * n_states + pair, state, mask=both)


@triton.jit  # type: ignore[untyped-decorator]
def _again(
    u: tl.tensor, delta: tl.tensor, B: tl.tensor, states: tl.tensor, state: tl.tensor, rates: tl.tensor,
    shift: tl.tensor, d: tl.tensor, n: tl.tensor, exists: tl.tensor, has: tl.tensor, sequence: tl.tensor,
    group: tl.tensor, start: tl.tensor, stop: tl.tensor, length: tl.tensor, channels: tl.tensor, groups: tl.tensor,
    n_states: tl.tensor, SOFTPLUS: tl.constexpr, TILE: tl.constexpr, STATES: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Compute the states of start .. stop - 1 again; write the one before each, and return the one after the last."""
    square = tl.arange(0, TILE)[:, None] * STATES + n[None, :]
    for t in range(start, stop):
        at = (sequence * length + t) * channels + d
        at_matrix = ((sequence * length + t) * groups + group) * n_states + n
        tl.store(states + (t - start) * TILE * STATES + square, state)
        x, step, into, _raw = _sample(u, delta, B, at, at_matrix, exists, has, shift, SOFTPLUS)
        state = tl.exp(step[:, None] * rates) * state + (step * x)[:, None] * into[None, :]
    return state


@triton.jit  # type: ignore[untyped-decorator]
def _gate_back(
    z: tl.tensor, grad_z: tl.tensor, at: tl.tensor, exists: tl.tensor, ungated: tl.tensor, grad_y: tl.tensor
) -> tl.tensor:
    """Take the gradient of the output through the gate; write that of the gate."""
    gate = tl.load(z + at, mask=exists, other=0.0).to(tl.float32)
    share = _sigmoid(gate)
    slope = share * (1.0 + gate * (1.0 - share))
    tl.store(grad_z + at, (grad_y * ungated * slope).to(grad_z.dtype.element_ty), mask=exists)
    return grad_y * gate * share


@triton.jit  # type: ignore[untyped-decorator]
def _backward_kernel(
    u: tl.tensor, delta: tl.tensor, A: tl.tensor, B: tl.tensor, C: tl.tensor, D: tl.tensor, z: tl.tensor,
    bias: tl.tensor, kept: tl.tensor, grad_out: tl.tensor, grad_last: tl.tensor, states: tl.tensor, grad_u: tl.tensor,
    grad_delta: tl.tensor, grad_z: tl.tensor, grad_A: tl.tensor, grad_B: tl.tensor, grad_C: tl.tensor,
    grad_D: tl.tensor, grad_bias: tl.tensor, length: tl.tensor, channels: tl.tensor, groups: tl.tensor,
    tiles: tl.tensor, n_states: tl.tensor, sequences: tl.tensor, HAS_D: tl.constexpr, HAS_Z: tl.constexpr,
    HAS_BIAS: tl.constexpr, SOFTPLUS: tl.constexpr, CHUNK: tl.constexpr, TILE: tl.constexpr, STATES: tl.constexpr,
) -> None:  # fmt: skip
    """Gradients of one sequence x tile.

    Per sequence: grad_A (B, D, N), grad_D, grad_bias (B, D). Per tile: grad_B, grad_C (tiles, B, L, G, N). There is
    room for the states of one chunk in `states` (programs, CHUNK, TILE, STATES).
    """
    sequence, group, tile, d, exists = _place(channels, groups, tiles, TILE)
    n = tl.arange(0, STATES)
    has, both = n < n_states, exists[:, None] & (n < n_states)[None, :]
    pair = d[:, None] * n_states + n[None, :]
    square = tl.arange(0, TILE)[:, None] * STATES + n[None, :]
    rates = tl.load(A + pair, mask=both, other=0.0).to(tl.float32)
    skip, shift = _vector(D, d, exists, HAS_D), _vector(bias, d, exists, HAS_BIAS)
    carried = tl.load(grad_last + sequence * channels * n_states + pair, mask=both, other=0.0)
    sum_A, sum_D, sum_bias = tl.zeros_like(rates), tl.zeros_like(skip), tl.zeros_like(skip)
    states += tl.program_id(0).to(tl.int64) * CHUNK * TILE * STATES
    chunks = tl.cdiv(length, CHUNK)
    for back in range(chunks):
        start = (chunks - 1 - back) * CHUNK
        stop = tl.minimum(start + CHUNK, length)
        first = (sequence * chunks + chunks - 1 - back) * channels * n_states
        after = _again(
            u, delta, B, states, tl.load(kept + first + pair, mask=both, other=0.0), rates, shift, d, n, exists, has,
            sequence, group, start, stop, length, channels, groups, n_states, SOFTPLUS, TILE, STATES,
        )  # fmt: skip
        # Other lanes may have written what a lane reads now.
        tl.debug_barrier()
        for i in range(stop - start):
            t = stop - 1 - i
            at = (sequence * length + t) * channels + d
            at_matrix = ((sequence * length + t) * groups + group) * n_states + n
            x, step, into, raw = _sample(u, delta, B, at, at_matrix, exists, has, shift, SOFTPLUS)
            from_ = tl.load(C + at_matrix, mask=has, other=0.0).to(tl.float32)
            grad_y = tl.load(grad_out + at, mask=exists, other=0.0).to(tl.float32)
            before = tl.load(states + (t - start) * TILE * STATES + square)
            if HAS_Z:
                ungated = tl.sum(after * from_[None, :], axis=1) + skip * x
                grad_y = _gate_back(z, grad_z, at, exists, ungated, grad_y)
            g = carried + grad_y[:, None] * from_[None, :]
            at_tile = tile.to(tl.int64) * sequences * length * groups * n_states + at_matrix
            tl.store(grad_C + at_tile, tl.sum(grad_y[:, None] * after, axis=0), mask=has)
            tl.store(grad_B + at_tile, tl.sum(g * (step * x)[:, None], axis=0), mask=has)
            carried = g * tl.exp(step[:, None] * rates)
            through = carried * before
            grad_source = tl.sum(g * into[None, :], axis=1)
            grad_step = tl.sum(through * rates, axis=1) + grad_source * x
            sum_A += through * step[:, None]
            sum_D += grad_y * x
            if SOFTPLUS:
                grad_step *= _sigmoid(raw)
            sum_bias += grad_step
            tl.store(grad_delta + at, grad_step.to(grad_delta.dtype.element_ty), mask=exists)
            tl.store(grad_u + at, (grad_source * step + grad_y * skip).to(grad_u.dtype.element_ty), mask=exists)
            after = before
        # The next chunk overwrites the states.
        tl.debug_barrier()
    tl.store(grad_A + sequence * channels * n_states + pair, sum_A, mask=both)
    tl.store(grad_D + sequence * channels + d, sum_D, mask=exists)
    tl.store(grad_bias + sequence * channels + d, sum_bias, mask=exists)


class _Scan(torch.autograd.Function):
    """Scan of channels-last tensors with its gradient; B and C are (B, L, G, N)."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
        bias: Tensor | None, softplus: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Run the forward kernel; keep one state per chunk where a gradient will be asked for."""
        (batch, length, channels), n_states = u.shape, A.shape[1]
        tiles, programs, options = _launch(u, A, B, D, z, bias, softplus)
        keep = any(ctx.needs_input_grad)
        out, last = torch.empty_like(u), _float32(u, batch, channels, n_states)
        kept = _float32(u, batch, triton.cdiv(length, CHUNK), channels, n_states) if keep else _float32(u, 0)
        # The place of an argument that was not given is taken by any tensor; the kernel does not look there.
        tensors = [u if tensor is None else tensor for tensor in (u, delta, A, B, C, D, z, bias)]
        with torch.cuda.device_of(u):  # type: ignore[no-untyped-call]
            _forward_kernel[(programs,)](
                *tensors, out, last, kept, length, channels, B.shape[2], tiles, n_states, KEEP=keep, **options
            )  # fmt: skip
        ctx.save_for_backward(u, delta, A, B, C, D, z, bias, kept)
        ctx.softplus = softplus
        return out, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        """Run the backward kernel and add up, in a fixed order, what each program found."""
        u, delta, A, B, C, D, z, bias, kept = ctx.saved_tensors
        (batch, length, channels), n_states = u.shape, A.shape[1]
        tiles, programs, options = _launch(u, A, B, D, z, bias, ctx.softplus)
        grad_u, grad_delta = torch.empty_like(u), torch.empty_like(delta)
        grad_z = None if z is None else torch.empty_like(z)
        grad_A, grad_D = _float32(u, batch, channels, n_states), _float32(u, batch, channels)
        grad_B, grad_C, grad_bias = _float32(u, tiles, *B.shape), _float32(u, tiles, *C.shape), torch.empty_like(grad_D)
        # States of the chunk that a program works on: small, and read back from the cache.
        states = _float32(u, programs, CHUNK, options["TILE"], options["STATES"])
        tensors = [u if tensor is None else tensor for tensor in (u, delta, A, B, C, D, z, bias)]
        with torch.cuda.device_of(u):  # type: ignore[no-untyped-call]
            _backward_kernel[(programs,)](
                *tensors, kept, grad_out.contiguous(), grad_last.contiguous(), states, grad_u, grad_delta,
                grad_u if grad_z is None else grad_z, grad_A, grad_B, grad_C, grad_D, grad_bias,
                length, channels, B.shape[2], tiles, n_states, batch, **options,
            )  # fmt: skip

        def summed(parts: Tensor, whole: Tensor | None) -> Tensor | None:
            return None if whole is None else parts.sum(dim=0).to(whole.dtype)

        pairs = ((grad_A, A), (grad_B, B), (grad_C, C), (grad_D, D))
        return grad_u, grad_delta, *(summed(*pair) for pair in pairs), grad_z, summed(grad_bias, bias), None


def _float32(like: Tensor, *shape: int) -> Tensor:
    """Return room for numbers on the device of a tensor."""
    return like.new_empty(shape, dtype=torch.float32)


def _launch(
    u: Tensor, A: Tensor, B: Tensor, D: Tensor | None, z: Tensor | None, bias: Tensor | None, softplus: bool
) -> tuple[int, int, dict[str, Any]]:
    """Tiles per group, number of programs, and what the kernels are compiled for."""
    groups = B.shape[2]
    size = u.shape[2] // groups
    tile = min(TILE, triton.next_power_of_2(size))
    tiles = triton.cdiv(size, tile)
    options = {
        "HAS_D": D is not None, "HAS_Z": z is not None, "HAS_BIAS": bias is not None, "SOFTPLUS": softplus,
        "CHUNK": CHUNK, "TILE": tile, "STATES": triton.next_power_of_2(A.shape[1]), "num_warps": _WARPS,
        # Said here, since the default changes between versions of Triton.
        "enable_fp_fusion": True,
    }  # fmt: skip
    return tiles, u.shape[0] * groups * tiles, options
