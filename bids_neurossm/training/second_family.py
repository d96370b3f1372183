"""LMAE, RWMOE and predictor as an estimator of the evaluation: pretrained, fine-tuned in two stages, kept on disk.

Docs/methods.md, section 5. The training loop, the windows and the checkpoints are those of NeuroSSM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.attribution.cpa import PathwayAttribution
from bids_neurossm.attribution.experts import expert_attribution
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.dataset.hashing import hash_content
from bids_neurossm.dataset.write import write_tsv
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.models.lmae_rwmoe import LmaeRwmoe, LmaeRwmoeConfig
from bids_neurossm.models.rwmoe import connectivity_graph, regions_with_signal
from bids_neurossm.toml import section_from
from bids_neurossm.training.checkpoint import load_checkpoint, load_state
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.cohort_runs import cohort_run_set
from bids_neurossm.training.encoders import load_encoder, reconstruction_file
from bids_neurossm.training.estimator import SECOND_FAMILY
from bids_neurossm.training.facts import facts_of, training_hash
from bids_neurossm.training.fit import fit
from bids_neurossm.training.inference import BATCH_SIZE, evaluation_batches
from bids_neurossm.training.neural import NeuralEstimator, targets_of, torch_device
from bids_neurossm.training.pretraining import pretrain
from bids_neurossm.training.runset import RunSet, TrainingSet
from bids_neurossm.training.second_family_settings import Settings
from bids_neurossm.training.state import Keep
from bids_neurossm.training.windows import Batch


class SecondFamilyEstimator(NeuralEstimator):
    """An LMAE-RWMOE model, its training, and its checkpoint.

    Parameters
    ----------
    name : str
        Registered name.
    spec : ModelSpec
        ``settings`` as `Settings.of` takes them.
    training : Training
        How it is fine-tuned.
    execution : Execution
        Device and precision; one device only.

    Attributes
    ----------
    reconstruction : DataFrame or None
        What an encoder that was pretrained here reconstructs of participants set aside.
    """

    reconstruction: pd.DataFrame | None = None
    _pretraining_state: Keep | None = None

    def fit(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs `indices`: pretrain where that is asked for, then fine-tune.

        Raises
        ------
        LabelError
            If the training runs lack a class, have one only, or all the same value; if one participant alone would have
            to be pretrained on.
        RunError
            If a run is too short for the patches or holds no signal, or a loss is no longer a number.
        UsageError
            If the settings are impossible, or samples are in seconds and a repetition time is not known.
        CheckpointError
            If a pretrained encoder does not fit.
        """
        indices = np.asarray(indices, dtype=np.int64)
        settings = Settings.of(self.spec.settings)
        if self.execution.devices > 1:
            raise UsageError(f"--devices {self.execution.devices}: {SECOND_FAMILY} is trained on one device; leave it.")
        device = torch_device(self.execution.device)
        targets, mean, scale = targets_of(cohort, indices)
        config = settings.config(len(cohort.regions), max(len(cohort.classes), 1))
        inputs = cohort_run_set(cohort, indices, config)
        groups, sites = (cohort.runs[name].to_numpy()[indices].tolist() for name in ("group", "site"))
        window = inputs.chosen_window(self.training.window)
        state, source = self._encoder(settings, cohort, indices, inputs, groups, window, seed, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = LmaeRwmoe(config).to(device)
        if state:
            model.encoder.load_state_dict(state)
        measure_graphs(model, inputs, window)
        data = TrainingSet(inputs, targets, groups, sites)
        metrics = self._fine_tune(model, data, window, settings, seed, source, cohort, indices)
        self.model = model
        precision = self.execution.precision
        facts = facts_of(cohort, indices, config, window, mean, scale, seed, precision, {}, metrics)
        self.facts = replace(facts, family=SECOND_FAMILY, encoder=source)

    def _encoder(
        self,
        settings: Settings,
        cohort: Cohort,
        indices: NDArray[np.int64],
        inputs: RunSet,
        groups: list[str],
        window: int,
        seed: int,
        device: torch.device,
    ) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
        """Return the tensors of a pretrained encoder, and where it comes from; nothing where none is wanted."""
        config = settings.encoder_config(len(cohort.regions))
        if settings.encoder:
            return load_encoder(Path(settings.encoder), config, cohort, indices)
        if not settings.pretrain:
            return {}, {}
        keep = self._kept("pretraining", cohort, indices, [config, settings.pretraining, window, seed])
        pretrained = pretrain(
            config, inputs, groups, settings.pretraining, window, seed, device, self._follow, keep
        )  # fmt: skip
        self._pretraining_state = keep
        self.reconstruction = pretrained.table
        source = {"path": "", "training_hash": training_hash(cohort, indices), "runs": pretrained.n_runs}
        return pretrained.model.encoder.state_dict(), source

    def _kept(self, what: str, cohort: Cohort, indices: NDArray[np.int64], made_from: list[Any]) -> Keep | None:
        """Return where the state of a stage is kept; pretraining has a file of its own."""
        if not self._state_file.name:
            return None
        parts = [training_hash(cohort, indices), indices.tolist(), what, *[str(each) for each in made_from]]
        path = self._state_file
        if what == "pretraining":
            path = path.with_name(f"{path.name}.{what}")
        return Keep(path, hash_content({"made from": parts, "precision": self.execution.precision}))

    def _fine_tune(
        self,
        model: LmaeRwmoe,
        data: TrainingSet,
        window: int,
        settings: Settings,
        seed: int,
        source: Mapping[str, Any],
        cohort: Cohort,
        indices: NDArray[np.int64],
    ) -> dict[str, float]:
        """Train what is behind the encoder, then everything; return what is worth keeping."""
        training, stages = self.training, settings.stages
        frozen = min(stages.frozen_epochs, training.epochs) if source else 0
        later = replace(training, epochs=max(training.epochs - frozen, 1))
        if frozen:
            later = replace(later, learning_rate=training.learning_rate * stages.rate)
        made_from = [model.config, training, stages, window, seed, dict(source)]
        keeps = [self._kept(stage, cohort, indices, made_from) for stage in ("frozen", "whole")]
        metrics: dict[str, float] = {}
        arguments = (window, seed, self.execution.precision, self._follow)
        if frozen and (keeps[1] is None or keeps[1].read() is None):
            model.freeze_encoder(True)
            # The epochs are few, and the second stage decides: nobody is set aside for this one.
            first = replace(training, epochs=frozen, early_stopping=None)
            metrics["frozen_loss"] = fit(model, data, first, *arguments, keeps[0]).loss[-1]
            model.freeze_encoder(False)
        if frozen < training.epochs:
            metrics |= fit(model, data, later, *arguments, keeps[1]).metrics()
        if self._pretraining_state is not None:
            self._pretraining_state.remove()
        return metrics

    def routing(self, cohort: Cohort, indices: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return which experts each run's regions and patches were given.

        Returns
        -------
        of_regions : array (n, R, E)
            Weights of the experts of regions, averaged over the windows that cover a run.
        of_time : array (n, N, E)
            Weights of the experts of time in the patches of a run's windows, one window after the other; NaN behind
            the last.
        """
        model, facts = self._fitted()
        assert isinstance(model, LmaeRwmoe)
        inputs = self._checked(cohort, indices)
        device = next(model.parameters()).device
        of_regions = [[] for _ in range(len(inputs))]  # type: list[list[NDArray[np.float64]]]
        of_time = [[] for _ in range(len(inputs))]  # type: list[list[NDArray[np.float64]]]
        with torch.no_grad():
            for batch, of_window in evaluation_batches(inputs, facts.window, BATCH_SIZE):
                here = batch.to(device)
                _, counts = model.encoder.patches(here.series, here.lengths, here.repetition_times)
                routed = model.routed(here.series, here.lengths, here.owners, here.repetition_times)[1]
                for place, run in enumerate(of_window.tolist()):
                    of_regions[run].append(routed.of_regions[place].double().cpu().numpy())
                    pieces = (here.owners == place).nonzero()[:, 0].tolist()
                    of_time[run] += [routed.of_time[p, : counts[p]].double().cpu().numpy() for p in pieces]
        times = [np.concatenate(each) for each in of_time]
        padded = np.full((len(times), max(len(each) for each in times), model.config.experts), np.nan)
        for row, each in zip(padded, times, strict=True):
            row[: len(each)] = each
        return np.stack([np.mean(each, axis=0) for each in of_regions]), padded

    def _explained(
        self, batch: Batch, target: NDArray[np.int64], localisation: Literal["gradient", "integrated"]
    ) -> PathwayAttribution:
        assert isinstance(self.model, LmaeRwmoe)
        return expert_attribution(
            self.model, batch.series, target, batch.lengths, batch.owners, localisation,
            repetition_times=batch.repetition_times,
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the checkpoint, and beside it what an encoder that was pretrained here reconstructs."""
        super().save(path)
        if self.reconstruction is not None:
            write_tsv(reconstruction_file(path), self.reconstruction)

    @classmethod
    def load(cls, path: Path, execution: Execution | None = None) -> SecondFamilyEstimator:
        """Read a checkpoint that `save` wrote; `predict` checks that it fits the data.

        Raises
        ------
        CheckpointError
            If it is damaged or foreign.
        """
        state, facts = load_checkpoint(path)
        if facts.family != SECOND_FAMILY:
            raise CheckpointError(f"{path} holds a model of the family {facts.family}; {SECOND_FAMILY} is expected.")
        execution = execution or Execution()
        spec = ModelSpec(SECOND_FAMILY, str(path), dict(facts.model))
        estimator = cls(SECOND_FAMILY, spec, Training(window=facts.window), execution)
        try:
            model = LmaeRwmoe(section_from(LmaeRwmoeConfig, facts.model, "model"))
        except (UsageError, TypeError) as error:
            raise CheckpointError(f"{path} holds a model that this version does not know: {error}") from error
        load_state(model, state, path)
        estimator.model, estimator.facts = model.to(torch_device(execution.device)).eval(), facts
        return estimator


def measure_graphs(model: LmaeRwmoe, inputs: RunSet, window: int | None) -> None:
    """Tell a model what graph is usual among training runs, and how far their profiles lie from it.

    Raises
    ------
    RunError
        If a run is not finite or holds no signal.
    """
    device = next(model.parameters()).device

    def graphs() -> Iterator[tuple[Tensor, Tensor]]:
        for batch, _ in evaluation_batches(inputs, window, BATCH_SIZE):
            here = batch.to(device)
            run = (here.series, here.lengths, here.owners)
            yield connectivity_graph(*run, model.config.edges), regions_with_signal(*run)

    model.graph_profiles.measure(graphs)


def create(name: str, spec: ModelSpec, training: Training, execution: Execution) -> SecondFamilyEstimator:
    """Make an unfitted estimator; the factory of the registry."""
    return SecondFamilyEstimator(name, spec, training, execution)


def load_trained(path: Path, execution: Execution | None = None) -> NeuralEstimator:
    """Read a checkpoint of either family.

    Raises
    ------
    CheckpointError
        If it is damaged or foreign, or holds an encoder alone.
    """
    _, facts = load_checkpoint(path)
    family = SecondFamilyEstimator if facts.family == SECOND_FAMILY else NeuralEstimator
    return family.load(path, execution)
