"""What the training loop, the attribution and the checkpoints ask of a network: its decision is a sum over pathways."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bids_neurossm.errors import CheckpointError


class InputConfig:
    """How runs have to be sampled for a model; a configuration overrides what is different for it.

    Attributes
    ----------
    n_regions : int
        R.
    """

    n_regions: int

    @property
    def scales(self) -> tuple[float, ...]:
        """Lengths of the bins that time points are averaged over; a run must have eight of the largest."""
        return (1,)

    @property
    def in_seconds(self) -> bool:
        """Whether lengths are in seconds, so that the model has to be told repetition times."""
        return False

    @property
    def patch_length(self) -> float | None:
        """Length of the patches that a run is cut into, one of which must fit into a piece; None without patches."""
        return None

    @property
    def amplitude(self) -> bool:
        """Whether the model has to be told log(sd / mean) of the regions."""
        return False


class PathwayConfig(InputConfig):
    """The shape of a `PathwayModel`.

    Attributes
    ----------
    n_outputs : int
        C classes, or 1 for a continuous target.
    """

    n_outputs: int

    @property
    def pathway_names(self) -> tuple[str, ...]:
        """Name of each pathway, in the order of every array over pathways."""
        raise NotImplementedError

    @property
    def term_names(self) -> tuple[str, ...]:
        """Name of each term of the logits: the pathways, and what is no pathway."""
        return self.pathway_names


class PathwayModel(nn.Module):
    """A network whose logits are ``bias + sum_p W_p z_p``: the importance of a pathway p is told exactly.

    A network needs `features` and these members; the rest may be as it is here.

    Attributes
    ----------
    config : PathwayConfig
        Its shape.
    head : Parameter (P, C, W)
        W_p of every pathway.
    bias : Parameter (C,)
        Of the logits.
    pathway_mean : Tensor (P, W)
        A buffer: mean of the features over the training runs, each class weighing the same; filled in by the training.
    """

    config: PathwayConfig
    head: nn.Parameter
    bias: nn.Parameter
    pathway_mean: Tensor

    def features(
        self, series: Tensor, lengths: Tensor, runs: Tensor | None = None, repetition_times: Tensor | None = None
    ) -> Tensor:
        """Return the features z_p (n, P, W) of each run. See `forward`."""
        raise NotImplementedError

    def terms(self, features: Tensor) -> Tensor:
        """Return the pathways' terms (n, P, C) of the logits from their features (n, P, W)."""
        return torch.einsum("npw,pcw->npc", self.checked(features, len(features)), self.head)

    def checked(self, features: Tensor, n_runs: int) -> Tensor:
        """Return the features, once it is known that they are (n, P, W): another shape may be laid over the head.

        Raises
        ------
        CheckpointError
            If they are not.
        """
        wanted = (n_runs, *self.pathway_mean.shape)
        if features.shape != wanted:
            raise CheckpointError(
                f"{type(self).__module__}.{type(self).__name__}.features returns the shape {tuple(features.shape)}; "
                f"{wanted}, runs x pathways x width as in its pathway_mean, is expected."
            )
        return features

    def forward(
        self,
        series: Tensor,
        lengths: Tensor,
        runs: Tensor | None = None,
        repetition_times: Tensor | None = None,
        amplitude: Tensor | None = None,
    ) -> Tensor:
        """Return the logits (n, C) of each run.

        Parameters
        ----------
        series : Tensor (B, T, R)
            Standardised contiguous pieces, padded with anything finite at the end.
        lengths : Tensor (B,), int64
            Valid time points of each piece.
        runs : Tensor (B,), int64, optional
            Which run each piece is of, 0 to n - 1; by default each piece is a run.
        repetition_times : Tensor (B,), optional
            In s; needed where lengths are in seconds.
        amplitude : Tensor (n, R), optional
            log(sd / mean) of each region; for models whose configuration asks for it.

        Raises
        ------
        UsageError
            If lengths are in seconds, and a repetition time is missing or too long.
        """
        return self.bias + self.terms(self.features(series, lengths, runs, repetition_times)).sum(dim=1)

    def fit_inputs(
        self, batches: Iterable[tuple[Tensor, Tensor, Tensor | None]], amplitude: Tensor | None = None
    ) -> None:
        """Take what inputs are scaled by from the runs that are learnt from, into buffers: nothing.

        Parameters
        ----------
        batches : iterable of (series, lengths, repetition_times)
            All windows of the runs, as `forward` takes them.
        amplitude : Tensor (n, R), optional
            Of the runs; see `forward`.
        """

    def auxiliary_loss(self) -> Tensor:
        """Return what the last forward pass adds to the loss of the targets: nothing."""
        return self.bias.new_zeros(())

    def scale_outputs(self, factor: float) -> None:
        """Multiply the logits in place: every term of the decision changes alike."""
        with torch.no_grad():
            self.head.mul_(factor)
            self.bias.mul_(factor)
