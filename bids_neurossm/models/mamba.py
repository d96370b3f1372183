"""The selective state-space layer: a Mamba-1 block whose weights move to and from ``mamba_ssm.Mamba``."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bids_neurossm.ops import selective_scan
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
        x, gate = self.in_proj(sequence).chunk(2, dim=-1)
        x = functional.silu(self._convolved(x))
        low_rank, B, C = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        delta = functional.linear(low_rank, self.dt_proj.weight)
        # Transposed views: the scan works channels last inside and copies nothing.
        y = selective_scan(
            x.mT,
            delta.mT,
            -torch.exp(self.A_log),
            B.mT,
            C.mT,
            self.D,
            gate.mT,
            self.dt_proj.bias,
            delta_softplus=True,
            backend=self.backend,
        )
        return cast(Tensor, self.out_proj(cast(Tensor, y).mT))

    def _convolved(self, x: Tensor) -> Tensor:
        """Convolve each channel of (B, L, D) with its own taps, looking back only.

        A sum over shifted copies: with four taps it is faster on a CPU than a grouped convolution.
        """
        taps = self.conv1d.weight[:, 0]
        padded = functional.pad(x, (0, 0, taps.shape[1] - 1, 0))
        result = padded[:, : x.shape[1]] * taps[:, 0]
        for k in range(1, taps.shape[1]):
            result = result + padded[:, k : k + x.shape[1]] * taps[:, k]
        return result if self.conv1d.bias is None else result + self.conv1d.bias
