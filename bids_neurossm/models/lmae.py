"""LMAE: a masked autoencoder of regional series that hides blocks in time together with homologous regions.

An independent implementation after the abstract of arXiv 2508.16597; the choices are those of docs/methods.md, section
5. Symbols: B pieces, T time points, N patches, P samples per patch, R regions, D width. A token is one region during
one patch of about eight seconds. The cost grows linearly with T: regions meet in a few nodes, and time is scanned.
This file is read from top to bottom; what is hidden is drawn in `bids_neurossm.models.masks`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from bids_neurossm.errors import UsageError
from bids_neurossm.models.pathway_model import InputConfig
from bids_neurossm.models.scales import bins_of_seconds, bins_of_time_points, usable_repetition_times
from bids_neurossm.models.selective_layers import SelectiveLayers
from bids_neurossm.ops import causal_convolution, dropout

# Neighbouring patches on either side that the convolution over time sees.
_REACH = 2
# Rounds in which hidden regions are filled in from what is shown: eight reach nearly what solving does.
_ROUNDS = 8
# Longest period of the time code, in patches; the shortest is four.
_LONGEST_PERIOD = 256.0


@dataclass(frozen=True)
class LMAEConfig(InputConfig):
    """The shape of an encoder.

    Parameters
    ----------
    n_regions : int
        R.
    sample : float
        Length of a sample: whole time points, or seconds.
    scale_unit : {"time points", "seconds"}
        What `sample` is given in. In seconds, runs of different repetition times see the same patches.
    patch : int
        P, samples per patch; about 8 s together.
    width, state, depth, convolution, expand : int
        D; states per channel, blocks, taps and channels per unit of width of the selective state-space layers.
    nodes : int
        Nodes that the regions of a patch are gathered in, and that are scanned over time, both ways.
    dropout : float
        Share of the features that is dropped in training.
    """

    n_regions: int
    sample: float = 1
    scale_unit: Literal["time points", "seconds"] = "time points"
    patch: int = 4
    width: int = 24
    state: int = 4
    depth: int = 2
    convolution: int = 4
    expand: int = 2
    nodes: int = 32
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.scale_unit not in ("time points", "seconds"):
            raise UsageError(f"model.scale_unit {self.scale_unit!r} must be 'time points' or 'seconds'.")
        if not 0 < self.sample < math.inf or (not self.in_seconds and self.sample != int(self.sample)):
            raise UsageError(
                f"model.sample {self.sample!r} must be a positive number: whole time points, or seconds where "
                "model.scale_unit is 'seconds'."
            )
        for name in ("n_regions", "patch", "width", "state", "depth", "convolution", "expand", "nodes"):
            if getattr(self, name) < 1:
                raise UsageError(f"model.{name} must be at least 1.")
        if not 0 <= self.dropout < 1:
            raise UsageError("model.dropout must lie in [0, 1).")

    @property
    def in_seconds(self) -> bool:
        """Whether samples are in seconds, so that the model has to be told repetition times."""
        return self.scale_unit == "seconds"

    @property
    def patch_length(self) -> float:
        """Length of a patch: time points, or seconds."""
        return self.patch * self.sample

    @property
    def scales(self) -> tuple[float, ...]:
        """The sample and the patch: no run may be sampled more coarsely than the one, or be too short for the other."""
        return (self.sample, self.patch_length)


class EncoderBlock(nn.Module):
    """Regions meet in nodes, which are scanned over time both ways; each region looks at its neighbours in time.

    Parameters
    ----------
    config : LMAEConfig
        Its shape.
    """

    def __init__(self, config: LMAEConfig) -> None:
        super().__init__()
        width, regions = config.width, config.n_regions
        self.node_norm, self.token_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.gather = nn.Parameter(torch.randn(config.nodes, regions) * regions**-0.5)
        self.scatter = nn.Parameter(torch.randn(regions, config.nodes) * config.nodes**-0.5)
        self.scan = SelectiveLayers(
            width, config.state, 1, config.convolution, config.expand, config.dropout, bidirectional=True
        )
        self.inner = nn.Linear(width, width)
        self.taps = nn.Parameter(torch.randn(width, 2 * _REACH + 1) * (2 * _REACH + 1) ** -0.5)
        self.outer = nn.Linear(width, width)
        self.dropout = config.dropout

    def forward(self, tokens: Tensor, visible: Tensor, valid: Tensor, counts: Tensor) -> Tensor:
        """Map tokens (B, R, N, D) to tokens.

        `visible` (B, R, N, 1) is 1 where a token carries a signal, `valid` (B, 1, N, 1) where the patch is whole, and
        `counts` (B,) counts the whole ones.
        """
        n_patches, width = tokens.shape[2:]
        # Hidden tokens have nothing to tell: the others stand in for them, so that the size of a node stays.
        share = visible.mean(dim=1, keepdim=True).clamp_min(1e-3)
        seen = self.node_norm(tokens) * (visible / share)
        nodes = torch.matmul(self.gather, seen.flatten(2))
        lines = nodes.view(-1, n_patches, width)
        scanned = self.scan(lines, counts.repeat_interleave(nodes.shape[1])).view(nodes.shape)
        tokens = tokens + torch.matmul(self.scatter, scanned).view(tokens.shape)
        inner = self.inner(self.token_norm(tokens)) * valid
        # A causal convolution that is given the future: as many patches on either side.
        ahead = functional.pad(inner, (0, 0, 0, _REACH)).flatten(0, 1)
        around = causal_convolution(ahead, self.taps)[:, _REACH:].view(tokens.shape)
        return (tokens + dropout(self.outer(around), self.dropout, self.training)) * valid


class Encoder(nn.Module):
    """Series to tokens: what is pretrained, kept, and used again.

    A token is made of the region's own patch, where it is shown, and of what the other regions let expect of it.

    Parameters
    ----------
    config : LMAEConfig
        Its shape.

    Attributes
    ----------
    others : Tensor (R, R)
        What each region is expected to be, linearly, from the others: in closed form from training runs (`start_from`),
        and not trained, since it has as many numbers as all the rest; nothing before that.
    """

    others: Tensor
    rate: Tensor

    def __init__(self, config: LMAEConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(2 * config.patch, config.width)
        self.register_buffer("others", torch.zeros(config.n_regions, config.n_regions))
        self.register_buffer("rate", torch.ones(()))
        self.region = nn.Parameter(torch.randn(config.n_regions, config.width) * 0.5)
        self.hidden_token = nn.Parameter(torch.zeros(config.width))
        self.time = nn.Linear(config.width, config.width, bias=False)
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def start_from(self, covariance: Tensor, penalty: float) -> None:
        """Begin with the linear expectation of Gaussian regions, from the covariance (R, R) of training runs.

        With Q the inverse of covariance + penalty, a region is expected to be -sum over the others of Q_rs x_s / Q_rr.
        """
        precision = torch.linalg.inv(covariance.double() + penalty * torch.eye(len(covariance), dtype=torch.float64))
        size = precision.diagonal()
        largest = float(torch.linalg.eigvalsh(precision / torch.sqrt(size[:, None] * size)).max())
        self.others.copy_(-precision / size[:, None]).fill_diagonal_(0)
        # Filling in by rounds converges below 2.
        self.rate.fill_(min(1.0, 1.8 / largest))

    def expected(self, patches: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the patches that are shown (B, R, N, P), else 0, and what the other regions let expect of each.

        Where others are hidden too, they are filled in first, in a few rounds (Jacobi's iteration): what is expected
        depends on nothing but what is shown.
        """
        shown = patches if hidden is None else torch.where(hidden[..., None], 0, patches)
        values = shown.flatten(2)
        if hidden is not None:
            where = hidden[..., None].expand_as(patches).flatten(2)
            for _ in range(_ROUNDS):
                values = torch.where(where, torch.lerp(values, self.others @ values, self.rate), values)
        return shown, (self.others @ values).view_as(patches)

    def patches(self, series: Tensor, lengths: Tensor, repetition_times: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Cut pieces into patches.

        Parameters
        ----------
        series : Tensor (B, T, R)
            Standardised contiguous pieces, padded with anything finite at the end.
        lengths : Tensor (B,), int64
            Valid time points of each piece.
        repetition_times : Tensor (B,), optional
            In s; needed where samples are in seconds.

        Returns
        -------
        patches : Tensor (B, R, N, P)
            Zero where they are not whole; a partial patch at the end is dropped.
        counts : Tensor (B,), int64
            Whole patches of each piece.

        Raises
        ------
        UsageError
            If samples are in seconds, and a repetition time is missing or longer than a sample.
        """
        config = self.config
        if config.in_seconds:
            times = usable_repetition_times(config, repetition_times, len(series))
            samples, valid = bins_of_seconds(series, lengths, times, config.sample)
        else:
            samples, valid = bins_of_time_points(series, lengths, int(config.sample))
        counts = valid // config.patch
        n_patches = max(int(counts.max()), 1)
        samples = functional.pad(samples, (0, 0, 0, max(n_patches * config.patch - samples.shape[1], 0)))
        cut = rearrange(samples[:, : n_patches * config.patch], "b (n p) r -> b r n p", p=config.patch)
        whole = whole_patches(counts, n_patches)
        return torch.where(whole[:, None, :, None], cut, 0), counts

    def forward(self, patches: Tensor, counts: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Encode patches.

        Parameters
        ----------
        patches, counts
            What `patches` gives.
        hidden : Tensor (B, R, N), bool, optional
            Tokens whose values are not shown: what stands in their place is the same whatever they are.

        Returns
        -------
        Tensor (B, R, N, D)
            Zero where the patch is not whole.

        Raises
        ------
        UsageError
            If all regions of a whole patch are hidden.
        """
        return self.encode(*self.expected(patches, hidden), counts, hidden)

    def encode(self, shown: Tensor, expected: Tensor, counts: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Encode what `expected` gives; see `forward`."""
        n_patches = shown.shape[2]
        whole = whole_patches(counts, n_patches)
        valid = whole[:, None, :, None].to(shown.dtype)
        tokens = self.embedding(torch.cat([shown, expected], dim=3))
        visible = valid.expand(*shown.shape[:3], 1)
        if hidden is not None:
            if bool((hidden.all(dim=1) & whole).any()):
                raise UsageError("All regions of a patch are hidden: nothing is left to tell them from.")
            tokens = tokens + hidden[..., None] * self.hidden_token
            visible = visible * ~hidden[..., None]
        tokens = (tokens + self.region[:, None] + self._time_code(n_patches, tokens)) * valid
        for block in self.blocks:
            tokens = block(tokens, visible, valid, counts)
        return cast(Tensor, self.norm(tokens) * valid)

    def _time_code(self, n_patches: int, like: Tensor) -> Tensor:
        """Code the time of each patch since the piece began, (N, D): sines whose periods are in multiples of a patch.

        A patch has a fixed length, so that the code is one of seconds where samples are in seconds.
        """
        half = -(-self.config.width // 2)
        periods = torch.logspace(math.log10(4.0), math.log10(_LONGEST_PERIOD), half, device=like.device)
        angles = 2 * math.pi * torch.arange(n_patches, device=like.device)[:, None] / periods
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)[:, : self.config.width]
        return cast(Tensor, self.time(waves.to(like.dtype)))


class LMAE(nn.Module):
    """Encoder and decoder: hidden patches are told from the visible ones.

    Parameters
    ----------
    config : LMAEConfig
        Shape of the encoder.
    """

    def __init__(self, config: LMAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = nn.Linear(config.width, config.patch)
        # It begins with what the other regions let expect, and learns what has to be added.
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, patches: Tensor, counts: Tensor, hidden: Tensor) -> Tensor:
        """Return what all patches (B, R, N, P) are thought to be; see `Encoder.forward`."""
        shown, expected = self.encoder.expected(patches, hidden)
        return cast(Tensor, expected + self.decoder(self.encoder.encode(shown, expected, counts, hidden)))

    def loss(self, patches: Tensor, counts: Tensor, hidden: Tensor) -> Tensor:
        """Return the mean squared error over hidden samples of regions that have a signal."""
        alive = (patches != 0).any(dim=3).any(dim=2, keepdim=True)
        asked = (hidden & alive)[..., None].to(patches.dtype)
        error = (self(patches, counts, hidden) - patches).square() * asked
        return cast(Tensor, error.sum() / (asked.sum() * patches.shape[3]).clamp_min(1))


def whole_patches(counts: Tensor, n_patches: int) -> Tensor:
    """Tell which patches (B, N) of each piece are whole."""
    return torch.arange(n_patches, device=counts.device) < counts[:, None]


def run_embedding(tokens: Tensor, counts: Tensor, runs: Tensor) -> Tensor:
    """Average the tokens (B, R, N, D) of each run over time: (n, R, D), one vector per region."""
    n_runs = int(runs.max()) + 1
    sums = tokens.new_zeros(n_runs, tokens.shape[1], tokens.shape[3]).index_add(0, runs, tokens.sum(dim=2))
    patches = tokens.new_zeros(n_runs).index_add(0, runs, counts.to(tokens.dtype))
    return sums / patches.clamp_min(1)[:, None, None]
