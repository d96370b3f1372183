"""The selective scan compiled for CPUs by numba: one forward and one backward kernel.

Arrays lie channels last, (B, L, D), so that the innermost loop runs over neighbouring channels and the compiler
turns it into vector instructions; a layer that works on (B, L, D) hands its tensors over without a copy. One unit of
work is one sequence of the batch x one tile of channels; a unit writes only where no other does, and what must be
summed over units is written apart and added up in a fixed order afterwards, so results do not depend on the threads.

The backward pass needs every state. They are not stored, but computed again from one state in every ``CHUNK`` steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import overload

CHUNK = 16
TILE = 64


def _compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile with numba, keep the result on disk where that is possible, and release the interpreter lock."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)  # type: ignore[no-any-return]
        except RuntimeError:
            # Neither the package's folder nor the home can be written: compile anew in each process.
            return numba.njit(nogil=True, error_model="numpy", **options)(function)  # type: ignore[no-any-return]

    return decorate


# Sums may be reordered (fixed at compile time), NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz", "arcp"}


@_compiled(fastmath={"contract"})
def _exp32(x: Any) -> Any:
    """Exponential in float32 without a branch or a library call, so that a loop over it is vectorised."""
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    x = np.float32(88.0) if x > np.float32(88.0) else x
    # Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits; a conversion would be slow in vectors.
    shifted = x * np.float32(1.4426950408889634) + np.float32(12582912.0)
    whole = shifted - np.float32(12582912.0)
    # ln 2 in two pieces (Cody and Waite), then the series of the remainder, |r| <= ln(2) / 2.
    r = x - whole * np.float32(0.693359375)
    r = r - whole * np.float32(-2.12194440e-4)
    series = np.float32(1.0 / 720)
    series = series * r + np.float32(1.0 / 120)
    series = series * r + np.float32(1.0 / 24)
    series = series * r + np.float32(1.0 / 6)
    series = series * r + np.float32(0.5)
    series = series * r + np.float32(1.0)
    series = series * r + np.float32(1.0)
    # Times 2^whole, by adding to the exponent.
    power = np.int32(np.float32(shifted).view(np.int32) << np.int32(23))
    return np.int32(np.float32(series).view(np.int32) + power).view(np.float32)


@_compiled(fastmath={"contract"})
def _softplus32(x: Any) -> Any:
    """log(1 + exp(x)) in float32; log1p(e) = 2 atanh(e / (2 + e)) as a series, e = exp(-|x|) <= 1."""
    e = _exp32(-abs(x))
    s = e / (np.float32(2.0) + e)
    q = s * s
    series = np.float32(1.0 / 15)
    series = series * q + np.float32(1.0 / 13)
    series = series * q + np.float32(1.0 / 11)
    series = series * q + np.float32(1.0 / 9)
    series = series * q + np.float32(1.0 / 7)
    series = series * q + np.float32(1.0 / 5)
    series = series * q + np.float32(1.0 / 3)
    series = series * q + np.float32(1.0)
    positive = x if x > np.float32(0.0) else x * np.float32(0.0)
    return positive + np.float32(2.0) * s * series


def _exp(x: Any) -> Any:
    """Exponential in the type of x."""
    return np.exp(x)


# numba compares the names and annotations of an overload with those of its implementations: there can be none.
@overload(_exp)
def _exp_of_type(x):  # type: ignore[no-untyped-def]
    return (lambda x: _exp32(x)) if x == numba.float32 else (lambda x: math.exp(x))


def _softplus(x: Any) -> Any:
    """log(1 + exp(x)) in the type of x."""
    return np.logaddexp(x, 0.0)


@overload(_softplus)
def _softplus_of_type(x):  # type: ignore[no-untyped-def]
    if x == numba.float32:
        return lambda x: _softplus32(x)
    return lambda x: (x if x > 0.0 else x * 0.0) + math.log1p(math.exp(-abs(x)))


@_compiled(fastmath=_SUMS)
def _load(b: int, t: int, first: int, u: Any, delta: Any, bias: Any, softplus: bool, x: Any, step: Any) -> None:
    """Fetch the input of one time point and compute its steps: add the bias, apply the softplus."""
    for d in range(x.shape[0]):
        x[d] = u[b, t, first + d]
        step[d] = delta[b, t, first + d] + bias[first + d]
    if softplus:
        for d in range(x.shape[0]):
            step[d] = _softplus(step[d])


@_compiled(fastmath=_SUMS)
def forward(
    units: Any, u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any, z: Any, bias: Any, softplus: bool,
    out: Any, last: Any, kept: Any,
) -> None:  # fmt: skip
    """Scan the units ``(sequence, group, first channel, end)``.

    Parameters
    ----------
    units : int64 (n, 4)
        The work of this call.
    u, delta, out : (B, L, D)
        Input, step before bias and softplus; output.
    A : (N, D)
        Rates, states first.
    B, C : (B, L, G, N)
        Matrices of each group of channels.
    D, bias : (D,)
        Skip weight and bias of the step (zeros where there is none).
    z : (B, L, D) or (0, 0, 0)
        Gate, or none.
    last : (B, N, D)
        Receives the last state.
    kept : (B, ceil(L / CHUNK), N, D) or (0, 0, 0, 0)
        Receives the state before each chunk, or nothing.
    """
    length, n_states = u.shape[1], A.shape[0]
    one, zero = A.dtype.type(1.0), A.dtype.type(0.0)
    for unit in range(units.shape[0]):
        b, g, first = units[unit, 0], units[unit, 1], units[unit, 2]
        width = units[unit, 3] - first
        state = np.empty((n_states, width), A.dtype)
        rates = np.empty((n_states, width), A.dtype)
        for n in range(n_states):
            for d in range(width):
                state[n, d] = zero
                rates[n, d] = A[n, first + d]
        x, step, total = np.empty(width, A.dtype), np.empty(width, A.dtype), np.empty(width, A.dtype)
        for t in range(length):
            if kept.shape[0] > 0 and t % CHUNK == 0:
                for n in range(n_states):
                    for d in range(width):
                        kept[b, t // CHUNK, n, first + d] = state[n, d]
            _load(b, t, first, u, delta, bias, softplus, x, step)
            for d in range(width):
                total[d] = D[first + d] * x[d]
                x[d] *= step[d]
            for n in range(n_states):
                into, from_ = B[b, t, g, n], C[b, t, g, n]
                for d in range(width):
                    h = _exp(step[d] * rates[n, d]) * state[n, d] + x[d] * into
                    state[n, d] = h
                    total[d] += h * from_
            if z.shape[0] > 0:
                for d in range(width):
                    gate = z[b, t, first + d]
                    total[d] *= gate / (one + _exp(-gate))
            for d in range(width):
                out[b, t, first + d] = total[d]
        for n in range(n_states):
            for d in range(width):
                last[b, n, first + d] = state[n, d]


@_compiled(fastmath=_SUMS)
def _again(
    b: int, g: int, first: int, t0: int, t1: int, u: Any, delta: Any, rates: Any, B: Any, C: Any, D: Any, bias: Any,
    softplus: bool, states: Any, decays: Any, xs: Any, steps: Any, ungated: Any,
) -> None:  # fmt: skip
    """Compute the states of the time points t0 .. t1 again; ``states[0]`` holds the one before them."""
    n_states, width = rates.shape
    for k in range(t1 - t0):
        t = t0 + k
        _load(b, t, first, u, delta, bias, softplus, xs[k], steps[k])
        for d in range(width):
            ungated[k, d] = D[first + d] * xs[k, d]
        for n in range(n_states):
            into, from_ = B[b, t, g, n], C[b, t, g, n]
            for d in range(width):
                decay = _exp(steps[k, d] * rates[n, d])
                h = decay * states[k, n, d] + steps[k, d] * xs[k, d] * into
                decays[k, n, d] = decay
                states[k + 1, n, d] = h
                ungated[k, d] += h * from_


@_compiled(fastmath=_SUMS)
def _step_back(
    carried: Any, before: Any, after: Any, decay: Any, rates: Any, step: Any, x: Any, grad_y: Any, B: Any, C: Any,
    grad_A: Any, grad_B: Any, grad_C: Any, grad_step: Any, grad_x: Any,
) -> None:  # fmt: skip
    """Carry the gradient of the state one time point back, for one tile of channels."""
    n_states, width = rates.shape
    zero = rates.dtype.type(0.0)
    for n in range(n_states):
        into, from_ = B[n], C[n]
        sum_B, sum_C = zero, zero
        for d in range(width):
            g = carried[n, d] + grad_y[d] * from_
            sum_C += grad_y[d] * after[n, d]
            sum_B += g * step[d] * x[d]
            carried[n, d] = g * decay[n, d]
            through = carried[n, d] * before[n, d]
            grad_A[n, d] += through * step[d]
            grad_step[d] += through * rates[n, d]
            # The gradient of the input u Delta, shared by u and Delta below.
            grad_x[d] += g * into
        grad_B[n] = sum_B
        grad_C[n] = sum_C
    for d in range(width):
        grad_step[d] += grad_x[d] * x[d]
        grad_x[d] *= step[d]


@_compiled(fastmath=_SUMS)
def _gate_back(b: int, t: int, first: int, z: Any, ungated: Any, grad_y: Any, grad_z: Any) -> None:
    """Take the gradient of the output through the gate."""
    one = ungated.dtype.type(1.0)
    for d in range(grad_y.shape[0]):
        gate = z[b, t, first + d]
        share = one / (one + _exp(-gate))
        silu = gate * share
        grad_z[b, t, first + d] = grad_y[d] * ungated[d] * (share + silu * (one - share))
        grad_y[d] *= silu


@_compiled(fastmath=_SUMS)
def backward(
    units: Any, tiles: Any, u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any, z: Any, bias: Any, softplus: bool,
    kept: Any, grad_out: Any, grad_last: Any,
    grad_u: Any, grad_delta: Any, grad_A: Any, grad_B: Any, grad_C: Any, grad_D: Any, grad_z: Any,
) -> None:  # fmt: skip
    """Gradients of `forward`, whose arguments these are.

    Parameters
    ----------
    tiles : int64 (n,)
        Which slice of `grad_B` and `grad_C` each unit writes.
    kept : (B, ceil(L / CHUNK), N, D)
        States before each chunk, from `forward`.
    grad_out, grad_last : (B, L, D), (B, N, D)
        Gradients that come in.
    grad_u, grad_delta, grad_z : (B, L, D)
        Gradients that go out; that of the bias is the sum of `grad_delta`.
    grad_A, grad_D : (B, N, D), (B, D)
        Per sequence, to be summed.
    grad_B, grad_C : (tiles per group, B, L, G, N)
        Per tile, to be summed.
    """
    length, n_states, kind = u.shape[1], A.shape[0], A.dtype
    one, zero = A.dtype.type(1.0), A.dtype.type(0.0)
    for unit in range(units.shape[0]):
        b, g, first = units[unit, 0], units[unit, 1], units[unit, 2]
        width, tile = units[unit, 3] - first, tiles[unit]
        rates, carried = np.empty((n_states, width), kind), np.empty((n_states, width), kind)
        rate_sums, skip_sums = np.zeros((n_states, width), kind), np.zeros(width, kind)
        for n in range(n_states):
            for d in range(width):
                rates[n, d] = A[n, first + d]
                carried[n, d] = grad_last[b, n, first + d]
        states, decays = np.empty((CHUNK + 1, n_states, width), kind), np.empty((CHUNK, n_states, width), kind)
        xs, steps, ungated = (
            np.empty((CHUNK, width), kind),
            np.empty((CHUNK, width), kind),
            np.empty((CHUNK, width), kind),
        )
        grad_y, grad_step, grad_x = np.empty(width, kind), np.empty(width, kind), np.empty(width, kind)
        for chunk in range((length + CHUNK - 1) // CHUNK - 1, -1, -1):
            t0 = chunk * CHUNK
            t1 = min(t0 + CHUNK, length)
            for n in range(n_states):
                for d in range(width):
                    states[0, n, d] = kept[b, chunk, n, first + d]
            _again(b, g, first, t0, t1, u, delta, rates, B, C, D, bias, softplus, states, decays, xs, steps, ungated)
            for t in range(t1 - 1, t0 - 1, -1):
                k = t - t0
                for d in range(width):
                    grad_y[d] = grad_out[b, t, first + d]
                if z.shape[0] > 0:
                    _gate_back(b, t, first, z, ungated[k], grad_y, grad_z)
                for d in range(width):
                    grad_step[d] = zero
                    grad_x[d] = zero
                    skip_sums[d] += grad_y[d] * xs[k, d]
                _step_back(
                    carried, states[k], states[k + 1], decays[k], rates, steps[k], xs[k], grad_y, B[b, t, g],
                    C[b, t, g], rate_sums, grad_B[tile, b, t, g], grad_C[tile, b, t, g], grad_step, grad_x,
                )  # fmt: skip
                if softplus:
                    for d in range(width):
                        grad_step[d] *= one / (one + _exp(-(delta[b, t, first + d] + bias[first + d])))
                for d in range(width):
                    grad_u[b, t, first + d] = grad_x[d] + grad_y[d] * D[first + d]
                    grad_delta[b, t, first + d] = grad_step[d]
        for d in range(width):
            grad_D[b, first + d] = skip_sums[d]
            for n in range(n_states):
                grad_A[b, n, first + d] = rate_sums[n, d]
