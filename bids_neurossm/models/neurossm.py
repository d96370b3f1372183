"""NeuroSSM: raw BOLD and its differences at several temporal scales, each through selective state-space layers, summed.

An independent implementation of the public description (icon-lab/NeuroSSM; arXiv 2601.01229, abstract); the choices
are those of docs/methods.md, section 1. Symbols: B sequences, T time points, R regions, W width, C outputs, P
pathways; a pathway is a stream (raw, difference) at a scale. This file is read from top to bottom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bids_neurossm.errors import UsageError
from bids_neurossm.models.mamba import Mamba

STREAMS = ("raw", "difference")
# Time points that differ by less are the same: repetition times are rounded, some of them to float32.
_CLOSE = 1e-4


@dataclass(frozen=True)
class NeuroSSMConfig:
    """The shape of a NeuroSSM.

    Parameters
    ----------
    n_regions, n_outputs : int
        R; C classes, or 1 for a continuous target.
    scales : tuple of int or float
        Length of each scale's bins: whole time points, or seconds.
    scale_unit : {"time points", "seconds"}
        What the scales are given in. In seconds, runs of different repetition times see the same bins.
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
    scales: tuple[int | float, ...] = (1, 2, 4)
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
    scale_unit: Literal["time points", "seconds"] = "time points"

    def __post_init__(self) -> None:
        if self.scale_unit not in ("time points", "seconds"):
            raise UsageError(f"model.scale_unit {self.scale_unit!r} must be 'time points' or 'seconds'.")
        for scale in self.scales:
            if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < math.inf:
                raise UsageError(f"model.scales: {scale!r} is no positive number.")
            if self.scale_unit == "time points" and not isinstance(scale, int):
                raise UsageError(
                    f"model.scales: {scale!r} is no whole number of time points; for scales in seconds set "
                    "model.scale_unit to 'seconds'."
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
    def pathways(self) -> tuple[tuple[str, float], ...]:
        """Stream and scale of each pathway, in the order of every array over pathways."""
        return tuple((stream, scale) for stream in self.streams for scale in self.scales)

    @property
    def pathway_names(self) -> tuple[str, ...]:
        """Name of each pathway, for instance ``raw-1``; ``raw-4s`` where scales are in seconds."""
        unit = "s" if self.in_seconds else ""
        return tuple(f"{stream}-{scale:.10g}{unit}" for stream, scale in self.pathways)

    @property
    def in_seconds(self) -> bool:
        """Whether the scales are in seconds, so that the model has to be told repetition times."""
        return self.scale_unit == "seconds"


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

    def forward(
        self, series: Tensor, lengths: Tensor, runs: Tensor | None = None, repetition_times: Tensor | None = None
    ) -> Tensor:
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
        repetition_times : Tensor (B,), optional
            Seconds between the time points of each piece. Scales in seconds need it; scales in time points do not
            look at it.

        Returns
        -------
        Tensor (n, C)

        Raises
        ------
        UsageError
            If scales are in seconds, and a repetition time is missing or longer than the smallest scale.
        """
        return self.bias + self.pathway_terms(series, lengths, runs, repetition_times).sum(dim=1)

    def pathway_terms(
        self, series: Tensor, lengths: Tensor, runs: Tensor | None = None, repetition_times: Tensor | None = None
    ) -> Tensor:
        """Return each pathway's own logits (n, P, C); with the bias they add up to the logits. See `forward`."""
        runs = torch.arange(len(series), device=series.device) if runs is None else runs
        features = self.encode(self.pathway_inputs(series, lengths, repetition_times), runs)
        return self.terms(self._without_pathways(features), self.gates(features))

    def pathway_inputs(
        self, series: Tensor, lengths: Tensor, repetition_times: Tensor | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the input (B, T_p, R) of each pathway, and its valid lengths (B,). See `forward`.

        Bins are averaged and partial bins dropped; differences are taken after that (the other way round they would
        telescope to two samples of a bin), without the first sample; see docs/methods.md, 1.4 and 1.5.
        """
        times = usable_repetition_times(self.config, repetition_times, len(series)) if self.config.in_seconds else None
        pooled = {
            scale: bins_of_time_points(series, lengths, int(scale))
            if times is None
            else bins_of_seconds(series, lengths, times, scale)
            for scale in self.config.scales
        }
        inputs = []
        for number, (stream, scale) in enumerate(self.config.pathways):
            values, valid = pooled[scale]
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


def bins_of_time_points(series: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return means (B, K, R) of `size` neighbouring time points of (B, T, R), and how many are whole (B,)."""
    # At least two bins, so that no pathway is empty; what is added is not valid.
    series = functional.pad(series, (0, 0, 0, max(2 * size - series.shape[1], 0)))
    n_bins = series.shape[1] // size
    return series[:, : n_bins * size].reshape(len(series), n_bins, size, -1).mean(dim=2), lengths // size


def bins_of_seconds(series: Tensor, lengths: Tensor, repetition_times: Tensor, seconds: float) -> tuple[Tensor, Tensor]:
    """Return means (B, K, R) over bins of `seconds`, and how many are whole (B,).

    Each time point stands for the whole of its repetition time; one that lies in two bins is shared between them by
    the time that it spends in each (docs/methods.md, 1.4). The bins of a piece begin with it.
    """
    # Time points per bin, and their whole numbers, which rounding must not miss: 8 s / 0.8 s is 10.
    ratio = _whole_if_close(seconds / repetition_times)
    size = int(ratio[0])
    if bool((ratio == size).all()):
        return bins_of_time_points(series, lengths, size)
    valid = _whole_if_close(lengths / ratio).floor().to(lengths.dtype)
    number = torch.arange(max(int(valid.max()), 2), device=series.device)
    begin, end = _whole_if_close(number * ratio[:, None]), _whole_if_close((number + 1) * ratio[:, None])
    pooled = series.new_zeros(len(series), len(number), series.shape[2])
    for step in range(math.ceil(float(ratio.max())) + 1):
        place = begin.floor() + step
        weight = (torch.minimum(end, place + 1) - torch.maximum(begin, place)).clamp_min(0) / (end - begin)
        # Places after the end have no weight in a valid bin; they are moved to a valid one, since padding may be NaN.
        place = place.long().minimum((lengths[:, None] - 1).clamp_min(0))
        taken = series.gather(1, place[:, :, None].expand(-1, -1, series.shape[2]))
        pooled = pooled + weight[:, :, None].to(series.dtype) * taken
    return pooled, valid


def usable_repetition_times(config: NeuroSSMConfig, repetition_times: Tensor | None, n_pieces: int) -> Tensor:
    """Return the repetition times (B,) in double precision, once it is known that the scales can be laid over them.

    Raises
    ------
    UsageError
        If one is missing, or longer than the smallest scale.
    """
    if repetition_times is None or not bool((repetition_times > 0).all() & repetition_times.isfinite().all()):
        raise UsageError(
            "Series without a repetition time can not use scales in seconds: give the repetition time, or scales in "
            "time points (model.scale_unit = 'time points')."
        )
    if repetition_times.shape != (n_pieces,):
        raise UsageError(f"There are {n_pieces} pieces and repetition times of shape {tuple(repetition_times.shape)}.")
    longest, smallest = float(repetition_times.max()), min(config.scales)
    if smallest < longest * (1 - _CLOSE):
        raise UsageError(
            f"model.scales: {smallest:g} s is shorter than the longest repetition time, {longest:g} s; every scale in "
            "seconds must be at least as long."
        )
    return repetition_times.double()


def _whole_if_close(values: Tensor) -> Tensor:
    """Round what is a whole number but for rounding errors of a repetition time."""
    whole = values.round()
    return torch.where((values - whole).abs() < _CLOSE, whole, values)


def reverse_valid(sequence: Tensor, lengths: Tensor) -> Tensor:
    """Turn the valid samples of (B, T, W) round; padding stays at the end."""
    places = torch.arange(sequence.shape[1], device=sequence.device).expand(len(sequence), -1)
    turned = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    return sequence.gather(1, turned[:, :, None].expand_as(sequence))
