"""LMAE, RWMOE and a state-space predictor: the second family, for age and cognition, and for classes too.

An independent implementation after the abstract of arXiv 2508.16597; the choices are those of docs/methods.md, section
5. Tokens of the (pretrained) encoder walk on the run's own graph; experts of regions work on what they find; attention
over the regions pools what each expert makes of them; experts of time and two selective state-space layers read what
moves in it. Beside that each expert reads what does not move: where walks on the run's graph lead. Both go into a sum
over the experts. The sum is what makes the decision attributable: an expert of regions is to this model what a pathway
is to NeuroSSM.
Symbols: n runs, B pieces, N patches, R regions, D width, S profile_width, E experts, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from bids_neurossm.errors import UsageError
from bids_neurossm.models.lmae import Encoder, LMAEConfig, run_embedding, whole_patches
from bids_neurossm.models.pathway_model import PathwayConfig, PathwayModel
from bids_neurossm.models.rwmoe import (
    TOP,
    Experts,
    GraphProfiles,
    Router,
    connectivity_graph,
    random_walk,
    regions_with_signal,
)
from bids_neurossm.models.selective_layers import SelectiveLayers, stacks_together
from bids_neurossm.ops import dropout

# Brings what is summed over the regions' profiles near 1 in the beginning, where an activation tells large from small.
_LIFT = 6.0


@dataclass(frozen=True)
class LmaeRwmoeConfig(LMAEConfig, PathwayConfig):
    """The shape of the whole model; the encoder's settings are those of `LMAEConfig`.

    Parameters
    ----------
    n_outputs : int
        C classes, or 1 for a continuous target.
    experts : int
        E, of each mixture.
    walk_steps : int
        K steps of the random walk.
    restart : float
        Share of each step that goes back to the start.
    edges : float
        Share of the pairs of regions that the graph joins.
    heads : int
        Of the attention over regions; they divide `width`.
    layers : int
        Selective state-space layers of the predictor.
    balance, z : float
        Weights of the router's losses.
    code, profile_width : int
        Numbers of each region's code, in which the profiles of a run's graph are told; S, features that each expert
        makes of them. They are cheap, having no axis of time.
    region_dropout : float
        Share of the regions of a run that training leaves out.
    predictor_dropout : float
        Share of the features behind the encoder that is dropped in training.
    """

    n_outputs: int = 1
    experts: int = 4
    walk_steps: int = 3
    restart: float = 0.2
    edges: float = 0.1
    code: int = 64
    profile_width: int = 64
    heads: int = 4
    layers: int = 2
    balance: float = 0.01
    z: float = 0.001
    region_dropout: float = 0.2
    predictor_dropout: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_outputs", "experts", "walk_steps", "code", "profile_width", "heads", "layers"):
            if getattr(self, name) < 1:
                raise UsageError(f"model.{name} must be at least 1.")
        for name in ("balance", "z"):
            if getattr(self, name) < 0:
                raise UsageError(f"model.{name} must be 0 or more.")
        for name in ("region_dropout", "predictor_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"model.{name} must lie in [0, 1).")
        if not 0 <= self.restart <= 1 or not 0 < self.edges <= 1:
            raise UsageError("model.restart must lie in [0, 1], model.edges in (0, 1].")
        if self.width % self.heads:
            raise UsageError(f"model.heads {self.heads} must divide model.width {self.width}.")

    @property
    def pathways(self) -> tuple[tuple[str, float], ...]:
        """The experts of regions, in the order of every array over them."""
        return tuple(("expert", float(number + 1)) for number in range(self.experts))

    @property
    def pathway_names(self) -> tuple[str, ...]:
        """Name of each expert of regions, for instance ``expert-1``."""
        return tuple(f"{kind}-{number:.0f}" for kind, number in self.pathways)


class Routed(NamedTuple):
    """What stands between the series and the decision: with it held fixed, the decision is a smooth function of both.

    Attributes
    ----------
    profiles : Tensor (n, R, K code)
        What the run's graph tells of each region, as `GraphProfiles` gives it.
    transition : Tensor (n, R, R)
        Graph of each run.
    of_regions : Tensor (n, R, E)
        Weights of the experts of regions.
    of_time : Tensor (B, N, E)
        Weights of the experts of time.
    """

    profiles: Tensor
    transition: Tensor
    of_regions: Tensor
    of_time: Tensor


class LmaeRwmoe(PathwayModel):
    """Encoder, experts, predictor.

    Parameters
    ----------
    config : LmaeRwmoeConfig
        Its shape.

    Attributes
    ----------
    input_scale : Tensor (1,)
        One: the encoder takes standardised series as they are.
    pathway_mean : Tensor (E, D + S)
        Class-balanced training mean of each expert's features, the reference of the attribution.
    graph_profiles : GraphProfiles
        What the run's graph tells of its regions; to be measured on training runs.
    gain, graph_gain : Parameter (R, E, D), (R, E, S)
        What every expert makes of a region's signal, and of its profile, is multiplied by before regions are pooled.
    head : Parameter (E, C, D + S)
        W_e of every expert.
    """

    config: LmaeRwmoeConfig
    input_scale: Tensor

    def __init__(self, config: LmaeRwmoeConfig) -> None:
        super().__init__()
        self.config = config
        width, experts, share = config.width, config.experts, config.predictor_dropout
        walked = (config.walk_steps + 1) * width
        features = width + config.profile_width
        self.encoder = Encoder(config)
        self.region_router = Router(walked, experts, config.balance, config.z)
        self.region_experts = Experts(walked, width, experts, share)
        self.attention = nn.Linear(width, config.heads)
        self.gain = nn.Parameter(torch.randn(config.n_regions, experts, width))
        self.graph_profiles = GraphProfiles(config.n_regions, config.code, config.walk_steps, config.restart)
        self.graph_experts = Experts(config.walk_steps * config.code, config.profile_width, experts, 0.0)
        self.graph_gain = nn.Parameter(
            torch.randn(config.n_regions, experts, config.profile_width) * config.n_regions**-0.5
        )
        self.time_router = Router(width, experts, config.balance, config.z)
        self.time_experts = Experts(width, width, experts, share)
        sizes = width, config.state, config.layers, config.convolution, config.expand
        self.layers = nn.ModuleList(SelectiveLayers(*sizes, dropout=share) for _ in range(experts))
        self.head = nn.Parameter(torch.randn(experts, config.n_outputs, features) * (experts * features) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(config.n_outputs))
        self.register_buffer("input_scale", torch.ones(1))
        self.register_buffer("pathway_mean", torch.zeros(experts, features))
        self._loss: Tensor | None = None

    def freeze_encoder(self, frozen: bool) -> None:
        """Hold the encoder's weights fixed, or let them go."""
        self.encoder.requires_grad_(not frozen)

    def auxiliary_loss(self) -> Tensor:
        """Return the routers' losses of the last forward pass.

        Raises
        ------
        UsageError
            If there was none.
        """
        if self._loss is None:
            raise UsageError("The routers have decided nothing yet: call the model first.")
        return self._loss

    def terms(self, features: Tensor) -> Tensor:
        """Return the experts' terms (n, E, C) of the logits from their features (n, E, D + S)."""
        kept = dropout(features, self.config.predictor_dropout, self.training)
        return torch.einsum("new,ecw->nec", kept, self.head)

    def features(
        self, series: Tensor, lengths: Tensor, runs: Tensor | None = None, repetition_times: Tensor | None = None
    ) -> Tensor:
        """Return the features z_e (n, E, D + S) of each run. See `forward`."""
        return self.routed(series, lengths, runs, repetition_times)[0]

    def routed(
        self,
        series: Tensor,
        lengths: Tensor,
        runs: Tensor | None = None,
        repetition_times: Tensor | None = None,
        held: Routed | None = None,
    ) -> tuple[Tensor, Routed]:
        """Return the features of each run, and what the routers decided.

        Parameters
        ----------
        series, lengths, runs, repetition_times
            See `forward`.
        held : Routed, optional
            Profiles, graph and weights of experts that are taken instead of the series' own.

        Returns
        -------
        features : Tensor (n, E, D + S)
            Each expert's part of the run: the mean over time of its sequence, normalised without parameters (a constant
            could otherwise move between it and the head), times the share of the attention that it had; then what it
            makes of the profiles of the run's graph.
        routed : Routed
            Profiles, graph and weights.
        """
        runs = torch.arange(len(series), device=series.device) if runs is None else runs
        if held is None:
            transition = connectivity_graph(series, lengths, runs, self.config.edges)
            profiles = self.graph_profiles(transition, regions_with_signal(series, lengths, runs))
        else:
            transition, profiles = held.transition, held.profiles
        seen = profiles
        if self.training and self.config.region_dropout:
            left = dropout(profiles.new_ones(len(profiles), self.config.n_regions, 1), self.config.region_dropout, True)
            series, seen = series * (left > 0).mT[runs], profiles * left
        trainable = any(each.requires_grad for each in self.encoder.parameters())
        # An encoder that is held fixed needs no graph of operations, unless the input itself is asked about.
        with torch.set_grad_enabled(torch.is_grad_enabled() and (trainable or series.requires_grad)):
            patches, counts = self.encoder.patches(series, lengths, repetition_times)
            tokens = self.encoder(patches, counts)
        walked = random_walk(tokens, transition[runs], self.config.walk_steps, self.config.restart)
        pooled, shares, of_regions, region_loss = self._regions(walked, tokens, counts, runs, held)
        sequences, of_time, time_loss = self._times(pooled, counts, runs, held)
        self._loss = region_loss + time_loss
        moving = self._means(sequences, counts, runs) * shares[:, :, None]
        features = torch.cat([moving, self._standing(seen, of_regions)], dim=2)
        return features, Routed(profiles, transition, of_regions, of_time)

    def _standing(self, profiles: Tensor, weights: Tensor) -> Tensor:
        """Return what the experts make of the profiles (n, R, K code) of the regions that they are given: (n, E, S)."""
        inner = self.graph_experts.inner(profiles)
        summed = torch.einsum("nred,nre,red->ned", inner, weights.to(inner.dtype), self.graph_gain.to(inner.dtype))
        # Not normalised: a run whose graph is the usual one has nothing that could be blown up.
        return functional.gelu(self.graph_experts.outer(_LIFT * summed).float())

    def _regions(
        self, walked: Tensor, tokens: Tensor, counts: Tensor, runs: Tensor, held: Routed | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Let the experts of regions work, and pool over the regions.

        Returns sequences (E, B, N, D), the share (n, E) of the attention that each expert had, the weights (n, R, E)
        and the router's loss. A region keeps its experts for the whole run.
        """
        of_runs = run_embedding(walked, counts, runs)
        routing = self.region_router(of_runs, torch.ones(of_runs.shape[:2], dtype=torch.bool, device=of_runs.device))
        weights = routing.weights if held is None else held.of_regions
        valid = whole_patches(counts, tokens.shape[2])[:, None, :, None]
        attention = torch.softmax(self.attention(tokens), dim=1) * valid
        summed = self._pooled(walked, weights[runs], attention)
        pooled = self.region_experts.outer(summed)
        attended = run_embedding(attention.mean(dim=3, keepdim=True).float(), counts, runs)
        shares = torch.einsum("nrx,nre->ne", attended, weights)
        return pooled.movedim(2, 0), shares * self.config.experts, weights, routing.loss

    def _pooled(self, walked: Tensor, weights: Tensor, attention: Tensor) -> Tensor:
        """Sum what the experts make of the regions, weighed by experts (B, R, E) and heads (B, R, N, H): (B, N, E, D).

        Without a gain of their own, regions would be told apart by attention alone, and their mean would be all that is
        left. Each region asks two experts only, so that half of the work of four is done.
        """
        experts, heads = self.config.experts, self.config.heads
        best = weights.topk(min(TOP, experts), dim=2)
        which = functional.one_hot(best.indices, experts).to(weights.dtype)
        taken = torch.einsum("brje,red->brjd", which * best.values[..., None], self.gain)
        inner = self.region_experts.asked(walked, which)
        values = (inner * taken[..., None].to(inner.dtype)).view(*inner.shape[:3], heads, -1, inner.shape[4])
        values = values * attention.mT.to(inner.dtype)[:, :, None, :, None]
        # (B, E, R J) times (B, R J, D N): what each asked expert made goes where it belongs.
        places = which.to(inner.dtype).flatten(1, 2)
        summed = torch.matmul(places.mT, values.flatten(3, 5).flatten(1, 2))
        pooled: Tensor = rearrange(summed, "b e (w n) -> b n e w", w=self.config.width)
        return pooled

    def _times(
        self, pooled: Tensor, counts: Tensor, runs: Tensor, held: Routed | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Let the experts of time and the state-space layers work on (E, B, N, D); return the router's decision too.

        What pooling gives is nearly the same in all patches, since most of it tells which regions there are. Its mean
        over the run is taken off first: what moves is what the layers are to see, and what stands `_standing` tells.
        """
        valid = whole_patches(counts, pooled.shape[2])
        moving = (pooled - self._over_run(pooled, counts, runs)[:, runs, None]) * valid[:, :, None]
        pooled = functional.layer_norm(moving, moving.shape[-1:])
        routing = self.time_router(pooled.sum(dim=0), valid)
        weights = routing.weights if held is None else held.of_time
        made = self.time_experts.outer(self.time_experts.inner(pooled))
        pooled = pooled + (made * weights[..., None].to(made.dtype)).sum(dim=3)
        lengths = counts.expand(len(pooled), -1)
        return stacks_together(cast(list[SelectiveLayers], list(self.layers)), pooled, lengths), weights, routing.loss

    def _means(self, sequences: Tensor, counts: Tensor, runs: Tensor) -> Tensor:
        """Average (E, B, N, D) over the valid patches of all pieces of each run, and normalise: (n, E, D)."""
        means = self._over_run(sequences.float(), counts, runs).transpose(0, 1)
        return functional.layer_norm(means, (self.config.width,))

    @staticmethod
    def _over_run(sequences: Tensor, counts: Tensor, runs: Tensor) -> Tensor:
        """Average (E, B, N, D) over the valid patches of all pieces of each run: (E, n, D)."""
        valid = whole_patches(counts, sequences.shape[2])
        sums = (sequences * valid[:, :, None]).sum(dim=2)
        total = sums.new_zeros(len(sums), int(runs.max()) + 1, sums.shape[2]).index_add(1, runs, sums)
        patches = sums.new_zeros(total.shape[1]).index_add(0, runs, counts.to(sums.dtype)).clamp_min(1)
        return total / patches[:, None]
