"""NeuroSSM, alone or with its static term, as an estimator of the evaluation."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bids_neurossm.attribution.cpa import PathwayAttribution, cpa
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.models.neurossm import NeuroSSM, NeuroSSMConfig
from bids_neurossm.toml import section_from
from bids_neurossm.training.checkpoint import Facts, model_config
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.estimator import FIRST_FAMILY
from bids_neurossm.training.fit import fit
from bids_neurossm.training.follow import Follow
from bids_neurossm.training.launch import Job, stored, trained_together
from bids_neurossm.training.neural import Fitting, NeuralEstimator, Train
from bids_neurossm.training.runset import TrainingSet
from bids_neurossm.training.windows import Batch


class NeuroSSMEstimator(NeuralEstimator):
    """A NeuroSSM; ``spec.settings`` are arguments of `NeuroSSMConfig`."""

    family = FIRST_FAMILY

    def _config(self, cohort: Cohort) -> NeuroSSMConfig:
        return neurossm_config(self.spec.settings, cohort)

    def _trainer(self, job: Fitting, seed: int) -> Train:
        return partial(self._trained, job)

    def _trained(
        self, job: Fitting, data: TrainingSet, seed: int, follow: Follow, part: str
    ) -> tuple[NeuroSSM, dict[str, float]]:
        """Make a NeuroSSM and fit it to some runs."""
        assert isinstance(job.config, NeuroSSMConfig)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = NeuroSSM(job.config).to(job.device)
        keep = self._keep(job, "whole", {**self._settings(job), "seed": seed}, part)
        history = fit(
            model, data, self.training, job.window, seed, self.execution.precision, follow, keep, self.ranks
        )  # fmt: skip
        return model, history.metrics()

    def _fit_together(self, cohort: Cohort, indices: NDArray[np.int64], seed: int, device: torch.device) -> None:
        """Learn on several devices; processes of their own do it."""
        execution, spec = self.execution, replace(self.spec, settings=dict(self.spec.settings))
        with tempfile.TemporaryDirectory(prefix="bids-neurossm-cohort-") as scratch:
            folder, rows = stored(cohort, indices, Path(scratch))
            keep = str(self._state_file.absolute()) if self._state_file.name else ""
            job = Job(
                str(folder), cohort.hash, tuple(cohort.classes), self.name, seed, keep, device.type,
                execution.precision, execution.devices, spec, self.training,
            )  # fmt: skip
            with trained_together(job, rows, self._follow) as path:
                trained = self.load(path, execution)
        self.model, self.facts, self.static = trained.model, trained.facts, trained.static

    def _explained(
        self, batch: Batch, target: NDArray[np.int64], localisation: Literal["gradient", "integrated"]
    ) -> PathwayAttribution:
        assert isinstance(self.model, NeuroSSM)
        return cpa(
            self.model, batch.series, target, batch.lengths, batch.owners, localisation,
            repetition_times=batch.repetition_times, amplitude=batch.amplitude,
        )  # fmt: skip

    @classmethod
    def _empty_model(cls, facts: Facts, path: Path) -> NeuroSSM:
        return NeuroSSM(model_config(facts, path))


def neurossm_config(settings: Mapping[str, Any], cohort: Cohort) -> NeuroSSMConfig:
    """Return the shape that the settings of a recipe give a NeuroSSM for a cohort.

    Raises
    ------
    UsageError
        If a setting is unknown or impossible.
    """
    shape = {**settings, "n_regions": len(cohort.regions), "n_outputs": max(len(cohort.classes), 1)}
    return section_from(NeuroSSMConfig, shape, "[model]")


def create(name: str, spec: ModelSpec, training: Training, execution: Execution) -> NeuroSSMEstimator:
    """Make an unfitted NeuroSSM; the factory of the registry."""
    return NeuroSSMEstimator(name, spec, training, execution)
