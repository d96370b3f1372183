"""What each expert of regions moved a decision by, and where (docs/methods.md, sections 3 and 5).

An expert of regions is to the second family what a pathway is to NeuroSSM: the decision is a sum over the experts, so
that what each moved it by is told exactly. Where in the series it lay is told by input x gradient, with the graph of
the run and the weights of the experts held fixed: these are decisions of their own, and are written beside the maps.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bids_neurossm.attribution.cpa import Localisation, PathwayAttribution, check_target, contrasts, shares
from bids_neurossm.models.lmae_rwmoe import Frozen, LmaeRwmoe


def expert_attribution(
    model: LmaeRwmoe,
    series: Tensor,
    target: NDArray[np.int64],
    lengths: Tensor,
    runs: Tensor | None = None,
    localisation: Localisation = "gradient",
    steps: int = 32,
    repetition_times: Tensor | None = None,
) -> PathwayAttribution:
    """Attribute the decision about each run to experts and regions.

    Parameters
    ----------
    model : LmaeRwmoe
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
        Input x gradient, averaged over time; or its path integral from 0, summed over time, which adds up to what the
        expert's term differs from that of a series of 0, but for `gap`.
    steps : int
        Points on the path of ``integrated``.
    repetition_times : Tensor (B,), optional
        In s, where samples are in seconds.

    Returns
    -------
    PathwayAttribution
        With the experts of regions in place of pathways: ``logit = reference + sum_e importance_e`` exactly.

    Raises
    ------
    UsageError
        If the target does not fit the model or the runs.
    """
    was_training = model.training
    model.eval()
    try:
        runs = torch.arange(len(series), device=series.device) if runs is None else runs
        return _attribute(model, series, np.asarray(target, dtype=np.int64), lengths, runs, localisation, steps,
                          repetition_times)  # fmt: skip
    finally:
        model.train(was_training)


def _attribute(
    model: LmaeRwmoe,
    series: Tensor,
    target: NDArray[np.int64],
    lengths: Tensor,
    runs: Tensor,
    localisation: Localisation,
    steps: int,
    times: Tensor | None,
) -> PathwayAttribution:
    n_runs = int(runs.max()) + 1
    check_target(target, n_runs, model.config.n_outputs)
    valid = (torch.arange(series.shape[1], device=series.device) < lengths[:, None])[:, :, None]
    series = torch.where(valid, series, 0)
    with torch.no_grad():
        features, frozen = model.routed(series, lengths, runs, times)
        contrast = contrasts(model.config.n_outputs, target).to(runs.device)
        rows = torch.einsum("nc,ecw->new", contrast, model.head.double())
        zero_terms = (rows * features.double()).sum(dim=-1)
        mean_terms = (rows * model.pathway_mean.double()).sum(dim=-1)
        bias = contrast @ model.bias.double()
        still, _ = model.routed(torch.zeros_like(series), lengths, runs, times, frozen)
    if localisation == "gradient":
        gradient = _gradients(model, series, lengths, runs, times, frozen, rows)
    else:
        points = [(step + 0.5) / steps for step in range(steps)]
        gradient = sum(
            (_gradients(model, series * point, lengths, runs, times, frozen, rows) for point in points),
            start=torch.zeros(()),
        ) / len(points)
    # (E, B, R), then (n, E, R): input x gradient over the valid time points of all pieces of a run.
    membership = functional.one_hot(runs, n_runs).double().T
    sums = torch.einsum("nb,ebr->ner", membership, (series * gradient).double().sum(dim=2))
    counts = (membership @ lengths.double()).clamp_min(1)[:, None, None]
    score = sums / counts if localisation == "gradient" else sums
    gap = torch.full_like(zero_terms, torch.nan)
    if localisation == "integrated":
        gap = zero_terms - (rows * still.double()).sum(dim=-1) - score.sum(dim=-1)
    tensors = (
        bias + zero_terms.sum(dim=1), bias + mean_terms.sum(dim=1), zero_terms - mean_terms, zero_terms, score, gap,
    )  # fmt: skip
    logit, reference, importance, importance_zero, scores, gaps = (tensor.cpu().numpy() for tensor in tensors)
    return PathwayAttribution(
        model.config.pathway_names, target, logit, reference, importance, importance_zero, scores, shares(scores),
        gaps, localisation,
    )  # fmt: skip


def _gradients(
    model: LmaeRwmoe,
    series: Tensor,
    lengths: Tensor,
    runs: Tensor,
    times: Tensor | None,
    frozen: Frozen,
    rows: Tensor,
) -> Tensor:
    """Gradient (E, B, T, R) of each expert's centred term with respect to the series."""
    leaf = series.detach().requires_grad_()
    with torch.enable_grad():
        features, _ = model.routed(leaf, lengths, runs, times, frozen)
        terms = (rows.to(features.dtype) * features).sum(dim=(0, 2))
        found = [torch.autograd.grad(term, leaf, retain_graph=True)[0] for term in terms]
    return torch.stack(found)
