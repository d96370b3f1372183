"""LMAE, RWMOE and predictor as an estimator of the evaluation: pretrained, fine-tuned in two stages, kept on disk.

Docs/methods.md, section 5. The training loop, the windows and the checkpoints are those of NeuroSSM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.attribution.cpa import PathwayAttribution
from bids_neurossm.attribution.experts import expert_attribution
from bids_neurossm.cohort.checkpoint_facts import training_hash
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError
from bids_neurossm.estimators.neural import Fitting, NeuralEstimator, Train
from bids_neurossm.files.toml_files import section_from
from bids_neurossm.files.write import write_tsv
from bids_neurossm.models.lmae_rwmoe import LmaeRwmoe, LmaeRwmoeConfig
from bids_neurossm.models.rwmoe import TOP, connectivity_graph, regions_with_signal
from bids_neurossm.pretraining.encoder_checkpoint import load_encoder, reconstruction_file
from bids_neurossm.pretraining.pretrain import pretrain
from bids_neurossm.pretraining.settings import Settings
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.data import RunSet, TrainingSet
from bids_neurossm.training.fit import fit
from bids_neurossm.training.inference import BATCH_SIZE, evaluation_batches
from bids_neurossm.training.snapshot import tensors_sha256
from bids_neurossm.training.windows import Batch


class LmaeRwmoeEstimator(NeuralEstimator):
    """An LMAE-RWMOE model; ``spec.settings`` are as `Settings.of` takes them.

    Attributes
    ----------
    reconstruction : DataFrame or None
        What an encoder that was pretrained here reconstructs of participants set aside.
    """

    reconstruction: pd.DataFrame | None = None

    def _config(self, cohort: Cohort) -> LmaeRwmoeConfig:
        return Settings.of(self.spec.settings).config(len(cohort.regions), max(len(cohort.classes), 1))

    def _config_of(self, settings: Mapping[str, Any]) -> LmaeRwmoeConfig:
        return section_from(LmaeRwmoeConfig, settings, "model")

    def _model(self, config: LmaeRwmoeConfig) -> LmaeRwmoe:
        return LmaeRwmoe(config)

    def _trainer(self, job: Fitting, seed: int) -> Train:
        settings = Settings.of(self.spec.settings)
        encoder, self._encoder_source = self._encoder(settings, job, seed)
        return partial(self._fine_tuned, job, settings, encoder)

    def _encoder(self, settings: Settings, job: Fitting, seed: int) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
        """Return the tensors of a pretrained encoder, and where it comes from; nothing where none is wanted."""
        config = settings.encoder_config(len(job.cohort.regions))
        if settings.encoder:
            return load_encoder(Path(settings.encoder), config, job.cohort, job.indices)
        if not settings.pretrain:
            return {}, {}
        made_from = {"encoder": asdict(config), "pretraining": asdict(settings.pretraining), "seed": seed}
        keep = self._keep(job, "masked", made_from, "pretraining")
        data = job.data
        pretrained = pretrain(
            config, data.inputs, list(data.groups or ()), settings.pretraining, job.window, seed, job.device,
            self._follow, keep,
        )  # fmt: skip
        self.reconstruction = pretrained.table
        state = {name: tensor.detach().cpu() for name, tensor in pretrained.model.encoder.state_dict().items()}
        mark = training_hash(job.cohort, job.indices)
        return state, {"path": "", "sha256": tensors_sha256(state), "training_hash": mark, "runs": pretrained.n_runs}

    def _fine_tuned(
        self,
        job: Fitting,
        settings: Settings,
        encoder: Mapping[str, Tensor],
        data: TrainingSet,
        seed: int,
        follow: Callbacks,
        part: str,
    ) -> tuple[LmaeRwmoe, dict[str, float]]:
        """Train what is behind the encoder, then everything."""
        model = cast(LmaeRwmoe, self._new_model(job, seed))
        if encoder:
            try:
                model.encoder.load_state_dict(encoder)
            except RuntimeError as error:
                reason = str(error).splitlines()[-1].strip()
                raise CheckpointError(f"The pretrained encoder does not fit the model: {reason}") from error
        measure_graphs(model, data.inputs, job.window)
        training, stages = self.training, settings.stages
        frozen = min(stages.frozen_epochs, training.epochs) if encoder else 0
        later = replace(training, epochs=max(training.epochs - frozen, 1))
        if frozen:
            later = replace(later, learning_rate=training.learning_rate * stages.rate)
        source = dict(self._encoder_source)
        made_from = {**self._settings(job), "stages": asdict(stages), "seed": seed, "encoder": source}
        keeps = [self._keep(job, stage, made_from, part) for stage in ("frozen", "whole")]
        metrics: dict[str, float] = {}
        arguments = (job.window, seed, self.execution.precision)
        stage = [follow.stage(before, training.epochs) for before in (0, frozen)]
        if frozen and (keeps[1] is None or keeps[1].read() is None):
            model.freeze_encoder(True)
            # The epochs are few, and the second stage decides: nobody is set aside for this one.
            first = replace(training, epochs=frozen, early_stopping=None)
            metrics["frozen_loss"] = fit(model, data, first, *arguments, stage[0], keeps[0]).loss[-1]
            model.freeze_encoder(False)
        if frozen < training.epochs:
            metrics |= fit(model, data, later, *arguments, stage[1], keeps[1]).metrics()
        return model, metrics

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
        found, facts = self.fitted()
        model = cast(LmaeRwmoe, found)
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
        return expert_attribution(
            cast(LmaeRwmoe, self.model), batch.series, target, batch.lengths, batch.owners, localisation,
            repetition_times=batch.repetition_times,
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the checkpoint, and beside it what an encoder that was pretrained here reconstructs."""
        super().save(path)
        if self.reconstruction is not None:
            write_tsv(reconstruction_file(path), self.reconstruction)


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


def methods(settings: Mapping[str, Any], cohort: Cohort, training: Training) -> str:
    """Say what the model is, for the methods section."""
    wanted = Settings.of(settings)
    config = wanted.config(len(cohort.regions), max(len(cohort.classes), 1))
    if wanted.pretrain:
        aside = f"; {wanted.pretraining.held_out:.0%} of their participants were set aside to judge it"
        made = (
            "was pretrained on the training runs of each fold, without their labels, as a masked autoencoder "
            f"(LMAE, {wanted.pretraining.epochs} epochs{aside})"
        )
    elif wanted.encoder:
        path = Path(wanted.encoder)
        made = f"had been pretrained as a masked autoencoder (LMAE, {path.parent.name}/{path.name})"
    else:
        made = "was trained with the rest, without pretraining"
    epochs, stages = training.epochs, wanted.stages
    frozen = min(stages.frozen_epochs, epochs) if wanted.pretrain or wanted.encoder else 0
    held = f", and held fixed for the first {frozen} epochs of the training of the whole" if frozen else ""
    if 0 < frozen < epochs:
        held += f" (later ones had {stages.rate:g} times the learning rate)"
    asked = min(TOP, config.experts)
    unit = "s" if config.in_seconds else "time points"
    return (
        f"The encoder of regional patches of {config.patch_length:g} {unit} {made}{held}. Behind it, random walks of "
        f"{config.walk_steps} steps on each run's own connectivity graph feed {config.experts} experts of regions, "
        f"{asked} for each region, and a predictor of {config.layers} selective state-space layers; the decision is a "
        "sum over the experts."
    )


def create(name: str, spec: ModelSpec, training: Training, execution: Execution) -> LmaeRwmoeEstimator:
    """Make an unfitted estimator; the factory of the registry."""
    return LmaeRwmoeEstimator(name, spec, training, execution)
