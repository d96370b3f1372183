"""What each expert of regions moved a decision by, and where (docs/methods.md, sections 3 and 5).

An expert of regions is to the second family what a pathway is to NeuroSSM: the decision is a sum over the experts, so
that what each moved it by is told exactly. Where it lay is told by input x gradient over what the model has of each
region: its series, and the profile of the run's graph. The graph and the weights of the experts are held fixed: these
are decisions of their own, and are written beside the maps.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.attribution.cpa import Localisation, PathwayAttribution, check_target, contrasts, shares
from bids_neurossm.models.lmae_rwmoe import LmaeRwmoe, Routed
from bids_neurossm.models.scales import valid_points


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
        Input x gradient, over the region's series and profile, divided by the time points; or the path integral from 0
        of both, which adds up to what the expert's term differs from that of a series of 0 whose graph is the usual
        one, but for `gap`.
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
    series = torch.where(valid_points(series, lengths), series, 0)
    with torch.no_grad():
        features, routed = model.routed(series, lengths, runs, times)
        contrast = contrasts(model.config.n_outputs, target).to(runs.device)
        rows = torch.einsum("nc,ecw->new", contrast, model.head.double())
        zero_terms = (rows * features.double()).sum(dim=-1)
        mean_terms = (rows * model.pathway_mean.double()).sum(dim=-1)
        bias = contrast @ model.bias.double()
        nothing = routed._replace(profiles=torch.zeros_like(routed.profiles))
        still, _ = model.routed(torch.zeros_like(series), lengths, runs, times, nothing)
    if localisation == "gradient":
        sums = _scores(model, series, lengths, runs, times, routed, rows, 1.0)
    else:
        points = [(step + 0.5) / steps for step in range(steps)]
        several = [_scores(model, series, lengths, runs, times, routed, rows, point) for point in points]
        sums = torch.stack(several).mean(dim=0)
    counts = torch.zeros(n_runs, device=runs.device).index_add(0, runs, lengths.float()).double().clamp_min(1)
    score = sums / counts[:, None, None] if localisation == "gradient" else sums
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


def _scores(
    model: LmaeRwmoe,
    series: Tensor,
    lengths: Tensor,
    runs: Tensor,
    times: Tensor | None,
    routed: Routed,
    rows: Tensor,
    point: float,
) -> Tensor:
    """Return input x gradient (n, E, R) of each expert's centred term, with the gradient at `point` of the way from 0.

    Summed over the time points of all pieces of a run, and over the numbers of a region's profile.
    """
    leaf = (series.detach() * point).requires_grad_()
    profiles = (routed.profiles.detach() * point).requires_grad_()
    found = []
    with torch.enable_grad():
        features, _ = model.routed(leaf, lengths, runs, times, routed._replace(profiles=profiles))
        terms = (rows.to(features.dtype) * features).sum(dim=(0, 2))
        for term in terms:
            of_series, of_profiles = torch.autograd.grad(term, (leaf, profiles), retain_graph=True)
            own = (routed.profiles * of_profiles).double().sum(dim=2)
            found.append(own.index_add(0, runs, (series * of_series).double().sum(dim=1)))
    return torch.stack(found, dim=1)
