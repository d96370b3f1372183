"""How a training that takes long says how far it is, and what its user should know of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Epoch(NamedTuple):
    """One epoch that has ended.

    Attributes
    ----------
    number, of : int
        Which, from 1; how many at most.
    loss : float
        Mean training loss.
    validation_loss : float or None
        Of the runs that were set aside for early stopping.
    seconds, seconds_left : float
        Since the training began or was resumed; estimated until all epochs have ended.
    """

    number: int
    of: int
    loss: float
    validation_loss: float | None
    seconds: float
    seconds_left: float


class TrainingWarning(UserWarning):
    """The training goes on, but not as it was asked for."""


def _ignore(epoch: Epoch) -> None:
    """Take notice of nothing."""


def _warn(text: str) -> None:
    warnings.warn(text, TrainingWarning, stacklevel=2)


@dataclass(frozen=True)
class Callbacks:
    """Who is told.

    Attributes
    ----------
    epoch : callable
        Called with an `Epoch` after each.
    notice : callable
        Called with a sentence for the user; a Python warning by default.
    """

    epoch: Callable[[Epoch], None] = _ignore
    notice: Callable[[str], None] = _warn

    def part(self, number: int, of: int) -> Callbacks:
        """Return who is told of the training `number`, from 1, `of` several like it: all their epochs are counted."""

        def epoch(told: Epoch) -> None:
            left = told.seconds_left + (of - number) * (told.seconds + told.seconds_left)
            done = (number - 1) * told.of
            self.epoch(told._replace(number=done + told.number, of=of * told.of, seconds_left=left))

        return Callbacks(epoch, self.notice)

    def stage(self, before: int, of: int) -> Callbacks:
        """Return who is told of a stage of a training of `of` epochs: those after the first `before` of them.

        The time of other stages is reckoned at the pace of this one.
        """

        def epoch(told: Epoch) -> None:
            pace = (told.seconds + told.seconds_left) / told.of
            left = told.seconds_left + (of - before - told.of) * pace
            spent = told.seconds + before * pace
            self.epoch(told._replace(number=before + told.number, of=of, seconds=spent, seconds_left=left))

        return Callbacks(epoch, self.notice)
