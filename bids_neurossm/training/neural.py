"""NeuroSSM as an estimator of the evaluation: it learns from a cohort, predicts, explains, and is kept on disk."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bids_neurossm import __version__
from bids_neurossm.config import Execution, ModelSpec, Training, section_from
from bids_neurossm.errors import DeviceUnavailableError, LabelError, UsageError
from bids_neurossm.models.neurossm import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.checkpoint import Facts, check_fit, load_checkpoint, load_state, save_checkpoint
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.fit import Progress, fit
from bids_neurossm.training.inference import Run, evaluation_batches, predict_logits
from bids_neurossm.training.windows import Sampling, check_length, sampling_for, valid_length

# Standardised series are kept in memory up to this size, and made anew beyond it.
_CACHE_BYTES = 2**30


class NeuralEstimator:
    """A NeuroSSM, its training, and its checkpoint.

    Parameters
    ----------
    name : str
        Registered name.
    spec : ModelSpec
        ``settings`` are arguments of `NeuroSSMConfig`.
    training : Training
        How it is fitted.
    execution : Execution
        Device and precision.
    progress : callable, optional
        Called after each epoch with (epoch, epochs, mean loss).

    Attributes
    ----------
    model : NeuroSSM or None
        After `fit` or `load`.
    facts : Facts or None
        What the checkpoint says of itself.
    """

    def __init__(
        self,
        name: str,
        spec: ModelSpec,
        training: Training,
        execution: Execution,
        progress: Progress | None = None,
    ) -> None:
        self.name = name
        self.spec = spec
        self.training = training
        self.execution = execution
        self.progress = progress
        self.model: NeuroSSM | None = None
        self.facts: Facts | None = None

    def fit(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs `indices`.

        Raises
        ------
        LabelError
            If the training runs have one class only, or all the same value.
        RunError
            If a run is too short for the scales, or the loss is no longer a number.
        UsageError
            If scales are in seconds, and a repetition time is not known or longer than the smallest scale.
        """
        indices = np.asarray(indices, dtype=np.int64)
        device = torch_device(self.execution.device)
        labels = cohort.labels(indices)
        mean, scale = 0.0, 1.0
        if len(np.unique(labels)) < 2:
            raise LabelError(f"The {len(indices)} training runs all have the label {cohort.runs['label'][indices[0]]}.")
        if cohort.target_type == "continuous":
            mean, scale = float(labels.mean()), float(labels.std())
            labels = (labels - mean) / scale
        runs = CohortRuns(cohort, indices)
        settings = {**self.spec.settings, "n_regions": len(cohort.regions), "n_outputs": max(len(cohort.classes), 1)}
        config = section_from(NeuroSSMConfig, settings, "[model]")
        names = [str(cohort.runs["run"].iloc[i]) for i in indices]
        sampling = sampling_for(config, _repetition_times(cohort, indices), names)
        window = chosen_window(self.training.window, [runs.segments(i) for i in range(len(runs))], sampling)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = NeuroSSM(config).to(device)
        history = fit(
            model, runs, labels, names, self.training, window, seed, self.execution.precision, self.progress, sampling
        )  # fmt: skip
        self.model = model
        self.facts = _facts(cohort, indices, config, window, mean, scale, seed, self, history.loss[-1])

    def predict(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return logits (n, C), or values (n, 1) in units of the target, averaged over windows that cover each run.

        Raises
        ------
        RunError
            If a run is too short for the scales.
        CheckpointError
            If the cohort is not like the one that the model was trained on.
        UsageError
            If scales are in seconds, and a repetition time is not known or longer than the smallest scale.
        """
        model, facts = self._fitted()
        runs, sampling = self._checked(cohort, indices)
        values = predict_logits(model, runs, facts.window, sampling)
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
            Class to explain, as an index into the classes; the predicted one by default.
        localisation : {"gradient", "integrated"}
            See `bids_neurossm.attribution.cpa.cpa`.

        Returns
        -------
        bids_neurossm.attribution.cpa.PathwayAttribution
            Averaged over the windows that cover each run.
        """
        from bids_neurossm.attribution.cpa import concatenated, cpa

        model, facts = self._fitted()
        runs, sampling = self._checked(cohort, indices)
        if target is None:
            target = predict_logits(model, runs, facts.window, sampling).argmax(axis=1)
        chosen = np.asarray(target, dtype=np.int64)
        if chosen.shape != (len(runs),):
            raise UsageError(
                f"The target has shape {chosen.shape}; one class for each of {len(runs)} runs is expected."
            )
        device = next(model.parameters()).device
        parts, owners = [], []
        for batch, of_run in evaluation_batches(runs, facts.window, 16, sampling):
            here = batch.to(device)
            explained = cpa(
                model, here.series, chosen[of_run], here.lengths, here.owners, localisation,
                repetition_times=here.repetition_times,
            )  # fmt: skip
            parts.append(explained)
            owners.append(of_run)
        return concatenated(parts).averaged(np.concatenate(owners))

    def save(self, path: Path) -> None:
        """Write the checkpoint: ``path`` (.safetensors) and a TOML file beside it."""
        model, facts = self._fitted()
        save_checkpoint(path, model.state_dict(), facts)

    @classmethod
    def load(cls, path: Path, execution: Execution | None = None) -> NeuralEstimator:
        """Read a checkpoint that `save` wrote; `predict` checks that it fits the data.

        Raises
        ------
        CheckpointError
            If it is damaged or foreign.
        """
        state, facts = load_checkpoint(path)
        config = section_from(NeuroSSMConfig, facts.model, str(path))
        execution = execution or Execution()
        spec = ModelSpec("neurossm", str(path), dict(facts.model))
        estimator = cls("neurossm", spec, Training(window=facts.window), execution)
        model = NeuroSSM(config)
        load_state(model, state, path)
        estimator.model, estimator.facts = model.to(torch_device(execution.device)).eval(), facts
        return estimator

    def _fitted(self) -> tuple[NeuroSSM, Facts]:
        if self.model is None or self.facts is None:
            raise UsageError(f"The model {self.name} has not been fitted; call fit or load first.")
        return self.model, self.facts

    def _checked(self, cohort: Cohort, indices: NDArray[np.int64]) -> tuple[CohortRuns, Sampling | None]:
        """Return the runs and their sampling, once it is known that they fit the model."""
        model, facts = self._fitted()
        config = model.config
        indices = np.asarray(indices, dtype=np.int64)
        where = Path(self.spec.recipe)
        atlas, sha256, denoise = (str(cohort.extra.get(key, "")) for key in ("atlas", "atlas_sha256", "denoise"))
        # Scales in seconds are the same at every repetition time.
        time = None if config.in_seconds else _repetition_time(cohort, indices)
        check_fit(facts, where, cohort.regions, time, atlas, sha256, denoise, target_type=None)
        runs = CohortRuns(cohort, indices)
        names = [str(cohort.runs["run"].iloc[index]) for index in indices]
        sampling = sampling_for(config, _repetition_times(cohort, indices), names, facts.repetition_time)
        for number, name in enumerate(names):
            seconds = None if sampling is None else float(sampling.repetition_times[number])
            check_length(runs.segments(number), max(config.scales), name, seconds)
        return runs, sampling


class CohortRuns(Sequence[Run]):
    """Some runs of a cohort as a model takes them: standardised series and segments.

    Parameters
    ----------
    cohort : Cohort
        Where they come from.
    indices : array of int64
        Which.
    """

    def __init__(self, cohort: Cohort, indices: NDArray[np.int64]) -> None:
        self.cohort = cohort
        self.indices = indices
        rows = int(cohort.runs["n_volumes"].to_numpy()[indices].sum())
        self._keep = rows * len(cohort.regions) * 4 <= _CACHE_BYTES
        self._kept: dict[int, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: Any) -> Any:
        if number not in self._kept:
            series = self.cohort.standardised(int(self.indices[number]))
            if not self._keep:
                return series, self.segments(number)
            self._kept[number] = series
        return self._kept[number], self.segments(number)

    def segments(self, number: int) -> list[tuple[int, int]]:
        """Return the contiguous pieces of a run."""
        return self.cohort.segments(int(self.indices[number]))


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


def chosen_window(
    wanted: int | None, segments: Sequence[Sequence[tuple[int, int]]], sampling: Sampling | None = None
) -> int:
    """Return the smaller of the recipe's window and the median length of the training runs.

    In time points; at the reference of the `sampling` where there is one.
    """
    lengths = np.array([valid_length(run) for run in segments], dtype=np.float64)
    if sampling is not None:
        lengths *= sampling.repetition_times / sampling.reference
    # A rounding error below a whole number must not cost a time point.
    median = int(np.median(lengths) + 1e-6)
    return median if wanted is None else min(wanted, median)


def _repetition_times(cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Repetition time of each run in s; NaN where it is not known."""
    times: NDArray[np.float64] = cohort.runs["repetition_time"].to_numpy(dtype=np.float64)[indices]
    return times


def _repetition_time(cohort: Cohort, indices: NDArray[np.int64]) -> float | None:
    """Median repetition time of the runs in s, or None where it is not known."""
    times = _repetition_times(cohort, indices)
    return float(np.nanmedian(times)) if np.isfinite(times).any() else None


def _facts(
    cohort: Cohort,
    indices: NDArray[np.int64],
    config: NeuroSSMConfig,
    window: int,
    mean: float,
    scale: float,
    seed: int,
    estimator: NeuralEstimator,
    loss: float,
) -> Facts:
    """Write down what a checkpoint says of itself."""
    runs = ",".join(sorted(str(cohort.runs["run"].iloc[i]) for i in indices))
    settings: Mapping[str, Any] = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(config).items()}
    return Facts(
        model=settings,
        target=str(cohort.extra.get("target", "label")),
        target_type=cohort.target_type,
        classes=tuple(cohort.classes),
        regions=tuple(cohort.regions),
        target_mean=mean,
        target_scale=scale,
        atlas=str(cohort.extra.get("atlas", "")),
        atlas_sha256=str(cohort.extra.get("atlas_sha256", "")),
        repetition_time=_repetition_time(cohort, indices),
        window=window,
        denoise=str(cohort.extra.get("denoise", "")),
        training_hash=hashlib.sha256(f"{cohort.hash}\n{runs}".encode()).hexdigest(),
        n_runs=len(indices),
        seed=seed,
        precision=estimator.execution.precision,
        metrics={"training_loss": loss},
        versions={
            "bids-neurossm": __version__,
            "python": platform.python_version(),
            "torch": version("torch"),
            "numpy": version("numpy"),
        },
    )
