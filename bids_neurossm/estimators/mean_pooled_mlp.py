"""Mean-pooled MLP on raw series: what a network reaches that looks at each volume alone.

A small network for single volumes, averaged over time, and a linear layer: no order of time enters. Popov et al., 2024
("A simple but tough-to-beat baseline for fMRI time-series classification", NeuroImage) found it hard to beat. It is
trained as the recipe says (docs/methods.md, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import UsageError
from bids_neurossm.estimators.neural import NeuralEstimator
from bids_neurossm.files.toml_files import section_from
from bids_neurossm.models.pathway_model import PathwayConfig, PathwayModel


@dataclass(frozen=True)
class MeanPooledConfig(PathwayConfig):
    """The shape of a `MeanPooledMLP`.

    Parameters
    ----------
    n_regions, width, n_outputs : int
        R, W, and C (1 for a continuous target).
    dropout : float
        Behind each layer.
    """

    n_regions: int
    n_outputs: int
    width: int = 48
    dropout: float = 0.5

    def __post_init__(self) -> None:
        for name in ("n_regions", "n_outputs", "width"):
            if getattr(self, name) < 1:
                raise UsageError(f"model.{name} must be at least 1.")
        if not 0 <= self.dropout < 1:
            raise UsageError("model.dropout must lie in [0, 1).")

    @property
    def pathway_names(self) -> tuple[str, ...]:
        """One pathway: the volumes, each on its own."""
        return ("volumes",)


class MeanPooledMLP(PathwayModel):
    """Two layers per volume, mean over the volumes of a run, one linear layer.

    Parameters
    ----------
    config : MeanPooledConfig
        Its shape.
    """

    def __init__(self, config: MeanPooledConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for size in (config.n_regions, config.width):
            layers += [nn.Linear(size, config.width), nn.LayerNorm(config.width), nn.GELU(), nn.Dropout(config.dropout)]
        self.volume = nn.Sequential(*layers)
        self.head = nn.Parameter(torch.randn(1, config.n_outputs, config.width) * config.width**-0.5)
        self.bias = nn.Parameter(torch.zeros(config.n_outputs))
        self.register_buffer("pathway_mean", torch.zeros(1, config.width))

    def features(
        self, series: Tensor, lengths: Tensor, runs: Tensor | None = None, repetition_times: Tensor | None = None
    ) -> Tensor:
        """Return the mean (n, 1, W) over the volumes of each run; padding does not enter."""
        runs = torch.arange(len(series), device=series.device) if runs is None else runs
        hidden = self.volume(series)
        valid = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        sums = (hidden * valid[:, :, None]).sum(dim=1).float()
        n_runs = int(runs.max()) + 1
        total = sums.new_zeros(n_runs, sums.shape[1]).index_add(0, runs, sums)
        volumes = sums.new_zeros(n_runs).index_add(0, runs, lengths.to(sums.dtype))
        means: Tensor = total / volumes[:, None]
        return means[:, None]


class MLPEstimator(NeuralEstimator):
    """The mean-pooled MLP; of the recipe's settings it takes ``width`` and ``dropout``."""

    def _config(self, cohort: Cohort) -> MeanPooledConfig:
        own = {name: self.spec.settings[name] for name in ("width", "dropout") if name in self.spec.settings}
        return MeanPooledConfig(len(cohort.regions), max(len(cohort.classes), 1), **own)

    def _config_of(self, settings: Mapping[str, Any]) -> MeanPooledConfig:
        return section_from(MeanPooledConfig, settings, "model")

    def _model(self, config: MeanPooledConfig) -> MeanPooledMLP:
        return MeanPooledMLP(config)


def create(name: str, spec: ModelSpec, training: Training, execution: Execution) -> MLPEstimator:
    """Make the baseline with the settings of a recipe."""
    return MLPEstimator(name, spec, training, execution)
