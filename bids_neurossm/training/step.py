"""One step of the training: loss, gradients, clipping, AdamW; in smaller parts where memory does not hold a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from bids_neurossm.config import Training
from bids_neurossm.errors import RunError
from bids_neurossm.models.pathway_model import PathwayModel
from bids_neurossm.training.data import TrainingSet
from bids_neurossm.training.device import first_line, release
from bids_neurossm.training.inference import logits_of
from bids_neurossm.training.process_group import ALONE, Ranks
from bids_neurossm.training.snapshot import optimizer_tensors, restore_optimizer
from bids_neurossm.training.windows import Segments, training_window

#: Number format of the matrix products by the name of the precision.
FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class LearningRate(Protocol):
    """Settings of an `Optimiser`."""

    @property
    def learning_rate(self) -> float:
        """Peak of the one-cycle schedule."""
        ...

    @property
    def weight_decay(self) -> float:
        """Of matrices."""
        ...

    @property
    def gradient_clip(self) -> float:
        """Largest norm of the gradients."""
        ...


class Optimiser:
    """AdamW with a one-cycle learning rate and clipped gradients.

    Parameters
    ----------
    model : Module
        On its device.
    settings : LearningRate
        Peak of the learning rate, weight decay, largest gradient norm.
    n_steps : int
        In all epochs together; the schedule is laid over them.
    precision : {"float32", "bfloat16", "float16"}
        Of the matrix products.
    ranks : Ranks
        Whose gradients are summed.
    """

    def __init__(
        self, model: nn.Module, settings: LearningRate, n_steps: int, precision: str = "float32", ranks: Ranks = ALONE
    ) -> None:
        self._model, self._clip, self._ranks = model, settings.gradient_clip, ranks
        self.adamw = torch.optim.AdamW(
            parameter_groups(model, settings.weight_decay), lr=settings.learning_rate, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.adamw, max_lr=settings.learning_rate, total_steps=n_steps
        )
        device = next(model.parameters()).device
        # Gradients of half precision vanish below 6e-8: losses are scaled up, and gradients down again.
        self.scaler = torch.amp.GradScaler(device.type, init_scale=2.0**12, enabled=precision == "float16")

    def update(self, loss: float) -> float:
        """Change the weights by the gradients that were added up; return the loss of all processes together."""
        loss = self._ranks.add_gradients(self._model, loss)
        self.scaler.unscale_(self.adamw)
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._clip)
        self.scaler.step(self.adamw)
        self.scaler.update()
        self.schedule.step()
        return loss

    def tensors(self) -> dict[str, Tensor]:
        """Return what is needed to go on, as far as it is tensors."""
        return optimizer_tensors(self.adamw)

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on besides."""
        return {
            "groups": self.adamw.state_dict()["param_groups"],
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on where `state` and `tensors` were taken."""
        restore_optimizer(self.adamw, tensors, state["groups"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])


class Stepper:
    """Steps on labelled runs.

    Parameters
    ----------
    model : PathwayModel
        On its device.
    data : TrainingSet
        What is learnt from.
    settings : Training
        Learning rate, weight decay ...
    window : int or None
        Time points per window.
    n_steps : int
        In all epochs together.
    precision : {"float32", "bfloat16", "float16"}
        Of the matrix products.
    ranks : Ranks
        Which part of each batch is ours.
    notice : callable
        Takes a sentence for the user.

    Attributes
    ----------
    at_once : int
        Runs that memory is known to hold, or hoped to.
    """

    def __init__(
        self,
        model: PathwayModel,
        data: TrainingSet,
        settings: Training,
        window: int | None,
        n_steps: int,
        precision: str,
        ranks: Ranks,
        notice: Callable[[str], None],
    ) -> None:
        self.model, self.data, self.settings, self.ranks, self._notice = model, data, settings, ranks, notice
        self.window, self._precision = window, precision
        self.device = next(model.parameters()).device
        self.at_once = settings.batch_size
        self.optimiser = Optimiser(model, settings, n_steps, precision, ranks)
        self._goal = torch.from_numpy(data.targets).to(self.device)
        self._weights = class_weights(self._goal, model.config.n_outputs, settings.class_weights)

    def step(self, numbers: list[int], generator: torch.Generator, epoch: int) -> float:
        """Take one step on a window of each of these runs; return the mean loss.

        Raises
        ------
        RunError
            If a loss is not finite, or memory does not hold a single run; the run is named.
        """
        inputs = self.data.inputs
        # Every process draws for all of them, and takes its share of what was drawn.
        drawn = [
            (number, training_window(inputs.segments[number], inputs.points(number, self.window), generator))
            for number in numbers
        ]
        total = float(self._shares(numbers).sum())
        return self.optimiser.update(self._gradients(self.ranks.share(drawn), total, epoch))

    def _gradients(self, mine: Sequence[tuple[int, Segments]], total: float, epoch: int) -> float:
        """Add up the gradients of our part of a batch, as many runs at once as memory holds."""
        while True:
            self.optimiser.adamw.zero_grad()
            reached = 0
            try:
                loss = 0.0
                for reached in range(0, len(mine), self.at_once):
                    loss += self._backward(mine[reached : reached + self.at_once], total, epoch)
                return loss
            except torch.OutOfMemoryError as error:
                reason = first_line(error)
            # Here the exception is gone, and with it the tensors of the frames that it came from.
            self._halve(min(self.at_once, len(mine)), self.data.inputs.names[mine[reached][0]], reason)

    def _backward(self, part: Sequence[tuple[int, Segments]], total: float, epoch: int) -> float:
        """Add the gradients of a few runs; return their part of the mean loss."""
        inputs = self.data.inputs
        numbers = [number for number, _ in part]
        batch = inputs.batch([(number, inputs.read(number), window) for number, window in part]).to(self.device)
        with torch.autocast(self.device.type, FORMATS[self._precision], enabled=self._precision != "float32"):
            logits = logits_of(self.model, batch).float()
        losses = run_losses(logits, self._goal[numbers], self.settings.label_smoothing)
        _check_finite(losses, [inputs.names[number] for number in numbers], epoch)
        loss = (self._shares(numbers) * losses).sum() / total
        # A part of a batch brings its part of what the model itself costs.
        learnt = loss + self.model.auxiliary_loss() * self._shares(numbers).sum() / total
        self.optimiser.scaler.scale(learnt).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _shares(self, numbers: Sequence[int]) -> Tensor:
        """Return what each run weighs in the loss."""
        if self._weights is None:
            return torch.ones(len(numbers), device=self.device)
        return self._weights[self._goal[list(numbers)]]

    def _halve(self, tried: int, run: str, reason: str) -> None:
        """Take half as many runs at once from now on."""
        release()
        if tried == 1:
            raise RunError(
                f"{run}: the memory of the device does not hold a single run: {reason} Use a smaller training.window "
                "or model.width, or --precision bfloat16."
            )
        if self.at_once == self.settings.batch_size:
            self._notice(
                f"The memory of the device does not hold {tried} runs at once ({reason}) They are taken in halves from "
                "now on, and in halves of these where need be; gradients are added up, so that every step still sees "
                f"{self.settings.batch_size} runs."
            )
        self.at_once = (tried + 1) // 2

    def tensors(self) -> dict[str, Tensor]:
        """Return what is needed to go on, as far as it is tensors."""
        return self.optimiser.tensors()

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on besides."""
        return {**self.optimiser.state(), "at_once": self.at_once}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on where `state` and `tensors` were taken."""
        self.optimiser.restore(state, tensors)
        self.at_once = int(state["at_once"])


def run_losses(logits: Tensor, goal: Tensor, label_smoothing: float) -> Tensor:
    """Return the loss (n,) of each run: cross-entropy of logits (n, C), or smooth L1 of a number (n, 1)."""
    if logits.shape[1] == 1:
        return functional.smooth_l1_loss(logits[:, 0], goal.to(logits.dtype), reduction="none")
    return functional.cross_entropy(logits, goal, label_smoothing=label_smoothing, reduction="none")


def class_weights(goal: Tensor, n_outputs: int, wanted: bool) -> Tensor | None:
    """Return the inverse of each class's frequency (C,), or None."""
    if n_outputs == 1 or not wanted:
        return None
    counts = torch.bincount(goal, minlength=n_outputs).float()
    return torch.where(counts > 0, len(goal) / (n_outputs * counts.clamp_min(1)), torch.zeros_like(counts))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay pulls matrices only: not biases, norms, and the state-space rates and skips."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in model.named_parameters():
        (decayed if parameter.ndim > 1 and not name.endswith("A_log") else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def _check_finite(losses: Tensor, names: Sequence[str], epoch: int) -> None:
    """Stop at the first loss that is no number, before it spoils the weights."""
    bad = (~losses.detach().isfinite()).nonzero()[:, 0].tolist()
    if bad:
        raise RunError(
            f"{names[bad[0]]}: the loss is not finite in epoch {epoch + 1}. Look at the run's series, "
            "or lower training.learning_rate."
        )
