"""A causal convolution per channel and its SiLU compiled for CPUs by numba, forward and backward.

Arrays lie channels last, (B, L, D), see `bids_neurossm.ops.lanes`; taps first, (K, D), the last tap for the sample
itself. A sequence is worked on in chunks: what is read next must not wait for what was written last, which a processor
that compares only the low bits of addresses takes for the same place.
"""

from __future__ import annotations

from typing import Any

from bids_neurossm.ops.lanes import BYTES, compiled, exp, fetch, load, put, room, store, zeros

CHUNK = 32


@compiled
def _tapped(x: Any, row: int, d: int, width: int, t0: int, t1: int, taps: Any, shift: Any, values: Any) -> None:
    """Convolve the time points t0 .. t1 - 1 of one vector of channels, of the sequence that begins at a row."""
    channels, lanes = x.shape[2], BYTES // x.itemsize
    n_taps = taps.size // lanes
    for t in range(t0, t1):
        value = shift
        for k in range(max(0, n_taps - 1 - t), n_taps):
            value = value + load(taps, k * lanes) * fetch(x, (row + t - n_taps + 1 + k) * channels + d, width)
        store(values, (t - t0) * lanes, value)


@compiled
def forward(sequences: Any, x: Any, taps: Any, bias: Any, out: Any) -> None:
    """Convolve sequences; x, out (B, L, D), taps (K, D), bias (D,)."""
    (_, length, channels), n_taps, lanes = x.shape, taps.shape[0], BYTES // x.itemsize
    own, values = room(n_taps * lanes, x), room(CHUNK * lanes, x)
    for b in sequences:
        for d in range(0, channels, lanes):
            width, row = min(lanes, channels - d), b * length
            for k in range(n_taps):
                store(own, k * lanes, fetch(taps, k * channels + d, width))
            shift = fetch(bias, d, width)
            for t0 in range(0, length, CHUNK):
                t1 = min(t0 + CHUNK, length)
                _tapped(x, row, d, width, t0, t1, own, shift, values)
                for t in range(t0, t1):
                    value = load(values, (t - t0) * lanes)
                    put(out, (row + t) * channels + d, width, value / (1.0 + exp(0.0 - value)))


@compiled
def backward(
    sequences: Any, x: Any, taps: Any, bias: Any, grad_out: Any, grad_x: Any, grad_taps: Any, grad_bias: Any
) -> None:
    """Gradients of `forward`; per sequence, to be summed: grad_taps (B, K, D), grad_bias (B, D)."""
    (_, length, channels), n_taps, lanes = x.shape, taps.shape[0], BYTES // x.itemsize
    own, values, before = room(n_taps * lanes, x), room(CHUNK * lanes, x), room(length * lanes, x)
    for b in sequences:
        for d in range(0, channels, lanes):
            width, row = min(lanes, channels - d), b * length
            for k in range(n_taps):
                store(own, k * lanes, fetch(taps, k * channels + d, width))
            shift, sum_bias = fetch(bias, d, width), zeros(x)
            for t0 in range(0, length, CHUNK):
                t1 = min(t0 + CHUNK, length)
                _tapped(x, row, d, width, t0, t1, own, shift, values)
                for t in range(t0, t1):
                    value = load(values, (t - t0) * lanes)
                    share = 1.0 / (1.0 + exp(0.0 - value))
                    slope = share + value * share * (1.0 - share)
                    grad = fetch(grad_out, (row + t) * channels + d, width) * slope
                    store(before, t * lanes, grad)
                    sum_bias = sum_bias + grad
            put(grad_bias, b * channels + d, width, sum_bias)
            for k in range(n_taps):
                back, sum_tap = n_taps - 1 - k, zeros(x)
                for t in range(back, length):
                    sample = fetch(x, (row + t - back) * channels + d, width)
                    sum_tap = sum_tap + load(before, t * lanes) * sample
                put(grad_taps, (b * n_taps + k) * channels + d, width, sum_tap)
            for t in range(length):
                grad = zeros(x)
                for k in range(max(0, n_taps - length + t), n_taps):
                    grad = grad + load(own, k * lanes) * load(before, (t + n_taps - 1 - k) * lanes)
                put(grad_x, (row + t) * channels + d, width, grad)
