"""The selective scan as its definition reads; every faster kernel is tested against it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bids_neurossm.errors import UsageError


def selective_scan_reference(
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
    """Run the selective state-space recurrence, one time point after the other.

    Parameters, results and errors are those of `bids_neurossm.ops.selective_scan`, the formula that of its module.
    """
    batch, channels, length = u.shape
    kind = torch.promote_types(u.dtype, torch.float32)
    source, step = u.to(kind), _steps(delta.to(kind), delta_bias, delta_softplus)
    # Cut in time once: indexing inside the loop would make its gradient quadratic in L.
    inputs, outputs = (
        _over_time(matrix.to(kind), batch, channels, length, name) for matrix, name in ((B, "B"), (C, "C"))
    )
    state = source.new_zeros(batch, channels, A.shape[1])
    steps = []
    for u_t, step_t, B_t, C_t in zip(source.unbind(2), step.unbind(2), inputs, outputs, strict=True):
        decay = torch.exp(step_t[:, :, None] * A.to(kind))
        state = decay * state + (step_t * u_t)[:, :, None] * B_t
        steps.append((state * C_t).sum(dim=-1))
    result = torch.stack(steps, dim=2)
    if D is not None:
        result = result + D.to(kind)[:, None] * source
    if z is not None:
        result = result * functional.silu(z.to(kind))
    result = result.to(u.dtype)
    return (result, state) if return_last_state else result


def _steps(delta: Tensor, bias: Tensor | None, softplus: bool) -> Tensor:
    """Add the bias (D,) to the steps (B, D, L), and apply the softplus."""
    step = delta if bias is None else delta + bias.to(delta.dtype)[:, None]
    return functional.softplus(step) if softplus else step


def _over_time(matrix: Tensor, batch: int, channels: int, length: int, name: str) -> list[Tensor]:
    """Return B or C at each time point, (B, D, N) or (B, 1, N), whichever of its three forms it has."""
    if matrix.ndim == 2 and matrix.shape[0] == channels:
        return [matrix[None]] * length
    if matrix.ndim == 3 and matrix.shape[0] == batch and matrix.shape[2] == length:
        return [part[:, None] for part in matrix.unbind(2)]
    if matrix.ndim == 4 and matrix.shape[0] == batch and matrix.shape[3] == length and channels % matrix.shape[1] == 0:
        return list(matrix.repeat_interleave(channels // matrix.shape[1], dim=1).unbind(3))
    raise UsageError(
        f"{name} has shape {tuple(matrix.shape)}; ({channels}, N), ({batch}, N, {length}) or "
        f"({batch}, G, N, {length}) with G dividing {channels} is expected."
    )
