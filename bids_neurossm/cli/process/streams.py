"""Standard output and error of a command: closed ones, full ones, and text that their encoding does not have."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from bids_neurossm.errors import OutputNotWritableError


def open_streams() -> None:
    """Open what the shell closed (``>&-``), so that no file takes its number; let any text be written."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def flush_streams() -> None:
    """Write what is still in memory, and discard what nothing reads any more, on which Python would fail later.

    Raises
    ------
    OutputNotWritableError
        If it cannot be written, as on a full disk.
    """
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except OSError as error:
            _discard(stream)
            if not isinstance(error, BrokenPipeError):
                raise OutputNotWritableError(f"Standard output cannot be written: {error.strerror}.") from error


def discard_output() -> None:
    """Send standard output nowhere from here on."""
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
