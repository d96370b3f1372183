"""A process that has imported everything and tries parsers in children: a crash or a hang costs one child."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Self

from bids_neurossm.errors import NeuroSSMError

#: What no file may take: wall time in s, resident memory of any process in bytes.
SECONDS, MEMORY = 60.0, 2 * 1024**3

Use = Callable[[Path], object]


class ForkServer:
    """Tries one parser on file after file in a child, which is forked again when it dies; use as a context.

    Parameters
    ----------
    use : callable
        The parser.
    """

    def __init__(self, use: Use) -> None:
        self._use = use
        self._pid = 0
        self._ask = self._hear = -1
        #: Most seconds and most memory in bytes that a file took.
        self.seconds, self.memory = 0.0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def fault(self, path: Path) -> str | None:
        """Try a file.

        Returns
        -------
        str or None
            What a user would see as a crash, a hang, a traceback or a full memory; None for a result or a sentence.
        """
        if not self._pid:
            self._start()
        began = time.monotonic()
        os.write(self._ask, os.fsencode(path) + b"\n")
        ready, _, _ = select.select([self._hear], [], [], SECONDS)
        self.seconds = max(self.seconds, time.monotonic() - began)
        if not ready:
            self._end(signal.SIGKILL)
            return f"no end within {SECONDS:.0f} s"
        answer = os.read(self._hear, 65536)
        if not answer:
            return f"the process ended with {self._end()}"
        told = json.loads(answer)
        self.memory = max(self.memory, told["memory"])
        if told["memory"] > MEMORY:
            self._end(signal.SIGKILL)  # its peak would be counted against the next file
            return f"{told['memory'] // 1024**2} MB of memory"
        fault: str | None = told["fault"]
        return fault

    def _start(self) -> None:
        (theirs, self._ask), (self._hear, ours) = os.pipe(), os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(theirs)
            os.close(ours)
            return
        os.close(self._ask)
        os.close(self._hear)
        try:
            self._serve(theirs, ours)
        finally:
            os._exit(1)

    def _serve(self, theirs: int, ours: int) -> None:
        with os.fdopen(theirs, "rb") as requests:
            for line in requests:
                told = {"fault": _tried(self._use, Path(os.fsdecode(line[:-1]))), "memory": _peak()}
                os.write(ours, json.dumps(told).encode())

    def _end(self, number: int = signal.SIGTERM) -> int:
        """End the child and give its exit code, negative for a signal."""
        if not self._pid:
            return 0
        os.close(self._ask)
        os.close(self._hear)
        if number == signal.SIGKILL:
            os.kill(self._pid, number)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)


def _tried(use: Use, path: Path) -> str | None:
    try:
        use(path)
    except NeuroSSMError:
        return None
    except Exception as error:  # what a user would see as a traceback
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {str(error)[:150]}"
    return None


def _peak() -> int:
    """Return the most memory of this process, or of a child that has ended, in bytes."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return 1024 * max(resource.getrusage(kind).ru_maxrss for kind in kinds)
