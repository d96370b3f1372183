"""Checks and layouts that every engine of the selective scan shares."""

from __future__ import annotations

from torch import Tensor

from bids_neurossm.errors import UsageError


def check_shapes(
    u: Tensor, delta: Tensor, A: Tensor, D: Tensor | None, z: Tensor | None, delta_bias: Tensor | None
) -> None:
    """Refuse tensors that do not fit each other.

    Raises
    ------
    UsageError
        Naming the first that does not.
    """
    channels = u.shape[1]
    same = (
        ("delta", delta, u.shape),
        ("z", z, u.shape),
        ("D", D, (channels,)),
        ("delta_bias", delta_bias, (channels,)),
    )
    for name, tensor, shape in same:
        if tensor is not None and tensor.shape != shape:
            raise UsageError(f"{name} has shape {tuple(tensor.shape)}; {tuple(shape)} is expected.")
    if A.ndim != 2 or A.shape[0] != channels or A.is_complex():
        raise UsageError(
            f"A is {A.dtype} of shape {tuple(A.shape)}; real numbers of shape ({channels}, N) are expected."
        )


def grouped(B: Tensor, C: Tensor, batch: int, channels: int, length: int) -> tuple[Tensor, Tensor]:
    """Bring B and C to (B, G, N, L) with one number of groups.

    Raises
    ------
    UsageError
        If one has a shape that can not be brought there.
    """

    def form(matrix: Tensor, name: str) -> Tensor:
        if matrix.ndim == 2 and matrix.shape[0] == channels:
            return matrix[None, :, :, None].expand(batch, -1, -1, length)
        groups = matrix[:, None] if matrix.ndim == 3 else matrix
        fits = groups.ndim == 4 and groups.shape[0] == batch and groups.shape[3] == length
        if not fits or channels % groups.shape[1]:
            raise UsageError(
                f"{name} has shape {tuple(matrix.shape)}; ({channels}, N), ({batch}, N, {length}) or "
                f"({batch}, G, N, {length}) with G dividing {channels} is expected."
            )
        return groups

    first, second = form(B, "B"), form(C, "C")
    groups = max(first.shape[1], second.shape[1])
    if first.shape[1] != second.shape[1]:
        groups = channels if groups % min(first.shape[1], second.shape[1]) else groups
        first, second = (matrix.repeat_interleave(groups // matrix.shape[1], dim=1) for matrix in (first, second))
    return first, second
