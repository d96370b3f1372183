"""From what a command raises, and from signals, to a sentence and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from bids_neurossm.cli.process.child_processes import no_process_left
from bids_neurossm.cli.process.signals import EXIT_CODES, PATIENCE, Terminated, ending_on_signals
from bids_neurossm.cli.process.streams import discard_output, flush_streams, open_streams
from bids_neurossm.errors import NeuroSSMError, OutputNotWritableError
from bids_neurossm.files.escaping import escaped, printable

#: Exit code where the reader of the output has gone, as with ``| head -1``.
OUTPUT_CUT_OFF = 130


def guarded(command: Callable[[], int], patience: float = PATIENCE) -> int:
    """Call a command and turn what it raises into a sentence and an exit code.

    Parameters
    ----------
    command : callable
        Returns an exit code.
    patience : float
        Seconds that it has to end by itself after a signal; see `bids_neurossm.cli.process.signals.ending_on_signals`.
    """
    open_streams()
    _give_a_home()
    told: list[int] = []
    try:
        with ending_on_signals(told, _ended, patience):
            code = _exit_code(command, told)
    except KeyboardInterrupt:
        return _ended(told[0] if told else signal.SIGINT)
    except Terminated:
        return _ended(told[0] if told else signal.SIGTERM)
    # A library that swallows what a signal raised goes on, and then fails for want of what was not done.
    return _ended(told[0]) if told and code else code


def _exit_code(command: Callable[[], int], told: list[int]) -> int:
    try:
        try:
            with no_process_left():
                return int(command())
        finally:
            flush_streams()
    except Exception as error:
        return NeuroSSMError.exit_code if told else _failed(error)


def _failed(error: Exception) -> int:
    """Say why a command failed, and give its exit code."""
    if isinstance(error, NeuroSSMError):
        _say(error)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        discard_output()
        return OUTPUT_CUT_OFF
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        discard_output()
        _say(f"a disk is full, or that of standard output: {error}.")
        return OutputNotWritableError.exit_code
    with contextlib.suppress(OSError):
        print(escaped("".join(traceback.format_exception(error))), file=sys.stderr)
    _say("this is a bug; please report it with the lines above.")
    return NeuroSSMError.exit_code


def _say(text: object) -> None:
    """Print a sentence on standard error, if that can be written."""
    with contextlib.suppress(OSError):
        print(f"bids-neurossm: {printable(text)}", file=sys.stderr, flush=True)


def _ended(number: int) -> int:
    """Say that the command was told to end, and give its exit code."""
    how = {129: "the terminal was closed", 130: "interrupted", 143: "terminated"}[EXIT_CODES[number]]
    _say(f"{how}; finished work is kept; rerun the same command to resume.")
    return EXIT_CODES[number]


def _give_a_home() -> None:
    """Set HOME for a user whom the machine does not know, as in a container: half of the libraries ask for it."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = os.environ.get("TMPDIR", "/tmp")
