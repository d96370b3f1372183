"""Where tensors live: the device that a command line names."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
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


@contextlib.contextmanager
def own_gpu(name: str, folder: Path) -> Iterator[None]:
    """Spread trainings that run at the same time over the GPUs: make another one the current device for each.

    Each training holds the lowest free slot, a locked file in `folder`; the system frees it when the process ends,
    even if it is killed. More trainings than GPUs share them evenly.

    Parameters
    ----------
    name : str
        As for `torch_device`. Nothing is done for ``cpu``, or with fewer than two GPUs.
    folder : Path
        Of the command; all its trainings use the same one.
    """
    gpus = 0 if name == "cpu" else torch.cuda.device_count()
    if gpus < 2:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    for slot in itertools.count():
        with (folder / f"gpu-slot-{slot}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError:  # a file system without locks
                slot = os.getpid()
            with torch.cuda.device(slot % gpus):
                yield
            return


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
