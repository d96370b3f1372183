"""The causal convolution of a selective state-space layer, with its SiLU."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from bids_neurossm.ops.threads import in_threads

# Below this many products a second thread costs more than it saves.
_WORTH_THREADS = 1_000_000


def causal_convolution(x: Tensor, taps: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve each channel with its own taps, looking back only, and apply the SiLU.

    Parameters
    ----------
    x : Tensor (B, L, D)
        Sequences.
    taps : Tensor (D, K)
        Of each channel; the last one is for the sample itself. Before a sequence there are zeros.
    bias : Tensor (D,), optional
        Added before the SiLU.

    Returns
    -------
    Tensor (B, L, D)

    Notes
    -----
    Compiled on a CPU in single and double precision; else a sum over shifted copies, which with four taps is faster
    than a grouped convolution.
    """
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
        shift = x.new_zeros(x.shape[2]) if bias is None else bias
        return cast(Tensor, _Convolution.apply(x, taps.to(x.dtype), shift.to(x.dtype)))  # type: ignore[no-untyped-call]
    return convolution_reference(x, taps, bias)


def convolution_reference(x: Tensor, taps: Tensor, bias: Tensor | None = None) -> Tensor:
    """Do what `causal_convolution` does, as its definition reads."""
    n_taps = taps.shape[1]
    padded = functional.pad(x, (0, 0, n_taps - 1, 0))
    result = sum(padded[:, k : k + x.shape[1]] * taps[:, k] for k in range(n_taps))
    return functional.silu(cast(Tensor, result) if bias is None else result + bias)


class _Convolution(torch.autograd.Function):
    """Convolution of channels-last tensors with its gradient, in compiled code."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        """Run the forward kernel."""
        # Imported here: numba takes a while, and who runs on a GPU does not need it.
        from bids_neurossm.ops import convolution_kernels as kernels

        x, taps, bias = x.contiguous(), taps.t().contiguous(), bias.contiguous()
        out = torch.empty_like(x)
        arrays = [tensor.detach().numpy() for tensor in (x, taps, bias, out)]
        sequences = np.arange(len(x))
        in_threads(lambda part: kernels.forward(sequences[part], *arrays), len(x), _worth(x, taps))
        ctx.save_for_backward(x, taps, bias)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the backward kernel and add up, in a fixed order, what each sequence found."""
        from bids_neurossm.ops import convolution_kernels as kernels

        x, taps, bias = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        grad_taps, grad_bias = x.new_empty(len(x), *taps.shape), x.new_empty(len(x), len(bias))
        tensors = (x, taps, bias, grad_out.contiguous(), grad_x, grad_taps, grad_bias)
        arrays = [tensor.detach().numpy() for tensor in tensors]
        sequences = np.arange(len(x))
        in_threads(lambda part: kernels.backward(sequences[part], *arrays), len(x), _worth(x, taps))
        return grad_x, grad_taps.sum(dim=0).t(), grad_bias.sum(dim=0)


def _worth(x: Tensor, taps: Tensor) -> bool:
    return x.numel() * len(taps) >= _WORTH_THREADS
