"""Ctrl-C, SIGTERM and a closed terminal: the command cleans up and ends within 5 seconds, whatever it is doing."""

from __future__ import annotations

import atexit
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from bids_neurossm.cli.process.child_processes import kill_descendants

#: Signals that end a command, and its exit code for each.
EXIT_CODES: dict[int, int] = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}

#: Seconds that the main thread has to end by itself, and that the clean-up without it may take.
PATIENCE, CLEANING = 4.0, 0.3


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived: the command unwinds as after a KeyboardInterrupt."""


@contextmanager
def ending_on_signals(told: list[int], say: Callable[[int], int], patience: float = PATIENCE) -> Iterator[None]:
    """Raise in the main thread when the first signal asks the command to end; end the process where that is not enough.

    Python runs a signal handler only between two of its own instructions, which a long call into C code delays, and a
    library may swallow what the handler raises. A thread therefore hears of the signal from the operating system, and
    ends the process if this context has not been left in time: it kills what the command has started, removes
    temporary folders, and exits.

    Parameters
    ----------
    told : list of int
        Takes the signals that arrived. Only the first one raises, so that nothing interrupts the clean-up.
    say : callable
        Prints what happened, given the signal, and gives the exit code.
    patience : float
        Seconds until the process is ended.

    Raises
    ------
    KeyboardInterrupt, Terminated
        For SIGINT, and for the others.
    """

    def unwind(number: int, frame: FrameType | None) -> None:
        told.append(number)
        if len(told) > 1:
            return
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in EXIT_CODES}
    ours = [number for number in handlers if handlers[number] is not signal.SIG_IGN]  # ignored with nohup, and with &
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watchdog = threading.Thread(target=_watch, args=(reading, say, patience), name="watchdog", daemon=True)
    watchdog.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        for number in ours:
            signal.signal(number, unwind)
        yield
    finally:
        for number in ours:
            signal.signal(number, handlers[number])
        signal.set_wakeup_fd(before)
        os.close(writing)
        watchdog.join()
        os.close(reading)


def _watch(reading: int, say: Callable[[int], int], patience: float) -> None:
    """Wait for a signal, and end the process where the pipe is not closed in time after one."""
    number, end = 0, 0.0
    while True:
        left = max(end - time.monotonic(), 0.0) if number else None
        ready, _, _ = select.select([reading], [], [], left)
        if not ready:
            _give_up(number, say)
        heard = os.read(reading, 1)
        if not heard:
            return
        if not number and heard[0] in EXIT_CODES:
            number, end = heard[0], time.monotonic() + patience


def _give_up(number: int, say: Callable[[int], int]) -> NoReturn:
    """End the process without its main thread, but not without what is done at exit: temporary folders are removed."""
    kill_descendants()

    def clean_up() -> None:
        say(number)
        atexit._run_exitfuncs()

    # In a thread of its own, since the main thread may hold a lock that is needed.
    cleaner = threading.Thread(target=clean_up, daemon=True)
    cleaner.start()
    cleaner.join(CLEANING)
    os._exit(EXIT_CODES[number])
