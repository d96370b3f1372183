"""What each pathway of a network moved a decision by, and where in its inputs (docs/methods.md, sections 3 and 5).

For networks whose pathways read the same input: the importance of a pathway is told exactly, since the decision is a
sum over pathways; where it lay is told by input x gradient, one backward pass for each pathway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bids_neurossm.attribution.cpa import Localisation, PathwayAttribution, check_target, contrasts, shares
from bids_neurossm.models.pathway_model import PathwayModel
from bids_neurossm.models.scales import valid_points


def series_attribution(
    model: PathwayModel,
    series: Tensor,
    target: ArrayLike,
    lengths: Tensor,
    runs: Tensor | None = None,
    localisation: Localisation = "gradient",
    steps: int = 32,
    repetition_times: Tensor | None = None,
) -> PathwayAttribution:
    """Attribute the decision about each run to the pathways of a network and the regions of its series.

    Parameters
    ----------
    model : PathwayModel
        Trained; its ``pathway_mean`` is the reference.
    series : Tensor (B, T, R)
        Standardised contiguous pieces, padded with anything finite at the end.
    target : array (n,), int
        Class to explain, of each run; for a continuous target the direction, see `bids_neurossm.attribution.cpa.cpa`.
    lengths : Tensor (B,)
        Valid time points of each piece.
    runs : Tensor (B,), optional
        Which run each piece is of; by default each is a run.
    localisation : {"gradient", "integrated"}
        Input x gradient, averaged over time; or the path integral from 0, summed over time, which adds up to what a
        pathway's term differs from that of a series of 0, but for `gap`.
    steps : int
        Points on the path of ``integrated``.
    repetition_times : Tensor (B,), optional
        In s, where lengths are in seconds.

    Returns
    -------
    PathwayAttribution
        ``logit = reference + sum_p importance_p`` exactly.

    Raises
    ------
    UsageError
        If the target does not fit the model or the runs.
    """
    was_training = model.training
    model.eval()
    try:
        runs = torch.arange(len(series), device=series.device) if runs is None else runs
        cut = torch.where(valid_points(series, lengths), series, 0)

        def features(values: Tensor) -> Tensor:
            return model.features(values, lengths, runs, repetition_times)

        def over_run(inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
            of_pieces = (inputs[0] * gradients[0]).double().sum(dim=1)
            return of_pieces.new_zeros(int(runs.max()) + 1, of_pieces.shape[1]).index_add(0, runs, of_pieces)

        chosen = np.asarray(target, dtype=np.int64)
        return attribute_inputs(model, (cut,), features, over_run, chosen, lengths, runs, localisation, steps)
    finally:
        model.train(was_training)


def attribute_inputs(
    model: PathwayModel,
    inputs: Sequence[Tensor],
    features_of: Callable[..., Tensor],
    over_run: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor],
    target: NDArray[np.int64],
    lengths: Tensor,
    runs: Tensor,
    localisation: Localisation,
    steps: int,
) -> PathwayAttribution:
    """Attribute decisions to pathways, and these to regions through several inputs at once.

    Parameters
    ----------
    model : PathwayModel
        In evaluation mode.
    inputs : sequence of Tensor
        What is differentiated by.
    features_of : callable
        Takes the inputs, and returns the features (n, P, W).
    over_run : callable
        Takes the inputs and the gradients, and returns the sum of their product over all that a region of a run has,
        (n, R).
    target, lengths, runs, localisation, steps
        See `series_attribution`.
    """
    n_runs = int(runs.max()) + 1
    check_target(target, n_runs, model.config.n_outputs)
    with torch.no_grad():
        features, still = features_of(*inputs), features_of(*map(torch.zeros_like, inputs))
        contrast = contrasts(model.config.n_outputs, target).to(runs.device)
        rows = torch.einsum("nc,pcw->npw", contrast, model.head.double())
        zero_terms = (rows * features.double()).sum(dim=-1)
        mean_terms = (rows * model.pathway_mean.double()).sum(dim=-1)
        bias = contrast @ model.bias.double()

    def scores(point: float) -> Tensor:
        """Input x gradient (n, P, R) of each pathway's centred term, with the gradient at `point` of the way from 0."""
        leaves = [(each.detach() * point).requires_grad_() for each in inputs]
        with torch.enable_grad():
            attached = features_of(*leaves)
            terms = (rows.to(attached.dtype) * attached).sum(dim=(0, 2))
            found = [over_run(inputs, torch.autograd.grad(term, leaves, retain_graph=True)) for term in terms]
        return torch.stack(found, dim=1)

    gap = torch.full_like(zero_terms, torch.nan)
    if localisation == "gradient":
        counts = torch.zeros(n_runs, device=runs.device).index_add(0, runs, lengths.float()).double().clamp_min(1)
        score = scores(1.0) / counts[:, None, None]
    else:
        score = torch.stack([scores((step + 0.5) / steps) for step in range(steps)]).mean(dim=0)
        gap = zero_terms - (rows * still.double()).sum(dim=-1) - score.sum(dim=-1)
    tensors = (
        bias + zero_terms.sum(dim=1), bias + mean_terms.sum(dim=1), zero_terms - mean_terms, zero_terms, score, gap,
    )  # fmt: skip
    logit, reference, importance, importance_zero, found, gaps = (tensor.cpu().numpy() for tensor in tensors)
    return PathwayAttribution(
        model.config.pathway_names, target, logit, reference, importance, importance_zero, found, shares(found), gaps,
        localisation,
    )  # fmt: skip
