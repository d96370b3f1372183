"""NeuroSSM: raw BOLD and its differences at several temporal scales, each through selective state-space layers, summed.

An independent implementation of the public description (icon-lab/NeuroSSM; arXiv 2601.01229, abstract); the choices
are those of docs/methods.md, section 1. Symbols: B sequences, T time points, R regions, W width, C outputs, P
pathways; a pathway is a stream (raw, difference) at a scale. This file is read from top to bottom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bids_neurossm.errors import UsageError
from bids_neurossm.models.mamba import Mamba

STREAMS = ("raw", "difference")


@dataclass(frozen=True)
class NeuroSSMConfig:
    """The shape of a NeuroSSM.

    Parameters
    ----------
    n_regions, n_outputs : int
        R; C classes, or 1 for a continuous target.
    scales : tuple of int
        Time points per bin of each scale.
    streams : tuple of str
        Of ``raw`` and ``difference``.
    width, state, depth, convolution, expand : int
        W; states per channel; layers per pathway; taps of the causal convolution; channels per unit of width.
    bidirectional : bool
        A second stack of layers reads the valid samples backwards.
    dropout, region_dropout, pathway_dropout : float
        Shares that are dropped in training: features; regions of a run; pathways of a run.
    fusion : {"additive", "gated"}
        ``logits = b + sum_p W_p z_p``, or with each term weighed by a softmax over the pathways.
    amplitude : bool
        Not available yet.
    """

    n_regions: int
    n_outputs: int
    scales: tuple[int, ...] = (1, 2, 4)
    streams: tuple[str, ...] = STREAMS
    width: int = 32
    state: int = 8
    depth: int = 1
    convolution: int = 4
    expand: int = 2
    bidirectional: bool = False
    dropout: float = 0.5
    region_dropout: float = 0.2
    pathway_dropout: float = 0.0
    fusion: Literal["additive", "gated"] = "additive"
    amplitude: bool = False

    def __post_init__(self) -> None:
        for scale in self.scales:
            if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
                raise UsageError(
                    f"model.scales: {scale!r} is no whole number of time points; scales in seconds are not available."
                )
        if not self.scales or len(set(self.scales)) != len(self.scales):
            raise UsageError(f"model.scales {list(self.scales)} must name each scale once, and one at least.")
        if not self.streams or len(set(self.streams)) != len(self.streams) or set(self.streams) - set(STREAMS):
            raise UsageError(f"model.streams {list(self.streams)} must be of {', '.join(STREAMS)}, each once.")
        for name in ("n_regions", "n_outputs", "width", "state", "depth", "convolution", "expand"):
            if getattr(self, name) < 1:
                raise UsageError(f"model.{name} must be at least 1.")
        for name in ("dropout", "region_dropout", "pathway_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"model.{name} must lie in [0, 1).")
        if self.fusion not in ("additive", "gated"):
            raise UsageError(f"model.fusion {self.fusion!r} must be additive or gated.")
        if self.amplitude:
            raise UsageError("model.amplitude is not available in this release; set it to false.")

    @property
    def pathways(self) -> tuple[tuple[str, int], ...]:
        """Stream and scale of each pathway, in the order of every array over pathways."""
        return tuple((stream, scale) for stream in self.streams for scale in self.scales)

    @property
    def pathway_names(self) -> tuple[str, ...]:
        """Name of each pathway, for instance ``raw-1``."""
        return tuple(f"{stream}-{scale}" for stream, scale in self.pathways)


class SelectiveLayers(nn.Module):
    """A stack of residual selective state-space layers; optionally a second one that reads backwards.

    Parameters
    ----------
    config : NeuroSSMConfig
        Width, depth and the layer's own sizes.
    """

    def __init__(self, config: NeuroSSMConfig) -> None:
        super().__init__()
        directions = 2 if config.bidirectional else 1
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(config.depth))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                Mamba(config.width, config.state, config.convolution, config.expand) for _ in range(directions)
            )
            for _ in range(config.depth)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W); samples at and after ``lengths`` (B,) are padding, and no valid one sees them."""
        for norm, directions in zip(self.norms, self.layers, strict=True):
            normed = norm(sequence)
            forwards, *backwards = cast(nn.ModuleList, directions)
            update = forwards(normed)
            for layer in backwards:
                update = update + reverse_valid(layer(reverse_valid(normed, lengths)), lengths)
            sequence = sequence + self.dropout(update)
        return sequence


class NeuroSSM(nn.Module):
    """Multiscale selective state-space model of a run.

    Parameters
    ----------
    config : NeuroSSMConfig
        Its shape.

    Attributes
    ----------
    input_scale : Tensor (P,)
        What each pathway's input is divided by; taken from the training set.
    pathway_mean : Tensor (P, W)
        Class-balanced training mean of each pathway's features, the reference of the attribution.
    head : Parameter (P, C, W)
        W_p of every pathway.
    """

    input_scale: Tensor
    pathway_mean: Tensor

    def __init__(self, config: NeuroSSMConfig) -> None:
        super().__init__()
        self.config = config
        n_pathways = len(config.pathways)
        self.embeddings = nn.ModuleDict({name: nn.Linear(config.n_regions, config.width) for name in config.streams})
        self.pathway_layers = nn.ModuleList(SelectiveLayers(config) for _ in range(n_pathways))
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Parameter(torch.empty(n_pathways, config.n_outputs, config.width))
        nn.init.normal_(self.head, std=(n_pathways * config.width) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(config.n_outputs))
        self.gate = nn.Parameter(torch.zeros(n_pathways, config.width)) if config.fusion == "gated" else None
        self.register_buffer("input_scale", torch.ones(n_pathways))
        self.register_buffer("pathway_mean", torch.zeros(n_pathways, config.width))

    def forward(self, series: Tensor, lengths: Tensor, runs: Tensor | None = None) -> Tensor:
        """Return the logits of each run.

        Parameters
        ----------
        series : Tensor (B, T, R)
            Standardised contiguous pieces, padded with anything at the end.
        lengths : Tensor (B,), int64
            Valid time points of each piece.
        runs : Tensor (B,), int64, optional
            Which run each piece belongs to, 0 to n - 1: pieces of a censored run are separate sequences, pooled
            together, so that nothing crosses a gap. By default each piece is a run.

        Returns
        -------
        Tensor (n, C)
        """
        return self.bias + self.pathway_terms(series, lengths, runs).sum(dim=1)

    def pathway_terms(self, series: Tensor, lengths: Tensor, runs: Tensor | None = None) -> Tensor:
        """Return each pathway's own logits (n, P, C); with the bias they add up to the logits. See `forward`."""
        runs = torch.arange(len(series), device=series.device) if runs is None else runs
        features = self.encode(self.pathway_inputs(series, lengths), runs)
        return self.terms(self._without_pathways(features), self.gates(features))

    def pathway_inputs(self, series: Tensor, lengths: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the input (B, T_p, R) of each pathway, and its valid lengths (B,).

        Bins of s time points are averaged and partial bins dropped; differences are taken after that (the other way
        round they would telescope to two samples of a bin), without the first sample; see docs/methods.md, 1.4 and 1.5.
        """
        # At least two bins of the largest scale, so that no pathway is empty; what is added is not valid.
        shortfall = 2 * max(self.config.scales) - series.shape[1]
        series = functional.pad(series, (0, 0, 0, max(shortfall, 0)))
        inputs = []
        for number, (stream, scale) in enumerate(self.config.pathways):
            n_bins = series.shape[1] // scale
            values = series[:, : n_bins * scale].reshape(len(series), n_bins, scale, -1).mean(dim=2)
            valid = lengths // scale
            if stream == "difference":
                values, valid = values.diff(dim=1), (valid - 1).clamp_min(0)
            inputs.append((values / self.input_scale[number], valid))
        return inputs

    def encode(self, inputs: list[tuple[Tensor, Tensor]], runs: Tensor) -> Tensor:
        """Return the features z_p (n, P, W) of each run from the inputs of its pathways.

        Mean over the valid time points of all pieces of the run, then a LayerNorm without parameters, since a
        constant could otherwise move between it and the head.
        """
        n_runs = int(runs.max()) + 1
        # (n, B): sums over the pieces of a run as a product, which is deterministic on every device.
        membership = functional.one_hot(runs, n_runs).to(inputs[0][0].dtype).T
        regions = self._kept_regions(n_runs, inputs[0][0])[runs]
        features = []
        for (values, lengths), (stream, _), layers in zip(
            inputs, self.config.pathways, self.pathway_layers, strict=True
        ):
            sequence = self.dropout(functional.gelu(self.embeddings[stream](values * regions)))
            sequence = layers(sequence, lengths)
            valid = torch.arange(sequence.shape[1], device=lengths.device) < lengths[:, None]
            sums = membership @ (sequence * valid[:, :, None]).sum(dim=1).to(membership.dtype)
            counts = membership @ lengths.to(membership.dtype)
            features.append(functional.layer_norm(sums / counts.clamp_min(1)[:, None], (self.config.width,)))
        return torch.stack(features, dim=1)

    def gates(self, features: Tensor) -> Tensor:
        """Return the weight (n, P) of each pathway's term: 1 in additive fusion, a softmax x P in gated fusion."""
        if self.gate is None:
            return features.new_ones(features.shape[:2])
        return torch.softmax((features * self.gate).sum(dim=-1), dim=1) * features.shape[1]

    def terms(self, features: Tensor, gates: Tensor) -> Tensor:
        """Return the terms (n, P, C) of the logits from features (n, P, W) and gates (n, P)."""
        return gates[:, :, None] * torch.einsum("npw,pcw->npc", self.dropout(features), self.head)

    def _kept_regions(self, n_runs: int, like: Tensor) -> Tensor:
        """Region dropout: the same regions for all pieces and pathways of a run, (n, 1, R)."""
        ones = like.new_ones(n_runs, 1, self.config.n_regions)
        return functional.dropout(ones, self.config.region_dropout, self.training)

    def _without_pathways(self, features: Tensor) -> Tensor:
        """Pathway dropout: whole pathways of a run, (n, P, W)."""
        ones = features.new_ones(*features.shape[:2], 1)
        return features * functional.dropout(ones, self.config.pathway_dropout, self.training)


def reverse_valid(sequence: Tensor, lengths: Tensor) -> Tensor:
    """Turn the valid samples of (B, T, W) round; padding stays at the end."""
    places = torch.arange(sequence.shape[1], device=sequence.device).expand(len(sequence), -1)
    turned = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    return sequence.gather(1, turned[:, :, None].expand_as(sequence))
