"""The selective state-space layer: a Mamba-1 block whose weights move to and from ``mamba_ssm.Mamba``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from bids_neurossm.ops import causal_convolution, selective_scan
from bids_neurossm.ops.dispatch import Backend


class Mamba(nn.Module):
    """Gate, causal depthwise convolution, selective scan, projection.

    Parameters
    ----------
    d_model : int
        Width of the sequence, W.
    d_state : int
        States per channel, N.
    d_conv : int
        Taps of the causal convolution.
    expand : int
        Channels per unit of width: D = expand x W.
    dt_rank : int or "auto"
        Rank of the step's projection; W / 16, rounded up, by default.
    dt_min, dt_max, dt_init_floor : float
        Steps at the start are drawn log-uniformly from [dt_min, dt_max].
    conv_bias, bias : bool
        Bias of the convolution; of the projections in and out.
    backend : str
        Engine of the scan, see `bids_neurossm.ops.selective_scan`.

    Notes
    -----
    Causal: a sample depends on itself and on what came before it, so padding at the end of a sequence changes none of
    the valid samples. Names and shapes of the parameters are those of mamba-ssm 2.

    References
    ----------
    Gu and Dao (2023), Mamba, arXiv 2312.00752, sections 3.4 and 3.6.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: int | str = "auto",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_init_floor: float = 1e-4,
        conv_bias: bool = True,
        bias: bool = False,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        channels = expand * d_model
        self.d_state = d_state
        self.dt_rank = math.ceil(d_model / 16) if dt_rank == "auto" else int(dt_rank)
        self.backend: Backend = backend
        self.in_proj = nn.Linear(d_model, 2 * channels, bias=bias)
        self.conv1d = nn.Conv1d(channels, channels, d_conv, groups=channels, padding=d_conv - 1, bias=conv_bias)
        self.x_proj = nn.Linear(channels, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, channels, bias=True)
        self.A_log = nn.Parameter(torch.arange(1, d_state + 1, dtype=torch.float32).log().repeat(channels, 1))
        self.D = nn.Parameter(torch.ones(channels))
        self.out_proj = nn.Linear(channels, d_model, bias=bias)
        with torch.no_grad():
            bound = self.dt_rank**-0.5
            self.dt_proj.weight.uniform_(-bound, bound)
            step = torch.exp(torch.rand(channels) * math.log(dt_max / dt_min) + math.log(dt_min)).clamp_min(
                dt_init_floor
            )
            # The inverse of the softplus, so that the bias alone gives this step.
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))

    def forward(self, sequence: Tensor) -> Tensor:
        """Map a sequence (B, L, W) to one of the same shape."""
        return run_together([self], sequence[None])[0]


def run_together(layers: Sequence[Mamba], sequences: Tensor) -> Tensor:
    """Run several layers of the same sizes, each on its own sequences, through one convolution and one scan.

    Parameters
    ----------
    layers : sequence of Mamba
        M of them. Each keeps its own weights; only the work is shared.
    sequences : Tensor (M, B, L, W)
        Input of each layer.

    Returns
    -------
    Tensor (M, B, L, W)
        What each layer gives for its own sequences.

    Notes
    -----
    The channels of all layers lie side by side, (B, L, M x D), and each layer is a group of the scan's B and C. On a
    CPU this saves calls, on a GPU it fills the device.
    """
    first, (batch, length) = layers[0], sequences.shape[1:3]
    x, gate = _projected(sequences, [layer.in_proj for layer in layers]).chunk(2, dim=-1)
    x = causal_convolution(
        _side_by_side(x), torch.cat([layer.conv1d.weight[:, 0] for layer in layers]),
        _joined([layer.conv1d.bias for layer in layers]),
    )  # fmt: skip
    own = x.view(batch, length, len(layers), -1).movedim(2, 0)
    sizes = [first.dt_rank, first.d_state, first.d_state]
    low_rank, B, C = torch.split(_projected(own, [layer.x_proj for layer in layers]), sizes, dim=-1)
    delta = _projected(low_rank, [layer.dt_proj for layer in layers], biased=False)
    # Transposed views: the scan works channels last inside and copies nothing.
    y = selective_scan(
        x.mT,
        _side_by_side(delta).mT,
        -torch.exp(torch.cat([layer.A_log for layer in layers])),
        rearrange(B, "group b l state -> b group state l"),
        rearrange(C, "group b l state -> b group state l"),
        torch.cat([layer.D for layer in layers]),
        _side_by_side(gate).mT,
        torch.cat([layer.dt_proj.bias for layer in layers]),
        delta_softplus=True,
        backend=first.backend,
    )
    own = cast(Tensor, y).mT.view(batch, length, len(layers), -1).movedim(2, 0)
    return _projected(own, [layer.out_proj for layer in layers])


def _projected(sequences: Tensor, projections: Sequence[nn.Linear], biased: bool = True) -> Tensor:
    """Apply each projection to its own sequences, (M, B, L, in) to (M, B, L, out)."""
    rows = sequences.flatten(1, 2)
    weights = torch.stack([projection.weight for projection in projections]).mT
    bias = _joined([projection.bias for projection in projections]) if biased else None
    if bias is None:
        return torch.bmm(rows, weights).view(*sequences.shape[:3], -1)
    return torch.baddbmm(bias.view(len(projections), 1, -1), rows, weights).view(*sequences.shape[:3], -1)


def _side_by_side(sequences: Tensor) -> Tensor:
    """Lay the channels of (M, B, L, D) beside each other: (B, L, M x D)."""
    return sequences.movedim(0, 2).flatten(2)


def _joined(vectors: Sequence[Tensor | None]) -> Tensor | None:
    """Join the layers' vectors, or give none where they have none."""
    present = [vector for vector in vectors if vector is not None]
    return torch.cat(present) if present else None
