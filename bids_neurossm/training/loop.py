"""The one training loop: epochs, batches, state on disk, and who is told; what a step is, its caller says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bids_neurossm.training.callbacks import Callbacks, Epoch
from bids_neurossm.training.early_stopping import EarlyStopping
from bids_neurossm.training.process_group import ALONE, Ranks
from bids_neurossm.training.snapshot import Snapshot, of_prefix, with_prefix


class Steps(Protocol):
    """What changes from step to step, besides the model."""

    at_once: int

    def step(self, numbers: list[int], generator: torch.Generator, epoch: int) -> float:
        """Take one step on the runs of these numbers; return their mean loss."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return what is needed to go on, as far as it is tensors."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on besides."""
        ...

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on where `state` and `tensors` were taken."""
        ...


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


class Loop:
    """One training, epoch by epoch.

    Parameters
    ----------
    model : Module
        On its device; it is trained in place.
    steps : Steps
        What a step is.
    n_runs, batch_size, epochs : int
        Runs that are learnt from, runs per step, passes over the runs.
    seed : int
        Of batches, and of all that steps draw.
    follow : Callbacks
        Who is told of epochs.
    keep : Snapshot or None
        Where the state is kept after every epoch. A training that finds its own state there goes on with it.
    ranks : Ranks
        Which of several processes that train together this one is.
    stopping : EarlyStopping or None
        When to stop, and which weights to keep.
    validate : callable or None
        Returns the loss (1,) of the runs set aside; asked for after every epoch where there is `stopping`.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: Steps,
        n_runs: int,
        batch_size: int,
        epochs: int,
        seed: int,
        follow: Callbacks,
        keep: Snapshot | None = None,
        ranks: Ranks = ALONE,
        stopping: EarlyStopping | None = None,
        validate: Callable[[], Tensor] | None = None,
    ) -> None:
        self.model, self.steps, self.n_runs, self.epochs, self.seed = model, steps, n_runs, epochs, seed
        self.follow, self.keep, self.ranks = follow, keep, ranks
        self.stopping, self.validate = stopping, validate
        self.n_steps = steps_per_epoch(n_runs, batch_size)
        self.history = History()

    def run(self, prepare: Callable[[], None] | None = None) -> History:
        """Run all epochs that are left; `prepare` is called before the first one, unless a training goes on."""
        if not self._resumed() and prepare is not None and self.ranks.leads:
            prepare()
        self.ranks.agree(list(self.model.buffers()))
        first, begun = len(self.history.loss), time.monotonic()
        warm = begun
        for epoch in range(first, self.epochs):
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
                left = pace * (self.epochs - epoch - 1)
                self.follow.epoch(Epoch(epoch + 1, self.epochs, self.history.loss[-1], aside, now - begun, left))
        self.history.best_epoch, self.history.at_once = len(self.history.loss), self.steps.at_once
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
        order = torch.randperm(self.n_runs, generator=generator)
        # Equal parts: a last batch of one or two runs would take a full step on its own.
        parts = [part.tolist() for part in order.tensor_split(self.n_steps)]
        return sum(self.steps.step(part, generator, epoch) * len(part) for part in parts) / self.n_runs

    def _validate(self, epoch: int) -> None:
        """Look at the runs that were set aside."""
        if self.stopping is None or self.validate is None:
            return
        loss = float(self.validate())
        self.history.validation_loss.append(loss)
        self.stopping.see(epoch + 1, loss, self.model)

    def _keep(self) -> None:
        """Write down where we are."""
        if self.keep is None or not self.ranks.leads:
            return
        tensors = with_prefix("model", self.model.state_dict()) | with_prefix("optimizer", self.steps.tensors())
        facts: dict[str, Any] = {"loss": self.history.loss, "validation_loss": self.history.validation_loss}
        if self.stopping is not None:
            tensors |= with_prefix("best", self.stopping.weights)
            facts |= {"stopping": self.stopping.state()}
        self.keep.write(tensors, facts | {"stepper": self.steps.state()})

    def _resumed(self) -> bool:
        """Go on where a training like this one was killed, if one was."""
        found = None if self.keep is None else self.keep.read()
        if found is None or "stepper" not in found[1]:
            return False  # none, or by a version whose pretraining kept other things
        tensors, facts = found
        self.model.load_state_dict(of_prefix("model", tensors))
        self.steps.restore(facts["stepper"], of_prefix("optimizer", tensors))
        self.history.loss, self.history.validation_loss = facts["loss"], facts["validation_loss"]
        if self.stopping is not None:
            device = next(self.model.parameters()).device
            best = {name: tensor.to(device) for name, tensor in of_prefix("best", tensors).items()}
            self.stopping.restore(facts["stopping"], best)
        return True


def steps_per_epoch(n_runs: int, batch_size: int) -> int:
    """Return how many batches there are; the last one is not smaller than the others by more than one run."""
    return -(-n_runs // batch_size)


def _seed(seed: int, epoch: int, what: int) -> int:
    """Derive a seed for one epoch and one purpose."""
    return int(np.random.SeedSequence([seed, epoch, what]).generate_state(1, np.uint64)[0])
