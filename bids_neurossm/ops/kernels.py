"""The selective scan compiled for CPUs by numba: one forward and one backward kernel.

Arrays lie channels last, (B, L, D), so that neighbouring channels are worked on at once (`bids_neurossm.ops.lanes`); a
layer that works on (B, L, D) hands its tensors over without a copy. One unit of work is one sequence of the batch x
one tile of channels; a unit writes only where no other does, and what must be summed over units is written apart and
added up in a fixed order afterwards, so results do not depend on the threads.

Time is walked through in chunks. What does not depend on the state (steps, gates, exponentials) is worked out for all
time points of a chunk, one after the other without waiting, and only the recurrence itself goes from one to the next.
The backward pass needs every state: they are not stored, but computed again from one state in every ``CHUNK`` steps.
"""

from __future__ import annotations

from typing import Any

from bids_neurossm.ops.lanes import (
    BYTES,
    compiled,
    exp,
    fetch,
    larger,
    load,
    log1p,
    put,
    room,
    spread,
    store,
    total,
    zeros,
)

CHUNK = 16
TILE = 128
# A tile ends at a whole vector in single precision, if it can.
EVEN = 16


@compiled
def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + exp(0.0 - x))


@compiled
def _softplus(x: Any) -> Any:
    """log(1 + exp(x)), of large and of very negative x too."""
    return larger(x, x * 0.0) + log1p(exp(0.0 - larger(x, 0.0 - x)))


@compiled
def _chunk(
    count: int, at: int, stride: int, width: int, at_matrix: int, stride_matrix: int, u: Any, delta: Any, rates: Any,
    B: Any, C: Any, skip: Any, shift: Any, softplus: bool, state: Any, xs: Any, raws: Any, steps: Any, ys: Any,
    states: Any, decays: Any,
) -> None:  # fmt: skip
    """Scan `count` time points of one vector of channels, without the gate.

    Parameters
    ----------
    at, stride : int
        Offset of the first time point in ``u``, and from one to the next; `at_matrix`, `stride_matrix` in B and C.
    state : (N,) lanes
        Before and, afterwards, after these time points.
    xs, raws, steps, ys : (count,) lanes
        Receive the input, the step before and after the softplus, and the output.
    states, decays : (N, CHUNK + 1), (N, CHUNK) lanes, or None
        Receive all states, the one before included, and the factors between them.
    """
    lanes = BYTES // rates.itemsize
    for k in range(count):
        x, raw = fetch(u, at + k * stride, width), fetch(delta, at + k * stride, width) + shift
        step = raw
        if softplus:
            step = _softplus(raw)
        store(xs, k * lanes, x)
        store(raws, k * lanes, raw)
        store(steps, k * lanes, step)
        store(ys, k * lanes, skip * x)
    for n in range(rates.size // lanes):
        rate, h = load(rates, n * lanes), load(state, n * lanes)
        if states is not None:
            store(states, n * (CHUNK + 1) * lanes, h)
        for k in range(count):
            place = at_matrix + k * stride_matrix + n
            step = load(steps, k * lanes)
            decay = exp(step * rate)
            h = decay * h + step * load(xs, k * lanes) * spread(B, place)
            store(ys, k * lanes, load(ys, k * lanes) + h * spread(C, place))
            if states is not None:
                store(states, (n * (CHUNK + 1) + k + 1) * lanes, h)
                store(decays, (n * CHUNK + k) * lanes, decay)
        store(state, n * lanes, h)


@compiled
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
    (_, length, channels), (n_states, _), groups = u.shape, A.shape, B.shape[2]
    lanes, chunks = BYTES // A.itemsize, (length + CHUNK - 1) // CHUNK
    rates, state = room(n_states * lanes, A), room(n_states * lanes, A)
    xs, raws, steps, ys = room(CHUNK * lanes, A), room(CHUNK * lanes, A), room(CHUNK * lanes, A), room(CHUNK * lanes, A)
    for b, g, first, end in units:
        for d in range(first, end, lanes):
            width = min(lanes, end - d)
            for n in range(n_states):
                store(rates, n * lanes, fetch(A, n * channels + d, width))
                store(state, n * lanes, zeros(A))
            skip, shift = fetch(D, d, width), fetch(bias, d, width)
            for chunk in range(chunks):
                if kept.size > 0:
                    for n in range(n_states):
                        at_kept = ((b * chunks + chunk) * n_states + n) * channels + d
                        put(kept, at_kept, width, load(state, n * lanes))
                row, count = b * length + chunk * CHUNK, min(CHUNK, length - chunk * CHUNK)
                at = row * channels + d
                _chunk(
                    count, at, channels, width, (row * groups + g) * n_states, groups * n_states, u, delta, rates, B, C,
                    skip, shift, softplus, state, xs, raws, steps, ys, None, None,
                )  # fmt: skip
                for k in range(count):
                    y = load(ys, k * lanes)
                    if z.size > 0:
                        gate = fetch(z, at + k * channels, width)
                        y = y * gate * _sigmoid(gate)
                    put(out, at + k * channels, width, y)
            for n in range(n_states):
                put(last, (b * n_states + n) * channels + d, width, load(state, n * lanes))


@compiled
def _gate_back(
    count: int, at: int, stride: int, width: int, z: Any, grad_out: Any, xs: Any, ys: Any, sum_D: Any, grad_z: Any,
    grad_ys: Any,
) -> None:  # fmt: skip
    """Take the gradient of the output through the gate, and add up that of the skip weight."""
    lanes, skip_sum = BYTES // grad_out.itemsize, load(sum_D, 0)
    for k in range(count):
        grad_y = fetch(grad_out, at + k * stride, width)
        if z.size > 0:
            gate = fetch(z, at + k * stride, width)
            share = _sigmoid(gate)
            silu = gate * share
            slope = share + silu * (1.0 - share)
            put(grad_z, at + k * stride, width, grad_y * load(ys, k * lanes) * slope)
            grad_y = grad_y * silu
        store(grad_ys, k * lanes, grad_y)
        skip_sum = skip_sum + grad_y * load(xs, k * lanes)
    store(sum_D, 0, skip_sum)


@compiled
def _states_back(
    count: int, at_matrix: int, stride_matrix: int, rates: Any, B: Any, C: Any, xs: Any, steps: Any, states: Any,
    decays: Any, carried: Any, grad_ys: Any, grad_steps: Any, grad_sources: Any, sums_A: Any, sums_B: Any, sums_C: Any,
) -> None:  # fmt: skip
    """Carry the gradient of the states back through a chunk of one vector of channels.

    ``grad_sources`` receives the gradient of B's factor, step x input; ``grad_steps`` that of the steps through the
    factors between states.
    """
    lanes = BYTES // rates.itemsize
    for k in range(count):
        store(grad_steps, k * lanes, zeros(rates))
        store(grad_sources, k * lanes, zeros(rates))
    for n in range(rates.size // lanes):
        rate, back, sum_A = load(rates, n * lanes), load(carried, n * lanes), load(sums_A, n * lanes)
        after = load(states, (n * (CHUNK + 1) + count) * lanes)
        for k in range(count - 1, -1, -1):
            # Of each state there is one more number than there are time points: the one before the chunk.
            here, place = (n * CHUNK + k) * lanes, at_matrix + k * stride_matrix + n
            step, grad_y, before = load(steps, k * lanes), load(grad_ys, k * lanes), load(states, here + n * lanes)
            grad_h = back + grad_y * spread(C, place)
            store(sums_C, here, load(sums_C, here) + grad_y * after)
            store(sums_B, here, load(sums_B, here) + grad_h * (step * load(xs, k * lanes)))
            back = grad_h * load(decays, here)
            through = back * before
            sum_A = sum_A + through * step
            store(grad_steps, k * lanes, load(grad_steps, k * lanes) + through * rate)
            store(grad_sources, k * lanes, load(grad_sources, k * lanes) + grad_h * spread(B, place))
            after = before
        store(carried, n * lanes, back)
        store(sums_A, n * lanes, sum_A)


@compiled
def _inputs_back(
    count: int, at: int, stride: int, width: int, skip: Any, softplus: bool, xs: Any, raws: Any, steps: Any,
    grad_ys: Any, grad_steps: Any, grad_sources: Any, grad_u: Any, grad_delta: Any,
) -> None:  # fmt: skip
    """Write the gradients of the input and of the step before the softplus, of a chunk of one vector of channels."""
    lanes = BYTES // grad_u.itemsize
    for k in range(count):
        grad_source, grad_y = load(grad_sources, k * lanes), load(grad_ys, k * lanes)
        grad_step = load(grad_steps, k * lanes) + grad_source * load(xs, k * lanes)
        if softplus:
            grad_step = grad_step * _sigmoid(load(raws, k * lanes))
        put(grad_delta, at + k * stride, width, grad_step)
        put(grad_u, at + k * stride, width, grad_source * load(steps, k * lanes) + grad_y * skip)


@compiled
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
    grad_out, grad_last : (B, L, D), (B, N, D)
        Gradients that come in.
    grad_u, grad_delta, grad_z : (B, L, D)
        Gradients that go out; that of the bias is the sum of `grad_delta`.
    grad_A, grad_D : (B, N, D), (B, D)
        Per sequence, to be summed.
    grad_B, grad_C : (tiles per group, B, L, G, N)
        Per tile, to be summed.
    """
    (batch, length, channels), (n_states, _), groups = u.shape, A.shape, B.shape[2]
    lanes, chunks = BYTES // A.itemsize, (length + CHUNK - 1) // CHUNK
    block, vectors = n_states * lanes, (TILE + lanes - 1) // lanes
    state, states, decays = room(block, A), room((CHUNK + 1) * block, A), room(CHUNK * block, A)
    xs, raws, steps, ys = room(CHUNK * lanes, A), room(CHUNK * lanes, A), room(CHUNK * lanes, A), room(CHUNK * lanes, A)
    grad_ys, grad_steps, grad_sources = room(CHUNK * lanes, A), room(CHUNK * lanes, A), room(CHUNK * lanes, A)
    sums_B, sums_C, sums_D = room(CHUNK * block, A), room(CHUNK * block, A), room(vectors * lanes, A)
    # Of each vector of the tile.
    rates, carried, sums_A = room(3 * vectors * block, A).reshape((3, vectors, block))
    for unit in range(len(units)):
        b, g, first, end = units[unit]
        for v, d in enumerate(range(first, end, lanes)):
            width = min(lanes, end - d)
            for n in range(n_states):
                store(rates[v], n * lanes, fetch(A, n * channels + d, width))
                store(carried[v], n * lanes, fetch(grad_last, (b * n_states + n) * channels + d, width))
            sums_A[v], sums_D[v * lanes : (v + 1) * lanes] = 0, 0
        for chunk in range(chunks - 1, -1, -1):
            row, count = b * length + chunk * CHUNK, min(CHUNK, length - chunk * CHUNK)
            at_matrix, stride_matrix = (row * groups + g) * n_states, groups * n_states
            sums_B[:], sums_C[:] = 0, 0
            for v, d in enumerate(range(first, end, lanes)):
                width, at = min(lanes, end - d), row * channels + d
                skip, shift = fetch(D, d, width), fetch(bias, d, width)
                for n in range(n_states):
                    store(state, n * lanes, fetch(kept, ((b * chunks + chunk) * n_states + n) * channels + d, width))
                _chunk(
                    count, at, channels, width, at_matrix, stride_matrix, u, delta, rates[v], B, C, skip, shift,
                    softplus, state, xs, raws, steps, ys, states, decays,
                )  # fmt: skip
                sum_D = sums_D[v * lanes : (v + 1) * lanes]
                _gate_back(count, at, channels, width, z, grad_out, xs, ys, sum_D, grad_z, grad_ys)
                _states_back(
                    count, at_matrix, stride_matrix, rates[v], B, C, xs, steps, states, decays, carried[v], grad_ys,
                    grad_steps, grad_sources, sums_A[v], sums_B, sums_C,
                )  # fmt: skip
                _inputs_back(
                    count, at, channels, width, skip, softplus, xs, raws, steps, grad_ys, grad_steps, grad_sources,
                    grad_u, grad_delta,
                )  # fmt: skip
            for k in range(count):
                place = ((tiles[unit] * batch * length + row + k) * groups + g) * n_states
                for n in range(n_states):
                    grad_B.flat[place + n] = total(load(sums_B, (n * CHUNK + k) * lanes))
                    grad_C.flat[place + n] = total(load(sums_C, (n * CHUNK + k) * lanes))
        for v, d in enumerate(range(first, end, lanes)):
            width = min(lanes, end - d)
            put(grad_D, b * channels + d, width, load(sums_D, v * lanes))
            for n in range(n_states):
                put(grad_A, (b * n_states + n) * channels + d, width, load(sums_A[v], n * lanes))
