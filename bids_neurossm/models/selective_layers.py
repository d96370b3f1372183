"""Stacks of selective state-space layers, one per pathway, which run together but keep their own weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bids_neurossm.models.mamba import Mamba, run_together
from bids_neurossm.ops import dropout


class SelectiveLayers(nn.Module):
    """A stack of residual selective state-space layers; optionally a second one that reads backwards.

    Parameters
    ----------
    width, state, depth, convolution, expand : int
        W; states per channel; layers; taps of the causal convolution; channels per unit of width.
    dropout : float
        Share of the features that is dropped in training.
    bidirectional : bool
        A second stack reads the valid samples backwards.
    """

    def __init__(
        self,
        width: int,
        state: int,
        depth: int,
        convolution: int,
        expand: int,
        dropout: float,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.layers = nn.ModuleList(
            nn.ModuleList(Mamba(width, state, convolution, expand) for _ in range(directions)) for _ in range(depth)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W); samples at and after ``lengths`` (B,) are padding, and no valid one sees them."""
        return stacks_together([self], sequence[None], lengths[None])[0]


def stacks_together(stacks: Sequence[SelectiveLayers], sequences: Tensor, lengths: Tensor) -> Tensor:
    """Run the stacks of several pathways, each on its own sequences, through one scan per layer.

    Parameters
    ----------
    stacks : sequence of SelectiveLayers
        M of them, of one model.
    sequences : Tensor (M, B, T, W)
        Embedded inputs, padded at the end to the same length.
    lengths : Tensor (M, B), int64
        Valid samples of each; no valid sample sees what comes after them.

    Returns
    -------
    Tensor (M, B, T, W)
    """
    n_stacks = len(stacks)
    for depth in range(len(stacks[0].layers)):
        norms = [cast(nn.LayerNorm, stack.norms[depth]) for stack in stacks]
        weight, bias = (
            torch.stack(each)[:, None, None] for each in zip(*((n.weight, n.bias) for n in norms), strict=True)
        )
        normed = torch.addcmul(bias, functional.layer_norm(sequences, sequences.shape[-1:]), weight)
        ways = len(cast(nn.ModuleList, stacks[0].layers[depth]))
        layers = [cast(nn.ModuleList, stack.layers[depth])[way] for way in range(ways) for stack in stacks]
        if ways == 2:
            normed = torch.cat([normed, reverse_valid(normed, lengths)])
        update = run_together(cast(list[Mamba], layers), normed)
        if ways == 2:
            update = update[:n_stacks] + reverse_valid(update[n_stacks:], lengths)
        sequences = sequences + dropout(update, stacks[0].dropout.p, stacks[0].training)
    return sequences


def reverse_valid(sequences: Tensor, lengths: Tensor) -> Tensor:
    """Turn the valid samples of (..., T, W) round; padding stays at the end."""
    places = torch.arange(sequences.shape[-2], device=sequences.device)
    turned = torch.where(places < lengths[..., None], lengths[..., None] - 1 - places, places)
    return sequences.gather(-2, turned[..., None].expand_as(sequences))
