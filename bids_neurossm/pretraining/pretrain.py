"""Pretraining of the LMAE encoder on unlabelled runs: hide, reconstruct, judge on participants that were set aside.

The series of training runs are all that enters (docs/methods.md, section 5). What comes out is an encoder, and a table
that says what it reconstructs better than simple rules do (`bids_neurossm.pretraining.reconstruction`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.errors import LabelError, RunError, UsageError
from bids_neurossm.models.lmae import LMAE, LMAEConfig
from bids_neurossm.models.masks import Masking, homologues, mean_correlation
from bids_neurossm.pretraining.reconstruction import fit_rules, reconstruction_table
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.data import RunSet
from bids_neurossm.training.loop import Loop, steps_per_epoch
from bids_neurossm.training.snapshot import Snapshot
from bids_neurossm.training.step import Optimiser
from bids_neurossm.training.windows import Segments, training_window

# Runs whose correlations tell homologues.
_ENOUGH_RUNS = 200


@dataclass(frozen=True)
class Pretraining:
    """How an encoder is pretrained (the recipe's ``[model.pretraining]`` table).

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the runs; runs per step.
    learning_rate, weight_decay, gradient_clip : float
        Peak of the one-cycle schedule, AdamW decay, largest gradient norm.
    held_out : float
        Share of the participants that the reconstruction is judged on.
    kind, share, blocks, homologues
        What is hidden; see `bids_neurossm.models.masks.Masking`.
    """

    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    held_out: float = 0.1
    kind: Literal["local", "random"] = "local"
    share: float = 0.5
    blocks: tuple[int, ...] = (2, 3)
    homologues: int = 3

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"pretraining.{name} must be at least 1.")
        for name in ("learning_rate", "gradient_clip"):
            if getattr(self, name) <= 0:
                raise UsageError(f"pretraining.{name} must be positive.")
        if self.weight_decay < 0 or not 0 < self.held_out <= 0.5:
            raise UsageError("pretraining.weight_decay must not be negative, pretraining.held_out in (0, 0.5].")
        _ = self.masking

    @property
    def masking(self) -> Masking:
        """What is hidden."""
        return Masking(self.kind, self.share, self.blocks, self.homologues)


@dataclass(frozen=True)
class Pretrained:
    """What a pretraining gives.

    Attributes
    ----------
    model : LMAE
        Encoder and decoder, in evaluation mode.
    loss : list of float
        Mean squared error over what was hidden, epoch by epoch.
    table : DataFrame
        Reconstruction of participants set aside; see `bids_neurossm.pretraining.reconstruction.reconstruction_table`.
    n_runs : int
        Runs that were learnt from.
    """

    model: LMAE
    loss: list[float]
    table: pd.DataFrame
    n_runs: int


def pretrain(
    config: LMAEConfig,
    inputs: RunSet,
    groups: Sequence[str],
    settings: Pretraining,
    window: int,
    seed: int,
    device: torch.device,
    follow: Callbacks | None = None,
    keep: Snapshot | None = None,
) -> Pretrained:
    """Pretrain an encoder; the result depends on the arguments and the seed only.

    Parameters
    ----------
    config : LMAEConfig
        Shape of the encoder.
    inputs : RunSet
        Standardised runs; nothing else is looked at.
    groups : sequence of str
        Whose run each is: participants are set aside whole.
    settings : Pretraining
        Epochs, masks ...
    window : int
        Time points per training window.
    seed : int
        Of weights, batches, windows, masks and those set aside.
    device : torch.device
        Where.
    follow : Callbacks, optional
        Who is told of epochs.
    keep : Snapshot, optional
        Where the state is kept after every epoch, so that a pretraining that was killed goes on.

    Raises
    ------
    RunError
        If a run is too short for the patches, holds no signal, or the loss is not finite.
    LabelError
        If there is a single participant.
    UsageError
        If all regions of a patch would be hidden, or samples are in seconds and a repetition time is not known.
    """
    inputs.check_lengths(config)
    learn, aside = set_aside(groups, settings.held_out, seed)
    twins = homologues(_correlation(inputs, learn), settings.homologues)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = LMAE(config).to(device)
        some = inputs.some(learn[:_ENOUGH_RUNS])
        rules = fit_rules(model, some, twins, settings.masking, window, seed)
        model.encoder.start_from(torch.from_numpy(rules.covariance), rules.penalty)
        n_steps = settings.epochs * steps_per_epoch(len(learn), settings.batch_size)
        steps = _MaskedSteps(model, inputs.some(learn), twins, settings, window, n_steps)
        loop = Loop(model, steps, len(learn), settings.batch_size, settings.epochs, seed, follow or Callbacks(), keep)
        loss = loop.run().loss
    model.eval()
    whose = [groups[number] for number in aside.tolist()]
    table = reconstruction_table(model, rules, inputs.some(aside), whose, twins, settings.masking, window, seed)
    return Pretrained(model, loss, table, len(learn))


def set_aside(groups: Sequence[str], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Set participants aside; return the runs to learn from, and theirs.

    Raises
    ------
    LabelError
        If there is a single participant.
    """
    names, owner = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    if len(names) < 2:
        raise LabelError(
            "Pretraining sets participants aside to judge the reconstruction on: it needs two of them at least, and "
            f"there is {len(names)}."
        )
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    chosen = order[: max(1, round(share * len(names)))]
    apart = np.isin(owner, chosen)
    return np.flatnonzero(~apart).astype(np.int64), np.flatnonzero(apart).astype(np.int64)


def hidden_tokens(
    masking: Masking, twins: NDArray[np.int64], counts: Tensor, n_patches: int, generator: np.random.Generator
) -> Tensor:
    """Draw what is hidden of the pieces of a batch, (B, R, N); patches that are not whole are not hidden."""
    hidden = np.zeros((len(counts), len(twins), n_patches), dtype=bool)
    for row, count in enumerate(counts.tolist()):
        if count:
            hidden[row, :, :count] = masking.draw(count, twins, generator)
    return torch.from_numpy(hidden).to(counts.device)


def _correlation(inputs: RunSet, learn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average the correlations of the training runs."""

    def kept(segments: Segments, series: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([series[start:stop] for start, stop in segments])

    return mean_correlation(
        [kept(inputs.segments[number], inputs.series(number)) for number in learn[:_ENOUGH_RUNS].tolist()]
    )


class _MaskedSteps:
    """Steps on what is hidden of unlabelled runs."""

    def __init__(
        self, model: LMAE, inputs: RunSet, twins: NDArray[np.int64], settings: Pretraining, window: int, n_steps: int
    ) -> None:
        self.model, self.inputs, self.twins, self.masking, self.window = model, inputs, twins, settings.masking, window
        self.at_once = settings.batch_size
        self.optimiser = Optimiser(model, settings, n_steps)

    def step(self, numbers: list[int], generator: torch.Generator, epoch: int) -> float:
        """Hide, reconstruct, learn; return the mean squared error over what was hidden."""
        inputs = self.inputs
        drawn = [
            (
                number,
                inputs.series(number),
                training_window(inputs.segments[number], inputs.points(number, self.window), generator),
            )
            for number in numbers
        ]
        batch = inputs.batch(drawn).to(next(self.model.parameters()).device)
        patches, counts = self.model.encoder.patches(batch.series, batch.lengths, batch.repetition_times)
        draw = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        hidden = hidden_tokens(self.masking, self.twins, counts, patches.shape[2], draw)
        loss = self.model.loss(patches, counts, hidden)
        if not bool(loss.isfinite()):
            names = ", ".join(inputs.names[number] for number in numbers)
            raise RunError(
                f"The reconstruction loss is not finite in epoch {epoch + 1}, with the runs {names}. Look at their "
                "series, or lower pretraining.learning_rate."
            )
        self.optimiser.adamw.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return self.optimiser.update(float(loss.detach()))

    def tensors(self) -> dict[str, Tensor]:
        """Return what is needed to go on, as far as it is tensors."""
        return self.optimiser.tensors()

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on besides."""
        return self.optimiser.state()

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on where `state` and `tensors` were taken."""
        self.optimiser.restore(state, tensors)
