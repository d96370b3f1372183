"""The loop that fits a model: random windows, AdamW, a one-cycle learning rate (docs/methods.md, 1.2 and 1.9)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bids_neurossm.config import Training
from bids_neurossm.models.neurossm import usable_repetition_times
from bids_neurossm.models.trainable import PathwayModel
from bids_neurossm.training.follow import Epoch, Follow
from bids_neurossm.training.inference import predict_logits, run_features
from bids_neurossm.training.ranks import ALONE, Ranks
from bids_neurossm.training.runset import RunSet, Targets, TrainingSet
from bids_neurossm.training.state import Keep, of_prefix, with_prefix
from bids_neurossm.training.steps import Stepper, class_weights, run_losses
from bids_neurossm.training.stopping import EarlyStopping, inner_split
from bids_neurossm.training.weighing import balanced_mean
from bids_neurossm.training.windows import training_window


@dataclass
class History:
    """What happened.

    Attributes
    ----------
    loss, validation_loss : list of float
        Mean training loss of each epoch; loss of the runs set aside, where there are any.
    best_epoch : int
        From 1: the one whose weights were kept; the last one without early stopping.
    at_once : int
        Runs that memory held; less than the batch where it had to be halved.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    at_once: int = 0

    def metrics(self) -> dict[str, float]:
        """Return the numbers that are worth keeping with a checkpoint."""
        kept = self.best_epoch - 1
        numbers: dict[str, float] = {"training_loss": self.loss[kept], "epochs": len(self.loss)}
        if self.validation_loss:
            numbers |= {"best_epoch": self.best_epoch, "validation_loss": self.validation_loss[kept]}
        return numbers


def fit(
    model: PathwayModel,
    data: TrainingSet,
    settings: Training,
    window: int | None,
    seed: int,
    precision: str = "float32",
    follow: Follow | None = None,
    keep: Keep | None = None,
    ranks: Ranks = ALONE,
    prepare: Callable[[RunSet], None] | None = None,
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
    follow : Follow, optional
        Who is told of epochs, and of what does not go as it was asked for.
    keep : Keep, optional
        Where the state is kept after every epoch. A training that finds its own state there goes on with it, and ends
        with the weights that it would have had without a break.
    ranks : Ranks
        For several processes that train together; all call this function with the same arguments but for the model's
        device.
    prepare : callable, optional
        Takes what the model has to know of the runs that are learnt from, before anything is learnt, and puts it into
        the model's buffers.

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
    sampling = data.inputs.sampling
    if model.config.in_seconds:
        times = None if sampling is None else torch.from_numpy(sampling.repetition_times)
        usable_repetition_times(model.config, times, len(data))
    data.inputs.check_lengths(model.config)
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        history = _Fit(model, data, settings, window, seed, precision, follow or Follow(), keep, ranks).run(prepare)
    if ranks.leads:
        fit_pathway_mean(model, data, window)
    ranks.agree([model.pathway_mean])
    model.eval()
    return history


class _Fit:
    """One training, epoch by epoch."""

    def __init__(
        self,
        model: PathwayModel,
        data: TrainingSet,
        settings: Training,
        window: int | None,
        seed: int,
        precision: str,
        follow: Follow,
        keep: Keep | None,
        ranks: Ranks,
    ) -> None:
        self.model, self.settings, self.window, self.seed = model, settings, window, seed
        self.follow, self.keep, self.ranks = follow, keep, ranks
        self.history = History()
        self.stopping: EarlyStopping | None = None
        self.aside: TrainingSet | None = None
        if settings.early_stopping is not None:
            learn, aside = inner_split(data, model.config.n_outputs, settings.validation_fraction, seed)
            data, self.aside = data.some(learn), data.some(aside)
            self.stopping = EarlyStopping(settings.early_stopping)
        self.data = data
        self.steps = -(-len(data) // settings.batch_size)
        n_steps = settings.epochs * self.steps
        self.stepper = Stepper(model, data, settings, n_steps, precision, ranks, follow.notice)

    def run(self, prepare: Callable[[RunSet], None] | None) -> History:
        """Run all epochs that are left."""
        if not self._resumed() and prepare is not None and self.ranks.leads:
            prepare(self.data.inputs)
        self.ranks.agree(list(self.model.buffers()))
        first, begun = len(self.history.loss), time.monotonic()
        warm = begun
        for epoch in range(first, self.settings.epochs):
            if self.stopping is not None and self.stopping.over:
                break
            self.history.loss.append(self._epoch(epoch))
            self._validate(epoch)
            self._keep()
            now = time.monotonic()
            # The first epoch compiles and reads from disk: the pace is that of the others, where there are any.
            pace = (now - warm) / (epoch - first) if epoch > first else now - begun
            warm = now if epoch == first else warm
            aside = self.history.validation_loss[-1] if self.history.validation_loss else None
            if self.ranks.leads:
                left = pace * (self.settings.epochs - epoch - 1)
                told = Epoch(epoch + 1, self.settings.epochs, self.history.loss[-1], aside, now - begun, left)
                self.follow.epoch(told)
        self.history.best_epoch, self.history.at_once = len(self.history.loss), self.stepper.at_once
        if self.stopping is not None:
            self.model.load_state_dict(self.stopping.weights)
            self.history.best_epoch = self.stopping.best_epoch
        return self.history

    def _epoch(self, epoch: int) -> float:
        """Run one epoch; return its mean loss."""
        # Seeded anew, so that an epoch depends on nothing but its number: a training that was killed goes on exactly.
        torch.manual_seed(_seed(self.seed, epoch, 1 + self.ranks.rank))
        generator = torch.Generator().manual_seed(_seed(self.seed, epoch, 0))
        self.model.train()
        inputs, total = self.data.inputs, 0.0
        order = torch.randperm(len(inputs), generator=generator)
        # Equal parts: a last batch of one or two runs would take a full step on its own.
        for part in order.tensor_split(self.steps):
            # Every process draws for all of them, and takes its share of what was drawn.
            drawn = [
                (number, training_window(inputs.segments(number), inputs.points(number, self.window), generator))
                for number in part.tolist()
            ]
            total += self.stepper.step(drawn, epoch) * len(part)
        return total / len(inputs)

    def _validate(self, epoch: int) -> None:
        """Look at the runs that were set aside."""
        if self.stopping is None or self.aside is None:
            return
        loss = torch.zeros(1, dtype=torch.float64, device=self.stepper.device)
        if self.ranks.leads:
            loss += validation_loss(self.model, self.aside, self.data.targets, self.settings, self.window)
        self.ranks.agree([loss])
        self.history.validation_loss.append(float(loss))
        self.stopping.see(epoch + 1, float(loss), self.model)

    def _keep(self) -> None:
        """Write down where we are."""
        if self.keep is None or not self.ranks.leads:
            return
        tensors = with_prefix("model", self.model.state_dict()) | with_prefix("optimizer", self.stepper.tensors())
        facts: dict[str, Any] = {"loss": self.history.loss, "validation_loss": self.history.validation_loss}
        if self.stopping is not None:
            tensors |= with_prefix("best", self.stopping.weights)
            facts |= {"stopping": self.stopping.state()}
        self.keep.write(tensors, facts | {"stepper": self.stepper.state()})

    def _resumed(self) -> bool:
        """Go on where a training like this one was killed, if one was."""
        found = None if self.keep is None else self.keep.read()
        if found is None:
            return False
        tensors, facts = found
        device = self.stepper.device
        self.model.load_state_dict(of_prefix("model", tensors))
        self.stepper.restore(facts["stepper"], of_prefix("optimizer", tensors))
        self.history.loss, self.history.validation_loss = facts["loss"], facts["validation_loss"]
        if self.stopping is not None:
            best = {name: tensor.to(device) for name, tensor in of_prefix("best", tensors).items()}
            self.stopping.restore(facts["stopping"], best)
        return True


def _seed(seed: int, epoch: int, what: int) -> int:
    """Derive a seed for one epoch and one purpose."""
    return int(np.random.SeedSequence([seed, epoch, what]).generate_state(1, np.uint64)[0])


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
