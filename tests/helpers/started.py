"""A command in a session of its own, and what is left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

MARKER = "NEUROSSM_TEST_MARKER"


def hear_ctrl_c() -> None:
    """Undo what a shell does to a test run in the background (``pytest &``), whose children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Started:
    """A command in a session of its own, whose processes are known by a variable that they inherit."""

    def __init__(self, module: str, arguments: Sequence[str | Path], environment: dict[str, str]) -> None:
        self.marker = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            env={**environment, MARKER: self.marker},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
        )

    def alive(self) -> list[str]:
        """Describe the processes of the command that are alive, itself included."""
        return [told for each in psutil.process_iter() if (told := self._told(each)) is not None]

    def _told(self, process: psutil.Process) -> str | None:
        with contextlib.suppress(psutil.Error, ProcessLookupError):  # it ended in the meantime
            mine = os.getsid(process.pid) == self.process.pid or process.environ().get(MARKER) == self.marker
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                return " ".join(process.cmdline())
        return None

    def wait_for(self, count: int) -> None:
        """Wait until the command has so many processes."""
        end = time.monotonic() + 60
        while len(self.alive()) < count:
            assert time.monotonic() < end
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.02)

    def end(self) -> tuple[int, str, list[str]]:
        """Wait for the command; give its exit code, what it said, and what is left of it at that moment."""
        self.process.wait(120)
        left = self.alive()
        assert self.process.stdout is not None
        return self.process.returncode, self.process.stdout.read(), left


#: Starts a module of the package with arguments.
Start = Callable[..., Started]
