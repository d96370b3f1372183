"""NeuroSSM: raw BOLD and its differences at several temporal scales, each through selective state-space layers, summed.

An independent implementation of the public description (icon-lab/NeuroSSM; arXiv 2601.01229, abstract); the choices
are those of docs/methods.md, section 1. Symbols: B sequences, T time points, R regions, W width, C outputs, P
pathways; a pathway is a stream (raw, difference) at a scale. This file is read from top to bottom.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from bids_neurossm.errors import UsageError
from bids_neurossm.models.pathway_model import PathwayConfig, PathwayModel
from bids_neurossm.models.scales import bins_of_seconds, bins_of_time_points, usable_repetition_times, valid_points
from bids_neurossm.models.selective_layers import SelectiveLayers, stacks_together
from bids_neurossm.ops import dropout

STREAMS = ("raw", "difference")


@dataclass(frozen=True)
class NeuroSSMConfig(PathwayConfig):
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
        A further additive term, linear in each region's log(sd / mean), which standardised series do not have.
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
    def term_names(self) -> tuple[str, ...]:
        """Name of each term of the logits: the pathways, and ``amplitude`` where the model has that term."""
        return (*self.pathway_names, *(("amplitude",) if self.amplitude else ()))

    @property
    def in_seconds(self) -> bool:
        """Whether the scales are in seconds, so that the model has to be told repetition times."""
        return self.scale_unit == "seconds"


class NeuroSSM(PathwayModel):
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
    amplitude_head : Parameter (C, R)
        W_a of the amplitude term, where the model has one.
    amplitude_mean, amplitude_scale : Tensor (R,)
        What standardises the amplitudes of that term; see `fit_amplitude`.
    """

    config: NeuroSSMConfig
    input_scale: Tensor
    amplitude_mean: Tensor
    amplitude_scale: Tensor

    def __init__(self, config: NeuroSSMConfig) -> None:
        super().__init__()
        self.config = config
        n_pathways = len(config.pathways)
        self.embeddings = nn.ModuleDict({name: nn.Linear(config.n_regions, config.width) for name in config.streams})
        sizes = config.width, config.state, config.depth, config.convolution, config.expand
        self.pathway_layers = nn.ModuleList(
            SelectiveLayers(*sizes, config.dropout, config.bidirectional) for _ in range(n_pathways)
        )
        self.head = nn.Parameter(torch.empty(n_pathways, config.n_outputs, config.width))
        nn.init.normal_(self.head, std=(n_pathways * config.width) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(config.n_outputs))
        self.gate = nn.Parameter(torch.zeros(n_pathways, config.width)) if config.fusion == "gated" else None
        self.register_buffer("input_scale", torch.ones(n_pathways))
        self.register_buffer("pathway_mean", torch.zeros(n_pathways, config.width))
        if config.amplitude:
            self.amplitude_head = nn.Parameter(torch.zeros(config.n_outputs, config.n_regions))
            self.register_buffer("amplitude_mean", torch.zeros(config.n_regions))
            self.register_buffer("amplitude_scale", torch.ones(config.n_regions))

    def forward(
        self,
        series: Tensor,
        lengths: Tensor,
        runs: Tensor | None = None,
        repetition_times: Tensor | None = None,
        amplitude: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of each run.

        Parameters
        ----------
        series : Tensor (B, T, R)
            Standardised contiguous pieces, padded with anything finite at the end.
        lengths : Tensor (B,), int64
            Valid time points of each piece.
        runs : Tensor (B,), int64, optional
            Which run each piece belongs to, 0 to n - 1: pieces of a censored run are separate sequences, pooled
            together, so that nothing crosses a gap. By default each piece is a run.
        repetition_times : Tensor (B,), optional
            Seconds between the time points of each piece. Scales in seconds need it; scales in time points do not
            look at it.
        amplitude : Tensor (n, R), optional
            log(sd / mean) of each region over the whole run, before it was standardised (`log_variation`); a region
            that is not finite adds nothing. A model with the amplitude term needs it; others do not look at it.

        Returns
        -------
        Tensor (n, C)

        Raises
        ------
        UsageError
            If scales are in seconds, and a repetition time is missing or longer than the smallest scale; if
            amplitudes are missing or do not fit the runs.
        """
        return self.bias + self.pathway_terms(series, lengths, runs, repetition_times, amplitude).sum(dim=1)

    def pathway_terms(
        self,
        series: Tensor,
        lengths: Tensor,
        runs: Tensor | None = None,
        repetition_times: Tensor | None = None,
        amplitude: Tensor | None = None,
    ) -> Tensor:
        """Return each term of the logits; with the bias they add up to them. See `forward`.

        Returns
        -------
        Tensor (n, P, C), or (n, P + 1, C) with an amplitude term
            In the order of ``config.term_names``.
        """
        features = self.features(series, lengths, runs, repetition_times)
        terms = self.terms(self._without_pathways(features), self.gates(features))
        if not self.config.amplitude:
            return terms
        return torch.cat([terms, self.amplitude_term(amplitude, len(terms))[:, None].to(terms.dtype)], dim=1)

    def features(
        self, series: Tensor, lengths: Tensor, runs: Tensor | None = None, repetition_times: Tensor | None = None
    ) -> Tensor:
        """Return the features z_p (n, P, W) of each run. See `forward`.

        The numbers are those of `encode` of `pathway_inputs`. But averaging over time and taking differences change
        places with the embedding, which is linear before its bias: they cost R / W times less after it.
        """
        runs = torch.arange(len(series), device=series.device) if runs is None else runs
        if self.training and self.config.region_dropout:
            series = series * self._kept_regions(int(runs.max()) + 1, series)[runs]
        weights = torch.cat([cast(nn.Linear, self.embeddings[stream]).weight for stream in self.config.streams])
        # Neighbouring time points are alike: their difference would drown in half precision.
        with torch.autocast(series.device.type, enabled=False):
            embedded = functional.linear(series, weights)
            pooled = self._pooled(embedded, lengths, repetition_times)
            parts = [
                self._pathway(number, values[..., place * self.config.width :][..., : self.config.width], valid)
                for place in range(len(self.config.streams))
                for number, (values, valid) in enumerate(pooled, start=place * len(pooled))
            ]
            biased = [
                (values + cast(nn.Linear, self.embeddings[stream]).bias, valid)
                for (values, valid), (stream, _) in zip(parts, self.config.pathways, strict=True)
            ]
        return self._encoded(biased, runs)

    def pathway_inputs(
        self, series: Tensor, lengths: Tensor, repetition_times: Tensor | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the input (B, T_p, R) of each pathway, and its valid lengths (B,). See `forward`.

        Bins are averaged and partial bins dropped; differences are taken after that (the other way round they would
        telescope to two samples of a bin), without the first sample; see docs/methods.md, 1.4 and 1.5.
        """
        pooled = self._pooled(series, lengths, repetition_times)
        scales = len(pooled)
        return [self._pathway(number, *pooled[number % scales]) for number in range(len(self.config.pathways))]

    def _pooled(self, values: Tensor, lengths: Tensor, repetition_times: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Return the means over the bins of each scale, and how many are whole."""
        if not self.config.in_seconds:
            return [bins_of_time_points(values, lengths, int(scale)) for scale in self.config.scales]
        times = usable_repetition_times(self.config, repetition_times, len(values))
        return [bins_of_seconds(values, lengths, times, scale) for scale in self.config.scales]

    def _pathway(self, number: int, values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Take what is a pathway's own of the bins of its scale: difference, constant."""
        if self.config.pathways[number][0] == "difference":
            values, valid = values.diff(dim=1), (valid - 1).clamp_min(0)
        return values / self.input_scale[number], valid

    def encode(self, inputs: list[tuple[Tensor, Tensor]], runs: Tensor) -> Tensor:
        """Return the features z_p (n, P, W) of each run from what `pathway_inputs` gives."""
        kept = None
        if self.training and self.config.region_dropout:
            kept = self._kept_regions(int(runs.max()) + 1, inputs[0][0])[runs]
        embedded = [
            (self.embeddings[stream](values if kept is None else values * kept), valid)
            for (values, valid), (stream, _) in zip(inputs, self.config.pathways, strict=True)
        ]
        return self._encoded(embedded, runs)

    def _encoded(self, embedded: list[tuple[Tensor, Tensor]], runs: Tensor) -> Tensor:
        """Return the features from the embedded inputs (B, T_p, W): GELU, layers, pool.

        The streams of a scale go through one scan. Their mean over the valid time points of all pieces of the run is
        followed by a LayerNorm without parameters, since a constant could otherwise move between it and the head.
        """
        membership = functional.one_hot(runs, int(runs.max()) + 1).T
        scales = len(self.config.scales)
        means = []
        for scale in range(scales):
            values, lengths = (list(each) for each in zip(*embedded[scale::scales], strict=True))
            longest = max(part.shape[1] for part in values)
            padded = [functional.pad(part, (0, 0, 0, longest - part.shape[1])) for part in values]
            stacked = torch.stack(lengths)
            sequences = dropout(functional.gelu(torch.stack(padded)), self.config.dropout, self.training)
            layers = cast(list[SelectiveLayers], list(self.pathway_layers)[scale::scales])
            sequences = stacks_together(layers, sequences, stacked)
            means.append(_run_means(sequences, stacked, membership))
        # Scales first, streams second, as they were taken; pathways are counted streams first.
        features = rearrange(torch.stack(means), "scale stream n w -> (stream scale) n w").transpose(0, 1)
        return functional.layer_norm(features, (self.config.width,))

    def gates(self, features: Tensor) -> Tensor:
        """Return the weight (n, P) of each pathway's term: 1 in additive fusion, a softmax x P in gated fusion."""
        if self.gate is None:
            return features.new_ones(features.shape[:2])
        return torch.softmax((features * self.gate).sum(dim=-1), dim=1) * features.shape[1]

    def terms(self, features: Tensor, gates: Tensor | None = None) -> Tensor:
        """Return the pathways' terms (n, P, C) of the logits from features (n, P, W) and gates (n, P)."""
        gates = self.gates(features) if gates is None else gates
        kept = dropout(features, self.config.dropout, self.training)
        return gates[:, :, None] * torch.einsum("npw,pcw->npc", kept, self.head)

    def scale_outputs(self, factor: float) -> None:
        """Multiply the logits in place: every term of the decision changes alike."""
        super().scale_outputs(factor)
        if self.config.amplitude:
            with torch.no_grad():
                self.amplitude_head.mul_(factor)

    def fit_inputs(
        self, batches: Iterable[tuple[Tensor, Tensor, Tensor | None]], amplitude: Tensor | None = None
    ) -> None:
        """Set the constant of each pathway's input, its root mean square where regions are alive, and the amplitudes'.

        See `bids_neurossm.models.pathway_model.PathwayModel.fit_inputs`.
        """
        self.input_scale.fill_(1.0)
        squares, counts = torch.zeros(2, len(self.config.pathways), dtype=torch.float64)
        for series, lengths, repetition_times in batches:
            alive = (series != 0).any(dim=1, keepdim=True)
            for number, (values, valid) in enumerate(self.pathway_inputs(series, lengths, repetition_times)):
                used = (valid_points(values, valid) & alive).expand_as(values)
                squares[number] += float((values.double().square() * used).sum())
                counts[number] += float(used.sum())
        scale = (squares / counts.clamp_min(1)).sqrt()
        # Only data without any signal have a scale of 0; they are left as they are.
        self.input_scale.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))
        if amplitude is not None:
            self.fit_amplitude(amplitude)

    def fit_amplitude(self, amplitude: Tensor) -> None:
        """Set what standardises the amplitudes, from those of the training runs (n, R); see `forward`.

        A region that is finite in no run, or the same in all, adds nothing.
        """
        known = amplitude.isfinite()
        counts = known.sum(dim=0).clamp_min(1)
        mean = torch.where(known, amplitude, 0).sum(dim=0) / counts
        scale = (torch.where(known, amplitude - mean, 0).square().sum(dim=0) / counts).sqrt()
        self.amplitude_mean.copy_(mean)
        self.amplitude_scale.copy_(torch.where(scale > 0, scale, torch.inf))

    def amplitude_term(self, amplitude: Tensor | None, n_runs: int) -> Tensor:
        """Return the term (n, C) of the amplitudes (n, R); see `forward`."""
        shape = (n_runs, self.config.n_regions)
        if amplitude is None or amplitude.shape != shape:
            found = "none" if amplitude is None else f"an array of shape {tuple(amplitude.shape)}"
            raise UsageError(
                f"model.amplitude needs the amplitudes of {shape[0]} runs x {shape[1]} regions, not {found}."
            )
        deviation = (amplitude - self.amplitude_mean) / self.amplitude_scale
        deviation = torch.where(deviation.isfinite(), deviation, 0).to(self.amplitude_head.dtype)
        return functional.linear(dropout(deviation, self.config.dropout, self.training), self.amplitude_head)

    def _kept_regions(self, n_runs: int, like: Tensor) -> Tensor:
        """Region dropout: the same regions for all pieces and pathways of a run, (n, 1, R)."""
        return dropout(like.new_ones(n_runs, 1, self.config.n_regions), self.config.region_dropout, self.training)

    def _without_pathways(self, features: Tensor) -> Tensor:
        """Pathway dropout: whole pathways of a run, (n, P, W)."""
        ones = features.new_ones(*features.shape[:2], 1)
        return features * dropout(ones, self.config.pathway_dropout, self.training)


def _run_means(sequences: Tensor, lengths: Tensor, membership: Tensor) -> Tensor:
    """Return means (M, n, W) over the valid samples of all pieces of each run, in single precision at least.

    Sums over time of (M, B, T, W), and over the pieces of a run by its membership (n, B), are products, which are
    deterministic on every device.
    """
    valid = torch.arange(sequences.shape[2], device=sequences.device) < lengths[..., None]
    kind = torch.promote_types(sequences.dtype, torch.float32)
    with torch.autocast(sequences.device.type, enabled=False):
        sums = torch.matmul(valid[:, :, None].to(kind), sequences.to(kind))[:, :, 0]
        counts = membership.to(kind) @ lengths.to(kind)[..., None]
        return membership.to(kind) @ sums / counts.clamp_min(1)


def log_variation(mean: Tensor, deviation: Tensor) -> Tensor:
    """Return log(sd / mean) of raw series from their means and standard deviations; NaN where one is not positive."""
    usable = (mean > 0) & (deviation > 0)
    return torch.where(usable, torch.log(deviation / mean), torch.nan)
