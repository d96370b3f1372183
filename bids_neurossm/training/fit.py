"""The loop that fits a NeuroSSM: random windows, AdamW, a one-cycle learning rate (docs/methods.md, 1.2 and 1.9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bids_neurossm.config import Training
from bids_neurossm.errors import RunError
from bids_neurossm.models.neurossm import NeuroSSM, usable_repetition_times
from bids_neurossm.training.inference import Run, evaluation_batches, run_features
from bids_neurossm.training.windows import Batch, Sampling, assemble, check_length, training_window

# Called after each epoch with (epoch, epochs, mean loss).
Progress = Callable[[int, int, float], None]


@dataclass
class History:
    """Mean training loss of each epoch."""

    loss: list[float] = field(default_factory=list)


def fit(
    model: NeuroSSM,
    runs: Sequence[Run],
    targets: NDArray[np.int64] | NDArray[np.float64],
    names: Sequence[str],
    settings: Training,
    window: int | None,
    seed: int,
    precision: str = "float32",
    progress: Progress | None = None,
    sampling: Sampling | None = None,
) -> History:
    """Fit a model in place; the result depends on the arguments and the seed only.

    Parameters
    ----------
    model : NeuroSSM
        On the device that it is to be trained on. With one output the target is a number, else a class.
    runs : sequence of (series (T_i, R), segments)
        Standardised training runs.
    targets : array (n,)
        Class indices, or standardised target values.
    names : sequence of str
        What the runs are called in messages.
    settings : Training
        Epochs, batch, learning rate ...
    window : int or None
        Time points per training window.
    seed : int
        Of batches, windows and dropout.
    precision : {"float32", "bfloat16"}
        Of the matrix products.
    progress : callable, optional
        Called after each epoch with (epoch, epochs, mean loss).
    sampling : Sampling, optional
        Repetition times of the runs, for a model whose scales are in seconds.

    Raises
    ------
    RunError
        If a run is too short, or is not finite, or its loss is not; the run is named.
    UsageError
        If scales are in seconds and there are no repetition times, or one is longer than the smallest scale.
    """
    times = None if sampling is None else torch.from_numpy(sampling.repetition_times)
    if model.config.in_seconds:
        usable_repetition_times(model.config, times, len(names))
    for number, name in enumerate(names):
        time = None if times is None else float(times[number])
        check_length(runs[number][1], max(model.config.scales), name, time)
        if not np.isfinite(runs[number][0]).all():
            raise RunError(f"{name}: the standardised series is not finite.")
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        fit_input_scale(model, runs, window, sampling)
        history = _epochs(model, runs, targets, names, settings, window, seed, precision, progress, sampling)
    fit_pathway_mean(model, runs, targets, window, sampling)
    model.eval()
    return history


def _epochs(
    model: NeuroSSM,
    runs: Sequence[Run],
    targets: NDArray[np.int64] | NDArray[np.float64],
    names: Sequence[str],
    settings: Training,
    window: int | None,
    seed: int,
    precision: str,
    progress: Progress | None,
    sampling: Sampling | None,
) -> History:
    """Run all epochs."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    steps = -(-len(names) // settings.batch_size)
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, settings.weight_decay), lr=settings.learning_rate, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=settings.learning_rate, total_steps=settings.epochs * steps
    )
    goal = torch.from_numpy(np.asarray(targets)).to(device)
    weights = _class_weights(goal, model.config.n_outputs, settings.class_weights)
    history = History()
    model.train()
    for epoch in range(settings.epochs):
        total = 0.0
        order = torch.randperm(len(names), generator=generator)
        # Equal parts: a last batch of one or two runs would take a full step on its own.
        for part in order.tensor_split(steps):
            batch = _drawn(runs, part.tolist(), window, generator, sampling).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                logits = model(batch.series, batch.lengths, batch.owners, batch.repetition_times).float()
            losses = run_losses(logits, goal[part.to(device)], settings.label_smoothing)
            _check_finite(losses, [names[i] for i in part.tolist()], epoch)
            share = weights[goal[part.to(device)]] if weights is not None else torch.ones_like(losses)
            loss = (share * losses).sum() / share.sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(part)
        history.loss.append(total / len(names))
        if progress is not None:
            progress(epoch + 1, settings.epochs, history.loss[-1])
    return history


def _drawn(
    runs: Sequence[Run],
    chosen: Sequence[int],
    window: int | None,
    generator: torch.Generator,
    sampling: Sampling | None,
) -> Batch:
    """Draw a window of each of the chosen runs."""
    if sampling is None:
        return assemble([(runs[i][0], training_window(runs[i][1], window, generator)) for i in chosen])
    drawn = [(runs[i][0], training_window(runs[i][1], sampling.window(i, window), generator)) for i in chosen]
    return assemble(drawn, [float(sampling.repetition_times[i]) for i in chosen])


def run_losses(logits: Tensor, goal: Tensor, label_smoothing: float) -> Tensor:
    """Return the loss (n,) of each run: cross-entropy of logits (n, C), or smooth L1 of a number (n, 1)."""
    if logits.shape[1] == 1:
        return functional.smooth_l1_loss(logits[:, 0], goal.to(logits.dtype), reduction="none")
    return functional.cross_entropy(logits, goal, label_smoothing=label_smoothing, reduction="none")


def fit_input_scale(model: NeuroSSM, runs: Sequence[Run], window: int | None, sampling: Sampling | None = None) -> None:
    """Set the constant of each pathway's input: its root mean square over the training runs, dead regions left out."""
    n_pathways = len(model.config.pathways)
    squares, counts = torch.zeros(n_pathways, dtype=torch.float64), torch.zeros(n_pathways, dtype=torch.float64)
    model.input_scale.fill_(1.0)
    device = model.input_scale.device
    for batch, _ in evaluation_batches(runs, window, 32, sampling):
        on_device = batch.to(device)
        inputs = model.pathway_inputs(on_device.series, on_device.lengths, on_device.repetition_times)
        for number, (values, lengths) in enumerate(inputs):
            valid = (torch.arange(values.shape[1], device=device) < lengths[:, None])[:, :, None]
            alive = (on_device.series != 0).any(dim=1, keepdim=True)
            used = (valid & alive).expand_as(values)
            squares[number] += float((values.double().square() * used).sum())
            counts[number] += float(used.sum())
    scale = (squares / counts.clamp_min(1)).sqrt()
    # Only data without any signal have a scale of 0; they are left as they are.
    model.input_scale.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))


def fit_pathway_mean(
    model: NeuroSSM,
    runs: Sequence[Run],
    targets: NDArray[np.int64] | NDArray[np.float64],
    window: int | None,
    sampling: Sampling | None = None,
) -> None:
    """Set the reference of the attribution: the mean of the pathway features, each class weighing the same."""
    features = run_features(model, runs, window, sampling)
    if model.config.n_outputs > 1:
        features = np.stack([features[targets == value].mean(axis=0) for value in np.unique(targets)])
    model.pathway_mean.copy_(torch.from_numpy(features.mean(axis=0)))


def _parameter_groups(model: NeuroSSM, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay pulls matrices only: not biases, norms, and the state-space rates and skips."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in model.named_parameters():
        (decayed if parameter.ndim > 1 and not name.endswith("A_log") else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def _class_weights(goal: Tensor, n_outputs: int, wanted: bool) -> Tensor | None:
    """Inverse of each class's frequency, or None."""
    if n_outputs == 1 or not wanted:
        return None
    counts = torch.bincount(goal, minlength=n_outputs).float()
    return torch.where(counts > 0, len(goal) / (n_outputs * counts.clamp_min(1)), torch.zeros_like(counts))


def _check_finite(losses: Tensor, names: Sequence[str], epoch: int) -> None:
    """Stop at the first loss that is no number, before it spoils the weights."""
    bad = (~losses.detach().isfinite()).nonzero()[:, 0].tolist()
    if bad:
        raise RunError(
            f"{names[bad[0]]}: the loss is not finite in epoch {epoch + 1}. Look at the run's series, "
            "or lower training.learning_rate."
        )
