"""Fitting a model to labelled runs: random windows, AdamW, a one-cycle learning rate (docs/methods.md, 1.2 and 1.9)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from bids_neurossm.config import Training
from bids_neurossm.models.pathway_model import PathwayModel
from bids_neurossm.models.scales import usable_repetition_times
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.data import RunSet, Targets, TrainingSet
from bids_neurossm.training.device import in_smaller_batches
from bids_neurossm.training.early_stopping import EarlyStopping, inner_split
from bids_neurossm.training.inference import BATCH_SIZE, balanced_mean, evaluation_batches, predict_logits, run_features
from bids_neurossm.training.loop import History, Loop, steps_per_epoch
from bids_neurossm.training.process_group import ALONE, Ranks
from bids_neurossm.training.snapshot import Snapshot
from bids_neurossm.training.step import Stepper, class_weights, run_losses


def fit(
    model: PathwayModel,
    data: TrainingSet,
    settings: Training,
    window: int | None,
    seed: int,
    precision: str = "float32",
    follow: Callbacks | None = None,
    keep: Snapshot | None = None,
    ranks: Ranks = ALONE,
) -> History:
    """Fit a model in place; the result depends on the arguments and the seed only.

    Parameters
    ----------
    model : PathwayModel
        On the device that it is to be trained on. With one output the target is a number, else a class.
    data : TrainingSet
        Standardised training runs and their targets.
    settings : Training
        Epochs, batch, learning rate ...
    window : int or None
        Time points per training window.
    seed : int
        Of batches, windows, dropout and the runs set aside.
    precision : {"float32", "bfloat16", "float16"}
        Of the matrix products.
    follow : Callbacks, optional
        Who is told of epochs, and of what does not go as it was asked for.
    keep : Snapshot, optional
        Where the state is kept after every epoch. A training that finds its own state there goes on with it, and ends
        with the weights that it would have had without a break.
    ranks : Ranks
        For several processes that train together; all call this function with the same arguments but for the model's
        device.

    Raises
    ------
    RunError
        If a run is too short, holds no signal or is not finite, its loss is not, or memory does not hold it alone; the
        run is named.
    LabelError
        If runs are to be set aside for early stopping and a class has too few groups.
    UsageError
        If scales are in seconds and there are no repetition times, or one is longer than the smallest scale.
    """
    if model.config.in_seconds:
        times = data.inputs.repetition_times
        usable_repetition_times(model.config, None if times is None else torch.from_numpy(times), len(data))
    data.inputs.check_lengths(model.config)
    device = next(model.parameters()).device
    follow = follow or Callbacks()
    stopping, learnt, validate = None, data, None
    if settings.early_stopping is not None:
        learn, aside = inner_split(data, model.config.n_outputs, settings.validation_fraction, seed)
        learnt, looked_at = data.some(learn), data.some(aside)
        stopping = EarlyStopping(settings.early_stopping)

        def validate() -> Tensor:
            loss = torch.zeros(1, dtype=torch.float64, device=device)
            if ranks.leads:
                loss += validation_loss(model, looked_at, learnt.targets, settings, window)
            ranks.agree([loss])
            return loss

    n_steps = settings.epochs * steps_per_epoch(len(learnt), settings.batch_size)
    steps = Stepper(model, learnt, settings, window, n_steps, precision, ranks, follow.notice)
    loop = Loop(
        model, steps, len(learnt), settings.batch_size, settings.epochs, seed, follow, keep, ranks, stopping, validate
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        history = loop.run(partial(fit_inputs, model, learnt.inputs, window))
    if ranks.leads:
        fit_pathway_mean(model, data, window)
    ranks.agree([model.pathway_mean])
    model.eval()
    return history


def fit_inputs(model: PathwayModel, inputs: RunSet, window: int | None) -> None:
    """Let a model take what its inputs are scaled by from runs.

    Raises
    ------
    RunError
        If a run is not finite or holds no signal.
    """
    device = next(model.parameters()).device
    amplitude = None if inputs.amplitude is None else torch.from_numpy(inputs.amplitude).to(device)

    def batches(batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        for batch, _ in evaluation_batches(inputs, window, batch_size):
            here = batch.to(device)
            yield here.series, here.lengths, here.repetition_times

    in_smaller_batches(lambda size: model.fit_inputs(batches(size), amplitude), BATCH_SIZE, "the inputs are scaled")


def validation_loss(
    model: PathwayModel, aside: TrainingSet, learnt: Targets, settings: Training, window: int | None
) -> float:
    """Return the loss of runs that were set aside, on logits averaged over the windows that cover each.

    The loss is that of the training, with classes weighed as in the runs that are `learnt` from.
    """
    logits = torch.from_numpy(predict_logits(model, aside.inputs, window))
    goal = torch.from_numpy(aside.targets)
    losses = run_losses(logits, goal, settings.label_smoothing)
    weights = class_weights(torch.from_numpy(learnt), model.config.n_outputs, settings.class_weights)
    shares = torch.ones_like(losses) if weights is None else weights[goal].to(losses)
    return float((shares * losses).sum() / shares.sum())


def fit_pathway_mean(model: PathwayModel, data: TrainingSet, window: int | None) -> None:
    """Set the reference of the attribution: the mean of the pathway features, each class weighing the same."""
    features = run_features(model, data.inputs, window)
    mean = balanced_mean(features, data.targets if model.config.n_outputs > 1 else None)
    model.pathway_mean.copy_(torch.from_numpy(mean))
