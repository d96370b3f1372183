"""Files of strangers read in a process of their own, with limits on memory and processor time.

Readers of pickles and MATLAB files can be made to crash, to hang, or to take all memory. Here they run in a child: if
it dies, the command goes on and has a sentence that names the file. One child reads file after file and is replaced
when it dies. What it found comes back as JSON, and arrays as plain numbers in a temporary file without a name; nothing
from the child is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

import bids_neurossm.errors
from bids_neurossm.errors import NeuroSSMError, OutputNotWritableError, RunError

Array = npt.NDArray[Any]

#: What a function that is called in the child returns: plain values for JSON, and arrays of numbers.
Found = tuple[Any, Sequence[Array]]

#: Memory that reading a file may take: a base, and this many bytes for each byte of the file.
_BASE_BYTES, _BYTES_PER_BYTE = 1024**3, 8

#: Processor time that reading a file may take: a base in s, and one more for this many bytes.
_BASE_SECONDS, _BYTES_PER_SECOND = 30, 1024**2

_REMEDY = "save the series as plain arrays in a .npz file instead"


class IsolatedReader:
    """Calls functions of this package on files, in a child process; use as a context.

    Parameters
    ----------
    more_seconds : int
        Added to the processor time of each file; negative in tests.
    """

    def __init__(self, more_seconds: int = 0) -> None:
        self._more_seconds = more_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._arrays: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        if self._arrays is not None:
            self._arrays.close()  # arrays that are in use keep their content

    def call(self, function: str, path: Path, *arguments: Any) -> tuple[Any, list[Array]]:
        """Call a function on a file.

        Parameters
        ----------
        function : str
            As ``module:name``; it takes the path and the arguments, and returns plain values and arrays.
        path : Path
            The file.
        *arguments
            Plain values.

        Returns
        -------
        content : object
            The plain values.
        arrays : list of ndarray
            Read-only views of a temporary file, which take no memory until they are used.

        Raises
        ------
        NeuroSSMError
            As the function raises it; RunError if the child died, or needed more memory or time than the file warrants.
        """
        size = path.stat().st_size
        memory = min(_BASE_BYTES + _BYTES_PER_BYTE * size, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        seconds = max(1, _BASE_SECONDS + size // _BYTES_PER_SECOND + self._more_seconds)
        request = {"function": function, "path": str(path), "arguments": arguments, "limits": [memory, seconds]}
        answer = self._answer(json.dumps(request).encode() + b"\n")
        if answer is None:
            raise RunError(f"{path} cannot be read: {_death(self._end(), seconds)}; {_REMEDY}.")
        if answer.get("memory"):
            raise RunError(f"{path} needs more than {memory / 1024**3:.1f} GiB of memory to be read; {_REMEDY}.")
        if "error" in answer:
            raise getattr(bids_neurossm.errors, answer["error"])(answer["message"])
        return answer["content"], self._views(answer["arrays"])

    def _answer(self, request: bytes) -> dict[str, Any] | None:
        """Ask the child; None if it died."""
        child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(request)
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            return None
        except BaseException:
            self._end(kill=True)  # interrupted: the child may be busy for a long time
            raise
        return json.loads(line) if line.endswith(b"\n") else None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._arrays is None:
            self._arrays = tempfile.TemporaryFile(prefix="bids-neurossm-")  # noqa: SIM115 - closed by __exit__
        number = self._arrays.fileno()
        # -P: no module is taken from the current folder.
        command = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve({number})"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, pass_fds=[number], env=environment
        )
        return self._child

    def _end(self, kill: bool = False) -> int:
        """End the child and give its exit code."""
        child, self._child = self._child, None
        if child is None:
            return 0
        if kill:
            child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return child.wait()

    def _views(self, places: Sequence[tuple[str, list[int], int]]) -> list[Array]:
        """Lay arrays over the temporary file."""
        assert self._arrays is not None
        filled = self._arrays.seek(0, os.SEEK_END) > 0
        content: Array = np.memmap(self._arrays, np.uint8, "r") if filled else np.zeros(0, np.uint8)
        views = []
        for code, shape, offset in places:
            dtype = np.dtype(code)
            end = offset + math.prod(shape) * dtype.itemsize
            views.append(content[offset:end].view(dtype).reshape(shape))
        return views


def _death(code: int, seconds: int) -> str:
    if code == -signal.SIGXCPU:
        return f"it takes more than {seconds} s of processor time"
    if code < 0:
        name = signal.Signals(-code).name
        return f"the process that read it was ended by {name}, because the file is damaged or nested too deeply"
    return f"the process that read it ended with exit code {code}"


def serve(arrays: int) -> None:
    """Read files, in the child, until the pipe with the requests is closed.

    Parameters
    ----------
    arrays : int
        Descriptor of the file that takes the arrays.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin.buffer:
        print(json.dumps(_served(json.loads(line), arrays)), file=answers, flush=True)


def _served(request: dict[str, Any], arrays: int) -> dict[str, Any]:
    module, _, name = request["function"].partition(":")
    function = getattr(import_module(module), name)
    memory, seconds = request["limits"]
    _limit(resource.RLIMIT_AS, memory)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)
    try:
        return _found(function, request, arrays, memory)
    except MemoryError:
        return {"memory": True}
    except NeuroSSMError as error:
        # A reader that turns every failure into a sentence may have been given no memory.
        if isinstance(error.__cause__, MemoryError):
            return {"memory": True}
        return {"error": type(error).__name__, "message": str(error)}
    except Exception as error:  # a damaged file makes readers fail in any way there is
        message = f"{request['path']} cannot be read ({type(error).__name__}: {str(error)[:500]})."
        return {"error": RunError.__name__, "message": message}


def _found(function: Callable[..., Found], request: dict[str, Any], arrays: int, most: int) -> dict[str, Any]:
    content, found = function(Path(request["path"]), *request["arguments"])
    places, known, written = [], {}, 0
    for array in found:
        here = (array.__array_interface__["data"][0], array.dtype.str, array.shape, array.strides)
        if here not in known:  # a file may hold one array many times
            written += array.nbytes
            if written > most:
                raise MemoryError
            known[here] = _written(np.ascontiguousarray(array), arrays)
        places.append([array.dtype.str, list(array.shape), known[here]])
    return {"content": content, "arrays": places}


def _written(array: Array, arrays: int) -> int:
    """Append an array to the file, and give its place."""
    try:
        with os.fdopen(os.dup(arrays), "r+b") as stream:
            offset = -(-stream.seek(0, os.SEEK_END) // 64) * 64
            stream.seek(offset)
            stream.write(array.data if array.size else b"")
    except OSError as error:
        raise OutputNotWritableError(
            f"The temporary folder {tempfile.gettempdir()} cannot be written: {error.strerror}; set TMPDIR to a folder "
            "with more room."
        ) from error
    return offset


def _limit(kind: int, value: int) -> None:
    """Set a limit, or the lower one that somebody else has set for good."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
