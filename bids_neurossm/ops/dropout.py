"""Dropout whose random numbers cost little on a CPU, where they took a tenth of a training step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Random bits per number: shares are met to 1 in 65,536, and the rest is scaled by exactly what is met.
_LEVELS = 2**16


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """Set a random share of the numbers to zero, and scale the others up so that the mean stays.

    Parameters
    ----------
    x : Tensor
        Of any shape.
    share : float
        In [0, 1).
    training : bool
        Otherwise nothing is done.

    Notes
    -----
    On a CPU torch draws a double for each number, one after the other. Here four numbers share 64 random bits, from
    torch's generator too: the same seed gives the same mask. Other devices use torch's own dropout.
    """
    if x.device.type != "cpu":
        return functional.dropout(x, share, training)
    dropped = round(share * _LEVELS)
    if not training or dropped == 0:
        return x
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    keep = bits[: x.numel()].view(x.shape) >= dropped - _LEVELS // 2
    return x * keep.to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))
