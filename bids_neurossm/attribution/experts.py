"""What each expert of regions moved a decision by, and where (docs/methods.md, sections 3 and 5).

An expert of regions is to the second family what a pathway is to NeuroSSM: the decision is a sum over the experts, so
that what each moved it by is told exactly. Where it lay is told by input x gradient over what the model has of each
region: its series, and the profile of the run's graph. The graph and the weights of the experts are held fixed: these
are decisions of their own, and are written beside the maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.attribution.cpa import Localisation, PathwayAttribution
from bids_neurossm.attribution.inputs import attribute_inputs
from bids_neurossm.models.lmae_rwmoe import LmaeRwmoe
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
    series, target, lengths, runs, steps, repetition_times
        See `bids_neurossm.attribution.inputs.series_attribution`.
    localisation : {"gradient", "integrated"}
        Input x gradient, over the region's series and profile, divided by the time points; or the path integral from 0
        of both, which adds up to what the expert's term differs from that of a series of 0 whose graph is the usual
        one, but for `gap`.

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
        series = torch.where(valid_points(series, lengths), series, 0)
        with torch.no_grad():
            routed = model.routed(series, lengths, runs, repetition_times)[1]

        def features(values: Tensor, profiles: Tensor) -> Tensor:
            return model.routed(values, lengths, runs, repetition_times, routed._replace(profiles=profiles))[0]

        def over_run(inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
            own = (inputs[1] * gradients[1]).double().sum(dim=2)
            return own.index_add(0, runs, (inputs[0] * gradients[0]).double().sum(dim=1))

        inputs, chosen = (series, routed.profiles), np.asarray(target, dtype=np.int64)
        return attribute_inputs(model, inputs, features, over_run, chosen, lengths, runs, localisation, steps)
    finally:
        model.train(was_training)
