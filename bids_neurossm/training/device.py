"""Where tensors live: the device that a command line names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from bids_neurossm.errors import DeviceUnavailableError, RunError

_Result = TypeVar("_Result")


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


def in_smaller_batches(work: Callable[[int], _Result], batch_size: int, what: str) -> _Result:
    """Do a piece of work that depends on a batch size in the numbers only by rounding, with half of it where need be.

    Parameters
    ----------
    work : callable
        Takes the batch size; begins anew when it is called again.
    batch_size : int
        The first to be tried.
    what : str
        What is done, for the message.

    Raises
    ------
    RunError
        If the memory does not hold a single window.
    """
    while True:
        try:
            return work(batch_size)
        except torch.OutOfMemoryError as error:
            reason = first_line(error)
        # Here the exception is gone, and with it the tensors of the frames that it came from.
        release()
        if batch_size == 1:
            raise RunError(f"The memory of the device does not hold one window while {what}: {reason}")
        batch_size = (batch_size + 1) // 2


def release() -> None:
    """Give the memory that torch keeps for later back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def first_line(error: BaseException) -> str:
    """Return the first sentence of what a library says, which goes on with its own settings."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].split(". ")[0].rstrip(".") + "."
