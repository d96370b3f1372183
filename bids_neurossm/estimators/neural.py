"""An estimator of networks: it learns from a cohort, predicts, explains, and is kept on disk.

A model is a subclass that says what shape it has for a cohort and makes the network; see docs/add-a-model.md.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bids_neurossm.checkpoint_format import Arrays, CheckpointMetadata
from bids_neurossm.cohort.checkpoint_facts import check_cohort, facts_of, plain_settings, training_hash
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.estimators.late_fusion import fit_joined, parts_of
from bids_neurossm.estimators.static_term import PREFIX, StaticTerm
from bids_neurossm.files.hashing import hash_content
from bids_neurossm.files.record_format import format_stamp
from bids_neurossm.models.pathway_model import PathwayConfig, PathwayModel
from bids_neurossm.registry import model_entry
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.checkpoint_tensors import as_tensors, restored_module, save_checkpoint
from bids_neurossm.training.data import RunSet, TrainingSet, cohort_run_set, targets_of
from bids_neurossm.training.device import in_smaller_batches, torch_device
from bids_neurossm.training.fit import fit
from bids_neurossm.training.inference import evaluation_batches, predict_logits
from bids_neurossm.training.process_group import ALONE, Ranks
from bids_neurossm.training.snapshot import Snapshot
from bids_neurossm.training.windows import Batch

if TYPE_CHECKING:
    from bids_neurossm.attribution.cpa import PathwayAttribution

#: Trains a model on some of the runs of a fit: which, the seed, who is told, and what its state is called; an empty
#: name is that of the model that is wanted in the end. Returns it with the numbers that are worth keeping.
Train = Callable[[TrainingSet, int, Callbacks, str], tuple[PathwayModel, dict[str, float]]]


@dataclass(frozen=True)
class Fitting:
    """What all trainings of one fit have in common.

    Attributes
    ----------
    cohort : Cohort
        Where the runs are.
    indices : array (n,), int64
        Those that are learnt from.
    data : TrainingSet
        The same runs, in the same order, with their targets.
    config : PathwayConfig
        Shape of the model.
    window : int
        Time points per window.
    device : torch.device
        Where.
    """

    cohort: Cohort
    indices: NDArray[np.int64]
    data: TrainingSet
    config: PathwayConfig
    window: int
    device: torch.device

    @property
    def order(self) -> str:
        """Hash of which runs are learnt from, in which order."""
        return hashlib.sha256(self.indices.tobytes()).hexdigest()


class NeuralEstimator(ABC):
    """A model that is trained by gradient descent, its training, and its checkpoint.

    Parameters
    ----------
    name : str
        Registered name; one that ends in ``-static`` adds what connectivity alone says (docs/methods.md, section 1.8).
    spec : ModelSpec
        ``settings`` are those of the family.
    training : Training
        How it is fitted.
    execution : Execution
        Device, precision, and how many devices train together.

    Attributes
    ----------
    model : PathwayModel or None
        After `fit` or `restore`.
    facts : CheckpointMetadata or None
        What the checkpoint says of itself.
    static : StaticTerm or None
        The frozen term beside the model.
    ranks : Ranks
        Which of several processes that train together this one is.
    """

    def __init__(self, name: str, spec: ModelSpec, training: Training, execution: Execution) -> None:
        self.name = name
        self.spec = spec
        self.training = training
        self.execution = execution
        self.ranks: Ranks = ALONE
        self.model: PathwayModel | None = None
        self.facts: CheckpointMetadata | None = None
        self.static: StaticTerm | None = None
        self._dynamic_weight, self._joined_on = 1.0, ""
        self._encoder_source: Mapping[str, Any] = {}
        self._follow, self._state_file = Callbacks(), Path()

    @property
    def family(self) -> str:
        """Registered name of the model of dynamics, which checkpoints state."""
        return model_entry(self.name).joins or self.name

    def follow(self, follow: Callbacks, state_file: Path | None = None) -> None:
        """Say who is told how far `fit` is, and where it keeps its state after every epoch.

        A training that was killed goes on with the last whole epoch when the same one is begun with the same
        `state_file`. What it begins with (pretraining, the parts of a joined model) has files that are named after it.
        They stay, and are the caller's to remove.
        """
        self._follow, self._state_file = follow, state_file or Path()

    def fit(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs `indices`.

        Raises
        ------
        LabelError
            If the training runs lack a class, have one only, or all the same value.
        RunError
            If a run is too short for the model or holds no signal, the loss is no longer a number, or the memory of
            the device does not hold a run.
        UsageError
            If a setting is impossible, or lengths are in seconds and a repetition time is not known or too long.
        CheckpointError
            If a pretrained encoder does not fit.
        """
        indices = np.asarray(indices, dtype=np.int64)
        device = torch_device(self.execution.device)
        targets, mean, scale = targets_of(cohort, indices)
        if self.execution.devices > self.ranks.size:
            self._fit_together(cohort, indices, seed, device)
            return
        config = self._config(cohort)
        inputs = cohort_run_set(cohort, indices, config)
        groups, sites = (cohort.runs[name].to_numpy()[indices].tolist() for name in ("group", "site"))
        data = TrainingSet(inputs, targets, groups, sites)
        job = Fitting(cohort, indices, data, config, inputs.chosen_window(self.training.window), device)
        train, follow = self._trainer(job, seed), self._follow
        if model_entry(self.name).has_static_term:
            follow = self._join(job, (mean, scale), train)
        self.model, metrics = train(data, seed, follow, "")
        static: dict[str, Any] = {}
        if self.static is not None:
            self.model.scale_outputs(self._dynamic_weight)
            metrics |= {"static_weight": self.static.weight, "dynamic_weight": self._dynamic_weight}
            static = self.static.facts()
        self.facts = facts_of(
            cohort, indices, plain_settings(config), seed, self.family, target_mean=mean, target_scale=scale,
            window=job.window, precision=self.execution.precision, static=static, metrics=metrics,
            encoder=self._encoder_source,
        )  # fmt: skip

    @abstractmethod
    def _config(self, cohort: Cohort) -> PathwayConfig:
        """Return the shape of the model for a cohort."""

    @abstractmethod
    def _model(self, config: Any) -> PathwayModel:
        """Make a model of that shape, with the weights that it begins with."""

    @abstractmethod
    def _config_of(self, settings: Mapping[str, Any]) -> PathwayConfig:
        """Return the shape that a checkpoint states.

        Raises
        ------
        UsageError, TypeError
            If it is none.
        """

    def _trainer(self, job: Fitting, seed: int) -> Train:
        """Prepare what the trainings of a fit share, and return what trains."""
        return partial(self._trained, job)

    def _new_model(self, job: Fitting, seed: int) -> PathwayModel:
        """Make the model that a training begins with."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._model(job.config).to(job.device)

    def _trained(
        self, job: Fitting, data: TrainingSet, seed: int, follow: Callbacks, part: str
    ) -> tuple[PathwayModel, dict[str, float]]:
        """Make a model and fit it to some runs."""
        model = self._new_model(job, seed)
        keep = self._keep(job, "whole", {**self._settings(job), "seed": seed}, part)
        history = fit(
            model, data, self.training, job.window, seed, self.execution.precision, follow, keep, self.ranks
        )  # fmt: skip
        return model, history.metrics()

    def _explained(
        self, batch: Batch, target: NDArray[np.int64], localisation: Literal["gradient", "integrated"]
    ) -> PathwayAttribution:
        """Attribute the decisions about the windows of a batch."""
        from bids_neurossm.attribution.inputs import series_attribution

        return series_attribution(
            self.fitted()[0], batch.series, target, batch.lengths, batch.owners, localisation,
            repetition_times=batch.repetition_times,
        )  # fmt: skip

    def _fit_together(self, cohort: Cohort, indices: NDArray[np.int64], seed: int, device: torch.device) -> None:
        """Learn on several devices."""
        raise UsageError(f"--devices {self.execution.devices}: {self.name} is trained on one device; leave it.")

    def _join(self, job: Fitting, standard: tuple[float, float], train: Train) -> Callbacks:
        """Find what both terms count, unless it is known from a fit on the same runs with another seed.

        Seeds share it, unless each pretrains an encoder of its own.

        Returns
        -------
        Callbacks
            Who is told of the training that follows.
        """
        of_runs = hash_content([job.cohort.hash, job.order, dict(self._encoder_source)])
        if self._joined_on == of_runs:
            return self._follow
        parts = parts_of(job.data, job.config.n_outputs)
        trainings, trained = len(parts) + 1, 0

        def of_part(data: TrainingSet, number: int) -> PathwayModel:
            nonlocal trained
            trained += 1
            return train(data, number, self._follow.part(number, trainings), f"part-{number}")[0]

        joined = fit_joined(
            job.cohort, job.indices, job.data, self.training.class_weights, standard, job.window, parts, of_part
        )
        self.static, self._dynamic_weight, self._joined_on = joined.static, joined.dynamic_weight, of_runs
        return self._follow.part(trainings, trainings) if trained else self._follow

    def _keep(self, job: Fitting, what: str, made_from: Mapping[str, Any], part: str = "") -> Snapshot | None:
        """Return where the state of a training is kept, with the hash of everything that its weights depend on.

        Parameters
        ----------
        job : Fitting
            The runs, the window and the device, which all trainings depend on.
        what, part : str
            Which training of the fit; a part has a file of its own, named after that of the whole.
        made_from : mapping
            What it depends on besides: see `_settings`.
        """
        if not self._state_file.name:
            return None
        digest = hash_content(
            {
                "versions": [format_stamp(), version("torch")],
                "what": [what, part],
                "data": training_hash(job.cohort, job.indices),
                "order": job.order,
                "window": job.window,
                "arithmetic": [job.device.type, self.execution.precision, self.ranks.size],
                **made_from,
            }
        )
        path = self._state_file
        return Snapshot(path.with_name(f"{path.name}.{part}") if part else path, digest)

    def _settings(self, job: Fitting) -> dict[str, Any]:
        """Return what the training of a whole model depends on besides the seed."""
        return {"model": asdict(cast(Any, job.config)), "training": asdict(self.training)}

    def predict(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return logits (n, C), or values (n, 1) in units of the target, averaged over windows that cover each run.

        Raises
        ------
        RunError
            If a run is too short for the scales, or holds no signal.
        CheckpointError
            If the cohort is not like the one that the model was trained on.
        UsageError
            If scales are in seconds, and a repetition time is not known or longer than the smallest scale.
        """
        model, facts = self.fitted()
        values = predict_logits(model, self._checked(cohort, indices), facts.window)
        if self.static is not None:
            values = values + self.static.term(cohort, np.asarray(indices, dtype=np.int64))
        return values if facts.target_type == "class" else values * facts.target_scale + facts.target_mean

    def attribute(
        self,
        cohort: Cohort,
        indices: NDArray[np.int64],
        target: ArrayLike | None = None,
        localisation: Literal["gradient", "integrated"] = "gradient",
    ) -> Any:
        """Attribute the decision about each run to pathways and regions.

        Parameters
        ----------
        cohort, indices
            The runs.
        target : array (n,), int, optional
            Class to explain, as an index into the classes; for a continuous target the direction, 1 or -1, from the
            training mean. The predicted one by default.
        localisation : {"gradient", "integrated"}
            See `bids_neurossm.attribution.cpa.cpa`.

        Returns
        -------
        bids_neurossm.attribution.cpa.PathwayAttribution
            Averaged over the windows that cover each run.
        """
        from bids_neurossm.attribution.cpa import concatenated

        model, facts = self.fitted()
        inputs = self._checked(cohort, indices)
        terms = None if self.static is None else self.static.term(cohort, np.asarray(indices, dtype=np.int64))
        if target is None:
            values = predict_logits(model, inputs, facts.window) + (0.0 if terms is None else terms)
            target = values.argmax(axis=1) if values.shape[1] > 1 else np.where(values[:, 0] < 0, -1, 1)
        chosen = np.asarray(target, dtype=np.int64)
        if chosen.shape != (len(inputs),):
            raise UsageError(
                f"The target has shape {chosen.shape}; one class for each of {len(inputs)} runs is expected."
            )
        device = next(model.parameters()).device

        def attributed(batch_size: int) -> PathwayAttribution:
            parts, owners = [], []
            for batch, of_run in evaluation_batches(inputs, facts.window, batch_size):
                here = batch.to(device)
                parts.append(self._explained(here, chosen[of_run], localisation))
                owners.append(of_run)
            return concatenated(parts).averaged(np.concatenate(owners))

        found = in_smaller_batches(attributed, 16, "decisions are attributed")
        return found if self.static is None or terms is None else self.static.added_to(found, terms)

    def save(self, path: Path) -> None:
        """Write the checkpoint: ``path`` (.safetensors) and a TOML file beside it."""
        model, facts = self.fitted()
        static = {} if self.static is None else self.static.tensors()
        save_checkpoint(path, {**model.state_dict(), **static}, facts)

    def restore(self, arrays: Arrays, facts: CheckpointMetadata, path: Path) -> None:
        """Take over what a checkpoint holds; see `bids_neurossm.estimators.load.load_trained`.

        Raises
        ------
        CheckpointError
            If the tensors do not fit the model, or this version does not know it.
        """
        state = as_tensors(arrays)
        if facts.static:
            static = {key: state.pop(key) for key in list(state) if key.startswith(PREFIX)}
            self.static = StaticTerm.restored(static, dict(facts.static), facts.target_mean, facts.target_scale)
        try:
            config = self._config_of(facts.model)
        except (UsageError, TypeError) as error:
            raise CheckpointError(f"{path} holds a model that this version does not know: {error}") from error
        model = restored_module(lambda: self._model(config), state, path)
        self.model, self.facts = model.to(torch_device(self.execution.device)).eval(), facts

    def fitted(self) -> tuple[PathwayModel, CheckpointMetadata]:
        """Return the network and what its checkpoint says.

        Raises
        ------
        UsageError
            If it was not fitted.
        """
        if self.model is None or self.facts is None:
            raise UsageError(f"The model {self.name} has not been fitted; call fit or restore first.")
        return self.model, self.facts

    def _checked(self, cohort: Cohort, indices: NDArray[np.int64]) -> RunSet:
        """Return the runs, once it is known that they fit the model."""
        model, facts = self.fitted()
        indices = np.asarray(indices, dtype=np.int64)
        check_cohort(facts, Path(self.spec.recipe), cohort, indices, model.config.in_seconds)
        return cohort_run_set(cohort, indices, model.config, facts.repetition_time)
