"""NeuroSSM, alone or with its static term, as an estimator of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from bids_neurossm.attribution.cpa import PathwayAttribution, cpa
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.estimators.data_parallel import Job, trained_together
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.estimators.neural import NeuralEstimator
from bids_neurossm.files.toml_files import section_from
from bids_neurossm.models.neurossm import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.windows import Batch


class NeuroSSMEstimator(NeuralEstimator):
    """A NeuroSSM; ``spec.settings`` are arguments of `NeuroSSMConfig`."""

    def _config(self, cohort: Cohort) -> NeuroSSMConfig:
        return neurossm_config(self.spec.settings, cohort)

    def _config_of(self, settings: Mapping[str, Any]) -> NeuroSSMConfig:
        return section_from(NeuroSSMConfig, settings, "model")

    def _model(self, config: NeuroSSMConfig) -> NeuroSSM:
        return NeuroSSM(config)

    def _fit_together(self, cohort: Cohort, indices: NDArray[np.int64], seed: int, device: torch.device) -> None:
        """Learn on several devices; processes of their own do it."""
        execution, spec = self.execution, replace(self.spec, settings=dict(self.spec.settings))
        state_file = self._state_file if self._state_file.name else None
        on_device = replace(execution, device=device.type)
        job = Job(cohort, indices, seed, self.name, spec, self.training, on_device, state_file)
        with trained_together(job, self._follow) as path:
            trained = load_trained(path, execution)
        self.model, self.facts, self.static = trained.model, trained.facts, trained.static

    def _explained(
        self, batch: Batch, target: NDArray[np.int64], localisation: Literal["gradient", "integrated"]
    ) -> PathwayAttribution:
        return cpa(
            cast(NeuroSSM, self.model), batch.series, target, batch.lengths, batch.owners, localisation,
            repetition_times=batch.repetition_times, amplitude=batch.amplitude,
        )  # fmt: skip


def neurossm_config(settings: Mapping[str, Any], cohort: Cohort) -> NeuroSSMConfig:
    """Return the shape that the settings of a recipe give a NeuroSSM for a cohort.

    Raises
    ------
    UsageError
        If a setting is unknown or impossible.
    """
    shape = {**settings, "n_regions": len(cohort.regions), "n_outputs": max(len(cohort.classes), 1)}
    return section_from(NeuroSSMConfig, shape, "[model]")


def methods(settings: Mapping[str, Any], cohort: Cohort, training: Training) -> str:
    """Say what the model is, for the methods section."""
    config = neurossm_config(settings, cohort)
    unit = "s" if config.in_seconds else "time points"
    streams = " or ".join(
        {"raw": "the series", "difference": "differences of the series"}[each] for each in config.streams
    )
    scales = ", ".join(f"{scale:g}" for scale in config.scales)
    return (
        f"Each of {len(config.pathways)} pathways reads {streams}, averaged over bins of one length "
        f"({scales} {unit}), through selective state-space layers ({config.depth} of width {config.width}); the "
        f"decision is a sum over the pathways{', each weighed by a gate' if config.fusion == 'gated' else ''}"
        f"{', and a linear term of log(sd / mean) of every region' if config.amplitude else ''}."
    )


def create(name: str, spec: ModelSpec, training: Training, execution: Execution) -> NeuroSSMEstimator:
    """Make an unfitted NeuroSSM; the factory of the registry."""
    return NeuroSSMEstimator(name, spec, training, execution)
