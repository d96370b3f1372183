"""NeuroSSM as an estimator of the evaluation: it learns from a cohort, predicts, explains, and is kept on disk."""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
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
from bids_neurossm.training.checkpoint import (
    Facts,
    check_fit,
    load_checkpoint,
    load_state,
    model_config,
    save_checkpoint,
)
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.cohort_runs import cohort_run_set, repetition_time
from bids_neurossm.training.fit import fit
from bids_neurossm.training.follow import Follow
from bids_neurossm.training.inference import evaluation_batches, predict_logits
from bids_neurossm.training.launch import Job, stored, trained_together
from bids_neurossm.training.memory import in_smaller_batches
from bids_neurossm.training.ranks import ALONE, Ranks
from bids_neurossm.training.runset import RunSet, Targets, TrainingSet
from bids_neurossm.training.state import Keep
from bids_neurossm.training.static import PREFIX, StaticTerm, fit_static, shrink_dynamics
from bids_neurossm.training.stopping import inner_split
from bids_neurossm.training.windows import Batch

if TYPE_CHECKING:
    from bids_neurossm.attribution.cpa import PathwayAttribution

#: The model that has a static term besides its pathways.
WITH_STATIC = "neurossm-static"

#: What a cohort says of the dataset that it is from.
_DATASET = ("atlas", "atlas_sha256", "denoise")


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
        The frozen term beside the model; what NeuroSSM was trained on is what it leaves.
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
        self._static_fit: tuple[str, NDArray[np.float64]] = ("", np.empty(0))
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
        offsets = self._static_offsets(cohort, indices, mean, scale) if self.name == WITH_STATIC else None
        groups, sites = (cohort.runs[name].to_numpy()[indices].tolist() for name in ("group", "site"))
        window = inputs.chosen_window(self.training.window)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = NeuroSSM(config).to(device)
        data, aside = TrainingSet(inputs, targets, groups, sites, offsets), None
        if self.static is not None and self.static.weight > 0:
            learn, rest = inner_split(data, config.n_outputs, self.training.validation_fraction, seed)
            data, aside = data.some(learn), data.some(rest)
        history = fit(
            model, data, self.training, window, seed, self.execution.precision,
            self._follow, self._keep(cohort, indices, config, seed, device), self.ranks,
        )  # fmt: skip
        metrics = history.metrics()
        if aside is not None:
            metrics["dynamic_weight"] = shrink_dynamics(model, aside, window, self.training.class_weights)
        self.model = model
        self.facts = facts_of(cohort, indices, config, window, mean, scale, seed, self, metrics)

    def _static_offsets(
        self, cohort: Cohort, indices: NDArray[np.int64], mean: float, scale: float
    ) -> NDArray[np.float64]:
        """Fit the static term, unless it is there from a fit on the same runs with another seed; return its offsets."""
        of_runs = f"{cohort.hash} {hashlib.sha256(indices.tobytes()).hexdigest()}"
        if self.static is None or self._static_fit[0] != of_runs:
            self.static, offsets = fit_static(cohort, indices, self.training.class_weights, mean, scale)
            self._static_fit = of_runs, offsets
        return self._static_fit[1]

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
        self, cohort: Cohort, indices: NDArray[np.int64], config: ModelConfig, seed: int, device: torch.device
    ) -> Keep | None:
        """Return where the state is kept, with the hash of everything that the weights depend on."""
        if not self._state_file.name:
            return None
        made_from = {
            "versions": [__version__, version("torch")],
            "name": self.name,
            "data": training_hash(cohort, indices),
            "order": hashlib.sha256(indices.tobytes()).hexdigest(),
            "model": asdict(config),
            "training": asdict(self.training),
            "seed": seed,
            "arithmetic": [device.type, self.execution.precision, self.ranks.size],
        }
        return Keep(self._state_file, hash_content(made_from))

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


def training_hash(cohort: Cohort, indices: NDArray[np.int64]) -> str:
    """Return the identity of a training set: the cohort, and which of its runs."""
    runs = ",".join(sorted(str(name) for name in cohort.runs["run"].to_numpy()[indices]))
    return hashlib.sha256(f"{cohort.hash}\n{runs}".encode()).hexdigest()


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


def facts_of(
    cohort: Cohort,
    indices: NDArray[np.int64],
    config: ModelConfig,
    window: int,
    mean: float,
    scale: float,
    seed: int,
    estimator: NeuralEstimator,
    metrics: Mapping[str, float],
) -> Facts:
    """Write down what a checkpoint says of itself."""
    return Facts(
        model=plain_settings(config),
        target=str(cohort.extra.get("target", "label")),
        target_type=cohort.target_type,
        classes=tuple(cohort.classes),
        target_mean=mean,
        target_scale=scale,
        window=window,
        n_runs=len(indices),
        seed=seed,
        precision=estimator.execution.precision,
        metrics=metrics,
        static={} if estimator.static is None else estimator.static.facts(),
        **cohort_facts(cohort, indices),
    )


def plain_settings(settings: Any) -> dict[str, Any]:
    """Turn a dataclass of settings into values that TOML has."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()}


def cohort_facts(cohort: Cohort, indices: NDArray[np.int64]) -> dict[str, Any]:
    """Return what every checkpoint says of the runs that it was made from, and of what made it."""
    return {
        **{key: str(cohort.extra.get(key, "")) for key in _DATASET},
        "regions": tuple(cohort.regions),
        "repetition_time": repetition_time(cohort, indices),
        "training_hash": training_hash(cohort, indices),
        "versions": package_versions(),
    }


def check_cohort(facts: Facts, path: Path, cohort: Cohort, indices: NDArray[np.int64], in_seconds: bool) -> None:
    """Refuse a checkpoint that was made for other data than these runs.

    Raises
    ------
    CheckpointError
        If atlas, regions, denoising or, unless lengths are `in_seconds`, the repetition time are others.
    """
    # What is in seconds is the same at every repetition time.
    time = None if in_seconds else repetition_time(cohort, indices)
    atlas, sha256, denoise = (str(cohort.extra.get(key, "")) for key in _DATASET)
    check_fit(facts, path, cohort.regions, time, atlas, sha256, denoise)


def package_versions() -> dict[str, str]:
    """Return the versions of what makes a checkpoint."""
    return {
        "bids-neurossm": __version__,
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
    }
