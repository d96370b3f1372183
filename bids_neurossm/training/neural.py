"""NeuroSSM as an estimator of the evaluation: it learns from a cohort, predicts, explains, and is kept on disk."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bids_neurossm import __version__
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.dataset.hashing import hash_content
from bids_neurossm.errors import DeviceUnavailableError, LabelError, UsageError
from bids_neurossm.models.neurossm import NeuroSSM, NeuroSSMConfig
from bids_neurossm.models.trainable import ModelConfig, TrainableModel
from bids_neurossm.toml import section_from
from bids_neurossm.training.checkpoint import Facts, load_checkpoint, load_state, model_config, save_checkpoint
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.cohort_runs import cohort_run_set
from bids_neurossm.training.facts import check_cohort, facts_of, training_hash
from bids_neurossm.training.fit import History, fit
from bids_neurossm.training.follow import Follow
from bids_neurossm.training.inference import evaluation_batches, predict_logits
from bids_neurossm.training.joining import fit_joined, parts_of, scale_outputs
from bids_neurossm.training.launch import Job, stored, trained_together
from bids_neurossm.training.memory import in_smaller_batches
from bids_neurossm.training.ranks import ALONE, Ranks
from bids_neurossm.training.runset import RunSet, Targets, TrainingSet
from bids_neurossm.training.state import Keep
from bids_neurossm.training.static import PREFIX, StaticTerm
from bids_neurossm.training.windows import Batch

if TYPE_CHECKING:
    from bids_neurossm.attribution.cpa import PathwayAttribution

#: The model that has a static term besides its pathways.
WITH_STATIC = "neurossm-static"


class NeuralEstimator:
    """A NeuroSSM, its training, and its checkpoint.

    Parameters
    ----------
    name : str
        Registered name; ``neurossm-static`` adds what connectivity alone says (docs/methods.md, section 1.8).
    spec : ModelSpec
        ``settings`` are arguments of `NeuroSSMConfig`.
    training : Training
        How it is fitted.
    execution : Execution
        Device, precision, and how many devices train together.

    Attributes
    ----------
    model : NeuroSSM, LmaeRwmoe or None
        After `fit` or `load`.
    facts : Facts or None
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
        self.model: TrainableModel | None = None
        self.facts: Facts | None = None
        self.static: StaticTerm | None = None
        self._dynamic_weight, self._joined_on = 1.0, ""
        self._follow, self._state_file = Follow(), Path()

    def follow(self, follow: Follow, state_file: Path | None = None) -> None:
        """Say who is told how far `fit` is, and where it keeps its state after every epoch.

        A training that was killed goes on with the last whole epoch when the same one is begun with the same
        `state_file`; the file stays, and is the caller's to remove.
        """
        self._follow, self._state_file = follow, state_file or Path()

    def fit(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs `indices`.

        Raises
        ------
        LabelError
            If the training runs lack a class, have one only, or all the same value.
        RunError
            If a run is too short for the scales or holds no signal, the loss is no longer a number, or the memory of
            the device does not hold a run.
        UsageError
            If scales are in seconds, and a repetition time is not known or longer than the smallest scale.
        """
        indices = np.asarray(indices, dtype=np.int64)
        device = torch_device(self.execution.device)
        targets, mean, scale = targets_of(cohort, indices)
        if self.execution.devices > self.ranks.size:
            self._fit_together(cohort, indices, seed, device)
            return
        settings = {**self.spec.settings, "n_regions": len(cohort.regions), "n_outputs": max(len(cohort.classes), 1)}
        config = section_from(NeuroSSMConfig, settings, "[model]")
        inputs = cohort_run_set(cohort, indices, config)
        groups, sites = (cohort.runs[name].to_numpy()[indices].tolist() for name in ("group", "site"))
        data = TrainingSet(inputs, targets, groups, sites)
        window = inputs.chosen_window(self.training.window)
        train = partial(self._trained, config, window, device)
        keep = partial(self._keep, cohort, indices, config, device)
        follow, kept = self._follow, list[Keep]()
        if self.name == WITH_STATIC:
            follow, kept = self._join(cohort, indices, data, (mean, scale), window, train, keep)
        model, history = train(data, seed, follow, keep(seed))
        metrics = history.metrics()
        if self.static is not None:
            scale_outputs(model, self._dynamic_weight)
            metrics |= {"static_weight": self.static.weight, "dynamic_weight": self._dynamic_weight}
        for state in kept:
            state.remove()
        self.model = model
        static = {} if self.static is None else self.static.facts()
        self.facts = facts_of(
            cohort, indices, config, window, mean, scale, seed, self.execution.precision, static, metrics
        )

    def _trained(
        self,
        config: NeuroSSMConfig,
        window: int,
        device: torch.device,
        data: TrainingSet,
        seed: int,
        follow: Follow,
        keep: Keep | None,
    ) -> tuple[NeuroSSM, History]:
        """Make a NeuroSSM and fit it to some runs."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = NeuroSSM(config).to(device)
        precision = self.execution.precision
        return model, fit(model, data, self.training, window, seed, precision, follow, keep, self.ranks)

    def _join(
        self,
        cohort: Cohort,
        indices: NDArray[np.int64],
        data: TrainingSet,
        standard: tuple[float, float],
        window: int,
        train: Callable[..., tuple[NeuroSSM, History]],
        keep: Callable[..., Keep | None],
    ) -> tuple[Follow, list[Keep]]:
        """Find what both terms count, unless it is known from a fit on the same runs with another seed.

        Returns
        -------
        Follow, list of Keep
            Who is told of the training that follows, and the states of those that this took.
        """
        of_runs = f"{cohort.hash} {hashlib.sha256(indices.tobytes()).hexdigest()}"
        if self._joined_on == of_runs:
            return self._follow, []
        parts = parts_of(data, max(len(cohort.classes), 1))
        kept: list[Keep] = []
        follow = self._follow

        def trained(part: TrainingSet, number: int) -> NeuroSSM:
            nonlocal follow
            follow = self._follow.part(number + 1, len(parts) + 1)
            state = keep(number, f"part-{number}")
            kept.extend([] if state is None else [state])
            return train(part, number, self._follow.part(number, len(parts) + 1), state)[0]

        joined = fit_joined(cohort, indices, data, self.training.class_weights, standard, window, parts, trained)
        self.static, self._dynamic_weight, self._joined_on = joined.static, joined.dynamic_weight, of_runs
        return follow, kept

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
                trained = NeuralEstimator.load(path, execution)
        self.model, self.facts, self.static = trained.model, trained.facts, trained.static

    def _keep(
        self,
        cohort: Cohort,
        indices: NDArray[np.int64],
        config: ModelConfig,
        device: torch.device,
        seed: int,
        part: str = "",
    ) -> Keep | None:
        """Return where the state is kept, with the hash of everything that the weights depend on.

        The training of a `part` of the runs has a file of its own.
        """
        if not self._state_file.name:
            return None
        made_from = {
            "versions": [__version__, version("torch")],
            "name": self.name,
            "part": part,
            "data": training_hash(cohort, indices),
            "order": hashlib.sha256(indices.tobytes()).hexdigest(),
            "model": asdict(config),
            "training": asdict(self.training),
            "seed": seed,
            "arithmetic": [device.type, self.execution.precision, self.ranks.size],
        }
        path = self._state_file
        return Keep(path.with_name(f"{path.name}.{part}") if part else path, hash_content(made_from))

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
        model, facts = self._fitted()
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

        model, facts = self._fitted()
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

    def _explained(
        self, batch: Batch, target: NDArray[np.int64], localisation: Literal["gradient", "integrated"]
    ) -> PathwayAttribution:
        """Attribute the decisions about the windows of a batch."""
        from bids_neurossm.attribution.cpa import cpa

        assert isinstance(self.model, NeuroSSM)
        return cpa(
            self.model, batch.series, target, batch.lengths, batch.owners, localisation,
            repetition_times=batch.repetition_times, amplitude=batch.amplitude,
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the checkpoint: ``path`` (.safetensors) and a TOML file beside it."""
        model, facts = self._fitted()
        static = {} if self.static is None else self.static.tensors()
        save_checkpoint(path, {**model.state_dict(), **static}, facts)

    @classmethod
    def load(cls, path: Path, execution: Execution | None = None) -> NeuralEstimator:
        """Read a checkpoint that `save` wrote; `predict` checks that it fits the data.

        Raises
        ------
        CheckpointError
            If it is damaged or foreign.
        """
        state, facts = load_checkpoint(path)
        execution = execution or Execution()
        name = WITH_STATIC if facts.static else "neurossm"
        estimator = cls(name, ModelSpec(name, str(path), dict(facts.model)), Training(window=facts.window), execution)
        model = NeuroSSM(model_config(facts, path))
        if facts.static:
            static = {key: state.pop(key) for key in list(state) if key.startswith(PREFIX)}
            estimator.static = StaticTerm.restored(static, dict(facts.static), facts.target_mean, facts.target_scale)
        load_state(model, state, path)
        estimator.model, estimator.facts = model.to(torch_device(execution.device)).eval(), facts
        return estimator

    def _fitted(self) -> tuple[TrainableModel, Facts]:
        if self.model is None or self.facts is None:
            raise UsageError(f"The model {self.name} has not been fitted; call fit or load first.")
        return self.model, self.facts

    def _checked(self, cohort: Cohort, indices: NDArray[np.int64]) -> RunSet:
        """Return the runs, once it is known that they fit the model."""
        model, facts = self._fitted()
        indices = np.asarray(indices, dtype=np.int64)
        check_cohort(facts, Path(self.spec.recipe), cohort, indices, model.config.in_seconds)
        return cohort_run_set(cohort, indices, model.config, facts.repetition_time)


def create(name: str, spec: ModelSpec, training: Training, execution: Execution) -> NeuralEstimator:
    """Make an unfitted NeuroSSM; the factory of the registry."""
    return NeuralEstimator(name, spec, training, execution)


def torch_device(name: str) -> torch.device:
    """Return the device called ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    DeviceUnavailableError
        If it is not there.
    """
    usable = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if usable else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name.startswith("cuda") and usable:
        return torch.device(name)
    raise DeviceUnavailableError(f"The device {name!r} is not usable here; --device cpu is.")


def targets_of(cohort: Cohort, indices: NDArray[np.int64]) -> tuple[Targets, float, float]:
    """Return what is to be learnt: class indices, or standardised values with their mean and scale."""
    labels = cohort.labels(indices)
    if len(np.unique(labels)) < 2:
        raise LabelError(f"The {len(indices)} training runs all have the label {cohort.runs['label'][indices[0]]}.")
    if cohort.target_type == "continuous":
        mean, scale = float(labels.mean()), float(labels.std())
        return (labels - mean) / scale, mean, scale
    absent = [name for number, name in enumerate(cohort.classes) if number not in labels]
    if absent:
        raise LabelError(
            f"None of the {len(indices)} training runs is of class {absent[0]}: it could not be learnt. Use fewer "
            "--folds, or leave the class out."
        )
    return labels, 0.0, 1.0
