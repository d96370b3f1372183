"""A network whose pathways are linear in the mean of each region: every attribution is known by hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bids_neurossm.models.pathway_model import PathwayConfig, PathwayModel

#: Two pathways, the second of which reads region 2 alone, two classes.
GAIN = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
HEAD = torch.tensor([[[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]])
MEAN = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class LinearConfig(PathwayConfig):
    """Three regions, two classes."""

    n_regions: int = 3
    n_outputs: int = 2

    @property
    def pathway_names(self) -> tuple[str, ...]:
        """Two pathways."""
        return ("first", "second")


class LinearPathways(PathwayModel):
    """Features are the mean of a run over its time points times the gain of the pathway."""

    def __init__(self, config: LinearConfig | None = None) -> None:
        super().__init__()
        self.config = config or LinearConfig()
        self.head = nn.Parameter(HEAD.clone())
        self.bias = nn.Parameter(torch.tensor([0.5, 0.0]))
        self.register_buffer("pathway_mean", MEAN.clone())

    def features(
        self, series: Tensor, lengths: Tensor, runs: Tensor | None = None, repetition_times: Tensor | None = None
    ) -> Tensor:
        """Return the features (n, 2, 3)."""
        runs = torch.arange(len(series)) if runs is None else runs
        valid = torch.arange(series.shape[1]) < lengths[:, None]
        n = int(runs.max()) + 1
        sums = series.new_zeros(n, series.shape[2]).index_add(0, runs, (series * valid[:, :, None]).sum(dim=1))
        counts = series.new_zeros(n).index_add(0, runs, lengths.to(series.dtype))
        return (sums / counts[:, None])[:, None] * GAIN
