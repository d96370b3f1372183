"""A recurrent network on the series and on their changes, as a model of bids-neurossm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.estimators.neural import NeuralEstimator
from bids_neurossm.files.toml_files import section_from
from bids_neurossm.models.pathway_model import PathwayConfig, PathwayModel
from bids_neurossm.registry import ModelEntry


@dataclass(frozen=True)
class GRUConfig(PathwayConfig):
    """The shape: what a recipe may say under [model], and what a checkpoint keeps."""

    n_regions: int
    n_outputs: int
    width: int = 16

    @property
    def pathway_names(self) -> tuple[str, ...]:
        """The decision is a sum over these."""
        return ("series", "changes")


class GRUModel(PathwayModel):
    """Logits are bias + sum over pathways of head @ features: only the features are ours."""

    def __init__(self, config: GRUConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(nn.GRU(config.n_regions, config.width, batch_first=True) for _ in range(2))
        self.head = nn.Parameter(torch.randn(2, config.n_outputs, config.width) * 0.1)
        self.bias = nn.Parameter(torch.zeros(config.n_outputs))
        self.register_buffer("pathway_mean", torch.zeros(2, config.width))

    def features(
        self, series: Tensor, lengths: Tensor, runs: Tensor | None = None, repetition_times: Tensor | None = None
    ) -> Tensor:
        """Pieces (B, T, R) of the runs, with their valid lengths (B,) and owners (B,), to features (n, P, W)."""
        runs = torch.arange(len(series), device=series.device) if runs is None else runs
        valid = (torch.arange(series.shape[1], device=series.device) < lengths[:, None]).float()
        changes = torch.cat([torch.zeros_like(series[:, :1]), series.diff(dim=1)], dim=1)
        n_runs = int(runs.max()) + 1
        points = valid.new_zeros(n_runs).index_add(0, runs, valid.sum(dim=1))
        means = []
        for layer, values in zip(self.layers, (series, changes), strict=True):
            states = layer(values)[0]
            sums = (states * valid[..., None]).sum(dim=1)
            means.append(sums.new_zeros(n_runs, sums.shape[1]).index_add(0, runs, sums) / points[:, None])
        return torch.stack(means, dim=1)


class GRUEstimator(NeuralEstimator):
    """Training, windows, early stopping, checkpoints and attribution are inherited."""

    def _config(self, cohort: Cohort) -> GRUConfig:
        shape = {**self.spec.settings, "n_regions": len(cohort.regions), "n_outputs": max(len(cohort.classes), 1)}
        return self._config_of(shape)

    def _config_of(self, settings: Mapping[str, Any]) -> GRUConfig:
        return section_from(GRUConfig, settings, "[model]")

    def _model(self, config: GRUConfig) -> GRUModel:
        return GRUModel(config)


def create(name: str, spec: ModelSpec, training: Training, execution: Execution) -> GRUEstimator:
    """Make an unfitted model."""
    return GRUEstimator(name, spec, training, execution)


def methods(settings: Mapping[str, Any], cohort: Cohort, training: Training) -> str:
    """Say what the model is, for the methods section."""
    width = settings.get("width", GRUConfig.width)
    return f"A recurrent network (GRU, {width} units) read the series, and another one their changes."


ENTRY = ModelEntry("gru_model:create", "GRU", methods="gru_model:methods")
